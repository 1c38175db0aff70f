//! AnalysisTemplate, ClusterAnalysisTemplate and AnalysisRun.

mod metric;
mod provider;
mod spec;
mod status;

pub use metric::*;
pub use provider::*;
pub use spec::*;
pub use status::*;

use crate::resource::resource;

resource! {
    /// A reusable analysis of one namespace.
    pub struct AnalysisTemplate {
        spec: AnalysisTemplateSpec,
    }
    group: "argoproj.io", version: "v1alpha1", plural: "analysistemplates",
    scope: NamespaceResourceScope
}

resource! {
    /// A reusable analysis of the whole cluster.
    pub struct ClusterAnalysisTemplate {
        spec: AnalysisTemplateSpec,
    }
    group: "argoproj.io", version: "v1alpha1", plural: "clusteranalysistemplates",
    scope: ClusterResourceScope
}

resource! {
    /// One analysis under way or done. Its status is part of the main resource (API-6).
    pub struct AnalysisRun {
        spec: AnalysisRunSpec,
        status: AnalysisRunStatus,
    }
    group: "argoproj.io", version: "v1alpha1", plural: "analysisruns",
    scope: NamespaceResourceScope
}
