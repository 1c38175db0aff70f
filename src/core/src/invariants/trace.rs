//! Checks over a sequence of decisions (INV-6, INV-8, INV-14).

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sluice_crds::rollout::CanaryStep;
use sluice_crds::{AnalysisRun, Experiment, ReplicaSet};

use super::facts::selector_of;
use super::{Findings, Violation, check};
use crate::observed::Observed;
use crate::plan::{Action, Plan};

/// How often a Service, or the weight, may come back to where it was within one version.
const RETURNS: usize = 3;

/// Decisions about one Rollout, one after the other.
///
/// Feed it every decision with [`Trace::push`]; it answers what that decision breaks, alone or
/// together with those before.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    last: Option<Last>,
    version: String,
    index: Option<i32>,
    selectors: BTreeMap<String, Vec<String>>,
    weights: Vec<i32>,
}

/// The last decision, as far as the next one is measured by it.
#[derive(Clone, Debug)]
struct Last {
    seen: Observed,
    quiet: bool,
    wake: Option<Timestamp>,
}

impl Trace {
    /// Takes a decision in that was made at `now`.
    pub fn push(&mut self, seen: &Observed, plan: &Plan, now: Timestamp) -> Vec<Violation> {
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
        // With the steps changed, the index says nothing until the decision about them is made.
        let steps = rollout.spec.steps();
        if !status.current_step_hash.is_empty()
            && !sluice_crds::hash::is_step_hash(&status.current_step_hash, steps)
        {
            self.index = None;
        }
        self.fixed_point(seen, plan, now, &name, &mut found);
        self.no_flapping(plan, steps, &name, &mut found);
        if let (Some(before), Some(now)) = (self.index, status.current_step_index)
            && now < before
            && !status.abort
        {
            found.add(14, &*name, format!("went back from step {before} to {now}"));
        }
        self.index = status.current_step_index.or(self.index);
        found.0
    }

    /// Something outside happened (pods come and go, routers fail): what comes back because of it is
    /// no flapping.
    pub fn outside(&mut self) {
        self.selectors.clear();
        self.weights.clear();
        self.last = None;
    }

    /// INV-8: where a decision wrote nothing and nothing has changed since, so must the next, until
    /// the moment that the first one named.
    fn fixed_point(
        &mut self,
        seen: &Observed,
        plan: &Plan,
        now: Timestamp,
        name: &str,
        found: &mut Findings,
    ) {
        let quiet = plan.is_quiet(seen.rollout.status.as_ref());
        if let Some(last) = &self.last
            && last.quiet
            && !quiet
            && last.wake.is_none_or(|wake| now < wake)
            && same(&last.seen, seen)
        {
            found.add(8, name, "writes although nothing has changed");
        }
        self.last = Some(Last {
            seen: seen.clone(),
            quiet,
            wake: plan.wake,
        });
    }

    /// INV-8: selectors and weights do not swing within one version and one intent.
    fn no_flapping(&mut self, plan: &Plan, steps: &[CanaryStep], name: &str, found: &mut Findings) {
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
                    // Steps may ask for it as often as they like. For pods that a step sets by hand
                    // a share falls and rises again.
                    let asked = steps.iter().filter(|step| {
                        let weight = step.set_weight.map(|to| to.min(want.max_weight));
                        weight == Some(want.weight) || step.set_canary_scale.is_some()
                    });
                    if same > RETURNS + asked.count() {
                        let message = format!("weight {} comes back again and again", want.weight);
                        found.add(8, name, message);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Whether two observations show the same. Versions stand for objects that have one.
fn same(a: &Observed, b: &Observed) -> bool {
    let of_rollout = |seen: &Observed| {
        let meta = &seen.rollout.metadata;
        (meta.resource_version.clone(), meta.generation)
    };
    let sets = |(a, b): (&Arc<ReplicaSet>, &Arc<ReplicaSet>)| {
        a.metadata.name == b.metadata.name
            && a.metadata.resource_version == b.metadata.resource_version
            && a.status == b.status
    };
    let runs = |(a, b): (&Arc<AnalysisRun>, &Arc<AnalysisRun>)| {
        a.metadata.name == b.metadata.name && a.status == b.status
    };
    let experiments = |(a, b): (&Arc<Experiment>, &Arc<Experiment>)| {
        a.metadata.name == b.metadata.name && a.status == b.status
    };
    of_rollout(a) == of_rollout(b)
        && a.rollout.status == b.rollout.status
        && a.replica_sets.len() == b.replica_sets.len()
        && a.replica_sets.iter().zip(&b.replica_sets).all(sets)
        && a.services == b.services
        && a.analysis_runs.len() == b.analysis_runs.len()
        && a.analysis_runs.iter().zip(&b.analysis_runs).all(runs)
        && a.experiments.len() == b.experiments.len()
        && a.experiments.iter().zip(&b.experiments).all(experiments)
        && (&a.verification, &a.failure, &a.pods) == (&b.verification, &b.failure, &b.pods)
        && (&a.subset_hashes, &a.taken_names) == (&b.subset_hashes, &b.taken_names)
        && a.references == b.references
}
