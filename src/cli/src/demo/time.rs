//! Time that runs faster or slower: a paused tokio clock, pushed on by a thread.
//!
//! A paused clock jumps to the next timer whenever nothing is left to do, except while a blocking
//! task runs. The pacemaker is such a task: it keeps the clock from jumping, and moves it by
//! `speed` times what really passed. Sockets work as usual meanwhile.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often the clock is moved.
const BEAT: Duration = Duration::from_millis(10);

/// The clock moves at most this far at once, so that what follows from one timer is done before
/// timers that are due much later.
const STRIDE: Duration = Duration::from_millis(20);

/// How fast time runs. Clones steer the same clock.
#[derive(Clone)]
pub(super) struct Pace(Rc<Cell<f64>>);

impl Pace {
    /// Virtual seconds per real second.
    pub(super) fn speed(&self) -> f64 {
        self.0.get()
    }

    /// From now on as fast as real time. Where it always was, nothing changes.
    pub(super) fn slow_down(&self) {
        self.0.set(1.0);
    }

    /// What passes on the virtual clock while `real` passes.
    pub(super) fn scaled(&self, real: Duration) -> Duration {
        real.mul_f64(self.speed())
    }
}

/// The one that moves the clock, until it is dropped.
pub(super) struct Pacemaker(Option<tokio::task::JoinHandle<()>>);

impl Drop for Pacemaker {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Makes time run `speed` times as fast from here on. Needs a current-thread runtime and a
/// `LocalSet`. At a speed of 1 tokio's clock stays what it is.
pub(super) fn run_at(speed: f64) -> (Pace, Pacemaker) {
    let pace = Pace(Rc::new(Cell::new(speed)));
    if (speed - 1.0).abs() < f64::EPSILON {
        return (pace, Pacemaker(None));
    }
    tokio::time::pause();
    let (beat, mut beats) = tokio::sync::mpsc::channel::<Duration>(1);
    // The first beat is sent from the blocking pool, and a task is there until the demo ends.
    tokio::task::spawn_blocking(move || {
        let mut last = Instant::now();
        loop {
            std::thread::sleep(BEAT);
            let passed = last.elapsed();
            last += passed;
            if beat.blocking_send(passed).is_err() {
                return;
            }
        }
    });
    let steered = pace.clone();
    let task = tokio::task::spawn_local(async move {
        while let Some(passed) = beats.recv().await {
            let mut left = steered.scaled(passed);
            while !left.is_zero() {
                let stride = left.min(STRIDE);
                left -= stride;
                tokio::time::advance(stride).await;
            }
        }
    });
    (pace, Pacemaker(Some(task)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sleeps `virtual_time` at `speed`; what really passed.
    fn slept(speed: f64, virtual_time: Duration) -> Duration {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let started = Instant::now();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (_pace, _pacemaker) = run_at(speed);
            tokio::time::sleep(virtual_time).await;
        });
        runtime.shutdown_background();
        started.elapsed()
    }

    #[test]
    fn time_runs_as_fast_as_asked_but_does_not_jump() {
        let minute = slept(100.0, Duration::from_secs(60));
        assert!(minute < Duration::from_secs(30), "{minute:?}");
        assert!(minute > Duration::from_millis(550), "{minute:?}");
    }
}
