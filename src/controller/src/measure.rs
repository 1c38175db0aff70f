//! Measurements of AnalysisRuns, taken beside the loop.
//!
//! One task per run and metric; what it found is handed to the run's next pass. Nothing here decides
//! anything: which metric is due, and what a result means, is `sluice_core::analysis_run`'s business.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use sluice_core::analysis_run::{Outcome, Task, TaskKind, TaskResult};
use sluice_crds::AnalysisRun;
use sluice_crds::analysis::{AnalysisPhase, Measurement, Metric};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::SharedClock;
use crate::key::Key;
use crate::queue::Queue;

mod secrets;

pub use secrets::{SecretError, read as read_secrets};

/// A measurement that takes longer than this is given up: providers have shorter limits of their own.
const LIMIT: Duration = Duration::from_secs(600);

/// One thing to do for a provider.
#[derive(Clone)]
pub struct Work {
    /// The run.
    pub run: Arc<AnalysisRun>,
    /// What to do about which measurement.
    pub task: Task,
    /// The metric, arguments and secrets filled in.
    pub metric: Metric,
    /// Values of secrets, by argument: they must appear in nothing that is stored or logged.
    pub secrets: BTreeMap<String, String>,
}

/// What a provider answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// The measurement as it now is; an error of the provider is one in phase Error.
    pub measurement: Measurement,
    /// What the provider shows about the metric.
    pub metadata: BTreeMap<String, String>,
}

/// Takes measurements: the providers of `sluice_analysis`, or a script in tests and `demo`.
pub trait Measure: Send + Sync + 'static {
    /// Begins, looks at or stops a measurement.
    fn measure(&self, work: Work) -> BoxFuture<'_, Measured>;

    /// Drops what the provider keeps for all but the newest `keep` measurements. Failures are its own
    /// to log.
    fn collect(&self, run: Arc<AnalysisRun>, metric: Metric, keep: i32) -> BoxFuture<'_, ()> {
        let _ = (run, metric, keep);
        Box::pin(std::future::ready(()))
    }
}

/// What is known about the work of one run.
#[derive(Default)]
struct State {
    uid: String,
    /// Tasks under way, by metric; the number tells a task from its successor.
    in_flight: BTreeMap<String, (u64, AbortHandle)>,
    /// Results whose status has not been written, in order of arrival.
    results: Vec<TaskResult>,
}

impl Drop for State {
    fn drop(&mut self) {
        self.in_flight.values().for_each(|(_, task)| task.abort());
    }
}

struct Inner {
    runs: Mutex<HashMap<Key, State>>,
    measure: Arc<dyn Measure>,
    clock: SharedClock,
    queue: Arc<Queue>,
    tasks: TaskTracker,
    stop: CancellationToken,
    number: std::sync::atomic::AtomicU64,
}

/// Measurements under way. Cheap to clone.
#[derive(Clone)]
pub struct Measuring(Arc<Inner>);

impl Measuring {
    /// None yet. Results are announced on `queue`; tasks end when `stop` is cancelled.
    #[must_use]
    pub fn new(
        measure: Arc<dyn Measure>,
        clock: SharedClock,
        queue: Arc<Queue>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (runs, number) = (Mutex::default(), Default::default());
        Self(Arc::new(Inner {
            runs,
            measure,
            clock,
            queue,
            tasks,
            stop,
            number,
        }))
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<Key, State>> {
        self.0.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Results that wait to be entered, and metrics that are being worked on. A new run of the same
    /// name has neither.
    #[must_use]
    pub fn of(&self, key: &Key, uid: &str) -> (Vec<TaskResult>, BTreeSet<String>) {
        let mut runs = self.runs();
        if runs.get(key).is_some_and(|state| state.uid != uid) {
            runs.remove(key);
        }
        runs.get(key).map_or_else(Default::default, |state| {
            (
                state.results.clone(),
                state.in_flight.keys().cloned().collect(),
            )
        })
    }

    /// The first `count` results are stored.
    pub fn entered(&self, key: &Key, count: usize) {
        if let Some(state) = self.runs().get_mut(key) {
            state.results.drain(..count.min(state.results.len()));
        }
    }

    /// Nobody wants to know about these metrics any more.
    pub fn cancel(&self, key: &Key, metrics: &BTreeSet<String>) {
        if let Some(state) = self.runs().get_mut(key) {
            for metric in metrics {
                if let Some((_, task)) = state.in_flight.remove(metric) {
                    task.abort();
                }
            }
        }
    }

    /// The run is over or gone: everything about it ends.
    pub fn forget(&self, key: &Key) {
        self.runs().remove(key);
    }

    /// Drops what providers keep for old measurements, some time.
    pub fn collect(&self, run: Arc<AnalysisRun>, metric: Metric, keep: i32) {
        let inner = self.0.clone();
        self.0.tasks.spawn(async move {
            let stop = inner.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                done = AssertUnwindSafe(inner.measure.collect(run, metric, keep)).catch_unwind() => {
                    if done.is_err() {
                        tracing::error!("dropping old measurements panicked");
                    }
                }
            }
        });
    }

    /// Begins a task. A task of the same metric that is under way ends.
    pub fn begin(&self, client: &kube::Client, key: &Key, run: &Arc<AnalysisRun>, task: Task) {
        let number = self
            .0
            .number
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let metric = task.metric.clone();
        let (inner, client, key_, run_) =
            (self.0.clone(), client.clone(), key.clone(), run.clone());
        let mut runs = self.runs();
        let handle = self.0.tasks.spawn(async move {
            let stop = inner.stop.clone();
            let (name, kind) = (task.metric.clone(), task.kind);
            // Whatever happens in it is this metric's business alone (ASE-15).
            let working = AssertUnwindSafe(take(&inner, client, run_, task)).catch_unwind();
            let text = tokio::select! {
                () = stop.cancelled() => return,
                result = tokio::time::timeout(LIMIT, working) => match result {
                    Ok(Ok(result)) => return inner.deliver(&key_, number, result),
                    Ok(Err(panic)) => {
                        // Not what it says: that may hold anything.
                        tracing::error!(run = %key_, metric = name, "a measurement panicked");
                        drop(panic);
                        "the measurement panicked".to_owned()
                    }
                    Err(_) => format!("no answer within {} seconds", LIMIT.as_secs()),
                },
            };
            inner.deliver(&key_, number, failed(&inner.clock, name, kind, text));
        });
        let state = runs.entry(key.clone()).or_default();
        state.uid = run.metadata.uid.clone().unwrap_or_default();
        if let Some((_, before)) = state
            .in_flight
            .insert(metric, (number, handle.abort_handle()))
        {
            before.abort();
        }
    }
}

impl Inner {
    /// Hands a result to the run's next pass, unless the task was cancelled meanwhile.
    fn deliver(&self, key: &Key, number: u64, result: TaskResult) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(state) = runs.get_mut(key) else {
            return;
        };
        if state
            .in_flight
            .get(&result.metric)
            .is_none_or(|(current, _)| *current != number)
        {
            return;
        }
        state.in_flight.remove(&result.metric);
        state.results.push(result);
        drop(runs);
        self.queue.add(key.clone());
    }
}

/// Does one task: secrets, arguments, provider, mask.
async fn take(
    inner: &Inner,
    client: kube::Client,
    run: Arc<AnalysisRun>,
    task: Task,
) -> TaskResult {
    use sluice_core::analysis_run::args;

    let (name, kind) = (task.metric.clone(), task.kind);
    let unresolved = |text: String| TaskResult {
        metric: name.clone(),
        kind,
        outcome: Outcome::ArgumentsUnresolved(text),
        metadata: BTreeMap::new(),
    };
    let Some(metric) = run.spec.metrics.get(task.index) else {
        return unresolved(format!("metric '{name}' is not in the spec any more"));
    };
    // A Job that runs is looked after with its Secret or without: its result would be lost, and it
    // would run on when it is to be stopped.
    let runs_already = kind != TaskKind::Start && metric.provider.job.is_some();
    let (secrets, metric) = match secrets::read(&client, &run).await {
        Ok(secrets) => match args::resolve(metric, &run.spec, &secrets) {
            Ok(metric) => (secrets, metric),
            Err(text) => {
                let values = secrets.values().map(String::as_str);
                return unresolved(args::redacted(text, values));
            }
        },
        Err(_) if runs_already => match args::without_secrets(&run.spec, task.index) {
            Ok(metric) => (BTreeMap::new(), metric),
            Err(text) => return unresolved(text),
        },
        Err(SecretError::Missing(text)) => return unresolved(text),
        Err(SecretError::Unread(text)) => return failed(&inner.clock, name, kind, text),
    };
    let work = Work {
        run,
        task,
        metric,
        secrets: secrets.clone(),
    };
    let mut measured = inner.measure.measure(work).await;
    args::redact(
        &mut measured.measurement,
        secrets.values().map(String::as_str),
    );
    args::redact_metadata(&mut measured.metadata, secrets.values().map(String::as_str));
    TaskResult {
        metric: name,
        kind,
        outcome: Outcome::Measured(measured.measurement),
        metadata: measured.metadata,
    }
}

/// A measurement that could not be taken: counted as an error, and tried again in a while.
fn failed(clock: &SharedClock, metric: String, kind: TaskKind, message: String) -> TaskResult {
    let now = Some(clock.now().into());
    let measurement = Measurement {
        phase: AnalysisPhase::Error,
        message,
        started_at: now,
        finished_at: now,
        ..Measurement::default()
    };
    TaskResult {
        metric,
        kind,
        outcome: Outcome::Measured(measurement),
        metadata: BTreeMap::new(),
    }
}
