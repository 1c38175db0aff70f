//! Pods that a random schedule once took away too early, or kept for ever.

use serde_json::json;
use sluice_crds::IntOrString;

use super::super::{deployed, istio};
use super::turn;
use crate::invariants::Trace;
use crate::plan::{Action, Plan};
use crate::replicas::{Fences, RsCount, basic};
use crate::testing::{at, pause, rollout, scale, weight};
use crate::traffic::Verification;

/// INV-4: a ReplicaSet is not deleted in the pass that makes it the former stable one: a crash before
/// the status is written would leave no stable version. Nor is it changed in the pass that deletes it.
#[test]
fn the_former_stable_is_deleted_after_the_status_says_so() {
    let labels = json!({ "labels": { "role": "x" } });
    let mut world = deployed(
        rollout("web")
            .replicas(3)
            .canary([])
            .with(|r| r.spec.revision_history_limit = Some(0))
            .strategy(|canary| {
                canary.canary_metadata = Some(serde_json::from_value(labels).unwrap());
            }),
    );
    world.set_image("web:v2");
    let mut trace = Trace::default();
    for _ in 0..20 {
        turn(&mut world, &mut trace);
    }
    assert_eq!(
        (world.sets.len(), world.line().contains("Healthy")),
        (1, true)
    );
}

/// INV-3, FLT-12: a canary whose traffic was taken away keeps its pods until the router confirms it.
#[test]
fn an_unconfirmed_canary_keeps_its_pods() {
    let mut world = deployed(istio(
        rollout("web").replicas(4).canary([weight(50), pause()]),
    ));
    world.set_image("web:v2");
    world.settle();
    world.verification = Verification::NotVerified;
    world.edit(|r| r.spec.strategy.canary.as_mut().unwrap().steps = vec![pause()]);
    for _ in 0..5 {
        world.step();
        world.play();
    }
    assert!(
        world.line().starts_with("step 0 pods 2/4 weight 0/100"),
        "{}",
        world.line()
    );
    world.verification = Verification::Verified;
    world.settle();
    assert!(
        world.line().starts_with("step 0 pods 0/4 weight 0/100"),
        "{}",
        world.line()
    );
}

/// INV-1, CTL-126: a restart does not evict the only pod of a version that has a share.
#[test]
fn a_restart_leaves_a_small_stable_version_its_pod() {
    let builder = istio(rollout("web").replicas(2).canary([weight(80), pause()]));
    let mut world = deployed(builder.strategy(|canary| canary.dynamic_stable_scale = true));
    world.startup = 5;
    world.set_image("web:v2");
    for _ in 0..40 {
        world.after(1);
    }
    assert!(
        world.line().starts_with("step 1 pods 2/1"),
        "{}",
        world.line()
    );
    let stable = world.now_status().stable_rs;
    world.advance(100);
    world.edit(|r| r.spec.restart_at = Some(at(50).into()));
    for _ in 0..20 {
        world.step();
        world.play();
        let set = world.set_of(&stable).unwrap();
        // One, or the second for the share that the canary cannot bear meanwhile.
        let available = set.status.as_ref().unwrap().available_replicas;
        assert!((1..=set.spec.replicas.unwrap()).contains(&available));
        world.advance(5);
    }
}

/// CTL-46, INV-1, INV-3: `setCanaryScale` to nothing leaves a pod to whoever has traffic.
#[test]
fn a_canary_with_traffic_is_not_sized_to_nothing() {
    let steps = [weight(50), scale(0), pause(), weight(80), pause()];
    let mut world = deployed(istio(rollout("web").replicas(4).canary(steps)));
    world.set_image("web:v2");
    world.settle();
    assert!(
        world.line().starts_with("step 2 pods 1/4 weight 50/50"),
        "{}",
        world.line()
    );
    world.promote();
    world.settle();
    assert!(
        world.line().starts_with("step 4 pods 1/4 weight 80/20"),
        "{}",
        world.line()
    );
}

/// INV-4, FLT-37: the last healthy version outlives its scale-down delay, however many pods may be
/// unavailable.
#[test]
fn the_last_healthy_version_stays_up() {
    let builder = istio(rollout("web").replicas(2).canary([]));
    let mut world = deployed(builder.strategy(|canary| {
        canary.max_surge = Some(IntOrString::Int(0));
        canary.max_unavailable = Some(IntOrString::String("100%".to_owned()));
    }));
    world.set_image("web:v2");
    world.settle();
    world.broken.insert("web:v2".to_owned());
    world.after(5);
    world.after(60);
    let available = world.pods.values().filter(|pod| pod.available).count();
    assert!(available > 0, "{}", world.line());
}

/// INV-2, CTL-126: while nobody knows which version serves, a restart takes no pods.
#[test]
fn a_restart_waits_for_the_split_to_be_confirmed() {
    let builder = istio(rollout("web").replicas(4).canary([weight(50), pause()]));
    let mut world = deployed(builder);
    world.set_image("web:v2");
    world.settle();
    world.verification = Verification::NotVerified;
    world.advance(100);
    world.edit(|r| r.spec.restart_at = Some(at(50).into()));
    let evicts = |plan: &Plan| {
        let mut actions = plan.actions.iter().map(|planned| &planned.action);
        actions.any(|action| matches!(action, Action::EvictPod { .. }))
    };
    for _ in 0..3 {
        assert!(!evicts(&world.step()));
    }
    world.verification = Verification::Verified;
    assert!(evicts(&world.step()));
}

/// INV-4, SE-15: held and scaled down, a canary without available pods gives way, not the pods that
/// serve.
#[test]
fn held_versions_keep_the_pods_that_serve() {
    let mut world = deployed(
        rollout("web")
            .replicas(10)
            .canary([weight(79), pause()])
            .strategy(|canary| {
                canary.max_surge = Some(IntOrString::Int(0));
                canary.max_unavailable = Some(IntOrString::Int(1));
            }),
    );
    world.set_image("web:v2");
    world.settle();
    assert!(
        world.line().starts_with("step 1 pods 8/2"),
        "{}",
        world.line()
    );
    world.broken.insert("web:v2".to_owned());
    world.play();
    world.edit(|r| r.spec.paused = true);
    world.settle();
    let mut trace = Trace::default();
    for replicas in [7, 4] {
        world.edit(|r| r.spec.replicas = Some(replicas));
        turn(&mut world, &mut trace);
        turn(&mut world, &mut trace);
        let ready = world.pods.values().filter(|pod| pod.available).count();
        assert_eq!(ready, 2, "{}", world.line());
    }
}

/// INV-10: with the ceiling reached and no old version to spare, an aborted canary without available
/// pods makes room for stable.
#[test]
fn an_abort_is_not_held_up_by_old_versions() {
    let sizes = |new, stable, others| basic::Sizes {
        replicas: 10,
        weight: 0,
        fences: Fences {
            surge: 3,
            unavailable: 2,
        },
        new: Some(new),
        stable: Some(stable),
        others,
        held: 0,
    };
    let old = [RsCount::new(3, 3)];
    let next = basic::next(&sizes(RsCount::new(5, 0), RsCount::new(5, 5), &old));
    assert_eq!((next.canary, next.stable), (0, 5));
    // With something to spare, old versions go first.
    let next = basic::next(&sizes(RsCount::new(5, 1), RsCount::new(5, 5), &old));
    assert_eq!((next.canary, next.stable), (5, 5));
}

/// INV-5: pods of stable that are going already are no reason to ask for them again.
#[test]
fn pods_that_are_going_are_not_asked_for_again() {
    let sizes = basic::Sizes {
        replicas: 7,
        weight: 0,
        fences: Fences {
            surge: 2,
            unavailable: 1,
        },
        new: Some(RsCount::new(6, 0)),
        stable: Some(RsCount::new(3, 4)),
        others: &[],
        held: 0,
    };
    assert_eq!(basic::next(&sizes).stable, 3);
}

/// INV-3, CTL-43: an old version whose pods died during its delay goes when that is over.
#[test]
fn an_old_version_without_pods_goes_after_its_delay() {
    let mut world = deployed(istio(rollout("web").replicas(2).canary([])));
    world.set_image("web:v2");
    world.settle();
    world.broken.insert("web:v1".to_owned());
    world.after(1);
    world.after(60);
    world.settle();
    assert!(world.line().contains("pods 2/0 "), "{}", world.line());
}
