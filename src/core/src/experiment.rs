//! One Experiment: pods that run beside each other for a while, and the analyses of them
//! (EXP-1..18).
//!
//! * [`templates`]: one ReplicaSet, and perhaps a Service, per template. * [`analyses`]: one
//!   AnalysisRun per analysis. * [`verdict`]: what both come to. * [`objects`]: what is created.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::duration::GoDuration;
use sluice_crds::experiment::{ExperimentStatus, TemplateStatusCode};
use sluice_crds::templates::TemplateStore;
use sluice_crds::{AnalysisRun, Experiment, ReplicaSet, validate};

use crate::conditions;
use crate::event::{Event, EventType};
use crate::observed::{Seen, Settings};
use crate::plan::Action;
use crate::why::{Reason, Why};

mod analyses;
pub mod objects;
mod templates;
#[cfg(test)]
mod tests;
mod verdict;

/// One Experiment and all that belongs to it.
#[derive(Clone, Debug, Default)]
pub struct ObservedExperiment {
    /// The Experiment as stored.
    pub experiment: Arc<Experiment>,
    /// ReplicaSets whose controller is this Experiment's UID.
    pub replica_sets: Vec<Arc<ReplicaSet>>,
    /// Services whose controller is this Experiment's UID.
    pub services: Vec<OwnedService>,
    /// AnalysisRuns by name: those that status names, and all whose controller is this Experiment's
    /// UID. [`Seen::Absent`] only after a live read.
    pub analysis_runs: BTreeMap<String, Seen<Arc<AnalysisRun>>>,
    /// The analysis templates that `spec.analyses` names, with those that they refer to.
    pub templates: TemplateStore,
    /// Names at which creating a ReplicaSet, a Service or a run failed because somebody else's
    /// object has it; `Kind/name`.
    pub taken_names: BTreeSet<String>,
    /// Writes that the API server refused since the last pass, by `Kind/name`: its words. What may
    /// pass by itself (conflict, timeout, overload) is tried again by the shell and is not here.
    pub refused: BTreeMap<String, String>,
    /// Services to which the Rollout that owns the Experiment still sends requests, as its status
    /// records; their pods stay until it does not (INV-1, FLT-30).
    pub routed: BTreeSet<String>,
    /// Settings of the process.
    pub settings: Settings,
}

/// A Service of an Experiment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedService {
    /// `metadata.name`.
    pub name: String,
    /// Annotation `experiment.argoproj.io/template-name`.
    pub template: String,
}

/// What to do about one Experiment now.
#[derive(Clone, Debug, Default)]
pub struct ExperimentPlan {
    /// Writes, in order, idempotent; stop at the first failure.
    pub actions: Vec<ExperimentWrite>,
    /// The status that holds once every action succeeded; a merge patch on the main resource.
    /// `None`: leave it.
    pub status: Option<Box<ExperimentStatus>>,
    /// Events on the Experiment, once the status was written.
    pub events: Vec<Event>,
    /// Copies for the Rollout that owns the Experiment, if one does (EXP-14).
    pub owner_events: Vec<Event>,
    /// When to look again.
    pub wake: Option<Timestamp>,
    /// What the Experiment waits for.
    pub why: Vec<Why>,
}

/// A write and what to say on the Experiment once it succeeded.
#[derive(Clone, Debug, PartialEq)]
pub struct ExperimentWrite {
    /// The write.
    pub write: Write,
    /// Recorded when, and only when, the write succeeded.
    pub events: Vec<Event>,
}

/// One write of an Experiment.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// One that Rollouts know, too: `CreateReplicaSet`, `PatchReplicaSet`, `CreateAnalysisRun` or
    /// `TerminateAnalysisRun`.
    Shared(Action),
    /// POST a Service. A name clash is an answer, not an overwrite.
    CreateService(Box<serde_json::Value>),
    /// DELETE a Service.
    DeleteService {
        /// Its name.
        name: String,
    },
}

/// Decides about one Experiment. Total: a bad spec is a condition.
#[must_use]
pub fn decide_experiment(seen: &ObservedExperiment, now: Timestamp) -> ExperimentPlan {
    let experiment = &*seen.experiment;
    if experiment.metadata.deletion_timestamp.is_some() {
        return ExperimentPlan::default();
    }
    let stored = experiment.status.clone().unwrap_or_default();
    if let Some(error) = validate::experiment(experiment) {
        return refuse(seen, stored, &error, now);
    }
    let mut pass = Pass::new(seen, stored, now);
    pass.templates();
    pass.analyses();
    pass.verdict();
    pass.finish()
}

/// An invalid Experiment ends as Error, so that the step that waits for it goes on (ASE-18).
fn refuse(
    seen: &ObservedExperiment,
    stored: ExperimentStatus,
    error: &str,
    now: Timestamp,
) -> ExperimentPlan {
    let mut pass = Pass::new(seen, stored, now);
    let list = &mut pass.status.conditions;
    let known = conditions::get(list, conditions::kind::INVALID_SPEC);
    if known.is_none_or(|condition| condition.message != error) {
        let (kind, reason) = (
            conditions::kind::INVALID_SPEC,
            conditions::reason::INVALID_SPEC,
        );
        let condition = conditions::new(kind, conditions::status::TRUE, reason, error, now);
        conditions::renew(list, condition);
    }
    if !pass.status.phase.completed() {
        pass.status.message = error.to_owned();
        pass.set_phase(AnalysisPhase::Error);
    }
    pass.wait(Reason::InvalidSpec, pass.object(), error.to_owned());
    pass.finish()
}

/// One pass over an Experiment.
pub(crate) struct Pass<'a> {
    pub(crate) seen: &'a ObservedExperiment,
    pub(crate) experiment: &'a Experiment,
    pub(crate) name: &'a str,
    /// The status as read.
    pub(crate) stored: ExperimentStatus,
    /// The next status.
    pub(crate) status: ExperimentStatus,
    pub(crate) now: Timestamp,
    /// Everything is being brought to its end; judged on the status as read (EXP-3).
    pub(crate) terminating: bool,
    pub(crate) actions: Vec<ExperimentWrite>,
    pub(crate) events: Vec<Event>,
    pub(crate) owner_events: Vec<Event>,
    pub(crate) wakes: Vec<Timestamp>,
    pub(crate) why: Vec<Why>,
}

impl<'a> Pass<'a> {
    fn new(seen: &'a ObservedExperiment, stored: ExperimentStatus, now: Timestamp) -> Self {
        let experiment = &*seen.experiment;
        let mut status = stored.clone();
        conditions::remove(&mut status.conditions, conditions::kind::INVALID_SPEC);
        Self {
            seen,
            experiment,
            name: experiment.metadata.name.as_deref().unwrap_or(""),
            terminating: is_terminating(experiment, &stored),
            status,
            stored,
            now,
            actions: Vec::new(),
            events: Vec::new(),
            owner_events: Vec::new(),
            wakes: Vec::new(),
            why: Vec::new(),
        }
    }

    pub(crate) fn act(&mut self, write: Write, event: Option<Event>) {
        self.actions.push(ExperimentWrite {
            write,
            events: event.into_iter().collect(),
        });
    }

    pub(crate) fn object(&self) -> String {
        format!("Experiment/{}", self.name)
    }

    pub(crate) fn wait(&mut self, reason: Reason, object: String, message: String) {
        self.why.push(Why {
            reason,
            object,
            message,
            since: None,
            until: None,
            again: None,
            command: None,
        });
    }

    /// Whether the duration has passed (EXP-10); an unreadable one never does.
    pub(crate) fn duration_passed(&self) -> bool {
        self.duration_end().is_some_and(|end| self.now > end)
    }

    pub(crate) fn duration_end(&self) -> Option<Timestamp> {
        let duration = self
            .experiment
            .spec
            .duration
            .parse::<GoDuration>()
            .ok()?
            .signed();
        self.status
            .available_at?
            .timestamp()
            .checked_add(duration)
            .ok()
    }

    /// Changes the phase and tells it.
    pub(crate) fn set_phase(&mut self, phase: AnalysisPhase) {
        if phase == self.status.phase {
            return;
        }
        let message = format!(
            "Experiment transitioned from {} -> {phase}",
            self.status.phase
        );
        self.events.push(transition(
            "Experiment",
            phase.as_str(),
            is_bad(&phase),
            message,
        ));
        self.status.phase = phase;
    }

    fn finish(mut self) -> ExperimentPlan {
        if !self.terminating && !self.status.phase.completed() {
            self.wakes.extend(self.duration_end().and_then(just_after));
        }
        let changed = self.status != self.stored || self.experiment.status.is_none();
        if self.status.phase.completed() && self.actions.is_empty() && self.wakes.is_empty() {
            self.why.retain(|why| why.reason == Reason::InvalidSpec);
        }
        ExperimentPlan {
            actions: self.actions,
            status: changed.then(|| Box::new(self.status)),
            events: self.events,
            owner_events: self.owner_events,
            wake: self.wakes.into_iter().min().map(|at| at.max(self.now)),
            why: self.why,
        }
    }
}

/// What expires does so strictly after its time.
pub(crate) fn just_after(at: Timestamp) -> Option<Timestamp> {
    at.checked_add(SignedDuration::from_millis(1)).ok()
}

/// Whether everything is being brought to its end (EXP-3).
fn is_terminating(experiment: &Experiment, status: &ExperimentStatus) -> bool {
    let failed_template = status.template_statuses.iter().any(|template| {
        matches!(
            template.status,
            TemplateStatusCode::Failed | TemplateStatusCode::Error
        )
    });
    let failed_run = status.analysis_runs.iter().any(|run| is_bad(&run.phase));
    experiment.spec.terminate
        || status.phase.completed()
        || failed_template
        || failed_run
        || required_done(experiment, status)
}

/// Whether there are analyses that the Experiment waits for, and all of them are Successful.
pub(crate) fn required_done(experiment: &Experiment, status: &ExperimentStatus) -> bool {
    let mut required = experiment
        .spec
        .analyses
        .iter()
        .filter(|a| a.required_for_completion)
        .peekable();
    required.peek().is_some()
        && required.all(|analysis| {
            let run = status
                .analysis_runs
                .iter()
                .find(|run| run.name == analysis.name);
            run.is_some_and(|run| run.phase == AnalysisPhase::Successful)
        })
}

pub(crate) fn is_bad(phase: &AnalysisPhase) -> bool {
    phase.completed() && *phase != AnalysisPhase::Successful
}

pub(crate) fn transition(reason: &str, to: &str, bad: bool, message: String) -> Event {
    let kind = if bad {
        EventType::Warning
    } else {
        EventType::Normal
    };
    Event {
        kind,
        reason: format!("{reason}{to}"),
        message,
    }
}
