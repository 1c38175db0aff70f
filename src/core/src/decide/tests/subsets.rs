//! Subsets of a DestinationRule: which version they lead to, and when they may go on.

use super::by_subsets;
use crate::plan::Plan;
use crate::testing::world::World;
use crate::testing::{pause, rollout, weight};
use crate::traffic::{Verification, Want};
use crate::why::Reason;

/// A canary split by subsets alone, in the middle of its update, with half of the requests.
fn half_way() -> World {
    let built = rollout("web").replicas(4).canary([weight(50), pause()]);
    let mut world = by_subsets(built);
    world.verification = Verification::Verified;
    world.settle();
    world.set_image("web:v2");
    world.settle();
    assert_eq!(
        world.line(),
        "step 1 pods 2/4 weight 50/50 Paused: CanaryPauseStep"
    );
    world
}

fn last(world: &World) -> &Want {
    world.routes.last().unwrap()
}

/// FLT-8, FLT-10, INV-1: after an abort that no router has confirmed the next version comes: the subset
/// stays with the pods that may still be sent requests.
#[test]
fn stay_while_the_way_back_is_not_confirmed() {
    let mut world = half_way();
    let old = last(&world).canary_hash.clone();
    world.verification = Verification::NotVerified;
    world.abort();
    world.settle();
    world.set_image("web:v3");
    let plan = world.settle();
    assert_eq!((last(&world).weight, &last(&world).canary_hash), (0, &old));
    let waits = plan
        .why
        .iter()
        .any(|why| why.object == "DestinationRule/web");
    assert!(waits, "{:?}", plan.why);
    world.verification = Verification::Verified;
    world.touch();
    world.settle();
    assert_ne!(last(&world).canary_hash, old);
    assert_eq!(last(&world).weight, 50);
}

/// FLT-5, FLT-8: of a version that is superseded in mid-update the weight goes first, and the subset
/// only once a router that can tell has confirmed that.
#[test]
fn go_on_after_the_weight_is_confirmed() {
    let mut world = half_way();
    let old = last(&world).canary_hash.clone();
    world.verification = Verification::NotVerified;
    world.set_image("web:v3");
    world.settle();
    assert_eq!((last(&world).weight, &last(&world).canary_hash), (0, &old));
    world.verification = Verification::Verified;
    world.touch();
    world.settle();
    assert_ne!(last(&world).canary_hash, old);
}

/// TRF-111, FLT-8, INV-15: a subset goes on to a ReplicaSet that is to have pods once all of them are
/// available, and the weight not before it; until then that is said.
#[test]
fn go_on_once_all_pods_are_available() {
    let mut world = half_way();
    let old = last(&world).canary_hash.clone();
    world.advance(100);
    world.startup = 5;
    world.set_image("web:v3");
    let plan = world.settle();
    let waits = |plan: &Plan| {
        let mut whys = plan.why.iter();
        whys.any(|why| {
            why.reason == Reason::SwitchWaitsForPods && why.object == "DestinationRule/web"
        })
    };
    assert!(waits(&plan), "{:?}", plan.why);
    assert_eq!(world.size_text(), "2/4+2");
    assert!(last(&world).keep_hashes);
    assert_eq!(last(&world).weight, 0);
    let weights = world.now_status().canary.weights.unwrap();
    assert_eq!(weights.canary.pod_template_hash, old, "not there yet");
    let plan = world.after(6);
    assert!(!waits(&plan), "{:?}", plan.why);
    let on = last(&world);
    assert_eq!(on.weight, 50);
    assert_eq!(on.canary_hash, world.now_status().current_pod_hash);
    assert!(!on.keep_hashes);
}

/// TRF-9: the weight goes before the subset only where there is a weight to take away.
#[test]
fn without_a_weight_one_write_is_enough() {
    let mut world = half_way();
    let ahead = |world: &World| {
        let mut routes = world.routes.iter();
        routes.any(|want| want.weight_before_hash)
    };
    assert!(!ahead(&world), "{:?}", world.routes);
    world.set_image("web:v3");
    world.settle();
    assert!(
        ahead(&world),
        "half of the requests were on the second version"
    );
}

/// INV-1, FLT-31: promoted in full while the subset still leads to a superseded version: it goes on
/// before its share grows, although managed routes are taken away in the same breath.
#[test]
fn go_on_before_their_share_grows() {
    let built = rollout("web").replicas(4).canary([weight(50), pause()]);
    let mut world = by_subsets(built);
    world.edit(|rollout| {
        let managed = serde_json::json!([{ "name": "by-header" }]);
        let canary = rollout.spec.strategy.canary.as_mut().unwrap();
        canary.dynamic_stable_scale = true;
        let routing = canary.traffic_routing.as_mut().unwrap();
        routing.managed_routes = serde_json::from_value(managed).unwrap();
    });
    world.verification = Verification::Verified;
    world.settle();
    world.set_image("web:v2");
    world.settle();
    world.verification = Verification::NotVerified;
    world.set_image("web:v3");
    world.settle();
    world.promote_full();
    world.settle();
    world.verification = Verification::Verified;
    world.touch();
    world.settle();
    assert!(world.line().ends_with("Healthy"), "{}", world.line());
    for pair in world.routes.windows(2) {
        let [before, after] = pair else { continue };
        let moves = before.canary_hash != after.canary_hash;
        let early = moves && after.weight_before_hash && after.weight > before.weight;
        assert!(!early, "{before:?}\n{after:?}");
    }
}
