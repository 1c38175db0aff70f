//! A cluster inside this process, with its node and the real controller: what `demo` and `simulate`
//! play on. Everything ends when it is dropped.

pub(crate) mod changes;
pub(crate) mod scene;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use kube::api::Api;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sluice_controller::measure::Measure;
use sluice_controller::{Config, RunError};
use sluice_core::commands::{self, Promotion};
use sluice_core::why::Why;
use sluice_crds::Rollout;
use sluice_sim::kubelet::RunningKubelet;
use sluice_sim::{
    Clock, Cluster, ClusterOptions, ControlPlane, Kubelet, KubeletOptions, Shares, Traffic,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Session;
use crate::objects::Objects;
use crate::verbs::act;

/// User agent of the controller, at which faults are aimed.
pub(crate) const CONTROLLER: &str = "rollouts-controller";

/// How a world is made.
pub(crate) struct Setting {
    /// Its clock.
    pub(crate) clock: Clock,
    /// Seed of names and of the dice of faults.
    pub(crate) seed: u64,
    /// Third-party kinds that are not installed.
    pub(crate) without_kinds: Vec<String>,
    /// The only node.
    pub(crate) node: KubeletOptions,
    /// Where everything happens.
    pub(crate) namespace: String,
    /// The Rollout whose waits are listened to.
    pub(crate) rollout: String,
}

/// The cluster and who is at work in it.
pub(crate) struct World {
    /// The cluster.
    pub(crate) cluster: Cluster,
    /// A user's access to it.
    pub(crate) session: Session,
    rollout: String,
    started: Timestamp,
    waits: Arc<Mutex<Vec<Why>>>,
    stop: Option<oneshot::Sender<()>>,
    controller: Option<JoinHandle<Result<(), RunError>>>,
    _control: ControlPlane,
    _kubelet: RunningKubelet,
}

impl World {
    /// A cluster with our definitions, its controllers and a node; nobody cares for Rollouts yet.
    ///
    /// # Errors
    /// When our own definitions are refused.
    pub(crate) fn new(setting: Setting) -> Result<Self> {
        let clock = setting.clock;
        let cluster = Cluster::new(ClusterOptions {
            seed: setting.seed,
            clock: clock.clone(),
            without_kinds: setting.without_kinds,
            ..ClusterOptions::default()
        });
        for definition in sluice_crds::yaml::definitions() {
            cluster.apply(&definition).context("our own definitions")?;
        }
        let control = cluster.start();
        let kubelet = Kubelet::new(cluster.client_as("kubelet"), setting.node).start();
        Ok(Self {
            session: Session {
                client: cluster.client_as("user"),
                namespace: setting.namespace,
            },
            rollout: setting.rollout,
            started: clock.now(),
            waits: Arc::default(),
            cluster,
            stop: None,
            controller: None,
            _control: control,
            _kubelet: kubelet,
        })
    }

    /// Starts the controller; `measure` takes its measurements, the real providers when absent.
    pub(crate) fn start_controller(&mut self, measure: Option<Arc<dyn Measure>>) {
        let heard = Arc::clone(&self.waits);
        let name = self.rollout.clone();
        let config = Config {
            clock: Arc::new(Shown(self.cluster.clock().clone())),
            measure,
            on_plan: Some(Arc::new(move |seen, plan| {
                if seen.rollout.metadata.name.as_deref() == Some(name.as_str()) {
                    *heard.lock().unwrap_or_else(PoisonError::into_inner) = plan.why.clone();
                }
            })),
            ..Config::default()
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let client = self.cluster.client_as(CONTROLLER);
        self.stop = Some(stop);
        self.controller = Some(tokio::spawn(sluice_controller::run(
            config,
            client,
            async move {
                let _ = stopped.await;
            },
        )));
    }

    /// Number of the last change of any object.
    pub(crate) fn revision(&self) -> u64 {
        self.cluster.revision()
    }

    /// The time on the cluster's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.cluster.clock().now()
    }

    /// What has passed on that clock since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::try_from(self.now().duration_since(self.started)).unwrap_or_default()
    }

    /// Counts from here on.
    pub(crate) fn restart_clock(&mut self) {
        self.started = self.now();
    }

    /// Applies objects.
    ///
    /// # Errors
    /// What the API server refuses, with the object's name.
    pub(crate) fn apply(&self, objects: &[Value]) -> Result<()> {
        for object in objects {
            self.cluster.apply(object).map_err(|error| {
                let text = |pointer| {
                    let value = object.pointer(pointer).and_then(Value::as_str);
                    value.unwrap_or_default()
                };
                anyhow!("{} {:?}: {error}", text("/kind"), text("/metadata/name"))
            })?;
        }
        Ok(())
    }

    /// Everything of the namespace that a tree is made of.
    pub(crate) fn objects(&self) -> Objects {
        Objects {
            rollouts: self.all("argoproj.io/v1alpha1", "Rollout"),
            replica_sets: self.all("apps/v1", "ReplicaSet"),
            pods: self.all("v1", "Pod"),
            experiments: self.all("argoproj.io/v1alpha1", "Experiment"),
            analysis_runs: self.all("argoproj.io/v1alpha1", "AnalysisRun"),
        }
    }

    fn all<K: DeserializeOwned>(&self, version: &str, kind: &str) -> BTreeMap<String, Arc<K>> {
        let listed = self
            .cluster
            .list(version, kind, &self.session.namespace, "");
        let named = listed.into_iter().filter_map(|value| {
            let name = value.pointer("/metadata/name")?.as_str()?.to_owned();
            Some((name, Arc::new(serde_json::from_value(value).ok()?)))
        });
        named.collect()
    }

    /// Who answers requests to `host`, as shares by pod hash.
    pub(crate) fn shares(&self, host: &str) -> Shares {
        Traffic::of(&self.cluster).share(&self.session.namespace, host)
    }

    /// What `promote` does.
    ///
    /// # Errors
    /// The API server's answer.
    pub(crate) async fn promote(&self) -> Result<()> {
        let session = &self.session;
        let api: Api<Rollout> = Api::namespaced(session.client.clone(), &session.namespace);
        let rollout = api.get(&self.rollout).await?;
        let patches = commands::promote(&rollout, Promotion::default())?;
        act::send(session, act::Kind::Rollout, &self.rollout, &patches)
            .await
            .context("promoting")
    }

    /// What the controller says it waits for.
    pub(crate) fn waits(&self) -> Vec<Why> {
        self.waits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the controller has ended, which it should not.
    pub(crate) fn deserted(&self) -> bool {
        self.controller.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Tells the controller to stop and waits for it, though not for ever.
    pub(crate) async fn close(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(mut controller) = self.controller.take()
            && tokio::time::timeout(Duration::from_secs(10), &mut controller)
                .await
                .is_err()
        {
            controller.abort();
        }
    }
}

/// The share of requests to `host` that the new version of a Rollout answers, from 0 to 1.
pub(crate) fn new_share(cluster: &Cluster, namespace: &str, rollout: &str, host: &str) -> f64 {
    let found = cluster.get("argoproj.io/v1alpha1", "Rollout", namespace, rollout);
    let rollout = found.and_then(|found| serde_json::from_value::<Rollout>(found).ok());
    let Some(status) = rollout.and_then(|rollout| rollout.status) else {
        return 0.0;
    };
    if status.current_pod_hash == status.stable_rs {
        return 0.0;
    }
    let shares = Traffic::of(cluster).share(namespace, host);
    let share = shares.by_hash.get(&status.current_pod_hash);
    share.copied().unwrap_or(0.0)
}

/// The controller sees the cluster's clock.
struct Shown(Clock);

impl sluice_controller::clock::Clock for Shown {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}
