//! How every schedule ends: faults stop, and the Rollout has to come to rest, to obey an abort and to
//! finish once a user wants it to (INV-8, INV-10, INV-15).

use sluice_crds::hash::known_pod_template_hashes;
use sluice_crds::rollout::RolloutPhase;

use super::op::{Lag, Op, Router, Verb};
use super::shape::{self, Kind};
use super::stage::{Stage, Wrong};
use crate::replicas::Fences;

/// Longest time until a Rollout rests, in seconds.
const LONG: i64 = 4 * 3600;
/// Seconds without a write after which it rests; longer than whatever it waits for.
const IDLE: i64 = 2 * 3600;
/// Passes that it may take for that.
const PASSES: usize = 1500;

impl Stage {
    /// The whole ending. With `abort` an abort comes first, while the new version is still broken.
    pub(super) fn end_well(&mut self, abort: bool) -> Result<(), Wrong> {
        if abort {
            self.abort_ends()?;
        }
        self.calm()?;
        self.rests("once faults stopped")?;
        self.finishes()
    }

    /// Machinery works again: caches, routers, the API server. Pods and analyses stay as they are.
    fn machinery_works(&mut self) -> Result<(), Wrong> {
        self.fault = None;
        self.cache.lag = Lag::default();
        self.world.frozen = false;
        self.plane.become_so(Router::Delay(1));
        self.hidden.clear();
        self.gone = false;
        self.due = true;
        let invalid = Op::Invalid(false);
        self.happen(&invalid)?;
        let template = Some(shape::errors_template());
        let templates = &mut self.world.references.templates.namespaced;
        templates.insert("errors".to_owned(), template);
        Ok(())
    }

    fn calm(&mut self) -> Result<(), Wrong> {
        self.tell(|_| "-- faults stop".to_owned());
        self.machinery_works()?;
        self.world.broken.clear();
        self.world.sick.clear();
        self.world.startup = self.world.startup.min(5);
        self.analyses.calm();
        self.verb(Verb::Resume);
        Ok(())
    }

    /// Whatever is wrong with the new version: an abort brings all traffic back to stable (INV-10).
    fn abort_ends(&mut self) -> Result<(), Wrong> {
        self.machinery_works()?;
        self.turn()?; // what is aborted has begun
        let status = self.world.now_status();
        if status.stable_rs.is_empty() {
            return Ok(());
        }
        let stable = self.world.set_of(&status.stable_rs);
        let image = stable.map(|set| crate::testing::world::image(&set.spec.template));
        self.world.sick.clear();
        self.world.startup = self.world.startup.min(5);
        if let Some(image) = image {
            self.world.broken.remove(&image);
        }
        self.tell(|_| "-- stable is well, and the update is aborted".to_owned());
        self.verb(Verb::Abort);
        self.rest()?;
        self.tell(|stage| format!("  {}", stage.line()));
        let status = self.world.now_status();
        let promoted = status.stable_rs == status.current_pod_hash;
        if promoted {
            return Ok(()); // at rest it is a no-op
        }
        if !status.abort {
            return Err("INV-10 the abort is forgotten".to_owned());
        }
        self.stable_serves("INV-10 after an abort")?;
        self.silent("after an abort")
    }

    /// All traffic is on enough pods of the stable version.
    fn stable_serves(&self, when: &str) -> Result<(), Wrong> {
        let status = self.world.now_status();
        let stable = &status.stable_rs;
        let spec = &self.world.rollout.spec;
        let replicas = spec.replicas();
        let wrong = |text: String| Err(format!("{when}: {text}; {}", self.line()));
        let set = self
            .world
            .set_of(stable)
            .and_then(|set| set.status.as_ref());
        let ready = set.map_or(0, |status| status.available_replicas);
        let canary = spec.canary();
        let surge = canary.and_then(|canary| canary.max_surge.as_ref());
        let down = canary.and_then(|canary| canary.max_unavailable.as_ref());
        let slack = match spec.blue_green() {
            Some(spec) => Fences::blue_green_unavailable(spec.max_unavailable.as_ref(), replicas),
            None => Fences::resolve(surge, down, replicas).unavailable,
        };
        if ready < replicas - slack {
            return wrong(format!("stable has {ready} of {replicas} pods"));
        }
        if let Some(live) = &self.plane.live
            && !matches!(self.kind, Kind::Basic | Kind::BlueGreen)
            && replicas > 0
        {
            let hash = if self.kind == Kind::Subsets {
                live.canary_hash.clone()
            } else {
                let view = self.world.services.get(&live.canary_service);
                view.map_or(String::new(), |view| view.pod_hash().to_owned())
            };
            if live.weight > 0 && hash != *stable {
                return wrong(format!("{} parts still go to {hash:?}", live.weight));
            }
            if !live.additional.is_empty() {
                return wrong("an experiment still has traffic".to_owned());
            }
        }
        let served = match (canary, spec.blue_green()) {
            (Some(canary), _) => canary.stable_service.as_str(),
            (None, Some(spec)) => spec.active_service.as_str(),
            (None, None) => "",
        };
        match self.world.services.get(served) {
            Some(view) if view.pod_hash() != stable && replicas > 0 => {
                wrong(format!("Service {served} selects {:?}", view.pod_hash()))
            }
            _ => Ok(()),
        }
    }

    /// Lets time pass until nothing is left to do.
    fn rest(&mut self) -> Result<(), Wrong> {
        let end = self.world.now + jiff::SignedDuration::from_secs(LONG);
        let bound = self.passes + PASSES;
        self.turn()?;
        let mut written = (self.world.writes, self.world.now);
        while let Some(next) = self.next_event() {
            if self.world.writes != written.0 {
                written = (self.world.writes, self.world.now);
            }
            // Looking again and again is no unrest, as long as nothing is written.
            if next > written.1 + jiff::SignedDuration::from_secs(IDLE) && self.passes <= bound {
                return Ok(());
            }
            if next > end || self.passes > bound {
                return Err(format!("INV-8 it never comes to rest: {}", self.line()));
            }
            self.world.now = next;
            self.turn()?;
        }
        Ok(())
    }

    /// It comes to rest in a state that has a name, and then writes nothing (INV-8, INV-15).
    fn rests(&mut self, when: &str) -> Result<(), Wrong> {
        self.rest()?;
        self.tell(|stage| format!("  rests: {}", stage.line()));
        let status = self.world.now_status();
        let line = self.line();
        let why = &self.plan.why;
        match status.phase {
            RolloutPhase::Healthy => {}
            RolloutPhase::Paused if why.iter().any(|why| why.command.is_some()) => {}
            RolloutPhase::Degraded if status.abort && !why.is_empty() => {}
            _ => return Err(format!("INV-15 {when} it rests in {line}, why: {why:?}")),
        }
        self.silent(when)
    }

    /// Nothing is written however often it is looked at.
    fn silent(&mut self, when: &str) -> Result<(), Wrong> {
        let before = (self.world.writes, self.world.events.len());
        for seconds in [0, 1, 900, 3600] {
            self.wait(seconds)?;
            self.due = true;
            self.turn()?;
        }
        if before == (self.world.writes, self.world.events.len()) {
            return Ok(());
        }
        let line = self.line();
        Err(format!(
            "INV-8 {when} it writes although nothing changes: {line}"
        ))
    }

    /// Whoever promotes what waits, and retries what was aborted, gets there.
    fn finishes(&mut self) -> Result<(), Wrong> {
        let rounds = self.world.rollout.spec.steps().len() + 12;
        for _ in 0..rounds {
            let status = self.world.now_status();
            if status.phase == RolloutPhase::Healthy {
                return self.finished();
            }
            let verb = if status.abort {
                Verb::Retry
            } else {
                Verb::Promote
            };
            self.tell(|_| format!("-- {verb:?}"));
            self.verb(verb);
            self.analyses.calm();
            self.rests(&format!("after {verb:?}"))?;
        }
        let line = self.line();
        Err(format!("INV-15 promoting does not end it: {line}"))
    }

    fn finished(&mut self) -> Result<(), Wrong> {
        let status = self.world.now_status();
        let spec = &self.world.rollout.spec;
        let line = self.line();
        let known = known_pod_template_hashes(self.template(), status.collision_count);
        let hash = status.stable_rs.clone();
        if status.current_pod_hash != hash || !known.contains(&hash) {
            return Err(format!(
                "FLT-24 healthy on another version than {known:?}: {line}"
            ));
        }
        self.stable_serves("INV-15 at the end")?;
        self.taken_over()?;
        let replicas = spec.replicas();
        for (name, set) in &self.world.sets {
            let size = set.spec.replicas.unwrap_or(1);
            let wanted = if set.pod_hash() == Some(&hash) {
                replicas
            } else {
                0
            };
            if size != wanted {
                return Err(format!(
                    "INV-3 at the end {name} has {size} pods, not {wanted}: {line}"
                ));
            }
        }
        Ok(())
    }
}
