//! What the plugin and the dashboard draw of a Rollout: its numbers and its tree, as plain data.
//!
//! [`RolloutView::new`] and [`ExperimentView::new`] are pure; [`tree::render`] turns a view into the
//! text that `get rollout` prints (CLI-9..22).

pub mod age;
mod build;
mod images;
pub mod list;
pub(crate) mod pod;
pub(crate) mod roles;
pub mod tree;
pub mod weights;

pub use build::{ExperimentView, RolloutView};
pub use roles::Role;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use sluice_crds::{AnalysisRun, Experiment, ReplicaSet};

/// Objects of one namespace that may belong to what is drawn; ownership is worked out by UID.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around<'a> {
    /// ReplicaSets.
    pub replica_sets: &'a [Arc<ReplicaSet>],
    /// Pods.
    pub pods: &'a [Arc<Pod>],
    /// Experiments.
    pub experiments: &'a [Arc<Experiment>],
    /// AnalysisRuns.
    pub analysis_runs: &'a [Arc<AnalysisRun>],
}

/// What a row of the tree is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The Rollout itself.
    Rollout,
    /// A revision: a heading, not an object.
    Revision,
    /// A ReplicaSet.
    ReplicaSet,
    /// A pod.
    Pod,
    /// An Experiment.
    Experiment,
    /// An AnalysisRun.
    AnalysisRun,
    /// The Job of a measurement.
    Job,
}

impl Kind {
    /// The icon before the name (CLI-17).
    #[must_use]
    pub fn icon(self) -> char {
        match self {
            Self::Rollout => '⟳',
            Self::Revision => '#',
            Self::ReplicaSet => '⧉',
            Self::Pod => '□',
            Self::Experiment => 'Σ',
            Self::AnalysisRun => 'α',
            Self::Job => '⊞',
        }
    }

    /// The word in column KIND; a heading has none.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rollout => "Rollout",
            Self::Revision => "",
            Self::ReplicaSet => "ReplicaSet",
            Self::Pod => "Pod",
            Self::Experiment => "Experiment",
            Self::AnalysisRun => "AnalysisRun",
            Self::Job => "Job",
        }
    }
}

/// How something is doing, for people: a word and the icon that belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// `✔`, `◌` ...; a blank for words without an icon.
    pub icon: char,
    /// Such as `Healthy`, `Running`, `ImagePullBackOff`.
    pub word: String,
}

impl Health {
    /// Of a Rollout or ReplicaSet (CLI-17).
    #[must_use]
    pub fn of_workload(word: impl Into<String>) -> Self {
        let word = word.into();
        let icon = match word.as_str() {
            "Progressing" => '◌',
            "Paused" => '॥',
            "Healthy" => '✔',
            "Degraded" | "ReplicaFailure" => '✖',
            "Unknown" => '?',
            "ScaledDown" => '•',
            "Error" | "InvalidSpec" => '⚠',
            _ => ' ',
        };
        Self { icon, word }
    }

    /// Of an AnalysisRun, Experiment or Job (CLI-17).
    #[must_use]
    pub fn of_analysis(word: impl Into<String>) -> Self {
        let word = word.into();
        let icon = match word.as_str() {
            "Successful" => '✔',
            "Inconclusive" => '?',
            "Failed" => '✖',
            "Error" => '⚠',
            "Running" => '◌',
            "Pending" => '◷',
            _ => ' ',
        };
        Self { icon, word }
    }
}

/// One row and what hangs below it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Its name; of a revision `revision:N`.
    pub name: String,
    /// How it is doing; of a revision nothing.
    pub health: Option<Health>,
    /// Its age in short form; of a revision empty.
    pub age: String,
    /// The parts of column INFO (CLI-16).
    pub info: Vec<Info>,
    /// Children, in the order in which they are drawn.
    pub children: Vec<Node>,
}

/// One part of column INFO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Info {
    /// What a ReplicaSet is to its Rollout.
    Role(Role),
    /// Anything else.
    Text(String),
}

impl std::fmt::Display for Info {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Role(role) => f.write_str(role.word()),
            Self::Text(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests;
