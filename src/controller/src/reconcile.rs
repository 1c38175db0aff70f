//! One module per kind of pass; each is observe, decide, execute, wait.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::until;
use crate::ctx::Ctx;
use crate::queue::Next;

pub mod analysis_run;
pub mod cleanup;
pub mod experiment;
pub mod rollout;
mod unreadable;

/// How long an object rests after a pass that had nothing to write: until `wake`, at most until the
/// next resync.
fn rest(ctx: &Ctx, now: Timestamp, wake: Option<Timestamp>) -> Next {
    let resync = Duration::try_from(ctx.settings.resync).unwrap_or(Duration::from_secs(900));
    Next::After(wake.map_or(resync, |wake| until(now, wake).min(resync)))
}
