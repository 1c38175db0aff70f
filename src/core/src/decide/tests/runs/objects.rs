//! What the runs of a Rollout are called, what is written in them, and how long they are kept.

use serde_json::{Value, json};
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::{AnalysisRun, keys};

use super::super::{cluster, deployed};
use super::{HASH, background, blue_green, names, plain, updated};
use crate::testing::{analysis, pause, rollout, run_of};

/// ANA-43, INV-7: what is not ours or not the same makes way for the next name; what is, is taken up.
#[test]
fn names_and_adoption() {
    let name = format!("web-{HASH}-2-1");
    // A pass that started a run and could not write its status.
    let found = |change: fn(&mut AnalysisRun)| {
        let mut world = updated(plain());
        world.status(|status| status.canary.current_step_analysis_run_status = None);
        change(world.runs.get_mut(&name).unwrap());
        world.settle();
        let current = world.now_status().canary.current_step_analysis_run_status;
        current.unwrap().name
    };
    let next = format!("{name}.1");
    assert_eq!(found(|_| {}), name, "the same");
    assert_eq!(found(|run| run.status = None), name, "not looked at yet");
    let over = |run: &mut AnalysisRun| {
        run.status.get_or_insert_default().phase = AnalysisPhase::Failed;
    };
    assert_eq!(found(over), next, "over");
    assert_eq!(found(|run| run.spec.args.clear()), next, "other arguments");
    assert_eq!(found(|run| run.spec.metrics.clear()), next, "other metrics");
    assert_eq!(
        found(|run| run.spec.terminate = true),
        next,
        "being stopped"
    );
    // ANA-90: as the peer writes what is empty.
    let mut world = updated(
        rollout("web")
            .replicas(4)
            .canary([analysis("job"), pause()])
            .with(|_| {}),
    );
    assert!(world.runs.is_empty(), "no such template");
    let job = |extra: Value| {
        let mut pods = json!({ "spec": { "containers": [{ "name": "t" }] } });
        if extra.is_object() {
            pods["metadata"] = extra.clone();
            pods["spec"]["containers"][0]["resources"] = extra;
        }
        let metrics =
            json!([{ "name": "m", "provider": { "job": { "spec": { "template": pods } } } }]);
        serde_json::from_value::<sluice_crds::analysis::AnalysisTemplateSpec>(
            json!({ "metrics": metrics }),
        )
        .unwrap()
    };
    world
        .references
        .templates
        .namespaced
        .insert("job".into(), Some(job(Value::Null)));
    world.settle();
    world.status(|status| status.canary.current_step_analysis_run_status = None);
    world.runs.values_mut().next().unwrap().spec.metrics = job(json!({})).metrics;
    world.settle();
    assert_eq!(world.runs.len(), 1, "empty is absent");

    let mut taken = deployed(plain());
    taken.set_image("web:v2");
    let mut seen = taken.observe();
    seen.taken_names.insert(name.clone());
    let mut made = Vec::new();
    for _ in 0..40 {
        let plan = crate::decide::decide(&seen, taken.now);
        made.extend(
            plan.actions
                .iter()
                .filter_map(|planned| match &planned.action {
                    crate::plan::Action::CreateAnalysisRun(run) => run.metadata.name.clone(),
                    _ => None,
                }),
        );
        taken.execute(&plan, usize::MAX);
        taken.play();
        seen = taken.observe();
        seen.taken_names.insert(name.clone());
    }
    assert_eq!(made, [format!("{name}.1")], "somebody else's");
}

/// ANA-25, ANA-29, ANA-44, ANA-90: the written form of a run.
#[test]
fn written_form() {
    let step = serde_json::from_value(json!({ "analysis": {
        "templates": [{ "templateName": "errors" }],
        "args": [
            { "name": "hash", "valueFrom": { "podTemplateHashValue": "Stable" } },
            { "name": "unknown", "value": "dropped" },
        ],
        "dryRun": [{ "metricName": "err" }],
        "measurementRetention": [{ "metricName": "err", "limit": 4 }],
        "analysisRunMetadata": {
            "labels": { "team": "a", "app": "overruled" }, "annotations": { "note": "b" } },
    } }));
    let world = updated(
        rollout("web")
            .replicas(4)
            .canary([step.unwrap()])
            .with(|r| {
                let labels = [
                    (keys::INSTANCE_ID.to_owned(), "blue".to_owned()),
                    ("of-the-rollout".to_owned(), "not copied".to_owned()),
                ];
                r.metadata.labels = Some(labels.into());
            }),
    );
    let run = world.runs.values().next().unwrap();
    assert_eq!(
        serde_json::to_value(&run.metadata.labels).unwrap(),
        json!({
            "app": "web", "team": "a", "rollouts-pod-template-hash": HASH, "rollout-type": "Step",
            "step-index": "0", "argo-rollouts.argoproj.io/controller-instance-id": "blue",
        })
    );
    assert_eq!(
        serde_json::to_value(&run.metadata.annotations).unwrap(),
        json!({ "rollout.argoproj.io/revision": "2", "note": "b" })
    );
    let owner = &run.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!(
        (owner.controller, owner.block_owner_deletion),
        (Some(true), Some(true))
    );
    assert_eq!(run.metadata.finalizers, None);
    let spec = serde_json::to_value(&run.spec).unwrap();
    let mut members: Vec<_> = spec.as_object().unwrap().keys().cloned().collect();
    members.sort();
    assert_eq!(
        members,
        ["args", "dryRun", "measurementRetention", "metrics"]
    );
    assert_eq!(
        spec["args"],
        json!([{ "name": "hash", "value": "5dfb79b7ff" }])
    );
    assert_eq!(spec["dryRun"], json!([{ "metricName": "err" }]));
}

/// ANA-44: what each kind is labelled and called.
#[test]
fn kinds() {
    let with_background =
        plain().strategy(|canary| canary.analysis = Some(Box::new(background(json!({})))));
    let mut seen = Vec::new();
    for rollout in [with_background, blue_green("pre"), blue_green("post")] {
        let world = updated(rollout);
        for (name, run) in &world.runs {
            let labels = run.metadata.labels.clone().unwrap();
            let index = labels.get(keys::STEP_INDEX).cloned().unwrap_or_default();
            seen.push(format!(
                "{} {} {index}",
                &name[name.len() - 5..],
                labels[keys::ROLLOUT_TYPE]
            ));
        }
    }
    assert_eq!(
        seen,
        [
            "5db-2 Background ",
            "b-2-1 Step 1",
            "2-pre PrePromotion ",
            "-post PostPromotion "
        ]
    );
}

/// ANA-45: limits by outcome, the newest stay; runs without a living ReplicaSet go.
#[test]
fn history() {
    let mut world = deployed(plain().with(|r| {
        let limits = json!({ "successfulRunHistoryLimit": 2, "unsuccessfulRunHistoryLimit": 1 });
        r.spec.analysis = Some(serde_json::from_value(limits).unwrap());
    }));
    let stable = world.now_status().stable_rs;
    let phases = [
        ("a", AnalysisPhase::Successful),
        ("b", AnalysisPhase::Failed),
        ("c", AnalysisPhase::Successful),
        ("d", AnalysisPhase::Error),
        ("e", AnalysisPhase::Successful),
        ("f", AnalysisPhase::Inconclusive),
        ("gone", AnalysisPhase::Successful),
        ("none", AnalysisPhase::Successful),
    ];
    for (age, (name, phase)) in phases.into_iter().enumerate() {
        let mut run = run_of(&plain(), name, phase);
        let hash = match name {
            "gone" => Some("0000000000"),
            "none" => None,
            _ => Some(stable.as_str()),
        };
        run.metadata.labels =
            hash.map(|hash| [(keys::POD_TEMPLATE_HASH.to_owned(), hash.to_owned())].into());
        let created = crate::testing::at(i64::try_from(age).unwrap());
        run.metadata.creation_timestamp = Some(sluice_crds::Time::new(created).into());
        world.runs.insert(name.to_owned(), run);
    }
    world.settle();
    assert_eq!(names(&world), ["c", "e", "f"]);
}

/// ANA-45, CTL-25: what belongs to a ReplicaSet that goes, goes with it.
#[test]
fn runs_go_with_their_replica_set() {
    let mut world = updated(plain().with(|r| r.spec.revision_history_limit = Some(0)));
    world.set_image("web:v3");
    world.settle();
    let name = names(&world)[0].to_owned();
    world.end_run(&name, AnalysisPhase::Failed, "");
    world.after(60);
    let status = world.now_status();
    let kept = [status.current_pod_hash, status.stable_rs];
    assert!(world.sets.len() == 2, "{:?}", world.sets.keys());
    for run in world.runs.values() {
        let hash = run.metadata.labels.as_ref().unwrap()[keys::POD_TEMPLATE_HASH].clone();
        assert!(kept.contains(&hash), "{hash}");
    }
    assert!(!world.runs.is_empty());
}

/// ANA-91: a run that has a phase when it is first recorded had no status before.
#[test]
fn a_run_that_is_found_begun() {
    let mut world = updated(plain());
    world.status(|status| status.canary.current_step_analysis_run_status = None);
    world.settle();
    assert_eq!(
        world.told(),
        [format!(
            "AnalysisRunRunning Step Analysis Run 'web-{HASH}-2-1' Status New: 'Running' \
             Previous: 'NoPreviousStatus'"
        )]
    );
}

/// ANA-26, ANA-46, API-51: a template that vanished is named, and nothing is started.
#[test]
fn a_missing_template() {
    let mut world = cluster(plain());
    world
        .references
        .templates
        .namespaced
        .insert("errors".into(), None);
    world.settle();
    let status = world.now_status();
    assert!(
        status
            .message
            .contains("AnalysisTemplate 'errors' not found"),
        "{}",
        status.message
    );
}
