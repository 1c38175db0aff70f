//! Metric providers, the condition language and the judge: everything that takes one measurement.
//!
//! ```text
//! Measurer::start ── select::provider() ── Provider::measure ── judge::verdict ── Measurement
//!                └─ LongProvider::start, then resume: poll, terminate: stop
//! ```
//!
//! * [`measure`]: the contract for the controller. A measurement always comes back, in time.
//! * [`provider`]: what a provider is; [`select`]: which one a metric names.
//! * [`prometheus`], [`web`], [`job`]: the providers there are.
//! * [`expr`], [`judge`]: conditions and the verdict; [`jsonpath`], [`numbers`]: values and texts.
//!
//! When to measure, what limits mean and how a run ends is not decided here, but in `sluice-core`.

pub mod expr;
mod http;
pub mod job;
pub mod jsonpath;
pub mod judge;
pub mod measure;
pub mod numbers;
mod oauth2;
pub mod prometheus;
pub mod provider;
mod redact;
pub mod select;
pub mod web;

#[cfg(test)]
mod conformance;

use std::sync::Arc;

pub use http::MAX_BODY;
pub use measure::{Clock, Measured, Measurer, Request};
pub use provider::RunRef;
pub use redact::Redactor;

/// What providers share: connections, tokens, and what the environment says.
#[derive(Default)]
pub struct Context {
    pub(crate) clients: http::Clients,
    pub(crate) tokens: Arc<oauth2::Tokens>,
    prometheus_address: Option<String>,
    jobs: Option<Arc<job::JobCluster>>,
}

impl Context {
    /// No Prometheus but those that metrics name, no Jobs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the address of Prometheus from the environment (ANA-52).
    #[must_use]
    pub fn from_env() -> Self {
        let address = std::env::var(prometheus::ADDRESS_ENV)
            .ok()
            .filter(|a| !a.is_empty());
        Self {
            prometheus_address: address,
            ..Self::default()
        }
    }

    /// Metrics without address ask this Prometheus.
    #[must_use]
    pub fn with_prometheus(mut self, address: impl Into<String>) -> Self {
        self.prometheus_address = Some(address.into());
        self
    }

    /// Jobs run there.
    #[must_use]
    pub fn with_jobs(mut self, jobs: Arc<job::JobCluster>) -> Self {
        self.jobs = Some(jobs);
        self
    }
}
