//! Analyses and Experiments of a Rollout.

use expect_test::expect;
use serde_json::json;
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::rollout::{CanaryStep, RolloutAnalysisBackground};

use super::{deployed, istio, traced};
use crate::testing::world::World;
use crate::testing::{analysis, pause, rollout, weight};

fn background() -> RolloutAnalysisBackground {
    serde_json::from_value(json!({
        "templates": [{ "templateName": "errors" }],
        "args": [{ "name": "hash", "valueFrom": { "podTemplateHashValue": "Latest" } }],
        "startingStep": 1,
    }))
    .unwrap()
}

fn names(world: &World) -> String {
    let runs = world.runs.values().map(|run| {
        let end = if run.spec.terminate {
            " terminated"
        } else {
            ""
        };
        format!("{}{end}", run.metadata.name.as_deref().unwrap())
    });
    runs.collect::<Vec<_>>().join(", ")
}

/// ANA-37, ANA-38, ANA-41, ANA-91
#[test]
fn inline_and_background() {
    let mut world = deployed(
        istio(
            rollout("web")
                .replicas(4)
                .canary([weight(20), analysis("errors"), pause()]),
        )
        .strategy(|canary| canary.analysis = Some(Box::new(background()))),
    );
    world.set_image("web:v2");
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-84c5f745db (revision 2)
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 1
        RolloutUpdated Rollout updated to revision 2
        RolloutNotCompleted Rollout not completed, started update to revision 2 (84c5f745db)
        TrafficWeightUpdated Traffic weight updated 
        SwitchService Switched selector for service 'web-canary' from '5dfb79b7ff' to '84c5f745db'
        TrafficWeightUpdated Traffic weight updated from 0 to 20
        RolloutStepCompleted Rollout step 1/3 completed (setWeight: 20)
        AnalysisRunRunning Step Analysis Run 'web-84c5f745db-2-1' Status New: 'Running' Previous: ''
        AnalysisRunRunning Background Analysis Run 'web-84c5f745db-2' Status New: 'Running' Previous: ''
        step 1 pods 1/4 weight 20/80 Progressing: more replicas need to be updated
        waits: AnalysisRunning AnalysisRun/web-84c5f745db-2-1 has not ended yet"#]].assert_eq(&traced(&mut world));
    expect!["web-84c5f745db-2, web-84c5f745db-2-1"].assert_eq(&names(&world));
    world.end_run("web-84c5f745db-2-1", AnalysisPhase::Successful, "");
    expect![[r#"
        AnalysisRunSuccessful Step Analysis Run 'web-84c5f745db-2-1' Status New: 'Successful' Previous: 'Running'
        RolloutStepCompleted Rollout step 2/3 completed (analysis)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 2 pods 1/4 weight 20/80 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 3/3 pauses until the rollout is promoted"#]].assert_eq(&traced(&mut world));
    world.end_run("web-84c5f745db-2", AnalysisPhase::Failed, "too many");
    expect![[r#"
        SwitchService Switched selector for service 'web-canary' from '84c5f745db' to '5dfb79b7ff'
        AnalysisRunFailed Background Analysis Run 'web-84c5f745db-2' Status New: 'Failed' Previous: 'Running'
        RolloutAborted Rollout aborted update to revision 2: Background analysis phase error/failed: too many
        TrafficWeightUpdated Traffic weight updated from 20 to 0
        step 0 pods 1/4 weight 0/100 Degraded: RolloutAborted: Rollout aborted update to revision 2: Background analysis phase error/failed: too many
        waits: ScaleDownDelay ReplicaSet/web-84c5f745db is kept up after the abort
        waits: Aborted Rollout/web the update to revision 2 is aborted"#]].assert_eq(&traced(&mut world));
    world.retry();
    expect![[r#"
        SwitchService Switched selector for service 'web-canary' from '5dfb79b7ff' to '84c5f745db'
        TrafficWeightUpdated Traffic weight updated from 0 to 20
        RolloutStepCompleted Rollout step 1/3 completed (setWeight: 20)
        AnalysisRunRunning Step Analysis Run 'web-84c5f745db-2-1.1' Status New: 'Running' Previous: ''
        AnalysisRunRunning Background Analysis Run 'web-84c5f745db-2.1' Status New: 'Running' Previous: ''
        step 1 pods 1/4 weight 20/80 Progressing: more replicas need to be updated
        waits: AnalysisRunning AnalysisRun/web-84c5f745db-2-1.1 has not ended yet"#]].assert_eq(&traced(&mut world));
    expect!["web-84c5f745db-2, web-84c5f745db-2-1, web-84c5f745db-2-1.1, web-84c5f745db-2.1"]
        .assert_eq(&names(&world));
    world.promote_full();
    expect![[r#"
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 1 to 4
        SwitchService Switched selector for service 'web-stable' from '5dfb79b7ff' to '84c5f745db'
        RolloutCompleted Rollout completed update to revision 2 (84c5f745db): Full promotion requested
        TrafficWeightUpdated Traffic weight updated from 20 to 0
        step 3 pods 4/0+4 weight 0/100 Healthy
        waits: ScaleDownDelay ReplicaSet/web-5dfb79b7ff is kept for its scale-down delay"#]].assert_eq(&traced(&mut world));
    expect!["web-84c5f745db-2, web-84c5f745db-2-1, web-84c5f745db-2-1.1 terminated, web-84c5f745db-2.1 terminated"].assert_eq(&names(&world));
}

/// ANA-36, ANA-42: an inconclusive run pauses, resuming measures anew.
#[test]
fn inconclusive_pauses() {
    let mut world =
        deployed(
            rollout("web")
                .replicas(4)
                .canary([weight(25), analysis("errors"), pause()]),
        );
    world.set_image("web:v2");
    world.settle();
    world.told();
    world.end_run("web-84c5f745db-2-1", AnalysisPhase::Inconclusive, "");
    expect![[r#"
        AnalysisRunInconclusive Step Analysis Run 'web-84c5f745db-2-1' Status New: 'Inconclusive' Previous: 'Running'
        RolloutPaused Rollout is paused (InconclusiveAnalysisRun)
        step 1 pods 1/3 Paused: InconclusiveAnalysisRun
        waits: NeedsPromotion AnalysisRun/web-84c5f745db-2-1 was inconclusive, a person has to decide"#]].assert_eq(&traced(&mut world));
    world.promote();
    expect![[r#"
        AnalysisRunRunning Step Analysis Run 'web-84c5f745db-2-1.1' Status New: 'Running' Previous: ''
        step 1 pods 1/3 Progressing: more replicas need to be updated
        waits: AnalysisRunning AnalysisRun/web-84c5f745db-2-1.1 has not ended yet"#]].assert_eq(&traced(&mut world));
    expect!["web-84c5f745db-2-1, web-84c5f745db-2-1.1"].assert_eq(&names(&world));
}

/// INV-9, FLT-28: a run that somebody stopped promotes nothing.
#[test]
fn a_stopped_run_proves_nothing() {
    let mut world =
        deployed(
            rollout("web")
                .replicas(4)
                .canary([weight(25), analysis("errors"), pause()]),
        );
    world.set_image("web:v2");
    world.settle();
    let run = world.runs.values_mut().next().unwrap();
    run.spec.terminate = true;
    run.status.get_or_insert_default().phase = AnalysisPhase::Successful;
    world.settle();
    assert_eq!(world.now_status().current_step_index, Some(1));
    assert_eq!(world.now_status().message, "InconclusiveAnalysisRun");
}

fn experiment() -> CanaryStep {
    serde_json::from_value(json!({ "experiment": {
        "duration": "1m",
        "templates": [
            { "name": "baseline", "specRef": "stable", "weight": 5 },
            { "name": "canary", "specRef": "canary", "weight": 5 },
        ],
    } }))
    .unwrap()
}

/// EXP-19..23
#[test]
fn experiment_step_with_weights() {
    let mut world = deployed(istio(rollout("web").replicas(4).canary([
        experiment(),
        weight(50),
        pause(),
    ])));
    world.set_image("web:v2");
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-84c5f745db (revision 2)
        RolloutUpdated Rollout updated to revision 2
        RolloutNotCompleted Rollout not completed, started update to revision 2 (84c5f745db)
        TrafficWeightUpdated Traffic weight updated 
        ExperimentCreated Created Experiment 'web-84c5f745db-2-0'
        step 0 pods 0/4 weight 0/100 Progressing: more replicas need to be updated
        waits: SwitchWaitsForPods Service/web-canary switches to ReplicaSet web-84c5f745db once its pods are available
        waits: ExperimentRunning Experiment/web-84c5f745db-2-0 has not ended yet"#]].assert_eq(&traced(&mut world));
    let running = world.experiments.get_mut("web-84c5f745db-2-0").unwrap();
    let statuses = ["baseline", "canary"].map(|name| {
        json!({ "name": name, "status": "Running", "replicas": 1, "availableReplicas": 1,
            "serviceName": format!("svc-{name}"), "podTemplateHash": format!("hash-{name}") })
    });
    running.status.get_or_insert_default().template_statuses =
        serde_json::from_value(json!(statuses)).unwrap();
    expect![[r#"
        TrafficWeightUpdated Traffic weight updated additional: [{5 svc-baseline hash-baseline} {5 svc-canary hash-canary}]
        step 0 pods 0/4 weight 0/90 Progressing: more replicas need to be updated
        waits: SwitchWaitsForPods Service/web-canary switches to ReplicaSet web-84c5f745db once its pods are available
        waits: ExperimentRunning Experiment/web-84c5f745db-2-0 has not ended yet"#]].assert_eq(&traced(&mut world));
    let ended = world.experiments.get_mut("web-84c5f745db-2-0").unwrap();
    ended.status.get_or_insert_default().phase = AnalysisPhase::Successful;
    expect![[r#"
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 2
        TrafficWeightUpdated Traffic weight updated additional: []
        RolloutStepCompleted Rollout step 1/3 completed (experiment)
        SwitchService Switched selector for service 'web-canary' from '5dfb79b7ff' to '84c5f745db'
        TrafficWeightUpdated Traffic weight updated from 0 to 50
        RolloutStepCompleted Rollout step 2/3 completed (setWeight: 50)
        RolloutPaused Rollout is paused (CanaryPauseStep)
        step 2 pods 2/4 weight 50/50 Paused: CanaryPauseStep
        waits: NeedsPromotion Rollout/web step 3/3 pauses until the rollout is promoted"#]]
    .assert_eq(&traced(&mut world));
}
