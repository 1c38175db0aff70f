//! Waits for routers and Services, and delays that stand in for their word.

use expect_test::expect;
use serde_json::json;
use sluice_crds::rollout::{CanaryStep, PingPongSpec};

use super::check;
use super::stage::{cured, ends_by_itself, leader, text, told, updating};
use crate::decide::tests::{by_subsets, cluster, deployed, istio};
use crate::observed::Seen;
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, pause, rollout, scale, weight};
use crate::traffic::Verification;

const ME: &str = "Rollout/web";
const NEW: &str = "ReplicaSet/web-84c5f745db";
const OLD: &str = "ReplicaSet/web-5dfb79b7ff";

fn canary(steps: impl IntoIterator<Item = CanaryStep>) -> RolloutBuilder {
    rollout("web").replicas(4).canary(steps)
}

fn confirmed(world: &mut World) {
    world.verification = Verification::Verified;
}

/// FLT-11: a router that does not confirm, or cannot be asked, holds the step.
#[test]
fn a_weight_that_nobody_confirms() {
    let mut world = deployed(istio(canary([weight(50), pause()])));
    world.verification = Verification::NotVerified;
    updating(&mut world);
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for the router to confirm the weight.
            waits: TrafficUnconfirmed Rollout/web: the router has not confirmed weight 0 yet; looked at again +10 s
              ! the router is asked again by itself; if it stays like this, see what its own controller reports
            waits: TrafficUnconfirmed Service/web-canary: goes on to the new version once no requests reach the one before through it
            waits: TrafficUnconfirmed Rollout/web: setWeight 50 is done once the router confirms it
            then: step 2/2, pause
            give up: kubectl argo rollouts abort web -n shop
            stuck in 571 s, aborts: false"#]],
    );
    cured(&world, "TrafficUnconfirmed", ME, confirmed);
    world.verification = Verification::Failed("plugin gone".to_owned());
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for the router to confirm the weight.
            waits: TrafficUnconfirmed Rollout/web: Failed to verify weight: plugin gone; looked at again +10 s
              ! the router is asked again by itself; if it stays like this, see what its own controller reports
            waits: TrafficUnconfirmed Service/web-canary: goes on to the new version once no requests reach the one before through it
            waits: TrafficUnconfirmed Rollout/web: setWeight 50 is done once the router confirms it
            then: step 2/2, pause
            give up: kubectl argo rollouts abort web -n shop
            stuck in 541 s, aborts: false"#]],
    );
    cured(&world, "TrafficUnconfirmed", ME, confirmed);
}

/// CTL-69, INV-3: the delay after an abort is over, but nobody confirms that the traffic has left.
#[test]
fn an_abort_that_nobody_confirms() {
    let mut world = deployed(istio(canary([weight(50), pause()])));
    updating(&mut world);
    world.abort();
    world.settle();
    world.verification = Verification::NotVerified;
    world.after(60);
    check(
        &world,
        expect![[r#"
            Aborted: The update of web was aborted by a person.
            waits: Aborted Rollout/web: the update to revision 2 is aborted; since -60 s
              $ kubectl argo rollouts retry rollout web -n shop
            waits: TrafficUnconfirmed Rollout/web: the router has not confirmed weight 0 yet; looked at again +10 s
              ! the router is asked again by itself; if it stays like this, see what its own controller reports
            waits: TrafficUnconfirmed ReplicaSet/web-84c5f745db: its delay has passed, but traffic may still reach it"#]],
    );
    cured(&world, "TrafficUnconfirmed", NEW, confirmed);
}

/// FLT-8, FLT-10: a subset stays with the version that may still be sent requests.
#[test]
fn a_subset_with_traffic() {
    let mut world = by_subsets(canary([weight(50), pause()]));
    world.verification = Verification::Verified;
    updating(&mut world);
    world.verification = Verification::NotVerified;
    world.set_image("web:v3");
    world.settle();
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for the router to confirm the weight.
            waits: TrafficUnconfirmed Rollout/web: the router has not confirmed weight 0 yet; looked at again +10 s
              ! the router is asked again by itself; if it stays like this, see what its own controller reports
            waits: TrafficUnconfirmed DestinationRule/web: its canary subset goes on to the new version once no requests reach the one before
            waits: TrafficUnconfirmed Rollout/web: setWeight 50 is done once the router confirms it
            then: step 2/2, pause
            give up: kubectl argo rollouts abort web -n shop
            stuck in 571 s, aborts: false"#]],
    );
    cured(
        &world,
        "TrafficUnconfirmed",
        "DestinationRule/web",
        confirmed,
    );
}

/// TRF-111: a subset moves on to pods that are all available.
#[test]
fn a_subset_without_pods() {
    let mut world = by_subsets(canary([weight(50), pause()]));
    updating(&mut world);
    world.set_image("web:v3");
    world.settle();
    let pod = world.pods.keys().find(|name| name.starts_with("web-84"));
    world.sick.extend(pod.cloned());
    world.set_image("web:v2");
    world.settle();
    world.after(10);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for pods to become available.
            waits: PodsNotAvailable ReplicaSet/web-84c5f745db: setWeight 50 waits for the canary: 1 of 2 pods available; since -10 s
            waits: SwitchWaitsForPods DestinationRule/web: the subset moves on once all pods of its ReplicaSet are available; since -10 s
            then: step 2/2, pause
            give up: kubectl argo rollouts abort web -n shop
            stuck in 591 s, aborts: false"#]],
    );
    cured(
        &world,
        "SwitchWaitsForPods",
        "DestinationRule/web",
        |world| {
            world.sick.clear();
        },
    );
}

/// CTL-154: a Service moves on to pods that are available.
#[test]
fn a_service_without_pods() {
    let mut world = deployed(istio(canary([weight(50), pause()])));
    world.advance(1000);
    world.broken.insert("web:v2".to_owned());
    updating(&mut world);
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for pods to become available.
            waits: PodsNotAvailable ReplicaSet/web-84c5f745db: setWeight 50 waits for the canary: 0 of 2 pods available; since -30 s
            waits: SwitchWaitsForPods Service/web-canary: switches to ReplicaSet web-84c5f745db once its pods are available; since -30 s
            then: step 2/2, pause
            give up: kubectl argo rollouts abort web -n shop
            stuck in 571 s, aborts: false"#]],
    );
    cured(
        &world,
        "SwitchWaitsForPods",
        "Service/web-canary",
        |world| {
            world.broken.clear();
        },
    );
}

/// INV-2: the stable Service stays where it is until stable has as many pods.
#[test]
fn a_service_with_enough_pods_elsewhere() {
    let mut world = deployed(istio(canary([weight(50), pause()])));
    updating(&mut world);
    let stable = world.services.get_mut("web-stable").unwrap();
    let key = sluice_crds::keys::POD_TEMPLATE_HASH.to_owned();
    stable.selector.insert(key, "84c5f745db".to_owned());
    let old = world
        .pods
        .keys()
        .filter(|name| name.starts_with("web-5dfb79b7ff"));
    world.sick = old.take(3).cloned().collect();
    world.settle();
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for a person to decide.
            waits: NeedsPromotion Rollout/web: step 2/2 pauses until the rollout is promoted; since -30 s
              $ kubectl argo rollouts promote web -n shop
            waits: PodsNotAvailable ReplicaSet/web-5dfb79b7ff: stable lacks available pods to take 50 % of the traffic; since -30 s
            waits: SwitchWaitsForPods Service/web-stable: switches to ReplicaSet web-5dfb79b7ff once it has enough available pods; since -30 s
            then: the new version gets everything and becomes the stable one
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    cured(
        &world,
        "SwitchWaitsForPods",
        "Service/web-stable",
        |world| {
            world.sick.clear();
        },
    );
}

/// INV-1: of ping and pong the canary's goes on once nobody sends requests to it.
#[test]
fn a_service_with_traffic() {
    let built = canary([weight(50), pause()])
        .routed(json!({ "istio": { "virtualService": { "name": "web" } } }))
        .strategy(|c| {
            c.ping_pong = Some(PingPongSpec {
                ping_service: "ping".to_owned(),
                pong_service: "pong".to_owned(),
            });
        });
    let mut world = cluster(built);
    world.verification = Verification::Verified;
    updating(&mut world);
    world.verification = Verification::NotVerified;
    world.set_image("web:v3");
    world.settle();
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for the router to confirm the weight.
            waits: TrafficUnconfirmed Rollout/web: the router has not confirmed weight 0 yet; looked at again +10 s
              ! the router is asked again by itself; if it stays like this, see what its own controller reports
            waits: TrafficUnconfirmed Service/pong: goes on to the new version once no requests reach the one before through it
            waits: TrafficUnconfirmed Rollout/web: setWeight 50 is done once the router confirms it
            then: step 2/2, pause
            give up: kubectl argo rollouts abort web -n shop
            stuck in 571 s, aborts: false"#]],
    );
    cured(&world, "TrafficUnconfirmed", "Service/pong", confirmed);
}

/// A Service that cannot be read is no Service that is missing.
#[test]
fn a_service_that_cannot_be_read() {
    let world = deployed(istio(canary([weight(50), pause()])));
    let mut seen = world.observe();
    let unread = Seen::Unread("services \"web-canary\" is forbidden".to_owned());
    seen.services.insert("web-canary".to_owned(), unread);
    let told = told(&seen, &[], leader(&world), &world);
    expect![[r#"
        Waiting: web waits for an object that cannot be read.
        waits: Unreadable Service/web-canary: cannot be read: services "web-canary" is forbidden
          ! see whether the API server answers, and whether the controller may read this kind; it is tried again by itself"#]].assert_eq(&text(&told, &world));
}

/// CTL-67, CTL-69: old pods stay for their delay.
#[test]
fn a_delay_after_a_promotion() {
    let mut world = deployed(istio(canary([weight(50), pause()])));
    updating(&mut world);
    world.promote();
    world.settle();
    world.after(10);
    check(
        &world,
        expect![[r#"
            Resting: web is healthy and at rest. Old pods (ReplicaSet/web-5dfb79b7ff) stay for another 20s.
            waits: ScaleDownDelay ReplicaSet/web-5dfb79b7ff: is kept for its scale-down delay; until +20 s"#]],
    );
    ends_by_itself(&world, "ScaleDownDelay", OLD);
    let mut world = deployed(rollout("web").replicas(2).blue_green("active", "preview"));
    updating(&mut world);
    world.after(10);
    check(
        &world,
        expect![[r#"
        Resting: web is healthy and at rest. Old pods (ReplicaSet/web-5dfb79b7ff) stay for another 20s.
        waits: ScaleDownDelay ReplicaSet/web-5dfb79b7ff: is kept for its scale-down delay; until +20 s"#]],
    );
    ends_by_itself(&world, "ScaleDownDelay", OLD);
}

/// INV-3, FLT-13: what shrinks with its share stays for the delay where no router can tell.
#[test]
fn a_delay_instead_of_a_word() {
    let built = istio(canary([weight(50), pause()])).strategy(|c| c.dynamic_stable_scale = true);
    let mut world = deployed(built);
    updating(&mut world);
    world.after(10);
    check(
        &world,
        expect![[r#"
        Waiting: web waits for a person to decide.
        waits: NeedsPromotion Rollout/web: step 2/2 pauses until the rollout is promoted; since -10 s
          $ kubectl argo rollouts promote web -n shop
        waits: ScaleDownDelay ReplicaSet/web-5dfb79b7ff: keeps 4 pods until the routes that took traffic off them are in force everywhere; until +20 s
        then: the new version gets everything and becomes the stable one
        give up: kubectl argo rollouts abort web -n shop"#]],
    );
    ends_by_itself(&world, "ScaleDownDelay", OLD);
}

/// FLT-9, INV-1: more requests need pods that are known to be there.
#[test]
fn a_size_that_nobody_has_seen() {
    let steps = [scale(2), weight(25), pause(), weight(50), pause()];
    let mut world = deployed(istio(canary(steps)));
    updating(&mut world);
    let new = world.sets.get_mut("web-84c5f745db").unwrap();
    new.metadata.generation = new.metadata.generation.map(|generation| generation + 1);
    world.frozen = true;
    world.promote();
    world.settle();
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for pods to become available.
            waits: PodsNotAvailable ReplicaSet/web-84c5f745db: gets more requests once its last change of size is known to be carried out; since -30 s
            waits: TrafficUnconfirmed Rollout/web: setWeight 50 is done once the router confirms it
            then: step 5/5, pause
            give up: kubectl argo rollouts abort web -n shop
            stuck in 571 s, aborts: false"#]],
    );
    cured(&world, "PodsNotAvailable", NEW, |world| {
        world.frozen = false
    });
}
