//! Canaries with traffic routing.

use expect_test::expect;

use super::{deployed, istio, traced};
use crate::testing::world::World;
use crate::testing::{pause, rollout, scale, weight};

/// CTL-64, CTL-154, TRF-11
#[test]
fn weights_follow_pods() {
    let mut world = deployed(istio(rollout("web").replicas(4).canary([
        weight(10),
        weight(30),
        pause(),
        scale(4),
        weight(60),
        pause(),
    ])));
    world.set_image("web:v2");
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-84c5f745db (revision 2)
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 1
        RolloutUpdated Rollout updated to revision 2
        RolloutNotCompleted Rollout not completed, started update to revision 2 (84c5f745db)
        TrafficWeightUpdated Traffic weight updated 
        SwitchService Switched selector for service 'web-canary' from '5dfb79b7ff' to '84c5f745db'
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 1 to 2
        TrafficWeightUpdated Traffic weight updated from 0 to 10
        RolloutStepCompleted Rollout step 1/6 completed (setWeight: 10)
        TrafficWeightUpdated Traffic weight updated from 10 to 30
        RolloutStepCompleted Rollout step 2/6 completed (setWeight: 30)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 2 pods 2/4 weight 30/70 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 3/6 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
    world.promote();
    expect![[r#"
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 2 to 4
        RolloutStepCompleted Rollout step 3/6 completed (pause)
        RolloutStepCompleted Rollout step 4/6 completed (setCanaryScale{replicas: 4})
        TrafficWeightUpdated Traffic weight updated from 30 to 60
        RolloutStepCompleted Rollout step 5/6 completed (setWeight: 60)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 5 pods 4/4 weight 60/40 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 6/6 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
    world.promote();
    expect![[r#"
        SwitchService Switched selector for service 'web-stable' from '5dfb79b7ff' to '84c5f745db'
        RolloutStepCompleted Rollout step 6/6 completed (pause)
        TrafficWeightUpdated Traffic weight updated from 60 to 100
        RolloutCompleted Rollout completed update to revision 2 (84c5f745db): Completed all 6 canary steps
        TrafficWeightUpdated Traffic weight updated from 100 to 0
        step 6 pods 4/0+4 weight 0/100 Healthy
        waits: ScaleDownDelay ReplicaSet/web-5dfb79b7ff is kept for its scale-down delay"#]].assert_eq(&traced(&mut world));
    world.advance(31);
    expect![[r#"
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 4 to 0
        step 6 pods 4/0 weight 0/100 Healthy"#]]
    .assert_eq(&traced(&mut world));
}

/// CTL-68, SE-2, SE-6
#[test]
fn abort_takes_traffic_back_first() {
    let mut world = deployed(istio(
        rollout("web").replicas(4).canary([weight(50), pause()]),
    ));
    world.set_image("web:v2");
    world.settle();
    world.told();
    world.abort();
    expect![[r#"
        SwitchService Switched selector for service 'web-canary' from '84c5f745db' to '5dfb79b7ff'
        TrafficWeightUpdated Traffic weight updated from 50 to 0
        RolloutAborted Rollout aborted update to revision 2
        step 0 pods 2/4 weight 0/100 Degraded: RolloutAborted: Rollout aborted update to revision 2
        waits: ScaleDownDelay ReplicaSet/web-84c5f745db is kept up after the abort
        waits: Aborted Rollout/web the update to revision 2 is aborted"#]]
    .assert_eq(&traced(&mut world));
    world.advance(31);
    expect![[r#"
        ScalingReplicaSet Scaled down ReplicaSet web-84c5f745db (revision 2) from 2 to 0
        step 0 pods 0/4 weight 0/100 Degraded: RolloutAborted: Rollout aborted update to revision 2
        waits: Aborted Rollout/web the update to revision 2 is aborted"#]]
    .assert_eq(&traced(&mut world));
    world.retry();
    expect![[r#"
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 2
        SwitchService Switched selector for service 'web-canary' from '5dfb79b7ff' to '84c5f745db'
        TrafficWeightUpdated Traffic weight updated from 0 to 50
        RolloutStepCompleted Rollout step 1/2 completed (setWeight: 50)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 1 pods 2/4 weight 50/50 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 2/2 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
    world.promote_full();
    expect![[r#"
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 2 to 4
        RolloutResumed Rollout is resumed
        SwitchService Switched selector for service 'web-stable' from '5dfb79b7ff' to '84c5f745db'
        RolloutCompleted Rollout completed update to revision 2 (84c5f745db): Full promotion requested
        TrafficWeightUpdated Traffic weight updated from 50 to 0
        step 2 pods 4/0+4 weight 0/100 Healthy
        waits: ScaleDownDelay ReplicaSet/web-5dfb79b7ff is kept for its scale-down delay"#]].assert_eq(&traced(&mut world));
}

/// CTL-60, CTL-65
#[test]
fn stable_shrinks_with_its_traffic() {
    let mut world = deployed(
        istio(
            rollout("web")
                .replicas(4)
                .canary([weight(25), pause(), weight(50), pause()]),
        )
        .strategy(|c| c.dynamic_stable_scale = true),
    );
    world.set_image("web:v2");
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-84c5f745db (revision 2)
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 1
        RolloutUpdated Rollout updated to revision 2
        RolloutNotCompleted Rollout not completed, started update to revision 2 (84c5f745db)
        TrafficWeightUpdated Traffic weight updated 
        SwitchService Switched selector for service 'web-canary' from '5dfb79b7ff' to '84c5f745db'
        TrafficWeightUpdated Traffic weight updated from 0 to 25
        RolloutStepCompleted Rollout step 1/4 completed (setWeight: 25)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 1 pods 1/4 weight 25/75 Paused: CanaryPauseStep
        waits: ScaleDownDelay ReplicaSet/web-5dfb79b7ff keeps 4 pods until the routes that took traffic off them are in force everywhere
        waits: NeedsPromotion Rollout/web step 2/4 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
    world.promote();
    expect![[r#"
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 1 to 2
        RolloutStepCompleted Rollout step 2/4 completed (pause)
        TrafficWeightUpdated Traffic weight updated from 25 to 50
        RolloutStepCompleted Rollout step 3/4 completed (setWeight: 50)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 3 pods 2/4 weight 50/50 Paused: CanaryPauseStep
        waits: ScaleDownDelay ReplicaSet/web-5dfb79b7ff keeps 4 pods until the routes that took traffic off them are in force everywhere
        waits: NeedsPromotion Rollout/web step 4/4 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
    world.abort();
    expect![[r#"
        SwitchService Switched selector for service 'web-canary' from '84c5f745db' to '5dfb79b7ff'
        TrafficWeightUpdated Traffic weight updated from 50 to 25
        RolloutAborted Rollout aborted update to revision 2
        TrafficWeightUpdated Traffic weight updated from 25 to 0
        step 0 pods 2/4 weight 0/100 Degraded: RolloutAborted: Rollout aborted update to revision 2
        waits: ScaleDownDelay ReplicaSet/web-84c5f745db keeps 2 pods until the routes that took traffic off them are in force everywhere
        waits: Aborted Rollout/web the update to revision 2 is aborted"#]]
    .assert_eq(&traced(&mut world));
    expect!["1/4 2/4"].assert_eq(&world.sizes.join(" "));
}

/// CTL-71, FLT-5, FLT-8: weight goes to 0 on the old canary before the hash moves; the superseded
/// version keeps its pods for the delay (SE-9).
#[test]
fn a_third_version_takes_over() {
    let mut world = deployed(istio(
        rollout("web").replicas(4).canary([weight(50), pause()]),
    ));
    world.set_image("web:v2");
    world.settle();
    world.told();
    world.routes.clear();
    world.set_image("web:v3");
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-79589fdb97 (revision 3)
        ScalingReplicaSet Scaled up ReplicaSet web-79589fdb97 (revision 3) from 0 to 2
        RolloutUpdated Rollout updated to revision 3
        RolloutResumed Rollout is resumed
        TrafficWeightUpdated Traffic weight updated from 50 to 0
        SwitchService Switched selector for service 'web-canary' from '84c5f745db' to '79589fdb97'
        TrafficWeightUpdated Traffic weight updated from 0 to 50
        RolloutStepCompleted Rollout step 1/2 completed (setWeight: 50)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 1 pods 2/4+2 weight 50/50 Paused: CanaryPauseStep
        waits: ScaleDownDelay ReplicaSet/web-84c5f745db is kept for its scale-down delay
        waits: NeedsPromotion Rollout/web step 2/2 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
    let asked = world.routes.iter().map(|want| {
        format!(
            "{} {} before hash {}",
            want.weight, want.canary_hash, want.weight_before_hash
        )
    });
    expect![[r#"
        0 79589fdb97 before hash true
        50 79589fdb97 before hash false"#]]
    .assert_eq(&asked.collect::<Vec<_>>().join("\n"));
}

/// FLT-6: with `dynamicStableScale` nothing moves to stable before that has the pods.
#[test]
fn a_third_version_waits_for_stable() {
    let mut world = deployed(
        istio(rollout("web").replicas(4).canary([weight(75), pause()]))
            .strategy(|canary| canary.dynamic_stable_scale = true),
    );
    world.set_image("web:v2");
    world.settle();
    world.after(30);
    world.told();
    world.routes.clear();
    world.set_image("web:v3");
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-79589fdb97 (revision 3)
        RolloutUpdated Rollout updated to revision 3
        ScalingReplicaSet Scaled up ReplicaSet web-5dfb79b7ff (revision 1) from 1 to 4
        RolloutResumed Rollout is resumed
        TrafficWeightUpdated Traffic weight updated from 75 to 50
        ScalingReplicaSet Scaled up ReplicaSet web-79589fdb97 (revision 3) from 0 to 3
        TrafficWeightUpdated Traffic weight updated from 50 to 0
        SwitchService Switched selector for service 'web-canary' from '84c5f745db' to '79589fdb97'
        TrafficWeightUpdated Traffic weight updated from 0 to 75
        RolloutStepCompleted Rollout step 1/2 completed (setWeight: 75)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 1 pods 3/4+3 weight 75/25 Paused: CanaryPauseStep
        waits: ScaleDownDelay ReplicaSet/web-5dfb79b7ff keeps 4 pods until the routes that took traffic off them are in force everywhere
        waits: ScaleDownDelay ReplicaSet/web-84c5f745db is kept for its scale-down delay
        waits: NeedsPromotion Rollout/web step 2/2 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
    let asked = world.routes.iter().map(|want| {
        format!(
            "{} {} before hash {}",
            want.weight, want.canary_hash, want.weight_before_hash
        )
    });
    expect![[r#"
        50 84c5f745db before hash true
        0 79589fdb97 before hash true
        75 79589fdb97 before hash false"#]]
    .assert_eq(&asked.collect::<Vec<_>>().join("\n"));
}

/// INV-3, FLT-11: a router that does not confirm holds steps and promotion.
#[test]
fn unconfirmed_weights_are_waited_for() {
    let mut world = deployed(
        istio(rollout("web").replicas(4).canary([weight(50), pause()]))
            .with(|r| r.metadata.namespace = Some("shop".to_owned())),
    );
    world.verification = crate::traffic::Verification::NotVerified;
    world.set_image("web:v2");
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-84c5f745db (revision 2)
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 2
        RolloutUpdated Rollout updated to revision 2
        RolloutNotCompleted Rollout not completed, started update to revision 2 (84c5f745db)
        TrafficWeightUpdated Traffic weight updated 
        SwitchService Switched selector for service 'web-canary' from '5dfb79b7ff' to '84c5f745db'
        step 0 pods 2/4 weight 0/100 Progressing: more replicas need to be updated
        waits: TrafficUnconfirmed Rollout/web the router has not confirmed weight 0 yet
        waits: TrafficUnconfirmed Rollout/web setWeight 50 is done once the router confirms it"#]]
    .assert_eq(&traced(&mut world));
    world.verification = crate::traffic::Verification::Verified;
    expect![[r#"
        TrafficWeightUpdated Traffic weight updated from 0 to 50
        RolloutStepCompleted Rollout step 1/2 completed (setWeight: 50)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 1 pods 2/4 weight 50/50 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 2/2 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
}

/// CTL-96: scaled to zero, weights are no obstacle.
#[test]
fn steps_go_on_without_pods() {
    let mut world = deployed(istio(
        rollout("web").replicas(0).canary([weight(50), pause()]),
    ));
    world.set_image("web:v2");
    world.settle();
    assert_eq!(world.now_status().current_step_index, Some(1));
    world.promote();
    world.settle();
    assert_eq!(world.now_status().phase.as_str(), "Healthy");
}

/// CTL-61, INV-3, INV-15: a step to a smaller share takes traffic away first, and pods once that is sure
/// to be in force everywhere; the step itself does not wait for that.
#[test]
fn a_smaller_weight_comes_before_fewer_pods() {
    let mut world = deployed(istio(rollout("web").replicas(6).canary([
        weight(99),
        pause(),
        weight(48),
        pause(),
    ])));
    world.set_image("web:v2");
    world.settle();
    world.promote();
    world.settle();
    expect!["step 3 pods 6/6 weight 48/52 Paused: CanaryPauseStep"].assert_eq(&world.line());
    world.after(29);
    expect!["step 3 pods 6/6 weight 48/52 Paused: CanaryPauseStep"].assert_eq(&world.line());
    world.after(1);
    expect!["step 3 pods 3/6 weight 48/52 Paused: CanaryPauseStep"].assert_eq(&world.line());
    let hash = world.now_status().current_pod_hash;
    let notes = world.set_of(&hash).unwrap().metadata.annotations.as_ref();
    assert!(
        !notes
            .unwrap()
            .contains_key(sluice_crds::keys::SCALE_DOWN_DEADLINE)
    );
}

/// SE-16, INV-15: a header route for a canary that is to have no pods yet cannot be set, and does
/// not hold the update.
#[test]
fn a_header_route_without_pods_to_route_to_passes() {
    let header = serde_json::json!({ "setHeaderRoute": {
        "name": "by-header",
        "match": [{ "headerName": "x", "headerValue": { "exact": "1" } }],
    } });
    let header = serde_json::from_value(header).unwrap();
    let mut world = deployed(
        istio(
            rollout("web")
                .replicas(2)
                .canary([header, weight(50), pause()]),
        )
        .strategy(|canary| {
            let managed = serde_json::json!([{ "name": "by-header" }]);
            let routing = canary.traffic_routing.as_mut().unwrap();
            routing.managed_routes = serde_json::from_value(managed).unwrap();
        }),
    );
    world.set_image("web:v2");
    world.settle();
    expect!["step 2 pods 1/2 weight 50/50 Paused: CanaryPauseStep"].assert_eq(&world.line());
}

/// FLT-10, FLT-15: where a router can tell, the members of a Service and its weight do not change at
/// once, neither after a promotion nor in an abort.
#[test]
fn members_and_weight_take_turns() {
    use crate::traffic::Verification::{NotVerified, Verified};
    let steps = [weight(50), pause()];
    let mut world = deployed(istio(rollout("web").replicas(4).canary(steps)));
    world.verification = Verified;
    world.set_image("web:v2");
    world.settle();
    world.promote();
    let v2 = world.now_status().current_pod_hash;
    let share = |world: &World| world.now_status().canary.weights.unwrap().canary.weight;
    let selected = |world: &World, name: &str| world.services[name].pod_hash() == v2;
    for _ in 0..20 {
        world.play();
        world.step();
        if selected(&world, "web-stable") {
            break;
        }
    }
    assert!(selected(&world, "web-stable"));
    world.verification = NotVerified;
    for _ in 0..5 {
        world.step();
        world.play();
        assert_eq!(share(&world), 100, "{}", world.line());
    }
    assert_eq!(world.now_status().stable_rs, v2);
    assert_eq!(world.size_text(), "4/0+4");
    world.verification = Verified;
    world.settle();
    assert_eq!(share(&world), 0);

    world.set_image("web:v3");
    world.settle();
    assert_eq!(share(&world), 50);
    world.verification = NotVerified;
    world.abort();
    world.settle();
    assert_eq!(share(&world), 0);
    assert!(
        !selected(&world, "web-canary"),
        "its pods still get requests"
    );
    world.verification = Verified;
    world.settle();
    assert!(selected(&world, "web-canary"));
}
