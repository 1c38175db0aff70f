//! Many Rollouts at rest, for tests and benches of what nothing happening costs.
//!
//! One Rollout of each kind is brought to its rest by the controller, in virtual time; copies of what is
//! there then fill a cluster whose pods stand still, five Rollouts to a namespace.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde_json::{Value, json};
use sluice_controller::Config;
use sluice_controller::clock::Clock;
use sluice_sim::{Cluster, ClusterOptions, Kubelet, KubeletOptions};

use crate::stand::{ARGO, Controller, ISTIO, Namespace, kind, text};
use crate::takeover;

const MINUTE: Duration = Duration::from_secs(60);
/// Namespaces that are filled at the same time.
const PARALLEL: usize = 8;
/// User agent of the controllers that [`controller`] starts.
pub const AGENT: &str = "sluice-controller";
/// Rollouts in each namespace.
pub const KINDS: usize = 5;

#[derive(Clone)]
struct SimClock(sluice_sim::Clock);

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// An empty cluster with our definitions.
///
/// # Errors
/// Never, unless our definitions are broken.
pub fn cluster(clock: &sluice_sim::Clock) -> Result<Cluster> {
    let cluster = Cluster::new(ClusterOptions {
        clock: clock.clone(),
        ..ClusterOptions::default()
    });
    cluster.install_definitions()?;
    Ok(cluster)
}

/// A controller in this process.
pub fn controller(cluster: &Cluster, clock: &sluice_sim::Clock) -> Controller {
    let config = Config {
        clock: std::sync::Arc::new(SimClock(clock.clone())),
        ..Config::default()
    };
    Controller::start(config, cluster.client_as(AGENT))
}

fn rollout(name: &str, strategy: Value) -> Value {
    json!({"apiVersion": ARGO, "kind": "Rollout", "metadata": {"name": name},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "web", "image": "web:v1",
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]}},
        "strategy": strategy,
    }})
}

fn service(name: &str, app: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": [{"port": 80}]}})
}

/// A Rollout of each kind, with what belongs to it.
fn manifests() -> Vec<Value> {
    let to = |host: &str, weight: u32| json!({"destination": {"host": host}, "weight": weight});
    let route = json!({"hosts": ["routed"], "http": [{"name": "primary",
        "route": [to("routed-stable", 100), to("routed-canary", 0)]}]});
    let istio = json!({"istio": {"virtualService": {"name": "routed", "routes": ["primary"]}}});
    let steps = json!([{"setWeight": 50}, {"pause": {}}]);
    vec![
        service("routed-stable", "routed"),
        service("routed-canary", "routed"),
        service("switched-active", "switched"),
        service("switched-preview", "switched"),
        service("waiting-active", "waiting"),
        json!({"apiVersion": ISTIO, "kind": "VirtualService", "metadata": {"name": "routed"},
            "spec": route}),
        rollout("plain", json!({"canary": {}})),
        rollout("paused", json!({"canary": {"steps": steps}})),
        rollout(
            "routed",
            json!({"canary": {"steps": steps, "trafficRouting": istio,
            "canaryService": "routed-canary", "stableService": "routed-stable"}}),
        ),
        rollout(
            "switched",
            json!({"blueGreen": {"activeService": "switched-active",
            "previewService": "switched-preview"}}),
        ),
        rollout(
            "waiting",
            json!({"blueGreen": {"activeService": "waiting-active",
            "autoPromotionEnabled": false}}),
        ),
    ]
}

/// What is there once all five have been updated and wait, or are done.
///
/// # Errors
/// What does not come to rest.
pub async fn at_rest(clock: &sluice_sim::Clock) -> Result<Vec<Value>> {
    let cluster = cluster(clock)?;
    let _control = cluster.start();
    let options = KubeletOptions {
        clock: clock.clone(),
        ..KubeletOptions::default()
    };
    let _kubelet = Kubelet::new(cluster.client_as("kubelet"), options).start();
    let space = Namespace::new(cluster.client_as("user"), "default");
    for object in manifests() {
        let of = kind(text(&object, "/apiVersion"), text(&object, "/kind"));
        space.post(&of, object).await?;
    }
    let controller = controller(&cluster, clock);
    let ends = [
        ("plain", "Healthy"),
        ("paused", "Paused"),
        ("routed", "Paused"),
        ("switched", "Healthy"),
        ("waiting", "Paused"),
    ];
    for (name, _) in ends {
        space.phase(name, "Healthy", 5 * MINUTE).await?;
        space.set_image(name, "web:v2").await?;
    }
    for (name, phase) in ends {
        space.phase(name, phase, 5 * MINUTE).await?;
    }
    tokio::time::sleep(5 * MINUTE).await;
    controller.stop().await?;
    let kinds = [
        (ARGO, "Rollout"),
        ("apps/v1", "ReplicaSet"),
        ("v1", "Service"),
        (ISTIO, "VirtualService"),
    ];
    let mut found = Vec::new();
    for (version, of) in kinds {
        for mut object in space.list(&kind(version, of)).await? {
            let object_ = object.as_object_mut().context("an object")?;
            object_.insert("apiVersion".to_owned(), version.into());
            object_.insert("kind".to_owned(), of.into());
            found.push(object);
        }
    }
    Ok(found)
}

/// Fills namespaces with copies of `objects`.
///
/// # Errors
/// What the server refuses.
pub async fn fill(cluster: &Cluster, objects: &[Value], namespaces: usize) -> Result<()> {
    let client = cluster.client_as("user");
    let filled = stream::iter(0..namespaces).map(|number| {
        let space = Namespace::new(client.clone(), &format!("team-{number}"));
        async move {
            space.create().await?;
            takeover::place(&space, objects).await?;
            // Nobody counts pods here.
            let is_set = |object: &&Value| text(object, "/kind") == "ReplicaSet";
            for set in objects.iter().filter(is_set) {
                let of = kind("apps/v1", "ReplicaSet");
                let status = set.get("status").unwrap_or(&Value::Null);
                let name = text(set, "/metadata/name");
                space.patch_status(&of, name, status).await?;
            }
            Ok(())
        }
    });
    filled.buffer_unordered(PARALLEL).try_collect().await
}
