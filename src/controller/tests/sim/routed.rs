//! Canaries behind a traffic router.

use std::collections::BTreeMap;
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

fn virtual_service() -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1alpha3", "kind": "VirtualService",
        "metadata": {"name": "web", "namespace": NS},
        "spec": {"hosts": ["web"], "http": [{"name": "primary", "timeout": "3s", "route": [
            {"destination": {"host": "web-stable"}, "weight": 100},
            {"destination": {"host": "web-canary"}, "weight": 0},
        ]}]},
    })
}

fn istio(steps: Value) -> Value {
    let mut rollout = canary("web", 1, steps);
    let strategy = &mut rollout["spec"]["strategy"]["canary"];
    strategy["stableService"] = json!("web-stable");
    strategy["canaryService"] = json!("web-canary");
    strategy["trafficRouting"] =
        json!({"istio": {"virtualService": {"name": "web", "routes": ["primary"]}}});
    rollout
}

fn weights(world: &World) -> (i64, i64) {
    let route = world
        .cluster
        .get("networking.istio.io/v1alpha3", "VirtualService", NS, "web")
        .unwrap();
    let weight = |n: usize| {
        route["spec"]["http"][0]["route"][n]["weight"]
            .as_i64()
            .unwrap_or(0)
    };
    assert_eq!(route["spec"]["http"][0]["timeout"], "3s", "INV-11");
    (weight(0), weight(1))
}

async fn with_istio(steps: Value) -> World {
    let world = World::new();
    for object in [
        service("web-stable"),
        service("web-canary"),
        virtual_service(),
    ] {
        world.apply(object);
    }
    world.create(istio(steps)).await;
    world
}

/// Design §5: requests of the bench's update (4 weights, 2 s pauses, one VirtualService each).
#[tokio::test(start_paused = true)]
async fn an_update_costs_few_requests() {
    let pause = json!({"pause": {"duration": 2}});
    let weight = |w: i32| json!({"setWeight": w});
    let steps = json!([
        weight(20),
        pause,
        weight(40),
        pause,
        weight(60),
        pause,
        weight(80),
        pause
    ]);
    let world = with_istio(steps).await;
    let controller = world.start();
    world.healthy("web").await;
    world.pass_time(30).await;
    let before = world.requests().len();
    world.set_image("web", "web:v2").await;
    world.pass_time(1).await;
    world.healthy("web").await;
    world.pass_time(90).await;
    assert_eq!(weights(&world), (100, 0));
    assert_eq!(world.sizes(), sizes(&[("web:v2", 1)]));
    let requests = world.requests();
    let mut kinds = BTreeMap::<String, usize>::new();
    for entry in requests[before..]
        .iter()
        .filter(|e| format!("{:?}", e.verb) != "Watch")
    {
        *kinds
            .entry(format!(
                "{:?} {} {}",
                entry.verb, entry.resource, entry.subresource
            ))
            .or_default() += 1;
    }
    println!(
        "{} requests per routed update: {kinds:#?}",
        kinds.values().sum::<usize>()
    );
    let events: usize = kinds
        .iter()
        .filter(|(k, _)| k.contains("events"))
        .map(|(_, n)| n)
        .sum();
    let all: usize = kinds.values().sum();
    // Two counts of pods in a row are one status, routed or not (D14).
    assert!(all - events <= 19, "{kinds:#?}");
    // One per reason, and one more when the old pods go half a minute later.
    assert!(events <= 12, "{kinds:#?}");
    controller.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn abort_takes_the_traffic_back() {
    let world = with_istio(json!([{"setWeight": 30}, {"pause": {}}])).await;
    let controller = world.start();
    world.healthy("web").await;
    world.set_image("web", "web:v2").await;
    world.paused("web").await;
    assert_eq!(weights(&world), (70, 30));
    world.abort("web").await;
    world
        .until("back", MINUTE, |w| weights(w) == (100, 0))
        .await;
    controller.stop().await.unwrap();
}

/// TRF-17, TRF-19: somebody resets the weights; they are put right at once.
#[tokio::test(start_paused = true)]
async fn drift_is_corrected() {
    let world = with_istio(json!([{"setWeight": 30}, {"pause": {}}])).await;
    let controller = world.start();
    world.healthy("web").await;
    world.set_image("web", "web:v2").await;
    world.paused("web").await;
    world.pass_time(30).await;
    world.apply(virtual_service());
    assert_eq!(weights(&world), (100, 0));
    world
        .until("put right", Duration::from_secs(2), |w| {
            weights(w) == (70, 30)
        })
        .await;
    controller.stop().await.unwrap();
}

/// TRF-100: without Istio the controller starts, and says what is missing.
#[tokio::test(start_paused = true)]
async fn a_missing_route_is_reported_and_taken_up() {
    let world = World::new();
    for object in [service("web-stable"), service("web-canary")] {
        world.apply(object);
    }
    world
        .create(istio(json!([{"setWeight": 30}, {"pause": {}}])))
        .await;
    let controller = world.start();
    world
        .until("reported", MINUTE, |w| {
            w.phase("web").starts_with("Degraded")
        })
        .await;
    world.apply(virtual_service());
    world.healthy("web").await;
    controller.stop().await.unwrap();
}
