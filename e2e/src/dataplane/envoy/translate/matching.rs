//! Which requests a route is for.

use serde_json::{Map, Value, json};

use super::TranslateError;
use super::field::Field;

/// A VirtualService's match, all of whose conditions must hold.
pub(super) fn route_match(at: &Field<'_>) -> Result<Value, TranslateError> {
    at.known(&[
        "name",
        "headers",
        "uri",
        "method",
        "withoutHeaders",
        "ignoreUriCase",
    ])?;
    let mut wanted = match at.value.get("uri") {
        None | Some(Value::Null) => json!({"prefix": "/"}),
        Some(uri) => match string_match(uri) {
            Some(("exact", value)) => json!({"path": value}),
            Some(("prefix", value)) => json!({"prefix": value}),
            Some((_, value)) => json!({"safe_regex": {"regex": value}}),
            None => return Err(at.bad("uri", "neither exact, prefix nor regex")),
        },
    };
    let mut headers = vec![];
    for (field, inverted) in [("headers", false), ("withoutHeaders", true)] {
        let given = at.value.get(field).and_then(Value::as_object);
        for (name, value) in given.into_iter().flatten() {
            headers.push(header_match(at, field, name, value, inverted)?);
        }
    }
    if let Some(method) = at.value.get("method") {
        headers.push(header_match(at, "method", ":method", method, false)?);
    }
    if let (Some(fields), false) = (wanted.as_object_mut(), headers.is_empty()) {
        fields.insert("headers".to_owned(), headers.into());
    }
    if let (Some(fields), Some(true)) = (
        wanted.as_object_mut(),
        at.value.get("ignoreUriCase").and_then(Value::as_bool),
    ) {
        fields.insert("case_sensitive".to_owned(), json!(false));
    }
    Ok(wanted)
}

fn header_match(
    at: &Field<'_>,
    field: &str,
    name: &str,
    value: &Value,
    inverted: bool,
) -> Result<Value, TranslateError> {
    // No condition on the value: the header only has to be there.
    if value.as_object().is_some_and(Map::is_empty) {
        return Ok(json!({"name": name, "present_match": true, "invert_match": inverted}));
    }
    let condition = match string_match(value) {
        Some(("regex", value)) => json!({"safe_regex": {"regex": value}}),
        Some((kind, value)) => json!({kind: value}),
        None => {
            let field = format!("{field}[{name}]");
            return Err(at.bad(&field, "neither exact, prefix nor regex"));
        }
    };
    Ok(json!({"name": name, "string_match": condition, "invert_match": inverted}))
}

/// Istio's StringMatch: exactly one of three.
fn string_match(value: &Value) -> Option<(&'static str, &str)> {
    ["exact", "prefix", "regex"]
        .into_iter()
        .find_map(|kind| Some((kind, value.get(kind)?.as_str()?)))
}
