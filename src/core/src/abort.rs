//! What happens to the new ReplicaSet of an aborted update (CTL-68, CTL-69).

use crate::decide::pass::{Pass, recorded};
use crate::decide::view::Deadline;
use crate::routing;
use crate::services;
use crate::why::{Reason, Why};

/// Whether the abort keeps the new ReplicaSet at its size, for a time or for good; then normal
/// counts do not apply to it.
pub(crate) fn holds(pass: &Pass<'_, '_>) -> bool {
    let delay = pass.ctx.abort_delay();
    pass.aborted()
        && pass.view.stable().is_some()
        && pass.view.stable() != pass.view.new
        && !pass.ctx.basic()
        && (!pass.ctx.dynamic() || delay.written.is_some())
}

/// Holds the new ReplicaSet, gives it a deadline once nothing is sent to it, and lets it go when
/// that has passed. Answers whether its size changed.
pub(crate) fn hold(pass: &mut Pass<'_, '_>, index: usize) -> bool {
    let replicas = pass.ctx.replicas;
    let delay = pass.ctx.abort_delay().seconds();
    let now = pass.now();
    let free = drained(pass, index);
    let until = pass.in_seconds(delay);
    let Some(set) = pass.view.sets.get_mut(index) else {
        return false;
    };
    let spec = set.spec;
    set.resize(spec, replicas, true); // the annotation only
    if spec == 0 {
        return false;
    }
    if delay <= 0 {
        // `0` means: leave it up (SE-3).
        set.strip_deadline();
        return false;
    }
    let object = set.reason_object();
    let ends = match set.deadline_until(until) {
        Deadline::None if free => {
            set.set_deadline(until);
            until
        }
        Deadline::None => {
            let message = "is kept until stable has taken all traffic";
            pass.wait(Why::new(Reason::PodsNotGone, object, message));
            return false;
        }
        Deadline::At(at) if now < at => at,
        Deadline::At(_) | Deadline::Unreadable if free => return pass.resize(index, 0),
        Deadline::At(_) | Deadline::Unreadable => {
            let message = "its delay has passed, but traffic may still reach it";
            pass.wait(Why::new(Reason::TrafficUnconfirmed, object, message));
            return false;
        }
    };
    pass.wait(Why::new(Reason::ScaleDownDelay, object, "is kept up after the abort").until(ends));
    false
}

/// Stable has all its pods, and what status records and routers confirm leaves nothing for the
/// canary (SE-5, SE-6, INV-3).
fn drained(pass: &Pass<'_, '_>, index: usize) -> bool {
    let stable_full = pass
        .stable_set()
        .is_some_and(|set| set.available >= pass.ctx.replicas);
    if !stable_full {
        return false;
    }
    if pass.ctx.routing().is_some() {
        let none_recorded = [recorded(&pass.ctx.persisted), pass.recorded()]
            .into_iter()
            .flatten()
            .all(|weights| weights.canary == 0);
        let denied = pass
            .read()
            .canary
            .weights
            .as_ref()
            .is_some_and(|weights| weights.verified == Some(false));
        return none_recorded && !denied && !routing::in_doubt(pass);
    }
    // Blue-green: the active Service must have left it, as read and as planned.
    let Some(blue_green) = pass.ctx.blue_green() else {
        return true;
    };
    let Some(set) = pass.set(index) else {
        return false;
    };
    !services::service_selects(pass.ctx, pass.view, &blue_green.active_service, &set.hash)
}
