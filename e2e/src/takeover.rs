//! What a running peer left behind, put into a cluster as if the peer had run there until now.
//!
//! `fixtures/peer` holds every object of sixteen rollouts at rest and after a promotion. Objects get new
//! UIDs, so owner references and names made from UIDs are rewritten; generations are brought to the
//! recorded ones, because statuses name them; times are shifted, so that the peer seems to have stopped a
//! moment ago. Pods are made by the ReplicaSet controller and a node of the cluster, endpoints likewise.
//! [`onward`] says what has to become of an update that the peer left in the middle.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::stand::{Namespace, kind, text};

pub mod onward;

/// Kinds in the order in which they are made: owners first. Others are made by the cluster itself;
/// finished Jobs, which must not run again, are left out too.
const KINDS: [&str; 13] = [
    "Deployment",
    "Rollout",
    "AnalysisRun",
    "Experiment",
    "ReplicaSet",
    "Job",
    "ConfigMap",
    "Secret",
    "Service",
    "Ingress",
    "VirtualService",
    "DestinationRule",
    "AnalysisTemplate",
];
/// So long ago the peer wrote its last status.
const AGO: SignedDuration = SignedDuration::from_secs(30);
/// The same after an abort, so that the delay after which its canary goes is not over soon.
const AGO_ABORTED: SignedDuration = SignedDuration::ZERO;
/// For pods to become ready.
const READY: Duration = Duration::from_secs(120);

/// The moments at which a controller that takes over has nothing to do.
pub const AT_REST: [&str; 2] = ["1-rest", "4-promoted"];
/// The moments at which an update is under way.
pub const UNDER_WAY: [&str; 2] = ["2-mid", "5-mid-v3"];
/// The moment at which an update was aborted.
pub const ABORTED: &str = "3-aborted";

/// The folders of records, one for each manifest.
///
/// # Errors
/// When they cannot be listed.
pub fn cases() -> Result<Vec<String>> {
    let mut found = vec![];
    for entry in fs::read_dir(folder())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/peer")
}

/// All objects of a record.
///
/// # Errors
/// When it cannot be read.
pub fn recorded(case: &str, moment: &str) -> Result<Vec<Value>> {
    let path = folder().join(case).join(format!("{moment}.json"));
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut value: Value = serde_json::from_str(&text)?;
    let items = value.get_mut("items").map(Value::take);
    Ok(serde_json::from_value(items.context("no items")?)?)
}

/// The manifest that a case began with.
///
/// # Errors
/// When it cannot be read.
pub fn manifest(case: &str) -> Result<String> {
    let path = folder().join("manifests").join(format!("{case}.yaml"));
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Puts a record into the namespace and waits until its pods are as they were.
///
/// # Errors
/// What the server refuses, or pods that are not ready in time.
pub async fn load(space: &Namespace, mut objects: Vec<Value>, now: Timestamp) -> Result<()> {
    let order = |object: &Value| KINDS.iter().position(|kind| *kind == text(object, "/kind"));
    objects.retain(|object| {
        // A Deployment makes its ReplicaSets itself.
        let of_deployment = text(object, "/metadata/ownerReferences/0/kind") == "Deployment";
        order(object).is_some() && !of_deployment && !is_over(object)
    });
    let aborted = objects.iter().any(|object| {
        text(object, "/kind") == "Rollout" && object.pointer("/status/abort") == Some(&json!(true))
    });
    let created = |object: &Value| text(object, "/metadata/creationTimestamp").to_owned();
    objects.sort_by_key(|object| (order(object), created(object)));
    let mut latest = Timestamp::MIN;
    // Annotations and specs may name times to come.
    let statuses = objects
        .iter_mut()
        .filter_map(|object| object.get_mut("status"));
    statuses.for_each(|status| times(status, &mut |time| latest = latest.max(*time)));
    // A record without any status has no times that matter.
    let latest = if latest == Timestamp::MIN {
        now
    } else {
        latest
    };
    let ago = if aborted { AGO_ABORTED } else { AGO };
    let shift = now.duration_since(latest) - ago;
    let shift = SignedDuration::from_secs(shift.as_secs());
    let mut uids = BTreeMap::new();
    for object in &mut objects {
        times(object, &mut |time| *time += shift);
        if text(object, "/kind") == "Job" {
            let owner = text(object, "/metadata/ownerReferences/0/uid").to_owned();
            renew(object, &uids);
            // Owner references are looked up by what was recorded.
            if let Some(of) = object.pointer_mut("/metadata/ownerReferences/0/uid") {
                *of = json!(owner);
            }
            strip_job(object);
        }
        let uid = text(object, "/metadata/uid").to_owned();
        let made = make(space, object, &uids).await?;
        uids.insert(uid, text(&made, "/metadata/uid").to_owned());
    }
    for set in objects
        .iter()
        .filter(|object| text(object, "/kind") == "ReplicaSet")
    {
        let count = |object: &Value, pointer: &str| {
            object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
        };
        let wanted = count(set, "/spec/replicas");
        let available = count(set, "/status/availableReplicas");
        let as_it_was = |found: &Value| {
            count(found, "/status/replicas") == wanted
                && count(found, "/status/availableReplicas") == available
                && count(found, "/status/observedGeneration")
                    >= count(found, "/metadata/generation")
        };
        let (of, name) = (kind("apps/v1", "ReplicaSet"), text(set, "/metadata/name"));
        space
            .until(&of, name, "has its pods", READY, as_it_was)
            .await?;
    }
    Ok(())
}

/// Puts objects, owners before what they own, into a namespace as they were elsewhere; of statuses,
/// those of Rollouts.
///
/// # Errors
/// What the server refuses.
pub async fn place(space: &Namespace, objects: &[Value]) -> Result<()> {
    let mut uids = BTreeMap::new();
    for object in objects {
        let uid = text(object, "/metadata/uid").to_owned();
        let made = make(space, object, &uids).await?;
        uids.insert(uid, text(&made, "/metadata/uid").to_owned());
    }
    Ok(())
}

/// Calls `each` with every time in an object.
fn times(value: &mut Value, each: &mut impl FnMut(&mut Timestamp)) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|value| times(value, each)),
        Value::Array(items) => items.iter_mut().for_each(|value| times(value, each)),
        Value::String(text) => {
            if let Ok(mut time) = text.parse::<Timestamp>() {
                each(&mut time);
                *text = time.to_string();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether this is a Job that has ended.
fn is_over(object: &Value) -> bool {
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let ended = |one: &Value| ["Complete", "Failed"].contains(&text(one, "/type"));
    text(object, "/kind") == "Job" && conditions.is_some_and(|all| all.iter().any(ended))
}

/// Puts new UIDs in the place of recorded ones, wherever they are part of a text.
fn renew(value: &mut Value, uids: &BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|value| renew(value, uids)),
        Value::Array(items) => items.iter_mut().for_each(|value| renew(value, uids)),
        Value::String(text) => {
            for (old, new) in uids {
                if text.contains(old.as_str()) {
                    *text = text.replace(old.as_str(), new);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What the API server and the Job controller put into a Job themselves.
fn strip_job(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    spec.remove("selector");
    spec.remove("manualSelector");
    let labels = spec
        .get_mut("template")
        .and_then(|template| template.pointer_mut("/metadata/labels"))
        .and_then(Value::as_object_mut);
    if let Some(labels) = labels {
        labels.retain(|key, _| !key.ends_with("controller-uid") && !key.ends_with("job-name"));
    }
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
}

/// Creates an object with the recorded spec, generation and status.
async fn make(
    space: &Namespace,
    recorded: &Value,
    uids: &BTreeMap<String, String>,
) -> Result<Value> {
    let of = kind(text(recorded, "/apiVersion"), text(recorded, "/kind"));
    let name = text(recorded, "/metadata/name");
    let part = |pointer: &str| recorded.pointer(pointer).cloned().unwrap_or(Value::Null);
    let mut owners = part("/metadata/ownerReferences");
    for owner in owners.as_array_mut().into_iter().flatten() {
        let uid = uids.get(text(owner, "/uid")).cloned();
        let uid = uid.with_context(|| format!("{name}: its owner is not recorded"))?;
        if let Some(owner) = owner.as_object_mut() {
            owner.insert("uid".to_owned(), json!(uid));
        }
    }
    // Each change of the spec is a generation: the last one makes it what was recorded.
    let counts = ["Deployment", "Rollout"].contains(&text(recorded, "/kind"));
    let generation = part("/metadata/generation").as_u64().unwrap_or(1);
    let changes = if counts {
        generation.saturating_sub(1)
    } else {
        0
    };
    let deadline = part("/spec/progressDeadlineSeconds");
    let metadata = json!({
        "name": name,
        "namespace": space.name(),
        "labels": part("/metadata/labels"),
        "annotations": part("/metadata/annotations"),
        "ownerReferences": owners,
    });
    let mut object = recorded.clone();
    if let Some(object) = object.as_object_mut() {
        object.insert("metadata".to_owned(), metadata);
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        // Addresses are the cluster's to give.
        spec.retain(|key, _| !["clusterIP", "clusterIPs"].contains(&key.as_str()));
        if changes > 0 {
            spec.insert("progressDeadlineSeconds".to_owned(), json!(10_000));
        }
    }
    let made = space.post(&of, object).await?;
    for left in (0..changes).rev() {
        let value = if left == 0 {
            deadline.clone()
        } else {
            json!(10_000 + left)
        };
        let patch = json!({"spec": {"progressDeadlineSeconds": value}});
        space.patch(&of, name, &patch).await?;
    }
    let mut status = part("/status");
    match text(recorded, "/kind") {
        "Rollout" => space.patch_status(&of, name, &status).await?,
        // The Jobs of its measurements are named after its UID.
        "AnalysisRun" => {
            let old = text(recorded, "/metadata/uid").to_owned();
            let new = text(&made, "/metadata/uid").to_owned();
            renew(&mut status, &BTreeMap::from([(old, new)]));
            let patch = json!({ "status": status });
            space.patch(&of, name, &patch).await?;
        }
        _ => {}
    }
    Ok(made)
}
