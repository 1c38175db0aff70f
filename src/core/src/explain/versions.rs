//! The versions of a Rollout, and what their pods say about themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use serde::Serialize;
use serde_json::Value;
use sluice_crds::rollout::RolloutStatus;
use sluice_crds::{ReplicaSet, Time, keys};

use super::Scene;
use crate::conditions::kind;
use crate::observed::Observed;
use crate::view;

/// One ReplicaSet.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Its revision; 0 when it has none.
    pub revision: i64,
    /// Name of the ReplicaSet.
    pub replica_set: String,
    /// Its pod-template hash.
    pub hash: String,
    /// `canary`, `stable`, `active`, `preview`, `ping`, `pong`; `new`: the spec's, which has no role yet.
    pub roles: Vec<&'static str>,
    /// Images of its containers.
    pub images: Vec<String>,
    /// Pods wanted.
    pub wanted: i32,
    /// Pods that are there.
    pub pods: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods that are available.
    pub available: i32,
    /// When it is scaled down, where a delay runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_down_at: Option<Timestamp>,
    /// What keeps pods from being ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// The same trouble of one or more pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The pods' own word, such as `ImagePullBackOff`.
    pub reason: String,
    /// The pods' own explanation; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The pods; none where they could not even be created.
    pub pods: Vec<String>,
}

impl Problem {
    /// One line: `2 pods ImagePullBackOff (web-a, web-b): Back-off pulling image`.
    #[must_use]
    pub fn line(&self) -> String {
        let who = match self.pods.as_slice() {
            [] => self.reason.clone(),
            [one] => format!("pod {one}: {}", self.reason),
            [first, rest @ ..] => {
                format!(
                    "{} pods ({first} ...): {}",
                    rest.len().saturating_add(1),
                    self.reason
                )
            }
        };
        if self.message.is_empty() {
            who
        } else {
            format!("{who}: {}", self.message)
        }
    }
}

/// ReplicaSets that the Rollout controls.
pub(super) fn owned(seen: &Observed) -> Vec<Arc<ReplicaSet>> {
    let uid = seen.rollout.metadata.uid.as_deref().unwrap_or_default();
    let own = |set: &&Arc<ReplicaSet>| {
        let mut owners = set.metadata.owner_references.iter().flatten();
        owners.any(|owner| owner.uid == uid)
    };
    seen.replica_sets.iter().filter(own).cloned().collect()
}

pub(super) fn of(scene: &Scene<'_>, sets: &[Arc<ReplicaSet>]) -> Vec<Version> {
    let rollout = &*scene.seen.rollout;
    let empty = RolloutStatus::default();
    let status = rollout.status.as_ref().unwrap_or(&empty);
    let named = [&status.stable_rs, &status.current_pod_hash];
    let mut all: Vec<Version> = sets
        .iter()
        .map(|set| version(scene, set))
        .filter(|version| {
            version.wanted > 0
                || version.pods > 0
                || (!version.hash.is_empty() && named.contains(&&version.hash))
        })
        .collect();
    all.sort_by(|a, b| (a.revision, &a.replica_set).cmp(&(b.revision, &b.replica_set)));
    all
}

fn version(scene: &Scene<'_>, set: &ReplicaSet) -> Version {
    let status = set.status.as_ref();
    let count = |get: fn(&sluice_crds::replica_set::ReplicaSetStatus) -> i32| status.map_or(0, get);
    let roles = view::roles::of(&scene.seen.rollout, set);
    let mut roles: Vec<&str> = roles.into_iter().map(view::Role::word).collect();
    let current = scene.seen.rollout.status.as_ref();
    let current = current.map_or("", |status| status.current_pod_hash.as_str());
    if roles.is_empty() && !current.is_empty() && set.pod_hash() == Some(current) {
        roles.push("new");
    }
    let template = set.spec.template.value();
    let containers = template
        .pointer("/spec/containers")
        .and_then(Value::as_array);
    let images = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container.get("image")?.as_str());
    let deadline = set
        .annotation(keys::SCALE_DOWN_DEADLINE)
        .and_then(|text| text.parse::<Time>().ok());
    Version {
        revision: set
            .annotation(keys::REVISION)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0),
        replica_set: set.metadata.name.clone().unwrap_or_default(),
        hash: set.pod_hash().unwrap_or_default().to_owned(),
        roles,
        images: images.map(str::to_owned).collect(),
        wanted: set.spec.replicas.unwrap_or(1),
        pods: count(|status| status.replicas),
        ready: count(|status| status.ready_replicas),
        available: count(|status| status.available_replicas),
        scale_down_at: deadline.map(|at| at.timestamp()),
        problems: problems(scene, set),
    }
}

/// Troubles, the most common first.
fn problems(scene: &Scene<'_>, set: &ReplicaSet) -> Vec<Problem> {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let mut by_reason: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for pod in scene.pods {
        let mut owners = pod.metadata.owner_references.iter().flatten();
        if uid.is_empty() || !owners.any(|owner| owner.uid == uid) {
            continue;
        }
        if let Some(trouble) = trouble(pod) {
            let name = pod.metadata.name.clone().unwrap_or_default();
            by_reason.entry(trouble).or_default().push(name);
        }
    }
    let mut all: Vec<Problem> = by_reason
        .into_iter()
        .map(|((reason, message), pods)| Problem {
            reason,
            message,
            pods,
        })
        .collect();
    all.sort_by_key(|problem| std::cmp::Reverse(problem.pods.len()));
    let conditions = set.status.iter().flat_map(|status| &status.conditions);
    let refused = conditions.filter(|c| c.r#type == kind::REPLICA_FAILURE && c.status == "True");
    all.extend(refused.map(|condition| Problem {
        reason: format!("pods cannot be created ({})", condition.reason),
        message: condition.message.clone(),
        pods: Vec::new(),
    }));
    all
}

/// Why a pod is not ready: its word, and its explanation. Pods that go away are no trouble.
fn trouble(pod: &Pod) -> Option<(String, String)> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let status = pod.status.as_ref();
    let condition = |kind: &str| -> Option<&PodCondition> {
        status?
            .conditions
            .iter()
            .flatten()
            .find(|c| c.type_ == kind)
    };
    if condition("Ready").is_some_and(|ready| ready.status == "True") {
        return None;
    }
    if let Some(unscheduled) = condition("PodScheduled").filter(|c| c.status == "False") {
        let reason = unscheduled.reason.clone();
        return Some((
            reason.unwrap_or_else(|| "Unschedulable".to_owned()),
            unscheduled.message.clone().unwrap_or_default(),
        ));
    }
    let word = view::pod::health(pod).word;
    let containers = status.into_iter().flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    });
    let message = containers.filter(|one| !one.ready).find_map(told);
    if word == "Running" {
        let probes = "running, but not ready: its readiness probe or a readiness gate says no";
        return Some((
            "NotReady".to_owned(),
            message.unwrap_or_else(|| probes.to_owned()),
        ));
    }
    let word = if word.is_empty() {
        "Pending".to_owned()
    } else {
        word
    };
    Some((word, message.unwrap_or_default()))
}

/// What a container says about itself.
fn told(one: &ContainerStatus) -> Option<String> {
    let state = one.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let message = waiting.and_then(|waiting| waiting.message.clone());
    let ended = |state: Option<&k8s_openapi::api::core::v1::ContainerState>| {
        let ended = state?.terminated.as_ref()?;
        Some(format!("exit code {}", ended.exit_code))
    };
    let last = ended(state).or_else(|| ended(one.last_state.as_ref()));
    let message = message.filter(|text| !text.is_empty());
    match (message, last) {
        (Some(message), Some(last)) => Some(format!("{message}; last {last}")),
        (Some(message), None) => Some(message),
        (None, Some(last)) => Some(format!("container {} ended with {last}", one.name)),
        (None, None) => None,
    }
}
