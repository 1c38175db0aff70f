//! What a Rollout waits for, in plain words: the plan that a decision made, told to people.
//!
//! [`explain`] is pure. It adds to a [`Plan`] what a person would look up next: the reasons of pods
//! that are not ready, the measurements of an analysis, whether anybody is there to act. The result
//! is plain data; its JSON form is what `explain -o json` prints and stays stable.

mod analysis;
mod attendance;
mod details;
mod next;
#[cfg(test)]
mod tests;
mod versions;
mod waits;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;
use sluice_crds::keys;
use sluice_crds::rollout::{RolloutPhase, RolloutStatus};

pub use analysis::{Analysis, MetricView};
pub use attendance::{Attendance, Holder, Presence};
pub use versions::{Problem, Version};
pub use waits::Wait;
use waits::Weight;

use crate::observed::{Observed, Seen};
use crate::plan::Plan;
use crate::view::weights;
use crate::why::Reason;
use crate::{conditions, phase};

/// What was read besides the observation that the plan was made on.
#[derive(Clone, Debug)]
pub struct Scene<'a> {
    /// What the decision looked at.
    pub seen: &'a Observed,
    /// What it came to.
    pub plan: &'a Plan,
    /// Pods of the namespace; which of them belong to the Rollout is worked out by UID.
    pub pods: &'a [Arc<Pod>],
    /// Who holds the controllers' lease; `Absent`: there is none.
    pub holders: Seen<Vec<Holder>>,
    /// What could not be read, a sentence each.
    pub unread: &'a [String],
    /// Now.
    pub now: Timestamp,
}

/// In which of a few situations a Rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Healthy, and nothing is to be done.
    Resting,
    /// Something is being done about it just now.
    Moving,
    /// Something has to happen outside first.
    Waiting,
    /// The update was given up; a person has to act.
    Aborted,
    /// It has not moved for longer than its progress deadline.
    Stuck,
    /// Spec, or an object it names, cannot be used.
    Invalid,
    /// Something is to be done, and no controller is there to do it.
    Unattended,
    /// It is on its way out.
    Deleting,
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// The situation.
    pub state: State,
    /// One sentence.
    pub summary: String,
    /// Phase as readers are to take it (API-66).
    pub phase: String,
    /// The phase's own message; may be empty.
    pub message: String,
    /// `Canary`, `BlueGreen` or `unknown`.
    pub strategy: &'static str,
    /// Revision of the current template; empty before the first.
    pub revision: String,
    /// What is waited for, the most important first.
    pub waits: Vec<Wait>,
    /// What is done next, in order; empty while it waits.
    pub next: Vec<String>,
    /// What follows once the wait is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
    /// The command that gives the update up, while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub give_up: Option<String>,
    /// The current step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<StepView>,
    /// The split of requests (or pods) of a canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsView>,
    /// Versions that have pods or are named by the status, by revision.
    pub versions: Vec<Version>,
    /// Analysis runs of the update.
    pub analyses: Vec<Analysis>,
    /// When the update counts as stuck, if a deadline runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<Deadline>,
    /// Who acts.
    pub controller: Attendance,
    /// What could not be read, and what that means.
    pub notes: Vec<String>,
}

/// The current step of a canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// Counted from 1.
    pub number: usize,
    /// How many there are.
    pub count: usize,
    /// Such as `setWeight: 20`.
    pub text: String,
}

/// The split of a canary, in parts of `whole`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightsView {
    /// What the steps ask for.
    pub desired: i32,
    /// What is in force.
    pub actual: i32,
    /// 100, or `maxTrafficWeight`.
    pub whole: i32,
    /// A router splits requests; else the numbers of pods do.
    pub routed: bool,
    /// Whether the router confirmed it, where it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<bool>,
}

/// The progress deadline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deadline {
    /// When it fires.
    pub at: Timestamp,
    /// `progressDeadlineSeconds`.
    pub seconds: i32,
    /// Whether the update is aborted then; else it only counts as Degraded.
    pub aborts: bool,
}

/// Explains a plan.
#[must_use]
pub fn explain(scene: &Scene<'_>) -> Explanation {
    let (seen, plan) = (scene.seen, scene.plan);
    let rollout = &*seen.rollout;
    let empty = RolloutStatus::default();
    let status = rollout.status.as_ref().unwrap_or(&empty);
    let shown = phase::shown(rollout);
    let sets = versions::owned(seen);
    let versions = versions::of(scene, &sets);
    let analyses = analysis::of(seen);
    let waits = waits::of(scene, &versions, &analyses);
    let next = next::of(seen, plan, &sets);
    let behind = rollout.status.is_none() || !conditions::observed(rollout, status);
    let due = behind || !plan.is_quiet(rollout.status.as_ref());
    let controller = attendance::of(&scene.holders, rollout, scene.now);
    let state = state(scene, &waits, due, &controller);
    let update = updates(status);
    let mut explanation = Explanation {
        name: rollout.metadata.name.clone().unwrap_or_default(),
        namespace: rollout.metadata.namespace.clone().unwrap_or_default(),
        state,
        summary: String::new(),
        phase: shown.phase.as_str().to_owned(),
        message: shown.message,
        strategy: strategy(seen),
        revision: annotation(seen, keys::REVISION),
        then: (next.is_empty() && state == State::Waiting)
            .then(|| next::then(seen, status, waits.first()))
            .flatten(),
        waits,
        next,
        give_up: (can_abort(scene) && !matches!(state, State::Resting | State::Deleting))
            .then(|| waits::line("abort", "", rollout)),
        step: update.then(|| current_step(seen, status)).flatten(),
        weights: rollout
            .spec
            .canary()
            .filter(|_| update)
            .map(|_| WeightsView {
                desired: weights::set_weight(rollout),
                actual: weights::actual_weight(rollout, &sets),
                whole: rollout.spec.max_traffic_weight(),
                routed: rollout.spec.traffic_routing().is_some(),
                confirmed: status.canary.weights.as_ref().and_then(|on| on.verified),
            }),
        versions,
        analyses,
        progress_deadline: plan
            .stuck_at
            .filter(|at| *at > scene.now && state != State::Resting)
            .map(|at| Deadline {
                at: whole_seconds(at),
                seconds: rollout.spec.progress_deadline_seconds(),
                aborts: rollout.spec.progress_deadline_abort,
            }),
        controller,
        notes: scene.unread.to_vec(),
    };
    explanation.summary = summary(&explanation, scene.now);
    explanation
}

/// Whether there is a version that is not stable yet.
fn updates(status: &RolloutStatus) -> bool {
    !status.stable_rs.is_empty()
        && !status.current_pod_hash.is_empty()
        && status.current_pod_hash != status.stable_rs
}

/// Whether `abort` would do something.
fn can_abort(scene: &Scene<'_>) -> bool {
    let status = scene.seen.rollout.status.as_ref();
    status.is_some_and(|status| updates(status) && !status.abort)
}

fn annotation(seen: &Observed, key: &str) -> String {
    let annotations = seen.rollout.metadata.annotations.as_ref();
    annotations
        .and_then(|all| all.get(key))
        .cloned()
        .unwrap_or_default()
}

fn strategy(seen: &Observed) -> &'static str {
    let strategy = &seen.rollout.spec.strategy;
    match (&strategy.canary, &strategy.blue_green) {
        (Some(_), _) => "Canary",
        (None, Some(_)) => "BlueGreen",
        (None, None) => "unknown",
    }
}

fn current_step(seen: &Observed, status: &RolloutStatus) -> Option<StepView> {
    let steps = seen.rollout.spec.steps();
    let index = usize::try_from(status.current_step_index.unwrap_or(0)).ok()?;
    let current = steps.get(index).filter(|_| !status.abort)?;
    Some(StepView {
        number: index.saturating_add(1),
        count: steps.len(),
        text: current.to_string(),
    })
}

fn state(scene: &Scene<'_>, waits: &[Wait], due: bool, controller: &Attendance) -> State {
    let rollout = &*scene.seen.rollout;
    if rollout.metadata.deletion_timestamp.is_some() {
        return State::Deleting;
    }
    if due && controller.state.is_gone() {
        return State::Unattended;
    }
    let next = scene.plan.status.as_deref().or(rollout.status.as_ref());
    let phase = next.map(|next| next.phase.clone()).unwrap_or_default();
    let any = |weight| waits.iter().any(|wait| wait.weight == weight);
    if any(Weight::StopsEverything) {
        return State::Invalid;
    }
    let acts = scene.plan.acts(rollout.status.as_ref()) && !any(Weight::Fails);
    if due && (acts || waits.is_empty()) {
        return State::Moving;
    }
    match phase {
        RolloutPhase::Healthy if waits.iter().all(|wait| wait.weight == Weight::Passes) => {
            State::Resting
        }
        RolloutPhase::Degraded if next.is_some_and(|next| next.abort) => State::Aborted,
        RolloutPhase::Degraded => State::Stuck,
        RolloutPhase::Unset
        | RolloutPhase::Healthy
        | RolloutPhase::Progressing
        | RolloutPhase::Paused
        | RolloutPhase::Other(_) => State::Waiting,
    }
}

/// The one sentence.
fn summary(told: &Explanation, now: Timestamp) -> String {
    let name = &told.name;
    let first = told.waits.first();
    match told.state {
        State::Deleting => format!("{name} is being deleted; what belongs to it goes with it."),
        State::Unattended => format!("Nobody acts on {name}: {}.", told.controller.message),
        State::Invalid => {
            let message = first.map_or("", |wait| wait.message.as_str());
            format!("{name} cannot be carried out: {}.", bare(message))
        }
        State::Moving => match told.next.first() {
            Some(next) => format!("{name} is moving; next: {next}."),
            None if told.message.is_empty() => format!("{name} is moving."),
            None => format!("{name} is moving: {}.", bare(&told.message)),
        },
        State::Resting => {
            let passing = first.and_then(|wait| {
                let left = wait.until?.duration_since(now).as_secs();
                let left = crate::view::age::short(left);
                Some(if wait.reason == Reason::Restarting.as_str() {
                    format!(" Its pods are restarted in {left}.")
                } else {
                    format!(" Old pods ({}) stay for another {left}.", wait.object)
                })
            });
            format!(
                "{name} is healthy and at rest.{}",
                passing.unwrap_or_default()
            )
        }
        State::Aborted => {
            // `RolloutAborted: Rollout aborted update to revision N[: cause]`; a spec that was
            // refused meanwhile has the word first.
            let aborted = told.message.strip_prefix(conditions::reason::ABORTED);
            match aborted.map(|rest| rest.splitn(3, ": ").nth(2)) {
                Some(Some(cause)) => format!("The update of {name} was aborted: {}.", bare(cause)),
                Some(None) => format!("The update of {name} was aborted by a person."),
                None => format!("The update of {name} was aborted."),
            }
        }
        State::Stuck => match first {
            Some(wait) => format!(
                "{name} is stuck: it has waited too long for {}.",
                wait.headline
            ),
            None => format!("{name} is stuck: {}.", bare(&told.message)),
        },
        State::Waiting => match first {
            Some(wait) => format!("{name} waits for {}.", wait.headline),
            None => format!("{name} waits: {}.", bare(&told.message)),
        },
    }
}

/// A sentence without its full stop.
fn bare(text: &str) -> &str {
    text.strip_suffix('.').unwrap_or(text)
}

/// Without the millisecond by which rules hold strictly after their time.
fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
