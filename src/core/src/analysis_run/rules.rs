//! Which metrics are dry-run, how many measurements stay, and what limits apply (ANA-9, 10, 15).

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use sluice_crds::analysis::{AnalysisRunSpec, Metric, MetricProvider};
use sluice_crds::defaults::{CONSECUTIVE_ERROR_LIMIT, MEASUREMENTS_KEPT};
use sluice_crds::numbers::int_or;

/// What the rules of a run say about its metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    dry_run: BTreeSet<String>,
    retention: BTreeMap<String, i32>,
}

impl Rules {
    /// The rules of a spec that was checked; `metrics` are its metrics, resolved.
    pub(crate) fn new(spec: &AnalysisRunSpec, metrics: &[Metric]) -> Self {
        let mut rules = Self::default();
        for rule in &spec.dry_run {
            rules.dry_run.extend(matching(&rule.metric_name, metrics));
        }
        for rule in &spec.measurement_retention {
            let names = matching(&rule.metric_name, metrics);
            rules
                .retention
                .extend(names.into_iter().map(|name| (name, rule.limit)));
        }
        rules
    }

    /// Whether a metric has no consequence.
    pub(crate) fn is_dry_run(&self, metric: &str) -> bool {
        self.dry_run.contains(metric)
    }

    /// Measurements of a metric that are kept.
    pub(crate) fn retention(&self, metric: &str) -> i32 {
        self.retention
            .get(metric)
            .copied()
            .filter(|limit| *limit > 0)
            .unwrap_or(MEASUREMENTS_KEPT)
    }
}

/// The metrics whose name contains a match of an expression; none when it is no expression.
#[must_use]
pub fn matching(rule: &str, metrics: &[Metric]) -> Vec<String> {
    let Ok(regex) = Regex::new(rule) else {
        return Vec::new();
    };
    let names = metrics.iter().map(|metric| &metric.name);
    names.filter(|name| regex.is_match(name)).cloned().collect()
}

/// Whether a provider leaves measurements open, and something outside with them: begun work of it
/// is awaited even when nobody needs its value, so that it can be stopped.
pub(crate) fn is_long(provider: &MetricProvider) -> bool {
    provider.job.is_some() || provider.kayenta.is_some() || !provider.plugin.is_empty()
}

/// The limits of a metric, defaults filled in (ANA-15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Failures that are tolerated; -1: all.
    pub(crate) failure: i64,
    /// Inconclusive measurements that are tolerated.
    pub(crate) inconclusive: i64,
    /// Errors in a row that are tolerated.
    pub(crate) consecutive_error: i64,
    /// Successes in a row that suffice; 0: off.
    pub(crate) consecutive_success: i64,
}

impl Limits {
    pub(crate) fn of(metric: &Metric) -> Self {
        Self {
            failure: int_or(metric.failure_limit.as_ref(), 0),
            inconclusive: int_or(metric.inconclusive_limit.as_ref(), 0),
            consecutive_error: int_or(
                metric.consecutive_error_limit.as_ref(),
                CONSECUTIVE_ERROR_LIMIT,
            ),
            consecutive_success: int_or(metric.consecutive_success_limit.as_ref(), 0),
        }
    }
}

/// How many measurements a metric takes; `None` is endless (ANA-10).
#[must_use]
pub fn effective_count(metric: &Metric) -> Option<i64> {
    match int_or(metric.count.as_ref(), 0) {
        0 if metric.interval.is_empty() => Some(1),
        0 => None,
        count => Some(count),
    }
}
