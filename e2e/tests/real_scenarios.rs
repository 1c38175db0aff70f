//! Every scenario file that real time can express, on a real control plane: each in a namespace of
//! its own, with a controller that acts as the ServiceAccount of the namespaced install and may do
//! what its Role allows, no more.
//!
//! `SLUICE_SCENARIO=name` plays only that one (or several, with commas).

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sluice_e2e::controlplane::{self, ControlPlane, Options};
use sluice_e2e::node::Node;
use sluice_e2e::scenario::format::{Ring, Scenario};
use sluice_e2e::scenario::runner::play;
use sluice_e2e::scenario::world::{Scripts, World};
use sluice_e2e::toolchain::{Cache, istio_crds};
use sluice_sim::KubeletOptions;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Scenarios played at the same time.
const AT_ONCE: usize = 12;
/// No scenario takes longer in real time; one that does is stuck.
const LONGEST: Duration = Duration::from_secs(240);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn scenarios_come_true_on_a_real_control_plane() {
    if controlplane::left_out() {
        return;
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(all()).unwrap();
}

async fn all() -> Result<()> {
    let only = std::env::var("SLUICE_SCENARIO").ok();
    let mut scenarios = Vec::new();
    for scenario in Scenario::load_all(&root().join("e2e/scenarios"))? {
        if only
            .as_ref()
            .is_some_and(|only| !only.split(',').any(|one| one == scenario.name))
        {
            continue;
        }
        match scenario.obstacle(Ring::Real) {
            Some(why) => say(format_args!("{}: left out: {why}", scenario.name)),
            None => scenarios.push(scenario),
        }
    }
    let plane = start(&scenarios).await?;
    let pods = Scripts::default();
    let options = KubeletOptions {
        script: Some(pods.script()),
        run_commands: true,
        ..KubeletOptions::default()
    };
    let node = Node::start(plane.client()?, options).await?;
    let plane = Arc::new(plane);
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut playing = JoinSet::new();
    for scenario in scenarios {
        let (plane, turns, pods) = (Arc::clone(&plane), Arc::clone(&turns), pods.clone());
        playing.spawn(async move {
            let _turn = turns.acquire_owned().await;
            let started = Instant::now();
            let result = tokio::time::timeout(LONGEST, one(&plane, pods, &scenario)).await;
            let result = result.unwrap_or_else(|_| Err(anyhow::anyhow!("takes too long")));
            let word = if result.is_ok() { "ok" } else { "FAILED" };
            say(format_args!(
                "{}: {word}, {:?}",
                scenario.name,
                started.elapsed()
            ));
            result.with_context(|| scenario.name.clone())
        });
    }
    let mut failures = Vec::new();
    while let Some(ended) = playing.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failures.push(format!("{error:#}")),
            Err(error) => failures.push(format!("a scenario panicked: {error}")),
        }
    }
    node.stop().await;
    if let Ok(plane) = Arc::try_unwrap(plane) {
        plane.stop().await?;
    }
    anyhow::ensure!(
        failures.is_empty(),
        "{} scenarios failed:\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    Ok(())
}

/// Progress, for whoever watches.
fn say(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

async fn start(scenarios: &[Scenario]) -> Result<ControlPlane> {
    anyhow::ensure!(!scenarios.is_empty(), "no scenario to play");
    let istio = tokio::task::spawn_blocking(|| istio_crds(&Cache::from_env()?)).await??;
    let plane = ControlPlane::start(Options::default()).await?;
    for (_, definition) in sluice_crds::yaml::all() {
        plane.apply_yaml(&definition).await?;
    }
    plane.apply_yaml(&istio).await?;
    Ok(plane)
}

async fn one(plane: &ControlPlane, pods: Scripts, scenario: &Scenario) -> Result<()> {
    let namespace = scenario.name.as_str();
    let account = plane.service_account(namespace, "argo-rollouts").await?;
    for file in ["role.yaml", "role-binding.yaml"] {
        let path = root().join("deploy/kustomize/namespace-install").join(file);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        plane.apply_yaml_in(namespace, &text).await?;
    }
    let (user, controller) = (plane.client()?, account.client()?);
    let mut world = World::real(user, controller, namespace, pods, scenario).await?;
    play(&mut world, scenario, &scenario.documents(&root())?).await
}
