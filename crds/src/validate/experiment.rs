//! The spec of an Experiment (API-54).

use crate::experiment::Experiment;

/// The first mistake of an Experiment, in the words of its `InvalidSpec` condition.
pub fn experiment(experiment: &Experiment) -> Option<String> {
    let name = experiment.metadata.name.as_deref().unwrap_or_default();
    let spec = &experiment.spec;
    spec.templates.iter().enumerate().find_map(|(i, template)| {
        let Some(selector) = &template.selector else {
            return Some(format!(
                "Rollout has missing field '.Spec.Templates[{i}].Selector'"
            ));
        };
        if selector.is_empty() {
            return Some(format!(
                "This experiment is selecting all pods at index {i}. A non-empty selector is \
                 required."
            ));
        }
        if template.min_ready_seconds > spec.progress_deadline_seconds() {
            return Some(format!(
                "MinReadySeconds cannot be longer than ProgressDeadlineSeconds. Check template \
                 index {i}"
            ));
        }
        let called = &template.name;
        if called.is_empty() {
            return Some(format!(
                "Experiment {name} has empty template name at index {i}"
            ));
        }
        let repeated = spec
            .templates
            .iter()
            .take(i)
            .any(|earlier| earlier.name == *called);
        repeated.then(|| {
            format!("Experiment {name} has repeated template name '{called}' in templates")
        })
    })
}
