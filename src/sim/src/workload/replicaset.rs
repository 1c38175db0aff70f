//! The ReplicaSet controller.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::common::{
    available_at, change, has_ended, is_inactive, is_ready, owner_reference, phase,
    pod_from_template, set_status,
};
use crate::json::{at, int, items, list_mut, put, text};
use crate::object::{self, Object};
use crate::selector::{Filter, Selector};
use crate::state::delete::DeleteOptions;
use crate::state::{State, WriteOptions};
use crate::store::Place;

/// ReplicaSets whose selector a pod without a controller matches.
pub(super) fn claimants(state: &State, pod: &Object) -> Vec<Place> {
    if pod.labels().is_none_or(serde_json::Map::is_empty) {
        return Vec::new();
    }
    let id = state.kinds.known.replicasets;
    state
        .store
        .in_namespace(id, pod.namespace())
        .filter(|rs| selector(rs).matches(pod.labels()))
        .map(|rs| Place::of(id, rs))
        .collect()
}

fn selector(rs: &Object) -> Selector {
    at(&rs.value, &["spec", "selector"])
        .map(Selector::of_object)
        .unwrap_or_default()
}

pub(super) fn reconcile(state: &mut State, place: &Place) -> Option<Timestamp> {
    let rs = state.store.at(place)?.clone();
    let pods = adopt(state, &rs);
    let terminating = pods
        .iter()
        .filter(|p| p.is_deleting() && !has_ended(p))
        .count();
    let mut active: Vec<Arc<Object>> = pods.into_iter().filter(|p| !is_inactive(p)).collect();
    let wanted = int(&rs.value, &["spec", "replicas"]).unwrap_or(1).max(0) as usize;
    let mut failure = None;
    if !rs.is_deleting() {
        if active.len() < wanted {
            for _ in active.len()..wanted {
                match create_pod(state, &rs) {
                    Ok(pod) => active.push(pod),
                    Err(error) => {
                        failure = Some(error.to_string());
                        break;
                    }
                }
            }
        } else if active.len() > wanted {
            let surplus = active.len() - wanted;
            active.sort_by_key(|p| deletion_rank(p));
            for pod in active.drain(..surplus) {
                let known = state.kinds.known;
                let options = DeleteOptions::default();
                // A pod that is gone already is what was wanted.
                drop(state.delete(known.pods, pod.namespace(), pod.name(), &options));
            }
        }
    }
    update_status(state, &rs, &active, terminating, failure)
}

/// The pods of a ReplicaSet; such without a controller are taken over, such that no longer
/// match are let go.
fn adopt(state: &mut State, rs: &Arc<Object>) -> Vec<Arc<Object>> {
    let known = state.kinds.known;
    let selector = selector(rs);
    let mut pods = Vec::new();
    for pod in state.store.owned(rs.uid(), known.pods) {
        if selector.matches(pod.labels()) || rs.is_deleting() {
            pods.push(pod);
        } else {
            change(state, known.pods, &pod, |value| {
                list_mut(value, &["metadata", "ownerReferences"])
                    .retain(|o| text(o, &["uid"]) != rs.uid());
            });
        }
    }
    if rs.is_deleting() {
        return pods;
    }
    let filter = Filter {
        namespace: rs.namespace().to_owned(),
        labels: selector,
        ..Filter::default()
    };
    let orphans: Vec<Arc<Object>> = state
        .store
        .select(known.pods, &filter)
        .into_iter()
        .filter(|p| object::controller_uid(&p.value).is_none() && !p.is_deleting())
        .collect();
    let Ok(kind) = state.kind(known.replicasets) else {
        return pods;
    };
    let reference = owner_reference(&kind, rs);
    for orphan in orphans {
        let adopted = change(state, known.pods, &orphan, |value| {
            list_mut(value, &["metadata", "ownerReferences"]).push(reference.clone());
        });
        pods.extend(adopted);
    }
    pods
}

fn create_pod(state: &mut State, rs: &Object) -> Result<Arc<Object>, crate::error::ApiError> {
    let known = state.kinds.known;
    let kind = state.kind(known.replicasets)?;
    let pod = pod_from_template(&kind, rs);
    state
        .create(known.pods, rs.namespace(), pod, &WriteOptions::default())
        .map(|w| w.object)
}

/// Pods with the lowest rank go first: unassigned, then not running, not ready, lower
/// deletion cost, ready for a shorter time, restarted more, newer.
fn deletion_rank(pod: &Object) -> (bool, u8, bool, i64, String, i64, String) {
    let assigned = !text(&pod.value, &["spec", "nodeName"]).is_empty();
    let running = match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = object::annotation(&pod.value, "controller.kubernetes.io/pod-deletion-cost");
    let cost = cost.and_then(|c| c.parse().ok()).unwrap_or(0);
    let since =
        object::condition(&pod.value, "Ready").map_or("", |c| text(c, &["lastTransitionTime"]));
    let restarts: i64 = items(&pod.value, &["status", "containerStatuses"])
        .iter()
        .map(|c| int(c, &["restartCount"]).unwrap_or(0))
        .max()
        .unwrap_or(0);
    let created = text(&pod.value, &["metadata", "creationTimestamp"]);
    (
        assigned,
        running,
        is_ready(pod),
        cost,
        newest_first(since),
        -restarts,
        newest_first(created),
    )
}

/// Turns a stamp so that later ones sort first.
fn newest_first(stamp: &str) -> String {
    stamp
        .bytes()
        .map(|b| char::from(b'~' - b.clamp(b' ', b'~') + b' '))
        .collect()
}

fn update_status(
    state: &mut State,
    rs: &Arc<Object>,
    pods: &[Arc<Object>],
    terminating: usize,
    failure: Option<String>,
) -> Option<Timestamp> {
    let labels = Selector::of_map(
        crate::json::map(&rs.value, &["spec", "template", "metadata", "labels"])
            .unwrap_or(&serde_json::Map::new()),
    );
    let min_ready = int(&rs.value, &["spec", "minReadySeconds"]).unwrap_or(0);
    let mut available = 0;
    let mut wake: Option<Timestamp> = None;
    for pod in pods {
        match available_at(pod, min_ready) {
            Some(at) if at <= state.now => available += 1,
            Some(at) => wake = Some(wake.map_or(at, |w| w.min(at))),
            None => {}
        }
    }
    let count = |test: &dyn Fn(&&Arc<Object>) -> bool| pods.iter().filter(test).count();
    let generation = int(&rs.value, &["metadata", "generation"]).unwrap_or(1);
    let mut status = json!({
        "replicas": pods.len(), "terminatingReplicas": terminating,
        "observedGeneration": generation,
    });
    let mut set = |field: &str, n: usize| {
        if n > 0 {
            put(&mut status, &[field], n);
        }
    };
    set(
        "fullyLabeledReplicas",
        count(&|p| labels.matches(p.labels())),
    );
    set("readyReplicas", count(&|p| is_ready(p)));
    set("availableReplicas", available);
    let mut conditions: Vec<Value> = items(&rs.value, &["status", "conditions"]).to_vec();
    let had = conditions
        .iter()
        .any(|c| text(c, &["type"]) == "ReplicaFailure");
    match failure {
        Some(message) if !had => conditions.push(json!({
            "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
            "message": message, "lastTransitionTime": state.stamp(),
        })),
        None if had => conditions.retain(|c| text(c, &["type"]) != "ReplicaFailure"),
        _ => {}
    }
    if !conditions.is_empty() {
        crate::json::put(&mut status, &["conditions"], Value::Array(conditions));
    }
    let known = state.kinds.known;
    set_status(state, known.replicasets, rs, status);
    wake
}
