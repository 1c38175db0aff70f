//! Experiments and what goes wrong around them.

use std::time::Duration;

use kube::api::{Api, ApiResource, DeleteParams, DynamicObject};
use serde_json::{Value, json};
use sluice_crds::Experiment;
use sluice_sim::{Effect, Rule, Verb, When};

use crate::harness::{AGENT, NS, World, canary, sizes};

const MINUTE: Duration = Duration::from_secs(60);
const GROUP: &str = "argoproj.io/v1alpha1";

fn experiments(world: &World) -> Vec<Value> {
    world.cluster.list(GROUP, "Experiment", NS, "")
}

fn uid(object: &Value) -> String {
    object["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn running(world: &World) -> bool {
    experiments(world)
        .first()
        .is_some_and(|one| one["status"]["phase"] == "Running")
}

/// A Rollout of two pods in the middle of an experiment step of 30 s.
fn rollout() -> Value {
    canary(
        "web",
        2,
        json!([{"experiment": {"duration": "30s", "scaleDownDelaySeconds": 0,
            "templates": [{"name": "canary", "specRef": "canary", "service": {}}]}}]),
    )
}

async fn updated(world: &World) {
    let mut rollout = rollout();
    rollout["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80}]);
    world.create(rollout).await;
    world.healthy("web").await;
    let containers = json!([{"name": "web", "image": "web:v2", "ports": [{"containerPort": 80}]}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    world.patch("web", patch).await;
}

async fn ends_well(world: &World) {
    world.healthy("web").await;
    world
        .until("only the new version is left", MINUTE, |w| {
            w.sizes() == sizes(&[("web:v2", 2)])
        })
        .await;
}

/// EXP-5, EXP-7, EXP-9: an API server that stumbles delays an Experiment; it does not fail it.
#[tokio::test(start_paused = true)]
async fn a_stumbling_api_server_is_no_verdict() {
    for effect in [
        Effect::InternalError,
        Effect::TooManyRequests(1),
        Effect::LoseAnswer,
        Effect::Unavailable,
    ] {
        for (resource, verb) in [
            ("replicasets", Verb::Create),
            ("replicasets", Verb::Patch),
            ("services", Verb::Create),
        ] {
            let world = World::new();
            let controller = world.start();
            world.create(rollout()).await;
            world.healthy("web").await;
            // Every write of the kind fails once or twice, those of the Rollout included.
            let rule = Rule::new(When::Every(2), effect.clone()).resource(resource);
            world
                .cluster
                .faults()
                .add(rule.verb(verb).user_agent(AGENT));
            let containers =
                json!([{"name": "web", "image": "web:v2", "ports": [{"containerPort": 80}]}]);
            let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
            world.patch("web", patch).await;
            ends_well(&world).await;
            let phases: Vec<_> = experiments(&world)
                .iter()
                .map(|one| one["status"]["phase"].clone())
                .collect();
            assert_eq!(phases, ["Successful"], "{effect:?} on {resource}");
            controller.stop().await.unwrap();
        }
    }
}

/// EXP-6, INV-7: a user deletes the Experiment of the step. It is made again, and what the first one
/// left behind is waited for, not taken for somebody else's.
#[tokio::test(start_paused = true)]
async fn a_deleted_experiment_is_made_again() {
    let world = World::new();
    let controller = world.start();
    updated(&world).await;
    world.until("it runs", MINUTE, running).await;
    let first = uid(&experiments(&world)[0]);
    let api: Api<DynamicObject> =
        Api::namespaced_with(world.client(), NS, &ApiResource::erase::<Experiment>(&()));
    let name = experiments(&world)[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    api.delete(&name, &DeleteParams::background())
        .await
        .unwrap();
    world
        .until("another one runs", MINUTE, |w| {
            running(w) && uid(&experiments(w)[0]) != first
        })
        .await;
    ends_well(&world).await;
    assert_eq!(experiments(&world)[0]["status"]["phase"], "Successful");
    controller.stop().await.unwrap();
}

/// EXP-7, EXP-25: a retry whose Service has a name of its own waits for that of the Experiment before.
#[tokio::test(start_paused = true)]
async fn a_retry_waits_for_the_name_of_its_service() {
    let world = World::new();
    let controller = world.start();
    let mut rollout = rollout();
    let container = &mut rollout["spec"]["template"]["spec"]["containers"][0];
    container["ports"] = json!([{"containerPort": 80}]);
    let step = &mut rollout["spec"]["strategy"]["canary"]["steps"][0]["experiment"];
    step["scaleDownDelaySeconds"] = json!(20);
    step["templates"][0]["service"] = json!({"name": "beside"});
    world.create(rollout).await;
    world.healthy("web").await;
    let containers = json!([{"name": "web", "image": "web:v2", "ports": [{"containerPort": 80}]}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    world.patch("web", patch).await;
    world.until("it runs", MINUTE, running).await;
    world.abort("web").await;
    world
        .until("it is over", MINUTE, |w| {
            experiments(w)[0]["status"]["phase"] == "Successful"
        })
        .await;
    world.retry("web").await;
    world
        .until("another one", MINUTE, |w| experiments(w).len() == 2)
        .await;
    ends_well(&world).await;
    let phases: Vec<_> = experiments(&world)
        .iter()
        .map(|one| one["status"]["phase"].clone())
        .collect();
    assert_eq!(phases, ["Successful", "Successful"]);
    controller.stop().await.unwrap();
}

/// FLT-4, FLT-27: whenever the controller dies, one Experiment comes of a step, and it ends well.
#[tokio::test(start_paused = true)]
async fn an_experiment_survives_a_crash_after_any_write() {
    for writes in (4..40).step_by(2) {
        let world = World::new();
        let controller = world.start();
        let mut point = world.cluster.faults().stop_after_writes(AGENT, writes);
        tokio::select! {
            () = async { updated(&world).await; ends_well(&world).await } => {}
            () = point.reached() => {}
        }
        controller.kill().await;
        world.cluster.faults().clear();
        let controller = world.start();
        world.healthy("web").await;
        let containers =
            json!([{"name": "web", "image": "web:v2", "ports": [{"containerPort": 80}]}]);
        let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        world.patch("web", patch).await;
        world.pass_time(1).await;
        ends_well(&world).await;
        let phases: Vec<_> = experiments(&world)
            .iter()
            .map(|one| one["status"]["phase"].clone())
            .collect();
        assert_eq!(phases, ["Successful"], "after {writes} writes");
        let services = world.cluster.list("v1", "Service", NS, "");
        assert!(services.is_empty(), "after {writes} writes: {services:?}");
        controller.stop().await.unwrap();
    }
}
