//! Steps of a canary (API-17, API-18).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::analysis::{AnalysisRunArgument, DryRun, RolloutAnalysis};
use super::spec::PodTemplateMetadata;
use crate::selector::LabelSelector;
use crate::wire;

/// One step of a canary: exactly one member should be set (API-17).
///
/// The order of members, here and in everything below, is the order in which the step hash reads
/// them (API-35): do not reorder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CanaryStep {
    /// Canary weight, 0 to `maxTrafficWeight`.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub set_weight: Option<i32>,
    /// Wait for a time or for a human.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<RolloutPause>,
    /// Run an Experiment; passes when it is Successful.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment: Option<Box<RolloutExperimentStep>>,
    /// Run an analysis; passes when it is Successful.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Box<RolloutAnalysis>>,
    /// Size of the new ReplicaSet apart from its weight. Router only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_canary_scale: Option<SetCanaryScale>,
    /// Route requests with certain headers to the canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_header_route: Option<Box<SetHeaderRoute>>,
    /// Copy matching requests to the canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_mirror_route: Option<Box<SetMirrorRoute>>,
    /// Hand the step to a step plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<Box<PluginStep>>,
}

/// A pause; without duration it lasts until somebody promotes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutPause {
    /// Seconds as number or digits, or a Go duration (API-17).
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::int_or_string"
    )]
    pub duration: Option<IntOrString>,
}

/// Size of the canary; the first of matchTrafficWeight, replicas, weight that is set wins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SetCanaryScale {
    /// Share of the desired replicas, in parts of `maxTrafficWeight`, rounded up.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub weight: Option<i32>,
    /// Number of pods.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub replicas: Option<i32>,
    /// Follow the traffic weight again.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub match_traffic_weight: bool,
}

/// A managed route by request headers; without matches it is removed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SetHeaderRoute {
    /// Name of the route, listed in `managedRoutes`.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub name: String,
    /// All must match.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub r#match: Vec<HeaderRoutingMatch>,
}

/// One header condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderRoutingMatch {
    /// Name of the header.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub header_name: String,
    /// What its value must be.
    #[schemars(extend("x-required" = true))]
    pub header_value: Option<StringMatch>,
}

/// How a text is compared: exactly one member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StringMatch {
    /// Equal to this.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub exact: String,
    /// Starts with this.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub prefix: String,
    /// Matches this regular expression of the router.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub regex: String,
}

/// A managed route that copies requests; without matches it is removed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SetMirrorRoute {
    /// Name of the route, listed in `managedRoutes`.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// One of these must match.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub r#match: Vec<RouteMatch>,
    /// Share of matching requests to copy; default 100.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub percentage: Option<i32>,
}

/// Conditions on one request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteMatch {
    /// HTTP method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<StringMatch>,
    /// Path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<StringMatch>,
    /// Header values by header name.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub headers: BTreeMap<String, StringMatch>,
}

/// A step that a plugin carries out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PluginStep {
    /// Name of the plugin.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Passed to the plugin as it is.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "wire::sorted"
    )]
    #[schemars(schema_with = "wire::any_object")]
    pub config: Option<serde_json::Value>,
}

/// An Experiment made by a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutExperimentStep {
    /// What to run.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub templates: Vec<RolloutExperimentTemplate>,
    /// Go duration counted from availability; empty means until the analyses end.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub duration: String,
    /// Analyses of the Experiment.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub analyses: Vec<RolloutExperimentStepAnalysisTemplateRef>,
    /// Metrics that are measured without consequence.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub dry_run: Vec<DryRun>,
    /// Added to the runs. Always written.
    #[serde(deserialize_with = "wire::or_default")]
    pub analysis_run_metadata: PodTemplateMetadata,
    /// Seconds until the template ReplicaSets go to 0; default 30.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub scale_down_delay_seconds: Option<i32>,
}

/// One template of an Experiment step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutExperimentTemplate {
    /// Name of the template.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Whose pod template: `canary` or `stable`.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub spec_ref: String,
    /// Pods; default 1.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub replicas: Option<i32>,
    /// Added to the pods; its labels also to the selector. Always written.
    #[serde(deserialize_with = "wire::or_default")]
    pub metadata: PodTemplateMetadata,
    /// Selector in place of the one derived from the Rollout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Share of traffic given to these pods.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub weight: Option<i32>,
    /// Makes a Service for the template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<TemplateService>,
}

/// Asks for a Service in front of an Experiment template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateService {
    /// Its name; empty means that of the ReplicaSet.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub name: String,
}

/// An analysis of an Experiment step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutExperimentStepAnalysisTemplateRef {
    /// Name of the analysis within the Experiment.
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
    /// Arguments.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub args: Vec<AnalysisRunArgument>,
    /// Whether the Experiment ends with this analysis (API-39).
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub required_for_completion: bool,
}
