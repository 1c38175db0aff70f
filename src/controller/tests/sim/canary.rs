//! Canaries without traffic routing, from creation to promotion.

use std::time::Duration;

use serde_json::json;

use crate::harness::{NS, World, canary, sizes};

#[tokio::test(start_paused = true)]
async fn a_new_rollout_gets_its_pods() {
    let world = World::new();
    let controller = world.start();
    world
        .create(canary("web", 3, json!([{"setWeight": 30}, {"pause": {}}])))
        .await;
    world.healthy("web").await;
    assert_eq!(world.sizes(), sizes(&[("web:v1", 3)]));
    controller.stop().await.unwrap();
    let reasons = world.reasons().join("\n");
    for reason in [
        "RolloutAddedToInformer",
        "RolloutUpdated",
        "NewReplicaSetCreated",
        "RolloutCompleted",
    ] {
        assert!(
            reasons.contains(reason),
            "{reason} is missing in\n{reasons}"
        );
    }
}

/// CTL-163, CTL-162: apart from its events, an update of three weights and pauses costs at most 24
/// requests; everything is made by POST and changed by patches, the status by its own subresource.
#[tokio::test(start_paused = true)]
async fn a_canary_goes_through_its_steps() {
    let world = World::new();
    let controller = world.start();
    let steps = json!([
        {"setWeight": 25}, {"pause": {"duration": 2}}, {"setWeight": 50}, {"pause": {"duration": 2}},
        {"setWeight": 75}, {"pause": {"duration": 2}},
    ]);
    world.create(canary("web", 4, steps)).await;
    world.healthy("web").await;
    world.pass_time(20).await;
    let before = world.requests().len();
    world.set_image("web", "web:v2").await;
    world.pass_time(1).await;
    world.healthy("web").await;
    world.pass_time(60).await;
    assert_eq!(world.sizes(), sizes(&[("web:v2", 4)]));
    let requests = world.requests();
    let mut kinds = std::collections::BTreeMap::<String, usize>::new();
    for entry in &requests[before..] {
        *kinds
            .entry(format!(
                "{:?} {} {}",
                entry.verb, entry.resource, entry.subresource
            ))
            .or_default() += 1;
    }
    println!(
        "{} requests per canary update: {kinds:#?}",
        requests.len() - before
    );
    let events = kinds.iter().filter(|(kind, _)| kind.contains("events"));
    let events: usize = events.map(|(_, count)| count).sum();
    assert!(requests.len() - before - events <= 24, "{kinds:#?}");
    for kind in kinds.keys() {
        let known = [
            "Create replicasets ",
            "Patch replicasets ",
            "Patch rollouts ",
            "Patch rollouts status",
            "Create events ",
            "Patch events ",
        ];
        let reads = ["Get", "List", "Watch"]
            .iter()
            .any(|verb| kind.starts_with(verb));
        assert!(reads || known.contains(&kind.as_str()), "{kind}");
    }
    controller.stop().await.unwrap();
}

/// CTL-1, API-68: what is new and what is gone is told, and nothing is queued for what is gone.
#[tokio::test(start_paused = true)]
async fn additions_and_deletions_are_told() {
    let world = World::new();
    let controller = world.start();
    world.create(canary("web", 1, json!([]))).await;
    world.healthy("web").await;
    let delete = kube::api::DeleteParams::background();
    world.api().delete("web", &delete).await.unwrap();
    world.pass_time(60).await;
    let writes = world.writes().len();
    let reasons = world.reasons();
    for told in [
        "RolloutAddedToInformer x1: \"Rollout resource added to informer: default/web\"",
        "RolloutDeleted x1: \"Rollout default/web is deleted.\"",
    ] {
        assert!(
            reasons.iter().any(|reason| reason == told),
            "{told}: {reasons:#?}"
        );
    }
    assert!(
        world
            .cluster
            .list("apps/v1", "ReplicaSet", NS, "")
            .is_empty()
    );
    world.pass_time(3600).await;
    assert_eq!(world.writes().len(), writes);
    controller.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_until_promoted() {
    let world = World::new();
    let controller = world.start();
    world
        .create(canary("web", 4, json!([{"setWeight": 25}, {"pause": {}}])))
        .await;
    world.healthy("web").await;
    world.set_image("web", "web:v2").await;
    world.paused("web").await;
    world.pass_time(4000).await;
    assert_eq!(world.sizes(), sizes(&[("web:v1", 3), ("web:v2", 1)]));
    world.promote("web").await;
    world.healthy("web").await;
    world
        .until("old pods are gone", Duration::from_secs(60), |w| {
            w.sizes() == sizes(&[("web:v2", 4)])
        })
        .await;
    controller.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn abort_goes_back_and_retry_goes_on() {
    let world = World::new();
    let controller = world.start();
    world
        .create(canary("web", 4, json!([{"setWeight": 25}, {"pause": {}}])))
        .await;
    world.healthy("web").await;
    world.set_image("web", "web:v2").await;
    world.paused("web").await;
    world.abort("web").await;
    world
        .until("back", Duration::from_secs(60), |w| {
            w.sizes() == sizes(&[("web:v1", 4)])
        })
        .await;
    world
        .until("degraded", Duration::from_secs(60), |w| {
            w.phase("web").starts_with("Degraded")
        })
        .await;
    world.retry("web").await;
    world.paused("web").await;
    world.promote("web").await;
    world.healthy("web").await;
    controller.stop().await.unwrap();
}

/// INV-8, D14: a restart with nothing changed writes nothing, events included.
#[tokio::test(start_paused = true)]
async fn a_restart_writes_nothing() {
    let world = World::new();
    let controller = world.start();
    world
        .create(canary("web", 3, json!([{"setWeight": 30}, {"pause": {}}])))
        .await;
    world
        .create(canary("api", 2, json!([{"setWeight": 50}, {"pause": {}}])))
        .await;
    world.healthy("web").await;
    world.healthy("api").await;
    world.set_image("api", "web:v2").await;
    world.paused("api").await;
    world.pass_time(60).await;
    controller.stop().await.unwrap();
    let before = world.writes().len();
    let controller = world.start();
    world.pass_time(4000).await;
    controller.stop().await.unwrap();
    let writes = world.writes();
    assert_eq!(
        writes.len(),
        before,
        "{:#?}\n{}",
        &writes[before..],
        world.describe()
    );
}
