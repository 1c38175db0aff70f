//! A thousand Rollouts at rest cost nothing: an hour of virtual time passes without a write, without a
//! LIST, and without growth.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail as tests do, and tell what they measured"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sluice_e2e::idle::{AGENT, KINDS, at_rest, cluster, controller, fill};
use sluice_e2e::stand::ARGO;
use sluice_sim::Cluster;

const ROLLOUTS: usize = 1000;
const MINUTE: Duration = Duration::from_secs(60);
/// Growth that is not growth: the allocator's own doings, in MiB.
const SLACK: f64 = 2.0;

/// Resident memory, in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib / 1024.0
}

/// The controller's requests by verb and resource; the log is emptied.
fn asked(cluster: &Cluster) -> BTreeMap<String, u64> {
    let counts = cluster.requests().counts(AGENT);
    cluster.requests().clear();
    counts
}

/// INV-8, INV-16, D14, design §5: nothing is written, listed or kept while nothing happens.
#[tokio::test(start_paused = true)]
async fn a_thousand_rollouts_rest_for_free() {
    let began = Instant::now();
    let clock = sluice_sim::Clock::tokio_at(Timestamp::from_second(1_800_000_000).unwrap());
    let objects = at_rest(&clock).await.unwrap();
    let settled = began.elapsed();
    let cluster = cluster(&clock).unwrap();
    fill(&cluster, &objects, ROLLOUTS / KINDS).await.unwrap();
    let placed = began.elapsed();
    cluster.requests().clear();
    let revision = cluster.revision();

    let controller = controller(&cluster, &clock);
    tokio::time::sleep(MINUTE).await;
    let start = asked(&cluster);
    tokio::time::sleep(31 * MINUTE).await;
    let (first, before) = (asked(&cluster), resident());
    tokio::time::sleep(31 * MINUTE).await;
    let (second, after) = (asked(&cluster), resident());
    controller.stop().await.unwrap();
    println!(
        "{} Rollouts; {settled:?} until one of each rests, {placed:?} until all are there, {:?} in \
         all; at start {start:#?}; in an hour {first:#?} {second:#?}; {before:.1}, then {after:.1} MiB",
        cluster.list(ARGO, "Rollout", "", "").len(),
        began.elapsed(),
    );
    assert_eq!(cluster.list(ARGO, "Rollout", "", "").len(), ROLLOUTS);
    assert_eq!(cluster.revision(), revision, "something was written");
    for (request, count) in first.iter().chain(&second) {
        assert!(request.starts_with("watch "), "{count} × {request}");
    }
    assert!(
        after <= before + SLACK,
        "{before:.1} MiB became {after:.1} MiB"
    );
}
