//! A cluster with a node, a controller that can be stopped and started, and words for tests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use sluice_controller::clock::Clock;
use sluice_controller::ctx::OnPlan;
use sluice_controller::{Config, RunError, run};
use sluice_crds::Rollout;
use sluice_sim::{Cluster, ClusterOptions, ControlPlane, Kubelet, KubeletOptions, LogEntry};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// User agent of the controller under test.
pub const AGENT: &str = "sluice-controller";
/// The namespace of the tests.
pub const NS: &str = "default";

struct SimClock(sluice_sim::Clock);

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// A cluster with all that is needed around a controller.
pub struct World {
    pub cluster: Cluster,
    pub clock: sluice_sim::Clock,
    pub plans: Arc<Mutex<Vec<String>>>,
    /// Invariants that decisions broke; none is allowed.
    broken: Arc<Mutex<Vec<String>>>,
    _control: ControlPlane,
    _kubelet: sluice_sim::kubelet::RunningKubelet,
}

impl Drop for World {
    fn drop(&mut self) {
        let broken = self.broken.lock().unwrap();
        if !std::thread::panicking() && !broken.is_empty() {
            panic!(
                "{} broken invariants; the first: {}",
                broken.len(),
                broken[0]
            );
        }
    }
}

/// A controller that runs.
pub struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), RunError>>,
}

impl Running {
    /// Tells it to stop and waits for its end.
    pub async fn stop(self) -> Result<(), RunError> {
        let _ = self.stop.send(());
        self.task.await.unwrap()
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// Waits for its own end.
    pub async fn ended(self) -> Result<(), RunError> {
        self.task.await.unwrap()
    }
}

impl World {
    /// With our definitions installed.
    pub fn new() -> Self {
        let world = Self::without_definitions();
        let cluster = &world.cluster;
        for kind in [
            "rollouts",
            "analysisruns",
            "analysistemplates",
            "clusteranalysistemplates",
            "experiments",
        ] {
            let path = format!("{}/../../crds/yaml/{kind}.yaml", env!("CARGO_MANIFEST_DIR"));
            let definition = std::fs::read_to_string(path).unwrap();
            cluster
                .apply(&serde_yaml_ng::from_str(&definition).unwrap())
                .unwrap();
        }
        world
    }

    /// Where our kinds have no schema, so that anything can be stored.
    pub fn without_definitions() -> Self {
        // RUST_LOG=sluice_controller=debug shows what happens.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init();
        let clock = sluice_sim::Clock::tokio_at(Timestamp::from_second(1_800_000_000).unwrap());
        let cluster = Cluster::new(ClusterOptions {
            clock: clock.clone(),
            ..Default::default()
        });
        let control = cluster.start();
        let options = KubeletOptions {
            clock: clock.clone(),
            ..KubeletOptions::default()
        };
        let kubelet = Kubelet::new(cluster.client_as("kubelet"), options).start();
        Self {
            cluster,
            clock,
            plans: Arc::default(),
            broken: Arc::default(),
            _control: control,
            _kubelet: kubelet,
        }
    }

    pub fn config(&self) -> Config {
        let (plans, broken) = (self.plans.clone(), self.broken.clone());
        let on_plan: OnPlan = Arc::new(move |seen, plan| {
            let name = seen.rollout.metadata.name.clone().unwrap_or_default();
            let actions: Vec<_> = plan
                .actions
                .iter()
                .map(|a| format!("{:?}", a.action))
                .collect();
            let status = plan
                .status
                .as_deref()
                .filter(|s| Some(*s) != seen.rollout.status.as_ref());
            for violation in sluice_core::invariants::check(seen, plan) {
                broken
                    .lock()
                    .unwrap()
                    .push(format!("{violation}\n{plan:#?}"));
            }
            let mut plans = plans.lock().unwrap();
            let number = plans.len();
            plans.push(format!(
                "{number} {name}: {actions:#?} status={} why={:?}",
                status.is_some(),
                plan.why
            ));
        });
        Config {
            clock: Arc::new(SimClock(self.clock.clone())),
            on_plan: Some(on_plan),
            ..Config::default()
        }
    }

    /// Starts a controller.
    pub fn start(&self) -> Running {
        self.start_with(self.config())
    }

    pub fn start_with(&self, config: Config) -> Running {
        let (stop, stopped) = oneshot::channel();
        let client = self.cluster.client_as(AGENT);
        let task = tokio::spawn(run(config, client, async move {
            let _ = stopped.await;
        }));
        Running { stop, task }
    }

    pub fn rollout(&self, name: &str) -> Rollout {
        let found = self
            .cluster
            .get("argoproj.io/v1alpha1", "Rollout", NS, name);
        serde_json::from_value(found.expect("the Rollout exists")).unwrap()
    }

    pub fn phase(&self, name: &str) -> String {
        let status = self.rollout(name).status.unwrap_or_default();
        format!("{} {}", status.phase, status.message)
            .trim()
            .to_owned()
    }

    /// Lets time pass in steps until `holds`, at most `limit`; fails with what there is.
    pub async fn until(&self, what: &str, limit: Duration, holds: impl Fn(&Self) -> bool) {
        let start = tokio::time::Instant::now();
        while !holds(self) {
            if start.elapsed() > limit {
                panic!("not within {limit:?}: {what}\n{}", self.describe());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn healthy(&self, name: &str) {
        self.until("healthy", Duration::from_secs(600), |w| {
            let rollout = w.rollout(name);
            let seen = rollout
                .status
                .as_ref()
                .map(|s| s.observed_generation.clone());
            seen == rollout.metadata.generation.map(|g| g.to_string()) && w.phase(name) == "Healthy"
        })
        .await;
    }

    pub async fn paused(&self, name: &str) {
        self.until("paused", Duration::from_secs(600), |w| {
            w.phase(name).starts_with("Paused")
        })
        .await;
    }

    pub async fn pass_time(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// Everything there is, for messages.
    pub fn describe(&self) -> String {
        let rollouts = self.cluster.list("argoproj.io/v1alpha1", "Rollout", "", "");
        let sets = self.cluster.list("apps/v1", "ReplicaSet", "", "");
        let mut text = String::new();
        for rollout in rollouts {
            text += &format!("{:#}\n", rollout["status"]);
        }
        for set in sets {
            text += &format!(
                "{} spec={} status={} {}\n",
                set["metadata"]["name"],
                set["spec"]["replicas"],
                set["status"],
                set["metadata"]["annotations"]
            );
        }
        let plans = self.plans.lock().unwrap();
        for plan in plans.iter().rev().take(6).rev() {
            text += plan;
            text.push('\n');
        }
        for entry in self.writes().iter().rev().take(20).rev() {
            text += &format!("{entry:?}\n");
        }
        text
    }

    /// Requests of the controller.
    pub fn requests(&self) -> Vec<LogEntry> {
        self.cluster
            .requests()
            .entries()
            .into_iter()
            .filter(|e| e.user_agent.contains(AGENT))
            .collect()
    }

    /// Its writes.
    pub fn writes(&self) -> Vec<LogEntry> {
        self.requests()
            .into_iter()
            .filter(|e| e.verb.writes())
            .collect()
    }

    pub fn client(&self) -> kube::Client {
        self.cluster.client_as("user")
    }

    pub fn api(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client(), NS, &ApiResource::erase::<Rollout>(&()))
    }

    /// Puts an object there, whatever its kind.
    pub fn apply(&self, object: Value) {
        self.cluster.apply(&object).unwrap();
    }

    pub async fn create(&self, object: Value) {
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        self.api()
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
    }

    pub async fn patch(&self, name: &str, patch: Value) {
        self.api()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    pub async fn patch_status(&self, name: &str, status: Value) {
        let patch = json!({ "status": status });
        self.api()
            .patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    pub async fn set_image(&self, name: &str, image: &str) {
        let containers = json!([{"name": "web", "image": image}]);
        self.patch(
            name,
            json!({"spec": {"template": {"spec": {"containers": containers}}}}),
        )
        .await;
    }

    /// `kubectl argo rollouts promote`.
    pub async fn promote(&self, name: &str) {
        self.patch_status(name, json!({"pauseConditions": null}))
            .await;
    }

    pub async fn abort(&self, name: &str) {
        self.patch_status(name, json!({"abort": true})).await;
    }

    pub async fn retry(&self, name: &str) {
        self.patch_status(name, json!({"abort": false})).await;
    }

    /// Names and sizes of ReplicaSets that have pods.
    pub fn sizes(&self) -> Vec<(String, i64)> {
        let sets = self.cluster.list("apps/v1", "ReplicaSet", NS, "");
        let size = |set: &Value| set["spec"]["replicas"].as_i64().unwrap_or(0);
        let image = |set: &Value| {
            let image = &set["spec"]["template"]["spec"]["containers"][0]["image"];
            image.as_str().unwrap_or_default().to_owned()
        };
        let mut sizes: Vec<_> = sets
            .iter()
            .filter(|s| size(s) > 0)
            .map(|s| (image(s), size(s)))
            .collect();
        sizes.sort();
        sizes
    }

    pub fn reasons(&self) -> Vec<String> {
        let events = self.cluster.list("v1", "Event", NS, "");
        let ours = events
            .iter()
            .filter(|e| e["source"]["component"] == "rollouts-controller");
        ours.map(|e| {
            format!(
                "{} x{}: {}",
                e["reason"].as_str().unwrap(),
                e["count"],
                e["message"]
            )
        })
        .collect()
    }
}

/// A canary Rollout without traffic routing.
pub fn canary(name: &str, replicas: i32, steps: Value) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name, "namespace": NS},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "web:v1"}]},
            },
            "strategy": {"canary": {"steps": steps}},
        },
    })
}

/// Sizes as [`World::sizes`] gives them.
pub fn sizes(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    expected
        .iter()
        .map(|(image, size)| ((*image).to_owned(), *size))
        .collect()
}
