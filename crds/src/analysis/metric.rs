//! Metrics of an analysis (API-24).

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::provider::MetricProvider;
use crate::wire;

/// A measurement, how often it is taken and what it has to show (API-24).
///
/// Any text in it may hold `{{args.name}}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Metric {
    /// Unique in the run.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Go duration between measurements.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub interval: String,
    /// Go duration before the first measurement.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub initial_delay: String,
    /// Measurements; 0 or absent means 1 without interval and endless with one.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::int_or_string"
    )]
    pub count: Option<IntOrString>,
    /// Expression over `result`.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub success_condition: String,
    /// Expression over `result`.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub failure_condition: String,
    /// Failed once exceeded; default 0, -1 never.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::int_or_string"
    )]
    pub failure_limit: Option<IntOrString>,
    /// Inconclusive once exceeded; default 0.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::int_or_string"
    )]
    pub inconclusive_limit: Option<IntOrString>,
    /// Error once exceeded; default 4.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::int_or_string"
    )]
    pub consecutive_error_limit: Option<IntOrString>,
    /// Successful after that many in a row; default 0, off.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::int_or_string"
    )]
    pub consecutive_success_limit: Option<IntOrString>,
    /// Where the number comes from.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub provider: MetricProvider,
}
