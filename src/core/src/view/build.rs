//! From objects to views: who belongs to whom, in which order (CLI-9, CLI-13, CLI-16).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sluice_crds::rollout::RolloutStatus;
use sluice_crds::{AnalysisRun, Experiment, ReplicaSet, Rollout, keys};

use super::images::{self, Image};
use super::{Around, Health, Info, Kind, Node, age, pod, roles, weights};
use crate::phase;

/// A Rollout as `get rollout` and the dashboard show it.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutView {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// Phase as readers are to understand it (API-66).
    pub health: Health,
    /// Why; may be empty.
    pub message: String,
    /// `Canary`, `BlueGreen` or `unknown`.
    pub strategy: &'static str,
    /// What only canaries have.
    pub canary: Option<CanaryView>,
    /// Images that run.
    pub images: Vec<Image>,
    /// Wanted pods.
    pub desired: i32,
    /// `status.replicas`.
    pub current: i32,
    /// `status.updatedReplicas`.
    pub updated: i32,
    /// `status.readyReplicas`.
    pub ready: i32,
    /// `status.availableReplicas`.
    pub available: i32,
    /// The Rollout and everything below it.
    pub tree: Node,
}

/// Progress of a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryView {
    /// `1/4`, or empty.
    pub step: String,
    /// The weight that the steps ask for.
    pub set_weight: i32,
    /// The weight in force.
    pub actual_weight: i32,
}

/// An Experiment as `get experiment` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExperimentView {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// Phase as stored.
    pub health: Health,
    /// Why; may be empty.
    pub message: String,
    /// Images that run.
    pub images: Vec<Image>,
    /// The Experiment and everything below it.
    pub tree: Node,
}

impl RolloutView {
    /// Builds the view of one Rollout from the objects around it.
    #[must_use]
    pub fn new(rollout: &Rollout, around: Around<'_>, now: Timestamp) -> Self {
        let empty = RolloutStatus::default();
        let status = rollout.status.as_ref().unwrap_or(&empty);
        let shown = phase::shown(rollout);
        let health = Health::of_workload(shown.phase.as_str());
        let own = owned(around.replica_sets, &rollout.metadata);
        let mut all = own.clone();
        for experiment in owned(around.experiments, &rollout.metadata) {
            all.extend(owned(around.replica_sets, &experiment.metadata));
        }
        let strategy = &rollout.spec.strategy;
        let canary = strategy.canary.as_ref().map(|_| CanaryView {
            step: weights::step(rollout),
            set_weight: weights::set_weight(rollout),
            actual_weight: weights::actual_weight(rollout, &own),
        });
        Self {
            name: name(&rollout.metadata),
            namespace: rollout.metadata.namespace.clone().unwrap_or_default(),
            tree: rollout_node(rollout, &health, around, now),
            health,
            message: shown.message,
            strategy: strategy_word(rollout),
            canary,
            images: images::of(Some(rollout), &all),
            desired: rollout.spec.replicas(),
            current: status.replicas,
            updated: status.updated_replicas,
            ready: status.ready_replicas,
            available: status.available_replicas,
        }
    }
}

impl ExperimentView {
    /// Builds the view of one Experiment from the objects around it.
    #[must_use]
    pub fn new(experiment: &Experiment, around: Around<'_>, now: Timestamp) -> Self {
        let status = experiment.status.clone().unwrap_or_default();
        Self {
            name: name(&experiment.metadata),
            namespace: experiment.metadata.namespace.clone().unwrap_or_default(),
            health: Health::of_analysis(status.phase.as_str()),
            message: status.message,
            images: images::of(None, &owned(around.replica_sets, &experiment.metadata)),
            tree: experiment_node(experiment, around, now),
        }
    }
}

/// The strategy's name (CLI-9, CLI-23).
pub(super) fn strategy_word(rollout: &Rollout) -> &'static str {
    let strategy = &rollout.spec.strategy;
    match (&strategy.canary, &strategy.blue_green) {
        (Some(_), _) => "Canary",
        (None, Some(_)) => "BlueGreen",
        (None, None) => "unknown",
    }
}

fn name(metadata: &ObjectMeta) -> String {
    metadata.name.clone().unwrap_or_default()
}

fn created(metadata: &ObjectMeta) -> Option<Timestamp> {
    metadata.creation_timestamp.as_ref().map(|time| time.0)
}

fn revision(metadata: &ObjectMeta) -> i64 {
    let annotations = metadata.annotations.as_ref();
    annotations
        .and_then(|all| all.get(keys::REVISION)?.parse().ok())
        .unwrap_or(0)
}

/// Objects with metadata, for the ownership test.
trait Owned {
    fn metadata(&self) -> &ObjectMeta;
}

macro_rules! owned {
    ($($kind:ty),+) => {
        $(impl Owned for $kind {
            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }
        })+
    };
}

owned!(ReplicaSet, Pod, Experiment, AnalysisRun);

/// Those that name `owner` by UID.
fn owned<K: Owned>(all: &[Arc<K>], owner: &ObjectMeta) -> Vec<Arc<K>> {
    let Some(uid) = &owner.uid else {
        return Vec::new();
    };
    all.iter()
        .filter(|one| {
            let owners = one
                .metadata()
                .owner_references
                .as_deref()
                .unwrap_or_default();
            owners.iter().any(|owner| owner.uid == *uid)
        })
        .cloned()
        .collect()
}

#[derive(Default)]
struct Revision {
    replica_sets: Vec<Arc<ReplicaSet>>,
    experiments: Vec<Arc<Experiment>>,
    analysis_runs: Vec<Arc<AnalysisRun>>,
}

fn rollout_node(rollout: &Rollout, health: &Health, around: Around<'_>, now: Timestamp) -> Node {
    let mut revisions: BTreeMap<Reverse<i64>, Revision> = BTreeMap::new();
    for set in owned(around.replica_sets, &rollout.metadata) {
        revisions
            .entry(Reverse(revision(&set.metadata)))
            .or_default()
            .replica_sets
            .push(set);
    }
    for one in owned(around.experiments, &rollout.metadata) {
        revisions
            .entry(Reverse(revision(&one.metadata)))
            .or_default()
            .experiments
            .push(one);
    }
    for run in owned(around.analysis_runs, &rollout.metadata) {
        revisions
            .entry(Reverse(revision(&run.metadata)))
            .or_default()
            .analysis_runs
            .push(run);
    }
    let children = revisions
        .into_iter()
        .map(|(Reverse(number), mut all)| {
            all.replica_sets.sort_by_key(|set| name(&set.metadata));
            all.experiments
                .sort_by_key(|one| (created(&one.metadata), name(&one.metadata)));
            sort_runs(&mut all.analysis_runs);
            let mut children: Vec<Node> = all
                .replica_sets
                .iter()
                .map(|set| replica_set_node(Some(rollout), set, around, now))
                .collect();
            children.extend(
                all.experiments
                    .iter()
                    .map(|one| experiment_node(one, around, now)),
            );
            children.extend(all.analysis_runs.iter().map(|run| run_node(run, now)));
            Node {
                kind: Kind::Revision,
                name: format!("revision:{number}"),
                health: None,
                age: String::new(),
                info: Vec::new(),
                children,
            }
        })
        .collect();
    Node {
        kind: Kind::Rollout,
        name: name(&rollout.metadata),
        health: Some(health.clone()),
        age: age::since(created(&rollout.metadata), now),
        info: Vec::new(),
        children,
    }
}

/// By creation, then by name from the end: `...-2-1` before `...-2`.
fn sort_runs(runs: &mut [Arc<AnalysisRun>]) {
    runs.sort_by_key(|run| (created(&run.metadata), Reverse(name(&run.metadata))));
}

fn replica_set_node(
    rollout: Option<&Rollout>,
    set: &ReplicaSet,
    around: Around<'_>,
    now: Timestamp,
) -> Node {
    let mut info: Vec<Info> = rollout
        .map(|rollout| roles::of(rollout, set))
        .unwrap_or_default()
        .into_iter()
        .map(Info::Role)
        .collect();
    if let Some(deadline) = set.annotation(keys::SCALE_DOWN_DEADLINE) {
        let left = deadline
            .parse::<Timestamp>()
            .map(|at| at.as_second() - now.as_second());
        info.push(Info::Text(match left {
            Ok(left) if left > 0 => format!("delay:{}", age::short(left)),
            Ok(_) => "delay:passed".into(),
            Err(_) => "delay:".into(),
        }));
    }
    let mut pods = owned(around.pods, &set.metadata);
    pods.sort_by_key(|pod| (created(&pod.metadata), name(&pod.metadata)));
    Node {
        kind: Kind::ReplicaSet,
        name: name(&set.metadata),
        health: Some(Health::of_workload(replica_set_word(set))),
        age: age::since(created(&set.metadata), now),
        info,
        children: pods.iter().map(|pod| pod_node(pod, now)).collect(),
    }
}

/// CLI-18
fn replica_set_word(set: &ReplicaSet) -> &'static str {
    let status = set.status.clone().unwrap_or_default();
    if status.observed_generation < set.metadata.generation.unwrap_or(0) {
        return "Progressing";
    }
    let failed = |one: &&_| replica_failure(one);
    if status.conditions.iter().find(failed).is_some() {
        return "ReplicaFailure";
    }
    let wanted = set.spec.replicas.unwrap_or(1);
    if status.available_replicas < wanted {
        "Progressing"
    } else if wanted == 0 {
        "ScaledDown"
    } else {
        "Healthy"
    }
}

fn replica_failure(condition: &sluice_crds::replica_set::ReplicaSetCondition) -> bool {
    condition.r#type == "ReplicaFailure" && condition.status == "True"
}

fn pod_node(pod: &Pod, now: Timestamp) -> Node {
    Node {
        kind: Kind::Pod,
        name: name(&pod.metadata),
        health: Some(pod::health(pod)),
        age: age::since(created(&pod.metadata), now),
        info: pod::info(pod),
        children: Vec::new(),
    }
}

fn experiment_node(experiment: &Experiment, around: Around<'_>, now: Timestamp) -> Node {
    let mut sets = owned(around.replica_sets, &experiment.metadata);
    sets.sort_by_key(|set| name(&set.metadata));
    let mut runs = owned(around.analysis_runs, &experiment.metadata);
    sort_runs(&mut runs);
    let mut children: Vec<Node> = sets
        .iter()
        .map(|set| replica_set_node(None, set, around, now))
        .collect();
    children.extend(runs.iter().map(|run| run_node(run, now)));
    let phase = experiment
        .status
        .as_ref()
        .map(|status| status.phase.clone())
        .unwrap_or_default();
    Node {
        kind: Kind::Experiment,
        name: name(&experiment.metadata),
        health: Some(Health::of_analysis(phase.as_str())),
        age: age::since(created(&experiment.metadata), now),
        info: Vec::new(),
        children,
    }
}

fn run_node(run: &AnalysisRun, now: Timestamp) -> Node {
    let status = run.status.clone().unwrap_or_default();
    let sum = |of: fn(&sluice_crds::analysis::MetricResult) -> i32| -> i32 {
        status.metric_results.iter().map(of).sum()
    };
    let counts = [
        ('✔', sum(|result| result.successful)),
        ('✖', sum(|result| result.failed)),
        ('?', sum(|result| result.inconclusive)),
        ('⚠', sum(|result| result.error)),
    ];
    let info = counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(icon, count)| Info::Text(format!("{icon} {count}")))
        .collect();
    let measurements = status
        .metric_results
        .iter()
        .flat_map(|result| &result.measurements);
    let jobs = measurements.filter_map(|measurement| {
        Some(Node {
            kind: Kind::Job,
            name: measurement
                .metadata
                .get(keys::MEASUREMENT_JOB_NAME)?
                .clone(),
            health: Some(Health::of_analysis(measurement.phase.as_str())),
            age: age::since(measurement.started_at.map(|time| time.timestamp()), now),
            info: Vec::new(),
            children: Vec::new(),
        })
    });
    Node {
        kind: Kind::AnalysisRun,
        name: name(&run.metadata),
        health: Some(Health::of_analysis(status.phase.as_str())),
        age: age::since(created(&run.metadata), now),
        info,
        children: jobs.collect(),
    }
}
