//! Experiment steps (EXP-19..25).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::pause;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::experiment::{
    ExperimentAnalysisTemplateRef, ExperimentSpec, TemplateSpec, TemplateStatusCode,
};
use sluice_crds::rollout::{PauseReason, RolloutExperimentStep, RolloutExperimentTemplate};
use sluice_crds::{Experiment, keys};

use crate::analysis;
use crate::analysis_run::RUN_TERMINATED;
use crate::decide::context::Context;
use crate::decide::pass::Pass;
use crate::decide::view::Set;
use crate::event::Event;
use crate::history::{self, Child};
use crate::metadata;
use crate::plan::Action;
use crate::revision;
use crate::step::Step;
use crate::traffic::Additional;
use crate::why::{Reason, Why};

fn find<'a>(ctx: &Context<'a>, name: &str) -> Option<&'a Arc<Experiment>> {
    let all = &ctx.seen.experiments;
    all.iter()
        .find(|experiment| experiment.metadata.name.as_deref() == Some(name))
}

fn phase_of(experiment: &Experiment) -> AnalysisPhase {
    experiment
        .status
        .as_ref()
        .map(|status| status.phase.clone())
        .unwrap_or_default()
}

/// The phase as far as the step may rely on it: analyses that were cut off prove nothing (INV-9).
fn verdict(experiment: &Experiment) -> AnalysisPhase {
    let phase = phase_of(experiment);
    let measured = |analysis: &ExperimentAnalysisTemplateRef| {
        let mut runs = experiment
            .status
            .iter()
            .flat_map(|status| &status.analysis_runs);
        runs.any(|run| {
            run.name == analysis.name
                && run.phase == AnalysisPhase::Successful
                && run.message != RUN_TERMINATED
        })
    };
    // What is not required is cut off when the Experiment ends; that is no verdict on it.
    let cut_off = experiment.spec.analyses.iter().any(|analysis| {
        (experiment.spec.terminate || analysis.required_for_completion) && !measured(analysis)
    });
    if phase == AnalysisPhase::Successful && cut_off {
        AnalysisPhase::Inconclusive
    } else {
        phase
    }
}

fn current<'a>(pass: &Pass<'_, 'a>) -> Option<&'a Arc<Experiment>> {
    let name = &pass.read().canary.current_experiment;
    if name.is_empty() {
        None
    } else {
        find(pass.ctx, name)
    }
}

/// Name of the first Experiment of a step (EXP-19).
fn base_name(pass: &Pass<'_, '_>, index: i32) -> String {
    let (hash, revision) = (pass.new_hash(), pass.revision());
    format!("{}-{hash}-{revision}-{index}", pass.ctx.name())
}

/// Whether an Experiment belongs to the step at `index`, rather than to one that was skipped while
/// it ran (INV-14).
fn of_step(pass: &Pass<'_, '_>, experiment: &Experiment, index: i32) -> bool {
    let name = experiment.metadata.name.as_deref().unwrap_or("");
    name.strip_prefix(&base_name(pass, index))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Pass (i): starts, judges and stops Experiments.
pub(crate) fn reconcile(pass: &mut Pass<'_, '_>) {
    let read = pass.read();
    let over = pass.aborted() || read.promote_full || pass.promoted();
    let mut kept = Vec::new();
    if over {
        stop_all_but(pass, &kept);
    } else if let Some(Step::Experiment(step)) = pass.ctx.step_at(read.current_step_index) {
        if let Some(name) = step_experiment(pass, step) {
            pass.next.canary.current_experiment.clone_from(&name);
            kept.push(name);
        }
        stop_all_but(pass, &kept);
    } else {
        stop_all_but(pass, &kept);
    }
    let children = pass
        .ctx
        .seen
        .experiments
        .iter()
        .map(|experiment| Child {
            meta: &experiment.metadata,
            phase: phase_of(experiment),
        })
        .collect();
    for name in history::surplus(pass, children, &kept) {
        pass.view.touched.insert(format!("delete {name}"));
        pass.view.act(Action::DeleteExperiment { name });
    }
}

/// The Experiment of the current step, by name.
fn step_experiment(pass: &mut Pass<'_, '_>, step: &RolloutExperimentStep) -> Option<String> {
    let index = pass.read().current_step_index.unwrap_or(0);
    let found = current(pass).filter(|experiment| of_step(pass, experiment, index));
    // While a person has to decide, the Experiment stays as it is (ASE-23).
    let undecided = [
        PauseReason::InconclusiveAnalysisRun,
        PauseReason::InconclusiveExperiment,
    ];
    if undecided.iter().any(|reason| pass.paused_for(reason)) {
        let name = pass.read().canary.current_experiment.clone();
        if pass.paused_for(&PauseReason::InconclusiveExperiment) {
            let message = "was inconclusive, a person has to decide";
            let mut why = Why::new(
                Reason::NeedsPromotion,
                format!("Experiment/{name}"),
                message,
            );
            why.since = pause::since(pass.read(), &PauseReason::InconclusiveExperiment)
                .map(|at| at.timestamp());
            pass.wait(why.command("promote"));
        }
        return (!name.is_empty()).then_some(name);
    }
    let repeat = found.is_some_and(|experiment| {
        pass.read().controller_pause && verdict(experiment) == AnalysisPhase::Inconclusive
    });
    match found.filter(|_| !repeat) {
        Some(experiment) => judge(pass, experiment),
        None => start(pass, step),
    }
}

/// EXP-21
fn judge(pass: &mut Pass<'_, '_>, experiment: &Experiment) -> Option<String> {
    let name = experiment.metadata.name.clone().unwrap_or_default();
    let object = format!("Experiment/{name}");
    match verdict(experiment) {
        AnalysisPhase::Failed | AnalysisPhase::Error => {
            let message = experiment
                .status
                .as_ref()
                .map_or("", |status| status.message.as_str());
            let colon = if message.is_empty() { "" } else { ": " };
            let cause = format!("Experiment analysis phase is error/failed{colon}{message}");
            pass.abort.get_or_insert(cause);
            return None;
        }
        AnalysisPhase::Inconclusive => {
            pass.pauses.add(PauseReason::InconclusiveExperiment);
            let message = "was inconclusive, a person has to decide";
            pass.wait(Why::new(Reason::NeedsPromotion, object, message).command("promote"));
        }
        AnalysisPhase::Successful => {}
        AnalysisPhase::Unset
        | AnalysisPhase::Pending
        | AnalysisPhase::Running
        | AnalysisPhase::Other(_) => {
            let since = experiment
                .status
                .as_ref()
                .and_then(|status| status.available_at);
            let mut why =
                Why::new(Reason::ExperimentRunning, object, "has not ended yet").command("promote");
            why.since = since.map(|at| at.timestamp());
            pass.wait(why);
        }
    }
    Some(name)
}

/// Whether the Experiment of the current step has ended well; its name is not kept then.
pub(crate) fn step_passed(pass: &mut Pass<'_, '_>) -> bool {
    let name = pass.next.canary.current_experiment.clone();
    let passed = find(pass.ctx, &name)
        .is_some_and(|experiment| verdict(experiment) == AnalysisPhase::Successful);
    if passed {
        pass.next.canary.current_experiment.clear();
    }
    passed
}

/// Starts the Experiment under the first free name, or takes up one from before a crash (EXP-19).
fn start(pass: &mut Pass<'_, '_>, step: &RolloutExperimentStep) -> Option<String> {
    let new = pass.view.new_set()?;
    let stable = pass.view.stable_set()?;
    if new.fresh {
        // The template is taken from the stored ReplicaSet, defaults included (EXP-20).
        return None;
    }
    let spec = match spec(pass, step, new, stable) {
        Ok(spec) => spec,
        Err(error) => {
            let message = format!("its experiment cannot be started: {error}");
            let again = pass.in_seconds(crate::decide::INVALID_RETRY);
            let why = Why::new(Reason::InvalidSpec, pass.ctx.me(), message);
            pass.wait(why.again(again));
            return None;
        }
    };
    let hash = new.hash.clone();
    let revision = pass.revision();
    let base = base_name(pass, pass.read().current_step_index.unwrap_or(0));
    let mut number = 0_u32;
    let name = loop {
        let name = if number == 0 {
            base.clone()
        } else {
            format!("{base}-{number}")
        };
        number = number.saturating_add(1);
        match find(pass.ctx, &name) {
            Some(experiment) if takes_up(experiment, &spec) => {
                pass.view.spare(&name);
                return judge(pass, experiment);
            }
            Some(_) => {}
            None if pass.ctx.seen.taken_names.contains(&name) => {}
            None => break name,
        }
    };
    let mut labels = pass.ctx.rollout.metadata.labels.clone().unwrap_or_default();
    labels.insert(keys::POD_TEMPLATE_HASH.to_owned(), hash);
    labels.extend(analysis::instance_label(pass.ctx));
    let experiment = Experiment {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(pass.ctx.namespace().to_owned()),
            labels: Some(labels),
            annotations: Some(BTreeMap::from([(keys::REVISION.to_owned(), revision)])),
            owner_references: Some(vec![revision::owner(pass.ctx)]),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    };
    let event = Event::normal("ExperimentCreated", format!("Created Experiment '{name}'"));
    pass.view.touched.insert(name.clone());
    pass.view
        .act_telling(Action::CreateExperiment(Box::new(experiment)), event);
    pass.moved = true;
    let why = Why::new(
        Reason::ExperimentRunning,
        format!("Experiment/{name}"),
        "is being started",
    );
    pass.wait(why);
    Some(name)
}

/// Whether an existing Experiment is the one that was to be started.
fn takes_up(experiment: &Experiment, spec: &ExperimentSpec) -> bool {
    let found = &experiment.spec;
    let same_templates = found.templates.len() == spec.templates.len()
        && found.templates.iter().zip(&spec.templates).all(|(a, b)| {
            a.template.same_as(&b.template)
                && TemplateSpec {
                    template: b.template.clone(),
                    ..a.clone()
                } == *b
        });
    !phase_of(experiment).completed()
        && !found.terminate
        && experiment.metadata.deletion_timestamp.is_none()
        && same_templates
        && ExperimentSpec {
            templates: spec.templates.clone(),
            ..found.clone()
        } == *spec
}

/// EXP-20
fn spec(
    pass: &Pass<'_, '_>,
    step: &RolloutExperimentStep,
    new: &Set,
    stable: &Set,
) -> Result<ExperimentSpec, String> {
    let templates = step
        .templates
        .iter()
        .map(|template| match template.spec_ref.as_str() {
            "canary" => Ok(template_spec(template, new)),
            "stable" => Ok(template_spec(template, stable)),
            _ => Err("Invalid template step SpecRef: must be canary or stable".to_owned()),
        });
    let analyses = step.analyses.iter().map(|reference| {
        Ok::<_, String>(ExperimentAnalysisTemplateRef {
            name: reference.name.clone(),
            template_name: reference.template_name.clone(),
            cluster_scope: reference.cluster_scope,
            args: analysis::arguments(pass, &reference.args)?,
            required_for_completion: reference.required_for_completion,
        })
    });
    Ok(ExperimentSpec {
        templates: templates.collect::<Result<_, _>>()?,
        duration: step.duration.clone(),
        progress_deadline_seconds: pass.ctx.spec().progress_deadline_seconds,
        analyses: analyses.collect::<Result<_, _>>()?,
        scale_down_delay_seconds: step.scale_down_delay_seconds,
        dry_run: step.dry_run.clone(),
        analysis_run_metadata: step.analysis_run_metadata.clone(),
        ..ExperimentSpec::default()
    })
}

fn template_spec(step: &RolloutExperimentTemplate, set: &Set) -> TemplateSpec {
    let stored = &set.object.spec;
    let mut selector = step
        .selector
        .clone()
        .unwrap_or_else(|| stored.selector.clone());
    selector.match_labels.extend(step.metadata.labels.clone());
    let template = stored.template.with(|template| {
        for (member, entries) in [
            ("labels", &step.metadata.labels),
            ("annotations", &step.metadata.annotations),
        ] {
            for (key, value) in entries {
                metadata::put(template, &["metadata", member, key], json!(value));
            }
        }
    });
    let service = step
        .service
        .clone()
        .or_else(|| step.weight.map(|_| Default::default()));
    TemplateSpec {
        name: step.name.clone(),
        replicas: step.replicas,
        min_ready_seconds: stored.min_ready_seconds,
        selector: Some(selector),
        template,
        service,
    }
}

/// Further destinations of traffic: the weighted templates of the Experiment at or before the
/// current step, while it is Running and their pods can serve (EXP-23, FLT-30).
pub(crate) fn destinations(pass: &Pass<'_, '_>) -> Vec<Additional> {
    let index = usize::try_from(pass.read().current_step_index.unwrap_or(0)).unwrap_or(0);
    let last = index.min(pass.ctx.steps.len().saturating_sub(1));
    let before = pass.ctx.steps.iter().zip(0_i32..).take(last + 1);
    let all = before.filter_map(|(step, index)| match step {
        Step::Experiment(step) => Some((*step, index)),
        Step::Pause(_)
        | Step::SetCanaryScale(_)
        | Step::SetWeight(_)
        | Step::Analysis(_)
        | Step::SetHeaderRoute(_)
        | Step::SetMirrorRoute(_)
        | Step::Plugin(_)
        | Step::Empty => None,
    });
    let nearest = all.last();
    let (Some((step, index)), Some(experiment)) = (nearest, current(pass)) else {
        return Vec::new();
    };
    if phase_of(experiment) != AnalysisPhase::Running || !of_step(pass, experiment, index) {
        return Vec::new();
    }
    let statuses = experiment
        .status
        .iter()
        .flat_map(|status| &status.template_statuses);
    statuses
        .filter(|status| {
            status.status == TemplateStatusCode::Running && status.available_replicas > 0
        })
        .filter_map(|status| {
            let template = step.templates.iter().find(|t| t.name == status.name)?;
            Some(Additional {
                weight: template.weight?,
                service: status.service_name.clone(),
                pod_hash: status.pod_template_hash.clone(),
            })
        })
        .filter(|additional| !additional.service.is_empty())
        .collect()
}

/// Stops every Experiment that is not wanted any more (EXP-22).
fn stop_all_but(pass: &mut Pass<'_, '_>, kept: &[String]) {
    for experiment in &pass.ctx.seen.experiments {
        let name = experiment.metadata.name.clone().unwrap_or_default();
        let over = phase_of(experiment).completed() || experiment.spec.terminate;
        if over || kept.contains(&name) || !pass.view.touched.insert(name.clone()) {
            continue;
        }
        pass.view.act(Action::TerminateExperiment { name });
    }
}
