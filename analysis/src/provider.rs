//! What a metric provider is.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use sluice_crds::analysis::{AnalysisPhase, Measurement};

use crate::expr::Value;

/// What a provider found: the judge sees `result`, the user `value` (ANA-50).
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// What conditions are evaluated on.
    pub result: Value,
    /// `measurement.value`.
    pub value: String,
    /// `measurement.metadata`.
    pub metadata: BTreeMap<String, String>,
    /// The value is kept also when a condition cannot be evaluated (ANA-51, ANA-72).
    pub keep_value: bool,
}

/// A provider that answers at once. Dropping the future cancels the measurement.
pub trait Provider: Send + Sync {
    /// How long a measurement may take, from connecting to the last byte.
    fn deadline(&self) -> Duration;

    /// What the request is, for the error that tells of a missed deadline.
    fn describe(&self) -> String;

    /// Takes one measurement. An error is the message of an Error measurement; it need not hide
    /// secrets, the caller does.
    fn measure(&self, now: Timestamp) -> BoxFuture<'_, Result<Reading, String>>;

    /// `metricResult.metadata`.
    fn metadata(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}

/// A provider whose measurements stay open: something runs elsewhere and is looked at again.
///
/// What it has to remember is in the measurement's metadata, so that a restart loses nothing.
pub trait LongProvider: Send + Sync {
    /// Begins a measurement. `ordinal` counts those of this metric that ended before.
    fn start(&self, ordinal: i32, now: Timestamp) -> BoxFuture<'_, Progress>;

    /// Looks at an open measurement.
    fn poll<'a>(&'a self, open: &'a Measurement, now: Timestamp) -> BoxFuture<'a, Progress>;

    /// Ends an open measurement.
    fn stop<'a>(&'a self, open: &'a Measurement, now: Timestamp) -> BoxFuture<'a, Progress>;

    /// Drops what is kept of all but the newest `limit` measurements of this metric (ANA-21).
    fn collect_garbage(&self, limit: i32) -> BoxFuture<'_, Result<(), String>>;

    /// `metricResult.metadata`.
    fn metadata(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}

/// Where a measurement of a [`LongProvider`] stands.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Running, or how it ended.
    pub phase: AnalysisPhase,
    /// Why.
    pub message: String,
    /// What to remember; what is not named stays as it was.
    pub metadata: BTreeMap<String, String>,
    /// When to look again; `None` leaves what was stored.
    pub resume_at: Option<Timestamp>,
}

impl Progress {
    /// It could not be started, seen or stopped.
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            phase: AnalysisPhase::Error,
            message: message.into(),
            ..Self::default()
        }
    }
}

/// A provider of either sort.
pub enum AnyProvider {
    /// Answers at once.
    Short(Box<dyn Provider>),
    /// Leaves measurements open.
    Long(Box<dyn LongProvider>),
}

impl AnyProvider {
    /// `metricResult.metadata`.
    #[must_use]
    pub fn metadata(&self) -> BTreeMap<String, String> {
        match self {
            Self::Short(provider) => provider.metadata(),
            Self::Long(provider) => provider.metadata(),
        }
    }
}

/// The run that a measurement belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunRef {
    /// Name of the AnalysisRun.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
}
