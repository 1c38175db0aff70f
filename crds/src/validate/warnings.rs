//! What is accepted and yet hardly meant (the sharp edges of the API), for `lint`.

mod sizes;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::duration::GoDuration;
use crate::field_error::FieldError;
use crate::rollout::{CanaryStep, CanaryStrategy, Rollout, RolloutSpec};

/// Fields that will not do what they seem to say. None of them makes a Rollout invalid.
pub fn warnings(rollout: &Rollout) -> Vec<FieldError> {
    let spec = &rollout.spec;
    let mut found = Vec::new();
    if spec.paused {
        found.push(FieldError::invalid(
            "spec.paused",
            true,
            "holds every update; promote sets it to false, and applying this manifest again holds \
             the update again",
        ));
    }
    if let Some(workload) = &spec.workload_ref
        && !matches!(
            workload.scale_down.as_str(),
            "" | "never" | "onsuccess" | "progressively"
        )
    {
        found.push(FieldError::unsupported(
            "spec.workloadRef.scaleDown",
            workload.scale_down.as_str(),
            &["never", "onsuccess", "progressively"],
        ));
    }
    if let Some(blue_green) = spec.blue_green() {
        let path = "spec.strategy.blueGreen";
        let written = &blue_green.max_unavailable;
        found.extend(bare_percentage(&format!("{path}.maxUnavailable"), written));
        for (field, number) in [
            (
                "previewReplicaCount",
                blue_green.preview_replica_count.unwrap_or(0),
            ),
            ("autoPromotionSeconds", blue_green.auto_promotion_seconds),
        ] {
            if number < 0 {
                let path = format!("{path}.{field}");
                found.push(FieldError::invalid(
                    path,
                    number,
                    "a negative number has no meaning",
                ));
            }
        }
        if blue_green.auto_promotion_seconds > 0 && blue_green.auto_promotion_enabled == Some(false)
        {
            found.push(FieldError::invalid(
                format!("{path}.autoPromotionSeconds"),
                blue_green.auto_promotion_seconds,
                "has no effect while autoPromotionEnabled is false; leave one of them out",
            ));
        }
        found.extend(delays(
            path,
            blue_green.scale_down_delay_seconds,
            blue_green.abort_scale_down_delay_seconds,
        ));
    }
    if let Some(canary) = spec.canary() {
        found.extend(of_canary(spec, canary));
    }
    found
}

/// API-14: a text without `%` is a percentage all the same.
fn bare_percentage(path: &str, value: &Option<IntOrString>) -> Option<FieldError> {
    let Some(IntOrString::String(text)) = value else {
        return None;
    };
    (!text.ends_with('%')).then(|| {
        let detail = format!(
            "in quotes this is a percentage; write \"{text}%\", or the number of pods without quotes"
        );
        FieldError::invalid(path, text.as_str(), detail)
    })
}

/// SE-3, SE-4: zero is not "the default".
fn delays(path: &str, after: Option<i32>, after_abort: Option<i32>) -> Vec<FieldError> {
    let mut found = Vec::new();
    if after == Some(0) {
        found.push(FieldError::invalid(
            format!("{path}.scaleDownDelaySeconds"),
            0,
            "lets the old pods go at once, while proxies may still send them requests; 30 is usual",
        ));
    }
    if after_abort == Some(0) {
        found.push(FieldError::invalid(
            format!("{path}.abortScaleDownDelaySeconds"),
            0,
            "keeps the pods of an aborted update for ever; leave it out for 30 seconds",
        ));
    }
    found
}

fn of_canary(spec: &RolloutSpec, canary: &CanaryStrategy) -> Vec<FieldError> {
    let path = "spec.strategy.canary";
    let mut found = Vec::new();
    found.extend(bare_percentage(
        &format!("{path}.maxSurge"),
        &canary.max_surge,
    ));
    found.extend(bare_percentage(
        &format!("{path}.maxUnavailable"),
        &canary.max_unavailable,
    ));
    if let Some(threshold) = &canary.replica_progress_threshold
        && !matches!(threshold.r#type.as_str(), "Percent" | "Pods")
    {
        found.push(FieldError::unsupported(
            format!("{path}.replicaProgressThreshold.type"),
            threshold.r#type.as_str(),
            &["Percent", "Pods"],
        ));
    }
    let starting = canary
        .analysis
        .as_ref()
        .and_then(|analysis| analysis.starting_step);
    if let Some(step) = starting
        && (step < 0 || usize::try_from(step).is_ok_and(|step| step > canary.steps.len()))
    {
        found.push(FieldError::invalid(
            format!("{path}.analysis.startingStep"),
            step,
            format!(
                "there are {} steps, so the analysis never starts in time",
                canary.steps.len()
            ),
        ));
    }
    if canary.traffic_routing.is_some() {
        found.extend(delays(
            path,
            canary.scale_down_delay_seconds,
            canary.abort_scale_down_delay_seconds,
        ));
    }
    found.extend(sizes::warnings(spec, canary));
    for (i, step) in canary.steps.iter().enumerate() {
        found.extend(of_step(
            step,
            &format!("{path}.steps[{i}]"),
            spec.max_traffic_weight(),
        ));
    }
    found
}

fn of_step(step: &CanaryStep, path: &str, max: i32) -> Vec<FieldError> {
    let mut found = Vec::new();
    let members = serde_json::to_value(step).unwrap_or_default();
    let names: Vec<&str> = members
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    if names.len() > 1 {
        let detail = "a step does one thing; write one step for each member";
        found.push(FieldError::invalid(path, names.join(", "), detail));
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
            super::json(&pause.duration),
            detail,
        ));
    }
    let weight = step
        .set_canary_scale
        .as_ref()
        .and_then(|scale| scale.weight);
    if let Some(weight) = weight.filter(|weight| !(0..=max).contains(weight)) {
        found.push(FieldError::invalid(
            format!("{path}.setCanaryScale.weight"),
            weight,
            format!("should be between 0 and {max}"),
        ));
    }
    let percentage = step
        .set_mirror_route
        .as_ref()
        .and_then(|route| route.percentage);
    if let Some(percentage) = percentage.filter(|percentage| !(0..=100).contains(percentage)) {
        found.push(FieldError::invalid(
            format!("{path}.setMirrorRoute.percentage"),
            percentage,
            "should be between 0 and 100",
        ));
    }
    if let Some(experiment) = &step.experiment {
        if let Some(Err(error)) = experiment.duration().map(str::parse::<GoDuration>) {
            let path = format!("{path}.experiment.duration");
            let detail = format!("{error}; the Experiment would never end by itself");
            found.push(FieldError::invalid(
                path,
                experiment.duration.as_str(),
                detail,
            ));
        }
        for (k, template) in experiment.templates.iter().enumerate() {
            if !matches!(template.spec_ref.as_str(), "canary" | "stable") {
                found.push(FieldError::unsupported(
                    format!("{path}.experiment.templates[{k}].specRef"),
                    template.spec_ref.as_str(),
                    &["canary", "stable"],
                ));
            }
        }
    }
    found
}
