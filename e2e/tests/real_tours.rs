//! The first things that a user tries, as a user tries them: `kubectl apply` of `examples/`, then the
//! plugin.
//!
//! kubectl applies where there is one, else our own apply. The plugin is the real program, with a
//! kubeconfig. Rollback by Prometheus is in `real_dataplane`. `SLUICE_SKIP_CONTROLPLANE=1` leaves them
//! out.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do, and tell what they measured"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_controller::Config;
use sluice_e2e::binaries;
use sluice_e2e::controlplane::left_out;
use sluice_e2e::stand::{ARGO, Controller, ISTIO, Namespace, Stand, StandOptions, kind, text};
use sluice_e2e::toolchain::{self, Cache, find_in_path};

/// For one thing to happen, on a busy machine; old pods stay for 30 s.
const SOON: Duration = Duration::from_secs(120);

/// A cluster with a controller, and the two programs of a user.
struct Tour {
    stand: Stand,
    controller: Controller,
    space: Namespace,
    plugin: PathBuf,
    kubeconfig: PathBuf,
}

impl Tour {
    async fn start() -> Self {
        let fetch = || toolchain::istio_crds(&Cache::from_env()?);
        let crds = tokio::task::spawn_blocking(fetch).await.unwrap().unwrap();
        let build = || binaries::program("sluice-cli", "kubectl-argo-rollouts");
        let plugin = tokio::task::spawn_blocking(build).await.unwrap().unwrap();
        let options = StandOptions {
            crds,
            ..StandOptions::default()
        };
        let stand = Stand::start(options).await.unwrap();
        let controller = Controller::start(Config::default(), stand.client());
        Self {
            space: stand.namespace("default"),
            kubeconfig: stand.plane.kubeconfig(),
            stand,
            controller,
            plugin,
        }
    }

    /// `kubectl apply -f examples/NAME`.
    async fn apply(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../examples")
            .join(name);
        if let Some(kubectl) = find_in_path("kubectl") {
            let mut command = Command::new(kubectl);
            command.arg("apply").arg("-f").arg(path);
            self.run(command, 0).await;
        } else {
            let text = std::fs::read_to_string(path).unwrap();
            self.space.apply(&text).await.unwrap();
        }
    }

    /// `kubectl argo rollouts ARGS`, which must succeed; what it printed.
    async fn plugin(&self, args: &[&str]) -> String {
        self.plugin_ends(args, 0).await
    }

    /// The same with another exit code.
    async fn plugin_ends(&self, args: &[&str], code: i32) -> String {
        let mut command = Command::new(&self.plugin);
        command.args(args);
        self.run(command, code).await
    }

    async fn run(&self, mut command: Command, code: i32) -> String {
        command.env("KUBECONFIG", &self.kubeconfig);
        let shown = format!("{command:?}");
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{shown}\n{said}\n{errors}"
        );
        said
    }

    /// The images that have pods, with how many are available.
    async fn pods(&self) -> Vec<(String, i64)> {
        let sets = self
            .space
            .list(&kind("apps/v1", "ReplicaSet"))
            .await
            .unwrap();
        let available = |set: &Value| {
            set.pointer("/status/availableReplicas")
                .and_then(Value::as_i64)
                .unwrap_or(0)
        };
        let image = |set: &Value| text(set, "/spec/template/spec/containers/0/image").to_owned();
        let mut found: Vec<_> = sets
            .iter()
            .filter(|set| available(set) > 0)
            .map(|set| (image(set), available(set)))
            .collect();
        found.sort();
        found
    }

    async fn until_pods(&self, wanted: &[(&str, i64)]) {
        let deadline = tokio::time::Instant::now() + SOON;
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(image, count)| ((*image).to_owned(), *count))
            .collect();
        loop {
            let found = self.pods().await;
            if found == wanted {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{found:?}, not {wanted:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn stop(self) {
        self.controller.stop().await.unwrap();
        self.stand.stop().await.unwrap();
    }
}

const OLD: &str = "nginx:1.27-alpine";
const NEW: &str = "nginx:1.28-alpine";

/// A Rollout takes over from a Deployment; from then on it is updated by changing the Deployment.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_replaced_by_a_rollout() {
    if left_out() {
        return;
    }
    let tour = Tour::start().await;
    tour.apply("migrate-deployment.yaml").await;
    tour.space.phase("orders", "Healthy", SOON).await.unwrap();
    let deployments = kind("apps/v1", "Deployment");
    let empty = |found: &Value| {
        found.pointer("/spec/replicas") == Some(&json!(0))
            && found
                .pointer("/status/replicas")
                .is_none_or(|count| *count == json!(0))
    };
    tour.space
        .until(&deployments, "orders", "is scaled down", SOON, empty)
        .await
        .unwrap();
    tour.until_pods(&[(OLD, 4)]).await;
    tour.plugin(&["set", "image", "orders", &format!("web={NEW}")])
        .await;
    tour.until_pods(&[(OLD, 3), (NEW, 1)]).await;
    let said = tour
        .plugin(&["status", "orders", "--timeout", "120s"])
        .await;
    assert!(said.ends_with("Healthy\n"), "{said}");
    tour.until_pods(&[(NEW, 4)]).await;
    tour.stop().await;
}

/// An update waits for a person, who promotes it; the next one is aborted, undone and healthy again.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_promoted_and_another_aborted_through_the_plugin() {
    if left_out() {
        return;
    }
    let tour = Tour::start().await;
    tour.apply("canary.yaml").await;
    let said = tour
        .plugin(&["status", "guestbook", "--timeout", "120s"])
        .await;
    assert!(said.ends_with("Healthy\n"), "{said}");
    let said = tour.plugin(&["list", "rollouts"]).await;
    assert!(
        said.contains("guestbook") && said.contains("Canary"),
        "{said}"
    );

    tour.plugin(&["set", "image", "guestbook", &format!("*={NEW}")])
        .await;
    tour.space.paused_at("guestbook", 1, SOON).await.unwrap();
    tour.until_pods(&[(OLD, 4), (NEW, 1)]).await;
    let said = tour
        .plugin(&["get", "rollout", "guestbook", "--no-color"])
        .await;
    println!("{said}");
    for part in ["Paused", "CanaryPauseStep", "1/4", OLD, NEW] {
        assert!(said.contains(part), "no {part} in\n{said}");
    }
    let said = tour.plugin(&["promote", "guestbook"]).await;
    assert_eq!(said, "rollout 'guestbook' promoted\n");
    let said = tour
        .plugin(&["status", "guestbook", "--timeout", "120s"])
        .await;
    assert!(said.ends_with("Healthy\n"), "{said}");
    tour.until_pods(&[(NEW, 5)]).await;

    let bad = "nginx:does-not-exist";
    tour.plugin(&["set", "image", "guestbook", &format!("web={bad}")])
        .await;
    let sets = kind("apps/v1", "ReplicaSet");
    let has_bad = |sets: &[Value]| {
        let image = "/spec/template/spec/containers/0/image";
        sets.iter().any(|set| text(set, image) == bad)
    };
    tour.space
        .until_all(&sets, "the bad set", SOON, has_bad)
        .await
        .unwrap();
    let said = tour.plugin(&["abort", "guestbook"]).await;
    assert_eq!(said, "rollout 'guestbook' aborted\n");
    tour.plugin_ends(&["status", "guestbook", "--timeout", "120s"], 1)
        .await;
    tour.until_pods(&[(NEW, 5)]).await;
    tour.plugin(&["undo", "guestbook"]).await;
    let said = tour
        .plugin(&["status", "guestbook", "--timeout", "120s"])
        .await;
    assert!(said.ends_with("Healthy\n"), "{said}");
    tour.stop().await;
}

/// Requests are shifted by weight while the Rollout goes through its timed pauses by itself.
#[tokio::test(flavor = "multi_thread")]
async fn weights_of_a_virtual_service_follow_the_steps() {
    if left_out() {
        return;
    }
    let tour = Tour::start().await;
    tour.apply("canary-istio.yaml").await;
    tour.space.phase("catalog", "Healthy", SOON).await.unwrap();
    tour.plugin(&["set", "image", "catalog", &format!("web={NEW}")])
        .await;
    let routes = kind(ISTIO, "VirtualService");
    for weight in [20, 50, 80] {
        let shared = |route: &Value| {
            let weights = ["/spec/http/0/route/0/weight", "/spec/http/0/route/1/weight"]
                .map(|pointer| route.pointer(pointer).and_then(Value::as_i64));
            weights == [Some(100 - weight), Some(weight)]
        };
        let what = format!("gives {weight}%");
        let route = tour
            .space
            .until(&routes, "catalog", &what, SOON, shared)
            .await;
        let route = route.unwrap();
        let retries = route.pointer("/spec/http/0/retries/attempts");
        assert_eq!(retries, Some(&json!(3)), "the user's fields stay: {route}");
        let rollout = tour
            .space
            .find(&kind(ARGO, "Rollout"), "catalog")
            .await
            .unwrap();
        let rollout = rollout.unwrap();
        let told = rollout.pointer("/status/canary/weights/canary/weight");
        println!("weight {weight}: status says {told:?}");
    }
    tour.plugin(&["status", "catalog", "--timeout", "120s"])
        .await;
    let back = |route: &Value| route.pointer("/spec/http/0/route/0/weight") == Some(&json!(100));
    tour.space
        .until(&routes, "catalog", "gives all to stable", SOON, back)
        .await
        .unwrap();
    tour.until_pods(&[(NEW, 4)]).await;
    tour.stop().await;
}
