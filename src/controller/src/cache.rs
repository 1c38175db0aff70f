//! What the controller knows of the cluster.
//!
//! One [`Store`] per kind, fed by a watch ([`feed`]) and by the answers to our own writes (D3). Kinds
//! that only some users have (routes, referenced workloads) are watched from the first time that
//! somebody asks for them; until their list is complete, questions are answered by live reads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher;
use kube::{Client, Resource};
use sluice_core::observed::Seen;
use sluice_crds::{
    AnalysisRun, AnalysisTemplate, ClusterAnalysisTemplate, Experiment, ReplicaSet, Rollout, keys,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::hub::{Hub, Triggers, left_alone};
use crate::key::Key;

pub mod depend;
pub mod feed;
pub mod kept;
pub mod lite;
pub mod store;

pub use depend::{Dependencies, Dependent, ObjectId};
use feed::{Lenient, Report};
pub use kept::Kept;
pub use lite::{Deployment, ForeignReplicaSet, Job, Pod, PodTemplate, Service};
pub use store::{Change, Store, controller_uid, key_of};

/// Whose objects are looked at.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only this namespace (`--namespaced`).
    pub namespace: Option<String>,
    /// `--instance-id`; empty: objects without the label (OPS-9).
    pub instance_id: String,
}

impl Scope {
    /// A handle for all objects of a kind that are in scope.
    #[must_use]
    pub fn api<K>(&self, client: Client) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }

    fn dynamic<K>(&self, client: Client, kind: &K::DynamicType) -> Api<K>
    where
        K: Resource<Scope = kube::core::DynamicResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, kind),
            None => Api::all_with(client, kind),
        }
    }

    fn sharded(&self) -> watcher::Config {
        let key = keys::INSTANCE_ID;
        let selector = match self.instance_id.as_str() {
            "" => format!("!{key}"),
            id => format!("{key}={id}"),
        };
        config().labels(&selector)
    }
}

fn config() -> watcher::Config {
    watcher::Config::default().any_semantic()
}

/// All stores.
pub struct Cache {
    /// Rollouts of our shard.
    pub rollouts: Arc<Store<Rollout>>,
    /// ReplicaSets with a pod-template hash of ours.
    pub replica_sets: Arc<Store<ReplicaSet>>,
    /// AnalysisRuns of our shard.
    pub runs: Arc<Store<AnalysisRun>>,
    /// Experiments of our shard.
    pub experiments: Arc<Store<Experiment>>,
    /// AnalysisTemplates of our shard.
    pub templates: Arc<Store<AnalysisTemplate>>,
    /// ClusterAnalysisTemplates of our shard; none with `--namespaced`.
    pub cluster_templates: Arc<Store<ClusterAnalysisTemplate>>,
    /// All Services.
    pub services: Arc<Store<Service>>,
    /// Jobs of analyses.
    pub jobs: Arc<Store<Job>>,
    /// Deployments, from the first Rollout on that refers to one.
    pub deployments: OnDemand<Deployment>,
    /// ReplicaSets that Rollouts refer to as their workload.
    pub foreign_replica_sets: OnDemand<ForeignReplicaSet>,
    /// PodTemplates that Rollouts refer to.
    pub pod_templates: OnDemand<PodTemplate>,
    routes: Mutex<BTreeMap<(String, String), OnDemand<DynamicObject>>>,
    /// What starting a watch takes.
    pub feeds: Feeds,
}

/// What starting a watch takes.
#[derive(Clone)]
pub struct Feeds {
    /// The client for reading.
    pub client: Client,
    /// Whose objects.
    pub scope: Scope,
    /// Where changes are reported.
    pub hub: Arc<Hub>,
    /// Ends all watches.
    pub stop: CancellationToken,
    /// Runs them.
    pub tasks: TaskTracker,
}

/// What is done about a change, or an object that cannot be decoded.
type Notify<K> = Box<dyn Fn(&Hub, &Report<K>) + Send>;

/// The usual: whoever is concerned looks again.
fn triggers<K>() -> Notify<K>
where
    Hub: Triggers<K>,
{
    Box::new(|hub, report| match report {
        Report::Changed(change) => hub.changed(change, None),
        Report::Malformed(meta, error) => hub.malformed(meta, error),
    })
}

impl Feeds {
    fn start<K>(&self, api: Api<Lenient<K>>, config: watcher::Config, store: &Arc<Store<K>>)
    where
        K: Kept + Resource<DynamicType = ()>,
        Hub: Triggers<K>,
    {
        self.start_with(api, config, store, feed::REQUIRED_RETRY, triggers());
    }

    fn start_with<K>(
        &self,
        api: Api<Lenient<K>>,
        config: watcher::Config,
        store: &Arc<Store<K>>,
        missing_retry: Duration,
        notify: Notify<K>,
    ) where
        K: Kept,
        K::DynamicType: Clone + Send + Sync + 'static,
    {
        let (hub, store, stop) = (self.hub.clone(), store.clone(), self.stop.clone());
        self.tasks.spawn(feed::feed(
            api,
            config,
            store,
            missing_retry,
            stop,
            move |report| notify(&hub, &report),
        ));
    }
}

impl Cache {
    /// Empty stores; nothing is watched yet.
    #[must_use]
    pub fn new(feeds: Feeds, rollouts: Arc<Store<Rollout>>) -> Self {
        Self {
            rollouts,
            replica_sets: Arc::default(),
            runs: Arc::default(),
            experiments: Arc::default(),
            templates: Arc::default(),
            cluster_templates: Arc::default(),
            services: Arc::default(),
            jobs: Arc::default(),
            deployments: OnDemand::default(),
            foreign_replica_sets: OnDemand::default(),
            pod_templates: OnDemand::default(),
            routes: Mutex::default(),
            feeds,
        }
    }

    /// Starts the watches that every installation needs and waits until each has a complete list.
    /// With `runs_only` (`--controllers analysis`) only what AnalysisRuns need.
    pub async fn start(&self, runs_only: bool) {
        let feeds = &self.feeds;
        let (client, scope) = (&feeds.client, &feeds.scope);
        let sharded = scope.sharded();
        feeds.start(scope.api(client.clone()), sharded.clone(), &self.runs);
        feeds.start(
            scope.api(client.clone()),
            config().labels(keys::JOB_RUN_UID),
            &self.jobs,
        );
        if !runs_only {
            let hashed = config().labels(keys::POD_TEMPLATE_HASH);
            feeds.start(scope.api(client.clone()), hashed, &self.replica_sets);
            feeds.start(
                scope.api(client.clone()),
                sharded.clone(),
                &self.experiments,
            );
            feeds.start(scope.api(client.clone()), config(), &self.services);
            feeds.start(scope.api(client.clone()), sharded.clone(), &self.templates);
            if scope.namespace.is_none() {
                feeds.start(
                    Api::all(client.clone()),
                    sharded.clone(),
                    &self.cluster_templates,
                );
            }
            self.replica_sets.synced().await;
            self.experiments.synced().await;
            self.services.synced().await;
            self.templates.synced().await;
            if scope.namespace.is_none() {
                self.cluster_templates.synced().await;
            }
        }
        self.runs.synced().await;
        if !runs_only {
            // Last, so that the first pass over a Rollout sees everything else.
            feeds.start(scope.api(client.clone()), sharded, &self.rollouts);
            self.rollouts.synced().await;
        }
    }

    /// A route object (or any other kind named by group, version and plural), read from its store or
    /// live. The first question about a kind starts its watch.
    pub async fn route(&self, kind: &ApiResource, key: &Key) -> Seen<Arc<DynamicObject>> {
        let word = (kind.api_version.clone(), kind.plural.clone());
        let on_demand = {
            let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
            routes.entry(word).or_default().clone()
        };
        let watch = self.feeds.scope.dynamic(self.feeds.client.clone(), kind);
        let live = Api::namespaced_with(self.feeds.client.clone(), key.namespace(), kind);
        let (group, plural) = (kind.group.clone(), kind.plural.clone());
        let notify = Box::new(
            move |hub: &Hub, report: &Report<DynamicObject>| match report {
                Report::Changed(change) => hub.route_changed(&group, &plural, change, None),
                Report::Malformed(meta, error) => left_alone(meta, error),
            },
        );
        on_demand.read(&self.feeds, watch, live, key, notify).await
    }

    /// The store of a route kind, when it is watched.
    #[must_use]
    pub fn route_store(
        &self,
        api_version: &str,
        plural: &str,
    ) -> Option<Arc<Store<DynamicObject>>> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let store = routes.get(&(api_version.to_owned(), plural.to_owned()))?;
        Some(store.store.clone())
    }

    /// A typed workload that a Rollout refers to.
    pub async fn workload<K>(&self, kind: &OnDemand<K>, key: &Key) -> Seen<Arc<K>>
    where
        K: Kept + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        Hub: Triggers<K>,
    {
        let watch = self.feeds.scope.api(self.feeds.client.clone());
        let live = Api::namespaced(self.feeds.client.clone(), key.namespace());
        kind.read(&self.feeds, watch, live, key, triggers()).await
    }
}

/// How long a question waits for the first list of its kind before it is answered by a live read.
const PATIENCE: Duration = Duration::from_secs(2);

/// A store whose watch starts with the first question; with feeds that are stopped none starts, and
/// every question is a live read.
pub struct OnDemand<K> {
    store: Arc<Store<K>>,
    started: Arc<Mutex<bool>>,
    /// The list took too long once: nobody waits for it any more.
    gave_up: Arc<AtomicBool>,
}

impl<K> Default for OnDemand<K> {
    fn default() -> Self {
        Self {
            store: Arc::default(),
            started: Arc::default(),
            gave_up: Arc::default(),
        }
    }
}

impl<K> Clone for OnDemand<K> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            started: self.started.clone(),
            gave_up: self.gave_up.clone(),
        }
    }
}

impl<K> OnDemand<K> {
    /// The store; empty while nobody asked.
    #[must_use]
    pub fn store(&self) -> &Arc<Store<K>> {
        &self.store
    }
}

impl<K: Kept> OnDemand<K>
where
    K::DynamicType: Clone + Send + Sync + 'static,
{
    async fn read(
        &self,
        feeds: &Feeds,
        watch: Api<Lenient<K>>,
        live: Api<Lenient<K>>,
        key: &Key,
        notify: Notify<K>,
    ) -> Seen<Arc<K>> {
        let stopped = feeds.stop.is_cancelled();
        if !stopped {
            let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
            if !*started {
                *started = true;
                feeds.start_with(watch, config(), &self.store, feed::OPTIONAL_RETRY, notify);
            }
        }
        let elsewhere = feeds
            .scope
            .namespace
            .as_deref()
            .is_some_and(|ns| ns != key.namespace());
        if !stopped
            && !elsewhere
            && !self.store.is_synced()
            && !self.gave_up.load(Ordering::Relaxed)
        {
            // Better one list than a read per Rollout at start; but not for ever.
            if tokio::time::timeout(PATIENCE, self.store.synced())
                .await
                .is_err()
            {
                self.gave_up.store(true, Ordering::Relaxed);
            }
        }
        if !elsewhere && self.store.is_synced() {
            return self.store.get(key).map_or(Seen::Absent, Seen::Found);
        }
        match live.get_opt(key.name()).await {
            Ok(Some(item)) => match item.into_object() {
                Ok(object) => Seen::Found(self.store.observe_write(object)),
                Err(error) => Seen::Unread(error),
            },
            Ok(None) => Seen::Absent,
            Err(error) => Seen::Unread(error.to_string()),
        }
    }
}
