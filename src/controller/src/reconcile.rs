//! One module per kind of pass; each is observe, decide, execute, wait.

use std::time::Duration;

use jiff::Timestamp;
use kube::Resource;

use crate::clock::until;
use crate::ctx::Ctx;
use crate::events::REST;
use crate::key::Key;
use crate::queue::Next;

pub mod analysis_run;
pub mod cleanup;
pub mod experiment;
pub mod rollout;
mod unreadable;

/// How long an object is left alone after a pass that had nothing to write: until `wake`, at most
/// until the next resync.
fn pause(ctx: &Ctx, now: Timestamp, wake: Option<Timestamp>) -> Duration {
    let resync = Duration::try_from(ctx.settings.resync).unwrap_or(Duration::from_secs(900));
    wake.map_or(resync, |wake| until(now, wake).min(resync))
}

/// The same for an object that does not wait for others: what was said about it may be written.
fn rest<K: Resource<DynamicType = ()>>(
    ctx: &Ctx,
    key: &Key,
    now: Timestamp,
    wake: Option<Timestamp>,
) -> Next {
    let pause = pause(ctx, now, wake);
    if pause >= REST {
        ctx.events.rests(&K::kind(&()), key);
    }
    Next::After(pause)
}
