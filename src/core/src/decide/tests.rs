//! Whole updates in the small cluster of [`crate::testing::world`].

use serde_json::json;

use crate::testing::RolloutBuilder;
use crate::testing::world::World;

mod analyses;
mod blue_green;
mod canary;
mod delays;
mod edits;
mod experiments;
mod injected;
mod intents;
mod leaving;
mod leftovers;
mod operations;
mod order;
mod progress;
mod properties;
mod records;
mod replica_sets;
mod rescues;
mod routed;
mod rules;
mod runs;
mod safety;
mod schedules;
mod splits;
mod subsets;
mod switches;
mod takeover;
mod ways_back;

/// A Rollout behind Istio, split by Services.
pub(crate) fn istio(rollout: RolloutBuilder) -> RolloutBuilder {
    rollout
        .routed(json!({ "istio": { "virtualService": { "name": "web", "routes": ["primary"] } } }))
        .strategy(|canary| {
            canary.canary_service = "web-canary".to_owned();
            canary.stable_service = "web-stable".to_owned();
        })
}

/// A cluster with what Rollouts of [`istio`] and of the analysis tests refer to.
pub(crate) fn cluster(rollout: RolloutBuilder) -> World {
    let mut world = World::new(rollout);
    let hosts = ["web-canary", "web-stable", "ping", "pong"];
    let route = hosts.map(|host| json!({ "destination": { "host": host } }));
    let vs = json!({ "spec": { "http": [ { "name": "primary", "route": route } ] } });
    world
        .references
        .virtual_services
        .insert("web".to_owned(), Some(vs));
    let template = json!({
        "args": [{ "name": "hash", "value": "none" }],
        "metrics": [{ "name": "errors", "count": 1, "successCondition": "result < 1",
            "provider": { "prometheus": { "address": "http://p", "query": "up" } } }],
    });
    let template = serde_json::from_value(template).unwrap();
    world
        .references
        .templates
        .namespaced
        .insert("errors".to_owned(), Some(template));
    world
}

/// A cluster with a canary that is split by the subsets of a DestinationRule alone.
pub(crate) fn by_subsets(rollout: RolloutBuilder) -> World {
    let rule = json!({ "name": "web", "canarySubsetName": "canary", "stableSubsetName": "stable" });
    let routing = json!({ "istio": {
        "virtualService": { "name": "web", "routes": ["primary"] }, "destinationRule": rule } });
    let mut world = cluster(rollout.routed(routing));
    let subset = |name: &str| json!({ "destination": { "host": "web", "subset": name } });
    let route = [subset("canary"), subset("stable")];
    let vs = json!({ "spec": { "http": [ { "name": "primary", "route": route } ] } });
    let routes = &mut world.references.virtual_services;
    routes.insert("web".to_owned(), Some(vs));
    world
}

/// The cluster once the first revision is at rest.
pub(crate) fn deployed(rollout: RolloutBuilder) -> World {
    let mut world = cluster(rollout);
    world.settle();
    world.told();
    world.sizes.clear();
    world
}

/// Lets everything follow, and tells what happened and what is waited for.
fn traced(world: &mut World) -> String {
    let plan = world.settle();
    let mut text = world.told().join("\n");
    text.push_str(&format!("\n{}", world.line()));
    for why in &plan.why {
        text.push_str(&format!(
            "\nwaits: {:?} {} {}",
            why.reason, why.object, why.message
        ));
    }
    text
}
