//! Where the shell gets its time from.
//!
//! Decisions take a [`Timestamp`]; waiting uses tokio's timers. [`Clock`] ties the two together, so
//! that under a paused tokio runtime both move at once and hours pass in milliseconds.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// A source of wall-clock time.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// A clock shared by all parts of one controller.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Time that follows tokio's timers from a fixed beginning: for tests, `demo` and `simulate`.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    base: Timestamp,
    started: Instant,
}

impl TokioClock {
    /// A clock that shows `base` now. Must be called inside a tokio runtime.
    #[must_use]
    pub fn starting_at(base: Timestamp) -> Self {
        Self {
            base,
            started: Instant::now(),
        }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let passed = jiff::SignedDuration::try_from(self.started.elapsed()).unwrap_or_default();
        self.base.checked_add(passed).unwrap_or(self.base)
    }
}

/// How long to wait from `now` until `then`; zero when it has passed.
///
/// One millisecond is added to a wait that is not zero, because some rules hold strictly after their
/// time (CTL-160), and tokio's timers have that resolution.
#[must_use]
pub fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now))
        .map_or(Duration::ZERO, |left| left + Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D10: the clock moves with the paused runtime.
    #[tokio::test(start_paused = true)]
    async fn follows_paused_time() {
        let base = Timestamp::from_second(1_800_000_000).unwrap();
        let clock = TokioClock::starting_at(base);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.now().as_second(), base.as_second() + 3600);
    }

    #[test]
    fn waits_a_moment_longer_but_never_for_the_past() {
        let at = |s| Timestamp::from_second(s).unwrap();
        assert_eq!(until(at(10), at(12)), Duration::from_millis(2001));
        assert_eq!(until(at(10), at(9)), Duration::ZERO);
    }
}
