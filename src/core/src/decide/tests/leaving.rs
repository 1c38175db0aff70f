//! Pods that are counted still and are on their way out.

use serde_json::json;

use super::{cluster, istio};
use crate::testing::world::World;
use crate::testing::{pause, rollout, weight};
use crate::traffic::Verification;

/// Aborted, its pods gone a moment ago: the ReplicaSet of the new version has just been asked to shrink
/// to nothing, and its status does not know yet.
fn just_shrunk(world: &mut World) {
    world.settle();
    world.set_image("web:v2");
    world.settle();
    world.abort();
    world.settle();
    world.frozen = true;
    world.advance(31);
    world.step();
    let hash = world.now_status().current_pod_hash;
    let new = world
        .sets
        .values()
        .find(|set| set.pod_hash() == Some(&hash));
    let new = new.unwrap();
    let counted = new
        .status
        .as_ref()
        .map_or(0, |status| status.available_replicas);
    assert!(
        new.spec.replicas == Some(0) && counted > 0,
        "{}",
        world.line()
    );
}

/// INV-1: a full promotion at the moment at which the aborted version's pods go.
#[test]
fn do_not_make_a_version_active() {
    let built = rollout("web")
        .replicas(3)
        .blue_green("active", "preview")
        .with(|r| {
            let spec = r.spec.strategy.blue_green.as_mut().unwrap();
            spec.auto_promotion_enabled = Some(false);
        });
    let mut world = cluster(built);
    just_shrunk(&mut world);
    let stable = world.now_status().stable_rs;
    world.promote_full();
    for _ in 0..5 {
        world.step();
        assert_eq!(
            world.services["active"].pod_hash(),
            stable,
            "{}",
            world.line()
        );
    }
    world.frozen = false;
    world.settle();
    world.advance(1);
    world.settle();
    assert_ne!(world.services["active"].pod_hash(), stable);
    assert_eq!(
        world.now_status().stable_rs,
        world.now_status().current_pod_hash
    );
}

/// INV-1, INV-2: the same with a router: they neither get traffic nor make a version stable.
#[test]
fn get_no_traffic() {
    let mut world = cluster(istio(
        rollout("web").replicas(4).canary([weight(100), pause()]),
    ));
    just_shrunk(&mut world);
    world.promote_full();
    let asked = world.routes.len();
    for _ in 0..5 {
        world.step();
    }
    assert!(world.routes[asked..].iter().all(|want| want.weight == 0));
    let status = world.now_status();
    assert_ne!(status.stable_rs, status.current_pod_hash);
    world.frozen = false;
    world.settle();
    let status = world.now_status();
    assert_eq!(status.stable_rs, status.current_pod_hash);
}

/// INV-1: of a pair that takes turns, a header route leads to the one of the new version only once that
/// selects it.
#[test]
fn get_no_header_route() {
    let by_agent = json!([{ "headerName": "agent", "headerValue": { "exact": "beta" } }]);
    let steps =
        json!([{ "setHeaderRoute": { "name": "by-agent", "match": by_agent } }, { "pause": {} }]);
    let built = istio(rollout("web").replicas(4).canary([pause()])).strategy(|canary| {
        canary.steps = serde_json::from_value(steps).unwrap();
        canary.canary_service.clear();
        canary.stable_service.clear();
        let pair = json!({ "pingService": "ping", "pongService": "pong" });
        canary.ping_pong = serde_json::from_value(pair).unwrap();
        let routing = canary.traffic_routing.as_mut().unwrap();
        routing.managed_routes = serde_json::from_value(json!([{ "name": "by-agent" }])).unwrap();
    });
    let mut world = cluster(built);
    world.verification = Verification::Verified;
    world.settle();
    for image in ["web:v2", "web:v3"] {
        // Nobody confirms that the Service has no traffic: it stays with the version that it had.
        world.verification = Verification::NotVerified;
        world.set_image(image);
        let asked = world.routes.len();
        world.settle();
        let led = |world: &World, from: usize| {
            let mut wants = world.routes[from..].iter();
            wants.all(|want| {
                let selects = world.services[&want.canary_service].pod_hash();
                want.header_route.is_none() || selects == want.canary_hash
            })
        };
        assert!(led(&world, asked), "{}", world.line());
        world.verification = Verification::Verified;
        world.touch();
        world.settle();
        let with_route = |want: &&crate::traffic::Want| want.header_route.is_some();
        let led = world.routes[asked..]
            .iter()
            .find(with_route)
            .cloned()
            .unwrap();
        let selects = world.services[&led.canary_service].pod_hash().to_owned();
        assert_eq!(selects, led.canary_hash);
        world.promote();
        world.settle();
    }
}

/// INV-3: with a split that nobody confirmed, lost pods of a version that had all traffic come back.
#[test]
fn come_back_while_the_split_is_in_doubt() {
    let mut world = cluster(istio(rollout("web").replicas(4).canary([weight(50)])));
    world.verification = Verification::Verified;
    world.settle();
    let old = world.now_status().stable_rs;
    world.set_image("web:v2");
    world.settle();
    assert_ne!(world.now_status().stable_rs, old);
    world.verification = Verification::NotVerified;
    let name = world
        .sets
        .iter()
        .find(|(_, set)| set.pod_hash() == Some(&old));
    let name = name.map(|(name, _)| name.clone()).unwrap();
    let status = world
        .sets
        .get_mut(&name)
        .unwrap()
        .status
        .get_or_insert_default();
    status.available_replicas = 2;
    world.frozen = true;
    for _ in 0..4 {
        world.step();
    }
    assert_eq!(world.sets[&name].spec.replicas, Some(4));
}
