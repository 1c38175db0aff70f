//! AnalysisRuns of a Rollout: which one is wanted, starting and cancelling them, and what their
//! verdicts mean (ANA-33..45).

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sluice_crds::analysis::{AnalysisPhase, AnalysisRunSpec, Argument};
use sluice_crds::rollout::{
    AnalysisRunArgument, AnalysisTemplateRef, DryRun, MeasurementRetention, PauseReason,
    PodTemplateMetadata, RolloutAnalysis, RolloutAnalysisBackground, RolloutAnalysisRunStatus,
    RolloutStatus,
};
use sluice_crds::templates::{self, Caller};
use sluice_crds::{AnalysisRun, field_path, keys};

use crate::analysis_run::{METRIC_TERMINATED, RUN_TERMINATED};
use crate::decide::context::Context;
use crate::decide::pass::Pass;
use crate::event::Event;
use crate::history::{self, Child};
use crate::plan::Action;
use crate::revision;
use crate::same;
use crate::step::Step;
use crate::why::{Reason, Why};

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Step(i32),
    Background,
    PrePromotion,
    PostPromotion,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Self::Step(_) => keys::ROLLOUT_TYPE_STEP,
            Self::Background => keys::ROLLOUT_TYPE_BACKGROUND,
            Self::PrePromotion => keys::ROLLOUT_TYPE_PRE_PROMOTION,
            Self::PostPromotion => keys::ROLLOUT_TYPE_POST_PROMOTION,
        }
    }

    fn suffix(self) -> String {
        match self {
            Self::Step(index) => format!("-{index}"),
            Self::Background => String::new(),
            Self::PrePromotion => "-pre".to_owned(),
            Self::PostPromotion => "-post".to_owned(),
        }
    }

    /// How an abort by it is explained (ANA-41).
    fn failure(self) -> &'static str {
        match self {
            Self::Step(_) => "Step-based analysis phase error/failed",
            Self::Background => "Background analysis phase error/failed",
            Self::PrePromotion => "Blue/green pre-promotion analysis phase error/failed",
            Self::PostPromotion => "Blue/green post-promotion analysis phase error/failed",
        }
    }

    /// What status records about the current run of this kind.
    fn stored(self, status: &RolloutStatus) -> Option<&RolloutAnalysisRunStatus> {
        match self {
            Self::Step(_) => status.canary.current_step_analysis_run_status.as_ref(),
            Self::Background => status
                .canary
                .current_background_analysis_run_status
                .as_ref(),
            Self::PrePromotion => status.blue_green.pre_promotion_analysis_run_status.as_ref(),
            Self::PostPromotion => status
                .blue_green
                .post_promotion_analysis_run_status
                .as_ref(),
        }
    }
}

/// An analysis of the spec, whichever of the wire types it came from.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    templates: &'a [AnalysisTemplateRef],
    args: &'a [AnalysisRunArgument],
    dry_run: &'a [DryRun],
    retention: &'a [MeasurementRetention],
    metadata: Option<&'a PodTemplateMetadata>,
}

impl<'a> From<&'a RolloutAnalysis> for Wanted<'a> {
    fn from(analysis: &'a RolloutAnalysis) -> Self {
        Self {
            templates: &analysis.templates,
            args: &analysis.args,
            dry_run: &analysis.dry_run,
            retention: &analysis.measurement_retention,
            metadata: analysis.analysis_run_metadata.as_ref(),
        }
    }
}

impl<'a> From<&'a RolloutAnalysisBackground> for Wanted<'a> {
    fn from(analysis: &'a RolloutAnalysisBackground) -> Self {
        Self {
            templates: &analysis.templates,
            args: &analysis.args,
            dry_run: &analysis.dry_run,
            retention: &analysis.measurement_retention,
            metadata: analysis.analysis_run_metadata.as_ref(),
        }
    }
}

/// A run that status is going to record.
#[derive(Clone, Debug)]
struct Current {
    name: String,
    phase: AnalysisPhase,
    message: String,
}

impl Current {
    fn of(run: &AnalysisRun) -> Self {
        let status = run.status.as_ref();
        Self {
            name: run.metadata.name.clone().unwrap_or_default(),
            phase: verdict(run),
            message: status.map(|s| s.message.clone()).unwrap_or_default(),
        }
    }

    fn status(&self) -> RolloutAnalysisRunStatus {
        RolloutAnalysisRunStatus {
            name: self.name.clone(),
            status: self.phase.clone(),
            message: self.message.clone(),
        }
    }
}

fn phase_of(run: &AnalysisRun) -> AnalysisPhase {
    run.status
        .as_ref()
        .map(|status| status.phase.clone())
        .unwrap_or_default()
}

/// The phase as far as promotion may rely on it: a run that somebody stopped proves nothing
/// (INV-9).
fn verdict(run: &AnalysisRun) -> AnalysisPhase {
    let phase = phase_of(run);
    if phase == AnalysisPhase::Successful && stopped_early(run) {
        AnalysisPhase::Inconclusive
    } else {
        phase
    }
}

/// Whether a success came from being told to stop rather than from measurements: between two
/// measurements the run says so itself, else one of them does (ANA-19).
fn stopped_early(run: &AnalysisRun) -> bool {
    run.spec.terminate
        && run.status.as_ref().is_some_and(|status| {
            let results = &status.metric_results;
            status.message == RUN_TERMINATED
                || results.is_empty()
                || results.iter().any(|metric| {
                    metric.message == METRIC_TERMINATED
                        || metric
                            .measurements
                            .iter()
                            .any(|m| m.message == METRIC_TERMINATED)
                })
        })
}

/// Step and background runs of a canary.
pub(crate) fn reconcile_canary(pass: &mut Pass<'_, '_>) {
    let mut current = Vec::new();
    if skipped(pass) {
        cancel_all_but(pass, &[]);
    } else {
        let step = step_run(pass);
        let background = background_run(pass);
        pass.next.canary.current_step_analysis_run_status = step.as_ref().map(Current::status);
        pass.next.canary.current_background_analysis_run_status =
            background.as_ref().map(Current::status);
        let index = pass.read().current_step_index.unwrap_or(0);
        tell(pass, Kind::Step(index), step.as_ref());
        tell(pass, Kind::Background, background.as_ref());
        current.extend([step, background].into_iter().flatten().map(|run| run.name));
        cancel_all_but(pass, &current);
    }
    collect_garbage(pass, &current);
}

/// Whether this is no moment for analysis (ANA-34).
fn skipped(pass: &Pass<'_, '_>) -> bool {
    let read = pass.read();
    pass.promoted()
        || pass.aborted()
        || read.promote_full
        || read.stable_rs.is_empty()
        || revision::fast_rollback(pass.ctx, pass.view)
}

fn find<'a>(ctx: &Context<'a>, name: &str) -> Option<&'a Arc<AnalysisRun>> {
    let runs = &ctx.seen.analysis_runs;
    runs.iter()
        .find(|run| run.metadata.name.as_deref() == Some(name))
}

fn current_of<'a>(pass: &Pass<'_, 'a>, kind: Kind) -> Option<&'a Arc<AnalysisRun>> {
    find(pass.ctx, &kind.stored(pass.read())?.name)
}

/// ANA-37
fn step_run(pass: &mut Pass<'_, '_>) -> Option<Current> {
    let read = pass.read();
    let index = read.current_step_index.unwrap_or(0);
    let kind = Kind::Step(index);
    let run = current_of(pass, kind);
    if !read.pause_conditions.is_empty() || read.abort {
        return kept(pass, kind, run);
    }
    let Some(Step::Analysis(analysis)) = pass.ctx.step_at(read.current_step_index) else {
        return None; // cancelled with the others
    };
    let other_step = run.is_some_and(|run| {
        let labels = run.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(keys::STEP_INDEX)) != Some(&index.to_string())
    });
    if analysis.templates.is_empty() || other_step {
        return None;
    }
    start_or_judge(pass, kind, run, Wanted::from(analysis))
}

/// ANA-38
fn background_run(pass: &mut Pass<'_, '_>) -> Option<Current> {
    let analysis = pass.ctx.canary()?.analysis.as_deref()?;
    let read = pass.read();
    let kind = Kind::Background;
    let run = current_of(pass, kind);
    let early = read
        .current_step_index
        .zip(analysis.starting_step)
        .is_some_and(|(index, start)| index < start);
    if analysis.templates.is_empty() || read.current_pod_hash.is_empty() || early {
        return None;
    }
    if pass.paused_for(&PauseReason::InconclusiveAnalysisRun) {
        return kept(pass, kind, run);
    }
    start_or_judge(pass, kind, run, Wanted::from(analysis))
}

/// What is recorded of a run about which nothing is to be done now.
fn kept(pass: &Pass<'_, '_>, kind: Kind, run: Option<&Arc<AnalysisRun>>) -> Option<Current> {
    run.map(|run| Current::of(run)).or_else(|| {
        kind.stored(pass.read()).map(|stored| Current {
            name: stored.name.clone(),
            phase: stored.status.clone(),
            message: stored.message.clone(),
        })
    })
}

/// Pre- and post-promotion runs of blue-green.
pub(crate) fn reconcile_blue_green(pass: &mut Pass<'_, '_>) {
    let kinds = [Kind::PrePromotion, Kind::PostPromotion];
    let mut current = Vec::new();
    if skipped(pass) {
        cancel_all_but(pass, &[]);
        for kind in kinds {
            let run = current_of(pass, kind);
            let mut kept = kept(pass, kind, run);
            if let Some((kept, run)) = kept.as_mut().zip(run) {
                kept.phase = phase_of(run); // nothing depends on it any more (ANA-33)
            }
            remember(pass, kind, kept.as_ref());
            current.extend(kept.map(|run| run.name));
        }
    } else {
        let mut active = Vec::new();
        for kind in kinds {
            let (run, cancelled) = promotion_run(pass, kind);
            remember(pass, kind, run.as_ref());
            tell(pass, kind, run.as_ref());
            if let Some(run) = run {
                if !cancelled {
                    active.push(run.name.clone());
                }
                current.push(run.name);
            }
        }
        cancel_all_but(pass, &active);
    }
    collect_garbage(pass, &current);
}

fn remember(pass: &mut Pass<'_, '_>, kind: Kind, run: Option<&Current>) {
    let status = run.map(Current::status);
    let blue_green = &mut pass.next.blue_green;
    match kind {
        Kind::PrePromotion => blue_green.pre_promotion_analysis_run_status = status,
        Kind::PostPromotion => blue_green.post_promotion_analysis_run_status = status,
        Kind::Step(_) | Kind::Background => {}
    }
}

/// ANA-39, ANA-40. The flag: the run is recorded, but cancelled.
fn promotion_run(pass: &mut Pass<'_, '_>, kind: Kind) -> (Option<Current>, bool) {
    let Some(blue_green) = pass.ctx.blue_green() else {
        return (None, true);
    };
    let run = current_of(pass, kind);
    let analysis = match kind {
        Kind::PrePromotion => blue_green.pre_promotion_analysis.as_deref(),
        Kind::PostPromotion => blue_green.post_promotion_analysis.as_deref(),
        Kind::Step(_) | Kind::Background => None,
    };
    let Some(analysis) = analysis.filter(|analysis| !analysis.templates.is_empty()) else {
        return (None, true);
    };
    let active = crate::bluegreen::active_hash(pass);
    let new = pass.new_hash().to_owned();
    let replicas = pass.ctx.replicas;
    let saturated = pass.new_set().is_some_and(|set| set.saturated(replicas));
    let wrong_moment = match kind {
        Kind::PrePromotion => {
            let ready = match blue_green.preview_replica_count {
                // As many as it has by now: the checkpoint may have been passed before (CTL-113).
                Some(_) => crate::bluegreen::ready(pass),
                None => saturated,
            };
            pass.read().stable_rs == new
                || active.is_empty()
                || active == new
                || (run.is_none() && !ready)
        }
        Kind::PostPromotion | Kind::Step(_) | Kind::Background => {
            pass.read().stable_rs == new || active != new || (run.is_none() && !saturated)
        }
    };
    if wrong_moment || new.is_empty() {
        let read = pass.read();
        if read.aborted_at.is_some() && read.stable_rs != new {
            // A retry begins: what was measured before proves nothing about it, and must not fail it
            // once its moment comes (INV-9, INV-15).
            return (None, true);
        }
        return (kept(pass, kind, run), true);
    }
    if pass.paused_for(&PauseReason::InconclusiveAnalysisRun) {
        return (kept(pass, kind, run), false);
    }
    (
        start_or_judge(pass, kind, run, Wanted::from(analysis)),
        false,
    )
}

/// Whether a run of this kind has ended well, or none is asked for.
pub(crate) fn promotion_passed(pass: &Pass<'_, '_>, kind: Kind) -> bool {
    let Some(blue_green) = pass.ctx.blue_green() else {
        return true;
    };
    let analysis = match kind {
        Kind::PrePromotion => blue_green.pre_promotion_analysis.as_deref(),
        Kind::PostPromotion => blue_green.post_promotion_analysis.as_deref(),
        Kind::Step(_) | Kind::Background => None,
    };
    if analysis.is_none_or(|analysis| analysis.templates.is_empty()) {
        return true;
    }
    // Only a run of this very version and attempt proves anything (INV-9).
    let Some(run) = current_of(pass, kind) else {
        return false;
    };
    let labels = run.metadata.labels.as_ref();
    let hash = labels.and_then(|labels| labels.get(keys::POD_TEMPLATE_HASH));
    verdict(run) == AnalysisPhase::Successful
        && hash.is_some_and(|hash| hash == pass.new_hash())
        && pass.read().aborted_at.is_none()
}

/// Whether the run of the current step has ended well.
pub(crate) fn step_passed(pass: &mut Pass<'_, '_>) -> bool {
    let index = pass.read().current_step_index.unwrap_or(0);
    let Some(recorded) = pass.next.canary.current_step_analysis_run_status.clone() else {
        if let Some(Step::Analysis(analysis)) = pass.ctx.step_at(Some(index))
            && analysis.templates.is_empty()
        {
            let message = format!(
                "step {}/{} is an analysis without templates: it never ends",
                index.saturating_add(1),
                pass.ctx.step_count()
            );
            let me = pass.ctx.me();
            pass.wait(Why::new(Reason::InvalidSpec, me, message));
        }
        return false;
    };
    // A run from before a retry is about to be replaced.
    recorded.status == AnalysisPhase::Successful && find(pass.ctx, &recorded.name).is_some()
}

/// Whether a fresh run is needed (ANA-36).
fn needs_new(read: &RolloutStatus, run: Option<&Arc<AnalysisRun>>) -> bool {
    let Some(run) = run else { return true };
    // Paused for anything else, nobody has decided yet: another run would end the same.
    if read.controller_pause && read.pause_conditions.is_empty() {
        return verdict(run) == AnalysisPhase::Inconclusive;
    }
    read.aborted_at.is_some()
}

fn start_or_judge(
    pass: &mut Pass<'_, '_>,
    kind: Kind,
    run: Option<&Arc<AnalysisRun>>,
    wanted: Wanted<'_>,
) -> Option<Current> {
    match run.filter(|run| !needs_new(pass.read(), Some(run))) {
        Some(run) => Some(judge(pass, kind, run)),
        None => start(pass, kind, wanted),
    }
}

/// What the phase of a current run means (ANA-41).
fn judge(pass: &mut Pass<'_, '_>, kind: Kind, run: &AnalysisRun) -> Current {
    let current = Current::of(run);
    let object = format!("AnalysisRun/{}", current.name);
    match current.phase {
        AnalysisPhase::Inconclusive => {
            pass.pauses.add(PauseReason::InconclusiveAnalysisRun);
            let message = "was inconclusive, a person has to decide";
            let mut why = Why::new(Reason::NeedsPromotion, object, message).command("promote");
            why.since = run
                .status
                .as_ref()
                .and_then(|status| status.completed_at)
                .map(|at| at.timestamp());
            pass.wait(why);
        }
        AnalysisPhase::Failed | AnalysisPhase::Error => {
            let mut cause = kind.failure().to_owned();
            if !current.message.is_empty() {
                cause = format!("{cause}: {}", current.message);
            }
            pass.abort.get_or_insert(cause);
        }
        AnalysisPhase::Successful => {}
        AnalysisPhase::Unset
        | AnalysisPhase::Pending
        | AnalysisPhase::Running
        | AnalysisPhase::Other(_) => {
            // A background run goes along; the others are waited for.
            if kind != Kind::Background {
                let started = run.status.as_ref().and_then(|status| status.started_at);
                let mut why = Why::new(Reason::AnalysisRunning, object, "has not ended yet");
                why.since = started.map(|at| at.timestamp());
                // A canary can skip the step; blue-green only everything.
                why.command = Some(match kind {
                    Kind::Step(_) | Kind::Background => "promote",
                    Kind::PrePromotion | Kind::PostPromotion => "promote --full",
                });
                pass.wait(why);
            }
        }
    }
    current
}

/// Starts a run under the first free name, or takes up one that was started before a crash
/// (ANA-43, INV-7).
fn start(pass: &mut Pass<'_, '_>, kind: Kind, wanted: Wanted<'_>) -> Option<Current> {
    let spec = match spec(pass, &wanted) {
        Ok(spec) => spec,
        Err(error) => {
            let what = kind.label();
            let message = format!("its {what} analysis cannot be started: {error}");
            let again = pass.in_seconds(crate::decide::INVALID_RETRY);
            let why = Why::new(Reason::InvalidSpec, pass.ctx.me(), message);
            pass.wait(why.again(again));
            return None;
        }
    };
    let hash = pass.new_hash().to_owned();
    let revision = pass.revision();
    let base = format!("{}-{hash}-{revision}{}", pass.ctx.name(), kind.suffix());
    let mut number = 0_u32;
    let name = loop {
        let name = if number == 0 {
            base.clone()
        } else {
            format!("{base}.{number}")
        };
        number = number.saturating_add(1);
        match find(pass.ctx, &name) {
            Some(run) if takes_up(run, &spec) => {
                pass.view.spare(&name);
                return Some(judge(pass, kind, run));
            }
            Some(_) => {}
            None if pass.ctx.seen.taken_names.contains(&name) => {}
            None => break name,
        }
    };
    let run = AnalysisRun {
        metadata: run_metadata(pass, kind, &name, &hash, &revision, wanted.metadata),
        spec,
        status: None,
    };
    let object = format!("AnalysisRun/{name}");
    pass.view.touched.insert(name.clone());
    pass.view.act(Action::CreateAnalysisRun(Box::new(run)));
    pass.moved = true;
    pass.wait(Why::new(
        Reason::AnalysisRunning,
        object,
        "is being started",
    ));
    Some(Current {
        name,
        phase: AnalysisPhase::Unset,
        message: String::new(),
    })
}

/// Whether an existing run is the one that was to be started.
fn takes_up(run: &AnalysisRun, spec: &AnalysisRunSpec) -> bool {
    !phase_of(run).completed()
        && !run.spec.terminate
        && run.metadata.deletion_timestamp.is_none()
        && same::but_for_empties(&run.spec.metrics, &spec.metrics)
        && run.spec.dry_run == spec.dry_run
        && run.spec.measurement_retention == spec.measurement_retention
        && run.spec.args == spec.args
}

fn spec(pass: &Pass<'_, '_>, wanted: &Wanted<'_>) -> Result<AnalysisRunSpec, String> {
    let store = &pass.ctx.seen.references.templates;
    let named = templates::collect(wanted.templates, store).map_err(|e| e.to_string())?;
    let specs: Vec<_> = named.iter().map(|template| template.spec).collect();
    let args = arguments(pass, wanted.args)?;
    let caller = Caller {
        args: &args,
        dry_run: wanted.dry_run,
        measurement_retention: wanted.retention,
    };
    templates::merge(&specs, caller).map_err(|e| e.to_string())
}

/// Arguments with their values: hash, field, then the text as written (ANA-29).
pub(crate) fn arguments(
    pass: &Pass<'_, '_>,
    args: &[AnalysisRunArgument],
) -> Result<Vec<Argument>, String> {
    args.iter()
        .map(|arg| {
            let from = arg.value_from.as_ref();
            let hash = from.and_then(|from| from.pod_template_hash_value.as_deref());
            let field = from.and_then(|from| from.field_ref.as_ref());
            let value = match (hash, field) {
                (Some("Stable"), _) => pass
                    .stable_set()
                    .map(|set| set.hash.clone())
                    .unwrap_or_default(),
                (Some(_), _) => pass.new_hash().to_owned(),
                (None, Some(field)) => field_path::resolve(pass.ctx.rollout, &field.field_path)
                    .map_err(|error| error.to_string())?,
                (None, None) => arg.value.clone(),
            };
            Ok(Argument {
                name: arg.name.clone(),
                value: Some(value),
                value_from: None,
            })
        })
        .collect()
}

/// ANA-44
fn run_metadata(
    pass: &Pass<'_, '_>,
    kind: Kind,
    name: &str,
    hash: &str,
    revision: &str,
    added: Option<&PodTemplateMetadata>,
) -> ObjectMeta {
    let mut labels = BTreeMap::from([
        (keys::POD_TEMPLATE_HASH.to_owned(), hash.to_owned()),
        (keys::ROLLOUT_TYPE.to_owned(), kind.label().to_owned()),
    ]);
    if let Kind::Step(index) = kind {
        labels.insert(keys::STEP_INDEX.to_owned(), index.to_string());
    }
    labels.extend(instance_label(pass.ctx));
    let mut annotations = BTreeMap::from([(keys::REVISION.to_owned(), revision.to_owned())]);
    if let Some(added) = added {
        labels.extend(added.labels.clone());
        annotations.extend(added.annotations.clone());
    }
    labels.extend(pass.ctx.selector.match_labels.clone());
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(pass.ctx.namespace().to_owned()),
        labels: Some(labels),
        annotations: Some(annotations),
        owner_references: Some(vec![revision::owner(pass.ctx)]),
        ..ObjectMeta::default()
    }
}

/// The instance label of the Rollout, which its children inherit.
pub(crate) fn instance_label(ctx: &Context<'_>) -> Option<(String, String)> {
    let labels = ctx.rollout.metadata.labels.as_ref()?;
    let (key, value) = labels.get_key_value(keys::INSTANCE_ID)?;
    Some((key.clone(), value.clone()))
}

/// Tells about a phase that status does not record yet (ANA-91).
fn tell(pass: &mut Pass<'_, '_>, kind: Kind, run: Option<&Current>) {
    let Some(run) = run.filter(|run| run.phase != AnalysisPhase::Unset) else {
        return;
    };
    let previous = match kind.stored(pass.read()) {
        None => "NoPreviousStatus".to_owned(),
        Some(stored) if stored.name == run.name && stored.status != run.phase => {
            stored.status.to_string()
        }
        Some(_) => return,
    };
    let text = format!(
        "{} Analysis Run '{}' Status New: '{}' Previous: '{previous}'",
        kind.label(),
        run.name,
        run.phase
    );
    let reason = format!("AnalysisRun{}", run.phase);
    let bad = matches!(run.phase, AnalysisPhase::Failed | AnalysisPhase::Error);
    let event = if bad {
        Event::warning(reason, text)
    } else {
        Event::normal(reason, text)
    };
    pass.view.tell(event);
}

/// Stops every run that is not wanted any more (ANA-35).
fn cancel_all_but(pass: &mut Pass<'_, '_>, current: &[String]) {
    for run in &pass.ctx.seen.analysis_runs {
        let name = run.metadata.name.clone().unwrap_or_default();
        let over = phase_of(run).completed() || run.spec.terminate;
        if over || current.contains(&name) || !pass.view.touched.insert(name.clone()) {
            continue;
        }
        pass.view.act(Action::TerminateAnalysisRun { name });
    }
}

/// Deletes runs without a living ReplicaSet, and finished ones beyond the limits (ANA-45).
fn collect_garbage(pass: &mut Pass<'_, '_>, current: &[String]) {
    let children = pass.ctx.seen.analysis_runs.iter().map(|run| Child {
        meta: &run.metadata,
        phase: phase_of(run),
    });
    let children: Vec<_> = children.collect();
    for name in history::surplus(pass, children, current) {
        pass.view.touched.insert(format!("delete {name}"));
        pass.view.act(Action::DeleteAnalysisRun { name });
    }
}
