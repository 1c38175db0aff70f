//! Waits for pods to come or to go.

use std::sync::Arc;

use expect_test::expect;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use sluice_crds::rollout::CanaryStep;

use super::stage::{cured, ends_by_itself, leader, text, told, updating};
use super::{check, stage};
use crate::decide::tests::{deployed, istio};
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, pause, rollout, weight};

const NEW: &str = "ReplicaSet/web-84c5f745db";
const OLD: &str = "ReplicaSet/web-5dfb79b7ff";

fn canary(steps: impl IntoIterator<Item = CanaryStep>) -> RolloutBuilder {
    rollout("web").replicas(4).canary(steps)
}

fn heal(world: &mut World) {
    world.broken.clear();
    world.sick.clear();
    world.frozen = false;
}

/// An update to pods that never become available, half a minute in.
fn broken(built: RolloutBuilder) -> World {
    let mut world = deployed(built);
    world.advance(1000);
    world.broken.insert("web:v2".to_owned());
    updating(&mut world);
    world.advance(30);
    world
}

/// CTL-45: a step waits for pods of the canary.
#[test]
fn of_the_canary() {
    let mut said = Vec::new();
    for built in [
        canary([weight(50), pause()]),
        istio(canary([weight(50), pause()])),
    ] {
        let world = broken(built);
        said.push(stage::said(&world));
        cured(&world, "PodsNotAvailable", NEW, heal);
    }
    expect![[r#"
        Waiting: web waits for pods to become available.
        waits: PodsNotAvailable ReplicaSet/web-84c5f745db: setWeight 50 waits for the canary: 0 of 2 pods available; since -30 s
        then: step 2/2, pause
        give up: kubectl argo rollouts abort web -n shop
        stuck in 571 s, aborts: false

        Waiting: web waits for pods to become available.
        waits: PodsNotAvailable ReplicaSet/web-84c5f745db: setWeight 50 waits for the canary: 0 of 2 pods available; since -30 s
        waits: SwitchWaitsForPods Service/web-canary: switches to ReplicaSet web-84c5f745db once its pods are available; since -30 s
        then: step 2/2, pause
        give up: kubectl argo rollouts abort web -n shop
        stuck in 571 s, aborts: false"#]].assert_eq(&said.join("\n\n"));
}

/// The pods' own words; those of another ReplicaSet, and of pods on their way out, do not count.
#[test]
fn in_their_own_words() {
    let world = broken(canary([weight(50), pause()]));
    let uid = world.sets["web-84c5f745db"].metadata.uid.clone();
    let pod = |name: &str, owner: Option<&str>, more: serde_json::Value| -> Arc<Pod> {
        let owner = owner.map(str::to_owned).or_else(|| uid.clone());
        let mut pod = json!({
            "metadata": {"name": name, "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": owner}]},
            "spec": {"containers": [{"name": "web"}]},
            "status": {"phase": "Running", "containerStatuses": [{
                "name": "web", "ready": false, "restartCount": 7, "image": "", "imageID": "",
                "state": {"waiting": {"reason": "CrashLoopBackOff",
                    "message": "back-off 5m0s restarting failed container"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]},
        });
        crate::testing::world::merge(&mut pod, &more);
        Arc::new(serde_json::from_value(pod).unwrap())
    };
    let pods = [
        pod("web-a", None, json!({})),
        pod("web-b", None, json!({})),
        pod("web-c", Some("other"), json!({})),
        pod(
            "web-d",
            None,
            json!({"metadata": {"deletionTimestamp": "2027-01-15T08:00:00Z"}}),
        ),
        pod(
            "web-e",
            None,
            json!({"status": {"phase": "Pending", "containerStatuses": null, "conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": "0/3 nodes are available: 3 Insufficient cpu."}]}}),
        ),
    ];
    let told = told(&world.observe(), &pods, leader(&world), &world);
    expect![[r#"
        Waiting: web waits for pods to become available.
        waits: PodsNotAvailable ReplicaSet/web-84c5f745db: setWeight 50 waits for the canary: 0 of 2 pods available; since -30 s
          ! correct what the pods complain about (a new image, a quota, a probe), or abort
          2 pods (web-a ...): CrashLoopBackOff: back-off 5m0s restarting failed container; last exit code 137
          pod web-e: Unschedulable: 0/3 nodes are available: 3 Insufficient cpu.
        then: step 2/2, pause
        give up: kubectl argo rollouts abort web -n shop
        stuck in 571 s, aborts: false"#]].assert_eq(&text(&told, &world));
}

/// Pods that cannot even be created.
#[test]
fn refused_by_a_quota() {
    let mut world = broken(canary([weight(50), pause()]));
    world.frozen = true;
    let set = world.sets.get_mut("web-84c5f745db").unwrap();
    let status = set.status.as_mut().unwrap();
    status.replicas = 0;
    status.conditions = serde_json::from_value(json!([{"type": "ReplicaFailure", "status": "True",
        "reason": "FailedCreate", "message": "pods \"web-x\" is forbidden: exceeded quota: small"}]))
    .unwrap();
    world.settle();
    check(
        &world,
        expect![[r#"
        Waiting: web waits for pods to become available.
        waits: PodsNotAvailable ReplicaSet/web-84c5f745db: setWeight 50 waits for the canary: 0 of 2 pods available; since +0 s
          ! correct what the pods complain about (a new image, a quota, a probe), or abort
          pods cannot be created (FailedCreate): pods "web-x" is forbidden: exceeded quota: small
        then: step 2/2, pause
        give up: kubectl argo rollouts abort web -n shop
        stuck in 601 s, aborts: false"#]],
    );
    cured(&world, "PodsNotAvailable", NEW, |world| {
        let set = world.sets.get_mut("web-84c5f745db").unwrap();
        set.status.as_mut().unwrap().conditions.clear();
        heal(world);
    });
}

/// CTL-98: after the deadline it still says what it waits for, and since when.
#[test]
fn beyond_the_deadline() {
    let mut world = broken(canary([weight(50), pause()]));
    world.after(571);
    world.after(60);
    check(
        &world,
        expect![[r#"
            Stuck: web is stuck: it has waited too long for pods to become available.
            waits: PodsNotAvailable ReplicaSet/web-84c5f745db: setWeight 50 waits for the canary: 0 of 2 pods available; since -660 s
              ! see what keeps the pods from being available (kubectl describe, kubectl logs), and correct it, or abort
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    cured(&world, "PodsNotAvailable", NEW, heal);
}

/// A first version whose pods do not come.
#[test]
fn of_the_first_version() {
    let mut said = Vec::new();
    for built in [
        canary([weight(50), pause()]),
        rollout("web").replicas(4).blue_green("active", "preview"),
    ] {
        let mut world = World::new(built);
        world.broken.insert("web:v1".to_owned());
        world.settle();
        world.after(30);
        said.push(stage::said(&world));
        cured(&world, "PodsNotAvailable", OLD, heal);
    }
    expect![[r#"
        Waiting: web waits for pods to become available.
        waits: PodsNotAvailable ReplicaSet/web-5dfb79b7ff: not all pods are available: 0 of 4 pods available; since -30 s
        stuck in 571 s, aborts: false

        Waiting: web waits for pods to become available.
        waits: PodsNotAvailable ReplicaSet/web-5dfb79b7ff: not all pods are available: 0 of 4; since -30 s
        stuck in 571 s, aborts: false"#]].assert_eq(&said.join("\n\n"));
}

/// Pods of a Rollout at rest fail: since then it waits, not since the last update.
#[test]
fn lost_at_rest() {
    let mut said = Vec::new();
    for built in [
        canary([weight(50), pause()]),
        rollout("web").replicas(4).blue_green("active", "preview"),
    ] {
        let mut world = deployed(built);
        world.advance(5000);
        world.sick = world.pods.keys().take(2).cloned().collect();
        world.settle();
        world.after(30);
        said.push(stage::said(&world));
        cured(&world, "PodsNotAvailable", OLD, heal);
    }
    expect![[r#"
        Waiting: web waits for pods to become available.
        waits: PodsNotAvailable ReplicaSet/web-5dfb79b7ff: not all pods are available: 2 of 4 pods available; since -30 s
        stuck in 571 s, aborts: false

        Waiting: web waits for pods to become available.
        waits: PodsNotAvailable ReplicaSet/web-5dfb79b7ff: not all pods are available: 2 of 4; since -30 s
        stuck in 571 s, aborts: false"#]].assert_eq(&said.join("\n\n"));
}

/// CTL-45, CTL-64: a step waits for pods of stable.
#[test]
fn of_stable() {
    let mut world = deployed(canary([weight(50), pause()]));
    world.advance(1000);
    world.set_image("web:v2");
    while world.sets["web-5dfb79b7ff"].spec.replicas != Some(2) {
        world.play();
        world.step();
    }
    // Its pods take their time to go.
    world.frozen = true;
    world.settle();
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for pods that are not needed any more to go.
            waits: PodsNotGone ReplicaSet/web-5dfb79b7ff: setWeight 50 waits until stable has shrunk to 2 pods; since -30 s
            then: step 2/2, pause
            give up: kubectl argo rollouts abort web -n shop
            stuck in 571 s, aborts: false"#]],
    );
    cured(&world, "PodsNotGone", OLD, heal);
}

/// CTL-45: a step without a router waits until older versions are gone, too.
#[test]
fn of_a_version_before() {
    let steps = [weight(50), pause(), weight(50), pause()];
    let mut world = deployed(canary(steps));
    updating(&mut world);
    world.set_image("web:v3");
    world.settle();
    let old = world.sets.get_mut("web-84c5f745db").unwrap();
    old.status.as_mut().unwrap().available_replicas = 1;
    world.promote();
    world.frozen = true;
    world.settle();
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for pods that are not needed any more to go.
            waits: PodsNotGone ReplicaSet/web-84c5f745db: setWeight 50 waits until the pods of older revisions are gone; since -30 s
            then: step 4/4, pause
            give up: kubectl argo rollouts abort web -n shop
            stuck in 571 s, aborts: false"#]],
    );
    cured(&world, "PodsNotGone", NEW, heal);
}

/// INV-1, INV-4: the delay of old pods is over, but the new ones fail.
#[test]
fn that_nobody_can_do_without() {
    let mut world = deployed(istio(canary([weight(50), pause()])));
    updating(&mut world);
    world.promote();
    world.settle();
    let new = world.pods.keys().filter(|name| name.starts_with("web-84"));
    world.sick = new.take(3).cloned().collect();
    world.settle();
    world.after(60);
    check(
        &world,
        expect![[r#"
        Waiting: web waits for pods to become available.
        waits: PodsNotAvailable ReplicaSet/web-84c5f745db: stable lacks available pods to take 100 % of the traffic; since +0 s
        waits: PodsNotAvailable ReplicaSet/web-84c5f745db: not all pods are available: 1 of 4 pods available; since +0 s
        waits: PodsNotGone ReplicaSet/web-5dfb79b7ff: gives up pods once enough newer ones are available; since +0 s
        stuck in 601 s, aborts: false"#]],
    );
    cured(&world, "PodsNotGone", OLD, heal);
}

/// CTL-95: the steps are done, the pods are not.
#[test]
fn at_the_end() {
    let mut world = deployed(canary([weight(25), pause()]));
    updating(&mut world);
    world.advance(1000);
    world.startup = 100_000;
    world.promote();
    world.settle();
    world.after(30);
    check(
        &world,
        expect![[r#"
        Waiting: web waits for pods to become available.
        waits: PodsNotAvailable ReplicaSet/web-84c5f745db: the update ends once all pods are available: 1 of 3 pods available; since -30 s
        then: the new version gets everything and becomes the stable one
        give up: kubectl argo rollouts abort web -n shop
        stuck in 571 s, aborts: false"#]],
    );
    cured(&world, "PodsNotAvailable", NEW, |world| world.startup = 0);
}

/// CTL-43: an old version shrinks still, or may not shrink yet.
#[test]
fn of_older_versions() {
    let mut world = deployed(canary([weight(50), pause()]));
    updating(&mut world);
    world.advance(1000);
    world.startup = 100_000;
    world.set_image("web:v3");
    world.settle();
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for pods to become available.
            waits: PodsNotAvailable ReplicaSet/web-79589fdb97: setWeight 50 waits for the canary: 0 of 2 pods available; since -30 s
            waits: PodsNotGone ReplicaSet/web-84c5f745db: gives up pods once enough newer ones are available; since -30 s
            then: step 2/2, pause
            give up: kubectl argo rollouts abort web -n shop
            stuck in 571 s, aborts: false"#]],
    );
    let old = world.sets.get_mut("web-84c5f745db").unwrap();
    old.spec.replicas = Some(1);
    old.status.as_mut().unwrap().available_replicas = 2;
    world.frozen = true;
    world.settle();
    check(
        &world,
        expect![[r#"
            Waiting: web waits for pods to become available.
            waits: PodsNotAvailable ReplicaSet/web-79589fdb97: setWeight 50 waits for the canary: 0 of 2 pods available; since -30 s
            waits: PodsNotGone ReplicaSet/web-84c5f745db: is still shrinking to 1 pods; since -30 s
            then: step 2/2, pause
            give up: kubectl argo rollouts abort web -n shop
            stuck in 571 s, aborts: false"#]],
    );
    cured(&world, "PodsNotGone", NEW, heal);
}

/// CTL-113: blue-green waits for the new pods.
#[test]
fn before_the_switch() {
    let built = rollout("web").replicas(4).blue_green("active", "preview");
    let world = broken(built);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for pods to become available.
            waits: PodsNotAvailable ReplicaSet/web-84c5f745db: the new version needs all its pods: 0 of 4 available; since -30 s
            then: Service active switches to the new version
            give up: kubectl argo rollouts abort web -n shop
            stuck in 571 s, aborts: false"#]],
    );
    cured(&world, "PodsNotAvailable", NEW, heal);
}

/// SE-5, INV-10: an aborted blue-green goes back once stable has pods.
#[test]
fn before_going_back() {
    let built = rollout("web")
        .replicas(4)
        .blue_green("active", "preview")
        .with(|r| {
            let spec = r.spec.strategy.blue_green.as_mut().unwrap();
            let analysis = json!({ "templates": [{ "templateName": "errors" }] });
            spec.post_promotion_analysis = Some(serde_json::from_value(analysis).unwrap());
        });
    let mut world = deployed(built);
    updating(&mut world);
    world.sick = world
        .pods
        .values()
        .filter(|pod| pod.name.starts_with("web-5dfb79b7ff"))
        .map(|pod| pod.name.clone())
        .collect();
    world.settle();
    world.abort();
    world.settle();
    world.after(30);
    check(
        &world,
        expect![[r#"
            Aborted: The update of web was aborted by a person.
            waits: Aborted Rollout/web: the update to revision 2 is aborted; since -30 s
              $ kubectl argo rollouts retry rollout web -n shop
            waits: PodsNotAvailable ReplicaSet/web-5dfb79b7ff: Service active goes back once stable has available pods; since -30 s
            waits: PodsNotGone ReplicaSet/web-84c5f745db: is kept until stable has taken all traffic; since -30 s"#]],
    );
    cured(&world, "PodsNotAvailable", OLD, heal);
}

/// CTL-69: after an abort the pods stay until stable can take the traffic, and then for their delay.
#[test]
fn of_an_aborted_version() {
    let mut world = deployed(istio(canary([weight(50), pause()])));
    updating(&mut world);
    world.broken.insert("web:v1".to_owned());
    world.settle();
    world.abort();
    world.settle();
    world.after(100);
    check(
        &world,
        expect![[r#"
            Aborted: The update of web was aborted by a person.
            waits: Aborted Rollout/web: the update to revision 2 is aborted; since -100 s
              $ kubectl argo rollouts retry rollout web -n shop
            waits: PodsNotAvailable ReplicaSet/web-5dfb79b7ff: stable lacks available pods to take 100 % of the traffic; since -100 s
            waits: PodsNotGone ReplicaSet/web-84c5f745db: is kept until stable has taken all traffic; since -100 s"#]],
    );
    heal(&mut world);
    world.settle();
    world.after(10);
    check(
        &world,
        expect![[r#"
        Aborted: The update of web was aborted by a person.
        waits: Aborted Rollout/web: the update to revision 2 is aborted; since -110 s
          $ kubectl argo rollouts retry rollout web -n shop
        waits: ScaleDownDelay ReplicaSet/web-84c5f745db: is kept up after the abort; until +20 s"#]],
    );
    ends_by_itself(&world, "ScaleDownDelay", NEW);
}

/// SE-8, INV-2: stable shrinks with its traffic, and has to come back before it gets more.
#[test]
fn before_traffic_goes_back() {
    let built = istio(canary([weight(75), pause()])).strategy(|c| c.dynamic_stable_scale = true);
    let mut world = deployed(built);
    updating(&mut world);
    world.after(30);
    world.startup = 100_000;
    world.abort();
    world.settle();
    world.after(30);
    check(
        &world,
        expect![[r#"
            Aborted: The update of web was aborted by a person.
            waits: Aborted Rollout/web: the update to revision 2 is aborted; since -30 s
              $ kubectl argo rollouts retry rollout web -n shop
            waits: PodsNotAvailable ReplicaSet/web-5dfb79b7ff: needs more available pods to take back the last 75 % of the traffic; since -30 s"#]],
    );
    cured(&world, "PodsNotAvailable", OLD, |world| world.startup = 0);
}
