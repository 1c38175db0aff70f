//! Everything a decision about one Rollout may look at. Filled by the shell's `observe`, from caches
//! that already show the shell's own writes (INV-6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use sluice_crds::references::References;
use sluice_crds::{AnalysisRun, Experiment, LabelSelector, RawPodTemplate, ReplicaSet, Rollout};

use crate::traffic::Verification;

pub mod peak;

pub use peak::Peak;

/// An object that was looked for. Absent and unread differ: nothing is concluded from the latter.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen<T> {
    /// It exists.
    Found(T),
    /// It certainly does not exist.
    Absent,
    /// It could not be read; why.
    Unread(String),
}

/// One Rollout and all that belongs to it.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The Rollout as stored: the template of a referenced workload is not filled in.
    pub rollout: Arc<Rollout>,
    /// What `spec.workloadRef` leads to.
    pub workload: Workload,
    /// ReplicaSets that are owned by this Rollout's UID, or ownerless and matching its selector.
    pub replica_sets: Vec<Arc<ReplicaSet>>,
    /// Every Service that the spec names, by name.
    pub services: BTreeMap<String, Seen<ServiceView>>,
    /// AnalysisRuns owned by this Rollout.
    pub analysis_runs: Vec<Arc<AnalysisRun>>,
    /// Experiments owned by this Rollout.
    pub experiments: Vec<Arc<Experiment>>,
    /// Objects that the spec refers to and that validation looks at (API-49).
    pub references: References,
    /// Pod-template hashes selected by any subset of the Istio DestinationRule (CTL-44).
    pub subset_hashes: Seen<BTreeSet<String>>,
    /// What the routers say about the weights that status records.
    pub verification: Verification,
    /// Pods of the owned ReplicaSets, sorted by name; read live, and only when
    /// [`crate::decide::needs_pods`] says so.
    pub pods: Option<Vec<PodView>>,
    /// Names at which creating a child failed because somebody else's object has it.
    pub taken_names: BTreeSet<String>,
    /// The write that failed in the previous pass, if one did.
    pub failure: Option<Failure>,
    /// How many pods of each ReplicaSet have been up at once, by its name, as far as is remembered.
    pub peaks: BTreeMap<String, Peak>,
    /// Settings of the process that decisions depend on.
    pub settings: Settings,
}

/// What a `workloadRef` leads to (CTL-144).
#[derive(Clone, Debug, Default)]
pub enum Workload {
    /// The Rollout has no `workloadRef`.
    #[default]
    NotReferenced,
    /// It was found.
    Found(WorkloadView),
    /// It could not be used; the text users know (API-28).
    Unusable(String),
}

/// A Deployment, ReplicaSet or PodTemplate that a Rollout takes its pod template from.
#[derive(Clone, Debug)]
pub struct WorkloadView {
    /// Its pod template.
    pub template: RawPodTemplate,
    /// Its selector; a PodTemplate has none.
    pub selector: Option<LabelSelector>,
    /// Its `metadata.generation`.
    pub generation: Option<i64>,
    /// Its `spec.replicas`, where it has replicas.
    pub replicas: Option<i32>,
}

/// A Service as far as decisions need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceView {
    /// `spec.selector`.
    pub selector: BTreeMap<String, String>,
    /// Annotation `argo-rollouts.argoproj.io/managed-by-rollouts`.
    pub managed_by: Option<String>,
}

impl ServiceView {
    /// The pod-template hash it selects; empty when it selects none.
    #[must_use]
    pub fn pod_hash(&self) -> &str {
        self.selector
            .get(sluice_crds::keys::POD_TEMPLATE_HASH)
            .map_or("", String::as_str)
    }
}

/// A pod as far as restarts and ephemeral metadata need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// `metadata.name`.
    pub name: String,
    /// UID of the controlling ReplicaSet.
    pub owner: String,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// Ready for `minReadySeconds`, and not terminating.
    pub available: bool,
    /// Has a deletion timestamp.
    pub terminating: bool,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

/// A write that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which write.
    pub what: FailedWrite,
    /// Name of the object it was for.
    pub object: String,
    /// The API server's (or the router's) words.
    pub message: String,
}

/// Kinds of writes whose failure changes a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedWrite {
    /// Creating a ReplicaSet failed, other than by a name clash.
    CreateReplicaSet,
    /// The name of a new ReplicaSet belongs to an object that is not ours (CTL-23).
    ReplicaSetNameTaken,
    /// A router refused, or its object is missing or malformed.
    Route,
    /// Anything else.
    Other,
}

/// Settings of the process that decisions depend on.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `--rollout-resync`: longest time between two looks at an object.
    pub resync: SignedDuration,
    /// `--instance-id`; empty when not set.
    pub instance_id: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            resync: SignedDuration::from_secs(900),
            instance_id: String::new(),
        }
    }
}
