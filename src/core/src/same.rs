//! Whether two specs say the same (ANA-90).

use serde::Serialize;
use serde_json::Value;

/// Equal but for members that are null or empty: some writers spell those out, and inside of what is
/// kept as raw JSON, such as the spec of a Job, they stay as they were written.
#[must_use]
pub(crate) fn but_for_empties<T: Serialize + PartialEq>(a: &T, b: &T) -> bool {
    let bare = |spec: &T| serde_json::to_value(spec).map(bare).unwrap_or_default();
    a == b || bare(a) == bare(b)
}

fn bare(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(key, member)| (key, bare(member)));
            Value::Object(members.filter(|(_, member)| !is_empty(member)).collect())
        }
        // An item of a list counts by its place, empty or not.
        Value::Array(items) => Value::Array(items.into_iter().map(bare).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// ANA-90
    #[test]
    fn empties_are_absent() {
        for (a, b, same) in [
            (json!({"a": {}, "b": null, "c": []}), json!({}), true),
            (json!({"a": {"b": {"c": null}}}), json!({}), true),
            (
                json!({"l": [{"r": {}, "n": 1}]}),
                json!({"l": [{"n": 1}]}),
                true,
            ),
            (json!({"l": [{}, 1]}), json!({"l": [1]}), false),
            (json!({"n": 0}), json!({}), false),
            (json!({"t": ""}), json!({}), false),
        ] {
            assert_eq!(but_for_empties(&a, &b), same, "{a} {b}");
        }
    }
}
