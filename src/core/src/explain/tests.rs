use std::sync::Arc;

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use sluice_crds::analysis::AnalysisPhase;

use super::Holder;
use crate::observed::{FailedWrite, Failure, Observed, Seen};
use crate::testing::world::World;
use crate::testing::{analysis, pause, pause_for, rollout, weight};

mod people;
mod pods;
mod refused;
mod runs;
mod stage;
mod traffic;

use stage::{leader, updating};

/// The sentences of an explanation, a line each.
fn text(seen: &Observed, pods: &[Arc<Pod>], holders: Seen<Vec<Holder>>, world: &World) -> String {
    stage::text(&stage::told(seen, pods, holders, world), world)
}

fn check(world: &World, wanted: Expect) {
    wanted.assert_eq(&stage::said(world));
}

/// INV-15
#[test]
fn a_healthy_rollout_is_at_rest() {
    let mut world = World::new(rollout("web").replicas(2).canary([weight(50), pause()]));
    world.settle();
    check(&world, expect!["Resting: web is healthy and at rest."]);
}

/// INV-15: a pause without an end names the command, one with an end its time.
#[test]
fn pauses() {
    let steps = [weight(50), pause(), pause_for(60)];
    let mut world = World::new(rollout("web").replicas(2).canary(steps));
    updating(&mut world);
    world.advance(90);
    check(
        &world,
        expect![[r#"
        Waiting: web waits for a person to decide.
        waits: NeedsPromotion Rollout/web: step 2/3 pauses until the rollout is promoted; since -90 s
          $ kubectl argo rollouts promote web -n shop
        then: step 3/3, pause: 60
        give up: kubectl argo rollouts abort web -n shop"#]],
    );
    world.promote();
    world.settle();
    world.advance(20);
    check(
        &world,
        expect![[r#"
        Waiting: web waits for a timed pause to end.
        waits: Paused Rollout/web: step 3/3 pauses for 60 s; since -20 s; until +40 s
          $ kubectl argo rollouts promote web -n shop
        then: the new version gets everything and becomes the stable one
        give up: kubectl argo rollouts abort web -n shop"#]],
    );
    world.edit(|rollout| rollout.spec.paused = true);
    world.settle();
    check(
        &world,
        expect![[r#"
            Waiting: web waits for a person to lift spec.paused.
            waits: ManuallyPaused Rollout/web: spec.paused is set: nothing goes on before it is lifted; since -20 s
              $ kubectl patch rollout web -n shop --type merge -p '{"spec":{"paused":false}}'
              ! where the manifest is kept, set spec.paused to false there, too; promote lifts it as well, but also ends the current step
            then: the update goes on where it was
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
}

/// INV-15: pods that are not available, in the pods' own words, and the deadline that runs.
#[test]
fn pods_say_what_they_lack() {
    let mut world = World::new(rollout("web").replicas(2).canary([weight(50), pause()]));
    world.settle();
    world.broken.insert("web:v2".to_owned());
    world.set_image("web:v2");
    world.settle();
    world.advance(30);
    let seen = world.observe();
    let new = world
        .sets
        .values()
        .find(|set| set.pod_hash() == Some(world.now_status().current_pod_hash.as_str()));
    let uid = new.unwrap().metadata.uid.clone();
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web-x-1", "ownerReferences": [{
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-x", "uid": uid}]},
        "spec": {"containers": [{"name": "web"}]},
        "status": {"phase": "Pending", "containerStatuses": [{
            "name": "web", "ready": false, "restartCount": 0, "image": "", "imageID": "",
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}]},
    }))
    .unwrap();
    let told = text(&seen, &[Arc::new(pod)], leader(&world), &world);
    expect![[r#"
        Waiting: web waits for pods to become available.
        waits: PodsNotAvailable ReplicaSet/web-84c5f745db: setWeight 50 waits for the canary: 0 of 1 pods available; since -30 s
          ! correct what the pods complain about (a new image, a quota, a probe), or abort
          pod web-x-1: ImagePullBackOff: Back-off pulling image
        then: step 2/2, pause
        give up: kubectl argo rollouts abort web -n shop
        stuck in 571 s, aborts: false"#]].assert_eq(&told);
    // After the deadline it is stuck, and still says on what.
    world.advance(600);
    world.settle();
    check(
        &world,
        expect![[r#"
            Stuck: web is stuck: it has waited too long for pods to become available.
            waits: PodsNotAvailable ReplicaSet/web-84c5f745db: setWeight 50 waits for the canary: 0 of 1 pods available; since -600 s
              ! see what keeps the pods from being available (kubectl describe, kubectl logs), and correct it, or abort
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
}

/// INV-15: which metric, its last measurement, how many failures of how many.
#[test]
fn analyses() {
    let mut world = World::new(
        rollout("web")
            .replicas(2)
            .canary([analysis("errors"), pause()]),
    );
    let template = serde_json::from_value(json!({"metrics": [{
        "name": "error-rate", "interval": "10s", "count": 5, "failureLimit": 2,
        "successCondition": "result[0] < 0.05", "provider": {"prometheus": {"query": "e"}}}]}))
    .unwrap();
    world
        .references
        .templates
        .namespaced
        .insert("errors".to_owned(), Some(template));
    updating(&mut world);
    let name = world.runs.keys().next().unwrap().clone();
    let status = serde_json::from_value(json!({
        "phase": "Running", "startedAt": "2027-01-15T08:00:00Z",
        "metricResults": [{"name": "error-rate", "phase": "Running", "count": 3, "failed": 1,
            "successful": 2, "measurements": [
                {"phase": "Failed", "value": "[0.08]", "finishedAt": "2027-01-15T08:00:00Z"}]}]}))
    .unwrap();
    world.runs.get_mut(&name).unwrap().status = Some(status);
    world.settle();
    check(
        &world,
        expect![[r#"
        Waiting: web waits for an analysis to end.
        waits: AnalysisRunning AnalysisRun/web-84c5f745db-2-0: has not ended yet; since +0 s
          $ kubectl argo rollouts promote web -n shop
          error-rate: last [0.08] Failed; 3 of 5 measured; 1 failed, 2 tolerated
        then: step 2/2, pause
        give up: kubectl argo rollouts abort web -n shop"#]],
    );
    world.end_run(
        &name,
        AnalysisPhase::Failed,
        "Metric \"error-rate\" assessed Failed",
    );
    world.settle();
    check(
        &world,
        expect![[r#"
            Aborted: The update of web was aborted: Step-based analysis phase error/failed: Metric "error-rate" assessed Failed.
            waits: Aborted Rollout/web: the update to revision 2 is aborted; since +0 s
              $ kubectl argo rollouts retry rollout web -n shop
              AnalysisRun/web-84c5f745db-2-0: Failed
              Metric "error-rate" assessed Failed
              error-rate: last [0.08] Failed; 3 of 5 measured; 1 failed, 2 tolerated"#]],
    );
}

/// INV-15: what is invalid, and what is missing.
#[test]
fn invalid_specs() {
    let mut world = World::new(rollout("web").replicas(2).blue_green("active", ""));
    world.settle();
    world.edit(|rollout| {
        rollout
            .spec
            .strategy
            .blue_green
            .as_mut()
            .unwrap()
            .active_service = "gone".to_owned()
    });
    let mut seen = world.observe();
    seen.services.insert("gone".to_owned(), Seen::Absent);
    seen.references.services.insert("gone".to_owned(), None);
    let told = text(&seen, &[], leader(&world), &world);
    expect![[r#"
        Invalid: web cannot be carried out: spec.strategy.blueGreen.activeService: Invalid value: "gone": service "gone" not found.
        waits: InvalidSpec Rollout/web: spec.strategy.blueGreen.activeService: Invalid value: "gone": service "gone" not found; since +0 s; looked at again +20 s
          ! create the object that is named, or correct the name; the rollout then goes on by itself"#]].assert_eq(&told);
}

/// INV-15: blue-green before and after its switch.
#[test]
fn blue_green() {
    let mut world = World::new(
        rollout("web")
            .replicas(2)
            .blue_green("active", "preview")
            .with(|rollout| {
                let spec = rollout.spec.strategy.blue_green.as_mut().unwrap();
                spec.auto_promotion_enabled = Some(false);
            }),
    );
    updating(&mut world);
    check(
        &world,
        expect![[r#"
        Waiting: web waits for a person to decide.
        waits: NeedsPromotion Rollout/web: the new version is ready, the active service switches when promoted; since +0 s
          $ kubectl argo rollouts promote web -n shop
        then: Service active switches to the new version
        give up: kubectl argo rollouts abort web -n shop"#]],
    );
    world.promote();
    world.settle();
    check(
        &world,
        expect![[r#"
        Resting: web is healthy and at rest. Old pods (ReplicaSet/web-5dfb79b7ff) stay for another 30s.
        waits: ScaleDownDelay ReplicaSet/web-5dfb79b7ff: is kept for its scale-down delay; until +30 s"#]],
    );
}

/// INV-15: aborted by a person.
#[test]
fn aborted() {
    let mut world = World::new(rollout("web").replicas(2).canary([weight(50), pause()]));
    updating(&mut world);
    world.abort();
    world.settle();
    check(
        &world,
        expect![[r#"
            Aborted: The update of web was aborted by a person.
            waits: Aborted Rollout/web: the update to revision 2 is aborted; since +0 s
              $ kubectl argo rollouts retry rollout web -n shop"#]],
    );
}

/// A write that cannot succeed is a reason, although the plan would go on.
#[test]
fn failed_writes() {
    let mut world = World::new(rollout("web").replicas(2).canary([weight(50), pause()]));
    updating(&mut world);
    let mut seen = world.observe();
    seen.failure = Some(Failure {
        what: FailedWrite::Route,
        object: "web-vs".to_owned(),
        message: "no route named \"primary\"".to_owned(),
    });
    let told = text(&seen, &[], leader(&world), &world);
    expect![[r#"
        Waiting: web waits for a write to succeed.
        waits: WriteUnconfirmed Rollout/web: writing "web-vs" failed and is tried again: no route named "primary"
          ! correct what the message names; the write is tried again by itself
        waits: NeedsPromotion Rollout/web: step 2/2 pauses until the rollout is promoted; since +0 s
          $ kubectl argo rollouts promote web -n shop
        then: the new version gets everything and becomes the stable one
        give up: kubectl argo rollouts abort web -n shop"#]].assert_eq(&told);
}

/// Nobody acts: an expired lease, or none, with work to be done.
#[test]
fn unattended() {
    let mut world = World::new(rollout("web").replicas(2).canary([weight(50), pause()]));
    world.settle();
    world.set_image("web:v2");
    let seen = world.observe();
    let told = text(&seen, &[], Seen::Absent, &world);
    expect![[r#"
        Unattended: Nobody acts on web: no lease of a controller was found, so none runs (or one that runs with --leader-elect=false).
        next: create ReplicaSet web-84c5f745db with 1 pod
        next: note the new revision on the Rollout
        stuck in 601 s, aborts: false"#]].assert_eq(&told);
    let old = leader(&world);
    world.advance(3600);
    let told = text(&seen, &[], old, &world);
    expect![[r#"
        Unattended: Nobody acts on web: the controller's lease in namespace argo-rollouts has expired, last renewed 60m ago.
        next: create ReplicaSet web-84c5f745db with 1 pod
        next: note the new revision on the Rollout
        stuck in 601 s, aborts: false"#]].assert_eq(&told);
    let told = text(&seen, &[], Seen::Unread("forbidden".to_owned()), &world);
    expect![[r#"
        Moving: web is moving; next: create ReplicaSet web-84c5f745db with 1 pod.
        next: create ReplicaSet web-84c5f745db with 1 pod
        next: note the new revision on the Rollout
        stuck in 601 s, aborts: false"#]]
    .assert_eq(&told);
}
