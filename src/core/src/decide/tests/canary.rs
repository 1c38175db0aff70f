//! Basic canaries.

use expect_test::expect;

use super::{deployed, traced};
use crate::testing::world::World;
use crate::testing::{pause, pause_for, rollout, weight};

/// CTL-22, CTL-96
#[test]
fn the_first_deploy_is_stable_at_once() {
    let mut world = World::new(rollout("web").replicas(4).canary([weight(25), pause()]));
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-5dfb79b7ff (revision 1)
        ScalingReplicaSet Scaled up ReplicaSet web-5dfb79b7ff (revision 1) from 0 to 4
        RolloutUpdated Rollout updated to revision 1
        RolloutNotCompleted Rollout not completed, started update to revision 1 (5dfb79b7ff)
        RolloutCompleted Rollout completed update to revision 1 (5dfb79b7ff): Initial deploy
        step 2 pods 4/0 Healthy"#]]
    .assert_eq(&traced(&mut world));
}

/// CTL-33, CTL-90, CTL-95, CTL-125
#[test]
fn steps_pause_and_promote() {
    let mut world = deployed(rollout("web").replicas(4).canary([
        weight(25),
        pause(),
        weight(50),
        pause_for(10),
    ]));
    world.set_image("web:v2");
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-84c5f745db (revision 2)
        RolloutUpdated Rollout updated to revision 2
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 4 to 3
        RolloutNotCompleted Rollout not completed, started update to revision 2 (84c5f745db)
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 1
        RolloutStepCompleted Rollout step 1/4 completed (setWeight: 25)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 1 pods 1/3 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 2/4 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
    world.promote();
    expect![[r#"
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 3 to 2
        RolloutStepCompleted Rollout step 2/4 completed (pause)
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 1 to 2
        RolloutStepCompleted Rollout step 3/4 completed (setWeight: 50)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 3 pods 2/2 Paused: CanaryPauseStep
        waits: Paused Rollout/web step 4/4 pauses for 10 s"#]]
    .assert_eq(&traced(&mut world));
    world.advance(9);
    expect![[r#"

        step 3 pods 2/2 Paused: CanaryPauseStep
        waits: Paused Rollout/web step 4/4 pauses for 10 s"#]]
    .assert_eq(&traced(&mut world));
    world.advance(2);
    expect![[r#"
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 2 to 1
        RolloutStepCompleted Rollout step 4/4 completed (pause: 10)
        RolloutResumed Rollout is resumed
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 2 to 4
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 1 to 0
        RolloutCompleted Rollout completed update to revision 2 (84c5f745db): Completed all 4 canary steps
        step 4 pods 4/0 Healthy"#]].assert_eq(&traced(&mut world));
    expect!["0/3 1/3 1/2 2/2 2/1 4/1 4/0"].assert_eq(&world.sizes.join(" "));
}

/// CTL-136, CTL-139, CTL-125
#[test]
fn abort_and_retry() {
    let mut world = deployed(rollout("web").replicas(4).canary([weight(25), pause()]));
    world.set_image("web:v2");
    world.settle();
    world.told();
    world.advance(1);
    world.abort();
    expect![[r#"
        ScalingReplicaSet Scaled up ReplicaSet web-5dfb79b7ff (revision 1) from 3 to 4
        RolloutAborted Rollout aborted update to revision 2
        ScalingReplicaSet Scaled down ReplicaSet web-84c5f745db (revision 2) from 1 to 0
        step 0 pods 0/4 Degraded: RolloutAborted: Rollout aborted update to revision 2
        waits: Aborted Rollout/web the update to revision 2 is aborted"#]]
    .assert_eq(&traced(&mut world));
    world.retry();
    expect![[r#"
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 4 to 3
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 1
        RolloutStepCompleted Rollout step 1/2 completed (setWeight: 25)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 1 pods 1/3 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 2/2 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
    world.promote_full();
    expect![[r#"
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 3 to 2
        RolloutResumed Rollout is resumed
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 1 to 3
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 2 to 0
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 3 to 4
        RolloutCompleted Rollout completed update to revision 2 (84c5f745db): Full promotion requested
        step 2 pods 4/0 Healthy"#]].assert_eq(&traced(&mut world));
}

/// CTL-72: going back to stable needs no steps.
#[test]
fn undo_skips_the_steps() {
    let mut world = deployed(rollout("web").replicas(4).canary([weight(25), pause()]));
    world.set_image("web:v2");
    world.settle();
    world.told();
    world.set_image("web:v1");
    expect![[r#"
        RolloutUpdated Rollout updated to revision 3
        ScalingReplicaSet Scaled up ReplicaSet web-5dfb79b7ff (revision 3) from 3 to 4
        SkipSteps Rollback to stable ReplicaSets
        RolloutResumed Rollout is resumed
        ScalingReplicaSet Scaled down ReplicaSet web-84c5f745db (revision 2) from 1 to 0
        step 2 pods 4/0 Healthy"#]]
    .assert_eq(&traced(&mut world));
}

/// FLT-18: an abort with nothing in progress changes nothing.
#[test]
fn abort_at_rest_is_a_no_op() {
    let mut world = deployed(rollout("web").replicas(4).canary([weight(25), pause()]));
    world.abort();
    expect![[r#"

        step 2 pods 4/0 Healthy"#]]
    .assert_eq(&traced(&mut world));
}

/// CTL-34: sizes of updates whose pods are available at once.
#[test]
fn trajectories() {
    for (replicas, to, surge, unavailable, sizes) in [
        (10, 10, "25%", "25%", "0/9 1/9"),
        (10, 50, "2", "0", "2/10 2/8 4/8 4/6 5/6 5/5"),
        (3, 50, "0", "1", "0/2 1/2 1/1 2/1"),
    ] {
        let number = |text: &str| match text.parse() {
            Ok(number) => sluice_crds::IntOrString::Int(number),
            Err(_) => sluice_crds::IntOrString::String(text.to_owned()),
        };
        let mut world = deployed(
            rollout("web")
                .replicas(replicas)
                .canary([weight(to), pause()])
                .strategy(|c| {
                    c.max_surge = Some(number(surge));
                    c.max_unavailable = Some(number(unavailable));
                }),
        );
        world.set_image("web:v2");
        world.settle();
        assert_eq!(
            world.sizes.join(" "),
            sizes,
            "{replicas} {to} {surge} {unavailable}"
        );
    }
}

/// INV-8
#[test]
fn rest_writes_nothing() {
    let mut world = deployed(rollout("web").replicas(4).canary([weight(25), pause()]));
    world.set_image("web:v2");
    world.settle();
    let writes = world.writes;
    world.after(3600);
    assert_eq!(world.writes, writes);
}

/// INV-15: pods that never come.
#[test]
fn broken_pods_are_named() {
    let mut world = deployed(rollout("web").replicas(4).canary([weight(25), pause()]));
    world.broken.insert("web:bad".to_owned());
    world.set_image("web:bad");
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-b4d5d786c (revision 2)
        RolloutUpdated Rollout updated to revision 2
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 4 to 3
        RolloutNotCompleted Rollout not completed, started update to revision 2 (b4d5d786c)
        ScalingReplicaSet Scaled up ReplicaSet web-b4d5d786c (revision 2) from 0 to 1
        step 0 pods 1/3 Progressing: more replicas need to be updated
        waits: PodsNotAvailable ReplicaSet/web-b4d5d786c setWeight 25 waits for the canary: 0 of 1 pods available"#]].assert_eq(&traced(&mut world));
    world.advance(700);
    expect![[r#"

        step 0 pods 1/3 Degraded: ProgressDeadlineExceeded: ReplicaSet "web-b4d5d786c" has timed out progressing.
        waits: PodsNotAvailable ReplicaSet/web-b4d5d786c setWeight 25 waits for the canary: 0 of 1 pods available"#]].assert_eq(&traced(&mut world));
}
