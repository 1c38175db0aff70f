//! Metrics, and objects that hold them, which do not do what they seem to.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::analysis_run;
use crate::analysis::{
    AnalysisRunSpec, AnalysisTemplateSpec, Argument, Metric, MetricProvider, PrometheusMetric,
};
use crate::experiment::ExperimentSpec;
use crate::field_error::FieldError;
use crate::rollout::DryRun;

/// What is said about an AnalysisTemplate or ClusterAnalysisTemplate.
pub fn of_template(spec: &AnalysisTemplateSpec) -> Vec<FieldError> {
    let mut found = of_metrics(&spec.metrics, &spec.dry_run);
    for (j, arg) in spec.args.iter().enumerate() {
        if arg.value.is_none() && has_field(arg) {
            let path = format!("spec.args[{j}].valueFrom.fieldRef");
            let detail = "is never looked up here; leave it out, and give the value in the \
                          Rollout, where valueFrom.fieldRef works";
            found.push(FieldError::invalid(path, arg.name.as_str(), detail));
        }
    }
    found
}

/// What is said about an AnalysisRun that somebody wrote.
pub fn of_run(spec: &AnalysisRunSpec) -> Vec<FieldError> {
    let mut found = of_metrics(&spec.metrics, &spec.dry_run);
    let judged = super::analyses::filled(spec, |_| false).map_err(|error| error.to_string());
    let judged = judged.and_then(|run| analysis_run(&run).map_err(|error| error.to_string()));
    if let Err(text) = judged {
        let detail = "the run ends in Error at once";
        found.push(FieldError::invalid("spec", text, detail));
    }
    found
}

/// What is said about an Experiment that somebody wrote, besides what makes it invalid.
pub fn of_experiment(spec: &ExperimentSpec) -> Vec<FieldError> {
    let mut found = Vec::new();
    for (k, analysis) in spec.analyses.iter().enumerate() {
        let args = analysis.args.iter().enumerate();
        for (j, arg) in args.filter(|(_, arg)| arg.value_from.is_some()) {
            // SE-5 of the API.
            let path = format!("spec.analyses[{k}].args[{j}].valueFrom");
            let detail = "is left out of the runs of an Experiment; put the Secret into the \
                          template, or write a value";
            found.push(FieldError::invalid(path, arg.name.as_str(), detail));
        }
    }
    found
}

/// Whether a rule fits one of the metrics (ANA-9).
pub(super) fn fits(rule: &str, metrics: &[Metric]) -> bool {
    let rule = regex::Regex::new(rule);
    rule.is_ok_and(|rule| metrics.iter().any(|metric| rule.is_match(&metric.name)))
}

fn has_field(arg: &Argument) -> bool {
    let from = arg.value_from.as_ref();
    from.is_some_and(|from| from.field_ref.is_some() && from.secret_key_ref.is_none())
}

fn of_metrics(metrics: &[Metric], dry_run: &[DryRun]) -> Vec<FieldError> {
    let mut found = Vec::new();
    for (i, metric) in metrics.iter().enumerate() {
        let path = format!("spec.metrics[{i}]");
        found.extend(unsupported(&metric.provider, &path));
        found.extend(no_numbers(metric, &path));
        let watched = dry_run.iter().any(|rule| {
            let this = std::slice::from_ref(metric);
            fits(&rule.metric_name, this)
        });
        if !watched {
            found.extend(unconditional(metric, &path));
        }
        found.extend(other_name(metric, &path));
    }
    found
}

/// ASE-25: without conditions nothing is judged, and every answer is a success.
fn unconditional(metric: &Metric, path: &str) -> Option<FieldError> {
    let answers = metric.provider.prometheus.is_some() || metric.provider.web.is_some();
    let free = metric.success_condition.is_empty() && metric.failure_condition.is_empty();
    (answers && free).then(|| {
        let detail = "has no successCondition and no failureCondition, so any answer counts as a \
                      success; write one, such as \"result[0] < 0.05\"";
        FieldError::invalid(path, metric.name.as_str(), detail)
    })
}

/// ASE-25: some documentation calls the answer `results`.
fn other_name(metric: &Metric, path: &str) -> Vec<FieldError> {
    let conditions = [
        ("successCondition", &metric.success_condition),
        ("failureCondition", &metric.failure_condition),
    ];
    let wrong = conditions
        .into_iter()
        .filter(|(_, text)| names(text, "results"));
    wrong
        .map(|(field, text)| {
            let detail = "the answer is called result; with another name every measurement is an \
                          Error";
            FieldError::invalid(format!("{path}.{field}"), text.as_str(), detail)
        })
        .collect()
}

/// Whether an expression begins somewhere with this name, outside of quotes and not as a member.
fn names(expression: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut quoted = None;
    let mut last = ' ';
    for (at, c) in expression.char_indices() {
        match quoted {
            Some(quote) if c == quote && last != '\\' => quoted = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'' | '`') => quoted = Some(c),
            None => {
                let rest = expression
                    .get(at..)
                    .and_then(|rest| rest.strip_prefix(name));
                let ends = rest.is_some_and(|rest| !rest.starts_with(is_word));
                if ends && !is_word(last) && last != '.' {
                    return true;
                }
            }
        }
        last = c;
    }
    false
}

/// ANA-2: a text that is no number counts as 0.
fn no_numbers(metric: &Metric, path: &str) -> Vec<FieldError> {
    let numbers = [
        ("count", &metric.count),
        ("failureLimit", &metric.failure_limit),
        ("inconclusiveLimit", &metric.inconclusive_limit),
        ("consecutiveErrorLimit", &metric.consecutive_error_limit),
        ("consecutiveSuccessLimit", &metric.consecutive_success_limit),
    ];
    let texts = numbers.into_iter().filter_map(|(field, number)| {
        let Some(IntOrString::String(text)) = number else {
            return None;
        };
        Some((field, text))
    });
    let wrong = texts.filter(|(_, text)| !text.contains("{{") && text.parse::<i64>().is_err());
    wrong
        .map(|(field, text)| {
            let detail = "is no number and counts as 0; write a number";
            FieldError::invalid(format!("{path}.{field}"), text.as_str(), detail)
        })
        .collect()
}

/// Providers that are not there yet (ASE-14..16, ASE-25).
fn unsupported(provider: &MetricProvider, path: &str) -> Vec<FieldError> {
    let MetricProvider {
        prometheus,
        kayenta,
        web: _,
        datadog,
        wavefront,
        new_relic,
        job: _,
        cloud_watch,
        graphite,
        influxdb,
        skywalking,
        plugin,
    } = provider;
    let named = [
        ("kayenta", kayenta.is_some()),
        ("datadog", datadog.is_some()),
        ("wavefront", wavefront.is_some()),
        ("newRelic", new_relic.is_some()),
        ("cloudWatch", cloud_watch.is_some()),
        ("graphite", graphite.is_some()),
        ("influxdb", influxdb.is_some()),
        ("skywalking", skywalking.is_some()),
    ];
    let named = named.into_iter().filter(|(_, given)| *given);
    let mut all: Vec<String> = named.map(|(name, _)| name.to_owned()).collect();
    all.extend(plugin.keys().map(|name| format!("plugin[{name}]")));
    if prometheus.as_ref().is_some_and(|one| signs(one)) {
        all.push("prometheus.authentication.sigv4".to_owned());
    }
    all.into_iter()
        .map(|name| {
            let detail =
                "not supported yet: the analysis ends in Error; use prometheus, web or job";
            FieldError::forbidden(format!("{path}.provider.{name}"), detail)
        })
        .collect()
}

/// Whether requests would have to be signed.
fn signs(prometheus: &PrometheusMetric) -> bool {
    let sigv4 = &prometheus.authentication.sigv4;
    let asked = [&sigv4.region, &sigv4.profile, &sigv4.role_arn];
    asked.iter().any(|text| !text.is_empty()) && prometheus.address.contains("aps-workspaces")
}
