//! What a valid run is, which metrics are dry-run, and how many measurements stay (ANA-8..10).

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use sluice_crds::analysis::{AnalysisRunSpec, Metric, MetricProvider};
use sluice_crds::duration::GoDuration;
use sluice_crds::numbers::int_or;

/// Measurements kept where no rule says otherwise.
const RETENTION: i32 = 10;

/// What the rules of a run say about its metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    dry_run: BTreeSet<String>,
    retention: BTreeMap<String, i32>,
}

impl Rules {
    /// Checks the spec; `metrics` are its metrics, resolved.
    pub(crate) fn new(spec: &AnalysisRunSpec, metrics: &[Metric]) -> Result<Self, String> {
        validate(metrics)?;
        let mut rules = Self::default();
        for (at, rule) in spec.dry_run.iter().enumerate() {
            let names = matching(&rule.metric_name, metrics);
            if names.is_empty() {
                return Err(format!(
                    "dryRun[{at}]: Rule didn't match any metric name(s)"
                ));
            }
            rules.dry_run.extend(names);
        }
        for (at, rule) in spec.measurement_retention.iter().enumerate() {
            let names = matching(&rule.metric_name, metrics);
            if names.is_empty() {
                return Err(format!(
                    "measurementRetention[{at}]: Rule didn't match any metric name(s)"
                ));
            }
            rules
                .retention
                .extend(names.into_iter().map(|name| (name, rule.limit)));
        }
        Ok(rules)
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
            .unwrap_or(RETENTION)
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

/// The first error in the metrics of a run (ANA-8).
fn validate(metrics: &[Metric]) -> Result<(), String> {
    if metrics.is_empty() {
        return Err("no metrics specified".to_owned());
    }
    let mut names = BTreeSet::new();
    for (at, metric) in metrics.iter().enumerate() {
        if !names.insert(&metric.name) {
            return Err(format!("metrics[{at}]: duplicate name '{}'", metric.name));
        }
        validate_metric(metric).map_err(|error| format!("metrics[{at}]: {error}"))?;
    }
    Ok(())
}

fn validate_metric(metric: &Metric) -> Result<(), String> {
    let count = int_or(metric.count.as_ref(), 0);
    let limits = Limits::of(metric);
    let (failures, successes) = (limits.failure, limits.consecutive_success);
    let refuse = |text: &str| Err(text.to_owned());
    if successes < 0 {
        return refuse("consecutiveSuccessLimit must be >= 0");
    }
    if failures < -1 {
        return refuse("failureLimit must be >= 0, or -1 to be disabled");
    }
    if failures == -1 && successes == 0 {
        return refuse("failureLimit and consecutiveSuccessLimit cannot both be disabled");
    }
    if limits.inconclusive < 0 {
        return refuse("inconclusiveLimit must be >= 0");
    }
    if limits.consecutive_error < 0 {
        return refuse("consecutiveErrorLimit must be >= 0");
    }
    if count > 0 {
        if failures >= 0 && count < failures.saturating_add(successes) {
            return Err(format!(
                "count ({count}) must be >= failureLimit + consecutiveSuccessLimit \
                 ({failures} + {successes}) if both >= 0"
            ));
        }
        if failures == -1 && count < successes {
            return refuse("count must be >= consecutiveSuccessLimit");
        }
        if count < limits.inconclusive {
            return refuse("count must be >= inconclusiveLimit");
        }
    }
    if count > 1 && metric.interval.is_empty() {
        return refuse("interval must be specified when count > 1");
    }
    if !metric.interval.is_empty() {
        let parsed = metric.interval.parse::<GoDuration>();
        parsed.map_err(|error| format!("invalid interval string: {error}"))?;
    }
    if !metric.initial_delay.is_empty() {
        let parsed = metric.initial_delay.parse::<GoDuration>();
        parsed.map_err(|error| format!("invalid startDelay string: {error}"))?;
    }
    match providers(&metric.provider) {
        0 => refuse("no provider specified"),
        1 => Ok(()),
        _ => refuse("multiple providers specified"),
    }
}

/// How many providers are given; every plugin counts.
fn providers(provider: &MetricProvider) -> usize {
    let given = [
        provider.prometheus.is_some(),
        provider.kayenta.is_some(),
        provider.web.is_some(),
        provider.datadog.is_some(),
        provider.wavefront.is_some(),
        provider.new_relic.is_some(),
        provider.job.is_some(),
        provider.cloud_watch.is_some(),
        provider.graphite.is_some(),
        provider.influxdb.is_some(),
        provider.skywalking.is_some(),
    ];
    given.into_iter().filter(|given| *given).count() + provider.plugin.len()
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
            consecutive_error: int_or(metric.consecutive_error_limit.as_ref(), 4),
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
