//! The Experiment kind.

mod types;

pub use types::*;

use crate::resource::resource;

resource! {
    /// Sets of pods that run beside each other for a while. Its status is part of the main
    /// resource (API-6).
    pub struct Experiment {
        spec: ExperimentSpec,
        status: ExperimentStatus,
    }
    group: "argoproj.io", version: "v1alpha1", plural: "experiments",
    scope: NamespaceResourceScope
}
