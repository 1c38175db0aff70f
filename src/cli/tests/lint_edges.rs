//! Every sharp edge of the specifications, and what `lint` says when a manifest shows it (CLI-34).
//!
//! `API` is the specification of the objects, `CTL` that of the controller, `ANA` that of analyses
//! and Experiments (whose edges are called ASE there). An edge is either told, by at least one case
//! of [`told`], or it stands in [`SILENT`] with the reason; [`every_edge_is_accounted_for`] sees to
//! that. Each case has a counterpart that is right and about which nothing is said.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod common;

#[path = "lint/case.rs"]
mod case;
#[path = "lint/of_analyses.rs"]
mod of_analyses;
#[path = "lint/of_rollouts.rs"]
mod of_rollouts;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use case::Case;
use common::plugin;
use serde_json::Value;

/// How many sharp edges each specification has.
const EDGES: [(&str, usize); 3] = [("API", 26), ("CTL", 34), ("ANA", 29)];

/// Edges about which nothing is said: no manifest shows them, or nobody is hurt.
const SILENT: &[(&str, &str)] = &[
    (
        "API 1",
        "who may write a status is no matter of manifests; only `status` is patched",
    ),
    (
        "API 7",
        "without its workload a Rollout is invalid before any ReplicaSet is claimed",
    ),
    ("API 9", "Experiments carry the hash of their ReplicaSet"),
    (
        "API 10",
        "runs that fail on their spec are completed, so that their TTL applies",
    ),
    (
        "API 11",
        "the history of revisions grows with revisions only",
    ),
    (
        "API 15",
        "whether the workload was seen is read from `workloadRef`",
    ),
    (
        "API 16",
        "the phase does not depend on the order of conditions",
    ),
    ("API 18", "texts of conditions and events"),
    ("API 19", "a Service that is no longer named loses its hash"),
    ("API 21", "arguments are put in as JSON"),
    (
        "API 22",
        "an invalid object is looked at every 20 s, and when what it names changes",
    ),
    ("API 23", "texts of events"),
    ("API 24", "events at a start are for new objects only"),
    (
        "API 26",
        "events are told once, and those that matter are never dropped",
    ),
    (
        "CTL 1",
        "ReplicaSets are recognised by either hash, and by what they run",
    ),
    ("CTL 2", "an aborted canary Service is left where it is"),
    (
        "CTL 5",
        "an aborted switch goes back as soon as stable can serve",
    ),
    ("CTL 6", "delays start once the traffic has left"),
    (
        "CTL 7",
        "a Service is cleaned up only when its Rollout is certainly gone",
    ),
    (
        "CTL 8",
        "a weight never rises above what the canary's pods can carry",
    ),
    ("CTL 9", "a superseded canary keeps its delay"),
    ("CTL 10", "a step completes at its goal"),
    ("CTL 11", "a weight that was verified is recorded as such"),
    ("CTL 12", "products have 64 bits"),
    (
        "CTL 13",
        "the history of revisions grows with revisions only",
    ),
    ("CTL 14", "a promoted Rollout keeps its size"),
    ("CTL 16", "a route step completes once its route is there"),
    ("CTL 17", "a restart goes stable, new, others"),
    ("CTL 19", "nothing is dereferenced"),
    (
        "CTL 20",
        "an invalid object is looked at every 20 s, and when what it names changes",
    ),
    (
        "CTL 22",
        "a Service that is cleaned up loses its hash, whoever annotated it",
    ),
    ("CTL 23", "unhealthy old pods that serve are kept"),
    (
        "CTL 24",
        "an edit is no property of a manifest; of a promoted Rollout it says nothing",
    ),
    ("CTL 25", "a ReplicaSet is one object in a pass"),
    (
        "CTL 26",
        "the Deployment is drained by whichever revision is healthy first",
    ),
    ("CTL 27", "an aborted canary that is gone stays gone"),
    ("CTL 28", "a reset clears what was asked for at once"),
    ("CTL 29", "a delay is honoured to its end, however long"),
    ("CTL 30", "ping and pong Services are looked at, too"),
    ("CTL 31", "what creation adds is left out of comparisons"),
    ("CTL 32", "watch events wait for no limiter"),
    ("CTL 33", "the spec is never written back"),
    ("CTL 34", "the revision is patched alone"),
    (
        "ANA 1",
        "runs that fail on their spec are completed, so that their TTL applies",
    ),
    ("ANA 3", "secrets are masked wherever something is written"),
    ("ANA 4", "summaries count by phase"),
    ("ANA 5", "results stand in the order of the spec"),
    ("ANA 6", "the TTL has a timer"),
    (
        "ANA 9",
        "whole numbers are written in full, and texts as JSON",
    ),
    ("ANA 10", "one deadline holds for a whole measurement"),
    (
        "ANA 11",
        "names of Jobs that are cut get a hash, others are made to fit",
    ),
    ("ANA 12", "a Job that the cache has not seen is read live"),
    ("ANA 13", "clean-up of Jobs is for each metric"),
    ("ANA 17", "`default` and `isNil` look at their argument"),
    (
        "ANA 19",
        "pods of an Experiment with a Service carry labels of their own",
    ),
    (
        "ANA 20",
        "a ReplicaSet of somebody else is an error that names it",
    ),
    ("ANA 22", "phases of runs are copied to the end"),
    ("ANA 23", "an inconclusive Experiment waits for its user"),
    ("ANA 24", "a finished Experiment makes nothing"),
    (
        "ANA 26",
        "five errors in a row are the default of every metric: to warn of it is to warn of all",
    ),
    (
        "ANA 28",
        "a pass waits until the cache shows its last write",
    ),
    ("ANA 29", "how a cancelled run ends decides nothing"),
];

/// All cases.
fn told() -> impl Iterator<Item = &'static Case> {
    of_rollouts::TOLD.iter().chain(of_analyses::TOLD)
}

/// What `lint` says of a text.
fn lint(text: &str) -> String {
    let mut child = plugin()
        .args(["lint", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    common::Said::from(child.wait_with_output().unwrap()).all()
}

fn changed(base: &str, old: &str, new: &str) -> String {
    assert!(base.contains(old), "{old:?} is not in\n{base}");
    base.replacen(old, new, 1)
}

/// Each case is told in one line, with what to do; its counterpart is passed in silence.
#[test]
fn edges_are_told_and_good_manifests_are_not() {
    let mut wrong = Vec::new();
    for case in told() {
        let bad = lint(&changed(case.base, case.old, case.bad));
        let told: Vec<&str> = bad
            .lines()
            .filter(|line| !line.starts_with("Error: "))
            .collect();
        if told != case.says {
            wrong.push(format!("{} {}:\n{bad}", case.edges, case.bad));
        }
        let good = lint(&changed(case.base, case.old, case.good));
        if !good.is_empty() {
            wrong.push(format!("{} {} is right:\n{good}", case.edges, case.good));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a peer ran without complaint is passed in silence, and of its invalid Rollout both mistakes
/// are told.
#[test]
fn what_the_peer_ran_is_quiet() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/fixtures/peer");
    let mut seen = 0;
    for record in std::fs::read_dir(folder).unwrap() {
        let record = record.unwrap().path();
        let invalid = record.ends_with("14-invalid");
        for file in std::fs::read_dir(&record).into_iter().flatten() {
            let file = file.unwrap().path();
            if file.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let mut list: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            let Value::Array(objects) = list["items"].take() else {
                panic!("{file:?}");
            };
            let found = sluice_cli::verbs::lint::of_objects(&objects);
            assert_eq!(found.warnings, Vec::<String>::new(), "{file:?}");
            let problems = if invalid { 2 } else { 0 };
            assert_eq!(
                found.problems.len(),
                problems,
                "{file:?}: {:?}",
                found.problems
            );
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

/// Every edge of the three specifications is told, or there is a reason why not.
#[test]
fn every_edge_is_accounted_for() {
    let of_cases = told().flat_map(|case| case.edges.split(", "));
    let silent: BTreeSet<&str> = SILENT.iter().map(|(edge, _)| *edge).collect();
    assert_eq!(silent.len(), SILENT.len(), "an edge is listed twice");
    let told: BTreeSet<&str> = of_cases.collect();
    let both: Vec<_> = told.intersection(&silent).collect();
    assert!(both.is_empty(), "told, and yet listed: {both:?}");
    for (specification, edges) in EDGES {
        for number in 1..=edges {
            let edge = format!("{specification} {number}");
            assert!(
                told.contains(edge.as_str()) || silent.contains(edge.as_str()),
                "{edge} is neither told nor listed"
            );
        }
    }
    let known = |edge: &&&str| {
        let (specification, number) = edge.split_once(' ').unwrap_or((edge, ""));
        let edges = EDGES.iter().find(|(name, _)| *name == specification);
        // Rules stand with a dash: they are told, too, and not counted.
        edge.contains('-')
            || edges.is_some_and(|(_, edges)| {
                number
                    .parse()
                    .is_ok_and(|n: usize| (1..=*edges).contains(&n))
            })
    };
    let odd: Vec<_> = told.union(&silent).filter(|edge| !known(edge)).collect();
    assert!(odd.is_empty(), "no such edge: {odd:?}");
    assert!(SILENT.iter().all(|(_, reason)| !reason.is_empty()));
}
