//! Specs that cannot be carried out, writes that fail, restarts.

use expect_test::expect;
use sluice_crds::rollout::{CanaryStep, ObjectRef};

use super::check;
use super::stage::{cured, ends_by_itself, leader, text, told, updating};
use crate::decide::tests::{cluster, deployed, istio};
use crate::observed::{FailedWrite, Failure, Workload, WorkloadView};
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, at, pause, rollout, template, weight};
use crate::traffic::Verification;

const ME: &str = "Rollout/web";

fn canary(steps: impl IntoIterator<Item = CanaryStep>) -> RolloutBuilder {
    rollout("web").replicas(4).canary(steps)
}

fn half_way(built: RolloutBuilder) -> World {
    let mut world = deployed(built);
    updating(&mut world);
    world
}

/// API-44: a number that cannot be used.
#[test]
fn a_spec_that_is_wrong() {
    let mut world = half_way(canary([weight(50), pause()]));
    world.edit(|r| r.spec.strategy.canary.as_mut().unwrap().steps[0].set_weight = Some(101));
    world.settle();
    world.after(30);
    check(
        &world,
        expect![[r#"
            Invalid: web cannot be carried out: spec.strategy.steps[0].setWeight: Invalid value: 101: SetWeight needs to be between 0 and 100.
            waits: InvalidSpec Rollout/web: spec.strategy.steps[0].setWeight: Invalid value: 101: SetWeight needs to be between 0 and 100; since -30 s; looked at again +20 s
              ! correct the manifest and apply it; the rollout then goes on by itself
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    cured(&world, "InvalidSpec", ME, |world| {
        world.edit(|r| r.spec.strategy.canary.as_mut().unwrap().steps[0].set_weight = Some(60));
    });
}

/// API-44: an object that is missing, first and later.
#[test]
fn an_object_that_is_missing() {
    let mut world = half_way(istio(canary([weight(50), pause()])));
    let route = world
        .references
        .virtual_services
        .insert("web".to_owned(), None);
    world.settle();
    world.after(30);
    check(
        &world,
        expect![[r#"
            Invalid: web cannot be carried out: spec.strategy.canary.trafficRouting.istio.virtualService.name: Invalid value: "web": virtualservices.networking.istio.io "web" not found.
            waits: InvalidSpec Rollout/web: spec.strategy.canary.trafficRouting.istio.virtualService.name: Invalid value: "web": virtualservices.networking.istio.io "web" not found; since -30 s; looked at again +20 s
              ! create the object that is named, or correct the name; the rollout then goes on by itself
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    cured(&world, "InvalidSpec", ME, |world| {
        let routes = &mut world.references.virtual_services;
        routes.insert("web".to_owned(), route.unwrap());
    });
}

/// API-28: a workload that is not there.
#[test]
fn a_workload_that_is_missing() {
    let built = canary([weight(50), pause()]).with(|r| {
        r.spec.template = sluice_crds::RawPodTemplate::default();
        r.spec.selector = None;
        r.spec.workload_ref = Some(ObjectRef {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            name: "web".to_owned(),
            scale_down: "onsuccess".to_owned(),
        });
    });
    let mut world = cluster(built);
    world.workload = Workload::Unusable("deployments.apps \"shop/web\" not found".to_owned());
    world.settle();
    world.after(30);
    check(
        &world,
        expect![[r#"
            Invalid: web cannot be carried out: deployments.apps "shop/web" not found.
            waits: InvalidSpec Rollout/web: deployments.apps "shop/web" not found; since -30 s; looked at again +20 s
              ! create the object that is named, or correct the name; the rollout then goes on by itself"#]],
    );
    cured(&world, "InvalidSpec", ME, |world| {
        world.workload = Workload::Found(WorkloadView {
            template: template("web", "web:v1"),
            selector: Some(sluice_crds::LabelSelector::by_labels([("app", "web")])),
            generation: Some(1),
            replicas: Some(4),
        });
    });
}

/// INV-10: an abort that an invalid spec holds up, and one that it does not.
#[test]
fn an_abort_of_what_is_invalid() {
    let mut world = half_way(istio(canary([weight(50), pause()])));
    world.edit(|r| r.spec.strategy.canary.as_mut().unwrap().steps[0].set_weight = Some(101));
    world.abort();
    world.settle();
    world.after(10);
    check(
        &world,
        expect![[r#"
            Aborted: The update of web was aborted.
            waits: InvalidSpec Rollout/web: spec.strategy.steps[0].setWeight: Invalid value: 101: SetWeight needs to be between 0 and 100; since -10 s; looked at again +20 s
              ! correct the manifest and apply it; the rollout then goes on by itself
            waits: Aborted Rollout/web: the update to revision 2 is aborted; since -10 s
              $ kubectl argo rollouts retry rollout web -n shop
            waits: ScaleDownDelay ReplicaSet/web-84c5f745db: is kept up after the abort; until +20 s"#]],
    );
    cured(&world, "InvalidSpec", ME, |world| {
        world.edit(|r| r.spec.strategy.canary.as_mut().unwrap().steps[0].set_weight = Some(60));
    });
    let mut world = half_way(istio(canary([weight(50), pause()])));
    let route = world
        .references
        .virtual_services
        .insert("web".to_owned(), None);
    world.abort();
    world.settle();
    world.after(10);
    check(
        &world,
        expect![[r#"
            Invalid: web cannot be carried out: the abort cannot be carried out before this is corrected: spec.strategy.canary.trafficRouting.istio.virtualService.name: Invalid value: "web": virtualservices.networking.istio.io "web" not found.
            waits: InvalidSpec Rollout/web: the abort cannot be carried out before this is corrected: spec.strategy.canary.trafficRouting.istio.virtualService.name: Invalid value: "web": virtualservices.networking.istio.io "web" not found; since -10 s; looked at again +20 s
              ! create the object that is named, or correct the name; the rollout then goes on by itself"#]],
    );
    cured(&world, "InvalidSpec", ME, |world| {
        let routes = &mut world.references.virtual_services;
        routes.insert("web".to_owned(), route.unwrap());
    });
}

/// CTL-7: `spec.replicas` is written.
#[test]
fn no_number_of_replicas() {
    let world = World::new(canary([weight(50), pause()]).with(|r| r.spec.replicas = None));
    check(
        &world,
        expect![[r#"
        Moving: web is moving; next: set spec.replicas of the Rollout to 1.
        waits: WriteUnconfirmed Rollout/web: spec.replicas is being set to 1
        next: set spec.replicas of the Rollout to 1"#]],
    );
}

fn failed(world: &World, what: FailedWrite, object: &str, message: &str) -> String {
    let mut seen = world.observe();
    seen.failure = Some(Failure {
        what,
        object: object.to_owned(),
        message: message.to_owned(),
    });
    text(&told(&seen, &[], leader(world), world), world)
}

/// A write that cannot succeed is a reason, although the plan would go on.
#[test]
fn writes_that_fail() {
    let world = half_way(canary([weight(50), pause()]));
    let message = "no route named \"primary\"";
    expect![[r#"
        Waiting: web waits for a write to succeed.
        waits: WriteUnconfirmed Rollout/web: writing "web-vs" failed and is tried again: no route named "primary"
          ! correct what the message names; the write is tried again by itself
        waits: NeedsPromotion Rollout/web: step 2/2 pauses until the rollout is promoted; since +0 s
          $ kubectl argo rollouts promote web -n shop
        then: the new version gets everything and becomes the stable one
        give up: kubectl argo rollouts abort web -n shop"#]].assert_eq(&failed(&world, FailedWrite::Route, "web-vs", message));
    let message = "replicasets.apps \"web-84c5f745db\" is forbidden";
    expect![[r#"
        Waiting: web waits for a write to succeed.
        waits: WriteUnconfirmed Rollout/web: writing "web-84c5f745db" failed and is tried again: replicasets.apps "web-84c5f745db" is forbidden
          ! correct what the message names; the write is tried again by itself
        waits: NeedsPromotion Rollout/web: step 2/2 pauses until the rollout is promoted; since +0 s
          $ kubectl argo rollouts promote web -n shop
        then: the new version gets everything and becomes the stable one
        give up: kubectl argo rollouts abort web -n shop"#]].assert_eq(&failed(
        &world,
        FailedWrite::Other,
        "web-84c5f745db",
        message,
    ));
}

/// CTL-22, CTL-23: a ReplicaSet that cannot be made.
#[test]
fn a_replica_set_that_cannot_be_made() {
    let mut world = deployed(canary([weight(50), pause()]));
    world.set_image("web:v2");
    let set = "web-84c5f745db";
    let refused = "replicasets.apps \"web-84c5f745db\" is forbidden: exceeded quota: small";
    expect![[r#"
        Waiting: web waits for a write to succeed.
        waits: WriteUnconfirmed ReplicaSet/web-84c5f745db: Failed to create new replica set "web-84c5f745db": replicasets.apps "web-84c5f745db" is forbidden: exceeded quota: small
          ! correct what the message names; the write is tried again by itself"#]].assert_eq(&failed(&world, FailedWrite::CreateReplicaSet, set, refused));
    expect![[r#"
        Waiting: web waits for a write to succeed.
        waits: WriteUnconfirmed ReplicaSet/web-84c5f745db: its name belongs to another object, the next one gets another hash"#]].assert_eq(&failed(
        &world,
        FailedWrite::ReplicaSetNameTaken,
        set,
        "taken",
    ));
    // The controller has written what it met with; whoever looks later has not met with it.
    let mut seen = world.observe();
    seen.failure = Some(Failure {
        what: FailedWrite::CreateReplicaSet,
        object: set.to_owned(),
        message: refused.to_owned(),
    });
    let plan = crate::decide::decide(&seen, world.now);
    world.execute(&plan, usize::MAX);
    world.advance(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for a write to succeed.
            waits: WriteUnconfirmed ReplicaSet/web-84c5f745db: Failed to create new replica set "web-84c5f745db": replicasets.apps "web-84c5f745db" is forbidden: exceeded quota: small; since -30 s
              ! correct what the message names; the write is tried again by itself
            next: create ReplicaSet web-84c5f745db with 0 pods
            next: note the new revision on the Rollout
            next: scale ReplicaSet web-5dfb79b7ff from 4 to 3 pods
            stuck in 601 s, aborts: false"#]],
    );
    // With a larger quota the next attempt succeeds.
    world.settle();
    let said = super::stage::said(&world);
    assert!(!said.contains("WriteUnconfirmed"), "{said}");
}

/// CTL-126: pods that are to be restarted: later, now, and as far as availability lets them.
#[test]
fn restarts() {
    let mut world = deployed(canary([weight(50), pause()]));
    world.advance(100);
    world.edit(|r| r.spec.restart_at = Some(at(160).into()));
    world.settle();
    check(
        &world,
        expect![[r#"
        Waiting: web waits for pods to be restarted.
        waits: Restarting Rollout/web: pods are restarted at spec.restartAt; until +60 s"#]],
    );
    ends_by_itself(&world, "Restarting", ME);
    world.startup = 100_000;
    world.after(70);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for pods to become available.
            waits: PodsNotAvailable ReplicaSet/web-5dfb79b7ff: not all pods are available: 3 of 4 pods available; since +0 s
            waits: Restarting Rollout/web: 3 pods are older than spec.restartAt; since -10 s; looked at again +30 s
            stuck in 601 s, aborts: false"#]],
    );
    cured(&world, "Restarting", ME, |world| world.startup = 0);
}

/// INV-2: no restart while nobody knows who serves.
#[test]
fn a_restart_that_waits_for_the_router() {
    let mut world = half_way(istio(canary([weight(50), pause()])));
    world.advance(100);
    world.verification = Verification::NotVerified;
    world.edit(|r| r.spec.restart_at = Some(at(50).into()));
    world.settle();
    world.after(20);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for a person to decide.
            waits: NeedsPromotion Rollout/web: step 2/2 pauses until the rollout is promoted; since -120 s
              $ kubectl argo rollouts promote web -n shop
            waits: TrafficUnconfirmed Rollout/web: 6 pods are restarted once the traffic split is confirmed; since -70 s; looked at again +30 s
              ! the router is asked again by itself; if it stays like this, see what its own controller reports
            waits: TrafficUnconfirmed Rollout/web: the router has not confirmed weight 50 yet; looked at again +10 s
              ! the router is asked again by itself; if it stays like this, see what its own controller reports
            then: the new version gets everything and becomes the stable one
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    cured(&world, "TrafficUnconfirmed", ME, |world| {
        world.verification = Verification::Verified;
    });
}

/// Pods that have not been read yet.
#[test]
fn a_restart_before_pods_are_read() {
    let mut world = deployed(canary([weight(50), pause()]));
    world.advance(100);
    world.edit(|r| r.spec.restart_at = Some(at(50).into()));
    let mut seen = world.observe();
    seen.pods = None;
    let told = told(&seen, &[], leader(&world), &world);
    expect![[r#"
        Waiting: web waits for pods to be restarted.
        waits: Restarting Rollout/web: its pods have not been read yet; looked at again +1 s"#]]
    .assert_eq(&text(&told, &world));
}

/// An abort is a command, too, while the spec is invalid.
#[test]
fn giving_up_what_is_invalid() {
    let mut world = half_way(canary([weight(50), pause()]));
    world.edit(|r| r.spec.strategy.canary.as_mut().unwrap().steps[0].set_weight = Some(101));
    world.settle();
    let line = super::stage::of(&world).give_up.expect("a command");
    super::stage::run(&mut world, &line);
    world.settle();
    assert_eq!(world.size_text(), "0/4");
}

/// CTL-4: on its way out.
#[test]
fn deleted() {
    let mut world = half_way(canary([weight(50), pause()]));
    world.rollout.metadata.deletion_timestamp = Some(sluice_crds::Time::new(world.now).into());
    world.touch();
    check(
        &world,
        expect!["Deleting: web is being deleted; what belongs to it goes with it."],
    );
}
