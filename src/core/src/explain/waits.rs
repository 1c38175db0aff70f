//! The reasons of a plan, with what a person would look up next.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::duration::GoDuration;
use sluice_crds::{AnalysisRun, Experiment, Rollout, keys};

use super::analysis::{self, Analysis};
use super::versions::Version;
use super::{Scene, whole_seconds};
use crate::conditions::{self, kind};
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
    /// Nothing at all is done before this is corrected.
    #[serde(skip)]
    pub(super) stops_everything: bool,
}

/// How a person has to act; the smaller the more urgent.
fn rank(reason: Reason) -> u8 {
    match reason {
        Reason::InvalidSpec => 0,
        Reason::Aborted => 1,
        Reason::WriteUnconfirmed | Reason::NotSupported => 2,
        Reason::ManuallyPaused | Reason::NeedsPromotion => 3,
        Reason::AnalysisRunning | Reason::ExperimentRunning | Reason::Paused => 4,
        Reason::PodsNotAvailable | Reason::SwitchWaitsForPods => 5,
        Reason::TrafficUnconfirmed | Reason::PodsNotGone | Reason::Restarting => 6,
        Reason::ScaleDownDelay => 7,
    }
}

fn headline(reason: Reason) -> &'static str {
    match reason {
        Reason::PodsNotAvailable => "pods to become available",
        Reason::PodsNotGone => "old pods to go away",
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
        Reason::Restarting => "pods to be restarted",
        Reason::NotSupported => "a step that is not supported to be skipped or removed",
    }
}

pub(super) fn of(scene: &Scene<'_>, versions: &[Version], analyses: &[Analysis]) -> Vec<Wait> {
    let mut whys: Vec<&Why> = scene.plan.why.iter().collect();
    whys.sort_by_key(|why| rank(why.reason));
    let mut waits: Vec<Wait> = Vec::new();
    for why in whys {
        let wait = wait(scene, why, versions, analyses);
        let same = |other: &Wait| (other.reason, &other.object) == (wait.reason, &wait.object);
        // Passes of one plan may say the same twice.
        if !waits
            .iter()
            .any(|other| same(other) && other.message == wait.message)
        {
            waits.push(wait);
        }
    }
    waits
}

fn wait(scene: &Scene<'_>, why: &Why, versions: &[Version], analyses: &[Analysis]) -> Wait {
    let rollout = &*scene.seen.rollout;
    Wait {
        reason: why.reason.as_str(),
        headline: headline(why.reason),
        object: why.object.clone(),
        message: why.message.clone(),
        since: why.since.or_else(|| since(scene, why.reason)),
        until: why
            .until
            .or_else(|| experiment_end(scene, why))
            .map(whole_seconds),
        looked_at_again: why.again.map(whole_seconds),
        command: why.command.map(|verb| line(verb, &why.object, rollout)),
        remedy: remedy(scene, why, versions),
        details: details(scene, why, versions, analyses),
        stops_everything: why.reason == Reason::InvalidSpec && scene.plan.actions.is_empty(),
    }
}

/// The whole command line for a verb.
pub(super) fn line(verb: &str, object: &str, rollout: &Rollout) -> String {
    let name = rollout.metadata.name.as_deref().unwrap_or_default();
    let namespace = rollout.metadata.namespace.as_deref().unwrap_or_default();
    let what = match (verb, object.split_once('/')) {
        ("terminate", Some((kind, name))) => format!("terminate {} {name}", kind.to_lowercase()),
        ("retry", _) => format!("retry rollout {name}"),
        ("promote --full", _) => format!("promote {name} --full"),
        (verb, _) => format!("{verb} {name}"),
    };
    if namespace.is_empty() {
        format!("kubectl argo rollouts {what}")
    } else {
        format!("kubectl argo rollouts {what} -n {namespace}")
    }
}

/// Pods are waited for since the last progress that was noted.
fn since(scene: &Scene<'_>, reason: Reason) -> Option<Timestamp> {
    match reason {
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
        | Reason::Restarting
        | Reason::NotSupported => return None,
    }
    let status = scene.seen.rollout.status.as_ref()?;
    let progress = conditions::get(&status.conditions, kind::PROGRESSING)?;
    let at = progress.last_update_time.timestamp();
    (at > Timestamp::UNIX_EPOCH).then_some(at)
}

fn experiment<'a>(scene: &'a Scene<'_>, object: &str) -> Option<&'a Experiment> {
    let name = object.strip_prefix("Experiment/")?;
    let mut all = scene.seen.experiments.iter();
    all.find(|one| one.metadata.name.as_deref() == Some(name))
        .map(|one| &**one)
}

/// An Experiment with a duration ends by itself.
fn experiment_end(scene: &Scene<'_>, why: &Why) -> Option<Timestamp> {
    if why.reason != Reason::ExperimentRunning {
        return None;
    }
    let experiment = experiment(scene, &why.object)?;
    let from = experiment.status.as_ref()?.available_at?.timestamp();
    let lasts = experiment.spec.duration.parse::<GoDuration>().ok()?;
    from.checked_add(lasts.signed()).ok()
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
            let troubled = versions.iter().any(|version| !version.problems.is_empty());
            if !troubled || !why.object.starts_with("ReplicaSet/") {
                return None;
            }
            "correct what the pods complain about (a new image, a quota, a probe), or abort"
        }
        Reason::WriteUnconfirmed if scene.seen.failure.is_some() => {
            "correct what the message names; the write is tried again by itself"
        }
        Reason::NotSupported => "skip the step with promote, or remove it from the spec",
        Reason::WriteUnconfirmed
        | Reason::PodsNotGone
        | Reason::NeedsPromotion
        | Reason::Paused
        | Reason::ManuallyPaused
        | Reason::AnalysisRunning
        | Reason::ExperimentRunning
        | Reason::TrafficUnconfirmed
        | Reason::ScaleDownDelay
        | Reason::Aborted
        | Reason::Restarting => return None,
    };
    Some(text.to_owned())
}

fn details(
    scene: &Scene<'_>,
    why: &Why,
    versions: &[Version],
    analyses: &[Analysis],
) -> Vec<String> {
    match why.reason {
        Reason::PodsNotAvailable | Reason::SwitchWaitsForPods => of_pods(scene, why, versions),
        Reason::AnalysisRunning => of_run(scene, why, analyses),
        Reason::NeedsPromotion => {
            let mut lines = of_run(scene, why, analyses);
            if lines.is_empty() {
                lines = judged(analyses, &["Inconclusive"]);
            }
            lines.extend(of_experiment(scene, why));
            lines
        }
        Reason::Aborted => of_failed_run(scene),
        Reason::ExperimentRunning => of_experiment(scene, why),
        Reason::PodsNotGone
        | Reason::Paused
        | Reason::ManuallyPaused
        | Reason::TrafficUnconfirmed
        | Reason::ScaleDownDelay
        | Reason::InvalidSpec
        | Reason::WriteUnconfirmed
        | Reason::Restarting
        | Reason::NotSupported => Vec::new(),
    }
}

/// What pods complain about: those of the ReplicaSet that is named, else of all.
fn of_pods(scene: &Scene<'_>, why: &Why, versions: &[Version]) -> Vec<String> {
    let named = why.object.strip_prefix("ReplicaSet/");
    let concerned = versions
        .iter()
        .filter(|version| named.is_none_or(|name| version.replica_set == name));
    let mut lines: Vec<String> = Vec::new();
    for version in concerned {
        lines.extend(version.problems.iter().map(super::Problem::line));
        let unavailable = version.ready.saturating_sub(version.available);
        let seconds = scene.seen.rollout.spec.min_ready_seconds;
        if unavailable > 0 && seconds > 0 {
            lines.push(format!(
                "{unavailable} ready, but not yet for minReadySeconds ({seconds} s)"
            ));
        }
        let missing = version.wanted.saturating_sub(version.pods);
        if missing > 0 && version.problems.is_empty() {
            lines.push(format!(
                "{missing} of {} pods are not created yet",
                version.wanted
            ));
        }
    }
    lines
}

fn lines_of(analysis: &Analysis) -> Vec<String> {
    let mut lines = Vec::new();
    if !analysis.message.is_empty() {
        lines.push(analysis.message.clone());
    }
    lines.extend(analysis.metrics.iter().map(super::MetricView::line));
    lines
}

/// Metrics of the run that is named.
fn of_run(scene: &Scene<'_>, why: &Why, analyses: &[Analysis]) -> Vec<String> {
    let Some(name) = why.object.strip_prefix("AnalysisRun/") else {
        return Vec::new();
    };
    if let Some(found) = analyses.iter().find(|analysis| analysis.name == name) {
        return lines_of(found);
    }
    let mut runs = scene.seen.analysis_runs.iter();
    let found = runs.find(|run| run.metadata.name.as_deref() == Some(name));
    found.map_or_else(Vec::new, |run| lines_of(&analysis::view(run, "")))
}

/// The run of the present version that went wrong last: an abort clears it from the status.
fn of_failed_run(scene: &Scene<'_>) -> Vec<String> {
    let Some(status) = &scene.seen.rollout.status else {
        return Vec::new();
    };
    let concerns = |run: &&Arc<AnalysisRun>| {
        let labels = run.metadata.labels.as_ref();
        let hash = labels.and_then(|labels| labels.get(keys::POD_TEMPLATE_HASH));
        let bad = run.status.as_ref().is_some_and(|status| {
            matches!(status.phase, AnalysisPhase::Failed | AnalysisPhase::Error)
        });
        bad && hash == Some(&status.current_pod_hash)
    };
    let runs = scene.seen.analysis_runs.iter().filter(concerns);
    let ended = |run: &&Arc<AnalysisRun>| run.status.as_ref().and_then(|s| s.completed_at);
    let last = runs.max_by_key(|run| ended(run).map(|at| at.timestamp()));
    last.map_or_else(Vec::new, |run| {
        judged(&[analysis::view(run, "")], &["Failed", "Error"])
    })
}

/// Runs that ended like this.
fn judged(analyses: &[Analysis], phases: &[&str]) -> Vec<String> {
    let ended = analyses
        .iter()
        .filter(|analysis| phases.contains(&analysis.phase.as_str()));
    ended
        .flat_map(|analysis| {
            let head = format!("AnalysisRun/{}: {}", analysis.name, analysis.phase);
            std::iter::once(head).chain(lines_of(analysis))
        })
        .collect()
}

fn of_experiment(scene: &Scene<'_>, why: &Why) -> Vec<String> {
    let Some(experiment) = experiment(scene, &why.object) else {
        return Vec::new();
    };
    let status = experiment.status.clone().unwrap_or_default();
    let mut lines = Vec::new();
    if !status.message.is_empty() {
        lines.push(status.message);
    }
    for template in &status.template_statuses {
        let colon = if template.message.is_empty() {
            ""
        } else {
            ": "
        };
        lines.push(format!(
            "template {}: {}, {} of {} pods available{colon}{}",
            template.name,
            template.status.as_str(),
            template.available_replicas,
            template.replicas,
            template.message
        ));
    }
    for run in &status.analysis_runs {
        let colon = if run.message.is_empty() { "" } else { ": " };
        lines.push(format!(
            "analysis {}: {}{colon}{}",
            run.name,
            run.phase.as_str(),
            run.message
        ));
    }
    if experiment.spec.duration.is_empty() {
        lines.push("it has no duration: it ends with its analyses".to_owned());
    }
    lines
}
