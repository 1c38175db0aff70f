//! Canaries with traffic routing.

use expect_test::expect;
use serde_json::json;

use crate::testing::world::World;
use crate::testing::{RolloutBuilder, pause, rollout, scale, weight};

fn istio(rollout: RolloutBuilder) -> RolloutBuilder {
    rollout
        .routed(json!({ "istio": { "virtualService": { "name": "web", "routes": ["primary"] } } }))
        .strategy(|c| {
            c.canary_service = "web-canary".to_owned();
            c.stable_service = "web-stable".to_owned();
        })
}

fn deployed(rollout: RolloutBuilder) -> World {
    let mut world = World::new(rollout);
    let vs = json!({ "spec": { "http": [ { "name": "primary", "route": [
        { "destination": { "host": "web-canary" } }, { "destination": { "host": "web-stable" } } ] } ] } });
    world
        .references
        .virtual_services
        .insert("web".to_owned(), Some(vs));
    world.settle();
    world.told();
    world.sizes.clear();
    world
}

fn traced(world: &mut World) -> String {
    let plan = world.settle();
    let mut text = world.told().join("\n");
    text.push_str(&format!("\n{}", world.line()));
    for why in &plan.why {
        text.push_str(&format!(
            "\nwaits: {:?} {} {}",
            why.reason, why.object, why.message
        ));
    }
    text
}

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
        waits: NeedsPromotion Rollout/web step 2 pauses until the rollout is promoted"#]]
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
        waits: NeedsPromotion Rollout/web step 5 pauses until the rollout is promoted"#]]
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
        waits: NeedsPromotion Rollout/web step 1 pauses until the rollout is promoted"#]]
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
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 4 to 3
        step 1 pods 1/3 weight 25/75 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 1 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
    world.promote();
    expect![[r#"
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 1 to 2
        RolloutStepCompleted Rollout step 2/4 completed (pause)
        TrafficWeightUpdated Traffic weight updated from 25 to 50
        RolloutStepCompleted Rollout step 3/4 completed (setWeight: 50)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 3 to 2
        step 3 pods 2/2 weight 50/50 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 3 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
    world.abort();
    expect![[r#"
        ScalingReplicaSet Scaled up ReplicaSet web-5dfb79b7ff (revision 1) from 2 to 3
        RolloutAborted Rollout aborted update to revision 2
        TrafficWeightUpdated Traffic weight updated from 50 to 25
        ScalingReplicaSet Scaled down ReplicaSet web-84c5f745db (revision 2) from 2 to 1
        ScalingReplicaSet Scaled up ReplicaSet web-5dfb79b7ff (revision 1) from 3 to 4
        SwitchService Switched selector for service 'web-canary' from '84c5f745db' to '5dfb79b7ff'
        TrafficWeightUpdated Traffic weight updated from 25 to 0
        ScalingReplicaSet Scaled down ReplicaSet web-84c5f745db (revision 2) from 1 to 0
        step 0 pods 0/4 weight 0/100 Degraded: RolloutAborted: Rollout aborted update to revision 2
        waits: Aborted Rollout/web the update to revision 2 is aborted"#]]
    .assert_eq(&traced(&mut world));
    expect!["1/4 1/3 2/3 2/2 2/3 1/3 1/4 0/4"].assert_eq(&world.sizes.join(" "));
}
