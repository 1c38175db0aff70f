//! `status` of an AnalysisRun (API-37, ANA-20).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Time;
use crate::wire::{self, wire_enum};

wire_enum! {
    /// Verdict on a run, a metric, a measurement or an Experiment.
    pub enum AnalysisPhase {
        /// Created, not looked at yet.
        Pending,
        /// Being measured.
        Running,
        /// Good.
        Successful,
        /// Bad.
        Failed,
        /// Could not be measured.
        Error,
        /// Neither good nor bad.
        Inconclusive,
    }
}

impl AnalysisPhase {
    /// Whether this verdict is final (ANA-1).
    pub fn completed(&self) -> bool {
        matches!(
            self,
            Self::Successful | Self::Failed | Self::Error | Self::Inconclusive
        )
    }
}

/// State of a run (API-37, ANA-20). Written by the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AnalysisRunStatus {
    /// Verdict so far.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub phase: AnalysisPhase,
    /// Why.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub message: String,
    /// One per metric that was measured.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub metric_results: Vec<MetricResult>,
    /// First assessment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// Counts of metrics that count. Always written.
    #[serde(deserialize_with = "wire::or_default")]
    pub run_summary: RunSummary,
    /// Counts of dry-run metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry_run_summary: Option<RunSummary>,
    /// End of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
}

/// Counts of metrics, not of measurements.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RunSummary {
    /// Declared.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub count: i32,
    /// Ended Successful.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub successful: i32,
    /// Ended Failed.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub failed: i32,
    /// Ended Inconclusive.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub inconclusive: i32,
    /// Ended Error.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub error: i32,
}

/// State of one metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricResult {
    /// Metric.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Verdict so far.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub phase: AnalysisPhase,
    /// The newest measurements.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub measurements: Vec<Measurement>,
    /// Why.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub message: String,
    /// Measurements that did not end in Error.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub count: i32,
    /// Successful ones.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub successful: i32,
    /// Failed ones.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub failed: i32,
    /// Inconclusive ones.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub inconclusive: i32,
    /// Those that ended in Error.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub error: i32,
    /// Errors since the last one that was none.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub consecutive_error: i32,
    /// The metric has no consequence.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub dry_run: bool,
    /// What the provider wants to show.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub metadata: BTreeMap<String, String>,
    /// Successes since the last one that was none.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub consecutive_success: i32,
}

/// One measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Measurement {
    /// Verdict.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub phase: AnalysisPhase,
    /// Why; secret values are masked.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub message: String,
    /// Start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// End.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// The value as text.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub value: String,
    /// What the provider keeps between calls.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub metadata: BTreeMap<String, String>,
    /// When the provider wants to be asked again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume_at: Option<Time>,
}
