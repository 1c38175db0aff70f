//! Ring 1: a scenario on decisions alone. No API server and no clock: plans are carried out on plain
//! objects, routes are rendered by the routers, pods become available after their time.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sluice_core::commands::{self, Promotion, Undo};
use sluice_core::decide::decide;
use sluice_core::invariants;
use sluice_core::observed::Seen;
use sluice_core::testing::world::World;
use sluice_core::testing::{RolloutBuilder, rollout};
use sluice_crds::Rollout;
use sluice_trafficrouters::{Config, Found, ObjectRef, WriteKind, routers_for};

use super::check::differences;
use super::format::{Expect, Scenario, Step, seconds};
use super::manifest;
use super::state::{State, text};

/// Longest time that an `until` may take, in seconds.
const PATIENCE: i64 = 900;

/// Where a scenario is played in ring 1.
struct Stage {
    world: World,
    /// Route objects that the routers read and write.
    routes: BTreeMap<ObjectRef, Value>,
    /// Wants that were rendered already.
    rendered: usize,
    /// Writes after which the controller dies, once.
    crash: Option<u64>,
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
    Ok(())
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
            if let Some(view) = world.services.get_mut(text(service, "/metadata/name")) {
                let selector = service
                    .pointer("/spec/selector")
                    .cloned()
                    .unwrap_or_default();
                view.selector = serde_json::from_value(selector)?;
            }
        }
        for (kind, into) in [
            ("Ingress", &mut world.references.ingresses),
            ("VirtualService", &mut world.references.virtual_services),
        ] {
            for one in of(kind) {
                into.insert(text(one, "/metadata/name").to_owned(), Some(one.clone()));
            }
        }
        for rule in &scenario.pods {
            if let Some(time) = &rule.ready_after {
                world.startup = world.startup.max(seconds(time)?);
            }
        }
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
        Ok(Self {
            world,
            routes,
            rendered: 0,
            crash: None,
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
            Step::Advance(time) => self.pass(seconds(time)?)?,
            Step::Quiet(time) => {
                self.pass(60)?;
                let before = self.world.writes;
                self.pass(seconds(time)?)?;
                let written = self.world.writes - before;
                ensure!(written == 0, "{written} writes although nothing changed");
            }
            Step::CrashAfter(writes) => self.crash = Some(*writes),
            // Decisions remember nothing: there is nothing to restart.
            Step::RestartController(_) => {}
            Step::Apply(_)
            | Step::Delete(_)
            | Step::Terminate(_)
            | Step::Fault(_)
            | Step::Heal(_) => {
                bail!("this ring has no API server");
            }
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

    fn pass(&mut self, seconds: i64) -> Result<()> {
        for _ in 0..seconds {
            self.world.advance(1);
            self.turn()?;
        }
        Ok(())
    }

    /// Pods follow, then one decision is checked and carried out, or as much of it as a controller
    /// manages that is about to die.
    fn turn(&mut self) -> Result<()> {
        self.world.play();
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
        self.world.execute(&plan, writes);
        self.render()?;
        self.world.play();
        Ok(())
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
        Ok(State {
            rollout: serde_json::to_value(&world.rollout)?,
            replica_sets: world
                .sets
                .values()
                .map(serde_json::to_value)
                .collect::<Result<_, _>>()?,
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

/// RFC 7386.
fn merge(object: &mut Value, patch: &Value) {
    json_patch::merge(object, patch);
}
