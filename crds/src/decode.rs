//! Reading an object of any shape, and saying which part of it cannot be read.
//!
//! A cluster may hold objects that no schema ever looked at: definitions of other releases, none at
//! all for a while. Such an object is reported like any other mistake (API-44).

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::field_error::FieldError;

/// Longest JSON of a part that an error shows, and longest reason.
const SHOWN: usize = 120;

/// Reads an object.
///
/// # Errors
/// The first of the smallest parts that cannot be read, with its path and what is expected there.
pub fn read<T: DeserializeOwned>(object: &Value) -> Result<T, FieldError> {
    T::deserialize(object).map_err(|error| smallest::<T>(object, error.to_string()))
}

/// One step into a JSON value.
enum Step<'a> {
    Member(&'a str),
    Item(usize),
}

/// Goes down into whatever cannot be read on its own. All members of our kinds may be absent, so a
/// part is judged by an object that holds nothing else.
fn smallest<T: DeserializeOwned>(object: &Value, mut why: String) -> FieldError {
    let mut path = Vec::new();
    let mut part = object;
    'down: loop {
        let fits = |empty: &Value| T::deserialize(alone(&path, empty)).is_ok();
        match part {
            // A struct would read the items of a list as its members, one after the other.
            Value::Array(_) if fits(&json!({})) => {
                "expected an object".clone_into(&mut why);
                break;
            }
            // The kind is wrong, not what is in it.
            Value::Array(_) if !fits(&json!([])) => break,
            Value::Object(_) if !fits(&json!({})) => break,
            _ => {}
        }
        for (step, inner) in parts(part) {
            path.push(step);
            if let Err(error) = T::deserialize(alone(&path, inner)) {
                (part, why) = (inner, error.to_string());
                continue 'down;
            }
            path.pop();
        }
        break;
    }
    if let Some((end, _)) = why.char_indices().nth(SHOWN) {
        why.truncate(end);
        why.push('…');
    }
    let detail = format!("cannot be read ({why}); correct or remove it");
    let mut error = FieldError::invalid(text(&path), part.clone(), detail);
    if !matches!(part, Value::Null | Value::Bool(_) | Value::Number(_)) {
        error.value = error.value.filter(|value| value.to_string().len() <= SHOWN);
    }
    error
}

fn parts(value: &Value) -> Vec<(Step<'_>, &Value)> {
    match value {
        Value::Object(members) => {
            // In one order, whatever map type `serde_json` was built with.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            let members = members.into_iter();
            members.map(|(key, v)| (Step::Member(key), v)).collect()
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.map(|(i, v)| (Step::Item(i), v)).collect()
        }
        _ => Vec::new(),
    }
}

/// An object with `part` at this place and nothing else.
fn alone(path: &[Step<'_>], part: &Value) -> Value {
    path.iter()
        .rev()
        .fold(part.clone(), |inner, step| match step {
            Step::Member(key) => json!({ (*key): inner }),
            Step::Item(_) => json!([inner]),
        })
}

/// `spec.strategy.canary.steps[0].pause`, `metadata.labels[example.com/a]`.
fn text(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Item(i) => text.push_str(&format!("[{i}]")),
            Step::Member(key) if key.contains(['.', '/', '[']) => {
                text.push_str(&format!("[{key}]"));
            }
            Step::Member(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rollout;

    /// API-1, API-3, API-44: what cannot be read is named by its path, with what belongs there.
    #[test]
    fn the_smallest_part_is_named() {
        let long = json!({ "blueGreen": "ü".repeat(200) });
        for (object, want) in [
            (json!({ "spec": { "replicas": 3 } }), None),
            (
                json!({ "metadata": { "name": "web" }, "spec": { "replicas": "three" } }),
                Some(
                    "spec.replicas: Invalid value: \"three\": cannot be read (expected a whole number)",
                ),
            ),
            (
                json!({ "spec": { "strategy": ["canary"] } }),
                Some(
                    "spec.strategy: Invalid value: [\"canary\"]: cannot be read (expected an object)",
                ),
            ),
            (
                json!({ "spec": { "strategy": { "canary": { "steps": [
                    { "setWeight": 5 }, { "setWeight": { "x": 1 } } ] } } } }),
                Some(
                    "spec.strategy.canary.steps[1].setWeight: Invalid value: {\"x\":1}: cannot be read",
                ),
            ),
            (
                json!({ "spec": { "strategy": { "canary": { "steps": [
                    { "pause": { "duration": true } } ] } } } }),
                Some(
                    "spec.strategy.canary.steps[0].pause.duration: Invalid value: true: cannot be read \
                      (expected a number or a text)",
                ),
            ),
            (
                json!({ "spec": { "restartAt": "tomorrow" } }),
                Some("spec.restartAt: Invalid value: \"tomorrow\": cannot be read"),
            ),
            (
                json!({ "spec": { "strategy": { "canary": { "canaryMetadata": { "labels": {
                    "example.com/a": 1 } } } } } }),
                Some(
                    "spec.strategy.canary.canaryMetadata.labels[example.com/a]: Invalid value: 1: ",
                ),
            ),
            (
                json!({ "spec": { "strategy": long } }),
                Some("spec.strategy.blueGreen: Invalid value: cannot be read"),
            ),
            (
                json!({ "status": { "conditions": [{ "lastUpdateTime": 5 }] } }),
                Some("status.conditions[0].lastUpdateTime: Invalid value: 5: cannot be read"),
            ),
        ] {
            let got = read::<Rollout>(&object)
                .err()
                .map(|error| error.to_string());
            match (&got, want) {
                (Some(got), Some(want)) => {
                    assert!(got.starts_with(want), "{got}");
                    assert!(got.ends_with("; correct or remove it"), "{got}");
                    assert!(got.len() < 400, "{got}");
                }
                (got, want) => assert_eq!(got.as_deref(), want, "{object}"),
            }
        }
    }
}
