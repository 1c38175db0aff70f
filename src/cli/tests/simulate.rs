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
    expect![[r#"
        exit 0
        Rollout web, simulated: web:v1 becomes web:v2

            0:00  update   web=web:v2
            0:00  step     1/4 setWeight: 25
            0:00  step     2/4 pause: 1h
            0:00  requests web:v1 75 %, web:v2 25 %
            0:00  pods     web:v1 3/3 available
            0:00  pods     web:v2 1/1 available
         1:00:00  step     3/4 setWeight: 50
         1:00:01  step     4/4 pause
         1:00:01  requests web:v1 50 %, web:v2 50 %
         1:00:01  pods     web:v1 2/2 available
         1:00:01  pods     web:v2 2/2 available
         1:00:01  wait     would wait here for `promote`: step 4/4 pauses until the
                           rollout is promoted
         1:00:02  command  promote
         1:00:02  status   Healthy
         1:00:02  requests web:v2 100 %
         1:00:02  pods     web:v2 4/4 available
         1:00:02  pods     web:v1 gone

        Promoted after 1:00:02: web:v2 serves all requests.
        requests without a ready pod: 0 of 360385 (to web, 100 a second)
    "#]]
    .assert_eq(&said.text());
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
    let metric = "error_rate = if(weight > 30, 0.08, 0.01)";
    let said = simulate("canary-prometheus.yaml", &["--metric", metric]);
    expect![[r#"
        exit 2
        Rollout checkout, simulated: nginx:1.27-alpine becomes nginx:1.27-alpine-next
        - nginx:1.27-alpine-next is taken as the new image; name another with --image

            0:00  update   web=nginx:1.27-alpine-next
            0:00  step     1/8 setWeight: 20
            0:00  step     2/8 pause: 20s
            0:00  requests nginx:1.27-alpine 80 %, nginx:1.27-alpine-next 20 %
            0:00  pods     nginx:1.27-alpine-next 1/1 available
            0:05  measured error-rate = 0.01, Successful (3 times, until 0:15)
            0:20  step     3/8 setWeight: 40
            0:20  measured error-rate = 0.01, Successful
            0:21  step     4/8 pause: 20s
            0:21  requests nginx:1.27-alpine 60 %, nginx:1.27-alpine-next 40 %
            0:21  pods     nginx:1.27-alpine-next 2/2 available
            0:25  measured error-rate = 0.08, Failed (2 times, until 0:30)
            0:30  analysis checkout-8f59d889b-2 Failed
            0:30  status   Degraded: Background analysis phase error/failed: Metric
                           "error-rate" assessed Failed due to failed (2) > failureLimit
                           (1)
            0:30  requests nginx:1.27-alpine 100 %
            1:00  pods     nginx:1.27-alpine-next gone

        Aborted after 0:30: Background analysis phase error/failed: Metric "error-rate"
        assessed Failed due to failed (2) > failureLimit (1). nginx:1.27-alpine serves
        all requests.
        requests without a ready pod: 0 of 9020 (to checkout, 100 a second)
    "#]]
    .assert_eq(&said.text());
}

/// Pods that never get ready: stuck, with their own word.
#[test]
fn a_bad_image() {
    let said = of_manifest(BASIC, &["--image", "web:v2", "--fault", "bad-image"]);
    expect![[r#"
        exit 2
        Rollout web, simulated: web:v1 becomes web:v2

            0:00  update   web=web:v2
            0:00  fault    bad-image
            0:00  step     1/4 setWeight: 25
            0:00  pods     web:v1 3/3 available
            0:00  pods     web:v2 0/1 available
            0:10  pods     web:v2: ImagePullBackOff (web-84c5f745db-8jdrp)
           10:01  status   Degraded: ReplicaSet "web-84c5f745db" has timed out
                           progressing.

        Degraded since 10:01: ReplicaSet "web-84c5f745db" has timed out progressing.
        requests without a ready pod: 0 of 240125 (to web, 100 a second)
    "#]]
    .assert_eq(&said.text());
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
    expect!["container exitCode from images namespace notes outcome requests rollout seconds timeline to verdict waits"].assert_eq(
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
    expect![[r#"
        Error: --fault meteor: no such fault; there are bad-image, crash-after=TIME, slow-start=TIME, prometheus-down, api-errors=SHARE, pod-kill=TIME
        Error: --image: web:v1 is the image in the files already; there is nothing to update
        Error: --image: no container "api"; there are web
        Error: --metric "error_rate": NAME = FORMULA is needed, such as 'error_rate = 0.01'
        Error: --metric: formula of "e" cannot be read: Found an unmatched opening parenthesis '('.
        Error: --metric error_rate: no metric is called so, and no query names it; the files have no metrics
        Error: no Rollout "shop" in the given files; there are web
        Error: the manifests are not valid:
          spec.replicas: Invalid value: "many": a whole number is needed
        Error: Service "web-stable" (spec.strategy.canary.stableService) is not in the given files
        (every object that the rollout names is needed: add its file with -f)
        Error: no Rollout in the given files; add the file that holds it with -f
    "#]].assert_eq(&lines.concat());
}

/// Several containers change at once; versions are told apart by the first that was named, which
/// need not be the first of the pod.
#[test]
fn several_images() {
    let two = BASIC.replace(
        "[{name: web, image: 'web:v1'}]",
        "[{name: web, image: 'web:v1'}, {name: proxy, image: 'proxy:v1'}]",
    );
    let proxy = of_manifest(&two, &["--image", "proxy=proxy:v2"]);
    assert_eq!(proxy.code, 0, "{}", proxy.all());
    for wanted in [
        "Rollout web, simulated: proxy:v1 becomes proxy:v2",
        "requests proxy:v1 75 %, proxy:v2 25 %",
        "pods     proxy:v1 gone",
    ] {
        assert!(proxy.stdout.contains(wanted), "{}", proxy.stdout);
    }
    let both = ["--image", "proxy=proxy:v2", "--image", "web=web:v2", "-o"];
    let both = of_manifest(&two, &[&both[..], &["json"]].concat());
    let report: Value = serde_json::from_str(&both.stdout).unwrap();
    assert_eq!(report["container"], "proxy");
    assert_eq!(report["images"][1]["container"], "web");
    assert_eq!(report["images"][1]["to"], "web:v2");
    assert_eq!(report["timeline"][1]["text"], "web=web:v2");
    let verdict = report["verdict"].as_str().unwrap();
    let all = "proxy:v2 and web:v2 serve all requests.";
    assert!(verdict.ends_with(all), "{verdict}");
    let both = [
        "--image",
        "proxy=proxy:v2",
        "--image",
        "web=web:v2",
        "--fault",
    ];
    let more = ["bad-image", "--until", "1m"];
    let both = of_manifest(&two, &[&both[..], &more[..]].concat());
    let title = "simulated: proxy:v1 becomes proxy:v2, web:v1 becomes web:v2\n";
    assert!(both.stdout.contains(title), "{}", both.stdout);
}

/// CTL-146: pods of a Rollout that takes them from a Deployment are behind a Service, too.
#[test]
fn pods_of_a_workload_are_found() {
    let said = simulate("migrate-deployment.yaml", &["-o", "json"]);
    let report: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(report["requests"]["target"], "orders");
    assert_eq!(report["requests"]["withoutReadyPod"], 0);
}

/// A background analysis that ends by itself is heard before `--no-promote` ends at a pause; what a
/// Job would do is a guess, and said to be one.
#[test]
fn a_verdict_is_waited_for() {
    let analysed = |annotations: &str| {
        let steps = "steps: [{setWeight: 25}, {pause: {}}], analysis: {templates: [{templateName: \
                     smoke}]}}}";
        let (head, _) = BASIC.split_once("steps:").unwrap();
        format!(
            "{head}{steps}\n---\napiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\n\
             metadata: {{name: smoke}}\nspec:\n  metrics:\n  - name: smoke\n    provider: {{job: \
             {{spec: {{backoffLimit: 0, template: {{metadata: {{annotations: {annotations}}}, spec: \
             {{restartPolicy: Never, containers: [{{name: t, image: 't:1'}}]}}}}}}}}}}\n"
        )
    };
    let fails = analysed("{sim.sluice.dev/run-seconds: '90', sim.sluice.dev/exit-code: '1'}");
    let said = of_manifest(&fails, &["--image", "web:v2", "--no-promote"]);
    assert_eq!(said.code, 2, "{}", said.all());
    let wanted = "Background analysis phase error/failed";
    assert!(said.stdout.contains(wanted), "{}", said.all());
    assert!(!said.stdout.contains("assumed"), "{}", said.all());
    let passes = analysed("{sim.sluice.dev/run-seconds: '90'}");
    let said = of_manifest(&passes, &["--image", "web:v2", "--no-promote"]);
    assert_eq!(said.code, 3, "{}", said.all());
    let guess = "- the Job of metric smoke is assumed to succeed; the annotation";
    assert!(said.stdout.contains(guess), "{}", said.all());
    assert!(
        said.stdout.contains("Still waiting after 1:3"),
        "{}",
        said.all()
    );
}

/// A name that only a cluster would invent, no pods, a pipe.
#[test]
fn odd_manifests() {
    let unnamed = BASIC.replacen("{name: web}", "{generateName: web-}", 1);
    let said = of_manifest(&unnamed, &[]);
    expect![[r#"
        exit 1
        ! Error: Rollout "web-" has no metadata.name; give it one for the simulation
    "#]]
    .assert_eq(&said.text());
    let said = of_manifest(&BASIC.replace("replicas: 4", "replicas: 0"), &[]);
    let note = "the rollout has no pods; give it some with --replicas";
    assert!(said.stdout.contains(note), "{}", said.all());
}
