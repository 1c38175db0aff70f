//! Conditions of a Rollout: setting them, and the ones each pass writes.
//!
//! The order of the list is part of what is compatible (API-55): whoever changes a condition moves
//! it to the end. [`pass`] sets those of a full status write, [`pre_pass`] those that a pause, a
//! resume or a retry changes before anything else happens, [`progress`] decides what progress is.

use jiff::Timestamp;
use sluice_crds::Rollout;
use sluice_crds::rollout::{RolloutCondition, RolloutStatus};

pub mod pass;
pub mod progress;
#[cfg(test)]
mod tests;

/// `status` of a condition.
pub mod status {
    /// It holds.
    pub const TRUE: &str = "True";
    /// It does not hold.
    pub const FALSE: &str = "False";
    /// In between.
    pub const UNKNOWN: &str = "Unknown";
}

/// `type` of a condition (API-56).
pub mod kind {
    /// The spec, or an object it names, cannot be used.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// Enough pods are available.
    pub const AVAILABLE: &str = "Available";
    /// `status.stableRS` is the current hash.
    pub const COMPLETED: &str = "Completed";
    /// Fully promoted, all pods available, strategy done.
    pub const HEALTHY: &str = "Healthy";
    /// A pause is on.
    pub const PAUSED: &str = "Paused";
    /// A ReplicaSet cannot make pods.
    pub const REPLICA_FAILURE: &str = "ReplicaFailure";
    /// The update moves, or why it does not.
    pub const PROGRESSING: &str = "Progressing";
}

/// `reason` of a condition (API-56, API-59).
pub mod reason {
    /// See [`super::kind::INVALID_SPEC`].
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// See [`super::kind::AVAILABLE`].
    pub const AVAILABLE: &str = "AvailableReason";
    /// See [`super::kind::COMPLETED`].
    pub const COMPLETED: &str = "RolloutCompleted";
    /// See [`super::kind::HEALTHY`].
    pub const HEALTHY: &str = "RolloutHealthy";
    /// The ReplicaSet was made in this pass.
    pub const NEW_REPLICA_SET: &str = "NewReplicaSetCreated";
    /// The ReplicaSet was there already.
    pub const FOUND_REPLICA_SET: &str = "FoundNewReplicaSet";
    /// The ReplicaSet could not be made.
    pub const CREATE_ERROR: &str = "ReplicaSetCreateError";
    /// Aborted.
    pub const ABORTED: &str = "RolloutAborted";
    /// Paused.
    pub const PAUSED: &str = "RolloutPaused";
    /// Resumed.
    pub const RESUMED: &str = "RolloutResumed";
    /// Retried after an abort.
    pub const RETRY: &str = "RolloutRetry";
    /// Healthy.
    pub const NEW_RS_AVAILABLE: &str = "NewReplicaSetAvailable";
    /// Was healthy, is not.
    pub const NOT_AVAILABLE: &str = "ReplicaSetNotAvailable";
    /// Moving.
    pub const UPDATED: &str = "ReplicaSetUpdated";
    /// Has not moved for `progressDeadlineSeconds`.
    pub const DEADLINE: &str = "ProgressDeadlineExceeded";
    /// Event only: an update began.
    pub const NOT_COMPLETED: &str = "RolloutNotCompleted";
}

/// The condition of a type.
#[must_use]
pub fn get<'a>(conditions: &'a [RolloutCondition], kind: &str) -> Option<&'a RolloutCondition> {
    conditions.iter().find(|c| c.r#type == kind)
}

/// The reason of a type's condition; empty when there is none.
#[must_use]
pub fn reason_of<'a>(conditions: &'a [RolloutCondition], kind: &str) -> &'a str {
    get(conditions, kind).map_or("", |c| &c.reason)
}

/// Whether the condition of a type is there and `True`.
#[must_use]
pub fn is_true(conditions: &[RolloutCondition], kind: &str) -> bool {
    get(conditions, kind).is_some_and(|c| c.status == status::TRUE)
}

/// A condition that begins now.
#[must_use]
pub fn new(
    kind: &str,
    status: &str,
    reason: &str,
    message: impl Into<String>,
    now: Timestamp,
) -> RolloutCondition {
    RolloutCondition {
        r#type: kind.to_owned(),
        status: status.to_owned(),
        last_update_time: now.into(),
        last_transition_time: now.into(),
        reason: reason.to_owned(),
        message: message.into(),
    }
}

/// Sets a condition (API-55) and says whether that changed anything: nothing does when status and
/// reason are what they were, whatever the message says. Otherwise the old one goes and the new one
/// is appended; the transition time stays while the status does.
pub fn set(conditions: &mut Vec<RolloutCondition>, mut condition: RolloutCondition) -> bool {
    if let Some(old) = get(conditions, &condition.r#type) {
        if old.status == condition.status && old.reason == condition.reason {
            return false;
        }
        if old.status == condition.status {
            condition.last_transition_time = old.last_transition_time;
        }
    }
    remove(conditions, &condition.r#type);
    conditions.push(condition);
    true
}

/// Sets a condition even when status and reason are what they were, so that its update time and
/// message move.
pub fn renew(conditions: &mut Vec<RolloutCondition>, mut condition: RolloutCondition) {
    if let Some(old) = get(conditions, &condition.r#type)
        && old.status == condition.status
    {
        condition.last_transition_time = old.last_transition_time;
    }
    remove(conditions, &condition.r#type);
    conditions.push(condition);
}

/// Removes a condition; says whether it was there.
pub fn remove(conditions: &mut Vec<RolloutCondition>, kind: &str) -> bool {
    let before = conditions.len();
    conditions.retain(|c| c.r#type != kind);
    conditions.len() != before
}

/// `InvalidSpec` (CTL-5): the message of the first error replaces the one before.
pub fn set_invalid_spec(
    conditions: &mut Vec<RolloutCondition>,
    rollout: &str,
    error: &str,
    now: Timestamp,
) {
    let message = format!("The Rollout \"{rollout}\" is invalid: {error}");
    if get(conditions, kind::INVALID_SPEC).is_some_and(|old| old.message == message) {
        return;
    }
    renew(
        conditions,
        new(
            kind::INVALID_SPEC,
            status::TRUE,
            reason::INVALID_SPEC,
            message,
            now,
        ),
    );
}

/// `Progressing` when the new ReplicaSet was made (CTL-22).
#[must_use]
pub fn replica_set_created(replica_set: &str, now: Timestamp) -> RolloutCondition {
    let message = format!("Created new replica set \"{replica_set}\"");
    new(
        kind::PROGRESSING,
        status::TRUE,
        reason::NEW_REPLICA_SET,
        message,
        now,
    )
}

/// `Progressing` when the new ReplicaSet is there and nothing was said about it yet (CTL-24).
#[must_use]
pub fn replica_set_found(replica_set: &str, now: Timestamp) -> RolloutCondition {
    let message = format!("Found new replica set \"{replica_set}\"");
    new(
        kind::PROGRESSING,
        status::TRUE,
        reason::FOUND_REPLICA_SET,
        message,
        now,
    )
}

/// `Progressing` when the new ReplicaSet could not be made (CTL-23).
#[must_use]
pub fn replica_set_failed(replica_set: &str, error: &str, now: Timestamp) -> RolloutCondition {
    let message = format!("Failed to create new replica set \"{replica_set}\": {error}");
    new(
        kind::PROGRESSING,
        status::FALSE,
        reason::CREATE_ERROR,
        message,
        now,
    )
}

/// Text of an abort (CTL-139); it is the event as well.
#[must_use]
pub fn abort_message(revision: &str, cause: &str) -> String {
    let colon = if cause.is_empty() { "" } else { ": " };
    format!("Rollout aborted update to revision {revision}{colon}{cause}")
}

/// Whether the stored status is about the stored spec.
#[must_use]
pub fn observed(rollout: &Rollout, status: &RolloutStatus) -> bool {
    let generation = rollout.metadata.generation.unwrap_or(0);
    status.observed_generation == generation.to_string()
}

/// Whether a person or the controller holds the Rollout.
#[must_use]
pub fn is_paused(rollout: &Rollout, status: &RolloutStatus) -> bool {
    rollout.spec.paused || !status.pause_conditions.is_empty()
}

/// Whether the current version is the stable one.
#[must_use]
pub fn is_completed(status: &RolloutStatus) -> bool {
    !status.stable_rs.is_empty() && status.stable_rs == status.current_pod_hash
}

/// What pause, resume and retry do to the conditions before anything else (CTL-8, API-58): the
/// conditions as they have to be, or `None` when nothing changed. Only a status about this very
/// spec is looked at.
///
/// An abort out of a pause leaves `Paused` as it is; the first look that finds the abort gone
/// corrects it.
#[must_use]
pub fn pre_pass(rollout: &Rollout, now: Timestamp) -> Option<Vec<RolloutCondition>> {
    let stored = rollout
        .status
        .as_ref()
        .filter(|status| observed(rollout, status))?;
    let paused = is_paused(rollout, stored);
    let progressing = reason_of(&stored.conditions, kind::PROGRESSING);
    let aborted = progressing == reason::ABORTED;
    let mut conditions = stored.conditions.clone();
    let mut changed = false;
    let unknown =
        |reason, message: &str| new(kind::PROGRESSING, status::UNKNOWN, reason, message, now);
    if paused != (progressing == reason::PAUSED) && !aborted && !is_completed(stored) {
        let next = if paused {
            unknown(reason::PAUSED, "Rollout is paused")
        } else {
            unknown(reason::RESUMED, "Rollout is resumed")
        };
        changed |= set(&mut conditions, next);
    }
    if aborted && !stored.abort {
        let next = unknown(reason::RETRY, "Retrying Rollout after abort");
        changed |= set(&mut conditions, next);
    }
    if paused != is_true(&stored.conditions, kind::PAUSED) && !aborted {
        let is = if paused { status::TRUE } else { status::FALSE };
        let next = new(kind::PAUSED, is, reason::PAUSED, "Rollout is paused", now);
        changed |= set(&mut conditions, next);
    }
    changed.then_some(conditions)
}
