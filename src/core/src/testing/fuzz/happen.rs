//! Making things happen.

use serde_json::{Value, json};
use sluice_crds::Rollout;
use sluice_crds::analysis::AnalysisPhase;

use super::more::More;
use super::op::{Missing, Op, Verb};
use super::outside;
use super::shape;
use super::stage::{Stage, Wrong};
use crate::commands::{self, Promotion, Undo};
use crate::plan::Action;
use crate::testing::template;
use crate::testing::world::merge;

impl Stage {
    /// Something happens, and the controller goes on as long as it has a reason to at this moment.
    pub(super) fn step(&mut self, op: &Op) -> Result<(), Wrong> {
        self.tell(|_| format!("{op:?}"));
        match op {
            Op::Wait(seconds) => self.wait(*seconds)?,
            Op::Pass => {
                self.due = true;
                self.turn()?;
            }
            Op::More(more) => {
                if let More::Fight(one, other, rounds) = **more {
                    self.fight([one, other], rounds)?;
                } else {
                    self.happen(op)?;
                    self.turn()?;
                }
            }
            Op::Next(at, fault) => self.fault = Some((*at, fault.clone())),
            _ => {
                self.happen(op)?;
                self.turn()?;
            }
        }
        self.tell(|stage| format!("  {}", stage.line()));
        Ok(())
    }

    /// Where everything stands.
    pub(super) fn line(&self) -> String {
        let world = &self.world;
        let pods = world.pods.values();
        let ready = pods.filter(|pod| pod.available).count();
        let live = self.plane.live.as_ref().map_or(String::new(), |live| {
            format!(" live {}/{}", live.weight, live.whole)
        });
        let replicas = world.rollout.spec.replicas();
        format!("{} ready {ready}/{replicas}{live}", world.line())
    }

    /// What others do, without the controller.
    pub(super) fn happen(&mut self, op: &Op) -> Result<(), Wrong> {
        self.observer.disturbed();
        self.trace.outside();
        let world = &mut self.world;
        match op {
            Op::Wait(_) | Op::Pass | Op::Next(..) => {}
            Op::Image(number) => {
                self.set_template(template("web", &shape::image(*number)));
            }
            Op::Scale(replicas) => {
                if world.rollout.spec.replicas != Some(*replicas) {
                    world.edit(|rollout| rollout.spec.replicas = Some(*replicas));
                }
            }
            Op::Strategy(seed) => {
                let strategy = shape::strategy(*seed, self.kind, &self.inlined());
                self.world.edit(|rollout| rollout.spec.strategy = strategy);
            }
            Op::Steps(seed) => {
                if self.kind != shape::Kind::BlueGreen {
                    let steps = shape::steps(*seed, self.kind, &self.inlined());
                    self.world.edit(|rollout| {
                        if let Some(canary) = &mut rollout.spec.strategy.canary {
                            canary.steps = steps;
                        }
                    });
                }
            }
            Op::Invalid(invalid) => self.spoil(*invalid),
            Op::Verb(verb) => self.verb(*verb),
            Op::Broken(number, broken) => {
                let image = shape::image(*number);
                if *broken {
                    world.broken.insert(image);
                } else {
                    world.broken.remove(&image);
                }
            }
            Op::Startup(seconds) => world.startup = *seconds,
            Op::Sick(number) => {
                if let Some(name) = pick(world.pods.keys(), *number) {
                    world.sick.insert(name);
                }
            }
            Op::Kill(number) => {
                if let Some(name) = pick(world.pods.keys(), *number) {
                    world.pods.remove(&name);
                }
            }
            Op::Cure => world.sick.clear(),
            Op::Freeze(frozen) => world.frozen = *frozen,
            Op::Lag(lag) => self.cache.lag = *lag,
            Op::Arrive => self.cache.lag = super::op::Lag::default(),
            Op::Restart => self.restart(),
            Op::Router(mode) => self.plane.become_so(*mode),
            Op::Runs(verdict) => self.analyses.verdict = verdict.clone(),
            Op::End(phase) => self.end(phase),
            Op::DeleteChild(number) => {
                let all = world.runs.keys().chain(world.experiments.keys());
                if let Some(name) = pick(all, *number) {
                    world.runs.remove(&name);
                    world.experiments.remove(&name);
                }
            }
            Op::TerminateChild(number) => {
                let all = world.runs.keys().chain(world.experiments.keys());
                if let Some(name) = pick(all, *number) {
                    // Either of the two is there.
                    let _ = world.write(&Action::TerminateAnalysisRun { name: name.clone() });
                    let _ = world.write(&Action::TerminateExperiment { name });
                }
            }
            Op::Missing(what, missing) => self.miss(*what, *missing),
            Op::More(more) => self.more(more)?,
        }
        Ok(())
    }

    fn end(&mut self, phase: &AnalysisPhase) {
        let world = &mut self.world;
        let runs: Vec<String> = world.runs.keys().cloned().collect();
        for name in runs {
            outside::end_run(world, &name, phase.clone());
        }
        let experiments: Vec<String> = world.experiments.keys().cloned().collect();
        for name in experiments {
            outside::end_experiment(world, &name, phase.clone());
        }
    }

    fn spoil(&mut self, invalid: bool) {
        match (invalid, self.valid) {
            (true, None) => {
                self.valid = Some(self.world.rollout.spec.min_ready_seconds);
                self.world
                    .edit(|rollout| rollout.spec.min_ready_seconds = -1);
            }
            (false, Some(seconds)) => {
                self.valid = None;
                self.world
                    .edit(|rollout| rollout.spec.min_ready_seconds = seconds);
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn miss(&mut self, what: Missing, missing: bool) {
        match what {
            Missing::Service(number) => {
                let name = pick(self.world.services.keys(), number);
                let Some(name) = name else { return };
                if missing {
                    self.hidden.insert(name);
                } else {
                    self.hidden.remove(&name);
                }
                self.due = true;
            }
            Missing::Template => {
                let wanted = if missing {
                    None
                } else {
                    Some(shape::errors_template())
                };
                let templates = &mut self.world.references.templates.namespaced;
                templates.insert("errors".to_owned(), wanted);
                self.due = true;
            }
        }
    }

    /// A verb of the plugin, refused or not.
    pub(super) fn verb(&mut self, verb: Verb) {
        let rollout = &self.world.rollout;
        let promotion = |full, skip_current_step| Promotion {
            full,
            skip_current_step,
            skip_all_steps: false,
        };
        let patches = match verb {
            Verb::Promote => commands::promote(rollout, promotion(false, false)),
            Verb::PromoteFull => commands::promote(rollout, promotion(true, false)),
            Verb::SkipStep => commands::promote(rollout, promotion(false, true)),
            Verb::Abort => Ok(commands::abort()),
            Verb::Retry => Ok(commands::retry()),
            Verb::Pause => Ok(commands::pause()),
            Verb::Resume => {
                if !rollout.spec.paused {
                    return;
                }
                return self.patch(&json!({ "spec": { "paused": false } }));
            }
            Verb::Undo(revision) => return self.undo(revision),
            Verb::Restart => Ok(commands::restart(self.world.now)),
        };
        if let Some(patch) = patches.ok().and_then(|patches| patches.combined()) {
            self.patch(&patch);
        }
    }

    fn undo(&mut self, revision: i64) {
        let rollout = &self.world.rollout;
        let current = self.template().value();
        let undone = commands::undo(rollout, &current, self.world.sets.values(), revision);
        if let Ok(Undo::Patch { patch, .. }) = undone {
            let template = patch.pointer("/0/value").cloned().unwrap_or_default();
            let template = serde_json::from_value(template).expect("a template");
            self.set_template(template);
        }
    }

    /// A merge patch of the Rollout; the generation follows its spec.
    fn patch(&mut self, patch: &Value) {
        let mut object = serde_json::to_value(self.rollout()).expect("JSON");
        merge(&mut object, patch);
        let mut changed: Rollout = serde_json::from_value(object).expect("a Rollout");
        self.world.rollout.status = changed.status.take();
        if changed.spec == self.world.rollout.spec {
            self.world.touch();
        } else {
            self.world.edit(|rollout| rollout.spec = changed.spec);
        }
    }
}

fn pick<'a>(all: impl Iterator<Item = &'a String>, number: u8) -> Option<String> {
    let all: Vec<&String> = all.collect();
    let index = usize::from(number).checked_rem(all.len())?;
    all.get(index).map(|name| (*name).clone())
}
