//! The Rollout kind.

mod analysis;
mod blue_green;
mod canary;
mod spec;
mod status;
mod step;
mod traffic;

pub use analysis::*;
pub use blue_green::*;
pub use canary::*;
pub use spec::*;
pub use status::*;
pub use step::*;
pub use traffic::*;

use crate::resource::resource;

resource! {
    /// A workload that is updated step by step.
    pub struct Rollout {
        spec: RolloutSpec,
        status: RolloutStatus,
    }
    group: "argoproj.io", version: "v1alpha1", plural: "rollouts", scope: NamespaceResourceScope
}
