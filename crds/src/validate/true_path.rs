//! Errors for whoever reads the manifest: at the paths that the fields really have (SE-12).
//!
//! Conditions keep the peer's paths and words, since tools compare them; [`exact`] is for `lint`.

use crate::field_error::FieldError;
use crate::references::{References, analyses};
use crate::rollout::{CanaryStep, Rollout, RolloutSpec};
use crate::templates::{self, TemplateError};

/// Words that stand directly below `spec.strategy`.
const STRATEGIES: [&str; 2] = ["canary", "blueGreen"];

/// The same error at the path that its field has in the manifest, and for a step with too many or
/// too few members with those that it has (SE-3).
///
/// An error in another object than the Rollout keeps its path, with the kind and name of that
/// object before it.
#[must_use]
pub fn exact(rollout: &Rollout, found: &References, mut error: FieldError) -> FieldError {
    if let Some(path) = elsewhere(rollout, found, &error) {
        error.path = path;
        return error;
    }
    error.path = of_rollout(&rollout.spec, &error);
    if let Some(step) = step_at(&rollout.spec, &error.path) {
        let names = members(step);
        if names.is_empty() {
            error.value = Some(super::json(step));
            ONE.clone_into(&mut error.detail);
        } else {
            error.value = Some(names.join(", ").into());
            MANY.clone_into(&mut error.detail);
        }
    }
    error
}

/// What is said of a step without any member.
const ONE: &str = "a step does one thing; write setWeight, pause, setCanaryScale, analysis, \
                   experiment, setHeaderRoute or setMirrorRoute";

/// What is said of a step with several members.
pub(super) const MANY: &str = "a step does one thing; write one step for each member";

/// Names of the members that a step has.
pub(super) fn members(step: &CanaryStep) -> Vec<String> {
    let written = super::json(step);
    let members = written.as_object().into_iter().flatten();
    members.map(|(name, _)| name.clone()).collect()
}

/// The path of an error in an analysis template, a Mapping or a mesh router.
fn elsewhere(rollout: &Rollout, found: &References, error: &FieldError) -> Option<String> {
    let path = error.path.as_str();
    let spec = &rollout.spec;
    if path == "spec.templates" {
        return analyses(spec).iter().find_map(|place| {
            let (name, cluster) = match templates::collect(place.templates, &found.templates) {
                Err(TemplateError::NotFound { name, cluster, .. }) => (name, cluster),
                Err(TemplateError::Cycle { name, cluster }) => (name, cluster),
                _ => return None,
            };
            let kind = if cluster {
                "ClusterAnalysisTemplate"
            } else {
                "AnalysisTemplate"
            };
            // Of a template that is not there nobody can say who named it.
            (error.value == Some(name.as_str().into())).then(|| format!("{kind} {name}: {path}"))
        });
    }
    if path == "spec.weight" {
        return Some(format!("Mapping: {path}"));
    }
    (path == "kind" || path.starts_with("spec.routes")).then(|| format!("VirtualRouter: {path}"))
}

fn of_rollout(spec: &RolloutSpec, error: &FieldError) -> String {
    let path = error.path.as_str();
    let Some(rest) = path.strip_prefix("spec.strategy.") else {
        return path.to_owned();
    };
    if rest == "strategy" {
        return "spec.strategy".to_owned();
    }
    let named = |word: &str| {
        rest.strip_prefix(word)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    let path = if STRATEGIES.into_iter().any(named) {
        path.to_owned()
    } else if spec.strategy.blue_green.is_some() {
        format!("spec.strategy.blueGreen.{rest}")
    } else {
        format!("spec.strategy.canary.{rest}")
    };
    let path = path
        .replacen(".nginx.StableIngresses", ".nginx.stableIngresses", 1)
        .replacen(".appmesh", ".appMesh", 1);
    if let Some(step) = path.strip_suffix(".analyses") {
        return arguments(spec, step, error).unwrap_or(path);
    }
    match path.strip_suffix(".virtualServices.name") {
        Some(istio) => virtual_service(spec, istio, error).unwrap_or(path),
        None => path,
    }
}

/// The list of arguments that an error shows: of the analysis of a step, or of one of those of its
/// experiment.
fn arguments(spec: &RolloutSpec, path: &str, error: &FieldError) -> Option<String> {
    let step = step_of(spec, path)?;
    let is_meant = |args: &_| Some(super::json(args)) == error.value;
    if step.analysis.as_ref().is_some_and(|a| is_meant(&a.args)) {
        return Some(format!("{path}.analysis.args"));
    }
    let mut all = step.experiment.as_ref()?.analyses.iter();
    let at = all.position(|analysis| is_meant(&analysis.args))?;
    Some(format!("{path}.experiment.analyses[{at}].args"))
}

fn virtual_service(spec: &RolloutSpec, istio: &str, error: &FieldError) -> Option<String> {
    let all = &spec.traffic_routing()?.istio.as_ref()?.virtual_services;
    let is_meant = |name: &str| Some(name.into()) == error.value;
    let at = all.iter().position(|service| is_meant(&service.name))?;
    Some(format!("{istio}.virtualServices[{at}].name"))
}

/// The step that an error with this very path is about as a whole.
fn step_at<'a>(spec: &'a RolloutSpec, path: &str) -> Option<&'a CanaryStep> {
    path.ends_with(']').then(|| step_of(spec, path)).flatten()
}

/// The step at a path.
fn step_of<'a>(spec: &'a RolloutSpec, path: &str) -> Option<&'a CanaryStep> {
    let index = path.strip_prefix("spec.strategy.canary.steps[")?;
    let index: usize = index.strip_suffix(']')?.parse().ok()?;
    spec.steps().get(index)
}
