//! Where requests go (INV-1, INV-2, INV-13).

use super::Findings;
use super::facts::{Facts, selector_of};
use crate::plan::Action;
use crate::traffic::Want;
use crate::units::share_up;

fn wants<'a>(facts: &Facts<'a>) -> impl Iterator<Item = &'a Want> {
    facts.actions().filter_map(|action| match action {
        Action::Route(want) if !want.only_remove_managed_routes => Some(&**want),
        _ => None,
    })
}

/// INV-13: no share is negative, and all of them make up the whole.
pub(super) fn weights_are_sane(facts: &Facts<'_>, found: &mut Findings) {
    for want in wants(facts) {
        let more: i64 = want.additional.iter().map(|to| i64::from(to.weight)).sum();
        let negative = want.weight < 0 || want.additional.iter().any(|to| to.weight < 0);
        if negative
            || want.max_weight <= 0
            || i64::from(want.weight) + more > want.max_weight.into()
        {
            let message = format!(
                "weight {} and {more} more of {}",
                want.weight, want.max_weight
            );
            found.add(13, &*facts.name, message);
        }
    }
    if let (Some(weights), Some(_)) = (&facts.next.canary.weights, &facts.plan.status) {
        let all = [&weights.canary, &weights.stable]
            .into_iter()
            .chain(&weights.additional);
        let sum: i64 = all.clone().map(|to| i64::from(to.weight)).sum();
        let changed = facts.recorded() != Some(weights);
        if changed && (sum != i64::from(facts.whole) || all.clone().any(|to| to.weight < 0)) {
            let message = format!("recorded weights sum to {sum}, not to {}", facts.whole);
            found.add(13, &*facts.name, message);
        }
    }
}

/// INV-1: a share goes to pods that are there. The stable version is asked about only where its
/// share grows: that its pods were lost is nobody's decision, and an abort has nowhere else to go.
pub(super) fn traffic_to_ready_pods(facts: &Facts<'_>, found: &mut Findings) {
    for want in wants(facts).filter(|want| !want.keep_hashes) {
        let serves = |hash: &str| facts.set(hash).is_some_and(|set| set.available > 0);
        if want.weight > 0 && !serves(&want.canary_hash) {
            let message = format!(
                "{} parts go to {:?}, which has no pod",
                want.weight, want.canary_hash
            );
            found.add(1, &*facts.name, message);
        }
        let early = facts.recorded().is_some_and(|old| {
            want.weight > old.canary.weight && old.canary.pod_template_hash != want.canary_hash
        });
        if want.weight_before_hash && early {
            let message = format!(
                "{} parts go to the version before {:?} for a moment",
                want.weight, want.canary_hash
            );
            found.add(1, &*facts.name, message);
        }
        let grows = facts.recorded().is_some_and(|old| {
            let share = want.max_weight - want.weight;
            // What an Experiment gives back has nowhere else to go.
            old.stable.pod_template_hash == want.stable_hash
                && share > old.stable.weight
                && want.weight < old.canary.weight
        });
        if grows && facts.replicas > 0 && !facts.next.abort && !serves(&want.stable_hash) {
            let message = format!(
                "the share of {:?} grows, which has no pod",
                want.stable_hash
            );
            found.add(1, &*facts.name, message);
        }
    }
}

/// INV-2: a share that grows has the pods that it needs, but for those that may be unavailable.
/// Sizes that the user sets by hand are the user's.
pub(super) fn share_follows_capacity(facts: &Facts<'_>, found: &mut Findings) {
    let before = facts.recorded().map_or(0, |weights| weights.canary.weight);
    if facts.sized_by_hand() {
        return;
    }
    for want in wants(facts).filter(|want| want.weight > before) {
        let need = share_up(facts.replicas, want.weight, want.max_weight);
        let need = need - facts.fences().unavailable;
        let has = facts.set(&want.canary_hash).map_or(0, |set| set.available);
        if has < need {
            let message = format!(
                "weight {} needs {need} available pods, there are {has}",
                want.weight
            );
            found.add(2, &*facts.name, message);
        }
    }
}

/// INV-1 for Services: the one that users reach is never moved from pods that serve to a version
/// that has none. Preview, ping and pong are switched before there are pods.
pub(super) fn selectors_to_ready_pods(facts: &Facts<'_>, found: &mut Findings) {
    let spec = &facts.rollout.spec;
    let stable = spec.canary().map(|canary| canary.stable_service.as_str());
    let active = spec
        .blue_green()
        .map(|blue_green| blue_green.active_service.as_str());
    if facts.replicas == 0 {
        return; // nobody wants pods
    }
    let served = [stable, active];
    for action in facts.actions() {
        let Action::PatchService { name, patch } = action else {
            continue;
        };
        if name.is_empty() || !served.contains(&Some(name)) {
            continue;
        }
        let available = |hash: Option<&str>| {
            hash.and_then(|hash| facts.set(hash))
                .map_or(0, |set| set.available)
        };
        let (from, to) = (facts.selected(name), selector_of(patch));
        if to.is_some() && from != to && available(from) > 0 && available(to) == 0 {
            let to = to.unwrap_or_default();
            found.add(
                1,
                format!("Service/{name}"),
                format!("is moved to {to:?}, which has no pod"),
            );
        }
    }
}
