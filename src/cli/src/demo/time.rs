//! Time that runs faster: a paused tokio clock, pushed on by a thread.
//!
//! A paused clock jumps to the next timer whenever nothing is left to do, except while a blocking
//! task runs. The pacemaker is such a task: it keeps the clock from jumping, and moves it by
//! `speed` times what really passed. Sockets work as usual meanwhile.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

/// How often the clock is moved.
const BEAT: Duration = Duration::from_millis(10);

/// Makes time run `speed` times as fast from here on. Needs a current-thread runtime. At a speed of
/// 1 nothing is changed.
pub(super) fn run_at(speed: f64) -> Option<JoinHandle<()>> {
    if (speed - 1.0).abs() < f64::EPSILON {
        return None;
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
    Some(tokio::spawn(async move {
        while let Some(passed) = beats.recv().await {
            tokio::time::advance(passed.mul_f64(speed)).await;
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_passes_in_a_moment() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let started = Instant::now();
        runtime.block_on(async {
            let pacemaker = run_at(100_000.0);
            tokio::time::sleep(Duration::from_secs(3600)).await;
            pacemaker.unwrap().abort();
        });
        runtime.shutdown_background();
        assert!(started.elapsed() < Duration::from_secs(60));
    }
}
