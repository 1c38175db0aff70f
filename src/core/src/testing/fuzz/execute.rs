//! Carrying a plan out as the controller does: write by write, stopping at the first that does not
//! succeed, the status last.

use jiff::SignedDuration;

use super::late::Write;
use super::op::Fault;
use super::stage::{Stage, Wrong};
use crate::observed::peak;
use crate::observed::{FailedWrite, Failure, Observed};
use crate::plan::{Action, Plan};
use crate::testing::world::Refusal;

/// Why a pass ended before its plan did.
pub(super) enum Stop {
    /// Something was written by somebody else meanwhile.
    Conflict,
    Failed(FailedWrite, String, bool),
    Died,
    Wrong(Wrong),
}

/// Seconds until what failed is tried again.
const RETRY: i64 = 1;

impl Stage {
    pub(super) fn carry_out(&mut self, seen: &Observed, plan: &Plan) -> Result<(), Wrong> {
        let had_failed = seen.failure.is_some();
        let writes_before = self.world.writes;
        let quiet = plan.is_quiet(seen.rollout.status.as_ref());
        let fault = if quiet { None } else { self.fault.take() };
        let disturbed = fault.is_some();
        let outcome = self.run_plan(seen, plan, fault);
        if self.world.writes != writes_before {
            self.due = true;
        }
        match outcome {
            Ok(()) => {
                if had_failed {
                    self.memory.failure = None;
                }
                self.memory.peaks = peak::with(&seen.peaks, &seen.replica_sets);
                Ok(())
            }
            Err(Stop::Conflict) => {
                self.due = true;
                let lag = self.cache.lag;
                let fresh = !lag.rollout && !lag.sets && !lag.services && !lag.children;
                if fresh && !disturbed && self.observer.quiet() {
                    return Err("INV-6 a conflict although nobody else wrote".to_owned());
                }
                Ok(())
            }
            Err(Stop::Failed(what, object, unsure)) => {
                self.memory.failure = Some(Failure {
                    what,
                    object,
                    message: "etcdserver: request timed out".to_owned(),
                });
                self.memory.unsure |= unsure;
                self.retry = Some(self.world.now + SignedDuration::from_secs(RETRY));
                Ok(())
            }
            Err(Stop::Died) => {
                self.restart();
                Ok(())
            }
            Err(Stop::Wrong(wrong)) => Err(wrong),
        }
    }

    /// A new process: nothing is remembered, everything is read.
    pub(super) fn restart(&mut self) {
        self.memory = super::stage::Memory::default();
        self.cache.lag = super::op::Lag::default();
        self.cache.arrive(&self.world, &self.hidden);
        self.cache.arrive_workload(&self.world, self.gone);
        self.plan.wake = None;
        self.retry = None;
        self.due = true;
    }

    fn run_plan(
        &mut self,
        seen: &Observed,
        plan: &Plan,
        fault: Option<(usize, Fault)>,
    ) -> Result<(), Stop> {
        // What the decision holds for, own writes of this pass included.
        let mut version = seen.rollout.metadata.resource_version.clone();
        let count = plan.actions.len() + usize::from(plan.status.is_some());
        let at = |index: usize| fault.as_ref().filter(|(at, _)| at % count.max(1) == index);
        for (index, planned) in plan.actions.iter().enumerate() {
            if let Some((_, Fault::Late(seconds))) = at(index) {
                return Err(self.lose_lease(*seconds, Write::Of(planned.action.clone(), version)));
            }
            let lost = self.disturb(at(index).map(|(_, fault)| fault), &planned.action)?;
            self.one(&planned.action, &mut version)?;
            self.world.events.extend(planned.events.iter().cloned());
            if lost {
                return Err(self.failed(&planned.action, true));
            }
        }
        if let Some(next) = plan.status.as_deref() {
            let nothing = Action::PatchRollout {
                patch: serde_json::Value::Null,
            };
            if let Some((_, Fault::Late(seconds))) = at(plan.actions.len()) {
                let write = Write::Status(Box::new(next.clone()), version);
                return Err(self.lose_lease(*seconds, write));
            }
            let lost = self.disturb(at(plan.actions.len()).map(|(_, fault)| fault), &nothing)?;
            self.guard_rollout(version.as_ref())?;
            self.world.status(|status| status.clone_from(next));
            self.world.writes += 1;
            if lost {
                return Err(self.failed(&nothing, true));
            }
            self.cache.read_rollout(&self.world);
        }
        self.world.events.extend(plan.events.iter().cloned());
        Ok(())
    }

    /// What goes wrong at this write. Answers whether its answer is going to be lost.
    fn disturb(&mut self, fault: Option<&Fault>, action: &Action) -> Result<bool, Stop> {
        let Some(fault) = fault else {
            return Ok(false);
        };
        self.tell(|_| format!("  at this write: {fault:?}"));
        self.trace.outside(); // what has to be done again is no flapping
        match fault {
            Fault::Crash | Fault::Late(_) => return Err(Stop::Died),
            Fault::Refused => return Err(self.failed(action, false)),
            Fault::Lost => return Ok(true),
            Fault::Conflict => {
                let version = self.world.next_version();
                match action {
                    Action::PatchReplicaSet { name, .. } => {
                        if let Some(set) = self.world.sets.get_mut(name) {
                            set.metadata.resource_version = Some(version);
                        }
                    }
                    _ => self.world.touch(),
                }
            }
            Fault::First(op) => self.happen(op).map_err(Stop::Wrong)?,
        }
        Ok(false)
    }

    fn failed(&self, action: &Action, unsure: bool) -> Stop {
        let what = match action {
            Action::CreateReplicaSet(_) => FailedWrite::CreateReplicaSet,
            Action::Route(_) => FailedWrite::Route,
            _ => FailedWrite::Other,
        };
        Stop::Failed(what, super::tell::object(action), unsure)
    }

    fn guard_rollout(&mut self, version: Option<&String>) -> Result<(), Stop> {
        if self.world.rollout.metadata.resource_version.as_ref() == version {
            return Ok(());
        }
        self.cache.read_rollout(&self.world);
        Err(Stop::Conflict)
    }

    /// One write, and what the cache learns by it.
    fn one(&mut self, action: &Action, version: &mut Option<String>) -> Result<(), Stop> {
        if matches!(action, Action::PatchRollout { .. }) {
            self.guard_rollout(version.as_ref())?;
        }
        let before = self.observer.state(self);
        if let Action::PatchService { name, .. } = action
            && self.hidden.contains(name)
        {
            self.cache.services.remove(name);
            return Err(Stop::Conflict);
        }
        let foreign = self.foreign(action);
        self.check_workload(action).map_err(Stop::Wrong)?;
        let written = self.world.write(action);
        if foreign != self.foreign(action) {
            return Err(Stop::Wrong(format!(
                "INV-11 {} loses what strangers wrote: {foreign:?}",
                super::tell::action(&action.clone().into())
            )));
        }
        if let Action::Route(want) = action {
            self.plane.ask(want, self.world.now);
            self.memory.routed = Some((**want).clone());
        }
        self.learn(action);
        match written {
            Ok(changed) => self.world.writes += usize::from(changed),
            Err(Refusal::Missing) => {
                return match action {
                    Action::TerminateAnalysisRun { .. } | Action::TerminateExperiment { .. } => {
                        Ok(())
                    }
                    _ => Err(Stop::Conflict),
                };
            }
            Err(Refusal::Conflict | Refusal::Taken) => return Err(Stop::Conflict),
        }
        if matches!(action, Action::PatchRollout { .. }) {
            version.clone_from(&self.world.rollout.metadata.resource_version);
        }
        self.observer
            .acted(self, action, &before)
            .map_err(Stop::Wrong)
    }

    /// The answer of the API server is what the cache shows from now on.
    fn learn(&mut self, action: &Action) {
        let (cache, world) = (&mut self.cache, &self.world);
        match action {
            Action::PatchRollout { .. } => {
                cache.read_rollout(world);
            }
            Action::CreateReplicaSet(set) => {
                cache.read_set(world, set.metadata.name.as_deref().unwrap_or_default());
            }
            Action::AdoptReplicaSet { name, .. }
            | Action::ReleaseReplicaSet { name, .. }
            | Action::PatchReplicaSet { name, .. }
            | Action::DeleteReplicaSet { name } => cache.read_set(world, name),
            Action::PatchService { name, .. } => cache.read_service(world, name),
            Action::CreateAnalysisRun(run) => {
                cache.read_run(world, run.metadata.name.as_deref().unwrap_or_default());
            }
            Action::TerminateAnalysisRun { name } | Action::DeleteAnalysisRun { name } => {
                cache.read_run(world, name);
            }
            Action::CreateExperiment(one) => {
                cache.read_experiment(world, one.metadata.name.as_deref().unwrap_or_default());
            }
            Action::TerminateExperiment { name } | Action::DeleteExperiment { name } => {
                cache.read_experiment(world, name);
            }
            Action::ScaleWorkload { .. } => {
                cache.read_workload(world, self.gone);
            }
            Action::Route(_) | Action::PatchPod { .. } | Action::EvictPod { .. } => {}
        }
    }
}
