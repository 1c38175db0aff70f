//! kubectl over the listener, where kubectl is installed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use common::{Bench, definition, until, workload};
use serde_json::json;
use sluice_sim::kubeconfig;
use tokio::process::Command;

struct Kubectl {
    config: String,
    home: std::path::PathBuf,
}

impl Kubectl {
    async fn run(&self, arguments: &[&str], input: &str) -> (bool, String) {
        use tokio::io::AsyncWriteExt;
        let mut child = Command::new("kubectl")
            .args(["--kubeconfig", &self.config])
            .args(arguments)
            .env("HOME", &self.home)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .await
            .unwrap();
        let output = child.wait_with_output().await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_works() {
    let there = Command::new("kubectl")
        .arg("version")
        .arg("--client")
        .output()
        .await;
    if !there.is_ok_and(|o| o.status.success()) {
        eprintln!("skipped: kubectl is not installed");
        return;
    }
    let bench = Bench::new();
    let listener = bench
        .cluster
        .listen(([127, 0, 0, 1], 0).into())
        .await
        .unwrap();
    let home = std::env::temp_dir().join(format!("sluice-sim-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    let config = home.join("config");
    std::fs::write(&config, kubeconfig(listener.address())).unwrap();
    let kubectl = Kubectl {
        config: config.display().to_string(),
        home: home.clone(),
    };

    let web = workload("Deployment", "web", 2).to_string();
    let web3 = workload("Deployment", "web", 3).to_string();
    let crd = definition().to_string();
    let gadget = json!({
        "apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "g"},
        "spec": {"size": 4, "odd": true},
    })
    .to_string();
    let fine = gadget
        .replace(",\"odd\":true", "")
        .replace("\"odd\":true,", "");
    let rollout = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "r"},
        "spec": {"replicas": 2},
    })
    .to_string();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "web"}},
    })
    .to_string();
    // kubectl sends "create namespace" in protobuf, which is not understood.
    let space =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}).to_string();
    let rows: Vec<(&[&str], &str, bool, &str)> = vec![
        (&["api-resources"], "", true, "rollouts"),
        (&["version"], "", true, "Server Version: v1.36"),
        (
            &["apply", "-f", "-"],
            &web,
            true,
            "deployment.apps/web created",
        ),
        (
            &["apply", "-f", "-"],
            &web,
            true,
            "deployment.apps/web unchanged",
        ),
        (
            &["apply", "-f", "-"],
            &web3,
            true,
            "deployment.apps/web configured",
        ),
        (
            &["rollout", "status", "deployment/web", "--timeout=60s"],
            "",
            true,
            "successfully rolled out",
        ),
        (&["get", "pods", "-o", "wide"], "", true, "Running"),
        (&["get", "deploy,rs"], "", true, "3/3"),
        (
            &["get", "deployment", "web", "-o", "yaml"],
            "",
            true,
            "kind: Deployment",
        ),
        (
            &["describe", "deployment", "web"],
            "",
            true,
            "NewReplicaSet:",
        ),
        (
            &["scale", "deployment", "web", "--replicas=1"],
            "",
            true,
            "scaled",
        ),
        (
            &[
                "patch",
                "deployment",
                "web",
                "-p",
                "{\"spec\":{\"replicas\":2}}",
            ],
            "",
            true,
            "patched",
        ),
        (
            &["set", "image", "deployment/web", "web=web:v2"],
            "",
            true,
            "image updated",
        ),
        (
            &["label", "deployment", "web", "team=x"],
            "",
            true,
            "labeled",
        ),
        (
            &["get", "all", "-l", "team=x"],
            "",
            true,
            "deployment.apps/web",
        ),
        (
            &["create", "-f", "-"],
            &service,
            true,
            "service/web created",
        ),
        (&["get", "endpointslices"], "", true, "10.200."),
        (&["apply", "-f", "-"], &crd, true, "created"),
        (
            &["apply", "-f", "-"],
            &gadget,
            false,
            "unknown field \"spec.odd\"",
        ),
        (
            &["apply", "-f", "-", "--validate=false"],
            &gadget,
            true,
            "gadget.example.com/g created",
        ),
        (&["apply", "-f", "-"], &fine, true, "gadget.example.com/g"),
        (&["get", "gd"], "", true, "SIZE"),
        (
            &["apply", "--server-side", "-f", "-"],
            &rollout,
            true,
            "serverside-applied",
        ),
        (
            &["apply", "--server-side", "--field-manager=two", "-f", "-"],
            &rollout,
            true,
            "applied",
        ),
        (
            &[
                "patch",
                "ro",
                "r",
                "--type=merge",
                "-p",
                "{\"spec\":{\"replicas\":5}}",
            ],
            "",
            true,
            "patched",
        ),
        (
            &["get", "ro", "r", "-o", "jsonpath={.spec.replicas}"],
            "",
            true,
            "5",
        ),
        (
            &["apply", "--dry-run=server", "-f", "-"],
            &web3,
            true,
            "server dry run",
        ),
        (&["diff", "-f", "-"], &web3, false, "+  replicas: 3"),
        (&["auth", "can-i", "create", "pods"], "", true, "yes"),
        (
            &[
                "wait",
                "--for=condition=Available",
                "deployment/web",
                "--timeout=60s",
            ],
            "",
            true,
            "met",
        ),
        (&["delete", "deployment", "web"], "", true, "deleted"),
        (
            &["get", "deployment", "web"],
            "",
            false,
            "deployments.apps \"web\" not found",
        ),
        (&["apply", "-f", "-"], &space, true, "created"),
        (&["delete", "namespace", "team"], "", true, "deleted"),
    ];
    let mut wrong = Vec::new();
    for (arguments, input, success, want) in rows {
        let (done, text) = kubectl.run(arguments, input).await;
        if done != success || !text.contains(want) {
            wrong.push(format!(
                "kubectl {}: wanted {want:?}, got {text}",
                arguments.join(" ")
            ));
        }
    }
    until("pods gone", async || bench.pods("app=web").is_empty()).await;
    std::fs::remove_dir_all(&home).unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
