//! Single rules of Experiments.

use super::*;
use crate::event::EventType;

fn one(extra: Value) -> Value {
    let mut spec = json!({"templates": [template("a", json!({}))]});
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

/// EXP-2: two ReplicaSets, or two Services, for one template: nothing is guessed.
#[test]
fn one_object_per_template() {
    let mut world = World::new(json!({"templates": [template("a", json!({"service": {}}))]}));
    world.settle();
    let mut twin = (*world.seen.replica_sets[0]).clone();
    twin.metadata.name = Some("twin".into());
    world.seen.replica_sets.push(Arc::new(twin));
    let plan = world.pass();
    assert!(plan.actions.is_empty());
    assert_eq!(
        plan.why[0].message,
        "multiple ReplicaSets match single experiment template: a"
    );
    world.seen.replica_sets.pop();
    let service = OwnedService {
        name: "twin".into(),
        template: "a".into(),
    };
    world.seen.services.push(service);
    let plan = world.pass();
    assert!(plan.actions.is_empty());
    assert_eq!(
        plan.why[0].message,
        "multiple Services match single experiment template: a"
    );
}

/// EXP-6, INV-16: a ReplicaSet of ours that lost its annotation is named, not fought for.
#[test]
fn a_replica_set_without_its_annotation() {
    let mut world = World::new(one(json!({})));
    world.settle();
    let mut set = (*world.seen.replica_sets[0]).clone();
    set.metadata.annotations = None;
    world.seen.replica_sets = vec![Arc::new(set)];
    let plan = world.pass();
    assert!(plan.actions.is_empty());
    assert!(
        world
            .phase()
            .starts_with("Error Failed to create ReplicaSet for template 'a'"),
        "{}",
        world.phase()
    );
}

/// EXP-3: what ends everything.
#[test]
fn terminating() {
    let stored = |status: Value| serde_json::from_value::<ExperimentStatus>(status).unwrap();
    let run = |name: &str, phase: &str| json!({"name": name, "phase": phase, "analysisRun": "x"});
    let world = World::new(one(json!({"analyses": [
        {"name": "must", "templateName": "ok", "requiredForCompletion": true},
        {"name": "also", "templateName": "ok", "requiredForCompletion": true},
        {"name": "may", "templateName": "ok"}]})));
    for (status, want) in [
        (json!({"phase": "Running"}), false),
        (json!({"phase": "Inconclusive"}), true),
        (
            json!({"templateStatuses": [{"name": "a", "status": "Failed"}]}),
            true,
        ),
        (
            json!({"templateStatuses": [{"name": "a", "status": "Error"}]}),
            true,
        ),
        (
            json!({"templateStatuses": [{"name": "a", "status": "Successful"}]}),
            false,
        ),
        (json!({"analysisRuns": [run("may", "Inconclusive")]}), true),
        (json!({"analysisRuns": [run("may", "Successful")]}), false),
        (json!({"analysisRuns": [run("must", "Successful")]}), false),
        (
            json!({"analysisRuns": [run("must", "Successful"), run("also", "Running")]}),
            false,
        ),
        (
            json!({"analysisRuns": [run("must", "Successful"), run("also", "Successful")]}),
            true,
        ),
    ] {
        let is = is_terminating(&world.seen.experiment, &stored(status.clone()));
        assert_eq!(is, want, "{status}");
    }
}

/// EXP-10: a duration that cannot be read never passes, one without analyses and terminate neither.
#[test]
fn endless() {
    for duration in ["", "soon"] {
        let mut world = World::new(one(json!({"duration": duration})));
        world.settle();
        world.second = 1_000_000;
        let plan = world.settle();
        assert_eq!(
            (world.phase().as_str(), plan.wake),
            ("Running", None),
            "{duration:?}"
        );
    }
}

/// EXP-10: pods that are lost again are given the deadline anew, then fail the Experiment.
#[test]
fn lost_pods() {
    let mut world = World::new(one(json!({"progressDeadlineSeconds": 60})));
    world.settle();
    world.second = 1000;
    world.pods(false);
    let plan = world.pass();
    assert_eq!(
        world.status().template_statuses[0].status,
        TemplateStatusCode::Progressing
    );
    assert_eq!(
        plan.wake.map(|at| at.as_second()),
        Some(at(1060).as_second())
    );
    world.second = 1061;
    world.pass();
    assert!(
        world.phase().starts_with("Failed Template 'a' exceeded"),
        "{}",
        world.phase()
    );
}

/// EXP-10: what the counters look like in writing, zeroes included.
#[test]
fn written_counters() {
    let mut world = World::new(one(json!({})));
    world.pass();
    let status = serde_json::to_value(&world.status().template_statuses[0]).unwrap();
    let mut members: Vec<_> = status.as_object().unwrap().keys().cloned().collect();
    members.sort();
    assert_eq!(
        members,
        [
            "availableReplicas",
            "lastTransitionTime",
            "name",
            "readyReplicas",
            "replicas",
            "status",
            "updatedReplicas"
        ]
    );
}

/// EXP-9: a Service or size that fails after the template has ended does not change how it ended.
#[test]
fn ended_templates_stay() {
    let mut world = World::new(json!({"duration": "1m", "scaleDownDelaySeconds": 0,
        "templates": [template("a", json!({"service": {}}))]}));
    world.settle();
    world.second = 61;
    world.pass();
    let refused = &mut world.seen.refused;
    refused.insert("Service/ab-a".into(), "forbidden".into());
    refused.insert("ReplicaSet/ab-a".into(), "forbidden".into());
    world.pass();
    world.pods(false);
    world.pass();
    assert_eq!(
        world.status().template_statuses[0].status,
        TemplateStatusCode::Successful
    );
    assert_eq!(world.phase(), "Successful");
}

fn analysed(extra: Value) -> World {
    World::new(one(json!({
        "duration": "1m",
        "analyses": [{"name": "check", "templateName": "ok"}],
        "analysisRunMetadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
    })))
    .with(extra)
}

impl World {
    fn with(mut self, extra: Value) -> Self {
        let mut spec = serde_json::to_value(&self.seen.experiment.spec).unwrap();
        for (key, value) in extra.as_object().unwrap() {
            spec[key] = value.clone();
        }
        self.edit(|e| e.spec = serde_json::from_value(spec).unwrap());
        self
    }

    fn made(&self, name: &str) -> AnalysisRun {
        let Some(Seen::Found(run)) = self.seen.analysis_runs.get(name) else {
            panic!("no {name}")
        };
        (**run).clone()
    }
}

/// EXP-11, EXP-12: runs begin once the pods are available, in this form.
#[test]
fn written_run() {
    let mut world = analysed(json!({"dryRun": [{"metricName": "m"}]}));
    world.seen.settings.instance_id = "blue".into();
    world.pass();
    world.pass();
    world.pods(false);
    world.pass();
    assert!(world.seen.analysis_runs.is_empty(), "EXP-11: not yet");
    world.pods(true);
    world.settle();
    let run = world.made("ab-check");
    assert_eq!(
        serde_json::to_value(&run.metadata.labels).unwrap(),
        json!({"argo-rollouts.argoproj.io/controller-instance-id": "blue", "team": "a"})
    );
    assert_eq!(
        serde_json::to_value(&run.metadata.annotations).unwrap(),
        json!({"note": "b"})
    );
    let owner = &run.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!(
        (owner.kind.as_str(), owner.uid.as_str()),
        ("Experiment", "u1")
    );
    assert_eq!(run.spec.dry_run[0].metric_name, "m");
    assert_eq!(
        run.spec.args[0].value.as_deref(),
        Some("x"),
        "the template's default"
    );
    assert_eq!(run.spec.ttl_strategy, None, "ANA-24");
}

/// ANA-32: what arguments may refer to, and that only values count.
#[test]
fn arguments() {
    let value = |text: &str, duration: &str| {
        let args = json!([{"name": "url", "value": text}]);
        let mut world = analysed(json!({
            "duration": duration,
            "analyses": [{"name": "check", "templateName": "ok", "args": args}]}));
        world.settle();
        match world.seen.analysis_runs.get("ab-check") {
            Some(Seen::Found(run)) => run.spec.args[0].value.clone().unwrap(),
            _ => world.phase(),
        }
    };
    let hash = {
        let mut world = analysed(json!({}));
        world.settle();
        world.seen.replica_sets[0].pod_hash().unwrap().to_owned()
    };
    assert_eq!(value("{{templates.a.podTemplateHash}}", "1m"), hash);
    assert_eq!(value("{{ templates.a.replicaset.name }}", "1m"), "ab-a");
    assert_eq!(
        value("{{experiment.availableAt}}", "1m"),
        "2027-01-15T08:00:00Z"
    );
    assert_eq!(
        value("{{experiment.finishedAt}}", "1m"),
        "2027-01-15T08:01:00Z"
    );
    let failed = "Error Failed to create AnalysisRun for analysis 'check': failed to resolve ";
    assert_eq!(
        value("{{experiment.finishedAt}}", ""),
        format!("{failed}{{{{experiment.finishedAt}}}}"),
        "without an end"
    );
    assert_eq!(value("{{args.x}}", "1m"), format!("{failed}{{{{args.x}}}}"));
}

/// ANA-26, ASE-7: templates that refer to each other, and to themselves.
#[test]
fn nested_templates() {
    let spec = |value: Value| Some(serde_json::from_value(value).unwrap());
    let metric = |name: &str| json!([{"name": name, "provider": {"web": {"url": "x"}}}]);
    let mut world = analysed(json!({}));
    let store = &mut world.seen.templates;
    store.namespaced.insert(
        "ok".into(),
        spec(json!({"metrics": metric("own"), "templates": [
            {"templateName": "far", "clusterScope": true}, {"templateName": "near"}]})),
    );
    store
        .cluster
        .insert("far".into(), spec(json!({"metrics": metric("far")})));
    store
        .namespaced
        .insert("near".into(), spec(json!({"metrics": metric("near")})));
    world.settle();
    let run = world.made("ab-check");
    let names: Vec<_> = run.spec.metrics.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["own", "near", "far"]);

    let mut cycle = analysed(json!({}));
    cycle.seen.templates.namespaced.insert(
        "ok".into(),
        spec(json!({"metrics": metric("m"), "templates": [{"templateName": "ok"}]})),
    );
    cycle.settle();
    assert_eq!(
        cycle.phase(),
        "Error Failed to create AnalysisRun for analysis 'check': \
         AnalysisTemplate 'ok' refers to itself by way of its templates"
    );
}

/// EXP-11: a ClusterAnalysisTemplate that is not there.
#[test]
fn a_missing_cluster_template() {
    let analyses = json!([{"name": "check", "templateName": "far", "clusterScope": true}]);
    let mut world = analysed(json!({"analyses": analyses}));
    world.seen.templates.cluster.insert("far".into(), None);
    world.settle();
    assert_eq!(
        world.phase(),
        "Error ClusterAnalysisTemplate verification failed for analysis 'check': \
         clusteranalysistemplate.argoproj.io \"far\" not found"
    );
}

/// EXP-13: a run that cannot be read is asked for again soon (INV-15).
#[test]
fn an_unread_run() {
    let mut world = analysed(json!({}));
    world.settle();
    let unread = Seen::Unread("timeout".into());
    world.seen.analysis_runs.insert("ab-check".into(), unread);
    let plan = world.pass();
    assert!(plan.status.is_none());
    assert_eq!(plan.wake, Some(at(5)));
    assert_eq!(plan.why[0].until, Some(at(5)));
}

/// EXP-12, INV-7: a run that an interrupted pass started is taken up; one that differs is not.
#[test]
fn adoption() {
    let spec = {
        let mut world = analysed(json!({}));
        world.settle();
        world.made("ab-check").spec
    };
    let found = |change: fn(&mut AnalysisRun)| {
        let mut run = AnalysisRun::default();
        run.metadata.name = Some("ab-check".into());
        run.spec = spec.clone();
        change(&mut run);
        let mut world = analysed(json!({}));
        let run = Seen::Found(Arc::new(run));
        world.seen.analysis_runs.insert("ab-check".into(), run);
        world.settle();
        world.status().analysis_runs[0].analysis_run.clone()
    };
    assert_eq!(found(|_| {}), "ab-check");
    assert_eq!(found(|run| run.spec.metrics.clear()), "ab-check.1");
    let over = |run: &mut AnalysisRun| {
        run.status.get_or_insert_default().phase = AnalysisPhase::Failed;
    };
    assert_eq!(found(over), "ab-check.1");
}

/// EXP-15: what analyses and templates come to.
#[test]
fn verdicts() {
    let run = |required: bool, phase: AnalysisPhase, second: i64| {
        let analyses = json!([{"name": "check", "templateName": "ok",
            "requiredForCompletion": required}]);
        let mut world = analysed(json!({"analyses": analyses}));
        world.settle();
        world.second = second;
        world.measured("ab-check", phase);
        world.settle();
        world.phase()
    };
    for (required, phase, second, want) in [
        (false, AnalysisPhase::Running, 5, "Running"),
        (false, AnalysisPhase::Successful, 5, "Running"),
        (false, AnalysisPhase::Successful, 62, "Successful"),
        (false, AnalysisPhase::Running, 62, "Successful"),
        (false, AnalysisPhase::Inconclusive, 5, "Inconclusive"),
        (false, AnalysisPhase::Error, 5, "Error"),
        (true, AnalysisPhase::Running, 62, "Running"),
        (
            true,
            AnalysisPhase::Successful,
            5,
            "Successful Required AnalysisRuns completed",
        ),
        (true, AnalysisPhase::Failed, 62, "Failed"),
    ] {
        assert_eq!(
            run(required, phase.clone(), second),
            want,
            "{required} {phase} {second}"
        );
    }
}

/// EXP-16: what is final stays, and what follows only cleans up.
#[test]
fn over_is_over() {
    let mut world = analysed(json!({}));
    world.settle();
    world.measured("ab-check", AnalysisPhase::Failed);
    world.settle();
    world.measured("ab-check", AnalysisPhase::Successful);
    world.second = 40;
    let plan = world.settle();
    assert_eq!(world.phase(), "Failed");
    assert_eq!(world.seen.replica_sets[0].spec.replicas, Some(0));
    assert_eq!(plan.wake, None);
}

/// EXP-14, EXP-17: types of events; copies for the Rollout that owns the Experiment, for nobody else.
#[test]
fn events() {
    let mut world = analysed(json!({}));
    world.settle();
    world.measured("ab-check", AnalysisPhase::Inconclusive);
    let plan = world.pass();
    let kinds: Vec<_> = plan
        .events
        .iter()
        .map(|event| (event.kind, event.reason.as_str()))
        .collect();
    assert_eq!(
        kinds,
        [
            (EventType::Warning, "AnalysisRunInconclusive"),
            (EventType::Warning, "ExperimentInconclusive")
        ]
    );
    assert_eq!(plan.owner_events.len(), 1);
    let mut alone = analysed(json!({}));
    alone.edit(|e| e.metadata.owner_references = None);
    alone.settle();
    alone.measured("ab-check", AnalysisPhase::Failed);
    assert!(alone.pass().owner_events.is_empty());
}

/// FLT-30, INV-1: pods stay while the Rollout still sends them requests, whatever the delay.
#[test]
fn pods_stay_while_they_are_routed_to() {
    for delay in [0, 5] {
        let mut world = World::new(json!({"duration": "1m", "scaleDownDelaySeconds": delay,
            "templates": [template("a", json!({"service": {}}))]}));
        world.settle();
        world.seen.routed.insert("ab-a".into());
        world.second = 61;
        world.settle();
        world.second += delay;
        let plan = world.settle();
        assert_eq!(world.phase(), "Successful");
        assert_eq!(world.seen.replica_sets[0].spec.replicas, Some(1), "{delay}");
        assert_eq!(plan.wake, Some(at(world.second + 1)));
        assert!(!plan.why.is_empty(), "INV-15");
        world.seen.routed.clear();
        let plan = world.settle();
        assert_eq!(world.seen.replica_sets[0].spec.replicas, Some(0), "{delay}");
        assert_eq!(plan.wake, None);
    }
}

/// ASE-18: an Experiment that becomes invalid while it runs ends, and its pods go.
#[test]
fn invalid_in_the_middle() {
    let mut world = World::new(one(json!({})));
    world.settle();
    world.edit(|e| e.spec.templates[0].selector = None);
    let plan = world.settle();
    assert!(world.phase().starts_with("Error "), "{}", world.phase());
    assert_eq!(world.seen.replica_sets[0].spec.replicas, Some(0));
    assert_eq!(plan.why[0].reason, Reason::InvalidSpec);
}

/// EXP-8, CLI-28: a retry runs everything again, the delay at its end included.
#[test]
fn retried() {
    let mut world = analysed(json!({"scaleDownDelaySeconds": 10}));
    world.settle();
    world.measured("ab-check", AnalysisPhase::Failed);
    world.settle();
    world.second = 11;
    world.settle();
    assert_eq!(world.seen.replica_sets[0].spec.replicas, Some(0));
    world.edit(|e| e.status = None);
    world.settle();
    assert_eq!(world.phase(), "Running");
    assert_eq!(world.status().analysis_runs[0].analysis_run, "ab-check.1");
    world.measured("ab-check.1", AnalysisPhase::Successful);
    world.second = 80;
    world.settle();
    assert_eq!(world.phase(), "Successful");
    assert_eq!(
        world.seen.replica_sets[0].spec.replicas,
        Some(1),
        "its delay"
    );
    // Again, within the delay: the pods are still there, and get a whole one at the end.
    world.second = 85;
    world.edit(|e| e.status = None);
    world.settle();
    let set = &world.seen.replica_sets[0];
    assert_eq!(set.annotation(keys::SCALE_DOWN_DEADLINE), None);
    assert_eq!(world.phase(), "Running");
}

/// EXP-18: the earliest of the ends; none while everything is being brought to its end.
#[test]
fn timers() {
    let mut world = World::new(one(
        json!({"duration": "1h", "progressDeadlineSeconds": 60}),
    ));
    world.settle();
    world.pods(false);
    let seconds = |plan: ExperimentPlan| {
        plan.wake
            .map(|at| at.as_second() - super::at(0).as_second())
    };
    assert_eq!(seconds(world.pass()), Some(60));
    world.pods(true);
    assert_eq!(seconds(world.settle()), Some(3600));
    world.edit(|e| {
        e.spec.terminate = true;
        e.spec.scale_down_delay_seconds = Some(0);
    });
    assert_eq!(seconds(world.settle()), None);
}

/// EXP-1: an Experiment that is being deleted is left alone.
#[test]
fn deleted() {
    let mut world = analysed(json!({}));
    world.settle();
    world.edit(|e| {
        e.metadata.deletion_timestamp = Some(sluice_crds::Time::new(at(0)).into());
        e.spec.terminate = true;
    });
    let plan = world.pass();
    assert!(plan.actions.is_empty() && plan.status.is_none());
}
