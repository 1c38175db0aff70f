//! Routes, Services and weights, and what edits in the middle of an update do to them.

use expect_test::expect;
use serde_json::json;
use sluice_crds::rollout::ReplicaProgressThreshold;

use super::super::{by_subsets, cluster, deployed, istio, traced};
use super::steps;
use crate::testing::world::World;
use crate::testing::{pause, rollout, weight};

/// CTL-60, CTL-61, CTL-63: weights in parts of `maxTrafficWeight`.
#[test]
fn another_whole() {
    let built = rollout("web")
        .replicas(10)
        .canary([weight(1), pause(), weight(500), pause()])
        .routed(json!({ "nginx": { "stableIngress": "web" }, "maxTrafficWeight": 1000 }))
        .strategy(|c| {
            c.canary_service = "web-canary".to_owned();
            c.stable_service = "web-stable".to_owned();
        });
    let mut world = deployed(built);
    let mut lines = vec![world.line()];
    world.set_image("web:v2");
    for _ in 0..3 {
        world.settle();
        lines.push(world.line());
        world.promote();
    }
    assert!(world.routes.iter().all(|want| want.max_weight == 1000));
    expect![[r#"
        step 4 pods 10/0 weight 0/1000 Healthy
        step 1 pods 1/10 weight 1/999 Paused: CanaryPauseStep
        step 3 pods 5/10 weight 500/500 Paused: CanaryPauseStep
        step 4 pods 10/0+10 weight 0/1000 Healthy"#]]
    .assert_eq(&lines.join("\n"));
}

/// CTL-61, CTL-62: header and mirror routes are asked for at their step, once; they go when the
/// update ends in whatever way, before anything waits for stable.
#[test]
fn managed_routes_end_with_the_update() {
    let list = steps(json!([
        { "setCanaryScale": { "replicas": 1 } },
        { "setHeaderRoute": { "name": "h", "match": [{ "headerName": "a", "headerValue": { "exact": "b" } }] } },
        { "setMirrorRoute": { "name": "m", "percentage": 10, "match": [{ "method": { "exact": "GET" } }] } },
        { "setWeight": 50 }, { "pause": {} },
    ]));
    let built = istio(rollout("web").replicas(4).canary(list)).strategy(|c| {
        let routing = c.traffic_routing.as_mut().unwrap();
        routing.managed_routes =
            serde_json::from_value(json!([{ "name": "m" }, { "name": "h" }])).unwrap();
    });
    let asked = |world: &mut World| {
        let routes = std::mem::take(&mut world.routes);
        let lines = routes.iter().map(|want| {
            format!(
                "{} header {} mirror {} remove {}/{}",
                want.weight,
                want.header_route.as_ref().map_or("-", |route| &route.name),
                want.mirror_route.as_ref().map_or("-", |route| &route.name),
                want.remove_managed_routes,
                want.only_remove_managed_routes,
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let mut world = deployed(built.clone());
    world.set_image("web:v2");
    world.settle();
    asked(&mut world);
    // Stable lost its pods: the routes of the aborted update go all the same.
    for set in world
        .sets
        .values_mut()
        .filter(|set| set.annotation("rollout.argoproj.io/revision") == Some("1"))
    {
        set.status.get_or_insert_default().available_replicas = 0;
    }
    world.abort();
    world.step();
    expect!["0 header - mirror - remove true/true"].assert_eq(&asked(&mut world));
    world.settle();
    expect!["0 header - mirror - remove true/false"].assert_eq(&asked(&mut world));

    let mut world = deployed(built.clone());
    world.set_image("web:v2");
    world.settle();
    asked(&mut world);
    world.promote_full();
    world.settle();
    expect![[r#"
        50 header - mirror - remove true/false
        0 header - mirror - remove true/false"#]]
    .assert_eq(&asked(&mut world));

    let mut world = deployed(built);
    world.set_image("web:v2");
    world.settle();
    asked(&mut world);
    world.set_image("web:v3");
    world.settle();
    expect![[r#"
        0 header - mirror - remove true/false
        0 header - mirror - remove false/false
        0 header h mirror - remove false/false
        0 header - mirror m remove false/false
        50 header - mirror - remove false/false"#]]
    .assert_eq(&asked(&mut world));
}

/// CTL-96, SE-16: a header or mirror step before there are pods, or with none at all, is no obstacle;
/// a route that leads nowhere is not set: it gets a pod, but for a Rollout scaled to zero.
#[test]
fn routes_without_pods_are_no_obstacle() {
    for replicas in [4, 0] {
        let list = steps(json!([
            { "setHeaderRoute": { "name": "h", "match": [{ "headerName": "a", "headerValue": { "exact": "b" } }] } },
            { "setMirrorRoute": { "name": "m", "percentage": 10, "match": [{ "method": { "exact": "GET" } }] } },
            { "setWeight": 50 }, { "pause": {} },
        ]));
        let mut world = deployed(
            istio(rollout("web").replicas(replicas).canary(list)).strategy(|c| {
                let routing = c.traffic_routing.as_mut().unwrap();
                let managed = json!([{ "name": "h" }, { "name": "m" }]);
                routing.managed_routes = serde_json::from_value(managed).unwrap();
            }),
        );
        world.set_image("web:v2");
        world.settle();
        assert_eq!(
            world.now_status().current_step_index,
            Some(3),
            "{}",
            world.line()
        );
        let set = world.routes.iter().any(|want| want.header_route.is_some());
        assert_eq!(set, replicas > 0);
    }
}

/// CTL-96: without steps, traffic and Services move when the new version is fully available.
#[test]
fn no_steps_with_a_router() {
    let mut world = deployed(istio(rollout("web").replicas(2).canary([])));
    world.advance(5);
    world.startup = 5;
    world.set_image("web:v2");
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-84c5f745db (revision 2)
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 2
        RolloutUpdated Rollout updated to revision 2
        RolloutNotCompleted Rollout not completed, started update to revision 2 (84c5f745db)
        TrafficWeightUpdated Traffic weight updated 
        step - pods 2/2 weight 0/100 Progressing: waiting for all steps to complete
        waits: SwitchWaitsForPods Service/web-canary switches to ReplicaSet web-84c5f745db once its pods are available
        waits: PodsNotAvailable ReplicaSet/web-84c5f745db the update ends once all pods are available: 0 of 2 pods available"#]].assert_eq(&traced(&mut world));
    world.advance(6);
    expect![[r#"
        SwitchService Switched selector for service 'web-canary' from '5dfb79b7ff' to '84c5f745db'
        SwitchService Switched selector for service 'web-stable' from '5dfb79b7ff' to '84c5f745db'
        RolloutCompleted Rollout completed update to revision 2 (84c5f745db): Completed all 0 canary steps
        TrafficWeightUpdated Traffic weight updated 
        step - pods 2/0+2 weight 0/100 Healthy
        waits: ScaleDownDelay ReplicaSet/web-5dfb79b7ff is kept for its scale-down delay"#]].assert_eq(&traced(&mut world));
}

/// CTL-154: a Service that is not managed yet is taken over once all pods are available, a managed
/// one is switched at the first.
#[test]
fn services_are_taken_over_carefully() {
    let mut world = cluster(istio(
        rollout("web").replicas(2).canary([weight(100), pause()]),
    ));
    world.startup = 5;
    world.settle();
    let selected = |world: &World| {
        let of = |name: &str| world.services[name].pod_hash().len();
        (of("web-stable"), of("web-canary"))
    };
    assert_eq!(selected(&world), (0, 0));
    for set in world.sets.values_mut() {
        set.status.get_or_insert_default().available_replicas = 1;
    }
    world.step();
    assert_eq!(selected(&world), (0, 0), "one of two is not enough");
    world.after(6);
    assert_eq!(selected(&world), (10, 10));
    world.set_image("web:v2");
    world.settle();
    let v1 = world.services["web-canary"].pod_hash().to_owned();
    for set in world
        .sets
        .values_mut()
        .filter(|set| set.pod_hash() != Some(&v1))
    {
        set.status.get_or_insert_default().available_replicas = 1;
    }
    world.step();
    assert_ne!(world.services["web-canary"].pod_hash(), v1, "one is enough");
    assert_eq!(world.services["web-stable"].pod_hash(), v1);
}

/// CTL-153: Services named anew are adopted by the same rules.
#[test]
fn swapped_services_change_roles() {
    let mut world = deployed(istio(
        rollout("web").replicas(2).canary([weight(50), pause()]),
    ));
    world.set_image("web:v2");
    world.settle();
    world.told();
    world.edit(|r| {
        let canary = r.spec.strategy.canary.as_mut().unwrap();
        std::mem::swap(&mut canary.canary_service, &mut canary.stable_service);
    });
    expect![[r#"
        SwitchService Switched selector for service 'web-canary' from '84c5f745db' to '5dfb79b7ff'
        SwitchService Switched selector for service 'web-stable' from '5dfb79b7ff' to '84c5f745db'
        TrafficWeightUpdated Traffic weight updated 
        step 1 pods 1/2 weight 50/50 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 2/2 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
}

/// INV-1, CTL-154: a weight waits for a Service that still has to be taken over.
#[test]
fn a_weight_waits_for_its_service() {
    let mut world = deployed(
        istio(rollout("web").replicas(4).canary([weight(50), pause()])).strategy(|c| {
            c.replica_progress_threshold = Some(ReplicaProgressThreshold {
                r#type: "Pods".to_owned(),
                value: 1,
            });
        }),
    );
    let v1 = world.now_status().stable_rs;
    world.advance(1000);
    world.startup = 1000;
    world.set_image("web:v2");
    world.services.get_mut("web-canary").unwrap().managed_by = None;
    let available = |world: &mut World, count: i32| {
        for _ in 0..3 {
            for set in world
                .sets
                .values_mut()
                .filter(|set| set.pod_hash() != Some(&v1))
            {
                let replicas = set.spec.replicas.unwrap_or(0);
                let generation = set.metadata.generation.unwrap_or_default();
                let status = set.status.get_or_insert_default();
                status.observed_generation = generation;
                status.replicas = replicas;
                status.ready_replicas = count.min(replicas);
                status.available_replicas = count.min(replicas);
            }
            world.services.get_mut("web-canary").unwrap().managed_by = None;
            world.step();
        }
        world.line()
    };
    let one = available(&mut world, 1);
    let both = available(&mut world, 2);
    expect![[r#"
        step 0 pods 2/4 weight 0/100 Progressing: more replicas need to be updated
        step 1 pods 2/4 weight 50/50 Paused: CanaryPauseStep"#]]
    .assert_eq(&format!("{one}\n{both}"));
}

/// TRF-111, FLT-8: with subsets alone, hash and weight move once all pods are available.
#[test]
fn subsets_wait_for_all_pods() {
    let built = rollout("web").replicas(4).canary([weight(50), pause()]);
    let mut world = by_subsets(built);
    world.settle();
    world.told();
    world.advance(10);
    world.startup = 10;
    world.set_image("web:v2");
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-84c5f745db (revision 2)
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 2
        RolloutUpdated Rollout updated to revision 2
        RolloutNotCompleted Rollout not completed, started update to revision 2 (84c5f745db)
        TrafficWeightUpdated Traffic weight updated 
        step 0 pods 2/4 weight 0/100 Progressing: more replicas need to be updated
        waits: PodsNotAvailable ReplicaSet/web-84c5f745db setWeight 50 waits for the canary: 0 of 2 pods available"#]].assert_eq(&traced(&mut world));
    world.advance(11);
    expect![[r#"
        TrafficWeightUpdated Traffic weight updated from 0 to 50
        RolloutStepCompleted Rollout step 1/2 completed (setWeight: 50)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 1 pods 2/4 weight 50/50 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 2/2 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
}

/// CTL-63, FLT-10, FLT-11: a router that fails to answer is told as a warning, and asked again in
/// 10 s; until it answers, its new members get no traffic.
#[test]
fn a_failed_verification_is_told() {
    let mut world = deployed(istio(
        rollout("web").replicas(4).canary([weight(50), pause()]),
    ));
    world.verification = crate::traffic::Verification::Failed("timeout".to_owned());
    world.set_image("web:v2");
    for _ in 0..6 {
        world.play();
        world.step();
    }
    let plan = world.step();
    assert_eq!(plan.wake, Some(crate::testing::at(10)));
    let event = plan.events.last().unwrap();
    assert_eq!(
        (event.reason.as_str(), event.message.as_str()),
        ("WeightVerifyError", "Failed to verify weight: timeout")
    );
    assert_eq!(event.kind, crate::event::EventType::Warning);
    assert_eq!(
        world.line(),
        "step 0 pods 2/4 weight 0/100 Progressing: more replicas need to be updated"
    );
    // A successor knows nothing of this, but what the status says (INV-3).
    let weights = world.now_status().canary.weights;
    assert_eq!(weights.unwrap().verified, Some(false));
}
