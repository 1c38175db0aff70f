//! How long an update took, manual pauses apart (API-34, CTL-135).

use jiff::Timestamp;
use sluice_crds::rollout::{PauseReason, RolloutDuration, RolloutSpec, RolloutStatus};

use crate::conditions::kind;

/// How an attempt ended; the words of `completionStatus`.
pub mod outcome {
    /// Promoted at the end of its steps.
    pub const PROMOTED: &str = "Promoted";
    /// Promoted by `promoteFull`.
    pub const FAST_PROMOTED: &str = "FastPromoted";
    /// Aborted.
    pub const ABORTED: &str = "Aborted";
    /// The template was changed back, step by step.
    pub const ROLLED_BACK: &str = "RolledBack";
    /// The template was changed back and its steps were skipped.
    pub const FAST_ROLLED_BACK: &str = "FastRolledBack";
    /// Another template came before the end; never stored.
    pub const SUPERSEDED: &str = "Superseded";
}

/// What happened in this pass, as far as the duration depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Template or steps changed, or this is the first full pass.
    pub changed: bool,
    /// The change goes back to an older version, or to the stable one.
    pub rollback: bool,
    /// ... without steps.
    pub fast: bool,
    /// An aborted update was retried.
    pub retried: bool,
    /// The stable version was set in this pass, because of `promoteFull`.
    pub promoted_full: bool,
    /// The current version is stable.
    pub stable: bool,
    /// ... and has its pods.
    pub available: bool,
    /// The update is aborted.
    pub aborted: bool,
    /// A person has to act, see [`manually_paused`].
    pub manual_pause: bool,
}

/// An attempt that ended in this pass: for metrics and logs, once the status was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// One of [`outcome`].
    pub outcome: String,
    /// Seconds from start to end.
    pub total_seconds: i64,
    /// Seconds of manual pauses within.
    pub manual_pause_seconds: i64,
}

/// The next `status.duration`, and the attempt that ended, if one did. `status` is the next status
/// otherwise complete: nothing moves while the spec is invalid.
#[must_use]
pub fn track(
    stored: Option<&RolloutDuration>,
    facts: Facts,
    status: &RolloutStatus,
    now: Timestamp,
) -> (Option<RolloutDuration>, Option<Ended>) {
    if crate::conditions::get(&status.conditions, kind::INVALID_SPEC).is_some() {
        return (stored.cloned(), None);
    }
    let done = facts.stable && facts.available;
    let running = stored.filter(|d| d.rollout_started_at.is_some() && d.finished_at.is_none());
    let starts = facts.retried || (facts.changed && !done);
    let mut ended = None;
    let mut next = match running {
        None if starts => begin(now),
        None => return (stored.cloned(), None),
        Some(duration) if facts.changed && facts.rollback => {
            let word = if facts.fast {
                outcome::FAST_ROLLED_BACK
            } else {
                outcome::ROLLED_BACK
            };
            RolloutDuration {
                completion_status: word.to_owned(),
                ..duration.clone()
            }
        }
        Some(duration) if starts => {
            ended = Some(end(&mut duration.clone(), outcome::SUPERSEDED, now));
            begin(now)
        }
        Some(duration) => duration.clone(),
    };
    if facts.promoted_full && next.completion_status.is_empty() {
        next.completion_status = outcome::FAST_PROMOTED.to_owned();
    }
    if facts.aborted {
        ended = Some(end(&mut next, outcome::ABORTED, now));
    } else if done {
        ended = Some(end(&mut next, outcome::PROMOTED, now));
    } else if facts.manual_pause {
        next.manual_pause_started_at.get_or_insert(now.into());
    } else {
        end_pause(&mut next, now);
    }
    (Some(next), ended)
}

fn begin(now: Timestamp) -> RolloutDuration {
    RolloutDuration {
        rollout_started_at: Some(now.into()),
        ..RolloutDuration::default()
    }
}

fn end(duration: &mut RolloutDuration, outcome: &str, now: Timestamp) -> Ended {
    end_pause(duration, now);
    duration.finished_at = Some(now.into());
    if duration.completion_status.is_empty() || outcome == outcome::SUPERSEDED {
        duration.completion_status = outcome.to_owned();
    }
    let started = duration.rollout_started_at.map_or(now, |at| at.timestamp());
    Ended {
        outcome: duration.completion_status.clone(),
        total_seconds: now.duration_since(started).as_secs(),
        manual_pause_seconds: duration.total_manual_pause_duration_seconds.unwrap_or(0),
    }
}

fn end_pause(duration: &mut RolloutDuration, now: Timestamp) {
    let Some(since) = duration.manual_pause_started_at.take() else {
        return;
    };
    let seconds = now.duration_since(since.timestamp()).as_secs().max(0);
    let total = duration.total_manual_pause_duration_seconds.unwrap_or(0);
    duration.total_manual_pause_duration_seconds = Some(total.saturating_add(seconds));
}

/// Whether a person holds the Rollout, or has to act: `spec.paused`, or any pause that no timer
/// ends.
#[must_use]
pub fn manually_paused(spec: &RolloutSpec, status: &RolloutStatus) -> bool {
    spec.paused
        || status
            .pause_conditions
            .iter()
            .any(|pause| match &pause.reason {
                PauseReason::InconclusiveAnalysisRun | PauseReason::InconclusiveExperiment => true,
                PauseReason::CanaryPauseStep => pause_is_endless(spec, status),
                PauseReason::BlueGreenPause => {
                    let blue_green = spec.strategy.blue_green.as_ref();
                    blue_green.is_some_and(|b| b.auto_promotion_enabled == Some(false))
                }
                PauseReason::Unset | PauseReason::Other(_) => false,
            })
}

fn pause_is_endless(spec: &RolloutSpec, status: &RolloutStatus) -> bool {
    let index = status
        .current_step_index
        .and_then(|index| usize::try_from(index).ok());
    let step = spec
        .strategy
        .canary
        .as_ref()
        .zip(index)
        .and_then(|(c, i)| c.steps.get(i));
    step.and_then(|step| step.pause.as_ref())
        .is_some_and(|pause| pause.duration.is_none())
}

#[cfg(test)]
mod tests;
