//! Blue-green, referenced workloads, restarts, ephemeral metadata.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{NS, World, canary, sizes};

const MINUTE: Duration = Duration::from_secs(60);

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NS},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    })
}

fn selected(world: &World, name: &str) -> String {
    let service = world.cluster.get("v1", "Service", NS, name).unwrap();
    service["spec"]["selector"]["rollouts-pod-template-hash"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test(start_paused = true)]
async fn blue_green_switches_when_promoted() {
    let world = World::new();
    world.apply(service("active"));
    world.apply(service("preview"));
    let mut rollout = canary("web", 2, json!([]));
    rollout["spec"]["strategy"] = json!({"blueGreen": {
        "activeService": "active", "previewService": "preview", "autoPromotionEnabled": false,
    }});
    let controller = world.start();
    world.create(rollout).await;
    world.healthy("web").await;
    let first = selected(&world, "active");
    world.set_image("web", "web:v2").await;
    world.paused("web").await;
    assert_eq!(selected(&world, "active"), first);
    assert_ne!(selected(&world, "preview"), first);
    world.promote("web").await;
    world.healthy("web").await;
    assert_eq!(selected(&world, "active"), selected(&world, "preview"));
    world
        .until("old pods are gone", MINUTE, |w| {
            w.sizes() == sizes(&[("web:v2", 2)])
        })
        .await;
    controller.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_referenced_deployment_gives_the_template() {
    let world = World::new();
    world.apply(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": NS},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:v1"}]},
        }},
    }));
    let mut rollout = canary("web", 2, json!([{"setWeight": 50}, {"pause": {}}]));
    let spec = rollout["spec"].as_object_mut().unwrap();
    spec.remove("template");
    spec.remove("selector");
    spec.insert(
        "workloadRef".into(),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}),
    );
    let controller = world.start();
    world.create(rollout).await;
    world.healthy("web").await;
    let containers = json!([{"name": "web", "image": "web:v2"}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    world
        .cluster
        .merge("apps/v1", "Deployment", NS, "web", &patch)
        .unwrap();
    world.paused("web").await;
    let ours = |w: &World| -> Vec<_> { w.sizes().into_iter().map(|(_, size)| size).collect() };
    assert_eq!(ours(&world), [1, 1]);
    controller.stop().await.unwrap();
}

/// CTL-126
#[tokio::test(start_paused = true)]
async fn a_restart_replaces_every_pod() {
    let world = World::new();
    let controller = world.start();
    world
        .create(canary("web", 3, json!([{"setWeight": 50}, {"pause": {}}])))
        .await;
    world.healthy("web").await;
    let pods = |w: &World| -> Vec<String> {
        let pods = w.cluster.list("v1", "Pod", NS, "app=web");
        pods.iter()
            .map(|p| p["metadata"]["uid"].as_str().unwrap().to_owned())
            .collect()
    };
    world.pass_time(100).await;
    let before = pods(&world);
    let now = world.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    world
        .patch("web", json!({"spec": {"restartAt": now}}))
        .await;
    world
        .until("restarted", 20 * MINUTE, |w| {
            w.rollout("web")
                .status
                .is_some_and(|s| s.restarted_at.is_some())
        })
        .await;
    world.healthy("web").await;
    assert!(pods(&world).iter().all(|uid| !before.contains(uid)));
    controller.stop().await.unwrap();
}

/// CTL-148
#[tokio::test(start_paused = true)]
async fn ephemeral_metadata_follows_the_role() {
    let world = World::new();
    let mut rollout = canary("web", 2, json!([{"setWeight": 50}, {"pause": {}}]));
    rollout["spec"]["strategy"]["canary"]["canaryMetadata"] = json!({"labels": {"role": "canary"}});
    rollout["spec"]["strategy"]["canary"]["stableMetadata"] = json!({"labels": {"role": "stable"}});
    let controller = world.start();
    world.create(rollout).await;
    world.healthy("web").await;
    let count = |w: &World, role: &str| {
        w.cluster
            .list("v1", "Pod", NS, &format!("role={role}"))
            .len()
    };
    world
        .until("stable", MINUTE, |w| count(w, "stable") == 2)
        .await;
    world.set_image("web", "web:v2").await;
    world.paused("web").await;
    world
        .until("one of each", MINUTE, |w| {
            (count(w, "stable"), count(w, "canary")) == (1, 1)
        })
        .await;
    world.promote("web").await;
    world.healthy("web").await;
    world
        .until("all stable", MINUTE, |w| {
            (count(w, "stable"), count(w, "canary")) == (2, 0)
        })
        .await;
    controller.stop().await.unwrap();
}
