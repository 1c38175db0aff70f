//! The step and the weights that people are shown (CLI-10).

use std::sync::Arc;

use sluice_crds::rollout::RolloutStatus;
use sluice_crds::{ReplicaSet, Rollout};

use super::roles::{self, Role};

/// `1/4`; empty unless there are steps and one of them is current.
#[must_use]
pub fn step(rollout: &Rollout) -> String {
    let steps = rollout.spec.steps().len();
    match rollout
        .status
        .as_ref()
        .and_then(|status| status.current_step_index)
    {
        Some(index) if steps > 0 => format!("{index}/{steps}"),
        _ => String::new(),
    }
}

/// Index of the current step, if there is one: a missing index counts as 0.
fn current(rollout: &Rollout) -> Option<usize> {
    let steps = rollout.spec.steps();
    let index = rollout
        .status
        .as_ref()
        .and_then(|status| status.current_step_index)
        .unwrap_or(0);
    let index = usize::try_from(index).unwrap_or(0);
    (index < steps.len()).then_some(index)
}

/// The weight that the steps ask for, as written.
#[must_use]
pub fn set_weight(rollout: &Rollout) -> i32 {
    if rollout.status.as_ref().is_some_and(|status| status.abort) {
        return 0;
    }
    let Some(index) = current(rollout) else {
        return rollout.spec.max_traffic_weight();
    };
    let passed = rollout.spec.steps().get(..=index).unwrap_or_default();
    passed
        .iter()
        .rev()
        .find_map(|step| step.set_weight)
        .unwrap_or(0)
}

/// The weight that is in force.
#[must_use]
pub fn actual_weight(rollout: &Rollout, replica_sets: &[Arc<ReplicaSet>]) -> i32 {
    let whole = rollout.spec.max_traffic_weight();
    if current(rollout).is_none() {
        return whole;
    }
    let empty = RolloutStatus::default();
    let status = rollout.status.as_ref().unwrap_or(&empty);
    if status.available_replicas <= 0 {
        return 0;
    }
    if rollout.spec.traffic_routing().is_some() {
        let weights = status.canary.weights.as_ref();
        return weights.map_or_else(|| set_weight(rollout), |weights| weights.canary.weight);
    }
    let canary = replica_sets
        .iter()
        .find(|set| roles::of(rollout, set).contains(&Role::Canary))
        .and_then(|set| set.status.as_ref())
        .map_or(0, |status| status.available_replicas);
    let share = i64::from(canary) * i64::from(whole) / i64::from(status.available_replicas);
    i32::try_from(share).unwrap_or(i32::MAX)
}
