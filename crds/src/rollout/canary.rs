//! The canary strategy as users write it (API-13).

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::analysis::RolloutAnalysisBackground;
use super::spec::{AntiAffinity, PodTemplateMetadata};
use super::step::CanaryStep;
use super::traffic::RolloutTrafficRouting;
use crate::wire;

/// `spec.strategy.canary` (API-13).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CanaryStrategy {
    /// Service that points at the new ReplicaSet.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub canary_service: String,
    /// Service that points at the stable ReplicaSet.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub stable_service: String,
    /// What to do between start and promotion; none means a rolling update.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub steps: Vec<CanaryStep>,
    /// Router that splits requests; absent means weight by pod counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_routing: Option<Box<RolloutTrafficRouting>>,
    /// Pods below the desired count during an update; default 25%, rounded down.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::int_or_string"
    )]
    pub max_unavailable: Option<IntOrString>,
    /// Pods above the desired count during an update; default 25%, rounded up.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::int_or_string"
    )]
    pub max_surge: Option<IntOrString>,
    /// Analysis that runs beside the steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Box<RolloutAnalysisBackground>>,
    /// Spread of new and stable pods over nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anti_affinity: Option<AntiAffinity>,
    /// Metadata of pods while they are the canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_metadata: Option<PodTemplateMetadata>,
    /// Metadata of pods while they are stable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable_metadata: Option<PodTemplateMetadata>,
    /// Seconds until the previous ReplicaSet goes to 0; default 30 with a router, else 0.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub scale_down_delay_seconds: Option<i32>,
    /// Old ReplicaSets that the delay may keep up at a time; default unlimited.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub scale_down_delay_revision_limit: Option<i32>,
    /// Seconds until the canary goes to 0 after an abort; default 30, 0 never. Router only.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub abort_scale_down_delay_seconds: Option<i32>,
    /// Shrink the stable ReplicaSet with its share of traffic. Router only.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub dynamic_stable_scale: bool,
    /// Two Services that take turns as stable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping_pong: Option<PingPongSpec>,
    /// Least size of a ReplicaSet that is not empty. Router only.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub min_pods_per_replica_set: Option<i32>,
    /// When the canary counts as ready; default all of its pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica_progress_threshold: Option<ReplicaProgressThreshold>,
}

/// The two Services of a ping-pong canary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PingPongSpec {
    /// First Service.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub ping_service: String,
    /// Second Service; the stable one before the first promotion.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub pong_service: String,
}

/// How much of the canary must be available for a step to go on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaProgressThreshold {
    /// `Percent` of the desired pods or number of `Pods` (anything else acts as `Pods`).
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub r#type: String,
    /// The amount.
    #[serde(deserialize_with = "wire::number")]
    #[schemars(extend("x-required" = true))]
    pub value: i32,
}
