//! Waits for analyses and experiments.

use std::sync::Arc;

use expect_test::expect;
use jiff::Timestamp;
use serde_json::{Value, json};
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::replica_set::ReplicaSetStatus;
use sluice_crds::rollout::{CanaryStep, RolloutAnalysis};
use sluice_crds::{Experiment, Time};

use super::stage::{command_moves, cured, updating};
use super::{check, stage};
use crate::decide::tests::deployed;
use crate::experiment::{ObservedExperiment, Write, decide_experiment};
use crate::plan::Action;
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, analysis, at, pause, pause_for, rollout, weight};

const ME: &str = "Rollout/web";

fn canary(steps: impl IntoIterator<Item = CanaryStep>) -> RolloutBuilder {
    rollout("web").replicas(2).canary(steps)
}

fn blue_green(member: &str, analysis: Value) -> RolloutBuilder {
    let wanted: RolloutAnalysis = serde_json::from_value(analysis).unwrap();
    let built = rollout("web").replicas(2).blue_green("active", "preview");
    built.with(|r| {
        let spec = r.spec.strategy.blue_green.as_mut().unwrap();
        let place = match member {
            "pre" => &mut spec.pre_promotion_analysis,
            _ => &mut spec.post_promotion_analysis,
        };
        *place = Some(Box::new(wanted));
    })
}

fn half_way(built: RolloutBuilder) -> World {
    let mut world = deployed(built);
    updating(&mut world);
    world
}

/// Its run measures since two minutes.
fn measuring(world: &mut World) -> String {
    let name = world.runs.keys().next().unwrap().clone();
    let status = json!({ "phase": "Running", "startedAt": Time::new(world.now),
        "metricResults": [{ "name": "errors", "phase": "Running", "count": 0, "error": 1,
            "consecutiveError": 1, "measurements": [
                { "phase": "Error", "message": "connection refused" }] }] });
    world.runs.get_mut(&name).unwrap().status = Some(serde_json::from_value(status).unwrap());
    world.settle();
    world.after(120);
    name
}

/// ANA-37: the analysis of a step.
#[test]
fn an_analysis_of_a_step() {
    let mut world = half_way(canary([analysis("errors"), weight(50), pause()]));
    let run = format!("AnalysisRun/{}", measuring(&mut world));
    check(
        &world,
        expect![[r#"
            Waiting: web waits for an analysis to end.
            waits: AnalysisRunning AnalysisRun/web-84c5f745db-2-0: has not ended yet; since -120 s
              $ kubectl argo rollouts promote web -n shop
              errors: last Error: connection refused; 0 of 1 measured; 0 failed, 0 tolerated; 1 error in a row, 4 tolerated
            then: step 2/3, setWeight: 50
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    command_moves(&world, "AnalysisRunning", &run);
    cured(&world, "AnalysisRunning", &run, |world| {
        let name = world.runs.keys().next().unwrap().clone();
        world.end_run(&name, AnalysisPhase::Successful, "");
    });
}

/// ANA-39, ANA-40: the analyses of blue-green.
#[test]
fn an_analysis_of_a_switch() {
    let mut said = Vec::new();
    for member in ["pre", "post"] {
        let analysis = json!({ "templates": [{ "templateName": "errors" }] });
        let mut world = half_way(blue_green(member, analysis));
        let run = format!("AnalysisRun/{}", measuring(&mut world));
        said.push(stage::said(&world));
        command_moves(&world, "AnalysisRunning", &run);
        cured(&world, "AnalysisRunning", &run, |world| {
            let name = world.runs.keys().next().unwrap().clone();
            world.end_run(&name, AnalysisPhase::Successful, "");
        });
    }
    expect![[r#"
        Waiting: web waits for an analysis to end.
        waits: AnalysisRunning AnalysisRun/web-84c5f745db-2-pre: has not ended yet; since -120 s
          $ kubectl argo rollouts promote web --full -n shop
          errors: last Error: connection refused; 0 of 1 measured; 0 failed, 0 tolerated; 1 error in a row, 4 tolerated
        then: Service active switches to the new version
        give up: kubectl argo rollouts abort web -n shop
        stuck in 481 s, aborts: false

        Waiting: web waits for an analysis to end.
        waits: AnalysisRunning AnalysisRun/web-84c5f745db-2-post: has not ended yet; since -120 s
          $ kubectl argo rollouts promote web --full -n shop
          errors: last Error: connection refused; 0 of 1 measured; 0 failed, 0 tolerated; 1 error in a row, 4 tolerated
        then: the new version becomes the stable one, and the old pods go
        give up: kubectl argo rollouts abort web -n shop"#]].assert_eq(&said.join("\n\n"));
}

/// ANA-43: an analysis is started just now.
#[test]
fn an_analysis_that_is_being_started() {
    let mut world = deployed(canary([analysis("errors"), pause()]));
    world.set_image("web:v2");
    let mut before = world.clone();
    while world.runs.is_empty() {
        before = world.clone();
        world.step();
        world.play();
    }
    check(
        &before,
        expect![[r#"
        Moving: web is moving; next: create ReplicaSet web-84c5f745db with 0 pods.
        waits: AnalysisRunning AnalysisRun/web-84c5f745db-2-0: is being started
        next: create ReplicaSet web-84c5f745db with 0 pods
        next: note the new revision on the Rollout
        next: start AnalysisRun web-84c5f745db-2-0"#]],
    );
}

fn unresolved() -> Value {
    json!({ "templates": [{ "templateName": "errors" }], "args": [{ "name": "hash",
        "valueFrom": { "fieldRef": { "fieldPath": "spec.progressDeadlineSeconds" } } }] })
}

/// Gives the Rollout what its analysis asks for.
fn supplied(world: &mut World) {
    world.edit(|r| r.spec.progress_deadline_seconds = Some(600));
}

/// ANA-31: an analysis that cannot be started holds its step, and is tried again.
#[test]
fn an_analysis_that_cannot_be_started() {
    let step = serde_json::from_value(json!({ "analysis": unresolved() })).unwrap();
    let mut world = half_way(canary([weight(50), step, pause()]));
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for the spec, or an object it names, to be corrected.
            waits: InvalidSpec Rollout/web: its Step analysis cannot be started: invalid path spec.progressDeadlineSeconds in rollout; looked at again +20 s
              ! correct the manifest and apply it; the rollout then goes on by itself
            then: step 3/3, pause
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    cured(&world, "InvalidSpec", ME, supplied);
    let mut world = half_way(blue_green("pre", unresolved()));
    world.after(30);
    check(
        &world,
        expect![[r#"
        Waiting: web waits for the spec, or an object it names, to be corrected.
        waits: InvalidSpec Rollout/web: its PrePromotion analysis cannot be started: invalid path spec.progressDeadlineSeconds in rollout; looked at again +20 s
          ! correct the manifest and apply it; the rollout then goes on by itself
        then: the analysis before the switch is made
        give up: kubectl argo rollouts abort web -n shop
        stuck in 571 s, aborts: false"#]],
    );
    cured(&world, "InvalidSpec", ME, supplied);
}

/// A background analysis that cannot be started does not hold the steps, and is no reason to say so.
#[test]
fn a_background_that_cannot_be_started() {
    let built = canary([weight(50), pause_for(3600), pause()]).strategy(|canary| {
        canary.analysis = Some(serde_json::from_value(unresolved()).unwrap());
    });
    let mut world = half_way(built);
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for a timed pause to end.
            waits: Paused Rollout/web: step 2/3 pauses for 3600 s; since -30 s; until +3570 s
              $ kubectl argo rollouts promote web -n shop
            waits: InvalidSpec Rollout/web: its Background analysis cannot be started: invalid path spec.progressDeadlineSeconds in rollout; looked at again +20 s
              ! correct the manifest and apply it; the rollout then goes on by itself
            then: step 3/3, pause
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    cured(&world, "InvalidSpec", ME, supplied);
}

/// An analysis step without templates measures nothing and never ends.
#[test]
fn an_analysis_without_templates() {
    let step = serde_json::from_value(json!({ "analysis": {} })).unwrap();
    let mut world = half_way(canary([weight(50), step, pause()]));
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for the spec, or an object it names, to be corrected.
            waits: InvalidSpec Rollout/web: step 2/3 is an analysis without templates: it never ends
              ! correct the manifest and apply it; the rollout then goes on by itself
            then: step 3/3, pause
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    cured(&world, "InvalidSpec", ME, |world| {
        world.edit(|r| {
            r.spec.strategy.canary.as_mut().unwrap().steps.remove(1);
        });
    });
}

fn experiment(extra: Value) -> CanaryStep {
    let mut step = json!({ "templates": [{ "name": "canary", "specRef": "canary" }] });
    crate::testing::world::merge(&mut step, &extra);
    serde_json::from_value(json!({ "experiment": step })).unwrap()
}

/// What the Experiment comes to by itself at this time, with all its pods available.
fn phase_of(experiment: &Experiment, now: Timestamp) -> AnalysisPhase {
    let mut seen = ObservedExperiment {
        experiment: Arc::new(experiment.clone()),
        ..ObservedExperiment::default()
    };
    for _ in 0..5 {
        let plan = decide_experiment(&seen, now);
        for action in plan.actions {
            if let Write::Shared(Action::CreateReplicaSet(mut set)) = action.write {
                set.status = Some(ReplicaSetStatus {
                    replicas: 1,
                    ready_replicas: 1,
                    available_replicas: 1,
                    ..ReplicaSetStatus::default()
                });
                set.spec.replicas = Some(1);
                seen.replica_sets.push(Arc::new(*set));
            }
        }
        if let Some(status) = plan.status {
            Arc::make_mut(&mut seen.experiment).status = Some(*status);
        }
    }
    let status = seen.experiment.status.clone();
    status.unwrap_or_default().phase
}

/// EXP-19: an experiment of a step, before its pods are there and after.
#[test]
fn an_experiment() {
    let mut world = half_way(canary([experiment(json!({ "duration": "5m" })), pause()]));
    let name = world.experiments.keys().next().unwrap().clone();
    let object = format!("Experiment/{name}");
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for an experiment to end.
            waits: ExperimentRunning Experiment/web-84c5f745db-2-0: has not ended yet
              $ kubectl argo rollouts promote web -n shop
              it lasts 5m, counted from when its pods are available
            then: step 2/2, pause
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    let status = json!({ "phase": "Running", "availableAt": Time::new(at(20)),
        "templateStatuses": [{ "name": "canary", "status": "Running", "replicas": 1,
            "availableReplicas": 1 }] });
    world.experiments.get_mut(&name).unwrap().status =
        Some(serde_json::from_value(status).unwrap());
    world.after(30);
    check(
        &world,
        expect![[r#"
        Waiting: web waits for an experiment to end.
        waits: ExperimentRunning Experiment/web-84c5f745db-2-0: has not ended yet; since -40 s; until +260 s
          $ kubectl argo rollouts promote web -n shop
          template canary: Running, 1 of 1 pods available
        then: step 2/2, pause
        give up: kubectl argo rollouts abort web -n shop"#]],
    );
    let until = stage::find(&stage::of(&world), "ExperimentRunning", &object)
        .unwrap()
        .until;
    let until = until.unwrap();
    let lives = |after| {
        let after = until.checked_add(jiff::SignedDuration::from_millis(after));
        phase_of(&world.experiments[&name], after.unwrap())
    };
    assert_eq!(lives(-1), AnalysisPhase::Running);
    assert_eq!(lives(1), AnalysisPhase::Successful);
    command_moves(&world, "ExperimentRunning", &object);
    cured(&world, "ExperimentRunning", &object, |world| {
        let experiment = world.experiments.get_mut(&name).unwrap();
        experiment.status.get_or_insert_default().phase = AnalysisPhase::Successful;
    });
}

/// EXP-10: an experiment that nothing ends, and one that its analysis ends.
#[test]
fn an_experiment_without_a_duration() {
    let mut world = half_way(canary([experiment(json!({})), pause()]));
    let object = format!("Experiment/{}", world.experiments.keys().next().unwrap());
    world.after(30);
    check(
        &world,
        expect![[r#"
        Waiting: web waits for an experiment to end.
        waits: ExperimentRunning Experiment/web-84c5f745db-2-0: has not ended yet
          $ kubectl argo rollouts terminate experiment web-84c5f745db-2-0 -n shop
          it has neither a duration nor a required analysis: it does not end
        then: step 2/2, pause
        give up: kubectl argo rollouts abort web -n shop"#]],
    );
    command_moves(&world, "ExperimentRunning", &object);
    let analyses = json!([{ "name": "check", "templateName": "errors",
        "requiredForCompletion": true }]);
    let step = experiment(json!({ "analyses": analyses }));
    let mut world = half_way(canary([step, pause()]));
    world.after(30);
    check(
        &world,
        expect![[r#"
        Waiting: web waits for an experiment to end.
        waits: ExperimentRunning Experiment/web-84c5f745db-2-0: has not ended yet
          $ kubectl argo rollouts promote web -n shop
          it ends with its required analyses
        then: step 2/2, pause
        give up: kubectl argo rollouts abort web -n shop"#]],
    );
    command_moves(&world, "ExperimentRunning", &object);
}

/// EXP-19: an experiment is started just now.
#[test]
fn an_experiment_that_is_being_started() {
    let mut world = deployed(canary([experiment(json!({})), pause()]));
    world.set_image("web:v2");
    let mut before = world.clone();
    while world.experiments.is_empty() {
        before = world.clone();
        world.step();
        world.play();
    }
    check(
        &before,
        expect![[r#"
        Moving: web is moving; next: start Experiment web-84c5f745db-2-0.
        waits: ExperimentRunning Experiment/web-84c5f745db-2-0: is being started
        next: start Experiment web-84c5f745db-2-0
        give up: kubectl argo rollouts abort web -n shop"#]],
    );
}

/// EXP-20: an experiment that cannot be started.
#[test]
fn an_experiment_that_cannot_be_started() {
    let analyses = json!([{ "name": "check", "templateName": "errors", "args": [{ "name": "hash",
        "valueFrom": { "fieldRef": { "fieldPath": "spec.progressDeadlineSeconds" } } }] }]);
    let mut world = half_way(canary([
        experiment(json!({ "analyses": analyses })),
        pause(),
    ]));
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for the spec, or an object it names, to be corrected.
            waits: InvalidSpec Rollout/web: its experiment cannot be started: invalid path spec.progressDeadlineSeconds in rollout; looked at again +20 s
              ! correct the manifest and apply it; the rollout then goes on by itself
            then: step 2/2, pause
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    cured(&world, "InvalidSpec", ME, supplied);
}
