//! The blue-green strategy as users write it (API-12).

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::analysis::RolloutAnalysis;
use super::spec::{AntiAffinity, PodTemplateMetadata};
use crate::wire;

/// `spec.strategy.blueGreen` (API-12).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BlueGreenStrategy {
    /// Service that is switched to the promoted ReplicaSet.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub active_service: String,
    /// Service that points at the new ReplicaSet at once.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub preview_service: String,
    /// Size of the new ReplicaSet before promotion; default all replicas.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub preview_replica_count: Option<i32>,
    /// `false` waits for a human; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_promotion_enabled: Option<bool>,
    /// Seconds of pause before the promotion happens by itself; 0 means no timer.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub auto_promotion_seconds: i32,
    /// Pods that a restart may take down at once; default 25%, rounded down.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::int_or_string"
    )]
    pub max_unavailable: Option<IntOrString>,
    /// Seconds until the previous ReplicaSet goes to 0; default 30.
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
    /// Seconds until the preview goes to 0 after an abort; default 30, 0 never.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub abort_scale_down_delay_seconds: Option<i32>,
    /// Analysis before the active Service is switched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_promotion_analysis: Option<Box<RolloutAnalysis>>,
    /// Analysis after the active Service was switched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_promotion_analysis: Option<Box<RolloutAnalysis>>,
    /// Spread of new and stable pods over nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anti_affinity: Option<AntiAffinity>,
    /// Metadata of pods while they are the preview.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview_metadata: Option<PodTemplateMetadata>,
    /// Metadata of pods while they are active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_metadata: Option<PodTemplateMetadata>,
}
