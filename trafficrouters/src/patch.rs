//! From two states of an object to the smallest JSON merge patch between them (TRF-18).

use serde_json::{Map, Value};
use sluice_core::event::Event;

use crate::object::ObjectRef;
use crate::router::{FailureEvent, RouteWrite, WriteKind};

/// The merge patch (RFC 7386) that turns `seen` into `wanted`; `None` when they are equal.
///
/// Members that are gone become `null`; a list appears, whole, only when it changed.
#[must_use]
pub fn merge_diff(seen: &Value, wanted: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (seen, wanted) else {
        return (seen != wanted).then(|| wanted.clone());
    };
    let mut patch = Map::new();
    for (key, value) in new {
        match old.get(key) {
            Some(before) => patch.extend(merge_diff(before, value).map(|p| (key.clone(), p))),
            None => patch.extend([(key.clone(), value.clone())]),
        }
    }
    patch.extend(
        old.keys()
            .filter(|k| !new.contains_key(*k))
            .map(|k| (k.clone(), Value::Null)),
    );
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// An object on its way from what was found to what is wanted.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    /// The object.
    pub(crate) object: &'a ObjectRef,
    seen: &'a Value,
    /// Starts as a copy of what was found.
    pub(crate) wanted: Value,
    /// Events to record before the call.
    pub(crate) before: Vec<Event>,
    /// Events to record once the call succeeded.
    pub(crate) after: Vec<Event>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(object: &'a ObjectRef, seen: &'a Value) -> Self {
        Self {
            object,
            seen,
            wanted: seen.clone(),
            before: Vec::new(),
            after: Vec::new(),
        }
    }

    /// What was found.
    pub(crate) fn seen(&self) -> &'a Value {
        self.seen
    }

    pub(crate) fn changed(&self) -> bool {
        *self.seen != self.wanted
    }

    /// The write, as a merge patch; `None` when nothing changed.
    pub(crate) fn patch(self) -> Option<RouteWrite> {
        let patch = merge_diff(self.seen, &self.wanted)?;
        Some(RouteWrite {
            object: self.object.clone(),
            kind: WriteKind::Patch {
                guard: resource_version(self.seen),
                patch,
            },
            before: self.before,
            after: self.after,
            failure: None,
        })
    }

    /// The write, as a PUT of the whole object; `None` when nothing changed.
    pub(crate) fn replace(self, failure: FailureEvent) -> Option<RouteWrite> {
        if !self.changed() {
            return None;
        }
        Some(RouteWrite {
            object: self.object.clone(),
            kind: WriteKind::Replace(self.wanted),
            before: self.before,
            after: self.after,
            failure: Some(failure),
        })
    }
}

/// `metadata.resourceVersion`; empty for an object that no server has seen.
pub(crate) fn resource_version(object: &Value) -> String {
    crate::json::text(object, "/metadata/resourceVersion").to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::merge_diff;

    /// TRF-18
    #[test]
    fn only_differences_are_sent() {
        let table = [
            (json!({"a": 1}), json!({"a": 1}), None),
            (
                json!({"a": {"b": 1, "c": 2}}),
                json!({"a": {"b": 1}}),
                Some(json!({"a": {"c": null}})),
            ),
            (
                json!({}),
                json!({"a": {"b": {}}}),
                Some(json!({"a": {"b": {}}})),
            ),
            (
                json!({"l": [1, 2], "k": [3]}),
                json!({"l": [2], "k": [3]}),
                Some(json!({"l": [2]})),
            ),
            (
                json!({"a": 1}),
                json!({"a": {"b": 1}}),
                Some(json!({"a": {"b": 1}})),
            ),
        ];
        for (seen, wanted, patch) in table {
            assert_eq!(merge_diff(&seen, &wanted), patch, "{seen} -> {wanted}");
        }
    }
}
