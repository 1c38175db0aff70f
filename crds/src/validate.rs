//! What is wrong with an object, as a list of field errors in the order of the rules.
//!
//! * [`rollout`]: what can be told from the Rollout alone (API-45, API-46). Give it the Rollout
//!   with the template and selector of its `workloadRef` already filled in.
//! * [`manifest`]: the same for a Rollout as users write it, for `lint` and admission.
//! * [`references`]: what takes Services, templates and routes to tell (API-49, API-50).
//! * [`warnings`]: what is accepted and yet hardly meant; for `lint`, as is [`exact`].
//! * [`analysis_run`], [`experiment`]: the checks of these kinds (ANA-8, API-54).
//!
//! A status carries the first error only; lists are complete so that `lint` can show all.

mod analysis_run;
mod blue_green;
mod canary;
mod experiment;
mod istio;
mod mesh;
mod pod_template;
mod references;
mod services;
mod spec;
mod steps;
mod true_path;
pub mod warnings;

pub use analysis_run::{SpecError, analysis_run};
pub use experiment::experiment;
pub use references::references;
pub use true_path::exact;

use crate::field_error::FieldError;
use crate::rollout::Rollout;

/// Static rules for a Rollout whose workload reference, if any, is resolved (API-45, API-46).
pub fn rollout(rollout: &Rollout) -> Vec<FieldError> {
    let mut errors = spec::workload(&rollout.spec);
    errors.extend(spec::numbers(&rollout.spec));
    errors.extend(spec::strategy(&rollout.spec));
    errors
}

/// Static rules for a Rollout as it is written: a workload reference stands for the template.
pub fn manifest(rollout: &Rollout) -> Vec<FieldError> {
    if rollout.spec.workload_ref.is_none() {
        return self::rollout(rollout);
    }
    let mut errors = spec::workload_ref(&rollout.spec);
    errors.extend(spec::numbers(&rollout.spec));
    errors.extend(spec::strategy(&rollout.spec));
    errors
}

/// The message of an invalid Rollout (API-44).
pub fn invalid_spec_message(name: &str, error: &FieldError) -> String {
    format!("The Rollout \"{name}\" is invalid: {error}")
}

/// JSON of a part of an object, to be shown in an error.
fn json<T: serde::Serialize>(part: &T) -> serde_json::Value {
    serde_json::to_value(part).unwrap_or_default()
}

#[cfg(test)]
mod tests;
