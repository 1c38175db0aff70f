//! Each number that cannot be used is replaced by a usual one on the way back (INV-10).

use sluice_crds::rollout::RolloutSpec;
use sluice_crds::{IntOrString, Rollout};

use super::{deployed, istio};
use crate::conditions::{self, kind};
use crate::decide::decide;
use crate::testing::world::World;
use crate::testing::{pause, rollout, weight};
use crate::why::Reason;

type Edit = fn(&mut RolloutSpec);

fn message(world: &World) -> String {
    let status = world.now_status();
    let condition = conditions::get(&status.conditions, kind::INVALID_SPEC);
    condition.map_or(String::new(), |condition| condition.message.clone())
}

/// Edits the spec so that it is refused for `field`, aborts, and lets delays pass.
fn aborted(mut world: World, field: &str, edit: Edit) -> World {
    world.edit(|r: &mut Rollout| edit(&mut r.spec));
    world.settle();
    assert!(
        message(&world).contains(field),
        "{field}: {}",
        message(&world)
    );
    world.abort();
    world.settle();
    world.after(100);
    assert!(
        message(&world).contains(field),
        "{field}: {}",
        message(&world)
    );
    world
}

/// INV-10: canary and stable go back to what is on record whichever number is wrong.
#[test]
fn an_abort_of_a_canary_needs_no_usable_numbers() {
    let edits: [(&str, Edit); 5] = [
        ("minReadySeconds", |spec| spec.min_ready_seconds = -1),
        ("progressDeadlineSeconds", |spec| {
            spec.progress_deadline_seconds = Some(0);
        }),
        ("revisionHistoryLimit", |spec| {
            spec.revision_history_limit = Some(-1);
        }),
        ("maxSurge", |spec| {
            let canary = spec.strategy.canary.as_mut().unwrap();
            canary.max_surge = Some(IntOrString::Int(0));
            canary.max_unavailable = Some(IntOrString::Int(0));
        }),
        ("dynamicStableScale", |spec| {
            let canary = spec.strategy.canary.as_mut().unwrap();
            canary.dynamic_stable_scale = true;
            canary.scale_down_delay_seconds = Some(30);
        }),
    ];
    for (field, edit) in edits {
        let mut world = deployed(istio(
            rollout("web").replicas(4).canary([weight(50), pause()]),
        ));
        world.set_image("web:v2");
        world.settle();
        assert!(world.line().contains("weight 50/50"), "{}", world.line());
        let world = aborted(world, field, edit);
        assert!(
            world.line().contains("weight 0/100"),
            "{field}: {}",
            world.line()
        );
        assert_eq!(world.size_text(), "0/4", "{field}");
    }
}

/// INV-10: a delay that only a router's split can have does not keep pods from going back.
#[test]
fn an_abort_of_a_basic_canary_needs_no_usable_delay() {
    let mut world = deployed(rollout("web").replicas(4).canary([weight(50), pause()]));
    world.set_image("web:v2");
    world.settle();
    assert_eq!(world.size_text(), "2/2");
    let world = aborted(world, "scaleDownDelaySeconds", |spec| {
        let canary = spec.strategy.canary.as_mut().unwrap();
        canary.scale_down_delay_seconds = Some(30);
    });
    assert_eq!(world.size_text(), "0/4");
}

/// INV-10: so does blue-green, whose limit of delayed versions is beyond the history.
#[test]
fn an_abort_of_blue_green_needs_no_usable_limit() {
    let blue_green = rollout("web").replicas(2).blue_green("active", "preview");
    let mut world = deployed(blue_green);
    let stable = world.now_status().stable_rs;
    world.set_image("web:v2");
    world.broken.insert("web:v2".to_owned());
    world.settle();
    let world = aborted(world, "scaleDownDelayRevisionLimit", |spec| {
        let blue_green = spec.strategy.blue_green.as_mut().unwrap();
        blue_green.scale_down_delay_revision_limit = Some(11);
    });
    assert_eq!(world.services["active"].pod_hash(), stable);
    assert_eq!(world.size_text(), "0/2");
}

/// INV-10, INV-15: without the ReplicaSet of the version on record nothing says how to go back.
#[test]
fn an_abort_without_its_replica_set_says_so() {
    let mut world = deployed(istio(
        rollout("web").replicas(4).canary([weight(50), pause()]),
    ));
    world.set_image("web:v2");
    world.settle();
    world.edit(|r| r.spec.replicas = Some(-1));
    world.abort();
    let current = world.now_status().current_pod_hash;
    world.sets.retain(|_, set| set.pod_hash() != Some(&current));
    let plan = decide(&world.observe(), world.now);
    assert!(plan.actions.is_empty(), "{:?}", plan.actions);
    let texts: Vec<_> = plan
        .why
        .iter()
        .map(|why| (why.reason, &*why.message))
        .collect();
    let wanted = format!(
        "the abort cannot be carried out before this is corrected: there is no ReplicaSet of \
         version {current}"
    );
    assert!(texts.contains(&(Reason::InvalidSpec, &wanted)), "{texts:?}");
}

/// INV-10: only what cannot be used is replaced: a size that can be used is the one to come back to.
#[test]
fn an_abort_keeps_the_numbers_that_can_be_used() {
    let steps = [weight(50), pause()];
    let mut world = deployed(istio(rollout("web").replicas(4).canary(steps)));
    world.set_image("web:v2");
    world.settle();
    let world = aborted(world, "maxSurge", |spec| {
        spec.replicas = Some(6);
        let canary = spec.strategy.canary.as_mut().unwrap();
        canary.max_surge = Some(IntOrString::Int(0));
        canary.max_unavailable = Some(IntOrString::Int(0));
    });
    assert_eq!(world.size_text(), "0/6", "{}", world.line());
}
