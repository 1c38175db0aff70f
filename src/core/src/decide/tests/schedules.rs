//! What longer random schedules found: each of these broke an invariant once.

use serde_json::json;
use sluice_crds::IntOrString;

use super::{cluster, deployed, istio};
use crate::decide::decide;
use crate::invariants::Trace;
use crate::plan::Action;
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, at, pause, rollout, scale, weight};
use crate::traffic::Verification;

/// Decides, checks every invariant, acts and lets pods follow, until nothing moves.
fn settle(world: &mut World, trace: &mut Trace) {
    for _ in 0..60 {
        let seen = world.observe();
        let plan = decide(&seen, world.now);
        assert_eq!(trace.push(&seen, &plan, world.now), [], "{}", world.line());
        world.execute(&plan, usize::MAX);
        if !world.play() && plan.is_quiet(seen.rollout.status.as_ref()) {
            return;
        }
    }
    panic!("does not come to rest: {}", world.line());
}

fn dynamic(rollout: RolloutBuilder) -> RolloutBuilder {
    istio(rollout).strategy(|canary| canary.dynamic_stable_scale = true)
}

/// CTL-10, INV-3: another size and another version at once: sizes are not those of the version that
/// is being left.
#[test]
fn a_new_size_waits_for_the_new_version() {
    for built in [
        istio(rollout("web").replicas(4).canary([pause()])),
        dynamic(rollout("web").replicas(4).canary([pause()])),
    ] {
        let mut world = deployed(built);
        world.set_image("web:v2");
        world.settle();
        world.set_image("web:v1");
        world.edit(|r| r.spec.replicas = Some(6));
        let mut trace = Trace::default();
        settle(&mut world, &mut trace);
        assert_eq!(world.size_text(), "6/0", "{}", world.line());
    }
}

/// CTL-126, INV-1, INV-2: a canary with one pod and most of the traffic is not restarted away.
#[test]
fn a_restart_leaves_a_small_canary_its_pod() {
    let steps = [weight(80), scale(1), pause()];
    let built = istio(rollout("web").replicas(5).canary(steps));
    let mut world = deployed(built.strategy(|canary| {
        canary.max_unavailable = Some(IntOrString::Int(3));
    }));
    world.set_image("web:v2");
    world.settle();
    assert!(
        world.line().contains("pods 1/5 weight 80/20"),
        "{}",
        world.line()
    );
    let hash = world.now_status().current_pod_hash;
    let uid = world.set_of(&hash).unwrap().metadata.uid.clone().unwrap();
    world.advance(100);
    world.edit(|r| r.spec.restart_at = Some(at(50).into()));
    for _ in 0..6 {
        let plan = world.step();
        for planned in &plan.actions {
            if let Action::EvictPod { name } = &planned.action {
                assert!(!name.contains(&hash), "{name} is the last one");
            }
        }
        let left = world.pods.values().filter(|pod| pod.owner == uid);
        assert_eq!(left.count(), 1);
        world.play();
    }
}

/// CTL-46, CTL-60, INV-15: stable grows for a smaller weight while the canary is sized by hand.
#[test]
fn a_smaller_weight_after_a_canary_scale() {
    let by_hand = serde_json::from_value(json!({ "setCanaryScale": { "weight": 97 } }));
    let steps = [weight(56), by_hand.unwrap(), pause(), weight(2), pause()];
    let mut world = deployed(dynamic(rollout("web").replicas(4).canary(steps)));
    let mut trace = Trace::default();
    world.set_image("web:v2");
    settle(&mut world, &mut trace);
    world.promote();
    settle(&mut world, &mut trace);
    assert!(
        world.line().starts_with("step 4 pods 4/4 weight 2/98"),
        "{}",
        world.line()
    );
}

/// CTL-91, INV-15: without steps all of a dynamically scaled update goes on, since stable has no pods
/// to take anything back.
#[test]
fn steps_that_are_taken_away() {
    let steps = [weight(80), pause()];
    let mut world = deployed(dynamic(rollout("web").replicas(9).canary(steps)));
    let mut trace = Trace::default();
    world.set_image("web:v2");
    settle(&mut world, &mut trace);
    world.edit(|r| r.spec.strategy.canary.as_mut().unwrap().steps = Vec::new());
    settle(&mut world, &mut trace);
    assert!(world.line().ends_with("Healthy"), "{}", world.line());
}

/// CTL-117, INV-15: scaled to zero, the active Service does not wait for pods of stable.
#[test]
fn nothing_serves_at_zero() {
    let mut world = World::new(rollout("web").replicas(3).blue_green("active", ""));
    world.broken.insert("web:v1".to_owned());
    world.settle();
    world.set_image("web:v2");
    world.settle();
    world.edit(|r| r.spec.replicas = Some(0));
    settle(&mut world, &mut Trace::default());
    assert!(world.line().ends_with("Healthy"), "{}", world.line());
}

/// SE-15, INV-3, INV-4: held, too, stable keeps the pods that its share needs.
#[test]
fn a_new_size_of_a_held_update_keeps_what_serves() {
    let mut world = deployed(dynamic(
        rollout("web").replicas(20).canary([weight(40), pause()]),
    ));
    world.set_image("web:v2");
    world.settle();
    world.edit(|r| r.spec.paused = true);
    world.broken.insert("web:v2".to_owned());
    for pod in world
        .pods
        .values_mut()
        .filter(|pod| !pod.name.contains("5dfb79b7ff"))
    {
        pod.available = false;
    }
    let mut trace = Trace::default();
    settle(&mut world, &mut trace);
    world.edit(|r| r.spec.replicas = Some(5));
    settle(&mut world, &mut trace);
}

/// One pod of a version is not ready any more.
fn make_one_sick(world: &mut World, hash: &str) {
    let uid = world.set_of(hash).unwrap().metadata.uid.clone().unwrap();
    let pod = world.pods.values().find(|pod| pod.owner == uid).unwrap();
    world.sick.insert(pod.name.clone());
}

/// CTL-66, CTL-151, INV-2: reverted while stable lacks a pod that must not be missing, stable gets what it
/// can take, and the rest once that pod is back.
#[test]
fn a_reverted_update_gives_back_what_stable_can_take() {
    let built = istio(rollout("web").replicas(9).canary([weight(58), pause()]));
    let mut world = deployed(built.strategy(|canary| {
        canary.max_unavailable = Some(IntOrString::Int(0));
    }));
    let mut trace = Trace::default();
    world.set_image("web:v2");
    settle(&mut world, &mut trace);
    let canary = world.now_status().current_pod_hash;
    let stable = world.now_status().stable_rs;
    make_one_sick(&mut world, &stable);
    settle(&mut world, &mut trace);
    world.set_image("web:v1");
    settle(&mut world, &mut trace);
    assert!(world.line().contains("weight 12/88"), "{}", world.line());
    assert_eq!(world.services["web-canary"].pod_hash(), canary);
    world.sick.clear();
    settle(&mut world, &mut trace);
    assert!(world.line().contains("weight 0/100"), "{}", world.line());
    assert_eq!(world.services["web-canary"].pod_hash(), stable);
}

/// INV-3: a promotion of which only the Services know is reverted and wanted again: the pods to which
/// the stable Service leads stay.
#[test]
fn what_a_lost_promotion_left_in_service_keeps_its_pods() {
    let mut world = deployed(dynamic(rollout("web").replicas(3).canary([pause()])));
    world.set_image("web:v2");
    world.settle();
    let (v1, v2) = (
        world.now_status().stable_rs,
        world.now_status().current_pod_hash,
    );
    world.promote();
    for _ in 0..20 {
        let seen = world.observe();
        let plan = decide(&seen, world.now);
        if plan
            .status
            .as_ref()
            .is_some_and(|status| status.stable_rs == v2)
        {
            world.execute(&plan, plan.actions.len()); // all but the status
            break;
        }
        world.execute(&plan, usize::MAX);
        world.play();
    }
    assert_eq!(world.services["web-stable"].pod_hash(), v2);
    assert_eq!(world.now_status().stable_rs, v1);
    make_one_sick(&mut world, &v1); // stable cannot take its Service back
    world.set_image("web:v1");
    world.play();
    world.step();
    assert_eq!(world.services["web-stable"].pod_hash(), v2);
    world.set_image("web:v2");
    for _ in 0..4 {
        world.step();
        world.play();
        let size = world.set_of(&v2).unwrap().spec.replicas;
        assert_eq!(size, Some(3), "{}", world.line());
    }
}

/// INV-1: the first split is not one that gives everything to a stable version without pods, while the
/// canary waits for its Service.
#[test]
fn a_first_split_with_a_dead_stable() {
    let built = istio(rollout("web").replicas(3).canary([weight(100)]));
    let routed = built.clone().build().spec.strategy;
    let mut world = cluster(built);
    world.edit(|r| {
        let canary = r.spec.strategy.canary.as_mut().unwrap();
        canary.traffic_routing = None;
    });
    world.settle();
    world.broken.insert("web:v1".to_owned());
    world.edit(|r| r.spec.strategy = routed);
    for pod in world.pods.values_mut() {
        pod.available = false;
    }
    world.play();
    let v1 = world.now_status().stable_rs;
    world.set_image("web:v2");
    let mut trace = Trace::default();
    for pass in 0..20 {
        // The data plane is behind for a while.
        world.verification = if pass < 9 {
            Verification::NotVerified
        } else {
            Verification::Verified
        };
        let seen = world.observe();
        let plan = decide(&seen, world.now);
        assert_eq!(trace.push(&seen, &plan, world.now), [], "{}", world.line());
        for planned in &plan.actions {
            if let Action::Route(want) = &planned.action
                && !want.only_remove_managed_routes
            {
                let dead = want.stable_hash == v1;
                assert!(!dead || want.weight == 100, "{}", world.line());
            }
        }
        world.execute(&plan, usize::MAX);
        world.play();
    }
    assert!(world.line().ends_with("Healthy"), "{}", world.line());
}

/// INV-1, CTL-126: a canary whose only pod has just been evicted gets no traffic, although its ReplicaSet
/// still counts that pod.
#[test]
fn an_evicted_pod_gets_no_traffic() {
    let steps = [scale(1), pause(), weight(100), pause()];
    let mut world = deployed(istio(rollout("web").replicas(1).canary(steps)));
    world.set_image("web:v2");
    world.settle();
    let hash = world.now_status().current_pod_hash;
    let uid = world.set_of(&hash).unwrap().metadata.uid.clone().unwrap();
    world.advance(10);
    world.edit(|r| r.spec.restart_at = Some(at(5).into()));
    for _ in 0..4 {
        world.step();
        if !world.pods.values().any(|pod| pod.owner == uid) {
            break;
        }
        world.play();
    }
    let counted = world.set_of(&hash).unwrap().status.clone().unwrap();
    assert_eq!(counted.available_replicas, 1);
    let gone = world.pods.values().all(|pod| pod.owner != uid);
    assert!(gone, "{}", world.line());
    world.promote();
    let asked = world.routes.len();
    world.step();
    let asked = &world.routes[asked..];
    assert!(asked.iter().all(|want| want.weight == 0), "{asked:?}");
    world.settle();
    assert!(world.line().contains("weight 100/0"), "{}", world.line());
}
