//! Passes over Rollouts.

use std::sync::Arc;

use sluice_core::decide::decide;
use sluice_core::event::Event;
use tokio::time::Instant;

use crate::ctx::Ctx;
use crate::events::Regarding;
use crate::execute::{Outcome, Stop, execute};
use crate::key::Key;
use crate::metrics::Subject;
use crate::observe::{observe, reread};
use crate::queue::Next;

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
    let (seen, raw) = observe(ctx, rollout, now).await;
    let plan = decide(&seen, now);
    if let Some(on_plan) = &ctx.on_plan {
        on_plan(&seen, &plan);
    }
    if tracing::enabled!(tracing::Level::DEBUG) {
        for why in &plan.why {
            tracing::debug!(rollout = %key, object = why.object, until = ?why.until, "waits: {}", why.message);
        }
    }
    let outcome = execute(ctx, &seen, &raw, &plan).await;
    finish(ctx, key, outcome, seen.failure.is_some(), plan.wake, now)
}

fn finish(
    ctx: &Ctx,
    key: &Key,
    outcome: Outcome,
    had_failed: bool,
    wake: Option<jiff::Timestamp>,
    now: jiff::Timestamp,
) -> Next {
    match outcome.stop {
        None => {
            if had_failed {
                ctx.memories.change(key, |memory| memory.failure = None);
            }
            if outcome.wrote {
                Next::Now
            } else {
                super::rest(ctx, now, wake)
            }
        }
        Some(Stop::Conflict) => Next::Now,
        // The process is about to end, or to lead again.
        Some(Stop::Fenced) => Next::Retry("not leading".to_owned()),
        Some(Stop::Failed { failure, unsure }) => {
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
