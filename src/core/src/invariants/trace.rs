//! Checks over a sequence of decisions (INV-6, INV-8, INV-14).

use std::collections::BTreeMap;

use super::facts::selector_of;
use super::{Findings, Violation, check};
use crate::observed::{Observed, Seen};
use crate::plan::{Action, Plan};

/// How often a Service, or the weight, may come back to where it was within one version.
const RETURNS: usize = 3;

/// Decisions about one Rollout, one after the other.
///
/// Feed it every decision with [`Trace::push`]; it answers what that decision breaks, alone or
/// together with those before.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    last: Option<(String, bool)>,
    version: String,
    index: Option<i32>,
    selectors: BTreeMap<String, Vec<String>>,
    weights: Vec<i32>,
}

impl Trace {
    /// Takes a decision in.
    pub fn push(&mut self, seen: &Observed, plan: &Plan) -> Vec<Violation> {
        let mut found = Findings(check(seen, plan));
        let rollout = &seen.rollout;
        let name = format!("Rollout/{}", rollout.metadata.name.as_deref().unwrap_or(""));
        let status = rollout.status.clone().unwrap_or_default();
        let generation = rollout.metadata.generation.unwrap_or(0);
        // Intents begin a new story: what comes back because of them is no flapping.
        let version = format!(
            "{generation} {} {} {} {} {}",
            status.current_pod_hash,
            status.current_step_hash,
            status.abort,
            status.promote_full,
            rollout.spec.paused,
        );
        if version != self.version {
            self.selectors.clear();
            self.weights.clear();
            self.index = None;
            self.version = version;
        }
        self.fixed_point(seen, plan, &name, &mut found);
        self.no_flapping(plan, &name, &mut found);
        if let (Some(before), Some(now)) = (self.index, status.current_step_index)
            && now < before
            && !status.abort
        {
            found.add(14, &*name, format!("went back from step {before} to {now}"));
        }
        self.index = status.current_step_index.or(self.index);
        found.0
    }

    /// INV-8: where a decision wrote nothing and nothing has changed since, so must the next.
    fn fixed_point(&mut self, seen: &Observed, plan: &Plan, name: &str, found: &mut Findings) {
        let picture = picture(seen);
        let quiet = plan.is_quiet(seen.rollout.status.as_ref());
        if let Some((before, true)) = &self.last
            && *before == picture
            && !quiet
            && plan.wake.is_none()
            && plan.events.is_empty()
            && !plan.actions.iter().any(|planned| timed(&planned.action))
        {
            found.add(8, name, "writes although nothing has changed");
        }
        self.last = Some((picture, quiet));
    }

    /// INV-8: selectors and weights do not swing within one version and one intent.
    fn no_flapping(&mut self, plan: &Plan, name: &str, found: &mut Findings) {
        for planned in &plan.actions {
            match &planned.action {
                Action::PatchService { name, patch } => {
                    let Some(hash) = selector_of(patch) else {
                        continue;
                    };
                    let history = self.selectors.entry(name.clone()).or_default();
                    history.push(hash.to_owned());
                    if history.iter().filter(|old| *old == hash).count() > RETURNS {
                        let message = format!("is moved to {hash:?} again and again");
                        found.add(8, format!("Service/{name}"), message);
                    }
                }
                Action::Route(want) if !want.only_remove_managed_routes => {
                    if self.weights.last() != Some(&want.weight) {
                        self.weights.push(want.weight);
                    }
                    let same = self
                        .weights
                        .iter()
                        .filter(|old| **old == want.weight)
                        .count();
                    if same > RETURNS {
                        let message = format!("weight {} comes back again and again", want.weight);
                        found.add(8, name, message);
                    }
                }
                _ => {}
            }
        }
    }
}

/// What passes by time alone: a deadline, an eviction.
fn timed(action: &Action) -> bool {
    matches!(
        action,
        Action::PatchReplicaSet { .. }
            | Action::EvictPod { .. }
            | Action::DeleteAnalysisRun { .. }
            | Action::DeleteExperiment { .. }
    )
}

/// Everything that was seen, by versions.
fn picture(seen: &Observed) -> String {
    let mut parts = vec![
        format!("{:?}", seen.rollout.metadata.resource_version),
        format!(
            "{:?} {:?}",
            seen.rollout.metadata.generation, seen.rollout.status
        ),
    ];
    parts.extend(seen.replica_sets.iter().map(|set| {
        format!(
            "{:?} {:?} {:?}",
            set.metadata.name, set.metadata.resource_version, set.status
        )
    }));
    parts.extend(seen.services.iter().map(|(name, service)| match service {
        Seen::Found(view) => format!("{name} {view:?}"),
        Seen::Absent => format!("{name} absent"),
        Seen::Unread(_) => format!("{name} unread"),
    }));
    parts.extend(
        seen.analysis_runs
            .iter()
            .map(|run| format!("{:?} {:?}", run.metadata.name, run.status)),
    );
    parts.extend(
        seen.experiments
            .iter()
            .map(|e| format!("{:?} {:?}", e.metadata.name, e.status)),
    );
    parts.push(format!("{:?} {:?}", seen.verification, seen.failure));
    parts.join("\n")
}
