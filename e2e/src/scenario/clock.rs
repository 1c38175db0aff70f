//! The controllers' clock, which may jump.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use sluice_controller::clock::{Clock, SharedClock};

/// Another clock, so much ahead of it.
pub struct Shifted {
    inner: SharedClock,
    seconds: AtomicI64,
}

impl Shifted {
    /// The same time.
    #[must_use]
    pub fn new(inner: SharedClock) -> Self {
        Self {
            inner,
            seconds: AtomicI64::new(0),
        }
    }

    /// From now on it shows another time, whole seconds away.
    pub fn jump(&self, by: SignedDuration) {
        self.seconds.fetch_add(by.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for Shifted {
    fn now(&self) -> Timestamp {
        let ahead = SignedDuration::from_secs(self.seconds.load(Ordering::SeqCst));
        let now = self.inner.now();
        now.checked_add(ahead).unwrap_or(now)
    }
}
