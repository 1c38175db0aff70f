//! One measurement from beginning to end: provider, deadline, judge, redaction.
//!
//! Whatever a provider does, what comes back is a measurement that can be stored: an answer that
//! does not come, a panic, settings that make no sense are measurements in phase Error (ANA-12,
//! ASE-15).

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::future::FutureExt as _;
use jiff::Timestamp;
use sluice_crds::analysis::{AnalysisPhase, Measurement, Metric};
use sluice_crds::keys;

use crate::Context;
use crate::judge;
use crate::provider::{AnyProvider, Progress, Provider, RunRef};
use crate::redact::Redactor;
use crate::select::provider;

/// The longest deadline that a metric may ask for.
const MAX_DEADLINE: Duration = Duration::from_secs(60 * 60);
/// Bytes of a value or message that are stored: a status is an object of the API, and one that is
/// too large cannot be written at all.
const MAX_TEXT: usize = 16 << 10;

/// Metadata that is read again.
const REFERENCES: [&str; 2] = [keys::MEASUREMENT_JOB_NAME, keys::MEASUREMENT_JOB_NAMESPACE];

/// What time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Takes measurements. Cheap to clone.
#[derive(Clone)]
pub struct Measurer {
    context: Arc<Context>,
    clock: Clock,
}

/// Whose measurement it is.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The run.
    pub run: &'a RunRef,
    /// The metric, placeholders and secrets replaced.
    pub metric: &'a Metric,
    /// The values of secrets: they appear in nothing that is returned.
    pub secrets: &'a Redactor,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// The measurement; `finishedAt` is set when it is done.
    pub measurement: Measurement,
    /// `metricResult.metadata`, taken over with the first measurement of a metric (ANA-13).
    pub metadata: BTreeMap<String, String>,
}

/// What to do with an open measurement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Continue {
    Poll,
    Stop,
}

impl Measurer {
    /// Measures with `context`; `clock` tells the times that are written.
    #[must_use]
    pub fn new(context: Arc<Context>, clock: Clock) -> Self {
        Self { context, clock }
    }

    /// Begins a measurement, and for most providers ends it. `ordinal` is how many measurements of
    /// this metric have ended before.
    pub async fn start(&self, request: &Request<'_>, ordinal: i32) -> Measured {
        let started = (self.clock)();
        let mut measured = Measured::default();
        measured.measurement.started_at = Some(started.into());
        let work = async {
            let provider = provider(&self.context, request.run, request.metric)?;
            let metadata = provider.metadata();
            let measurement = match provider {
                AnyProvider::Short(provider) => short(&*provider, request.metric, started).await,
                AnyProvider::Long(provider) => progress(provider.start(ordinal, started).await),
            };
            Ok((measurement, metadata))
        };
        match isolated(work).await {
            Ok((measurement, metadata)) => {
                let started_at = measured.measurement.started_at;
                measured.measurement = Measurement {
                    started_at,
                    ..measurement
                };
                measured.metadata = metadata;
            }
            Err(message) => fail(&mut measured.measurement, message),
        }
        self.finish(measured, request)
    }

    /// Looks at an open measurement again.
    pub async fn resume(&self, request: &Request<'_>, open: &Measurement) -> Measured {
        self.go_on(request, open, Continue::Poll).await
    }

    /// Stops an open measurement. Its message is the caller's to set (ANA-13).
    pub async fn terminate(&self, request: &Request<'_>, open: &Measurement) -> Measured {
        self.go_on(request, open, Continue::Stop).await
    }

    async fn go_on(&self, request: &Request<'_>, open: &Measurement, what: Continue) -> Measured {
        let now = (self.clock)();
        let work = async {
            let provider = provider(&self.context, request.run, request.metric)?;
            let metadata = provider.metadata();
            let AnyProvider::Long(provider) = provider else {
                // Leaves none open; what is open anyway stays as it is.
                return Ok((None, metadata));
            };
            let progress = match what {
                Continue::Poll => provider.poll(open, now).await,
                Continue::Stop => provider.stop(open, now).await,
            };
            Ok((Some(progress), metadata))
        };
        let mut measured = Measured {
            measurement: open.clone(),
            metadata: BTreeMap::new(),
        };
        match isolated(work).await {
            Ok((news, metadata)) => {
                if let Some(news) = news {
                    apply(&mut measured.measurement, news);
                }
                measured.metadata = metadata;
            }
            Err(message) => fail(&mut measured.measurement, message),
        }
        self.finish(measured, request)
    }

    /// Drops what a provider keeps of measurements beyond the newest `limit` (ANA-21).
    ///
    /// # Errors
    /// Why it could not; to be logged, nothing more.
    pub async fn collect_garbage(&self, request: &Request<'_>, limit: i32) -> Result<(), String> {
        let work = async {
            match provider(&self.context, request.run, request.metric)? {
                AnyProvider::Short(_) => Ok(()),
                AnyProvider::Long(provider) => provider.collect_garbage(limit).await,
            }
        };
        isolated(work)
            .await
            .map_err(|message| request.secrets.text(&message))
    }

    /// Times, redaction, size. Cut last, so that no half of a secret stays.
    fn finish(&self, mut measured: Measured, request: &Request<'_>) -> Measured {
        let measurement = &mut measured.measurement;
        if measurement.phase.completed() && measurement.finished_at.is_none() {
            measurement.finished_at = Some((self.clock)().into());
        }
        for text in [&mut measurement.message, &mut measurement.value] {
            *text = cut(request.secrets.text(text));
        }
        for map in [&mut measurement.metadata, &mut measured.metadata] {
            // These lead back to what runs; a secret that reads like them must not cut the thread.
            for (_, value) in map
                .iter_mut()
                .filter(|(key, _)| !REFERENCES.contains(&key.as_str()))
            {
                *value = cut(request.secrets.text(value));
            }
        }
        measured
    }
}

/// Runs `work`; a panic in it is an error of this measurement alone.
pub(crate) async fn isolated<T>(
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(panic) => Err(format!("metric provider panicked: {}", panic_text(&*panic))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason")
}

/// Measures and judges, within the provider's deadline.
pub(crate) async fn short(provider: &dyn Provider, metric: &Metric, now: Timestamp) -> Measurement {
    let mut measurement = Measurement::default();
    let deadline = provider.deadline().min(MAX_DEADLINE);
    let answer = async {
        if deadline.is_zero() {
            // Polling once could still win the race.
            return None;
        }
        tokio::time::timeout(deadline, provider.measure(now))
            .await
            .ok()
    };
    let reading = match answer.await {
        Some(Ok(reading)) => reading,
        Some(Err(message)) => {
            fail(&mut measurement, message);
            return measurement;
        }
        None => {
            let what = provider.describe();
            fail(
                &mut measurement,
                format!("{what}: context deadline exceeded (no answer within {deadline:?})"),
            );
            return measurement;
        }
    };
    let (success, failure) = (&metric.success_condition, &metric.failure_condition);
    measurement.metadata = reading.metadata;
    match judge::verdict(success, failure, &reading.result, now) {
        Ok(phase) => {
            measurement.phase = phase;
            measurement.value = reading.value;
        }
        Err(message) => {
            fail(&mut measurement, message);
            if reading.keep_value {
                measurement.value = reading.value;
            }
        }
    }
    measurement
}

fn progress(progress: Progress) -> Measurement {
    let mut measurement = Measurement::default();
    apply(&mut measurement, progress);
    measurement
}

fn apply(measurement: &mut Measurement, news: Progress) {
    measurement.phase = news.phase;
    measurement.message = news.message;
    measurement.metadata.extend(news.metadata);
    if let Some(at) = news.resume_at {
        measurement.resume_at = Some(at.into());
    }
}

fn fail(measurement: &mut Measurement, message: String) {
    measurement.phase = AnalysisPhase::Error;
    measurement.message = message;
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let total = text.len();
        let end = (0..=MAX_TEXT)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(end);
        text.push_str(&format!("... ({total} bytes)"));
    }
    text
}
