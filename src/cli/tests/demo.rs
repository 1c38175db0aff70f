//! The stories end as they should, and leave nothing behind.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use std::process::Stdio;

use common::{Said, plugin};
use tokio::io::{AsyncBufReadExt, BufReader};

fn tell(story: &str) -> Said {
    let said = plugin()
        .args(["demo", story, "--until-done", "--speed", "50"])
        .output()
        .unwrap();
    let said = Said::from(said);
    assert_eq!(said.code, 0, "{}", said.all());
    let kubeconfig = kubeconfig(&said.stdout);
    assert!(!std::path::Path::new(kubeconfig).exists(), "{kubeconfig}");
    said
}

fn kubeconfig(text: &str) -> &str {
    let (_, rest) = text.split_once("KUBECONFIG=").unwrap();
    rest.lines().next().unwrap()
}

#[test]
fn a_canary_is_promoted() {
    let said = tell("canary");
    for percent in [20, 40, 60, 80] {
        let line = format!("checkout:v2 {percent} %");
        assert!(said.stdout.contains(&line), "{line}: {}", said.stdout);
    }
    assert!(said.stdout.contains("requests: checkout:v2 100 %"));
    assert!(
        said.stdout
            .contains("measured: error-rate = 0.01, Successful")
    );
}

#[test]
fn a_bad_canary_is_rolled_back() {
    let said = tell("rollback");
    assert!(said.stdout.contains("measured: error-rate = 0.25, Failed"));
    assert!(!said.stdout.contains("checkout:v2 60 %"), "{}", said.stdout);
}

#[test]
fn blue_green_waits_for_its_promotion() {
    let said = tell("bluegreen");
    assert!(said.stdout.contains("status: Paused - BlueGreenPause"));
    assert!(said.stdout.contains("requests: shop:v2 100 %"));
}

#[test]
fn speeds_without_sense_are_refused() {
    for speed in ["0", "-1", "nan", "1e9"] {
        let argument = format!("--speed={speed}");
        let said = Said::from(plugin().args(["demo", &argument]).output().unwrap());
        assert_eq!(said.code, 1, "{speed}");
        assert!(said.stderr.starts_with("Error: --speed"), "{}", said.stderr);
    }
}

/// The cluster answers the plugin while the story goes on, and SIGTERM ends it cleanly.
#[tokio::test(flavor = "multi_thread")]
async fn the_plugin_works_on_the_demo() {
    let mut command = tokio::process::Command::from(plugin());
    let mut demo = command
        .args(["demo", "canary", "--speed", "5"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut file = None;
    let mut hints = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.contains("KUBECONFIG=") {
            file = Some(kubeconfig(&line).to_owned());
        }
        hints.extend(line.strip_prefix("  ").map(str::to_owned));
        if line.contains("checkout:v2 20 %") {
            break;
        }
    }
    let file = file.unwrap();
    let run = |arguments: &[&str]| {
        let mut command = plugin();
        command.env("KUBECONFIG", &file).args(arguments);
        async {
            Said::from(
                tokio::process::Command::from(command)
                    .output()
                    .await
                    .unwrap(),
            )
        }
    };
    let explained = run(&["explain", "checkout"]).await;
    let leads = "Controller  demo in namespace argo-rollouts leads";
    assert!(explained.stdout.contains(leads), "{}", explained.all());
    // As pasted into another terminal, in another folder.
    let typed = hints
        .iter()
        .filter(|hint| hint.starts_with("export ") || hint.ends_with(" abort checkout"));
    let typed = typed.map(String::as_str).collect::<Vec<_>>().join("\n");
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", &typed]).current_dir("/");
    shell.env_clear().env("PATH", "/usr/bin:/bin");
    let aborted = Said::from(shell.output().await.unwrap());
    assert_eq!(aborted.all(), "rollout 'checkout' aborted\n", "{typed}");
    let status = run(&["status", "checkout"]).await;
    assert_eq!(status.code, 1, "{}", status.all());
    let retried = run(&["retry", "rollout", "checkout"]).await;
    assert_eq!(retried.code, 0, "{}", retried.all());
    let status = run(&["status", "checkout"]).await;
    assert_eq!(status.code, 0, "{}", status.all());
    let undone = run(&["undo", "checkout"]).await;
    assert_eq!(undone.all(), "rollout 'checkout' undo\n");

    let pid = demo.id().unwrap().to_string();
    let killed = std::process::Command::new("kill")
        .arg(&pid)
        .status()
        .unwrap();
    assert!(killed.success());
    assert!(demo.wait().await.unwrap().success());
    assert!(!std::path::Path::new(&file).exists());
}
