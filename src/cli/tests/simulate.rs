//! `simulate`: updates of manifests in no time, to each of their ends.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use common::{Said, plugin};
use expect_test::expect;
use serde_json::Value;

/// Runs it on an example, by name.
fn simulate(example: &str, more: &[&str]) -> Said {
    let file = format!("{}/../../examples/{example}", env!("CARGO_MANIFEST_DIR"));
    let mut command = plugin();
    command.args(["simulate", "-f", &file]).args(more);
    Said::from(command.output().unwrap())
}

/// Runs it on a manifest.
fn of_manifest(manifest: &str, more: &[&str]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.yaml");
    std::fs::write(&file, manifest).unwrap();
    let mut command = plugin();
    command.arg("simulate").arg("-f").arg(&file).args(more);
    Said::from(command.output().unwrap())
}

const BASIC: &str = "
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:v1'}]}
  strategy: {canary: {steps: [{setWeight: 25}, {pause: {duration: 1h}}, {setWeight: 50}, {pause: {}}]}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

/// An hour of pauses in a moment; a pause without end is noted and promoted.
#[test]
fn promoted() {
    let said = of_manifest(BASIC, &["--image", "web:v2"]);
    expect![[""]].assert_eq(&said.text());
    // The same seed gives the same timeline.
    let again = of_manifest(BASIC, &["--image", "web=web:v2"]);
    assert_eq!(said.stdout, again.stdout);
}

/// `--no-promote` ends at a pause that waits for a person, `--until` anywhere.
#[test]
fn still_waiting() {
    let said = of_manifest(BASIC, &["--image", "web:v2", "--no-promote"]);
    assert_eq!(said.code, 3, "{}", said.all());
    assert!(
        said.stdout.contains("Still waiting after 1:0"),
        "{}",
        said.stdout
    );
    let said = of_manifest(BASIC, &["--image", "web:v2", "--until", "10m"]);
    assert_eq!(said.code, 3, "{}", said.all());
    assert!(
        said.stdout.contains("Still waiting after 10:0"),
        "{}",
        said.stdout
    );
}

/// A formula makes the analysis fail: aborted, and the requests are answered all the time.
#[test]
fn aborted_by_analysis() {
    let metric = "error-rate = if(weight > 30, 0.08, 0.01)";
    let said = simulate("canary-prometheus.yaml", &["--metric", metric]);
    expect![[""]].assert_eq(&said.text());
}

/// Pods that never get ready: stuck, with their own word.
#[test]
fn a_bad_image() {
    let said = of_manifest(BASIC, &["--image", "web:v2", "--fault", "bad-image"]);
    expect![[""]].assert_eq(&said.text());
}

/// Blue-green is switched once, without a request lost, whatever the API server does.
#[test]
fn blue_green_and_api_errors() {
    let said = simulate(
        "bluegreen.yaml",
        &["--fault", "api-errors=0.2", "-o", "json"],
    );
    assert_eq!(said.code, 0, "{}", said.all());
    let report: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(report["outcome"], "promoted");
    assert_eq!(report["requests"]["withoutReadyPod"], 0);
    let members: Vec<&String> = report.as_object().unwrap().keys().collect();
    expect![[""]].assert_eq(
        &members
            .iter()
            .map(|s| s.as_str())
            .collect::<Vec<_>>()
            .join(" "),
    );
}

/// What is wrong with the input is one clear line, and exit code 1.
#[test]
fn bad_input() {
    let mut lines = Vec::new();
    for (manifest, more) in [
        (BASIC.to_owned(), &["--fault", "meteor"][..]),
        (BASIC.to_owned(), &["--image", "web:v1"]),
        (BASIC.to_owned(), &["--image", "api=web:v2"]),
        (BASIC.to_owned(), &["--metric", "error_rate"]),
        (BASIC.to_owned(), &["--metric", "e = if("]),
        (BASIC.to_owned(), &["--metric", "error_rate = 1"]),
        (BASIC.to_owned(), &["--rollout", "shop"]),
        (BASIC.replace("replicas: 4", "replicas: many"), &[]),
        (
            BASIC.replace("canary: {", "canary: {stableService: web-stable, "),
            &[],
        ),
        ("kind: Service".to_owned(), &[]),
    ] {
        let said = of_manifest(&manifest, more);
        assert_eq!(said.code, 1, "{}", said.all());
        lines.push(said.stderr);
    }
    expect![[""]].assert_eq(&lines.concat());
}
