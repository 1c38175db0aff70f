//! Random schedules for the whole controller on the simulated cluster.
//!
//! `SLUICE_SCHEDULES=FROM..TO` plays other seeds than the fixed ones, `SLUICE_SCHEDULE=SEED[:EVENTS]`
//! one of them or a part of it; `cargo xtask sim --whole` sets both.

use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, anyhow};
use futures::FutureExt;
use sluice_core::testing::fuzz::{Case, fewest};
use sluice_e2e::scenario::runner::play;
use sluice_e2e::scenario::world::World;
use sluice_e2e::schedules::{length, scenario};

/// Seeds of every run of the tests.
const SEEDS: std::ops::Range<u64> = 0..120;

/// Failures after which no further seeds are played.
const ENOUGH: usize = 5;

fn run(case: &Case) -> Result<()> {
    let scenario = scenario(case)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()?;
    let played = runtime.block_on(
        AssertUnwindSafe(async {
            let mut world = World::simulated(case.seed, &scenario).await?;
            play(&mut world, &scenario, &scenario.manifests).await
        })
        .catch_unwind(),
    );
    runtime.shutdown_background();
    played.unwrap_or_else(|_| Err(anyhow!("panicked")))
}

/// What a failure is about: the invariant, or that the end was not reached.
fn about(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    match text.find("INV-") {
        Some(at) => text
            .get(at..)
            .unwrap_or_default()
            .split(':')
            .next()
            .unwrap_or_default()
            .to_owned(),
        None if text.contains("never so") => "never so".to_owned(),
        None if text.contains("writes although") => "not at rest".to_owned(),
        None => "other".to_owned(),
    }
}

fn shrunk(case: &Case, error: &anyhow::Error) -> Result<Case> {
    let wanted = about(error);
    let all = (0..length(case.seed)?).collect();
    let kept = fewest(all, |kept| {
        let part = Case {
            seed: case.seed,
            kept: Some(kept.to_vec()),
        };
        run(&part).is_err_and(|error| about(&error) == wanted)
    });
    Ok(Case {
        seed: case.seed,
        kept: Some(kept),
    })
}

fn seeds() -> Result<std::ops::Range<u64>> {
    let Ok(text) = std::env::var("SLUICE_SCHEDULES") else {
        return Ok(SEEDS);
    };
    let (from, to) = text.split_once("..").context("SLUICE_SCHEDULES=FROM..TO")?;
    Ok(from.parse()?..to.parse()?)
}

/// INV-1 to INV-16 under FLT-1 to FLT-4, 16, 25 to 27, 38: whatever the API server, the watches, the
/// lease, the pods, the providers and the users do.
#[test]
fn random_schedules_break_nothing() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    if std::env::var_os("SLUICE_LOG").is_some() {
        let _ = tracing_subscriber::fmt()
            .with_env_filter("sluice=debug")
            .try_init();
    }
    if let Ok(text) = std::env::var("SLUICE_SCHEDULE") {
        let case: Case = text.parse().map_err(|error: String| anyhow!(error))?;
        for (index, step) in scenario(&case)?.steps.iter().enumerate() {
            println!("{}. {step:?}", index + 1);
        }
        return run(&case);
    }
    let seeds = seeds()?;
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let enough = failed.lock().is_ok_and(|failed| failed.len() >= ENOUGH);
                    if seed >= seeds.end || enough {
                        break;
                    }
                    let case = Case::of(seed);
                    if let Err(error) = run(&case)
                        && let Ok(mut failed) = failed.lock()
                    {
                        println!("{case}: {error:#}\n");
                        failed.push((case, error));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    let mut texts = Vec::new();
    for (case, error) in &failed {
        let small = shrunk(case, error)?;
        let now = run(&small)
            .err()
            .map_or_else(|| "it holds now".to_owned(), |e| format!("{e:#}"));
        texts.push(format!("cargo xtask sim --whole --replay {small}\n  {now}"));
    }
    assert!(
        texts.is_empty(),
        "{} schedules failed:\n\n{}",
        texts.len(),
        texts.join("\n\n")
    );
    println!("{} schedules", seeds.end - seeds.start);
    Ok(())
}
