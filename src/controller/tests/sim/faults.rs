//! What goes wrong, and what must not follow from it.

use std::time::Duration;

use serde_json::json;
use sluice_controller::lease::LeaseSettings;
use sluice_controller::{Config, RunError};
use sluice_sim::{Effect, Rule, Verb, When};

use crate::harness::{AGENT, NS, Running, World, canary, sizes};

const MINUTE: Duration = Duration::from_secs(60);

fn steps() -> serde_json::Value {
    json!([{"setWeight": 50}, {"pause": {"duration": 5}}])
}

/// From nothing to revision 2, whatever is in force; fails when that does not settle.
async fn two_revisions(world: &World) {
    world.create(canary("web", 2, steps())).await;
    world.healthy("web").await;
    world.set_image("web", "web:v2").await;
    world.pass_time(1).await;
    world.healthy("web").await;
    settled(world).await;
}

async fn settled(world: &World) {
    world
        .until("two pods of v2", 5 * MINUTE, |w| {
            w.sizes() == sizes(&[("web:v2", 2)])
        })
        .await;
    // INV-7: one ReplicaSet per revision, whatever happened on the way.
    assert_eq!(
        world.cluster.list("apps/v1", "ReplicaSet", NS, "").len(),
        2,
        "{}",
        world.describe()
    );
}

/// INV-6: 409 means observe again.
#[tokio::test(start_paused = true)]
async fn conflicts_are_observed_again() {
    let world = World::new();
    for resource in ["rollouts", "replicasets"] {
        let rule = Rule::new(When::Every(2), Effect::Conflict).resource(resource);
        world
            .cluster
            .faults()
            .add(rule.verb(Verb::Patch).user_agent(AGENT));
    }
    let controller = world.start();
    two_revisions(&world).await;
    controller.stop().await.unwrap();
}

/// FLT-27: a slow, overloaded, forgetful API server.
#[tokio::test(start_paused = true)]
async fn errors_and_lost_answers_are_survived() {
    let world = World::new();
    for (n, effect) in [
        (3, Effect::LoseAnswer),
        (5, Effect::InternalError),
        (7, Effect::TooManyRequests(1)),
        (11, Effect::Reset),
        (4, Effect::Delay(Duration::from_millis(300))),
    ] {
        world
            .cluster
            .faults()
            .add(Rule::new(When::Every(n), effect).user_agent(AGENT));
    }
    let controller = world.start();
    two_revisions(&world).await;
    controller.stop().await.unwrap();
}

/// FLT-3: watches end, lag and start over.
#[tokio::test(start_paused = true)]
async fn watches_may_break_and_lag() {
    let world = World::new();
    let faults = world.cluster.faults();
    faults.add(Rule::new(When::Always, Effect::CutWatch(Duration::from_secs(3))).user_agent(AGENT));
    faults.add(
        Rule::new(
            When::Every(2),
            Effect::DelayWatch(Duration::from_millis(900)),
        )
        .user_agent(AGENT),
    );
    let controller = world.start();
    two_revisions(&world).await;
    world.cluster.compact();
    world.cluster.faults().cut_watches("");
    world.set_image("web", "web:v3").await;
    world
        .until("v3", 5 * MINUTE, |w| w.sizes() == sizes(&[("web:v3", 2)]))
        .await;
    controller.stop().await.unwrap();
}

/// Style §2 "Why": after a crash between any two writes, observing again goes on correctly.
#[tokio::test(start_paused = true)]
async fn a_crash_between_any_two_writes_is_harmless() {
    let mut crashes = 0;
    for writes in 1..80 {
        let world = World::new();
        let controller = world.start();
        let mut point = world.cluster.faults().stop_after_writes(AGENT, writes);
        world.create(canary("web", 2, steps())).await;
        let updated = async {
            world.healthy("web").await;
            world.set_image("web", "web:v2").await;
            world.pass_time(1).await;
            world.healthy("web").await;
        };
        let done = tokio::select! {
            () = updated => true,
            () = point.reached() => false,
        };
        if done {
            controller.stop().await.unwrap();
            break;
        }
        crashes += 1;
        controller.kill().await;
        world.pass_time(1).await;
        world.cluster.faults().clear();
        let controller = world.start();
        world.healthy("web").await;
        world.set_image("web", "web:v2").await;
        world.pass_time(1).await;
        world.healthy("web").await;
        settled(&world).await;
        controller.stop().await.unwrap();
    }
    assert!(crashes > 10, "{crashes}");
    println!("{crashes} crashes survived");
}

/// OPS-10, INV-16, API-44: a malformed object harms nobody else, and says what is wrong with it.
#[tokio::test(start_paused = true)]
async fn a_malformed_rollout_does_not_block_others() {
    let world = World::without_definitions();
    let mut bad = canary("bad", 1, steps());
    bad["spec"]["replicas"] = json!("three");
    world.create(bad).await;
    let controller = world.start();
    let mut worse = canary("worse", 1, steps());
    worse["spec"]["strategy"] = json!(["canary"]);
    world.create(worse).await;
    world.create(canary("web", 2, steps())).await;
    world.healthy("web").await;
    world.pass_time(60).await;
    for (name, path) in [("bad", "spec.replicas"), ("worse", "spec.strategy")] {
        let found = world
            .cluster
            .get("argoproj.io/v1alpha1", "Rollout", NS, name);
        let status = found.unwrap()["status"].clone();
        let message = status["conditions"][0]["message"].as_str().unwrap();
        let start = format!("The Rollout \"{name}\" is invalid: {path}: Invalid value: ");
        assert!(message.starts_with(&start), "{message}");
        assert_eq!(status["phase"], "Degraded");
        let reasons = world.reasons();
        let told = reasons.iter().filter(|r| r.starts_with("InvalidSpec x1: "));
        assert_eq!(
            told.filter(|r| r.contains(&start.replace('"', "\\\"")))
                .count(),
            1,
            "{reasons:?}"
        );
    }
    let writes = world.writes().len();
    world.pass_time(3600).await;
    assert_eq!(world.writes().len(), writes, "once is enough");
    // Once corrected it is taken up.
    world.patch("bad", json!({"spec": {"replicas": 1}})).await;
    world.healthy("bad").await;
    controller.stop().await.unwrap();
}

fn electing(world: &World, name: &str) -> Config {
    let mut lease = LeaseSettings::new(NS, "");
    lease.identity = name.to_owned();
    Config {
        lease: Some(lease),
        lease_client: Some(world.cluster.client_as(&format!("election-{name}"))),
        ..world.config()
    }
}

fn candidate(world: &World, name: &str) -> Running {
    world.start_with(electing(world, name))
}

/// INV-12, FLT-25: a leader that cannot renew stops writing before the lease can pass on.
#[tokio::test(start_paused = true)]
async fn a_lost_lease_stops_all_writes() {
    let world = World::new();
    let first = candidate(&world, "a");
    world
        .create(canary("web", 2, json!([{"setWeight": 50}, {"pause": {}}])))
        .await;
    world.healthy("web").await;
    let cut = world.clock.now();
    world
        .cluster
        .faults()
        .add(Rule::new(When::Always, Effect::Reset).user_agent("election-a"));
    let second = candidate(&world, "b");
    // Work that never ends: whoever may write, writes.
    for n in 0..60 {
        world.set_image("web", &format!("web:v{n}")).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(matches!(first.ended().await, Err(RunError::LeaseLost)));
    let lease = world.cluster.get(
        "coordination.k8s.io/v1",
        "Lease",
        NS,
        "argo-rollouts-controller-lock",
    );
    let lease = lease.unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "b", "{lease:#}");
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
    let taken: jiff::Timestamp = lease["spec"]["acquireTime"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let since = |at: jiff::Timestamp| at.duration_since(cut).as_secs_f64();
    let gap = world
        .writes()
        .iter()
        .map(|w| since(w.at))
        .filter(|t| (10.5..since(taken)).contains(t))
        .count();
    assert_eq!(
        gap,
        0,
        "writes between the deadline and the take-over at {}",
        since(taken)
    );
    assert!(
        world.writes().iter().any(|w| w.at > taken),
        "the second one works"
    );
    second.stop().await.unwrap();
}

/// EDGE-17: a graceful stop hands over at once.
#[tokio::test(start_paused = true)]
async fn a_graceful_stop_releases_the_lease() {
    let world = World::new();
    let first = candidate(&world, "a");
    world.create(canary("web", 2, steps())).await;
    world.healthy("web").await;
    let second = candidate(&world, "b");
    world.pass_time(30).await;
    first.stop().await.unwrap();
    world.set_image("web", "web:v2").await;
    let start = world.clock.now();
    world.until("two", MINUTE, |w| w.sizes().len() == 2).await;
    let waited = world.clock.now().duration_since(start).as_secs();
    assert!(waited <= 4, "{waited}");
    second.stop().await.unwrap();
}

/// CTL-152: what a deleted Rollout used is freed; SE-7: only when it is certainly gone.
#[tokio::test(start_paused = true)]
async fn services_of_a_deleted_rollout_are_freed() {
    let world = World::new();
    for name in ["stable", "canary"] {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NS},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        });
        world.cluster.apply(&service).unwrap();
    }
    let mut rollout = canary("web", 2, steps());
    rollout["spec"]["strategy"]["canary"]["stableService"] = json!("stable");
    rollout["spec"]["strategy"]["canary"]["canaryService"] = json!("canary");
    world.create(rollout).await;
    let controller = world.start();
    world.healthy("web").await;
    let selected = |w: &World, name: &str| {
        let service = w.cluster.get("v1", "Service", NS, name).unwrap();
        service["spec"]["selector"]["rollouts-pod-template-hash"].is_string()
    };
    world
        .until("selected", MINUTE, |w| {
            selected(w, "stable") && selected(w, "canary")
        })
        .await;
    world
        .cluster
        .delete("argoproj.io/v1alpha1", "Rollout", NS, "web")
        .unwrap();
    world
        .until("freed", MINUTE, |w| {
            !selected(w, "stable") && !selected(w, "canary")
        })
        .await;
    let service = world.cluster.get("v1", "Service", NS, "stable").unwrap();
    assert_eq!(service["spec"]["selector"], json!({"app": "web"}));
    assert!(
        service["metadata"]["annotations"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty)
    );
    controller.stop().await.unwrap();
}
