//! What the plugin and the dashboard draw, as plain data in the words of the screen.
//!
//! [`RolloutView::build`] joins a Rollout with its ReplicaSets, pods, Experiments and AnalysisRuns;
//! [`tree`] lays it out as `get rollout` does, [`list`] makes table rows. Nothing here writes to a
//! terminal: texts carry a [`Colour`], and whoever prints decides whether to paint.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sluice_crds::analysis::{AnalysisRunStatus, MetricResult};
use sluice_crds::{AnalysisRun, Experiment, ReplicaSet, Rollout, keys};

use crate::phase::{self, PhaseView};

pub mod age;
pub mod images;
pub mod list;
mod pods;
mod sets;
#[cfg(test)]
mod tests;
pub mod tree;
pub mod words;

pub use images::ImageView;
pub use pods::PodView;
pub use sets::{Delay, ReplicaSetView};
pub use words::{Colour, Role, Tag};

/// The objects that a view is drawn from. Objects of others among them do no harm: children are
/// found by the UID of their owner (CLI-13).
#[derive(Clone, Copy, Debug)]
pub struct Objects<'a> {
    /// ReplicaSets of the namespace.
    pub replica_sets: &'a [Arc<ReplicaSet>],
    /// Pods of the namespace.
    pub pods: &'a [Arc<Pod>],
    /// Experiments of the namespace.
    pub experiments: &'a [Arc<Experiment>],
    /// AnalysisRuns of the namespace.
    pub analysis_runs: &'a [Arc<AnalysisRun>],
}

/// A Rollout with everything below it.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutView {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Phase and message as readers should take them (CLI-8).
    pub phase: PhaseView,
    /// `Canary`, `BlueGreen`, or `unknown`.
    pub strategy: &'static str,
    /// Steps and weights of a canary.
    pub canary: Option<CanaryView>,
    /// Images that run.
    pub images: Vec<ImageView>,
    /// Pod counts.
    pub replicas: ReplicasView,
    /// Time since creation.
    pub age: String,
    /// Revisions, newest first.
    pub revisions: Vec<RevisionView>,
}

/// Steps and weights of a canary (CLI-10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryView {
    /// `index/count`; empty unless both exist.
    pub step: String,
    /// What the steps ask for.
    pub set_weight: i32,
    /// What the canary gets.
    pub actual_weight: i32,
    /// What weights are parts of.
    pub max_weight: i32,
}

/// Pod counts of a Rollout (CLI-9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicasView {
    /// `spec.replicas`, or 1.
    pub desired: i32,
    /// Pods of all versions.
    pub current: i32,
    /// Pods of the current version.
    pub updated: i32,
    /// Ready pods.
    pub ready: i32,
    /// Available pods.
    pub available: i32,
}

/// Everything that belongs to one revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RevisionView {
    /// The revision; 0 where the annotation is missing or no number.
    pub number: i64,
    /// ReplicaSets, by name.
    pub replica_sets: Vec<ReplicaSetView>,
    /// Experiments, oldest first.
    pub experiments: Vec<ExperimentView>,
    /// AnalysisRuns, oldest first.
    pub analysis_runs: Vec<AnalysisRunView>,
}

/// An Experiment with everything below it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExperimentView {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Phase as stored.
    pub status: String,
    /// Message as stored.
    pub message: String,
    /// Time since creation.
    pub age: String,
    /// Images that run.
    pub images: Vec<ImageView>,
    /// Its ReplicaSets, by name.
    pub replica_sets: Vec<ReplicaSetView>,
    /// Its AnalysisRuns, oldest first.
    pub analysis_runs: Vec<AnalysisRunView>,
}

/// An AnalysisRun.
#[derive(Clone, Debug, PartialEq)]
pub struct AnalysisRunView {
    /// Name.
    pub name: String,
    /// Phase as stored.
    pub status: String,
    /// Message as stored.
    pub message: String,
    /// Time since creation.
    pub age: String,
    /// Successful, failed, inconclusive and error measurements of all metrics.
    pub counts: [i32; 4],
    /// One per measurement that ran as a Job. Jobs themselves are not read.
    pub jobs: Vec<JobView>,
    /// The results as stored, for those who show measurements.
    pub metrics: Vec<MetricResult>,
}

/// A measurement that ran as a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    /// Name of the Job.
    pub name: String,
    /// Phase of the measurement.
    pub status: String,
    /// Time since the measurement began.
    pub age: String,
}

impl RolloutView {
    /// Joins a Rollout with what belongs to it (CLI-8..13).
    #[must_use]
    pub fn build(rollout: &Rollout, objects: Objects<'_>, now: Timestamp) -> Self {
        let status = rollout.status.clone().unwrap_or_default();
        let roles = sets::Roles::of(rollout, &status);
        let uid = uid(&rollout.metadata);
        let mut own = sets::of_owner(uid, objects, &roles, now);
        let experiments = experiments_of(uid, objects, now);
        let runs = runs_of(uid, objects.analysis_runs, now);
        let arms = experiments
            .iter()
            .flat_map(|(_, experiment)| &experiment.replica_sets);
        let images = images::merge(own.iter().map(|(_, set)| set).chain(arms));
        let canary = rollout.spec.canary().map(|_| canary_view(rollout, &own));
        own.sort_by(|a, b| a.1.name.cmp(&b.1.name));
        Self {
            name: rollout.metadata.name.clone().unwrap_or_default(),
            namespace: rollout.metadata.namespace.clone().unwrap_or_default(),
            phase: phase::shown(rollout),
            strategy: strategy(rollout),
            canary,
            images,
            replicas: ReplicasView {
                desired: rollout.spec.replicas(),
                current: status.replicas,
                updated: status.updated_replicas,
                ready: status.ready_replicas,
                available: status.available_replicas,
            },
            age: age::since(created(&rollout.metadata), now),
            revisions: revisions(own, experiments, runs),
        }
    }
}

impl ExperimentView {
    /// Joins an Experiment with what belongs to it (CLI-22).
    #[must_use]
    pub fn build(experiment: &Experiment, objects: Objects<'_>, now: Timestamp) -> Self {
        let status = experiment.status.clone().unwrap_or_default();
        let uid = uid(&experiment.metadata);
        let mut replica_sets: Vec<ReplicaSetView> =
            sets::of_owner(uid, objects, &sets::Roles::default(), now)
                .into_iter()
                .map(|(_, set)| set)
                .collect();
        replica_sets.sort_by(|a, b| a.name.cmp(&b.name));
        let runs = runs_of(uid, objects.analysis_runs, now);
        Self {
            name: experiment.metadata.name.clone().unwrap_or_default(),
            namespace: experiment.metadata.namespace.clone().unwrap_or_default(),
            status: status.phase.to_string(),
            message: status.message,
            age: age::since(created(&experiment.metadata), now),
            images: images::merge(&replica_sets),
            replica_sets,
            analysis_runs: runs.into_iter().map(|(_, run)| run).collect(),
        }
    }
}

impl AnalysisRunView {
    /// One run.
    #[must_use]
    pub fn build(run: &AnalysisRun, now: Timestamp) -> Self {
        let empty = AnalysisRunStatus::default();
        let status = run.status.as_ref().unwrap_or(&empty);
        let mut counts = [0; 4];
        let mut jobs = Vec::new();
        for result in &status.metric_results {
            let of_metric = [
                result.successful,
                result.failed,
                result.inconclusive,
                result.error,
            ];
            for (sum, count) in counts.iter_mut().zip(of_metric) {
                *sum += count;
            }
            for measurement in &result.measurements {
                let Some(job) = measurement.metadata.get(keys::MEASUREMENT_JOB_NAME) else {
                    continue;
                };
                jobs.push(JobView {
                    name: job.clone(),
                    status: measurement.phase.to_string(),
                    age: age::since(measurement.started_at.map(|at| at.timestamp()), now),
                });
            }
        }
        Self {
            name: run.metadata.name.clone().unwrap_or_default(),
            status: status.phase.to_string(),
            message: status.message.clone(),
            age: age::since(created(&run.metadata), now),
            counts,
            jobs,
            metrics: status.metric_results.clone(),
        }
    }
}

/// The strategy as it is shown.
#[must_use]
pub fn strategy(rollout: &Rollout) -> &'static str {
    match (rollout.spec.canary(), rollout.spec.blue_green()) {
        (Some(_), _) => "Canary",
        (None, Some(_)) => "BlueGreen",
        (None, None) => "unknown",
    }
}

/// `index/count` of the steps; empty unless both exist.
#[must_use]
pub fn step(rollout: &Rollout) -> String {
    let index = rollout
        .status
        .as_ref()
        .and_then(|status| status.current_step_index);
    match (index, rollout.spec.steps().len()) {
        (None, _) | (_, 0) => String::new(),
        (Some(index), count) => format!("{index}/{count}"),
    }
}

/// The index of the step that is current, if one is.
fn current_step(rollout: &Rollout) -> Option<usize> {
    let index = rollout
        .status
        .as_ref()
        .and_then(|status| status.current_step_index);
    let index = usize::try_from(index.unwrap_or(0)).ok()?;
    (index < rollout.spec.steps().len()).then_some(index)
}

/// The weight that the steps ask for, as written (CLI-10).
#[must_use]
pub fn set_weight(rollout: &Rollout) -> i32 {
    if rollout.status.as_ref().is_some_and(|status| status.abort) {
        return 0;
    }
    let Some(index) = current_step(rollout) else {
        return rollout.spec.max_traffic_weight();
    };
    let reached = rollout.spec.steps().get(..=index).unwrap_or_default();
    reached
        .iter()
        .rev()
        .find_map(|step| step.set_weight)
        .unwrap_or(0)
}

fn canary_view(rollout: &Rollout, sets: &[(i64, ReplicaSetView)]) -> CanaryView {
    let max_weight = rollout.spec.max_traffic_weight();
    let set_weight = set_weight(rollout);
    let status = rollout.status.as_ref();
    let available = status.map_or(0, |status| status.available_replicas);
    let actual_weight = if current_step(rollout).is_none() {
        max_weight
    } else if available <= 0 {
        0
    } else if rollout.spec.traffic_routing().is_some() {
        let weights = status.and_then(|status| status.canary.weights.as_ref());
        weights.map_or(set_weight, |weights| weights.canary.weight)
    } else {
        let canary = sets
            .iter()
            .find(|(_, set)| set.roles.contains(&Role::Canary));
        let pods = canary.map_or(0, |(_, set)| set.available);
        crate::units::share_down(max_weight, pods, available)
    };
    CanaryView {
        step: step(rollout),
        set_weight,
        actual_weight,
        max_weight,
    }
}

fn uid(meta: &ObjectMeta) -> &str {
    meta.uid.as_deref().unwrap_or("")
}

fn created(meta: &ObjectMeta) -> Option<Timestamp> {
    meta.creation_timestamp.as_ref().map(|at| at.0)
}

fn owned_by(meta: &ObjectMeta, uid: &str) -> bool {
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    owners.iter().any(|owner| owner.uid == uid)
}

fn revision_of(meta: &ObjectMeta) -> i64 {
    let annotations = meta.annotations.as_ref();
    let text = annotations.and_then(|map| map.get(keys::REVISION));
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn experiments_of(uid: &str, objects: Objects<'_>, now: Timestamp) -> Vec<(i64, ExperimentView)> {
    let own = objects
        .experiments
        .iter()
        .filter(|experiment| owned_by(&experiment.metadata, uid));
    let mut own: Vec<&Arc<Experiment>> = own.collect();
    own.sort_by(|a, b| {
        let key = |e: &Experiment| (created(&e.metadata), e.metadata.name.clone());
        key(a).cmp(&key(b))
    });
    own.into_iter()
        .map(|e| {
            (
                revision_of(&e.metadata),
                ExperimentView::build(e, objects, now),
            )
        })
        .collect()
}

fn runs_of(uid: &str, runs: &[Arc<AnalysisRun>], now: Timestamp) -> Vec<(i64, AnalysisRunView)> {
    let own = runs.iter().filter(|run| owned_by(&run.metadata, uid));
    let mut own: Vec<&Arc<AnalysisRun>> = own.collect();
    own.sort_by(|a, b| {
        let by_age = created(&a.metadata).cmp(&created(&b.metadata));
        by_age.then_with(|| b.metadata.name.cmp(&a.metadata.name))
    });
    own.into_iter()
        .map(|run| (revision_of(&run.metadata), AnalysisRunView::build(run, now)))
        .collect()
}

/// Sorts everything into its revision, newest first.
fn revisions(
    sets: Vec<(i64, ReplicaSetView)>,
    experiments: Vec<(i64, ExperimentView)>,
    runs: Vec<(i64, AnalysisRunView)>,
) -> Vec<RevisionView> {
    let mut all = std::collections::BTreeMap::<i64, RevisionView>::new();
    for (number, set) in sets {
        all.entry(number).or_default().replica_sets.push(set);
    }
    for (number, experiment) in experiments {
        all.entry(number).or_default().experiments.push(experiment);
    }
    for (number, run) in runs {
        all.entry(number).or_default().analysis_runs.push(run);
    }
    let numbered = all.into_iter().rev();
    numbered
        .map(|(number, revision)| RevisionView { number, ..revision })
        .collect()
}
