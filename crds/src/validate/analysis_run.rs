//! The spec of an AnalysisRun (ANA-8, ANA-9, API-53).

use crate::analysis::{AnalysisRunSpec, Metric, MetricProvider};
use crate::defaults::CONSECUTIVE_ERROR_LIMIT;
use crate::duration::GoDuration;
use crate::numbers::int_or;

/// Why a run cannot be measured; the text goes behind `Analysis spec invalid: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SpecError(String);

/// Checks a run whose placeholders are filled in; the first mistake is the answer.
pub fn analysis_run(spec: &AnalysisRunSpec) -> Result<(), SpecError> {
    first_mistake(spec).map_or(Ok(()), |text| Err(SpecError(text)))
}

fn first_mistake(spec: &AnalysisRunSpec) -> Option<String> {
    if spec.metrics.is_empty() {
        return Some("no metrics specified".to_owned());
    }
    for (i, metric) in spec.metrics.iter().enumerate() {
        if spec
            .metrics
            .iter()
            .take(i)
            .any(|earlier| earlier.name == metric.name)
        {
            return Some(format!("metrics[{i}]: duplicate name '{}'", metric.name));
        }
        if let Some(mistake) = of_metric(metric) {
            return Some(format!("metrics[{i}]: {mistake}"));
        }
    }
    let unmatched = |rule: &str| {
        !spec
            .metrics
            .iter()
            .any(|metric| matches(rule, &metric.name))
    };
    let dry_run = spec
        .dry_run
        .iter()
        .position(|rule| unmatched(&rule.metric_name));
    if let Some(i) = dry_run {
        return Some(format!("dryRun[{i}]: Rule didn't match any metric name(s)"));
    }
    let retention = spec
        .measurement_retention
        .iter()
        .position(|r| unmatched(&r.metric_name));
    retention.map(|i| format!("measurementRetention[{i}]: Rule didn't match any metric name(s)"))
}

/// Rules are unanchored; one that is no regular expression matches nothing.
fn matches(rule: &str, name: &str) -> bool {
    regex::Regex::new(rule).is_ok_and(|rule| rule.is_match(name))
}

fn of_metric(metric: &Metric) -> Option<String> {
    let limit = |value: &Option<_>, default| int_or(value.as_ref(), default);
    let successes = limit(&metric.consecutive_success_limit, 0);
    let failures = limit(&metric.failure_limit, 0);
    let inconclusive = limit(&metric.inconclusive_limit, 0);
    let errors = limit(&metric.consecutive_error_limit, CONSECUTIVE_ERROR_LIMIT);
    let count = limit(&metric.count, 0);
    let fixed = if successes < 0 {
        "consecutiveSuccessLimit must be >= 0"
    } else if failures < -1 {
        "failureLimit must be >= 0, or -1 to be disabled"
    } else if failures == -1 && successes == 0 {
        "failureLimit and consecutiveSuccessLimit cannot both be disabled"
    } else if inconclusive < 0 {
        "inconclusiveLimit must be >= 0"
    } else if errors < 0 {
        "consecutiveErrorLimit must be >= 0"
    } else if count > 0 && failures >= 0 && count < failures.saturating_add(successes) {
        return Some(format!(
            "count ({count}) must be >= failureLimit + consecutiveSuccessLimit \
             ({failures} + {successes}) if both >= 0"
        ));
    } else if count > 0 && failures == -1 && count < successes {
        "count must be >= consecutiveSuccessLimit"
    } else if count > 0 && count < inconclusive {
        "count must be >= inconclusiveLimit"
    } else if count > 1 && metric.interval.is_empty() {
        "interval must be specified when count > 1"
    } else {
        return duration("interval", &metric.interval)
            .or_else(|| duration("startDelay", &metric.initial_delay))
            .or_else(|| match metric.provider.count() {
                0 => Some("no provider specified".to_owned()),
                1 => None,
                _ => Some("multiple providers specified".to_owned()),
            });
    };
    Some(fixed.to_owned())
}

fn duration(what: &str, text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let error = text.parse::<GoDuration>().err()?;
    Some(format!("invalid {what} string: {error}"))
}

impl MetricProvider {
    /// Number of providers that are set; every plugin counts.
    pub fn count(&self) -> usize {
        let Self {
            prometheus,
            kayenta,
            web,
            datadog,
            wavefront,
            new_relic,
            job,
            cloud_watch,
            graphite,
            influxdb,
            skywalking,
            plugin,
        } = self;
        let set = [
            prometheus.is_some(),
            kayenta.is_some(),
            web.is_some(),
            datadog.is_some(),
            wavefront.is_some(),
            new_relic.is_some(),
            job.is_some(),
            cloud_watch.is_some(),
            graphite.is_some(),
            influxdb.is_some(),
            skywalking.is_some(),
        ];
        set.iter().filter(|set| **set).count() + plugin.len()
    }
}
