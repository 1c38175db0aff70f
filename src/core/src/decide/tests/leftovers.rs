//! Versions that are neither new nor stable.

use sluice_crds::rollout::RolloutPhase;

use super::{deployed, istio};
use crate::testing::world::World;
use crate::testing::{pause, rollout, weight};
use crate::why::Reason;

/// Pods that a version is said to have beside those that it is to have.
fn lingering(world: &mut World, hash: &str, available: i32) {
    let mut sets = world.sets.values_mut();
    let set = sets.find(|set| set.pod_hash() == Some(hash)).unwrap();
    set.status.get_or_insert_default().available_replicas = available;
}

/// CTL-43, INV-15: a version that was scaled to nothing is waited for by nobody, though its pods are still
/// counted.
#[test]
fn nobody_waits_for_a_version_of_size_zero() {
    let mut world = deployed(rollout("web").replicas(4).canary([weight(50)]));
    let old = world.now_status().stable_rs;
    world.set_image("web:v2");
    world.settle();
    assert_eq!(world.size_text(), "4/0");
    assert_eq!(world.now_status().phase, RolloutPhase::Healthy);
    world.frozen = true;
    lingering(&mut world, &old, 2);
    let plan = world.step();
    assert!(plan.why.is_empty(), "{:?}", plan.why);
}

/// CTL-45, INV-15: a step that waits for older versions names one that still has pods.
#[test]
fn a_step_names_an_older_version_that_has_pods() {
    for second in [true, false] {
        let steps = [weight(50), pause(), weight(50), pause()];
        let mut world = deployed(rollout("web").replicas(4).canary(steps));
        let mut old = Vec::new();
        for image in ["web:v2", "web:v3", "web:v4"] {
            world.advance(10);
            world.set_image(image);
            world.settle();
            old.push(world.now_status().current_pod_hash);
        }
        assert_eq!(world.size_text(), "2/2");
        world.frozen = true;
        let left = if second { &old[0] } else { &old[1] };
        lingering(&mut world, left, 1);
        world.promote();
        let mut whys = Vec::new();
        for _ in 0..5 {
            whys = world.step().why;
        }
        let named: Vec<_> = whys
            .iter()
            .filter(|why| why.reason == Reason::PodsNotGone)
            .map(|why| why.object.as_str())
            .collect();
        assert_eq!(named, [format!("ReplicaSet/web-{left}")], "{whys:?}");
        assert_eq!(world.now_status().current_step_index, Some(2));
    }
}

/// CTL-126, INV-1: only pods that requests come to have to wait until others can take them: a canary that
/// an abort left without any share is restarted, its last pod too.
#[test]
fn the_last_pod_of_a_version_without_a_share_is_restarted() {
    let steps = [weight(25), pause()];
    let builder = istio(rollout("web").replicas(4).canary(steps));
    let mut world = deployed(builder.strategy(|canary| {
        canary.abort_scale_down_delay_seconds = Some(0);
    }));
    world.set_image("web:v2");
    world.settle();
    world.abort();
    world.settle();
    assert_eq!(world.size_text(), "1/4");
    assert!(world.line().contains("weight 0/100"), "{}", world.line());
    world.advance(100);
    let at = world.now;
    world.edit(|r| r.spec.restart_at = Some(at.into()));
    world.advance(1);
    for _ in 0..30 {
        world.step();
        world.play();
        world.advance(5);
    }
    let old = world.pods.values().filter(|pod| pod.created <= Some(at));
    assert_eq!(old.count(), 0);
    assert_eq!(world.now_status().restarted_at, Some(at.into()));
}
