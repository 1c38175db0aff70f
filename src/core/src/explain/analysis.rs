//! Analysis runs: which metric, its last measurement, how many failures of how many.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use sluice_crds::AnalysisRun;
use sluice_crds::analysis::{AnalysisPhase, Metric, MetricResult};
use sluice_crds::rollout::RolloutStatus;

use crate::analysis_run::rules::{Limits, effective_count};
use crate::observed::Observed;

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// Name of the AnalysisRun.
    pub name: String,
    /// `background`, `step`, `prePromotion` or `postPromotion`.
    pub kind: &'static str,
    /// Verdict so far.
    pub phase: String,
    /// Why; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Its metrics.
    pub metrics: Vec<MetricView>,
}

/// One metric of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricView {
    /// Its name.
    pub name: String,
    /// Verdict so far.
    pub phase: String,
    /// What a measurement has to fulfil, as written; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub condition: String,
    /// Value of the last measurement; empty when there was none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_value: String,
    /// Verdict on it; empty when there was none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_phase: String,
    /// Why, where it went wrong.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_message: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Timestamp>,
    /// Measurements so far, errors not counted.
    pub measured: i32,
    /// Measurements wanted; absent: without end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<i64>,
    /// Failed measurements.
    pub failed: i32,
    /// Failures that are tolerated; -1: all.
    pub failure_limit: i64,
    /// Inconclusive measurements.
    pub inconclusive: i32,
    /// Inconclusive measurements that are tolerated.
    pub inconclusive_limit: i64,
    /// Errors in a row.
    pub errors: i32,
    /// Errors in a row that are tolerated.
    pub error_limit: i64,
}

/// The runs that the status calls current, as far as they exist.
pub(super) fn of(seen: &Observed) -> Vec<Analysis> {
    let Some(status) = &seen.rollout.status else {
        return Vec::new();
    };
    let named = current(status).into_iter();
    named
        .filter_map(|(kind, name)| {
            let run = seen
                .analysis_runs
                .iter()
                .find(|run| run.metadata.name.as_deref() == Some(name))?;
            Some(view(run, kind))
        })
        .collect()
}

fn current(status: &RolloutStatus) -> Vec<(&'static str, &str)> {
    let (canary, blue_green) = (&status.canary, &status.blue_green);
    let all = [
        ("step", &canary.current_step_analysis_run_status),
        ("background", &canary.current_background_analysis_run_status),
        (
            "prePromotion",
            &blue_green.pre_promotion_analysis_run_status,
        ),
        (
            "postPromotion",
            &blue_green.post_promotion_analysis_run_status,
        ),
    ];
    all.into_iter()
        .filter_map(|(kind, run)| Some((kind, run.as_ref()?.name.as_str())))
        .filter(|(_, name)| !name.is_empty())
        .collect()
}

/// A run by itself.
pub(super) fn view(run: &Arc<AnalysisRun>, kind: &'static str) -> Analysis {
    let status = run.status.clone().unwrap_or_default();
    let phase = match &status.phase {
        AnalysisPhase::Unset => "Pending".to_owned(),
        phase @ (AnalysisPhase::Pending
        | AnalysisPhase::Running
        | AnalysisPhase::Successful
        | AnalysisPhase::Failed
        | AnalysisPhase::Error
        | AnalysisPhase::Inconclusive
        | AnalysisPhase::Other(_)) => phase.as_str().to_owned(),
    };
    let metrics = run.spec.metrics.iter().map(|metric| {
        let result = status
            .metric_results
            .iter()
            .find(|result| result.name == metric.name);
        metric_view(metric, result)
    });
    Analysis {
        name: run.metadata.name.clone().unwrap_or_default(),
        kind,
        phase,
        message: status.message,
        metrics: metrics.collect(),
    }
}

fn metric_view(metric: &Metric, result: Option<&MetricResult>) -> MetricView {
    let limits = Limits::of(metric);
    let none = MetricResult::default();
    let found = result.unwrap_or(&none);
    let last = found.measurements.last();
    let phase = if found.phase.as_str().is_empty() {
        "Pending"
    } else {
        found.phase.as_str()
    };
    let condition = if metric.success_condition.is_empty() {
        &metric.failure_condition
    } else {
        &metric.success_condition
    };
    MetricView {
        name: metric.name.clone(),
        phase: phase.to_owned(),
        condition: condition.clone(),
        last_value: last.map(|one| one.value.clone()).unwrap_or_default(),
        last_phase: last
            .map(|one| one.phase.as_str().to_owned())
            .unwrap_or_default(),
        last_message: last.map(|one| one.message.clone()).unwrap_or_default(),
        last_at: last
            .and_then(|one| one.finished_at)
            .map(|at| at.timestamp()),
        measured: found.count,
        wanted: effective_count(metric),
        failed: found.failed,
        failure_limit: limits.failure,
        inconclusive: found.inconclusive,
        inconclusive_limit: limits.inconclusive,
        errors: found.consecutive_error,
        error_limit: limits.consecutive_error,
    }
}

impl MetricView {
    /// One line: `error-rate: last 0.08 Failed, 2 of 5 measured, 1 of at most 1 failed`.
    #[must_use]
    pub fn line(&self) -> String {
        let mut parts = Vec::new();
        if self.last_phase.is_empty() {
            parts.push("not measured yet".to_owned());
        } else if self.last_value.is_empty() {
            let colon = if self.last_message.is_empty() {
                ""
            } else {
                ": "
            };
            parts.push(format!(
                "last {}{colon}{}",
                self.last_phase, self.last_message
            ));
        } else {
            parts.push(format!("last {} {}", self.last_value, self.last_phase));
        }
        match self.wanted {
            Some(wanted) => parts.push(format!("{} of {wanted} measured", self.measured)),
            None => parts.push(format!("{} measured, without end", self.measured)),
        }
        match self.failure_limit {
            ..0 => parts.push(format!("{} failed, any number is tolerated", self.failed)),
            limit => parts.push(format!("{} failed, {limit} tolerated", self.failed)),
        }
        if self.inconclusive > 0 {
            parts.push(format!(
                "{} inconclusive, {} tolerated",
                self.inconclusive, self.inconclusive_limit
            ));
        }
        if self.errors > 0 {
            let s = if self.errors == 1 { "" } else { "s" };
            parts.push(format!(
                "{} error{s} in a row, {} tolerated",
                self.errors, self.error_limit
            ));
        }
        format!("{}: {}", self.name, parts.join("; "))
    }
}
