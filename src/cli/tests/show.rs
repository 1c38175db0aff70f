//! Verbs that read: `get`, `list`, `status`, and those that need no cluster (CLI-3..27, CLI-38).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use common::{Bench, Said, canary, plugin, replica_set};
use expect_test::expect;
use serde_json::json;

/// A paused canary with both its ReplicaSets.
async fn bench() -> Bench {
    let bench = Bench::new().await;
    bench.apply(&canary("web"));
    let uid = bench.rollout("web")["metadata"]["uid"].clone();
    bench.apply(&replica_set("web", &uid, 1, 3));
    bench.apply(&replica_set("web", &uid, 2, 1));
    bench
}

/// Ages are the only part that is not the same each time.
fn ageless(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words = line.split(' ').map(|word| {
            let age = word
                .strip_suffix('s')
                .is_some_and(|n| n.parse::<u32>().is_ok());
            if age { "1s" } else { word }
        });
        words.collect::<Vec<_>>().join(" ").trim_end().to_owned() + "\n"
    });
    lines.collect()
}

/// CLI-9..18.
#[tokio::test(flavor = "multi_thread")]
async fn get_rollout() {
    let bench = bench().await;
    let said = ageless(&bench.text(&["get", "rollout", "web"]).await);
    expect![[r#"
        exit 0
        Name:            web
        Namespace:       default
        Status:          ॥ Paused
        Message:         CanaryPauseStep
        Strategy:        Canary
          Step:          1/4
          SetWeight:     25
          ActualWeight:  25
        Images:          web:v1 (stable)
                         web:v2 (canary)
        Replicas:
          Desired:       4
          Current:       4
          Updated:       1
          Ready:         4
          Available:     4

        NAME             KIND        STATUS     AGE  INFO
        ⟳ web            Rollout     ॥ Paused   1s
        ├──# revision:2
        │  └──⧉ web-bbb  ReplicaSet  ✔ Healthy  1s   canary
        └──# revision:1
           └──⧉ web-aaa  ReplicaSet  ✔ Healthy  1s   stable
    "#]]
    .assert_eq(&said);
    let said = bench.text(&["get", "ro", "nope"]).await;
    expect![[r#"
        exit 1
        ! Error: rollout.argoproj.io "nope" not found
    "#]]
    .assert_eq(&said);
}

/// CLI-21, EDGE-3: the watch draws again on a change, and its timeout is a failure.
#[tokio::test(flavor = "multi_thread")]
async fn get_rollout_watching() {
    let bench = bench().await;
    let mut running = bench.start(&[
        "get",
        "rollout",
        "web",
        "--watch",
        "--timeout-seconds",
        "60",
    ]);
    running.until("Message:         CanaryPauseStep").await;
    let mut rollout = canary("web");
    rollout["status"]["message"] = json!("another");
    bench.apply(&rollout);
    running.until("Message:         another").await;

    let said = bench
        .run(&["get", "rollout", "web", "--watch", "--timeout-seconds", "1"])
        .await;
    assert_eq!(
        (said.code, said.stderr.as_str()),
        (1, "Error: rollout \"web\" watch exceeded timeout\n")
    );
}

/// CLI-23.
#[tokio::test(flavor = "multi_thread")]
async fn list_rollouts() {
    let bench = Bench::new().await;
    let said = bench.text(&["list", "rollouts"]).await;
    expect![[r#"
        exit 0
        ! No resources found.
    "#]]
    .assert_eq(&said);
    bench.apply(&canary("web"));
    let mut other = canary("a-longer-name");
    other["metadata"]["namespace"] = json!("shop");
    bench.apply(&other);
    let said = bench.text(&["list", "rollouts"]).await;
    expect![[r#"
        exit 0
        NAME        STRATEGY   STATUS        STEP  SET-WEIGHT  READY  DESIRED  UP-TO-DATE  AVAILABLE
        web         Canary     Paused        1/4   25          4/4    4        1           4        
    "#]]
    .assert_eq(&said);
    let said = bench.text(&["list", "ro", "-A"]).await;
    expect![[r#"
        exit 0
        NAMESPACE  NAME           STRATEGY   STATUS        STEP  SET-WEIGHT  READY  DESIRED  UP-TO-DATE  AVAILABLE
        default    web            Canary     Paused        1/4   25          4/4    4        1           4        
        shop       a-longer-name  Canary     Paused        1/4   25          4/4    4        1           4        
    "#]].assert_eq(&said);
    let said = bench
        .text(&["list", "ro", "-n", "shop", "--name", "web"])
        .await;
    expect![[r#"
        exit 0
        ! No resources found.
    "#]]
    .assert_eq(&said);
}

/// CLI-24.
#[tokio::test(flavor = "multi_thread")]
async fn list_rollouts_watching() {
    let bench = Bench::new().await;
    bench.apply(&canary("web"));
    let mut running = bench.start(&["list", "rollouts", "--watch"]);
    running.until("Paused").await;
    let mut rollout = canary("web");
    rollout["status"]["phase"] = json!("Degraded");
    bench.apply(&rollout);
    running.until("Degraded").await;
}

/// CLI-26.
#[tokio::test(flavor = "multi_thread")]
async fn status_once() {
    let bench = Bench::new().await;
    bench.apply(&canary("web"));
    let said = bench.text(&["status", "web", "--watch=false"]).await;
    expect![[r#"
        exit 0
        Paused - CanaryPauseStep
    "#]]
    .assert_eq(&said);
    for (phase, message) in [("Healthy", ""), ("Degraded", "RolloutAborted: why")] {
        let mut rollout = canary("web");
        rollout["status"]["phase"] = json!(phase);
        rollout["status"]["message"] = json!(message);
        rollout["status"]["controllerPause"] = json!(false);
        bench.apply(&rollout);
        let said = bench.run(&["status", "web", "--watch=false"]).await;
        assert_eq!(said.stdout, format!("{phase}\n"));
        assert_eq!(said.code, i32::from(phase == "Degraded"));
    }
    let said = bench.text(&["status", "web"]).await;
    expect![[r#"
        exit 1
        Degraded
        ! Error: The rollout is in a degraded state with message: RolloutAborted: why
    "#]]
    .assert_eq(&said);
    let said = bench.text(&["status", "nope"]).await;
    expect![[r#"
        exit 1
        ! Error: rollout.argoproj.io "nope" not found
    "#]]
    .assert_eq(&said);
}

/// CLI-27: each text once, and an end at Healthy.
#[tokio::test(flavor = "multi_thread")]
async fn status_waits() {
    let bench = Bench::new().await;
    bench.apply(&canary("web"));
    let mut running = bench.start(&["status", "web"]);
    assert_eq!(running.line().await.unwrap(), "Paused - CanaryPauseStep");
    let mut rollout = canary("web");
    rollout["status"]["phase"] = json!("Progressing");
    rollout["status"]["message"] = json!("more replicas need to be updated");
    bench.apply(&rollout);
    assert_eq!(
        running.line().await.unwrap(),
        "Progressing - more replicas need to be updated"
    );
    rollout["status"]["phase"] = json!("Healthy");
    rollout["status"]["message"] = json!("");
    bench.apply(&rollout);
    let said = running.end().await;
    assert_eq!((said.code, said.all().as_str()), (0, "Healthy\n"));
}

/// CLI-27: the timeout.
#[tokio::test(flavor = "multi_thread")]
async fn status_gives_up() {
    let bench = Bench::new().await;
    bench.apply(&canary("web"));
    let said = bench.text(&["status", "web", "--timeout", "200ms"]).await;
    expect![[r#"
        exit 1
        Paused - CanaryPauseStep
        ! Error: Rollout status watch exceeded timeout
    "#]]
    .assert_eq(&said);
    let said = bench.text(&["status", "web", "--timeout", "later"]).await;
    expect![[r#"
        exit 1
        ! Error: --timeout: time: invalid duration "later"
    "#]]
    .assert_eq(&said);
}

fn alone(arguments: &[&str]) -> Said {
    plugin().args(arguments).output().unwrap().into()
}

/// CLI-3: usage goes to stderr, without `Error:`, exit 1.
#[test]
fn usage() {
    for arguments in [
        &[][..],
        &["get"],
        &["list"],
        &["set"],
        &["retry"],
        &["terminate"],
        &["abort"],
        &["set", "image", "web"],
        &["nonsense"],
        &["status", "--nonsense"],
    ] {
        let said = alone(arguments);
        assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(
            said.stderr.contains("Usage:"),
            "{arguments:?}: {}",
            said.stderr
        );
        assert!(
            !said.stderr.contains("Error:"),
            "{arguments:?}: {}",
            said.stderr
        );
    }
    let said = alone(&["get", "--help"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
}

/// CLI-38.
#[test]
fn version() {
    let short = alone(&["version", "--short"]);
    assert!(
        short.stdout.starts_with("kubectl-argo-rollouts: v"),
        "{short:?}"
    );
    assert_eq!(short.stdout.lines().count(), 1);
    let long = alone(&["version"]);
    assert!(long.stdout.starts_with(&short.stdout) && long.stdout.contains("\n  GitCommit: "));
}

/// CLI-6.
#[test]
fn completion_scripts() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let said = alone(&["completion", shell]);
        assert_eq!(said.code, 0);
        assert!(said.stdout.contains("kubectl-argo-rollouts"), "{shell}");
    }
    expect![[r#"
        exit 1
        ! Error: invalid argument "tcsh" for "completion"
    "#]]
    .assert_eq(&alone(&["completion", "tcsh"]).text());
}

/// CLI-6: names for the first word, nothing later, never files.
#[tokio::test(flavor = "multi_thread")]
async fn candidates() {
    let bench = Bench::new().await;
    for name in ["web", "worker", "api"] {
        bench.apply(&canary(name));
    }
    let rows: [(&[&str], &str); 6] = [
        (&["abort", "w"], "web\nworker\n:4\n"),
        (&["abort", "web", "w"], ":4\n"),
        (&["get", "rollout", ""], "api\nweb\nworker\n:4\n"),
        (&["get", "ro", "a"], "api\n:4\n"),
        (&["-n", "other", "abort", ""], ":4\n"),
        (&["lint", ""], ":4\n"),
    ];
    for (words, wanted) in rows {
        let mut arguments = vec!["__complete"];
        arguments.extend(words);
        assert_eq!(bench.run(&arguments).await.all(), wanted, "{words:?}");
    }
    let verbs = bench.run(&["__complete", "re"]).await;
    let names: Vec<&str> = verbs
        .stdout
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert_eq!(names, ["restart", "retry", ":4"]);
}

/// Errors of a cluster that is not there are told, with exit code 1.
#[test]
fn without_a_cluster() {
    let said = alone(&["list", "rollouts"]);
    assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    assert!(
        said.stderr.starts_with("Error: kubeconfig"),
        "{}",
        said.stderr
    );
    assert_eq!(said.stderr.matches("No such file").count(), 1);
    let said = alone(&["list", "rollouts", "--server", "http://127.0.0.1:9"]);
    assert_eq!(said.code, 1);
}

/// CLI-2: what is wrong with a kubeconfig is said once, on one line, with the file and what helps.
#[test]
fn kubeconfigs_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("broken"), "clusters: [").unwrap();
    std::fs::write(path("empty"), "apiVersion: v1\nkind: Config\n").unwrap();
    let dangling = "apiVersion: v1\nkind: Config\ncurrent-context: gone\n";
    std::fs::write(path("dangling"), dangling).unwrap();
    let context = "{name: gone, context: {cluster: lost, user: me}}";
    let lost = format!("{dangling}contexts: [{context}]\n");
    std::fs::write(path("lost"), lost).unwrap();
    let said = |file: &str, more: &[&str]| {
        let file = path(file);
        let mut arguments = vec!["list", "rollouts"];
        arguments.extend(more);
        let by_flag = alone(&[&arguments[..], &["--kubeconfig", &file]].concat());
        let mut by_variable = plugin();
        by_variable.env("KUBECONFIG", &file).args(&arguments);
        let by_variable = Said::from(by_variable.output().unwrap());
        assert_eq!(by_flag.stderr, by_variable.stderr);
        assert_eq!((by_flag.code, by_flag.stdout.as_str()), (1, ""));
        let folder = folder.path().display().to_string();
        by_flag.stderr.replace(&folder, "FOLDER")
    };
    let all = [
        said("missing", &[]),
        said("broken", &[]),
        said("empty", &[]),
        said("dangling", &[]),
        said("dangling", &["--context", "other"]),
        said("lost", &[]),
    ];
    expect![[r#"
        Error: kubeconfig FOLDER/missing cannot be read: No such file or directory (os error 2); name another with --kubeconfig or KUBECONFIG
        Error: kubeconfig FOLDER/broken is not valid YAML: line 1 column 11: unclosed bracket '['; correct it, or name another with --kubeconfig or KUBECONFIG
        Error: kubeconfig FOLDER/empty has no current context; choose one with --context, or with kubectl config use-context
        Error: kubeconfig FOLDER/dangling has no context "gone"; choose another with --context, or see kubectl config get-contexts
        Error: kubeconfig FOLDER/dangling has no context "other"; choose another with --context, or see kubectl config get-contexts
        Error: kubeconfig FOLDER/lost: failed to load the cluster of context: lost; correct it, or name another with --kubeconfig or KUBECONFIG
    "#]].assert_eq(&all.concat());
}
