//! What the tests share.
#![allow(dead_code, reason = "each test crate uses a part")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

use std::time::Duration;

use serde_json::{Value, json};

/// Waits in virtual time until something holds; an hour at most.
pub(crate) async fn until(test: impl AsyncFn() -> bool) {
    for _ in 0..36_000 {
        if test().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("did not happen within an hour");
}

/// A ReplicaSet or Deployment of pods labelled `app=NAME`.
pub(crate) fn deployable(kind: &str, name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "web", "image": "web:v1", "ports": [{"containerPort": 8080}],
                }]},
            },
        },
    })
}
