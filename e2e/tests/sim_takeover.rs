//! Taking over from a running peer, on the simulated cluster in virtual time.
//!
//! The records of `fixtures/peer` at rest and after a promotion are loaded, the controller starts, ten
//! minutes pass, and nothing is written. In the middle of an update and after an abort everything stands
//! as it stood until somebody promotes or retries; then each further step comes once, and the update ends
//! well.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do, and tell what they measured"
)]

use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use sluice_controller::Config;
use sluice_controller::clock::Clock;
use sluice_e2e::records::play::{Stage, rollout};
use sluice_e2e::stand::{Controller, Namespace, text};
use sluice_e2e::takeover::{self, onward};
use sluice_sim::{Cluster, ClusterOptions, Kubelet, KubeletOptions};

/// User agent of the controller under test.
const AGENT: &str = "sluice-controller";

struct SimClock(sluice_sim::Clock);

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// What the controller wrote within ten minutes, and what it meant to; empty when nothing.
async fn writes(case: &str, moment: &str) -> String {
    let clock = sluice_sim::Clock::tokio_at(Timestamp::from_second(1_800_000_000).unwrap());
    let cluster = Cluster::new(ClusterOptions {
        clock: clock.clone(),
        ..ClusterOptions::default()
    });
    cluster.install_definitions().unwrap();
    let _control = cluster.start();
    let options = KubeletOptions {
        clock: clock.clone(),
        ..KubeletOptions::default()
    };
    let _kubelet = Kubelet::new(cluster.client_as("kubelet"), options).start();
    let space = Namespace::new(cluster.client_as("user"), "default");
    let objects = takeover::recorded(case, moment).unwrap();
    takeover::load(&space, objects, clock.now()).await.unwrap();

    let plans = Arc::new(Mutex::new(String::new()));
    let noted = plans.clone();
    let config = Config {
        clock: Arc::new(SimClock(clock)),
        on_plan: Some(Arc::new(move |seen, plan| {
            let mut noted = noted.lock().unwrap();
            let before = serde_json::to_value(&seen.rollout.status).unwrap();
            let after = serde_json::to_value(&plan.status).unwrap();
            let actions: Vec<_> = plan.actions.iter().map(|one| &one.action).collect();
            if !actions.is_empty() || !after.is_null() && before != after {
                writeln!(noted, "  {actions:?}\n  before {before}\n  after  {after}").unwrap();
            }
        })),
        ..Config::default()
    };
    let controller = Controller::start(config, cluster.client_as(AGENT));
    tokio::time::sleep(Duration::from_secs(600)).await;
    controller.stop().await.unwrap();
    let mut found = String::new();
    let mut passes = 0;
    for entry in cluster.requests().entries() {
        if !entry.user_agent.contains(AGENT) {
            continue;
        }
        passes += 1;
        if entry.verb.writes() && entry.resource != "leases" {
            let (verb, resource, sub) = (entry.verb, &entry.resource, &entry.subresource);
            writeln!(
                found,
                "{case}/{moment}: {verb:?} {resource}/{sub} {}",
                entry.name
            )
            .unwrap();
        }
    }
    assert!(passes > 5, "{case}: the controller did not run");
    if !found.is_empty() {
        found += &plans.lock().unwrap();
    }
    found
}

#[tokio::test(start_paused = true)]
async fn taking_over_writes_nothing() {
    let mut found = String::new();
    for case in takeover::cases().unwrap() {
        for moment in takeover::AT_REST {
            found += &writes(&case, moment).await;
        }
    }
    assert!(found.is_empty(), "{found}");
}

/// Takes over at a moment at which the update is under way or aborted, and brings it to its end.
async fn goes_on(case: &str, moment: &str) -> anyhow::Result<()> {
    let stage = Stage::new(case).await?;
    let recorded = takeover::recorded(case, moment)?;
    let (name, image) = rollout(&recorded)?;
    let then = recorded.iter().find(|one| text(one, "/kind") == "Rollout");
    let then = then.cloned().unwrap_or_default();
    takeover::load(&stage.space, recorded, stage.now()).await?;
    let standing = onward::standing(&stage.space).await?;
    let controller = stage.controller(AGENT);
    tokio::time::sleep(Duration::from_secs(10)).await;
    onward::stands(&stage.space, case, moment, &then, &standing).await?;
    let writes = stage
        .cluster
        .requests()
        .entries()
        .into_iter()
        .filter(|entry| {
            // Nothing is written to say again what is there; what measures goes on measuring.
            let measures = ["analysisruns", "jobs", "events", "leases"];
            entry.user_agent.contains(AGENT)
                && entry.verb.writes()
                && !measures.contains(&entry.resource.as_str())
        });
    let writes: Vec<String> = writes
        .map(|entry| format!("{:?} {} {}", entry.verb, entry.resource, entry.name))
        .collect();
    anyhow::ensure!(
        writes.len() <= onward::touched(case, moment).len(),
        "{writes:?}"
    );
    onward::finish(&stage.space, case, &name, &image).await?;
    controller.stop().await?;
    let broken = stage.violations();
    anyhow::ensure!(broken.is_empty(), "{broken:?}");
    Ok(())
}

/// INV-14, FLT-23: no step is repeated or skipped, nothing jumps.
#[test]
fn updates_go_on_from_where_they_are() {
    let mut failures = String::new();
    for case in takeover::cases().unwrap() {
        for moment in takeover::UNDER_WAY.into_iter().chain([takeover::ABORTED]) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .unwrap();
            let result = runtime.block_on(goes_on(&case, moment));
            runtime.shutdown_background();
            if let Err(error) = result {
                writeln!(failures, "{case}/{moment}: {error:#}").unwrap();
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
