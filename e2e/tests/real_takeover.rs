//! Taking over from a running peer writes nothing, on a real control plane.
//!
//! The same as `sim_takeover` for all records at once, each in a namespace of its own; writes are
//! counted by the API server. `SLUICE_SKIP_CONTROLPLANE=1` leaves it out.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do, and tell what they measured"
)]

use std::time::{Duration, Instant};

use sluice_controller::Config;
use sluice_e2e::controlplane::{Options, User, left_out};
use sluice_e2e::stand::{Controller, Stand, StandOptions};
use sluice_e2e::takeover;
use sluice_e2e::toolchain::{self, Cache};

/// The controller's name in the audit log.
const USER: &str = "controller";
/// So long without a request, and it has come to rest.
const REST: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(120);

async fn taken_over(moment: &str) {
    if left_out() {
        return;
    }
    let fetch = || toolchain::istio_crds(&Cache::from_env()?);
    let crds = tokio::task::spawn_blocking(fetch).await.unwrap().unwrap();
    let plane = Options {
        users: vec![User::master(USER)],
        audit: true,
        ..Options::default()
    };
    let options = StandOptions {
        plane,
        crds,
        ..StandOptions::default()
    };
    let stand = Stand::start(options).await.unwrap();
    let mut loading = vec![];
    for case in takeover::cases().unwrap() {
        let space = stand.namespace(&format!("taken-{case}"));
        let objects = takeover::recorded(&case, moment).unwrap();
        loading.push(async move {
            space.create().await.unwrap();
            takeover::load(&space, objects, jiff::Timestamp::now())
                .await
                .unwrap();
        });
    }
    futures::future::join_all(loading).await;

    let mark = stand.plane.mark().unwrap();
    let client = stand.plane.client_for(USER).unwrap();
    let controller = Controller::start(Config::default(), client);
    let requests = || stand.plane.requests_since(mark).unwrap().of_user(USER);
    let (began, mut last, mut seen) = (Instant::now(), Instant::now(), 0);
    while seen == 0 || last.elapsed() < REST {
        let now = requests().count(|_| true);
        if now != seen {
            (seen, last) = (now, Instant::now());
        }
        assert!(
            began.elapsed() < DEADLINE,
            "it does not come to rest:\n{}",
            requests()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    controller.stop().await.unwrap();
    let requests = requests();
    println!("{moment}: {requests}");
    let writes = requests.count(|request| request.is_write() && request.resource != "events");
    stand.stop().await.unwrap();
    assert_eq!(writes, 0, "{moment}:\n{requests}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rollouts_at_rest_are_left_alone() {
    taken_over("1-rest").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promoted_rollouts_are_left_alone() {
    taken_over("4-promoted").await;
}
