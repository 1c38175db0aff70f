//! A simulated cluster with the real controller, for what `explain` says of it.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_sim::{Kubelet, KubeletOptions};
use tokio::sync::oneshot;

use super::{Bench, Said};

/// A bench with a node, workload controllers and the controller.
pub(crate) struct Stage {
    pub(crate) bench: Bench,
    stop: Option<oneshot::Sender<()>>,
    controller: Option<tokio::task::JoinHandle<()>>,
    _control: sluice_sim::ControlPlane,
    _kubelet: sluice_sim::kubelet::RunningKubelet,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let bench = Bench::new().await;
        let cluster = bench.cluster.clone();
        let control = cluster.start();
        let options = KubeletOptions {
            clock: cluster.clock().clone(),
            ..KubeletOptions::default()
        };
        let kubelet = Kubelet::new(cluster.client_as("kubelet"), options).start();
        let (stop, stopped) = oneshot::channel::<()>();
        let client = cluster.client_as("controller");
        let controller = tokio::spawn(async move {
            let stopped = async move {
                let _ = stopped.await;
            };
            sluice_controller::run(sluice_controller::Config::default(), client, stopped)
                .await
                .unwrap();
        });
        Self {
            bench,
            stop: Some(stop),
            controller: Some(controller),
            _control: control,
            _kubelet: kubelet,
        }
    }

    /// As a leader that renewed its lease just now would leave it.
    fn lease(&self) {
        self.bench.apply(&json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "argo-rollouts-controller-lock", "namespace": "argo-rollouts"},
            "spec": {
                "holderIdentity": "controller_1", "leaseDurationSeconds": 15,
                "renewTime": sluice_sim::clock::micro_stamp(self.bench.cluster.clock().now()),
            },
        }));
    }

    /// Ends the controller; nobody acts from then on.
    pub(crate) async fn desert(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.controller.take().unwrap().await.unwrap();
    }

    /// Waits until the Rollout is as it should be.
    pub(crate) async fn until(&self, wanted: impl Fn(&Value) -> bool) {
        let waiting = async {
            while !wanted(&self.bench.rollout("web")) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), waiting)
            .await
            .is_err()
        {
            panic!("{:#}", self.bench.rollout("web")["status"]);
        }
    }

    pub(crate) async fn phase(&self, phase: &str) {
        self.until(|rollout| {
            rollout["status"]["phase"] == phase
                && rollout["status"]["observedGeneration"].as_str()
                    == Some(&rollout["metadata"]["generation"].to_string())
        })
        .await;
    }

    pub(crate) async fn explain(&self) -> String {
        self.lease();
        timeless(&self.bench.run(&["explain", "web"]).await)
    }

    /// State, summary and waits of the JSON form, without times and random names.
    pub(crate) async fn explain_json(&self) -> Value {
        self.lease();
        let said = self.bench.run(&["explain", "web", "-o", "json"]).await;
        assert_eq!(said.code, 0, "{}", said.all());
        let mut told: Value = serde_json::from_str(&said.stdout).unwrap();
        for wait in told["waits"].as_array_mut().unwrap() {
            for time in ["since", "until", "lookedAtAgain"] {
                let known = wait.get(time).map(|at| at.as_str().unwrap().parse());
                if let Some(at) = known {
                    let _: jiff::Timestamp = at.unwrap();
                    wait[time] = json!("TIME");
                }
            }
            // The table has them.
            wait.as_object_mut().unwrap().remove("details");
        }
        json!({ "state": told["state"], "summary": told["summary"], "waits": told["waits"] })
    }

    /// Types the command of the first wait, as it is printed.
    pub(crate) async fn do_as_told(&self) {
        let told = self.explain_json().await;
        let command = told["waits"][0]["command"].as_str().unwrap();
        let words = command.strip_prefix("kubectl argo rollouts ").unwrap();
        let words: Vec<&str> = words.split(' ').collect();
        let said = self.bench.run(&words).await;
        assert_eq!(said.code, 0, "{command}: {}", said.all());
    }
}

/// Four pods of `web:v1`, default namespace.
pub(crate) fn web(strategy: Value) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:v1"}]},
            },
            "strategy": strategy,
        },
    })
}

/// Times and random parts of names are not the same each time.
pub(crate) fn timeless(said: &Said) -> String {
    let mut lines = Vec::new();
    for line in said.text().lines() {
        let mut line = line.to_owned();
        // `2026-11-28 00:10:00Z (3s ago)`
        while let Some(at) = line.find("Z (") {
            let end = line[at..].find(')').map_or(line.len(), |end| at + end + 1);
            let word = if line[at..end].contains(" ago") {
                "PAST"
            } else {
                "FUTURE"
            };
            line.replace_range(at.saturating_sub(19)..end, word);
        }
        let words = line.split(' ').map(|word| match word.rsplit_once('-') {
            Some((rest, tail))
                if rest.matches('-').count() == 1
                    && tail.trim_end_matches([':', ';']).len() == 5 =>
            {
                let end = word.trim_start_matches(|c| c != ':' && c != ';');
                format!("{rest}-RANDOM{end}")
            }
            _ => word.to_owned(),
        });
        lines.push(words.collect::<Vec<_>>().join(" "));
    }
    lines.join("\n") + "\n"
}
