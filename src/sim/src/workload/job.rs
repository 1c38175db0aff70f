//! The Job controller. Pod failure policies, success policies and indexed completion are not
//! supported: such Jobs get the condition Failed with a message that says so.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::common::{has_ended, is_ready, phase, pod_from_template, set_status};
use crate::clock::{parse_stamp, stamp};
use crate::json::{at, flag, int, items, put, text};
use crate::object::{self, Object};
use crate::state::delete::DeleteOptions;
use crate::state::{State, WriteOptions};
use crate::store::Place;

/// Between a failed pod and the next: ten seconds, doubled with each failure.
const BACKOFF: i64 = 10;

/// Never longer than this.
const BACKOFF_MAX: i64 = 360;

/// How a Job ended.
struct End {
    kind: &'static str,
    /// The condition that comes before it.
    before: &'static str,
    reason: &'static str,
    message: String,
}

pub(super) fn reconcile(state: &mut State, place: &Place) -> Option<Timestamp> {
    let job = state.store.at(place)?.clone();
    if job.is_deleting() {
        return None;
    }
    if object::has_condition(&job.value, "Complete") || object::has_condition(&job.value, "Failed")
    {
        return expire(state, &job);
    }
    let pods = state.store.owned(job.uid(), state.kinds.known.pods);
    let mut status = job
        .value
        .get("status")
        .cloned()
        .unwrap_or_else(|| json!({}));
    if flag(&job.value, &["spec", "suspend"]) {
        suspend(state, &job, &pods, status);
        return None;
    }
    if at(&status, &["startTime"]).is_none() {
        put(&mut status, &["startTime"], state.stamp());
        clear_suspension(state, &mut status);
    }
    let spec = |field: &str, default: i64| int(&job.value, &["spec", field]).unwrap_or(default);
    let succeeded = pods.iter().filter(|p| phase(p) == "Succeeded").count() as i64;
    let failed: Vec<&Arc<Object>> = pods.iter().filter(|p| phase(p) == "Failed").collect();
    let active: Vec<Arc<Object>> = pods
        .iter()
        .filter(|p| !has_ended(p) && !p.is_deleting())
        .cloned()
        .collect();
    let restarts: i64 = pods
        .iter()
        .flat_map(|p| items(&p.value, &["status", "containerStatuses"]))
        .map(|c| int(c, &["restartCount"]).unwrap_or(0))
        .sum();
    let limit = spec("backoffLimit", 6);
    let completions = int(&job.value, &["spec", "completions"]);
    let started = parse_stamp(text(&status, &["startTime"])).unwrap_or(state.now);
    let deadline = int(&job.value, &["spec", "activeDeadlineSeconds"])
        .and_then(|s| started.checked_add(SignedDuration::from_secs(s)).ok());
    let done = match completions {
        Some(n) => succeeded >= n,
        None => succeeded > 0 && active.is_empty(),
    };
    let failures = failed.len() as i64;
    let end = if let Some(field) = unsupported(&job) {
        Some(End {
            kind: "Failed",
            before: "FailureTarget",
            reason: "NotSupported",
            message: format!("Job {}: spec.{field} is not supported yet", job.name()),
        })
    } else if done {
        Some(End {
            kind: "Complete",
            before: "SuccessCriteriaMet",
            reason: "CompletionsReached",
            message: "Reached expected number of succeeded pods".to_owned(),
        })
    } else if failures > limit || (restarts > 0 && restarts >= limit && failures == 0) {
        Some(End {
            kind: "Failed",
            before: "FailureTarget",
            reason: "BackoffLimitExceeded",
            message: "Job has reached the specified backoff limit".to_owned(),
        })
    } else if deadline.is_some_and(|d| state.now >= d) {
        Some(End {
            kind: "Failed",
            before: "FailureTarget",
            reason: "DeadlineExceeded",
            message: "Job was active longer than specified deadline".to_owned(),
        })
    } else {
        None
    };
    let mut wake = deadline;
    let mut running = active.clone();
    match &end {
        Some(_) => {
            delete_all(state, &active);
            running.clear();
            wake = None;
        }
        None => {
            let left = completions.map_or(i64::MAX, |n| n - succeeded);
            let left = if completions.is_none() && succeeded > 0 {
                0
            } else {
                left
            };
            let missing = spec("parallelism", 1).min(left) - active.len() as i64;
            match backoff_until(&failed) {
                Some(until) if missing > 0 && until > state.now => {
                    wake = Some(wake.map_or(until, |w| w.min(until)));
                }
                _ => {
                    for _ in 0..missing {
                        running.extend(create_pod(state, &job));
                    }
                }
            }
        }
    }
    let ready = running.iter().filter(|p| is_ready(p)).count();
    for (field, n) in [
        ("active", running.len()),
        ("succeeded", usize::try_from(succeeded).unwrap_or(0)),
        ("failed", failed.len()),
    ] {
        if n > 0 {
            put(&mut status, &[field], n);
        } else {
            crate::json::take(&mut status, &[field]);
        }
    }
    put(&mut status, &["ready"], ready);
    put(&mut status, &["terminating"], 0);
    put(&mut status, &["uncountedTerminatedPods"], json!({}));
    if let Some(end) = end {
        finish(state, &mut status, &end);
    }
    set_status(state, state.kinds.known.jobs, &job, status);
    wake
}

fn unsupported(job: &Object) -> Option<&'static str> {
    if text(&job.value, &["spec", "completionMode"]) == "Indexed" {
        return Some("completionMode");
    }
    ["podFailurePolicy", "successPolicy"]
        .into_iter()
        .find(|field| at(&job.value, &["spec", field]).is_some())
}

fn finish(state: &State, status: &mut Value, end: &End) {
    let now = state.stamp();
    for kind in [end.before, end.kind] {
        crate::json::list_mut(status, &["conditions"]).push(json!({
            "type": kind, "status": "True", "reason": end.reason, "message": end.message,
            "lastProbeTime": now, "lastTransitionTime": now,
        }));
    }
    if end.kind == "Complete" {
        put(status, &["completionTime"], now);
    }
}

/// A finished Job goes when its time to live is over.
fn expire(state: &mut State, job: &Object) -> Option<Timestamp> {
    let ttl = int(&job.value, &["spec", "ttlSecondsAfterFinished"])?;
    let ended = ["Complete", "Failed"]
        .iter()
        .filter_map(|kind| object::condition(&job.value, kind))
        .find_map(|c| parse_stamp(text(c, &["lastTransitionTime"])))?;
    let due = ended.checked_add(SignedDuration::from_secs(ttl)).ok()?;
    if due > state.now {
        return Some(due);
    }
    let jobs = state.kinds.known.jobs;
    drop(state.delete(jobs, job.namespace(), job.name(), &DeleteOptions::default()));
    None
}

fn suspend(state: &mut State, job: &Arc<Object>, pods: &[Arc<Object>], mut status: Value) {
    let active: Vec<Arc<Object>> = pods.iter().filter(|p| !has_ended(p)).cloned().collect();
    delete_all(state, &active);
    for field in ["active", "startTime"] {
        crate::json::take(&mut status, &[field]);
    }
    put(&mut status, &["ready"], 0);
    if !object::has_condition(&job.value, "Suspended") {
        let now = state.stamp();
        let list = crate::json::list_mut(&mut status, &["conditions"]);
        list.retain(|c| text(c, &["type"]) != "Suspended");
        list.push(json!({
            "type": "Suspended", "status": "True", "reason": "JobSuspended",
            "message": "Job suspended", "lastProbeTime": now, "lastTransitionTime": now,
        }));
    }
    set_status(state, state.kinds.known.jobs, job, status);
}

fn clear_suspension(state: &State, status: &mut Value) {
    let now = stamp(state.now);
    for condition in crate::json::each_mut(status, &["conditions"]) {
        if text(condition, &["type"]) == "Suspended" && text(condition, &["status"]) == "True" {
            put(condition, &["status"], "False");
            put(condition, &["reason"], "JobResumed");
            put(condition, &["message"], "Job resumed");
            put(condition, &["lastTransitionTime"], now.clone());
        }
    }
}

fn backoff_until(failed: &[&Arc<Object>]) -> Option<Timestamp> {
    let last = failed.iter().filter_map(|p| ended_at(p)).max()?;
    let doubled = u32::try_from(failed.len().saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(6);
    let seconds = (BACKOFF << doubled).min(BACKOFF_MAX);
    last.checked_add(SignedDuration::from_secs(seconds)).ok()
}

fn ended_at(pod: &Object) -> Option<Timestamp> {
    items(&pod.value, &["status", "containerStatuses"])
        .iter()
        .filter_map(|c| parse_stamp(text(c, &["state", "terminated", "finishedAt"])))
        .max()
}

fn create_pod(state: &mut State, job: &Object) -> Option<Arc<Object>> {
    let known = state.kinds.known;
    let kind = state.kind(known.jobs).ok()?;
    let pod = pod_from_template(&kind, job);
    let options = WriteOptions::default();
    state
        .create(known.pods, job.namespace(), pod, &options)
        .ok()
        .map(|w| w.object)
}

fn delete_all(state: &mut State, pods: &[Arc<Object>]) {
    let known = state.kinds.known;
    for pod in pods {
        // One that is gone already is what was wanted.
        drop(state.delete(
            known.pods,
            pod.namespace(),
            pod.name(),
            &DeleteOptions::default(),
        ));
    }
}
