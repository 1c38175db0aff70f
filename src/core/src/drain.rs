//! The delay of pods whose share of traffic went down while they stay in service: stable under
//! `dynamicStableScale`, and the canary on its way back or at a smaller weight (INV-3, FLT-13).
//!
//! A route that was written is not yet a route in force. Where no router can tell, time is the only
//! proof: the pods stay for the scale-down delay after the share fell. The time is kept where all
//! delays of pods are, in the `scale-down-deadline` of the ReplicaSet, so that a restart goes on with
//! it; the peer takes it off what serves and is not disturbed by it.

use crate::decide::pass::{Pass, recorded};
use crate::decide::view::Deadline;
use crate::traffic::Verification;
use crate::why::{Reason, Why};

/// The size that a serving ReplicaSet may shrink to now: `to`, or as it is while its delay runs.
/// Takes the deadline off one that does not shrink.
pub(crate) fn size(pass: &mut Pass<'_, '_>, index: usize, to: i32) -> i32 {
    let replicas = pass.ctx.replicas;
    let applies = applies(pass, index);
    let proven = !applies || proven(pass);
    let lowered = lowered(pass);
    // What stable has under `dynamicStableScale`, or what is aborted, has fallen at some time. A canary
    // that goes on may also be smaller because a step says so.
    let fell = pass.ctx.dynamic() || pass.aborted() || canary_fell(pass);
    let now = pass.now();
    let until = pass.in_seconds(i64::from(pass.ctx.spec().scale_down_delay_seconds()));
    let Some(set) = pass.view.sets.get_mut(index) else {
        return to;
    };
    // With another number of replicas the same share needs other pods: that is nobody's traffic.
    let rescaled = set.desired().is_some_and(|desired| desired != replicas);
    let ends = match set.deadline_until(until) {
        Deadline::None if rescaled || !applies || !fell => return to,
        Deadline::None | Deadline::At(_) | Deadline::Unreadable if to >= set.spec || proven => {
            set.strip_deadline();
            return to;
        }
        Deadline::At(at) if now < at && !lowered => at,
        Deadline::At(at) if now >= at => {
            set.strip_deadline();
            return to;
        }
        // It starts when the share falls, and anew when it falls further.
        Deadline::None | Deadline::At(_) | Deadline::Unreadable => {
            set.set_deadline(until);
            until
        }
    };
    let (object, spec) = (set.reason_object(), set.spec);
    let message = format!(
        "keeps {spec} pods until the routes that took traffic off them are in force everywhere"
    );
    pass.wait(Why::new(Reason::ScaleDownDelay, object, message).until(ends));
    spec
}

/// Whether a ReplicaSet is one whose pods follow its share of the traffic.
pub(crate) fn applies(pass: &Pass<'_, '_>, index: usize) -> bool {
    if pass.ctx.dynamic() && (pass.view.stable() == Some(index) || pass.aborted()) {
        return true;
    }
    let on = pass.ctx.persisted.canary.weights.as_ref();
    let routed = pass.ctx.routing().is_some() && !pass.promoted() && !pass.aborted();
    routed
        && pass.view.new == Some(index)
        && pass
            .set(index)
            .zip(on)
            .is_some_and(|(set, on)| on.canary.pod_template_hash == set.hash)
}

/// Whether a router said that the split on record is in force, in this process or before.
fn proven(pass: &Pass<'_, '_>) -> bool {
    match &pass.ctx.seen.verification {
        Verification::Verified => true,
        Verification::NotSupported => {
            let on = pass.ctx.persisted.canary.weights.as_ref();
            on.is_some_and(|on| on.verified == Some(true))
        }
        Verification::NotVerified | Verification::Failed(_) => false,
    }
}

/// Whether this plan takes traffic off the canary.
fn canary_fell(pass: &Pass<'_, '_>) -> bool {
    let now = recorded(&pass.next).map_or(0, |on| on.canary);
    recorded(&pass.ctx.persisted).is_some_and(|before| now < before.canary)
}

/// Whether this plan changes the split.
fn lowered(pass: &Pass<'_, '_>) -> bool {
    recorded(&pass.next) != recorded(&pass.ctx.persisted)
}
