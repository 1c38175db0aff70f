//! Everything a decision may ask for. The executor carries a plan out word by word: it chooses
//! nothing, stops at the first failure, and writes the status last (D1, D4).

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use sluice_crds::rollout::RolloutStatus;
use sluice_crds::{AnalysisRun, Experiment, ReplicaSet};

use crate::conditions::{kind, reason};
use crate::duration::Ended;
use crate::event::Event;
use crate::traffic::Want;
use crate::why::Why;

/// What to do about one Rollout now.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Writes, in order. Each is idempotent: after a crash between any two, observing again and
    /// deciding again goes on correctly.
    pub actions: Vec<Planned>,
    /// The status that holds once every action succeeded; written as one merge patch, guarded by
    /// the resourceVersion that was read, and not at all when it says nothing new. `None`: leave it.
    pub status: Option<Box<RolloutStatus>>,
    /// Events to record after the status was written (or needed no write).
    pub events: Vec<Event>,
    /// When to look again even if nothing happens.
    pub wake: Option<Timestamp>,
    /// When the update counts as stuck if it does not move until then (CTL-134); `None` where no
    /// progress deadline runs.
    pub stuck_at: Option<Timestamp>,
    /// What the Rollout waits for; empty only when it is at rest or this plan moves it.
    pub why: Vec<Why>,
    /// Attempts that end with this plan: for metrics and logs, once the status was written.
    pub ended: Vec<Ended>,
}

/// A write and what to say once it succeeded.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// The write.
    pub action: Action,
    /// Recorded when, and only when, the write succeeded.
    pub events: Vec<Event>,
}

impl From<Action> for Planned {
    fn from(action: Action) -> Self {
        Self {
            action,
            events: Vec::new(),
        }
    }
}

/// One write. Objects live in the Rollout's namespace.
///
/// Patches are JSON merge patches. Where `guard` is given, it is the resourceVersion that the
/// decision was made on: the executor sends it along, and a conflict ends the pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Merge-patch the Rollout itself (revision annotation, default replicas); never its status.
    PatchRollout {
        /// The patch.
        patch: Value,
    },
    /// POST a ReplicaSet. A name clash is an answer, not an overwrite (CTL-23).
    CreateReplicaSet(Box<ReplicaSet>),
    /// Take an ownerless ReplicaSet over, after a live read confirmed that this Rollout still exists
    /// (CTL-15).
    AdoptReplicaSet {
        /// Its name.
        name: String,
        /// See [`Action`].
        guard: String,
    },
    /// Give up a ReplicaSet that no longer matches the selector.
    ReleaseReplicaSet {
        /// Its name.
        name: String,
        /// See [`Action`].
        guard: String,
    },
    /// Change a ReplicaSet: size, annotations, template metadata, `minReadySeconds`, affinity. All
    /// changes of one pass to one ReplicaSet are one patch.
    PatchReplicaSet {
        /// Its name.
        name: String,
        /// See [`Action`].
        guard: String,
        /// The patch.
        patch: Value,
    },
    /// DELETE a ReplicaSet that has no pods (CTL-25).
    DeleteReplicaSet {
        /// Its name.
        name: String,
    },
    /// Merge-patch a Service: selector hash and managed-by annotation (CTL-151, CTL-152).
    PatchService {
        /// Its name.
        name: String,
        /// The patch.
        patch: Value,
    },
    /// Bring every configured router to this state.
    Route(Box<Want>),
    /// POST an AnalysisRun; on a name clash the executor reads the object, so that the next
    /// decision sees it (INV-7).
    CreateAnalysisRun(Box<AnalysisRun>),
    /// Set `spec.terminate` of an AnalysisRun.
    TerminateAnalysisRun {
        /// Its name.
        name: String,
    },
    /// DELETE an AnalysisRun beyond the history limits.
    DeleteAnalysisRun {
        /// Its name.
        name: String,
    },
    /// POST an Experiment; name clashes as for AnalysisRuns.
    CreateExperiment(Box<Experiment>),
    /// Set `spec.terminate` of an Experiment.
    TerminateExperiment {
        /// Its name.
        name: String,
    },
    /// DELETE an Experiment beyond the history limits.
    DeleteExperiment {
        /// Its name.
        name: String,
    },
    /// Change labels and annotations of one live pod (CTL-148); `None` removes a key.
    PatchPod {
        /// Its name.
        name: String,
        /// Labels to set or remove.
        labels: BTreeMap<String, Option<String>>,
        /// Annotations to set or remove.
        annotations: BTreeMap<String, Option<String>>,
    },
    /// Evict a pod through the eviction subresource; 429 is not a failure (CTL-126).
    EvictPod {
        /// Its name.
        name: String,
    },
    /// Set `spec.replicas` of the referenced Deployment (CTL-146). A failure is logged, not fatal.
    ScaleWorkload {
        /// Its name.
        name: String,
        /// Wanted `spec.replicas`.
        replicas: i32,
    },
}

impl Action {
    /// A route that repeats what the status has on record: it only heals what others changed.
    #[must_use]
    pub fn confirms(&self, seen: Option<&RolloutStatus>) -> bool {
        let Self::Route(want) = self else {
            return false;
        };
        let weights = seen.and_then(|status| status.canary.weights.as_ref());
        want.only_remove_managed_routes || weights.is_some_and(|on| want.repeats(on))
    }
}

impl Plan {
    /// A plan that waits: no write, only a reason.
    #[must_use]
    pub fn wait(why: Why, wake: Option<Timestamp>) -> Self {
        Self {
            why: vec![why],
            wake,
            ..Self::default()
        }
    }

    /// Whether it gives the update up: the deadline was missed, or it is aborted by itself. Before that
    /// is written, what it rests on has to be read live: a cache may be behind (FLT-3).
    #[must_use]
    pub fn gives_up(&self, seen: Option<&RolloutStatus>) -> bool {
        let given_up = |status: &RolloutStatus| {
            let conditions = &status.conditions;
            let missed = |one: &sluice_crds::rollout::RolloutCondition| {
                one.r#type == kind::PROGRESSING && one.reason == reason::DEADLINE
            };
            status.abort || conditions.iter().any(missed)
        };
        self.status.as_deref().is_some_and(given_up) && !seen.is_some_and(given_up)
    }

    /// Whether carrying it out writes nothing, given the status as read. A route that repeats the
    /// weights on record only heals what somebody else changed.
    #[must_use]
    pub fn is_quiet(&self, seen: Option<&RolloutStatus>) -> bool {
        !self.acts(seen) && self.status.as_deref().is_none_or(|next| Some(next) == seen)
    }

    /// Whether it asks for any write but that of the status, as [`Self::is_quiet`] counts them.
    #[must_use]
    pub fn acts(&self, seen: Option<&RolloutStatus>) -> bool {
        let confirms = |planned: &Planned| planned.action.confirms(seen);
        !self.actions.iter().all(confirms)
    }
}

/// Shared, immutable plans are handed to `explain` and to the metrics.
pub type SharedPlan = Arc<Plan>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::t0;

    /// FLT-3: only what newly aborts, or newly misses the deadline, has to be read live first.
    #[test]
    fn giving_up_is_what_was_not_so_before() {
        let condition = |r#type: &str, reason: &str| sluice_crds::rollout::RolloutCondition {
            last_transition_time: t0().into(),
            last_update_time: t0().into(),
            message: String::new(),
            reason: reason.to_owned(),
            status: "False".to_owned(),
            r#type: r#type.to_owned(),
        };
        let with = |abort: bool, conditions: &[(&str, &str)]| RolloutStatus {
            abort,
            conditions: conditions
                .iter()
                .map(|(kind, reason)| condition(kind, reason))
                .collect(),
            ..RolloutStatus::default()
        };
        let gives_up = |next: Option<&RolloutStatus>, seen: Option<&RolloutStatus>| {
            let plan = Plan {
                status: next.cloned().map(Box::new),
                ..Plan::default()
            };
            plan.gives_up(seen)
        };
        let going = with(false, &[(kind::PROGRESSING, "ReplicaSetUpdated")]);
        let aborted = with(true, &[]);
        let late = with(false, &[(kind::PROGRESSING, reason::DEADLINE)]);
        assert!(gives_up(Some(&aborted), None) && gives_up(Some(&aborted), Some(&going)));
        assert!(gives_up(Some(&late), Some(&going)));
        assert!(!gives_up(Some(&going), Some(&going)));
        assert!(!gives_up(Some(&late), Some(&aborted)), "given up already");
        assert!(!gives_up(Some(&aborted), Some(&late)), "given up already");
        assert!(!gives_up(None, Some(&going)), "nothing is written");
        let other = with(false, &[(kind::AVAILABLE, reason::DEADLINE)]);
        assert!(!gives_up(Some(&other), Some(&going)), "of another kind");
    }
}
