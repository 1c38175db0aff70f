//! What is accepted and yet hardly meant (the sharp edges of the specifications), for `lint`.

mod analyses;
mod arguments;
mod metrics;
mod pods;
mod sizes;
mod steps;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub use analyses::with_references;
pub use metrics::{of_experiment, of_run, of_template};

use crate::field_error::FieldError;
use crate::rollout::{
    BlueGreenStrategy, CanaryStrategy, ObjectRef, PodTemplateMetadata, Rollout, RolloutSpec,
    RolloutTrafficRouting,
};

/// The annotation that some documentation names for the deadline of a scale-down (SE-21).
const WRONG_DEADLINE: &str = "argo-rollouts.argoproj.io/scale-down-deadline";

/// Fields that will not do what they seem to say. None of them makes a Rollout invalid.
pub fn of_rollout(rollout: &Rollout) -> Vec<FieldError> {
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
    let annotations = rollout.metadata.annotations.as_ref();
    if let Some(value) = annotations.and_then(|all| all.get(WRONG_DEADLINE)) {
        let path = format!("metadata.annotations[{WRONG_DEADLINE}]");
        let detail = "nobody reads it; delays are set by scaleDownDelaySeconds of the strategy";
        found.push(FieldError::invalid(path, value.as_str(), detail));
    }
    if let Some(workload) = &spec.workload_ref {
        found.extend(of_workload(workload));
    }
    let window = spec.rollback_window();
    found.extend(negative("spec.rollbackWindow.revisions", window));
    found.extend(of_history(spec));
    if let Some(blue_green) = spec.blue_green() {
        found.extend(of_blue_green(blue_green));
        let path = "spec.strategy.blueGreen";
        for (member, metadata) in [
            ("previewMetadata", &blue_green.preview_metadata),
            ("activeMetadata", &blue_green.active_metadata),
        ] {
            let path = format!("{path}.{member}");
            found.extend(of_role(spec, &path, metadata.as_ref()));
        }
    }
    if let Some(canary) = spec.canary() {
        found.extend(of_canary(spec, canary));
    }
    found.extend(arguments::warnings(rollout));
    found.extend(pods::warnings(&spec.template));
    found
}

/// API-48: numbers that nobody checks.
fn negative(path: impl Into<String>, number: i32) -> Option<FieldError> {
    (number < 0).then(|| {
        FieldError::invalid(
            path,
            number,
            "a negative number has no meaning; leave it out",
        )
    })
}

/// API-30, SE-8: what is not one of the words means never, and only Deployments are sized.
fn of_workload(workload: &ObjectRef) -> Option<FieldError> {
    let path = "spec.workloadRef.scaleDown";
    let written = workload.scale_down.as_str();
    match written {
        "" | "never" => None,
        "onsuccess" | "progressively" if workload.kind == "Deployment" => None,
        "onsuccess" | "progressively" => {
            let detail = format!(
                "only a Deployment is scaled down, this {} keeps its pods; scale it by hand",
                workload.kind
            );
            Some(FieldError::invalid(path, written, detail))
        }
        _ => {
            let detail = "counts as never; write onsuccess, progressively or never";
            Some(FieldError::invalid(path, written, detail))
        }
    }
}

fn of_blue_green(blue_green: &BlueGreenStrategy) -> Vec<FieldError> {
    let path = "spec.strategy.blueGreen";
    let mut found = Vec::new();
    let written = &blue_green.max_unavailable;
    found.extend(bare_percentage(&format!("{path}.maxUnavailable"), written));
    let preview = blue_green.preview_replica_count.unwrap_or(0);
    found.extend(negative(format!("{path}.previewReplicaCount"), preview));
    let seconds = blue_green.auto_promotion_seconds;
    found.extend(negative(format!("{path}.autoPromotionSeconds"), seconds));
    if seconds > 0 && blue_green.auto_promotion_enabled == Some(false) {
        found.push(FieldError::invalid(
            format!("{path}.autoPromotionSeconds"),
            seconds,
            "has no effect while autoPromotionEnabled is false; leave one of them out",
        ));
    }
    found.extend(delays(
        path,
        blue_green.scale_down_delay_seconds,
        blue_green.abort_scale_down_delay_seconds,
    ));
    for (member, analysis) in [
        ("prePromotionAnalysis", &blue_green.pre_promotion_analysis),
        ("postPromotionAnalysis", &blue_green.post_promotion_analysis),
    ] {
        if analysis.as_ref().is_some_and(|a| a.templates.is_empty()) {
            found.push(unmeasured(&format!("{path}.{member}")));
        }
    }
    found
}

/// API-19: an analysis without templates is none.
fn unmeasured(path: &str) -> FieldError {
    let detail = "without a template nothing is measured; name one, or leave the analysis out";
    FieldError::required(format!("{path}.templates"), detail)
}

/// API-11, API-48: what is kept of revisions and their runs.
fn of_history(spec: &RolloutSpec) -> Vec<FieldError> {
    let mut found = Vec::new();
    let (window, kept) = (spec.rollback_window(), spec.revision_history_limit());
    if window > kept && kept >= 0 {
        let detail = format!(
            "revisionHistoryLimit keeps {kept} old ReplicaSets, and going back further than that \
             takes all steps; keep as many as the window is wide"
        );
        let path = "spec.rollbackWindow.revisions";
        found.push(FieldError::invalid(path, window, detail));
    }
    if let Some(limits) = &spec.analysis {
        for (field, limit) in [
            (
                "successfulRunHistoryLimit",
                limits.successful_run_history_limit,
            ),
            (
                "unsuccessfulRunHistoryLimit",
                limits.unsuccessful_run_history_limit,
            ),
        ] {
            found.extend(negative(
                format!("spec.analysis.{field}"),
                limit.unwrap_or(0),
            ));
        }
    }
    found
}

/// API-41: labels of a role must leave those alone that pods are found by.
fn of_role(
    spec: &RolloutSpec,
    path: &str,
    metadata: Option<&PodTemplateMetadata>,
) -> Vec<FieldError> {
    let labels = spec.template.labels();
    let selected = |key: &str| {
        let selector = spec.selector.as_ref();
        selector.is_some_and(|selector| {
            let named = selector.match_expressions.iter().any(|one| one.key == key);
            named || selector.match_labels.contains_key(key)
        })
    };
    let changed = metadata.into_iter().flat_map(|metadata| &metadata.labels);
    let changed = changed.filter(|(key, value)| {
        selected(key) && labels.get(*key).is_some_and(|label| label != *value)
    });
    changed
        .map(|(key, value)| {
            let detail = "spec.selector finds the pods by this label, so that it cannot change \
                          with their role; use another label";
            FieldError::invalid(format!("{path}.labels[{key}]"), value.as_str(), detail)
        })
        .collect()
}

/// API-14: a text without `%` is a percentage all the same, and one without a number counts as 0.
fn bare_percentage(path: &str, value: &Option<IntOrString>) -> Option<FieldError> {
    let Some(IntOrString::String(text)) = value else {
        return None;
    };
    if text
        .strip_suffix('%')
        .unwrap_or(text)
        .parse::<i64>()
        .is_err()
    {
        let detail = "is no percentage and counts as 0; write one such as \"25%\", without a blank";
        return Some(FieldError::invalid(path, text.as_str(), detail));
    }
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
    for (field, seconds) in [
        ("scaleDownDelaySeconds", after),
        ("abortScaleDownDelaySeconds", after_abort),
    ] {
        found.extend(negative(format!("{path}.{field}"), seconds.unwrap_or(0)));
    }
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
        found.push(FieldError::invalid(
            format!("{path}.replicaProgressThreshold.type"),
            threshold.r#type.as_str(),
            "counts as Pods; write Percent or Pods",
        ));
    }
    found.extend(canary.replica_progress_threshold.as_ref().and_then(|one| {
        let path = format!("{path}.replicaProgressThreshold.value");
        if one.r#type == "Percent" && one.value > 100 {
            let detail = "there are never so many pods, so no step completes; write 100 or less";
            return Some(FieldError::invalid(path, one.value, detail));
        }
        let detail = "a negative number counts as if there were no threshold; leave it out";
        (one.value < 0).then(|| FieldError::invalid(path, one.value, detail))
    }));
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
                "there are {} steps, so the analysis never starts in time; write a smaller number",
                canary.steps.len()
            ),
        ));
    }
    if let Some(analysis) = canary.analysis.as_ref().filter(|a| a.templates.is_empty()) {
        let path = format!("{path}.analysis");
        found.extend(analysis.starting_step.is_none().then(|| unmeasured(&path)));
    }
    let pods = canary.min_pods_per_replica_set;
    if let Some(routing) = &canary.traffic_routing {
        found.extend(delays(
            path,
            canary.scale_down_delay_seconds,
            canary.abort_scale_down_delay_seconds,
        ));
        found.extend(negative(
            format!("{path}.minPodsPerReplicaSet"),
            pods.unwrap_or(0),
        ));
        found.extend(of_routing(routing));
    } else {
        let fields = [
            (
                "abortScaleDownDelaySeconds",
                canary.abort_scale_down_delay_seconds,
            ),
            ("minPodsPerReplicaSet", pods),
        ];
        for (field, number) in fields {
            let detail = "has no effect without trafficRouting; leave it out";
            let path = format!("{path}.{field}");
            found.extend(number.map(|number| FieldError::invalid(path, number, detail)));
        }
    }
    for (member, metadata) in [
        ("canaryMetadata", &canary.canary_metadata),
        ("stableMetadata", &canary.stable_metadata),
    ] {
        let path = format!("{path}.{member}");
        found.extend(of_role(spec, &path, metadata.as_ref()));
    }
    found.extend(sizes::warnings(spec, canary));
    for (i, step) in canary.steps.iter().enumerate() {
        let path = format!("{path}.steps[{i}]");
        found.extend(steps::warnings(spec, step, &path));
    }
    found
}

/// Routers that are not there, or not yet.
fn of_routing(routing: &RolloutTrafficRouting) -> Vec<FieldError> {
    let path = "spec.strategy.canary.trafficRouting";
    let RolloutTrafficRouting {
        istio,
        nginx,
        alb,
        smi,
        ambassador,
        app_mesh,
        traefik,
        apisix,
        plugins,
        managed_routes: _,
        max_traffic_weight: _,
    } = routing;
    let unsupported = |member: String| {
        let detail = "not supported yet: the update waits at its first step; use another router";
        FieldError::forbidden(format!("{path}.{member}"), detail)
    };
    let mut found = Vec::new();
    if app_mesh.is_some() {
        found.push(unsupported("appMesh".to_owned()));
    }
    for name in plugins.keys() {
        found.push(unsupported(format!("plugins[{name}]")));
    }
    let known = istio.is_some()
        || nginx.is_some()
        || alb.is_some()
        || smi.is_some()
        || ambassador.is_some()
        || traefik.is_some()
        || apisix.is_some();
    if !known && found.is_empty() {
        let detail = "names no router: weights are recorded, and nobody splits the requests; name \
                      one, or leave trafficRouting out";
        found.push(FieldError::required(path, detail));
    }
    found
}
