//! How traffic is to be split (CTL-61..66, TRF-5..16): decided here once, rendered by every router.

use sluice_crds::rollout::{RolloutTrafficRouting, TrafficWeights, WeightDestination};

use crate::decide::pass::{Pass, recorded};
use crate::decide::view::Set;
use crate::event::Event;
use crate::observed::Seen;
use crate::plan::Action;
use crate::replicas::routed::{self, Recorded};
use crate::replicas::{threshold_met, weight_at, weight_before};
use crate::services::{self, Pair};
use crate::step::Step;
use crate::traffic::{Additional, Verification, Want};
use crate::units::{share_down, share_up};
use crate::why::{Reason, Why};

/// Seconds until an unconfirmed weight is looked at again (CTL-160).
const VERIFY_RETRY: i64 = 10;

/// The split that this pass wants, before it is known whether pods can bear it.
#[derive(Debug)]
struct Desired {
    weight: i32,
    canary_hash: String,
    additional: Vec<Additional>,
    remove_managed: bool,
    /// Traffic goes back to stable, which may use its allowance for unavailable pods.
    going_back: bool,
}

/// Reverted in the middle of an update with `dynamicStableScale`: what is new and stable again is
/// still too small to take everything (CTL-66).
pub(crate) fn rolling_back(pass: &Pass<'_, '_>) -> bool {
    let Some(new) = pass.new_set() else {
        return false;
    };
    let Some(weights) = &pass.read().canary.weights else {
        return false;
    };
    pass.promoted()
        && pass.ctx.dynamic()
        && !weights.canary.pod_template_hash.is_empty()
        && weights.canary.pod_template_hash != new.hash
        && new.available < pass.ctx.replicas
}

/// The canary's traffic still goes to a version that has been superseded (CTL-71).
pub(crate) fn foreign(pass: &Pass<'_, '_>) -> bool {
    let Some(on) = pass.read().canary.weights.as_ref() else {
        return false;
    };
    let hash = &on.canary.pod_template_hash;
    on.canary.weight > 0
        && !hash.is_empty()
        && *hash != pass.new_hash()
        && !pass.promoted()
        && !rolling_back(pass)
}

/// Pass (h): decides the split, asks the routers for it and records it.
pub(crate) fn reconcile(pass: &mut Pass<'_, '_>) {
    let Some(routing) = pass.ctx.routing().filter(|routing| has_router(routing)) else {
        pass.next.canary.weights = None;
        return;
    };
    pass.routes_decided = true;
    let mut desired = desired(pass);
    let gate = gate(pass, &desired);
    if let Gate::Partly(weight) = gate {
        desired.weight = weight;
        // What has to stay stays where it is: weight changes hands at 0 only (FLT-8).
        if let Some(on) = pass
            .read()
            .canary
            .weights
            .as_ref()
            .filter(|on| on.canary.weight > 0)
        {
            desired.canary_hash.clone_from(&on.canary.pod_template_hash);
        }
    }
    if pass.aborted() && !pass.promoted() && (!pass.ctx.dynamic() || desired.weight == 0) {
        canary_service_to_stable(pass, gate);
    }
    if matches!(gate, Gate::Shut) {
        shut(pass, desired);
        return;
    }
    hold_back(pass, &mut desired);
    let want = want(pass, routing, &desired);
    record(pass, routing, &want);
}

/// Whether the traffic of this pass is that of a `setWeight` step: this weight, on this version
/// (INV-14). Without a router pods are the proof.
pub(crate) fn at(pass: &Pass<'_, '_>, weight: i32) -> bool {
    // Scaled to zero there is no traffic to wait for (CTL-96).
    if pass.ctx.replicas == 0 || !pass.ctx.routing().is_some_and(has_router) {
        return true;
    }
    pass.next.canary.weights.as_ref().is_some_and(|on| {
        on.canary.weight == weight.clamp(0, pass.ctx.whole())
            && on.canary.pod_template_hash == pass.new_hash()
    })
}

fn has_router(routing: &RolloutTrafficRouting) -> bool {
    routing.istio.is_some()
        || routing.nginx.is_some()
        || routing.alb.is_some()
        || routing.smi.is_some()
        || routing.ambassador.is_some()
        || routing.app_mesh.is_some()
        || routing.traefik.is_some()
        || routing.apisix.is_some()
        || !routing.plugins.is_empty()
}

/// The weight by the table of CTL-61.
fn desired(pass: &Pass<'_, '_>) -> Desired {
    let read = pass.read();
    let recorded = pass.recorded();
    let at = pass.position();
    let routed = pass.routed(recorded);
    let new = pass.new_set();
    let mut desired = Desired {
        weight: 0,
        canary_hash: new.map(|set| set.hash.clone()).unwrap_or_default(),
        additional: Vec::new(),
        remove_managed: false,
        going_back: false,
    };
    if rolling_back(pass) {
        desired.weight = routed::weight_back(&routed);
        desired.going_back = true;
        if let Some(weights) = &read.canary.weights {
            desired
                .canary_hash
                .clone_from(&weights.canary.pod_template_hash);
        }
    } else if at.promoted {
        desired.remove_managed = true;
        desired.weight = stays_on_canary(pass);
    } else if at.aborted {
        // Nobody ever gave it a share: it gets none now.
        desired.weight = recorded.map_or(0, |_| routed::weight_back(&routed));
        desired.going_back = true;
        desired.remove_managed = true;
        // What a superseded version still gets it gives up itself (INV-1).
        if foreign(pass)
            && let Some(weights) = &read.canary.weights
        {
            desired
                .canary_hash
                .clone_from(&weights.canary.pod_template_hash);
        }
    } else if foreign(pass) {
        desired.going_back = true;
        desired.remove_managed = true;
    } else if new.is_none_or(|set| set.available == 0) {
        desired.additional = crate::experiments::destinations(pass);
        desired.remove_managed = true;
        desired.going_back = recorded.is_some_and(|weights| weights.canary > 0);
    } else if at.promote_full {
        let available = pass.new_available();
        desired.weight = if pass.ctx.dynamic() {
            routed::share_of_pods(available, pass.ctx.replicas, at.whole)
        } else {
            recorded.map_or(0, |weights| weights.canary)
        };
        desired.remove_managed = true;
    } else if !at.steps.is_empty() {
        let reached = routed::shortfall(&pass.routed(None), pass.ctx.threshold()).is_none();
        // Traffic falls before pods do: a smaller share waits for nothing of the canary, which has
        // more pods than that until then.
        let (to, before) = (weight_at(&at), weight_before(&at));
        let falls = recorded.is_some_and(|on| on.canary > to);
        desired.weight = if reached {
            to
        } else {
            routed::carried(&routed, if falls { to } else { before.min(to) })
        };
        desired.weight = borne(pass, desired.weight);
        if read.current_step_index.unwrap_or(0) < pass.ctx.step_count() {
            desired.additional = crate::experiments::destinations(pass);
        }
        // Of steps that were edited since, a route may be left: it does not outlive the pods (FLT-31).
        desired.remove_managed = routed::counts(&routed).canary == 0;
    }
    if at.steps.is_empty()
        && pass.ctx.dynamic()
        && !(at.promoted || at.aborted || at.promote_full || desired.going_back)
        && recorded.is_some_and(|on| on.canary > 0)
    {
        // The steps were taken away in mid-update: stable shrank with its share, and could not take
        // anything back (INV-15).
        desired.weight =
            routed::share_of_pods(pass.new_available(), pass.ctx.replicas, at.whole).min(at.whole);
    }
    let dead = desired.going_back && canary_behind(pass) == 0;
    if dead && pass.stable_set().is_some_and(|set| set.available > 0) {
        desired.weight = 0; // whatever stable has is more (INV-1)
    }
    desired.weight = desired.weight.clamp(0, at.whole);
    let mut room = at.whole - desired.weight;
    for additional in &mut desired.additional {
        additional.weight = additional.weight.clamp(0, room); // INV-13
        room -= additional.weight;
    }
    desired
}

/// What the canary Service keeps after a promotion: all that it has, as long as a router that can tell
/// has not confirmed that the stable Service has the new members, too (FLT-10). Both lead to the same
/// version by then. Where no router can tell, the old pods, which stay for their delay, are all there is.
fn stays_on_canary(pass: &Pass<'_, '_>) -> i32 {
    let Some(canary) = pass.ctx.canary().filter(|c| c.ping_pong.is_none()) else {
        return 0;
    };
    let Some(on) = pass.read().canary.weights.as_ref() else {
        return 0;
    };
    let hash = pass.new_hash();
    let moved = match pass.ctx.seen.services.get(&canary.stable_service) {
        Some(Seen::Found(service)) => service.pod_hash() == hash,
        Some(Seen::Absent | Seen::Unread(_)) | None => return 0,
    };
    let telling = pass.ctx.seen.verification != Verification::NotSupported;
    let serves = on.canary.pod_template_hash == hash && pass.new_available() > 0;
    if telling && serves && (!moved || in_doubt(pass)) {
        on.canary.weight
    } else {
        0
    }
}

/// The share that the canary's available pods can bear, with the allowance for unavailable ones
/// (INV-2). A user who sized the canary below its weight gets what they asked for.
fn borne(pass: &Pass<'_, '_>, weight: i32) -> i32 {
    let whole = pass.ctx.whole();
    let counts = routed::counts(&pass.routed(pass.recorded()));
    let need = share_up(pass.ctx.replicas, weight, whole).min(counts.canary);
    let new = pass.new_set().map(Set::count);
    let have = pass
        .new_available()
        .saturating_add(pass.ctx.fences.unavailable);
    if need <= 0
        || have >= need
        || (pass.ctx.threshold().is_some() && threshold_met(pass.ctx.threshold(), new, need))
    {
        return weight;
    }
    share_down(weight, have, need)
}

/// Whether stable can take what the split leaves to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    /// Going back, stable can take only so much for now: this much stays on the canary.
    Partly(i32),
    Shut,
}

/// Stable must have the pods for its share (CTL-62). On the way back to stable that must not keep
/// traffic on a canary that is worse: the allowance for unavailable pods counts, what can move moves
/// at once, and from a canary without any available pod everything does (INV-10, FLT-9).
fn gate(pass: &Pass<'_, '_>, desired: &Desired) -> Gate {
    let ctx = pass.ctx;
    let Some(stable) = pass.stable_set().map(Set::count) else {
        return Gate::Shut;
    };
    let whole = ctx.whole();
    // However small its share: where it grows there is a pod (INV-1).
    // A router that was never asked leaves it everything or nothing, nobody knows.
    let before = pass.recorded().map_or(whole, |on| on.canary);
    let grows = desired.weight < before && ctx.replicas > 0;
    if grows && !desired.going_back && stable.available == 0 {
        return Gate::Shut;
    }
    let from = canary_behind(pass);
    if desired.going_back && ctx.replicas > 0 && stable.available == 0 && from == 0 {
        return Gate::Shut; // nobody has a pod: nothing is asked for anew (INV-1)
    }
    if routed::gate_open(
        Some(stable),
        ctx.replicas,
        desired.weight,
        whole,
        ctx.fences.unavailable,
        ctx.threshold(),
    ) {
        return Gate::Open;
    }
    if !desired.going_back {
        return Gate::Shut;
    }
    if stable.available > 0 && from == 0 {
        return Gate::Open;
    }
    let have = stable.available.saturating_add(ctx.fences.unavailable);
    if stable.available == 0 || ctx.replicas <= 0 {
        return Gate::Shut;
    }
    let carried = share_down(whole, have, ctx.replicas).min(whole);
    let left = (whole - carried).max(desired.weight);
    match pass.recorded() {
        Some(now) if left < now.canary || left == desired.weight => {
            Gate::Partly(left.min(now.canary))
        }
        // A router that was never asked is not asked for what nobody wants either.
        Some(_) | None => Gate::Shut,
    }
}

/// Available pods behind the hash that gets the canary's traffic now.
fn canary_behind(pass: &Pass<'_, '_>) -> i32 {
    let Some(weights) = &pass.read().canary.weights else {
        return pass.new_available();
    };
    let hash = &weights.canary.pod_template_hash;
    let found = pass.view.sets.iter().find(|set| set.hash == *hash);
    found.map_or_else(|| pass.new_available(), |set| set.available)
}

/// Stable lacks pods: hashes and weights stay, but managed routes of an update that is over go.
fn shut(pass: &mut Pass<'_, '_>, desired: Desired) {
    let stable = pass.view.stable();
    if stable.is_some() {
        let share = pass.ctx.whole() - desired.weight;
        let message = format!("stable lacks available pods to take {share} of the traffic");
        pass.wait_for_pods(stable, message);
        if pass
            .recorded()
            .is_some_and(|weights| weights.canary != desired.weight)
        {
            pass.unproven = true;
        }
    }
    if !desired.remove_managed || !has_managed_routes(pass) {
        return;
    }
    let mut want = blank(pass, &desired);
    want.only_remove_managed_routes = true;
    ask(pass, want);
}

fn has_managed_routes(pass: &Pass<'_, '_>) -> bool {
    let listed = pass
        .ctx
        .routing()
        .is_some_and(|routing| !routing.managed_routes.is_empty());
    listed
        || pass
            .ctx
            .steps
            .iter()
            .any(|step| matches!(step, Step::SetHeaderRoute(_) | Step::SetMirrorRoute(_)))
}

/// The canary Service of an aborted update goes back to stable, fully ready or not: stable is what
/// there is (TRF-5 c). Ping and pong never swap back (CTL-70).
fn canary_service_to_stable(pass: &mut Pass<'_, '_>, gate: Gate) {
    let Some(canary) = pass
        .ctx
        .canary()
        .filter(|canary| canary.ping_pong.is_none())
    else {
        return;
    };
    let Some(hash) = pass.stable_set().map(|set| set.hash.clone()) else {
        return;
    };
    // Not away from pods that answer, to more traffic than stable can take (FLT-9, INV-2).
    let serves = pass.recorded().is_some_and(|on| on.canary > 0) && canary_behind(pass) > 0;
    if serves && gate != Gate::Open {
        return;
    }
    // Nor to members that the data plane does not have yet, while requests may still go there: first the
    // weight has to be gone, if that can be told (FLT-10).
    let telling = pass.ctx.seen.verification != Verification::NotSupported;
    let on_record = recorded(&pass.ctx.persisted).is_some_and(|on| on.canary > 0);
    if telling && canary_behind(pass) > 0 && (on_record || in_doubt(pass)) {
        return;
    }
    services::point(pass, &canary.canary_service, &hash);
}

/// More traffic for the canary has to wait until its pods can be counted on, until its Service selects
/// it, and until the split in force is not denied (INV-1).
fn hold_back(pass: &mut Pass<'_, '_>, desired: &mut Desired) {
    let now = pass.recorded().map_or(0, |weights| weights.canary);
    let Some(canary) = pass.ctx.canary().filter(|_| desired.weight > now) else {
        return;
    };
    let counted = |set: &Set| set.serving() >= set.available.min(set.spec);
    if !pass.new_set().is_none_or(counted) {
        desired.weight = now;
        pass.unproven = true;
        return;
    }
    let name = services::pair(canary, &pass.read().canary.stable_ping_pong).canary;
    let Some(service) = pass.view.services.get(name) else {
        return;
    };
    // Nor before the data plane has what it was given so far: the members of that Service may be
    // what it lacks (FLT-10).
    if service.pod_hash() != desired.canary_hash || in_doubt(pass) {
        desired.weight = now;
        pass.unproven = true;
    }
}

fn blank(pass: &Pass<'_, '_>, desired: &Desired) -> Want {
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

fn want(pass: &mut Pass<'_, '_>, routing: &RolloutTrafficRouting, desired: &Desired) -> Want {
    let mut want = blank(pass, desired);
    let updating = !pass.promoted() && !pass.aborted() && !desired.remove_managed;
    let later_revision = pass
        .revision()
        .parse::<i64>()
        .is_ok_and(|revision| revision > 1);
    if updating && later_revision && selects_canary(pass, &want) {
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
    if let Some(hash) = may_still_carry(pass, routing, &want) {
        want.canary_hash = hash;
        want.weight = want.weight.min(old_weight);
        let message = "goes on to the new version once its traffic is certainly gone";
        let object = match destination_rule(routing) {
            Some(name) => format!("DestinationRule/{name}"),
            None => format!("Service/{}", want.canary_service),
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

/// Asks the routers, once for equal wants in a row.
fn ask(pass: &mut Pass<'_, '_>, want: Want) {
    if pass.view.last_want.as_ref() != Some(&want) {
        pass.view.act(Action::Route(Box::new(want.clone())));
        pass.view.last_want = Some(want);
    }
}

/// Records the split, tells about a change (TRF-11) and takes in what the routers say (TRF-13).
fn record(pass: &mut Pass<'_, '_>, routing: &RolloutTrafficRouting, want: &Want) {
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
        if pass.ctx.seen.verification != Verification::NotSupported {
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
fn verifies(pass: &Pass<'_, '_>, routing: &RolloutTrafficRouting) -> bool {
    routing.alb.is_some()
        || !routing.plugins.is_empty()
        || pass.ctx.seen.verification != Verification::NotSupported
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
            let message = format!("weight {weight} is not in force yet");
            let why = Why::new(Reason::TrafficUnconfirmed, pass.ctx.me(), message);
            pass.wait(why.again(again));
        }
        Verification::Failed(error) => {
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
