//! Pods, with the status word of `kubectl get pods` (CLI-16, CLI-19).

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

use super::{age, created, owned_by};

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// Name.
    pub name: String,
    /// Status word.
    pub status: String,
    /// Containers that are ready.
    pub ready: usize,
    /// Containers.
    pub containers: usize,
    /// Restarts of all containers.
    pub restarts: i32,
    /// Time since creation.
    pub age: String,
}

/// The pods of a ReplicaSet, oldest first.
pub(super) fn of_owner(owner: &str, pods: &[Arc<Pod>], now: Timestamp) -> Vec<PodView> {
    let own = pods.iter().filter(|pod| owned_by(&pod.metadata, owner));
    let mut own: Vec<&Arc<Pod>> = own.collect();
    own.sort_by(|a, b| {
        let key = |pod: &Pod| (created(&pod.metadata), pod.metadata.name.clone());
        key(a).cmp(&key(b))
    });
    own.into_iter().map(|pod| build(pod, now)).collect()
}

fn build(pod: &Pod, now: Timestamp) -> PodView {
    let empty = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&empty);
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    let declared = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
    PodView {
        name: pod.metadata.name.clone().unwrap_or_default(),
        status: status_word(pod, status),
        ready: containers
            .iter()
            .filter(|c| c.ready && is_running(c))
            .count(),
        containers: declared.max(containers.len()),
        restarts: containers.iter().map(|c| c.restart_count).sum(),
        age: age::since(created(&pod.metadata), now),
    }
}

fn is_running(container: &ContainerStatus) -> bool {
    container
        .state
        .as_ref()
        .is_some_and(|state| state.running.is_some())
}

fn status_word(pod: &Pod, status: &PodStatus) -> String {
    let reason = status.reason.as_deref().filter(|reason| !reason.is_empty());
    let phase = status.phase.as_deref().unwrap_or("");
    let mut word = reason.unwrap_or(phase).to_owned();
    match initialising(pod, status) {
        Some(init) => word = init,
        None => containers_word(status, &mut word),
    }
    match pod.metadata.deletion_timestamp {
        Some(_) if status.reason.as_deref() == Some("NodeLost") => "Unknown".to_owned(),
        Some(_) => "Terminating".to_owned(),
        None => word,
    }
}

/// The word while init containers run.
fn initialising(pod: &Pod, status: &PodStatus) -> Option<String> {
    let declared = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.init_containers.as_deref());
    let declared = declared.unwrap_or_default();
    let sidecar = |name: &str| {
        let container = declared.iter().find(|container| container.name == name);
        container.is_some_and(|c| c.restart_policy.as_deref() == Some("Always"))
    };
    let statuses = status
        .init_container_statuses
        .as_deref()
        .unwrap_or_default();
    for (index, container) in statuses.iter().enumerate() {
        let state = container.state.clone().unwrap_or_default();
        if sidecar(&container.name) && container.started == Some(true) {
            if container.ready {
                continue;
            }
            return None;
        }
        if let Some(ended) = &state.terminated {
            if ended.exit_code == 0 {
                continue;
            }
            let reason = ended.reason.as_deref().filter(|reason| !reason.is_empty());
            return Some(match (reason, ended.signal.unwrap_or(0)) {
                (Some(reason), _) => format!("Init:{reason}"),
                (None, 0) => format!("Init:ExitCode:{}", ended.exit_code),
                (None, signal) => format!("Init:Signal:{signal}"),
            });
        }
        let waiting = state.waiting.and_then(|waiting| waiting.reason);
        return Some(
            match waiting.filter(|r| !r.is_empty() && r != "PodInitializing") {
                Some(reason) => format!("Init:{reason}"),
                None => format!("Init:{index}/{}", declared.len().max(statuses.len())),
            },
        );
    }
    None
}

/// The word of the main containers, the first one having the last say.
fn containers_word(status: &PodStatus, word: &mut String) {
    let mut has_running = false;
    for container in status
        .container_statuses
        .as_deref()
        .unwrap_or_default()
        .iter()
        .rev()
    {
        let state = container.state.clone().unwrap_or_default();
        let waiting = state
            .waiting
            .and_then(|waiting| waiting.reason)
            .filter(|r| !r.is_empty());
        if let Some(reason) = waiting {
            *word = reason;
        } else if let Some(ended) = state.terminated {
            let reason = ended.reason.filter(|reason| !reason.is_empty());
            *word = match (reason, ended.signal.unwrap_or(0)) {
                (Some(reason), _) => reason,
                (None, 0) => format!("ExitCode:{}", ended.exit_code),
                (None, signal) => format!("Signal:{signal}"),
            };
        } else if container.ready && state.running.is_some() {
            has_running = true;
        }
    }
    if word == "Completed" && has_running {
        "Running".clone_into(word);
    }
}
