//! Blue-green.

use expect_test::expect;

use super::{deployed, traced};
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, rollout};

fn manual() -> RolloutBuilder {
    rollout("web")
        .replicas(3)
        .blue_green("active", "preview")
        .with(|r| {
            let spec = r.spec.strategy.blue_green.as_mut().unwrap();
            spec.auto_promotion_enabled = Some(false);
            spec.preview_replica_count = Some(2);
        })
}

/// CTL-122
#[test]
fn promoted_by_hand() {
    let mut world = World::new(manual());
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-5dfb79b7ff (revision 1)
        ScalingReplicaSet Scaled up ReplicaSet web-5dfb79b7ff (revision 1) from 0 to 3
        RolloutUpdated Rollout updated to revision 1
        SwitchService Switched selector for service 'preview' from '' to '5dfb79b7ff'
        RolloutCompleted Rollout completed update to revision 1 (5dfb79b7ff): Initial deploy
        SwitchService Switched selector for service 'active' from '' to '5dfb79b7ff'
        step - pods 3/0 Healthy"#]]
    .assert_eq(&traced(&mut world));
    world.set_image("web:v2");
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-84c5f745db (revision 2)
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 2
        RolloutUpdated Rollout updated to revision 2
        SwitchService Switched selector for service 'preview' from '5dfb79b7ff' to '84c5f745db'
        RolloutNotCompleted Rollout not completed, started update to revision 2 (84c5f745db)
        RolloutPaused Rollout is paused (BlueGreenPause)
        step - pods 2/3 Paused: BlueGreenPause
        waits: NeedsPromotion Rollout/web the new version is ready, the active service switches when promoted"#]].assert_eq(&traced(&mut world));
    world.promote();
    expect![[r#"
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 2 to 3
        SwitchService Switched selector for service 'active' from '5dfb79b7ff' to '84c5f745db'
        RolloutCompleted Rollout completed update to revision 2 (84c5f745db): Completed blue-green update
        step - pods 3/0+3 Healthy
        waits: ScaleDownDelay ReplicaSet/web-5dfb79b7ff is kept for its scale-down delay"#]].assert_eq(&traced(&mut world));
    world.advance(31);
    expect![[r#"
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 3 to 0
        step - pods 3/0 Healthy"#]]
    .assert_eq(&traced(&mut world));
}

/// CTL-68, CTL-114
#[test]
fn aborted_and_promoted_in_full() {
    let mut world = deployed(manual());
    world.set_image("web:v2");
    world.settle();
    world.told();
    world.abort();
    expect![[r#"
        RolloutAborted Rollout aborted update to revision 2
        step - pods 2/3 Degraded: RolloutAborted: Rollout aborted update to revision 2
        waits: ScaleDownDelay ReplicaSet/web-84c5f745db is kept up after the abort
        waits: Aborted Rollout/web the update to revision 2 is aborted"#]]
    .assert_eq(&traced(&mut world));
    world.advance(31);
    expect![[r#"
        ScalingReplicaSet Scaled down ReplicaSet web-84c5f745db (revision 2) from 2 to 0
        step - pods 0/3 Degraded: RolloutAborted: Rollout aborted update to revision 2
        waits: Aborted Rollout/web the update to revision 2 is aborted"#]]
    .assert_eq(&traced(&mut world));
    world.retry();
    expect![[r#"
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 2
        RolloutPaused Rollout is paused (BlueGreenPause)
        step - pods 2/3 Paused: BlueGreenPause
        waits: NeedsPromotion Rollout/web the new version is ready, the active service switches when promoted"#]].assert_eq(&traced(&mut world));
    world.promote_full();
    expect![[r#"
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 2 to 3
        RolloutResumed Rollout is resumed
        SwitchService Switched selector for service 'active' from '5dfb79b7ff' to '84c5f745db'
        RolloutCompleted Rollout completed update to revision 2 (84c5f745db): Full promotion requested
        step - pods 3/0+3 Healthy
        waits: ScaleDownDelay ReplicaSet/web-5dfb79b7ff is kept for its scale-down delay"#]].assert_eq(&traced(&mut world));
}
