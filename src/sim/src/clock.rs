//! The cluster's clock: tokio time for shells (a paused runtime makes hours pass in
//! milliseconds), or a hand-moved one for pure use.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Duration, Instant};

/// A shared clock; clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    Tokio { base: Timestamp, start: Instant },
    Manual(Arc<Mutex<Timestamp>>),
}

impl Clock {
    /// Tokio time, starting at the wall clock's present.
    pub fn tokio() -> Self {
        Self::tokio_at(Timestamp::now())
    }

    /// Tokio time, with `base` as the time of this call.
    pub fn tokio_at(base: Timestamp) -> Self {
        Self(Source::Tokio {
            base,
            start: Instant::now(),
        })
    }

    /// A clock that moves only through [`Clock::advance`] and [`Clock::set`].
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(Mutex::new(start))))
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::Tokio { base, start } => {
                let passed = SignedDuration::try_from(start.elapsed()).unwrap_or_default();
                base.checked_add(passed).unwrap_or(Timestamp::MAX)
            }
            Source::Manual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Moves a manual clock forward. A tokio clock follows `tokio::time::advance` alone and
    /// ignores this.
    pub fn advance(&self, by: Duration) {
        let by = SignedDuration::try_from(by).unwrap_or_default();
        self.set(self.now().checked_add(by).unwrap_or(Timestamp::MAX));
    }

    /// Sets a manual clock, also backwards (a clock jump); ignored by a tokio clock.
    pub fn set(&self, to: Timestamp) {
        if let Source::Manual(now) = &self.0 {
            *now.lock().unwrap_or_else(PoisonError::into_inner) = to;
        }
    }
}

/// A time as Kubernetes writes it: RFC 3339, whole seconds, UTC.
pub fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time with microseconds, as Leases and the newer Events write it.
pub fn micro_stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Reads what [`stamp`] or [`micro_stamp`] wrote.
pub fn parse_stamp(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}
