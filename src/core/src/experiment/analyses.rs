//! Analyses of an Experiment (EXP-11..14).

use std::sync::Arc;

use jiff::SignedDuration;
use sluice_crds::analysis::{AnalysisPhase, AnalysisRunSpec, Argument};
use sluice_crds::experiment::{ExperimentAnalysisRunStatus, ExperimentAnalysisTemplateRef};
use sluice_crds::placeholders::{PlaceholderError, substitute};
use sluice_crds::rollout::AnalysisTemplateRef;
use sluice_crds::templates::{self, Caller};
use sluice_crds::{AnalysisRun, keys};

use super::{Pass, Write, is_bad, objects, transition};
use crate::analysis_run::rules::matching;
use crate::event::Event;
use crate::observed::Seen;
use crate::plan::Action;
use crate::same;
use crate::why::Reason;

/// Wait after a run could not be read.
const READ_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// How often another name is tried for a run.
const NAMES: usize = 100;

impl Pass<'_> {
    /// All analyses in order.
    pub(crate) fn analyses(&mut self) {
        for analysis in &self.experiment.spec.analyses {
            let stored = self
                .stored
                .analysis_runs
                .iter()
                .find(|run| run.name == analysis.name);
            let before = stored.cloned();
            let Some(after) = self.analysis(analysis, before.as_ref()) else {
                continue;
            };
            self.tell_run(before.as_ref(), &after);
            let statuses = &mut self.status.analysis_runs;
            match statuses.iter_mut().find(|status| status.name == after.name) {
                Some(status) => *status = after,
                None => statuses.push(after),
            }
        }
    }

    fn analysis(
        &mut self,
        analysis: &ExperimentAnalysisTemplateRef,
        stored: Option<&ExperimentAnalysisRunStatus>,
    ) -> Option<ExperimentAnalysisRunStatus> {
        match stored {
            Some(stored) if stored.phase.completed() => None,
            Some(stored) if !stored.analysis_run.is_empty() => self.follow(analysis, stored),
            Some(_) | None if self.status.available_at.is_none() => self.verify(analysis),
            Some(_) | None if self.terminating => None,
            Some(_) | None => Some(self.start(analysis)),
        }
    }

    /// Before anything is measured, its template has to exist (EXP-11).
    fn verify(
        &self,
        analysis: &ExperimentAnalysisTemplateRef,
    ) -> Option<ExperimentAnalysisRunStatus> {
        let store = &self.seen.templates;
        let (kind, resource, map) = if analysis.cluster_scope == Some(true) {
            (
                "ClusterAnalysisTemplate",
                "clusteranalysistemplate",
                &store.cluster,
            )
        } else {
            ("AnalysisTemplate", "analysistemplate", &store.namespaced)
        };
        let missing = matches!(map.get(&analysis.template_name), Some(None));
        missing.then(|| {
            let (name, template) = (&analysis.name, &analysis.template_name);
            failed(
                analysis,
                format!(
                    "{kind} verification failed for analysis '{name}': \
                     {resource}.argoproj.io \"{template}\" not found"
                ),
            )
        })
    }

    /// Looks after a run (EXP-13).
    fn follow(
        &mut self,
        analysis: &ExperimentAnalysisTemplateRef,
        stored: &ExperimentAnalysisRunStatus,
    ) -> Option<ExperimentAnalysisRunStatus> {
        let name = &stored.analysis_run;
        let object = format!("AnalysisRun/{name}");
        let run = match self.seen.analysis_runs.get(name) {
            Some(Seen::Found(run)) => run.clone(),
            Some(Seen::Absent) => {
                let error = format!("analysisruns.argoproj.io \"{name}\" not found");
                let phase = AnalysisPhase::Error;
                return Some(ExperimentAnalysisRunStatus {
                    phase,
                    message: error,
                    ..stored.clone()
                });
            }
            Some(Seen::Unread(error)) => {
                let until = self.now.checked_add(READ_AGAIN).ok();
                self.wait(
                    Reason::AnalysisRunning,
                    object,
                    format!("cannot be read: {error}"),
                );
                if let Some(why) = self.why.last_mut() {
                    why.until = until;
                }
                self.wakes.extend(until);
                return None;
            }
            None => {
                self.wait(
                    Reason::WriteUnconfirmed,
                    object,
                    "has not been seen yet".to_owned(),
                );
                return None;
            }
        };
        let status = run.status.clone().unwrap_or_default();
        if !status.phase.completed() {
            if self.terminating && !run.spec.terminate {
                let message = format!("Terminating {} ({name})", analysis.name);
                let write = Write::Shared(Action::TerminateAnalysisRun { name: name.clone() });
                self.act(
                    write,
                    Some(Event::normal("AnalysisRunTerminating", message)),
                );
            }
            self.wait(Reason::AnalysisRunning, object, "has not ended".to_owned());
        }
        // While terminating, too: how it ended is to be seen (ASE-22).
        let begun = status.phase != AnalysisPhase::Unset;
        let phase = if begun {
            status.phase
        } else {
            stored.phase.clone()
        };
        Some(ExperimentAnalysisRunStatus {
            phase,
            message: status.message,
            ..stored.clone()
        })
    }

    /// Starts a run, or takes one up that an interrupted pass started (EXP-12, INV-7).
    fn start(&mut self, analysis: &ExperimentAnalysisTemplateRef) -> ExperimentAnalysisRunStatus {
        let spec = match self.run_spec(analysis) {
            Ok(spec) => spec,
            Err(error) => return failed(analysis, creation_failed(analysis, &error)),
        };
        let base = format!("{}-{}", self.name, analysis.name);
        let numbered = (1..NAMES).map(|number| format!("{base}.{number}"));
        for name in std::iter::once(base.clone()).chain(numbered) {
            if let Some(Seen::Found(run)) = self.seen.analysis_runs.get(&name) {
                if takes_up(run, &spec) {
                    return pending(analysis, name);
                }
                continue;
            }
            let key = format!("AnalysisRun/{name}");
            if self.seen.taken_names.contains(&key) {
                continue;
            }
            if let Some(error) = self.seen.refused.get(&key) {
                return failed(analysis, creation_failed(analysis, error));
            }
            let run = objects::analysis_run(
                self.experiment,
                &name,
                spec,
                &self.seen.settings.instance_id,
            );
            self.act(
                Write::Shared(Action::CreateAnalysisRun(Box::new(run))),
                None,
            );
            self.wait(Reason::AnalysisRunning, key, "is being created".to_owned());
            return pending(analysis, name);
        }
        let error = format!("every name from {base} to {base}.{} is taken", NAMES - 1);
        failed(analysis, creation_failed(analysis, &error))
    }

    fn run_spec(
        &self,
        analysis: &ExperimentAnalysisTemplateRef,
    ) -> Result<AnalysisRunSpec, String> {
        let spec = &self.experiment.spec;
        let mut args = Vec::new();
        for arg in &analysis.args {
            let value = match &arg.value {
                Some(text) => Some(self.filled_in(text).map_err(|error| error.to_string())?),
                None => None,
            };
            args.push(Argument {
                name: arg.name.clone(),
                value,
                value_from: None,
            });
        }
        // A rule of the Experiment has to fit one of its runs, not each of them (ASE-21).
        let names_of = |analysis: &ExperimentAnalysisTemplateRef| self.metrics_of(analysis);
        let fits = |rule: &str| {
            let here = !matching(rule, &names_of(analysis)).is_empty();
            here || !spec
                .analyses
                .iter()
                .any(|other| !matching(rule, &names_of(other)).is_empty())
        };
        let dry_run: Vec<_> = spec
            .dry_run
            .iter()
            .filter(|rule| fits(&rule.metric_name))
            .cloned()
            .collect();
        let rules = spec.measurement_retention.iter();
        let retention: Vec<_> = rules
            .filter(|rule| fits(&rule.metric_name))
            .cloned()
            .collect();
        let caller = Caller {
            args: &args,
            dry_run: &dry_run,
            measurement_retention: &retention,
        };
        let reference = [reference_of(analysis)];
        let found = templates::collect(&reference, &self.seen.templates);
        let found = found.map_err(|error| error.to_string())?;
        let specs: Vec<_> = found.iter().map(|template| template.spec).collect();
        templates::merge(&specs, caller).map_err(|error| error.to_string())
    }

    fn metrics_of(
        &self,
        analysis: &ExperimentAnalysisTemplateRef,
    ) -> Vec<sluice_crds::analysis::Metric> {
        let reference = [reference_of(analysis)];
        let found = templates::collect(&reference, &self.seen.templates).unwrap_or_default();
        found
            .iter()
            .flat_map(|template| template.spec.metrics.clone())
            .collect()
    }

    /// Replaces what an argument may refer to (ANA-32).
    fn filled_in(&self, text: &str) -> Result<String, PlaceholderError> {
        substitute(text, |tag| {
            let unresolved = || PlaceholderError::Unresolved(tag.to_owned());
            let available = self.status.available_at;
            match tag {
                "experiment.availableAt" => available.map(|at| at.to_string()),
                "experiment.finishedAt" => self
                    .duration_end()
                    .map(|at| sluice_crds::Time::new(at).to_string()),
                _ => self.of_template(tag),
            }
            .ok_or_else(unresolved)
        })
    }

    fn of_template(&self, tag: &str) -> Option<String> {
        let (template, what) = tag
            .strip_prefix("templates.")?
            .rsplit_once(".podTemplateHash")
            .map(|(template, _)| (template, true))
            .or_else(|| {
                let rest = tag.strip_prefix("templates.")?;
                Some((rest.strip_suffix(".replicaset.name")?, false))
            })?;
        let set = self.seen.replica_sets.iter().find(|set| {
            set.annotation(keys::EXPERIMENT_NAME) == Some(self.name)
                && set.annotation(keys::EXPERIMENT_TEMPLATE) == Some(template)
        })?;
        if what {
            set.pod_hash().map(str::to_owned)
        } else {
            set.metadata.name.clone()
        }
    }

    fn tell_run(
        &mut self,
        before: Option<&ExperimentAnalysisRunStatus>,
        after: &ExperimentAnalysisRunStatus,
    ) {
        let from = before.map(|run| run.phase.clone()).unwrap_or_default();
        let (name, to) = (&after.name, &after.phase);
        if from == *to {
            return;
        }
        let mut message = format!("AnalysisRun '{name}' transitioned from {from} -> {to}");
        if !after.message.is_empty() {
            message += &format!(": {}", after.message);
        }
        let event = transition("AnalysisRun", to.as_str(), is_bad(to), message);
        let owners = self
            .experiment
            .metadata
            .owner_references
            .as_deref()
            .unwrap_or_default();
        if owners.iter().any(|owner| owner.kind == "Rollout") {
            self.owner_events.push(event.clone());
        }
        self.events.push(event);
    }
}

fn reference_of(analysis: &ExperimentAnalysisTemplateRef) -> AnalysisTemplateRef {
    AnalysisTemplateRef {
        template_name: analysis.template_name.clone(),
        cluster_scope: analysis.cluster_scope,
    }
}

/// Whether an unfinished run is the one that would be created.
fn takes_up(run: &Arc<AnalysisRun>, spec: &AnalysisRunSpec) -> bool {
    let phase = run
        .status
        .as_ref()
        .map(|status| status.phase.clone())
        .unwrap_or_default();
    let wanted = AnalysisRunSpec {
        terminate: run.spec.terminate,
        ttl_strategy: run.spec.ttl_strategy.clone(),
        ..spec.clone()
    };
    !phase.completed() && same::but_for_empties(&run.spec, &wanted)
}

fn creation_failed(analysis: &ExperimentAnalysisTemplateRef, error: &str) -> String {
    format!(
        "Failed to create AnalysisRun for analysis '{}': {error}",
        analysis.name
    )
}

fn failed(
    analysis: &ExperimentAnalysisTemplateRef,
    message: String,
) -> ExperimentAnalysisRunStatus {
    ExperimentAnalysisRunStatus {
        name: analysis.name.clone(),
        phase: AnalysisPhase::Error,
        message,
        ..ExperimentAnalysisRunStatus::default()
    }
}

fn pending(analysis: &ExperimentAnalysisTemplateRef, run: String) -> ExperimentAnalysisRunStatus {
    ExperimentAnalysisRunStatus {
        name: analysis.name.clone(),
        analysis_run: run,
        phase: AnalysisPhase::Pending,
        message: String::new(),
    }
}
