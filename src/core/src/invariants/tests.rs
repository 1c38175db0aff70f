use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;
use sluice_crds::ReplicaSet;
use sluice_crds::rollout::RolloutPhase;

use super::*;
use crate::decide::decide;
use crate::observed::Observed;
use crate::plan::{Action, Plan};
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, pause, pause_for, replica_set, rollout, weight};
use crate::traffic::Want;

fn observed(builder: &RolloutBuilder, sets: Vec<Arc<ReplicaSet>>) -> Observed {
    let world = World::new(builder.clone());
    Observed {
        replica_sets: sets,
        ..world.observe()
    }
}

fn size(set: &Arc<ReplicaSet>, replicas: i32) -> Action {
    Action::PatchReplicaSet {
        name: set.metadata.name.clone().unwrap(),
        guard: set.metadata.resource_version.clone().unwrap(),
        patch: json!({"spec": {"replicas": replicas}}),
    }
}

fn doing(actions: impl IntoIterator<Item = Action>) -> Plan {
    Plan {
        actions: actions.into_iter().map(Into::into).collect(),
        ..Plan::default()
    }
}

const NONE: [u8; 0] = [];

fn rules(seen: &Observed, plan: &Plan) -> Vec<u8> {
    let mut rules: Vec<u8> = check(seen, plan).into_iter().map(|v| v.rule).collect();
    rules.dedup();
    rules
}

fn web(sets: &[(&str, i32, i32)]) -> (RolloutBuilder, Vec<Arc<ReplicaSet>>) {
    let builder = rollout("web")
        .replicas(10)
        .canary([weight(20), pause()])
        .status(|s| {
            s.current_pod_hash = "b".into();
            s.stable_rs = "a".into();
            s.current_step_index = Some(0);
        });
    let sets = sets
        .iter()
        .zip(1..)
        .map(|((hash, spec, available), revision)| {
            replica_set(&builder, hash, revision)
                .size(*spec, *available)
                .build()
        });
    let sets = sets.collect();
    (builder, sets)
}

fn want(weight: i32) -> Want {
    Want {
        canary_hash: "b".into(),
        stable_hash: "a".into(),
        canary_service: String::new(),
        stable_service: String::new(),
        weight,
        max_weight: 100,
        additional: Vec::new(),
        header_route: None,
        mirror_route: None,
        remove_managed_routes: false,
        only_remove_managed_routes: false,
        weight_before_hash: false,
        keep_hashes: false,
    }
}

fn route(weight: i32) -> Action {
    Action::Route(Box::new(want(weight)))
}

/// INV-4, INV-5: budgets of a basic canary.
#[test]
fn budgets() {
    let (builder, sets) = web(&[("a", 10, 10), ("b", 0, 0)]);
    let seen = observed(&builder, sets.clone());
    assert_eq!(
        rules(&seen, &doing([size(&sets[0], 8)])),
        NONE,
        "two may be missing"
    );
    assert_eq!(rules(&seen, &doing([size(&sets[0], 7)])), [4]);
    assert_eq!(rules(&seen, &doing([size(&sets[0], 0)])), [4]);
    assert_eq!(rules(&seen, &doing([size(&sets[1], 3)])), NONE);
    assert_eq!(rules(&seen, &doing([size(&sets[1], 4)])), [5]);
    let gone = doing([Action::DeleteReplicaSet {
        name: "web-a".into(),
    }]);
    assert_eq!(
        check(&seen, &gone)[0].to_string(),
        "INV-4 ReplicaSet/web-a: is deleted while it has pods"
    );
    let stale = Action::PatchReplicaSet {
        name: "web-a".into(),
        guard: "0".into(),
        patch: json!({}),
    };
    assert_eq!(rules(&seen, &doing([stale])), [6]);
}

/// INV-1, INV-2, INV-3, INV-10, INV-13
#[test]
fn traffic() {
    let (builder, sets) = web(&[("a", 10, 10), ("b", 2, 2)]);
    let weights = json!({"canary": {"weight": 20, "podTemplateHash": "b"}, "stable": {"weight": 80, "podTemplateHash": "a"}});
    let builder = builder.routed(json!({"smi": {}})).status(|s| {
        s.canary.weights = Some(serde_json::from_value(weights).unwrap());
    });
    let seen = observed(&builder, sets.clone());
    // A route that repeats what is on record is no movement: the plan has to say what it waits for.
    assert_eq!(rules(&seen, &doing([route(20)])), [15]);
    assert_eq!(
        rules(&seen, &doing([route(60)])),
        [2],
        "six pods' share on two"
    );
    assert_eq!(rules(&seen, &doing([route(-1)])), [13]);
    let mut much = want(90);
    much.additional.push(crate::traffic::Additional {
        weight: 20,
        service: "x".into(),
        pod_hash: "c".into(),
    });
    assert_eq!(
        rules(&seen, &doing([Action::Route(Box::new(much))])),
        [13, 2]
    );
    assert_eq!(rules(&seen, &doing([size(&sets[1], 1)])), [3]);
    assert_eq!(rules(&seen, &doing([size(&sets[0], 8)])), NONE);
    assert_eq!(rules(&seen, &doing([size(&sets[0], 7)])), [3]);
    let empty = observed(
        &builder,
        vec![
            sets[0].clone(),
            replica_set(&builder, "b", 2).size(2, 0).build(),
        ],
    );
    assert_eq!(rules(&empty, &doing([route(20)])), [1, 15]);
    let aborted = observed(&builder.clone().status(|s| s.abort = true), sets);
    assert_eq!(rules(&aborted, &doing([route(40)])), [10]);
}

/// INV-1 for Services
#[test]
fn selectors() {
    let (builder, sets) = web(&[("a", 10, 10), ("b", 2, 0)]);
    let builder = builder.strategy(|canary| canary.stable_service = "web".into());
    let mut seen = observed(&builder, sets);
    let moved = |hash: &str| Action::PatchService {
        name: "web".into(),
        patch: json!({"spec": {"selector": {"rollouts-pod-template-hash": hash}}}),
    };
    assert_eq!(rules(&seen, &doing([moved("b")])), NONE, "it served nobody");
    let view = crate::observed::ServiceView {
        selector: [("rollouts-pod-template-hash".to_owned(), "a".to_owned())].into(),
        managed_by: None,
    };
    seen.services
        .insert("web".into(), crate::observed::Seen::Found(view));
    assert_eq!(rules(&seen, &doing([moved("b")])), [1]);
    assert_eq!(rules(&seen, &doing([moved("a")])), NONE);
}

/// INV-6, INV-9, INV-14, INV-15
#[test]
fn intents() {
    let (builder, sets) = web(&[("a", 8, 8), ("b", 2, 2)]);
    let builder = builder.strategy(|canary| {
        canary.steps = vec![crate::testing::analysis("check"), pause()];
    });
    let next = |builder: &RolloutBuilder, change: fn(&mut sluice_crds::rollout::RolloutStatus)| {
        let mut status = builder.clone().build().status.unwrap();
        change(&mut status);
        Plan {
            status: Some(Box::new(status)),
            ..Plan::default()
        }
    };
    let seen = observed(&builder, sets.clone());
    assert_eq!(
        rules(&seen, &next(&builder, |s| s.current_step_index = Some(1))),
        [9, 14]
    );
    assert_eq!(rules(&seen, &Plan::default()), [15]);
    let later = builder.clone().status(|s| s.current_step_index = Some(1));
    let seen = observed(&later, sets.clone());
    assert_eq!(
        rules(&seen, &next(&later, |s| s.current_step_index = Some(0))),
        [14]
    );
    let aborted = builder.clone().status(|s| s.abort = true);
    let seen = observed(&aborted, sets.clone());
    assert_eq!(rules(&seen, &next(&aborted, |s| s.abort = false)), [6]);
    let full = builder.status(|s| s.promote_full = true);
    let seen = observed(&full, sets);
    assert_eq!(rules(&seen, &next(&full, |s| s.promote_full = false)), [6]);
}

/// INV-7, INV-11
#[test]
fn children() {
    let (builder, sets) = web(&[("a", 10, 10)]);
    let seen = observed(&builder, sets.clone());
    let make = |set: &Arc<ReplicaSet>| Action::CreateReplicaSet(Box::new((**set).clone()));
    assert_eq!(rules(&seen, &doing([make(&sets[0])])), [7]);
    let other = replica_set(&builder.clone().image("web:other"), "c", 3).build();
    assert_eq!(rules(&seen, &doing([make(&other)])), [11]);
    let right = replica_set(&builder, "c", 3).build();
    assert_eq!(rules(&seen, &doing([make(&right)])), NONE);
    assert_eq!(rules(&seen, &doing([make(&right), make(&right)])), [7]);
}

/// INV-8: a swinging selector.
#[test]
fn flapping() {
    let (builder, sets) = web(&[("a", 10, 10), ("b", 2, 2)]);
    let seen = observed(&builder, sets);
    let moved = |hash: &str| Action::PatchService {
        name: "canary".into(),
        patch: json!({"spec": {"selector": {"rollouts-pod-template-hash": hash}}}),
    };
    let mut trace = Trace::default();
    let mut found = Vec::new();
    for _ in 0..4 {
        found.extend(trace.push(&seen, &doing([moved("a")])));
        found.extend(trace.push(&seen, &doing([moved("b")])));
    }
    assert!(found.iter().any(|v| v.rule == 8), "{found:?}");
}

/// What may happen to a Rollout.
#[derive(Clone, Copy, Debug)]
enum Event {
    Image(u8),
    Abort,
    Retry,
    Promote,
    PromoteFull,
    Scale(i32),
    Break(u8),
    Mend,
    Pause,
    Resume,
    Wait(i64),
    /// Carry out only so many writes of the next plan, as after a crash.
    Crash(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (1..4u8).prop_map(Event::Image),
        2 => Just(Event::Abort),
        2 => Just(Event::Retry),
        4 => Just(Event::Promote),
        1 => Just(Event::PromoteFull),
        2 => (0..9i32).prop_map(Event::Scale),
        1 => (1..4u8).prop_map(Event::Break),
        1 => Just(Event::Mend),
        1 => Just(Event::Pause),
        1 => Just(Event::Resume),
        4 => (1..100i64).prop_map(Event::Wait),
        2 => (0..4usize).prop_map(Event::Crash),
    ];
    proptest::collection::vec(event, 1..14)
}

fn strategy(kind: u8) -> RolloutBuilder {
    let steps = [weight(25), pause(), weight(60), pause_for(20)];
    let web = rollout("web").replicas(4);
    let services = |web: RolloutBuilder| {
        web.strategy(|canary| {
            canary.canary_service = "canary".into();
            canary.stable_service = "stable".into();
        })
    };
    match kind {
        0 => web.canary(steps),
        1 => web.canary([]),
        2 => services(web.canary(steps)).routed(json!({"smi": {}})),
        3 => services(web.canary(steps))
            .routed(json!({"smi": {}}))
            .strategy(|c| c.dynamic_stable_scale = true),
        4 => web.blue_green("active", "preview"),
        _ => web.blue_green("active", "").with(|r| {
            r.spec
                .strategy
                .blue_green
                .as_mut()
                .unwrap()
                .auto_promotion_enabled = Some(false);
        }),
    }
}

/// Plays events against the decisions and checks each of them.
fn violations(kind: u8, events: &[Event], startup: i64) -> Vec<String> {
    let mut world = World::new(strategy(kind));
    world.startup = startup;
    let mut trace = Trace::default();
    let mut found = Vec::new();
    let turn = |world: &mut World, trace: &mut Trace, found: &mut Vec<String>, count: usize| {
        world.play();
        let seen = world.observe();
        let plan = decide(&seen, world.now);
        for violation in trace.push(&seen, &plan) {
            found.push(format!("{violation} [{}]", world.line()));
        }
        world.execute(&plan, count);
    };
    for event in std::iter::once(&Event::Wait(30)).chain(events) {
        let mut count = usize::MAX;
        match *event {
            Event::Image(version) => world.set_image(&format!("web:v{version}")),
            Event::Abort => world.abort(),
            Event::Retry => world.retry(),
            Event::Promote => world.promote(),
            Event::PromoteFull => world.promote_full(),
            Event::Scale(replicas) => world.edit(|r| r.spec.replicas = Some(replicas)),
            Event::Break(version) => {
                world.broken.insert(format!("web:v{version}"));
            }
            Event::Mend => world.broken.clear(),
            Event::Pause => world.edit(|r| r.spec.paused = true),
            Event::Resume => world.edit(|r| r.spec.paused = false),
            Event::Wait(seconds) => world.advance(seconds),
            Event::Crash(writes) => count = writes,
        }
        turn(&mut world, &mut trace, &mut found, count);
        for _ in 0..6 {
            turn(&mut world, &mut trace, &mut found, usize::MAX);
        }
        world.advance(startup);
    }
    found
}

fn settled(kind: u8, events: &[Event]) -> World {
    let mut world = World::new(strategy(kind));
    world.settle();
    for event in events {
        if let Event::Image(version) = *event {
            world.set_image(&format!("web:v{version}"));
        }
        world.settle();
    }
    world
}

/// FLT-16: nothing is written at rest.
#[test]
fn at_rest() {
    for kind in 0..6 {
        let mut world = settled(kind, &[Event::Image(2)]);
        world.promote_full();
        world.settle();
        world.after(100);
        world.after(1000);
        let writes = world.writes;
        world.after(100_000);
        assert_eq!(world.writes, writes, "{kind}: {}", world.line());
        assert_eq!(world.now_status().phase, RolloutPhase::Healthy, "{kind}");
    }
}

/// Shortest stories of what the property test has found.
#[test]
fn findings_stay_fixed() {
    use Event::{Abort, Break, Image, Pause, Promote, Scale, Wait};
    let stories: [(&str, u8, Vec<Event>, i64); 4] = [
        (
            "both sides of a paused canary grow at once, above the ceiling",
            0,
            vec![Image(2), Promote, Pause, Scale(7)],
            0,
        ),
        (
            "an aborted canary grows with a Rollout that is paused by hand",
            0,
            vec![Image(2), Pause, Wait(24), Abort, Scale(7)],
            5,
        ),
        (
            "a version without pods gets the weight of its predecessor's step while stable is small",
            3,
            vec![Image(3), Wait(2), Promote, Wait(4), Image(2)],
            1,
        ),
        (
            "the previous version goes at its deadline although the active one has no pod left",
            4,
            vec![Image(3), Wait(9), Break(3), Wait(74), Wait(9)],
            0,
        ),
    ];
    let broken: Vec<String> = stories
        .into_iter()
        .filter_map(|(name, kind, events, startup)| {
            let found = violations(kind, &events, startup);
            (!found.is_empty()).then(|| format!("{name}:\n{}", found.join("\n")))
        })
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 192,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    /// Every decision keeps every invariant, whatever happens.
    #[test]
    fn decisions_keep_them(kind in 0..6u8, events in events(), startup in 0..8i64) {
        let found = violations(kind, &events, startup);
        prop_assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
