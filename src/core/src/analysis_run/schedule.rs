//! Which task is due, and when the next one is (ANA-10, ANA-11, ANA-22).

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use sluice_crds::analysis::{AnalysisPhase, AnalysisRunStatus, Measurement, Metric, MetricResult};
use sluice_crds::duration::GoDuration;

use super::rules::{self, effective_count};
use super::{Pass, Task, TaskKind};
use crate::clock::is_ahead;

/// Wait after an Error, whatever the interval; also where no interval is given, and between two
/// looks at an open measurement that names no time.
const BACKOFF: SignedDuration = SignedDuration::from_secs(10);

/// Shortest wait between two measurements. Times are stored in whole seconds, and a metric must not
/// be measured as fast as status can be written (INV-16).
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);

/// A measurement is due strictly after its time.
const JUST_AFTER: SignedDuration = SignedDuration::from_millis(1);

fn duration(text: &str) -> Option<SignedDuration> {
    text.parse::<GoDuration>().ok().map(GoDuration::signed)
}

fn after(at: Timestamp, wait: SignedDuration) -> Option<Timestamp> {
    at.checked_add(wait).ok()
}

/// How long after a measurement the next one is due (ANA-11).
fn wait_after(last: &Measurement, metric: &Metric) -> SignedDuration {
    if last.phase == AnalysisPhase::Error {
        BACKOFF
    } else {
        duration(&metric.interval).map_or(BACKOFF, |interval| interval.max(SHORTEST))
    }
}

impl Pass<'_> {
    pub(crate) fn result<'s>(
        &self,
        status: &'s AnalysisRunStatus,
        metric: &Metric,
    ) -> Option<&'s MetricResult> {
        status
            .metric_results
            .iter()
            .find(|result| result.name == metric.name)
    }

    pub(crate) fn is_completed(&self, status: &AnalysisRunStatus, metric: &Metric) -> bool {
        self.result(status, metric)
            .is_some_and(|result| result.phase.completed())
    }

    /// Whether the run is being brought to its end (ANA-10).
    pub(crate) fn terminating(&self, status: &AnalysisRunStatus) -> bool {
        let ended_badly = |result: &MetricResult| {
            !result.dry_run && result.phase.completed() && result.phase != AnalysisPhase::Successful
        };
        self.seen.run.spec.terminate || status.metric_results.iter().any(ended_badly)
    }

    /// The tasks that are due, in the order of the spec (ANA-11).
    pub(crate) fn due(&self, status: &AnalysisRunStatus) -> Vec<Task> {
        let terminating = self.terminating(status);
        let tasks = self
            .metrics
            .iter()
            .enumerate()
            .filter_map(|(index, metric)| {
                let result = self.result(status, metric);
                let kind = self.task_for(status, metric, result, terminating)?;
                let last = result.and_then(|result| result.measurements.last());
                let begun = result.map_or(0, |result| result.count.saturating_add(result.error));
                Some(Task {
                    index,
                    metric: metric.name.clone(),
                    kind,
                    measurement: last.filter(|_| kind != TaskKind::Start).cloned(),
                    ordinal: begun,
                })
            });
        tasks.collect()
    }

    fn task_for(
        &self,
        status: &AnalysisRunStatus,
        metric: &Metric,
        result: Option<&MetricResult>,
        terminating: bool,
    ) -> Option<TaskKind> {
        let completed = result.is_some_and(|result| result.phase.completed());
        if completed || self.seen.in_flight.contains(&metric.name) {
            return None;
        }
        let last = result.and_then(|result| result.measurements.last());
        if let Some(open) = last.filter(|last| last.finished_at.is_none()) {
            if terminating {
                let done = self.just_done(&metric.name, TaskKind::Terminate);
                return (!done).then_some(TaskKind::Terminate);
            }
            let looked = self.just_looked_at(&metric.name);
            let ended = self.seen.ended_jobs.contains(&metric.name) && !looked;
            let waits = match open.resume_at {
                Some(at) => at.timestamp() > self.now && !ended,
                None => looked,
            };
            return (!waits).then_some(TaskKind::Resume);
        }
        if terminating {
            return None;
        }
        let Some((result, last)) = result.zip(last) else {
            let due = self.first_due(status, metric);
            return (due.is_some_and(|at| at <= self.now)).then_some(TaskKind::Start);
        };
        if effective_count(metric).is_some_and(|count| i64::from(result.count) >= count) {
            return None;
        }
        let finished = last.finished_at?.timestamp();
        if is_ahead(finished, self.now) {
            return Some(TaskKind::Start); // by a clock that went wrong
        }
        let wait = wait_after(last, metric);
        after(finished, wait)
            .is_some_and(|at| at < self.now)
            .then_some(TaskKind::Start)
    }

    /// When the first measurement is due: now, or `initialDelay` after the run began.
    fn first_due(&self, status: &AnalysisRunStatus, metric: &Metric) -> Option<Timestamp> {
        match duration(&metric.initial_delay) {
            None => Some(self.now),
            Some(delay) => {
                let started = status.started_at?.timestamp();
                if is_ahead(started, self.now) {
                    return Some(self.now); // by a clock that went wrong
                }
                after(started, delay)
            }
        }
    }

    fn just_done(&self, metric: &str, kind: TaskKind) -> bool {
        self.seen
            .results
            .iter()
            .any(|result| result.metric == metric && result.kind == kind)
    }

    fn just_looked_at(&self, metric: &str) -> bool {
        self.seen
            .results
            .iter()
            .any(|result| result.metric == metric)
    }

    /// When something is due next, apart from what is under way (ANA-22).
    pub(crate) fn next_wake(
        &self,
        status: &AnalysisRunStatus,
        tasks: &[Task],
    ) -> Option<Timestamp> {
        let idle = self.metrics.iter().filter(|metric| {
            !self.seen.in_flight.contains(&metric.name)
                && !tasks.iter().any(|task| task.metric == metric.name)
                && !self.is_completed(status, metric)
        });
        idle.filter_map(|metric| self.due_at(status, metric))
            .min()
            .map(|at| at.max(self.now))
    }

    fn due_at(&self, status: &AnalysisRunStatus, metric: &Metric) -> Option<Timestamp> {
        let Some(result) = self.result(status, metric) else {
            return self.first_due(status, metric);
        };
        let last = result.measurements.last()?;
        let Some(finished) = last.finished_at else {
            return match last.resume_at {
                Some(at) => Some(at.timestamp()),
                None => after(self.now, BACKOFF),
            };
        };
        if effective_count(metric).is_some_and(|count| i64::from(result.count) >= count) {
            return None;
        }
        if is_ahead(finished.timestamp(), self.now) {
            return Some(self.now);
        }
        let wait = wait_after(last, metric);
        after(after(finished.timestamp(), wait)?, JUST_AFTER)
    }

    /// Whether the end of the run has to wait for work: something open is being stopped, or a
    /// provider that leaves traces has just been asked to begin.
    pub(crate) fn waits_for_work(&self, tasks: &[Task], terminating: bool) -> bool {
        terminating
            && (!tasks.is_empty() || self.metrics.iter().any(|metric| self.is_awaited(metric)))
    }

    pub(crate) fn is_awaited(&self, metric: &Metric) -> bool {
        self.seen.in_flight.contains(&metric.name) && rules::is_long(&metric.provider)
    }

    /// Work whose result no longer matters.
    pub(crate) fn cancelled(&self, status: &AnalysisRunStatus) -> BTreeSet<String> {
        let in_flight = &self.seen.in_flight;
        if status.phase.completed() {
            return in_flight.clone();
        }
        let useless = |name: &&String| {
            let metric = self.metrics.iter().find(|metric| metric.name == **name);
            metric.is_none_or(|metric| {
                let stopped = self.terminating(status) && !rules::is_long(&metric.provider);
                stopped || self.is_completed(status, metric)
            })
        };
        in_flight.iter().filter(useless).cloned().collect()
    }
}
