//! What observation and plan say, in the form in which the checks ask for it.

use std::sync::Arc;

use serde_json::Value;
use sluice_crds::rollout::{CanaryStrategy, RolloutStatus, TrafficWeights};
use sluice_crds::{RawPodTemplate, ReplicaSet, Rollout, keys};

use crate::observed::{Observed, Seen, Workload};
use crate::plan::{Action, Plan};
use crate::replicas::Fences;

/// A ReplicaSet before and after the plan.
pub(super) struct Set<'a> {
    pub(super) name: &'a str,
    pub(super) hash: &'a str,
    /// `spec.replicas` as read.
    pub(super) from: i32,
    /// `spec.replicas` once the plan was carried out.
    pub(super) to: i32,
    /// Available pods as read.
    pub(super) available: i32,
    /// Pods as read.
    pub(super) current: i32,
    pub(super) object: &'a ReplicaSet,
}

impl Set<'_> {
    pub(super) fn shrinks(&self) -> bool {
        self.to < self.from
    }

    /// Available pods that are sure to be left: pods that are not available go first.
    pub(super) fn left(&self) -> i32 {
        self.available.min(self.to)
    }

    pub(super) fn object(&self) -> String {
        format!("ReplicaSet/{}", self.name)
    }
}

/// Observation and plan.
pub(super) struct Facts<'a> {
    pub(super) seen: &'a Observed,
    pub(super) plan: &'a Plan,
    pub(super) rollout: &'a Rollout,
    pub(super) name: String,
    pub(super) replicas: i32,
    /// Owned ReplicaSets.
    pub(super) sets: Vec<Set<'a>>,
    /// The status as read.
    pub(super) stored: RolloutStatus,
    /// The status once the plan was carried out.
    pub(super) next: &'a RolloutStatus,
    pub(super) whole: i32,
}

impl<'a> Facts<'a> {
    /// `None` where there is nothing to check: the Rollout is being deleted, or has no status yet
    /// and gets none.
    pub(super) fn new(seen: &'a Observed, plan: &'a Plan) -> Option<Self> {
        let rollout = &*seen.rollout;
        if rollout.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let next = plan.status.as_deref().or(rollout.status.as_ref())?;
        let uid = rollout.metadata.uid.as_deref().unwrap_or("");
        let sets = seen.replica_sets.iter().filter(|set| owned(set, uid));
        let sets = sets.map(|set| {
            let status = set.status.as_ref();
            let from = set.spec.replicas.unwrap_or(1);
            let name = set.metadata.name.as_deref().unwrap_or("");
            Set {
                name,
                hash: set.pod_hash().unwrap_or(""),
                from,
                to: size_after(plan, name).unwrap_or(from),
                available: status.map_or(0, |status| status.available_replicas),
                current: status.map_or(0, |status| status.replicas),
                object: set,
            }
        });
        Some(Self {
            sets: sets.collect(),
            name: format!("Rollout/{}", rollout.metadata.name.as_deref().unwrap_or("")),
            replicas: rollout.spec.replicas().max(0),
            stored: rollout.status.clone().unwrap_or_default(),
            whole: rollout.spec.max_traffic_weight(),
            seen,
            plan,
            rollout,
            next,
        })
    }

    pub(super) fn actions(&self) -> impl Iterator<Item = &'a Action> {
        self.plan.actions.iter().map(|planned| &planned.action)
    }

    pub(super) fn set(&self, hash: &str) -> Option<&Set<'a>> {
        self.sets
            .iter()
            .find(|set| !hash.is_empty() && set.hash == hash)
    }

    pub(super) fn canary(&self) -> Option<&'a CanaryStrategy> {
        self.rollout.spec.canary()
    }

    pub(super) fn is_basic(&self) -> bool {
        self.canary().is_some() && self.rollout.spec.traffic_routing().is_none()
    }

    /// `maxSurge` and `maxUnavailable` in pods.
    pub(super) fn fences(&self) -> Fences {
        let canary = self.canary();
        let surge = canary.and_then(|canary| canary.max_surge.as_ref());
        let unavailable = canary.and_then(|canary| canary.max_unavailable.as_ref());
        Fences::resolve(surge, unavailable, self.replicas)
    }

    /// Weights as read.
    pub(super) fn recorded(&self) -> Option<&TrafficWeights> {
        self.stored.canary.weights.as_ref()
    }

    /// Whether the user sizes the canary otherwise than by its weight.
    pub(super) fn sized_by_hand(&self) -> bool {
        self.canary().is_some_and(|canary| {
            canary.replica_progress_threshold.is_some()
                || canary
                    .steps
                    .iter()
                    .any(|step| step.set_canary_scale.is_some())
        })
    }

    /// The hash that a Service selects as read.
    pub(super) fn selected(&self, service: &str) -> Option<&'a str> {
        match self.seen.services.get(service) {
            Some(Seen::Found(view)) => Some(view.pod_hash()).filter(|hash| !hash.is_empty()),
            Some(Seen::Absent | Seen::Unread(_)) | None => None,
        }
    }

    /// The pod template in force.
    pub(super) fn template(&self) -> &'a RawPodTemplate {
        match &self.seen.workload {
            Workload::Found(workload) => &workload.template,
            Workload::NotReferenced | Workload::Unusable(_) => &self.rollout.spec.template,
        }
    }

    /// Whether the plan tells an event of this reason.
    pub(super) fn tells(&self, reason: &str) -> usize {
        let of_actions = self.plan.actions.iter().flat_map(|planned| &planned.events);
        of_actions
            .chain(&self.plan.events)
            .filter(|event| event.reason == reason)
            .count()
    }

    /// Whether the version, or its steps, changed with this decision.
    pub(super) fn restarted(&self) -> bool {
        self.stored.current_pod_hash != self.next.current_pod_hash
            || self.stored.current_step_hash != self.next.current_step_hash
    }

    pub(super) fn promoted(status: &RolloutStatus) -> bool {
        !status.stable_rs.is_empty() && status.stable_rs == status.current_pod_hash
    }
}

fn owned(set: &Arc<ReplicaSet>, uid: &str) -> bool {
    let owners = set.metadata.owner_references.as_deref().unwrap_or_default();
    owners
        .iter()
        .any(|owner| owner.controller == Some(true) && owner.uid == uid)
        && set.annotation(keys::EXPERIMENT_NAME).is_none()
}

/// The size that the plan gives a ReplicaSet.
fn size_after(plan: &Plan, set: &str) -> Option<i32> {
    let mut sizes = plan
        .actions
        .iter()
        .filter_map(|planned| match &planned.action {
            Action::PatchReplicaSet { name, patch, .. } if name == set => {
                let replicas = patch.pointer("/spec/replicas").and_then(Value::as_i64)?;
                i32::try_from(replicas).ok()
            }
            _ => None,
        });
    sizes.next_back()
}

/// The hash that a patch of a Service selects.
pub(super) fn selector_of(patch: &Value) -> Option<&str> {
    patch
        .pointer("/spec/selector")?
        .get(keys::POD_TEMPLATE_HASH)?
        .as_str()
}
