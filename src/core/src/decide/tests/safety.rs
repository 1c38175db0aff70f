//! What random schedules found: each of these broke an invariant once.

use serde_json::json;
use sluice_crds::IntOrString;
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::rollout::{PingPongSpec, RollbackWindowSpec};

use super::{deployed, istio};
use crate::decide::decide;
use crate::invariants::Trace;
use crate::plan::{Action, Plan};
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, analysis, pause, pause_for, rollout, weight};
use crate::traffic::Verification;

mod pods;

/// Decides, checks every invariant, acts; pods follow.
fn turn(world: &mut World, trace: &mut Trace) -> Plan {
    let seen = world.observe();
    let plan = decide(&seen, world.now);
    assert_eq!(trace.push(&seen, &plan, world.now), [], "{}", world.line());
    world.execute(&plan, usize::MAX);
    world.play();
    plan
}

fn dynamic(rollout: RolloutBuilder) -> RolloutBuilder {
    istio(rollout).strategy(|canary| {
        canary.dynamic_stable_scale = true;
        canary.abort_scale_down_delay_seconds = Some(0);
    })
}

/// INV-8, INV-16: a blue-green update that is held after its switch looks healthy and is paused; the
/// two conditions must not take turns.
#[test]
fn a_held_update_comes_to_rest_after_the_switch() {
    let mut world = deployed(
        rollout("web")
            .replicas(2)
            .blue_green("active", "")
            .with(|r| {
                let spec = r.spec.strategy.blue_green.as_mut().unwrap();
                spec.post_promotion_analysis = analysis("errors").analysis;
            }),
    );
    world.set_image("web:v2");
    world.settle();
    world.edit(|r| r.spec.paused = true);
    let plan = world.settle();
    assert!(
        plan.wake.is_none_or(|wake| wake > world.now),
        "{:?}",
        plan.wake
    );
    assert_eq!(world.now_status().message, "manually paused");
}

/// INV-10, FLT-17: a canary that an abort leaves at its size (`abortScaleDownDelaySeconds: 0`) does
/// not keep its traffic.
#[test]
fn an_abort_ends_with_a_canary_that_stays_up() {
    let steps = [weight(97), weight(37), pause()];
    let mut world = deployed(dynamic(rollout("web").replicas(10).canary(steps)));
    world.set_image("web:v2");
    world.settle();
    world.abort();
    world.settle();
    assert!(
        world.line().contains("weight 0/100 Degraded"),
        "{}",
        world.line()
    );
}

/// INV-1, INV-10: aborted before any pod was there, the canary gets nothing on the way back.
#[test]
fn an_abort_before_the_first_pod_gives_nothing_away() {
    let mut world = World::new(dynamic(
        rollout("web").replicas(8).canary([weight(85), pause()]),
    ));
    world.references = super::cluster(rollout("web")).references;
    world.edit(|r| r.spec.paused = true);
    let mut trace = Trace::default();
    turn(&mut world, &mut trace);
    world.set_image("web:v2");
    turn(&mut world, &mut trace);
    world.abort();
    for _ in 0..10 {
        turn(&mut world, &mut trace);
    }
}

/// INV-1, INV-10: an abort while a superseded version still has traffic takes it from that version.
#[test]
fn an_abort_finds_the_traffic_of_a_superseded_version() {
    let mut world = deployed(
        istio(rollout("web").replicas(7).canary([weight(91), pause()]))
            .strategy(|canary| canary.dynamic_stable_scale = true),
    );
    world.set_image("web:v2");
    world.settle();
    world.startup = 20;
    let mut trace = Trace::default();
    world.set_image("web:v3");
    for _ in 0..3 {
        turn(&mut world, &mut trace);
    }
    world.abort();
    for _ in 0..60 {
        turn(&mut world, &mut trace);
        world.advance(5);
    }
    assert!(
        world.line().contains("weight 0/100 Degraded"),
        "{}",
        world.line()
    );
}

/// CTL-94, CTL-111, INV-15: back within the rollback window nothing is analysed, so that there is no
/// preview size to pass either.
#[test]
fn a_rollback_within_the_window_skips_the_preview_size() {
    let mut world = deployed(
        rollout("web")
            .replicas(4)
            .blue_green("active", "preview")
            .with(|r| {
                r.spec.rollback_window = Some(RollbackWindowSpec { revisions: 3 });
                let spec = r.spec.strategy.blue_green.as_mut().unwrap();
                spec.preview_replica_count = Some(2);
                spec.pre_promotion_analysis = analysis("errors").analysis;
            }),
    );
    world.advance(60);
    world.set_image("web:v2");
    world.settle();
    world.promote_full();
    world.settle();
    world.after(100);
    world.set_image("web:v1");
    world.settle();
    let status = world.now_status();
    assert_eq!(
        status.stable_rs,
        status.current_pod_hash,
        "{}",
        world.line()
    );
    assert_eq!(status.phase.as_str(), "Healthy", "{}", world.line());
}

/// CTL-70, INV-1: ping or pong goes on to the next version only after the router took the traffic off
/// it, which may be more than the status knows of.
#[test]
fn ping_and_pong_take_turns_without_traffic() {
    let builder = rollout("web").replicas(4).canary([weight(50), pause()]);
    let mut world = deployed(istio(builder).strategy(|canary| {
        canary.canary_service.clear();
        canary.stable_service.clear();
        canary.ping_pong = Some(PingPongSpec {
            ping_service: "ping".to_owned(),
            pong_service: "pong".to_owned(),
        });
    }));
    world.startup = 5;
    world.set_image("web:v2");
    for _ in 0..3 {
        world.step();
        world.play();
    }
    // The route is written, then the controller dies: status still says 0.
    world.advance(10);
    world.play();
    let plan = decide(&world.observe(), world.now);
    world.execute(&plan, 1);
    assert_eq!(world.routes.last().unwrap().weight, 50);
    world.set_image("web:v3");
    let plan = world.step();
    let place = |wanted: fn(&Action) -> bool| {
        let actions = plan.actions.iter().map(|planned| &planned.action);
        actions.into_iter().position(wanted)
    };
    let drained = place(|a| matches!(a, Action::Route(want) if want.weight == 0));
    let switched = place(|a| matches!(a, Action::PatchService { name, .. } if name == "pong"));
    assert!(
        drained.is_some() && drained < switched,
        "{:?}",
        plan.actions
    );
}

/// INV-1: reverted in the middle of an update, the traffic of a canary that has died goes to stable at
/// once, however few pods that has.
#[test]
fn a_dead_canary_gives_all_its_traffic_back_at_once() {
    let builder = istio(rollout("web").replicas(7).canary([weight(62), pause()]));
    let mut world = deployed(builder.strategy(|canary| canary.dynamic_stable_scale = true));
    world.set_image("web:v2");
    for _ in 0..3 {
        world.after(1);
    }
    assert!(world.line().contains("weight 62/38"), "{}", world.line());
    world.startup = 60;
    world.broken.insert("web:v2".to_owned());
    world.play();
    world.set_image("web:v1");
    let mut trace = Trace::default();
    for _ in 0..5 {
        turn(&mut world, &mut trace);
    }
    assert!(world.line().contains("weight 0/100"), "{}", world.line());
}

/// INV-1, FLT-9: a smaller weight waits while stable has no pod at all, however few it would need.
#[test]
fn traffic_stays_where_the_pods_are() {
    let steps = [weight(76), pause(), weight(70), pause()];
    let mut world = deployed(istio(rollout("web").replicas(2).canary(steps)));
    world.set_image("web:v2");
    world.settle();
    world.broken.insert("web:v1".to_owned());
    world.settle();
    world.promote();
    let mut trace = Trace::default();
    for _ in 0..5 {
        turn(&mut world, &mut trace);
    }
    assert!(world.line().contains("weight 76/24"), "{}", world.line());
}

/// INV-1, CTL-71: stable keeps the pods for the traffic that a superseded version gives back, in the
/// very plan that gives it back, though the next step wants it to have none.
#[test]
fn stable_takes_over_from_a_superseded_version() {
    let steps = [pause_for(7), weight(100), pause()];
    let builder = dynamic(rollout("web").replicas(9).canary(steps));
    let mut world = deployed(builder.strategy(|canary| {
        canary.max_unavailable = Some(IntOrString::Int(0));
    }));
    world.set_image("web:v2");
    world.settle();
    world.after(8);
    world.settle();
    assert!(world.line().contains("weight 100/0"), "{}", world.line());
    world.startup = 20;
    world.set_image("web:v3");
    let mut trace = Trace::default();
    for _ in 0..60 {
        turn(&mut world, &mut trace);
        world.advance(1);
        world.play();
        let status = world.now_status();
        let share = status.canary.weights.map_or(0, |on| on.stable.weight);
        let stable = world.set_of(&status.stable_rs).unwrap();
        let ready = stable.status.as_ref().unwrap().available_replicas;
        assert!(ready * 100 >= share * 9, "{share}: {}", world.line());
    }
    assert!(world.line().contains("weight 100/0"), "{}", world.line());
}

/// INV-15, CTL-71: where no pod may be unavailable, stable grows until it can take over, whatever the
/// first step leaves to it.
#[test]
fn a_superseded_version_does_not_hold_its_traffic_for_ever() {
    let builder = dynamic(
        rollout("web")
            .replicas(5)
            .canary([weight(66), weight(72), pause()]),
    );
    let mut world = deployed(builder.strategy(|canary| {
        canary.max_unavailable = Some(IntOrString::Int(0));
    }));
    world.set_image("web:v2");
    world.settle();
    world.after(30);
    world.set_image("web:v3");
    world.settle();
    world.after(30);
    assert!(
        world.line().starts_with("step 2 pods 4/2"),
        "{}",
        world.line()
    );
}

/// INV-2, FLT-9: an abort takes the canary Service away from pods that answer only once stable can
/// take what that Service gets.
#[test]
fn an_abort_waits_for_a_stable_version_that_had_shrunk() {
    let mut world = deployed(dynamic(
        rollout("web").replicas(9).canary([weight(92), pause()]),
    ));
    world.set_image("web:v2");
    world.settle();
    world.after(30);
    assert!(
        world.line().starts_with("step 1 pods 9/1"),
        "{}",
        world.line()
    );
    world.startup = 60;
    world.edit(|r| {
        let canary = r.spec.strategy.canary.as_mut().unwrap();
        canary.dynamic_stable_scale = false;
    });
    world.abort();
    let moved = |plan: &Plan| {
        let mut actions = plan.actions.iter().map(|planned| &planned.action);
        actions.any(|a| matches!(a, Action::PatchService { name, .. } if name == "web-canary"))
    };
    let mut trace = Trace::default();
    for _ in 0..4 {
        assert!(!moved(&turn(&mut world, &mut trace)), "{}", world.line());
    }
    world.after(61);
    world.settle();
    assert!(world.line().contains("weight 0/100"), "{}", world.line());
}

/// INV-1: an abort while neither version has a pod asks the router for nothing.
#[test]
fn traffic_stays_put_while_nobody_has_a_pod() {
    let steps = [weight(78), weight(94), pause()];
    let builder = istio(rollout("web").replicas(8).canary(steps));
    let mut world = deployed(builder.strategy(|canary| {
        canary.dynamic_stable_scale = true;
        canary.max_unavailable = Some(IntOrString::Int(4));
    }));
    world.set_image("web:v2");
    world.settle();
    assert!(world.line().contains("weight 94/6"), "{}", world.line());
    let images = ["web:v1", "web:v2"].map(str::to_owned);
    world.broken.extend(images);
    world.play();
    world.abort();
    let mut trace = Trace::default();
    for _ in 0..4 {
        turn(&mut world, &mut trace);
    }
    world.broken.clear();
    for _ in 0..12 {
        turn(&mut world, &mut trace);
    }
    assert!(world.line().contains("weight 0/100"), "{}", world.line());
}

/// INV-2, INV-3: the canary Service leaves a superseded version only once a router that can tell
/// confirms that its traffic is gone.
#[test]
fn a_service_stays_with_the_traffic_of_a_superseded_version() {
    let mut world = deployed(istio(
        rollout("web").replicas(5).canary([weight(60), pause()]),
    ));
    world.set_image("web:v2");
    world.settle();
    world.verification = Verification::NotVerified;
    world.set_image("web:v3");
    let moved = |plan: &Plan| {
        let mut actions = plan.actions.iter().map(|planned| &planned.action);
        actions.any(|a| matches!(a, Action::PatchService { name, .. } if name == "web-canary"))
    };
    let mut trace = Trace::default();
    for _ in 0..6 {
        assert!(!moved(&turn(&mut world, &mut trace)), "{}", world.line());
    }
    world.verification = Verification::Verified;
    assert!(moved(&turn(&mut world, &mut trace)), "{}", world.line());
}

/// INV-3: a process that has asked the router for nothing yet trusts no doubt away.
#[test]
fn doubt_outlives_the_process() {
    let mut world = deployed(istio(
        rollout("web").replicas(2).canary([weight(50), pause()]),
    ));
    world.set_image("web:v2");
    world.verification = Verification::NotVerified;
    world.settle();
    let status = world.now_status();
    let weights = status.canary.weights.as_ref();
    assert_eq!(Verification::unasked(weights), Verification::NotVerified);
    assert_eq!(Verification::unasked(None), Verification::NotSupported);
}

/// INV-15, CTL-90: a pause that the user skipped does not hold the step after it.
#[test]
fn a_skipped_pause_does_not_hold_the_next_step() {
    let steps = [weight(50), pause(), analysis("errors"), pause()];
    let mut world = deployed(rollout("web").replicas(2).canary(steps));
    world.set_image("web:v2");
    world.settle();
    assert!(world.line().starts_with("step 1 "), "{}", world.line());
    world.status(|status| status.current_step_index = Some(2));
    world.settle();
    assert_eq!(world.runs.len(), 1, "{}", world.line());
}

/// INV-15, ANA-40: after a retry the new attempt is measured anew, however late its analysis begins.
#[test]
fn a_retry_is_not_failed_by_the_last_attempt() {
    let mut world = deployed(
        rollout("web")
            .replicas(2)
            .blue_green("active", "")
            .with(|r| {
                let spec = r.spec.strategy.blue_green.as_mut().unwrap();
                spec.auto_promotion_enabled = Some(false);
                let wanted = json!({ "templates": [{ "templateName": "errors" }] });
                spec.post_promotion_analysis = Some(serde_json::from_value(wanted).unwrap());
            }),
    );
    world.set_image("web:v2");
    world.settle();
    world.promote();
    world.settle();
    let first = world.runs.keys().next().unwrap().clone();
    world.end_run(&first, AnalysisPhase::Failed, "");
    world.settle();
    assert!(world.now_status().abort, "{}", world.line());
    world.retry();
    world.settle();
    world.promote();
    world.settle();
    assert!(!world.now_status().abort, "{}", world.line());
    let second = world
        .runs
        .keys()
        .find(|name| **name != first)
        .unwrap()
        .clone();
    world.end_run(&second, AnalysisPhase::Successful, "");
    world.settle();
    assert!(world.line().ends_with("Healthy"), "{}", world.line());
}

/// CTL-10, INV-3: a scaling event together with the way back to stable, whose update was aborted, sizes
/// stable as what it is.
#[test]
fn an_aborted_update_does_not_scale_away_the_stable_version_it_goes_back_to() {
    let builder = dynamic(rollout("web").replicas(5).canary([weight(20), pause()]));
    let mut world = deployed(builder);
    world.set_image("web:v2");
    world.settle();
    world.abort();
    world.settle();
    world.broken.insert("web:v1".to_owned());
    world.play();
    world.edit(|r| {
        r.spec.template = crate::testing::template("web", "web:v1");
        r.spec.replicas = Some(2);
    });
    let stable = world.now_status().stable_rs;
    for _ in 0..5 {
        world.step();
        assert!(world.set_of(&stable).unwrap().spec.replicas >= Some(2));
        world.play();
    }
}
