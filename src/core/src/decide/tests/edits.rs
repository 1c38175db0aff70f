//! Steps and settings, and what edits in the middle of an update do to them.

use expect_test::expect;
use serde_json::{Value, json};
use sluice_crds::rollout::{CanaryStep, ReplicaProgressThreshold, RollbackWindowSpec};

use super::{cluster, deployed, istio, traced};
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, pause, pause_for, rollout, scale, weight};

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
    let rule = json!({ "name": "web", "canarySubsetName": "canary", "stableSubsetName": "stable" });
    let routing = json!({ "istio": {
        "virtualService": { "name": "web", "routes": ["primary"] }, "destinationRule": rule } });
    let built = rollout("web")
        .replicas(4)
        .canary([weight(50), pause()])
        .routed(routing);
    let mut world = cluster(built);
    let subset = |name: &str| json!({ "destination": { "host": "web", "subset": name } });
    let route = [subset("canary"), subset("stable")];
    let vs = json!({ "spec": { "http": [ { "name": "primary", "route": route } ] } });
    world
        .references
        .virtual_services
        .insert("web".to_owned(), Some(vs));
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
