//! Taking over from a running peer, on a real control plane.
//!
//! The same as `sim_takeover` for all records at once, each in a namespace of its own; writes at rest are
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
use sluice_e2e::controlplane::{Mark, Options, Request, User, left_out};
use sluice_e2e::records::play::rollout;
use sluice_e2e::stand::{Controller, Namespace, Stand, StandOptions, text};
use sluice_e2e::takeover::{self, onward};
use sluice_e2e::toolchain::{self, Cache};

/// The controller's name in the audit log.
const USER: &str = "controller";
/// So long without a request, and it has come to rest.
const REST: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(120);
/// What goes on by itself while an update waits for somebody: measuring.
const MEASURING: [&str; 3] = ["analysisruns", "jobs", "events"];

/// A control plane with all records of a moment in it, a namespace each; none where it is left out.
async fn loaded(moment: &str) -> Option<(Stand, Vec<(String, Namespace)>)> {
    if left_out() {
        return None;
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
            (case, space)
        });
    }
    let spaces = futures::future::join_all(loading).await;
    Some((stand, spaces))
}

/// Waits until the controller has begun and no longer sends such requests.
async fn rest(stand: &Stand, mark: Mark, such: impl Fn(&Request) -> bool) {
    let requests = || stand.plane.requests_since(mark).unwrap().of_user(USER);
    let (began, mut last, mut seen) = (Instant::now(), Instant::now(), 0);
    while seen == 0 || last.elapsed() < REST {
        let now = requests().count(&such);
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
}

async fn taken_over(moment: &str) {
    let Some((stand, _)) = loaded(moment).await else {
        return;
    };
    let mark = stand.plane.mark().unwrap();
    let client = stand.plane.client_for(USER).unwrap();
    let controller = Controller::start(Config::default(), client);
    rest(&stand, mark, |_| true).await;
    controller.stop().await.unwrap();
    let requests = stand.plane.requests_since(mark).unwrap().of_user(USER);
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

/// What waits for somebody stays as it is; then all go on at once.
async fn go_on(moment: &str) {
    let Some((stand, spaces)) = loaded(moment).await else {
        return;
    };
    let mut standing = vec![];
    for (_, space) in &spaces {
        standing.push(onward::standing(space).await.unwrap());
    }
    let (began, mark) = (Instant::now(), stand.plane.mark().unwrap());
    let client = stand.plane.client_for(USER).unwrap();
    let controller = Controller::start(Config::default(), client);
    let measures = |request: &Request| MEASURING.contains(&request.resource.as_str());
    rest(&stand, mark, |request| !measures(request)).await;
    let going = spaces
        .iter()
        .zip(&standing)
        .map(|((case, space), then)| async move {
            let recorded = takeover::recorded(case, moment)?;
            let (name, image) = rollout(&recorded)?;
            let was = recorded.iter().find(|one| text(one, "/kind") == "Rollout");
            onward::stands(space, case, moment, was.unwrap(), then).await?;
            onward::finish(space, case, &name, &image).await
        });
    let ended = futures::future::join_all(going).await;
    println!("{moment}: all went on within {:?}", began.elapsed());
    controller.stop().await.unwrap();
    stand.stop().await.unwrap();
    let failures: Vec<String> = spaces
        .iter()
        .zip(ended)
        .filter_map(|((case, _), ended)| Some(format!("{case}: {:#}", ended.err()?)))
        .collect();
    assert!(failures.is_empty(), "{moment}:\n{}", failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_go_on_from_where_they_are() {
    go_on("2-mid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn second_updates_go_on_from_where_they_are() {
    go_on("5-mid-v3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aborted_updates_stay_aborted_until_they_are_retried() {
    go_on(takeover::ABORTED).await;
}
