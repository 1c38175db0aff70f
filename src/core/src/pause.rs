//! Pauses: asking for them, ending them, and what is left of them at the end of a pass (CTL-136).

use sluice_crds::Time;
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::rollout::{PauseCondition, PauseReason, RolloutAnalysisRunStatus, RolloutStatus};

use crate::conditions;
use crate::decide::pass::{Pass, later};
use crate::step::{Hold, Step};
use crate::why::{Reason, Why};

/// Pauses added and removed in one pass.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    added: Vec<PauseReason>,
    removed: Vec<PauseReason>,
    cleared: bool,
}

impl Pauses {
    pub(crate) fn add(&mut self, reason: PauseReason) {
        self.added.push(reason);
    }

    pub(crate) fn remove(&mut self, reason: PauseReason) {
        self.removed.push(reason);
    }

    pub(crate) fn clear(&mut self) {
        self.cleared = true;
    }

    pub(crate) fn has_added(&self) -> bool {
        !self.added.is_empty()
    }

    /// Writes what is left into `next`; with an abort nothing is.
    pub(crate) fn settle(&self, read: &RolloutStatus, next: &mut RolloutStatus, now: Time) {
        next.pause_conditions.clear();
        next.controller_pause = false;
        if next.abort || self.cleared {
            return;
        }
        let kept = read
            .pause_conditions
            .iter()
            .filter(|pause| !self.removed.contains(&pause.reason));
        next.pause_conditions.extend(kept.cloned());
        for reason in &self.added {
            if next
                .pause_conditions
                .iter()
                .all(|pause| pause.reason != *reason)
            {
                next.pause_conditions.push(PauseCondition {
                    reason: reason.clone(),
                    start_time: now,
                });
            }
        }
        if !next.pause_conditions.is_empty() {
            next.controller_pause = read.controller_pause || self.has_added();
        }
    }
}

/// Whether the user just resumed: the controller had paused, and the condition is gone (CTL-137). A
/// pause of another strategy that was edited away is neither this one nor its end.
pub(crate) fn resumed(read: &RolloutStatus) -> bool {
    let own = [PauseReason::CanaryPauseStep, PauseReason::BlueGreenPause];
    let paused = |pause: &PauseCondition| own.contains(&pause.reason);
    read.controller_pause && !read.pause_conditions.iter().any(paused)
}

/// The pause step: adds its condition, or waits (CTL-11 l). Answers whether the current step is one.
pub(crate) fn step(pass: &mut Pass<'_, '_>) -> bool {
    let Some(Step::Pause(hold)) = pass.ctx.step_at(pass.read().current_step_index) else {
        return false;
    };
    if pass.ctx.spec().paused || pass.promoted() {
        return false;
    }
    let read = pass.read();
    let Some(since) = since(read, &PauseReason::CanaryPauseStep) else {
        if !resumed(read) {
            pass.pauses.add(PauseReason::CanaryPauseStep);
        }
        return true;
    };
    let number = read.current_step_index.unwrap_or(0).saturating_add(1);
    let count = pass.ctx.step_count();
    match hold {
        Hold::UntilPromoted => {
            let why = Why::new(
                Reason::NeedsPromotion,
                pass.ctx.me(),
                format!("step {number}/{count} pauses until the rollout is promoted"),
            );
            pass.wait(why.since(since.timestamp()).command("promote"));
        }
        Hold::Seconds(seconds) => {
            // It ends strictly after its time (CTL-160).
            let until = later(since.timestamp(), seconds);
            let why = Why::new(
                Reason::Paused,
                pass.ctx.me(),
                format!("step {number}/{count} pauses for {seconds} s"),
            );
            pass.wait(
                why.since(since.timestamp())
                    .until(just_after(until))
                    .command("promote"),
            );
        }
    }
    true
}

/// Whether the pause of a step outlived it: a user skipped the step, and the next one is no pause.
/// Taken for that step's own it would hold it for ever (INV-15).
pub(crate) fn left_over(pass: &Pass<'_, '_>) -> bool {
    let read = pass.read();
    let at = pass.ctx.step_at(read.current_step_index);
    since(read, &PauseReason::CanaryPauseStep).is_some()
        && !pass.aborted()
        && !pass.promoted()
        && !read.promote_full
        && at.is_some_and(|step| !matches!(step, Step::Pause(_)))
}

/// Whether the current pause step is over (CTL-90).
pub(crate) fn step_over(pass: &Pass<'_, '_>, hold: Hold) -> bool {
    let read = pass.read();
    match since(read, &PauseReason::CanaryPauseStep) {
        None => resumed(read),
        Some(since) => match hold {
            Hold::UntilPromoted => false,
            Hold::Seconds(seconds) => pass.now() > later(since.timestamp(), seconds),
        },
    }
}

/// Start of a pause.
pub(crate) fn since(read: &RolloutStatus, reason: &PauseReason) -> Option<Time> {
    read.pause_conditions
        .iter()
        .find(|pause| pause.reason == *reason)
        .map(|pause| pause.start_time)
}

/// What halts the Rollout ([`Pass::halted`]): `spec.paused`, else an inconclusive analysis.
pub(crate) fn halt(pass: &Pass<'_, '_>) -> Why {
    let (read, me) = (pass.read(), pass.ctx.me());
    let (mut why, since) = if pass.ctx.spec().paused {
        let paused = conditions::get(&read.conditions, conditions::kind::PAUSED)
            .filter(|condition| condition.status == conditions::status::TRUE);
        let message = "spec.paused is set: nothing goes on before it is lifted";
        let since = paused.map(|condition| condition.last_transition_time);
        (Why::new(Reason::ManuallyPaused, me, message), since)
    } else {
        let run = inconclusive(read).map(|run| format!("AnalysisRun/{}", run.name));
        let message = "was inconclusive, a person has to decide";
        let since = since(read, &PauseReason::InconclusiveAnalysisRun);
        let object = run.unwrap_or(me);
        (Why::new(Reason::NeedsPromotion, object, message), since)
    };
    why.since = since.map(|at| at.timestamp());
    why.command("promote")
}

/// The inconclusive run on record.
fn inconclusive(read: &RolloutStatus) -> Option<&RolloutAnalysisRunStatus> {
    let (canary, blue_green) = (&read.canary, &read.blue_green);
    let all = [
        &canary.current_step_analysis_run_status,
        &canary.current_background_analysis_run_status,
        &blue_green.pre_promotion_analysis_run_status,
        &blue_green.post_promotion_analysis_run_status,
    ];
    let mut all = all.into_iter().flatten();
    all.find(|run| run.status == AnalysisPhase::Inconclusive)
}

/// The first moment after `at`.
pub(crate) fn just_after(at: jiff::Timestamp) -> jiff::Timestamp {
    at.checked_add(jiff::SignedDuration::from_millis(1))
        .unwrap_or(at)
}
