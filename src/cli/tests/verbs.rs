//! Verbs that write: what they send, what they print, how they fail (CLI-3, CLI-4, CLI-28..33).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use common::{Bench, canary, replica_set};
use expect_test::expect;
use serde_json::{Value, json};

async fn bench() -> Bench {
    let bench = Bench::new().await;
    bench.apply(&canary("web"));
    bench
}

fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// CLI-28: abort and retry by the status subresource.
#[tokio::test(flavor = "multi_thread")]
async fn abort_and_retry() {
    let bench = bench().await;
    let said = bench.text(&["abort", "web"]).await;
    expect![[r#"
        exit 0
        rollout 'web' aborted
    "#]]
    .assert_eq(&said);
    assert_eq!(at(&bench.rollout("web"), "/status/abort"), &json!(true));
    let said = bench.text(&["retry", "rollout", "web"]).await;
    expect![[r#"
        exit 0
        rollout 'web' retried
    "#]]
    .assert_eq(&said);
    assert_ne!(at(&bench.rollout("web"), "/status/abort"), &json!(true));
    assert_eq!(
        bench.writes(),
        ["Patch rollouts/status web", "Patch rollouts/status web"]
    );
}

/// CLI-4: several names, stopping at the first failure; CLI-3: API messages verbatim.
#[tokio::test(flavor = "multi_thread")]
async fn several_names_until_one_fails() {
    let bench = bench().await;
    bench.apply(&canary("api"));
    let said = bench.text(&["pause", "web", "nope", "api"]).await;
    expect![[r#"
        exit 1
        rollout 'web' paused
        ! Error: rollouts.argoproj.io "nope" not found
    "#]]
    .assert_eq(&said);
    assert_eq!(at(&bench.rollout("web"), "/spec/paused"), &json!(true));
    assert_eq!(at(&bench.rollout("api"), "/spec/paused"), &Value::Null);
}

/// CLI-30: the pause is cleared, the index is left to the controller.
#[tokio::test(flavor = "multi_thread")]
async fn promote() {
    let bench = bench().await;
    let said = bench.text(&["promote", "web"]).await;
    expect![[r#"
        exit 0
        rollout 'web' promoted
    "#]]
    .assert_eq(&said);
    let rollout = bench.rollout("web");
    assert_eq!(at(&rollout, "/status/pauseConditions"), &Value::Null);
    assert_eq!(at(&rollout, "/status/currentStepIndex"), &json!(1));
    // Nothing holds it any more: the next one skips the step.
    bench.run(&["promote", "web"]).await;
    assert_eq!(
        at(&bench.rollout("web"), "/status/currentStepIndex"),
        &json!(2)
    );

    let said = bench.text(&["promote", "web", "--full"]).await;
    expect![[r#"
        exit 0
        rollout 'web' fully promoted
    "#]]
    .assert_eq(&said);
    assert_eq!(
        at(&bench.rollout("web"), "/status/promoteFull"),
        &json!(true)
    );

    let said = bench.text(&["promote", "web", "-c", "-a"]).await;
    expect![[r#"
        exit 1
        ! Error: Cannot use skip-current-step and skip-all-steps flags at the same time
    "#]]
    .assert_eq(&said);
}

/// CLI-31: status first, then spec.
#[tokio::test(flavor = "multi_thread")]
async fn promote_of_a_rollout_that_a_person_paused() {
    let bench = bench().await;
    bench.run(&["pause", "web"]).await;
    bench.run(&["promote", "web"]).await;
    assert_eq!(at(&bench.rollout("web"), "/spec/paused"), &json!(false));
    assert_eq!(
        bench.writes(),
        [
            "Patch rollouts web",
            "Patch rollouts/status web",
            "Patch rollouts web"
        ]
    );
}

/// CLI-29, EDGE-4: a time that cannot be read is an ordinary error.
#[tokio::test(flavor = "multi_thread")]
async fn restart() {
    let bench = bench().await;
    let said = bench.text(&["restart", "web"]).await;
    expect![[r#"
        exit 0
        rollout 'web' restarts in 0s
    "#]]
    .assert_eq(&said);
    let now: jiff::Timestamp = at(&bench.rollout("web"), "/spec/restartAt")
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let said = bench.text(&["restart", "web", "--in", "1h30m"]).await;
    expect![[r#"
        exit 0
        rollout 'web' restarts in 1h30m
    "#]]
    .assert_eq(&said);
    let later: jiff::Timestamp = at(&bench.rollout("web"), "/spec/restartAt")
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let seconds = later.as_second() - now.as_second();
    assert!((5400..5460).contains(&seconds), "{seconds}");
    let said = bench.text(&["restart", "web", "--in", "soon"]).await;
    expect![[r#"
        exit 1
        ! Error: --in: time: invalid duration "soon"
    "#]]
    .assert_eq(&said);
}

/// CLI-33: the whole object is written back, unknown fields included.
#[tokio::test(flavor = "multi_thread")]
async fn set_image() {
    let bench = bench().await;
    let said = bench.text(&["set", "image", "web", "web=web:v3"]).await;
    expect![[r#"
        exit 0
        rollout "web" image updated
    "#]]
    .assert_eq(&said);
    let image = "/spec/template/spec/containers/0/image";
    assert_eq!(at(&bench.rollout("web"), image), &json!("web:v3"));
    assert_eq!(bench.writes(), ["Update rollouts web"]);
    bench.run(&["set", "image", "web", "*=web:v4"]).await;
    assert_eq!(at(&bench.rollout("web"), image), &json!("web:v4"));
    let said = bench.text(&["set", "image", "web", "db=x:1"]).await;
    expect![[r#"
        exit 1
        ! Error: unable to find container named "db"
    "#]]
    .assert_eq(&said);
    let said = bench.text(&["set", "image", "web", "web"]).await;
    expect![[r#"
        exit 1
        ! Error: "web" is not CONTAINER=IMAGE, such as web=nginx:1.28-alpine
    "#]]
    .assert_eq(&said);
}

fn referring(name: &str) -> (Value, Value) {
    let mut rollout = canary(name);
    let template = rollout["spec"]["template"].take();
    let spec = rollout["spec"].as_object_mut().unwrap();
    spec.remove("template");
    spec.remove("selector");
    spec.insert(
        "workloadRef".to_owned(),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "orders"}),
    );
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "orders", "namespace": "default"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": name}},
            "template": template,
        },
    });
    (rollout, deployment)
}

/// CLI-33: with workloadRef the Deployment gets the image.
#[tokio::test(flavor = "multi_thread")]
async fn set_image_of_a_workload_reference() {
    let bench = Bench::new().await;
    let (rollout, deployment) = referring("web");
    bench.apply(&rollout);
    bench.apply(&deployment);
    let said = bench.text(&["set", "image", "web", "web=web:v3"]).await;
    expect![[r#"
        exit 0
        deployment "orders" image updated
    "#]]
    .assert_eq(&said);
    let deployment = bench.get("apps/v1", "Deployment", "orders");
    assert_eq!(
        at(&deployment, "/spec/template/spec/containers/0/image"),
        &json!("web:v3")
    );
    assert_eq!(bench.writes(), ["Update deployments orders"]);
}

/// CLI-32.
#[tokio::test(flavor = "multi_thread")]
async fn undo() {
    let bench = bench().await;
    let uid = at(&bench.rollout("web"), "/metadata/uid").clone();
    let said = bench.text(&["undo", "web"]).await;
    expect![[r#"
        exit 1
        ! Error: no revision found for rollout "web"
    "#]]
    .assert_eq(&said);
    for revision in [1, 2] {
        bench.apply(&replica_set("web", &uid, revision, 1));
    }
    let said = bench.text(&["undo", "web", "--to-revision", "7"]).await;
    expect![[r#"
        exit 1
        ! Error: unable to find specified revision 7 in history
    "#]]
    .assert_eq(&said);
    let said = bench.text(&["undo", "web", "--to-revision", "2"]).await;
    expect![[r#"
        exit 0
        skipped rollback (current template already matches revision 2)"#]]
    .assert_eq(&said);
    assert_eq!(bench.writes(), [""; 0]);
    let said = bench.text(&["undo", "web"]).await;
    expect![[r#"
        exit 0
        rollout 'web' undo
    "#]]
    .assert_eq(&said);
    let template = bench.rollout("web")["spec"]["template"].take();
    expect![[r#"{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"image":"web:v1","imagePullPolicy":"IfNotPresent","name":"web","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}"#]].assert_eq(&template.to_string());
}

/// CLI-28, EDGE-1: `terminate experiment` says what it did.
#[tokio::test(flavor = "multi_thread")]
async fn runs_and_experiments() {
    let bench = Bench::new().await;
    let metadata = json!({"name": "one", "namespace": "default"});
    bench.apply(&json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "metadata": metadata,
        "spec": {"metrics": [{"name": "m", "provider": {"job": {"spec": {"template": {}}}}}]},
    }));
    bench.apply(&json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Experiment", "metadata": metadata,
        "spec": {"templates": []}, "status": {"phase": "Successful"},
    }));
    let said = bench.text(&["terminate", "analysisrun", "one"]).await;
    expect![[r#"
        exit 0
        analysisRun 'one' terminated
    "#]]
    .assert_eq(&said);
    let said = bench.text(&["terminate", "experiment", "one"]).await;
    expect![[r#"
        exit 0
        experiment 'one' terminated
    "#]]
    .assert_eq(&said);
    let said = bench.text(&["retry", "experiment", "one"]).await;
    expect![[r#"
        exit 0
        experiment 'one' retried
    "#]]
    .assert_eq(&said);
    let version = "argoproj.io/v1alpha1";
    let run = bench.get(version, "AnalysisRun", "one");
    assert_eq!(at(&run, "/spec/terminate"), &json!(true));
    let experiment = bench.get(version, "Experiment", "one");
    assert_eq!(at(&experiment, "/spec/terminate"), &json!(true));
    assert_eq!(at(&experiment, "/status"), &Value::Null);
}
