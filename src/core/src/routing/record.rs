//! What was asked for, as it stands in the status, and what the routers say about it (TRF-11, TRF-13).

use sluice_crds::rollout::{RolloutTrafficRouting, TrafficWeights, WeightDestination};

use crate::decide::pass::{Pass, recorded};
use crate::event::Event;
use crate::observed::Seen;
use crate::plan::Action;
use crate::replicas::routed::Recorded;
use crate::traffic::{Verification, Want};
use crate::why::{Reason, Why};

/// Seconds until an unconfirmed weight is looked at again (CTL-160).
const VERIFY_RETRY: i64 = 10;

/// Asks the routers, once for equal wants in a row.
pub(super) fn ask(pass: &mut Pass<'_, '_>, want: Want) {
    if pass.view.last_want.as_ref() != Some(&want) {
        pass.view.act(Action::Route(Box::new(want.clone())));
        pass.view.last_want = Some(want);
    }
}

/// Records the split, tells about a change (TRF-11) and takes in what the routers say (TRF-13).
pub(super) fn record(pass: &mut Pass<'_, '_>, routing: &RolloutTrafficRouting, want: &Want) {
    ask(pass, want.clone());
    if want.keep_hashes {
        return;
    }
    let extra: i32 = want
        .additional
        .iter()
        .map(|additional| additional.weight)
        .sum();
    let canary = pass.ctx.canary();
    let destination = |weight, hash: &str, service: Option<&String>| WeightDestination {
        weight,
        service_name: service.cloned().unwrap_or_default(),
        pod_template_hash: hash.to_owned(),
    };
    let mut weights = TrafficWeights {
        canary: destination(
            want.weight,
            &want.canary_hash,
            canary.map(|c| &c.canary_service),
        ),
        stable: destination(
            want.max_weight - want.weight - extra,
            &want.stable_hash,
            canary.map(|c| &c.stable_service),
        ),
        additional: want
            .additional
            .iter()
            .map(|additional| WeightDestination {
                weight: additional.weight,
                service_name: additional.service.clone(),
                pod_template_hash: additional.pod_hash.clone(),
            })
            .collect(),
        verified: None,
    };
    let before = pass.read().canary.weights.as_ref();
    let same = before.is_some_and(|before| {
        (&before.canary, &before.stable, &before.additional)
            == (&weights.canary, &weights.stable, &weights.additional)
    });
    if !same {
        let event = Event::normal("TrafficWeightUpdated", changed_text(before, &weights));
        pass.view.tell(event);
        // A router that can tell has not been asked yet: whoever starts anew must know (INV-3).
        if tells(pass) {
            weights.verified = Some(false);
        }
        pass.next.canary.weights = Some(weights);
        pass.unproven |= verifies(pass, routing);
        return;
    }
    weights.verified = before.and_then(|before| before.verified);
    if same_weights(pass.ctx.persisted.canary.weights.as_ref(), &weights) {
        take_verdict(pass, &mut weights);
    } else {
        // Changed earlier in this very decision: nobody has looked yet.
        pass.unproven |= verifies(pass, routing);
    }
    pass.next.canary.weights = Some(weights);
}

fn same_weights(a: Option<&TrafficWeights>, b: &TrafficWeights) -> bool {
    a.is_some_and(|a| {
        (&a.canary, &a.stable, &a.additional) == (&b.canary, &b.stable, &b.additional)
    })
}

/// Whether a router is configured that can tell what the data plane does.
pub(super) fn verifies(pass: &Pass<'_, '_>, routing: &RolloutTrafficRouting) -> bool {
    routing.alb.is_some() || !routing.plugins.is_empty() || tells(pass)
}

/// Whether a router said that it can tell.
pub(super) fn tells(pass: &Pass<'_, '_>) -> bool {
    pass.ctx.seen.verification != Verification::NotSupported
}

fn take_verdict(pass: &mut Pass<'_, '_>, weights: &mut TrafficWeights) {
    let weight = weights.canary.weight;
    match &pass.ctx.seen.verification {
        Verification::NotSupported => {}
        Verification::Verified => weights.verified = Some(true),
        Verification::NotVerified => {
            weights.verified = Some(false);
            pass.unproven = true;
            let again = pass.in_seconds(VERIFY_RETRY);
            let message = format!("the router has not confirmed weight {weight} yet");
            let why = Why::new(Reason::TrafficUnconfirmed, pass.ctx.me(), message);
            pass.wait(why.again(again));
        }
        Verification::Failed(error) => {
            // Whoever comes next must not take silence for proof (INV-3).
            weights.verified.get_or_insert(false);
            pass.unproven = true;
            let message = format!("Failed to verify weight: {error}");
            pass.view
                .tell(Event::warning("WeightVerifyError", message.clone()));
            let again = pass.in_seconds(VERIFY_RETRY);
            let why = Why::new(Reason::TrafficUnconfirmed, pass.ctx.me(), message);
            pass.wait(why.again(again));
        }
    }
}

/// The text of `TrafficWeightUpdated`; with nothing but hashes changed it ends in a blank (TRF-11).
fn changed_text(before: Option<&TrafficWeights>, after: &TrafficWeights) -> String {
    let mut parts = Vec::new();
    match before {
        None => parts.push(format!("to {}", after.canary.weight)),
        Some(before) if before.canary.weight != after.canary.weight => {
            parts.push(format!(
                "from {} to {}",
                before.canary.weight, after.canary.weight
            ));
        }
        Some(_) => {}
    }
    let none = Vec::new();
    let additional = before.map_or(&none, |before| &before.additional);
    if *additional != after.additional {
        let list: Vec<String> = after
            .additional
            .iter()
            .map(|a| {
                format!(
                    "{{{} {} {}}}",
                    a.weight, a.service_name, a.pod_template_hash
                )
            })
            .collect();
        parts.push(format!("additional: [{}]", list.join(" ")));
    }
    format!("Traffic weight updated {}", parts.join(", "))
}

/// Weights that sizes may rely on: a share counts as long as the status that was persisted, the one
/// of this pass and `also` say so, whichever is most (INV-3).
pub(crate) fn proven(pass: &Pass<'_, '_>, also: Option<Recorded>) -> Option<Recorded> {
    let all = [recorded(&pass.ctx.persisted), pass.recorded(), also];
    all.into_iter().flatten().reduce(|a, b| Recorded {
        canary: a.canary.max(b.canary),
        stable: a.stable.max(b.stable),
    })
}

/// Whether the weights as persisted are in doubt: a router that can tell did not confirm them.
pub(crate) fn in_doubt(pass: &Pass<'_, '_>) -> bool {
    pass.ctx.routing().is_some()
        && matches!(
            pass.ctx.seen.verification,
            Verification::NotVerified | Verification::Failed(_)
        )
}

/// Whether the subsets know the new version only, although it is not stable on record: whoever was about
/// to write that all traffic is on it did not get there (INV-3).
pub(crate) fn took_over_unrecorded(pass: &Pass<'_, '_>) -> bool {
    let Seen::Found(hashes) = &pass.ctx.seen.subset_hashes else {
        return false;
    };
    let stable = pass.stable_set().map(|set| &set.hash);
    hashes.contains(pass.new_hash()) && stable.is_some_and(|hash| !hashes.contains(hash))
}
