//! The stage: a cluster, a controller with its cache and its memory, and a clock that jumps from one
//! event to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sluice_crds::Rollout;
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::references::ServiceFacts;

use super::cache::Cache;
use super::late::Straggler;
use super::observer::Observer;
use super::op::{Fault, Verdict};
use super::outside::{Analyses, Plane};
use super::shape::{Kind, Shape};
use crate::decide::{decide, needs_pods};
use crate::invariants::Trace;
use crate::observed::{Failure, Observed, Peak, Seen, Settings};
use crate::plan::Plan;
use crate::testing::world::World;
use crate::traffic::{Verification, Want};

/// Passes that may follow each other at one moment.
const AT_ONCE: usize = 120;

/// What is wrong: the first line names the rule.
pub(super) type Wrong = String;

/// What a process remembers between two passes.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub(super) failure: Option<Failure>,
    pub(super) taken: BTreeSet<String>,
    pub(super) peaks: BTreeMap<String, Peak>,
    pub(super) routed: Option<Want>,
    /// An answer about the Rollout was lost.
    pub(super) unsure: bool,
}

/// Everything.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) kind: Kind,
    pub(super) world: World,
    pub(super) cache: Cache,
    pub(super) memory: Memory,
    pub(super) plane: Plane,
    pub(super) analyses: Analyses,
    pub(super) observer: Observer,
    pub(super) trace: Trace,
    /// Services that are not there for the moment.
    pub(super) hidden: BTreeSet<String>,
    /// The Deployment is not there for the moment.
    pub(super) gone: bool,
    /// Whether a router can tell what is in force.
    pub(super) verifies: bool,
    /// Strangers have written something.
    pub(super) strangers: bool,
    /// A write that is still under way.
    pub(super) straggler: Option<Straggler>,
    /// What goes wrong at which write of the next plan that has any.
    pub(super) fault: Option<(usize, Fault)>,
    /// The spec's own `minReadySeconds` while an invalid one stands in its place.
    pub(super) valid: Option<i32>,
    /// The last plan.
    pub(super) plan: Plan,
    /// The controller has a reason to look.
    pub(super) due: bool,
    /// When it tries again what failed.
    pub(super) retry: Option<Timestamp>,
    /// Passes so far.
    pub(super) passes: usize,
    /// The story so far, when it is to be told.
    pub(super) log: Option<Vec<String>>,
}

impl Stage {
    pub(super) fn new(shape: &Shape, tell: bool) -> Self {
        let world = shape.world();
        let verdict = Verdict {
            phase: AnalysisPhase::Successful,
            after: 5,
        };
        Self {
            kind: shape.kind,
            cache: Cache::new(&world),
            memory: Memory::default(),
            plane: Plane::new(shape.verifies, world.now),
            analyses: Analyses::new(verdict),
            observer: Observer::default(),
            trace: Trace::default(),
            hidden: BTreeSet::new(),
            gone: false,
            strangers: false,
            verifies: shape.verifies,
            straggler: None,
            fault: None,
            valid: None,
            plan: Plan::default(),
            due: true,
            retry: None,
            passes: 0,
            log: tell.then(Vec::new),
            world,
        }
    }

    /// Adds a line to the story.
    pub(super) fn tell(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.log.is_some() {
            let seconds = self
                .world
                .now
                .duration_since(crate::testing::t0())
                .as_secs();
            let line = format!("{seconds:>6}s  {}", line(self));
            if let Some(log) = &mut self.log {
                log.push(line);
            }
        }
    }

    pub(super) fn rollout(&self) -> &Rollout {
        &self.world.rollout
    }

    /// Everything that a decision may look at now.
    pub(super) fn observe(&mut self) -> Observed {
        if self.memory.unsure {
            self.cache.read_rollout(&self.world);
            self.memory.unsure = false;
        }
        self.read_open_runs();
        let (world, cache) = (&self.world, &self.cache);
        let mut references = world.references.clone();
        let mut services = BTreeMap::new();
        for name in crate::testing::fuzz::named(&cache.rollout) {
            let view = cache.services.get(&name);
            let facts = view.map(|service| ServiceFacts {
                selector: service.selector.clone(),
                managed_by: service.managed_by.clone(),
            });
            references.services.insert(name.clone(), facts);
            let seen = view.map_or(Seen::Absent, |view| Seen::Found(view.clone()));
            services.insert(name, seen);
        }
        let pods =
            needs_pods(&cache.rollout, world.now).then(|| world.pods.values().cloned().collect());
        Observed {
            rollout: Arc::clone(&cache.rollout),
            workload: cache.referenced(),
            replica_sets: cache.sets.values().cloned().collect(),
            services,
            analysis_runs: cache.runs.values().cloned().collect(),
            experiments: cache.experiments.values().cloned().collect(),
            references,
            subset_hashes: if self.kind == Kind::Subsets {
                Seen::Found(self.plane.hashes())
            } else {
                Seen::Absent
            },
            verification: match &self.memory.routed {
                Some(want) => self.plane.verify(Some(want)),
                None => Verification::unasked(
                    (cache.rollout.status.as_ref())
                        .and_then(|status| status.canary.weights.as_ref()),
                ),
            },
            pods,
            taken_names: self.memory.taken.clone(),
            peaks: self.memory.peaks.clone(),
            failure: self.memory.failure.clone(),
            settings: Settings::default(),
        }
    }

    /// Unfinished runs that status names and the cache lacks are read live (CTL-5).
    fn read_open_runs(&mut self) {
        let Some(status) = &self.cache.rollout.status else {
            return;
        };
        let recorded = [
            &status.canary.current_step_analysis_run_status,
            &status.canary.current_background_analysis_run_status,
            &status.blue_green.pre_promotion_analysis_run_status,
            &status.blue_green.post_promotion_analysis_run_status,
        ];
        let open = recorded.into_iter().flatten();
        let open: Vec<String> = open
            .filter(|run| !run.status.completed() && !self.cache.runs.contains_key(&run.name))
            .map(|run| run.name.clone())
            .collect();
        for name in open {
            self.cache.read_run(&self.world, &name);
        }
    }

    /// The controller looks once and does what is to be done.
    pub(super) fn pass(&mut self) -> Result<(), Wrong> {
        self.passes += 1;
        self.due = false;
        self.retry = None;
        let seen = self.observe();
        let now = self.world.now;
        let plan = decide(&seen, now);
        if self.passes.is_multiple_of(16) {
            let again = decide(&seen, now);
            if format!("{plan:?}") != format!("{again:?}") {
                return Err("the same observation gave two plans".to_owned());
            }
        }
        let broken = self.trace.push(&seen, &plan, now);
        self.tell_plan(&plan, &seen);
        if !broken.is_empty() {
            let lines: Vec<String> = broken.iter().map(ToString::to_string).collect();
            return Err(lines.join("\n"));
        }
        self.observer.decided(&self.world, &self.cache, &self.plane);
        let outcome = self.carry_out(&seen, &plan);
        self.plan = plan;
        outcome
    }

    fn tell_plan(&mut self, plan: &Plan, seen: &Observed) {
        if plan.is_quiet(seen.rollout.status.as_ref()) {
            return;
        }
        self.tell(|stage| {
            let actions: Vec<String> = plan.actions.iter().map(super::tell::action).collect();
            let status = plan.status.as_deref();
            let status = status.map_or(String::new(), |next| {
                super::tell::status(seen.rollout.status.as_ref(), next)
            });
            format!("  plan: {} {status}", actions.join("; "))
                + &super::tell::stale(&stage.world, &stage.cache)
        });
    }

    /// What happens by itself at this moment.
    fn play(&mut self) -> Result<bool, Wrong> {
        let mut moved = self.plane.play(self.world.now);
        let before = self.observer.state(self);
        moved |= self.world.play();
        self.observer.shrunk(self, &before)?;
        moved |= self.analyses.play(&mut self.world);
        Ok(moved)
    }

    /// Everything that happens at this moment, the controller included.
    pub(super) fn turn(&mut self) -> Result<(), Wrong> {
        // Pods that move one by one take as many passes.
        let sets = self.world.sets.values();
        let pods: i32 = sets.map(|set| set.spec.replicas.unwrap_or(1)).sum();
        let pods = pods.max(self.world.rollout.spec.replicas());
        let bound = AT_ONCE + 4 * usize::try_from(pods).unwrap_or(0);
        for _ in 0..bound {
            let mut moved = self.play()?;
            moved |= self.arrive_late();
            let mut news = self.cache.arrive(&self.world, &self.hidden);
            news |= self.cache.arrive_workload(&self.world, self.gone);
            let now = self.world.now;
            let timed = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
            if self.due || news || timed(self.plan.wake) || timed(self.retry) {
                self.pass()?;
            } else if !moved {
                return Ok(());
            }
        }
        Err("INV-8 it does not come to rest at one moment".to_owned())
    }

    /// When something happens next.
    pub(super) fn next_event(&self) -> Option<Timestamp> {
        let now = self.world.now;
        let startup = SignedDuration::from_secs(self.world.startup);
        let pods = self.world.pods.values();
        let pods = pods
            .filter(|pod| !pod.available)
            .filter_map(|pod| Some(pod.created? + startup));
        let pods = pods.filter(|at| *at > now && !self.world.frozen).min();
        let others = [
            self.plan.wake,
            self.retry,
            self.plane.due(),
            self.analyses.due(now),
            self.straggler.as_ref().map(|late| late.at),
            pods,
        ];
        others.into_iter().flatten().filter(|at| *at > now).min()
    }

    /// Time passes until `end`.
    pub(super) fn until(&mut self, end: Timestamp) -> Result<(), Wrong> {
        self.turn()?;
        while let Some(next) = self.next_event().filter(|next| *next <= end) {
            self.world.now = next;
            self.turn()?;
        }
        self.world.now = end;
        self.turn()
    }

    pub(super) fn wait(&mut self, seconds: i64) -> Result<(), Wrong> {
        self.until(self.world.now + SignedDuration::from_secs(seconds))
    }
}
