//! Values of a Rollout by path, for arguments with `fieldRef` (API-20, ANA-29).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::field_error::go_quote;
use crate::rollout::Rollout;

/// Why a path leads to no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldPathError {
    /// A `metadata` path that the downward API does not know.
    #[error("unsupported fieldPath: {0}")]
    Unsupported(String),
    /// Nothing is there.
    #[error("invalid path {0} in rollout")]
    Invalid(String),
    /// A list or object is there.
    #[error("path {0} in rollout must terminate in a primitive value")]
    NotPrimitive(String),
    /// A list is asked for something that is no number.
    #[error("invalid index '{0}'")]
    BadIndex(String),
    /// A list is too short.
    #[error("index {0} out of range")]
    OutOfRange(usize),
}

/// The value at `path`, as text.
///
/// `metadata` paths follow the downward API: name, namespace, uid, labels, annotations (whole
/// maps as sorted lines), `metadata.labels['key']` (empty when missing). Others walk the JSON.
pub fn resolve(rollout: &Rollout, path: &str) -> Result<String, FieldPathError> {
    if path.starts_with("metadata") {
        of_metadata(rollout, path)
    } else {
        of_json(rollout, path)
    }
}

/// Whether a `metadata` path is one the downward API knows; other paths are not judged.
pub fn is_supported(path: &str) -> bool {
    !path.starts_with("metadata") || of_metadata(&Rollout::default(), path).is_ok()
}

fn of_metadata(rollout: &Rollout, path: &str) -> Result<String, FieldPathError> {
    let metadata = &rollout.metadata;
    let key = |map: &Option<BTreeMap<String, String>>, key: &str| {
        map.as_ref()
            .and_then(|map| map.get(key))
            .cloned()
            .unwrap_or_default()
    };
    if let Some((map, rest)) = path.split_once("['") {
        let subscript = rest.strip_suffix("']");
        return match (map, subscript) {
            ("metadata.labels", Some(name)) => Ok(key(&metadata.labels, name)),
            ("metadata.annotations", Some(name)) => Ok(key(&metadata.annotations, name)),
            _ => Err(FieldPathError::Unsupported(path.to_owned())),
        };
    }
    match path {
        "metadata.name" => Ok(metadata.name.clone().unwrap_or_default()),
        "metadata.namespace" => Ok(metadata.namespace.clone().unwrap_or_default()),
        "metadata.uid" => Ok(metadata.uid.clone().unwrap_or_default()),
        "metadata.labels" => Ok(lines(metadata.labels.as_ref())),
        "metadata.annotations" => Ok(lines(metadata.annotations.as_ref())),
        _ => Err(FieldPathError::Unsupported(path.to_owned())),
    }
}

fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let entries = map.into_iter().flatten();
    let lines: Vec<String> = entries
        .map(|(k, v)| format!("{k}={}", go_quote(v)))
        .collect();
    lines.join("\n")
}

fn of_json(rollout: &Rollout, path: &str) -> Result<String, FieldPathError> {
    let root = serde_json::to_value(rollout).unwrap_or_default();
    let mut at = &root;
    for part in path.split(['.', '[', ']']).filter(|part| !part.is_empty()) {
        at = match at {
            Value::Object(object) => object.get(part),
            Value::Array(items) => {
                let index: usize = part
                    .parse()
                    .map_err(|_| FieldPathError::BadIndex(part.to_owned()))?;
                Some(items.get(index).ok_or(FieldPathError::OutOfRange(index))?)
            }
            _ => None,
        }
        .filter(|value| !value.is_null())
        .ok_or_else(|| FieldPathError::Invalid(path.to_owned()))?;
    }
    match at {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(at.to_string()),
        _ => Err(FieldPathError::NotPrimitive(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// API-20, ANA-29
    #[test]
    fn paths() {
        let rollout: Rollout = serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "shop", "uid": "u1",
                "labels": { "b": "2", "a": "1" }, "annotations": { "x/y": "z" } },
            "spec": { "replicas": 1000000, "template": { "spec": { "containers": [
                { "name": "web", "image": "web:v1", "env": [{ "name": "A" }] }] } } },
        }))
        .unwrap();
        for (path, want) in [
            ("metadata.name", Ok("web")),
            ("metadata.namespace", Ok("shop")),
            ("metadata.uid", Ok("u1")),
            ("metadata.labels", Ok("a=\"1\"\nb=\"2\"")),
            ("metadata.labels['a']", Ok("1")),
            ("metadata.annotations['x/y']", Ok("z")),
            ("metadata.labels['none']", Ok("")),
            (
                "metadata.generation",
                Err("unsupported fieldPath: metadata.generation"),
            ),
            ("spec.replicas", Ok("1000000")),
            ("spec.template.spec.containers[0].image", Ok("web:v1")),
            (
                "spec.template.spec.containers[x].image",
                Err("invalid index 'x'"),
            ),
            (
                "spec.template.spec.containers[3].image",
                Err("index 3 out of range"),
            ),
            ("spec.nothing", Err("invalid path spec.nothing in rollout")),
            (
                "spec.template",
                Err("path spec.template in rollout must terminate in a primitive value"),
            ),
        ] {
            let got = resolve(&rollout, path).map_err(|e| e.to_string());
            assert_eq!(
                got,
                want.map(str::to_owned).map_err(str::to_owned),
                "{path}"
            );
        }
        assert!(is_supported("metadata.labels['x']") && !is_supported("metadata.generation"));
    }
}
