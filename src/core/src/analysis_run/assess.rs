//! Verdicts on metrics and on the run (ANA-15..19).

use sluice_crds::analysis::{AnalysisPhase, AnalysisRunStatus, Metric, MetricResult, RunSummary};

use super::rules::{Limits, effective_count};
use super::{Pass, RUN_TERMINATED, Task};
use crate::event::Event;

use AnalysisPhase::{Error, Failed, Inconclusive, Pending, Running, Successful};

impl Pass<'_> {
    /// Assesses every metric that was measured, then the run. `tasks` are those due before.
    pub(crate) fn assess(&self, status: &mut AnalysisRunStatus, tasks: &[Task]) -> Vec<Event> {
        let terminating = self.terminating(status);
        let mut events = Vec::new();
        for metric in &self.metrics {
            let busy =
                tasks.iter().any(|task| task.metric == metric.name) || self.is_awaited(metric);
            let result = status
                .metric_results
                .iter_mut()
                .find(|r| r.name == metric.name);
            // One that waits for its first measurement has no result; nothing to say about it yet.
            let Some(result) = result else { continue };
            let phase = metric_phase(metric, result, terminating && !busy);
            if phase != result.phase {
                if phase.completed() {
                    events.push(metric_completed(&metric.name, &phase));
                }
                if let Some(last) = result.measurements.last() {
                    result.message.clone_from(&last.message);
                }
                result.phase = phase;
            }
        }
        events.extend(self.assess_run(status, tasks, terminating));
        events
    }

    fn assess_run(
        &self,
        status: &mut AnalysisRunStatus,
        tasks: &[Task],
        terminating: bool,
    ) -> Option<Event> {
        status.started_at.get_or_insert(self.now.into());
        let mut verdict = Verdict::default();
        if self.seen.run.spec.terminate {
            verdict.message = RUN_TERMINATED.to_owned();
        }
        let (mut counted, mut dry) = (RunSummary::default(), RunSummary::default());
        let mut all_done = true;
        for metric in &self.metrics {
            let dry_run = self.rules.is_dry_run(&metric.name);
            let summary = if dry_run { &mut dry } else { &mut counted };
            summary.count += 1;
            let result = status
                .metric_results
                .iter_mut()
                .find(|r| r.name == metric.name);
            let Some(result) = result.filter(|result| result.phase.completed()) else {
                all_done = false;
                continue;
            };
            tally(summary, &result.phase);
            let cause = cause(metric, result);
            if !dry_run {
                verdict.take(metric, result, cause);
                continue;
            }
            verdict.worst.get_or_insert(Successful);
            if let Some(cause) = cause {
                result.message = format!("Metric assessed {} due to {cause}", result.phase);
            }
        }
        status.run_summary = counted;
        status.dry_run_summary = Some(dry);
        let over = if terminating {
            !self.waits_for_work(tasks, terminating)
        } else {
            all_done
        };
        let (phase, message) = match verdict.worst {
            worst if over && terminating => (worst.unwrap_or(Successful), verdict.message),
            Some(worst) if over => (worst, verdict.message),
            Some(_) | None => (Running, String::new()),
        };
        if phase == status.phase {
            return None;
        }
        status.phase = phase;
        status.message = message;
        status.phase.completed().then(|| {
            status.completed_at.get_or_insert(self.now.into());
            run_completed(&status.phase)
        })
    }
}

/// The worst verdict so far.
#[derive(Default)]
struct Verdict {
    worst: Option<AnalysisPhase>,
    message: String,
}

impl Verdict {
    fn take(&mut self, metric: &Metric, result: &MetricResult, cause: Option<String>) {
        let worse = self
            .worst
            .as_ref()
            .is_none_or(|worst| is_worse(worst, &result.phase));
        if !worse {
            return;
        }
        self.worst = Some(result.phase.clone());
        if let Some(cause) = cause {
            self.message = format!(
                "Metric \"{}\" assessed {} due to {cause}",
                metric.name, result.phase
            );
            if !result.message.is_empty() {
                self.message += &format!(": \"Error Message: {}\"", result.message);
            }
        }
    }
}

/// Whether `phase` is strictly worse than `than`.
#[must_use]
pub fn is_worse(than: &AnalysisPhase, phase: &AnalysisPhase) -> bool {
    let rank = |phase: &AnalysisPhase| match phase {
        Successful => 0,
        Running => 1,
        Pending => 2,
        Inconclusive => 3,
        Error => 4,
        Failed => 5,
        AnalysisPhase::Unset | AnalysisPhase::Other(_) => -1,
    };
    rank(phase) > rank(than)
}

/// The limit a metric has passed (ANA-15); a later one hides an earlier.
fn passed_limit(metric: &Metric, result: &MetricResult) -> Option<(AnalysisPhase, String)> {
    let limits = Limits::of(metric);
    let over = |count: i32, limit: i64| i64::from(count) > limit;
    let mut passed = None;
    if limits.failure >= 0 && over(result.failed, limits.failure) {
        let text = format!(
            "failed ({}) > failureLimit ({})",
            result.failed, limits.failure
        );
        passed = Some((Failed, text));
    }
    if over(result.inconclusive, limits.inconclusive) {
        let (n, limit) = (result.inconclusive, limits.inconclusive);
        passed = Some((
            Inconclusive,
            format!("inconclusive ({n}) > inconclusiveLimit ({limit})"),
        ));
    }
    if over(result.consecutive_error, limits.consecutive_error) {
        let (n, limit) = (result.consecutive_error, limits.consecutive_error);
        passed = Some((
            Error,
            format!("consecutiveErrors ({n}) > consecutiveErrorLimit ({limit})"),
        ));
    }
    passed
}

/// Why a completed metric did not end well: a limit, or too few successes in a row (ASE-4).
fn cause(metric: &Metric, result: &MetricResult) -> Option<String> {
    let limit = passed_limit(metric, result).map(|(_, text)| text);
    limit.or_else(|| {
        let (n, limit) = (
            result.consecutive_success,
            Limits::of(metric).consecutive_success,
        );
        (result.phase != Successful)
            .then(|| format!("consecutiveSuccess ({n}) < consecutiveSuccessLimit ({limit})"))
    })
}

/// The phase of one metric (ANA-16).
fn metric_phase(metric: &Metric, result: &MetricResult, terminating: bool) -> AnalysisPhase {
    if result.phase.completed() {
        return result.phase.clone();
    }
    let Some(last) = result.measurements.last() else {
        return if terminating { Successful } else { Pending };
    };
    if !last.phase.completed() {
        return Running;
    }
    if let Some((phase, _)) = passed_limit(metric, result) {
        return phase;
    }
    let limits = Limits::of(metric);
    let wanted = limits.consecutive_success;
    if wanted > 0 && i64::from(result.consecutive_success) >= wanted {
        return Successful;
    }
    if effective_count(metric).is_some_and(|count| i64::from(result.count) >= count) {
        return match (limits.failure >= 0, wanted > 0) {
            (true, true) => Inconclusive,
            (false, true) => Failed,
            (_, false) => Successful,
        };
    }
    if terminating { Successful } else { Running }
}

fn tally(summary: &mut RunSummary, phase: &AnalysisPhase) {
    match phase {
        Failed => summary.failed += 1,
        Inconclusive => summary.inconclusive += 1,
        Error => summary.error += 1,
        Successful | Running | Pending | AnalysisPhase::Unset | AnalysisPhase::Other(_) => {
            summary.successful += 1;
        }
    }
}

fn completed(reason: &str, phase: &AnalysisPhase, message: String) -> Event {
    let reason = format!("{reason}{phase}");
    match phase {
        Failed | Error => Event::warning(reason, message),
        Successful
        | Inconclusive
        | Running
        | Pending
        | AnalysisPhase::Unset
        | AnalysisPhase::Other(_) => Event::normal(reason, message),
    }
}

fn metric_completed(metric: &str, phase: &AnalysisPhase) -> Event {
    completed(
        "Metric",
        phase,
        format!("Metric '{metric}' Completed. Result: {phase}"),
    )
}

/// The event of a run that ended (ANA-91).
pub(crate) fn run_completed(phase: &AnalysisPhase) -> Event {
    completed(
        "AnalysisRun",
        phase,
        format!("Analysis Completed. Result: {phase}"),
    )
}
