//! Phase and message of a Rollout: as the controller writes them, and as readers should take them.

use sluice_crds::Rollout;
use sluice_crds::keys;
use sluice_crds::rollout::{RolloutPhase, RolloutSpec, RolloutStatus};

use crate::conditions::{self, is_completed, kind, reason};

/// A phase and why the Rollout is in it; Healthy has no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseView {
    /// The phase.
    pub phase: RolloutPhase,
    /// Why.
    pub message: String,
}

impl PhaseView {
    fn new(phase: RolloutPhase, message: impl Into<String>) -> Self {
        Self {
            phase,
            message: message.into(),
        }
    }
}

/// The phase that follows from spec and status (CTL-14, API-65). An invalid spec comes first, then
/// what `Progressing` says; the order of the list does not matter (SE-16).
#[must_use]
pub fn of(spec: &RolloutSpec, status: &RolloutStatus) -> PhaseView {
    use RolloutPhase::{Degraded, Healthy, Paused, Progressing};
    if let Some(invalid) = conditions::get(&status.conditions, kind::INVALID_SPEC) {
        let message = format!("{}: {}", kind::INVALID_SPEC, invalid.message);
        return PhaseView::new(Degraded, message);
    }
    if let Some(stuck) = conditions::get(&status.conditions, kind::PROGRESSING)
        .filter(|c| matches!(c.reason.as_str(), reason::ABORTED | reason::DEADLINE))
    {
        return PhaseView::new(Degraded, format!("{}: {}", stuck.reason, stuck.message));
    }
    if spec.paused {
        return PhaseView::new(Paused, "manually paused");
    }
    if let Some(pause) = status.pause_conditions.first() {
        return PhaseView::new(Paused, pause.reason.as_str());
    }
    match unfinished(spec, status) {
        Some(message) => PhaseView::new(Progressing, message),
        None => PhaseView::new(Healthy, ""),
    }
}

/// What is still missing until the Rollout is Healthy.
fn unfinished(spec: &RolloutSpec, status: &RolloutStatus) -> Option<&'static str> {
    if spec.restart_at.is_some() && spec.restart_at != status.restarted_at {
        return Some("rollout is restarting");
    }
    if status.updated_replicas < spec.replicas() {
        return Some("more replicas need to be updated");
    }
    if status.available_replicas < status.updated_replicas {
        return Some("updated replicas are still becoming available");
    }
    if let Some(blue_green) = &spec.strategy.blue_green {
        let active = &status.blue_green.active_selector;
        if active.is_empty() || *active != status.current_pod_hash {
            return Some("active service cutover pending");
        }
        if is_completed(status) {
            return None;
        }
        let run = status
            .blue_green
            .post_promotion_analysis_run_status
            .as_ref();
        let measuring = blue_green.post_promotion_analysis.is_some()
            && run.is_none_or(|run| !run.status.completed());
        return Some(if measuring {
            "waiting for analysis to complete"
        } else {
            "waiting for post-promotion verification to complete"
        });
    }
    let canary = spec.strategy.canary.as_ref()?;
    if canary.traffic_routing.is_none() && status.replicas > status.updated_replicas {
        return Some("old replicas are pending termination");
    }
    (!is_completed(status)).then_some("waiting for all steps to complete")
}

/// The phase as a reader should take it (API-66, CLI-8): what is stored, unless it is certainly out
/// of date.
#[must_use]
pub fn shown(rollout: &Rollout) -> PhaseView {
    let empty = RolloutStatus::default();
    let status = rollout.status.as_ref().unwrap_or(&empty);
    let progressing = |message: &str| PhaseView::new(RolloutPhase::Progressing, message);
    if !spec_observed(rollout, status) {
        return progressing("waiting for rollout spec update to be observed");
    }
    if status.controller_pause && status.pause_conditions.is_empty() {
        return progressing("waiting for rollout to unpause");
    }
    if rollout.spec.workload_ref.is_some() && !workload_observed(rollout, status) {
        return progressing(
            "waiting for rollout spec update to be observed for the reference workload",
        );
    }
    if status.phase == RolloutPhase::Unset {
        return of(&rollout.spec, status);
    }
    PhaseView::new(status.phase.clone(), status.message.clone())
}

/// A number that is not above the generation and differs from it is out of date; a text that is no
/// number is a hash of an old release.
fn spec_observed(rollout: &Rollout, status: &RolloutStatus) -> bool {
    let generation = rollout.metadata.generation.unwrap_or(0);
    status
        .observed_generation
        .parse::<i64>()
        .map_or(true, |observed| observed >= generation)
}

fn workload_observed(rollout: &Rollout, status: &RolloutStatus) -> bool {
    let annotations = rollout.metadata.annotations.as_ref();
    let wanted = annotations
        .and_then(|map| map.get(keys::WORKLOAD_GENERATION))
        .and_then(|text| text.parse::<i64>().ok());
    let seen = status.workload_observed_generation.parse::<i64>().ok();
    wanted.zip(seen).is_none_or(|(wanted, seen)| wanted == seen)
}

#[cfg(test)]
mod tests;
