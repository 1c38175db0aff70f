//! The reasons of a plan, with what a person would look up next.

use jiff::Timestamp;
use serde::Serialize;
use sluice_crds::Rollout;
use sluice_crds::rollout::RolloutCondition;

use super::analysis::Analysis;
use super::versions::Version;
use super::{Scene, details, whole_seconds};
use crate::commands::{self, Promotion};
use crate::conditions::{self, kind, reason, status};
use crate::observed::FailedWrite;
use crate::plan::Action;
use crate::why::{Reason, Why};

/// One thing that is waited for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    /// Name of the reason, such as `NeedsPromotion`.
    pub reason: &'static str,
    /// What is waited for, to be read after "waits for".
    pub headline: &'static str,
    /// On which object, as `Kind/name`.
    pub object: String,
    /// What exactly.
    pub message: String,
    /// Since when, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When it ends by itself; absent: it does not, or nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// When it is looked at again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looked_at_again: Option<Timestamp>,
    /// The command that moves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What to do where no command helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// What the object says about itself, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// How much it weighs.
    #[serde(skip)]
    pub(super) weight: Weight,
}

/// How much a wait weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// Nothing at all is done before this is corrected.
    StopsEverything,
    /// What is to be done next has failed.
    Fails,
    /// Something has to happen first.
    Holds,
    /// A Rollout at rest may have it: it passes, and nothing depends on it.
    Passes,
}

/// Which is told first; the smaller the more urgent. `refused`: the spec as a whole.
fn rank(reason: Reason, refused: bool) -> u8 {
    match reason {
        Reason::InvalidSpec if refused => 0,
        Reason::Aborted => 1,
        Reason::WriteUnconfirmed | Reason::Unreadable | Reason::NotSupported => 2,
        Reason::ManuallyPaused | Reason::NeedsPromotion => 3,
        Reason::AnalysisRunning | Reason::ExperimentRunning | Reason::Paused => 4,
        // A background analysis that cannot be started does not hold the steps.
        Reason::InvalidSpec => 5,
        Reason::PodsNotAvailable => 6,
        Reason::SwitchWaitsForPods => 7,
        Reason::TrafficUnconfirmed | Reason::PodsNotGone | Reason::Restarting => 8,
        Reason::ScaleDownDelay => 9,
    }
}

fn headline(reason: Reason) -> &'static str {
    match reason {
        Reason::PodsNotAvailable => "pods to become available",
        Reason::PodsNotGone => "pods that are not needed any more to go",
        Reason::NeedsPromotion => "a person to decide",
        Reason::Paused => "a timed pause to end",
        Reason::ManuallyPaused => "a person to lift spec.paused",
        Reason::AnalysisRunning => "an analysis to end",
        Reason::ExperimentRunning => "an experiment to end",
        Reason::TrafficUnconfirmed => "the router to confirm the weight",
        Reason::SwitchWaitsForPods => "pods, before traffic is switched to them",
        Reason::ScaleDownDelay => "a scale-down delay to pass",
        Reason::Aborted => "a person to retry, or to change the spec",
        Reason::InvalidSpec => "the spec, or an object it names, to be corrected",
        Reason::WriteUnconfirmed => "a write to succeed",
        Reason::Unreadable => "an object that cannot be read",
        Reason::Restarting => "pods to be restarted",
        Reason::NotSupported => "a step that is not supported to be skipped or removed",
    }
}

pub(super) fn of(scene: &Scene<'_>, versions: &[Version], analyses: &[Analysis]) -> Vec<Wait> {
    let refused = refused(scene);
    let mut whys: Vec<Why> = scene.plan.why.clone();
    whys.retain(|why| !about_nothing_yet(scene, why) && !said_better(&scene.plan.why, why));
    whys.extend(failed_before(scene));
    // What is polled is what the others of its kind depend on.
    whys.sort_by_key(|why| (rank(why.reason, refused), why.again.is_none()));
    let mut waits: Vec<Wait> = Vec::new();
    for why in &whys {
        let wait = wait(scene, why, versions, analyses);
        // Passes of one plan may say the same twice, of a Service even in two ways.
        let same = |other: &Wait| {
            (other.reason, &other.object) == (wait.reason, &wait.object)
                && (other.message == wait.message || wait.object.starts_with("Service/"))
        };
        if !waits.iter().any(same) {
            waits.push(wait);
        }
    }
    waits
}

fn condition<'a>(scene: &'a Scene<'_>, kind: &str) -> Option<&'a RolloutCondition> {
    let stored = scene.seen.rollout.status.as_ref()?;
    conditions::get(&stored.conditions, kind)
}

/// Whether the spec as a whole cannot be used.
fn refused(scene: &Scene<'_>) -> bool {
    let stored = scene.seen.rollout.status.as_ref();
    let next = scene.plan.status.as_deref().or(stored);
    next.is_some_and(|next| conditions::get(&next.conditions, kind::INVALID_SPEC).is_some())
}

/// ReplicaSets that the plan makes.
fn made<'a>(scene: &'a Scene<'_>) -> impl Iterator<Item = &'a str> {
    let actions = scene.plan.actions.iter().map(|planned| &planned.action);
    actions.filter_map(|action| match action {
        Action::CreateReplicaSet(set) => set.metadata.name.as_deref(),
        Action::PatchRollout { .. }
        | Action::AdoptReplicaSet { .. }
        | Action::ReleaseReplicaSet { .. }
        | Action::PatchReplicaSet { .. }
        | Action::DeleteReplicaSet { .. }
        | Action::PatchService { .. }
        | Action::Route(_)
        | Action::CreateAnalysisRun(_)
        | Action::TerminateAnalysisRun { .. }
        | Action::DeleteAnalysisRun { .. }
        | Action::CreateExperiment(_)
        | Action::TerminateExperiment { .. }
        | Action::DeleteExperiment { .. }
        | Action::PatchPod { .. }
        | Action::EvictPod { .. }
        | Action::ScaleWorkload { .. } => None,
    })
}

/// Pods of a ReplicaSet that is made just now: that it is made says all there is to say.
fn about_nothing_yet(scene: &Scene<'_>, why: &Why) -> bool {
    let name = why.object.strip_prefix("ReplicaSet/");
    why.reason == Reason::PodsNotAvailable
        && name.is_some_and(|name| made(scene).any(|made| made == name))
}

/// An abort that cannot be carried out repeats what is invalid.
fn said_better(all: &[Why], why: &Why) -> bool {
    why.reason == Reason::InvalidSpec
        && all.iter().any(|other| {
            other.reason == Reason::InvalidSpec
                && other.message.len() > why.message.len()
                && other.message.ends_with(&why.message)
        })
}

/// A ReplicaSet that the controller could not make: who looks later knows from the status alone.
fn failed_before(scene: &Scene<'_>) -> Option<Why> {
    let failed = condition(scene, kind::PROGRESSING)
        .filter(|condition| condition.reason == reason::CREATE_ERROR)?;
    let name = made(scene).next()?;
    let why = Why::new(
        Reason::WriteUnconfirmed,
        format!("ReplicaSet/{name}"),
        failed.message.clone(),
    );
    Some(why.since(failed.last_transition_time.timestamp()))
}

fn wait(scene: &Scene<'_>, why: &Why, versions: &[Version], analyses: &[Analysis]) -> Wait {
    // Of what is invalid one reason stands for all.
    let mut all = scene.plan.why.iter();
    let other = all.find(|other| said_better(std::slice::from_ref(why), other));
    let again = why.again.or_else(|| other?.again);
    Wait {
        reason: why.reason.as_str(),
        headline: headline(why.reason),
        object: why.object.clone(),
        message: why.message.clone(),
        since: why
            .since
            .or_else(|| other?.since)
            .or_else(|| since(scene, why)),
        until: why
            .until
            .or_else(|| details::experiment_end(scene, why))
            .map(whole_seconds),
        looked_at_again: again.map(whole_seconds),
        command: command(scene, why),
        remedy: remedy(scene, why, versions),
        details: details::of(scene, why, versions, analyses),
        weight: weight(scene, why),
    }
}

fn weight(scene: &Scene<'_>, why: &Why) -> Weight {
    match why.reason {
        Reason::InvalidSpec if refused(scene) && scene.plan.actions.is_empty() => {
            Weight::StopsEverything
        }
        Reason::WriteUnconfirmed if scene.seen.failure.is_some() => Weight::Fails,
        Reason::WriteUnconfirmed if failed_before(scene).is_some() => Weight::Fails,
        Reason::ScaleDownDelay => Weight::Passes,
        Reason::Restarting if why.until.is_some() => Weight::Passes,
        Reason::InvalidSpec
        | Reason::WriteUnconfirmed
        | Reason::Unreadable
        | Reason::Restarting
        | Reason::PodsNotAvailable
        | Reason::PodsNotGone
        | Reason::NeedsPromotion
        | Reason::Paused
        | Reason::ManuallyPaused
        | Reason::AnalysisRunning
        | Reason::ExperimentRunning
        | Reason::TrafficUnconfirmed
        | Reason::SwitchWaitsForPods
        | Reason::Aborted
        | Reason::NotSupported => Weight::Holds,
    }
}

/// The whole command line for a verb.
pub(super) fn line(verb: &str, object: &str, rollout: &Rollout) -> String {
    let name = rollout.metadata.name.as_deref().unwrap_or_default();
    let what = match (verb, object.split_once('/')) {
        ("terminate", Some((kind, name))) => format!("terminate {} {name}", kind.to_lowercase()),
        ("retry", _) => format!("retry rollout {name}"),
        ("promote --full", _) => format!("promote {name} --full"),
        (verb, _) => format!("{verb} {name}"),
    };
    format!("kubectl argo rollouts {what}{}", namespaced(rollout))
}

/// Always there: whoever pastes a command may have another namespace in their context.
fn namespaced(rollout: &Rollout) -> String {
    let namespace = rollout.metadata.namespace.as_deref().unwrap_or_default();
    if namespace.is_empty() {
        String::new()
    } else {
        format!(" -n {namespace}")
    }
}

fn command(scene: &Scene<'_>, why: &Why) -> Option<String> {
    let rollout = &*scene.seen.rollout;
    if why.reason == Reason::ManuallyPaused && promote_skips(rollout) {
        let name = rollout.metadata.name.as_deref().unwrap_or_default();
        let place = namespaced(rollout);
        let patch = r#"'{"spec":{"paused":false}}'"#;
        return Some(format!(
            "kubectl patch rollout {name}{place} --type merge -p {patch}"
        ));
    }
    if why.reason == Reason::ExperimentRunning
        && details::experiment(scene, &why.object).is_some_and(details::endless)
    {
        return Some(line("terminate", &why.object, rollout));
    }
    why.command.map(|verb| line(verb, &why.object, rollout))
}

/// Whether `promote` does more than to lift `spec.paused`: it ends a pause, or skips the step.
fn promote_skips(rollout: &Rollout) -> bool {
    let Some(stored) = &rollout.status else {
        return false;
    };
    let patches = commands::promote(rollout, Promotion::default());
    let Some(patch) = patches.ok().and_then(|patches| patches.status) else {
        return false;
    };
    let index = patch.pointer("/status/currentStepIndex");
    let index = index.and_then(serde_json::Value::as_i64);
    !stored.pause_conditions.is_empty()
        || index.is_some_and(|to| to != i64::from(stored.current_step_index.unwrap_or(0)))
}

/// Pods have been waited for at the longest since the last progress, or since they were all there.
fn since(scene: &Scene<'_>, why: &Why) -> Option<Timestamp> {
    match why.reason {
        Reason::PodsNotAvailable | Reason::SwitchWaitsForPods | Reason::PodsNotGone => {}
        Reason::NeedsPromotion
        | Reason::Paused
        | Reason::ManuallyPaused
        | Reason::AnalysisRunning
        | Reason::ExperimentRunning
        | Reason::TrafficUnconfirmed
        | Reason::ScaleDownDelay
        | Reason::Aborted
        | Reason::InvalidSpec
        | Reason::WriteUnconfirmed
        | Reason::Unreadable
        | Reason::Restarting
        | Reason::NotSupported => return None,
    }
    let progress = condition(scene, kind::PROGRESSING)
        .map(|condition| (condition.last_update_time.timestamp(), condition))
        .filter(|(at, _)| *at > Timestamp::UNIX_EPOCH)
        .map(|(at, condition)| {
            if condition.reason == reason::DEADLINE {
                // It was noted when the deadline had passed.
                let seconds = scene.seen.rollout.spec.progress_deadline_seconds();
                at.checked_sub(jiff::SignedDuration::from_secs(seconds.into()))
                    .unwrap_or(at)
            } else {
                at
            }
        });
    let healthy = condition(scene, kind::HEALTHY)
        .filter(|condition| condition.status == status::FALSE)
        .map(|condition| condition.last_transition_time.timestamp());
    let name = why.object.strip_prefix("ReplicaSet/");
    let mut sets = scene.seen.replica_sets.iter();
    let set = sets.find(|set| set.metadata.name.as_deref() == name);
    let born = set
        .and_then(|set| set.metadata.creation_timestamp.as_ref())
        .map(|at| at.0);
    [progress, healthy, born].into_iter().flatten().max()
}

fn remedy(scene: &Scene<'_>, why: &Why, versions: &[Version]) -> Option<String> {
    let text = match why.reason {
        Reason::InvalidSpec if why.message.contains("not found") => {
            "create the object that is named, or correct the name; the rollout then goes on by \
             itself"
        }
        Reason::InvalidSpec => {
            "correct the manifest and apply it; the rollout then goes on by itself"
        }
        Reason::PodsNotAvailable | Reason::SwitchWaitsForPods => {
            return of_pods(scene, why, versions);
        }
        Reason::WriteUnconfirmed if weight(scene, why) == Weight::Fails => {
            let failed = scene.seen.failure.as_ref().map(|failure| failure.what);
            if failed == Some(FailedWrite::ReplicaSetNameTaken) {
                return None;
            }
            "correct what the message names; the write is tried again by itself"
        }
        Reason::Unreadable => {
            "see whether the API server answers, and whether the controller may read this kind; \
             it is tried again by itself"
        }
        Reason::NotSupported => "skip the step, or remove it from the spec",
        Reason::ManuallyPaused if promote_skips(&scene.seen.rollout) => {
            "where the manifest is kept, set spec.paused to false there, too; promote lifts it as \
             well, but also ends the current step"
        }
        Reason::ManuallyPaused => "where the manifest is kept, set spec.paused to false there, too",
        // Once is enough: where it is known that the router is asked.
        Reason::TrafficUnconfirmed if why.again.is_some() => {
            "the router is asked again by itself; if it stays like this, see what its own \
             controller reports"
        }
        Reason::WriteUnconfirmed
        | Reason::PodsNotGone
        | Reason::NeedsPromotion
        | Reason::Paused
        | Reason::AnalysisRunning
        | Reason::ExperimentRunning
        | Reason::TrafficUnconfirmed
        | Reason::ScaleDownDelay
        | Reason::Aborted
        | Reason::Restarting => return None,
    };
    Some(text.to_owned())
}

/// What helps pods that have something to complain about, or that take too long.
fn of_pods(scene: &Scene<'_>, why: &Why, versions: &[Version]) -> Option<String> {
    let name = why.object.strip_prefix("ReplicaSet/")?;
    let mut named = versions
        .iter()
        .filter(|version| version.replica_set == name);
    let troubled = named.any(|version| !version.problems.is_empty());
    let late = condition(scene, kind::PROGRESSING)
        .is_some_and(|condition| condition.reason == reason::DEADLINE);
    let text = if troubled {
        "correct what the pods complain about (a new image, a quota, a probe)"
    } else if late {
        "see what keeps the pods from being available (kubectl describe, kubectl logs), and \
         correct it"
    } else {
        return None;
    };
    let or = if super::can_abort(scene) {
        ", or abort"
    } else {
        ""
    };
    Some(format!("{text}{or}"))
}
