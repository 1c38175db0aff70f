//! Analyses of a Rollout with their templates: what would show only once a run is made.

use super::super::analysis_run;
use super::metrics;
use crate::analysis::{AnalysisRunSpec, Argument, Metric};
use crate::field_error::FieldError;
use crate::numbers::int_or;
use crate::placeholders::{PlaceholderError, substitute_json};
use crate::references::{AnalysisUse, References, analyses};
use crate::rollout::{AnalysisRunArgument, AnalysisTemplateRef, Rollout, RolloutExperimentStep};
use crate::templates::{self, Caller, Named, TemplateStore};

/// What is accepted with these templates, and yet would abort or stop an update (ANA-8, ANA-28,
/// ANA-46). Templates that were not read are passed over.
pub fn with_references(rollout: &Rollout, found: &References) -> Vec<FieldError> {
    let store = &found.templates;
    let mut warnings = Vec::new();
    for place in analyses(&rollout.spec) {
        warnings.extend(of_place(&place, store));
    }
    for (i, step) in rollout.spec.steps().iter().enumerate() {
        if let Some(experiment) = &step.experiment {
            let path = format!("spec.strategy.canary.steps[{i}].experiment");
            warnings.extend(of_experiment(experiment, store, &path));
        }
    }
    warnings
}

/// The path of the arguments beside a list of templates.
pub(super) fn beside(templates: &str) -> String {
    let analysis = templates.strip_suffix("templates").unwrap_or(templates);
    format!("{analysis}args")
}

fn of_place(place: &AnalysisUse<'_>, store: &TemplateStore) -> Vec<FieldError> {
    let Ok(named) = templates::collect(place.templates, store) else {
        return Vec::new();
    };
    if named.is_empty() {
        return Vec::new();
    }
    let mut found = unknown(place.args, &named, &beside(&place.path));
    let args = given(place.args);
    let caller = Caller {
        args: &args,
        dry_run: place.dry_run,
        measurement_retention: place.measurement_retention,
    };
    // What cannot be merged is a problem already, and so is a placeholder without a value, except
    // in the background.
    if let Ok(run) = merge(&named, caller)
        && let Err(text) = judged(&run, place.args, place.background)
    {
        found.push(failing(&place.path, &named, &text));
    }
    found
}

fn of_experiment(
    experiment: &RolloutExperimentStep,
    store: &TemplateStore,
    path: &str,
) -> Vec<FieldError> {
    let mut found = Vec::new();
    // Metrics of all analyses, as long as all templates are at hand.
    let mut metrics: Option<Vec<Metric>> = Some(Vec::new());
    for (k, analysis) in experiment.analyses.iter().enumerate() {
        let path = format!("{path}.analyses[{k}]");
        let reference = [AnalysisTemplateRef {
            template_name: analysis.template_name.clone(),
            cluster_scope: analysis.cluster_scope,
        }];
        let Ok(named) = templates::collect(&reference, store) else {
            metrics = None;
            continue;
        };
        found.extend(unknown(&analysis.args, &named, &format!("{path}.args")));
        let args = given(&analysis.args);
        let caller = Caller {
            args: &args,
            ..Caller::default()
        };
        let name = format!("{path}.templateName");
        let run = match merge(&named, caller) {
            Ok(run) => run,
            Err(text) => {
                found.push(failing(&name, &named, &text));
                metrics = None;
                continue;
            }
        };
        if let Err(text) = judged(&run, &analysis.args, true) {
            found.push(failing(&name, &named, &text));
        }
        if analysis.required_for_completion
            && let Some(metric) = run.metrics.iter().find(|metric| is_endless(metric))
        {
            let detail = format!(
                "metric {} has an interval and no count, so the Experiment waits for it for ever; \
                 give it a count, or take requiredForCompletion away",
                metric.name
            );
            found.push(FieldError::invalid(
                name,
                analysis.template_name.as_str(),
                detail,
            ));
        }
        if let Some(metrics) = &mut metrics {
            metrics.extend(run.metrics);
        }
    }
    // ASE-21: a rule has to fit one of the runs.
    if let Some(metrics) = metrics.filter(|_| !experiment.analyses.is_empty()) {
        let run = AnalysisRunSpec {
            metrics,
            ..AnalysisRunSpec::default()
        };
        for (j, rule) in experiment.dry_run.iter().enumerate() {
            if !metrics::fits(&rule.metric_name, &run.metrics) {
                let path = format!("{path}.dryRun[{j}].metricName");
                let detail = "fits no metric of these analyses, so they end in Error, and the \
                              update is aborted; correct the rule";
                found.push(FieldError::invalid(path, rule.metric_name.as_str(), detail));
            }
        }
    }
    found
}

/// ANA-28: arguments that no template asks for are dropped.
fn unknown(args: &[AnalysisRunArgument], named: &[Named<'_>], path: &str) -> Vec<FieldError> {
    let asked = |name: &str| {
        let mut all = named.iter().flat_map(|template| &template.spec.args);
        all.any(|arg| arg.name == name)
    };
    let all = args.iter().enumerate();
    let dropped = all.filter(|(_, arg)| !asked(&arg.name));
    dropped
        .map(|(j, arg)| {
            let detail = "no template of this analysis has an argument of this name, so it is \
                          dropped; correct the name, or leave it out";
            FieldError::invalid(format!("{path}[{j}].name"), arg.name.as_str(), detail)
        })
        .collect()
}

/// Arguments as the run gets them; what is known only then counts as given.
fn given(args: &[AnalysisRunArgument]) -> Vec<Argument> {
    let all = args.iter().map(|arg| Argument {
        name: arg.name.clone(),
        value: Some(arg.value.clone()),
        value_from: None,
    });
    all.collect()
}

fn merge(named: &[Named<'_>], caller: Caller<'_>) -> Result<AnalysisRunSpec, String> {
    let specs: Vec<_> = named.iter().map(|template| template.spec).collect();
    templates::merge(&specs, caller).map_err(|error| error.to_string())
}

/// Whether a run of this spec can be measured: the first thing that is wrong with it.
fn judged(
    run: &AnalysisRunSpec,
    given: &[AnalysisRunArgument],
    placeholders: bool,
) -> Result<(), String> {
    let later = |name: &str| {
        let by_caller = given.iter().find(|arg| arg.name == name);
        by_caller.is_some_and(|arg| arg.value_from.is_some() || arg.value.contains("{{"))
    };
    let filled = filled(run, later);
    let run = match filled {
        Ok(run) => run,
        Err(error) if placeholders || matches!(error, PlaceholderError::NotSupplied(_)) => {
            return Err(error.to_string());
        }
        Err(_) => return Ok(()),
    };
    analysis_run(&run).map_err(|error| error.to_string())
}

/// A run with its placeholders replaced. What is known only `later`, or stands in a Secret, is
/// taken for good: members that are numbers or times then go without.
pub(super) fn filled(
    run: &AnalysisRunSpec,
    later: impl Fn(&str) -> bool,
) -> Result<AnalysisRunSpec, PlaceholderError> {
    let is_secret = |arg: &Argument| {
        let from = arg.value_from.as_ref();
        from.is_some_and(|from| from.secret_key_ref.is_some())
    };
    let missing = |arg: &&Argument| arg.value.is_none() && !is_secret(arg);
    if let Some(arg) = run.args.iter().find(missing) {
        return Err(PlaceholderError::NotSupplied(arg.name.clone()));
    }
    let mut metrics = Vec::new();
    for metric in &run.metrics {
        let text = serde_json::to_string(metric).unwrap_or_default();
        let mut guessed = false;
        let text = substitute_json(&text, |tag| {
            let name = tag.strip_prefix("args.").unwrap_or_default();
            let arg = run.args.iter().find(|arg| arg.name == name);
            let arg = arg.ok_or_else(|| PlaceholderError::Unresolved(tag.to_owned()))?;
            guessed |= later(name) || is_secret(arg);
            Ok(arg.value.clone().unwrap_or_default())
        })?;
        let mut filled: Metric = serde_json::from_str(&text).unwrap_or_else(|_| metric.clone());
        if guessed {
            forget(&mut filled, metric);
        }
        metrics.push(filled);
    }
    Ok(AnalysisRunSpec {
        metrics,
        ..run.clone()
    })
}

/// Takes away what was written by way of a placeholder.
fn forget(filled: &mut Metric, written: &Metric) {
    let is_open = |value: &Option<_>| {
        value
            .as_ref()
            .is_some_and(|value| crate::numbers::as_written(value).contains("{{"))
    };
    for (filled, written) in [
        (&mut filled.count, &written.count),
        (&mut filled.failure_limit, &written.failure_limit),
        (&mut filled.inconclusive_limit, &written.inconclusive_limit),
        (
            &mut filled.consecutive_error_limit,
            &written.consecutive_error_limit,
        ),
        (
            &mut filled.consecutive_success_limit,
            &written.consecutive_success_limit,
        ),
    ] {
        if is_open(written) {
            *filled = None;
        }
    }
    for (filled, written) in [
        (&mut filled.interval, &written.interval),
        (&mut filled.initial_delay, &written.initial_delay),
    ] {
        if written.contains("{{") {
            filled.clear();
        }
    }
    // Without its interval, a count would be a mistake, and the other way round a limit.
    if written.interval.contains("{{") || is_open(&written.count) {
        filled.count = None;
    }
}

fn is_endless(metric: &Metric) -> bool {
    let enough = int_or(metric.consecutive_success_limit.as_ref(), 0) > 0;
    let open = metric
        .count
        .as_ref()
        .is_some_and(|count| crate::numbers::as_written(count).contains("{{"));
    !metric.interval.is_empty() && int_or(metric.count.as_ref(), 0) == 0 && !open && !enough
}

fn failing(path: &str, named: &[Named<'_>], text: &str) -> FieldError {
    let names: Vec<&str> = named.iter().map(|template| template.name).collect();
    let detail = format!("{text}: the analysis ends in Error, and the update is aborted");
    FieldError::invalid(path, names.join(", "), detail)
}
