//! From changes to queues: who has to look again when an object changed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::DynamicObject;
use sluice_core::event::Event;
use sluice_crds::{
    AnalysisRun, AnalysisTemplate, ClusterAnalysisTemplate, Experiment, ReplicaSet, Rollout, keys,
};

use crate::cache::{
    Change, Dependencies, Dependent, Deployment, ForeignReplicaSet, Job, ObjectId, Pod,
    PodTemplate, Service, Store, key_of,
};
use crate::events::{EventSink, Regarding};
use crate::key::Key;
use crate::metrics::{Metrics, Subject};
use crate::queue::Queue;

/// One queue per kind of pass.
#[derive(Clone)]
pub struct Queues {
    /// Rollouts.
    pub rollouts: Arc<Queue>,
    /// AnalysisRuns.
    pub runs: Arc<Queue>,
    /// Experiments.
    pub experiments: Arc<Queue>,
    /// Services that may have to be cleaned (CTL-152).
    pub services: Arc<Queue>,
    /// DestinationRules that may have to be cleaned (TRF-112).
    pub destination_rules: Arc<Queue>,
}

impl Queues {
    /// Empty queues, reported under the peer's names (OPS-8).
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let queue = |name: &'static str| {
            let queue = Queue::new(name, Some(metrics.queue_observer(name)));
            metrics.watch_queue(queue.clone());
            queue
        };
        // Changes of Ingresses go straight to their Rollouts; the name is there for dashboards.
        let _ = queue("Ingresses");
        Self {
            rollouts: queue("Rollouts"),
            runs: queue("AnalysisRuns"),
            experiments: queue("Experiments"),
            services: queue("Services"),
            destination_rules: queue("DestinationRules"),
        }
    }
}

/// Whose pass made a change: that pass goes on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor<'a> {
    /// The pass of a Rollout.
    Rollout(&'a Key),
    /// The pass of an AnalysisRun.
    Run(&'a Key),
    /// The pass of an Experiment.
    Experiment(&'a Key),
}

/// Distributes changes.
pub struct Hub {
    /// The queues.
    pub queues: Queues,
    /// Who looked at what.
    pub dependencies: Dependencies,
    /// Rollouts, to find those that may adopt a ReplicaSet.
    pub rollouts: Arc<Store<Rollout>>,
    /// Rollouts that cannot be decoded.
    pub unreadable: Unreadable,
    /// Where deletions are recorded.
    pub events: EventSink,
    /// Where deletions end series.
    pub metrics: Metrics,
}

/// What a change of a `K` sets off.
pub trait Triggers<K> {
    /// The change was seen, or made by `by`.
    fn changed(&self, change: &Change<K>, by: Option<Actor<'_>>);

    /// The object exists and cannot be decoded: it is left alone until it changes.
    fn malformed(&self, meta: &ObjectMeta, error: &str) {
        left_alone(meta, error);
    }
}

/// Says so in the log, the only place where everybody looks.
pub fn left_alone(meta: &ObjectMeta, error: &str) {
    tracing::error!(
        namespace = meta.namespace,
        name = meta.name,
        error,
        "object cannot be decoded and is left alone; correct it"
    );
}

impl Hub {
    fn rollout(&self, key: Key, by: Option<Actor<'_>>) {
        if by != Some(Actor::Rollout(&key)) {
            self.queues.rollouts.add(key);
        }
    }

    fn run(&self, key: Key, by: Option<Actor<'_>>) {
        if by != Some(Actor::Run(&key)) {
            self.queues.runs.add(key);
        }
    }

    fn experiment(&self, key: Key, by: Option<Actor<'_>>) {
        if by != Some(Actor::Experiment(&key)) {
            self.queues.experiments.add(key);
        }
    }

    /// The Rollout, Experiment or AnalysisRun that controls the object.
    fn owner(&self, meta: &ObjectMeta, by: Option<Actor<'_>>) {
        let owners = meta.owner_references.iter().flatten();
        for owner in owners.filter(|owner| owner.controller == Some(true)) {
            let key = Key::new(
                meta.namespace.clone().unwrap_or_default(),
                owner.name.clone(),
            );
            match owner.kind.as_str() {
                "Rollout" => self.rollout(key, by),
                "Experiment" => self.experiment(key, by),
                "AnalysisRun" => self.run(key, by),
                _ => {}
            }
        }
    }

    /// Everybody who looked at the object.
    pub fn dependents(&self, object: &ObjectId, by: Option<Actor<'_>>) {
        for dependent in self.dependencies.of(object) {
            match dependent {
                Dependent::Rollout(key) => self.rollout(key, by),
                Dependent::Experiment(key) => self.experiment(key, by),
            }
        }
    }

    /// A route object of this group and plural changed.
    pub fn route_changed(
        &self,
        group: &str,
        plural: &str,
        change: &Change<DynamicObject>,
        by: Option<Actor<'_>>,
    ) {
        let object = change.object();
        let key = key_of(object.as_ref());
        self.dependents(&ObjectId::new(group, plural, key.clone()), by);
        let annotations = object.metadata.annotations.as_ref();
        let managed = annotations.is_some_and(|a| a.contains_key(keys::MANAGED_BY));
        if managed && plural == "destinationrules" && matches!(change, Change::Applied { .. }) {
            self.queues.destination_rules.add(key);
        }
    }

    fn depend<K: Resource<DynamicType = ()>>(&self, change: &Change<K>, by: Option<Actor<'_>>) {
        let key = key_of(change.object().as_ref());
        self.dependents(&ObjectId::new(&K::group(&()), &K::plural(&()), key), by);
    }

    /// `who` looked at exactly these objects; what it left is looked after.
    pub fn looked_at(&self, who: &Dependent, objects: BTreeSet<ObjectId>) {
        for object in self.dependencies.set(who, objects) {
            match object.kind.as_str() {
                "services" => self.queues.services.add(object.key),
                "destinationrules.networking.istio.io" => {
                    self.queues.destination_rules.add(object.key);
                }
                _ => {}
            }
        }
    }
}

impl Triggers<Rollout> for Hub {
    fn changed(&self, change: &Change<Rollout>, by: Option<Actor<'_>>) {
        let rollout = change.object();
        let key = key_of(rollout.as_ref());
        self.unreadable.remove(&key);
        match change {
            Change::Applied { .. } => self.rollout(key, by),
            Change::Deleted(_) => {
                self.looked_at(&Dependent::Rollout(key.clone()), BTreeSet::new());
                let text = format!("Rollout {key} is deleted.");
                self.events.record(
                    &Regarding::new(rollout.as_ref()),
                    Event::normal("RolloutDeleted", text),
                );
                self.metrics.deleted(Subject::Rollout, key.clone());
                self.rollout(key, by);
            }
        }
    }

    /// Its pass reads it as it is and tells whoever wrote it (API-44).
    fn malformed(&self, meta: &ObjectMeta, error: &str) {
        left_alone(meta, error);
        let key = Key::new(
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default(),
        );
        self.unreadable.add(key.clone());
        self.rollout(key, None);
    }
}

/// Rollouts that exist and cannot be decoded.
#[derive(Default)]
pub struct Unreadable(Mutex<BTreeSet<Key>>);

impl Unreadable {
    fn keys(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, key: Key) {
        self.keys().insert(key);
    }

    /// It is gone, or can be decoded now.
    pub fn remove(&self, key: &Key) {
        self.keys().remove(key);
    }

    /// Whether this Rollout was last seen in a form that cannot be decoded.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.keys().contains(key)
    }
}

impl Triggers<ReplicaSet> for Hub {
    fn changed(&self, change: &Change<ReplicaSet>, by: Option<Actor<'_>>) {
        let now = change.object();
        self.owner(&now.metadata, by);
        if let Change::Applied {
            before: Some(before),
            ..
        } = change
        {
            self.owner(&before.metadata, by);
        }
        if crate::cache::controller_uid(&now.metadata).is_some() {
            return;
        }
        let labels = now.metadata.labels.clone().unwrap_or_default();
        let namespace = now.metadata.namespace.clone().unwrap_or_default();
        for rollout in self.rollouts.in_namespace(&namespace) {
            let selector = rollout.spec.selector.as_ref();
            if selector.is_some_and(|selector| !selector.is_empty() && selector.matches(&labels)) {
                self.rollout(key_of(rollout.as_ref()), by);
            }
        }
    }
}

impl Triggers<AnalysisRun> for Hub {
    fn changed(&self, change: &Change<AnalysisRun>, by: Option<Actor<'_>>) {
        let run = change.object();
        let key = key_of(run.as_ref());
        if matches!(change, Change::Deleted(_)) {
            self.metrics.deleted(Subject::AnalysisRun, key.clone());
        }
        self.run(key, by);
        let phase = |run: &AnalysisRun| {
            run.status
                .as_ref()
                .map(|s| (s.phase.clone(), s.message.clone()))
        };
        match change {
            Change::Applied {
                before: Some(before),
                now,
            } if phase(before) == phase(now) => {}
            _ => self.owner(&run.metadata, by),
        }
    }
}

impl Triggers<Experiment> for Hub {
    fn changed(&self, change: &Change<Experiment>, by: Option<Actor<'_>>) {
        let key = key_of(change.object().as_ref());
        if matches!(change, Change::Deleted(_)) {
            self.metrics.deleted(Subject::Experiment, key.clone());
            self.looked_at(&Dependent::Experiment(key.clone()), BTreeSet::new());
        }
        self.experiment(key, by);
        self.owner(&change.object().metadata, by);
    }
}

impl Triggers<Service> for Hub {
    fn changed(&self, change: &Change<Service>, by: Option<Actor<'_>>) {
        let service = change.object();
        self.owner(&service.metadata, by);
        self.depend(change, by);
        let view = service.view();
        if matches!(change, Change::Applied { .. })
            && (view.managed_by.is_some() || view.selector.contains_key(keys::POD_TEMPLATE_HASH))
        {
            self.queues.services.add(key_of(service.as_ref()));
        }
    }
}

impl Triggers<Job> for Hub {
    fn changed(&self, change: &Change<Job>, by: Option<Actor<'_>>) {
        let job = change.object();
        if !job.is_over() {
            return;
        }
        let annotation = |key: &str| {
            job.metadata
                .annotations
                .as_ref()
                .and_then(|a| a.get(key))
                .cloned()
        };
        let owned = job
            .metadata
            .owner_references
            .iter()
            .flatten()
            .any(|o| o.kind == "AnalysisRun");
        if owned {
            self.owner(&job.metadata, by);
        } else if let Some(name) = annotation(keys::JOB_RUN_NAME) {
            let namespace = annotation(keys::JOB_RUN_NAMESPACE).or(job.metadata.namespace.clone());
            self.run(Key::new(namespace.unwrap_or_default(), name), by);
        }
    }
}

macro_rules! depend_only {
    ($($kind:ty),+) => {
        $(impl Triggers<$kind> for Hub {
            fn changed(&self, change: &Change<$kind>, by: Option<Actor<'_>>) {
                self.depend(change, by);
            }
        })+
    };
}

depend_only!(
    AnalysisTemplate,
    ClusterAnalysisTemplate,
    Deployment,
    ForeignReplicaSet,
    PodTemplate,
    Pod
);
