//! Values against one level of a schema.

use serde_json::Value;

use super::{JsonType, Limits, Node};
use crate::error::Cause;

/// Collects what is wrong with `value`.
pub(super) fn check(node: &Node, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    if value.is_null() && node.nullable {
        return;
    }
    if !has_type(node, value) {
        let want = if node.int_or_string {
            "integer,string"
        } else {
            node.types.map_or("", name)
        };
        causes.push(Cause::wrong_type(path, value, want));
        return;
    }
    if !node.allowed.is_empty() && !node.allowed.contains(value) {
        let allowed: Vec<String> = node
            .allowed
            .iter()
            .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
            .collect();
        causes.push(Cause::unsupported(path, value, &allowed));
    }
    limits(&node.limits, value, path, causes);
    sizes(&node.limits, value, path, causes);
    combined(node, value, path, causes);
    match value {
        Value::Object(fields) => {
            for key in &node.required {
                if !fields.contains_key(key) {
                    causes.push(Cause::required(join(path, key), ""));
                }
            }
            for (key, value) in fields {
                let inner = node.properties.get(key).or(node.additional.as_deref());
                if let Some(inner) = inner.filter(|n| !is_empty(n)) {
                    check(inner, value, &join(path, key), causes);
                }
            }
        }
        Value::Array(list) => elements(node, list, path, causes),
        _ => {}
    }
}

fn elements(node: &Node, list: &[Value], path: &str, causes: &mut Vec<Cause>) {
    if let Some(inner) = &node.items {
        for (i, item) in list.iter().enumerate() {
            check(inner, item, &format!("{path}[{i}]"), causes);
        }
    }
    for (i, item) in list.iter().enumerate() {
        let twin = |other: &Value| {
            if node.map_keys.is_empty() {
                node.set && other == item
            } else {
                node.map_keys.iter().all(|k| other.get(k) == item.get(k))
            }
        };
        if list.iter().take(i).any(twin) {
            causes.push(Cause {
                reason: "FieldValueDuplicate",
                field: format!("{path}[{i}]"),
                message: format!("Duplicate value: {item}"),
            });
        }
    }
}

fn combined(node: &Node, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let passes = |n: &Node| {
        let mut found = Vec::new();
        check(n, value, path, &mut found);
        found.is_empty()
    };
    for inner in &node.all_of {
        check(inner, value, path, causes);
    }
    if !node.int_or_string && !node.any_of.is_empty() && !node.any_of.iter().any(passes) {
        let why = format!("{path} in body must validate at least one schema (anyOf)");
        causes.push(Cause::invalid(path, value, &why));
    }
    if !node.one_of.is_empty() && node.one_of.iter().filter(|n| passes(n)).count() != 1 {
        let why = format!("{path} in body must validate one and only one schema (oneOf)");
        causes.push(Cause::invalid(path, value, &why));
    }
    if node.not.as_deref().is_some_and(passes) {
        let why = format!("{path} in body must not validate the schema (not)");
        causes.push(Cause::invalid(path, value, &why));
    }
}

fn limits(limits: &Limits, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let mut refuse = |why: String| {
        causes.push(Cause::invalid(
            path,
            value,
            &format!("{path} in body {why}"),
        ));
    };
    match value {
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            let low = |m: f64| number < m || (limits.exclusive.0 && number <= m);
            if let Some(m) = limits.minimum.filter(|m| low(*m)) {
                let or = if limits.exclusive.0 {
                    ""
                } else {
                    " or equal to"
                };
                refuse(format!("should be greater than{or} {m}"));
            }
            let high = |m: f64| number > m || (limits.exclusive.1 && number >= m);
            if let Some(m) = limits.maximum.filter(|m| high(*m)) {
                let or = if limits.exclusive.1 {
                    ""
                } else {
                    " or equal to"
                };
                refuse(format!("should be less than{or} {m}"));
            }
        }
        Value::String(text) => {
            let length = text.chars().count() as i64;
            if let Some(m) = limits.min_length.filter(|m| length < *m) {
                refuse(format!("should be at least {m} chars long"));
            }
            if let Some(p) = limits.pattern.as_ref().filter(|p| !p.is_match(text)) {
                refuse(format!("should match '{p}'"));
            }
        }
        Value::Array(list) => {
            let length = list.len() as i64;
            if let Some(m) = limits.min_items.filter(|m| length < *m) {
                refuse(format!("should have at least {m} items"));
            }
        }
        Value::Object(fields) => {
            let length = fields.len() as i64;
            if let Some(m) = limits.min_properties.filter(|m| length < *m) {
                refuse(format!("should have at least {m} properties"));
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// Upper limits of sizes, which have words of their own.
fn sizes(limits: &Limits, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let over = |limit: Option<i64>, size: usize| {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        limit
            .filter(|limit| size > *limit)
            .map(|limit| (size, limit))
    };
    match value {
        Value::String(text) => {
            if let Some((_, limit)) = over(limits.max_length, text.chars().count()) {
                causes.push(Cause::too_long(path, limit));
            }
        }
        Value::Array(list) => {
            if let Some((size, limit)) = over(limits.max_items, list.len()) {
                causes.push(Cause::too_many(path, size, limit));
            }
        }
        Value::Object(fields) => {
            if let Some((size, limit)) = over(limits.max_properties, fields.len()) {
                causes.push(Cause::too_many(path, size, limit));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn has_type(node: &Node, value: &Value) -> bool {
    if node.int_or_string {
        return value.is_string() || value.is_i64() || value.is_u64();
    }
    match node.types {
        None => true,
        Some(JsonType::Object) => value.is_object(),
        Some(JsonType::Array) => value.is_array(),
        Some(JsonType::String) => value.is_string(),
        Some(JsonType::Boolean) => value.is_boolean(),
        Some(JsonType::Number) => value.is_number(),
        Some(JsonType::Integer) => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|f| f.fract() == 0.0)
        }
    }
}

fn name(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Object => "object",
        JsonType::Array => "array",
        JsonType::String => "string",
        JsonType::Integer => "integer",
        JsonType::Number => "number",
        JsonType::Boolean => "boolean",
    }
}

/// Constrains nothing.
fn is_empty(node: &Node) -> bool {
    node.types.is_none()
        && !node.int_or_string
        && node.allowed.is_empty()
        && node.properties.is_empty()
        && node.additional.is_none()
        && node.any_of.is_empty()
        && node.one_of.is_empty()
        && node.all_of.is_empty()
        && node.not.is_none()
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
