//! `spec` of a Rollout, down to its strategies (API-11, API-15).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::blue_green::BlueGreenStrategy;
use super::canary::CanaryStrategy;
use crate::pod_template::RawPodTemplate;
use crate::selector::LabelSelector;
use crate::time::Time;
use crate::wire;

/// What a user asks of a Rollout (API-11). Nothing in it is required by the schema.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutSpec {
    /// Desired pods; absent means 1 and is written back as 1 by the controller.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub replicas: Option<i32>,
    /// Pods of this Rollout. Required unless `workloadRef` brings one; immutable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Pod template; must be empty when `workloadRef` is set.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub template: RawPodTemplate,
    /// Takes the template (and selector) from another object (API-27).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_ref: Option<ObjectRef>,
    /// Seconds a pod must stay ready before it counts as available.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub min_ready_seconds: i32,
    /// Exactly one of blue-green and canary.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub strategy: RolloutStrategy,
    /// Old ReplicaSets kept besides new and stable; default 10.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub revision_history_limit: Option<i32>,
    /// Manual hold. Written by users only.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub paused: bool,
    /// Seconds without progress until the update counts as stuck; default 600 (API-61).
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub progress_deadline_seconds: Option<i32>,
    /// Whether passing the deadline aborts the update (API-62).
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub progress_deadline_abort: bool,
    /// Pods created before this moment are evicted once it has passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_at: Option<Time>,
    /// Going back to a recent revision skips steps and analysis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_window: Option<RollbackWindowSpec>,
    /// How many finished runs and experiments are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis: Option<AnalysisRunStrategy>,
}

/// The object whose pod template a Rollout runs (API-27..30).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// Group and version of the object, such as `apps/v1`.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub api_version: String,
    /// `Deployment`, `ReplicaSet` or `PodTemplate`.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub kind: String,
    /// Name, in the namespace of the Rollout.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub name: String,
    /// What happens to the Deployment: `never` (also when empty), `onsuccess`, `progressively`.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub scale_down: String,
}

/// The update strategy: exactly one member must be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStrategy {
    /// Switch a Service from the old to the new ReplicaSet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blue_green: Option<BlueGreenStrategy>,
    /// Move pods or traffic over in steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryStrategy>,
}

/// How far back an update counts as a rollback.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RollbackWindowSpec {
    /// Number of revisions; 0 switches the window off.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub revisions: i32,
}

/// History limits of AnalysisRuns and Experiments of a Rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AnalysisRunStrategy {
    /// Finished successful ones kept; default 5.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub successful_run_history_limit: Option<i32>,
    /// Finished failed, errored and inconclusive ones kept; default 5.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub unsuccessful_run_history_limit: Option<i32>,
}

/// Keeps pods of the new ReplicaSet off the nodes of the stable one (API-15). Exactly one member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AntiAffinity {
    /// Best effort, with a weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_during_scheduling_ignored_during_execution:
        Option<PreferredDuringSchedulingIgnoredDuringExecution>,
    /// Pods stay pending rather than share a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_during_scheduling_ignored_during_execution:
        Option<RequiredDuringSchedulingIgnoredDuringExecution>,
}

/// Weighted anti-affinity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PreferredDuringSchedulingIgnoredDuringExecution {
    /// 1 to 100.
    #[serde(deserialize_with = "wire::number")]
    #[schemars(extend("x-required" = true))]
    pub weight: i32,
}

/// Hard anti-affinity; has no members.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RequiredDuringSchedulingIgnoredDuringExecution {}

/// Labels and annotations added to pods or runs (API-41).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplateMetadata {
    /// Labels to add.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub labels: BTreeMap<String, String>,
    /// Annotations to add.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub annotations: BTreeMap<String, String>,
}
