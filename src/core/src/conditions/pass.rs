//! The conditions of a full status write, in their order: Healthy, Progressing, Available,
//! ReplicaFailure, Completed (API-55, API-56).

use std::sync::Arc;

use jiff::Timestamp;
use sluice_crds::rollout::{RolloutCondition, RolloutStatus};
use sluice_crds::{ReplicaSet, Rollout, keys};

use super::progress::{self, Exempt};
use super::{kind, new, reason, set, status};
use crate::event::Event;

/// What the conditions of one pass depend on.
#[derive(Clone, Copy, Debug)]
pub struct Pass<'a> {
    /// The Rollout as read.
    pub rollout: &'a Rollout,
    /// The ReplicaSet of the current template.
    pub new_rs: Option<&'a ReplicaSet>,
    /// All owned ReplicaSets.
    pub replica_sets: &'a [Arc<ReplicaSet>],
    /// Revision of the current template, for texts.
    pub revision: &'a str,
    /// Aborted; the cause, empty when a person did it (CTL-139).
    pub aborted: Option<&'a str>,
    /// What keeps the progress deadline from applying.
    pub exempt: Exempt,
    /// Now.
    pub now: Timestamp,
}

impl Pass<'_> {
    /// Sets every condition in `next`, whose list is the stored one and whose other fields are
    /// final. Answers the events that go with changes.
    pub fn apply(&self, next: &mut RolloutStatus) -> Vec<Event> {
        let mut events = Vec::new();
        super::remove(&mut next.conditions, kind::INVALID_SPEC);
        let became_unhealthy = self.healthy(next);
        match self.aborted {
            Some(cause) => {
                let message = super::abort_message(self.revision, cause);
                if self.set(
                    next,
                    kind::PROGRESSING,
                    status::FALSE,
                    reason::ABORTED,
                    &message,
                ) {
                    events.push(Event::warning(reason::ABORTED, message));
                }
            }
            None => self.progressing(next, became_unhealthy),
        }
        self.available(next);
        self.replica_failure(next);
        events.extend(self.completed(next));
        events
    }

    fn set(
        &self,
        next: &mut RolloutStatus,
        kind: &str,
        is: &str,
        reason: &str,
        message: &str,
    ) -> bool {
        set(
            &mut next.conditions,
            new(kind, is, reason, message, self.now),
        )
    }

    /// Answers whether health was just lost.
    fn healthy(&self, next: &mut RolloutStatus) -> bool {
        // The pass that ends a pause may end the update too: it is healthy at once.
        let paused = super::is_paused(self.rollout, next);
        if !paused && progress::healthy(self.rollout, next) {
            self.set(
                next,
                kind::HEALTHY,
                status::TRUE,
                reason::HEALTHY,
                "Rollout is healthy",
            );
            return false;
        }
        // It is only ever spoken of once it was healthy.
        super::get(&next.conditions, kind::HEALTHY).is_some()
            && self.set(
                next,
                kind::HEALTHY,
                status::FALSE,
                reason::HEALTHY,
                "Rollout is not healthy",
            )
    }

    fn progressing(&self, next: &mut RolloutStatus, became_unhealthy: bool) {
        let rollout = self.rollout.metadata.name.as_deref().unwrap_or("");
        let rs = self.new_rs.and_then(|rs| rs.metadata.name.as_deref());
        let stored = self.rollout.status.as_ref();
        let moved = stored.is_none_or(|stored| {
            progress::progressed(&self.rollout.spec, stored, next, self.exempt.regained)
        });
        // A pause in the middle of an update stays one, however healthy its pods are: `pre_pass` would
        // set it again, and so on for ever (INV-8).
        let paused = stored.is_some_and(|stored| super::is_paused(self.rollout, stored));
        let held = paused && !super::is_completed(next);
        if progress::healthy(self.rollout, next) && !held {
            let message = format!(
                "ReplicaSet \"{}\" has successfully progressed.",
                rs.unwrap_or("")
            );
            self.set(
                next,
                kind::PROGRESSING,
                status::TRUE,
                reason::NEW_RS_AVAILABLE,
                &message,
            );
        } else if moved || became_unhealthy {
            let (reason, message) = if became_unhealthy && super::is_completed(next) {
                (
                    reason::NOT_AVAILABLE,
                    "Rollout does not have minimum availability".to_owned(),
                )
            } else {
                let what = match rs {
                    Some(name) => format!("ReplicaSet \"{name}\""),
                    None => format!("Rollout \"{rollout}\""),
                };
                (reason::UPDATED, format!("{what} is progressing."))
            };
            let condition = new(kind::PROGRESSING, status::TRUE, reason, message, self.now);
            super::renew(&mut next.conditions, condition);
        } else {
            let conditions = stored.map_or(&[][..], |stored| &stored.conditions);
            let deadline = progress::deadline_of(&self.rollout.spec);
            if !self.exempt.applies(conditions)
                && progress::timed_out(&next.conditions, deadline, self.now)
            {
                let message = progress::timeout_message(rollout, rs);
                self.set(
                    next,
                    kind::PROGRESSING,
                    status::FALSE,
                    reason::DEADLINE,
                    &message,
                );
            }
        }
    }

    fn available(&self, next: &mut RolloutStatus) {
        let replicas = self.rollout.spec.replicas();
        let enough = if self.rollout.spec.strategy.blue_green.is_some() {
            let active = &next.blue_green.active_selector;
            self.replica_sets
                .iter()
                .find(|rs| !active.is_empty() && rs.pod_hash() == Some(active))
                .is_some_and(|rs| saturated(rs, replicas))
        } else {
            available_sum(self.replica_sets) >= i64::from(replicas)
        };
        let (is, message) = if enough {
            (status::TRUE, "Rollout has minimum availability")
        } else {
            (status::FALSE, "Rollout does not have minimum availability")
        };
        self.set(next, kind::AVAILABLE, is, reason::AVAILABLE, message);
    }

    fn replica_failure(&self, next: &mut RolloutStatus) {
        let all = self.replica_sets.iter().map(|rs| &**rs);
        let found = self
            .new_rs
            .into_iter()
            .chain(all)
            .find_map(|rs| self.failure_of(rs));
        match found {
            Some(condition) => {
                set(&mut next.conditions, condition);
            }
            None => {
                super::remove(&mut next.conditions, kind::REPLICA_FAILURE);
            }
        }
    }

    fn failure_of(&self, rs: &ReplicaSet) -> Option<RolloutCondition> {
        let status = rs.status.as_ref()?;
        let failure = status
            .conditions
            .iter()
            .find(|c| c.r#type == kind::REPLICA_FAILURE)?;
        let since = failure
            .last_transition_time
            .unwrap_or_else(|| self.now.into());
        Some(RolloutCondition {
            r#type: kind::REPLICA_FAILURE.to_owned(),
            status: failure.status.clone(),
            last_update_time: since,
            last_transition_time: since,
            reason: failure.reason.clone(),
            message: failure.message.clone(),
        })
    }

    fn completed(&self, next: &mut RolloutStatus) -> Option<Event> {
        let done = super::is_completed(next);
        let is = if done { status::TRUE } else { status::FALSE };
        let changed = self.set(
            next,
            kind::COMPLETED,
            is,
            reason::COMPLETED,
            reason::COMPLETED,
        );
        (changed && !done).then(|| {
            let hash = &next.current_pod_hash;
            let revision = self.revision;
            Event::normal(
                reason::NOT_COMPLETED,
                format!("Rollout not completed, started update to revision {revision} ({hash})"),
            )
        })
    }
}

/// Whether a ReplicaSet has all that the Rollout wants: `spec.replicas`, the size it was last
/// sized for and its available pods are all `replicas` (CTL-113).
#[must_use]
pub fn saturated(rs: &ReplicaSet, replicas: i32) -> bool {
    let sized_for = rs
        .annotation(keys::DESIRED_REPLICAS)
        .and_then(|text| text.parse::<i32>().ok());
    let available = rs
        .status
        .as_ref()
        .map_or(0, |status| status.available_replicas);
    rs.spec.replicas.unwrap_or(1) == replicas
        && sized_for == Some(replicas)
        && available == replicas
}

fn available_sum(replica_sets: &[Arc<ReplicaSet>]) -> i64 {
    let available = |rs: &Arc<ReplicaSet>| {
        rs.status
            .as_ref()
            .map_or(0, |s| i64::from(s.available_replicas))
    };
    replica_sets.iter().map(available).sum()
}
