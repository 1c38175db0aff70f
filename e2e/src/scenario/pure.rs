//! Ring 1: a scenario on decisions alone. No API server and no clock: plans are carried out on plain
//! objects, routes are rendered by the routers, pods become available after their time.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use sluice_core::commands::{self, Promotion, Undo};
use sluice_core::decide::decide;
use sluice_core::invariants;
use sluice_core::observed::{PodView, Seen};
use sluice_core::plan::{Action, Plan};
use sluice_core::testing::life::Life;
use sluice_core::testing::world::World;
use sluice_core::testing::{RolloutBuilder, rollout};
use sluice_core::traffic::Verification;
use sluice_crds::Rollout;
use sluice_trafficrouters::{Config, Found, ObjectRef, WriteKind, routers_for};

use super::check::differences;
use super::format::{Expect, LosePods, PodRule, Scenario, Step, Verdict, seconds};
use super::manifest;
use super::state::{State, text};

/// Longest time that an `until` may take, in seconds.
const PATIENCE: i64 = 900;

/// Seconds of a wait in which every second is looked at.
const CLOSELY: i64 = 120;

/// Where a scenario is played in ring 1.
struct Stage {
    world: World,
    /// Route objects that the routers read and write.
    routes: BTreeMap<ObjectRef, Value>,
    /// Wants that were rendered already, and when the last one came.
    rendered: usize,
    routed_at: Timestamp,
    /// Writes after which the controller dies, once.
    crash: Option<u64>,
    /// Writes after which somebody else acts, once, and how.
    between: Option<(u64, Vec<Step>)>,
    running: bool,
    never: Vec<Expect>,
    always: Vec<Expect>,
    /// What routers answer, whatever is so.
    said: Option<Verdict>,
    verifies: bool,
    /// Seconds until routers confirm a weight.
    delay: i64,
}

/// Plays all steps.
///
/// # Errors
/// The first step that does not come true, or the first invariant that a decision breaks.
pub fn play(scenario: &Scenario, documents: &str) -> Result<()> {
    let mut stage = Stage::new(scenario, &manifest::documents(documents)?)?;
    for (index, step) in scenario.steps.iter().enumerate() {
        stage
            .take(step)
            .with_context(|| format!("step {}: {step:?}", index + 1))?;
    }
    ensure!(
        stage.between.is_none(),
        "the writes that `between` waits for never came"
    );
    Ok(())
}

fn lives(rules: &[PodRule]) -> Result<Vec<(String, Life)>> {
    let time = |text: &Option<String>| text.as_deref().map(seconds).transpose();
    let of = |rule: &PodRule| -> Result<(String, Life)> {
        let ready = time(&rule.ready_after)?.unwrap_or(0);
        let life = Life {
            ready_after: (!rule.never_ready).then_some(ready),
            unready_after: time(&rule.unready_after)?,
            crash_after: time(&rule.crash_after)?,
        };
        Ok((rule.image.clone(), life))
    };
    rules.iter().map(of).collect()
}

impl Stage {
    fn new(scenario: &Scenario, documents: &[Value]) -> Result<Self> {
        let of = |kind: &str| -> Vec<&Value> {
            documents
                .iter()
                .filter(|one| text(one, "/kind") == kind)
                .collect()
        };
        let rollouts = of("Rollout");
        let [found] = rollouts[..] else {
            bail!("one Rollout is needed")
        };
        let mut found: Rollout = serde_json::from_value(found.clone())?;
        found.metadata.namespace = Some("default".into());
        let base: RolloutBuilder = rollout(found.metadata.name.as_deref().unwrap_or_default());
        let mut world = World::new(base.with(|one| {
            found.metadata.uid.clone_from(&one.metadata.uid);
            found.metadata.generation = Some(1);
            *one = found;
        }));
        for service in of("Service") {
            let name = text(service, "/metadata/name").to_owned();
            let view = world.services.entry(name).or_default();
            let selector = service.pointer("/spec/selector");
            view.selector = serde_json::from_value(selector.cloned().unwrap_or_default())?;
        }
        for (kind, into) in [
            ("Ingress", &mut world.references.ingresses),
            ("VirtualService", &mut world.references.virtual_services),
        ] {
            for one in of(kind) {
                into.insert(text(one, "/metadata/name").to_owned(), Some(one.clone()));
            }
        }
        world.lives = lives(&scenario.pods)?;
        let mut routes = BTreeMap::new();
        for router in routers_for(&world.rollout, &Config::default())? {
            for reference in router.reads() {
                let known = documents.iter().find(|one| {
                    text(one, "/kind") == reference.kind
                        && text(one, "/metadata/name") == reference.name
                });
                if let Some(known) = known {
                    routes.insert(reference, known.clone());
                }
            }
        }
        let (routes_delay, members_delay) = scenario.data_plane.delays()?;
        Ok(Self {
            routes,
            rendered: 0,
            routed_at: world.now,
            crash: None,
            between: None,
            running: true,
            never: Vec::new(),
            always: Vec::new(),
            said: None,
            verifies: scenario.data_plane.verifies,
            delay: routes_delay.max(members_delay),
            world,
        })
    }

    fn take(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::SetImage(image) => {
                // What the node of the other rings cannot pull never becomes available here.
                if image.contains("does-not-exist") {
                    self.world.broken.insert(image.clone());
                }
                let mut object = serde_json::to_value(&self.world.rollout)?;
                commands::set_image(&mut object, "*", image)?;
                self.edit(&json!({"spec": {"template": object.pointer("/spec/template")}}))?;
            }
            Step::Patch(patch) => self.edit(patch)?,
            Step::Scale(replicas) => self.edit(&json!({"spec": {"replicas": replicas}}))?,
            Step::Promote(how) => {
                let how = Promotion {
                    full: how.full,
                    ..Promotion::default()
                };
                let patches = commands::promote(&self.world.rollout, how)?;
                self.edit(&patches.combined().unwrap_or_else(|| json!({})))?;
            }
            Step::Abort(_) => self.command(&commands::abort())?,
            Step::Retry(_) => self.command(&commands::retry())?,
            Step::Pause(_) => self.command(&commands::pause())?,
            Step::Restart(_) => self.command(&commands::restart(self.world.now))?,
            Step::Undo(revision) => self.undo(i64::try_from(*revision)?)?,
            Step::Until(expect) => self.until(expect)?,
            Step::Expect(expect) => {
                let found = differences(expect, &self.state()?);
                ensure!(
                    found.is_empty(),
                    "not so:\n  {}\n{}",
                    found.join("\n  "),
                    self.world.line()
                );
            }
            Step::Never(expect) => self.never.push(expect.clone()),
            Step::Always(expect) => self.always.push(expect.clone()),
            Step::Lift(_) => {
                self.never.clear();
                self.always.clear();
            }
            Step::Advance(time) => self.pass(seconds(time)?)?,
            Step::Quiet(time) => {
                self.pass(60)?;
                self.still(seconds(time)?)?;
            }
            Step::Still(time) => self.still(seconds(time)?)?,
            Step::CrashAfter(writes) => self.crash = Some(*writes),
            Step::Between(between) => {
                self.between = Some((between.writes, between.steps.clone()));
            }
            Step::Attempt(step) => {
                if let Err(error) = self.take(step) {
                    tracing::debug!(%error, ?step, "refused");
                }
            }
            // Decisions remember nothing: there is nothing to restart.
            Step::RestartController(_) => {}
            Step::StopController(_) => self.running = false,
            Step::StartController(_) => self.running = true,
            Step::ClockJump(time) => self.world.advance(seconds(time)?),
            Step::Pods(rules) => self.world.lives = lives(rules)?,
            Step::LosePods(which) => self.lose_pods(which)?,
            Step::Fault(fault) if fault.is_of_verification() => self.said = fault.verification,
            Step::Heal(_) => self.said = None,
            Step::Apply(_)
            | Step::Delete(_)
            | Step::Terminate(_)
            | Step::PatchObject(_)
            | Step::Refused(_)
            | Step::Fault(_) => {
                bail!("this ring has no API server");
            }
        }
        Ok(())
    }

    fn lose_pods(&mut self, which: &LosePods) -> Result<()> {
        let world = &mut self.world;
        let owners: Vec<&str> = world
            .sets
            .values()
            .filter(|set| {
                let template = set.spec.template.value();
                text(&template, "/spec/containers/0/image").contains(&which.image)
            })
            .filter_map(|set| set.metadata.uid.as_deref())
            .collect();
        let lost: Vec<String> = world
            .pods
            .values()
            .filter(|pod| owners.contains(&pod.owner.as_str()))
            .map(|pod| pod.name.clone())
            .take(which.count.unwrap_or(usize::MAX))
            .collect();
        ensure!(!lost.is_empty(), "there is no pod of {:?}", which.image);
        for name in lost {
            world.pods.remove(&name);
        }
        Ok(())
    }

    fn command(&mut self, patches: &commands::Patches) -> Result<()> {
        self.edit(&patches.combined().unwrap_or_else(|| json!({})))
    }

    /// A merge patch of the Rollout; the generation follows its spec.
    fn edit(&mut self, patch: &Value) -> Result<()> {
        let mut object = serde_json::to_value(&self.world.rollout)?;
        merge(&mut object, patch);
        let mut changed: Rollout = serde_json::from_value(object)?;
        if changed.spec == self.world.rollout.spec {
            self.world.rollout = changed;
        } else {
            // `edit` moves the generation, as the API server would.
            self.world.rollout.status = changed.status.take();
            self.world.edit(|rollout| rollout.spec = changed.spec);
        }
        Ok(())
    }

    fn undo(&mut self, revision: i64) -> Result<()> {
        let current = self.world.rollout.spec.template.value();
        let sets = self.world.sets.values();
        match commands::undo(&self.world.rollout, &current, sets, revision)? {
            Undo::Skip { .. } => Ok(()),
            Undo::Patch { patch, .. } => {
                let template = patch.pointer("/0/value").cloned().unwrap_or_default();
                let template = serde_json::from_value(template)?;
                self.world.edit(|rollout| rollout.spec.template = template);
                Ok(())
            }
        }
    }

    fn until(&mut self, expect: &Expect) -> Result<()> {
        for _ in 0..PATIENCE {
            self.turn()?;
            let found = differences(expect, &self.state()?);
            if found.is_empty() {
                return Ok(());
            }
            self.world.advance(1);
        }
        let found = differences(expect, &self.state()?);
        bail!("never so:\n  {}\n{}", found.join("\n  "), self.world.line())
    }

    /// Lets time pass; of a long time most is looked at less closely.
    fn pass(&mut self, seconds: i64) -> Result<()> {
        let mut left = seconds;
        while left > 0 {
            let step = if seconds - left < CLOSELY {
                1
            } else {
                left.min(15)
            };
            self.world.advance(step);
            self.turn()?;
            left -= step;
        }
        Ok(())
    }

    fn still(&mut self, seconds: i64) -> Result<()> {
        let before = self.world.writes;
        self.pass(seconds)?;
        let written = self.world.writes - before;
        ensure!(
            written == 0,
            "{written} writes although nothing changed\n{}",
            self.world.line()
        );
        Ok(())
    }

    /// Pods follow, then one decision is checked and carried out, or as much of it as a controller
    /// manages that is about to die.
    fn turn(&mut self) -> Result<()> {
        self.world.play();
        if self.running {
            self.decide()?;
            self.world.play();
        }
        if self.never.is_empty() && self.always.is_empty() {
            return Ok(());
        }
        let state = self.state()?;
        for expect in &self.never {
            ensure!(
                !differences(expect, &state).is_empty(),
                "what must never be so is: {expect:?}\n{}",
                self.world.line()
            );
        }
        for expect in &self.always {
            let found = differences(expect, &state);
            ensure!(
                found.is_empty(),
                "not so any more:\n  {}\n{}",
                found.join("\n  "),
                self.world.line()
            );
        }
        Ok(())
    }

    fn decide(&mut self) -> Result<()> {
        self.world.verification = self.verification();
        let seen = self.world.observe();
        let plan = decide(&seen, self.world.now);
        let broken = invariants::check(&seen, &plan);
        ensure!(
            broken.is_empty(),
            "{}",
            broken
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        );
        let quiet = plan.is_quiet(seen.rollout.status.as_ref());
        let writes = match self.crash {
            Some(writes) if !quiet => {
                self.crash = None;
                usize::try_from(writes)?
            }
            _ => usize::MAX,
        };
        match self.between.take() {
            Some((left, steps)) if !quiet => self.interrupted(&plan, left, steps)?,
            other => {
                self.between = other;
                self.world.execute(&plan, writes);
            }
        }
        self.render()
    }

    /// Carries a plan out up to a write after which others act. What is guarded by the version of the
    /// Rollout that was read then fails; the rest of the plan happens all the same.
    fn interrupted(&mut self, plan: &Plan, left: u64, steps: Vec<Step>) -> Result<()> {
        let all = plan.actions.len() + usize::from(plan.status.is_some());
        let count = usize::try_from(left)?;
        if all < count {
            self.world.execute(plan, usize::MAX);
            self.between = Some((left - u64::try_from(all)?, steps));
            return Ok(());
        }
        if all == count {
            self.world.execute(plan, usize::MAX);
        } else {
            self.world.execute(plan, count);
        }
        for step in &steps {
            self.take(step)?;
        }
        let rest = plan.actions.iter().skip(count);
        let actions = rest
            .take_while(|planned| !matches!(planned.action, Action::PatchRollout { .. }))
            .cloned()
            .collect();
        let rest = Plan {
            actions,
            ..Plan::default()
        };
        self.world.execute(&rest, usize::MAX);
        Ok(())
    }

    /// What the routers answer now.
    fn verification(&self) -> Verification {
        match self.said {
            Some(Verdict::Confirmed) => return Verification::Verified,
            Some(Verdict::Denied) => return Verification::NotVerified,
            Some(Verdict::Failed) => {
                return Verification::Failed("Throttling: Rate exceeded".into());
            }
            None if !self.verifies => return Verification::NotSupported,
            None => {}
        }
        let age = self.world.now.duration_since(self.routed_at).as_secs();
        if self.world.routes.is_empty() || age < self.delay {
            Verification::NotVerified
        } else {
            Verification::Verified
        }
    }

    /// Brings the route objects to what was wanted since the last look.
    fn render(&mut self) -> Result<()> {
        let wants: Vec<_> = self
            .world
            .routes
            .iter()
            .skip(self.rendered)
            .cloned()
            .collect();
        if !wants.is_empty() {
            self.routed_at = self.world.now;
        }
        self.rendered = self.world.routes.len();
        for want in wants {
            for router in routers_for(&self.world.rollout, &Config::default())? {
                let mut found = Found::default();
                for reference in router.reads() {
                    let seen = match self.routes.get(&reference) {
                        Some(object) => Seen::Found(object.clone()),
                        None => Seen::Absent,
                    };
                    found.0.insert(reference, seen);
                }
                for write in router.render(&want, &found)? {
                    match write.kind {
                        WriteKind::Create(object) | WriteKind::Replace(object) => {
                            self.routes.insert(write.object, object);
                        }
                        WriteKind::Patch { patch, .. } => {
                            merge(self.routes.entry(write.object).or_default(), &patch);
                        }
                        WriteKind::Delete { .. } => {
                            self.routes.remove(&write.object);
                        }
                    }
                    self.world.events.extend(write.before);
                    self.world.events.extend(write.after);
                }
            }
        }
        Ok(())
    }

    fn state(&self) -> Result<State> {
        let world = &self.world;
        let routes = |kind: &str| -> BTreeMap<String, Value> {
            self.routes
                .iter()
                .filter(|(reference, _)| reference.kind == kind)
                .map(|(reference, object)| (reference.name.clone(), object.clone()))
                .collect()
        };
        let replica_sets: Vec<Value> = world
            .sets
            .values()
            .map(serde_json::to_value)
            .collect::<Result<_, _>>()?;
        let mut others: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (reference, object) in &self.routes {
            let all = others.entry(reference.kind.clone()).or_default();
            all.push(object.clone());
        }
        others.insert("ReplicaSet".to_owned(), replica_sets.clone());
        others.insert("Pod".to_owned(), world.pods.values().map(pod).collect());
        Ok(State {
            rollout: serde_json::to_value(&world.rollout)?,
            replica_sets,
            told: world
                .events
                .iter()
                .map(|event| (event.message.clone(), 1))
                .collect(),
            others,
            services: world
                .services
                .iter()
                .map(|(name, view)| (name.clone(), json!({"spec": {"selector": view.selector}})))
                .collect(),
            virtual_services: routes("VirtualService"),
            ingresses: routes("Ingress"),
            event_reasons: world
                .events
                .iter()
                .map(|event| event.reason.clone())
                .collect(),
            ..State::default()
        })
    }
}

/// A pod as expectations look at it.
fn pod(view: &PodView) -> Value {
    let ready = if view.available { "True" } else { "False" };
    json!({
        "metadata": {"name": view.name, "labels": view.labels},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    })
}

/// RFC 7386.
fn merge(object: &mut Value, patch: &Value) {
    json_patch::merge(object, patch);
}
