//! Strategic merge patch for built-in kinds.

use serde_json::{Map, Value};

use super::lists::{is_set, merge_key};
use crate::error::ApiError;
use crate::json::text;

/// Merges `patch` into `value`.
pub(super) fn merge(kind: &str, value: &mut Value, patch: &Value) -> Result<(), ApiError> {
    let mut path = Vec::new();
    merge_at(kind, &mut path, value, patch)
}

fn merge_at<'a>(
    kind: &str,
    path: &mut Vec<&'a str>,
    value: &mut Value,
    patch: &'a Value,
) -> Result<(), ApiError> {
    let Some(changes) = patch.as_object() else {
        *value = patch.clone();
        return Ok(());
    };
    if text(patch, &["$patch"]) == "replace" {
        *value = Value::Object(without_directives(changes));
        return Ok(());
    }
    if text(patch, &["$patch"]) == "delete" {
        *value = Value::Object(Map::new());
        return Ok(());
    }
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Some(fields) = value.as_object_mut() else {
        return Ok(());
    };
    if let Some(keep) = changes.get("$retainKeys").and_then(Value::as_array) {
        fields.retain(|key, _| keep.iter().any(|k| k == key));
    }
    for (key, change) in changes {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = change.as_array().map_or(&[][..], Vec::as_slice);
            if let Some(found) = fields.get_mut(list).and_then(Value::as_array_mut) {
                found.retain(|v| !gone.contains(v));
            }
            continue;
        }
        if key.starts_with('$') {
            continue;
        }
        if change.is_null() {
            fields.remove(key);
            continue;
        }
        path.push(key);
        match change {
            Value::Object(inner) => {
                if text(change, &["$patch"]) == "delete" {
                    fields.remove(key);
                } else if inner.is_empty() {
                    fields
                        .entry(key.clone())
                        .or_insert_with(|| Value::Object(Map::new()));
                } else {
                    merge_at(
                        kind,
                        path,
                        fields.entry(key.clone()).or_insert(Value::Null),
                        change,
                    )?;
                }
            }
            Value::Array(items) => {
                let slot = fields
                    .entry(key.clone())
                    .or_insert_with(|| Value::Array(Vec::new()));
                merge_list(kind, path, slot, items)?;
            }
            plain => {
                fields.insert(key.clone(), plain.clone());
            }
        }
        path.pop();
    }
    reorder(kind, path, fields, changes);
    Ok(())
}

fn merge_list<'a>(
    kind: &str,
    path: &mut Vec<&'a str>,
    slot: &mut Value,
    changes: &'a [Value],
) -> Result<(), ApiError> {
    let replace = changes.iter().any(|c| text(c, &["$patch"]) == "replace");
    let kept = || changes.iter().filter(|c| text(c, &["$patch"]).is_empty());
    let key = merge_key(kind, path).filter(|_| kept().all(Value::is_object));
    let Value::Array(list) = slot else {
        *slot = kept().cloned().collect();
        return Ok(());
    };
    if replace {
        *list = kept().cloned().collect();
        return Ok(());
    }
    let Some(key) = key else {
        if is_set(path) {
            for change in changes {
                if !list.contains(change) {
                    list.push(change.clone());
                }
            }
        } else {
            *list = changes.to_vec();
        }
        return Ok(());
    };
    let mut before: Option<&Value> = None;
    for change in changes {
        let Some(id) = change.get(key) else {
            let message = format!("map: {change} does not contain declared merge key: {key}");
            return Err(ApiError::bad_request(message));
        };
        if text(change, &["$patch"]) == "delete" {
            list.retain(|item| item.get(key) != Some(id));
            continue;
        }
        if let Some(item) = list.iter_mut().find(|item| item.get(key) == Some(id)) {
            merge_at(kind, path, item, change)?;
        } else {
            let mut item = Value::Object(Map::new());
            merge_at(kind, path, &mut item, change)?;
            // A new element stands behind the one that the patch names before it, else first.
            let at = list
                .iter()
                .position(|i| before.is_some() && i.get(key) == before);
            list.insert(at.map_or(0, |at| at + 1), item);
        }
        before = Some(id);
    }
    Ok(())
}

/// Puts lists into the order that `$setElementOrder/…` asks for; others keep their place
/// behind.
fn reorder(
    kind: &str,
    path: &[&str],
    fields: &mut Map<String, Value>,
    changes: &Map<String, Value>,
) {
    for (key, order) in changes {
        let Some(name) = key.strip_prefix("$setElementOrder/") else {
            continue;
        };
        let (Some(list), Some(order)) = (
            fields.get_mut(name).and_then(Value::as_array_mut),
            order.as_array(),
        ) else {
            continue;
        };
        let full: Vec<&str> = path.iter().copied().chain([name]).collect();
        let id = |item: &Value| match merge_key(kind, &full) {
            Some(key) => item.get(key).cloned(),
            None => Some(item.clone()),
        };
        list.sort_by_key(|item| {
            order
                .iter()
                .position(|o| id(o) == id(item))
                .unwrap_or(usize::MAX)
        });
    }
}

fn without_directives(map: &Map<String, Value>) -> Map<String, Value> {
    map.iter()
        .filter(|(k, _)| !k.starts_with('$'))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(kind: &str, value: Value, patch: Value) -> Value {
        let mut value = value;
        merge(kind, &mut value, &patch).unwrap();
        value
    }

    #[test]
    fn lists_merge_by_key() {
        let pod = json!({"spec": {"containers": [
            {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]},
            {"name": "b", "image": "b:1"}
        ]}});
        let patch = json!({"spec": {"containers": [
            {"name": "a", "image": "a:2", "env": [{"name": "Y", "value": "2"}]},
            {"name": "b", "$patch": "delete"},
            {"name": "c", "image": "c:1"}
        ]}});
        assert_eq!(
            patched("Pod", pod, patch),
            json!({"spec": {"containers": [
                {"name": "a", "image": "a:2",
                 "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]},
                {"name": "c", "image": "c:1"}
            ]}})
        );
    }

    #[test]
    fn directives_are_obeyed() {
        let service = json!({"spec": {"selector": {"a": "1", "b": "2"}, "ports": [{"port": 80}]}});
        let rows = [
            (
                json!({"spec": {"selector": {"$patch": "replace", "c": "3"}}}),
                json!({"spec": {"selector": {"c": "3"}, "ports": [{"port": 80}]}}),
            ),
            (
                json!({"spec": {"selector": null, "ports": [{"port": 80, "name": "x"}]}}),
                json!({"spec": {"ports": [{"port": 80, "name": "x"}]}}),
            ),
            (
                json!({"spec": {"$retainKeys": ["ports"], "ports": [{"port": 81}]}}),
                json!({"spec": {"ports": [{"port": 81}, {"port": 80}]}}),
            ),
            (
                json!({"spec": {
                    "$setElementOrder/ports": [{"port": 81}, {"port": 80}],
                    "ports": [{"port": 81}]
                }}),
                json!({"spec": {"selector": {"a": "1", "b": "2"},
                                "ports": [{"port": 81}, {"port": 80}]}}),
            ),
        ];
        for (patch, want) in rows {
            assert_eq!(
                patched("Service", service.clone(), patch.clone()),
                want,
                "{patch}"
            );
        }
    }
}
