//! `spec` of a Rollout apart from its strategies (API-45).

use super::{blue_green, canary, json, pod_template};
use crate::field_error::FieldError;
use crate::labels;
use crate::rollout::{AntiAffinity, RolloutSpec};

const NEGATIVE: &str = "must be greater than or equal to 0";

/// Replicas, selector and template.
pub(super) fn workload(spec: &RolloutSpec) -> Vec<FieldError> {
    let mut errors = replicas(spec);
    let mut convertible = true;
    match (&spec.workload_ref, &spec.selector) {
        (Some(_), _) => {}
        (None, None) => errors.push(FieldError::required(
            "spec.selector",
            "Rollout has missing field '.spec.selector'",
        )),
        (None, Some(selector)) => {
            let syntax = labels::selector_errors(selector, "spec.selector");
            convertible = syntax.is_empty();
            errors.extend(syntax);
            if selector.is_empty() {
                errors.push(FieldError::invalid(
                    "spec.selector",
                    json(selector),
                    "empty selector is invalid for deployment",
                ));
            }
            if !convertible {
                errors.push(FieldError::invalid(
                    "spec.selector",
                    json(selector),
                    "invalid label selector",
                ));
            }
        }
    }
    if convertible {
        let template_labels = spec.template.labels();
        if !spec
            .selector
            .as_ref()
            .is_some_and(|s| s.matches(&template_labels))
        {
            errors.push(FieldError::invalid(
                "spec.template.metadata.labels",
                json(&template_labels),
                "`selector` does not match template `labels`",
            ));
        }
        errors.extend(pod_template::errors(&spec.template));
    }
    errors
}

/// The rules about an unresolved workload reference; any template next to it conflicts (SE-6).
pub(super) fn workload_ref(spec: &RolloutSpec) -> Vec<FieldError> {
    let mut errors = replicas(spec);
    if !spec.template.is_empty() {
        errors.push(FieldError::internal(
            "spec.template",
            "template must be empty for workload reference rollout",
        ));
    }
    if let Some(workload) = &spec.workload_ref {
        let group = workload
            .api_version
            .split_once('/')
            .map_or("", |(group, _)| group);
        let known = matches!(
            (group, workload.kind.as_str()),
            ("", "PodTemplate") | ("apps", "Deployment" | "ReplicaSet")
        );
        if !known {
            let detail = format!(
                "workload of type {group}/{} is not supported",
                workload.kind
            );
            errors.push(FieldError::internal("spec.workloadRef", detail));
        }
    }
    errors
}

fn replicas(spec: &RolloutSpec) -> Vec<FieldError> {
    let negative = spec.replicas.filter(|replicas| *replicas < 0);
    negative
        .map(|n| FieldError::invalid("spec.replicas", n, NEGATIVE))
        .into_iter()
        .collect()
}

/// Times and limits.
pub(super) fn numbers(spec: &RolloutSpec) -> Vec<FieldError> {
    let deadline = spec.progress_deadline_seconds();
    let mut errors: Vec<FieldError> = [
        ("spec.minReadySeconds", spec.min_ready_seconds),
        ("spec.revisionHistoryLimit", spec.revision_history_limit()),
        ("spec.progressDeadlineSeconds", deadline),
    ]
    .into_iter()
    .filter(|(_, number)| *number < 0)
    .map(|(path, number)| FieldError::invalid(path, number, NEGATIVE))
    .collect();
    if deadline <= spec.min_ready_seconds {
        errors.push(FieldError::invalid(
            "spec.progressDeadlineSeconds",
            deadline,
            "must be greater than minReadySeconds",
        ));
    }
    errors
}

/// The strategy.
pub(super) fn strategy(spec: &RolloutSpec) -> Vec<FieldError> {
    match (&spec.strategy.blue_green, &spec.strategy.canary) {
        (None, None) => vec![FieldError::required(
            "spec.strategy.strategy",
            "Rollout has missing field '.spec.strategy.canary or .spec.strategy.blueGreen'",
        )],
        (Some(_), Some(_)) => vec![FieldError::invalid(
            "spec.strategy.strategy",
            "blueGreen: true canary: true",
            "Multiple Strategies can not be listed",
        )],
        (Some(blue_green), None) => blue_green::errors(spec, blue_green),
        (None, Some(canary)) => canary::errors(spec, canary),
    }
}

/// Anti-affinity, the last rule of either strategy.
pub(super) fn anti_affinity(rules: Option<&AntiAffinity>) -> Vec<FieldError> {
    let Some(rules) = rules else {
        return Vec::new();
    };
    let preferred = rules
        .preferred_during_scheduling_ignored_during_execution
        .as_ref();
    let required = rules
        .required_during_scheduling_ignored_during_execution
        .as_ref();
    if preferred.is_some() == required.is_some() {
        return vec![FieldError::invalid(
            "spec.strategy.antiAffinity",
            format!(
                "antiAffinity.PreferredDuringSchedulingIgnoredDuringExecution: {} \
                 antiAffinity.RequiredDuringSchedulingIgnoredDuringExecution: {}",
                preferred.is_some(),
                required.is_some()
            ),
            "AntiAffinity must have exactly one strategy listed",
        )];
    }
    let weight = preferred
        .map(|p| p.weight)
        .filter(|weight| !(1..=100).contains(weight));
    weight
        .map(|weight| {
            FieldError::invalid(
                "spec.strategy.antiAffinity.weight",
                weight,
                "AntiAffinity weight must be between 1-100",
            )
        })
        .into_iter()
        .collect()
}
