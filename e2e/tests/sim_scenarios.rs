//! Every scenario file on the simulated cluster, in virtual time.
//!
//! `SLUICE_SCENARIO=name` plays only that one (or several, with commas), `SLUICE_SEED=n` with that seed.

use std::path::Path;
use std::time::Instant;

use sluice_e2e::scenario::format::{Ring, Scenario};
use sluice_e2e::scenario::runner::play;
use sluice_e2e::scenario::world::World;

fn run(scenario: &Scenario, root: &Path, seed: u64) -> anyhow::Result<()> {
    let documents = scenario.documents(root)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()?;
    let result = runtime.block_on(async {
        let mut world = World::simulated(seed, scenario).await?;
        play(&mut world, scenario, &documents).await
    });
    runtime.shutdown_background();
    result
}

#[test]
fn scenarios_come_true_in_the_simulation() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.join("..");
    let only = std::env::var("SLUICE_SCENARIO").ok();
    let only_seed: Option<u64> = std::env::var("SLUICE_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    if std::env::var_os("SLUICE_LOG").is_some() {
        let _ = tracing_subscriber::fmt()
            .with_env_filter("sluice=debug")
            .try_init();
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut failures = Vec::new();
    for scenario in Scenario::load_all(&here.join("scenarios")).unwrap() {
        if only
            .as_ref()
            .is_some_and(|only| !only.split(',').any(|one| one == scenario.name))
        {
            continue;
        }
        if let Some(why) = scenario.obstacle(Ring::Sim) {
            println!("{}: left out: {why}", scenario.name);
            continue;
        }
        let seeds = only_seed.map_or(1..=scenario.seeds, |seed| seed..=seed);
        for seed in seeds {
            let started = Instant::now();
            match run(&scenario, &root, seed) {
                Ok(()) => {
                    println!("{} seed {seed}: ok, {:?}", scenario.name, started.elapsed());
                }
                Err(error) => {
                    println!("{} seed {seed}: FAILED", scenario.name);
                    failures.push(format!(
                        "{} (SLUICE_SCENARIO={} SLUICE_SEED={seed}): {error:#}",
                        scenario.name, scenario.name
                    ));
                    break;
                }
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} scenarios failed:\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}
