//! `explain` against a simulated cluster with the real controller (INV-15).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use std::time::Duration;

use common::{Bench, Said};
use expect_test::expect;
use serde_json::{Value, json};
use sluice_sim::{Kubelet, KubeletOptions};
use tokio::sync::oneshot;

/// A bench with a node, workload controllers and the controller.
struct Stage {
    bench: Bench,
    stop: Option<oneshot::Sender<()>>,
    controller: Option<tokio::task::JoinHandle<()>>,
    _control: sluice_sim::ControlPlane,
    _kubelet: sluice_sim::kubelet::RunningKubelet,
}

impl Stage {
    async fn new() -> Self {
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
    async fn desert(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.controller.take().unwrap().await.unwrap();
    }

    /// Waits until the Rollout is as it should be.
    async fn until(&self, wanted: impl Fn(&Value) -> bool) {
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

    async fn phase(&self, phase: &str) {
        self.until(|rollout| {
            rollout["status"]["phase"] == phase
                && rollout["status"]["observedGeneration"].as_str()
                    == Some(&rollout["metadata"]["generation"].to_string())
        })
        .await;
    }

    async fn explain(&self) -> String {
        self.lease();
        timeless(&self.bench.run(&["explain", "web"]).await)
    }
}

fn web(strategy: Value) -> Value {
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
fn timeless(said: &Said) -> String {
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
                if rest.matches('-').count() == 2 && tail.trim_end_matches(':').len() == 5 =>
            {
                format!(
                    "{rest}-RANDOM{}",
                    if word.ends_with(':') { ":" } else { "" }
                )
            }
            _ => word.to_owned(),
        });
        lines.push(words.collect::<Vec<_>>().join(" "));
    }
    lines.join("\n") + "\n"
}

/// A pause, and the same in JSON: these members stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_canary() {
    let mut stage = Stage::new().await;
    let steps =
        json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {"duration": "1h"}}]);
    let mut rollout = web(json!({"canary": {"steps": steps}}));
    stage.bench.apply(&rollout);
    stage.phase("Healthy").await;
    expect![[""]].assert_eq(&stage.explain().await);

    rollout["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:v2");
    stage.bench.apply(&rollout);
    stage.phase("Paused").await;
    expect![[""]].assert_eq(&stage.explain().await);
    let said = stage.bench.run(&["explain", "web", "-o", "json"]).await;
    assert_eq!(said.code, 0, "{}", said.stderr);
    let mut told: Value = serde_json::from_str(&said.stdout).unwrap();
    for time in ["/waits/0/since", "/controller/renewed"] {
        let time = told.pointer_mut(time).unwrap();
        assert!(time.is_string());
        *time = json!("TIME");
    }
    expect![[""]].assert_eq(&serde_json::to_string_pretty(&told).unwrap());

    // Nobody is there: the lease is old, and the spec changes.
    stage.desert().await;
    stage.bench.apply(&json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "argo-rollouts-controller-lock", "namespace": "argo-rollouts"},
        "spec": {"holderIdentity": "controller_1", "leaseDurationSeconds": 15,
            "renewTime": "2026-01-01T00:00:00.000000Z"},
    }));
    rollout["spec"]["replicas"] = json!(5);
    stage.bench.apply(&rollout);
    let said = stage.bench.run(&["explain", "web"]).await;
    let first: Vec<&str> = said.stdout.lines().take(2).collect();
    let first = first.join(" ");
    assert!(first.contains("Nobody acts on web"), "{}", said.all());
    // It reads, and nothing else.
    let user_writes = stage
        .bench
        .cluster
        .requests()
        .entries()
        .iter()
        .filter(|entry| entry.verb.writes())
        .filter(|entry| {
            let agent = entry.user_agent.as_str();
            !agent.contains("controller") && !agent.contains("kubelet")
        })
        .count();
    assert_eq!(user_writes, 0);
}

/// The pods' own words, and a Service that is missing.
#[tokio::test(flavor = "multi_thread")]
async fn pods_and_services_that_are_not_right() {
    let stage = Stage::new().await;
    let mut rollout = web(json!({"canary": {"steps": [{"setWeight": 25}, {"pause": {}}]}}));
    stage.bench.apply(&rollout);
    stage.phase("Healthy").await;
    rollout["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:does-not-exist");
    stage.bench.apply(&rollout);
    let backs_off = || {
        let pods = stage.bench.cluster.list("v1", "Pod", "default", "");
        pods.iter()
            .any(|pod| pod.to_string().contains("ImagePullBackOff"))
    };
    stage.until(|_| backs_off()).await;
    stage.phase("Progressing").await;
    expect![[""]].assert_eq(&stage.explain().await);

    rollout["spec"]["strategy"]["canary"]["canaryService"] = json!("web-canary");
    stage.bench.apply(&rollout);
    stage.phase("Degraded").await;
    expect![[""]].assert_eq(&stage.explain().await);
}

/// One clear line, and exit code 1.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_explain() {
    let bench = Bench::new().await;
    let said = bench.text(&["explain", "nope"]).await;
    expect![[""]].assert_eq(&said);
    let said = Said::from(
        common::plugin()
            .args(["--server", "http://127.0.0.1:1", "explain", "web"])
            .output()
            .unwrap(),
    );
    expect![[""]].assert_eq(&said.text());
}
