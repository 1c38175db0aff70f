//! A very small cluster: it carries plans out on objects in memory and plays the pods.
//!
//! Time only moves when a test says so. What it does not play (routers, AnalysisRuns, Experiments)
//! is recorded, and tests set results by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::references::{References, ServiceFacts};
use sluice_crds::replica_set::ReplicaSetStatus;
use sluice_crds::rollout::RolloutStatus;
use sluice_crds::{AnalysisRun, Experiment, RawPodTemplate, ReplicaSet, Rollout, keys};

use super::RolloutBuilder;
use super::life::Life;
use crate::decide::{decide, needs_pods};
use crate::event::Event;
use crate::observed::{Observed, Peak, PodView, Seen, ServiceView, Settings, Workload, peak};
use crate::plan::{Action, Plan};
use crate::traffic::{Verification, Want};

/// The cluster of one Rollout.
#[derive(Clone, Debug)]
pub struct World {
    /// The Rollout.
    pub rollout: Rollout,
    /// Its ReplicaSets, by name.
    pub sets: BTreeMap<String, ReplicaSet>,
    /// Services, by name.
    pub services: BTreeMap<String, ServiceView>,
    /// AnalysisRuns, by name.
    pub runs: BTreeMap<String, AnalysisRun>,
    /// Experiments, by name.
    pub experiments: BTreeMap<String, Experiment>,
    /// Pods, by name.
    pub pods: BTreeMap<String, PodView>,
    /// Analysis templates.
    pub references: References,
    /// What the routers say.
    pub verification: Verification,
    /// How many pods have been up at once.
    pub peaks: BTreeMap<String, Peak>,
    /// What `spec.workloadRef` leads to.
    pub workload: Workload,
    /// What the routers were asked for, in order.
    pub routes: Vec<Want>,
    /// All events, in order.
    pub events: Vec<Event>,
    /// The time.
    pub now: Timestamp,
    /// Seconds until a pod is available.
    pub startup: i64,
    /// Images whose pods never become available.
    pub broken: BTreeSet<String>,
    /// How pods live, by a part of their image; all others are available after `startup`.
    pub lives: Vec<(String, Life)>,
    /// Sizes after each change, as `canary/stable` in `spec.replicas`.
    pub sizes: Vec<String>,
    /// Writes of any kind that changed something.
    pub writes: usize,
    /// Pods, by name, that are not ready whatever their image.
    pub sick: BTreeSet<String>,
    /// The controller of ReplicaSets stands still: neither pods nor their counts follow.
    pub frozen: bool,
    version: u64,
}

/// Why a write was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The object is not the version that was read.
    Conflict,
    /// The name is taken.
    Taken,
    /// There is no such object.
    Missing,
}

impl World {
    /// A cluster with nothing but this Rollout.
    #[must_use]
    pub fn new(rollout: RolloutBuilder) -> Self {
        let rollout = rollout.build();
        let mut services = BTreeMap::new();
        if let Some(canary) = &rollout.spec.strategy.canary {
            services.extend(
                [&canary.canary_service, &canary.stable_service]
                    .map(Clone::clone)
                    .map(empty),
            );
            if let Some(names) = &canary.ping_pong {
                services.extend(
                    [&names.ping_service, &names.pong_service]
                        .map(Clone::clone)
                        .map(empty),
                );
            }
        }
        if let Some(spec) = &rollout.spec.strategy.blue_green {
            services.extend(
                [&spec.active_service, &spec.preview_service]
                    .map(Clone::clone)
                    .map(empty),
            );
        }
        services.remove("");
        Self {
            rollout,
            sets: BTreeMap::new(),
            services,
            runs: BTreeMap::new(),
            experiments: BTreeMap::new(),
            pods: BTreeMap::new(),
            references: References::default(),
            verification: Verification::NotSupported,
            peaks: BTreeMap::new(),
            workload: Workload::NotReferenced,
            routes: Vec::new(),
            events: Vec::new(),
            now: super::t0(),
            startup: 0,
            broken: BTreeSet::new(),
            lives: Vec::new(),
            sizes: Vec::new(),
            writes: 0,
            sick: BTreeSet::new(),
            frozen: false,
            version: 1,
        }
    }

    /// Everything a decision may look at.
    #[must_use]
    pub fn observe(&self) -> Observed {
        let mut references = self.references.clone();
        for (name, service) in &self.services {
            let facts = ServiceFacts {
                selector: service.selector.clone(),
                managed_by: service.managed_by.clone(),
            };
            references.services.insert(name.clone(), Some(facts));
        }
        let pods =
            needs_pods(&self.rollout, self.now).then(|| self.pods.values().cloned().collect());
        Observed {
            rollout: Arc::new(self.rollout.clone()),
            workload: self.workload.clone(),
            replica_sets: self.sets.values().cloned().map(Arc::new).collect(),
            services: self
                .services
                .iter()
                .map(|(name, view)| (name.clone(), Seen::Found(view.clone())))
                .collect(),
            analysis_runs: self.runs.values().cloned().map(Arc::new).collect(),
            experiments: self.experiments.values().cloned().map(Arc::new).collect(),
            references,
            subset_hashes: Seen::Absent,
            verification: self.verification.clone(),
            pods,
            taken_names: BTreeSet::new(),
            failure: None,
            peaks: self.peaks.clone(),
            settings: Settings::default(),
        }
    }

    /// Decides and carries the plan out.
    pub fn step(&mut self) -> Plan {
        let plan = decide(&self.observe(), self.now);
        self.execute(&plan, usize::MAX);
        plan
    }

    /// Carries out the first `count` writes; the status is the last one.
    pub fn execute(&mut self, plan: &Plan, count: usize) {
        for planned in plan.actions.iter().take(count) {
            match self.write(&planned.action) {
                Ok(changed) => self.writes += usize::from(changed),
                Err(refusal) => panic!("{refusal:?}: {:?}", planned.action),
            }
            self.events.extend(planned.events.iter().cloned());
        }
        if plan.actions.len() < count {
            if let Some(status) = &plan.status {
                self.status(|now| now.clone_from(status));
                self.writes += 1;
            }
            self.events.extend(plan.events.iter().cloned());
            let sets: Vec<_> = self.sets.values().cloned().map(Arc::new).collect();
            self.peaks = peak::with(&self.peaks, &sets);
        }
        let sizes = self.size_text();
        if self.sizes.last() != Some(&sizes) {
            self.sizes.push(sizes);
        }
    }

    /// Decides, acts and lets pods follow until nothing changes any more. Time does not move.
    ///
    /// # Panics
    ///
    /// When it does not come to rest (INV-8).
    pub fn settle(&mut self) -> Plan {
        for _ in 0..200 {
            self.play();
            let before = (self.writes, self.rollout.clone());
            let plan = self.step();
            let moved_pods = self.play();
            if !moved_pods && before == (self.writes, self.rollout.clone()) {
                return plan;
            }
        }
        panic!("does not come to rest: {}", self.line());
    }

    /// Moves time.
    pub fn advance(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// Moves time and lets everything follow.
    pub fn after(&mut self, seconds: i64) -> Plan {
        self.advance(seconds);
        self.settle()
    }

    /// Changes the spec, as `kubectl apply` would.
    pub fn edit(&mut self, change: impl FnOnce(&mut Rollout)) {
        change(&mut self.rollout);
        let generation = self.rollout.metadata.generation.unwrap_or(0);
        self.rollout.metadata.generation = Some(generation + 1);
        self.touch();
    }

    /// Another image, that is another version.
    pub fn set_image(&mut self, image: &str) {
        let app = self.rollout.metadata.name.clone().unwrap_or_default();
        self.edit(|r| r.spec.template = super::template(&app, image));
    }

    /// `abort`.
    pub fn abort(&mut self) {
        self.status(|status| status.abort = true);
    }

    /// `retry`.
    pub fn retry(&mut self) {
        self.status(|status| status.abort = false);
    }

    /// `promote` out of a pause.
    pub fn promote(&mut self) {
        self.status(|status| status.pause_conditions.clear());
    }

    /// `promote --full`.
    pub fn promote_full(&mut self) {
        self.status(|status| status.promote_full = true);
    }

    /// Changes the status, as the verbs of the plugin do.
    pub fn status(&mut self, change: impl FnOnce(&mut RolloutStatus)) {
        change(self.rollout.status.get_or_insert_default());
        self.touch();
    }

    /// The Rollout has a new version.
    pub fn touch(&mut self) {
        self.rollout.metadata.resource_version = Some(self.next_version());
    }

    /// Ends a run.
    pub fn end_run(&mut self, name: &str, phase: AnalysisPhase, message: &str) {
        let run = self
            .runs
            .get_mut(name)
            .unwrap_or_else(|| panic!("no run {name}"));
        let status = run.status.get_or_insert_default();
        status.phase = phase;
        status.message = message.to_owned();
    }

    /// The status.
    #[must_use]
    pub fn now_status(&self) -> RolloutStatus {
        self.rollout.status.clone().unwrap_or_default()
    }

    /// One line on where the Rollout stands.
    #[must_use]
    pub fn line(&self) -> String {
        let status = self.now_status();
        let index = status
            .current_step_index
            .map_or("-".to_owned(), |i| i.to_string());
        let weight = status.canary.weights.as_ref().map_or(String::new(), |w| {
            format!(" weight {}/{}", w.canary.weight, w.stable.weight)
        });
        let colon = if status.message.is_empty() { "" } else { ": " };
        let (phase, message) = (&status.phase, &status.message);
        format!(
            "step {index} pods {}{weight} {phase}{colon}{message}",
            self.size_text()
        )
    }

    /// Texts of the events since the last call, reasons first.
    pub fn told(&mut self) -> Vec<String> {
        let events = std::mem::take(&mut self.events);
        events
            .into_iter()
            .map(|event| format!("{} {}", event.reason, event.message))
            .collect()
    }

    /// `spec.replicas` of the current version, of the stable one, and of all others.
    #[must_use]
    pub fn size_text(&self) -> String {
        let status = self.now_status();
        let size = |hash: &str| {
            let set = self.sets.values().find(|set| set.pod_hash() == Some(hash));
            set.and_then(|set| set.spec.replicas).unwrap_or(0)
        };
        let (current, stable) = (&status.current_pod_hash, &status.stable_rs);
        let others: i32 = self
            .sets
            .values()
            .filter(|set| {
                set.pod_hash() != Some(current.as_str()) && set.pod_hash() != Some(stable.as_str())
            })
            .filter_map(|set| set.spec.replicas)
            .sum();
        let stable = if current == stable { 0 } else { size(stable) };
        let rest = if others == 0 {
            String::new()
        } else {
            format!("+{others}")
        };
        format!("{}/{stable}{rest}", size(current))
    }

    /// The ReplicaSet of a hash.
    #[must_use]
    pub fn set_of(&self, hash: &str) -> Option<&ReplicaSet> {
        self.sets.values().find(|set| set.pod_hash() == Some(hash))
    }

    /// A version that no object has had yet.
    pub fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    /// Carries one write out, as an API server would. Answers whether it changed anything.
    ///
    /// # Errors
    ///
    /// What an API server would refuse.
    pub fn write(&mut self, action: &Action) -> Result<bool, Refusal> {
        let version = self.next_version();
        match action {
            Action::PatchRollout { patch } => {
                self.patch_rollout(patch);
                Ok(true)
            }
            Action::CreateReplicaSet(object) => {
                let mut object = (**object).clone();
                self.born(&mut object.metadata, version);
                object.metadata.generation = Some(1);
                insert(&mut self.sets, object.metadata.name.clone(), object)
            }
            Action::AdoptReplicaSet { name, .. } | Action::ReleaseReplicaSet { name, .. } => {
                let adopt = matches!(action, Action::AdoptReplicaSet { .. });
                let owner = super::owner("Rollout", &self.rollout.metadata);
                let set = self.sets.get_mut(name).ok_or(Refusal::Missing)?;
                set.metadata.owner_references = adopt.then_some(owner);
                set.metadata.resource_version = Some(version);
                Ok(true)
            }
            Action::PatchReplicaSet { name, guard, patch } => {
                let set = self.sets.get_mut(name).ok_or(Refusal::Missing)?;
                if set.metadata.resource_version.as_ref() != Some(guard) {
                    return Err(Refusal::Conflict);
                }
                patch_set(set, patch);
                set.metadata.resource_version = Some(version);
                Ok(true)
            }
            Action::DeleteReplicaSet { name } => {
                self.sets.remove(name).ok_or(Refusal::Missing)?;
                Ok(true)
            }
            Action::PatchService { name, patch } => {
                let service = self.services.get_mut(name).ok_or(Refusal::Missing)?;
                patch_service(service, patch);
                Ok(true)
            }
            Action::Route(want) => {
                let news = self.routes.last() != Some(&**want);
                if news {
                    self.routes.push((**want).clone());
                }
                Ok(news)
            }
            Action::CreateAnalysisRun(run) => {
                let mut run = (**run).clone();
                self.born(&mut run.metadata, version);
                run.status.get_or_insert_default().phase = AnalysisPhase::Running;
                insert(&mut self.runs, run.metadata.name.clone(), run)
            }
            Action::TerminateAnalysisRun { name } => {
                let run = self.runs.get_mut(name).ok_or(Refusal::Missing)?;
                run.spec.terminate = true;
                let status = run.status.get_or_insert_default();
                if !status.phase.completed() {
                    status.phase = AnalysisPhase::Successful;
                }
                run.metadata.resource_version = Some(version);
                Ok(true)
            }
            Action::DeleteAnalysisRun { name } => Ok(self.runs.remove(name).is_some()),
            Action::CreateExperiment(experiment) => {
                let mut experiment = (**experiment).clone();
                self.born(&mut experiment.metadata, version);
                experiment.status.get_or_insert_default().phase = AnalysisPhase::Running;
                let name = experiment.metadata.name.clone();
                insert(&mut self.experiments, name, experiment)
            }
            Action::TerminateExperiment { name } => {
                let experiment = self.experiments.get_mut(name).ok_or(Refusal::Missing)?;
                experiment.spec.terminate = true;
                let status = experiment.status.get_or_insert_default();
                if !status.phase.completed() {
                    status.phase = AnalysisPhase::Successful;
                }
                experiment.metadata.resource_version = Some(version);
                Ok(true)
            }
            Action::DeleteExperiment { name } => Ok(self.experiments.remove(name).is_some()),
            Action::PatchPod {
                name,
                labels,
                annotations,
            } => {
                let pod = self.pods.get_mut(name).ok_or(Refusal::Missing)?;
                change(&mut pod.labels, labels);
                change(&mut pod.annotations, annotations);
                Ok(true)
            }
            Action::EvictPod { name } => Ok(self.pods.remove(name).is_some()),
            Action::ScaleWorkload { replicas, .. } => {
                if let Workload::Found(found) = &mut self.workload {
                    found.replicas = Some(*replicas);
                    found.generation = found.generation.map(|generation| generation + 1);
                }
                Ok(true)
            }
        }
    }

    fn patch_rollout(&mut self, patch: &Value) {
        let members = patch.as_object().map_or(0, Map::len);
        let metadata = &mut self.rollout.metadata;
        if members == 1
            && patch.get("metadata").is_some()
            && only_annotations(metadata, patch).is_some()
        {
            return self.touch();
        }
        let status = self.rollout.status.take();
        let generation = self.rollout.metadata.generation;
        let mut value = serde_json::to_value(&self.rollout).expect("JSON");
        merge(&mut value, patch);
        self.rollout = serde_json::from_value(value).expect("a Rollout");
        self.rollout.status = status;
        self.rollout.metadata.generation = if patch.get("spec").is_some() {
            generation.map(|g| g + 1)
        } else {
            generation
        };
        self.touch();
    }

    /// What an API server adds to a new object.
    fn born(&self, metadata: &mut ObjectMeta, version: String) {
        let name = metadata.name.clone().unwrap_or_default();
        metadata.uid = Some(format!("uid-{name}"));
        metadata.resource_version = Some(version);
        metadata.creation_timestamp = Some(sluice_crds::Time::new(self.now).into());
    }

    /// Pods and the status of ReplicaSets follow; says whether anything changed.
    pub fn play(&mut self) -> bool {
        let mut changed = false;
        if self.frozen {
            return changed;
        }
        let names: Vec<String> = self.sets.keys().cloned().collect();
        for name in names {
            changed |= self.play_set(&name);
        }
        let owners: BTreeSet<String> = self
            .sets
            .values()
            .filter_map(|set| set.metadata.uid.clone())
            .collect();
        self.pods.retain(|_, pod| owners.contains(&pod.owner));
        changed
    }

    fn play_set(&mut self, name: &str) -> bool {
        let set = self.sets.get(name).expect("exists");
        let uid = set.metadata.uid.clone().unwrap_or_default();
        let wanted = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or(0);
        let mut mine: Vec<(bool, String)> = self
            .pods
            .values()
            .filter(|pod| pod.owner == uid)
            .map(|pod| (!pod.available, pod.name.clone()))
            .collect();
        // What is not ready goes first, then the youngest.
        mine.sort();
        for (_, extra) in mine.iter().skip(wanted) {
            self.pods.remove(extra);
        }
        let metadata = set.spec.template.metadata();
        for _ in mine.len()..wanted {
            let number = self.next_version();
            let pod = PodView {
                name: format!("{name}-{number:0>6}"),
                owner: uid.clone(),
                created: Some(self.now),
                available: false,
                terminating: false,
                labels: metadata.labels.clone(),
                annotations: metadata.annotations.clone(),
                resource_version: number,
            };
            self.pods.insert(pod.name.clone(), pod);
        }
        let set = self.sets.get(name).expect("exists");
        let image = image(&set.spec.template);
        let life = self.lives.iter().find(|(part, _)| image.contains(part));
        let life = life.map(|(_, life)| *life);
        let usual = Life::ready_after(self.startup);
        let broken = self.broken.contains(&image);
        let now = self.now;
        let mut available = 0;
        for pod in self.pods.values_mut().filter(|pod| pod.owner == uid) {
            pod.available = !broken
                && !self.sick.contains(&pod.name)
                && pod.created.is_some_and(|at| {
                    let age = now.duration_since(at).as_secs();
                    // Pods to come may start more slowly; those that run go on.
                    life.map_or(pod.available || usual.available(age), |life| {
                        life.available(age)
                    })
                });
            available += i32::from(pod.available);
        }
        let set = self.sets.get_mut(name).expect("exists");
        let status = ReplicaSetStatus {
            replicas: i32::try_from(wanted).expect("small"),
            ready_replicas: available,
            available_replicas: available,
            observed_generation: set.metadata.generation.unwrap_or(0),
            ..ReplicaSetStatus::default()
        };
        let changed = set.status.as_ref() != Some(&status);
        if changed {
            set.status = Some(status);
            self.version += 1;
            set.metadata.resource_version = Some(self.version.to_string());
        }
        changed
    }
}

/// Stores a new object under a name that nobody has yet.
fn insert<T>(
    objects: &mut BTreeMap<String, T>,
    name: Option<String>,
    object: T,
) -> Result<bool, Refusal> {
    let name = name.expect("named");
    if objects.contains_key(&name) {
        return Err(Refusal::Taken);
    }
    objects.insert(name, object);
    Ok(true)
}

/// Sets and removes labels or annotations.
fn change(all: &mut BTreeMap<String, String>, changes: &BTreeMap<String, Option<String>>) {
    for (key, value) in changes {
        match value {
            Some(value) => all.insert(key.clone(), value.clone()),
            None => all.remove(key),
        };
    }
}

/// Sets and removes the annotations of a merge patch; `None` when it changes anything else.
fn only_annotations(metadata: &mut ObjectMeta, patch: &Value) -> Option<()> {
    let Some(patch) = patch.get("metadata") else {
        return Some(());
    };
    let members = patch.as_object()?;
    let changes = members.get("annotations")?.as_object()?;
    if members.len() != 1 {
        return None;
    }
    let all = metadata.annotations.get_or_insert_default();
    for (key, value) in changes {
        match value.as_str() {
            Some(text) => all.insert(key.clone(), text.to_owned()),
            None => all.remove(key),
        };
    }
    Some(())
}

/// A merge patch of a ReplicaSet. What almost all of them change goes without a way through JSON.
fn patch_set(set: &mut ReplicaSet, patch: &Value) {
    let before = set.spec.replicas;
    let size = patch.pointer("/spec/replicas").and_then(Value::as_i64);
    let spec = patch.get("spec").and_then(Value::as_object);
    let plain = spec.is_none_or(|spec| spec.len() == 1 && size.is_some());
    if plain && only_annotations(&mut set.metadata, patch).is_some() {
        if let Some(size) = size {
            set.spec.replicas = Some(i32::try_from(size).expect("small"));
        }
        if set.spec.replicas != before {
            set.metadata.generation = set.metadata.generation.map(|g| g + 1);
        }
        return;
    }
    let mut value = serde_json::to_value(&*set).expect("JSON");
    merge(&mut value, patch);
    let mut changed: ReplicaSet = serde_json::from_value(value).expect("a ReplicaSet");
    if changed.spec != set.spec {
        changed.metadata.generation = set.metadata.generation.map(|g| g + 1);
    }
    *set = changed;
}

fn patch_service(service: &mut ServiceView, patch: &Value) {
    let mut value = json!({
        "spec": { "selector": service.selector },
        "metadata": { "annotations": {} },
    });
    merge(&mut value, patch);
    let selector = value.pointer("/spec/selector").cloned().unwrap_or_default();
    service.selector = serde_json::from_value(selector).expect("labels");
    let annotations = value.pointer("/metadata/annotations");
    let manager = annotations.and_then(|all| all.get(keys::MANAGED_BY));
    if let Some(name) = manager.and_then(Value::as_str) {
        service.managed_by = Some(name.to_owned());
    }
}

fn empty(name: String) -> (String, ServiceView) {
    (name, ServiceView::default())
}

/// The image of the only container.
pub fn image(template: &RawPodTemplate) -> String {
    let value = template.value();
    let image = value
        .pointer("/spec/containers/0/image")
        .and_then(Value::as_str);
    image.unwrap_or_default().to_owned()
}

/// JSON merge patch (RFC 7386).
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(members) = target {
        for (key, change) in changes {
            if change.is_null() {
                members.remove(key);
            } else {
                merge(members.entry(key.clone()).or_insert(Value::Null), change);
            }
        }
    }
}
