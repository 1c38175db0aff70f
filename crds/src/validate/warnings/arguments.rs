//! Arguments of analyses that do not get the value that they seem to (API-20, ANA-29).

use crate::field_error::FieldError;
use crate::field_path;
use crate::references::analyses;
use crate::rollout::{AnalysisRunArgument, Rollout};

/// What is said about the arguments that a Rollout gives, to runs and to Experiments.
pub(super) fn warnings(rollout: &Rollout) -> Vec<FieldError> {
    // The controller writes the number of pods where it is missing (API-11).
    let mut known = rollout.clone();
    known.spec.replicas = Some(rollout.spec.replicas());
    let mut found = Vec::new();
    for place in analyses(&rollout.spec) {
        found.extend(of_list(
            &known,
            place.args,
            &super::analyses::beside(&place.path),
        ));
    }
    for (i, step) in rollout.spec.steps().iter().enumerate() {
        let Some(experiment) = &step.experiment else {
            continue;
        };
        for (k, analysis) in experiment.analyses.iter().enumerate() {
            let path = format!("spec.strategy.canary.steps[{i}].experiment.analyses[{k}].args");
            found.extend(of_list(&known, &analysis.args, &path));
        }
    }
    found
}

fn of_list(rollout: &Rollout, args: &[AnalysisRunArgument], path: &str) -> Vec<FieldError> {
    let all = args.iter().enumerate();
    all.flat_map(|(j, arg)| of_argument(rollout, arg, &format!("{path}[{j}]")))
        .collect()
}

fn of_argument(rollout: &Rollout, arg: &AnalysisRunArgument, path: &str) -> Vec<FieldError> {
    let Some(from) = &arg.value_from else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let hash = from.pod_template_hash_value.as_deref();
    let field = from
        .field_ref
        .as_ref()
        .map(|field| field.field_path.as_str());
    if let Some(word) = hash.filter(|word| !matches!(*word, "Latest" | "Stable")) {
        let path = format!("{path}.valueFrom.podTemplateHashValue");
        let detail = "counts as Latest; write Latest or Stable";
        found.push(FieldError::invalid(path, word, detail));
    }
    // The first of them that is there.
    let sources = [
        ("podTemplateHashValue", hash.is_some()),
        ("fieldRef", field.is_some()),
        ("value", !arg.value.is_empty()),
    ];
    let mut given = sources.iter().filter(|(_, given)| *given);
    if let (Some((first, _)), Some((second, _))) = (given.next(), given.next()) {
        let detail = format!(
            "has {first} as well as {second}, and only {first} counts; leave the other out"
        );
        found.push(FieldError::invalid(path, arg.name.as_str(), detail));
    }
    if let Some(field) = field.filter(|field| hash.is_none() && is_known(rollout, field))
        && let Err(error) = field_path::resolve(rollout, field)
    {
        let path = format!("{path}.valueFrom.fieldRef.fieldPath");
        let detail = format!("{error}, so the analysis cannot start; correct the path");
        found.push(FieldError::invalid(path, field, detail));
    }
    found
}

/// Whether the manifest shows all that stands at a path: not so for what Kubernetes adds, nor for
/// the template of a workload that is not at hand.
fn is_known(rollout: &Rollout, field: &str) -> bool {
    let borrowed = rollout.spec.workload_ref.is_some() && rollout.spec.template.is_empty();
    let of_template = field.starts_with("spec.template") || field.starts_with("spec.selector");
    field.starts_with("spec.") && !(borrowed && of_template)
}
