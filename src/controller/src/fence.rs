//! The fence in front of every write: open only while this process surely holds the lease (INV-12).
//!
//! The election moves it, the client of [`crate::http`] asks it before each write and gives a write
//! up when it closes meanwhile. Nobody else has to remember.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// A write was refused because the lease is not, or no longer, held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process does not hold the leader's lease: nothing was written")]
pub struct Fenced;

/// Until when writes are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// Not at all.
    Closed,
    /// Until this time.
    Instant(Instant),
    /// Without end: no election takes place.
    Forever,
}

/// A shared view of whether this process may write.
#[derive(Clone, Debug)]
pub struct Fence(watch::Sender<Until>);

impl Fence {
    /// A fence that stays open: no election takes place.
    #[must_use]
    pub fn open() -> Self {
        Self(watch::Sender::new(Until::Forever))
    }

    /// A fence that an election opens.
    #[must_use]
    pub fn closed() -> Self {
        Self(watch::Sender::new(Until::Closed))
    }

    /// Opens it until `end`.
    pub fn open_until(&self, end: Instant) {
        self.0.send_replace(Until::Instant(end));
    }

    /// Closes it.
    pub fn close(&self) {
        self.0.send_replace(Until::Closed);
    }

    /// Whether a write may be sent now.
    ///
    /// # Errors
    /// [`Fenced`] when not.
    pub fn check(&self) -> Result<(), Fenced> {
        let open = match *self.0.borrow() {
            Until::Closed => false,
            Until::Instant(end) => Instant::now() < end,
            Until::Forever => true,
        };
        if open { Ok(()) } else { Err(Fenced) }
    }

    /// Returns when the fence is closed, however it came.
    pub async fn closed_meanwhile(&self) {
        let mut moved = self.0.subscribe();
        loop {
            let until = *moved.borrow_and_update();
            let end = match until {
                Until::Closed => return,
                Until::Instant(end) => end,
                Until::Forever => Instant::now() + Duration::from_secs(86_400),
            };
            match tokio::time::timeout_at(end, moved.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) if until == Until::Forever => {}
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// INV-12
    #[tokio::test(start_paused = true)]
    async fn closes_by_itself_unless_extended() {
        let fence = Fence::closed();
        assert_eq!(fence.check(), Err(Fenced));
        let second = Duration::from_secs(1);
        fence.open_until(Instant::now() + second);
        assert_eq!(fence.check(), Ok(()));
        let other = fence.clone();
        let waiting = tokio::spawn(async move {
            other.closed_meanwhile().await;
            Instant::now()
        });
        tokio::time::sleep(second / 2).await;
        let end = Instant::now() + second;
        fence.open_until(end);
        assert_eq!(waiting.await.unwrap(), end);
        assert_eq!(fence.check(), Err(Fenced));
    }
}
