//! Work queues: which object is looked at next, and when.
//!
//! A key is in at most one pass at a time. Changes put a key at the end of the line at once, whatever
//! happened before (SE-32); only errors are held back, 1 ms doubling to 10 s per key. Of several times
//! at which a key wants to be looked at, the earliest counts.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::key::Key;

/// First wait after an error.
const BACKOFF_BASE: Duration = Duration::from_millis(1);
/// Longest wait after an error.
const BACKOFF_CAP: Duration = Duration::from_secs(10);
/// So many passes in a row may each ask for another at once before they are slowed down.
const BUSY_PASSES: u32 = 40;

/// What a pass says about its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing more to do until something changes.
    Rest,
    /// Look again after this time.
    After(Duration),
    /// Look again at once: the pass changed something.
    Now,
    /// The pass failed.
    Retry(String),
    /// The object is gone: forget everything about it.
    Forget,
}

/// Numbers for `workqueue_*` metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QueueStats {
    /// Keys waiting for a worker.
    pub depth: usize,
    /// Keys ever added.
    pub adds: u64,
    /// Passes that failed.
    pub retries: u64,
    /// Sum of the running times of passes that are under way.
    pub unfinished: Duration,
    /// Running time of the longest pass under way.
    pub longest: Duration,
}

/// Called with how long a key waited and how long its pass took.
pub type Observer = Box<dyn Fn(Duration, Duration) + Send + Sync>;

/// A queue of keys.
pub struct Queue {
    name: &'static str,
    state: Mutex<State>,
    changed: Notify,
    observer: Option<Observer>,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Key>,
    waiting_since: HashMap<Key, Instant>,
    running: HashMap<Key, Instant>,
    again: HashSet<Key>,
    timers: BTreeSet<(Instant, Key)>,
    timer_of: HashMap<Key, Instant>,
    failures: HashMap<Key, u32>,
    busy: HashMap<Key, u32>,
    adds: u64,
    retries: u64,
}

impl State {
    fn push(&mut self, key: Key, now: Instant) -> bool {
        if self.running.contains_key(&key) {
            self.again.insert(key);
            return false;
        }
        if self.waiting_since.contains_key(&key) {
            return false;
        }
        self.adds += 1;
        self.clear_timer(&key);
        self.waiting_since.insert(key.clone(), now);
        self.ready.push_back(key);
        true
    }

    fn clear_timer(&mut self, key: &Key) {
        if let Some(at) = self.timer_of.remove(key) {
            self.timers.remove(&(at, key.clone()));
        }
    }

    fn set_timer(&mut self, key: Key, at: Instant) {
        if self.waiting_since.contains_key(&key) {
            return;
        }
        match self.timer_of.get(&key) {
            Some(earlier) if *earlier <= at => return,
            _ => self.clear_timer(&key),
        }
        self.timer_of.insert(key.clone(), at);
        self.timers.insert((at, key));
    }

    fn fire(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.first().cloned() {
            if at > now {
                return;
            }
            self.clear_timer(&key);
            self.push(key, now);
        }
    }
}

impl Queue {
    /// An empty queue; `name` is its `name` label in metrics.
    #[must_use]
    pub fn new(name: &'static str, observer: Option<Observer>) -> Arc<Self> {
        Arc::new(Self {
            name,
            state: Mutex::default(),
            changed: Notify::new(),
            observer,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something changed: look at the key as soon as a worker is free.
    pub fn add(&self, key: Key) {
        let mut state = self.lock();
        state.busy.remove(&key);
        if state.push(key, Instant::now()) {
            self.changed.notify_one();
        }
    }

    /// Look at the key after `delay`, unless that happens earlier anyway.
    pub fn add_after(&self, key: Key, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let at = Instant::now() + delay;
        self.lock().set_timer(key, at);
        self.changed.notify_one();
    }

    /// Numbers for metrics.
    #[must_use]
    pub fn stats(&self) -> QueueStats {
        let state = self.lock();
        let running = || state.running.values().map(Instant::elapsed);
        QueueStats {
            depth: state.ready.len(),
            adds: state.adds,
            retries: state.retries,
            unfinished: running().sum(),
            longest: running().max().unwrap_or_default(),
        }
    }

    /// Whether no key waits for a worker or is being looked at; timers do not count.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let state = self.lock();
        state.ready.is_empty() && state.running.is_empty()
    }

    async fn take(&self) -> (Key, Duration) {
        loop {
            let changed = self.changed.notified();
            let timer = {
                let mut state = self.lock();
                let now = Instant::now();
                state.fire(now);
                if let Some(key) = state.ready.pop_front() {
                    let waited = state
                        .waiting_since
                        .remove(&key)
                        .map_or(Duration::ZERO, |at| now - at);
                    state.running.insert(key.clone(), now);
                    if !state.ready.is_empty() {
                        self.changed.notify_one();
                    }
                    return (key, waited);
                }
                state.timers.first().map(|(at, _)| *at)
            };
            match timer {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, changed).await;
                }
                None => changed.await,
            }
        }
    }

    fn done(&self, key: Key, next: &Next) -> Duration {
        let mut state = self.lock();
        let now = Instant::now();
        let took = state
            .running
            .remove(&key)
            .map_or(Duration::ZERO, |since| now - since);
        if !matches!(next, Next::Retry(_)) {
            state.failures.remove(&key);
        }
        if !matches!(next, Next::Now) {
            state.busy.remove(&key);
        }
        let changed = state.again.remove(&key);
        match next {
            Next::Forget if !changed => state.clear_timer(&key),
            Next::Rest | Next::Forget => {}
            Next::After(delay) => state.set_timer(key.clone(), now + *delay),
            Next::Now => {
                let busy = state.busy.entry(key.clone()).or_default();
                *busy += 1;
                match busy.checked_sub(BUSY_PASSES) {
                    None => drop(state.push(key.clone(), now)),
                    Some(over) => state.set_timer(key.clone(), now + backoff(over)),
                }
            }
            Next::Retry(_) => {
                state.retries += 1;
                let failures = state.failures.entry(key.clone()).or_default();
                *failures += 1;
                let delay = backoff(*failures - 1);
                state.set_timer(key.clone(), now + delay);
            }
        }
        if changed {
            state.push(key, now);
        }
        drop(state);
        self.changed.notify_one();
        took
    }

    /// Runs `workers` loops that take keys and call `pass` until `stop` is cancelled; passes that have
    /// begun are finished first. A panic in a pass counts as its failure.
    pub async fn work<F, P>(self: Arc<Self>, workers: usize, stop: CancellationToken, pass: F)
    where
        F: Fn(Key) -> P + Clone + Send + Sync + 'static,
        P: Future<Output = Next> + Send,
    {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..workers.max(1) {
            let (queue, stop, pass) = (self.clone(), stop.clone(), pass.clone());
            tasks.spawn(async move {
                loop {
                    let (key, waited) = tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        taken = queue.take() => taken,
                    };
                    let next = AssertUnwindSafe(async { pass(key.clone()).await }).catch_unwind().await;
                    let next = next.unwrap_or_else(|panic| {
                        let message = panic_text(panic.as_ref());
                        tracing::error!(queue = queue.name, object = %key, error = %message, "pass panicked");
                        Next::Retry(message)
                    });
                    let took = queue.done(key, &next);
                    if let Some(observe) = &queue.observer {
                        observe(waited, took);
                    }
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    }
}

fn backoff(failures: u32) -> Duration {
    BACKOFF_BASE
        .saturating_mul(1_u32.checked_shl(failures.min(31)).unwrap_or(u32::MAX))
        .min(BACKOFF_CAP)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!(
        "internal error: {}",
        text.unwrap_or_else(|| "no text".to_owned())
    )
}

#[cfg(test)]
mod tests;
