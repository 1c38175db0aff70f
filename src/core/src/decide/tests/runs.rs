//! Which AnalysisRuns a Rollout starts, keeps, stops and deletes (ANA-25..45).

use serde_json::{Value, json};
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::rollout::{PauseReason, RolloutAnalysis, RolloutAnalysisBackground};

use super::deployed;
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, analysis, pause, rollout, weight};

mod objects;

const HASH: &str = "84c5f745db";

fn background(extra: Value) -> RolloutAnalysisBackground {
    let mut analysis = extra;
    analysis["templates"] = json!([{ "templateName": "errors" }]);
    serde_json::from_value(analysis).unwrap()
}

fn plain() -> RolloutBuilder {
    rollout("web")
        .replicas(4)
        .canary([weight(25), analysis("errors"), pause()])
}

fn blue_green(member: &str) -> RolloutBuilder {
    let member = member.to_owned();
    rollout("web")
        .replicas(3)
        .blue_green("active", "preview")
        .with(move |r| {
            let spec = r.spec.strategy.blue_green.as_mut().unwrap();
            let wanted: RolloutAnalysis =
                serde_json::from_value(json!({ "templates": [{ "templateName": "errors" }] }))
                    .unwrap();
            let place = match member.as_str() {
                "pre" => &mut spec.pre_promotion_analysis,
                _ => &mut spec.post_promotion_analysis,
            };
            *place = Some(Box::new(wanted));
        })
}

fn updated(rollout: RolloutBuilder) -> World {
    let mut world = deployed(rollout);
    world.set_image("web:v2");
    world.settle();
    world.told();
    world
}

fn names(world: &World) -> Vec<&str> {
    world.runs.keys().map(String::as_str).collect()
}

fn stopped(world: &World) -> Vec<&str> {
    let stopped = world.runs.iter().filter(|(_, run)| run.spec.terminate);
    stopped.map(|(name, _)| name.as_str()).collect()
}

/// ANA-33: what status says of a run; nothing where there is nothing to say.
#[test]
fn status_of_a_run() {
    let mut world = updated(plain());
    let written = |world: &World| {
        let status = serde_json::to_value(world.now_status()).unwrap();
        status["canary"]["currentStepAnalysisRunStatus"].clone()
    };
    let name = format!("web-{HASH}-2-1");
    assert_eq!(written(&world), json!({"name": name, "status": "Running"}));
    world.end_run(&name, AnalysisPhase::Inconclusive, "so so");
    world.settle();
    assert_eq!(
        written(&world),
        json!({"name": name, "status": "Inconclusive", "message": "so so"})
    );
}

/// ANA-34, ANA-35: canaries drop their runs, which are stopped, on abort and on a full promotion.
#[test]
fn canary_runs_end_with_the_update() {
    for full in [false, true] {
        let mut world = updated(
            plain().strategy(|canary| canary.analysis = Some(Box::new(background(json!({}))))),
        );
        assert_eq!(
            names(&world),
            [format!("web-{HASH}-2"), format!("web-{HASH}-2-1")]
        );
        if full {
            world.promote_full();
        } else {
            world.abort();
        }
        world.settle();
        assert_eq!(stopped(&world).len(), 2);
        let canary = world.now_status().canary;
        assert_eq!(canary.current_step_analysis_run_status, None);
        assert_eq!(canary.current_background_analysis_run_status, None);
    }
}

/// ANA-34, ANA-36: blue-green keeps its run in status when aborted; a retry measures anew.
#[test]
fn blue_green_keeps_its_run_in_status() {
    let mut world = updated(blue_green("pre"));
    let first = format!("web-{HASH}-2-pre");
    world.abort();
    world.settle();
    assert_eq!(stopped(&world), [first.as_str()]);
    let kept = world
        .now_status()
        .blue_green
        .pre_promotion_analysis_run_status;
    let kept = kept.unwrap();
    assert_eq!(kept.name, first);
    assert_eq!(
        kept.status,
        AnalysisPhase::Successful,
        "ANA-33: as the run says"
    );
    world.retry();
    world.settle();
    assert_eq!(names(&world), [first.clone(), format!("{first}.1")]);
    let kept = world
        .now_status()
        .blue_green
        .pre_promotion_analysis_run_status;
    assert_eq!(kept.unwrap().name, format!("{first}.1"));
}

/// ANA-34: nothing is measured on the first revision.
#[test]
fn none_on_the_first_deploy() {
    for rollout in [plain(), blue_green("pre"), blue_green("post")] {
        assert!(deployed(rollout).runs.is_empty());
    }
}

/// ANA-35: runs of a revision that is superseded are stopped, and the new one has its own.
#[test]
fn a_new_revision_has_its_own_runs() {
    let mut world =
        updated(plain().strategy(|canary| canary.analysis = Some(Box::new(background(json!({}))))));
    world.set_image("web:v3");
    world.settle();
    assert_eq!(
        stopped(&world),
        [format!("web-{HASH}-2"), format!("web-{HASH}-2-1")]
    );
    let status = world.now_status();
    let (step, background) = (
        status.canary.current_step_analysis_run_status.unwrap(),
        status
            .canary
            .current_background_analysis_run_status
            .unwrap(),
    );
    assert!(step.name.ends_with("-3-1"), "{}", step.name);
    assert!(background.name.ends_with("-3"), "{}", background.name);
}

/// ANA-34: going back to stable measures nothing.
#[test]
fn going_back_stops_the_runs() {
    for rollout in [plain(), blue_green("pre"), blue_green("post")] {
        let mut world = updated(rollout);
        let before: Vec<String> = world.runs.keys().cloned().collect();
        world.set_image("web:v1");
        world.settle();
        let after: Vec<&str> = names(&world);
        assert_eq!(after, before, "none is started");
        assert_eq!(stopped(&world), before);
        assert_eq!(world.now_status().phase.as_str(), "Healthy");
    }
}

/// ANA-36, ANA-40: after a failed post-promotion run a retry switches and measures again.
#[test]
fn a_retry_is_measured_after_the_switch() {
    let mut world = updated(blue_green("post"));
    let name = format!("web-{HASH}-2-post");
    world.end_run(&name, AnalysisPhase::Failed, "");
    world.settle();
    assert_eq!(world.services["active"].pod_hash(), "5dfb79b7ff");
    world.retry();
    world.settle();
    assert_eq!(world.services["active"].pod_hash(), HASH);
    assert_eq!(names(&world), [name.clone(), format!("{name}.1")]);
    assert_ne!(world.now_status().stable_rs, HASH);
    world.end_run(&format!("{name}.1"), AnalysisPhase::Successful, "");
    world.settle();
    assert_eq!(world.now_status().stable_rs, HASH);
}

/// INV-7, INV-9, FLT-4: a plan that came to a step and started its run, but could not write its status:
/// the run is taken up, not stopped by the pass that comes to the step again.
#[test]
fn an_interrupted_start_is_not_stopped() {
    let from_step_1 = plain().strategy(|canary| {
        canary.analysis = Some(Box::new(background(json!({"startingStep": 1}))))
    });
    for rollout in [plain(), from_step_1, blue_green("pre"), blue_green("post")] {
        let mut world = deployed(rollout);
        world.set_image("web:v2");
        for _ in 0..20 {
            world.play();
            let plan = crate::decide::decide(&world.observe(), world.now);
            let starts = |planned: &crate::plan::Planned| {
                matches!(planned.action, crate::plan::Action::CreateAnalysisRun(_))
            };
            if plan.actions.iter().any(starts) {
                world.execute(&plan, plan.actions.len());
                break;
            }
            world.execute(&plan, usize::MAX);
        }
        let begun: Vec<String> = world.runs.keys().cloned().collect();
        assert!(!begun.is_empty());
        world.settle();
        assert_eq!(stopped(&world), Vec::<&str>::new());
        assert_eq!(names(&world), begun);
    }
}

/// ANA-36, ANA-37: a run that was deleted is started anew.
#[test]
fn a_deleted_run_is_started_again() {
    let mut world = updated(plain());
    let name = format!("web-{HASH}-2-1");
    world.runs.remove(&name);
    world.settle();
    assert_eq!(names(&world), [name.as_str()]);
    assert_eq!(world.now_status().current_step_index, Some(1));
}

/// ANA-37: with a pause nothing is done about the run; another step stops it.
#[test]
fn a_step_run_belongs_to_its_step() {
    let mut world = updated(plain());
    let name = format!("web-{HASH}-2-1");
    world.status(|status| status.current_step_index = Some(2));
    world.settle();
    assert_eq!(stopped(&world), [name.as_str()]);
    assert_eq!(
        world.now_status().canary.current_step_analysis_run_status,
        None
    );

    let mut two = updated(rollout("web").replicas(4).canary([
        weight(25),
        analysis("errors"),
        analysis("errors"),
        pause(),
    ]));
    two.status(|status| status.current_step_index = Some(2));
    two.settle();
    assert_eq!(names(&two), [name.clone(), format!("web-{HASH}-2-2")]);
    assert_eq!(stopped(&two), [name.as_str()]);
}

/// ANA-38: from its starting step on, and once successful not again.
#[test]
fn background_begins_at_its_step() {
    let steps = [weight(25), pause(), weight(50), pause()];
    let mut world = updated(rollout("web").replicas(4).canary(steps).strategy(|canary| {
        canary.analysis = Some(Box::new(background(json!({"startingStep": 2}))));
    }));
    assert!(world.runs.is_empty());
    world.promote();
    world.settle();
    let name = format!("web-{HASH}-2");
    assert_eq!(names(&world), [name.as_str()]);
    world.end_run(&name, AnalysisPhase::Successful, "");
    world.settle();
    assert_eq!(names(&world), [name.as_str()]);
    world.promote();
    world.settle();
    assert_eq!(world.line(), "step 4 pods 4/0 Healthy");
    assert_eq!(names(&world), [name.as_str()]);
}

/// ANA-38, ANA-41: an inconclusive background run pauses, is kept while paused, and a promotion
/// measures anew.
#[test]
fn inconclusive_background() {
    let mut world = updated(
        rollout("web")
            .replicas(4)
            .canary([weight(25), pause(), weight(50)])
            .strategy(|canary| canary.analysis = Some(Box::new(background(json!({}))))),
    );
    let name = format!("web-{HASH}-2");
    world.end_run(&name, AnalysisPhase::Inconclusive, "");
    world.settle();
    let reasons = |world: &World| -> Vec<PauseReason> {
        let pauses = world.now_status().pause_conditions;
        pauses.into_iter().map(|pause| pause.reason).collect()
    };
    assert!(reasons(&world).contains(&PauseReason::InconclusiveAnalysisRun));
    assert_eq!(names(&world), [name.as_str()], "kept");
    world.promote();
    world.settle();
    assert_eq!(names(&world), [name.clone(), format!("{name}.1")]);
    assert!(!reasons(&world).contains(&PauseReason::InconclusiveAnalysisRun));
}

/// ANA-39: the active Service waits for a good pre-promotion run, and for the pods before it.
#[test]
fn pre_promotion() {
    let mut world = deployed(blue_green("pre"));
    let old = world.services["active"].pod_hash().to_owned();
    world.broken.insert("web:v2".into());
    world.set_image("web:v2");
    world.settle();
    assert!(world.runs.is_empty(), "not before the pods are there");
    world.broken.clear();
    world.settle();
    let name = format!("web-{HASH}-2-pre");
    assert_eq!(names(&world), [name.as_str()]);
    assert_eq!(world.services["active"].pod_hash(), old);
    assert_eq!(world.services["preview"].pod_hash(), HASH);
    world.end_run(&name, AnalysisPhase::Successful, "");
    world.settle();
    assert_eq!(world.services["active"].pod_hash(), HASH);
    assert!(stopped(&world).is_empty());
    let kept = world
        .now_status()
        .blue_green
        .pre_promotion_analysis_run_status;
    assert_eq!(kept.unwrap().status, AnalysisPhase::Successful);
}

/// ANA-39: `autoPromotionSeconds` begins only once the run has succeeded.
#[test]
fn promotion_seconds_follow_the_run() {
    let mut world = updated(blue_green("pre").with(|r| {
        let spec = r.spec.strategy.blue_green.as_mut().unwrap();
        spec.auto_promotion_seconds = 20;
    }));
    let name = format!("web-{HASH}-2-pre");
    world.after(60);
    assert!(world.now_status().pause_conditions.is_empty());
    world.end_run(&name, AnalysisPhase::Successful, "");
    world.settle();
    world.after(10);
    assert_ne!(world.services["active"].pod_hash(), HASH);
    world.after(11);
    assert_eq!(world.services["active"].pod_hash(), HASH);
}

/// ANA-40: stable changes, and old pods go, only after a good post-promotion run.
#[test]
fn post_promotion() {
    let mut world = updated(blue_green("post"));
    let name = format!("web-{HASH}-2-post");
    assert_eq!(names(&world), [name.as_str()]);
    assert_eq!(world.services["active"].pod_hash(), HASH);
    assert_ne!(world.now_status().stable_rs, HASH);
    world.after(3600);
    assert_eq!(
        world.size_text(),
        "3/3",
        "the old version is kept until then"
    );
    world.end_run(&name, AnalysisPhase::Successful, "");
    world.settle();
    assert_eq!(world.now_status().stable_rs, HASH);
}

/// ANA-41: how an abort by each kind of run is explained.
#[test]
fn failures_abort() {
    let with_background =
        plain().strategy(|canary| canary.analysis = Some(Box::new(background(json!({})))));
    for (rollout, suffix, text) in [
        (plain(), "-1", "Step-based analysis phase error/failed"),
        (
            with_background,
            "",
            "Background analysis phase error/failed",
        ),
        (
            blue_green("pre"),
            "-pre",
            "Blue/green pre-promotion analysis phase error/failed",
        ),
        (
            blue_green("post"),
            "-post",
            "Blue/green post-promotion analysis phase error/failed",
        ),
    ] {
        for (phase, message, colon) in [
            (AnalysisPhase::Failed, "too many", ": too many"),
            (AnalysisPhase::Error, "", ""),
        ] {
            let mut world = updated(rollout.clone());
            let stable = world.now_status().stable_rs;
            world.end_run(&format!("web-{HASH}-2{suffix}"), phase, message);
            world.settle();
            let status = world.now_status();
            assert!(status.abort, "{text}");
            assert_eq!(
                status.message,
                format!("RolloutAborted: Rollout aborted update to revision 2: {text}{colon}")
            );
            if let Some(active) = world.services.get("active") {
                assert_eq!(active.pod_hash(), stable, "active goes back");
            }
        }
    }
}

/// ANA-41: an inconclusive promotion run pauses and switches nothing.
#[test]
fn inconclusive_promotion_runs_pause() {
    for (member, active) in [("pre", "5dfb79b7ff"), ("post", HASH)] {
        let mut world = updated(blue_green(member));
        world.end_run(
            &format!("web-{HASH}-2-{member}"),
            AnalysisPhase::Inconclusive,
            "",
        );
        world.settle();
        assert_eq!(
            world.now_status().message,
            "InconclusiveAnalysisRun",
            "{member}"
        );
        assert_eq!(world.services["active"].pod_hash(), active);
        assert_eq!(world.now_status().stable_rs, "5dfb79b7ff");
    }
}

/// ANA-19, INV-9: a run that was stopped between two measurements is Successful and proves nothing.
#[test]
fn a_run_stopped_between_measurements_proves_nothing() {
    for (rollout, suffix) in [
        (plain(), "-1"),
        (blue_green("pre"), "-pre"),
        (blue_green("post"), "-post"),
    ] {
        let mut world = updated(rollout);
        let name = format!("web-{HASH}-2{suffix}");
        let status = json!({
            "phase": "Successful", "message": "Run Terminated",
            "metricResults": [{"name": "errors", "phase": "Successful", "successful": 1, "count": 1,
                "measurements": [{"phase": "Successful", "value": "[0]"}]}],
        });
        let run = world.runs.get_mut(&name).unwrap();
        run.spec.terminate = true;
        run.status = Some(serde_json::from_value(status).unwrap());
        world.settle();
        assert_eq!(
            world.now_status().message,
            "InconclusiveAnalysisRun",
            "{name}"
        );
        assert_ne!(world.now_status().stable_rs, HASH);
        world.promote();
        world.settle();
        assert_eq!(
            names(&world),
            [name.clone(), format!("{name}.1")],
            "measured anew"
        );
    }
}
