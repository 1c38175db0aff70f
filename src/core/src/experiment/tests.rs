use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use sluice_crds::analysis::AnalysisRunStatus;
use sluice_crds::replica_set::ReplicaSetStatus;
use sluice_crds::{ReplicaSet, keys};

use super::*;
use crate::testing::{at, records};

mod refused;
mod rules;

/// A small cluster: writes are carried out, pods become available when told to.
struct World {
    seen: ObservedExperiment,
    second: i64,
    log: Vec<String>,
    owner_log: Vec<String>,
}

fn template(name: &str, extra: Value) -> Value {
    let mut template = json!({
        "name": name,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:v1", "ports": [{"name": "http", "containerPort": 80}]}]},
        },
    });
    for (key, value) in extra.as_object().unwrap() {
        template[key] = value.clone();
    }
    template
}

impl World {
    fn new(spec: Value) -> Self {
        let experiment: Experiment = serde_json::from_value(json!({
            "metadata": {"name": "ab", "namespace": "shop", "uid": "u1", "ownerReferences": [
                {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": "r", "controller": true}]},
            "spec": spec,
        }))
        .unwrap();
        let mut seen = ObservedExperiment {
            experiment: Arc::new(experiment),
            ..Default::default()
        };
        let ok = json!({"metrics": [{"name": "m", "provider": {"web": {"url": "{{args.url}}"}}}], "args": [{"name": "url", "value": "x"}]});
        seen.templates
            .namespaced
            .insert("ok".into(), Some(serde_json::from_value(ok).unwrap()));
        seen.templates.namespaced.insert("gone".into(), None);
        Self {
            seen,
            second: 0,
            log: Vec::new(),
            owner_log: Vec::new(),
        }
    }

    fn edit(&mut self, change: impl FnOnce(&mut Experiment)) {
        let mut experiment = (*self.seen.experiment).clone();
        change(&mut experiment);
        self.seen.experiment = Arc::new(experiment);
    }

    fn status(&self) -> ExperimentStatus {
        self.seen.experiment.status.clone().unwrap_or_default()
    }

    fn phase(&self) -> String {
        let status = self.status();
        format!("{} {}", status.phase, status.message)
            .trim()
            .to_owned()
    }

    fn pass(&mut self) -> ExperimentPlan {
        let plan = decide_experiment(&self.seen, at(self.second));
        for action in &plan.actions {
            self.carry_out(&action.write);
            self.log
                .extend(action.events.iter().map(|e| e.message.clone()));
        }
        if let Some(status) = &plan.status {
            self.edit(|e| e.status = Some((**status).clone()));
        }
        self.log
            .extend(plan.events.iter().map(|e| e.message.clone()));
        self.owner_log
            .extend(plan.owner_events.iter().map(|e| e.message.clone()));
        plan
    }

    fn carry_out(&mut self, write: &Write) {
        match write {
            Write::Shared(Action::CreateReplicaSet(set)) => {
                let status = Some(ReplicaSetStatus::default());
                self.seen.replica_sets.push(Arc::new(ReplicaSet {
                    status,
                    ..(**set).clone()
                }));
            }
            Write::Shared(Action::PatchReplicaSet { name, patch, .. }) => self.patch(name, patch),
            Write::Shared(Action::CreateAnalysisRun(run)) => {
                let name = run.metadata.name.clone().unwrap();
                self.log.push(format!("run {name}"));
                self.seen
                    .analysis_runs
                    .insert(name, Seen::Found(Arc::new((**run).clone())));
            }
            Write::Shared(Action::TerminateAnalysisRun { name }) => {
                self.run(name, |run| run.spec.terminate = true);
            }
            Write::CreateService(service) => {
                let text = |pointer: &str| {
                    service
                        .pointer(pointer)
                        .unwrap()
                        .as_str()
                        .unwrap()
                        .to_owned()
                };
                let template = service["metadata"]["annotations"][keys::EXPERIMENT_TEMPLATE]
                    .as_str()
                    .unwrap();
                self.log.push(format!("service {}", text("/metadata/name")));
                self.seen.services.push(OwnedService {
                    name: text("/metadata/name"),
                    template: template.to_owned(),
                });
            }
            Write::DeleteService { name } => {
                self.log.push(format!("service {name} gone"));
                self.seen.services.retain(|service| service.name != *name);
            }
            Write::Shared(other) => panic!("{other:?}"),
        }
    }

    fn patch(&mut self, name: &str, patch: &Value) {
        for set in &mut self.seen.replica_sets {
            if set.metadata.name.as_deref() != Some(name) {
                continue;
            }
            let mut next = (**set).clone();
            if let Some(replicas) = patch.pointer("/spec/replicas") {
                next.spec.replicas = Some(replicas.as_i64().unwrap().try_into().unwrap());
            }
            if let Some(deadline) = patch
                .pointer("/metadata/annotations")
                .and_then(|a| a.get(keys::SCALE_DOWN_DEADLINE))
            {
                let annotations = next.metadata.annotations.get_or_insert_default();
                match deadline.as_str() {
                    Some(text) => annotations.insert(keys::SCALE_DOWN_DEADLINE.into(), text.into()),
                    None => annotations.remove(keys::SCALE_DOWN_DEADLINE),
                };
            }
            *set = Arc::new(next);
        }
    }

    /// All pods that are asked for exist, and all or none of them are available.
    fn pods(&mut self, available: bool) {
        for set in &mut self.seen.replica_sets {
            let mut next = (**set).clone();
            let replicas = next.spec.replicas.unwrap();
            let available_replicas = if available { replicas } else { 0 };
            next.status = Some(ReplicaSetStatus {
                replicas,
                ready_replicas: available_replicas,
                available_replicas,
                ..ReplicaSetStatus::default()
            });
            *set = Arc::new(next);
        }
    }

    fn run(&mut self, name: &str, change: impl FnOnce(&mut AnalysisRun)) {
        let Some(Seen::Found(run)) = self.seen.analysis_runs.get(name) else {
            panic!("no {name}")
        };
        let mut run = (**run).clone();
        change(&mut run);
        self.seen
            .analysis_runs
            .insert(name.to_owned(), Seen::Found(Arc::new(run)));
    }

    fn measured(&mut self, name: &str, phase: AnalysisPhase) {
        self.run(name, |run| {
            run.status = Some(AnalysisRunStatus {
                phase,
                ..Default::default()
            })
        });
    }

    /// Until nothing is written any more; pods are available at once.
    fn settle(&mut self) -> ExperimentPlan {
        for _ in 0..20 {
            let plan = self.pass();
            self.pods(true);
            if plan.actions.is_empty() && plan.status.is_none() {
                return plan;
            }
        }
        panic!("does not settle: {:?}", self.status())
    }
}

/// EXP-5, EXP-8..10, EXP-15..18: the life of an Experiment with a duration.
#[test]
fn life() {
    let mut world = World::new(
        json!({"duration": "1m", "templates": [template("a", json!({})), template("b", json!({"replicas": 2}))]}),
    );
    let plan = world.settle();
    assert_eq!(world.phase(), "Running");
    assert_eq!(plan.wake.map(|at| at.as_second()), Some(at(60).as_second()));
    assert_eq!(
        world.log,
        [
            "Template 'a' transitioned from  -> Progressing",
            "Template 'b' transitioned from  -> Progressing",
            "Experiment transitioned from  -> Pending",
            "Scaled up ReplicaSet ab-a from 0 to 1",
            "Scaled up ReplicaSet ab-b from 0 to 2",
            "Template 'a' transitioned from Progressing -> Running",
            "Template 'b' transitioned from Progressing -> Running",
            "Experiment transitioned from Pending -> Running",
        ]
    );
    world.log.clear();
    world.second = 60;
    assert!(world.pass().actions.is_empty(), "strictly after");
    world.second = 61;
    let plan = world.settle();
    assert_eq!(world.phase(), "Successful");
    assert_eq!(plan.wake, Some(at(91)));
    assert!(!plan.why.is_empty(), "INV-15");
    assert_eq!(
        world.seen.replica_sets[0].spec.replicas,
        Some(1),
        "kept for its delay"
    );
    assert_eq!(
        world.seen.replica_sets[0].annotation(keys::SCALE_DOWN_DEADLINE),
        Some("2027-01-15T08:01:31Z")
    );
    world.second = 91;
    let plan = world.settle();
    assert_eq!(world.seen.replica_sets[1].spec.replicas, Some(0));
    assert_eq!(
        world.status().template_statuses[1].replicas,
        0,
        "counters follow to the end"
    );
    assert_eq!((plan.wake, plan.why), (None, vec![]), "INV-8: at rest");
    assert_eq!(
        world.log[2..],
        [
            "Experiment transitioned from Running -> Successful",
            "Scaled down ReplicaSet ab-a from 1 to 0",
            "Scaled down ReplicaSet ab-b from 2 to 0",
        ]
    );
    let conditions = world.status().conditions;
    assert_eq!(
        conditions[0].message,
        "Experiment \"ab\" has successfully ran and completed."
    );
}

/// EXP-8 without delay, EXP-16
#[test]
fn terminated() {
    let mut world =
        World::new(json!({"scaleDownDelaySeconds": 0, "templates": [template("a", json!({}))]}));
    assert_eq!(world.settle().wake, None, "endless");
    world.edit(|e| e.spec.terminate = true);
    world.settle();
    assert_eq!(world.phase(), "Successful");
    assert_eq!(world.seen.replica_sets[0].spec.replicas, Some(0));
    let mut early = World::new(json!({"terminate": true, "templates": [template("a", json!({}))]}));
    early.settle();
    assert_eq!(early.phase(), "Successful");
    assert!(
        early.seen.replica_sets.is_empty(),
        "ASE-24: nothing is made any more"
    );
}

/// EXP-10: pods that do not come, and pods that are lost again.
#[test]
fn deadline() {
    let mut world =
        World::new(json!({"progressDeadlineSeconds": 60, "templates": [template("a", json!({}))]}));
    world.pass();
    world.pass();
    world.pods(false);
    let plan = world.pass();
    assert_eq!(plan.wake.map(|at| at.as_second()), Some(at(60).as_second()));
    world.second = 61;
    world.pass();
    assert_eq!(
        world.phase(),
        "Failed Template 'a' exceeded its progressDeadlineSeconds (60)"
    );
    assert_eq!(world.status().conditions[0].status, "False", "ASE-24");
    assert_eq!(
        world.log.last().unwrap(),
        "Experiment transitioned from Pending -> Failed"
    );
}

/// EXP-6, EXP-9, ASE-20: what the API server refuses.
#[test]
fn refusals() {
    let spec = || json!({"templates": [template("a", json!({"service": {}}))]});
    let mut taken = World::new(spec());
    taken.pass();
    taken.seen.replica_sets.clear();
    taken.seen.taken_names.insert("ReplicaSet/ab-a".into());
    taken.pass();
    assert!(taken.phase().starts_with("Error Failed to create ReplicaSet for template 'a': replicasets.apps \"ab-a\" already exists"));
    let mut service = World::new(spec());
    service.pass();
    service.seen.taken_names.insert("Service/ab-a".into());
    service.pass();
    assert_eq!(
        service.phase(),
        "Error Failed to create Service ab-a for template 'a': service ab-a already exists and is not owned by experiment template a"
    );
    let mut scale = World::new(json!({"templates": [template("a", json!({}))]}));
    scale.pass();
    scale
        .seen
        .refused
        .insert("ReplicaSet/ab-a".into(), "forbidden".into());
    scale.pass();
    assert_eq!(
        scale.phase(),
        "Error Unable to scale ReplicaSet for template 'a' to desired replica count '1': forbidden"
    );
}

/// EXP-7, ASE-19
#[test]
fn services() {
    let mut world = World::new(
        json!({"duration": "1m", "scaleDownDelaySeconds": 0, "templates": [
        template("a", json!({"service": {}})), template("b", json!({"service": {"name": "mine"}})), template("c", json!({}))]}),
    );
    world.settle();
    let services: Vec<_> = world
        .seen
        .services
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    assert_eq!(services, ["ab-a", "mine"]);
    let statuses = world.status().template_statuses;
    assert_eq!(statuses[1].service_name, "mine");
    assert_eq!(
        statuses[0].pod_template_hash,
        world.seen.replica_sets[0].pod_hash().unwrap()
    );
    assert_eq!(statuses[2].service_name, "");
    let selectors: Vec<_> = world
        .seen
        .replica_sets
        .iter()
        .map(|s| s.spec.selector.clone())
        .collect();
    assert_ne!(selectors[0], selectors[1], "equal pods are told apart");
    world.second = 62;
    world.settle();
    assert!(world.seen.services.is_empty());
    assert_eq!(world.status().template_statuses[1].service_name, "");
}

fn analysed(extra: Value) -> World {
    let mut analysis = json!({"name": "check", "templateName": "ok"});
    for (key, value) in extra.as_object().unwrap() {
        analysis[key] = value.clone();
    }
    World::new(
        json!({"duration": "1m", "templates": [template("a", json!({}))], "analyses": [analysis]}),
    )
}

/// EXP-11..14
#[test]
fn analyses() {
    let mut world = analysed(
        json!({"args": [{"name": "url", "value": "http://{{templates.a.replicaset.name}}/{{ experiment.finishedAt }}"}]}),
    );
    world.settle();
    assert_eq!(world.status().analysis_runs[0].analysis_run, "ab-check");
    let Some(Seen::Found(run)) = world.seen.analysis_runs.get("ab-check") else {
        panic!()
    };
    assert_eq!(
        run.spec.args[0].value.as_deref(),
        Some("http://ab-a/2027-01-15T08:01:00Z")
    );
    world.measured("ab-check", AnalysisPhase::Failed);
    world.settle();
    assert_eq!(world.phase(), "Failed");
    assert_eq!(
        world.owner_log,
        [
            "AnalysisRun 'check' transitioned from  -> Pending",
            "AnalysisRun 'check' transitioned from Pending -> Failed"
        ]
    );
}

/// EXP-15: required analyses end it, and nothing else is waited for (ASE-22).
#[test]
fn required() {
    let mut world = analysed(json!({"requiredForCompletion": true}));
    world.edit(|e| {
        let mut second = e.spec.analyses[0].clone();
        second.name = "slow".into();
        second.required_for_completion = false;
        e.spec.analyses.push(second);
    });
    world.settle();
    world.measured("ab-slow", AnalysisPhase::Running);
    world.measured("ab-check", AnalysisPhase::Successful);
    world.settle();
    assert_eq!(world.phase(), "Successful Required AnalysisRuns completed");
    assert!(world.log.contains(&"Terminating slow (ab-slow)".to_owned()));
    world.measured("ab-slow", AnalysisPhase::Successful);
    world.settle();
    assert_eq!(
        world.status().analysis_runs[1].phase,
        AnalysisPhase::Successful,
        "ASE-22: still copied"
    );
    let mut waiting = analysed(json!({"requiredForCompletion": true}));
    waiting.settle();
    waiting.second = 62;
    waiting.settle();
    assert_eq!(
        waiting.phase(),
        "Running",
        "pods go, the required run is waited for"
    );
}

/// EXP-11, EXP-12: what can go wrong before a run exists.
#[test]
fn analyses_that_cannot_start() {
    let mut missing = analysed(json!({"templateName": "gone"}));
    missing.pass();
    missing.settle();
    assert_eq!(
        missing.phase(),
        "Error AnalysisTemplate verification failed for analysis 'check': analysistemplate.argoproj.io \"gone\" not found"
    );
    let mut tag =
        analysed(json!({"args": [{"name": "url", "value": "{{templates.x.podTemplateHash}}"}]}));
    tag.settle();
    assert_eq!(
        tag.phase(),
        "Error Failed to create AnalysisRun for analysis 'check': failed to resolve {{templates.x.podTemplateHash}}"
    );
    let mut taken = analysed(json!({}));
    taken.seen.taken_names.insert("AnalysisRun/ab-check".into());
    taken.settle();
    assert_eq!(taken.status().analysis_runs[0].analysis_run, "ab-check.1");
    let mut lost = analysed(json!({}));
    lost.settle();
    lost.seen
        .analysis_runs
        .insert("ab-check".into(), Seen::Unread("timeout".into()));
    assert!(lost.pass().status.is_none(), "unread is not absent");
    lost.seen
        .analysis_runs
        .insert("ab-check".into(), Seen::Absent);
    lost.settle();
    assert_eq!(
        lost.phase(),
        "Error analysisruns.argoproj.io \"ab-check\" not found"
    );
}

/// ASE-21: a rule has to fit one run, not each.
#[test]
fn rules_fit_one_run() {
    let mut world = analysed(json!({}));
    let other = json!({"metrics": [{"name": "other", "provider": {"web": {"url": "x"}}}]});
    world.seen.templates.namespaced.insert(
        "second".into(),
        Some(serde_json::from_value(other).unwrap()),
    );
    world.edit(|e| {
        let mut second = e.spec.analyses[0].clone();
        second.name = "second".into();
        second.template_name = "second".into();
        e.spec.analyses.push(second);
        e.spec.dry_run =
            serde_json::from_value(json!([{"metricName": "other"}, {"metricName": "none"}]))
                .unwrap();
    });
    world.settle();
    let rules = |name: &str| {
        let Some(Seen::Found(run)) = world.seen.analysis_runs.get(name) else {
            panic!()
        };
        run.spec
            .dry_run
            .iter()
            .map(|rule| rule.metric_name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(rules("ab-check"), ["none"]);
    assert_eq!(rules("ab-second"), ["other", "none"]);
}

/// API-54, ASE-18
#[test]
fn invalid() {
    let mut world = World::new(json!({"templates": [template("a", json!({"selector": null}))]}));
    world.pass();
    assert_eq!(
        world.phase(),
        "Error Rollout has missing field '.Spec.Templates[0].Selector'"
    );
    let plan = world.pass();
    assert!(plan.status.is_none() && plan.events.is_empty());
    assert_eq!(plan.why[0].reason, Reason::InvalidSpec);
}

/// EXP-5: the ReplicaSets of the records, names, labels, hashes, come out the same.
#[test]
fn recorded_replica_sets() {
    let mut seen = 0;
    let sets: Vec<_> = records::all("ReplicaSet");
    for record in records::all("Experiment") {
        let experiment: Experiment = serde_json::from_value(record.json).unwrap();
        for template in &experiment.spec.templates {
            let made = objects::replica_set(&experiment, template, None);
            let mut recorded: ReplicaSet = sets
                .iter()
                .filter(|set| set.file == record.file)
                .map(|set| serde_json::from_value::<ReplicaSet>(set.json.clone()).unwrap())
                .find(|set| set.metadata.name == made.metadata.name)
                .unwrap();
            recorded
                .metadata
                .annotations
                .as_mut()
                .unwrap()
                .remove(keys::SCALE_DOWN_DEADLINE);
            let known = |meta: &ObjectMeta| {
                (
                    meta.labels.clone(),
                    meta.annotations.clone(),
                    meta.owner_references.clone(),
                )
            };
            assert_eq!(
                known(&made.metadata),
                known(&recorded.metadata),
                "{}",
                record.file
            );
            assert_eq!(made.spec.selector, recorded.spec.selector);
            assert_eq!(made.spec.template.value(), recorded.spec.template.value());
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen}");
}

/// INV-8: recorded Experiments at rest are not written again.
#[test]
fn records_at_rest_stay() {
    let mut quiet = 0;
    for record in records::all("Experiment") {
        let experiment: Experiment = serde_json::from_value(record.json).unwrap();
        let uid = experiment.metadata.uid.clone();
        let objects = records::objects(&record.file)
            .into_iter()
            .filter(|o| o["kind"] == "ReplicaSet");
        let sets = objects.map(|o| Arc::new(serde_json::from_value::<ReplicaSet>(o).unwrap()));
        let own = |set: &Arc<ReplicaSet>| {
            let owners = set.metadata.owner_references.clone().unwrap_or_default();
            owners.iter().any(|owner| Some(&owner.uid) == uid.as_ref())
        };
        let status = experiment.status.clone().unwrap();
        let last = status
            .template_statuses
            .iter()
            .filter_map(|t| t.last_transition_time)
            .max()
            .unwrap();
        let seen = ObservedExperiment {
            replica_sets: sets.filter(own).collect(),
            experiment: Arc::new(experiment),
            ..Default::default()
        };
        let plan = decide_experiment(&seen, last.timestamp() + SignedDuration::from_secs(1));
        assert!(
            plan.actions.is_empty(),
            "{}: {:?}",
            record.file,
            plan.actions
        );
        assert_eq!(plan.status, None, "{}", record.file);
        quiet += 1;
    }
    assert!(quiet >= 6, "{quiet}");
}
