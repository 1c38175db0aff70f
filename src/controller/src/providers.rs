//! Measurements by the providers of `sluice_analysis`.

use futures::future::BoxFuture;
use sluice_crds::analysis::{AnalysisPhase, Measurement};

use crate::measure::{Measure, Measured, Work};

/// The providers of `sluice_analysis`.
#[derive(Clone, Debug, Default)]
pub struct Providers {}

impl Measure for Providers {
    fn measure(&self, work: Work) -> BoxFuture<'_, Measured> {
        let measurement = Measurement {
            phase: AnalysisPhase::Error,
            message: format!("metric '{}': provider not supported yet", work.metric.name),
            ..Measurement::default()
        };
        Box::pin(std::future::ready(Measured {
            measurement,
            ..Measured::default()
        }))
    }
}
