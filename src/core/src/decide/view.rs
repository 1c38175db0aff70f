//! What one decision works on: a small copy of the observed world, to which each pass applies the
//! effects of what it asked for, as far as they are certain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};
use sluice_crds::rollout::RolloutStatus;
use sluice_crds::{ReplicaSet, Rollout, Time, keys};

use super::context::Context;
use crate::duration::Ended;
use crate::event::Event;
use crate::observed::{Seen, ServiceView};
use crate::plan::{Action, Plan, Planned};
use crate::replicas::RsCount;
use crate::traffic::Want;
use crate::why::Why;

/// One ReplicaSet of the Rollout.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) uid: String,
    /// Its own label: what services, subsets and status call it.
    pub(crate) hash: String,
    pub(crate) created: Option<Timestamp>,
    /// `spec.replicas` as this decision wants it by now.
    pub(crate) spec: i32,
    /// `status.replicas`.
    pub(crate) current: i32,
    pub(crate) ready: i32,
    /// `status.availableReplicas`: never anything but observed.
    pub(crate) available: i32,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) min_ready_seconds: i32,
    pub(crate) deleting: bool,
    /// The controller manager has seen the latest spec.
    pub(crate) settled: bool,
    /// As stored; for a ReplicaSet that this plan creates, as it will be sent.
    pub(crate) object: Arc<ReplicaSet>,
    /// This plan creates it.
    pub(crate) fresh: bool,
    /// Changes inside of `spec.template`, as a merge patch.
    pub(crate) template_patch: Map<String, Value>,
    scaled: Vec<Event>,
}

/// Annotation `scale-down-deadline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadline {
    None,
    At(Timestamp),
    Unreadable,
}

impl Set {
    pub(crate) fn of(object: &Arc<ReplicaSet>) -> Self {
        let meta = &object.metadata;
        let status = object.status.as_ref();
        Self {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            hash: object.pod_hash().unwrap_or_default().to_owned(),
            created: meta.creation_timestamp.as_ref().map(|at| at.0),
            spec: object.spec.replicas.unwrap_or(1),
            current: status.map_or(0, |s| s.replicas),
            ready: status.map_or(0, |s| s.ready_replicas),
            available: status.map_or(0, |s| s.available_replicas),
            annotations: meta.annotations.clone().unwrap_or_default(),
            min_ready_seconds: object.spec.min_ready_seconds,
            deleting: meta.deletion_timestamp.is_some(),
            settled: meta.generation.unwrap_or_default()
                <= status.map_or(0, |s| s.observed_generation),
            object: Arc::clone(object),
            fresh: false,
            template_patch: Map::new(),
            scaled: Vec::new(),
        }
    }

    /// A ReplicaSet that this plan creates.
    pub(crate) fn planned(object: ReplicaSet, now: Timestamp) -> Self {
        let mut set = Self::of(&Arc::new(object));
        set.created = Some(now);
        set.fresh = true;
        set
    }

    pub(crate) fn count(&self) -> RsCount {
        RsCount {
            spec: self.spec,
            current: self.current,
            available: self.available,
        }
    }

    /// Annotation `revision`; 0 when there is none.
    pub(crate) fn revision(&self) -> i64 {
        self.annotations
            .get(keys::REVISION)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }

    pub(crate) fn desired(&self) -> Option<i32> {
        self.annotations.get(keys::DESIRED_REPLICAS)?.parse().ok()
    }

    pub(crate) fn deadline(&self) -> Deadline {
        match self.annotations.get(keys::SCALE_DOWN_DEADLINE) {
            None => Deadline::None,
            Some(text) => match text.parse::<Time>() {
                Ok(at) => Deadline::At(at.timestamp()),
                Err(_) => Deadline::Unreadable,
            },
        }
    }

    /// [`Self::deadline`]; one that lies beyond `latest`, which is where one that began now would
    /// lie, was set by a clock that went wrong: it begins now.
    pub(crate) fn deadline_until(&mut self, latest: Timestamp) -> Deadline {
        match self.deadline() {
            Deadline::At(at) if crate::clock::is_ahead(at, latest) => {
                self.set_deadline(latest);
                Deadline::At(latest)
            }
            deadline @ (Deadline::None | Deadline::At(_) | Deadline::Unreadable) => deadline,
        }
    }

    pub(crate) fn set_deadline(&mut self, at: Timestamp) {
        let text = Time::new(at).to_string();
        self.annotations
            .insert(keys::SCALE_DOWN_DEADLINE.to_owned(), text);
    }

    pub(crate) fn strip_deadline(&mut self) {
        self.annotations.remove(keys::SCALE_DOWN_DEADLINE);
    }

    /// Spec, desired-replicas and availability all say `replicas` (CTL-113).
    pub(crate) fn saturated(&self, replicas: i32) -> bool {
        self.spec == replicas && self.desired() == Some(replicas) && self.available == replicas
    }

    /// Available pods that can be counted on for more requests. Until the ReplicaSet's controller has
    /// seen the last size these are none: it may have been smaller in between, and pods that are counted
    /// still are on their way out (INV-1).
    pub(crate) fn serving(&self) -> i32 {
        let asked = self.object.spec.replicas.unwrap_or(1);
        if self.settled {
            self.available.min(asked)
        } else {
            0
        }
    }

    /// As many pods as wanted, and at least one (CTL-154).
    pub(crate) fn fully_available(&self) -> bool {
        self.spec != 0 && self.serving() >= self.spec
    }

    pub(crate) fn of_experiment(&self) -> bool {
        self.annotations.contains_key(keys::EXPERIMENT_NAME)
    }

    pub(crate) fn reason_object(&self) -> String {
        format!("ReplicaSet/{}", self.name)
    }

    /// Asks for a size. Answers whether that is a change; the annotation is kept in step (CTL-42).
    pub(crate) fn resize(&mut self, to: i32, replicas: i32, keep_deadline: bool) -> bool {
        self.annotations
            .insert(keys::DESIRED_REPLICAS.to_owned(), replicas.to_string());
        if self.spec == to {
            return false;
        }
        let direction = if to > self.spec { "up" } else { "down" };
        self.scaled.push(Event::normal(
            "ScalingReplicaSet",
            format!(
                "Scaled {direction} ReplicaSet {} (revision {}) from {} to {to}",
                self.name,
                self.revision(),
                self.spec
            ),
        ));
        if to == 0 && !keep_deadline {
            self.strip_deadline();
        }
        self.spec = to;
        self.settled = false;
        true
    }

    /// The write that makes the stored object what this decision wants it to be.
    fn action(mut self) -> Option<Planned> {
        if self.fresh {
            let mut object = Arc::unwrap_or_clone(self.object);
            object.spec.replicas = Some(self.spec);
            object.metadata.annotations = Some(self.annotations);
            return Some(Planned {
                action: Action::CreateReplicaSet(Box::new(object)),
                events: self.scaled,
            });
        }
        let mut patch = Map::new();
        let empty = BTreeMap::new();
        let stored = self.object.metadata.annotations.as_ref().unwrap_or(&empty);
        let mut annotations = Map::new();
        for key in stored
            .keys()
            .filter(|key| !self.annotations.contains_key(*key))
        {
            annotations.insert(key.clone(), Value::Null);
        }
        for (key, value) in &self.annotations {
            if stored.get(key) != Some(value) {
                annotations.insert(key.clone(), json!(value));
            }
        }
        if !annotations.is_empty() {
            patch.insert("metadata".to_owned(), json!({ "annotations": annotations }));
        }
        let mut spec = Map::new();
        if self.object.spec.replicas.unwrap_or(1) != self.spec {
            spec.insert("replicas".to_owned(), json!(self.spec));
        }
        if self.object.spec.min_ready_seconds != self.min_ready_seconds {
            spec.insert("minReadySeconds".to_owned(), json!(self.min_ready_seconds));
        }
        if !self.template_patch.is_empty() {
            spec.insert(
                "template".to_owned(),
                Value::Object(std::mem::take(&mut self.template_patch)),
            );
        }
        if !spec.is_empty() {
            patch.insert("spec".to_owned(), Value::Object(spec));
        }
        (!patch.is_empty()).then(|| Planned {
            action: Action::PatchReplicaSet {
                name: self.name,
                guard: self
                    .object
                    .metadata
                    .resource_version
                    .clone()
                    .unwrap_or_default(),
                patch: Value::Object(patch),
            },
            events: self.scaled,
        })
    }
}

/// The world as the next pass sees it, and what has been asked for so far.
#[derive(Debug)]
pub(crate) struct View {
    /// Status as the next pass reads it.
    pub(crate) status: RolloutStatus,
    /// The Rollout with that status, without metadata that decisions do not look at.
    pub(crate) shadow: Rollout,
    /// Claimed ReplicaSets, by creation time and name.
    pub(crate) sets: Vec<Set>,
    /// Index of the ReplicaSet of the current template.
    pub(crate) new: Option<usize>,
    /// Services that could be read, by name.
    pub(crate) services: BTreeMap<String, ServiceView>,
    /// Annotation `revision` of the Rollout.
    pub(crate) revision: String,
    /// Annotation `workload-generation` of the Rollout.
    pub(crate) workload_generation: Option<String>,
    pub(crate) actions: Vec<Planned>,
    pub(crate) last_want: Option<Want>,
    pub(crate) events: Vec<Event>,
    /// Names of children that this plan creates, terminates or deletes.
    pub(crate) touched: BTreeSet<String>,
    /// Reasons of the last pass.
    pub(crate) why: Vec<Why>,
    pub(crate) wake: Option<Timestamp>,
    /// When the progress deadline fires, as the last pass sees it.
    pub(crate) stuck_at: Option<Timestamp>,
    pub(crate) ended: Vec<Ended>,
}

impl View {
    pub(crate) fn new(ctx: &Context<'_>, claimed: Vec<Set>) -> Self {
        let services = ctx
            .seen
            .services
            .iter()
            .filter_map(|(name, seen)| match seen {
                Seen::Found(view) => Some((name.clone(), view.clone())),
                Seen::Absent | Seen::Unread(_) => None,
            });
        let mut status = ctx.persisted.clone().into_owned();
        crate::clock::heal(&mut status, ctx.now);
        Self {
            status,
            shadow: Rollout {
                metadata: ObjectMeta {
                    name: ctx.rollout.metadata.name.clone(),
                    namespace: ctx.rollout.metadata.namespace.clone(),
                    generation: ctx.rollout.metadata.generation,
                    ..ObjectMeta::default()
                },
                spec: ctx.rollout.spec.clone(),
                status: None,
            },
            sets: claimed,
            new: None,
            services: services.collect(),
            revision: ctx
                .annotation(keys::REVISION)
                .unwrap_or_default()
                .to_owned(),
            workload_generation: ctx.annotation(keys::WORKLOAD_GENERATION).map(str::to_owned),
            actions: Vec::new(),
            last_want: None,
            events: Vec::new(),
            touched: BTreeSet::new(),
            why: Vec::new(),
            wake: None,
            stuck_at: None,
            ended: Vec::new(),
        }
    }

    /// Makes the shadow show the status that the next pass reads.
    pub(crate) fn sync_shadow(&mut self) {
        self.shadow.status = Some(self.status.clone());
    }

    pub(crate) fn new_set(&self) -> Option<&Set> {
        self.sets.get(self.new?)
    }

    /// Index of the ReplicaSet that status calls stable (CTL-17).
    pub(crate) fn stable(&self) -> Option<usize> {
        if self.status.stable_rs.is_empty() {
            return None;
        }
        let hash = &self.status.stable_rs;
        self.new
            .filter(|i| self.sets.get(*i).is_some_and(|set| set.hash == *hash))
            .or_else(|| self.sets.iter().position(|set| set.hash == *hash))
    }

    pub(crate) fn stable_set(&self) -> Option<&Set> {
        self.sets.get(self.stable()?)
    }

    /// Indices of all ReplicaSets that are neither new nor stable (CTL-18).
    pub(crate) fn others(&self) -> Vec<usize> {
        let stable = self.stable();
        (0..self.sets.len())
            .filter(|i| Some(*i) != self.new && Some(*i) != stable)
            .collect()
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push(action.into());
    }

    pub(crate) fn act_telling(&mut self, action: Action, event: Event) {
        self.actions.push(Planned {
            action,
            events: vec![event],
        });
    }

    /// Does not stop this child after all: an earlier pass of the decision did not know what it is for,
    /// because a plan that made it could not write its status (INV-7).
    pub(crate) fn spare(&mut self, name: &str) {
        let stops = |action: &Action| match action {
            Action::TerminateAnalysisRun { name: of }
            | Action::TerminateExperiment { name: of } => of == name,
            Action::PatchRollout { .. }
            | Action::CreateReplicaSet(_)
            | Action::AdoptReplicaSet { .. }
            | Action::ReleaseReplicaSet { .. }
            | Action::PatchReplicaSet { .. }
            | Action::DeleteReplicaSet { .. }
            | Action::PatchService { .. }
            | Action::Route(_)
            | Action::CreateAnalysisRun(_)
            | Action::DeleteAnalysisRun { .. }
            | Action::CreateExperiment(_)
            | Action::DeleteExperiment { .. }
            | Action::PatchPod { .. }
            | Action::EvictPod { .. }
            | Action::ScaleWorkload { .. } => false,
        };
        self.actions.retain(|planned| !stops(&planned.action));
        self.touched.remove(name);
    }

    /// Once a plan: a pass that follows in it may come to the same.
    pub(crate) fn tell(&mut self, event: Event) {
        if !self.events.contains(&event) {
            self.events.push(event);
        }
    }

    pub(crate) fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Number of writes asked for, ReplicaSets not counted.
    pub(crate) fn asked(&self) -> usize {
        self.actions.len()
    }

    /// Everything that was asked for, in an order that is safe to stop in at any point: new
    /// ReplicaSets first, sizes last, the status after all of it.
    pub(crate) fn into_plan(self, ctx: &Context<'_>) -> Plan {
        let (fresh, known): (Vec<Set>, Vec<Set>) = self.sets.into_iter().partition(|set| set.fresh);
        let (pods, others): (Vec<Planned>, Vec<Planned>) =
            self.actions.into_iter().partition(|planned| {
                matches!(
                    planned.action,
                    Action::PatchPod { .. }
                        | Action::ScaleWorkload { .. }
                        | Action::EvictPod { .. }
                )
            });
        let mut actions: Vec<Planned> = Vec::new();
        for set in fresh {
            let created = Event::normal(
                "NewReplicaSetCreated",
                format!(
                    "Created ReplicaSet {} (revision {})",
                    set.name,
                    set.revision()
                ),
            );
            actions.extend(set.action().map(|mut planned| {
                planned.events.insert(0, created);
                planned
            }));
        }
        // What is deleted is not changed as well.
        let deleted: BTreeSet<String> = others
            .iter()
            .filter_map(|planned| {
                if let Action::DeleteReplicaSet { name } = &planned.action {
                    Some(name.clone())
                } else {
                    None
                }
            })
            .collect();
        actions.extend(others);
        let known = known.into_iter().filter(|set| !deleted.contains(&set.name));
        actions.extend(known.filter_map(Set::action));
        actions.extend(pods);
        let unchanged = ctx.rollout.status.is_some() && self.status == *ctx.persisted;
        Plan {
            actions,
            status: (!unchanged).then(|| Box::new(self.status)),
            events: self.events,
            wake: self.wake,
            stuck_at: self.stuck_at,
            why: self.why,
            ended: self.ended,
        }
    }
}
