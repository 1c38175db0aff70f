//! How fast it is; printed, with a wide bound that only a change of complexity breaks.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use std::time::Instant;

use common::workload;
use serde_json::json;
use sluice_sim::{Cluster, ClusterOptions};

#[tokio::test]
async fn thousands_of_updates_a_second() {
    let cluster = Cluster::new(ClusterOptions::default());
    cluster.tick();
    let start = Instant::now();
    for i in 0..500 {
        let name = format!("web-{i}");
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"ports": [{"port": 80}], "selector": {"app": name}},
        });
        cluster.apply(&service).unwrap();
        cluster.apply(&workload("ReplicaSet", &name, 3)).unwrap();
        cluster.tick();
    }
    let made = start.elapsed();
    let start = Instant::now();
    let client = cluster.client();
    let sets = common::api(&client, "ReplicaSet", "replicasets");
    for round in 0..4 {
        for i in 0..500 {
            let patch = json!({"metadata": {"annotations": {"round": round.to_string()}}});
            let patch = kube::api::Patch::Merge(&patch);
            sets.patch(&format!("web-{i}"), &Default::default(), &patch)
                .await
                .unwrap();
        }
    }
    let patched = start.elapsed();
    println!("500 ReplicaSets with 1500 pods: {made:?}; 2000 patches over a client: {patched:?}");
    assert!(made.as_secs() < 30 && patched.as_secs() < 30);
}
