//! Phase and conditions of an Experiment (EXP-15..17, API-64).

use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::experiment::{TemplateStatus, TemplateStatusCode};

use super::{Pass, is_bad, required_done};
use crate::analysis_run::assess::is_worse;
use crate::conditions::{self, kind, reason, status};

use AnalysisPhase::{Error, Failed, Pending, Running, Successful};

/// What templates, or analyses, come to.
struct Side {
    phase: AnalysisPhase,
    message: String,
}

impl Pass<'_> {
    /// Sets phase, message, `availableAt` and conditions.
    pub(crate) fn verdict(&mut self) {
        match self.status.phase {
            AnalysisPhase::Unset => self.set_phase(Pending),
            Pending | Running => self.judge(),
            // Final; what follows only cleans up (EXP-16).
            Successful | Failed | Error | AnalysisPhase::Inconclusive | AnalysisPhase::Other(_) => {
            }
        }
        self.condition();
    }

    fn judge(&mut self) {
        let templates = self.worst_template();
        let analyses = self.worst_analysis();
        if templates.phase == Running && self.status.available_at.is_none() {
            self.status.available_at = Some(self.now.into());
        }
        let required_done = required_done(self.experiment, &self.status);
        let any_required = self
            .experiment
            .spec
            .analyses
            .iter()
            .any(|a| a.required_for_completion);
        let verdict = if templates.phase.completed() {
            let measured = analyses.phase.completed() || any_required;
            if templates.phase == Successful && measured {
                analyses
            } else {
                templates
            }
        } else if is_bad(&analyses.phase) || required_done {
            analyses
        } else {
            templates
        };
        self.status.message = verdict.message;
        self.set_phase(verdict.phase);
    }

    fn worst_template(&self) -> Side {
        let rank = |code: &TemplateStatusCode| match code {
            TemplateStatusCode::Successful => 0,
            TemplateStatusCode::Running => 1,
            TemplateStatusCode::Progressing
            | TemplateStatusCode::Unset
            | TemplateStatusCode::Other(_) => 2,
            TemplateStatusCode::Error => 3,
            TemplateStatusCode::Failed => 4,
        };
        let unknown = TemplateStatus::default();
        let statuses = self.experiment.spec.templates.iter().map(|template| {
            let found = self
                .status
                .template_statuses
                .iter()
                .find(|s| s.name == template.name);
            found.unwrap_or(&unknown)
        });
        // The first of the worst tells why.
        let worst = statuses.reduce(|worst, next| {
            if rank(&next.status) > rank(&worst.status) {
                next
            } else {
                worst
            }
        });
        let Some(worst) = worst else {
            return Side {
                phase: Successful,
                message: String::new(),
            };
        };
        let phase = match worst.status {
            TemplateStatusCode::Successful => Successful,
            TemplateStatusCode::Running => Running,
            TemplateStatusCode::Error => Error,
            TemplateStatusCode::Failed => Failed,
            TemplateStatusCode::Progressing
            | TemplateStatusCode::Unset
            | TemplateStatusCode::Other(_) => Pending,
        };
        Side {
            phase,
            message: worst.message.clone(),
        }
    }

    /// Once everything that is required has succeeded, what is not required is not waited for
    /// (ASE-22).
    fn worst_analysis(&self) -> Side {
        let mut worst = Side {
            phase: Successful,
            message: String::new(),
        };
        for analysis in &self.experiment.spec.analyses {
            let run = self
                .status
                .analysis_runs
                .iter()
                .find(|run| run.name == analysis.name);
            match run {
                Some(run) if is_worse(&worst.phase, &run.phase) => {
                    worst = Side {
                        phase: run.phase.clone(),
                        message: run.message.clone(),
                    };
                }
                // Not started yet: unfinished where it is required.
                None if analysis.required_for_completion && worst.phase == Successful => {
                    worst.phase = Running;
                }
                Some(_) | None => {}
            }
        }
        if worst.phase == Pending {
            worst.phase = Running;
        }
        let unfinished = !worst.phase.completed();
        if required_done(self.experiment, &self.status) && (worst.phase == Successful || unfinished)
        {
            let message = "Required AnalysisRuns completed".to_owned();
            return Side {
                phase: Successful,
                message,
            };
        }
        worst
    }

    /// The condition `Progressing` (API-64). One that failed does not progress (ASE-24).
    fn condition(&mut self) {
        let name = self.name;
        let condition =
            |is, reason, message| conditions::new(kind::PROGRESSING, is, reason, message, self.now);
        let counters = |status: &TemplateStatus| {
            [
                status.replicas,
                status.updated_replicas,
                status.ready_replicas,
                status.available_replicas,
            ]
        };
        let moved = self.status.template_statuses.len() > self.stored.template_statuses.len()
            || self.status.template_statuses.iter().any(|status| {
                let before = self
                    .stored
                    .template_statuses
                    .iter()
                    .find(|s| s.name == status.name);
                before.is_none_or(|before| counters(before) != counters(status))
            });
        let next = if self.status.phase == Successful {
            let message = format!("Experiment \"{name}\" has successfully ran and completed.");
            condition(status::FALSE, "ExperimentCompleted", message)
        } else if self.status.phase.completed() {
            let phase = &self.status.phase;
            condition(
                status::FALSE,
                "ExperimentFailed",
                format!("Experiment \"{name}\" ended: {phase}."),
            )
        } else if moved {
            let message = format!("Experiment \"{name}\" is progressing.");
            let next = condition(status::TRUE, reason::UPDATED, message);
            conditions::renew(&mut self.status.conditions, next);
            return;
        } else if self.status.available_at.is_some() && !self.duration_passed() {
            let message = format!("Experiment \"{name}\" is running.");
            condition(status::TRUE, reason::NEW_RS_AVAILABLE, message)
        } else {
            return;
        };
        conditions::set(&mut self.status.conditions, next);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use sluice_crds::Experiment;
    use sluice_crds::replica_set::ReplicaSetStatus;

    use crate::event::EventType;
    use crate::experiment::{ObservedExperiment, decide_experiment, objects};
    use crate::testing::at;

    fn experiment() -> Experiment {
        serde_json::from_value(json!({
            "metadata": { "name": "ab", "namespace": "shop", "uid": "u1" },
            "spec": { "duration": "1m", "templates": [{
                "name": "a",
                "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": { "containers": [{ "name": "web", "image": "web:v1" }] },
                },
            }] },
        }))
        .unwrap()
    }

    /// API-69: a ReplicaSet that cannot be made, or sized, is told once, as a warning.
    #[test]
    fn refused_replica_sets_are_told() {
        let told = |seen: &mut ObservedExperiment| {
            let plan = decide_experiment(seen, at(0));
            let mut next = (*seen.experiment).clone();
            next.status = plan.status.map(|status| *status).or(next.status);
            seen.experiment = Arc::new(next);
            let warnings = plan.events.iter().filter(|e| e.kind == EventType::Warning);
            let texts = warnings.map(|e| format!("{}: {}", e.reason, e.message));
            texts.collect::<Vec<_>>()
        };
        let mut seen = ObservedExperiment {
            experiment: Arc::new(experiment()),
            ..ObservedExperiment::default()
        };
        seen.refused
            .insert("ReplicaSet/ab-a".to_owned(), "quota".to_owned());
        let made = told(&mut seen);
        assert_eq!(
            made[0],
            "ReplicaSetCreateError: Failed to create new replica set \"ab-a\": quota"
        );
        assert!(made[1].starts_with("TemplateError: "), "{made:?}");
        told(&mut seen);
        assert_eq!(told(&mut seen), Vec::<String>::new(), "once");

        let set = objects::replica_set(&experiment(), &experiment().spec.templates[0], None);
        seen.experiment = Arc::new(experiment());
        seen.replica_sets = vec![Arc::new(set)];
        let sized = told(&mut seen);
        assert_eq!(
            sized[0],
            "ReplicaSetUpdateError: Failed to scale ab-a up: quota"
        );
        told(&mut seen);
        assert_eq!(told(&mut seen), Vec::<String>::new(), "once");
    }

    /// API-64: what the condition of an Experiment says, from its start to its end.
    #[test]
    fn conditions_of_a_life() {
        let experiment = experiment();
        let mut set = objects::replica_set(&experiment, &experiment.spec.templates[0], None);
        set.spec.replicas = Some(1);
        let mut seen = ObservedExperiment {
            experiment: Arc::new(experiment),
            ..ObservedExperiment::default()
        };
        let mut told = Vec::new();
        let mut pass = |seen: &mut ObservedExperiment, second| {
            let plan = decide_experiment(seen, at(second));
            let mut next = (*seen.experiment).clone();
            if let Some(status) = plan.status {
                next.status = Some(*status);
            }
            let conditions = next.status.clone().unwrap_or_default().conditions;
            seen.experiment = Arc::new(next);
            let texts = conditions.iter().map(|c| {
                let since = c.last_transition_time.timestamp().duration_since(at(0));
                format!(
                    "{} {} {}: {} ({} s)",
                    c.r#type,
                    c.status,
                    c.reason,
                    c.message,
                    since.as_secs()
                )
            });
            told.push(texts.collect::<Vec<_>>().join(", "));
        };
        pass(&mut seen, 0);
        for (second, available) in [(1, 0), (2, 1), (3, 1), (4, 0), (5, 1)] {
            set.status = Some(ReplicaSetStatus {
                replicas: 1,
                ready_replicas: available,
                available_replicas: available,
                ..ReplicaSetStatus::default()
            });
            seen.replica_sets = vec![Arc::new(set.clone())];
            pass(&mut seen, second);
        }
        pass(&mut seen, 63);
        let progressing =
            "Progressing True ReplicaSetUpdated: Experiment \"ab\" is progressing. (0 s)";
        assert_eq!(
            told,
            [
                progressing,
                progressing,
                progressing,
                "Progressing True NewReplicaSetAvailable: Experiment \"ab\" is running. (0 s)",
                progressing,
                progressing,
                "Progressing False ExperimentCompleted: Experiment \"ab\" has successfully ran and \
                 completed. (63 s)",
            ]
        );
    }
}
