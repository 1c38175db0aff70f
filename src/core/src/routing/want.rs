//! What routers are asked for: the split, where its hashes may go, and the routes of the current step.

use sluice_crds::rollout::{RolloutTrafficRouting, WeightDestination};

use super::record::verifies;
use super::{Desired, has_managed_routes, in_doubt, rolling_back};
use crate::decide::pass::Pass;
use crate::services::{self, Pair};
use crate::step::Step;
use crate::traffic::Want;
use crate::why::{Reason, Why};

pub(super) fn blank(pass: &Pass<'_, '_>, desired: &Desired) -> Want {
    let canary = pass.ctx.canary();
    let Pair { stable, canary, .. } = canary.map_or(
        Pair {
            stable: "",
            canary: "",
            ping_pong: false,
        },
        |canary| services::pair(canary, &pass.read().canary.stable_ping_pong),
    );
    Want {
        canary_hash: desired.canary_hash.clone(),
        stable_hash: pass
            .stable_set()
            .map(|set| set.hash.clone())
            .unwrap_or_default(),
        canary_service: canary.to_owned(),
        stable_service: stable.to_owned(),
        weight: desired.weight,
        max_weight: pass.ctx.whole(),
        additional: desired.additional.clone(),
        header_route: None,
        mirror_route: None,
        remove_managed_routes: desired.remove_managed && has_managed_routes(pass),
        only_remove_managed_routes: false,
        weight_before_hash: false,
        keep_hashes: false,
    }
}

pub(super) fn want(
    pass: &mut Pass<'_, '_>,
    routing: &RolloutTrafficRouting,
    desired: &Desired,
) -> Want {
    let mut want = blank(pass, desired);
    let updating = !pass.promoted() && !pass.aborted() && !desired.remove_managed;
    if updating && !pass.first_revision() && selects_canary(pass, &want) {
        match pass.ctx.step_at(pass.read().current_step_index) {
            Some(Step::SetHeaderRoute(route)) => want.header_route = Some(route.clone()),
            Some(Step::SetMirrorRoute(route)) => want.mirror_route = Some(route.clone()),
            Some(
                Step::Pause(_)
                | Step::SetCanaryScale(_)
                | Step::SetWeight(_)
                | Step::Experiment(_)
                | Step::Analysis(_)
                | Step::Plugin(_)
                | Step::Empty,
            )
            | None => {}
        }
    }
    let old_weight = pass.recorded().map_or(0, |weights| weights.canary);
    let on = pass.read().canary.weights.as_ref();
    let moves = on.is_some_and(|on| on.canary.pod_template_hash != want.canary_hash);
    // Managed routes go before the pods that they lead to are others (FLT-31).
    want.weight_before_hash = (old_weight > 0 && (moves || pass.new_available() == 0))
        || (moves && want.remove_managed_routes);
    if want.weight_before_hash && moves && want.weight > old_weight {
        // First the version, then its share: the one before may have no pods any more (INV-1).
        want.weight = old_weight;
        pass.unproven = true;
    }
    if let Some(hash) = may_still_carry(pass, routing, &want) {
        want.canary_hash = hash;
        want.weight = want.weight.min(old_weight);
        let (object, message) = match destination_rule(routing) {
            Some(name) => (
                format!("DestinationRule/{name}"),
                "its canary subset goes on to the new version once no requests reach the one before",
            ),
            None => (
                format!("Service/{}", want.canary_service),
                "gets no more requests before those to the version it was for are certainly gone",
            ),
        };
        pass.wait(Why::new(Reason::TrafficUnconfirmed, object, message));
        pass.unproven = true;
    } else if subsets_must_wait(pass, routing, &want) {
        want.keep_hashes = true;
        want.weight = old_weight;
        let message = "the subset moves on once all pods of its ReplicaSet are available";
        let object = format!(
            "DestinationRule/{}",
            destination_rule(routing).unwrap_or_default()
        );
        pass.wait(Why::new(Reason::SwitchWaitsForPods, object, message));
        pass.unproven = true;
    } else {
        pass.route_applied = want.header_route.is_some() || want.mirror_route.is_some();
    }
    want
}

fn destination_rule(routing: &RolloutTrafficRouting) -> Option<&str> {
    let rule = routing.istio.as_deref()?.destination_rule.as_ref()?;
    Some(&rule.name)
}

/// The version that the canary's subset has to stay with, since it may still carry traffic: its weight
/// was only now taken away, or a router that can tell has not confirmed that (INV-1, FLT-8, FLT-10). A
/// Service sees to that itself, unless a promotion left it all traffic, of the version that is stable.
fn may_still_carry(
    pass: &Pass<'_, '_>,
    routing: &RolloutTrafficRouting,
    want: &Want,
) -> Option<String> {
    let weights = pass.ctx.persisted.canary.weights.as_ref()?;
    let on = &weights.canary;
    let hash = &on.pod_template_hash;
    if hash.is_empty() || *hash == want.canary_hash {
        return None;
    }
    let just_taken = on.weight > 0 && verifies(pass, routing);
    let stable = pass.stable_set().is_some_and(|set| set.hash == *hash);
    let carries = if destination_rule(routing).is_some() {
        // Away from stable it may go to pods that are there: its members may be what the data plane
        // lacks.
        (!stable || pass.new_available() == 0) && (just_taken || in_doubt(pass))
    } else {
        stable && (just_taken || (weights.verified == Some(false) && in_doubt(pass)))
    };
    carries.then(|| hash.clone())
}

/// Whether the canary's Service, if it has one, leads to the pods of the version that is wanted: a
/// managed route goes there at once, whatever the weight (INV-1).
fn selects_canary(pass: &Pass<'_, '_>, want: &Want) -> bool {
    want.canary_service.is_empty()
        || pass
            .view
            .services
            .get(&want.canary_service)
            .is_some_and(|service| service.pod_hash() == want.canary_hash)
}

/// With subsets only, a hash moves only to a ReplicaSet that is empty or fully available
/// (TRF-111), and the weight not without it (FLT-8).
fn subsets_must_wait(pass: &Pass<'_, '_>, routing: &RolloutTrafficRouting, want: &Want) -> bool {
    if destination_rule(routing).is_none()
        || !want.canary_service.is_empty()
        || !want.stable_service.is_empty()
    {
        return false;
    }
    let now = pass.read().canary.weights.as_ref();
    let moves = |hash: &str, recorded: Option<&WeightDestination>| {
        !hash.is_empty() && recorded.is_none_or(|destination| destination.pod_template_hash != hash)
    };
    let unready = |hash: &str| {
        let set = pass.view.sets.iter().find(|set| set.hash == hash);
        set.is_some_and(|set| set.spec != 0 && set.available < set.spec)
    };
    let canary_counts = !pass.aborted() && !rolling_back(pass);
    (moves(&want.stable_hash, now.map(|w| &w.stable)) && unready(&want.stable_hash))
        || (canary_counts
            && moves(&want.canary_hash, now.map(|w| &w.canary))
            && unready(&want.canary_hash))
}
