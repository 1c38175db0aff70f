//! Experiment steps of a Rollout (EXP-19..25).

use serde_json::{Value, json};
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::rollout::CanaryStep;
use sluice_crds::{Experiment, keys};

use super::{deployed, istio};
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, pause, rollout, weight};
use crate::why::Reason;

const HASH: &str = "84c5f745db";
const FIRST: &str = "web-84c5f745db-2-0";

fn step(extra: Value) -> CanaryStep {
    let mut step =
        json!({ "templates": [{ "name": "canary", "specRef": "canary", "weight": 10 }] });
    for (key, value) in extra.as_object().unwrap() {
        step[key] = value.clone();
    }
    serde_json::from_value(json!({ "experiment": step })).unwrap()
}

fn routed(steps: impl IntoIterator<Item = CanaryStep>) -> RolloutBuilder {
    istio(rollout("web").replicas(4).canary(steps))
}

fn updated(rollout: RolloutBuilder) -> World {
    let mut world = deployed(rollout);
    world.set_image("web:v2");
    world.settle();
    world.told();
    world
}

/// Its pods are there and can be reached.
fn serving(world: &mut World, name: &str) {
    let status = json!([{ "name": "canary", "status": "Running", "replicas": 1,
        "availableReplicas": 1, "serviceName": "svc", "podTemplateHash": "hash" }]);
    let experiment = world.experiments.get_mut(name).unwrap();
    experiment.status.get_or_insert_default().template_statuses =
        serde_json::from_value(status).unwrap();
    world.settle();
}

fn end(world: &mut World, name: &str, phase: AnalysisPhase, message: &str) {
    let status = world
        .experiments
        .get_mut(name)
        .unwrap()
        .status
        .get_or_insert_default();
    status.phase = phase;
    status.message = message.to_owned();
    world.settle();
}

fn names(world: &World) -> Vec<&str> {
    world.experiments.keys().map(String::as_str).collect()
}

fn current(world: &World) -> String {
    world.now_status().canary.current_experiment
}

/// Weight of experiment destinations, of the canary, of stable.
fn weights(world: &World) -> (i32, i32, i32) {
    let weights = world.now_status().canary.weights.unwrap();
    let additional = weights.additional.iter().map(|one| one.weight).sum();
    (additional, weights.canary.weight, weights.stable.weight)
}

/// EXP-19, EXP-20: the written form.
#[test]
fn written_form() {
    let wanted = json!({
        "duration": "1m", "scaleDownDelaySeconds": 7,
        "templates": [
            { "name": "baseline", "specRef": "stable", "replicas": 2,
              "metadata": { "labels": { "arm": "b" }, "annotations": { "note": "x" } } },
            { "name": "canary", "specRef": "canary", "weight": 10,
              "selector": { "matchLabels": { "app": "web", "own": "yes" } } },
        ],
        "analyses": [{ "name": "check", "templateName": "errors", "requiredForCompletion": true,
            "args": [{ "name": "hash", "valueFrom": { "podTemplateHashValue": "Latest" } }] }],
        "dryRun": [{ "metricName": "err" }],
    });
    let world = updated(routed([step(wanted), pause()]).with(|r| {
        r.metadata.labels = Some([("team".to_owned(), "a".to_owned())].into());
        r.spec.progress_deadline_seconds = Some(77);
    }));
    let made = serde_json::to_value(&world.experiments[FIRST]).unwrap();
    assert_eq!(
        made["metadata"]["labels"],
        json!({ "team": "a", "rollouts-pod-template-hash": HASH })
    );
    assert_eq!(
        made["metadata"]["annotations"],
        json!({ "rollout.argoproj.io/revision": "2" })
    );
    let spec = &made["spec"];
    assert_eq!(spec["duration"], "1m");
    assert_eq!(spec["scaleDownDelaySeconds"], 7);
    assert_eq!(spec["progressDeadlineSeconds"], 77);
    assert_eq!(spec["analysisRunMetadata"], json!({}));
    assert_eq!(spec["dryRun"], json!([{ "metricName": "err" }]));
    assert_eq!(
        spec["analyses"],
        json!([{ "name": "check", "templateName": "errors", "requiredForCompletion": true,
            "args": [{ "name": "hash", "value": HASH }] }])
    );
    let (baseline, canary) = (&spec["templates"][0], &spec["templates"][1]);
    assert_eq!(baseline["replicas"], 2);
    assert_eq!(baseline.get("service"), None);
    assert_eq!(
        baseline["selector"]["matchLabels"],
        json!({ "app": "web", "arm": "b", "rollouts-pod-template-hash": "5dfb79b7ff" })
    );
    assert_eq!(baseline["template"]["metadata"]["labels"]["arm"], "b");
    assert_eq!(
        baseline["template"]["metadata"]["annotations"],
        json!({ "note": "x" })
    );
    assert_eq!(canary.get("replicas"), None);
    assert_eq!(canary["service"], json!({}), "weight asks for one");
    assert_eq!(
        canary["selector"]["matchLabels"],
        json!({ "app": "web", "own": "yes" })
    );
}

/// EXP-19: nothing before there is a stable version, and after that one Experiment.
#[test]
fn started_once() {
    let mut world = deployed(routed([step(json!({})), pause()]));
    assert!(world.experiments.is_empty());
    world.set_image("web:v2");
    world.settle();
    assert_eq!(names(&world), [FIRST]);
    assert_eq!(current(&world), FIRST);
    // A pass that could not write its status: taken up, not made twice (INV-7).
    world.status(|status| status.canary.current_experiment.clear());
    world.settle();
    assert_eq!(
        (names(&world), current(&world)),
        (vec![FIRST], FIRST.to_owned())
    );
}

/// INV-7, FLT-4: a plan that came to the step and made its Experiment, but could not write its status:
/// that one is taken up, not stopped.
#[test]
fn an_interrupted_start_is_not_stopped() {
    let mut world = deployed(routed([weight(25), step(json!({})), pause()]));
    world.set_image("web:v2");
    for _ in 0..20 {
        world.play();
        let plan = crate::decide::decide(&world.observe(), world.now);
        let starts = |planned: &crate::plan::Planned| {
            matches!(planned.action, crate::plan::Action::CreateExperiment(_))
        };
        if plan.actions.iter().any(starts) {
            world.execute(&plan, plan.actions.len());
            break;
        }
        world.execute(&plan, usize::MAX);
    }
    assert_eq!(world.experiments.len(), 1);
    world.settle();
    let (name, experiment) = world.experiments.iter().next().unwrap();
    assert!(!experiment.spec.terminate);
    assert_eq!(
        (world.experiments.len(), current(&world)),
        (1, name.clone())
    );
}

/// EXP-21
#[test]
fn a_failed_experiment_aborts() {
    for (phase, message, text) in [
        (
            AnalysisPhase::Failed,
            "too slow",
            "Experiment analysis phase is error/failed: too slow",
        ),
        (
            AnalysisPhase::Error,
            "",
            "Experiment analysis phase is error/failed",
        ),
    ] {
        let mut world = updated(routed([step(json!({})), pause()]));
        serving(&mut world, FIRST);
        assert_eq!(weights(&world), (10, 0, 90));
        end(&mut world, FIRST, phase, message);
        assert_eq!(
            world.now_status().message,
            format!("RolloutAborted: Rollout aborted update to revision 2: {text}")
        );
        assert_eq!(current(&world), "");
        assert_eq!(weights(&world), (0, 0, 100));
    }
}

/// EXP-21, ASE-23: an inconclusive Experiment pauses and stays; a promotion starts another one.
#[test]
fn an_inconclusive_experiment_pauses() {
    let mut world = updated(routed([step(json!({})), pause()]));
    end(&mut world, FIRST, AnalysisPhase::Inconclusive, "");
    let plan = world.settle();
    assert_eq!(world.now_status().message, "InconclusiveExperiment");
    assert_eq!(
        (names(&world), current(&world)),
        (vec![FIRST], FIRST.to_owned())
    );
    assert!(
        plan.why
            .iter()
            .any(|why| why.reason == Reason::NeedsPromotion)
    );
    world.promote();
    world.settle();
    assert_eq!(names(&world), [FIRST.to_owned(), format!("{FIRST}-1")]);
    assert_eq!(current(&world), format!("{FIRST}-1"));
}

/// ANA-36, INV-8: while a person has to decide on an Experiment, an inconclusive background run is not
/// followed by another one, which would end the same.
#[test]
fn nothing_is_measured_anew_before_the_decision() {
    let background = json!({ "templates": [{ "templateName": "errors" }] });
    let mut world = updated(routed([step(json!({})), pause()]).strategy(|canary| {
        canary.analysis = Some(Box::new(serde_json::from_value(background).unwrap()));
    }));
    end(&mut world, FIRST, AnalysisPhase::Inconclusive, "");
    world.settle();
    let run = world.runs.keys().next().unwrap().clone();
    world.end_run(&run, AnalysisPhase::Inconclusive, "");
    world.settle();
    world.after(1);
    assert_eq!(world.runs.keys().collect::<Vec<_>>(), [&run]);
    world.promote();
    world.settle();
    assert_eq!(world.runs.len(), 2);
}

/// ASE-23: an inconclusive background analysis leaves a running Experiment and its traffic alone.
#[test]
fn a_pause_leaves_the_experiment_running() {
    let background = json!({ "templates": [{ "templateName": "errors" }] });
    let mut world = updated(routed([step(json!({})), pause()]).strategy(|canary| {
        canary.analysis = Some(serde_json::from_value(background).unwrap());
    }));
    serving(&mut world, FIRST);
    world.end_run(&format!("web-{HASH}-2"), AnalysisPhase::Inconclusive, "");
    world.settle();
    assert_eq!(world.now_status().message, "InconclusiveAnalysisRun");
    assert_eq!(current(&world), FIRST);
    assert!(!world.experiments[FIRST].spec.terminate);
    assert_eq!(weights(&world), (10, 0, 90));
}

/// EXP-22, EXP-25: abort and full promotion stop it in the same pass.
#[test]
fn stopped_with_the_update() {
    for full in [false, true] {
        let mut world = updated(routed([step(json!({})), pause()]));
        serving(&mut world, FIRST);
        if full {
            world.promote_full();
        } else {
            world.abort();
        }
        world.step();
        assert_eq!(current(&world), "");
        assert!(world.experiments[FIRST].spec.terminate);
        world.settle();
        assert_eq!(weights(&world).0, 0);
    }
}

/// EXP-25: a retry has an Experiment of its own.
#[test]
fn a_retry_starts_another() {
    let mut world = updated(routed([step(json!({})), pause()]));
    world.abort();
    world.settle();
    world.retry();
    world.settle();
    assert_eq!(names(&world), [FIRST.to_owned(), format!("{FIRST}-1")]);
    assert_eq!(current(&world), format!("{FIRST}-1"));
    assert!(!world.experiments[&format!("{FIRST}-1")].spec.terminate);
}

/// EXP-22: a new revision stops the Experiment of the one before.
#[test]
fn a_new_revision_stops_it() {
    let mut world = updated(routed([step(json!({})), pause()]));
    serving(&mut world, FIRST);
    world.set_image("web:v3");
    world.settle();
    assert!(world.experiments[FIRST].spec.terminate);
    assert!(current(&world).ends_with("-3-0"), "{}", current(&world));
    assert_eq!(weights(&world).0, 0);
}

/// INV-14: an Experiment that still ran when its step was skipped does not stand for the next one.
#[test]
fn a_skipped_step_does_not_lend_its_experiment() {
    let mut world = updated(routed([step(json!({})), step(json!({})), pause()]));
    serving(&mut world, FIRST);
    world.status(|status| status.current_step_index = Some(1));
    world.settle();
    assert!(world.experiments[FIRST].spec.terminate);
    let second = format!("web-{HASH}-2-1");
    assert_eq!(current(&world), second);
    assert_eq!(world.now_status().current_step_index, Some(1));
    assert_eq!(weights(&world).0, 0, "the second one has no pods yet");
    end(&mut world, &second, AnalysisPhase::Successful, "");
    assert_eq!(world.now_status().current_step_index, Some(2));
}

/// A user deletes the Experiment of the current step: it is made again.
#[test]
fn a_deleted_experiment_is_made_again() {
    let mut world = updated(routed([step(json!({})), pause()]));
    serving(&mut world, FIRST);
    world.experiments.remove(FIRST);
    world.settle();
    assert_eq!(
        (names(&world), current(&world)),
        (vec![FIRST], FIRST.to_owned())
    );
    assert_eq!(weights(&world), (0, 0, 100), "its pods went with it");
}

/// EXP-23: destinations stay while the Experiment runs and its pods are available, no longer.
#[test]
fn destinations_follow_the_pods() {
    let mut world = updated(routed([step(json!({})), pause()]));
    assert_eq!(weights(&world), (0, 0, 100));
    serving(&mut world, FIRST);
    assert_eq!(weights(&world), (10, 0, 90));
    let status = world
        .experiments
        .get_mut(FIRST)
        .unwrap()
        .status
        .as_mut()
        .unwrap();
    status.template_statuses[0].available_replicas = 0;
    world.settle();
    assert_eq!(weights(&world), (0, 0, 100), "INV-1");
    serving(&mut world, FIRST);
    end(&mut world, FIRST, AnalysisPhase::Successful, "");
    assert_eq!(weights(&world), (0, 0, 100));
    assert_eq!(world.now_status().current_step_index, Some(1));
}

/// EXP-23: a step after the experiment step: no Experiment is current, and none is sent anything.
#[test]
fn destinations_end_with_the_step() {
    let mut world = updated(routed([step(json!({})), weight(50), pause()]));
    serving(&mut world, FIRST);
    world.status(|status| status.current_step_index = Some(1));
    world.settle();
    assert!(world.experiments[FIRST].spec.terminate);
    assert_eq!(weights(&world), (0, 50, 50));
}

fn analysed(required: bool) -> World {
    let analyses = json!([{ "name": "check", "templateName": "errors",
        "requiredForCompletion": required }]);
    updated(routed([step(json!({ "analyses": analyses })), pause()]))
}

fn with_run(world: &mut World, phase: &str, message: &str) {
    let run = json!([{ "name": "check", "analysisRun": "x", "phase": phase, "message": message }]);
    let status = world
        .experiments
        .get_mut(FIRST)
        .unwrap()
        .status
        .get_or_insert_default();
    status.analysis_runs = serde_json::from_value(run).unwrap();
}

/// INV-9: an analysis that the Experiment needs and that somebody stopped between two measurements
/// lets nothing pass; one that it does not need may be cut off.
#[test]
fn a_stopped_analysis_proves_nothing() {
    for (required, terminate, phase, message, passes) in [
        (true, false, "Successful", "", true),
        (true, false, "Successful", "Run Terminated", false),
        (false, false, "Successful", "Run Terminated", true),
        (false, false, "Running", "", true),
        (false, true, "Running", "", false),
        (false, true, "Successful", "Run Terminated", false),
        (false, true, "Successful", "", true),
    ] {
        let mut world = analysed(required);
        with_run(&mut world, phase, message);
        world.experiments.get_mut(FIRST).unwrap().spec.terminate = terminate;
        end(&mut world, FIRST, AnalysisPhase::Successful, "");
        let step = world.now_status().current_step_index;
        let row = (required, terminate, phase, message);
        assert_eq!(step, Some(i32::from(passes)), "{row:?}");
    }
}

/// EXP-22: history limits, counted apart from those of runs.
#[test]
fn history() {
    let mut world = updated(routed([step(json!({})), pause()]).with(|r| {
        let limits = json!({ "successfulRunHistoryLimit": 1, "unsuccessfulRunHistoryLimit": 1 });
        r.spec.analysis = Some(serde_json::from_value(limits).unwrap());
    }));
    let model = world.experiments[FIRST].clone();
    for (age, (name, phase, hash)) in [
        ("a", AnalysisPhase::Successful, HASH),
        ("b", AnalysisPhase::Failed, HASH),
        ("c", AnalysisPhase::Successful, HASH),
        ("d", AnalysisPhase::Error, HASH),
        ("e", AnalysisPhase::Successful, "0000000000"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut one: Experiment = model.clone();
        one.metadata.name = Some(name.to_owned());
        let labels = one.metadata.labels.get_or_insert_default();
        labels.insert(keys::POD_TEMPLATE_HASH.to_owned(), hash.to_owned());
        let created = crate::testing::at(i64::try_from(age).unwrap());
        one.metadata.creation_timestamp = Some(sluice_crds::Time::new(created).into());
        one.status.get_or_insert_default().phase = phase;
        world.experiments.insert(name.to_owned(), one);
    }
    world.settle();
    assert_eq!(names(&world), ["c", "d", FIRST]);
}

/// EXP-20, INV-15: an Experiment of a version that is neither the new nor the stable one, or with an
/// argument that leads nowhere, is not begun; the step says why, and somebody may pass it by.
#[test]
fn what_cannot_be_started_says_why() {
    let argument = json!([{ "name": "check", "templateName": "errors", "args": [
        { "name": "a", "valueFrom": { "fieldRef": { "fieldPath": "spec.nothing" } } }] }]);
    for (extra, wanted) in [
        (
            json!({ "templates": [{ "name": "a", "specRef": "newest" }] }),
            "Invalid template step SpecRef: must be canary or stable",
        ),
        (
            json!({ "analyses": argument }),
            "invalid path spec.nothing in rollout",
        ),
    ] {
        let mut world = deployed(routed([step(extra), pause()]));
        world.set_image("web:v2");
        let plan = world.settle();
        assert!(world.experiments.is_empty(), "{wanted}");
        assert_eq!(world.now_status().current_step_index, Some(0));
        let text = format!("its experiment cannot be started: {wanted}");
        let why = plan.why.iter().find(|why| why.message == text);
        let why = why.unwrap_or_else(|| panic!("{:?}", plan.why));
        assert_eq!(why.reason, Reason::InvalidSpec);
        assert!(plan.wake.is_some(), "looked at again");
    }
}

/// INV-13: what experiments ask for beside the canary's share is cut to what is left of the whole, the
/// first ones first.
#[test]
fn experiments_share_what_the_canary_leaves() {
    let arms = json!({ "templates": [
        { "name": "canary", "specRef": "canary", "weight": 45 },
        { "name": "stable", "specRef": "stable", "weight": 45 } ] });
    let mut world = updated(routed([weight(25), step(arms), pause()]));
    let name = world.experiments.keys().next().unwrap().clone();
    let arm = |name: &str| {
        json!({ "name": name, "status": "Running", "replicas": 1, "availableReplicas": 1,
            "serviceName": format!("svc-{name}"), "podTemplateHash": format!("hash-{name}") })
    };
    let arms = json!([arm("canary"), arm("stable")]);
    let experiment = world.experiments.get_mut(&name).unwrap();
    experiment.status.get_or_insert_default().template_statuses =
        serde_json::from_value(arms).unwrap();
    world.settle();
    let weights = |world: &World| {
        let weights = world.now_status().canary.weights.unwrap();
        let additional: Vec<_> = weights.additional.iter().map(|one| one.weight).collect();
        (additional, weights.canary.weight, weights.stable.weight)
    };
    assert_eq!(weights(&world), (vec![45, 30], 25, 0));
}
