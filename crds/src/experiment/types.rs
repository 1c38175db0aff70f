//! `spec` and `status` of an Experiment (API-26, API-38, EXP-10).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::analysis::{AnalysisPhase, Argument};
use crate::pod_template::RawPodTemplate;
use crate::rollout::{
    DryRun, MeasurementRetention, PodTemplateMetadata, RolloutCondition, TemplateService,
};
use crate::selector::LabelSelector;
use crate::time::Time;
use crate::wire::{self, wire_enum};

wire_enum! {
    /// State of one template of an Experiment.
    pub enum TemplateStatusCode {
        /// Pods are on their way.
        Progressing,
        /// All pods are available.
        Running,
        /// Ended well.
        Successful,
        /// Stuck.
        Failed,
        /// An API call failed.
        Error,
    }
}

/// What an Experiment runs (API-26).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExperimentSpec {
    /// One ReplicaSet each.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub templates: Vec<TemplateSpec>,
    /// Go duration counted from availability; empty means endless.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub duration: String,
    /// Seconds without progress per template; default 600.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub progress_deadline_seconds: Option<i32>,
    /// Stop now. Set by users and by the owner of the Experiment.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub terminate: bool,
    /// Analyses started once all templates are available.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub analyses: Vec<ExperimentAnalysisTemplateRef>,
    /// Seconds until the ReplicaSets go to 0; default 30.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub scale_down_delay_seconds: Option<i32>,
    /// Metrics that are measured without consequence.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub dry_run: Vec<DryRun>,
    /// How many measurements are kept.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub measurement_retention: Vec<MeasurementRetention>,
    /// Added to the runs. Always written.
    #[serde(deserialize_with = "wire::or_default")]
    pub analysis_run_metadata: PodTemplateMetadata,
}

/// One set of pods of an Experiment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateSpec {
    /// Name within the Experiment.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Pods; default 1.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub replicas: Option<i32>,
    /// Seconds a pod must stay ready before it counts as available.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub min_ready_seconds: i32,
    /// Pods of the template.
    #[schemars(extend("x-required" = true))]
    pub selector: Option<LabelSelector>,
    /// Pod template.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub template: RawPodTemplate,
    /// Makes a Service for the template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<TemplateService>,
}

/// An analysis of an Experiment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExperimentAnalysisTemplateRef {
    /// Name within the Experiment.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// AnalysisTemplate to run.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub template_name: String,
    /// Whether that is a ClusterAnalysisTemplate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_scope: Option<bool>,
    /// Arguments; only `value` counts, and may hold placeholders (API-26).
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub args: Vec<Argument>,
    /// Whether the Experiment ends with this analysis (API-39).
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub required_for_completion: bool,
}

/// State of an Experiment (API-38, EXP-10). Written by the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExperimentStatus {
    /// Verdict so far.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub phase: AnalysisPhase,
    /// Why.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub message: String,
    /// First time all templates were available.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_at: Option<Time>,
    /// One per template.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub template_statuses: Vec<TemplateStatus>,
    /// Conditions.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub conditions: Vec<RolloutCondition>,
    /// One per analysis that was started.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub analysis_runs: Vec<ExperimentAnalysisRunStatus>,
}

/// State of one template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateStatus {
    /// Template.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Pods.
    #[serde(deserialize_with = "wire::number")]
    #[schemars(extend("x-required" = true))]
    pub replicas: i32,
    /// Equal to `replicas`.
    #[serde(deserialize_with = "wire::number")]
    #[schemars(extend("x-required" = true))]
    pub updated_replicas: i32,
    /// Ready pods.
    #[serde(deserialize_with = "wire::number")]
    #[schemars(extend("x-required" = true))]
    pub ready_replicas: i32,
    /// Available pods.
    #[serde(deserialize_with = "wire::number")]
    #[schemars(extend("x-required" = true))]
    pub available_replicas: i32,
    /// Times the name of its ReplicaSet was taken.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub collision_count: Option<i32>,
    /// How it stands.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub status: TemplateStatusCode,
    /// Why.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub message: String,
    /// Last change of the counters or the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// Service of the template, when there is one.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub service_name: String,
    /// Pod hash, when there is a Service.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub pod_template_hash: String,
}

/// State of one analysis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExperimentAnalysisRunStatus {
    /// Analysis.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Name of its run.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub analysis_run: String,
    /// Verdict of the run.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub phase: AnalysisPhase,
    /// Why.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub message: String,
}
