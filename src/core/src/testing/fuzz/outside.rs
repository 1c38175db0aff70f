//! What happens without the controller of Rollouts: routers bring weights into force, AnalysisRuns
//! and Experiments come to their ends.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use sluice_crds::Experiment;
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::experiment::{ExperimentAnalysisRunStatus, TemplateStatus, TemplateStatusCode};

use super::op::{Router, Verdict};
use crate::testing::world::World;
use crate::traffic::{Additional, Verification, Want};

/// How requests are split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) canary_hash: String,
    pub(super) stable_hash: String,
    pub(super) canary_service: String,
    pub(super) stable_service: String,
    pub(super) weight: i32,
    pub(super) whole: i32,
    pub(super) additional: Vec<Additional>,
}

impl Split {
    fn take(&mut self, want: &Want) {
        if want.only_remove_managed_routes {
            return;
        }
        if !want.keep_hashes {
            self.canary_hash.clone_from(&want.canary_hash);
            self.stable_hash.clone_from(&want.stable_hash);
        }
        self.canary_service.clone_from(&want.canary_service);
        self.stable_service.clone_from(&want.stable_service);
        self.weight = want.weight;
        self.whole = want.max_weight;
        self.additional.clone_from(&want.additional);
    }
}

/// A router and its data plane.
#[derive(Clone, Debug)]
pub(super) struct Plane {
    /// Whether it can tell what is in force.
    verifies: bool,
    mode: Router,
    /// As the route objects say.
    pub(super) asked: Option<Split>,
    asked_at: Timestamp,
    /// As requests go.
    pub(super) live: Option<Split>,
}

impl Plane {
    pub(super) fn new(verifies: bool, now: Timestamp) -> Self {
        Self {
            verifies,
            mode: Router::Delay(0),
            asked: None,
            asked_at: now,
            live: None,
        }
    }

    pub(super) fn become_so(&mut self, mode: Router) {
        self.mode = mode;
    }

    pub(super) fn ask(&mut self, want: &Want, now: Timestamp) {
        let mut split = self.asked.clone().unwrap_or_default();
        split.take(want);
        if self.asked.as_ref() != Some(&split) {
            if !want.only_remove_managed_routes {
                self.asked = Some(split);
            }
            self.asked_at = now;
        }
        self.play(now);
    }

    /// The split as far as anybody can know it.
    pub(super) fn known(&self) -> Option<&Split> {
        if self.verifies {
            self.live.as_ref()
        } else {
            self.asked.as_ref()
        }
    }

    /// Whether it answers.
    pub(super) fn reachable(&self) -> bool {
        self.mode != Router::Unreachable
    }

    /// Whether what was asked for is in force.
    pub(super) fn settled(&self) -> bool {
        self.live == self.asked
    }

    /// When what was asked for comes into force.
    pub(super) fn due(&self) -> Option<Timestamp> {
        if self.live == self.asked {
            return None;
        }
        match self.mode {
            _ if !self.verifies => Some(self.asked_at),
            Router::Delay(seconds) => Some(self.asked_at + SignedDuration::from_secs(seconds)),
            Router::Stuck | Router::Unreachable => None,
        }
    }

    /// Brings into force what is due.
    pub(super) fn play(&mut self, now: Timestamp) -> bool {
        let due = self.due().is_some_and(|at| at <= now);
        if due {
            self.live.clone_from(&self.asked);
        }
        due
    }

    /// Another controller had another name for the version.
    pub(super) fn rehash(&mut self, from: &str, to: &str) {
        for split in [&mut self.asked, &mut self.live].into_iter().flatten() {
            for hash in [&mut split.canary_hash, &mut split.stable_hash] {
                if hash == from {
                    to.clone_into(hash);
                }
            }
        }
    }

    /// What it says about the last want of this controller.
    pub(super) fn verify(&self, want: Option<&Want>) -> Verification {
        match (want, self.mode) {
            (None, _) => Verification::NotSupported,
            _ if !self.verifies => Verification::NotSupported,
            // Route objects that nobody has asked for anything.
            (Some(_), Router::Delay(_) | Router::Stuck) if self.asked.is_none() => {
                Verification::NotVerified
            }
            (Some(_), Router::Unreachable) => Verification::Failed("timeout".to_owned()),
            (Some(_), Router::Delay(_) | Router::Stuck) if self.live == self.asked => {
                Verification::Verified
            }
            (Some(_), Router::Delay(_) | Router::Stuck) => Verification::NotVerified,
        }
    }

    /// Hashes in the subsets of the DestinationRule.
    pub(super) fn hashes(&self) -> BTreeSet<String> {
        let hashes = self.asked.iter();
        let hashes = hashes.flat_map(|s| [s.canary_hash.clone(), s.stable_hash.clone()]);
        hashes.filter(|hash| !hash.is_empty()).collect()
    }
}

/// How and when AnalysisRuns and Experiments end.
#[derive(Clone, Debug)]
pub(super) struct Analyses {
    pub(super) verdict: Verdict,
    ends: BTreeMap<String, (Timestamp, AnalysisPhase)>,
}

impl Analyses {
    pub(super) fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            ends: BTreeMap::new(),
        }
    }

    /// All that run, and all that are still to come, end well and soon.
    pub(super) fn calm(&mut self) {
        self.ends.clear();
        self.verdict = Verdict {
            phase: AnalysisPhase::Successful,
            after: 3,
        };
    }

    /// When the next one ends.
    pub(super) fn due(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self.ends.values();
        let ends = ends.filter(|(at, phase)| *at > now && *phase != AnalysisPhase::Running);
        ends.map(|(at, _)| *at).min()
    }

    fn end(&mut self, name: &str, now: Timestamp) -> Option<AnalysisPhase> {
        let verdict = &self.verdict;
        let (at, phase) = self.ends.entry(name.to_owned()).or_insert_with(|| {
            let at = now + SignedDuration::from_secs(verdict.after);
            (at, verdict.phase.clone())
        });
        (*at <= now && *phase != AnalysisPhase::Running).then(|| phase.clone())
    }

    /// Lets those end that are due.
    pub(super) fn play(&mut self, world: &mut World) -> bool {
        let now = world.now;
        let mut ended = Vec::new();
        for (name, run) in &world.runs {
            let phase = run.status.as_ref().map(|status| &status.phase);
            if !phase.is_some_and(AnalysisPhase::completed)
                && let Some(phase) = self.end(&format!("AnalysisRun/{name}"), now)
            {
                ended.push((name.clone(), phase));
            }
        }
        let mut changed = !ended.is_empty();
        for (name, phase) in ended {
            end_run(world, &name, phase);
        }
        let names: Vec<String> = world.experiments.keys().cloned().collect();
        for name in names {
            let end = self.end(&format!("Experiment/{name}"), now);
            let version = world.next_version();
            if let Some(experiment) = world.experiments.get_mut(&name)
                && play_experiment(experiment, end)
            {
                experiment.metadata.resource_version = Some(version);
                changed = true;
            }
        }
        changed
    }
}

/// Ends a run that has not ended yet.
pub(super) fn end_run(world: &mut World, name: &str, phase: AnalysisPhase) {
    let version = world.next_version();
    if let Some(run) = world.runs.get_mut(name) {
        let status = run.status.get_or_insert_default();
        if !status.phase.completed() {
            status.phase = phase;
            run.metadata.resource_version = Some(version);
        }
    }
}

/// Ends an Experiment that has not ended yet.
pub(super) fn end_experiment(world: &mut World, name: &str, phase: AnalysisPhase) {
    let version = world.next_version();
    if let Some(experiment) = world.experiments.get_mut(name)
        && play_experiment(experiment, Some(phase))
    {
        experiment.metadata.resource_version = Some(version);
    }
}

fn play_experiment(experiment: &mut Experiment, end: Option<AnalysisPhase>) -> bool {
    let spec = &experiment.spec;
    let status = experiment.status.get_or_insert_default();
    let before = status.clone();
    if status.template_statuses.is_empty() {
        status.template_statuses = spec
            .templates
            .iter()
            .map(|template| TemplateStatus {
                name: template.name.clone(),
                replicas: 1,
                available_replicas: 1,
                status: TemplateStatusCode::Running,
                service_name: template
                    .service
                    .as_ref()
                    .map_or_else(String::new, |_| format!("of-{}", template.name)),
                pod_template_hash: format!("hash-{}", template.name),
                ..TemplateStatus::default()
            })
            .collect();
    }
    if let Some(phase) = end.filter(|_| !status.phase.completed()) {
        let runs = spec.analyses.iter().map(|one| ExperimentAnalysisRunStatus {
            name: one.name.clone(),
            phase: phase.clone(),
            ..ExperimentAnalysisRunStatus::default()
        });
        status.analysis_runs = runs.collect();
        status.phase = phase;
    }
    if status.phase.completed() {
        for template in &mut status.template_statuses {
            template.status = TemplateStatusCode::Successful;
        }
    }
    *status != before
}
