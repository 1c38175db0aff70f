//! Measurements of AnalysisRuns, taken beside the loop.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Config;

/// Measurements that are under way.
pub struct Measuring {
    _tasks: TaskTracker,
    _stop: CancellationToken,
}

impl Measuring {
    /// None yet.
    #[must_use]
    pub fn new(tasks: TaskTracker, stop: CancellationToken, _config: &Config) -> Self {
        Self {
            _tasks: tasks,
            _stop: stop,
        }
    }
}
