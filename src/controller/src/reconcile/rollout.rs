//! Passes over Rollouts.

use std::sync::Arc;
use std::time::Duration;

use sluice_core::decide::decide;
use sluice_core::event::Event;
use sluice_core::observed::{Observed, peak};
use sluice_core::plan::{Action, Plan, Planned};
use sluice_crds::rollout::{RolloutPhase, RolloutStatus};
use sluice_crds::{Rollout, Time};
use tokio::time::Instant;

use crate::ctx::Ctx;
use crate::events::Regarding;
use crate::execute::{Outcome, Stop, execute};
use crate::key::Key;
use crate::metrics::Subject;
use crate::observe::{confirm, observe, reread};
use crate::queue::Next;

/// How long a status that only counts pods may wait for company.
const COUNT_DELAY: Duration = Duration::from_secs(1);

/// Looks at one Rollout and does what is to be done now.
pub async fn pass(ctx: Arc<Ctx>, key: Key) -> Next {
    let started = Instant::now();
    let next = look(&ctx, &key).await;
    let failed = matches!(next, Next::Retry(_));
    if next != Next::Forget {
        ctx.metrics
            .pass(Subject::Rollout, &key, started.elapsed(), failed);
    }
    next
}

async fn look(ctx: &Ctx, key: &Key) -> Next {
    if ctx.hub.unreadable.contains(key) {
        return super::unreadable::look(ctx, key).await;
    }
    let memory = ctx.memories.get(key);
    if memory.unsure {
        // An answer was lost: nothing is decided before it is known whether the write arrived.
        match reread(ctx, key).await {
            Ok(_) => ctx.memories.change(key, |memory| memory.unsure = false),
            Err(error) => return Next::Retry(error.to_string()),
        }
    }
    let Some(rollout) = ctx.cache.rollouts.get(key) else {
        ctx.memories.forget(key);
        return Next::Forget;
    };
    if rollout.metadata.deletion_timestamp.is_some() {
        return Next::Rest;
    }
    if rollout.status.is_none() && !memory.announced {
        // Only of new objects: a restart says nothing (D14).
        let event = Event::normal(
            "RolloutAddedToInformer",
            format!("Rollout resource added to informer: {key}"),
        );
        ctx.metrics.event(key, &event);
        ctx.events.record(&Regarding::new(rollout.as_ref()), event);
        ctx.memories.change(key, |memory| memory.announced = true);
    }
    let now = ctx.clock.now();
    let (mut seen, mut raw) = observe(ctx, rollout, now).await;
    let mut plan = decide(&seen, now);
    if plan.gives_up(seen.rollout.status.as_ref()) {
        match confirm(ctx, &seen).await {
            Ok(true) => {}
            Ok(false) => {
                (seen, raw) = observe(ctx, seen.rollout.clone(), now).await;
                plan = decide(&seen, now);
            }
            Err(error) => return Next::Retry(error.to_string()),
        }
    }
    if let Some(on_plan) = &ctx.on_plan {
        on_plan(&seen, &plan);
    }
    if cfg!(debug_assertions) {
        for violation in sluice_core::invariants::check(&seen, &plan) {
            tracing::error!(rollout = %key, %violation, "a decision breaks an invariant");
        }
    }
    if tracing::enabled!(tracing::Level::DEBUG) {
        for why in &plan.why {
            tracing::debug!(rollout = %key, object = why.object, until = ?why.until, "waits: {}", why.message);
        }
    }
    let counters_wait = counters_may_wait(ctx, key, &seen, &plan);
    if counters_wait.is_some() {
        plan.status = None;
    }
    let outcome = execute(ctx, &seen, &raw, &plan).await;
    if outcome.stop.is_none() {
        let peaks = peak::with(&seen.peaks, &seen.replica_sets);
        ctx.memories.change(key, |memory| {
            if seen.failure.is_some() {
                memory.failure = None;
            }
            memory.peaks = peaks;
        });
    }
    if let Some(wait) = counters_wait
        && outcome.stop.is_none()
        && !outcome.wrote
    {
        return Next::After(wait.min(super::pause(ctx, now, plan.wake)));
    }
    let status = plan.status.as_deref().or(seen.rollout.status.as_ref());
    let phase = status.map_or(&RolloutPhase::Unset, |status| &status.phase);
    finish(ctx, key, outcome, plan.wake, now, phase)
}

/// How long a status that only counts pods may still wait: pods come and go in bursts, and each
/// burst should cost one write (D14). Everything that says more is written at once. Routes are put
/// right in every pass, and nothing of the status hangs on that.
fn counters_may_wait(ctx: &Ctx, key: &Key, seen: &Observed, plan: &Plan) -> Option<Duration> {
    let quiet =
        |planned: &Planned| matches!(planned.action, Action::Route(_)) && planned.events.is_empty();
    let only_counts = plan.actions.iter().all(quiet)
        && plan.events.is_empty()
        && match (&seen.rollout.status, plan.status.as_deref()) {
            (Some(seen), Some(want)) => seen != want && essence(seen) == essence(want),
            _ => false,
        };
    let now = Instant::now();
    let mut left = None;
    ctx.memories.change(key, |memory| {
        if only_counts {
            let since = *memory.counting_since.get_or_insert(now);
            left = COUNT_DELAY
                .checked_sub(now - since)
                .filter(|left| !left.is_zero());
        }
        if left.is_none() {
            memory.counting_since = None;
        }
    });
    left
}

/// A status without what merely counts, and without the times of conditions.
fn essence(status: &RolloutStatus) -> RolloutStatus {
    let mut status = status.clone();
    for count in [
        &mut status.replicas,
        &mut status.updated_replicas,
        &mut status.ready_replicas,
        &mut status.available_replicas,
        &mut status.hpa_replicas,
    ] {
        *count = 0;
    }
    for condition in &mut status.conditions {
        condition.last_update_time = Time::default();
    }
    // Their order is that of the last update.
    status.conditions.sort_by(|a, b| a.r#type.cmp(&b.r#type));
    if status.phase == RolloutPhase::Progressing {
        status.message.clear(); // it tells which count is waited for
    }
    status
}

fn finish(
    ctx: &Ctx,
    key: &Key,
    outcome: Outcome,
    wake: Option<jiff::Timestamp>,
    now: jiff::Timestamp,
    phase: &RolloutPhase,
) -> Next {
    match outcome.stop {
        None => {
            if outcome.wrote {
                Next::Now
            } else {
                // One that waits for its pods is about to go on.
                match phase {
                    RolloutPhase::Progressing | RolloutPhase::Unset => {
                        Next::After(super::pause(ctx, now, wake))
                    }
                    _ => super::rest::<Rollout>(ctx, key, now, wake),
                }
            }
        }
        Some(Stop::Conflict) => Next::Now,
        // The process is about to end, or to lead again.
        Some(Stop::Fenced) => Next::Retry("not leading".to_owned()),
        Some(Stop::Failed {
            failure, unsure, ..
        }) => {
            tracing::warn!(rollout = %key, object = failure.object, error = failure.message, "write failed");
            let message = failure.message.clone();
            ctx.memories.change(key, |memory| {
                memory.failure = Some(failure);
                memory.unsure |= unsure;
            });
            Next::Retry(message)
        }
    }
}
