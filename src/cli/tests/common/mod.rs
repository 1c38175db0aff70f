//! The built plugin, and a simulated cluster that it talks to through a socket.
#![allow(dead_code, reason = "each test crate uses a part")]

pub(crate) mod stage;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use sluice_sim::{Cluster, ClusterOptions, Listener};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};

/// The built binary, away from whatever cluster this machine's user has.
pub(crate) fn plugin() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-argo-rollouts"));
    command
        .env("KUBECONFIG", "/nonexistent/kubeconfig")
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .stdin(Stdio::null());
    command
}

/// How a run of the plugin ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Said {
    /// stdout, then stderr.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// As one text: the exit code, stdout, and stderr with a mark.
    pub(crate) fn text(&self) -> String {
        let errors: String = self
            .stderr
            .lines()
            .map(|line| format!("! {line}\n"))
            .collect();
        format!("exit {}\n{}{errors}", self.code, self.stdout)
    }
}

/// A cluster without controllers: objects stay as they are put there.
pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    kubeconfig: PathBuf,
    _listener: Listener,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let cluster = Cluster::new(ClusterOptions::default());
        for definition in sluice_crds::yaml::definitions() {
            cluster.apply(&definition).unwrap();
        }
        let listener = cluster
            .listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, sluice_sim::kubeconfig(listener.address())).unwrap();
        Self {
            cluster,
            kubeconfig,
            _listener: listener,
            _folder: folder,
        }
    }

    fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = plugin();
        command.env("KUBECONFIG", &self.kubeconfig).args(arguments);
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        command
    }

    /// Runs the plugin to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Said {
        self.command(arguments).output().await.unwrap().into()
    }

    /// [`Said::text`] of a run.
    pub(crate) async fn text(&self, arguments: &[&str]) -> String {
        self.run(arguments).await.text()
    }

    /// Starts the plugin; its stdout line by line.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { child, lines }
    }

    pub(crate) fn apply(&self, object: &Value) {
        self.cluster.apply(object).unwrap();
    }

    pub(crate) fn rollout(&self, name: &str) -> Value {
        self.get("argoproj.io/v1alpha1", "Rollout", name)
    }

    pub(crate) fn get(&self, version: &str, kind: &str, name: &str) -> Value {
        self.cluster.get(version, kind, "default", name).unwrap()
    }

    /// Writes of the plugin so far, such as `Patch rollouts/status web`.
    pub(crate) fn writes(&self) -> Vec<String> {
        let entries = self.cluster.requests().entries();
        let writes = entries.iter().filter(|entry| entry.verb.writes());
        writes
            .map(|entry| {
                let slash = if entry.subresource.is_empty() {
                    ""
                } else {
                    "/"
                };
                format!(
                    "{:?} {}{slash}{} {}",
                    entry.verb, entry.resource, entry.subresource, entry.name
                )
            })
            .collect()
    }
}

/// The plugin at work.
pub(crate) struct Running {
    child: tokio::process::Child,
    lines: Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Running {
    /// The next line of stdout.
    pub(crate) async fn line(&mut self) -> Option<String> {
        self.lines.next_line().await.unwrap()
    }

    /// Reads lines up to one that contains `part`.
    pub(crate) async fn until(&mut self, part: &str) -> String {
        while let Some(line) = self.line().await {
            if line.contains(part) {
                return line;
            }
        }
        panic!("no line with {part:?}");
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Waits for the end; what was not read yet.
    pub(crate) async fn end(mut self) -> Said {
        let mut rest = String::new();
        while let Some(line) = self.line().await {
            rest.push_str(&line);
            rest.push('\n');
        }
        let mut said = Said::from(self.child.wait_with_output().await.unwrap());
        said.stdout = rest;
        said
    }
}

/// A canary in the pause after its first step, as the controller would have written it.
pub(crate) fn canary(name: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "web:v2"}]},
            },
            "strategy": {"canary": {"steps": [
                {"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {"duration": "1h"}},
            ]}},
        },
        "status": {
            "observedGeneration": "1",
            "phase": "Paused",
            "message": "CanaryPauseStep",
            "controllerPause": true,
            "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "2026-01-01T00:00:00Z"}],
            "currentStepIndex": 1,
            "currentPodHash": "bbb",
            "stableRS": "aaa",
            "replicas": 4,
            "readyReplicas": 4,
            "availableReplicas": 4,
            "updatedReplicas": 1,
        },
    })
}

/// A ReplicaSet of [`canary`], revision included; `owner` is its UID.
pub(crate) fn replica_set(rollout: &str, owner: &Value, revision: u32, replicas: i32) -> Value {
    let hash = ["", "aaa", "bbb", "ccc"][revision as usize];
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{rollout}-{hash}"),
            "namespace": "default",
            "labels": {"app": rollout, "rollouts-pod-template-hash": hash},
            "annotations": {"rollout.argoproj.io/revision": revision.to_string()},
            "ownerReferences": [{
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": rollout,
                "uid": owner, "controller": true,
            }],
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": rollout, "rollouts-pod-template-hash": hash}},
            "template": {
                "metadata": {"labels": {"app": rollout, "rollouts-pod-template-hash": hash}},
                "spec": {"containers": [{"name": "web", "image": format!("web:v{revision}")}]},
            },
        },
        "status": {
            "observedGeneration": 1,
            "replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
        },
    })
}
