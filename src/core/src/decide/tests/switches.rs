//! A strategy that becomes another one in the middle of an update.

use serde_json::json;
use sluice_crds::rollout::{BlueGreenStrategy, RolloutStrategy};

use super::deployed;
use crate::observed::ServiceView;
use crate::testing::world::World;
use crate::testing::{pause, rollout, weight};

/// Without a router, 3 pods are of stable and 2 of the new version.
fn half_way() -> World {
    let mut world = deployed(rollout("web").replicas(5).canary([weight(40), pause()]));
    world.set_image("web:v2");
    world.settle();
    assert_eq!(world.line(), "step 1 pods 2/3 Paused: CanaryPauseStep");
    world
}

/// Steps until a Service selects stable; before that it must have enough pods.
fn narrows_once_stable_can_serve(mut world: World, service: &str) {
    let stable = world.now_status().stable_rs;
    let selected = |world: &World| world.services[service].pod_hash().to_owned();
    for _ in 0..20 {
        let set = world.set_of(&stable).unwrap();
        let ready = set.status.as_ref().unwrap().available_replicas;
        world.step();
        if !selected(&world).is_empty() {
            assert_eq!(selected(&world), stable);
            assert!(ready >= 4, "{ready}: {}", world.line());
            return;
        }
        world.play();
    }
    panic!("never selects anything: {}", world.line());
}

fn with_services(world: &mut World, names: [&str; 2]) {
    for name in names {
        world
            .services
            .insert(name.to_owned(), ServiceView::default());
    }
}

/// FLT-22, INV-2: an active Service that selects the pods of all versions goes on to those of stable
/// once these are enough.
#[test]
fn an_active_service_loses_no_pods_that_it_needs() {
    let mut world = half_way();
    with_services(&mut world, ["active", "preview"]);
    world.edit(|r| {
        r.spec.strategy = RolloutStrategy {
            blue_green: Some(BlueGreenStrategy {
                active_service: "active".to_owned(),
                preview_service: "preview".to_owned(),
                auto_promotion_enabled: Some(false),
                ..BlueGreenStrategy::default()
            }),
            ..RolloutStrategy::default()
        };
    });
    narrows_once_stable_can_serve(world, "active");
}

/// FLT-9: where stable cannot serve, the new version takes such a Service over by itself.
#[test]
fn a_broken_stable_version_does_not_keep_an_active_service_from_the_new_one() {
    let mut world = half_way();
    with_services(&mut world, ["active", "preview"]);
    world.broken.insert("web:v1".to_owned());
    world.play();
    world.edit(|r| {
        r.spec.strategy = RolloutStrategy {
            blue_green: Some(BlueGreenStrategy {
                active_service: "active".to_owned(),
                preview_service: "preview".to_owned(),
                ..BlueGreenStrategy::default()
            }),
            ..RolloutStrategy::default()
        };
    });
    world.settle();
    assert!(world.line().ends_with("Healthy"), "{}", world.line());
}

/// FLT-22, INV-2, CTL-154: the same for the stable Service of a canary that gets a router.
#[test]
fn a_stable_service_loses_no_pods_that_it_needs() {
    let mut world = half_way();
    with_services(&mut world, ["web-stable", "web-canary"]);
    let routed = super::istio(rollout("web").canary([weight(40), pause()])).build();
    let cluster = super::cluster(rollout("web").canary([]));
    world.references = cluster.references;
    world.edit(|r| {
        r.spec.strategy = routed.spec.strategy;
        let canary = r.spec.strategy.canary.as_mut().unwrap();
        canary.max_unavailable = serde_json::from_value(json!(1)).unwrap();
    });
    narrows_once_stable_can_serve(world, "web-stable");
}

/// INV-1: a router that gets its first weights gives stable no share while it has no pod.
#[test]
fn a_new_router_gives_no_share_to_a_stable_version_without_pods() {
    let steps = [weight(100), pause()];
    let mut world = deployed(rollout("web").replicas(5).canary(steps));
    world.set_image("web:v2");
    world.settle();
    assert!(
        world.line().starts_with("step 1 pods 5/0"),
        "{}",
        world.line()
    );
    let stable = world.now_status().stable_rs;
    with_services(&mut world, ["web-stable", "web-canary"]);
    let routed = super::istio(rollout("web").canary([weight(90), pause()]));
    let routed = routed.strategy(|canary| {
        let threshold = json!({ "type": "Percent", "value": 0 });
        canary.replica_progress_threshold = serde_json::from_value(threshold).unwrap();
    });
    world.references = super::cluster(rollout("web").canary([])).references;
    world.edit(|r| r.spec.strategy = routed.build().spec.strategy);
    world.startup = 5;
    for _ in 0..10 {
        let set = world.set_of(&stable).unwrap();
        let ready = set.status.as_ref().unwrap().available_replicas;
        let asked = world.routes.len();
        world.step();
        for want in &world.routes[asked..] {
            assert!(ready > 0 || want.weight == 100, "{want:?}");
        }
        world.advance(1);
        world.play();
    }
    assert!(world.line().contains("weight 90/10"), "{}", world.line());
}

/// CTL-115, CTL-137: the pause of a step is no approval of a blue-green update that waits for one, and
/// the pause before a switch none of a step.
#[test]
fn the_pause_of_another_strategy_promotes_nothing() {
    let mut world = half_way();
    with_services(&mut world, ["active", "preview"]);
    let blue_green = BlueGreenStrategy {
        active_service: "active".to_owned(),
        preview_service: "preview".to_owned(),
        auto_promotion_enabled: Some(false),
        ..BlueGreenStrategy::default()
    };
    let canary = world.rollout.spec.strategy.canary.take();
    world.edit(|r| r.spec.strategy.blue_green = Some(blue_green));
    world.settle();
    assert!(
        world.line().ends_with("Paused: BlueGreenPause"),
        "{}",
        world.line()
    );
    world.edit(|r| {
        r.spec.strategy.blue_green = None;
        r.spec.strategy.canary = canary;
        r.spec.strategy.canary.as_mut().unwrap().steps = vec![pause(), pause()];
    });
    world.settle();
    assert!(world.line().starts_with("step 0 "), "{}", world.line());
    assert!(
        world.line().ends_with("Paused: CanaryPauseStep"),
        "{}",
        world.line()
    );
    let pauses = world.now_status().pause_conditions.len();
    assert_eq!(pauses, 1, "what was before is gone");
}
