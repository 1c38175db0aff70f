//! Splits while versions have too few pods, or nobody confirms what was asked for.

use sluice_crds::keys;
use sluice_crds::rollout::PingPongSpec;

use super::{deployed, istio};
use crate::observed::ServiceView;
use crate::plan::Action;
use crate::testing::world::World;
use crate::testing::{pause, rollout, scale, weight};
use crate::traffic::Verification;
use crate::why::Reason;

/// Half of the traffic is on the new version.
fn half_way() -> World {
    let steps = [weight(50), pause()];
    let mut world = deployed(istio(rollout("web").replicas(4).canary(steps)));
    world.set_image("web:v2");
    world.settle();
    assert!(world.line().contains("weight 50/50"), "{}", world.line());
    world
}

/// Only so many pods of the stable version stay ready.
fn leave_to_stable(world: &mut World, ready: usize) {
    let stable = world.now_status().stable_rs;
    let uid = world.set_of(&stable).unwrap().metadata.uid.clone();
    let pods = world.pods.iter();
    let owned = pods.filter(|(_, pod)| Some(&pod.owner) == uid.as_ref());
    let sick: Vec<_> = owned.skip(ready).map(|(name, _)| name.clone()).collect();
    world.sick.extend(sick);
    world.play();
}

/// INV-1, INV-10, CTL-62: on the way back a canary keeps what stable cannot take; one without any
/// available pod keeps nothing, however few pods stable has.
#[test]
fn only_a_canary_that_lives_keeps_what_stable_cannot_take() {
    for (dead, weight) in [(false, 25), (true, 0)] {
        let mut world = half_way();
        leave_to_stable(&mut world, 2);
        if dead {
            world.broken.insert("web:v2".to_owned());
            world.play();
        }
        world.abort();
        world.step();
        assert_eq!(world.routes.last().unwrap().weight, weight, "dead: {dead}");
    }
}

/// CTL-70, INV-1, INV-15: the Service of ping and pong that a superseded version had stays with it while
/// no router confirms that its traffic is gone, and that is said.
#[test]
fn ping_and_pong_wait_for_the_router() {
    let steps = [weight(50), pause()];
    let mut world = deployed(
        istio(rollout("web").replicas(4).canary(steps)).strategy(|canary| {
            canary.canary_service.clear();
            canary.stable_service.clear();
            canary.ping_pong = Some(PingPongSpec {
                ping_service: "ping".to_owned(),
                pong_service: "pong".to_owned(),
            });
        }),
    );
    world.verification = Verification::Verified;
    world.set_image("web:v2");
    world.settle();
    let second = world.now_status().current_pod_hash;
    assert_eq!(world.services["pong"].pod_hash(), second);
    let said = |plan: &crate::plan::Plan| {
        let mut whys = plan.why.iter();
        whys.any(|why| why.reason == Reason::TrafficUnconfirmed && why.object == "Service/pong")
    };
    assert!(!said(&world.step()), "it is where it belongs");
    world.verification = Verification::NotVerified;
    world.set_image("web:v3");
    let plan = world.settle();
    let third = world.now_status().current_pod_hash;
    assert_ne!(second, third);
    assert_eq!(
        world.services["pong"].pod_hash(),
        second,
        "{}",
        world.line()
    );
    assert!(said(&plan), "{:?}", plan.why);
    world.verification = Verification::Verified;
    // What follows for certain follows in the same plan: with the Service there, its share.
    let plan = world.step();
    let mut actions = plan.actions.iter().map(|planned| &planned.action);
    let switched =
        |action: &Action| matches!(action, Action::PatchService { name, .. } if name == "pong");
    assert!(actions.any(switched), "{:?}", plan.actions);
    let shared = |action: &Action| matches!(action, Action::Route(want) if want.weight == 50);
    assert!(actions.any(shared), "{:?}", plan.actions);
    let plan = world.settle();
    assert_eq!(world.services["pong"].pod_hash(), third);
    assert!(!said(&plan), "{:?}", plan.why);
}

/// CTL-63, TRF-13: a plan of several passes tells once that a router failed to answer.
#[test]
fn a_plan_tells_a_failure_once() {
    let mut world = half_way();
    world.verification = Verification::Failed("timeout".to_owned());
    for _ in 0..3 {
        let plan = world.step();
        let told = plan.events.iter();
        let told = told.filter(|event| event.reason == "WeightVerifyError");
        assert_eq!(told.count(), 1, "{:?}", plan.events);
    }
}

/// TRF-5, FLT-9: aborted before it got any request, a canary gives its Service back to stable, though that
/// is not fully ready: stable is what there is.
#[test]
fn the_service_of_a_canary_without_a_share_goes_back() {
    let mut world = deployed(istio(rollout("web").replicas(4).canary([
        scale(2),
        pause(),
        weight(50),
    ])));
    world.set_image("web:v2");
    world.settle();
    assert!(world.line().contains("weight 0/100"), "{}", world.line());
    let (stable, new) = {
        let status = world.now_status();
        (status.stable_rs, status.current_pod_hash)
    };
    assert_eq!(world.services["web-canary"].pod_hash(), new);
    leave_to_stable(&mut world, 2);
    world.abort();
    world.step();
    world.step();
    assert_eq!(world.services["web-canary"].pod_hash(), stable);
}

/// INV-1, FLT-22: of a pair that has just been named, the one that is stable's and selects the pods of all
/// versions is left as it is; one that selects another version goes to stable.
#[test]
fn a_new_pair_is_narrowed_only_where_it_has_to_be() {
    for stray in [false, true] {
        let mut world = half_way();
        let status = world.now_status();
        let old = if stray { "0000000000" } else { "" };
        let mut selector = std::collections::BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        if stray {
            selector.insert(keys::POD_TEMPLATE_HASH.to_owned(), old.to_owned());
        }
        for name in ["ping", "pong"] {
            let view = ServiceView {
                selector: selector.clone(),
                managed_by: stray.then(|| "web".to_owned()),
            };
            world.services.insert(name.to_owned(), view);
        }
        world.edit(|r| {
            let canary = r.spec.strategy.canary.as_mut().unwrap();
            canary.ping_pong = Some(PingPongSpec {
                ping_service: "ping".to_owned(),
                pong_service: "pong".to_owned(),
            });
        });
        let plan = world.step();
        let selects = world.services["pong"].pod_hash();
        let wanted = if stray { &status.stable_rs } else { old };
        assert_eq!(selects, wanted, "{:?}", plan.actions);
    }
}
