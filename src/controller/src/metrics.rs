//! Metrics under the peer's names (OPS-12..17).
//!
//! Counters and histograms are kept; gauges about objects are computed from the caches at each
//! scrape, so that their number follows the objects.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{
    CounterVec, Encoder, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry, TextEncoder,
};
use sluice_core::event::{Event, EventType};
use tokio::time::Instant;

use crate::http::RequestLabel;
use crate::key::Key;
use crate::queue::{Observer, Queue};

mod objects;

pub use objects::{ObjectGauges, RolloutFacts};

/// Series of a deleted object are removed so long after its end (OPS-15).
const KEEP_AFTER_DELETION: Duration = Duration::from_secs(65);

const NN: [&str; 2] = ["namespace", "name"];
const RECONCILE_BUCKETS: [f64; 5] = [0.01, 0.15, 0.25, 0.5, 1.0];

/// Whose passes are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Rollouts.
    Rollout,
    /// AnalysisRuns.
    AnalysisRun,
    /// Experiments.
    Experiment,
}

struct Passes {
    took: HistogramVec,
    errors: CounterVec,
}

struct Inner {
    registry: Registry,
    rollouts: Passes,
    runs: Passes,
    experiments: Passes,
    events: CounterVec,
    requests: CounterVec,
    attempts: [HistogramVec; 3],
    waited: HistogramVec,
    worked: HistogramVec,
    queues: Mutex<Vec<Arc<Queue>>>,
    gone: Mutex<VecDeque<(Instant, Subject, Key)>>,
}

/// All metrics of one controller. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

/// A family could not be registered: two have the same name.
#[derive(Debug, thiserror::Error)]
#[error("registering a metric")]
pub struct MetricsError(#[from] prometheus::Error);

impl Metrics {
    /// All families, registered with a registry of their own.
    ///
    /// # Errors
    /// [`MetricsError`] when a name is used twice, which a test rules out.
    pub fn new() -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let counter =
            |name: &str, help: &str, labels: &[&str]| -> Result<CounterVec, MetricsError> {
                let family = CounterVec::new(Opts::new(name, help), labels)?;
                registry.register(Box::new(family.clone()))?;
                Ok(family)
            };
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let family = HistogramVec::new(options, labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, MetricsError>(family)
        };
        let passes = |prefix: &str, what: &str| -> Result<Passes, MetricsError> {
            Ok(Passes {
                took: histogram(
                    &format!("{prefix}_reconcile"),
                    &format!("Time of a pass over one {what}, in seconds"),
                    &NN,
                    &RECONCILE_BUCKETS,
                )?,
                errors: counter(
                    &format!("{prefix}_reconcile_error"),
                    &format!("Passes over one {what} that ended with an error"),
                    &NN,
                )?,
            })
        };
        let seconds = |text: &[u32]| text.iter().map(|s| f64::from(*s)).collect::<Vec<_>>();
        let total = seconds(&[30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800]);
        let progression = seconds(&[30, 60, 120, 300, 600, 900, 1800, 3600]);
        let pause = seconds(&[0, 60, 300, 600, 1800, 3600, 7200, 14400, 28800]);
        let queue_buckets = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0];
        let rollout_seconds =
            |name: &str, help: &str, buckets: &[f64]| histogram(name, help, &["status"], buckets);
        let inner = Inner {
            rollouts: passes("rollout", "Rollout")?,
            runs: passes("analysis_run", "AnalysisRun")?,
            experiments: passes("experiment", "Experiment")?,
            events: counter(
                "rollout_events_total",
                "Events on Rollouts",
                &["namespace", "name", "type", "reason"],
            )?,
            requests: counter(
                "controller_clientset_k8s_request_total",
                "Requests to the API server",
                &["kind", "namespace", "name", "verb", "status_code"],
            )?,
            attempts: [
                rollout_seconds("rollout_duration_seconds", "Time of an attempt", &total)?,
                rollout_seconds(
                    "rollout_progression_duration_seconds",
                    "Time of an attempt without manual pauses",
                    &progression,
                )?,
                rollout_seconds(
                    "rollout_manual_pause_duration_seconds",
                    "Manual pauses of an attempt",
                    &pause,
                )?,
            ],
            waited: histogram(
                "workqueue_queue_duration_seconds",
                "Time a key waited for a worker",
                &["name"],
                &queue_buckets,
            )?,
            worked: histogram(
                "workqueue_work_duration_seconds",
                "Time of a pass",
                &["name"],
                &queue_buckets,
            )?,
            queues: Mutex::default(),
            gone: Mutex::default(),
            registry,
        };
        Ok(Self(Arc::new(inner)))
    }

    fn passes(&self, subject: Subject) -> &Passes {
        match subject {
            Subject::Rollout => &self.0.rollouts,
            Subject::AnalysisRun => &self.0.runs,
            Subject::Experiment => &self.0.experiments,
        }
    }

    /// A pass ended.
    pub fn pass(&self, subject: Subject, key: &Key, took: Duration, failed: bool) {
        let (passes, labels) = (self.passes(subject), [key.namespace(), key.name()]);
        passes
            .took
            .with_label_values(&labels)
            .observe(took.as_secs_f64());
        if failed {
            passes.errors.with_label_values(&labels).inc();
        }
    }

    /// An event on a Rollout was recorded.
    pub fn event(&self, key: &Key, event: &Event) {
        let kind = match event.kind {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        let labels = [key.namespace(), key.name(), kind, &event.reason];
        self.0.events.with_label_values(&labels).inc();
    }

    /// A request to the API server was answered (or not: no status).
    pub fn request(&self, label: &RequestLabel, status: Option<u16>) {
        let status = status.map_or_else(String::new, |code| code.to_string());
        let labels = [
            label.kind.as_str(),
            label.namespace.as_str(),
            label.name.as_str(),
            label.verb,
            status.as_str(),
        ];
        self.0.requests.with_label_values(&labels).inc();
    }

    /// An attempt ended (OPS-14): its total time and its manual pauses, in seconds.
    pub fn attempt(&self, status: &str, total: f64, paused: f64) {
        let [all, progression, pause] = &self.0.attempts;
        all.with_label_values(&[status]).observe(total);
        progression
            .with_label_values(&[status])
            .observe((total - paused).max(0.0));
        pause.with_label_values(&[status]).observe(paused);
    }

    /// Requests so far, by verb and kind.
    #[must_use]
    pub fn requests_by_verb(&self) -> std::collections::BTreeMap<String, u64> {
        let mut sums = std::collections::BTreeMap::new();
        for family in prometheus::core::Collector::collect(&self.0.requests) {
            for metric in family.get_metric() {
                let label = |name: &str| {
                    let found = metric.get_label().iter().find(|pair| pair.name() == name);
                    found.map_or("", |pair| pair.value()).to_owned()
                };
                let count = metric.get_counter().get_value();
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                // whole, counted up
                let count = count as u64;
                *sums
                    .entry(format!("{} {}", label("verb"), label("kind")))
                    .or_default() += count;
            }
        }
        sums
    }

    /// The series of a deleted object are to be removed in a while.
    pub fn deleted(&self, subject: Subject, key: Key) {
        let mut gone = self.0.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.push_back((Instant::now() + KEEP_AFTER_DELETION, subject, key));
    }

    /// Removes series of objects that are gone long enough.
    pub fn sweep(&self) {
        let mut gone = self.0.gone.lock().unwrap_or_else(PoisonError::into_inner);
        while gone.front().is_some_and(|(at, ..)| *at <= Instant::now()) {
            let Some((_, subject, key)) = gone.pop_front() else {
                return;
            };
            let (passes, labels) = (self.passes(subject), [key.namespace(), key.name()]);
            // Not there is as good as removed.
            let _ = passes.took.remove_label_values(&labels);
            let _ = passes.errors.remove_label_values(&labels);
            if subject == Subject::Rollout {
                remove_matching(&self.0.events, &key);
            }
        }
    }

    /// What a queue has to call after each pass.
    #[must_use]
    pub fn queue_observer(&self, name: &'static str) -> Observer {
        let waited = self.0.waited.with_label_values(&[name]);
        let worked = self.0.worked.with_label_values(&[name]);
        Box::new(move |wait, work| {
            waited.observe(wait.as_secs_f64());
            worked.observe(work.as_secs_f64());
        })
    }

    /// A queue to report about.
    pub fn watch_queue(&self, queue: Arc<Queue>) {
        self.0
            .queues
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(queue);
    }

    /// The text of `/metrics`: all families, those about objects computed now.
    ///
    /// # Errors
    /// When two families have the same name.
    pub fn render(&self, objects: &ObjectGauges) -> Result<String, MetricsError> {
        self.sweep();
        let scrape = Registry::new();
        self.queue_gauges(&scrape)?;
        objects.register(&scrape)?;
        let mut families = self.0.registry.gather();
        families.extend(scrape.gather());
        families.extend(
            prometheus::gather()
                .into_iter()
                .filter(|f| f.name().starts_with("process_")),
        );
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn queue_gauges(&self, registry: &Registry) -> Result<(), MetricsError> {
        let counter = |name: &str, help: &str| -> Result<CounterVec, MetricsError> {
            let family = CounterVec::new(Opts::new(name, help), &["name"])?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let gauge = |name: &str, help: &str| -> Result<GaugeVec, MetricsError> {
            let family = GaugeVec::new(Opts::new(name, help), &["name"])?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let adds = counter("workqueue_adds_total", "Keys added")?;
        let retries = counter("workqueue_retries_total", "Keys added again after an error")?;
        let depth = gauge("workqueue_depth", "Keys waiting for a worker")?;
        let unfinished = gauge(
            "workqueue_unfinished_work_seconds",
            "Running times of passes under way, summed",
        )?;
        let longest = gauge(
            "workqueue_longest_running_processor_seconds",
            "Running time of the longest pass",
        )?;
        #[allow(clippy::cast_precision_loss)] // counters are floating point in this format
        for queue in self
            .0
            .queues
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            let (stats, name) = (queue.stats(), [queue.name()]);
            adds.with_label_values(&name).inc_by(stats.adds as f64);
            retries
                .with_label_values(&name)
                .inc_by(stats.retries as f64);
            depth.with_label_values(&name).set(stats.depth as f64);
            unfinished
                .with_label_values(&name)
                .set(stats.unfinished.as_secs_f64());
            longest
                .with_label_values(&name)
                .set(stats.longest.as_secs_f64());
        }
        Ok(())
    }
}

/// Removes the series whose first two labels are the key.
fn remove_matching(family: &CounterVec, key: &Key) {
    for collected in prometheus::core::Collector::collect(family) {
        for metric in collected.get_metric() {
            let label = |name: &str| {
                let found = metric.get_label().iter().find(|pair| pair.name() == name);
                found.map_or("", |pair| pair.value())
            };
            if label("namespace") == key.namespace() && label("name") == key.name() {
                let labels = [key.namespace(), key.name(), label("type"), label("reason")];
                let _ = family.remove_label_values(&labels);
            }
        }
    }
}

#[cfg(test)]
mod tests;
