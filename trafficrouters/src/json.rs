//! Short ways into JSON objects whose shape nobody has checked.

use serde_json::{Map, Value};

/// The text at a JSON pointer; empty when there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The list at a JSON pointer; empty when there is none.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The whole number at a key; 0 when there is none.
pub(crate) fn number(value: &Value, key: &str) -> i64 {
    value.get(key).and_then(Value::as_i64).unwrap_or_default()
}

/// Sets the member at a path of keys, making the objects on the way.
pub(crate) fn set(value: &mut Value, path: &[&str], new: Value) {
    let Some((key, rest)) = path.split_first() else {
        *value = new;
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    if let Some(map) = value.as_object_mut() {
        set(map.entry(*key).or_insert(Value::Null), rest, new);
    }
}

/// Removes the member at a path of keys, and the object around it when that leaves it empty.
pub(crate) fn unset(value: &mut Value, path: &[&str]) {
    let Some(map) = value.as_object_mut() else {
        return;
    };
    match path {
        [] => {}
        [key] => {
            map.remove(*key);
        }
        [key, rest @ ..] => {
            let Some(inner) = map.get_mut(*key) else {
                return;
            };
            let had_some = inner.as_object().is_some_and(|m| !m.is_empty());
            unset(inner, rest);
            if had_some && inner.as_object().is_some_and(Map::is_empty) {
                map.remove(*key);
            }
        }
    }
}

/// The text before the first dot: a host as Istio compares it.
pub(crate) fn first_label(host: &str) -> &str {
    host.split_once('.').map_or(host, |(label, _)| label)
}
