//! What a story is played on: a simulated cluster with a node, its API on a socket, a synthetic
//! Prometheus, and the controller. Everything ends and every file is gone when it is dropped.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sluice_controller::{Config, RunError};
use sluice_core::why::Why;
use sluice_crds::Rollout;
use sluice_sim::{
    Behaviour, Clock, Cluster, ClusterOptions, ControlPlane, Kubelet, KubeletOptions, Listener,
    Metrics, Traffic, Variable,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::story::Script;
use crate::client::Session;
use crate::objects::Objects;

/// Where everything happens.
pub(super) const NAMESPACE: &str = "default";

/// The time that the cluster's clock is behind at the start of a story that runs faster than real
/// time: tools that count ages on this machine's clock would else see objects from the future.
const HEAD_START: SignedDuration = SignedDuration::from_mins(2);

/// Kinds that the simulation knows and this cluster does not have: only Istio is installed.
const ABSENT: [&str; 18] = [
    "gatewayclasses.gateway.networking.k8s.io",
    "gateways.gateway.networking.k8s.io",
    "httproutes.gateway.networking.k8s.io",
    "grpcroutes.gateway.networking.k8s.io",
    "tlsroutes.gateway.networking.k8s.io",
    "tcproutes.gateway.networking.k8s.io",
    "traefikservices.traefik.io",
    "traefikservices.traefik.containo.us",
    "trafficsplits.split.smi-spec.io",
    "mappings.getambassador.io",
    "ambassadormappings.x.getambassador.io",
    "apisixroutes.apisix.apache.org",
    "apisixupstreams.apisix.apache.org",
    "virtualservices.appmesh.k8s.aws",
    "virtualrouters.appmesh.k8s.aws",
    "virtualnodes.appmesh.k8s.aws",
    "targetgroupbindings.elbv2.k8s.aws",
    "ingressclassparams.elbv2.k8s.aws",
];

/// The stage.
pub(super) struct Stage {
    cluster: Cluster,
    /// A user's access to the cluster.
    pub(super) session: Session,
    started: Timestamp,
    waits: Arc<Mutex<Vec<Why>>>,
    prometheus: Listener,
    folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    controller: Option<JoinHandle<Result<(), RunError>>>,
    _api: Listener,
    _control: ControlPlane,
    _kubelet: sluice_sim::kubelet::RunningKubelet,
}

impl Stage {
    /// Sets everything up; `behind` lets the cluster's clock start in the past.
    ///
    /// # Errors
    /// When no port of the loopback address, or no temporary folder, can be had.
    pub(super) async fn build(script: &Script, behind: bool) -> Result<Self> {
        let present = Timestamp::now();
        let base = if behind {
            present.checked_sub(HEAD_START)?
        } else {
            present
        };
        let clock = Clock::tokio_at(base);
        let cluster = Cluster::new(ClusterOptions {
            clock: clock.clone(),
            without_kinds: ABSENT.map(str::to_owned).to_vec(),
            ..ClusterOptions::default()
        });
        for definition in sluice_crds::yaml::definitions() {
            cluster.apply(&definition).context("our own definitions")?;
        }
        let control = cluster.start();
        let kubelet = Kubelet::new(cluster.client_as("kubelet"), node(&clock)).start();
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let api = cluster
            .listen(loopback)
            .await
            .context("a port for the API")?;
        let folder = tempfile::Builder::new()
            .prefix("sluice-demo-")
            .tempdir()
            .context("a temporary folder")?;
        let kubeconfig = sluice_sim::kubeconfig(api.address());
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig)
            .context("writing the kubeconfig")?;
        let prometheus = prometheus(&cluster, script)?
            .listen(loopback)
            .await
            .context("a port for Prometheus")?;

        let waits: Arc<Mutex<Vec<Why>>> = Arc::default();
        let heard = Arc::clone(&waits);
        let name = script.rollout;
        let config = Config {
            clock: Arc::new(Shown(clock.clone())),
            on_plan: Some(Arc::new(move |seen, plan| {
                if seen.rollout.metadata.name.as_deref() == Some(name) {
                    *heard.lock().unwrap_or_else(PoisonError::into_inner) = plan.why.clone();
                }
            })),
            ..Config::default()
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let client = cluster.client_as("rollouts-controller");
        let controller = tokio::spawn(sluice_controller::run(config, client, async move {
            let _ = stopped.await;
        }));
        Ok(Self {
            session: Session {
                client: cluster.client_as("demo"),
                namespace: NAMESPACE.to_owned(),
            },
            started: clock.now(),
            cluster,
            waits,
            prometheus,
            folder,
            stop: Some(stop),
            controller: Some(controller),
            _api: api,
            _control: control,
            _kubelet: kubelet,
        })
    }

    /// The file that kubectl is to be told about.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Number of the last change of any object.
    pub(super) fn revision(&self) -> u64 {
        self.cluster.revision()
    }

    /// The time on the cluster's clock.
    pub(super) fn now(&self) -> Timestamp {
        self.cluster.clock().now()
    }

    /// What has passed on that clock since the start.
    pub(super) fn elapsed(&self) -> Duration {
        Duration::try_from(self.now().duration_since(self.started)).unwrap_or_default()
    }

    /// Applies the script's objects; how many there were.
    ///
    /// # Errors
    /// What the API server refuses.
    pub(super) fn apply(&self, script: &Script) -> Result<usize> {
        let text = script
            .manifests
            .replace("PROMETHEUS", &self.prometheus.url());
        let mut count = 0;
        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            let object = Value::deserialize(document)?;
            self.cluster
                .apply(&object)
                .map_err(|error| anyhow!("{error}"))?;
            count += 1;
        }
        Ok(count)
    }

    /// Everything of the namespace that a tree is made of.
    pub(super) fn objects(&self) -> Objects {
        Objects {
            rollouts: self.all("argoproj.io/v1alpha1", "Rollout"),
            replica_sets: self.all("apps/v1", "ReplicaSet"),
            pods: self.all("v1", "Pod"),
            experiments: self.all("argoproj.io/v1alpha1", "Experiment"),
            analysis_runs: self.all("argoproj.io/v1alpha1", "AnalysisRun"),
        }
    }

    fn all<K: DeserializeOwned>(&self, version: &str, kind: &str) -> BTreeMap<String, Arc<K>> {
        let listed = self.cluster.list(version, kind, NAMESPACE, "");
        let named = listed.into_iter().filter_map(|value| {
            let name = value.pointer("/metadata/name")?.as_str()?.to_owned();
            Some((name, Arc::new(serde_json::from_value(value).ok()?)))
        });
        named.collect()
    }

    /// Who answers requests to `host`, as shares by pod hash.
    pub(super) fn shares(&self, host: &str) -> sluice_sim::Shares {
        Traffic::of(&self.cluster).share(NAMESPACE, host)
    }

    /// What the controller says it waits for.
    pub(super) fn waits(&self) -> Vec<Why> {
        self.waits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the controller has ended, which it should not.
    pub(super) fn deserted(&self) -> bool {
        self.controller.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Tells the controller to stop and waits for it, though not for ever.
    pub(super) async fn close(mut self) {
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

/// The controller sees the cluster's clock.
struct Shown(Clock);

impl sluice_controller::clock::Clock for Shown {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// Pods start slowly enough to be watched.
fn node(clock: &Clock) -> KubeletOptions {
    KubeletOptions {
        node: "demo-node".to_owned(),
        clock: clock.clone(),
        default: Behaviour {
            start: Duration::from_millis(600),
            ready: Duration::from_millis(900),
            stop: Duration::from_millis(700),
            ..Behaviour::default()
        },
        ..KubeletOptions::default()
    }
}

/// Answers `error_rate` by the script's formula over `weight`, the percentage of requests that the
/// new version gets just then.
fn prometheus(cluster: &Cluster, script: &Script) -> Result<Metrics> {
    let (measured, name, host) = (cluster.clone(), script.rollout, script.host);
    let variables = move |_| {
        let weight = new_share(&measured, name, host) * 100.0;
        BTreeMap::from([("weight".to_owned(), Variable::Number(weight))])
    };
    let metrics = Metrics::new(cluster.clock().clone(), Arc::new(variables));
    metrics.set("error_rate", script.error_rate)?;
    Ok(metrics)
}

/// The share of requests to `host` that the new version of a Rollout answers, from 0 to 1.
fn new_share(cluster: &Cluster, rollout: &str, host: &str) -> f64 {
    let found = cluster.get("argoproj.io/v1alpha1", "Rollout", NAMESPACE, rollout);
    let rollout = found.and_then(|found| serde_json::from_value::<Rollout>(found).ok());
    let Some(status) = rollout.and_then(|rollout| rollout.status) else {
        return 0.0;
    };
    if status.current_pod_hash == status.stable_rs {
        return 0.0;
    }
    let shares = Traffic::of(cluster).share(NAMESPACE, host);
    let share = shares.by_hash.get(&status.current_pod_hash);
    share.copied().unwrap_or(0.0)
}

/// How this program was called, as one types it in the present folder.
pub(super) fn own_name() -> String {
    let Ok(path) = std::env::current_exe() else {
        return "kubectl-argo-rollouts".to_owned();
    };
    let in_path = std::env::var_os("PATH").is_some_and(|all| {
        std::env::split_paths(&all).any(|folder| path.parent() == Some(&folder))
    });
    if in_path {
        return "kubectl argo rollouts".to_owned();
    }
    let here = std::env::current_dir().unwrap_or_default();
    relative(&path, &here).display().to_string()
}

fn relative<'a>(path: &'a Path, here: &Path) -> &'a Path {
    path.strip_prefix(here).unwrap_or(path)
}
