//! Readable lines about what happens.

use sluice_crds::rollout::RolloutStatus;

use super::cache::Cache;
use crate::plan::{Action, Planned};
use crate::testing::world::World;

/// One write in a few words.
pub(super) fn action(planned: &Planned) -> String {
    match &planned.action {
        Action::PatchRollout { patch } => format!("patch Rollout {patch}"),
        Action::CreateReplicaSet(set) => {
            let size = set.spec.replicas.unwrap_or(1);
            format!("create {} of {size}", object(&planned.action))
        }
        Action::PatchReplicaSet { patch, .. } => {
            let size = patch.pointer("/spec/replicas");
            let size = size.map_or(String::new(), |size| format!(" to {size} pods"));
            let notes = patch
                .pointer("/metadata/annotations")
                .map_or(String::new(), |all| format!(" {all}"));
            format!("{}{size}{notes}", object(&planned.action))
        }
        Action::PatchService { patch, .. } => {
            let hash = patch.pointer("/spec/selector/rollouts-pod-template-hash");
            let to = hash.map_or(String::new(), |hash| format!(" to {hash}"));
            format!("{}{to}", object(&planned.action))
        }
        Action::Route(want) if want.only_remove_managed_routes => "remove routes".to_owned(),
        Action::Route(want) => {
            let keep = if want.keep_hashes { " keep hashes" } else { "" };
            let more = want.additional.len();
            let (weight, canary, stable) = (want.weight, &want.canary_hash, &want.stable_hash);
            format!(
                "route {weight}/{} {canary} {stable} +{more}{keep}",
                want.max_weight
            )
        }
        Action::AdoptReplicaSet { .. }
        | Action::ReleaseReplicaSet { .. }
        | Action::DeleteReplicaSet { .. }
        | Action::CreateAnalysisRun(_)
        | Action::TerminateAnalysisRun { .. }
        | Action::DeleteAnalysisRun { .. }
        | Action::CreateExperiment(_)
        | Action::TerminateExperiment { .. }
        | Action::DeleteExperiment { .. }
        | Action::PatchPod { .. }
        | Action::EvictPod { .. }
        | Action::ScaleWorkload { .. } => {
            let text = format!("{:?}", planned.action);
            let verb = text.split([' ', '(', '{']).next().unwrap_or_default();
            format!("{verb} {}", object(&planned.action))
        }
    }
}

/// The object of a write.
pub(super) fn object(action: &Action) -> String {
    match action {
        Action::CreateReplicaSet(set) => set.metadata.name.clone().unwrap_or_default(),
        Action::CreateAnalysisRun(run) => run.metadata.name.clone().unwrap_or_default(),
        Action::CreateExperiment(one) => one.metadata.name.clone().unwrap_or_default(),
        Action::AdoptReplicaSet { name, .. }
        | Action::ReleaseReplicaSet { name, .. }
        | Action::PatchReplicaSet { name, .. }
        | Action::DeleteReplicaSet { name }
        | Action::PatchService { name, .. }
        | Action::TerminateAnalysisRun { name }
        | Action::DeleteAnalysisRun { name }
        | Action::TerminateExperiment { name }
        | Action::DeleteExperiment { name }
        | Action::PatchPod { name, .. }
        | Action::EvictPod { name }
        | Action::ScaleWorkload { name, .. } => name.clone(),
        Action::PatchRollout { .. } | Action::Route(_) => "web".to_owned(),
    }
}

/// What a status says that its predecessor did not.
pub(super) fn status(before: Option<&RolloutStatus>, next: &RolloutStatus) -> String {
    let weights = |status: &RolloutStatus| {
        let on = status.canary.weights.as_ref();
        on.map(|on| {
            format!(
                "{} {} / {} {}",
                on.canary.weight,
                on.canary.pod_template_hash,
                on.stable.weight,
                on.stable.pod_template_hash
            )
        })
    };
    let none = RolloutStatus::default();
    let old = before.unwrap_or(&none);
    let mut parts = Vec::new();
    let mut say = |what: &str, old: String, new: String| {
        if old != new {
            parts.push(format!("{what} {new}"));
        }
    };
    let index = |status: &RolloutStatus| format!("{:?}", status.current_step_index);
    let step = |status: &RolloutStatus| index(status).replace("Some", "").replace("None", "-");
    say("step", step(old), step(next));
    say(
        "current",
        old.current_pod_hash.clone(),
        next.current_pod_hash.clone(),
    );
    say("stable", old.stable_rs.clone(), next.stable_rs.clone());
    say(
        "weights",
        weights(old).unwrap_or_default(),
        weights(next).unwrap_or_default(),
    );
    say("abort", old.abort.to_string(), next.abort.to_string());
    say(
        "full",
        old.promote_full.to_string(),
        next.promote_full.to_string(),
    );
    let phase = |status: &RolloutStatus| format!("{}: {}", status.phase.as_str(), status.message);
    say("phase", phase(old), phase(next));
    format!("[{}]", parts.join(", "))
}

/// What the controller does not know yet.
pub(super) fn stale(world: &World, cache: &Cache) -> String {
    let mut late = Vec::new();
    if cache.rollout.metadata.resource_version != world.rollout.metadata.resource_version {
        late.push("Rollout");
    }
    let versions = |set: &sluice_crds::ReplicaSet| set.metadata.resource_version.clone();
    let known = cache.sets.iter().map(|(name, set)| (name, versions(set)));
    let there = world.sets.iter().map(|(name, set)| (name, versions(set)));
    if !known.eq(there) {
        late.push("ReplicaSets");
    }
    if late.is_empty() {
        String::new()
    } else {
        format!(" (late: {})", late.join(", "))
    }
}
