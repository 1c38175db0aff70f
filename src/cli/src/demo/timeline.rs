//! A story as lines, one per change: for pipes, files and CI.

use std::time::Duration;

use super::play::Told;
use crate::output;
use crate::world::changes::changes;
use crate::world::scene::Scene;

/// Prints what changed since the last look.
pub(super) struct Timeline {
    last: Scene,
    told: usize,
}

impl Timeline {
    /// Nothing has been seen.
    pub(super) fn new() -> Self {
        Self {
            last: Scene::default(),
            told: 0,
        }
    }

    /// Prints what is new.
    pub(super) fn show(&mut self, scene: &Scene, told: &[Told]) {
        for change in changes(&self.last, scene) {
            output::line(stamped(scene.elapsed, change));
        }
        for line in told.iter().skip(self.told) {
            output::line(stamped(scene.elapsed, line));
        }
        self.told = told.len();
        self.last = scene.clone();
    }
}

fn stamped(elapsed: Duration, text: impl std::fmt::Display) -> String {
    format!("{:>7.1}s  {text}", elapsed.as_secs_f64())
}
