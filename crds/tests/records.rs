//! What a running peer wrote decodes and encodes without loss.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests too"
)]

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sluice_crds::{
    AnalysisRun, AnalysisTemplate, ClusterAnalysisTemplate, Experiment, ReplicaSet, Rollout,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/fixtures/peer")
}

/// Every object of every record, with the file it is from.
fn objects() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for dir in std::fs::read_dir(folder()).unwrap() {
        let dir = dir.unwrap().path();
        if !dir.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(dir).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|e| e == "json") {
                let list: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
                for item in list["items"].as_array().unwrap() {
                    found.push((file.display().to_string(), item.clone()));
                }
            }
        }
    }
    assert!(found.len() > 1000);
    found
}

/// Decodes and encodes an object of a kind we own; `None` for others.
fn round_trip(object: &Value) -> Option<Value> {
    fn pass<T: DeserializeOwned + Serialize>(object: &Value) -> Option<Value> {
        let decoded: T = serde_json::from_value(object.clone()).unwrap();
        Some(serde_json::to_value(decoded).unwrap())
    }
    match object["kind"].as_str().unwrap() {
        "Rollout" => pass::<Rollout>(object),
        "ReplicaSet" => pass::<ReplicaSet>(object),
        "AnalysisTemplate" => pass::<AnalysisTemplate>(object),
        "ClusterAnalysisTemplate" => pass::<ClusterAnalysisTemplate>(object),
        "AnalysisRun" => pass::<AnalysisRun>(object),
        "Experiment" => pass::<Experiment>(object),
        _ => None,
    }
}

/// Statuses (API-70, ANA-20, EXP-10) are equal to the byte, but for zero values that a client
/// wrote and the two strategy members of a Rollout that only ever got patches.
#[test]
fn status_is_written_as_recorded() {
    let mut seen = 0;
    for (file, object) in objects() {
        let Some(mut ours) = round_trip(&object) else {
            continue;
        };
        let mut theirs = object.clone();
        let Some(status) = theirs["status"].as_object_mut() else {
            continue;
        };
        if status.get("abort") == Some(&Value::Bool(false)) {
            status.remove("abort");
        }
        if object["kind"] == "Rollout" && !status.contains_key("canary") {
            let ours = ours["status"].as_object_mut().unwrap();
            assert_eq!(ours.remove("canary"), Some(serde_json::json!({})));
            assert_eq!(ours.remove("blueGreen"), Some(serde_json::json!({})));
        }
        assert_eq!(
            ours["status"], theirs["status"],
            "{file} {}",
            object["metadata"]["name"]
        );
        seen += 1;
    }
    assert!(seen > 200);
}

/// ANA-90: specs lose nothing; what is added are the structs that are always written.
#[test]
fn spec_is_written_as_recorded() {
    fn without_empty(value: &Value) -> Value {
        match value {
            Value::Object(o) => Value::Object(
                o.iter()
                    .map(|(k, v)| (k.clone(), without_empty(v)))
                    .filter(|(_, v)| *v != serde_json::json!({}) && *v != Value::Bool(false))
                    .collect(),
            ),
            Value::Array(items) => Value::Array(items.iter().map(without_empty).collect()),
            other => other.clone(),
        }
    }
    for (file, object) in objects() {
        let Some(ours) = round_trip(&object) else {
            continue;
        };
        assert_eq!(
            without_empty(&ours["spec"]),
            without_empty(&object["spec"]),
            "{file} {}",
            object["metadata"]["name"]
        );
        if matches!(
            object["kind"].as_str(),
            Some("AnalysisRun" | "Experiment" | "ReplicaSet")
        ) {
            assert_eq!(ours["spec"], object["spec"], "{file}");
        }
        assert_eq!(
            (&ours["apiVersion"], &ours["kind"]),
            (&object["apiVersion"], &object["kind"])
        );
    }
}

/// The manifests of users decode without loss.
#[test]
fn manifests_decode() {
    for file in std::fs::read_dir(folder().join("manifests")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            let object = <Value as serde::Deserialize>::deserialize(document).unwrap();
            if object.is_null() {
                continue;
            }
            if let Some(ours) = round_trip(&object) {
                json_contains(&ours["spec"], &object["spec"], "spec");
            }
        }
    }
}

fn json_contains(ours: &Value, theirs: &Value, path: &str) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in b {
                json_contains(
                    a.get(key).unwrap_or(&Value::Null),
                    value,
                    &format!("{path}.{key}"),
                );
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{path}");
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                json_contains(a, b, &format!("{path}[{i}]"));
            }
        }
        _ => assert_eq!(ours, theirs, "{path}"),
    }
}

/// Paths of every member of an object, but for raw parts and for lists (a list has no null items).
fn members(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                found.push(path.clone());
                // Raw parts, and maps of texts.
                let opaque = ["template", "job", "labels", "metadata", "matchLabels"];
                let annotations = key.to_lowercase().ends_with("annotations");
                if !opaque.contains(&key.as_str()) && !annotations {
                    members(value, &path, found);
                }
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                members(item, &format!("{at}/{i}"), found);
            }
        }
        _ => {}
    }
}

/// `null` anywhere reads as absent, and unknown words never stop the reading.
#[test]
fn null_is_absent() {
    let mut seen = 0;
    for (file, object) in objects() {
        if !file.contains("2-mid") || round_trip(&object).is_none() {
            continue;
        }
        let mut paths = Vec::new();
        for part in ["spec", "status"] {
            members(&object[part], &format!("/{part}"), &mut paths);
        }
        for path in paths {
            let mut with_null = object.clone();
            *with_null.pointer_mut(&path).unwrap() = Value::Null;
            let (parent, key) = path.rsplit_once('/').unwrap();
            let mut without = object.clone();
            let key = key.replace("~1", "/").replace("~0", "~");
            match without.pointer_mut(parent).unwrap() {
                Value::Object(members) => members.remove(&key),
                _ => continue,
            };
            assert_eq!(
                round_trip(&with_null),
                round_trip(&without),
                "{file} {path}"
            );
            let unknown = object.pointer(&path).unwrap().is_string()
                && ["phase", "reason", "status", "operation"].contains(&key.as_str());
            if unknown {
                *with_null.pointer_mut(&path).unwrap() = "Tomorrow".into();
                let ours = round_trip(&with_null).unwrap();
                assert_eq!(ours.pointer(&path), with_null.pointer(&path));
            }
            seen += 1;
        }
    }
    assert!(seen > 500);
}

/// Every text of the form of a key below `metadata`, selectors and subsets.
fn key_like(value: &Value, found: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, inner) in members {
                if key.contains("argoproj.io/") || key == "scale-down-deadline" {
                    found.insert(key.clone());
                }
                if ["rollouts-pod-template-hash", "rollout-type", "step-index"]
                    .contains(&key.as_str())
                {
                    found.insert(key.clone());
                }
                key_like(inner, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| key_like(item, found)),
        _ => {}
    }
}

/// API-40: the keys that a running peer writes are ours, letter for letter.
#[test]
fn keys_are_those_on_record() {
    use sluice_crds::keys;

    let mut found = std::collections::BTreeSet::new();
    for (_, object) in objects() {
        if object["kind"] != "Event" {
            key_like(&object, &mut found);
        }
    }
    let ours = [
        keys::POD_TEMPLATE_HASH,
        keys::REVISION,
        keys::REVISION_HISTORY,
        keys::DESIRED_REPLICAS,
        keys::WORKLOAD_GENERATION,
        keys::EPHEMERAL_METADATA,
        keys::SCALE_DOWN_DEADLINE,
        keys::MANAGED_BY,
        keys::EXPERIMENT_NAME,
        keys::EXPERIMENT_TEMPLATE,
        keys::ROLLOUT_TYPE,
        keys::STEP_INDEX,
        keys::JOB_RUN_UID,
        keys::JOB_RUN_NAME,
        keys::JOB_RUN_NAMESPACE,
        keys::JOB_METRIC_NAME,
    ];
    assert_eq!(found, ours.map(str::to_owned).into());
    let types: std::collections::BTreeSet<String> = objects()
        .into_iter()
        .filter_map(|(_, o)| {
            Some(
                o["metadata"]["labels"][keys::ROLLOUT_TYPE]
                    .as_str()?
                    .to_owned(),
            )
        })
        .collect();
    for of_type in types {
        let known = [
            keys::ROLLOUT_TYPE_STEP,
            keys::ROLLOUT_TYPE_BACKGROUND,
            keys::ROLLOUT_TYPE_PRE_PROMOTION,
            keys::ROLLOUT_TYPE_POST_PROMOTION,
        ];
        assert!(known.contains(&of_type.as_str()), "{of_type}");
    }
}
