//! Progress and its deadline, pauses and aborts, restarts, and when to look again.

use expect_test::expect;
use serde_json::json;
use sluice_crds::IntOrString;
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::rollout::PauseReason;

use super::{deployed, istio, traced};
use crate::plan::Action;
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, analysis, at, pause, pause_for, rollout, weight};

fn plain() -> RolloutBuilder {
    rollout("web").replicas(4).canary([weight(25), pause()])
}

/// Conditions in their order.
fn conditions(world: &World) -> String {
    let list = world.now_status().conditions;
    let texts = list
        .iter()
        .map(|c| format!("{} {} {}", c.r#type, c.status, c.reason));
    texts.collect::<Vec<_>>().join("\n")
}

/// CTL-130, CTL-139 and the order of the list: the life of an update.
#[test]
fn conditions_of_an_update() {
    let mut world = deployed(plain());
    let mut text = format!("at rest\n{}\n", conditions(&world));
    world.set_image("web:v2");
    world.settle();
    text.push_str(&format!("paused\n{}\n", conditions(&world)));
    world.abort();
    world.settle();
    text.push_str(&format!("aborted\n{}\n", conditions(&world)));
    world.retry();
    world.settle();
    text.push_str(&format!("retried\n{}\n", conditions(&world)));
    world.promote();
    world.settle();
    text.push_str(&format!("promoted\n{}\n", conditions(&world)));
    expect![[r#"
        at rest
        Completed True RolloutCompleted
        Healthy True RolloutHealthy
        Progressing True NewReplicaSetAvailable
        Available True AvailableReason
        paused
        Healthy False RolloutHealthy
        Completed False RolloutCompleted
        Available True AvailableReason
        Progressing Unknown RolloutPaused
        Paused True RolloutPaused
        aborted
        Healthy False RolloutHealthy
        Completed False RolloutCompleted
        Available True AvailableReason
        Paused True RolloutPaused
        Progressing False RolloutAborted
        retried
        Healthy False RolloutHealthy
        Completed False RolloutCompleted
        Available True AvailableReason
        Progressing Unknown RolloutPaused
        Paused True RolloutPaused
        promoted
        Paused False RolloutPaused
        Healthy True RolloutHealthy
        Progressing True NewReplicaSetAvailable
        Available True AvailableReason
        Completed True RolloutCompleted
    "#]]
    .assert_eq(&text);
}

/// CTL-131, CTL-134, CTL-160: one second after the deadline it is looked at again; what moves again
/// is well again.
#[test]
fn stuck_and_well_again() {
    let mut world = deployed(plain().with(|r| r.spec.progress_deadline_seconds = Some(60)));
    world.broken.insert("web:v2".to_owned());
    world.set_image("web:v2");
    let plan = world.settle();
    assert_eq!(plan.wake, Some(at(61)));
    world.after(60);
    assert_eq!(world.now_status().phase.as_str(), "Progressing");
    world.after(1);
    expect![[r#"step 0 pods 1/3 Degraded: ProgressDeadlineExceeded: ReplicaSet "web-84c5f745db" has timed out progressing."#]].assert_eq(&world.line());
    world.told();
    world.broken.clear();
    expect![[r#"
        RolloutStepCompleted Rollout step 1/2 completed (setWeight: 25)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 1 pods 1/3 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 2/2 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
}

/// CTL-133, CTL-139: a deadline may abort; once, and not a promoted Rollout.
#[test]
fn a_deadline_may_abort() {
    let limited = |r: &mut sluice_crds::Rollout| {
        r.spec.progress_deadline_seconds = Some(60);
        r.spec.progress_deadline_abort = true;
    };
    for built in [
        plain().with(limited),
        istio(plain()).with(limited),
        rollout("web")
            .replicas(4)
            .blue_green("active", "")
            .with(limited),
    ] {
        let mut world = deployed(built);
        world.broken.insert("web:v2".to_owned());
        world.set_image("web:v2");
        world.settle();
        world.told();
        world.advance(61);
        let told = traced(&mut world);
        let aborted: Vec<&str> = told
            .lines()
            .filter(|l| l.starts_with("RolloutAborted"))
            .collect();
        assert_eq!(
            aborted,
            [
                "RolloutAborted Rollout aborted update to revision 2: ReplicaSet \"web-84c5f745db\" has timed out progressing."
            ]
        );
        let status = world.now_status();
        assert!(status.abort && status.aborted_at == Some(at(61).into()));
        world.after(600);
        assert!(
            world
                .told()
                .iter()
                .all(|line| !line.starts_with("RolloutAborted"))
        );
        assert_eq!(
            world.now_status().aborted_at,
            Some(at(61).into()),
            "stamped once"
        );
    }
    // At rest a lost pod is no update that could be aborted.
    let mut world = deployed(plain().with(limited));
    world.broken.insert("web:v1".to_owned());
    world.settle();
    world.after(100);
    assert!(!world.now_status().abort);
    expect![[r#"step 2 pods 4/0 Degraded: ProgressDeadlineExceeded: ReplicaSet "web-5dfb79b7ff" has timed out progressing."#]].assert_eq(&world.line());
}

/// CTL-131: a step that takes its time, a pause and a running scale-down delay are no standstill.
#[test]
fn what_may_take_its_time() {
    let limited = |r: &mut sluice_crds::Rollout| {
        r.spec.progress_deadline_seconds = Some(60);
        r.spec.progress_deadline_abort = true;
    };
    for steps in [
        vec![weight(25), pause()],
        vec![weight(25), pause_for(7200)],
        vec![weight(25), analysis("errors")],
    ] {
        let mut world = deployed(rollout("web").replicas(4).canary(steps).with(limited));
        world.set_image("web:v2");
        world.settle();
        world.after(3600);
        assert_eq!(world.now_status().current_step_index, Some(1));
        assert!(!world.now_status().abort, "{}", world.line());
    }
    let mut world = deployed(
        istio(plain())
            .with(limited)
            .strategy(|c| c.scale_down_delay_seconds = Some(3000)),
    );
    world.set_image("web:v2");
    world.settle();
    world.promote();
    world.settle();
    world.broken.insert("web:v3".to_owned());
    world.set_image("web:v3");
    world.settle();
    world.after(2000);
    assert!(
        !world.now_status().abort,
        "an old version still waits for its deadline"
    );
    world.after(1001);
    world.after(61);
    assert!(world.now_status().abort);
}

/// CTL-136, CTL-137: reasons stand side by side, a resume clears what it is about, and the step goes
/// on although an inconclusive run had paused too.
#[test]
fn pauses_side_by_side() {
    let mut world = deployed(
        rollout("web")
            .replicas(4)
            .canary([weight(25), pause(), weight(50), pause()])
            .strategy(|c| {
                let background = json!({ "templates": [{ "templateName": "errors" }] });
                c.analysis = Some(serde_json::from_value(background).unwrap());
            }),
    );
    world.set_image("web:v2");
    world.settle();
    let run = world.runs.keys().next().cloned().unwrap();
    world.advance(5);
    world.end_run(&run, AnalysisPhase::Inconclusive, "");
    world.settle();
    let pauses = |world: &World| {
        let status = world.now_status();
        let list = status.pause_conditions.iter();
        let texts = list.map(|p| format!("{} {}", p.reason, p.start_time));
        format!(
            "{} {}",
            status.controller_pause,
            texts.collect::<Vec<_>>().join(", ")
        )
    };
    expect![
        "true CanaryPauseStep 2027-01-15T08:00:00Z, InconclusiveAnalysisRun 2027-01-15T08:00:05Z"
    ]
    .assert_eq(&pauses(&world));
    world.told();
    world.promote();
    expect![[r#"
        RolloutStepCompleted Rollout step 2/4 completed (pause)
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 3 to 2
        AnalysisRunRunning Background Analysis Run 'web-84c5f745db-2.1' Status New: 'Running' Previous: ''
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 1 to 2
        RolloutStepCompleted Rollout step 3/4 completed (setWeight: 50)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 3 pods 2/2 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 4/4 pauses until the rollout is promoted"#]].assert_eq(&traced(&mut world));
    expect!["true CanaryPauseStep 2027-01-15T08:00:05Z"].assert_eq(&pauses(&world));
    world.abort();
    world.settle();
    assert_eq!(pauses(&world), "false ", "an abort leaves no pause");
}

/// CTL-137, CTL-138: `spec.paused` freezes sizes and steps, and no pause of a step begins under it.
#[test]
fn paused_by_hand() {
    let mut world = deployed(
        rollout("web")
            .replicas(4)
            .canary([weight(25), pause_for(10)]),
    );
    world.edit(|r| r.spec.paused = true);
    world.settle();
    assert_eq!(world.line(), "step 2 pods 4/0 Paused: manually paused");
    world.set_image("web:v2");
    world.told();
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-84c5f745db (revision 2)
        RolloutUpdated Rollout updated to revision 2
        RolloutNotCompleted Rollout not completed, started update to revision 2 (84c5f745db)
        step 0 pods 0/4 Paused: manually paused
        waits: ManuallyPaused Rollout/web spec.paused is set: nothing goes on before it is lifted"#]]
    .assert_eq(&traced(&mut world));
    world.edit(|r| r.spec.paused = false);
    world.settle();
    world.told();
    world.edit(|r| r.spec.paused = true);
    world.settle();
    world.after(60);
    expect!["step 1 pods 1/3 Paused: manually paused"].assert_eq(&world.line());
    assert!(
        world
            .now_status()
            .pause_conditions
            .iter()
            .all(|p| p.reason == PauseReason::CanaryPauseStep)
    );
    world.edit(|r| r.spec.paused = false);
    world.settle();
    expect!["step 2 pods 4/0 Healthy"].assert_eq(&world.line());
}

/// CTL-125: a step index moved by hand counts as completed steps.
#[test]
fn a_step_is_skipped_by_hand() {
    let mut world = deployed(rollout("web").replicas(4).canary([
        weight(25),
        pause(),
        weight(50),
        pause(),
        weight(75),
    ]));
    world.set_image("web:v2");
    world.settle();
    world.told();
    world.status(|status| {
        status.pause_conditions.clear();
        status.controller_pause = false;
        status.current_step_index = Some(4);
    });
    expect![[r#"
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 3 to 2
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 1 to 3
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 2 to 1
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 1 to 0
        RolloutStepCompleted Rollout step 5/5 completed (setWeight: 75)
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 3 to 4
        RolloutCompleted Rollout completed update to revision 2 (84c5f745db): Completed all 5 canary steps
        step 5 pods 4/0 Healthy"#]].assert_eq(&traced(&mut world));
}

/// CTL-143, CTL-121: what autoscalers read.
#[test]
fn counters() {
    let read = |world: &World| {
        let s = world.now_status();
        format!(
            "replicas {} updated {} ready {} available {} hpa {} selector {}",
            s.replicas,
            s.updated_replicas,
            s.ready_replicas,
            s.available_replicas,
            s.hpa_replicas,
            s.selector
        )
    };
    let mut world = deployed(plain());
    world.set_image("web:v2");
    world.settle();
    expect!["replicas 4 updated 1 ready 4 available 4 hpa 4 selector app=web"]
        .assert_eq(&read(&world));
    let mut world = deployed(
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
    );
    world.set_image("web:v2");
    world.settle();
    expect!["replicas 8 updated 4 ready 4 available 4 hpa 4 selector app=web,rollouts-pod-template-hash=5dfb79b7ff"].assert_eq(&read(&world));
    let mut world = World::new(rollout("web").replicas(4).blue_green("active", "preview"));
    world.startup = 10;
    world.settle();
    expect!["replicas 4 updated 4 ready 0 available 0 hpa 4 selector app=web"]
        .assert_eq(&read(&world));
}

/// Restarts `world` and tells after each pass how many pods were evicted.
fn evictions(world: &mut World, passes: usize) -> String {
    let mut counts = Vec::new();
    for _ in 0..passes {
        world.play();
        let plan = world.step();
        let evicted = plan
            .actions
            .iter()
            .filter(|p| matches!(p.action, Action::EvictPod { .. }));
        counts.push(evicted.count().to_string());
        world.play();
        world.advance(2);
    }
    counts.join(" ")
}

/// CTL-126: `available - (max(R, wanted) - max(U, 1))` pods at a time.
#[test]
fn restarts_heed_the_budget() {
    let restarted = |built: RolloutBuilder, passes| {
        let mut world = deployed(built);
        world.startup = 1;
        world.advance(100);
        world.settle();
        world.edit(|r| r.spec.restart_at = Some(at(50).into()));
        let text = evictions(&mut world, passes);
        assert_eq!(world.now_status().restarted_at, Some(at(50).into()));
        text
    };
    let unavailable = |pods: i32| {
        rollout("web")
            .replicas(6)
            .canary([])
            .strategy(|c| c.max_unavailable = Some(IntOrString::Int(pods)))
    };
    assert_eq!(restarted(unavailable(2), 6), "2 2 2 0 0 0");
    assert_eq!(restarted(unavailable(4), 5), "4 2 0 0 0");
    assert_eq!(restarted(unavailable(0), 9), "1 1 1 1 1 1 0 0 0");
    let blue_green = rollout("web").replicas(8).blue_green("active", "");
    assert_eq!(
        restarted(blue_green, 6),
        "2 2 2 2 0 0",
        "a quarter, rounded down"
    );
    let none = rollout("web").replicas(0).canary([]);
    assert_eq!(restarted(none, 1), "0", "done at once");
}

/// CTL-126, SE-17: stable pods first, then new ones; one that is going already is no victim, and a
/// pod made at `restartAt` is new enough.
#[test]
fn restarts_begin_with_stable() {
    let mut world = deployed(rollout("web").replicas(4).canary([weight(50), pause()]));
    world.set_image("web:v2");
    world.settle();
    world.advance(100);
    world.startup = 1;
    world.edit(|r| r.spec.restart_at = Some(at(50).into()));
    let plan = world.step();
    let victims: Vec<String> = plan
        .actions
        .iter()
        .map(|p| format!("{:?}", p.action))
        .collect();
    assert_eq!(victims.len(), 1);
    assert!(victims[0].contains("web-5dfb79b7ff"), "{victims:?}");
    assert!(
        plan.status.is_none(),
        "CTL-11 (c): no status in the pass that evicts"
    );
    world.play();
    assert_eq!(evictions(&mut world, 8), "0 1 1 1 0 0 0 0");

    let mut world = deployed(rollout("web").replicas(4).canary([]));
    world.advance(100);
    world.edit(|r| r.spec.restart_at = Some(crate::testing::t0().into()));
    world.settle();
    assert_eq!(
        world.now_status().restarted_at,
        Some(crate::testing::t0().into())
    );
    world.edit(|r| r.spec.restart_at = Some(at(50).into()));
    for pod in world.pods.values_mut() {
        pod.terminating = true;
        pod.available = false;
    }
    let plan = world.step();
    assert!(plan.actions.is_empty(), "{:?}", plan.actions);
}

/// CTL-126, CTL-160: strictly after its moment, until then it is waited for, and pods that may not
/// go yet are asked about every 30 seconds.
#[test]
fn restarts_have_their_moment() {
    let mut world = deployed(rollout("web").replicas(2).canary([]));
    world.edit(|r| r.spec.restart_at = Some(at(60).into()));
    let plan = world.settle();
    assert_eq!(plan.wake.map(|at| at.as_second()), Some(at(60).as_second()));
    assert!(plan.wake > Some(at(60)));
    world.advance(60);
    assert!(world.step().actions.is_empty(), "not at the moment itself");
    world.advance(1);
    world.broken.insert("web:v1".to_owned());
    world.play();
    let plan = world.step();
    assert!(plan.actions.is_empty(), "no pod may go");
    assert_eq!(plan.wake, Some(at(91)));
    let mut seen = world.observe();
    seen.pods = None;
    let plan = crate::decide::decide(&seen, world.now);
    assert!(
        plan.why
            .iter()
            .any(|why| why.message.contains("not been read"))
    );
}

/// CTL-160: pauses end strictly after their time, and are waited for exactly.
#[test]
fn pauses_end_after_their_time() {
    let mut world = deployed(
        rollout("web")
            .replicas(4)
            .canary([weight(25), pause_for(10)]),
    );
    world.set_image("web:v2");
    let plan = world.settle();
    let wake = plan.wake.unwrap();
    assert!(wake > at(10) && wake < at(11), "{wake}");
    world.after(10);
    assert_eq!(
        world.now_status().current_step_index,
        Some(1),
        "not at the moment itself"
    );
    world.now = wake;
    world.settle();
    assert_eq!(world.now_status().current_step_index, Some(2));
}

/// CTL-5, FLT-18: a promoted Rollout forgets an abort, also one of old.
#[test]
fn a_promoted_rollout_forgets_an_abort() {
    let mut world = deployed(plain());
    world.status(|status| {
        status.abort = true;
        status.aborted_at = Some(at(-5).into());
    });
    world.settle();
    let status = world.now_status();
    assert!(!status.abort && status.aborted_at.is_none());
    assert_eq!(status.phase.as_str(), "Healthy");
}

/// CTL-93, INV-10: `promote --full` after an abort that was carried out goes on; an abort after
/// `promote --full` wins.
#[test]
fn the_newer_wish_counts() {
    let mut world = deployed(plain());
    world.set_image("web:v2");
    world.settle();
    world.abort();
    world.settle();
    world.promote_full();
    world.settle();
    assert_eq!(world.line(), "step 2 pods 4/0 Healthy");
    world.set_image("web:v3");
    world.settle();
    world.advance(30);
    world.startup = 30;
    world.promote_full();
    world.settle();
    world.abort();
    world.settle();
    assert_eq!(world.now_status().phase.as_str(), "Degraded");
    assert!(!world.now_status().promote_full);
}

/// CTL-163: what an update costs at most, with pods that are there at once.
#[test]
fn an_update_has_a_budget() {
    let mut world = deployed(rollout("web").replicas(10).canary([weight(10), pause()]));
    let (mut sets, mut rollouts) = (0, 0);
    let mut go_on = |world: &mut World| {
        for _ in 0..30 {
            world.play();
            let plan = world.step();
            rollouts += usize::from(plan.status.is_some());
            let mut in_this_pass = 0;
            for planned in &plan.actions {
                match &planned.action {
                    Action::CreateReplicaSet(_) | Action::PatchReplicaSet { .. } => {
                        in_this_pass += 1;
                    }
                    Action::PatchRollout { .. } => rollouts += 1,
                    other => panic!("{other:?}"),
                }
            }
            assert!(in_this_pass <= 2, "{plan:?}");
            sets += in_this_pass;
        }
    };
    world.set_image("web:v2");
    go_on(&mut world);
    world.promote();
    go_on(&mut world);
    assert_eq!(world.line(), "step 2 pods 10/0 Healthy");
    assert!(sets <= 8, "{sets} writes of ReplicaSets");
    assert!(rollouts <= 20, "{rollouts} writes of the Rollout");
}
