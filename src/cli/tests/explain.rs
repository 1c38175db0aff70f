//! `explain` against a simulated cluster with the real controller (INV-15).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use common::stage::{Stage, web};
use common::{Bench, Said};
use expect_test::expect;
use serde_json::{Value, json};

#[path = "explain/states.rs"]
mod states;

/// A pause, and the same in JSON: these members stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_canary() {
    let mut stage = Stage::new().await;
    let steps =
        json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {"duration": "1h"}}]);
    let mut rollout = web(json!({"canary": {"steps": steps}}));
    stage.bench.apply(&rollout);
    stage.phase("Healthy").await;
    expect![[r#"
        exit 0
        web is healthy and at rest.

        Rollout     Canary, revision 1, Healthy
        Versions    revision 1 (stable): web:v1, 4 of 4 pods available
        Controller  controller_1 in namespace argo-rollouts leads
    "#]]
    .assert_eq(&stage.explain().await);

    rollout["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:v2");
    stage.bench.apply(&rollout);
    stage.phase("Paused").await;
    expect![[r#"
        exit 0
        web waits for a person to decide.

        Waits for   a person to decide
                    step 2/4 pauses until the rollout is promoted
          on        Rollout/web
          since     PAST
          until     somebody acts
          moved by  kubectl argo rollouts promote web -n default

        Then        step 3/4, setWeight: 50
        Give up     kubectl argo rollouts abort web -n default

        Rollout     Canary, revision 2, Paused - CanaryPauseStep
        Step        2/4, pause
        Share       25 % wanted for the canary, 25 % in force
        Versions    revision 1 (stable): web:v1, 3 of 3 pods available
                    revision 2 (canary): web:v2, 1 of 1 pods available
        Controller  controller_1 in namespace argo-rollouts leads
    "#]]
    .assert_eq(&stage.explain().await);
    let said = stage.bench.run(&["explain", "web", "-o", "json"]).await;
    assert_eq!(said.code, 0, "{}", said.stderr);
    let mut told: Value = serde_json::from_str(&said.stdout).unwrap();
    for time in ["/waits/0/since", "/controller/renewed"] {
        let time = told.pointer_mut(time).unwrap();
        assert!(time.is_string());
        *time = json!("TIME");
    }
    expect![[r#"
        {
          "analyses": [],
          "controller": {
            "behind": false,
            "holder": "controller_1",
            "message": "controller_1 in namespace argo-rollouts leads",
            "namespace": "argo-rollouts",
            "renewed": "TIME",
            "state": "running"
          },
          "giveUp": "kubectl argo rollouts abort web -n default",
          "message": "CanaryPauseStep",
          "name": "web",
          "namespace": "default",
          "next": [],
          "notes": [],
          "phase": "Paused",
          "revision": "2",
          "state": "waiting",
          "step": {
            "count": 4,
            "number": 2,
            "text": "pause"
          },
          "strategy": "Canary",
          "summary": "web waits for a person to decide.",
          "then": "step 3/4, setWeight: 50",
          "versions": [
            {
              "available": 3,
              "hash": "5dfb79b7ff",
              "images": [
                "web:v1"
              ],
              "pods": 3,
              "ready": 3,
              "replicaSet": "web-5dfb79b7ff",
              "revision": 1,
              "roles": [
                "stable"
              ],
              "wanted": 3
            },
            {
              "available": 1,
              "hash": "84c5f745db",
              "images": [
                "web:v2"
              ],
              "pods": 1,
              "ready": 1,
              "replicaSet": "web-84c5f745db",
              "revision": 2,
              "roles": [
                "canary"
              ],
              "wanted": 1
            }
          ],
          "waits": [
            {
              "command": "kubectl argo rollouts promote web -n default",
              "headline": "a person to decide",
              "message": "step 2/4 pauses until the rollout is promoted",
              "object": "Rollout/web",
              "reason": "NeedsPromotion",
              "since": "TIME"
            }
          ],
          "weights": {
            "actual": 25,
            "desired": 25,
            "routed": false,
            "whole": 100
          }
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&told).unwrap());

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
    expect![[r#"
        exit 0
        web waits for pods to become available.

        Waits for   pods to become available
                    setWeight 25 waits for the canary: 0 of 1 pods available
                    - pod web-76749fd77c-RANDOM: ImagePullBackOff: Back-off pulling
                      image "web:does-not-exist"
          on        ReplicaSet/web-76749fd77c
          since     PAST
          remedy    correct what the pods complain about (a new image, a quota, a
                    probe), or abort

        Then        step 2/2, pause
        Give up     kubectl argo rollouts abort web -n default

        Rollout     Canary, revision 2, Progressing - more replicas need to be updated
        Step        1/2, setWeight: 25
        Share       25 % wanted for the canary, 0 % in force
        Versions    revision 1 (stable): web:v1, 3 of 3 pods available
                    revision 2 (canary): web:does-not-exist, 0 of 1 pods available
        Deadline    without progress until FUTURE, it counts as
                    Degraded
        Controller  controller_1 in namespace argo-rollouts leads
    "#]]
    .assert_eq(&stage.explain().await);

    rollout["spec"]["strategy"]["canary"]["canaryService"] = json!("web-canary");
    stage.bench.apply(&rollout);
    stage.phase("Degraded").await;
    expect![[r#"
        exit 0
        web cannot be carried out: spec.strategy.canary.canaryService: Invalid value:
        "web-canary": service "web-canary" not found.

        Waits for   the spec, or an object it names, to be corrected
                    spec.strategy.canary.canaryService: Invalid value: "web-canary":
                    service "web-canary" not found
          on        Rollout/web
          since     PAST
          next look FUTURE
          remedy    create the object that is named, or correct the name; the rollout
                    then goes on by itself

        Give up     kubectl argo rollouts abort web -n default

        Rollout     Canary, Degraded
        Step        1/2, setWeight: 25
        Share       25 % wanted for the canary, 0 % in force
        Versions    revision 1 (stable): web:v1, 3 of 3 pods available
                    revision 2 (canary): web:does-not-exist, 0 of 1 pods available
        Controller  controller_1 in namespace argo-rollouts leads
    "#]]
    .assert_eq(&stage.explain().await);
}

/// One clear line, and exit code 1.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_explain() {
    let bench = Bench::new().await;
    let said = bench.text(&["explain", "nope"]).await;
    expect![[r#"
        exit 1
        ! Error: rollout.argoproj.io "nope" not found in namespace "default"
    "#]]
    .assert_eq(&said);
    let said = Said::from(
        common::plugin()
            .args(["--server", "http://127.0.0.1:1", "explain", "web"])
            .output()
            .unwrap(),
    );
    expect![[r#"
        exit 1
        ! Error: reading the rollout: the API server cannot be reached: client error (Connect): tcp connect error: Connection refused (os error 111)
    "#]].assert_eq(&said.text());
}
