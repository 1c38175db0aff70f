//! What the controllers share.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::clock::parse_stamp;
use crate::json::{at, entry, put, text};
use crate::kinds::{Kind, KindId};
use crate::object::{self, Object};
use crate::state::{Part, State, WriteOptions};

/// The reference by which a controller owns an object.
pub(super) fn owner_reference(kind: &Kind, owner: &Object) -> Value {
    json!({
        "apiVersion": kind.api_version(kind.version()), "kind": kind.kind,
        "name": owner.name(), "uid": owner.uid(),
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// A pod from the template of an owner, without a name.
pub(super) fn pod_from_template(kind: &Kind, owner: &Object) -> Value {
    let template = at(&owner.value, &["spec", "template"])
        .cloned()
        .unwrap_or_default();
    let mut pod = json!({
        "metadata": {}, "spec": template.get("spec").cloned().unwrap_or_default(),
    });
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(v) = at(&template, &["metadata", field]) {
            put(&mut pod, &["metadata", field], v.clone());
        }
    }
    // Generated names stay within the limit of a name.
    let mut prefix = format!("{}-", owner.name());
    prefix.truncate(247);
    put(&mut pod, &["metadata", "generateName"], prefix);
    put(
        &mut pod,
        &["metadata", "ownerReferences"],
        json!([owner_reference(kind, owner)]),
    );
    pod
}

/// Whether a pod is being deleted or has ended.
pub(super) fn is_inactive(pod: &Object) -> bool {
    pod.is_deleting() || has_ended(pod)
}

pub(super) fn has_ended(pod: &Object) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

pub(super) fn phase(pod: &Object) -> &str {
    text(&pod.value, &["status", "phase"])
}

pub(super) fn is_ready(pod: &Object) -> bool {
    object::has_condition(&pod.value, "Ready")
}

/// When a ready pod counts as available: at once, or after it was ready for so many seconds.
/// None for one that is not ready.
pub(super) fn available_at(pod: &Object, min_ready: i64) -> Option<Timestamp> {
    let ready = object::condition(&pod.value, "Ready")?;
    if text(ready, &["status"]) != "True" {
        return None;
    }
    if min_ready <= 0 {
        return Some(Timestamp::MIN);
    }
    let since = parse_stamp(text(ready, &["lastTransitionTime"]))?;
    since.checked_add(SignedDuration::from_secs(min_ready)).ok()
}

/// Writes a status if it differs.
pub(super) fn set_status(state: &mut State, id: KindId, object: &Arc<Object>, status: Value) {
    if object.value.get("status") == Some(&status) {
        return;
    }
    // The status is one object with the rest, so that this cannot meet a conflict.
    if let Some(current) = state
        .store
        .get(id, object.namespace(), object.name())
        .cloned()
    {
        let mut value = current.value.clone();
        *entry(&mut value, &["status"]) = status;
        let options = WriteOptions::default();
        drop(state.replace(id, &current, value, Part::Status, &options, None));
    }
}

/// Changes an object by a function, without touching its status.
pub(super) fn change(
    state: &mut State,
    id: KindId,
    object: &Object,
    edit: impl FnOnce(&mut Value),
) -> Option<Arc<Object>> {
    let current = state
        .store
        .get(id, object.namespace(), object.name())
        .cloned()?;
    let mut value = current.value.clone();
    edit(&mut value);
    let options = WriteOptions::default();
    state
        .replace(id, &current, value, Part::Main, &options, None)
        .ok()
        .map(|w| w.object)
}
