//! Restart, rollback window, scaling, workload references, ping-pong, metadata and other settings.

use std::collections::BTreeMap;

use expect_test::expect;
use serde_json::json;
use sluice_crds::rollout::{
    CanaryStep, ObjectRef, PingPongSpec, PodTemplateMetadata, ReplicaProgressThreshold,
    RollbackWindowSpec,
};

use super::{cluster, deployed, istio, traced};
use crate::observed::{Workload, WorkloadView};
use crate::testing::world::World;
use crate::testing::{at, pause, rollout, template, weight};

/// CTL-126: one budget, old pods only, R - U stay.
#[test]
fn restart_replaces_old_pods() {
    let mut world = deployed(rollout("web").replicas(4).canary([weight(25), pause()]));
    world.startup = 5;
    world.advance(100);
    world.edit(|r| r.spec.restart_at = Some(at(50).into()));
    let mut least = i32::MAX;
    for _ in 0..60 {
        world.step();
        world.play();
        let available = world.pods.values().filter(|pod| pod.available).count();
        least = least.min(i32::try_from(available).unwrap());
        world.advance(5);
    }
    assert_eq!(least, 3, "INV-4");
    assert!(world.pods.values().all(|pod| pod.created > Some(at(50))));
    assert_eq!(world.now_status().restarted_at, Some(at(50).into()));
    assert_eq!(world.now_status().phase.as_str(), "Healthy");
}

/// CTL-94: back to a recent revision that still has pods.
#[test]
fn rollback_window_skips_steps() {
    let mut world = deployed(
        istio(rollout("web").replicas(4).canary([weight(25), pause()]))
            .with(|r| r.spec.rollback_window = Some(RollbackWindowSpec { revisions: 2 })),
    );
    world.advance(60);
    world.set_image("web:v2");
    world.settle();
    world.promote();
    world.settle();
    world.told();
    world.set_image("web:v1");
    expect![[r#"
        RolloutUpdated Rollout updated to revision 3
        SwitchService Switched selector for service 'web-canary' from '84c5f745db' to '5dfb79b7ff'
        SwitchService Switched selector for service 'web-stable' from '84c5f745db' to '5dfb79b7ff'
        SkipSteps Rollback to active ReplicaSets within RollbackWindow
        RolloutNotCompleted Rollout not completed, started update to revision 3 (5dfb79b7ff)
        TrafficWeightUpdated Traffic weight updated from 0 to 100
        RolloutCompleted Rollout completed update to revision 3 (5dfb79b7ff): Rollback within window
        TrafficWeightUpdated Traffic weight updated from 100 to 0
        step 2 pods 4/0+4 weight 0/100 Healthy
        waits: ScaleDownDelay ReplicaSet/web-84c5f745db is kept for its scale-down delay"#]]
    .assert_eq(&traced(&mut world));
}

/// CTL-10, CTL-138: a pause step does not hold scaling, a manual pause keeps proportions (SE-15).
#[test]
fn scaling_in_the_middle() {
    let mut world = deployed(rollout("web").replicas(4).canary([weight(25), pause()]));
    world.set_image("web:v2");
    world.settle();
    world.told();
    world.edit(|r| r.spec.replicas = Some(8));
    expect![[r#"
        ScalingReplicaSet Scaled up ReplicaSet web-5dfb79b7ff (revision 1) from 3 to 6
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 1 to 2
        step 1 pods 2/6 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 2/2 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
    world.edit(|r| {
        r.spec.paused = true;
        r.spec.replicas = Some(4);
    });
    expect![[r#"
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 6 to 3
        ScalingReplicaSet Scaled down ReplicaSet web-84c5f745db (revision 2) from 2 to 1
        step 1 pods 1/3 Paused: manually paused
        waits: ManuallyPaused Rollout/web spec.paused is set: nothing goes on before it is lifted"#]]
    .assert_eq(&traced(&mut world));
}

/// CTL-144, CTL-146
#[test]
fn workload_reference_takes_over() {
    let mut world = cluster(
        rollout("web")
            .replicas(4)
            .canary([weight(25), pause()])
            .with(|r| {
                r.spec.template = sluice_crds::RawPodTemplate::default();
                r.spec.selector = None;
                r.spec.workload_ref = Some(ObjectRef {
                    api_version: "apps/v1".to_owned(),
                    kind: "Deployment".to_owned(),
                    name: "web".to_owned(),
                    scale_down: "onsuccess".to_owned(),
                });
            }),
    );
    world.workload = Workload::Found(WorkloadView {
        template: template("web", "web:v1"),
        selector: Some(sluice_crds::LabelSelector::by_labels([("app", "web")])),
        generation: Some(1),
        replicas: Some(4),
    });
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-5dfb79b7ff (revision 1)
        ScalingReplicaSet Scaled up ReplicaSet web-5dfb79b7ff (revision 1) from 0 to 4
        RolloutUpdated Rollout updated to revision 1
        RolloutNotCompleted Rollout not completed, started update to revision 1 (5dfb79b7ff)
        RolloutCompleted Rollout completed update to revision 1 (5dfb79b7ff): Initial deploy
        step 2 pods 4/0 Healthy"#]]
    .assert_eq(&traced(&mut world));
    let Workload::Found(found) = &world.workload else {
        panic!()
    };
    assert_eq!(found.replicas, Some(0));
    // API-29: noted as often as it changes.
    let annotations = world.rollout.metadata.annotations.clone().unwrap();
    assert_eq!(annotations[sluice_crds::keys::WORKLOAD_GENERATION], "2");
    let status = world.rollout.status.as_ref().unwrap();
    assert_eq!(status.workload_observed_generation, "2");
    world.workload = Workload::Unusable("deployments.apps \"shop/web\" not found".to_owned());
    expect![[r#"

        step 2 pods 4/0 Degraded: InvalidSpec: The Rollout "web" is invalid: deployments.apps "shop/web" not found
        waits: InvalidSpec Rollout/web deployments.apps "shop/web" not found"#]].assert_eq(&traced(&mut world));
    assert!(
        world.rollout.spec.template.is_empty(),
        "the template is never written back"
    );
}

/// CTL-70, TRF-16
#[test]
fn ping_and_pong_take_turns() {
    let mut world = cluster(
        rollout("web")
            .replicas(4)
            .canary([weight(40), pause()])
            .routed(json!({ "istio": { "virtualService": { "name": "web" } } }))
            .strategy(|canary| {
                canary.ping_pong = Some(PingPongSpec {
                    ping_service: "ping".to_owned(),
                    pong_service: "pong".to_owned(),
                });
            }),
    );
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-5dfb79b7ff (revision 1)
        ScalingReplicaSet Scaled up ReplicaSet web-5dfb79b7ff (revision 1) from 0 to 4
        RolloutUpdated Rollout updated to revision 1
        SwitchService Switched selector for service 'ping' from '' to '5dfb79b7ff'
        RolloutNotCompleted Rollout not completed, started update to revision 1 (5dfb79b7ff)
        RolloutCompleted Rollout completed update to revision 1 (5dfb79b7ff): Initial deploy
        TrafficWeightUpdated Traffic weight updated to 0
        step 2 pods 4/0 weight 0/100 Healthy"#]]
    .assert_eq(&traced(&mut world));
    world.set_image("web:v2");
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-84c5f745db (revision 2)
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 2
        RolloutUpdated Rollout updated to revision 2
        SwitchService Switched selector for service 'pong' from '' to '84c5f745db'
        RolloutNotCompleted Rollout not completed, started update to revision 2 (84c5f745db)
        TrafficWeightUpdated Traffic weight updated 
        TrafficWeightUpdated Traffic weight updated from 0 to 40
        RolloutStepCompleted Rollout step 1/2 completed (setWeight: 40)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 1 pods 2/4 weight 40/60 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 2/2 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
    world.promote();
    expect![[r#"
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 2 to 4
        RolloutStepCompleted Rollout step 2/2 completed (pause)
        TrafficWeightUpdated Traffic weight updated from 40 to 100
        RolloutCompleted Rollout completed update to revision 2 (84c5f745db): Completed all 2 canary steps
        TrafficWeightUpdated Traffic weight updated from 100 to 0
        step 2 pods 4/0+4 weight 0/100 Healthy
        waits: ScaleDownDelay ReplicaSet/web-5dfb79b7ff is kept for its scale-down delay"#]].assert_eq(&traced(&mut world));
    let last = world.routes.last().unwrap();
    assert_eq!(
        (last.stable_service.as_str(), last.canary_service.as_str()),
        ("pong", "ping")
    );
    world.advance(31);
    expect![[r#"
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 4 to 0
        step 2 pods 4/0 weight 0/100 Healthy"#]]
    .assert_eq(&traced(&mut world));
}

/// TRF-8, SE-16
#[test]
fn header_and_mirror_routes() {
    let steps: Vec<CanaryStep> = serde_json::from_value(json!([
        { "setWeight": 10 },
        { "setHeaderRoute": { "name": "by-agent",
            "match": [{ "headerName": "agent", "headerValue": { "exact": "beta" } }] } },
        { "setMirrorRoute": { "name": "shadow", "percentage": 35,
            "match": [{ "method": { "exact": "GET" } }] } },
        { "pause": {} },
    ]))
    .unwrap();
    let mut world = deployed(
        istio(rollout("web").replicas(4).canary(steps)).strategy(|canary| {
            let routing = canary.traffic_routing.as_mut().unwrap();
            routing.managed_routes =
                serde_json::from_value(json!([{ "name": "by-agent" }, { "name": "shadow" }]))
                    .unwrap();
        }),
    );
    world.set_image("web:v2");
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-84c5f745db (revision 2)
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 1
        RolloutUpdated Rollout updated to revision 2
        RolloutNotCompleted Rollout not completed, started update to revision 2 (84c5f745db)
        TrafficWeightUpdated Traffic weight updated 
        SwitchService Switched selector for service 'web-canary' from '5dfb79b7ff' to '84c5f745db'
        TrafficWeightUpdated Traffic weight updated from 0 to 10
        RolloutStepCompleted Rollout step 1/4 completed (setWeight: 10)
        RolloutStepCompleted Rollout step 2/4 completed (setHeaderRoute: by-agent)
        RolloutStepCompleted Rollout step 3/4 completed (setMirrorRoute: shadow)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 3 pods 1/4 weight 10/90 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 4/4 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
    let asked: Vec<String> = world
        .routes
        .iter()
        .map(|want| {
            format!(
                "{} header {} mirror {} remove {}",
                want.weight,
                want.header_route.is_some(),
                want.mirror_route.is_some(),
                want.remove_managed_routes || want.only_remove_managed_routes
            )
        })
        .collect();
    expect![[r#"
        0 header false mirror false remove true
        0 header false mirror false remove true
        0 header false mirror false remove true
        10 header false mirror false remove false
        10 header true mirror false remove false
        10 header false mirror true remove false
        10 header false mirror false remove false"#]]
    .assert_eq(&asked.join("\n"));
}

/// INV-1, FLT-31, SE-16: a route to the canary has a pod to lead to, from its first moment on, and until
/// it is taken away, even where the steps that set it were edited out.
#[test]
fn a_managed_route_has_a_pod() {
    let by_agent = json!([{ "headerName": "agent", "headerValue": { "exact": "beta" } }]);
    let steps =
        |list: serde_json::Value| -> Vec<CanaryStep> { serde_json::from_value(list).unwrap() };
    let mut world = deployed(
        istio(rollout("web").replicas(4).canary(steps(json!([
            { "setHeaderRoute": { "name": "by-agent", "match": by_agent } },
            { "pause": { "duration": 5 } },
            { "setCanaryScale": { "replicas": 0 } },
            { "pause": {} },
        ]))))
        .strategy(|canary| {
            let routing = canary.traffic_routing.as_mut().unwrap();
            routing.managed_routes =
                serde_json::from_value(json!([{ "name": "by-agent" }])).unwrap();
        }),
    );
    world.set_image("web:v2");
    world.settle();
    assert_eq!(
        world.line(),
        "step 1 pods 1/4 weight 0/100 Paused: CanaryPauseStep"
    );
    assert!(world.routes.iter().any(|want| want.header_route.is_some()));
    world.advance(6);
    world.settle();
    assert_eq!(
        world.line(),
        "step 3 pods 1/4 weight 0/100 Paused: CanaryPauseStep"
    );
    let asked = world.routes.len();
    world.edit(|rollout| {
        let canary = rollout.spec.strategy.canary.as_mut().unwrap();
        canary.steps = steps(json!([{ "setWeight": 0 }, { "pause": {} }]));
    });
    world.settle();
    assert!(
        world.routes[asked..]
            .iter()
            .any(|want| want.remove_managed_routes)
    );
    assert_eq!(
        world.line(),
        "step 1 pods 0/4 weight 0/100 Paused: CanaryPauseStep"
    );
}

/// INV-1, CTL-10: aborted and scaled at once, the pods that a managed route leads to outlive it.
#[test]
fn an_abort_takes_the_route_before_the_pods() {
    let by_agent = json!([{ "headerName": "agent", "headerValue": { "exact": "beta" } }]);
    let list: Vec<CanaryStep> = serde_json::from_value(json!([
        { "setHeaderRoute": { "name": "by-agent", "match": by_agent } },
        { "pause": {} },
    ]))
    .unwrap();
    let built = istio(rollout("web").replicas(4).canary(list)).strategy(|canary| {
        canary.dynamic_stable_scale = true;
        let routing = canary.traffic_routing.as_mut().unwrap();
        routing.managed_routes = serde_json::from_value(json!([{ "name": "by-agent" }])).unwrap();
    });
    let mut world = deployed(built);
    world.set_image("web:v2");
    world.settle();
    world.edit(|rollout| rollout.spec.replicas = Some(2));
    world.abort();
    let mut led = true;
    for _ in 0..10 {
        let asked = world.routes.len();
        let plan = world.step();
        led &= !world.routes[asked..]
            .iter()
            .any(|want| want.remove_managed_routes);
        let hash = world.now_status().current_pod_hash;
        let new = world
            .sets
            .values()
            .find(|set| set.pod_hash() == Some(&hash));
        assert!(!led || new.unwrap().spec.replicas > Some(0), "{plan:?}");
    }
    assert!(!led);
}

fn roles(world: &World) -> String {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for pod in world.pods.values() {
        let role = pod.labels.get("role").cloned().unwrap_or_default();
        let owner = pod.owner.trim_start_matches("uid-");
        *count.entry(format!("{owner} {role}")).or_default() += 1;
    }
    format!("{count:?}")
}

/// CTL-148
#[test]
fn ephemeral_metadata_follows_roles() {
    let role = |name: &str| {
        Some(PodTemplateMetadata {
            labels: BTreeMap::from([("role".to_owned(), name.to_owned())]),
            ..PodTemplateMetadata::default()
        })
    };
    let mut world = deployed(
        rollout("web")
            .replicas(4)
            .canary([weight(25), pause()])
            .strategy(|canary| {
                canary.canary_metadata = role("canary");
                canary.stable_metadata = role("stable");
            }),
    );
    expect![[r#"{"web-5dfb79b7ff stable": 4}"#]].assert_eq(&roles(&world));
    world.set_image("web:v2");
    world.settle();
    expect![[r#"{"web-5dfb79b7ff stable": 3, "web-84c5f745db canary": 1}"#]]
        .assert_eq(&roles(&world));
    world.promote();
    world.settle();
    expect![[r#"{"web-84c5f745db stable": 4}"#]].assert_eq(&roles(&world));
    let writes = world.writes;
    world.settle();
    assert_eq!(world.writes, writes, "INV-8");
}

/// CTL-132
#[test]
fn a_threshold_lets_steps_go_on() {
    let mut world = deployed(
        istio(rollout("web").replicas(10).canary([weight(50), pause()])).strategy(|canary| {
            canary.replica_progress_threshold = Some(ReplicaProgressThreshold {
                r#type: "Percent".to_owned(),
                value: 60,
            });
        }),
    );
    world.set_image("web:v2");
    world.step();
    world.play();
    world.step();
    // Three of five pods are available.
    for set in world
        .sets
        .values_mut()
        .filter(|set| set.spec.replicas == Some(5))
    {
        let status = set.status.get_or_insert_default();
        (
            status.replicas,
            status.ready_replicas,
            status.available_replicas,
        ) = (5, 3, 3);
    }
    world.step();
    expect!["step 1 pods 5/10 weight 50/50 Paused: CanaryPauseStep"].assert_eq(&world.line());
}

/// API-44, SE-20
#[test]
fn an_invalid_spec_is_a_condition() {
    let mut world = deployed(istio(
        rollout("web").replicas(4).canary([weight(25), pause()]),
    ));
    world
        .references
        .virtual_services
        .insert("web".to_owned(), None);
    expect![[r#"

        step 2 pods 4/0 weight 0/100 Degraded: InvalidSpec: The Rollout "web" is invalid: spec.strategy.canary.trafficRouting.istio.virtualService.name: Invalid value: "web": virtualservices.networking.istio.io "web" not found
        waits: InvalidSpec Rollout/web spec.strategy.canary.trafficRouting.istio.virtualService.name: Invalid value: "web": virtualservices.networking.istio.io "web" not found"#]].assert_eq(&traced(&mut world));
    let writes = world.writes;
    world.after(600);
    assert_eq!(world.writes, writes, "INV-8");
}

/// CTL-7, SE-33
#[test]
fn replicas_are_written_alone() {
    let mut world = cluster(
        rollout("web")
            .with(|r| r.spec.replicas = None)
            .canary([weight(25), pause()]),
    );
    let plan = world.step();
    assert_eq!(plan.actions.len(), 1);
    assert_eq!(world.rollout.spec.replicas, Some(1));
}

/// A step plugin is said to be missing, and waited for.
#[test]
fn plugin_steps_are_named() {
    let plugin: CanaryStep =
        serde_json::from_value(json!({ "plugin": { "name": "org/wait" } })).unwrap();
    let mut world = deployed(
        rollout("web")
            .replicas(4)
            .canary([weight(25), plugin, pause()]),
    );
    world.set_image("web:v2");
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-84c5f745db (revision 2)
        RolloutUpdated Rollout updated to revision 2
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 4 to 3
        RolloutNotCompleted Rollout not completed, started update to revision 2 (84c5f745db)
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 1
        RolloutStepCompleted Rollout step 1/3 completed (setWeight: 25)
        step 1 pods 1/3 Progressing: more replicas need to be updated
        waits: NotSupported Rollout/web step 2/3 is for the plugin "org/wait"; plugins of steps are not supported yet"#]].assert_eq(&traced(&mut world));
}

/// CTL-25
#[test]
fn old_replica_sets_are_deleted() {
    let mut world = deployed(
        rollout("web")
            .replicas(1)
            .canary([])
            .with(|r| r.spec.revision_history_limit = Some(2)),
    );
    for version in 2..8 {
        world.advance(60);
        world.set_image(&format!("web:v{version}"));
        world.settle();
    }
    assert_eq!(world.sets.len(), 3);
    assert_eq!(world.now_status().phase.as_str(), "Healthy");
}

/// CTL-126: pods are read only for a restart whose moment has passed and that is not over.
#[test]
fn pods_are_read_for_a_restart_alone() {
    let mut world = deployed(rollout("web").replicas(2).canary([weight(50), pause()]));
    let needed = |world: &World| crate::decide::needs_pods(&world.rollout, world.now);
    assert!(!needed(&world));
    world.edit(|r| r.spec.restart_at = Some(at(50).into()));
    world.advance(50);
    assert!(!needed(&world), "not before the next moment");
    world.advance(1);
    assert!(needed(&world));
    world.status(|status| status.restarted_at = Some(at(40).into()));
    assert!(needed(&world), "another restart was carried out");
    world.status(|status| status.restarted_at = Some(at(50).into()));
    assert!(!needed(&world));
}
