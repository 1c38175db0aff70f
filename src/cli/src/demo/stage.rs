//! What a story is played on: a [`World`] with its API on a socket and a synthetic Prometheus.
//! Everything ends and every file is gone when it is dropped.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use sluice_controller::lease::LeaseSettings;
use sluice_sim::{Behaviour, Clock, Cluster, KubeletOptions, Listener, Metrics, Variable};

use super::story::Script;
use crate::world::scene::Scene;
use crate::world::{Setting, World, new_share};

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
    /// The cluster, its node and its controller.
    pub(super) world: World,
    prometheus: Listener,
    folder: tempfile::TempDir,
    _api: Listener,
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
        let mut world = World::new(Setting {
            clock: clock.clone(),
            seed: 1,
            without_kinds: ABSENT.map(str::to_owned).to_vec(),
            node: node(&clock),
            namespace: NAMESPACE.to_owned(),
            rollout: script.rollout.to_owned(),
        })?;
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let api = world
            .cluster
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
        let prometheus = prometheus(&world.cluster, script)?
            .listen(loopback)
            .await
            .context("a port for Prometheus")?;
        world.apply(&[lease(present)])?;
        world.start_controller(None);
        Ok(Self {
            world,
            prometheus,
            folder,
            _api: api,
        })
    }

    /// The file that kubectl is to be told about.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Looks at the script's Rollout.
    pub(super) fn look(&self, script: &Script) -> Scene {
        Scene::of(&self.world, script.rollout, Some(script.host), None)
    }

    /// Applies the script's objects; how many there were.
    ///
    /// # Errors
    /// What the API server refuses.
    pub(super) fn apply(&self, script: &Script) -> Result<usize> {
        let text = script
            .manifests
            .replace("PROMETHEUS", &self.prometheus.url());
        let mut objects = Vec::new();
        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            objects.push(Value::deserialize(document)?);
        }
        self.world.apply(&objects)?;
        Ok(objects.len())
    }

    /// Tells the controller to stop and waits for it, though not for ever.
    pub(super) async fn close(mut self) {
        self.world.close().await;
    }
}

/// What a controller leaves that shares its cluster with others. The one of the demo is alone and
/// does without, but `explain` looks there for who acts.
fn lease(present: Timestamp) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": LeaseSettings::new("", "").name(),
            "namespace": "argo-rollouts",
        },
        "spec": {
            "holderIdentity": "demo",
            "leaseDurationSeconds": 30 * 24 * 3600, // longer than anybody watches
            "renewTime": present.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
        },
    })
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
        let weight = new_share(&measured, NAMESPACE, name, host) * 100.0;
        BTreeMap::from([("weight".to_owned(), Variable::Number(weight))])
    };
    let metrics = Metrics::new(cluster.clock().clone(), std::sync::Arc::new(variables));
    metrics.set("error_rate", script.error_rate)?;
    Ok(metrics)
}
