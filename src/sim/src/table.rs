//! Tables, as kubectl shows lists: printer columns of definitions, and own ones for the
//! built-in kinds.

mod builtin;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::clock::parse_stamp;
use crate::json::{at, text};
use crate::kinds::{Column, Kind};
use crate::object::Object;

/// What a row carries besides its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    Nothing,
    Metadata,
    Object,
}

/// A table of objects.
pub(crate) fn table(
    kind: &Kind,
    version: &str,
    objects: &[Arc<Object>],
    now: Timestamp,
    include: Include,
) -> Value {
    let rows: Vec<Value> = objects
        .iter()
        .map(|o| row(kind, version, o, now, include))
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {},
        "columnDefinitions": definitions(kind, version), "rows": rows,
    })
}

/// A table of one object, as watches show it.
pub(crate) fn row_table(
    kind: &Kind,
    version: &str,
    object: &Object,
    now: Timestamp,
    include: Include,
) -> Value {
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": object.revision.to_string()},
        "columnDefinitions": definitions(kind, version),
        "rows": [row(kind, version, object, now, include)],
    })
}

fn definition(name: &str, kind: &str, format: &str, description: &str, priority: i64) -> Value {
    json!({
        "name": name, "type": kind, "format": format, "description": description,
        "priority": priority,
    })
}

fn definitions(kind: &Kind, version: &str) -> Vec<Value> {
    let mut list = vec![definition(
        "Name",
        "string",
        "name",
        "Name of the object",
        0,
    )];
    if let Some(columns) = builtin::columns(kind) {
        list.extend(
            columns
                .iter()
                .map(|c| definition(c.name, c.kind, "", "", c.priority)),
        );
    } else if let Some(columns) = own_columns(kind, version) {
        list.extend(
            columns
                .iter()
                .map(|c| definition(&c.name, &c.kind, &c.format, &c.description, c.priority)),
        );
    } else {
        list.push(definition("Age", "date", "", "Time since the creation", 0));
    }
    list
}

fn own_columns<'a>(kind: &'a Kind, version: &str) -> Option<&'a Vec<Column>> {
    kind.columns.get(version).filter(|c| !c.is_empty())
}

fn row(kind: &Kind, version: &str, object: &Object, now: Timestamp, include: Include) -> Value {
    let value = &object.value;
    let mut cells = vec![Value::from(object.name())];
    if let Some(columns) = builtin::columns(kind) {
        cells.extend(columns.iter().map(|c| (c.cell)(value, now)));
    } else if let Some(columns) = own_columns(kind, version) {
        cells.extend(columns.iter().map(|c| cell(c, value, now)));
    } else {
        cells.push(age(value, now));
    }
    let shown = match include {
        Include::Nothing => return json!({"cells": cells}),
        Include::Metadata => json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": value.get("metadata"),
        }),
        Include::Object => {
            let mut whole = value.clone();
            crate::json::put(&mut whole, &["apiVersion"], kind.api_version(version));
            crate::json::put(&mut whole, &["kind"], kind.kind.clone());
            whole
        }
    };
    json!({"cells": cells, "object": shown})
}

/// The cell of a definition's column.
fn cell(column: &Column, value: &Value, now: Timestamp) -> Value {
    let Some(found) = path(value, &column.path) else {
        return Value::Null;
    };
    match (column.kind.as_str(), found) {
        (_, Value::Null) => Value::Null,
        ("date", Value::String(stamp)) => since(stamp, now).into(),
        ("integer" | "number", found @ Value::Number(_)) | ("boolean", found @ Value::Bool(_)) => {
            found.clone()
        }
        (_, Value::String(s)) => s.clone().into(),
        (_, other) => other.to_string().into(),
    }
}

/// The simple JSONPath of printer columns: `.a.b`, `.a['b']`, `.a[0]`, and
/// `.a[?(@.type=="b")].c`.
fn path<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut here = value;
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = unescaped(after);
            let (name, tail) = after.split_at(end);
            if !name.is_empty() {
                here = here.get(name.replace("\\.", ".").as_str())?;
            }
            rest = tail;
        } else if let Some(after) = rest.strip_prefix('[') {
            let (inside, tail) = after.split_once(']')?;
            here = if let Some(filter) = inside.strip_prefix("?(@.") {
                let (field, want) = filter.trim_end_matches(')').split_once("==")?;
                let want = want.trim().trim_matches(['"', '\'']);
                here.as_array()?
                    .iter()
                    .find(|v| text(v, &[field.trim()]) == want)?
            } else if let Ok(index) = inside.parse::<usize>() {
                here.get(index)?
            } else {
                here.get(inside.trim_matches(['"', '\'']))?
            };
            rest = tail;
        } else {
            return None;
        }
    }
    Some(here)
}

/// Where a field name ends: at the next dot or bracket that is not escaped.
fn unescaped(text: &str) -> usize {
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            '\\' => escaped = true,
            '.' | '[' if !escaped => return i,
            _ => escaped = false,
        }
    }
    text.len()
}

/// Time since the creation.
pub(crate) fn age(value: &Value, now: Timestamp) -> Value {
    match at(value, &["metadata", "creationTimestamp"]).and_then(Value::as_str) {
        Some(stamp) => since(stamp, now).into(),
        None => "<unknown>".into(),
    }
}

/// Time since a stamp, short as kubectl writes it.
pub(crate) fn since(stamp: &str, now: Timestamp) -> String {
    let Some(then) = parse_stamp(stamp) else {
        return "<unknown>".to_owned();
    };
    short_duration(now.duration_since(then).as_secs())
}

/// Two units at most, fewer the longer it is.
pub(crate) fn short_duration(seconds: i64) -> String {
    let (s, m, h, d) = (seconds, seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |a: i64, unit: char, b: i64, small: char| {
        if b == 0 {
            format!("{a}{unit}")
        } else {
            format!("{a}{unit}{b}{small}")
        }
    };
    match () {
        () if s < 0 => "<invalid>".to_owned(),
        () if s < 120 => format!("{s}s"),
        () if m < 10 => two(m, 'm', s % 60, 's'),
        () if m < 180 => format!("{m}m"),
        () if h < 8 => two(h, 'h', m % 60, 'm'),
        () if h < 48 => format!("{h}h"),
        () if d < 8 => two(d, 'd', h % 24, 'h'),
        () if d < 730 => format!("{d}d"),
        () if d < 2920 => two(d / 365, 'y', d % 365, 'd'),
        () => format!("{}y", d / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let rows = [
            (5, "5s"),
            (119, "119s"),
            (150, "2m30s"),
            (700, "11m"),
            (7200, "120m"),
            (90_000, "25h"),
        ];
        for (seconds, want) in rows {
            assert_eq!(short_duration(seconds), want);
        }
    }

    #[test]
    fn paths_find_values() {
        let value = json!({"a": {"b.c": 1, "d": [{"type": "X", "v": 2}, {"type": "Y", "v": 3}]}});
        let rows = [
            (".a.b\\.c", Some(1)),
            (".a['b.c']", Some(1)),
            (".a.d[0].v", Some(2)),
            (".a.d[?(@.type==\"Y\")].v", Some(3)),
            (".a.x", None),
        ];
        for (text, want) in rows {
            assert_eq!(path(&value, text).and_then(Value::as_i64), want, "{text}");
        }
    }
}
