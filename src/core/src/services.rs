//! Service selectors (CTL-151, CTL-154).

use serde_json::{Map, Value, json};
use sluice_crds::keys;
use sluice_crds::rollout::{CanaryStrategy, RolloutStatus};

use crate::decide::context::Context;
use crate::decide::pass::Pass;
use crate::decide::view::{Set, View};
use crate::event::Event;
use crate::metadata;
use crate::observed::{Seen, ServiceView};
use crate::plan::Action;
use crate::why::{Reason, Why};

/// Points a Service at a ReplicaSet and marks it as managed; nothing when both are right already.
pub(crate) fn point(pass: &mut Pass<'_, '_>, service: &str, hash: &str) {
    if service.is_empty() || hash.is_empty() {
        return;
    }
    let rollout = pass.ctx.name();
    if let Some(Seen::Unread(why)) = pass.ctx.seen.services.get(service) {
        let message = format!("cannot be read: {why}");
        pass.wait(Why::new(
            Reason::Unreadable,
            format!("Service/{service}"),
            message,
        ));
        return;
    }
    let Some(view) = pass.view.services.get_mut(service) else {
        return;
    };
    let switches = view.pod_hash() != hash;
    let adopts = view.managed_by.is_none();
    if !switches && !adopts {
        return;
    }
    let mut patch = Map::new();
    let before = view.pod_hash().to_owned();
    if switches {
        metadata::put(
            &mut patch,
            &["spec", "selector", keys::POD_TEMPLATE_HASH],
            json!(hash),
        );
        view.selector
            .insert(keys::POD_TEMPLATE_HASH.to_owned(), hash.to_owned());
    }
    if adopts {
        metadata::put(
            &mut patch,
            &["metadata", "annotations", keys::MANAGED_BY],
            json!(rollout),
        );
        view.managed_by = Some(rollout.to_owned());
    }
    let action = Action::PatchService {
        name: service.to_owned(),
        patch: Value::Object(patch),
    };
    if switches {
        let event = Event::normal(
            "SwitchService",
            format!("Switched selector for service '{service}' from '{before}' to '{hash}'"),
        );
        pass.view.act_telling(action, event);
    } else {
        pass.view.act(action);
    }
}

/// Points a Service at a ReplicaSet once that can serve: one available pod is enough for a Service
/// that is ours, all of them for one that is about to become ours (CTL-154, FLT-22).
fn point_when_available(pass: &mut Pass<'_, '_>, service: &str, index: Option<usize>) {
    let Some(set) = index.and_then(|i| pass.set(i)) else {
        return;
    };
    let Some(view) = pass.view.services.get(service) else {
        let hash = set.hash.clone();
        return point(pass, service, &hash); // not readable: says why
    };
    let right = view.pod_hash() == set.hash;
    // Scaled to zero, there is nothing to wait for.
    let empty = pass.ctx.replicas == 0 && set.spec == 0;
    let count = if view.managed_by.is_some() {
        set.serving() > 0
    } else {
        set.fully_available()
    };
    let narrows = view.pod_hash().is_empty() && index == pass.view.stable();
    let ready = empty || (count && !(narrows && loses_capacity(pass, set)));
    let (hash, name) = (set.hash.clone(), set.name.clone());
    if ready || (right && view.managed_by.is_some()) {
        return point(pass, service, &hash);
    }
    let message = format!("switches to ReplicaSet {name} once its pods are available");
    pass.wait(Why::new(
        Reason::SwitchWaitsForPods,
        format!("Service/{service}"),
        message,
    ));
}

/// Whether a Service that selects the pods of all versions would get too few by selecting one (INV-2,
/// FLT-22).
pub(crate) fn loses_capacity(pass: &Pass<'_, '_>, set: &Set) -> bool {
    let others = pass.view.sets.iter().filter(|other| other.name != set.name);
    let others = others
        .map(|other| other.available)
        .fold(0, i32::saturating_add);
    others > 0 && set.serving() < pass.ctx.floor()
}

/// The stable Service goes to stable. Where it is with another version that can serve (a promotion
/// was not recorded, an update has been reverted) it stays until stable has as much (INV-2).
fn stable_service(pass: &mut Pass<'_, '_>, service: &str, stable: usize) {
    let behind = available_behind(pass, service);
    let enough = pass.set(stable).is_some_and(|set| {
        let have = set.available.saturating_add(pass.ctx.fences.unavailable);
        set.available >= behind || have >= pass.ctx.replicas
    });
    let selects = pass.view.services.get(service);
    let other = selects.is_some_and(|view| {
        let hash = pass.set(stable).map(|set| set.hash.as_str());
        view.managed_by.is_some() && Some(view.pod_hash()) != hash
    });
    if other && !enough {
        wait_to_switch(pass, service, stable);
    } else {
        point_when_available(pass, service, Some(stable));
    }
}

/// Of a pair that has just been named, stable's may be one that selects another version, from an update
/// long ago: before it gets traffic it has to be with stable (INV-1). One that selects all is left alone.
fn stable_of_pair(pass: &mut Pass<'_, '_>, canary: &CanaryStrategy, stable: usize) {
    let service = pair(canary, &pass.read().canary.stable_ping_pong).stable;
    let selected = pass.view.services.get(service);
    let hash = pass.set(stable).map(|set| set.hash.as_str());
    let strays = |view: &ServiceView| !view.pod_hash().is_empty() && Some(view.pod_hash()) != hash;
    if selected.is_some_and(strays) {
        stable_service(pass, service, stable);
    }
}

/// Available pods of the version that a Service selects.
pub(crate) fn available_behind(pass: &Pass<'_, '_>, service: &str) -> i32 {
    let selected = pass.view.services.get(service);
    let hash = selected.map_or("", |view| view.pod_hash());
    pass.available_of(hash).unwrap_or(0)
}

fn wait_to_switch(pass: &mut Pass<'_, '_>, service: &str, to: usize) {
    let name = pass.set(to).map_or("", |set| set.name.as_str());
    let message = format!("switches to ReplicaSet {name} once it has enough available pods");
    pass.wait(Why::new(
        Reason::SwitchWaitsForPods,
        format!("Service/{service}"),
        message,
    ));
}

/// Names of the Services of a canary: (stable, canary), as routers and status call them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair<'a> {
    pub(crate) stable: &'a str,
    pub(crate) canary: &'a str,
    /// They take turns.
    pub(crate) ping_pong: bool,
}

/// The pair in force: ping and pong by whose turn it is, else the two that the spec names (TRF-16).
pub(crate) fn pair<'a>(canary: &'a CanaryStrategy, stable_ping_pong: &str) -> Pair<'a> {
    match &canary.ping_pong {
        Some(names) if stable_ping_pong == "ping" => Pair {
            stable: &names.ping_service,
            canary: &names.pong_service,
            ping_pong: true,
        },
        Some(names) => Pair {
            stable: &names.pong_service,
            canary: &names.ping_service,
            ping_pong: true,
        },
        None => Pair {
            stable: &canary.stable_service,
            canary: &canary.canary_service,
            ping_pong: false,
        },
    }
}

/// Whether the stable Service of a canary without a router has no pods but those of stable: then
/// stable keeps one until that Service has moved on (INV-1, FLT-20). With a single pod and no surge
/// there is no room for that.
pub(crate) fn holds_stable(pass: &Pass<'_, '_>) -> bool {
    let room = pass.ctx.replicas.saturating_add(pass.ctx.fences.surge);
    pass.ctx.basic()
        && pass.ctx.replicas > 0
        && room > 1
        && pass
            .stable_set()
            .is_some_and(|set| on_stable_service(pass, &set.hash) || nobody_else_serves(pass))
}

/// The stable Service selects every version, and of those only stable has pods.
fn nobody_else_serves(pass: &Pass<'_, '_>) -> bool {
    let canary = pass.ctx.canary();
    let service = canary.and_then(|canary| pass.view.services.get(&canary.stable_service));
    let sets = pass.view.sets.iter().enumerate();
    let mut others = sets.filter(|(index, _)| Some(*index) != pass.view.stable());
    service.is_some_and(|view| view.pod_hash().is_empty())
        && others.all(|(_, set)| set.available.min(set.spec) == 0)
}

/// Whether the stable Service of a canary selects a hash, as read or as planned.
pub(crate) fn on_stable_service(pass: &Pass<'_, '_>, hash: &str) -> bool {
    pass.ctx.canary().is_some_and(|canary| {
        let service = &canary.stable_service;
        !service.is_empty() && service_selects(pass.ctx, pass.view, service, hash)
    })
}

/// Whichever of ping and pong is the canary's goes on to the new version, ready or not: so that has
/// no traffic. Asked after the split, since a share may be in force that the status does not know
/// of: whoever was about to write it may have died (INV-1).
pub(crate) fn reconcile_ping_pong(pass: &mut Pass<'_, '_>) {
    let Some(canary) = pass.ctx.canary().filter(|c| c.ping_pong.is_some()) else {
        return;
    };
    if pass.promoted() || crate::routing::foreign(pass) {
        return;
    }
    let service = pair(canary, &pass.read().canary.stable_ping_pong).canary;
    let Some((hash, serving)) = pass.new_set().map(|set| (set.hash.clone(), set.serving())) else {
        return;
    };
    let asked = pass.view.last_want.as_ref();
    let drained = asked.is_some_and(|want| want.weight == 0 && !want.only_remove_managed_routes);
    let nothing = |status: &RolloutStatus| {
        let weights = status.canary.weights.as_ref();
        weights.is_none_or(|on| on.canary.weight == 0)
    };
    let proven = nothing(&pass.ctx.persisted) && !crate::routing::in_doubt(pass);
    let never = pass.read().canary.weights.is_none();
    if (serving > 0 && !may_carry(pass, service, &hash)) || (drained && proven) || never {
        return point(pass, service, &hash);
    }
    let selected = pass.view.services.get(service);
    if selected.is_some_and(|service| service.pod_hash() != hash) {
        wait_for_drain(pass, service);
    }
}

/// Whether the Service that is stable's once the new version is promoted selects that version: of
/// ping and pong the canary's, which may still be with a superseded one (CTL-70, INV-1).
pub(crate) fn new_takes_over(pass: &Pass<'_, '_>) -> bool {
    let Some(canary) = pass.ctx.canary().filter(|c| c.ping_pong.is_some()) else {
        return true;
    };
    let first = pass.view.stable().is_none() || pass.view.stable() == pass.view.new;
    let service = pair(canary, &pass.read().canary.stable_ping_pong).canary;
    let selected = pass.view.services.get(service);
    first || selected.is_none_or(|service| service.pod_hash() == pass.new_hash())
}

/// Whether the Service of the canary may still carry traffic of another version than `hash`: by the
/// status as persisted, or because no router confirmed what was asked for last (INV-1, INV-2).
fn may_carry(pass: &Pass<'_, '_>, service: &str, hash: &str) -> bool {
    let selected = pass.view.services.get(service);
    let Some(selected) = selected.map(|service| service.pod_hash().to_owned()) else {
        return false;
    };
    let stable = pass.stable_set().map(|set| &set.hash);
    if selected == hash || selected.is_empty() || pass.ctx.routing().is_none() {
        return false;
    }
    let weights = pass.ctx.persisted.canary.weights.as_ref();
    let on_record =
        weights.is_some_and(|on| on.canary.weight > 0 && on.canary.pod_template_hash == selected);
    // Kept by a promotion with all traffic on it, and not confirmed to be rid of that since.
    let kept = weights
        .is_some_and(|on| on.canary.pod_template_hash == selected && on.verified == Some(false));
    // Away from stable it may go all the same: its members may be what the data plane lacks (FLT-10).
    on_record || ((kept || stable != Some(&selected)) && crate::routing::in_doubt(pass))
}

fn wait_for_drain(pass: &mut Pass<'_, '_>, service: &str) {
    pass.wait(Why::new(
        Reason::TrafficUnconfirmed,
        format!("Service/{service}"),
        "goes on to the new version once no requests reach the one before through it",
    ));
}

/// Pass (g) of a canary: the stable and the canary Service. `ready`:
/// nothing but pods is missing until the new version becomes stable; `promoting`: not even those.
pub(crate) fn reconcile_canary(pass: &mut Pass<'_, '_>, ready: bool, promoting: bool) {
    let Some(canary) = pass.ctx.canary() else {
        return;
    };
    let Some(stable) = pass.view.stable() else {
        return;
    };
    if canary.ping_pong.is_some() {
        return stable_of_pair(pass, canary, stable);
    }
    // About to be promoted: the stable Service goes on to the new version in a moment, and must not
    // go back for that moment after a crash in between. Where nothing may surge, it goes on before
    // the last pod of stable makes room.
    let service = &canary.stable_service;
    let moves_on = ready
        && pass.new_set().is_some_and(|set| {
            let selected = pass.view.services.get(service);
            let there = selected.is_some_and(|service| service.pod_hash() == set.hash);
            let basic = pass.ctx.basic();
            let last = basic
                && pass.ctx.fences.surge == 0
                && set.available >= pass.ctx.replicas.saturating_sub(1);
            let serves = set.serving() > 0 || pass.ctx.replicas == 0;
            serves && ((there && (basic || promoting)) || last)
        });
    if moves_on {
        let new = pass.view.new;
        point_when_available(pass, service, new);
    } else {
        stable_service(pass, service, stable);
    }
    if crate::routing::rolling_back(pass) {
        return;
    }
    if pass.aborted() {
        // With a router, the routing pass decides (SE-2).
        if pass.ctx.basic() {
            point_when_available(pass, &canary.canary_service, Some(stable));
        }
        return;
    }
    if crate::routing::foreign(pass) {
        return; // not while it takes traffic for another version (CTL-71)
    }
    let new = pass.view.new;
    let hash = pass.new_set().map(|set| set.hash.clone());
    if !pass.promoted() && hash.is_some_and(|hash| may_carry(pass, &canary.canary_service, &hash)) {
        return wait_for_drain(pass, &canary.canary_service);
    }
    if let Some(index) = new.filter(|index| !bears_share(pass, &canary.canary_service, *index)) {
        return wait_to_switch(pass, &canary.canary_service, index);
    }
    point_when_available(pass, &canary.canary_service, new);
}

/// Whether a version has the pods for what the canary Service carries, where that would come to it
/// from another one with more (INV-2).
fn bears_share(pass: &Pass<'_, '_>, service: &str, index: usize) -> bool {
    let selected = pass.view.services.get(service);
    let Some(set) = pass.set(index) else {
        return true;
    };
    if selected.is_none_or(|view| view.pod_hash() == set.hash) {
        return true;
    }
    let weights = pass.ctx.persisted.canary.weights.as_ref();
    let need = weights.map_or(0, |on| {
        let whole = crate::traffic::whole_of(on);
        crate::units::share_up(pass.ctx.replicas, on.canary.weight, whole)
    });
    let have = set.available.saturating_add(pass.ctx.fences.unavailable);
    pass.ctx.routing().is_none() || have >= need || set.available >= available_behind(pass, service)
}

/// Whether traffic may still reach a ReplicaSet: by status as persisted or as planned, by a Service
/// as read or as planned, or by a subset (CTL-44, SE-30). What could not be read counts as yes.
pub(crate) fn referenced(ctx: &Context<'_>, view: &View, set: &Set) -> bool {
    let hash = &set.hash;
    if hash.is_empty() {
        return false;
    }
    let in_status = [&*ctx.persisted, &view.status].into_iter().any(|status| {
        let weights = status.canary.weights.as_ref();
        status.stable_rs == *hash
            || status.current_pod_hash == *hash
            || (ctx.blue_green().is_some()
                && (status.blue_green.active_selector == *hash
                    || status.blue_green.preview_selector == *hash))
            || weights.is_some_and(|weights| {
                weights.canary.pod_template_hash == *hash
                    || weights.stable.pod_template_hash == *hash
            })
    });
    in_status || selected(ctx, view, set)
}

/// Whether a Service or a subset selects it.
pub(crate) fn selected(ctx: &Context<'_>, view: &View, set: &Set) -> bool {
    let hash = &set.hash;
    let drained = drained_service(ctx, view);
    let by_service = ctx.seen.services.iter().any(|(name, seen)| {
        if drained == Some(name.as_str()) {
            return false;
        }
        let planned = view
            .services
            .get(name)
            .is_some_and(|service| service.pod_hash() == hash);
        match seen {
            Seen::Found(service) => planned || service.pod_hash() == hash,
            Seen::Absent => false,
            Seen::Unread(_) => true,
        }
    });
    by_service
        || match &ctx.seen.subset_hashes {
            Seen::Found(hashes) => hashes.contains(hash),
            Seen::Absent => false,
            Seen::Unread(_) => true,
        }
}

/// Of a ping-pong pair at rest, the one that gets no traffic: it keeps selecting the drained
/// ReplicaSet until the next update takes it over (CTL-70).
fn drained_service<'a>(ctx: &Context<'a>, view: &View) -> Option<&'a str> {
    let canary = ctx.canary()?;
    canary.ping_pong.as_ref()?;
    let at_rest = |status: &sluice_crds::rollout::RolloutStatus| {
        crate::conditions::is_completed(status)
            && status
                .canary
                .weights
                .as_ref()
                .is_none_or(|weights| weights.canary.weight == 0)
    };
    if !at_rest(&ctx.persisted) || !at_rest(&view.status) {
        return None;
    }
    Some(pair(canary, &ctx.persisted.canary.stable_ping_pong).canary)
}

/// Whether one Service selects a hash, as read or as planned; unreadable counts as yes.
pub(crate) fn service_selects(ctx: &Context<'_>, view: &View, service: &str, hash: &str) -> bool {
    let planned = view
        .services
        .get(service)
        .is_some_and(|service| service.pod_hash() == hash);
    planned
        || match ctx.seen.services.get(service) {
            Some(Seen::Found(service)) => service.pod_hash() == hash,
            Some(Seen::Unread(_)) => true,
            Some(Seen::Absent) | None => false,
        }
}
