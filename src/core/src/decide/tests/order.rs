//! What one plan does, and what it leaves to the next.

use super::deployed;
use crate::plan::{Action, Plan};
use crate::testing::world::World;
use crate::testing::{pause, rollout, weight};

/// Whether a plan changes the size of a ReplicaSet.
fn resizes(plan: &Plan) -> bool {
    plan.actions.iter().any(|planned| {
        matches!(&planned.action, Action::PatchReplicaSet { patch, .. }
            if patch.pointer("/spec/replicas").is_some())
    })
}

/// The plans until nothing changes any more; pods follow in between.
fn plans(world: &mut World) -> Vec<Plan> {
    let mut plans = Vec::new();
    for _ in 0..50 {
        world.play();
        let before = (world.writes, world.rollout.clone());
        let plan = world.step();
        let moved = world.play();
        plans.push(plan);
        if !moved && before == (world.writes, world.rollout.clone()) {
            return plans;
        }
    }
    panic!("does not come to rest: {}", world.line());
}

/// CTL-42, CTL-43: a change of sizes ends the pass: that of a superseded version, too, so no pause
/// begins with it.
#[test]
fn no_pause_begins_while_superseded_pods_go() {
    let mut world = deployed(
        rollout("web")
            .replicas(4)
            .canary([pause(), weight(25), pause()]),
    );
    world.broken.insert("web:v2".to_owned());
    world.set_image("web:v2");
    world.settle();
    world.promote();
    world.settle();
    assert!(world.size_text().starts_with("1/"), "{}", world.line());
    world.set_image("web:v3");
    let mut gone = 0;
    for plan in plans(&mut world) {
        let Some(status) = plan.status.as_ref().filter(|_| resizes(&plan)) else {
            continue;
        };
        gone += 1;
        assert!(status.pause_conditions.is_empty(), "{plan:?}");
    }
    assert!(gone > 0);
    assert!(
        !world.now_status().pause_conditions.is_empty(),
        "{}",
        world.line()
    );
}
