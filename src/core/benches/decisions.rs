//! What one decision costs. The controller makes one per event, so these numbers times the event
//! rate are its own CPU time.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;
use sluice_core::analysis_run::{ObservedRun, decide_run};
use sluice_core::decide::decide;
use sluice_core::invariants;
use sluice_core::observed::Observed;
use sluice_core::replicas::basic::{Sizes, next};
use sluice_core::replicas::{Fences, RsCount};
use sluice_core::testing::world::World;
use sluice_core::testing::{RolloutBuilder, analysis_run, at, pause, rollout, weight};
use sluice_crds::{RawPodTemplate, Rollout};

fn replicas(c: &mut Criterion) {
    let percent = IntOrString::String("25%".to_owned());
    let fences = Fences::resolve(Some(&percent), Some(&percent), 100);
    let others = [RsCount::new(3, 3), RsCount::new(0, 0)];
    let sizes = Sizes {
        replicas: 100,
        weight: 37,
        fences,
        new: Some(RsCount::new(12, 9)),
        stable: Some(RsCount::new(90, 88)),
        others: &others,
        held: 0,
    };
    c.bench_function("replicas/next", |b| b.iter(|| next(black_box(&sizes))));
}

fn basic() -> RolloutBuilder {
    rollout("web")
        .replicas(10)
        .canary([weight(20), pause(), weight(50), pause()])
}

fn routed() -> RolloutBuilder {
    basic()
        .strategy(|canary| {
            canary.canary_service = "canary".into();
            canary.stable_service = "stable".into();
        })
        .routed(json!({"smi": {}}))
}

/// The design's case: twenty steps, a third revision on top of two that are there.
fn long() -> RolloutBuilder {
    let steps = (1..=10).flat_map(|n| [weight(n * 9), pause()]);
    rollout("web")
        .replicas(10)
        .canary(steps)
        .strategy(|canary| {
            canary.canary_service = "canary".into();
            canary.stable_service = "stable".into();
        })
        .routed(json!({"smi": {}}))
}

/// The same with a pod template that nobody has hashed or compared yet, as after a change.
fn fresh(seen: &Observed) -> Observed {
    let mut seen = seen.clone();
    let mut rollout = Rollout::clone(&seen.rollout);
    rollout.spec.template = RawPodTemplate::new(&rollout.spec.template.value());
    seen.rollout = rollout.into();
    seen
}

/// The pass that creates a ReplicaSet, and a pass in mid-update, with three ReplicaSets.
fn third_revision(c: &mut Criterion) {
    let mut world = World::new(long());
    world.settle();
    world.set_image("web:v2");
    world.settle();
    world.promote_full();
    world.settle();
    world.set_image("web:v3");
    let begin = (world.observe(), world.now);
    assert_eq!(begin.0.replica_sets.len(), 2);
    let mut group = c.benchmark_group("decide");
    group.bench_function("begin/third of twenty steps", |b| {
        b.iter_batched_ref(
            || fresh(&begin.0),
            |seen| decide(black_box(seen), begin.1),
            BatchSize::SmallInput,
        );
    });
    world.settle();
    let paused = (world.observe(), world.now);
    assert_eq!(paused.0.replica_sets.len(), 3);
    group.bench_function("paused/third of twenty steps", |b| {
        b.iter_batched_ref(
            || fresh(&paused.0),
            |seen| decide(black_box(seen), paused.1),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn decisions(c: &mut Criterion) {
    let kinds = [
        ("basic", basic()),
        ("routed", routed()),
        (
            "blue-green",
            rollout("web").replicas(10).blue_green("active", "preview"),
        ),
    ];
    let mut group = c.benchmark_group("decide");
    for (kind, builder) in kinds {
        let mut world = World::new(builder);
        world.settle();
        let rest = (world.observe(), world.now);
        group.bench_with_input(BenchmarkId::new("rest", kind), &rest, |b, (seen, now)| {
            b.iter(|| decide(black_box(seen), *now));
        });
        world.set_image("web:v2");
        let begin = (world.observe(), world.now);
        group.bench_with_input(BenchmarkId::new("begin", kind), &begin, |b, (seen, now)| {
            b.iter(|| decide(black_box(seen), *now));
        });
        world.settle();
        let paused = (world.observe(), world.now);
        group.bench_with_input(
            BenchmarkId::new("paused", kind),
            &paused,
            |b, (seen, now)| {
                b.iter(|| decide(black_box(seen), *now));
            },
        );
        let plan = decide(&paused.0, paused.1);
        group.bench_with_input(BenchmarkId::new("check", kind), &paused, |b, (seen, _)| {
            b.iter(|| invariants::check(black_box(seen), &plan));
        });
    }
    group.finish();
}

fn runs(c: &mut Criterion) {
    let metrics = (0..5).map(|n| {
        json!({"name": format!("m{n}"), "interval": "1m", "provider": {"web": {"url": "http://x/{{args.n}}"}}})
    });
    let mut run = analysis_run("r", metrics);
    run.spec.args =
        serde_json::from_value(json!([{"name": "n", "value": "1"}])).unwrap_or_default();
    let seen = ObservedRun {
        run: run.into(),
        ..ObservedRun::default()
    };
    c.bench_function("analysis run", |b| {
        b.iter(|| decide_run(black_box(&seen), at(5)))
    });
}

/// A whole canary, from the new image to the promotion: every decision, every pod, every second.
fn updates(c: &mut Criterion) {
    let mut group = c.benchmark_group("update");
    group.throughput(Throughput::Elements(1));
    for (kind, builder) in [("basic", basic()), ("routed", routed())] {
        let mut world = World::new(builder);
        world.settle();
        group.bench_function(kind, |b| {
            b.iter_batched(
                || world.clone(),
                |mut world| {
                    world.set_image("web:v2");
                    world.settle();
                    world.promote();
                    world.settle();
                    world.promote();
                    world.settle();
                    assert_eq!(
                        world.now_status().stable_rs,
                        world.now_status().current_pod_hash
                    );
                    world
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, replicas, decisions, third_revision, runs, updates);
criterion_main!(benches);
