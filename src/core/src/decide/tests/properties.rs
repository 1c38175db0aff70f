//! Random updates with random crashes: nothing panics, nothing jumps, everything comes to rest.

use proptest::prelude::*;

use super::{cluster, istio};
use crate::decide::decide;
use crate::explain::{Scene, State, explain};
use crate::observed::Seen;
use crate::plan::{Action, Plan};
use crate::replicas::Fences;
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, pause, pause_for, rollout, scale, weight};

#[derive(Clone, Debug)]
enum Deed {
    Image(u8),
    Break(u8),
    Heal,
    Promote,
    PromoteFull,
    Abort,
    Retry,
    Replicas(i32),
    Pause(bool),
    Wait(i64),
    /// Carry out only so many writes of the next plan.
    Crash(usize),
    Step,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        2 => (0..3u8).prop_map(Deed::Image),
        1 => (0..3u8).prop_map(Deed::Break),
        1 => Just(Deed::Heal),
        2 => Just(Deed::Promote),
        1 => Just(Deed::PromoteFull),
        1 => Just(Deed::Abort),
        1 => Just(Deed::Retry),
        1 => (0..8i32).prop_map(Deed::Replicas),
        1 => any::<bool>().prop_map(Deed::Pause),
        3 => (1..40i64).prop_map(Deed::Wait),
        2 => (0..5usize).prop_map(Deed::Crash),
        6 => Just(Deed::Step),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Basic,
    Routed,
    Dynamic,
    BlueGreen,
    Preview,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Basic),
        Just(Kind::Routed),
        Just(Kind::Dynamic),
        Just(Kind::BlueGreen),
        Just(Kind::Preview),
    ]
}

fn build(kind: Kind, replicas: i32) -> RolloutBuilder {
    let steps = || [weight(20), pause_for(5), weight(50), pause(), weight(80)];
    let plain = rollout("web").replicas(replicas);
    match kind {
        Kind::Basic => plain.canary(steps()),
        Kind::Routed => {
            istio(plain.canary([weight(20), pause_for(5), scale(3), pause(), weight(80)]))
        }
        Kind::Dynamic => {
            istio(plain.canary(steps())).strategy(|canary| canary.dynamic_stable_scale = true)
        }
        Kind::BlueGreen => plain.blue_green("active", "preview"),
        Kind::Preview => plain.blue_green("active", "preview").with(|r| {
            let spec = r.spec.strategy.blue_green.as_mut().unwrap();
            spec.auto_promotion_enabled = Some(false);
            spec.preview_replica_count = Some(1);
        }),
    }
}

fn image(version: u8) -> String {
    format!("web:v{}", version + 1)
}

fn available(world: &World, hash: &str) -> i32 {
    let set = world.set_of(hash);
    set.and_then(|set| set.status.as_ref())
        .map_or(0, |status| status.available_replicas)
}

/// What must hold of a plan, given the world that it was made for.
fn check(world: &World, plan: &Plan) -> Result<(), TestCaseError> {
    let status = world.now_status();
    let recorded = status.canary.weights.as_ref();
    for planned in &plan.actions {
        match &planned.action {
            Action::Route(want) if !want.only_remove_managed_routes && !want.keep_hashes => {
                prop_assert!(
                    (0..=want.max_weight).contains(&want.weight),
                    "INV-13 {want:?}"
                );
                let before = recorded.map_or(0, |weights| weights.canary.weight);
                let spec = &world.rollout.spec;
                let replicas = spec.replicas();
                let slack = spec.strategy.canary.as_ref().map_or(0, |canary| {
                    let (surge, down) =
                        (canary.max_surge.as_ref(), canary.max_unavailable.as_ref());
                    Fences::resolve(surge, down, replicas).unavailable
                });
                let sized = spec
                    .steps()
                    .iter()
                    .any(|step| step.set_canary_scale.is_some());
                // A canary that is dead already loses its share, whatever stable has.
                let behind =
                    recorded.map_or(0, |on| available(world, &on.canary.pod_template_hash));
                if want.weight > before {
                    let pods = available(world, &want.canary_hash);
                    prop_assert!(pods > 0, "INV-1 {want:?}");
                    let need = (replicas * want.weight + 99) / 100;
                    prop_assert!(
                        sized || pods + slack >= need,
                        "INV-2 {pods} of {need} {want:?}"
                    );
                } else if want.weight < before && behind > 0 {
                    let pods = available(world, &want.stable_hash);
                    let need = replicas * (100 - want.weight) / 100;
                    prop_assert!(pods + slack >= need, "INV-2 back {pods} of {need} {want:?}");
                }
            }
            Action::PatchReplicaSet { name, patch, .. } => {
                let Some(to) = patch
                    .pointer("/spec/replicas")
                    .and_then(serde_json::Value::as_i64)
                else {
                    continue;
                };
                let set = &world.sets[name];
                let hash = set.pod_hash().unwrap();
                let weights = recorded.filter(|_| world.rollout.spec.traffic_routing().is_some());
                if let Some(weights) = weights {
                    let from = i64::from(set.spec.replicas.unwrap());
                    let share: i32 = [&weights.canary, &weights.stable]
                        .into_iter()
                        .filter(|destination| destination.pod_template_hash == hash)
                        .map(|destination| destination.weight)
                        .sum();
                    let need = i64::from(world.rollout.spec.replicas()) * i64::from(share);
                    let need = (need + 99) / 100;
                    let fixed = share > 0 && status.canary.weights.is_some() && to < need;
                    let scaled = world
                        .rollout
                        .spec
                        .steps()
                        .iter()
                        .any(|s| s.set_canary_scale.is_some());
                    prop_assert!(
                        to >= from || !fixed || scaled,
                        "INV-3 {name} {from} -> {to}, share {share}"
                    );
                }
                let selected = world.services.iter().any(|(service, view)| {
                    view.pod_hash() == hash && (service == "active" || service == "web-stable")
                });
                prop_assert!(
                    !(selected && to == 0 && world.rollout.spec.replicas() > 0),
                    "INV-3 {name} serves"
                );
            }
            _ => {}
        }
    }
    availability(world, plan)?;
    if plan.is_quiet(world.rollout.status.as_ref()) {
        let resting = status.phase.as_str() == "Healthy";
        prop_assert!(resting || !plan.why.is_empty(), "INV-15 {}", world.line());
        explained(world, plan, resting)?;
    }
    Ok(())
}

/// INV-15: whatever is waited for can be told: on which object, and what moves it or when it ends.
fn explained(world: &World, plan: &Plan, resting: bool) -> Result<(), TestCaseError> {
    let told = explain(&Scene {
        seen: &world.observe(),
        plan,
        pods: &[],
        holders: Seen::Unread(String::new()),
        unread: &[],
        now: world.now,
    });
    prop_assert!(!told.summary.contains(": ."), "{}", told.summary);
    prop_assert!(
        resting || told.state == State::Resting || !told.waits.is_empty(),
        "{told:?}"
    );
    for wait in &told.waits {
        let asks = wait.headline.starts_with("a person");
        prop_assert!(!asks || wait.command.is_some(), "{wait:?}");
        prop_assert!(wait.reason != "Paused" || wait.until.is_some(), "{wait:?}");
        prop_assert!(
            wait.object.contains('/') && !wait.message.is_empty(),
            "{wait:?}"
        );
    }
    Ok(())
}

/// INV-4: a plan alone never takes available pods below `replicas - maxUnavailable`.
fn availability(world: &World, plan: &Plan) -> Result<(), TestCaseError> {
    let spec = &world.rollout.spec;
    let replicas = spec.replicas();
    let slack = match &spec.strategy.canary {
        Some(canary) => {
            let (surge, down) = (canary.max_surge.as_ref(), canary.max_unavailable.as_ref());
            Fences::resolve(surge, down, replicas).unavailable
        }
        None => Fences::blue_green_unavailable(None, replicas),
    };
    let (mut before, mut after) = (0, 0);
    for (name, set) in &world.sets {
        let now = set
            .status
            .as_ref()
            .map_or(0, |status| status.available_replicas);
        let to = plan
            .actions
            .iter()
            .find_map(|planned| match &planned.action {
                Action::PatchReplicaSet {
                    name: patched,
                    patch,
                    ..
                } if patched == name => patch
                    .pointer("/spec/replicas")
                    .and_then(serde_json::Value::as_i64),
                _ => None,
            });
        before += now;
        after += to.map_or(now, |to| now.min(i32::try_from(to).unwrap()));
    }
    let floor = (replicas - slack).min(before);
    prop_assert!(after >= floor, "INV-4 {before} -> {after} of {replicas}");
    Ok(())
}

fn perform(world: &mut World, deed: &Deed) -> Result<(), TestCaseError> {
    let mut limit = usize::MAX;
    match deed {
        Deed::Image(version) => world.set_image(&image(*version)),
        Deed::Break(version) => {
            world.broken.insert(image(*version));
        }
        Deed::Heal => world.broken.clear(),
        Deed::Promote => world.promote(),
        Deed::PromoteFull => world.promote_full(),
        Deed::Abort => world.abort(),
        Deed::Retry => world.retry(),
        Deed::Replicas(replicas) => world.edit(|r| r.spec.replicas = Some(*replicas)),
        Deed::Pause(paused) => world.edit(|r| r.spec.paused = *paused),
        Deed::Wait(seconds) => world.advance(*seconds),
        Deed::Crash(writes) => limit = *writes,
        Deed::Step => {}
    }
    let seen = world.observe();
    let plan = decide(&seen, world.now);
    prop_assert_eq!(
        format!("{:?}", plan),
        format!("{:?}", decide(&seen, world.now))
    );
    check(world, &plan)?;
    world.execute(&plan, limit);
    world.play();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(7),
        ..ProptestConfig::default()
    })]

    /// INV-1, 3, 8, 13, 15, and at the end: once nothing fails any more, a promoted Rollout gets
    /// there.
    #[test]
    fn updates_survive(
        kind in kind(),
        replicas in 0..7i32,
        startup in 0..12i64,
        deeds in prop::collection::vec(deed(), 1..40),
    ) {
        let mut world = cluster(build(kind, replicas));
        world.settle();
        world.startup = startup;
        world.set_image(&image(1));
        for deed in &deeds {
            perform(&mut world, deed)?;
        }
        world.broken.clear();
        world.edit(|r| r.spec.paused = false);
        for _ in 0..80 {
            perform(&mut world, &Deed::Wait(7))?;
        }
        world.settle();
        if world.now_status().abort {
            world.retry();
        }
        for _ in 0..80 {
            perform(&mut world, &Deed::PromoteFull)?;
            perform(&mut world, &Deed::Wait(7))?;
        }
        world.status(|status| status.promote_full = false);
        world.advance(100);
        world.settle();
        let status = world.now_status();
        prop_assert_eq!(status.phase.as_str(), "Healthy", "{}", world.line());
        prop_assert_eq!(&status.stable_rs, &status.current_pod_hash);
        let hash = sluice_crds::hash::pod_template_hash(&world.rollout.spec.template, None);
        prop_assert_eq!(&status.current_pod_hash, &hash, "FLT-24");
        if let Some(weights) = &status.canary.weights {
            prop_assert_eq!(weights.canary.weight, 0);
        }
    }
}

/// The whole of a decision stays cheap where there is a lot to look at.
#[test]
fn large_rollouts_settle() {
    let steps = (1..=10).flat_map(|i| [weight(i * 10), pause_for(1)]);
    let mut world = cluster(istio(rollout("web").replicas(100).canary(steps)));
    world.settle();
    world.set_image("web:v2");
    for _ in 0..60 {
        world.after(2);
    }
    assert_eq!(
        world.now_status().phase.as_str(),
        "Healthy",
        "{}",
        world.line()
    );
}
