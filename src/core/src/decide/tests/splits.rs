//! Splits while versions have too few pods, or nobody confirms what was asked for.

use sluice_crds::rollout::PingPongSpec;

use super::{deployed, istio};
use crate::testing::world::World;
use crate::testing::{pause, rollout, weight};
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
    let plan = world.settle();
    assert_eq!(world.services["pong"].pod_hash(), third);
    assert!(!said(&plan), "{:?}", plan.why);
}
