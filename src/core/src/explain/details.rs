//! What the objects that are waited for say about themselves.

use std::sync::Arc;

use jiff::Timestamp;
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::duration::GoDuration;
use sluice_crds::{AnalysisRun, Experiment, keys};

use super::Scene;
use super::analysis::{self, Analysis};
use super::versions::Version;
use crate::why::{Reason, Why};

pub(super) fn experiment<'a>(scene: &'a Scene<'_>, object: &str) -> Option<&'a Experiment> {
    let name = object.strip_prefix("Experiment/")?;
    let mut all = scene.seen.experiments.iter();
    all.find(|one| one.metadata.name.as_deref() == Some(name))
        .map(|one| &**one)
}

/// An Experiment with a duration ends by itself, unless it has analyses to wait for.
pub(super) fn experiment_end(scene: &Scene<'_>, why: &Why) -> Option<Timestamp> {
    if why.reason != Reason::ExperimentRunning {
        return None;
    }
    let experiment = experiment(scene, &why.object)?;
    if needs_analyses(experiment) {
        return None;
    }
    duration_end(experiment)
}

fn duration_end(experiment: &Experiment) -> Option<Timestamp> {
    let from = experiment.status.as_ref()?.available_at?.timestamp();
    let lasts = experiment.spec.duration.parse::<GoDuration>().ok()?;
    from.checked_add(lasts.signed()).ok()
}

fn needs_analyses(experiment: &Experiment) -> bool {
    let mut analyses = experiment.spec.analyses.iter();
    analyses.any(|analysis| analysis.required_for_completion)
}

/// Whether nothing but a person ends it.
pub(super) fn endless(experiment: &Experiment) -> bool {
    experiment.spec.duration.is_empty() && !needs_analyses(experiment)
}

pub(super) fn of(
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
        | Reason::Unreadable
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
    if !status.phase.completed() {
        lines.extend(end_of(experiment));
    }
    lines
}

/// What ends it.
fn end_of(experiment: &Experiment) -> Option<String> {
    let duration = &experiment.spec.duration;
    let available = experiment.status.as_ref().and_then(|s| s.available_at);
    match (duration.is_empty(), needs_analyses(experiment), available) {
        (true, true, _) => Some("it ends with its required analyses".to_owned()),
        (true, false, _) => {
            Some("it has neither a duration nor a required analysis: it does not end".to_owned())
        }
        (false, _, None) => Some(format!(
            "it lasts {duration}, counted from when its pods are available"
        )),
        (false, true, Some(_)) => duration_end(experiment).map(|at| {
            format!("it lasts {duration}, until {at}, and as long as its required analyses")
        }),
        (false, false, Some(_)) => None,
    }
}
