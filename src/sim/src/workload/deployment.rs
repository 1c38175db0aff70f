//! The Deployment controller: one ReplicaSet per template, moved between by [`rolling`].

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::common::{change, owner_reference, set_status};
use super::rolling::{self, Desired, Set};
use crate::clock::parse_stamp;
use crate::json::{at, flag, int, put, take, text};
use crate::object::{self, Object};
use crate::state::delete::DeleteOptions;
use crate::state::{State, WriteOptions};
use crate::store::Place;

const HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";

pub(super) fn reconcile(state: &mut State, place: &Place) -> Option<Timestamp> {
    let deployment = state.store.at(place)?.clone();
    if deployment.is_deleting() {
        return None;
    }
    let known = state.kinds.known;
    let mut sets = state.store.owned(deployment.uid(), known.replicasets);
    sets.retain(|s| !s.is_deleting());
    let paused = flag(&deployment.value, &["spec", "paused"]);
    let mut current = sets.iter().position(|s| same_template(&deployment, s));
    if current.is_none() && !paused {
        sets.push(create_set(state, &deployment, &sets)?);
        current = Some(sets.len() - 1);
    }
    if let Some(set) = current.and_then(|i| sets.get(i)).cloned() {
        let revision = note_revision(state, &deployment, &set, &sets);
        if let Some(slot) = current.and_then(|i| sets.get_mut(i)) {
            *slot = revision.unwrap_or(set);
        }
    }
    scale(state, &deployment, &mut sets, current);
    clean_up(state, &deployment, &sets, current);
    update_status(state, &deployment, &sets, current)
}

/// Whether a ReplicaSet runs the Deployment's template.
fn same_template(deployment: &Object, set: &Object) -> bool {
    let mut template = at(&set.value, &["spec", "template"])
        .cloned()
        .unwrap_or_default();
    take(&mut template, &["metadata", "labels", HASH]);
    at(&deployment.value, &["spec", "template"]) == Some(&template)
}

/// A hash of a template in the alphabet of generated names (not the value that the real
/// controller computes).
fn hash(template: &Value) -> String {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in template.to_string().bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    const ALPHABET: &[u8; 16] = b"bcdf4789ghjklmnp";
    (0..8)
        .filter_map(|i| ALPHABET.get(((hash >> (i * 4)) & 0xf) as usize))
        .map(|b| char::from(*b))
        .collect()
}

fn create_set(state: &mut State, deployment: &Object, sets: &[Arc<Object>]) -> Option<Arc<Object>> {
    let known = state.kinds.known;
    let kind = state.kind(known.deployments).ok()?;
    let mut template = at(&deployment.value, &["spec", "template"])?.clone();
    let hash = hash(&template);
    put(&mut template, &["metadata", "labels", HASH], hash.clone());
    let mut selector = at(&deployment.value, &["spec", "selector"])?.clone();
    put(&mut selector, &["matchLabels", HASH], hash.clone());
    let labels = at(&template, &["metadata", "labels"]).cloned();
    let revision = highest(sets) + 1;
    let mut set = json!({
        "metadata": {
            "name": format!("{}-{hash}", deployment.name()), "labels": labels,
            "annotations": {REVISION: revision.to_string()},
            "ownerReferences": [owner_reference(&kind, deployment)],
        },
        "spec": {"replicas": 0, "selector": selector, "template": template},
    });
    if let Some(seconds) = at(&deployment.value, &["spec", "minReadySeconds"]) {
        put(&mut set, &["spec", "minReadySeconds"], seconds.clone());
    }
    let options = WriteOptions::default();
    match state.create(known.replicasets, deployment.namespace(), set, &options) {
        Ok(written) => Some(written.object),
        Err(error) => {
            tracing::debug!(%error, deployment = deployment.name(), "creating a ReplicaSet");
            None
        }
    }
}

fn revision(set: &Object) -> i64 {
    object::annotation(&set.value, REVISION)
        .and_then(|r| r.parse().ok())
        .unwrap_or(0)
}

fn highest(sets: &[Arc<Object>]) -> i64 {
    sets.iter().map(|s| revision(s)).max().unwrap_or(0)
}

/// Writes the revision and sizes on the current ReplicaSet, and the revision on the
/// Deployment; an older ReplicaSet that is current again gets the next number.
fn note_revision(
    state: &mut State,
    deployment: &Object,
    set: &Arc<Object>,
    sets: &[Arc<Object>],
) -> Option<Arc<Object>> {
    let known = state.kinds.known;
    let own = revision(set);
    let others = sets
        .iter()
        .filter(|s| s.uid() != set.uid())
        .map(|s| revision(s))
        .max();
    let number = match others {
        Some(others) if others >= own => others + 1,
        _ => own,
    };
    let desired = Desired::of(&deployment.value);
    let written = change(state, known.replicasets, set, |value| {
        let annotations = [
            (REVISION, number.to_string()),
            (
                "deployment.kubernetes.io/desired-replicas",
                desired.replicas.to_string(),
            ),
            (
                "deployment.kubernetes.io/max-replicas",
                (desired.replicas + desired.surge).to_string(),
            ),
        ];
        for (key, text) in annotations {
            put(value, &["metadata", "annotations", key], text);
        }
    });
    change(state, known.deployments, deployment, |value| {
        put(
            value,
            &["metadata", "annotations", REVISION],
            number.to_string(),
        );
    });
    written
}

fn view(set: &Object) -> Set {
    let status = |field: &str| int(&set.value, &["status", field]).unwrap_or(0);
    Set {
        wanted: int(&set.value, &["spec", "replicas"]).unwrap_or(0),
        replicas: status("replicas"),
        available: status("availableReplicas"),
        created: text(&set.value, &["metadata", "creationTimestamp"]).to_owned(),
    }
}

fn scale(state: &mut State, deployment: &Object, sets: &mut [Arc<Object>], current: Option<usize>) {
    let known = state.kinds.known;
    let desired = Desired::of(&deployment.value);
    let views: Vec<Set> = sets.iter().map(|s| view(s)).collect();
    let paused = flag(&deployment.value, &["spec", "paused"]);
    let sizes = rolling::sizes(&desired, &views, current, paused);
    for (slot, (size, view)) in sets.iter_mut().zip(sizes.into_iter().zip(&views)) {
        if size == view.wanted {
            continue;
        }
        let written = change(state, known.replicasets, slot, |value| {
            put(value, &["spec", "replicas"], size);
        });
        if let Some(written) = written {
            *slot = written;
        }
    }
}

/// Deletes empty old ReplicaSets beyond the history limit, oldest revision first.
fn clean_up(state: &mut State, deployment: &Object, sets: &[Arc<Object>], current: Option<usize>) {
    let limit = int(&deployment.value, &["spec", "revisionHistoryLimit"])
        .unwrap_or(10)
        .max(0);
    let mut old: Vec<&Arc<Object>> = sets
        .iter()
        .enumerate()
        .filter(|(i, s)| {
            let view = view(s);
            Some(*i) != current && view.wanted == 0 && view.replicas == 0
        })
        .map(|(_, s)| s)
        .collect();
    old.sort_by_key(|s| revision(s));
    let surplus = old
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or(0));
    for set in old.into_iter().take(surplus) {
        let known = state.kinds.known;
        let options = DeleteOptions::default();
        drop(state.delete(known.replicasets, set.namespace(), set.name(), &options));
    }
}

fn update_status(
    state: &mut State,
    deployment: &Arc<Object>,
    sets: &[Arc<Object>],
    current: Option<usize>,
) -> Option<Timestamp> {
    let sum = |field: &str| -> i64 {
        sets.iter()
            .map(|s| int(&s.value, &["status", field]).unwrap_or(0))
            .sum()
    };
    let of_current = |field: &str| {
        let set = current.and_then(|i| sets.get(i));
        set.and_then(|s| int(&s.value, &["status", field]))
            .unwrap_or(0)
    };
    let desired = Desired::of(&deployment.value);
    let (total, available) = (sum("replicas"), sum("availableReplicas"));
    let updated = of_current("replicas");
    let wanted: i64 = sets.iter().map(|s| view(s).wanted).sum();
    let mut status = json!({
        "observedGeneration": int(&deployment.value, &["metadata", "generation"]),
    });
    for (field, n) in [
        ("replicas", total),
        ("updatedReplicas", updated),
        ("readyReplicas", sum("readyReplicas")),
        ("availableReplicas", available),
        (
            "unavailableReplicas",
            (wanted.max(total) - available).max(0),
        ),
    ] {
        if n > 0 {
            put(&mut status, &[field], n);
        }
    }
    put(
        &mut status,
        &["terminatingReplicas"],
        sum("terminatingReplicas"),
    );
    let enough = available >= desired.replicas - desired.unavailable;
    let available_condition = if enough {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.".to_owned(),
        )
    } else {
        let message = "Deployment does not have minimum availability.".to_owned();
        ("False", "MinimumReplicasUnavailable", message)
    };
    let complete = updated == desired.replicas
        && total == desired.replicas
        && of_current("availableReplicas") == desired.replicas;
    let name = current.and_then(|i| sets.get(i)).map_or("", |s| s.name());
    let moved = ["replicas", "updatedReplicas", "availableReplicas"]
        .iter()
        .any(|f| int(&deployment.value, &["status", f]) != int(&status, &[f]));
    let deadline = progress_deadline(deployment, moved);
    let late = !complete && deadline.is_some_and(|d| state.now >= d);
    let paused = flag(&deployment.value, &["spec", "paused"]);
    let progressing = if paused {
        (
            "Unknown",
            "DeploymentPaused",
            "Deployment is paused".to_owned(),
        )
    } else if complete {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        ("True", "NewReplicaSetAvailable", message)
    } else if late {
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        ("False", "ProgressDeadlineExceeded", message)
    } else {
        (
            "True",
            "ReplicaSetUpdated",
            format!("ReplicaSet \"{name}\" is progressing."),
        )
    };
    let conditions = [
        ("Available", available_condition),
        ("Progressing", progressing),
    ]
    .into_iter()
    .map(|(kind, wanted)| condition(state, deployment, kind, wanted, moved))
    .collect::<Vec<Value>>();
    put(&mut status, &["conditions"], conditions);
    set_status(state, state.kinds.known.deployments, deployment, status);
    deadline.filter(|d| !complete && !late && !paused && *d > state.now)
}

/// When the lack of progress becomes a failure; in the past where it has.
fn progress_deadline(deployment: &Object, moved: bool) -> Option<Timestamp> {
    let seconds = int(&deployment.value, &["spec", "progressDeadlineSeconds"])?;
    let seen = object::condition(&deployment.value, "Progressing")?;
    match text(seen, &["reason"]) {
        _ if moved => None,
        "NewReplicaSetAvailable" => None,
        "ProgressDeadlineExceeded" => Some(Timestamp::MIN),
        _ => {
            let since = parse_stamp(text(seen, &["lastUpdateTime"]))?;
            since.checked_add(SignedDuration::from_secs(seconds)).ok()
        }
    }
}

fn condition(
    state: &State,
    deployment: &Object,
    kind: &str,
    (status, reason, message): (&str, &str, String),
    moved: bool,
) -> Value {
    let now = state.stamp();
    let old = object::condition(&deployment.value, kind);
    let kept = |field: &str| old.and_then(|o| o.get(field)).cloned();
    let same_status = old.is_some_and(|o| text(o, &["status"]) == status);
    let same = same_status
        && old.is_some_and(|o| text(o, &["reason"]) == reason && text(o, &["message"]) == message);
    let transition = kept("lastTransitionTime")
        .filter(|_| same_status)
        .unwrap_or_else(|| now.clone());
    let progress = kind == "Progressing" && moved;
    let update = kept("lastUpdateTime")
        .filter(|_| same && !progress)
        .unwrap_or(now);
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": transition, "lastUpdateTime": update,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_have_stable_hashes() {
        let one = json!({"spec": {"a": 1}});
        assert_eq!(hash(&one), hash(&one.clone()));
        assert_ne!(hash(&one), hash(&json!({"spec": {"a": 2}})));
    }
}
