//! What routers answer about a data plane that follows slowly, or that cannot be asked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use sluice_controller::observe::Verify;
use sluice_core::traffic::{Verification, Want};
use sluice_crds::Rollout;
use tokio::time::Instant;

use super::format::{self, Verdict};

/// When something last moved that a data plane has to follow.
pub type Moved = Arc<Mutex<Option<Instant>>>;

/// Answers for all routers. Clones share what is said.
#[derive(Clone, Default)]
pub struct DataPlane(Arc<Inner>);

#[derive(Default)]
struct Inner {
    delay: Duration,
    verifies: bool,
    said: Mutex<Option<Verdict>>,
    moved: Moved,
}

impl DataPlane {
    /// A data plane as a scenario describes it.
    ///
    /// # Errors
    /// When a time cannot be read.
    pub fn new(format: &format::DataPlane, moved: Moved) -> Result<Self> {
        let (routes, members) = format.delays()?;
        Ok(Self(Arc::new(Inner {
            delay: Duration::from_secs(u64::try_from(routes.max(members))?),
            verifies: format.verifies,
            said: Mutex::default(),
            moved,
        })))
    }

    /// What is answered from now on; `None`: the truth.
    pub fn say(&self, verdict: Option<Verdict>) {
        *self.0.said.lock().unwrap_or_else(PoisonError::into_inner) = verdict;
    }

    /// What the controller is to ask.
    #[must_use]
    pub fn listener(&self) -> Option<Verify> {
        let inner = Arc::clone(&self.0);
        Some(Arc::new(move |_: &Rollout, want: Option<&Want>| {
            inner.answer(want.is_some())
        }))
    }
}

impl Inner {
    fn answer(&self, asked: bool) -> Verification {
        let said = *self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match said {
            Some(Verdict::Confirmed) => return Verification::Verified,
            Some(Verdict::Denied) => return Verification::NotVerified,
            Some(Verdict::Failed) => {
                return Verification::Failed("Throttling: Rate exceeded".to_owned());
            }
            None if !self.verifies => return Verification::NotSupported,
            None => {}
        }
        let moved = *self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let caught_up = moved.is_none_or(|at| at.elapsed() >= self.delay);
        if asked && caught_up {
            Verification::Verified
        } else {
            Verification::NotVerified
        }
    }
}
