//! What people want, and that things go on (INV-6, INV-9, INV-10, INV-14, INV-15, INV-16).

use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::rollout::{CanaryStep, RolloutPhase};
use sluice_crds::{AnalysisRun, Experiment, keys};

use super::Findings;
use super::facts::{Facts, Set};
use crate::plan::Action;
use crate::why::Reason;

/// INV-6: what is changed is what was read.
pub(super) fn guards(facts: &Facts<'_>, found: &mut Findings) {
    for action in facts.actions() {
        let Action::PatchReplicaSet { name, guard, .. } = action else {
            continue;
        };
        let set = facts.sets.iter().find(|set| set.name == name);
        let read = set.and_then(|set| set.object.metadata.resource_version.as_deref());
        if read != Some(guard) {
            let message = format!("is changed at version {guard:?}, was read at {read:?}");
            found.add(6, format!("ReplicaSet/{name}"), message);
        }
    }
}

/// INV-6: an abort, or a wish to promote in full, stands until it is fulfilled or another version
/// takes its place.
pub(super) fn kept(facts: &Facts<'_>, found: &mut Findings) {
    if facts.restarted() || Facts::promoted(facts.next) {
        return;
    }
    let fast = facts.stored.promote_full || facts.tells("SkipSteps") > 0;
    if facts.stored.abort && !facts.next.abort && !fast && !in_window(facts) {
        found.add(6, &*facts.name, "the abort is forgotten");
    }
    // An abort that came after it, and that nobody has carried out yet, takes its place.
    let overruled = facts.stored.abort && facts.stored.aborted_at.is_none();
    if facts.stored.promote_full && !facts.next.promote_full && !overruled {
        found.add(6, &*facts.name, "the full promotion is forgotten");
    }
}

/// Going back within the rollback window needs no steps, and overrules an abort (CTL-93).
fn in_window(facts: &Facts<'_>) -> bool {
    facts.rollout.spec.rollback_window() > 0
}

/// INV-9: an analysis or an Experiment lets a step pass only by an explicit success.
pub(super) fn promotion_needs_proof(facts: &Facts<'_>, found: &mut Findings) {
    for (index, step) in passed(facts) {
        let proven = if step
            .analysis
            .as_ref()
            .is_some_and(|a| !a.templates.is_empty())
        {
            facts
                .seen
                .analysis_runs
                .iter()
                .any(|run| run_succeeded(run, index))
        } else if step.experiment.is_some() {
            facts
                .seen
                .experiments
                .iter()
                .any(|experiment| experiment_succeeded(experiment))
        } else {
            true
        };
        if !proven {
            found.add(
                9,
                &*facts.name,
                format!("step {index} passes without a success"),
            );
        }
    }
    // What an update relies on is not stopped by the same plan.
    let canary = &facts.next.canary;
    let relied_on = [
        &canary.current_step_analysis_run_status,
        &canary.current_background_analysis_run_status,
    ];
    for action in facts.actions() {
        let Action::TerminateAnalysisRun { name } = action else {
            continue;
        };
        if relied_on
            .iter()
            .any(|run| run.as_ref().is_some_and(|run| run.name == *name))
        {
            found.add(9, &*facts.name, format!("stops {name} and waits for it"));
        }
    }
    let Some(blue_green) = facts.rollout.spec.blue_green() else {
        return;
    };
    let promotes = !facts.stored.stable_rs.is_empty()
        && facts.stored.stable_rs != facts.next.stable_rs
        && !facts.stored.promote_full;
    let succeeded = |kind: &str| {
        let hash = &facts.next.stable_rs;
        facts.seen.analysis_runs.iter().any(|run| {
            label(run, keys::ROLLOUT_TYPE) == Some(kind)
                && label(run, keys::POD_TEMPLATE_HASH) == Some(hash)
                && succeeded_by_itself(run)
        })
    };
    let asked = blue_green.post_promotion_analysis.as_ref();
    let asked = asked.is_some_and(|analysis| !analysis.templates.is_empty());
    // A version that was up and serving a moment ago comes back without being measured (CTL-94).
    let returns = facts.set(&facts.next.stable_rs).is_some_and(|set| {
        let history = set.object.annotation(keys::REVISION_HISTORY);
        history.is_some_and(|history| !history.is_empty()) || comes_back(facts, set)
    });
    if promotes && asked && !returns && !succeeded(keys::ROLLOUT_TYPE_POST_PROMOTION) {
        found.add(
            9,
            &*facts.name,
            "becomes stable without a successful analysis",
        );
    }
}

/// Whether a version with pods, or one within the rollback window, was there before the one that is
/// stable: its new revision is written by the same plan.
fn comes_back(facts: &Facts<'_>, set: &Set<'_>) -> bool {
    let revision = |set: &Set<'_>| {
        let revision = set.object.annotation(keys::REVISION)?;
        revision.parse::<i64>().ok()
    };
    let Some(stable) = facts.set(&facts.stored.stable_rs) else {
        return false;
    };
    let up = set.from > 0 && set.available > 0;
    let older = revision(set).zip(revision(stable));
    (up || within_window(facts, set, stable)) && older.is_some_and(|(a, b)| a < b)
}

/// Whether less versions than the window has came between the two (CTL-94).
fn within_window(facts: &Facts<'_>, back: &Set<'_>, stable: &Set<'_>) -> bool {
    let created = |set: &Set<'_>| set.object.metadata.creation_timestamp.clone();
    let (from, to) = (created(back), created(stable));
    let between = facts.sets.iter().map(created);
    let between = between.filter(|at| *at > from && *at < to).count();
    let window = facts.rollout.spec.rollback_window();
    usize::try_from(window).is_ok_and(|window| between < window)
}

/// The steps that this decision completes one after the other.
fn passed<'a>(facts: &Facts<'a>) -> Vec<(usize, &'a CanaryStep)> {
    let index = |index: Option<i32>| usize::try_from(index.unwrap_or(0)).unwrap_or(0);
    let (from, to) = (
        index(facts.stored.current_step_index),
        index(facts.next.current_step_index),
    );
    let skipped = facts.restarted()
        || facts.stored.promote_full
        || facts.stored.stable_rs.is_empty()
        || facts.tells("SkipSteps") > 0
        || in_window(facts)
        || Facts::promoted(&facts.stored);
    if skipped || to <= from {
        return Vec::new();
    }
    let steps = facts.rollout.spec.steps().iter().enumerate();
    steps.skip(from).take(to - from).collect()
}

fn label<'a>(run: &'a AnalysisRun, key: &str) -> Option<&'a str> {
    run.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn phase_of(run: &AnalysisRun) -> AnalysisPhase {
    run.status
        .as_ref()
        .map(|status| status.phase.clone())
        .unwrap_or_default()
}

fn run_succeeded(run: &AnalysisRun, step: usize) -> bool {
    label(run, keys::STEP_INDEX) == Some(&step.to_string()) && succeeded_by_itself(run)
}

/// A run that was told to stop says so where it would say nothing.
fn succeeded_by_itself(run: &AnalysisRun) -> bool {
    let stopped = run.spec.terminate
        && run
            .status
            .as_ref()
            .is_some_and(|status| status.message == "Run Terminated");
    phase_of(run) == AnalysisPhase::Successful && !stopped
}

fn experiment_succeeded(experiment: &Experiment) -> bool {
    let status = experiment.status.as_ref();
    status.is_some_and(|status| status.phase == AnalysisPhase::Successful)
}

/// INV-14: within a version the index only grows, and each step that it passes is told; an abort
/// sets it back.
pub(super) fn steps_are_honest(facts: &Facts<'_>, found: &mut Findings) {
    let passed = passed(facts);
    let told = facts.tells("RolloutStepCompleted");
    if !passed.is_empty() && told != passed.len() {
        let message = format!("{} steps pass, {told} are told", passed.len());
        found.add(14, &*facts.name, message);
    }
    let (Some(from), Some(to)) = (
        facts.stored.current_step_index,
        facts.next.current_step_index,
    ) else {
        return;
    };
    if to < from && !facts.restarted() && !facts.next.abort {
        found.add(
            14,
            &*facts.name,
            format!("goes back from step {from} to {to}"),
        );
    }
}

/// INV-10: an abort never gives the canary more.
pub(super) fn abort_moves(facts: &Facts<'_>, found: &mut Findings) {
    let aborted = facts.stored.abort && facts.next.abort && !Facts::promoted(facts.next);
    if !aborted || facts.stored.promote_full {
        return;
    }
    let before = facts.recorded().map_or(0, |weights| weights.canary.weight);
    for action in facts.actions() {
        let Action::Route(want) = action else {
            continue;
        };
        if !want.only_remove_managed_routes && want.weight > before {
            let message = format!(
                "the aborted canary gets {} instead of {before}",
                want.weight
            );
            found.add(10, &*facts.name, message);
        }
    }
    if let Some(set) = facts.set(&facts.next.current_pod_hash)
        && facts.is_basic()
        && set.to > set.from
    {
        found.add(10, set.object(), "grows although it is aborted");
    }
}

/// INV-15: a Rollout that is neither at rest nor moved says what it waits for, and on which object.
/// A route that only repeats the weights on record is no movement.
pub(super) fn progress_or_reason(facts: &Facts<'_>, found: &mut Findings) {
    let moves = facts.plan.acts(Some(&facts.stored)) || facts.plan.status.is_some();
    let at_rest = facts.next.phase == RolloutPhase::Healthy;
    if !moves && !at_rest && facts.plan.why.is_empty() {
        found.add(15, &*facts.name, "does not move and says nothing");
    }
    for why in &facts.plan.why {
        if !why.object.contains('/') || why.message.is_empty() {
            found.add(15, &*facts.name, format!("an empty reason: {why:?}"));
        }
        let asks = matches!(
            why.reason,
            Reason::NeedsPromotion | Reason::ManuallyPaused | Reason::Aborted
        );
        if asks && why.command.is_none() {
            let message = format!("asks a person and names no command: {}", why.message);
            found.add(15, &*facts.name, message);
        }
        if why.reason == Reason::Paused && why.until.is_none() {
            found.add(15, &*facts.name, "a pause without an end");
        }
    }
}

/// INV-16: a decision asks for no more than what is there plus a few.
pub(super) fn bounded(facts: &Facts<'_>, found: &mut Findings) {
    let seen = facts.seen;
    let pods = seen.pods.as_ref().map_or(0, Vec::len);
    let children = 2 * facts.sets.len() + seen.analysis_runs.len() + seen.experiments.len() + pods;
    let limit = children + 2 * seen.services.len() + 2 * facts.rollout.spec.steps().len() + 16;
    let asked = facts.plan.actions.len();
    if asked > limit {
        found.add(
            16,
            &*facts.name,
            format!("asks for {asked} writes, {limit} are plenty"),
        );
    }
}
