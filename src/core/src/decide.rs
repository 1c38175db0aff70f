//! Decides about one Rollout: what was observed goes in, a plan comes out.
//!
//! A decision is a sequence of passes. One pass is what a single reconcile of the peer would do
//! (CTL-11, CTL-12): it works on a small [`view`] of the world and ends with the next status. Where
//! everything that a pass asked for has a certain effect (a selector, a weight, an annotation, the
//! status itself), that effect is put into the view and the next pass follows at once, so that a
//! chain of reconciles costs one plan and one status patch, while conditions and events come out in
//! the order in which the chain would have made them. A pass that changes sizes or starts something
//! ends the decision: its effect has to be seen first.
//!
//! What others rely on is taken from the status *as persisted* and from Services *as read*, not
//! from the view alone: a ReplicaSet that lost its traffic in this plan shrinks in a later one
//! (INV-3).

use jiff::Timestamp;
use sluice_crds::Rollout;
use sluice_crds::rollout::{RolloutPhase, RolloutStatus};

use crate::conditions;
use crate::observed::{FailedWrite, Observed};
use crate::phase;
use crate::plan::{Action, Plan};
use crate::revision::{self, Creation};
use crate::why::{Reason, Why};
use crate::{bluegreen, canary, metadata, restart};

pub(crate) mod context;
pub(crate) mod pass;
pub(crate) mod rescue;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod view;

use context::{Context, Strategy};
use pass::{Flow, Pass};
use view::View;

/// Seconds until an invalid spec is looked at again (CTL-160, SE-20).
pub(crate) const INVALID_RETRY: i64 = 20;

/// What to do about a Rollout now. Total and deterministic: a bad spec is a condition, not an error.
#[must_use]
pub fn decide(seen: &Observed, now: Timestamp) -> Plan {
    let rollout = &*seen.rollout;
    if rollout.metadata.deletion_timestamp.is_some() {
        return Plan::default(); // children go by owner references (CTL-4)
    }
    if let Some(error) = crate::validity::first_error(seen) {
        return rescue::refuse(seen, &error, now);
    }
    let ctx = match Context::new(seen, now) {
        Ok(ctx) => ctx,
        Err(error) => return rescue::refuse(seen, &error, now),
    };
    if let Some(error) = crate::validity::refused_template(&ctx) {
        return rescue::refuse(seen, &error, now);
    }
    if rollout.spec.replicas.is_none() {
        return default_replicas(&ctx);
    }
    carry_out(&ctx)
}

/// The passes.
fn carry_out(ctx: &Context<'_>) -> Plan {
    let sets = match revision::claim(ctx) {
        Ok(sets) => sets,
        Err(plan) => return *plan,
    };
    let new = revision::find_new(ctx, &sets);
    let mut view = View::new(ctx, sets);
    view.new = new;
    let bound = ctx.steps.len().saturating_add(8);
    let mut flow = Flow::Again;
    for _ in 0..bound {
        flow = one_pass(ctx, &mut view);
        if flow == Flow::Stop {
            break;
        }
    }
    if flow == Flow::Again {
        view.wake_at(ctx.now); // there is more to do than one plan may hold (INV-16)
    }
    let mut plan = view.into_plan(ctx);
    explain(ctx, &mut plan);
    plan
}

/// Whether `decide` wants [`Observed::pods`] filled at this moment: for a restart that is due, or
/// for pods whose ephemeral metadata may have to change.
#[must_use]
pub fn needs_pods(rollout: &Rollout, now: Timestamp) -> bool {
    if restart::due(rollout, now) {
        return true;
    }
    let settled = rollout.status.as_ref().is_some_and(|status| {
        status.phase == RolloutPhase::Healthy
            && conditions::observed(rollout, status)
            && conditions::is_completed(status)
    });
    metadata::configured(&rollout.spec.strategy) && !settled
}

/// The plan for a Rollout that cannot be carried out: a condition, and nothing else (API-44).
pub(crate) fn refuse(rollout: &Rollout, error: &str, now: Timestamp) -> Plan {
    let name = rollout.metadata.name.as_deref().unwrap_or_default();
    let read = rollout.status.clone();
    let mut next: RolloutStatus = read.clone().unwrap_or_default();
    conditions::set_invalid_spec(&mut next.conditions, name, error, now);
    next.observed_generation = rollout.metadata.generation.unwrap_or_default().to_string();
    let view = phase::of(&rollout.spec, &next);
    next.phase = view.phase;
    next.message = view.message;
    let again = pass::later(now, INVALID_RETRY);
    let since = conditions::get(&next.conditions, conditions::kind::INVALID_SPEC)
        .map(|condition| condition.last_transition_time.timestamp());
    let mut why = Why::new(Reason::InvalidSpec, format!("Rollout/{name}"), error).again(again);
    why.since = since;
    Plan {
        status: (read.as_ref() != Some(&next)).then(|| Box::new(next)),
        ..Plan::wait(why, Some(again))
    }
}

/// Autoscalers need `spec.replicas` in the object (CTL-7); that member alone is written (SE-33).
fn default_replicas(ctx: &Context<'_>) -> Plan {
    let patch = serde_json::json!({ "spec": { "replicas": 1 } });
    let why = Why::new(
        Reason::WriteUnconfirmed,
        ctx.me(),
        "spec.replicas is being set to 1",
    );
    Plan {
        actions: vec![Action::PatchRollout { patch }.into()],
        why: vec![why],
        ..Plan::default()
    }
}

fn one_pass(ctx: &Context<'_>, view: &mut View) -> Flow {
    settle_intent(view);
    view.sync_shadow();
    if view.new.is_none() {
        return match revision::create(ctx, view) {
            Creation::Planned => Flow::Again,
            Creation::Blocked => Flow::Stop,
        };
    }
    // Pauses, resumes and retries show before anything else happens (CTL-8).
    if let Some(conditions) = conditions::pre_pass(&view.shadow, ctx.now) {
        view.status.conditions = conditions;
        return Flow::Again;
    }
    if revision::sync(ctx, view) {
        return Flow::Again;
    }
    let scaled = rescaled(ctx, view);
    let mut pass = Pass::new(ctx, view);
    // Status is about another version or other steps: sizes by them would be sizes for those (INV-3).
    let scaled = scaled && !(ctx.canary().is_some() && canary::changed(&pass));
    // An abort at rest is a no-op (CTL-5, FLT-18).
    pass.forget_abort =
        pass.read().abort && !pass.unheard_abort() && (pass.promoted() || pass.read().promote_full);
    if scaled {
        let flow = match ctx.strategy {
            Strategy::Canary(_) => canary::scale(&mut pass),
            Strategy::BlueGreen(_) => bluegreen::scale(&mut pass),
        };
        // With the sizes right already, everything else goes on at once (SE-15).
        return if pass.moved { flow } else { Flow::Again };
    }
    let before = pass.view.asked();
    let flow = match ctx.strategy {
        Strategy::Canary(_) => canary::pass(&mut pass),
        Strategy::BlueGreen(_) => bluegreen::pass(&mut pass),
    };
    let asked = pass.view.asked() > before;
    if pass.moved || pass.stop {
        Flow::Stop
    } else if asked {
        Flow::Again
    } else {
        flow
    }
}

/// An abort and a full promotion at once: an abort that was carried out before gives way to the
/// promotion, one that nobody has acted on yet is the newer wish (INV-6, INV-10).
fn settle_intent(view: &mut View) {
    let status = &mut view.status;
    if status.promote_full && status.abort && status.aborted_at.is_none() {
        status.promote_full = false;
    }
}

/// `spec.replicas` is not what new or stable were sized for (CTL-10).
fn rescaled(ctx: &Context<'_>, view: &View) -> bool {
    [view.new_set(), view.stable_set()]
        .into_iter()
        .flatten()
        .any(|set| set.spec > 0 && set.desired().is_some_and(|desired| desired != ctx.replicas))
}

/// Whenever a Rollout does not move, something is named (INV-15).
fn explain(ctx: &Context<'_>, plan: &mut Plan) {
    if let Some(why) = failed_write(ctx) {
        plan.why.push(why);
    }
    let status = plan.status.as_deref().unwrap_or(&ctx.persisted);
    let at_rest = status.phase == RolloutPhase::Healthy;
    if !plan.why.is_empty() || at_rest || plan.acts(Some(&ctx.persisted)) {
        return;
    }
    plan.why.push(by_phase(ctx, status));
}

/// A write of the last pass that did not succeed: until it does, nothing after it happens.
fn failed_write(ctx: &Context<'_>) -> Option<Why> {
    let failure = ctx.seen.failure.as_ref()?;
    match failure.what {
        FailedWrite::Route | FailedWrite::Other => {}
        // The passes tell of these themselves.
        FailedWrite::CreateReplicaSet | FailedWrite::ReplicaSetNameTaken => return None,
    }
    let message = format!(
        "writing {:?} failed and is tried again: {}",
        failure.object, failure.message
    );
    Some(Why::new(Reason::WriteUnconfirmed, ctx.me(), message))
}

/// What the phase alone tells.
fn by_phase(ctx: &Context<'_>, status: &RolloutStatus) -> Why {
    let message = if status.message.is_empty() {
        "its pods have not settled yet"
    } else {
        &status.message
    };
    let of = |reason| Why::new(reason, ctx.me(), message);
    let (mut why, since) = match status.phase {
        RolloutPhase::Paused => {
            let reason = if ctx.spec().paused {
                Reason::ManuallyPaused
            } else {
                Reason::NeedsPromotion
            };
            let pause = status.pause_conditions.first();
            (
                of(reason).command("promote"),
                pause.map(|pause| pause.start_time),
            )
        }
        RolloutPhase::Degraded if status.abort => {
            (of(Reason::Aborted).command("retry"), status.aborted_at)
        }
        RolloutPhase::Unset
        | RolloutPhase::Healthy
        | RolloutPhase::Degraded
        | RolloutPhase::Progressing
        | RolloutPhase::Other(_) => (of(Reason::PodsNotAvailable), None),
    };
    why.since = since.map(|at| at.timestamp());
    why
}
