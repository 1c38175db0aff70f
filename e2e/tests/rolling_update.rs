//! The whole bench without our controller: a Deployment rolls under load, and nobody notices.
//!
//! Proves what the tests with traffic measure by: control plane, node, served pods and proxy lose no
//! request of themselves. Builds and fetches what is missing. `SLUICE_SKIP_CONTROLPLANE=1` leaves it
//! out.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use sluice_e2e::controlplane::{ControlPlane, Options, left_out};
use sluice_e2e::dataplane::envoy::{self, Envoy};
use sluice_e2e::dataplane::traffic::{Load, Target, send};
use sluice_e2e::netns;
use sluice_e2e::node::Node;
use sluice_e2e::pods::{self, Behaviour, Pods, Script};
use sluice_e2e::toolchain::{self, Cache};
use sluice_sim::kubelet::KubeletOptions;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(60);

fn web(version: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 3
  strategy: {{rollingUpdate: {{maxUnavailable: 0, maxSurge: 1}}}}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - name: web
        image: web:{version}
        # For proxies to learn that it leaves.
        lifecycle: {{preStop: {{sleep: {{seconds: 2}}}}}}
"
    )
}

#[test]
fn a_deployment_rolls_without_a_lost_request() {
    if left_out() {
        return;
    }
    let cache = Cache::from_env().unwrap();
    let programs = toolchain::proxies(&cache).unwrap();
    toolchain::control_plane(&cache).unwrap();
    let crds = toolchain::istio_crds(&cache).unwrap();
    netns::run_test("a_deployment_rolls_without_a_lost_request", async move {
        let cancel = CancellationToken::new();
        let (served, script) = (Pods::default(), Script::default());
        pods::serve(
            served.clone(),
            (Ipv4Addr::UNSPECIFIED, 8080).into(),
            cancel.clone(),
        )
        .await
        .unwrap();
        let plane = ControlPlane::start(Options::default()).await.unwrap();
        plane.apply_yaml(&crds).await.unwrap();
        let client = plane.client().unwrap();
        let node = Node::start(client.clone(), KubeletOptions::default())
            .await
            .unwrap();
        let following = tokio::spawn(pods::follow(
            client.clone(),
            served.clone(),
            script.clone(),
            cancel.clone(),
        ));
        let envoy = Envoy::start(&programs).await.unwrap();
        let target = Target::new(envoy.url(), "web");
        let routing = tokio::spawn(envoy::follow(
            envoy,
            client.clone(),
            "default",
            cancel.clone(),
        ));

        plane.apply_yaml(&web("v1")).await.unwrap();
        let deadline = Instant::now() + DEADLINE;
        while send(&target, 20).await.unwrap().of("v1") < 20 {
            assert!(Instant::now() < deadline, "v1 does not serve");
        }

        let load = Load::start(target.clone());
        plane.apply_yaml(&web("v2")).await.unwrap();
        let deployments = Api::<Deployment>::default_namespaced(client);
        let deadline = Instant::now() + DEADLINE;
        loop {
            let status = deployments.get("web").await.unwrap().status.unwrap();
            if status.updated_replicas == Some(3) && status.replicas == Some(3) {
                break;
            }
            assert!(Instant::now() < deadline, "still {status:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        while send(&target, 20).await.unwrap().of("v2") < 20 {
            assert!(Instant::now() < deadline, "v2 does not serve alone");
        }
        let seen = load.stop().await.unwrap();
        assert_eq!(seen.failed(), 0, "{seen}");
        assert!(seen.of("v1") > 0 && seen.of("v2") > 0, "{seen}");
        assert!(served.misrouted().is_empty(), "{:?}", served.misrouted());

        // A version turns bad, and clients see it: the measure works both ways.
        script.set(&served, "web:v2", Behaviour::good("v2").failing(0.5));
        let seen = send(&target, 100).await.unwrap();
        assert!((40..=60).contains(&seen.failed()), "{seen}");
        assert_eq!(seen.failures.keys().collect::<Vec<_>>(), ["500 v2"]);

        cancel.cancel();
        following.await.unwrap();
        routing.await.unwrap().unwrap().stop().await.unwrap();
        node.stop().await;
        plane.stop().await.unwrap();
    })
    .unwrap();
}
