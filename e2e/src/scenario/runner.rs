//! Playing a scenario in a [`World`].

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jiff::SignedDuration;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use sluice_cli::client::Session;
use sluice_cli::verbs;

use super::check::differences;
use super::format::{Expect, LosePods, Ring, Scenario, Step, seconds};
use super::manifest;
use super::state::{State, rollouts, text};
use super::world::World;

/// Plays all steps.
///
/// # Errors
/// The first step that does not come true, with what was different; or an invariant that broke.
pub async fn play(world: &mut World, scenario: &Scenario, documents: &str) -> Result<()> {
    let rollout = match &scenario.rollout {
        Some(name) => name.clone(),
        None => only_rollout(documents)?,
    };
    world.start_controller()?;
    world.apply(documents).await.context("given")?;
    let mut player = Player {
        world,
        rollout,
        never: Vec::new(),
        always: Vec::new(),
        between: None,
    };
    for (index, step) in scenario.steps.iter().enumerate() {
        let what = || format!("step {}: {step:?}", index + 1);
        let taken = player.take(step).await.with_context(what);
        let broken = player.world.violations().await;
        if !broken.is_empty() {
            let why = taken.err().map(|error| format!("\nand {error:#}"));
            bail!(
                "{}: invariants broken:\n  {}{}",
                what(),
                broken.join("\n  "),
                why.unwrap_or_default()
            );
        }
        taken?;
    }
    player.nothing_pending()
}

fn only_rollout(documents: &str) -> Result<String> {
    let names: Vec<String> = manifest::documents(documents)?
        .iter()
        .filter(|one| text(one, "/kind") == "Rollout")
        .map(|one| text(one, "/metadata/name").to_owned())
        .collect();
    match &names[..] {
        [name] => Ok(name.clone()),
        _ => bail!("name the `rollout`: the manifests hold {names:?}"),
    }
}

/// Where a play stands.
struct Player<'a> {
    world: &'a mut World,
    rollout: String,
    never: Vec<Expect>,
    always: Vec<Expect>,
    /// What happens once an answer is held back.
    between: Option<Pending>,
}

/// Steps that wait for a write of the controller.
struct Pending {
    steps: Vec<Step>,
    /// Whether that write has to come.
    must_come: bool,
}

/// A step may hold steps.
type Taking<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

impl Player<'_> {
    fn take<'a>(&'a mut self, step: &'a Step) -> Taking<'a> {
        Box::pin(self.carry_out(step))
    }

    async fn carry_out(&mut self, step: &Step) -> Result<()> {
        let rollout = self.rollout.clone();
        let world = &mut *self.world;
        let session = Session {
            client: world.client.clone(),
            namespace: world.namespace.clone(),
        };
        let api: Api<DynamicObject> =
            Api::namespaced_with(world.client.clone(), &world.namespace, &rollouts());
        let merge = PatchParams::default();
        let verb = async |patches: sluice_core::commands::Patches| -> Result<()> {
            verbs::act::send(&session, verbs::act::Kind::Rollout, &rollout, &patches).await
        };
        match step {
            Step::SetImage(image) => {
                verbs::set_image::run(&session, &rollout, &format!("*={image}"))
                    .await
                    .map_err(said)?;
            }
            Step::Patch(patch) => {
                api.patch(&rollout, &merge, &Patch::Merge(patch)).await?;
            }
            Step::PatchObject(one) => {
                manifest::patch(&world.client, &world.namespace, &one.object, &one.patch).await?;
            }
            Step::Refused(what) => match api
                .patch(&rollout, &merge, &Patch::Merge(&what.patch))
                .await
            {
                Ok(_) => bail!("was not refused"),
                Err(kube::Error::Api(status)) if status.message.contains(&what.message) => {}
                Err(error) => return Err(error).context("refused in other words"),
            },
            Step::Apply(documents) => world.apply(documents).await?,
            Step::Delete(object) => {
                let object = self.newest(object).await?;
                let world = &self.world;
                manifest::delete(&world.client, &world.namespace, &object).await?;
            }
            Step::Terminate(object) => {
                let object = self.newest(object).await?;
                let (kind, name) = match object.split_once('/') {
                    Some(("AnalysisRun", name)) => (verbs::act::Kind::AnalysisRun, name),
                    Some(("Experiment", name)) => (verbs::act::Kind::Experiment, name),
                    _ => bail!("{object:?} cannot be terminated"),
                };
                let patches = sluice_core::commands::terminate();
                verbs::act::send(&session, kind, name, &patches).await?;
            }
            Step::Scale(replicas) => {
                let patch = json!({"spec": {"replicas": replicas}});
                api.patch_scale(&rollout, &merge, &Patch::Merge(patch))
                    .await?;
            }
            Step::Promote(how) => {
                let options = sluice_cli::args::Promote {
                    name: rollout.clone(),
                    full: how.full,
                    skip_current_step: false,
                    skip_all_steps: false,
                };
                verbs::promote::run(&session, &options)
                    .await
                    .map_err(said)?;
            }
            Step::Abort(_) => verb(sluice_core::commands::abort()).await?,
            Step::Retry(_) => verb(sluice_core::commands::retry()).await?,
            Step::Pause(_) => verb(sluice_core::commands::pause()).await?,
            Step::Restart(_) => verb(sluice_core::commands::restart(world.now())).await?,
            Step::Undo(revision) => {
                let revision = i64::try_from(*revision)?;
                verbs::undo::run(&session, &rollout, revision)
                    .await
                    .map_err(said)?;
            }
            Step::Until(expect) => self.until(expect).await?,
            Step::Expect(expect) => self.expect(expect).await?,
            Step::Never(expect) => self.never.push(expect.clone()),
            Step::Always(expect) => self.always.push(expect.clone()),
            Step::Lift(_) => {
                self.never.clear();
                self.always.clear();
            }
            Step::Advance(time) => self.pass(time_of(time)?).await?,
            Step::Quiet(time) => {
                let settle = match self.world.ring {
                    Ring::Pure | Ring::Sim => Duration::from_secs(60),
                    Ring::Real => Duration::from_secs(3),
                };
                self.pass(settle).await?;
                self.still(time_of(time)?).await?;
            }
            Step::Still(time) => self.still(time_of(time)?).await?,
            Step::CrashAfter(writes) => world.crash_after(*writes),
            Step::Between(between) => {
                ensure!(self.between.is_none(), "one `between` at a time");
                self.between = Some(Pending {
                    steps: between.steps.clone(),
                    must_come: true,
                });
                self.world.hold_after(between.writes);
            }
            Step::Attempt(step) => {
                if let Err(error) = self.take(step).await {
                    tracing::debug!(%error, ?step, "refused");
                } else if let (Step::Between(_), Some(pending)) = (&**step, &mut self.between) {
                    pending.must_come = false;
                }
            }
            Step::RestartController(_) => world.restart_controller()?,
            Step::StopController(_) => world.kill_controller(),
            Step::StartController(_) => world.start_controller()?,
            Step::ClockJump(time) => world.jump(SignedDuration::from_secs(seconds(time)?)),
            Step::Pods(rules) => world.set_pods(rules),
            Step::LosePods(which) => lose_pods(world, which).await?,
            Step::Fault(fault) => world.fault(fault)?,
            Step::Heal(_) => {
                world.heal();
                self.nothing_pending()?;
                self.between = None;
                self.world.hold_after(0);
                self.world.release();
            }
        }
        Ok(())
    }

    /// Writes that something had to happen after have come.
    fn nothing_pending(&self) -> Result<()> {
        let pending = self.between.as_ref().is_some_and(|one| one.must_come);
        ensure!(!pending, "the writes that `between` waits for never came");
        Ok(())
    }

    /// `Kind/name` with the name of the newest object where only its sort is given. Names of objects
    /// are in lower case, so that nothing else is meant by it.
    async fn newest(&self, object: &str) -> Result<String> {
        let Some((kind, sort)) = object.split_once('/') else {
            bail!("{object:?} is not Kind/name");
        };
        if !sort.starts_with(|first: char| first.is_ascii_uppercase()) {
            return Ok(object.to_owned());
        }
        let state = self.state(&[]).await?;
        let found = match kind {
            "AnalysisRun" => state
                .analysis_runs
                .iter()
                .rev()
                .find(|run| text(run, "/metadata/labels/rollout-type") == sort),
            "Experiment" => state.experiments.last(),
            _ => None,
        };
        let found = found.with_context(|| format!("there is no {object}"))?;
        Ok(format!("{kind}/{}", text(found, "/metadata/name")))
    }

    async fn state(&self, expects: &[&Expect]) -> Result<State> {
        let all = self.never.iter().chain(&self.always);
        let kinds = expects.iter().copied().chain(all).flat_map(Expect::kinds);
        let world = &self.world;
        State::read(
            &world.client,
            &world.namespace,
            &self.rollout,
            &kinds.collect(),
        )
        .await
    }

    /// What was promised to hold all the time.
    fn watch(&self, state: &State) -> Result<()> {
        for expect in &self.never {
            ensure!(
                !differences(expect, state).is_empty(),
                "what must never be so is: {expect:?}\n{}",
                summary(state)
            );
        }
        for expect in &self.always {
            let found = differences(expect, state);
            if !found.is_empty() {
                bail!(
                    "not so any more:\n  {}\n{}",
                    found.join("\n  "),
                    summary(state)
                );
            }
        }
        Ok(())
    }

    /// Lets others act if an answer is being held back for them.
    async fn interrupt(&mut self) -> Result<()> {
        if !self.world.holds() {
            return Ok(());
        }
        for step in self.between.take().map(|one| one.steps).unwrap_or_default() {
            self.take(&step)
                .await
                .with_context(|| format!("between two writes: {step:?}"))?;
        }
        self.world.release();
        Ok(())
    }

    async fn until(&mut self, expect: &Expect) -> Result<()> {
        let deadline = tokio::time::Instant::now() + self.world.patience();
        let mut seen = None;
        loop {
            self.world.revive()?;
            self.interrupt().await?;
            let late = tokio::time::Instant::now() > deadline;
            let revision = self.world.revision();
            if revision.is_some() && revision == seen && !late {
                self.world.pass(self.world.poll()).await?;
                continue;
            }
            seen = revision;
            let state = self.state(&[expect]).await?;
            self.watch(&state)?;
            let found = differences(expect, &state);
            if found.is_empty() {
                return Ok(());
            }
            if late {
                bail!("never so:\n  {}\n{}", found.join("\n  "), summary(&state));
            }
            self.world.pass(self.world.poll()).await?;
        }
    }

    async fn expect(&mut self, expect: &Expect) -> Result<()> {
        // Events are written beside the loop, a moment after what they tell of.
        let events = Expect {
            events: expect.events.clone(),
            ..Expect::default()
        };
        self.until(&events).await?;
        let now = Expect {
            events: Vec::new(),
            ..expect.clone()
        };
        let state = self.state(&[&now]).await?;
        let found = differences(&now, &state);
        if !found.is_empty() {
            bail!("not so:\n  {}\n{}", found.join("\n  "), summary(&state));
        }
        Ok(())
    }

    /// Lets time pass, and looks as often as something has to be looked at.
    async fn pass(&mut self, time: Duration) -> Result<()> {
        let end = tokio::time::Instant::now() + time;
        let watching = !(self.never.is_empty() && self.always.is_empty());
        let often = if self.between.is_some() || watching {
            self.world.poll()
        } else {
            time
        };
        let mut seen = None;
        loop {
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.world.pass(left.min(often)).await?;
            self.interrupt().await?;
            let revision = self.world.revision();
            if watching && (revision.is_none() || revision != seen) {
                self.watch(&self.state(&[]).await?)?;
            }
            seen = revision;
        }
    }

    /// For a time nothing is written.
    async fn still(&mut self, time: Duration) -> Result<()> {
        let before = self.world.writes();
        let state = self.state(&[]).await?;
        self.pass(time).await?;
        let written = self.world.writes() - before;
        if written > 0 {
            let after = self.state(&[]).await?;
            bail!(
                "{written} writes although nothing changed\nbefore: {}\nafter: {}\nrequests: {:?}",
                summary(&state),
                summary(&after),
                self.world.requests()
            );
        }
        Ok(())
    }
}

/// Pods vanish, as with their node: without a word to anybody.
async fn lose_pods(world: &World, which: &LosePods) -> Result<()> {
    let resource = manifest::resource_of("Pod")?;
    let api: Api<DynamicObject> =
        Api::namespaced_with(world.client.clone(), &world.namespace, &resource);
    let image = "/spec/containers/0/image";
    let names: Vec<String> = api
        .list(&ListParams::default())
        .await?
        .items
        .into_iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter(|pod| {
            let image = pod.data.pointer(image).and_then(Value::as_str);
            image.is_some_and(|image| image.contains(&which.image))
        })
        .filter_map(|pod| pod.metadata.name)
        .take(which.count.unwrap_or(usize::MAX))
        .collect();
    ensure!(!names.is_empty(), "there is no pod of {:?}", which.image);
    world.excuse(&names);
    for name in names {
        api.delete(&name, &DeleteParams::default().grace_period(0))
            .await?;
    }
    Ok(())
}

fn said(failure: sluice_cli::failure::Failure) -> anyhow::Error {
    anyhow::anyhow!(failure.text().unwrap_or_default())
}

fn time_of(text: &str) -> Result<Duration> {
    Ok(Duration::from_secs(u64::try_from(seconds(text)?)?))
}

/// The status and the ReplicaSets, for whoever reads a failure.
fn summary(state: &State) -> String {
    let sets: Vec<Value> = state
        .replica_sets
        .iter()
        .map(|set| {
            json!([
                text(set, "/metadata/name"),
                text(set, "/spec/template/spec/containers/0/image"),
                set.pointer("/spec/replicas"),
                set.pointer("/status/availableReplicas"),
            ])
        })
        .collect();
    format!(
        "status: {}\nreplica sets: {}",
        state.rollout.get("status").unwrap_or(&Value::Null),
        json!(sets)
    )
}
