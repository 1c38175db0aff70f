//! Measurements by the providers of `sluice_analysis`.

use std::sync::Arc;

use futures::future::BoxFuture;
use sluice_analysis::job::JobCluster;
use sluice_analysis::{Context, Measurer, Redactor, Request, RunRef};
use sluice_core::analysis_run::TaskKind;
use sluice_crds::AnalysisRun;
use sluice_crds::analysis::Metric;

use crate::clock::SharedClock;
use crate::measure::{Measure, Measured, Work};

/// The providers of `sluice_analysis`.
pub struct Providers(Measurer);

impl Providers {
    /// What the environment says, Jobs in `jobs`.
    #[must_use]
    pub fn new(jobs: JobCluster, clock: SharedClock) -> Self {
        Self::with(Context::from_env().with_jobs(Arc::new(jobs)), clock)
    }

    /// Providers of a cluster that is reached by `client`: Jobs run there, and nothing is taken
    /// from the environment.
    #[must_use]
    pub fn within(client: kube::Client, clock: SharedClock) -> Self {
        let jobs = JobCluster::new(client, None);
        Self::with(Context::new().with_jobs(Arc::new(jobs)), clock)
    }

    /// Providers that share `context`.
    #[must_use]
    pub fn with(context: Context, clock: SharedClock) -> Self {
        Self(Measurer::new(
            Arc::new(context),
            Arc::new(move || clock.now()),
        ))
    }
}

fn run_ref(run: &AnalysisRun) -> RunRef {
    let meta = &run.metadata;
    RunRef {
        name: meta.name.clone().unwrap_or_default(),
        namespace: meta.namespace.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
    }
}

impl Measure for Providers {
    fn measure(&self, work: Work) -> BoxFuture<'_, Measured> {
        Box::pin(async move {
            let (run, secrets) = (
                run_ref(&work.run),
                Redactor::new(work.secrets.values().map(String::as_str)),
            );
            let request = Request {
                run: &run,
                metric: &work.metric,
                secrets: &secrets,
            };
            let open = work.task.measurement.clone().unwrap_or_default();
            let measured = match work.task.kind {
                TaskKind::Start => self.0.start(&request, work.task.ordinal).await,
                TaskKind::Resume => self.0.resume(&request, &open).await,
                TaskKind::Terminate => self.0.terminate(&request, &open).await,
            };
            Measured {
                measurement: measured.measurement,
                metadata: measured.metadata,
            }
        })
    }

    fn collect(&self, run: Arc<AnalysisRun>, metric: Metric, keep: i32) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let (run, secrets) = (run_ref(&run), Redactor::new([]));
            let request = Request {
                run: &run,
                metric: &metric,
                secrets: &secrets,
            };
            if let Err(error) = self.0.collect_garbage(&request, keep).await {
                tracing::warn!(
                    run = run.name,
                    metric = metric.name,
                    error,
                    "old measurements stay"
                );
            }
        })
    }
}
