//! How traffic is to be split (CTL-61..66, TRF-5..16): decided here once, rendered by every router.

use sluice_crds::rollout::RolloutTrafficRouting;

use crate::decide::pass::{Pass, recorded};
use crate::decide::view::Set;
use crate::observed::Seen;
use crate::replicas::routed;
use crate::replicas::{threshold_met, weight_at, weight_before};
use crate::services;
use crate::step::Step;
use crate::traffic::Additional;
use crate::units::{share_down, share_up};

mod record;
mod want;

use record::{ask, record, tells};
pub(crate) use record::{in_doubt, proven, took_over_unrecorded};
use want::{blank, want};

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

/// Reverted in the middle of an update: what is new and stable again lacks pods to take everything
/// (CTL-66). It may have been shrunk by `dynamicStableScale`, or have lost pods since (INV-2).
pub(crate) fn rolling_back(pass: &Pass<'_, '_>) -> bool {
    let (Some(new), Some(weights)) = (pass.new_set(), &pass.read().canary.weights) else {
        return false;
    };
    let on = &weights.canary;
    pass.promoted()
        && !on.pod_template_hash.is_empty()
        && on.pod_template_hash != new.hash
        && (pass.ctx.dynamic() || on.weight > 0)
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
    // Held back, a router that was never asked would be asked to give everything to nothing.
    let dead = pass.stable_set().is_none_or(|set| set.available == 0);
    if dead && pass.recorded().is_none() && self::gate(pass, &desired) == Gate::Shut {
        shut(pass, desired);
        return;
    }
    explain_way_back(pass, &desired);
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
        let reached = routed::shortfall(&pass.enough(None), pass.ctx.threshold()).is_none();
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
    let serves = on.canary.pod_template_hash == hash && pass.new_available() > 0;
    if tells(pass) && serves && (!moved || in_doubt(pass)) {
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
    pass.available_of(hash)
        .unwrap_or_else(|| pass.new_available())
}

/// Traffic that is on its way back follows the pods of stable.
fn explain_way_back(pass: &mut Pass<'_, '_>, desired: &Desired) {
    let lacks = |set: &Set| set.available < pass.ctx.replicas;
    if desired.going_back && desired.weight > 0 && pass.stable_set().is_some_and(lacks) {
        let stays = part(desired.weight, pass.ctx.whole());
        let message =
            format!("needs more available pods to take back the last {stays} of the traffic");
        let stable = pass.view.stable();
        pass.wait_for_pods(stable, message);
    }
}

/// `20 %`, or what that is where the whole is not 100.
fn part(weight: i32, whole: i32) -> String {
    if whole == 100 {
        format!("{weight} %")
    } else {
        format!("{weight} of {whole} parts")
    }
}

/// Stable lacks pods: hashes and weights stay, but managed routes of an update that is over go.
fn shut(pass: &mut Pass<'_, '_>, desired: Desired) {
    let stable = pass.view.stable();
    if stable.is_some() {
        let whole = pass.ctx.whole();
        let share = part(whole - desired.weight, whole);
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
    let on_record = recorded(&pass.ctx.persisted).is_some_and(|on| on.canary > 0);
    // It may lead to a version that was superseded before, and of which the record says nothing.
    let serves =
        canary_behind(pass) > 0 || services::available_behind(pass, &canary.canary_service) > 0;
    if tells(pass) && serves && (on_record || in_doubt(pass)) {
        return;
    }
    services::point(pass, &canary.canary_service, &hash);
}

/// Pods that answer and are not on their way out, as far as pods are known: those that a restart has
/// just evicted are counted by their ReplicaSet for a moment longer.
fn alive(pass: &Pass<'_, '_>, set: &Set) -> i32 {
    let Some(pods) = &pass.ctx.seen.pods else {
        return i32::MAX;
    };
    let mine = pods.iter().filter(|pod| pod.owner == set.uid);
    let alive = mine.filter(|pod| pod.available && !pod.terminating);
    i32::try_from(alive.count()).unwrap_or(i32::MAX)
}

/// More traffic for the canary has to wait until its pods can be counted on, until its Service selects
/// it, and until the split in force is not denied (INV-1).
fn hold_back(pass: &mut Pass<'_, '_>, desired: &mut Desired) {
    let now = pass.recorded().map_or(0, |weights| weights.canary);
    let Some(canary) = pass.ctx.canary().filter(|_| desired.weight > now) else {
        return;
    };
    let counted = |set: &Set| {
        let expected = set.available.min(set.spec);
        set.serving() >= expected && alive(pass, set) >= expected
    };
    if !pass.new_set().is_none_or(counted) {
        desired.weight = now;
        pass.unproven = true;
        let new = pass.view.new;
        let message = "gets more requests once its last change of size is known to be carried out";
        pass.wait_for_pods(new, message.to_owned());
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
