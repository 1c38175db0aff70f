//! One AnalysisRun: what was measured goes in, what to measure next comes out (ANA-7..24).
//!
//! Measurements are taken by the shell, beside the loop, so a slow provider holds nobody up. A pass
//! is given the [`TaskResult`]s that arrived since the last one and the metrics that are still being
//! worked on; it enters the results, assesses, and asks for further [`Task`]s. The status that is
//! stored has the peer's form; work in flight is not in it, so after a restart it is simply asked
//! for again.
//!
//! * [`args`]: placeholders and secrets. * [`rules`]: dry-run, retention, limits.
//! * [`schedule`]: which task is due, and when the next one is. * [`assess`]: verdicts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sluice_crds::analysis::{AnalysisPhase, AnalysisRunStatus, Measurement, Metric, MetricResult};
use sluice_crds::{AnalysisRun, validate};

use crate::event::Event;
use crate::why::{Reason, Why};

pub mod args;
pub mod assess;
pub mod rules;
pub mod schedule;
#[cfg(test)]
mod tests;

/// Message of a run that was told to stop and has nothing worse to say (ANA-18).
pub const RUN_TERMINATED: &str = "Run Terminated";

/// Message of a measurement that was stopped (ANA-13).
pub const METRIC_TERMINATED: &str = "Metric Terminated";

/// One AnalysisRun and what happened to its measurements.
#[derive(Clone, Debug, Default)]
pub struct ObservedRun {
    /// The run as stored.
    pub run: Arc<AnalysisRun>,
    /// Tasks that ended since the last pass whose status was written; in order of arrival. They are
    /// handed in again until that write succeeded.
    pub results: Vec<TaskResult>,
    /// Metrics that are being worked on, by resolved name.
    pub in_flight: BTreeSet<String>,
    /// Metrics whose Job has ended: they are looked at again now, not at `resumeAt` (ASE-12).
    pub ended_jobs: BTreeSet<String>,
}

/// What is done about a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskKind {
    /// Begin a measurement.
    Start,
    /// Look at an unfinished one.
    Resume,
    /// Stop an unfinished one.
    Terminate,
}

/// Something to do about one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Position in `spec.metrics`; the shell resolves that one, with secrets ([`args::resolve`]).
    pub index: usize,
    /// Resolved name.
    pub metric: String,
    /// What to do.
    pub kind: TaskKind,
    /// The unfinished measurement, unless it is begun.
    pub measurement: Option<Measurement>,
    /// How many measurements of the metric have ended before, for names that count them.
    pub ordinal: i32,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The measurement as it now is, secrets masked ([`args::redact`]). A provider that cannot be
    /// built, or answers an error, yields one in phase Error.
    Measured(Measurement),
    /// A Secret, or a key of it, does not exist: the run cannot go on (ASE-2).
    ArgumentsUnresolved(String),
}

/// A task that ended.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskResult {
    /// Resolved name of the metric.
    pub metric: String,
    /// What was done.
    pub kind: TaskKind,
    /// What came of it.
    pub outcome: Outcome,
    /// What the provider shows about the metric, masked; taken over with its first measurement.
    pub metadata: BTreeMap<String, String>,
}

/// What to do about one AnalysisRun now.
#[derive(Clone, Debug, Default)]
pub struct RunPlan {
    /// Measurements to begin, resume or stop. All at once; none waits for another.
    pub tasks: Vec<Task>,
    /// Metrics whose work in flight is of no interest any more; its result may be dropped.
    pub cancel: BTreeSet<String>,
    /// The next status; `None`: nothing to write.
    pub status: Option<Box<AnalysisRunStatus>>,
    /// Events on the run, once the status was written.
    pub events: Vec<Event>,
    /// When to look again.
    pub wake: Option<Timestamp>,
    /// Delete the run: its time to live has passed.
    pub delete: bool,
    /// Metrics of whose measurements only the newest so many are of interest any more: providers
    /// drop what they keep for older ones. Failures are logged, nothing more (ANA-21).
    pub garbage: Vec<Garbage>,
    /// What the run waits for.
    pub why: Vec<Why>,
}

/// A metric with more measurements than are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garbage {
    /// Position in `spec.metrics`.
    pub index: usize,
    /// Resolved name, by which the provider knows what it keeps.
    pub metric: String,
    /// How many of the newest measurements stay.
    pub keep: i32,
}

/// Decides about one run.
#[must_use]
pub fn decide_run(seen: &ObservedRun, now: Timestamp) -> RunPlan {
    let run = &*seen.run;
    if run.metadata.deletion_timestamp.is_some() {
        return RunPlan {
            cancel: seen.in_flight.clone(),
            ..RunPlan::default()
        };
    }
    let stored = run.status.clone().unwrap_or_default();
    if stored.phase.completed() {
        return RunPlan {
            cancel: seen.in_flight.clone(),
            ..time_to_live(run, &stored, now)
        };
    }
    let unresolved = seen
        .results
        .iter()
        .find_map(|result| match &result.outcome {
            Outcome::ArgumentsUnresolved(error) => Some(error),
            Outcome::Measured(_) => None,
        });
    if let Some(error) = unresolved {
        return refuse(
            seen,
            stored,
            &format!("Unable to resolve metric arguments: {error}"),
            now,
        );
    }
    let plan = args::planning_copy(&run.spec)
        .map_err(|error| format!("Unable to resolve metric arguments: {error}"))
        .and_then(|spec| {
            validate::analysis_run(&spec).map_err(|e| format!("Analysis spec invalid: {e}"))?;
            let rules = rules::Rules::new(&spec, &spec.metrics);
            Ok(Pass {
                seen,
                metrics: spec.metrics,
                rules,
                now,
            })
        });
    match plan {
        Ok(pass) => pass.run(stored),
        Err(message) => refuse(seen, stored, &message, now),
    }
}

/// Ends a run that cannot be measured. Its times are set, so that its time to live applies (ASE-1).
fn refuse(seen: &ObservedRun, stored: AnalysisRunStatus, message: &str, now: Timestamp) -> RunPlan {
    let started_at = stored.started_at.or(Some(now.into()));
    let completed_at = Some(now.into());
    let status = AnalysisRunStatus {
        phase: AnalysisPhase::Error,
        message: message.to_owned(),
        started_at,
        completed_at,
        ..stored
    };
    let events = vec![assess::run_completed(&status.phase)];
    let ttl = time_to_live(&seen.run, &status, now);
    RunPlan {
        status: Some(Box::new(status)),
        events,
        cancel: seen.in_flight.clone(),
        wake: ttl.wake,
        ..RunPlan::default()
    }
}

/// A completed run only waits for its end (ANA-24, ASE-6).
fn time_to_live(run: &AnalysisRun, status: &AnalysisRunStatus, now: Timestamp) -> RunPlan {
    let Some((ttl, completed)) = run.spec.ttl_strategy.as_ref().zip(status.completed_at) else {
        return RunPlan::default();
    };
    let by_phase = match status.phase {
        AnalysisPhase::Successful => ttl.seconds_after_success,
        AnalysisPhase::Failed => ttl.seconds_after_failure,
        AnalysisPhase::Unset
        | AnalysisPhase::Pending
        | AnalysisPhase::Running
        | AnalysisPhase::Error
        | AnalysisPhase::Inconclusive
        | AnalysisPhase::Other(_) => None,
    };
    let Some(seconds) = by_phase.or(ttl.seconds_after_completion) else {
        return RunPlan::default();
    };
    // Whole elapsed seconds have to exceed the value.
    let after = SignedDuration::from_secs(i64::from(seconds) + 1);
    match completed.timestamp().checked_add(after) {
        Ok(at) if at <= now => RunPlan {
            delete: true,
            ..RunPlan::default()
        },
        Ok(at) => RunPlan {
            wake: Some(at),
            ..RunPlan::default()
        },
        Err(_) => RunPlan::default(),
    }
}

/// One pass over a run whose spec is valid.
pub(crate) struct Pass<'a> {
    pub(crate) seen: &'a ObservedRun,
    /// Metrics with their placeholders resolved, secrets by a stand-in.
    pub(crate) metrics: Vec<Metric>,
    pub(crate) rules: rules::Rules,
    pub(crate) now: Timestamp,
}

impl Pass<'_> {
    fn run(&self, stored: AnalysisRunStatus) -> RunPlan {
        let mut status = stored.clone();
        self.enter(&mut status);
        let mut events = Vec::new();
        // A verdict on one metric can end the others: assess until nothing follows any more. Phases
        // only ever move to completed ones, so this ends.
        let tasks = loop {
            let tasks = self.due(&status);
            let before = (status.phase.clone(), status.metric_results.clone());
            events.extend(self.assess(&mut status, &tasks));
            if status.phase.completed()
                || before == (status.phase.clone(), status.metric_results.clone())
            {
                break tasks;
            }
        };
        let completed = status.phase.completed();
        let tasks = if completed { Vec::new() } else { tasks };
        let garbage = self.trim(&mut status);
        let wake = if completed {
            time_to_live(&self.seen.run, &status, self.now).wake
        } else {
            self.next_wake(&status, &tasks)
        };
        let why = if completed {
            Vec::new()
        } else {
            self.why(&status, &tasks, wake)
        };
        RunPlan {
            cancel: self.cancelled(&status),
            status: (status != stored || self.seen.run.status.is_none()).then(|| Box::new(status)),
            tasks,
            events,
            wake,
            delete: false,
            garbage,
            why,
        }
    }

    /// Enters what was measured (ANA-13, ANA-14).
    fn enter(&self, status: &mut AnalysisRunStatus) {
        for result in &self.seen.results {
            let Outcome::Measured(measurement) = &result.outcome else {
                continue;
            };
            if !self
                .metrics
                .iter()
                .any(|metric| metric.name == result.metric)
            {
                continue;
            }
            let mut measurement = measurement.clone();
            let ended_well = matches!(
                measurement.phase,
                AnalysisPhase::Successful | AnalysisPhase::Inconclusive
            );
            if result.kind == TaskKind::Terminate && ended_well {
                measurement.message = METRIC_TERMINATED.to_owned();
            }
            if measurement.started_at.is_none() {
                measurement.started_at = Some(self.now.into());
            }
            if measurement.phase.completed() && measurement.finished_at.is_none() {
                measurement.finished_at = Some(self.now.into());
            }
            self.add_entry(status, result);
            let entry = status
                .metric_results
                .iter_mut()
                .find(|entry| entry.name == result.metric);
            // A verdict stands, whatever arrives late.
            let Some(entry) = entry.filter(|entry| !entry.phase.completed()) else {
                continue;
            };
            if result.kind != TaskKind::Start {
                match entry.measurements.last() {
                    Some(last) if last.finished_at.is_none() => entry.measurements.pop(),
                    Some(_) | None => continue,
                };
            }
            count(entry, &measurement.phase);
            entry.measurements.push(measurement);
        }
    }

    /// Makes the result of a metric where there is none; results are in the order of the spec
    /// (ASE-5).
    fn add_entry(&self, status: &mut AnalysisRunStatus, result: &TaskResult) {
        let results = &mut status.metric_results;
        if results.iter().any(|entry| entry.name == result.metric) {
            return;
        }
        results.push(MetricResult {
            name: result.metric.clone(),
            phase: AnalysisPhase::Running,
            dry_run: self.rules.is_dry_run(&result.metric),
            metadata: result.metadata.clone(),
            ..MetricResult::default()
        });
        let position = |name: &str| self.metrics.iter().position(|metric| metric.name == name);
        results.sort_by_key(|entry| position(&entry.name).unwrap_or(usize::MAX));
    }

    /// Keeps the newest measurements (ANA-21); answers what lost some.
    fn trim(&self, status: &mut AnalysisRunStatus) -> Vec<Garbage> {
        let mut garbage = Vec::new();
        for result in &mut status.metric_results {
            let limit = self.rules.retention(&result.name);
            let keep = usize::try_from(limit).unwrap_or(0);
            if result.measurements.len() > keep {
                result
                    .measurements
                    .drain(..result.measurements.len() - keep);
                let position = self.metrics.iter().position(|m| m.name == result.name);
                garbage.extend(position.map(|index| Garbage {
                    index,
                    metric: result.name.clone(),
                    keep: limit,
                }));
            }
        }
        garbage
    }

    fn why(&self, status: &AnalysisRunStatus, tasks: &[Task], wake: Option<Timestamp>) -> Vec<Why> {
        let name = self.seen.run.metadata.name.as_deref().unwrap_or("");
        let open = self
            .metrics
            .iter()
            .filter(|metric| !self.is_completed(status, metric));
        let busy = |metric: &Metric| {
            self.seen.in_flight.contains(&metric.name)
                || tasks.iter().any(|task| task.metric == metric.name)
        };
        open.map(|metric| {
            let (verb, until) = if busy(metric) {
                ("is being measured", None)
            } else {
                ("will be measured", wake)
            };
            Why {
                reason: Reason::AnalysisRunning,
                object: format!("AnalysisRun/{name}"),
                message: format!("metric '{}' {verb}", metric.name),
                since: status.started_at.map(|at| at.timestamp()),
                until,
                again: None,
                command: Some("terminate"),
            }
        })
        .collect()
    }
}

/// Counts a measurement that ended (ANA-14).
fn count(result: &mut MetricResult, phase: &AnalysisPhase) {
    let counter = match phase {
        AnalysisPhase::Successful => &mut result.successful,
        AnalysisPhase::Failed => &mut result.failed,
        AnalysisPhase::Inconclusive => &mut result.inconclusive,
        AnalysisPhase::Error => &mut result.error,
        AnalysisPhase::Unset
        | AnalysisPhase::Pending
        | AnalysisPhase::Running
        | AnalysisPhase::Other(_) => return,
    };
    *counter = counter.saturating_add(1);
    if *phase == AnalysisPhase::Error {
        result.consecutive_error = result.consecutive_error.saturating_add(1);
        result.consecutive_success = 0;
        return;
    }
    result.count = result.count.saturating_add(1);
    result.consecutive_error = 0;
    result.consecutive_success = if *phase == AnalysisPhase::Successful {
        result.consecutive_success + 1
    } else {
        0
    };
}
