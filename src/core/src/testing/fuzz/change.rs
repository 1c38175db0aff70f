//! Making the other things happen: see [`super::more`].

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluice_crds::hash::known_pod_template_hashes;
use sluice_crds::rollout::{ObjectRef, RolloutPhase};
use sluice_crds::{LabelSelector, RawPodTemplate, Rollout, Time, validate};

use super::more::{More, ScaleDown};
use super::outside::Plane;
use super::shape::{self, Kind};
use super::stage::{Stage, Wrong};
use crate::observed::{Workload, WorkloadView};
use crate::plan::Action;
use crate::testing::world::World;

/// Seconds between two wishes of an autoscaler.
const ROUND: i64 = 3;

/// What follows the names of renamed Services.
const RENAMED: &str = "-b";

impl Stage {
    /// It happens, without the controller.
    pub(super) fn more(&mut self, more: &More) -> Result<(), Wrong> {
        match more {
            More::Refer(mode) => self.refer(*mode),
            More::Inline => self.inline(),
            More::Deployment(replicas) => {
                if let Workload::Found(found) = &mut self.world.workload {
                    found.replicas = Some(*replicas);
                    found.generation = found.generation.map(|generation| generation + 1);
                }
            }
            More::Gone(gone) => self.gone = *gone,
            More::Takeover(older) => return self.take_over(*older),
            More::Become(kind, seed) => {
                self.verifies = seed.is_multiple_of(2);
                let strategy = shape::strategy(*seed, *kind, &self.inlined());
                self.world.edit(|rollout| rollout.spec.strategy = strategy);
                self.reroute(*kind);
            }
            More::Rename => self.rename(),
            More::Stranger(number) => self.stranger(*number),
            More::MinReady(seconds) => {
                if let Some(valid) = &mut self.valid {
                    *valid = *seconds;
                } else {
                    let set = |rollout: &mut Rollout| rollout.spec.min_ready_seconds = *seconds;
                    self.world.edit(set);
                }
            }
            More::Deadline(seconds, abort) => self.world.edit(|rollout| {
                rollout.spec.progress_deadline_seconds = Some(*seconds);
                rollout.spec.progress_deadline_abort = *abort;
            }),
            More::History(limit) => self.edit_if_valid(|rollout| {
                rollout.spec.revision_history_limit = Some(*limit);
            }),
            More::RestartAt(seconds) => {
                let at = self.world.now + jiff::SignedDuration::from_secs(*seconds);
                let set = |rollout: &mut Rollout| rollout.spec.restart_at = Some(Time::new(at));
                self.world.edit(set);
            }
            More::NoWeight(at) => self.edit_if_valid(|rollout| {
                if let Some(canary) = &mut rollout.spec.strategy.canary {
                    let at = (*at).min(canary.steps.len());
                    canary.steps.insert(at, crate::testing::weight(0));
                }
            }),
            More::Fight(..) => {}
        }
        Ok(())
    }

    /// Two that cannot agree: the controller acts on each wish.
    pub(super) fn fight(&mut self, sizes: [i32; 2], rounds: u8) -> Result<(), Wrong> {
        for _ in 0..=rounds {
            for size in sizes {
                self.happen(&super::op::Op::Scale(size))?;
                self.wait(ROUND)?;
            }
        }
        Ok(())
    }

    /// The pod template that is wanted, wherever it stands.
    pub(super) fn template(&self) -> &RawPodTemplate {
        match &self.world.workload {
            Workload::Found(found) if self.world.rollout.spec.workload_ref.is_some() => {
                &found.template
            }
            Workload::Found(_) | Workload::NotReferenced | Workload::Unusable(_) => {
                &self.world.rollout.spec.template
            }
        }
    }

    /// Somebody wants another pod template.
    pub(super) fn set_template(&mut self, wanted: RawPodTemplate) {
        if *self.template() == wanted {
            return;
        }
        let referenced = self.world.rollout.spec.workload_ref.is_some();
        match &mut self.world.workload {
            Workload::Found(found) if referenced => {
                found.template = wanted;
                found.generation = found.generation.map(|generation| generation + 1);
            }
            Workload::Found(_) | Workload::NotReferenced | Workload::Unusable(_) => {
                self.world.edit(|rollout| rollout.spec.template = wanted);
            }
        }
    }

    fn edit_if_valid(&mut self, change: impl Fn(&mut Rollout)) {
        let mut changed = self.world.rollout.clone();
        change(&mut changed);
        let mut judged = self.inlined();
        change(&mut judged);
        if validate::rollout(&judged).is_empty() {
            self.world.edit(|rollout| rollout.spec = changed.spec);
        }
    }

    /// The Rollout as it would be if it were valid and had its template itself.
    pub(super) fn inlined(&self) -> Rollout {
        let mut rollout = self.world.rollout.clone();
        rollout.spec.template = self.template().clone();
        rollout.spec.workload_ref = None;
        rollout.spec.selector = Some(LabelSelector::by_labels([("app", "web")]));
        if let Some(seconds) = self.valid {
            rollout.spec.min_ready_seconds = seconds;
        }
        rollout
    }

    fn refer(&mut self, mode: ScaleDown) {
        let spec = &self.world.rollout.spec;
        if spec.workload_ref.is_none() {
            let template = spec.template.clone();
            let generation = match &self.world.workload {
                Workload::Found(found) => found.generation.map(|generation| generation + 1),
                Workload::NotReferenced | Workload::Unusable(_) => Some(1),
            };
            self.world.workload = Workload::Found(WorkloadView {
                template,
                selector: Some(LabelSelector::by_labels([("app", "web")])),
                generation,
                replicas: spec.replicas,
            });
        }
        self.world.edit(|rollout| {
            rollout.spec.template = RawPodTemplate::default();
            // Some have a selector of their own beside it.
            if mode != ScaleDown::Never {
                rollout.spec.selector = None;
            }
            rollout.spec.workload_ref = Some(ObjectRef {
                api_version: "apps/v1".to_owned(),
                kind: "Deployment".to_owned(),
                name: "web".to_owned(),
                scale_down: mode.text().to_owned(),
            });
        });
    }

    fn inline(&mut self) {
        if self.world.rollout.spec.workload_ref.is_some() {
            let template = self.template().clone();
            self.world.edit(|rollout| {
                rollout.spec.workload_ref = None;
                rollout.spec.template = template;
                rollout.spec.selector = Some(LabelSelector::by_labels([("app", "web")]));
            });
        }
    }

    /// Users write new route objects together with a strategy of another kind: all is for stable.
    fn reroute(&mut self, kind: Kind) {
        if kind != self.kind {
            self.kind = kind;
            self.plane = Plane::new(self.verifies, self.world.now);
        }
    }

    fn rename(&mut self) {
        let mut strategy = serde_json::to_value(&self.world.rollout.spec.strategy).expect("JSON");
        for_services(&mut strategy, &|name| {
            let old = name.strip_suffix(RENAMED);
            old.map_or_else(|| format!("{name}{RENAMED}"), str::to_owned)
        });
        let strategy = serde_json::from_value(strategy).expect("a strategy");
        self.world.edit(|rollout| rollout.spec.strategy = strategy);
        for name in super::named(&self.world.rollout) {
            self.world.services.entry(name).or_default();
        }
        shape::route_objects(&mut self.world);
        self.plane = Plane::new(self.verifies, self.world.now);
    }

    /// Objects as another controller left them, and a process that has never seen them.
    fn take_over(&mut self, older: bool) -> Result<(), Wrong> {
        if older {
            self.older_hashes();
        }
        let calm = self.fault.is_none()
            && self.hidden.is_empty()
            && !self.world.frozen
            && !self.gone
            && self.plane.reachable()
            && self.straggler.is_none();
        self.restart();
        self.turn()?;
        let quiet = self.plan.is_quiet(self.world.rollout.status.as_ref());
        if !calm || !quiet || !self.plane.settled() {
            return Ok(());
        }
        let before = self.world.writes;
        self.restart();
        self.turn()?;
        if self.world.writes != before {
            let line = self.line();
            return Err(format!("INV-8 a takeover writes: {line}"));
        }
        Ok(())
    }

    /// Every hash becomes the one that releases up to 1.8 gave the same template (CTL-19).
    fn older_hashes(&mut self) {
        let count = self.world.now_status().collision_count;
        let sets = self.world.sets.values();
        let pairs = sets.filter_map(|set| {
            let hash = set.pod_hash()?.to_owned();
            let template = without_hash(&set.spec.template);
            let known = known_pod_template_hashes(&template, count);
            let older = known.last().filter(|_| known.first() == Some(&hash))?;
            Some((hash, older.clone()))
        });
        let pairs: Vec<(String, String)> = pairs.collect();
        for (hash, older) in &pairs {
            let world = &mut self.world;
            let all = json!([
                world.rollout,
                world.sets,
                world.runs,
                world.experiments,
                selectors(world),
            ]);
            let text = all.to_string().replace(hash.as_str(), older);
            let mut all: Vec<Value> = serde_json::from_str(&text).expect("JSON");
            let mut take = || all.remove(0);
            world.rollout = serde_json::from_value(take()).expect("a Rollout");
            world.sets = serde_json::from_value(take()).expect("ReplicaSets");
            world.runs = serde_json::from_value(take()).expect("AnalysisRuns");
            world.experiments = serde_json::from_value(take()).expect("Experiments");
            let selectors: BTreeMap<String, Labels> =
                serde_json::from_value(take()).expect("selectors");
            for (name, selector) in selectors {
                world.services.entry(name).or_default().selector = selector;
            }
            for pod in world.pods.values_mut() {
                pod.owner = pod.owner.replace(hash.as_str(), older);
                for value in pod.labels.values_mut().filter(|value| *value == hash) {
                    value.clone_from(older);
                }
            }
            self.plane.rehash(hash, older);
        }
        if pairs.is_empty() {
            return;
        }
        self.world.touch();
        let names: Vec<String> = self.world.sets.keys().cloned().collect();
        for name in names {
            let version = self.world.next_version();
            if let Some(set) = self.world.sets.get_mut(&name) {
                set.metadata.resource_version = Some(version);
            }
        }
    }

    /// What a write must not change.
    pub(super) fn foreign(&self, action: &Action) -> Vec<String> {
        if self.strangers {
            strangers(&self.world, action)
        } else {
            Vec::new()
        }
    }

    /// The Deployment shrinks no faster than the Rollout grows, and never where it is to stay (CTL-146).
    pub(super) fn check_workload(&self, action: &Action) -> Result<(), Wrong> {
        let (Action::ScaleWorkload { replicas, .. }, Workload::Found(found)) =
            (action, &self.world.workload)
        else {
            return Ok(());
        };
        let spec = &self.cache.rollout.spec;
        let mode = spec.workload_ref.as_ref().map(|of| of.scale_down.as_str());
        let shrinks = *replicas < found.replicas.unwrap_or(1);
        if !matches!(mode, Some("onsuccess" | "progressively")) {
            return Err(format!("CTL-146 the Deployment is scaled, mode {mode:?}"));
        }
        let status = self.cache.rollout.status.as_ref();
        if status.is_some_and(|status| status.phase == RolloutPhase::Healthy) {
            return Ok(());
        }
        let ready = self.observer.ready(&self.world);
        let wanted = i64::from(self.world.rollout.spec.replicas());
        match ready {
            Some(ready) if shrinks && i64::from(*replicas) + ready < wanted => Err(format!(
                "CTL-146 the Deployment goes to {replicas} while {ready}/{wanted} pods are ready"
            )),
            _ => Ok(()),
        }
    }

    /// In the end nothing is left of a Deployment that was to be taken over (CTL-146).
    pub(super) fn taken_over(&self) -> Result<(), Wrong> {
        let rollout = &self.world.rollout;
        let notes = rollout.metadata.annotations.as_ref();
        let first = notes
            .and_then(|all| all.get(sluice_crds::keys::REVISION))
            .is_some_and(|revision| revision == "1");
        let mode = rollout.spec.workload_ref.as_ref();
        let mode = mode.map(|of| of.scale_down.as_str());
        match &self.world.workload {
            Workload::Found(found)
                if first
                    && matches!(mode, Some("onsuccess" | "progressively"))
                    && found.replicas != Some(0) =>
            {
                Err(format!(
                    "CTL-146 at the end the Deployment has {:?}",
                    found.replicas
                ))
            }
            Workload::Found(_) | Workload::NotReferenced | Workload::Unusable(_) => Ok(()),
        }
    }

    fn stranger(&mut self, number: u8) {
        self.strangers = true;
        let world = &mut self.world;
        let value = number.to_string();
        match number % 4 {
            0 => {
                for service in world.services.values_mut() {
                    service.selector.insert("app".to_owned(), "web".to_owned());
                }
            }
            1 => {
                let version = world.next_version();
                let index = usize::from(number / 4) % world.sets.len().max(1);
                if let Some(set) = world.sets.values_mut().nth(index) {
                    let key = format!("{STRANGER}/set");
                    let metadata = &mut set.metadata;
                    for all in [&mut metadata.labels, &mut metadata.annotations] {
                        all.get_or_insert_default()
                            .insert(key.clone(), value.clone());
                    }
                    metadata.resource_version = Some(version);
                }
            }
            2 => {
                for pod in world.pods.values_mut() {
                    for all in [&mut pod.labels, &mut pod.annotations] {
                        all.insert(format!("{STRANGER}/pod"), value.clone());
                    }
                }
            }
            _ => {
                let metadata = &mut world.rollout.metadata;
                for all in [&mut metadata.labels, &mut metadata.annotations] {
                    let key = format!("{STRANGER}/rollout");
                    all.get_or_insert_default().insert(key, value.clone());
                }
                world.touch();
            }
        }
    }
}

type Labels = BTreeMap<String, String>;

fn selectors(world: &World) -> BTreeMap<&String, &Labels> {
    let services = world.services.iter();
    services
        .map(|(name, view)| (name, &view.selector))
        .collect()
}

/// Prefix of a stranger's labels and annotations.
const STRANGER: &str = "example.com";

fn without_hash(template: &RawPodTemplate) -> RawPodTemplate {
    let mut value = template.value();
    let labels = value.pointer_mut("/metadata/labels");
    if let Some(labels) = labels.and_then(Value::as_object_mut) {
        labels.remove(sluice_crds::keys::POD_TEMPLATE_HASH);
    }
    RawPodTemplate::new(&value)
}

/// Changes the names of all Services in a strategy.
fn for_services(strategy: &mut Value, change: &impl Fn(&str) -> String) {
    match strategy {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(name) if key.ends_with("Service") => *name = change(name),
                    other => for_services(other, change),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| for_services(item, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What strangers wrote, as lines.
pub(super) fn strangers(world: &World, action: &Action) -> Vec<String> {
    let mut lines = Vec::new();
    let mut all = |object: &str, of: &str, all: &Labels| {
        for (key, value) in all.iter().filter(|(key, _)| key.starts_with(of)) {
            lines.push(format!("{object} {key}={value}"));
        }
    };
    match action {
        Action::PatchReplicaSet { name, .. }
        | Action::AdoptReplicaSet { name, .. }
        | Action::ReleaseReplicaSet { name, .. } => {
            let metadata = world.sets.get(name).map(|set| &set.metadata);
            let parts = metadata
                .into_iter()
                .flat_map(|of| [&of.labels, &of.annotations]);
            for part in parts.flatten() {
                all(name, "example.com/set", part);
            }
        }
        Action::PatchPod { name, .. } => {
            if let Some(pod) = world.pods.get(name) {
                all(name, "example.com/pod", &pod.labels);
                all(name, "example.com/pod", &pod.annotations);
            }
        }
        Action::PatchService { name, .. } => {
            if let Some(service) = world.services.get(name) {
                all(name, "app", &service.selector);
            }
        }
        Action::PatchRollout { .. } => {
            let of = &world.rollout.metadata;
            for part in [&of.labels, &of.annotations].into_iter().flatten() {
                all("Rollout", "example.com/rollout", part);
            }
        }
        Action::CreateReplicaSet(_)
        | Action::DeleteReplicaSet { .. }
        | Action::Route(_)
        | Action::CreateAnalysisRun(_)
        | Action::TerminateAnalysisRun { .. }
        | Action::DeleteAnalysisRun { .. }
        | Action::CreateExperiment(_)
        | Action::TerminateExperiment { .. }
        | Action::DeleteExperiment { .. }
        | Action::EvictPod { .. }
        | Action::ScaleWorkload { .. } => {}
    }
    lines
}
