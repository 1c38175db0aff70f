//! One pod's life, from binding to removal.

use std::process::Stdio;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, sleep_until};

use super::behaviour::{Behaviour, Fate};
use super::timeline::{Container, Restart, View, view};
use super::{Shared, core};
use crate::clock::stamp;
use crate::json::{int, items, text};
use crate::object;

/// Between attempts that the API refuses or does not answer.
const RETRY: Duration = Duration::from_millis(500);

/// One pod and what was last written about it.
struct Pod {
    shared: Arc<Shared>,
    latest: watch::Receiver<Arc<Value>>,
    api: Api<DynamicObject>,
    namespace: String,
    name: String,
    uid: String,
    address: String,
    behaviour: Behaviour,
    restart: Restart,
    /// Start of its life on this node, on the cluster's clock.
    born: Timestamp,
    /// Condition type -> status and time of the transition, as last sent.
    conditions: Vec<(&'static str, bool, String)>,
    sent: Option<Value>,
}

/// Plays a pod until it is gone.
pub(super) async fn live(shared: Arc<Shared>, latest: watch::Receiver<Arc<Value>>) {
    let first = latest.borrow().clone();
    let options = shared.options();
    let namespace = object::namespace(&first).to_owned();
    let api = Api::namespaced_with(shared.client.clone(), &namespace, &core("Pod", "pods"));
    let known = text(&first, &["status", "podIP"]);
    let address = if known.is_empty() {
        shared.next_address()
    } else {
        known.to_owned()
    };
    let mut behaviour = options.behaviour(&first);
    let restart = match text(&first, &["spec", "restartPolicy"]) {
        "Never" => Restart::Never,
        "OnFailure" => Restart::OnFailure,
        _ => Restart::Always,
    };
    let scripted = object::annotation(&first, "sim.sluice.dev/exit-code").is_some();
    if options.run_commands
        && restart != Restart::Always
        && !scripted
        && matches!(behaviour.fate, Fate::Exit(..))
    {
        behaviour.fate = Fate::Command;
    }
    // A pod that this node had before goes on from where it was.
    let born = text(&first, &["status", "startTime"]).parse().ok();
    let mut pod = Pod {
        namespace,
        name: object::name(&first).to_owned(),
        uid: object::uid(&first).to_owned(),
        born: born.unwrap_or_else(|| options.clock.now()),
        conditions: Vec::new(),
        sent: None,
        shared,
        latest,
        api,
        address,
        behaviour,
        restart,
    };
    pod.adopt(&first);
    if matches!(text(&first, &["status", "phase"]), "Succeeded" | "Failed") {
        pod.until_deleted().await;
        return;
    }
    if text(&first, &["spec", "nodeName"]).is_empty() && !pod.bind(&options.node).await {
        return;
    }
    pod.play().await;
}

impl Pod {
    fn now(&self) -> Timestamp {
        self.shared.options().clock.now()
    }

    fn elapsed(&self) -> Duration {
        Duration::try_from(self.now().duration_since(self.born)).unwrap_or_default()
    }

    fn at(&self, offset: Duration) -> String {
        let offset = SignedDuration::try_from(offset).unwrap_or_default();
        stamp(self.born.checked_add(offset).unwrap_or(self.born))
    }

    /// Takes over conditions that an earlier kubelet wrote.
    fn adopt(&mut self, pod: &Value) {
        for kind in CONDITIONS {
            if let Some(c) = object::condition(pod, kind) {
                let holds = text(c, &["status"]) == "True";
                let since = text(c, &["lastTransitionTime"]).to_owned();
                self.conditions.push((kind, holds, since));
            }
        }
    }

    /// Assigns the pod to the node; false if it is gone or another's.
    async fn bind(&self, node: &str) -> bool {
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}/binding",
            self.namespace, self.name
        );
        let body = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        loop {
            let request = http::Request::post(&path)
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(body.to_string().into_bytes());
            let Ok(request) = request else { return false };
            match self.shared.client.request::<Value>(request).await {
                Ok(_) => return true,
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                    return status.code == 409;
                }
                Err(error) => tracing::debug!(%error, pod = %self.name, "binding"),
            }
            sleep(RETRY).await;
        }
    }

    async fn play(&mut self) {
        let command = self.behaviour.fate == Fate::Command;
        let pod = self.latest.borrow().clone();
        let start = self.behaviour.start;
        let mut run = std::pin::pin!(async move {
            if !command {
                return std::future::pending().await;
            }
            sleep(start).await;
            run_command(&pod).await
        });
        loop {
            let latest = self.latest.borrow_and_update().clone();
            if object::is_deleting(&latest) {
                break;
            }
            let (view, next) = view(&self.behaviour, self.restart, self.elapsed());
            if !self.show(&view, &latest).await {
                return;
            }
            let wake = next.map(|next| Instant::now() + next.saturating_sub(self.elapsed()));
            tokio::select! {
                changed = self.latest.changed() => if changed.is_err() { return },
                code = &mut run, if self.behaviour.fate == Fate::Command => {
                    let ran = self.elapsed().saturating_sub(self.behaviour.start);
                    self.behaviour.fate = Fate::Exit(code, ran);
                }
                () = until(wake) => {}
            }
        }
        self.stop().await;
    }

    async fn until_deleted(mut self) {
        loop {
            let deleting = object::is_deleting(&self.latest.borrow_and_update());
            if deleting {
                break;
            }
            if self.latest.changed().await.is_err() {
                return;
            }
        }
        self.stop().await;
    }

    /// Ends the containers and removes the pod.
    async fn stop(&mut self) {
        let latest = self.latest.borrow().clone();
        let grace = int(&latest, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0);
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        sleep(self.behaviour.stop.min(grace)).await;
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: Some(self.uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        loop {
            match self.api.delete(&self.name, &params).await {
                Ok(_) => return,
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
                Err(error) => tracing::debug!(%error, pod = %self.name, "removing"),
            }
            sleep(RETRY).await;
        }
    }

    /// Writes the status where it differs; false if the pod is gone.
    async fn show(&mut self, view: &View, pod: &Value) -> bool {
        let gates = items(pod, &["spec", "readinessGates"]);
        let open = gates
            .iter()
            .all(|g| object::has_condition(pod, text(g, &["conditionType"])));
        let status = self.status(view, pod, view.ready && open);
        if self.sent.as_ref() == Some(&status) {
            return true;
        }
        let patch = json!({"metadata": {"uid": self.uid}, "status": status});
        loop {
            let params = PatchParams::default();
            match self
                .api
                .patch_status(&self.name, &params, &Patch::Strategic(&patch))
                .await
            {
                Ok(_) => {
                    self.sent = Some(status);
                    return true;
                }
                Err(kube::Error::Api(refusal)) if refusal.code == 404 => return false,
                Err(kube::Error::Api(refusal))
                    if refusal.code == 409 && refusal.message.contains("UID") =>
                {
                    return false;
                }
                Err(error) => tracing::debug!(%error, pod = %self.name, "writing the status"),
            }
            sleep(RETRY).await;
            if object::is_deleting(&self.latest.borrow()) {
                return true;
            }
        }
    }

    fn status(&mut self, view: &View, pod: &Value, ready: bool) -> Value {
        let ended = matches!(view.phase, "Succeeded" | "Failed");
        let created = view.container != Container::Waiting("ContainerCreating");
        let mut conditions = Vec::new();
        for (kind, holds) in [
            ("PodReadyToStartContainers", created && !ended),
            ("Initialized", true),
            ("Ready", ready),
            ("ContainersReady", view.ready),
            ("PodScheduled", true),
        ] {
            let mut condition = json!({
                "type": kind, "status": if holds { "True" } else { "False" },
                "lastProbeTime": null, "lastTransitionTime": self.since(kind, holds),
            });
            // A merging patch keeps what it does not name.
            for field in ["reason", "message"] {
                crate::json::put(&mut condition, &[field], Value::Null);
            }
            if !holds && matches!(kind, "Ready" | "ContainersReady") {
                let names: Vec<&str> = items(pod, &["spec", "containers"])
                    .iter()
                    .map(|c| text(c, &["name"]))
                    .collect();
                let (reason, message) = if ended {
                    ("PodCompleted", String::new())
                } else if view.ready {
                    let text = "the status of a readiness gate is not \"True\"";
                    ("ReadinessGatesNotReady", text.to_owned())
                } else {
                    let text = format!("containers with unready status: [{}]", names.join(" "));
                    ("ContainersNotReady", text)
                };
                crate::json::put(&mut condition, &["reason"], reason);
                if !message.is_empty() {
                    crate::json::put(&mut condition, &["message"], message);
                }
            }
            conditions.push(condition);
        }
        let containers: Vec<Value> = items(pod, &["spec", "containers"])
            .iter()
            .map(|c| self.container(c, view))
            .collect();
        let mut status = json!({
            "phase": view.phase, "conditions": conditions, "containerStatuses": containers,
            "startTime": stamp(self.born), "hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.1"}],
        });
        if created {
            crate::json::put(&mut status, &["podIP"], self.address.clone());
            crate::json::put(&mut status, &["podIPs"], json!([{"ip": self.address}]));
        }
        status
    }

    /// When a condition took this value.
    fn since(&mut self, kind: &'static str, holds: bool) -> String {
        let now = stamp(self.now());
        match self.conditions.iter_mut().find(|(k, _, _)| *k == kind) {
            Some((_, held, since)) => {
                if *held != holds {
                    *held = holds;
                    *since = now;
                }
                since.clone()
            }
            None => {
                self.conditions.push((kind, holds, now.clone()));
                now
            }
        }
    }

    fn container(&self, container: &Value, view: &View) -> Value {
        let image = text(container, &["image"]);
        let id = format!("sim://{}/{}", self.uid, view.restarts);
        let mut status = json!({
            "name": text(container, &["name"]), "image": image, "imageID": image,
            "ready": view.ready, "restartCount": view.restarts,
            "started": matches!(view.container, Container::Running { .. }),
            "state": self.state(&view.container, image, &id),
            "lastState": view.last.as_ref().map_or_else(
                || json!({}), |last| self.state(last, image, &id)
            ),
        });
        if !matches!(view.container, Container::Waiting("ContainerCreating")) {
            crate::json::put(&mut status, &["containerID"], id);
        }
        status
    }

    fn state(&self, container: &Container, image: &str, id: &str) -> Value {
        match container {
            Container::Waiting(reason) => {
                let message = match *reason {
                    "ErrImagePull" => format!("failed to pull image \"{image}\": not found"),
                    "ImagePullBackOff" => format!("Back-off pulling image \"{image}\""),
                    "CrashLoopBackOff" => {
                        format!("back-off restarting failed container in pod {}", self.name)
                    }
                    _ => String::new(),
                };
                let mut waiting = json!({"reason": reason});
                if !message.is_empty() {
                    crate::json::put(&mut waiting, &["message"], message);
                }
                json!({"waiting": waiting})
            }
            Container::Running { since } => {
                json!({"running": {"startedAt": self.at(*since)}})
            }
            Container::Ended { code, since, until } => json!({
                "terminated": {
                    "exitCode": code, "reason": if *code == 0 { "Completed" } else { "Error" },
                    "startedAt": self.at(*since), "finishedAt": self.at(*until),
                    "containerID": id,
                },
            }),
        }
    }
}

const CONDITIONS: [&str; 5] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

/// Runs the command of the first container; its exit code.
async fn run_command(pod: &Value) -> i32 {
    let Some(container) = items(pod, &["spec", "containers"]).first() else {
        return 0;
    };
    let words: Vec<&str> = items(container, &["command"])
        .iter()
        .chain(items(container, &["args"]))
        .filter_map(Value::as_str)
        .collect();
    let Some((program, arguments)) = words.split_first() else {
        return 0;
    };
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for variable in items(container, &["env"]) {
        command.env(text(variable, &["name"]), text(variable, &["value"]));
    }
    match command.kill_on_drop(true).status().await {
        Ok(status) => status.code().unwrap_or(137),
        // As a runtime reports a program that it cannot start.
        Err(_) => 127,
    }
}
