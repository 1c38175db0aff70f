//! One stored version of an object.

use std::sync::OnceLock;

use hyper::body::Bytes;
use serde_json::{Map, Value};

use crate::json::{at, flag, items, map, text};

/// One immutable version of an object: the JSON without `apiVersion` and `kind`, which the
/// kind supplies when it is served, so that every served version shares one copy.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) value: Value,
    pub(crate) revision: u64,
    json: OnceLock<Bytes>,
}

impl Object {
    pub(crate) fn new(value: Value, revision: u64) -> Self {
        Self {
            value,
            revision,
            json: OnceLock::new(),
        }
    }

    /// The JSON text without types, written once per version.
    pub(crate) fn json(&self) -> &Bytes {
        self.json
            .get_or_init(|| Bytes::from(self.value.to_string()))
    }

    pub(crate) fn name(&self) -> &str {
        name(&self.value)
    }

    pub(crate) fn namespace(&self) -> &str {
        namespace(&self.value)
    }

    pub(crate) fn uid(&self) -> &str {
        uid(&self.value)
    }

    pub(crate) fn labels(&self) -> Option<&Map<String, Value>> {
        labels(&self.value)
    }

    pub(crate) fn is_deleting(&self) -> bool {
        is_deleting(&self.value)
    }
}

pub(crate) fn name(value: &Value) -> &str {
    text(value, &["metadata", "name"])
}

pub(crate) fn namespace(value: &Value) -> &str {
    text(value, &["metadata", "namespace"])
}

pub(crate) fn uid(value: &Value) -> &str {
    text(value, &["metadata", "uid"])
}

pub(crate) fn labels(value: &Value) -> Option<&Map<String, Value>> {
    map(value, &["metadata", "labels"])
}

pub(crate) fn annotation<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    at(value, &["metadata", "annotations", key]).and_then(Value::as_str)
}

pub(crate) fn is_deleting(value: &Value) -> bool {
    at(value, &["metadata", "deletionTimestamp"]).is_some_and(|t| !t.is_null())
}

pub(crate) fn owners(value: &Value) -> &[Value] {
    items(value, &["metadata", "ownerReferences"])
}

/// The uid of the managing owner, if any.
pub(crate) fn controller_uid(value: &Value) -> Option<&str> {
    owners(value)
        .iter()
        .find(|o| flag(o, &["controller"]))
        .map(|o| text(o, &["uid"]))
}

pub(crate) fn finalizers(value: &Value) -> &[Value] {
    items(value, &["metadata", "finalizers"])
}

/// Whether the condition `kind` of an object's status is True.
pub(crate) fn has_condition(value: &Value, kind: &str) -> bool {
    condition(value, kind).is_some_and(|c| text(c, &["status"]) == "True")
}

/// The condition `kind` of an object's status.
pub(crate) fn condition<'a>(value: &'a Value, kind: &str) -> Option<&'a Value> {
    items(value, &["status", "conditions"])
        .iter()
        .find(|c| text(c, &["type"]) == kind)
}
