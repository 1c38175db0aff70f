//! JSON merge patches: what to send so that what was seen becomes what is wanted.

use serde_json::{Map, Value};

/// The smallest JSON merge patch (RFC 7386) that turns `seen` into `want`; `None` when they are
/// equal. Keys that are gone become `null`; lists are replaced as a whole.
///
/// A `null` inside `want` counts as absent, since a merge patch cannot store one.
#[must_use]
pub fn merge_diff(seen: &Value, want: &Value) -> Option<Value> {
    match (seen, want) {
        (Value::Object(seen), Value::Object(want)) => {
            let patch = object_diff(seen, want);
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        (seen, want) if seen == want => None,
        (_, Value::Object(want)) => Some(Value::Object(without_nulls(want))),
        (_, want) => Some(want.clone()),
    }
}

fn object_diff(seen: &Map<String, Value>, want: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, value) in want.iter().filter(|(_, value)| !value.is_null()) {
        let difference = match seen.get(key) {
            Some(before) => merge_diff(before, value),
            None => merge_diff(&Value::Null, value),
        };
        if let Some(difference) = difference {
            patch.insert(key.clone(), difference);
        }
    }
    for (key, value) in seen {
        let gone = want.get(key).is_none_or(Value::is_null);
        if gone && !value.is_null() {
            patch.insert(key.clone(), Value::Null);
        }
    }
    patch
}

fn without_nulls(object: &Map<String, Value>) -> Map<String, Value> {
    let kept = object.iter().filter(|(_, value)| !value.is_null());
    kept.map(|(key, value)| match value {
        Value::Object(inner) => (key.clone(), Value::Object(without_nulls(inner))),
        other => (key.clone(), other.clone()),
    })
    .collect()
}

/// Adds `metadata.resourceVersion` to a merge patch, so that the API server answers 409 when the
/// object has changed since it was read. An empty version adds nothing.
#[must_use]
pub fn guarded(mut patch: Value, resource_version: &str) -> Value {
    if !resource_version.is_empty()
        && let Value::Object(body) = &mut patch
        && let Value::Object(metadata) = body
            .entry("metadata")
            .or_insert_with(|| Value::Object(Map::new()))
    {
        metadata.insert("resourceVersion".into(), resource_version.into());
    }
    patch
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_minimal_and_arrive() {
        let cases = [
            ("equal", json!({"a": 1}), json!({"a": 1}), None),
            (
                "changed",
                json!({"a": 1, "b": 2}),
                json!({"a": 3, "b": 2}),
                Some(json!({"a": 3})),
            ),
            (
                "gone",
                json!({"a": 1, "b": {"c": 1}}),
                json!({"a": 1}),
                Some(json!({"b": null})),
            ),
            (
                "null is gone",
                json!({"a": 1}),
                json!({"a": null}),
                Some(json!({"a": null})),
            ),
            ("null stays gone", json!({}), json!({"a": null}), None),
            (
                "nested",
                json!({"a": {"b": 1, "c": 2}}),
                json!({"a": {"b": 1}}),
                Some(json!({"a": {"c": null}})),
            ),
            (
                "list",
                json!({"a": [1, 2]}),
                json!({"a": [1]}),
                Some(json!({"a": [1]})),
            ),
            (
                "new object",
                json!({}),
                json!({"a": {"b": 1, "c": null}}),
                Some(json!({"a": {"b": 1}})),
            ),
            (
                "empty object",
                json!({}),
                json!({"a": {}}),
                Some(json!({"a": {}})),
            ),
            (
                "from null",
                json!(null),
                json!({"a": 1}),
                Some(json!({"a": 1})),
            ),
        ];
        for (name, seen, want, patch) in cases {
            assert_eq!(merge_diff(&seen, &want), patch, "{name}");
            if let Some(patch) = patch {
                let mut result = seen;
                json_patch::merge(&mut result, &patch);
                assert_eq!(merge_diff(&result, &want), None, "{name}: arrives");
            }
        }
    }

    #[test]
    fn the_guard_is_added_beside_other_metadata() {
        let patch = guarded(json!({"metadata": {"labels": {"a": "b"}}}), "7");
        assert_eq!(
            patch,
            json!({"metadata": {"labels": {"a": "b"}, "resourceVersion": "7"}})
        );
        assert_eq!(guarded(json!({"status": {}}), ""), json!({"status": {}}));
    }
}
