//! ReplicaSets: roles, status, scale-down delay (CLI-12, CLI-16, CLI-18).

use jiff::Timestamp;
use serde_json::Value;
use sluice_crds::rollout::RolloutStatus;
use sluice_crds::{ReplicaSet, Rollout, keys};

use super::pods::{self, PodView};
use super::words::{Role, Tag};
use super::{Objects, age, created, owned_by, revision_of, uid};

/// A ReplicaSet with its pods.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaSetView {
    /// Name.
    pub name: String,
    /// Pod-template hash; empty without label.
    pub hash: String,
    /// `Progressing`, `Healthy`, `ReplicaFailure` or `ScaledDown`.
    pub status: &'static str,
    /// What it is to its Rollout, in the order of the INFO column.
    pub roles: Vec<Role>,
    /// Template of an Experiment; empty otherwise.
    pub template: String,
    /// Images of the main containers.
    pub images: Vec<String>,
    /// `spec.replicas`.
    pub desired: i32,
    /// Pods.
    pub current: i32,
    /// Ready pods.
    pub ready: i32,
    /// Available pods.
    pub available: i32,
    /// Until when it is kept, if a deadline was set.
    pub delay: Option<Delay>,
    /// Time since creation.
    pub age: String,
    /// Pods, oldest first.
    pub pods: Vec<PodView>,
}

/// The scale-down deadline of a ReplicaSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delay {
    /// Time that is left.
    Left(String),
    /// It is over; the annotation stays.
    Passed,
    /// The annotation is no time.
    Unreadable,
}

impl std::fmt::Display for Delay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Left(time) => time,
            Self::Passed => "passed",
            Self::Unreadable => "",
        })
    }
}

impl ReplicaSetView {
    /// What is told about its images: roles in their order, or the template.
    pub(super) fn tags(&self) -> Vec<Tag> {
        let mut roles = self.roles.clone();
        roles.sort();
        let mut tags: Vec<Tag> = roles.into_iter().map(Tag::role).collect();
        if !self.template.is_empty() {
            tags.push(Tag::template(&self.template));
        }
        tags
    }
}

/// The pod hashes that have a role; none for the ReplicaSets of an Experiment.
#[derive(Clone, Debug, Default)]
pub(super) struct Roles {
    /// In the order of the INFO column.
    all: Vec<(Role, String)>,
}

impl Roles {
    pub(super) fn of(rollout: &Rollout, status: &RolloutStatus) -> Self {
        let mut all = vec![(Role::Stable, status.stable_rs.clone())];
        if let Some(canary) = rollout.spec.canary() {
            if status.current_pod_hash != status.stable_rs {
                all.push((Role::Canary, status.current_pod_hash.clone()));
            }
            if canary.ping_pong.is_some() {
                let (stable, new) = match status.canary.stable_ping_pong.as_str() {
                    "ping" => (Role::Ping, Role::Pong),
                    _ => (Role::Pong, Role::Ping),
                };
                all.push((stable, status.stable_rs.clone()));
                if status.current_pod_hash != status.stable_rs {
                    all.push((new, status.current_pod_hash.clone()));
                }
            }
        } else if rollout.spec.blue_green().is_some() {
            let selectors = &status.blue_green;
            all.push((Role::Active, selectors.active_selector.clone()));
            if selectors.preview_selector != selectors.active_selector {
                all.push((Role::Preview, selectors.preview_selector.clone()));
            }
        } else {
            all.clear();
        }
        Self { all }
    }

    fn of_hash(&self, hash: &str) -> Vec<Role> {
        let own = self
            .all
            .iter()
            .filter(|(_, of)| !hash.is_empty() && of == hash);
        own.map(|(role, _)| *role).collect()
    }
}

/// The ReplicaSets of an owner, with their revisions.
pub(super) fn of_owner(
    owner: &str,
    objects: Objects<'_>,
    roles: &Roles,
    now: Timestamp,
) -> Vec<(i64, ReplicaSetView)> {
    let own = objects
        .replica_sets
        .iter()
        .filter(|set| owned_by(&set.metadata, owner));
    own.map(|set| (revision_of(&set.metadata), build(set, objects, roles, now)))
        .collect()
}

fn build(set: &ReplicaSet, objects: Objects<'_>, roles: &Roles, now: Timestamp) -> ReplicaSetView {
    let hash = set.pod_hash().unwrap_or("");
    let status = set.status.clone().unwrap_or_default();
    ReplicaSetView {
        name: set.metadata.name.clone().unwrap_or_default(),
        hash: hash.to_owned(),
        status: status_of(set),
        roles: roles.of_hash(hash),
        template: set
            .annotation(keys::EXPERIMENT_TEMPLATE)
            .unwrap_or("")
            .to_owned(),
        images: images_of(set),
        desired: set.spec.replicas.unwrap_or(1),
        current: status.replicas,
        ready: status.ready_replicas,
        available: status.available_replicas,
        delay: set
            .annotation(keys::SCALE_DOWN_DEADLINE)
            .map(|text| delay(text, now)),
        age: age::since(created(&set.metadata), now),
        pods: pods::of_owner(uid(&set.metadata), objects.pods, now),
    }
}

fn delay(text: &str, now: Timestamp) -> Delay {
    match text.parse::<Timestamp>() {
        Ok(at) if at < now => Delay::Passed,
        Ok(at) => Delay::Left(age::short(at.duration_since(now))),
        Err(_) => Delay::Unreadable,
    }
}

fn images_of(set: &ReplicaSet) -> Vec<String> {
    let template = set.spec.template.value();
    let containers = template
        .pointer("/spec/containers")
        .and_then(Value::as_array);
    let images = containers
        .into_iter()
        .flatten()
        .filter_map(|c| c.get("image")?.as_str());
    images.map(str::to_owned).collect()
}

fn status_of(set: &ReplicaSet) -> &'static str {
    let status = set.status.clone().unwrap_or_default();
    let desired = set.spec.replicas.unwrap_or(1);
    if status.observed_generation < set.metadata.generation.unwrap_or(0) {
        return "Progressing";
    }
    let failed = status
        .conditions
        .iter()
        .any(|c| c.r#type == "ReplicaFailure" && c.status == "True");
    if failed {
        "ReplicaFailure"
    } else if status.available_replicas < desired {
        "Progressing"
    } else if desired == 0 {
        "ScaledDown"
    } else {
        "Healthy"
    }
}
