//! Playing a scenario in a [`World`].

use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use sluice_cli::client::Session;
use sluice_cli::verbs;

use super::check::differences;
use super::format::{Expect, Ring, Scenario, Step, seconds};
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
    for (index, step) in scenario.steps.iter().enumerate() {
        let what = || format!("step {}: {step:?}", index + 1);
        take(world, &rollout, step).await.with_context(what)?;
        let broken = world.violations();
        if !broken.is_empty() {
            bail!("{}: invariants broken:\n  {}", what(), broken.join("\n  "));
        }
    }
    Ok(())
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

async fn take(world: &mut World, rollout: &str, step: &Step) -> Result<()> {
    let session = Session {
        client: world.client.clone(),
        namespace: world.namespace.clone(),
    };
    let api: Api<DynamicObject> =
        Api::namespaced_with(world.client.clone(), &world.namespace, &rollouts());
    let merge = PatchParams::default();
    match step {
        Step::SetImage(image) => {
            verbs::set_image::run(&session, rollout, &format!("*={image}"))
                .await
                .map_err(said)?;
        }
        Step::Patch(patch) => {
            api.patch(rollout, &merge, &Patch::Merge(patch)).await?;
        }
        Step::Apply(documents) => world.apply(documents).await?,
        Step::Delete(object) => {
            let object = newest(world, rollout, object).await?;
            manifest::delete(&world.client, &world.namespace, &object).await?;
        }
        Step::Terminate(object) => {
            let object = newest(world, rollout, object).await?;
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
            api.patch_scale(rollout, &merge, &Patch::Merge(patch))
                .await?;
        }
        Step::Promote(how) => {
            let options = sluice_cli::args::Promote {
                name: rollout.to_owned(),
                full: how.full,
                skip_current_step: false,
                skip_all_steps: false,
            };
            verbs::promote::run(&session, &options)
                .await
                .map_err(said)?;
        }
        Step::Abort(_) => act(&session, rollout, sluice_core::commands::abort()).await?,
        Step::Retry(_) => act(&session, rollout, sluice_core::commands::retry()).await?,
        Step::Pause(_) => act(&session, rollout, sluice_core::commands::pause()).await?,
        Step::Restart(_) => {
            act(
                &session,
                rollout,
                sluice_core::commands::restart(world.now()),
            )
            .await?;
        }
        Step::Undo(revision) => {
            let revision = i64::try_from(*revision)?;
            verbs::undo::run(&session, rollout, revision)
                .await
                .map_err(said)?;
        }
        Step::Until(expect) => until(world, rollout, expect).await?,
        Step::Expect(expect) => {
            // Events are written beside the loop, a moment after what they tell of.
            let events = Expect {
                events: expect.events.clone(),
                ..Expect::default()
            };
            until(world, rollout, &events).await?;
            let now = Expect {
                events: Vec::new(),
                ..expect.clone()
            };
            let state = State::read(&world.client, &world.namespace, rollout).await?;
            let found = differences(&now, &state);
            if !found.is_empty() {
                bail!("not so:\n  {}\n{}", found.join("\n  "), summary(&state));
            }
        }
        Step::Advance(time) => world.pass(time_of(time)?).await?,
        Step::Quiet(time) => quiet(world, rollout, time_of(time)?).await?,
        Step::CrashAfter(writes) => world.crash_after(*writes),
        Step::RestartController(_) => world.restart_controller()?,
        Step::Fault(fault) => world.fault(fault)?,
        Step::Heal(_) => world.heal(),
    }
    Ok(())
}

/// `Kind/name` with the name of the newest object where only its sort is given. Names of objects
/// are in lower case, so that nothing else is meant by it.
async fn newest(world: &World, rollout: &str, object: &str) -> Result<String> {
    let Some((kind, sort)) = object.split_once('/') else {
        bail!("{object:?} is not Kind/name");
    };
    if !sort.starts_with(|first: char| first.is_ascii_uppercase()) {
        return Ok(object.to_owned());
    }
    let state = State::read(&world.client, &world.namespace, rollout).await?;
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

async fn act(
    session: &Session,
    rollout: &str,
    patches: sluice_core::commands::Patches,
) -> Result<()> {
    verbs::act::send(session, verbs::act::Kind::Rollout, rollout, &patches).await
}

fn said(failure: sluice_cli::failure::Failure) -> anyhow::Error {
    anyhow::anyhow!(failure.text().unwrap_or_default())
}

fn time_of(text: &str) -> Result<Duration> {
    Ok(Duration::from_secs(u64::try_from(seconds(text)?)?))
}

async fn until(world: &mut World, rollout: &str, expect: &Expect) -> Result<()> {
    let deadline = tokio::time::Instant::now() + world.patience();
    loop {
        world.revive()?;
        let state = State::read(&world.client, &world.namespace, rollout).await?;
        let found = differences(expect, &state);
        if found.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            bail!("never so:\n  {}\n{}", found.join("\n  "), summary(&state));
        }
        world.pass(world.poll()).await?;
    }
}

/// Waits for the writes of what came before to end, then for a time without any.
async fn quiet(world: &mut World, rollout: &str, time: Duration) -> Result<()> {
    let settle = match world.ring {
        Ring::Pure | Ring::Sim => Duration::from_secs(60),
        Ring::Real => Duration::from_secs(3),
    };
    world.pass(settle).await?;
    let before = world.writes();
    let state = State::read(&world.client, &world.namespace, rollout).await?;
    world.pass(time).await?;
    let written = world.writes() - before;
    if written > 0 {
        let after = State::read(&world.client, &world.namespace, rollout).await?;
        bail!(
            "{written} writes although nothing changed\nbefore: {}\nafter: {}\nrequests: {:?}",
            summary(&state),
            summary(&after),
            world.requests()
        );
    }
    Ok(())
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
