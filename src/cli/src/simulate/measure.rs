//! Measurements of a simulated update: formulas instead of a monitoring system, real Jobs.
//!
//! Prometheus is asked as in a cluster, by the real provider, over a socket of this process. The
//! simulated clock stands still meanwhile, so that a measurement takes no time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use futures::future::BoxFuture;
use sluice_controller::measure::{Measure, Measured, Work};
use sluice_controller::providers::Providers;
use sluice_crds::analysis::{
    AnalysisPhase, JobMetric, Measurement, Metric, MetricProvider, PrometheusMetric,
};
use sluice_sim::{Clock, Metrics};

/// How the pods of a Job end.
const EXIT_CODE: &str = "sim.sluice.dev/exit-code";

/// Takes measurements.
pub(super) struct Synthetic {
    /// The formulas.
    metrics: Metrics,
    /// Names of the formulas.
    names: BTreeSet<String>,
    /// Where they are served.
    address: String,
    providers: Providers,
    clock: Clock,
    /// Metrics that no formula is about, and Jobs that do not say how they end: a sentence each.
    assumed: Arc<Mutex<BTreeSet<String>>>,
    /// Prometheus answers nothing but errors, formula or not.
    down: bool,
}

/// `name = formula`, apart.
///
/// # Errors
/// When there is no name or no formula.
pub(super) fn formula(written: &str) -> Result<(&str, &str)> {
    let parts = written.split_once('=');
    let parts = parts.map(|(name, formula)| (name.trim(), formula.trim()));
    parts
        .filter(|(name, formula)| !name.is_empty() && !formula.is_empty())
        .ok_or_else(|| {
            anyhow!("--metric {written:?}: NAME = FORMULA is needed, such as 'error_rate = 0.01'")
        })
}

impl Synthetic {
    /// Measures by `metrics`, which are served at `address` and know formulas of these names.
    pub(super) fn new(
        metrics: Metrics,
        names: BTreeSet<String>,
        address: String,
        providers: Providers,
        clock: Clock,
        down: bool,
    ) -> Self {
        Self {
            metrics,
            names,
            address,
            providers,
            clock,
            assumed: Arc::default(),
            down,
        }
    }

    /// What was taken to succeed, because nothing says otherwise: a sentence each.
    pub(super) fn assumed(&self) -> Arc<Mutex<BTreeSet<String>>> {
        Arc::clone(&self.assumed)
    }

    /// The metric as the synthetic Prometheus is asked for it; `None` when no formula is about it.
    fn asked(&self, metric: &Metric) -> Option<Metric> {
        let mut metric = metric.clone();
        let by_name = self.names.contains(&metric.name);
        let prometheus = match &metric.provider.prometheus {
            Some(prometheus) => {
                let mut prometheus = prometheus.clone();
                let known = self.metrics.knows(&prometheus.query);
                if !known && !by_name && !self.down {
                    return None;
                }
                if !known && by_name {
                    prometheus.query.clone_from(&metric.name);
                }
                prometheus.authentication = sluice_crds::analysis::Authentication::default();
                prometheus
            }
            // Others answer with a number, not with a vector.
            None if by_name => Box::new(PrometheusMetric {
                query: format!("scalar({})", metric.name),
                ..PrometheusMetric::default()
            }),
            None => return None,
        };
        metric.provider = MetricProvider {
            prometheus: Some(Box::new(PrometheusMetric {
                address: self.address.clone(),
                ..*prometheus
            })),
            ..MetricProvider::default()
        };
        Some(metric)
    }

    /// The command of a Job is not run: who knows what it does.
    fn job(&self, metric: &str, job: &JobMetric) {
        let template = job.spec.pointer("/template/metadata/annotations");
        if template.is_some_and(|annotations| annotations.get(EXIT_CODE).is_some()) {
            return;
        }
        let mut assumed = self.assumed.lock().unwrap_or_else(PoisonError::into_inner);
        assumed.insert(format!(
            "the Job of metric {metric} is assumed to succeed; the annotation {EXIT_CODE} of its \
             pods says otherwise"
        ));
    }

    fn good(&self, metric: &str) -> Measured {
        let mut assumed = self.assumed.lock().unwrap_or_else(PoisonError::into_inner);
        assumed.insert(format!(
            "metric {metric} is assumed to succeed; give a formula with --metric"
        ));
        let now = Some(self.clock.now().into());
        let measurement = Measurement {
            phase: AnalysisPhase::Successful,
            started_at: now,
            finished_at: now,
            ..Measurement::default()
        };
        Measured {
            measurement,
            ..Measured::default()
        }
    }
}

impl Measure for Synthetic {
    fn measure(&self, mut work: Work) -> BoxFuture<'_, Measured> {
        Box::pin(async move {
            if let Some(job) = &work.metric.provider.job {
                self.job(&work.metric.name, job);
                return self.providers.measure(work).await;
            }
            match self.asked(&work.metric) {
                None => self.good(&work.metric.name),
                Some(metric) => {
                    work.metric = metric;
                    let _still = StandStill::begin();
                    self.providers.measure(work).await
                }
            }
        })
    }
}

/// As long as it is there, the simulated clock does not jump: sockets take real time.
struct StandStill {
    _end: std::sync::mpsc::Sender<()>,
}

impl StandStill {
    fn begin() -> Self {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        // A paused clock waits for blocking tasks.
        tokio::task::spawn_blocking(move || {
            let _ = ended.recv();
        });
        Self { _end: end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_have_a_name() {
        let (name, formula_) = formula("error_rate = if(weight >= 40, 0.08, 0.01)").unwrap();
        assert_eq!(
            (name, formula_),
            ("error_rate", "if(weight >= 40, 0.08, 0.01)")
        );
        assert!(formula("error_rate").is_err() && formula("= 1").is_err());
    }
}
