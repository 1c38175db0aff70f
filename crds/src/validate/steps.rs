//! Steps of a canary (API-46).

use super::canary::BASE;
use super::json;
use crate::field_error::FieldError;
use crate::field_path;
use crate::rollout::{
    AnalysisRunArgument, CanaryStep, CanaryStrategy, RolloutExperimentStep, RolloutSpec,
    RolloutTrafficRouting, SetHeaderRoute, SetMirrorRoute, StringMatch,
};

const ONE_MEMBER: &str = "Step must have one of the following set: experiment, setWeight, setCanaryScale, plugin or pause";
const NO_VALUE: &str =
    "StringMatch value missed, match value must have one of the following: exact, regex, prefix";
const MANY_VALUES: &str =
    "StringMatch match value must have exactly one of the following: exact, regex, prefix";

pub(super) fn errors(spec: &RolloutSpec, canary: &CanaryStrategy) -> Vec<FieldError> {
    let routing = canary.traffic_routing.as_deref();
    let max = spec.max_traffic_weight();
    let mut errors = Vec::new();
    for (i, step) in canary.steps.iter().enumerate() {
        let path = format!("{BASE}.steps[{i}]");
        errors.extend(members(step, &path));
        if let Some(weight) = step
            .set_weight
            .filter(|weight| *weight < 0 || *weight > max)
        {
            errors.push(FieldError::invalid(
                format!("{path}.setWeight"),
                weight,
                format!("SetWeight needs to be between 0 and {max}"),
            ));
        }
        let seconds = step.pause.as_ref().and_then(|pause| pause.seconds());
        if let Some(seconds) = seconds.filter(|seconds| *seconds < 0) {
            errors.push(FieldError::invalid(
                format!("{path}.pause.duration"),
                seconds,
                "Duration needs to be greater than 0",
            ));
        }
        if step.set_canary_scale.is_some() && routing.is_none() {
            errors.push(FieldError::required(
                format!("{BASE}.trafficRouting"),
                "SetCanaryScale requires TrafficRouting to be set",
            ));
        }
        if let Some(route) = &step.set_header_route {
            errors.extend(header_route(
                route,
                routing,
                &format!("{path}.setHeaderRoute"),
            ));
        }
        if let Some(route) = &step.set_mirror_route {
            errors.extend(mirror_route(
                route,
                routing,
                &format!("{path}.setMirrorRoute"),
            ));
        }
        if let Some(routing) = routing {
            errors.extend(managed_routes(step, routing, &path));
        }
        if let Some(experiment) = &step.experiment {
            errors.extend(experiment_weights(experiment, routing, max, &path));
        }
        errors.extend(arguments(step, &path));
    }
    errors
}

fn members(step: &CanaryStep, path: &str) -> Option<FieldError> {
    let CanaryStep {
        set_weight,
        pause,
        experiment,
        analysis,
        set_canary_scale,
        set_header_route,
        set_mirror_route,
        plugin,
    } = step;
    let exclusive = [
        experiment.is_some(),
        pause.is_some(),
        set_weight.is_some(),
        analysis.is_some(),
    ];
    let others = [
        set_canary_scale.is_some(),
        set_header_route.is_some(),
        set_mirror_route.is_some(),
        plugin.is_some(),
    ];
    let set = exclusive.iter().filter(|set| **set).count();
    if set > 1 {
        let [experiment, pause, weight, analysis] = exclusive;
        let value = format!(
            "step.Experiment: {experiment} step.Pause: {pause} step.SetWeight: {weight} \
             step.Analysis: {analysis}"
        );
        return Some(FieldError::invalid(path, value, ONE_MEMBER));
    }
    if set == 0 && others == [false; 4] {
        // The peer shows what is missing here, not what is set (SE-3).
        let value = "step.Experiment: true step.Pause: true step.SetWeight: true \
                     step.Analysis: true step.SetCanaryScale: true step.SetHeaderRoute: true \
                     step.SetMirrorRoute: true step.Plugin: true";
        return Some(FieldError::invalid(path, value, ONE_MEMBER));
    }
    None
}

fn header_route(
    route: &SetHeaderRoute,
    routing: Option<&RolloutTrafficRouting>,
    path: &str,
) -> Vec<FieldError> {
    let supported = routing.is_some_and(|r| {
        r.istio.is_some() || r.alb.is_some() || r.apisix.is_some() || !r.plugins.is_empty()
    });
    if !supported {
        return vec![FieldError::invalid(
            path,
            json(route),
            "SetHeaderRoute requires TrafficRouting, supports Istio and ALB and Apisix",
        )];
    }
    let alb = routing.is_some_and(|r| r.alb.is_some());
    let check = |wanted: &Option<StringMatch>| {
        let wanted = wanted.as_ref()?;
        let only_exact =
            !wanted.exact.is_empty() && wanted.prefix.is_empty() && wanted.regex.is_empty();
        match alb {
            true if only_exact => Some(None),
            true => Some(Some(
                "SetHeaderRoute match value invalid. ALB supports 'exact' value only",
            )),
            false => Some(string_match(wanted)),
        }
    };
    let problems = route
        .r#match
        .iter()
        .enumerate()
        .filter_map(|(j, condition)| {
            let problem = check(&condition.header_value).unwrap_or(Some(NO_VALUE))?;
            Some(FieldError::invalid(
                format!("{path}.match[{j}]"),
                json(condition),
                problem,
            ))
        });
    problems.collect()
}

/// Exactly one member must be set.
fn string_match(wanted: &StringMatch) -> Option<&'static str> {
    let set = [&wanted.exact, &wanted.prefix, &wanted.regex];
    match set.iter().filter(|text| !text.is_empty()).count() {
        0 => Some(NO_VALUE),
        1 => None,
        _ => Some(MANY_VALUES),
    }
}

fn mirror_route(
    route: &SetMirrorRoute,
    routing: Option<&RolloutTrafficRouting>,
    path: &str,
) -> Vec<FieldError> {
    if !routing.is_some_and(|r| r.istio.is_some() || !r.plugins.is_empty()) {
        return vec![FieldError::invalid(
            path,
            json(route),
            "SetMirrorRoute requires TrafficRouting, supports Istio and Plugins",
        )];
    }
    let mut errors = Vec::new();
    for (j, condition) in route.r#match.iter().enumerate() {
        for wanted in [&condition.method, &condition.path].into_iter().flatten() {
            if let Some(problem) = string_match(wanted) {
                let path = format!("{path}.match[{j}]");
                errors.push(FieldError::invalid(path, json(condition), problem));
            }
        }
    }
    errors
}

fn managed_routes(
    step: &CanaryStep,
    routing: &RolloutTrafficRouting,
    path: &str,
) -> Vec<FieldError> {
    let named = [
        (
            "setHeaderRoute",
            step.set_header_route.as_ref().map(|route| &route.name),
        ),
        (
            "setMirrorRoute",
            step.set_mirror_route.as_ref().map(|route| &route.name),
        ),
    ];
    if named.iter().all(|(_, name)| name.is_none()) {
        return Vec::new();
    }
    if routing.managed_routes.is_empty() {
        return vec![FieldError::required(
            format!("{BASE}.trafficRouting.managedRoutes"),
            "Rollout has missing field 'spec.strategy.canary.trafficRouting.managedRoutes'",
        )];
    }
    let unlisted = named
        .into_iter()
        .filter_map(|(member, name)| Some((member, name?)))
        .filter(|(_, name)| {
            !routing
                .managed_routes
                .iter()
                .any(|route| route.name == **name)
        });
    unlisted
        .map(|(member, name)| {
            FieldError::invalid(
                format!("{path}.{member}"),
                name.as_str(),
                "Steps define a route that does not exist in \
                 spec.strategy.canary.trafficRouting.managedRoutes",
            )
        })
        .collect()
}

/// Templates that together want more than there is (ASE-27).
fn sum_of_weights(experiment: &RolloutExperimentStep, max: i32, path: &str) -> Vec<FieldError> {
    let weights = || experiment.templates.iter().filter_map(|t| t.weight);
    let sum = weights().fold(0, i32::saturating_add);
    let sane = sum <= max && weights().all(|weight| weight >= 0);
    let path = format!("{path}.experiment.templates");
    let detail = format!("Experiment template weights need to be between 0 and {max} together");
    Some(FieldError::invalid(path, sum, detail))
        .filter(|_| !sane)
        .into_iter()
        .collect()
}

fn experiment_weights(
    experiment: &RolloutExperimentStep,
    routing: Option<&RolloutTrafficRouting>,
    max: i32,
    path: &str,
) -> Vec<FieldError> {
    let problem = match routing {
        None => "Experiment template weight cannot be set unless TrafficRouting is enabled",
        Some(r)
            if r.alb.is_none() && r.smi.is_none() && r.istio.is_none() && r.plugins.is_empty() =>
        {
            "Experiment template weight is only available for TrafficRouting with SMI, ALB, Istio \
             and Plugins at this time"
        }
        Some(_) => return sum_of_weights(experiment, max, path),
    };
    let weights = experiment.templates.iter().enumerate();
    weights
        .filter_map(|(k, template)| Some((k, template.weight?)))
        .map(|(k, weight)| {
            let path = format!("{path}.experiment.templates[{k}].weight");
            FieldError::invalid(path, weight, problem)
        })
        .collect()
}

fn arguments(step: &CanaryStep, path: &str) -> Vec<FieldError> {
    let of_analysis = step.analysis.iter().map(|analysis| &analysis.args);
    let analyses = step
        .experiment
        .iter()
        .flat_map(|experiment| &experiment.analyses);
    let of_experiment = analyses.map(|analysis| &analysis.args);
    let supported = |arg: &AnalysisRunArgument| {
        let source = arg
            .value_from
            .as_ref()
            .and_then(|source| source.field_ref.as_ref());
        source.is_none_or(|field| field_path::is_supported(&field.field_path))
    };
    of_analysis
        .chain(of_experiment)
        .filter(|args| !args.iter().all(supported))
        .map(|args| {
            FieldError::invalid(
                format!("{path}.analyses"),
                json(args),
                "Analyses arguments must refer to valid object metadata supported by downwardAPI",
            )
        })
        .collect()
}
