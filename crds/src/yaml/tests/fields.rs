//! Every member of every kind, as the rules list them (`fields.txt`), against the definitions and
//! against what the types keep.
//!
//! A line of the list is a name, `*` when the schema requires it, `[]` when it is a list, a type
//! (`=` its schema default, then its closed list), or `&block`, a part listed once. Types: `int`,
//! `i64`, `bool`, `str`, `time`, `ios` (int-or-string), `map` of texts, `any` object, `pods` (a pod
//! template or Job spec). Members are indented below their struct.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{AnalysisRun, AnalysisTemplate, ClusterAnalysisTemplate, Experiment, Rollout};

struct Line<'a> {
    depth: usize,
    text: &'a str,
}

/// All paths of the list by kind, each with its type and marks.
fn listed() -> BTreeMap<String, BTreeSet<String>> {
    let lines: Vec<Line<'_>> = include_str!("fields.txt")
        .lines()
        .map(|line| Line {
            depth: (line.len() - line.trim_start().len()) / 2,
            text: line.trim(),
        })
        .collect();
    let mut blocks: BTreeMap<&str, &[Line<'_>]> = BTreeMap::new();
    for (i, line) in lines.iter().enumerate().filter(|(_, line)| line.depth == 0) {
        let rest = lines.get(i + 1..).unwrap();
        let end = rest.iter().position(|line| line.depth == 0);
        blocks.insert(line.text, &rest[..end.unwrap_or(rest.len())]);
    }
    let kinds = blocks.iter().filter(|(name, _)| !name.starts_with('&'));
    kinds
        .map(|(kind, lines)| {
            let mut found = BTreeSet::new();
            expand(lines, &blocks, "", &mut found);
            ((*kind).to_owned(), found)
        })
        .collect()
}

fn expand(
    lines: &[Line<'_>],
    blocks: &BTreeMap<&str, &[Line<'_>]>,
    at: &str,
    found: &mut BTreeSet<String>,
) {
    let Some(depth) = lines.first().map(|line| line.depth) else {
        return;
    };
    for (i, line) in lines.iter().enumerate().filter(|(_, l)| l.depth == depth) {
        let (name, of_type) = line.text.split_once(' ').unwrap_or((line.text, ""));
        let list = if name.ends_with("[]") { "[]" } else { "" };
        let required = if name.contains('*') { "*" } else { "" };
        let name = name.trim_end_matches("[]").trim_end_matches('*');
        let path = format!("{at}.{name}{list}");
        let rest = &lines[i + 1..];
        let end = rest.iter().position(|l| l.depth <= depth);
        let own = &rest[..end.unwrap_or(rest.len())];
        let members = blocks.get(of_type).copied().unwrap_or(own);
        let shown = if of_type.starts_with('&') {
            ""
        } else {
            of_type
        };
        found.insert(format!("{path}{required} {shown}").trim().to_owned());
        expand(members, blocks, &path, found);
    }
}

/// The same, read off a schema.
fn defined(schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        if at.is_empty() && !["spec", "status"].contains(&name.as_str()) {
            continue;
        }
        let (list, inner) = match member["type"].as_str() {
            Some("array") => ("[]", &member["items"]),
            _ => ("", member),
        };
        let mark = if required.contains(&json!(name)) {
            "*"
        } else {
            ""
        };
        let path = format!("{at}.{name}{list}");
        let word = word(name, inner);
        found.insert(format!("{path}{mark} {word}").trim().to_owned());
        if word.is_empty() {
            defined(inner, &path, found);
        }
    }
}

fn word(name: &str, schema: &Value) -> String {
    let any = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let base = match (schema["type"].as_str(), schema["format"].as_str()) {
        _ if schema["x-kubernetes-int-or-string"] == true => "ios",
        (Some("integer"), Some("int32")) => "int",
        (Some("integer"), Some("int64")) => "i64",
        (Some("boolean"), _) => "bool",
        (Some("string"), Some("date-time")) => "time",
        (Some("string"), None) => "str",
        _ if any && ["template", "spec"].contains(&name) => "pods",
        _ if any => "any",
        _ if !schema["additionalProperties"].is_null() => "map",
        _ => "",
    };
    let default = schema["default"].as_str();
    let words = schema["enum"].as_array().into_iter().flatten();
    let words: Vec<&str> = words.filter_map(Value::as_str).collect();
    let default = default.map_or(String::new(), |default| format!("={default}"));
    format!("{base}{default} {}", words.join("|"))
        .trim()
        .to_owned()
}

/// API-8, API-10, API-11, API-12, API-13, API-16, API-17, API-19, API-21, API-23, API-24, API-25,
/// API-26, API-32, API-37, API-38: members, types, what is required, defaults and closed lists of
/// the schemas are those of the rules, no more and no less.
#[test]
fn definitions_have_the_listed_fields() {
    let listed = listed();
    assert_eq!(listed.len(), 5);
    for definition in super::super::definitions() {
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap();
        let mut found = BTreeSet::new();
        defined(super::schema_of(&definition), "", &mut found);
        let want = &listed[kind];
        let missing: Vec<_> = want.difference(&found).collect();
        let unknown: Vec<_> = found.difference(want).collect();
        assert!(
            missing.is_empty() && unknown.is_empty(),
            "{kind}: missing {missing:#?} unknown {unknown:#?}"
        );
    }
}

/// A value that is not empty for a schema, so that nothing of it may be left out.
fn sample(schema: &Value) -> Value {
    if schema["x-kubernetes-int-or-string"] == true {
        return json!("5%");
    }
    match schema["type"].as_str() {
        Some("array") => json!([sample(&schema["items"])]),
        Some("boolean") => json!(true),
        Some("integer") => json!(7),
        Some("string") if schema["format"] == "date-time" => json!("2026-11-21T03:44:51Z"),
        Some("string") => json!("word"),
        _ if !schema["properties"].is_null() => {
            let members = schema["properties"].as_object().unwrap().iter();
            Value::Object(members.map(|(k, v)| (k.clone(), sample(v))).collect())
        }
        _ if !schema["additionalProperties"].is_null() => {
            json!({ "key": sample(&schema["additionalProperties"]) })
        }
        _ if schema["x-kubernetes-preserve-unknown-fields"] == true => {
            json!({ "any": { "thing": 1 } })
        }
        _ => json!({}),
    }
}

fn kept<T: DeserializeOwned + Serialize>(object: &Value) -> Value {
    let decoded: T = serde_json::from_value(object.clone()).unwrap();
    serde_json::to_value(decoded).unwrap()
}

/// API-11, API-12, API-13, API-16, API-17, API-19, API-21, API-23..26, API-32, API-37, API-38: the
/// types keep every member that the schemas have.
#[test]
fn types_keep_every_field() {
    for definition in super::super::definitions() {
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap();
        let schema = super::schema_of(&definition);
        let mut object = Map::new();
        for part in ["spec", "status"] {
            let schema = &schema["properties"][part];
            if !schema.is_null() {
                object.insert(part.to_owned(), sample(schema));
            }
        }
        let object = Value::Object(object);
        let kept = match kind {
            "Rollout" => kept::<Rollout>(&object),
            "AnalysisRun" => kept::<AnalysisRun>(&object),
            "AnalysisTemplate" => kept::<AnalysisTemplate>(&object),
            "ClusterAnalysisTemplate" => kept::<ClusterAnalysisTemplate>(&object),
            _ => kept::<Experiment>(&object),
        };
        for part in ["spec", "status"] {
            assert_eq!(kept[part], object[part], "{kind}.{part}");
        }
    }
}
