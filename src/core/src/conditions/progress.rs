//! What counts as progress, as health, and as being stuck (CTL-130..134, API-57, 60, 61).

use jiff::{SignedDuration, Timestamp};
use sluice_crds::Rollout;
use sluice_crds::rollout::{RolloutCondition, RolloutSpec, RolloutStatus};

use super::{get, is_completed, is_true, kind, observed, reason};

/// Seconds without progress until an update counts as stuck; 600 when the spec does not say.
#[must_use]
pub fn deadline_of(spec: &RolloutSpec) -> SignedDuration {
    SignedDuration::from_secs(spec.progress_deadline_seconds().into())
}

/// Whether everything desired is in place (API-57). The generation is the *stored* one: an edit
/// that nobody has looked at yet cannot be healthy.
#[must_use]
pub fn healthy(rollout: &Rollout, next: &RolloutStatus) -> bool {
    let replicas = rollout.spec.replicas();
    let counters = next.updated_replicas == replicas && next.available_replicas == replicas;
    let seen = rollout
        .status
        .as_ref()
        .is_some_and(|stored| observed(rollout, stored));
    counters && seen && strategy_done(&rollout.spec, next)
}

fn strategy_done(spec: &RolloutSpec, next: &RolloutStatus) -> bool {
    if let Some(blue_green) = &spec.strategy.blue_green {
        let current = |selector: &str| selector == next.current_pod_hash;
        return current(&next.blue_green.active_selector)
            && (blue_green.preview_service.is_empty()
                || current(&next.blue_green.preview_selector));
    }
    let Some(canary) = &spec.strategy.canary else {
        return true;
    };
    let steps_done = next
        .current_step_index
        .is_none_or(|index| usize::try_from(index) == Ok(canary.steps.len()));
    steps_done && is_completed(next) && next.replicas == spec.replicas()
}

/// Whether this pass moved the Rollout (API-60). Pods that come back after a crash (`regained`) do not
/// move an update (FLT-35).
#[must_use]
pub fn progressed(
    spec: &RolloutSpec,
    stored: &RolloutStatus,
    next: &RolloutStatus,
    regained: bool,
) -> bool {
    let more_up = next.ready_replicas > stored.ready_replicas
        || next.available_replicas > stored.available_replicas;
    let counters = next.updated_replicas != stored.updated_replicas
        || next.replicas - next.updated_replicas < stored.replicas - stored.updated_replicas
        || (more_up && (!regained || is_completed(next)));
    if counters {
        return true;
    }
    if spec.strategy.blue_green.is_some() {
        return next.blue_green.active_selector != stored.blue_green.active_selector
            || next.blue_green.preview_selector != stored.blue_green.preview_selector;
    }
    let index_moved = stored
        .current_step_index
        .zip(next.current_step_index)
        .is_some_and(|(before, after)| before != after);
    spec.strategy.canary.is_some()
        && (next.stable_rs != stored.stable_rs
            || index_moved
            || next.current_step_hash != stored.current_step_hash)
}

/// Why a Rollout that does not move is not timed out yet (CTL-131).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exempt {
    /// The current step takes its time: a pause, an analysis, an Experiment, or a plugin that is
    /// still running (SE-18).
    pub step: bool,
    /// A ReplicaSet other than the new one waits for its scale-down deadline.
    pub draining: bool,
    /// Pods that are up now were up before: no more of them than ever.
    pub regained: bool,
}

impl Exempt {
    /// Whether the deadline does not apply, given the conditions as stored.
    #[must_use]
    pub fn applies(self, conditions: &[RolloutCondition]) -> bool {
        self.step || self.draining || is_true(conditions, kind::PAUSED)
    }
}

/// Whether the stored `Progressing` condition is older than the deadline (API-61).
#[must_use]
pub fn timed_out(
    conditions: &[RolloutCondition],
    deadline: SignedDuration,
    now: Timestamp,
) -> bool {
    let Some(progressing) = get(conditions, kind::PROGRESSING) else {
        return false;
    };
    match progressing.reason.as_str() {
        reason::ABORTED | reason::PAUSED => false,
        reason::DEADLINE => true,
        _ => expiry(progressing, deadline).is_some_and(|at| at < now),
    }
}

fn expiry(progressing: &RolloutCondition, deadline: SignedDuration) -> Option<Timestamp> {
    progressing
        .last_update_time
        .timestamp()
        .checked_add(deadline)
        .ok()
}

/// Text of a Rollout that is stuck; without a new ReplicaSet it names the Rollout.
#[must_use]
pub fn timeout_message(rollout: &str, new_rs: Option<&str>) -> String {
    match new_rs {
        Some(name) => format!("ReplicaSet \"{name}\" has timed out progressing."),
        None => format!("Rollout \"{rollout}\" has timed out progressing."),
    }
}

/// The cause of an abort by `progressDeadlineAbort` (CTL-133), judged by the stored condition;
/// `None` while nothing is to be aborted.
#[must_use]
pub fn deadline_abort(
    rollout: &Rollout,
    new_rs: Option<&str>,
    next: &RolloutStatus,
    exempt: Exempt,
    now: Timestamp,
) -> Option<String> {
    let stored = rollout.status.as_ref()?;
    let due = rollout.spec.progress_deadline_abort
        && !stored.abort
        && !is_completed(next)
        && !progressed(&rollout.spec, stored, next, exempt.regained)
        && !exempt.applies(&stored.conditions)
        && timed_out(&stored.conditions, deadline_of(&rollout.spec), now);
    due.then(|| timeout_message(rollout.metadata.name.as_deref().unwrap_or(""), new_rs))
}

/// When to look again at a Rollout about which nothing was written (CTL-134): one second after its
/// deadline. `None` where no deadline runs.
#[must_use]
pub fn stuck_check(
    rollout: &Rollout,
    next: &RolloutStatus,
    exempt: Exempt,
    now: Timestamp,
) -> Option<Timestamp> {
    let progressing = get(&next.conditions, kind::PROGRESSING)?;
    let idle = super::is_paused(rollout, next)
        || next.abort
        || exempt.step
        || (healthy(rollout, next) && !aborts(rollout, next))
        || matches!(
            progressing.reason.as_str(),
            reason::ABORTED | reason::DEADLINE
        );
    if idle {
        return None;
    }
    let at = expiry(progressing, deadline_of(&rollout.spec))?;
    let at = at.checked_add(SignedDuration::from_secs(1)).ok()?;
    Some(at.max(now))
}

/// Whether the deadline aborts an update that has all its pods, and only waits to be finished.
fn aborts(rollout: &Rollout, next: &RolloutStatus) -> bool {
    rollout.spec.progress_deadline_abort && !is_completed(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rollout;

    fn stored() -> RolloutStatus {
        RolloutStatus {
            observed_generation: "1".to_owned(),
            replicas: 4,
            updated_replicas: 1,
            ready_replicas: 3,
            available_replicas: 3,
            current_step_index: Some(0),
            current_step_hash: "steps".to_owned(),
            stable_rs: "a".to_owned(),
            ..RolloutStatus::default()
        }
    }

    /// API-60, CTL-130: what is progress of a canary, and what of a blue-green update.
    #[test]
    fn what_counts_as_progress() {
        type Change = fn(&mut RolloutStatus);
        let rows: [(&str, Change, [bool; 2]); 15] = [
            ("nothing", |_| {}, [false, false]),
            ("more new pods", |s| s.updated_replicas = 2, [true, true]),
            ("fewer new pods", |s| s.updated_replicas = 0, [true, true]),
            ("fewer old pods", |s| s.replicas = 3, [true, true]),
            ("more old pods", |s| s.replicas = 5, [false, false]),
            ("more ready", |s| s.ready_replicas = 4, [true, true]),
            ("fewer ready", |s| s.ready_replicas = 2, [false, false]),
            ("more available", |s| s.available_replicas = 4, [true, true]),
            (
                "fewer available",
                |s| s.available_replicas = 2,
                [false, false],
            ),
            ("promoted", |s| s.stable_rs = "b".to_owned(), [true, false]),
            (
                "next step",
                |s| s.current_step_index = Some(1),
                [true, false],
            ),
            (
                "no steps any more",
                |s| s.current_step_index = None,
                [false, false],
            ),
            (
                "other steps",
                |s| s.current_step_hash = "x".to_owned(),
                [true, false],
            ),
            (
                "active",
                |s| s.blue_green.active_selector = "b".to_owned(),
                [false, true],
            ),
            (
                "preview",
                |s| s.blue_green.preview_selector = "b".to_owned(),
                [false, true],
            ),
        ];
        let strategies = [
            rollout("web").canary([]),
            rollout("web").blue_green("web", "next"),
        ];
        let [canary, blue_green] = strategies.map(|builder| builder.build().spec);
        for (name, change, want) in rows {
            let mut next = stored();
            change(&mut next);
            let got = [&canary, &blue_green].map(|spec| progressed(spec, &stored(), &next, false));
            assert_eq!(got, want, "{name}");
        }
    }

    /// API-57, CTL-130: every part of being healthy is needed.
    #[test]
    fn what_health_takes() {
        type Change = fn(&mut RolloutStatus);
        let canary = rollout("web")
            .replicas(4)
            .canary([crate::testing::pause()])
            .status(|s| {
                *s = RolloutStatus {
                    updated_replicas: 4,
                    available_replicas: 4,
                    current_step_index: Some(1),
                    current_pod_hash: "a".to_owned(),
                    ..stored()
                };
            });
        let check = |builder: crate::testing::RolloutBuilder, rows: &[(&str, Change)]| {
            let rollout = builder.build();
            let next = rollout.status.clone().unwrap();
            assert!(healthy(&rollout, &next));
            for (name, change) in rows {
                let mut next = next.clone();
                change(&mut next);
                assert!(!healthy(&rollout, &next), "{name}");
            }
        };
        let unseen = canary
            .clone()
            .with(|r| r.metadata.generation = Some(2))
            .build();
        assert!(
            !healthy(&unseen, unseen.status.as_ref().unwrap()),
            "an edit nobody has seen"
        );
        check(
            canary,
            &[
                ("updated", |s| s.updated_replicas = 3),
                ("available", |s| s.available_replicas = 3),
                ("surplus", |s| s.replicas = 5),
                ("steps", |s| s.current_step_index = Some(0)),
                ("promotion", |s| s.stable_rs = "b".to_owned()),
                ("first version", |s| s.stable_rs.clear()),
            ],
        );
        let blue_green = rollout("web")
            .replicas(4)
            .blue_green("web", "next")
            .status(|s| {
                *s = RolloutStatus {
                    updated_replicas: 4,
                    available_replicas: 4,
                    current_pod_hash: "a".to_owned(),
                    ..stored()
                };
                s.blue_green.active_selector = "a".to_owned();
                s.blue_green.preview_selector = "a".to_owned();
            });
        check(
            blue_green,
            &[
                ("active", |s| s.blue_green.active_selector = "b".to_owned()),
                ("preview", |s| {
                    s.blue_green.preview_selector = "b".to_owned()
                }),
                ("available", |s| s.available_replicas = 3),
            ],
        );
    }
}
