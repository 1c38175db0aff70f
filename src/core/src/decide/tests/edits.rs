//! Steps and settings, and what edits in the middle of an update do to them.

use expect_test::expect;
use serde_json::{Value, json};
use sluice_crds::rollout::{CanaryStep, RollbackWindowSpec};

use super::{deployed, istio, traced};
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, pause, pause_for, rollout, scale, weight};

mod traffic;

fn steps(steps: Value) -> Vec<CanaryStep> {
    serde_json::from_value(steps).unwrap()
}

fn set_steps(world: &mut World, steps: Vec<CanaryStep>) {
    world.edit(|r| r.spec.strategy.canary.as_mut().unwrap().steps = steps);
}

/// Size of the canary at the pause after each of these steps.
fn canary_sizes(rollout: RolloutBuilder, pauses: usize) -> String {
    let mut world = deployed(rollout);
    world.set_image("web:v2");
    let mut lines = Vec::new();
    for _ in 0..pauses {
        world.settle();
        lines.push(world.line());
        world.promote();
    }
    world.settle();
    lines.push(world.line());
    lines.join("\n")
}

/// CTL-46: every form of `setCanaryScale`, and how long it stays in force.
#[test]
fn canary_scale() {
    let steps = steps(json!([
        { "setCanaryScale": { "replicas": 3 } }, { "pause": {} },
        { "setWeight": 10 }, { "pause": {} },
        { "setCanaryScale": { "weight": 50 } }, { "pause": {} },
        { "setWeight": 20 }, { "pause": {} },
        { "setCanaryScale": { "matchTrafficWeight": true, "replicas": 7, "weight": 70 } }, { "pause": {} },
        { "setCanaryScale": { "replicas": 5, "weight": 70 } }, { "pause": {} },
        { "setCanaryScale": {} }, { "pause": {} },
        { "setCanaryScale": { "replicas": 0 } }, { "pause": {} },
    ]));
    let built = istio(rollout("web").replicas(10).canary(steps));
    expect![[r#"
        step 1 pods 3/10 weight 0/100 Paused: CanaryPauseStep
        step 3 pods 3/10 weight 10/90 Paused: CanaryPauseStep
        step 5 pods 5/10 weight 10/90 Paused: CanaryPauseStep
        step 7 pods 5/10 weight 20/80 Paused: CanaryPauseStep
        step 9 pods 2/10 weight 20/80 Paused: CanaryPauseStep
        step 11 pods 5/10 weight 20/80 Paused: CanaryPauseStep
        step 13 pods 2/10 weight 20/80 Paused: CanaryPauseStep
        step 15 pods 1/10 weight 20/80 Paused: CanaryPauseStep
        step 16 pods 10/0+10 weight 0/100 Healthy"#]]
    .assert_eq(&canary_sizes(built, 8));
}

/// CTL-60: `minPodsPerReplicaSet` on both sides, not above what there is to be.
#[test]
fn pods_have_a_lower_limit() {
    let with = |replicas, dynamic| {
        istio(
            rollout("web")
                .replicas(replicas)
                .canary([weight(5), pause(), weight(95), pause()]),
        )
        .strategy(|c| {
            c.min_pods_per_replica_set = Some(2);
            c.dynamic_stable_scale = dynamic;
        })
    };
    expect![[r#"
        step 1 pods 2/10 weight 5/95 Paused: CanaryPauseStep
        step 3 pods 10/10 weight 95/5 Paused: CanaryPauseStep
        step 4 pods 10/0+10 weight 0/100 Healthy"#]]
    .assert_eq(&canary_sizes(with(10, true), 2));
    expect![[r#"
        step 1 pods 2/10 weight 5/95 Paused: CanaryPauseStep
        step 3 pods 10/10 weight 95/5 Paused: CanaryPauseStep
        step 4 pods 10/0+10 weight 0/100 Healthy"#]]
    .assert_eq(&canary_sizes(with(10, false), 2));
    expect![[r#"
        step 1 pods 1/1 weight 5/95 Paused: CanaryPauseStep
        step 3 pods 1/1 weight 95/5 Paused: CanaryPauseStep
        step 4 pods 1/0+1 weight 0/100 Healthy"#]]
    .assert_eq(&canary_sizes(with(1, false), 2));
}

/// CTL-73: traffic stays where it is until all pods are there, then everything moves at once.
#[test]
fn promoted_in_full() {
    let mut world = deployed(istio(rollout("web").replicas(4).canary([
        weight(25),
        pause(),
        weight(50),
        pause(),
    ])));
    world.set_image("web:v2");
    world.settle();
    world.told();
    world.advance(20);
    world.startup = 20;
    world.promote_full();
    expect![[r#"
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 1 to 4
        RolloutResumed Rollout is resumed
        step 4 pods 4/4 weight 25/75 Progressing: waiting for all steps to complete
        waits: PodsNotAvailable ReplicaSet/web-84c5f745db the update ends once all pods are available: 1 of 4 pods available"#]].assert_eq(&traced(&mut world));
    assert!(world.now_status().promote_full);
    world.advance(21);
    expect![[r#"
        SwitchService Switched selector for service 'web-stable' from '5dfb79b7ff' to '84c5f745db'
        RolloutCompleted Rollout completed update to revision 2 (84c5f745db): Full promotion requested
        TrafficWeightUpdated Traffic weight updated from 25 to 0
        step 4 pods 4/0+4 weight 0/100 Healthy
        waits: ScaleDownDelay ReplicaSet/web-5dfb79b7ff is kept for its scale-down delay"#]].assert_eq(&traced(&mut world));
    assert!(!world.now_status().promote_full, "reset at the end");
    // At rest it is no wish that could lie in wait for the next update.
    world.promote_full();
    world.settle();
    assert!(!world.now_status().promote_full);
}

/// CTL-90: each step ends with an event in its words; nothing ends while `spec.paused`.
#[test]
fn steps_end_with_their_words() {
    let list = steps(json!([
        { "setCanaryScale": { "weight": 25 } },
        { "setHeaderRoute": { "name": "h" } },
        { "setMirrorRoute": { "name": "m" } },
        { "setCanaryScale": { "matchTrafficWeight": true } },
        { "setWeight": 25 },
        { "pause": { "duration": "5" } },
        { "pause": { "duration": "1m" } },
        { "setWeight": 50 },
    ]));
    let mut world = deployed(
        istio(rollout("web").replicas(4).canary(list)).strategy(|c| {
            let routing = c.traffic_routing.as_mut().unwrap();
            routing.managed_routes =
                serde_json::from_value(json!([{ "name": "h" }, { "name": "m" }])).unwrap();
        }),
    );
    world.set_image("web:v2");
    let mut text = String::new();
    for (seconds, paused) in [(0, false), (5, false), (1, true), (0, false), (61, false)] {
        world.advance(seconds);
        world.edit(|r| r.spec.paused = paused);
        world.settle();
        let ended = world
            .told()
            .into_iter()
            .filter(|line| line.starts_with("RolloutStep"));
        text.push_str(&ended.collect::<Vec<_>>().join("\n"));
        text.push_str(&format!("\n{}\n", world.line()));
    }
    expect![[r#"
        RolloutStepCompleted Rollout step 1/8 completed (setCanaryScale{weight: 25})
        RolloutStepCompleted Rollout step 2/8 completed (setHeaderRoute: h)
        RolloutStepCompleted Rollout step 3/8 completed (setMirrorRoute: m)
        RolloutStepCompleted Rollout step 4/8 completed (setCanaryScale{matchTrafficWeight: true})
        RolloutStepCompleted Rollout step 5/8 completed (setWeight: 25)
        step 5 pods 1/4 weight 25/75 Paused: CanaryPauseStep

        step 5 pods 1/4 weight 25/75 Paused: CanaryPauseStep

        step 5 pods 1/4 weight 25/75 Paused: manually paused
        RolloutStepCompleted Rollout step 6/8 completed (pause: 5)
        step 6 pods 1/4 weight 25/75 Paused: CanaryPauseStep
        RolloutStepCompleted Rollout step 7/8 completed (pause: 1m)
        RolloutStepCompleted Rollout step 8/8 completed (setWeight: 50)
        step 8 pods 4/0+4 weight 0/100 Healthy
    "#]]
    .assert_eq(&text);
}

/// SE-28: a wish to promote in full is about the version that it was said of.
#[test]
fn a_new_template_ends_the_wish_to_promote() {
    for built in [
        rollout("web").replicas(4).canary([weight(25), pause()]),
        rollout("web")
            .replicas(4)
            .blue_green("active", "preview")
            .with(|r| {
                r.spec
                    .strategy
                    .blue_green
                    .as_mut()
                    .unwrap()
                    .auto_promotion_enabled = Some(false);
            }),
    ] {
        let mut world = deployed(built);
        world.set_image("web:v2");
        world.settle();
        world.promote_full();
        world.set_image("web:v3");
        world.settle();
        assert_eq!(world.now_status().phase.as_str(), "Paused");
        assert!(!world.now_status().promote_full);
    }
}

/// CTL-91, SE-24: edited steps start the update over, pauses and abort forgotten; the pods stay.
#[test]
fn edited_steps_start_over() {
    let mut world = deployed(rollout("web").replicas(4).canary([weight(25), pause()]));
    world.set_image("web:v2");
    world.settle();
    world.told();
    set_steps(&mut world, vec![weight(50), pause()]);
    expect![[r#"
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 3 to 2
        RolloutResumed Rollout is resumed
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 1 to 2
        RolloutStepCompleted Rollout step 1/2 completed (setWeight: 50)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 1 pods 2/2 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 2/2 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
    world.abort();
    world.settle();
    world.told();
    set_steps(&mut world, vec![weight(75), pause()]);
    expect![[r#"
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 4 to 3
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 2
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 3 to 1
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 2 to 3
        RolloutStepCompleted Rollout step 1/2 completed (setWeight: 75)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 1 pods 3/1 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 2/2 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
    let status = world.now_status();
    assert!(!status.abort && status.aborted_at.is_none());
    set_steps(&mut world, vec![]);
    expect![[r#"
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 1 to 0
        RolloutResumed Rollout is resumed
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 3 to 4
        RolloutCompleted Rollout completed update to revision 2 (84c5f745db): Completed all 0 canary steps
        step - pods 4/0 Healthy"#]].assert_eq(&traced(&mut world));
    assert_eq!(world.now_status().current_step_index, None);
    // At rest it is no update, and no event.
    set_steps(&mut world, vec![weight(10), pause_for(5)]);
    expect![[r#"

        step 2 pods 4/0 Healthy"#]]
    .assert_eq(&traced(&mut world));
}

/// CTL-91, CTL-126: what a restart had to do is done by the new template; what is kept of the
/// previous restart goes with `restartAt`.
#[test]
fn a_new_template_ends_a_restart() {
    for built in [
        rollout("web").replicas(2).canary([weight(50), pause()]),
        rollout("web").replicas(2).blue_green("active", "preview"),
    ] {
        let mut world = deployed(built);
        let moment = Some(crate::testing::at(5).into());
        world.edit(|r| r.spec.restart_at = moment);
        world.advance(10);
        for pod in world.pods.values_mut() {
            pod.available = false; // no budget: the restart stays under way
        }
        world.set_image("web:v2");
        world.step();
        assert_eq!(world.now_status().restarted_at, moment);
        world.settle();
        world.edit(|r| r.spec.restart_at = None);
        world.set_image("web:v3");
        world.settle();
        assert_eq!(world.now_status().restarted_at, None);
    }
}

/// CTL-10: a canary step keeps its share when `spec.replicas` moves, also down to nothing and back.
#[test]
fn scaled_in_the_middle() {
    let mut world = deployed(istio(
        rollout("web").replicas(4).canary([weight(50), pause()]),
    ));
    world.set_image("web:v2");
    world.settle();
    let mut lines = vec![world.line()];
    for replicas in [10, 3, 0, 6] {
        world.edit(|r| r.spec.replicas = Some(replicas));
        world.settle();
        lines.push(format!("{replicas}: {}", world.line()));
    }
    world.promote();
    world.settle();
    lines.push(world.line());
    expect![[r#"
        step 1 pods 2/4 weight 50/50 Paused: CanaryPauseStep
        10: step 1 pods 5/10 weight 50/50 Paused: CanaryPauseStep
        3: step 1 pods 2/3 weight 50/50 Paused: CanaryPauseStep
        0: step 1 pods 0/0 weight 0/100 Paused: CanaryPauseStep
        6: step 1 pods 3/6 weight 50/50 Paused: CanaryPauseStep
        step 2 pods 6/0+6 weight 0/100 Healthy"#]]
    .assert_eq(&lines.join("\n"));
}

/// CTL-10: an aborted canary that is kept up stays as it is; stable follows.
#[test]
fn scaled_after_an_abort() {
    let mut world = deployed(istio(
        rollout("web").replicas(4).canary([weight(50), pause()]),
    ));
    world.set_image("web:v2");
    world.settle();
    world.abort();
    world.settle();
    world.edit(|r| r.spec.replicas = Some(6));
    world.settle();
    expect!["step 0 pods 2/6 weight 0/100 Degraded: RolloutAborted: Rollout aborted update to revision 2"].assert_eq(&world.line());
    let mut sets = world.sets.values();
    assert!(sets.all(|set| set.annotation("rollout.argoproj.io/desired-replicas") == Some("6")));
}

/// CTL-94: older than stable by creation, with fewer revisions in between than the window has.
#[test]
fn the_window_counts_revisions_in_between() {
    let back_to_first = |revisions: i32, versions: i32| {
        let mut world = deployed(
            rollout("web")
                .replicas(2)
                .canary([weight(50), pause()])
                .with(|r| r.spec.rollback_window = Some(RollbackWindowSpec { revisions })),
        );
        for version in 2..=versions {
            world.advance(60);
            world.set_image(&format!("web:v{version}"));
            world.settle();
            world.promote();
            world.settle();
        }
        world.advance(60);
        world.told();
        world.set_image("web:v1");
        world.settle();
        let told = world.told().join(" ");
        assert!(
            !told.contains("SkipSteps"),
            "without pods there is nothing to skip to (CTL-91)"
        );
        (
            world.now_status().phase.to_string(),
            told.contains("Rollback within window"),
        )
    };
    let paused = ("Paused".to_owned(), false);
    let skipped = ("Healthy".to_owned(), true);
    assert_eq!(back_to_first(0, 2), paused);
    assert_eq!(back_to_first(1, 2), skipped, "none in between");
    assert_eq!(back_to_first(1, 3), paused, "one in between");
    assert_eq!(back_to_first(2, 3), skipped);
    assert_eq!(back_to_first(2, 4), paused);
    assert_eq!(back_to_first(3, 4), skipped);
}

/// CTL-94: going forward again is no rollback.
#[test]
fn the_window_looks_back_only() {
    let mut world = deployed(
        rollout("web")
            .replicas(2)
            .canary([weight(50), pause()])
            .with(|r| r.spec.rollback_window = Some(RollbackWindowSpec { revisions: 5 })),
    );
    world.advance(60);
    world.set_image("web:v2");
    world.settle();
    assert_eq!(world.now_status().phase.as_str(), "Paused");
    world.promote();
    world.settle();
    world.set_image("web:v1");
    world.settle();
    assert_eq!(world.now_status().phase.as_str(), "Healthy");
    world.set_image("web:v2");
    world.settle();
    assert_eq!(world.now_status().phase.as_str(), "Paused");
}

/// CTL-95: an aborted update is not promoted, whatever its index; without steps all pods are enough.
#[test]
fn what_promotes() {
    let mut world = deployed(rollout("web").replicas(2).canary([]));
    world.set_image("web:v2");
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-84c5f745db (revision 2)
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 1
        RolloutUpdated Rollout updated to revision 2
        RolloutNotCompleted Rollout not completed, started update to revision 2 (84c5f745db)
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 2 to 1
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 1 to 2
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 1 to 0
        RolloutCompleted Rollout completed update to revision 2 (84c5f745db): Completed all 0 canary steps
        step - pods 2/0 Healthy"#]].assert_eq(&traced(&mut world));
    world.advance(10);
    world.startup = 10;
    world.set_image("web:v3");
    world.settle();
    world.abort();
    world.settle();
    world.advance(60);
    world.settle();
    assert_eq!(world.now_status().phase.as_str(), "Degraded");
    assert_eq!(world.now_status().current_step_index, None);
}

/// CTL-96: scaled to zero, a canary still gets the pods that a step names.
#[test]
fn named_pods_come_without_replicas() {
    let mut world = deployed(istio(
        rollout("web").replicas(0).canary([scale(2), pause()]),
    ));
    world.set_image("web:v2");
    world.settle();
    expect!["step 1 pods 2/0 weight 0/100 Paused: CanaryPauseStep"].assert_eq(&world.line());
}

/// CTL-138, SE-15: held by hand, a routed canary follows `spec.replicas` in proportion; alone, a
/// version simply has all pods.
#[test]
fn scaled_while_held() {
    let held = |dynamic: bool| {
        let mut world = deployed(
            istio(rollout("web").replicas(4).canary([weight(50), pause()]))
                .strategy(|c| c.dynamic_stable_scale = dynamic),
        );
        world.set_image("web:v2");
        world.settle();
        world.after(30);
        world.edit(|r| r.spec.paused = true);
        world.settle();
        let mut sizes = vec![world.size_text()];
        for replicas in [8, 6, 2] {
            world.edit(|r| r.spec.replicas = Some(replicas));
            world.settle();
            sizes.push(world.size_text());
        }
        sizes.join(" ")
    };
    assert_eq!(held(false), "2/4 4/8 3/6 1/2");
    assert_eq!(held(true), "2/2 4/4 3/3 1/1");
    let mut world = deployed(rollout("web").replicas(4).canary([weight(50), pause()]));
    world.edit(|r| r.spec.paused = true);
    world.edit(|r| r.spec.replicas = Some(7));
    world.settle();
    assert_eq!(world.size_text(), "7/0");
}
