//! Steps of a canary that do not do what they seem to say.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::true_path;
use crate::duration::GoDuration;
use crate::field_error::FieldError;
use crate::rollout::{CanaryStep, RolloutExperimentStep, RolloutSpec};

/// What is said about one step.
pub(super) fn warnings(spec: &RolloutSpec, step: &CanaryStep, path: &str) -> Vec<FieldError> {
    let max = spec.max_traffic_weight();
    let mut found = Vec::new();
    // SE-3: of some pairs only one member counts. Where the rules refuse them, that is enough said.
    let names = true_path::members(step);
    let exclusive = ["setWeight", "pause", "experiment", "analysis"];
    let refused = names
        .iter()
        .filter(|name| exclusive.contains(&name.as_str()));
    if names.len() > 1 && refused.count() < 2 {
        found.push(FieldError::invalid(path, names.join(", "), true_path::MANY));
    }
    if let Some(plugin) = &step.plugin {
        let detail = "step plugins are not supported yet: the update waits there until the step is \
                      skipped";
        let path = format!("{path}.plugin.name");
        found.push(FieldError::invalid(path, plugin.name.as_str(), detail));
    }
    if let Some(pause) = &step.pause
        && pause.seconds() == Some(0)
    {
        let detail = "comes to 0 seconds, so the step does not wait; leave it out to wait for a \
                      promotion";
        found.push(FieldError::invalid(
            format!("{path}.pause.duration"),
            super::super::json(&pause.duration),
            detail,
        ));
    }
    if step
        .analysis
        .as_ref()
        .is_some_and(|a| a.templates.is_empty())
    {
        let detail = "without a template nothing is measured, and the update waits at this step \
                      for ever; name one, or leave the step out";
        found.push(FieldError::required(
            format!("{path}.analysis.templates"),
            detail,
        ));
    }
    let scale = step.set_canary_scale.as_ref();
    if let Some(weight) = scale.and_then(|scale| scale.weight)
        && !(0..=max).contains(&weight)
    {
        found.push(FieldError::invalid(
            format!("{path}.setCanaryScale.weight"),
            weight,
            format!("should be between 0 and {max}"),
        ));
    }
    let replicas = scale.and_then(|scale| scale.replicas).unwrap_or(0);
    let at = format!("{path}.setCanaryScale.replicas");
    found.extend(super::negative(at, replicas));
    let percentage = step.set_mirror_route.as_ref();
    if let Some(percentage) = percentage.and_then(|route| route.percentage)
        && !(0..=100).contains(&percentage)
    {
        found.push(FieldError::invalid(
            format!("{path}.setMirrorRoute.percentage"),
            percentage,
            "should be between 0 and 100",
        ));
    }
    if let Some(experiment) = &step.experiment {
        found.extend(of_experiment(
            spec,
            experiment,
            &format!("{path}.experiment"),
        ));
    }
    found
}

fn of_experiment(
    spec: &RolloutSpec,
    experiment: &RolloutExperimentStep,
    path: &str,
) -> Vec<FieldError> {
    let mut found = Vec::new();
    match experiment.duration().map(str::parse::<GoDuration>) {
        Some(Ok(_)) => {}
        Some(Err(error)) => {
            let path = format!("{path}.duration");
            let detail =
                format!("{error}, so the Experiment never ends by itself; write one such as 10m");
            found.push(FieldError::invalid(
                path,
                experiment.duration.as_str(),
                detail,
            ));
        }
        // EXP-16
        None if !experiment
            .analyses
            .iter()
            .any(|a| a.required_for_completion) =>
        {
            let detail = "without it, and without an analysis that is requiredForCompletion, the \
                          Experiment never ends by itself, and the update waits at this step; write one \
                          such as 10m";
            found.push(FieldError::required(format!("{path}.duration"), detail));
        }
        None => {}
    }
    if experiment.templates.is_empty() {
        // EXP-15
        let detail = "an Experiment without templates succeeds at once, and its analyses never \
                      start; write one";
        found.push(FieldError::required(format!("{path}.templates"), detail));
    }
    found.extend(of_templates(spec, experiment, path));
    let analyses = experiment.analyses.iter().map(|one| one.name.as_str());
    let twice = "only one of them is measured; give each its own";
    found.extend(names(&format!("{path}.analyses"), analyses, twice));
    found
}

fn of_templates(
    spec: &RolloutSpec,
    experiment: &RolloutExperimentStep,
    path: &str,
) -> Vec<FieldError> {
    let all = experiment.templates.iter().map(|one| one.name.as_str());
    let mut found = names(&format!("{path}.templates"), all, ABORTED);
    let without_ports = !spec.template.is_empty() && !has_ports(&spec.template.value());
    for (k, template) in experiment.templates.iter().enumerate() {
        let path = format!("{path}.templates[{k}]");
        if !matches!(template.spec_ref.as_str(), "canary" | "stable") {
            found.push(FieldError::invalid(
                format!("{path}.specRef"),
                template.spec_ref.as_str(),
                "names no version, so the update waits at this step; write canary or stable",
            ));
        }
        if template.selector.as_ref().is_some_and(|one| one.is_empty()) {
            let detail = "selects every pod, so the Experiment is invalid and the update is \
                          aborted; leave it out";
            found.push(FieldError::invalid(
                format!("{path}.selector"),
                super::super::json(&template.selector),
                detail,
            ));
        }
        // EXP-7: a Service has the ports of the containers.
        if let Some(weight) = template
            .weight
            .filter(|weight| *weight > 0 && without_ports)
        {
            let detail = "no container of spec.template names a port, so there is no Service that \
                          requests could go to; add containerPort";
            found.push(FieldError::invalid(
                format!("{path}.weight"),
                weight,
                detail,
            ));
        }
    }
    found
}

/// What becomes of an update whose Experiment is invalid.
const ABORTED: &str = "the Experiment fails, and the update is aborted; give each its own";

/// API-54, ASE-18: names that are missing or there twice make an Experiment invalid.
fn names<'a>(path: &str, all: impl Iterator<Item = &'a str>, twice: &str) -> Vec<FieldError> {
    let mut seen = BTreeSet::new();
    all.enumerate()
        .filter_map(|(k, name)| {
            let path = format!("{path}[{k}].name");
            if name.is_empty() {
                return Some(FieldError::required(path, ABORTED));
            }
            let mut error = FieldError::duplicate(path, name);
            twice.clone_into(&mut error.detail);
            (!seen.insert(name)).then_some(error)
        })
        .collect()
}

fn has_ports(template: &Value) -> bool {
    let containers = template
        .pointer("/spec/containers")
        .and_then(Value::as_array);
    let mut containers = containers.into_iter().flatten();
    containers.any(|container| {
        let ports = container.get("ports").and_then(Value::as_array);
        ports.is_some_and(|ports| !ports.is_empty())
    })
}
