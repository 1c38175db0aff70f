//! Services on their way back to stable.

use super::{deployed, istio};
use crate::testing::world::World;
use crate::testing::{analysis, pause, rollout, weight};

/// Only so many pods of a version are ready.
fn leave(world: &mut World, hash: &str, ready: usize) {
    let uid = world.set_of(hash).unwrap().metadata.uid.clone();
    world.sick.clear();
    let pods = world.pods.iter();
    let owned = pods.filter(|(_, pod)| Some(&pod.owner) == uid.as_ref());
    let sick: Vec<_> = owned.skip(ready).map(|(name, _)| name.clone()).collect();
    world.sick.extend(sick);
    world.play();
}

/// SE-5, INV-2, INV-10: after the switch, an abort brings the active Service back once stable has as many
/// pods as the version that it leaves has, not before.
#[test]
fn the_active_service_waits_for_as_many_pods() {
    let blue_green = rollout("web").replicas(4).blue_green("active", "");
    let mut world = deployed(blue_green.with(|r| {
        let spec = r.spec.strategy.blue_green.as_mut().unwrap();
        spec.post_promotion_analysis = analysis("errors").analysis;
    }));
    let stable = world.now_status().stable_rs;
    world.set_image("web:v2");
    world.settle();
    let new = world.now_status().current_pod_hash;
    assert_eq!(world.services["active"].pod_hash(), new);
    leave(&mut world, &stable, 1);
    world.abort();
    world.settle();
    assert_eq!(world.services["active"].pod_hash(), new, "one pod for four");
    leave(&mut world, &stable, 4);
    world.settle();
    assert_eq!(world.services["active"].pod_hash(), stable);
}

/// INV-2: the stable Service that is with another version, which can serve, stays there until stable has as
/// much.
#[test]
fn the_stable_service_waits_for_as_many_pods() {
    let steps = [weight(50), pause()];
    let mut world = deployed(istio(rollout("web").replicas(4).canary(steps)));
    let stable = world.now_status().stable_rs;
    world.set_image("web:v2");
    world.settle();
    let new = world.now_status().current_pod_hash;
    // A promotion that was not recorded: the Service went on, the status did not.
    let service = world.services.get_mut("web-stable").unwrap();
    let key = sluice_crds::keys::POD_TEMPLATE_HASH.to_owned();
    service.selector.insert(key, new.clone());
    leave(&mut world, &stable, 1);
    world.settle();
    assert_eq!(
        world.services["web-stable"].pod_hash(),
        new,
        "one pod for two"
    );
    leave(&mut world, &stable, 2);
    world.settle();
    assert_eq!(world.services["web-stable"].pod_hash(), stable);
}
