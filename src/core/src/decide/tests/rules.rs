//! Rules about objects that only a whole update shows.

use sluice_crds::rollout::{CanaryStep, RolloutAnalysis};

use super::{deployed, traced};
use crate::event::EventType;
use crate::testing::{analysis, pause, rollout, weight};

/// API-19: an analysis without templates starts no run; the step that asks for one says so and
/// waits.
#[test]
fn no_templates_no_run() {
    let empty = CanaryStep {
        analysis: Some(Box::new(RolloutAnalysis::default())),
        ..CanaryStep::default()
    };
    let mut world = deployed(
        rollout("web")
            .replicas(4)
            .canary([weight(25), empty, pause()]),
    );
    world.set_image("web:v2");
    let plan = world.settle();
    assert!(world.runs.is_empty());
    assert_eq!(world.now_status().current_step_index, Some(1));
    assert!(!plan.why.is_empty(), "INV-15");
}

/// API-63, API-68: an abort by a failed analysis is a warning that names its cause; steps, pauses
/// and sizes are ordinary news.
#[test]
fn types_of_events() {
    let mut world = deployed(
        rollout("web")
            .replicas(4)
            .canary([weight(25), analysis("errors")]),
    );
    world.set_image("web:v2");
    world.settle();
    let run = world.runs.keys().next().unwrap().clone();
    world.end_run(
        &run,
        sluice_crds::analysis::AnalysisPhase::Failed,
        "too many",
    );
    world.settle();
    let warnings: Vec<_> = world
        .events
        .iter()
        .filter(|event| event.kind == EventType::Warning)
        .map(|event| format!("{}: {}", event.reason, event.message))
        .collect();
    assert_eq!(
        warnings,
        [
            format!(
                "AnalysisRunFailed: Step Analysis Run '{run}' Status New: 'Failed' Previous: 'Running'"
            ),
            "RolloutAborted: Rollout aborted update to revision 2: Step-based analysis phase \
             error/failed: too many"
                .to_owned(),
        ]
    );
    let told = traced(&mut world);
    for reason in [
        "RolloutStepCompleted",
        "ScalingReplicaSet",
        "RolloutUpdated",
    ] {
        assert!(told.contains(reason), "{told}");
    }
}
