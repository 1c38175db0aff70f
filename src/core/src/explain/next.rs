//! What a plan does, and what comes after a wait, in plain words.

use std::sync::Arc;

use serde_json::Value;
use sluice_crds::rollout::{BlueGreenStrategy, RolloutStatus};
use sluice_crds::{ReplicaSet, Rollout, keys};

use super::waits::Wait;
use crate::observed::Observed;
use crate::plan::{Action, Plan};
use crate::traffic::Want;
use crate::why::Reason;

/// What the plan does, a clause each; nothing for what only confirms.
pub(super) fn of(seen: &Observed, plan: &Plan, sets: &[Arc<ReplicaSet>]) -> Vec<String> {
    let stored = seen.rollout.status.as_ref();
    let mut clauses: Vec<String> = plan
        .actions
        .iter()
        .map(|planned| &planned.action)
        .filter(|action| !action.confirms(stored))
        .map(|action| clause(action, sets))
        .collect();
    if let Some(next) = plan.status.as_deref() {
        clauses.extend(turns(seen, next));
    }
    clauses
}

fn pods(count: i64) -> String {
    if count == 1 {
        "1 pod".to_owned()
    } else {
        format!("{count} pods")
    }
}

fn clause(action: &Action, sets: &[Arc<ReplicaSet>]) -> String {
    match action {
        Action::PatchRollout { patch } => {
            if patch.pointer("/spec/replicas").is_some() {
                "set spec.replicas of the Rollout to 1".to_owned()
            } else {
                "note the new revision on the Rollout".to_owned()
            }
        }
        Action::CreateReplicaSet(set) => {
            let name = set.metadata.name.as_deref().unwrap_or_default();
            let count = i64::from(set.spec.replicas.unwrap_or(1));
            format!("create ReplicaSet {name} with {}", pods(count))
        }
        Action::AdoptReplicaSet { name, .. } => format!("take over ReplicaSet {name}"),
        Action::ReleaseReplicaSet { name, .. } => {
            format!("give up ReplicaSet {name}, which no longer matches the selector")
        }
        Action::PatchReplicaSet { name, patch, .. } => patched(name, patch, sets),
        Action::DeleteReplicaSet { name } => {
            format!("delete the old ReplicaSet {name} (revisionHistoryLimit)")
        }
        Action::PatchService { name, patch } => {
            let hash = patch
                .pointer("/spec/selector")
                .and_then(|selector| selector.get(keys::POD_TEMPLATE_HASH))
                .and_then(Value::as_str);
            match hash {
                Some(hash) => format!("point Service {name} at {}", named(hash, sets)),
                None => format!("mark Service {name} as managed"),
            }
        }
        Action::Route(want) => routed(want),
        Action::CreateAnalysisRun(run) => {
            let name = run.metadata.name.as_deref().unwrap_or_default();
            format!("start AnalysisRun {name}")
        }
        Action::TerminateAnalysisRun { name } => format!("end AnalysisRun {name}"),
        Action::DeleteAnalysisRun { name } => format!("delete the old AnalysisRun {name}"),
        Action::CreateExperiment(experiment) => {
            let name = experiment.metadata.name.as_deref().unwrap_or_default();
            format!("start Experiment {name}")
        }
        Action::TerminateExperiment { name } => format!("end Experiment {name}"),
        Action::DeleteExperiment { name } => format!("delete the old Experiment {name}"),
        Action::PatchPod { name, .. } => format!("change labels and annotations of pod {name}"),
        Action::EvictPod { name } => format!("restart pod {name}"),
        Action::ScaleWorkload { name, replicas } => {
            format!(
                "scale the referenced workload {name} to {}",
                pods(i64::from(*replicas))
            )
        }
    }
}

fn named(hash: &str, sets: &[Arc<ReplicaSet>]) -> String {
    let set = sets.iter().find(|set| set.pod_hash() == Some(hash));
    match set.and_then(|set| set.metadata.name.as_deref()) {
        Some(name) => format!("ReplicaSet {name}"),
        None => format!("hash {hash}"),
    }
}

fn patched(name: &str, patch: &Value, sets: &[Arc<ReplicaSet>]) -> String {
    let set = sets
        .iter()
        .find(|set| set.metadata.name.as_deref() == Some(name));
    let from = set.and_then(|set| set.spec.replicas).unwrap_or(0);
    if let Some(to) = patch.pointer("/spec/replicas").and_then(Value::as_i64) {
        return format!("scale ReplicaSet {name} from {from} to {}", pods(to));
    }
    let annotations = patch.pointer("/metadata/annotations");
    match annotations.and_then(|all| all.get(keys::SCALE_DOWN_DEADLINE)) {
        Some(Value::String(_)) => format!("start the scale-down delay of ReplicaSet {name}"),
        Some(_) => format!("lift the scale-down delay of ReplicaSet {name}"),
        None => format!("bring annotations and template of ReplicaSet {name} up to date"),
    }
}

fn routed(want: &Want) -> String {
    if let Some(route) = &want.header_route {
        return format!("set the header route {}", route.name);
    }
    if let Some(route) = &want.mirror_route {
        return format!("set the mirror route {}", route.name);
    }
    let share = if want.max_weight == 100 {
        format!("{} %", want.weight)
    } else {
        format!("{} of {} parts", want.weight, want.max_weight)
    };
    format!("send {share} of the requests to the canary")
}

/// What the next status says that the stored one does not.
fn turns(seen: &Observed, next: &RolloutStatus) -> Vec<String> {
    let empty = RolloutStatus::default();
    let stored = seen.rollout.status.as_ref().unwrap_or(&empty);
    let mut turns = Vec::new();
    if next.abort && !stored.abort {
        turns.push("abort the update".to_owned());
    }
    let updating = !stored.stable_rs.is_empty();
    if next.stable_rs != stored.stable_rs && updating {
        turns.push("make the new version the stable one: the update is complete".to_owned());
    } else if next.current_step_index > stored.current_step_index && updating && !next.abort {
        let index = usize::try_from(next.current_step_index.unwrap_or(0)).unwrap_or(0);
        turns.extend(numbered(&seen.rollout, index).map(|step| format!("go on to {step}")));
    }
    turns
}

fn numbered(rollout: &Rollout, index: usize) -> Option<String> {
    let steps = rollout.spec.steps();
    let text = steps.get(index)?.to_string();
    Some(format!(
        "step {}/{}, {text}",
        index.saturating_add(1),
        steps.len()
    ))
}

/// What follows once the first wait of an update is over.
pub(super) fn then(
    seen: &Observed,
    status: &RolloutStatus,
    first: Option<&Wait>,
) -> Option<String> {
    if !super::updates(status) || status.abort {
        return None;
    }
    let rollout = &*seen.rollout;
    if first.is_some_and(|wait| wait.reason == Reason::ManuallyPaused.as_str()) {
        return Some("the update goes on where it was".to_owned());
    }
    if let Some(again) = first.and_then(|wait| repeated(status, wait)) {
        return Some(again);
    }
    if let Some(blue_green) = &rollout.spec.strategy.blue_green {
        return Some(after(blue_green, status, first));
    }
    let index = usize::try_from(status.current_step_index.unwrap_or(0)).ok()?;
    let following = numbered(rollout, index.saturating_add(1));
    Some(
        following.unwrap_or_else(|| {
            "the new version gets everything and becomes the stable one".to_owned()
        }),
    )
}

/// Of what was inconclusive a canary's step alone can be left behind; all else is measured anew.
fn repeated(status: &RolloutStatus, wait: &Wait) -> Option<String> {
    if wait.reason != Reason::NeedsPromotion.as_str() {
        return None;
    }
    let step = status.canary.current_step_analysis_run_status.as_ref();
    match wait.object.split_once('/') {
        Some(("AnalysisRun", name)) if step.is_none_or(|step| step.name != name) => {
            Some("the analysis is made again".to_owned())
        }
        Some(("Experiment", _)) => Some("the experiment is made again".to_owned()),
        Some(_) | None => None,
    }
}

/// What follows in a blue-green update.
fn after(spec: &BlueGreenStrategy, status: &RolloutStatus, first: Option<&Wait>) -> String {
    if status.blue_green.active_selector == status.current_pod_hash {
        let analysis = &spec.post_promotion_analysis;
        let measured = &status.blue_green.post_promotion_analysis_run_status;
        if analysis.is_some() && measured.is_none() {
            return "the analysis after the switch is made".to_owned();
        }
        return "the new version becomes the stable one, and the old pods go".to_owned();
    }
    let is = |reason: Reason| first.is_some_and(|wait| wait.reason == reason.as_str());
    let decided = is(Reason::NeedsPromotion) || is(Reason::Paused) || status.promote_full;
    let measured = is(Reason::AnalysisRunning);
    if !decided && !measured && spec.pre_promotion_analysis.is_some() {
        "the analysis before the switch is made".to_owned()
    } else if !decided && spec.auto_promotion_enabled == Some(false) {
        "a person decides about the switch".to_owned()
    } else if !decided && spec.auto_promotion_seconds > 0 {
        format!(
            "a pause of {} s before the switch",
            spec.auto_promotion_seconds
        )
    } else {
        format!(
            "Service {} switches to the new version",
            spec.active_service
        )
    }
}

#[cfg(test)]
mod tests;
