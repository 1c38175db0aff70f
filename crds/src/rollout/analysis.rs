//! References from a Rollout to analyses (API-19, API-20).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::spec::PodTemplateMetadata;
use crate::wire;

/// An analysis that a Rollout starts (API-19). Without templates no run is made.
///
/// Members are in the order of the step hash (API-35).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutAnalysis {
    /// Templates merged into the run.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub templates: Vec<AnalysisTemplateRef>,
    /// Arguments given to the templates.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub args: Vec<AnalysisRunArgument>,
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
    /// Added to the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis_run_metadata: Option<PodTemplateMetadata>,
}

/// The analysis beside the steps of a canary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutAnalysisBackground {
    /// Templates merged into the run.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub templates: Vec<AnalysisTemplateRef>,
    /// Arguments given to the templates.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub args: Vec<AnalysisRunArgument>,
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
    /// Added to the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis_run_metadata: Option<PodTemplateMetadata>,
    /// Step index from which it runs; default 0.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub starting_step: Option<i32>,
}

/// A template by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AnalysisTemplateRef {
    /// Its name. Always written.
    #[serde(deserialize_with = "wire::or_default")]
    pub template_name: String,
    /// Whether it is a ClusterAnalysisTemplate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_scope: Option<bool>,
}

/// An argument of a run started by a Rollout (API-20).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AnalysisRunArgument {
    /// Name of the argument.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Its value, unless `valueFrom` gives one.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub value: String,
    /// Where the value comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ArgumentValueFrom>,
}

/// Source of a value; the pod hash wins over the field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ArgumentValueFrom {
    /// `Stable` or `Latest`: hash of that ReplicaSet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_template_hash_value: Option<String>,
    /// A field of the Rollout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_ref: Option<FieldRef>,
}

/// A field by path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FieldRef {
    /// `metadata...` as in the downward API, or a path into the object (API-20).
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub field_path: String,
}

/// Metrics measured without consequence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DryRun {
    /// Unanchored regular expression over metric names.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub metric_name: String,
}

/// How many measurements of some metrics are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MeasurementRetention {
    /// Unanchored regular expression over metric names.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub metric_name: String,
    /// Measurements kept; 0 or less means the default of 10.
    #[serde(deserialize_with = "wire::number")]
    #[schemars(extend("x-required" = true))]
    pub limit: i32,
}
