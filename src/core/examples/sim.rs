//! `cargo xtask sim`: plays random schedules on all cores, and replays what failed.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program that measures how long it takes"
)]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sluice_core::testing::fuzz::{Case, shrink};

/// Failures after which no further seeds are played, unless `--enough` says otherwise.
const ENOUGH: usize = 20;

/// Failures whose story is told.
const STORIES: usize = 20;

struct Options {
    from: u64,
    seeds: u64,
    enough: usize,
    replay: Option<Case>,
}

impl Options {
    fn read() -> Result<Self, String> {
        let mut options = Self {
            from: 0,
            seeds: 2_000,
            enough: ENOUGH,
            replay: None,
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            let number = |text: String| text.parse::<u64>().map_err(|e| format!("{text:?}: {e}"));
            match arg.as_str() {
                "--from" => options.from = number(value()?)?,
                "--seeds" => options.seeds = number(value()?)?,
                "--enough" => {
                    let enough = number(value()?)?;
                    options.enough = usize::try_from(enough).unwrap_or(usize::MAX);
                }
                "--replay" => options.replay = Some(value()?.parse()?),
                _ => return Err(format!("unknown option {arg:?}")),
            }
        }
        Ok(options)
    }
}

#[derive(Default)]
struct Count {
    next: AtomicU64,
    played: AtomicU64,
    passes: AtomicUsize,
    updates: AtomicUsize,
    failed: Mutex<Vec<(Case, String)>>,
}

impl Count {
    fn failures(&self) -> usize {
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    fn work(&self, end: u64, enough: usize) {
        while self.failures() < enough {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                break;
            }
            let case = Case::of(seed);
            let outcome = case.run();
            self.played.fetch_add(1, Ordering::Relaxed);
            self.passes.fetch_add(outcome.passes, Ordering::Relaxed);
            self.updates.fetch_add(outcome.updates, Ordering::Relaxed);
            if let Some(failure) = outcome.failure {
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.push((case, failure));
            }
        }
    }
}

fn main() -> ExitCode {
    let options = match Options::read() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    // Failures are told below; a panic in a decision is one of them.
    std::panic::set_hook(Box::new(|_| {}));
    match &options.replay {
        Some(case) => replay(case),
        None => play(&options),
    }
}

fn replay(case: &Case) -> ExitCode {
    let outcome = case.replay();
    println!("{}", outcome.story.join("\n"));
    match outcome.failure {
        None => {
            println!("\n{case}: every invariant holds");
            ExitCode::SUCCESS
        }
        Some(failure) => {
            println!("\n{case}: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn play(options: &Options) -> ExitCode {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let count = Count::default();
    count.next.store(options.from, Ordering::Relaxed);
    let end = options.from.saturating_add(options.seeds);
    let started = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| count.work(end, options.enough)))
            .collect();
        let mut told = Instant::now();
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(20));
            if told.elapsed() > Duration::from_secs(2) {
                told = Instant::now();
                let played = count.played.load(Ordering::Relaxed);
                let (of, failed) = (options.seeds, count.failures());
                eprint!("\r{played}/{of} schedules, {failed} failed");
            }
        }
    });
    eprintln!();
    report(&count, started.elapsed(), threads)
}

fn report(count: &Count, took: Duration, threads: usize) -> ExitCode {
    let played = count.played.load(Ordering::Relaxed);
    let passes = count.passes.load(Ordering::Relaxed);
    let updates = count.updates.load(Ordering::Relaxed);
    let seconds = took.as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    let each = |number: usize| number as f64 / seconds / threads as f64;
    println!(
        "{played} schedules with {updates} updates and {passes} decisions in {seconds:.1} s on \
         {threads} threads: {:.0} updates and {:.0} decisions a second and core",
        each(updates),
        each(passes)
    );
    let mut failed = count.failed.lock().unwrap_or_else(PoisonError::into_inner);
    failed.sort_by_key(|(case, _)| case.seed);
    for (index, (case, failure)) in failed.iter().enumerate() {
        println!("\nseed {case}: {failure}");
        let small = shrink(case);
        println!("in small: cargo xtask sim --replay {small}");
        for (at, op) in small.events() {
            println!("    #{at} {op:?}");
        }
        if index < STORIES {
            let outcome = small.replay();
            println!("{}", outcome.story.join("\n"));
            println!("{}", outcome.failure.unwrap_or_default());
        }
    }
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
