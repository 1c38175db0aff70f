//! What the observer has to notice, one change each.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::state::text;
use super::Change;
use super::judge::Judge;

/// A namespace in which stable `a` has 4 ready pods and all requests, and canary `b` has one.
struct Stage {
    judge: Judge,
    version: u64,
}

fn change(object: &Value, version: u64, gone: bool) -> Change {
    let kinds = super::KINDS.into_iter();
    let kind = text(object, "/kind");
    Change {
        at: Instant::now(),
        version,
        kind: kinds.into_iter().find(|known| *known == kind).unwrap(),
        name: text(object, "/metadata/name").to_owned(),
        object: Arc::new(object.clone()),
        gone,
    }
}

fn rollout(routed: bool) -> Value {
    let mut canary = json!({"maxUnavailable": 0, "maxSurge": 1,
        "steps": [{"setWeight": 25}, {"setWeight": 50}]});
    if routed {
        canary["trafficRouting"] = json!({"istio": {"virtualService": {"name": "web"}}});
        canary["stableService"] = json!("stable");
        canary["canaryService"] = json!("canary");
    }
    json!({
        "kind": "Rollout", "metadata": {"name": "web", "namespace": "default", "generation": 2},
        "spec": {"replicas": 4, "strategy": {"canary": canary}},
        "status": {"observedGeneration": "2", "stableRS": "a", "currentPodHash": "b",
            "currentStepHash": "s", "currentStepIndex": 1},
    })
}

fn set(hash: &str, replicas: i32) -> Value {
    json!({
        "kind": "ReplicaSet",
        "metadata": {"name": format!("web-{hash}"), "namespace": "default",
            "labels": {"rollouts-pod-template-hash": hash},
            "ownerReferences": [{"kind": "Rollout", "name": "web", "controller": true}]},
        "spec": {"replicas": replicas},
    })
}

fn pod(hash: &str, number: i32, ready: bool) -> Value {
    json!({
        "kind": "Pod",
        "metadata": {"name": format!("web-{hash}-{number}"), "namespace": "default",
            "labels": {"app": "web", "rollouts-pod-template-hash": hash},
            "ownerReferences": [
                {"kind": "ReplicaSet", "name": format!("web-{hash}"), "controller": true}]},
        "status": {"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    })
}

fn service(name: &str, hash: &str) -> Value {
    json!({"kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": "web", "rollouts-pod-template-hash": hash}}})
}

fn route(stable: i32, canary: i32) -> Value {
    json!({"kind": "VirtualService", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"hosts": ["web"], "http": [{"route": [
            {"destination": {"host": "stable"}, "weight": stable},
            {"destination": {"host": "canary"}, "weight": canary}]}]}})
}

impl Stage {
    fn new(routed: bool) -> Self {
        let mut stage = Self {
            judge: Judge::default(),
            version: 0,
        };
        let mut objects = vec![rollout(routed), set("a", 4), set("b", 1)];
        objects.extend((0..4).map(|number| pod("a", number, true)));
        objects.push(pod("b", 0, true));
        objects.extend([
            service("stable", "a"),
            service("canary", "b"),
            route(100, 0),
        ]);
        for object in &objects {
            let none: [&str; 0] = [];
            assert_eq!(stage.see(object), none, "{object}");
        }
        stage
    }

    fn see(&mut self, object: &Value) -> Vec<String> {
        self.version += 1;
        let change = change(object, self.version, false);
        rules(self.judge.take(&change, &BTreeSet::new()))
    }

    fn lose(&mut self, object: &Value) -> Vec<String> {
        self.version += 1;
        let change = change(object, self.version, true);
        rules(self.judge.take(&change, &BTreeSet::new()))
    }
}

/// Numbers of the invariants that texts begin with.
fn rules(texts: Vec<String>) -> Vec<String> {
    let rule = |text: String| text.split(':').next().unwrap_or_default().to_owned();
    texts.into_iter().map(rule).collect()
}

const NONE: [&str; 0] = [];

#[tokio::test]
async fn requests_to_nobody() {
    let mut stage = Stage::new(true);
    assert_eq!(stage.see(&route(75, 25)), NONE);
    // Its Service moves to a version without pods.
    assert_eq!(stage.see(&service("canary", "c")), ["INV-1"]);
    assert_eq!(stage.see(&route(100, 0)), NONE);
    assert_eq!(stage.see(&route(90, 10)), ["INV-1"]);
}

#[tokio::test]
async fn pods_that_fail_by_themselves_are_nobodys_fault() {
    let mut stage = Stage::new(true);
    assert_eq!(stage.see(&route(75, 25)), NONE);
    assert_eq!(stage.see(&pod("b", 0, false)), NONE);
    // More for it is.
    assert_eq!(stage.see(&route(50, 50)), ["INV-2", "INV-1"]);
}

#[tokio::test]
async fn more_than_pods_can_carry() {
    let mut stage = Stage::new(true);
    assert_eq!(stage.see(&route(75, 25)), NONE);
    assert_eq!(stage.see(&route(50, 50)), ["INV-2"]);
}

#[tokio::test]
async fn what_serves_is_scaled_away() {
    let mut stage = Stage::new(true);
    assert_eq!(stage.see(&route(75, 25)), NONE);
    assert_eq!(stage.see(&set("a", 3)), NONE);
    assert_eq!(stage.see(&set("a", 2)), ["INV-3"]);
    assert_eq!(stage.see(&set("b", 0)), ["INV-3"]);
}

#[tokio::test]
async fn too_few_are_left() {
    let mut stage = Stage::new(false);
    assert_eq!(stage.see(&set("a", 3)), NONE);
    assert_eq!(stage.lose(&pod("a", 3, true)), NONE);
    assert_eq!(stage.see(&set("a", 2)), NONE);
    assert_eq!(stage.lose(&pod("a", 2, true)), ["INV-4"]);
}

#[tokio::test]
async fn too_many_are_asked_for() {
    let mut stage = Stage::new(false);
    assert_eq!(stage.see(&set("b", 2)), ["INV-5"]);
    let mut twin = set("b", 0);
    twin["metadata"]["name"] = json!("web-other");
    assert_eq!(stage.see(&twin), ["INV-7"]);
}

#[tokio::test]
async fn one_run_for_one_step() {
    let mut stage = Stage::new(true);
    let run = |name: &str, phase: &str| {
        json!({"kind": "AnalysisRun", "metadata": {"name": name, "namespace": "default",
            "labels": {"rollout-type": "Step", "step-index": "1"},
            "ownerReferences": [{"kind": "Rollout", "name": "web", "controller": true}]},
            "status": {"phase": phase}})
    };
    assert_eq!(stage.see(&run("one", "Running")), NONE);
    assert_eq!(stage.see(&run("two", "")), ["INV-7"]);
    assert_eq!(stage.see(&run("one", "Error")), NONE);
    assert_eq!(stage.see(&run("two", "Error")), NONE);
    assert_eq!(stage.see(&run("three", "")), NONE);
}

#[tokio::test]
async fn weights_and_steps() {
    let mut stage = Stage::new(true);
    assert_eq!(stage.see(&route(75, 20)), ["INV-13"]);
    assert_eq!(stage.see(&route(120, -20)), ["INV-13"]);
    let mut back = rollout(true);
    back["status"]["currentStepIndex"] = json!(0);
    assert_eq!(stage.see(&back), ["INV-14"]);
    let mut sums = rollout(true);
    sums["status"]["canary"] =
        json!({"weights": {"canary": {"weight": 30}, "stable": {"weight": 80}}});
    assert_eq!(stage.see(&sums), ["INV-13"]);
}
