//! A second opinion: it looks at pods, Services and the data plane only, never at plans or status,
//! and tells when what a controller did made things worse (INV-1..5).
//!
//! What the controller could not know is not its fault: pods that were lost since it looked, a
//! cache that was behind.

use std::collections::BTreeSet;

use super::cache::Cache;
use super::outside::{Plane, Split};
use super::shape::Kind;
use super::stage::{Stage, Wrong};
use super::tell;
use crate::plan::Action;
use crate::replicas::Fences;
use crate::testing::world::World;

/// What it remembers.
#[derive(Clone, Debug, Default)]
pub(super) struct Observer {
    /// The last decision knew how the pods are, and no pod was lost since.
    fair: bool,
    /// Nobody else wrote since the last decision.
    alone: bool,
}

/// What is wrong at a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Destinations with a share and without a ready pod.
    empty: BTreeSet<String>,
    /// Destinations with all the ready pods there are.
    most: BTreeSet<String>,
    /// Destinations with less ready pods than their share needs.
    weak: BTreeSet<String>,
    /// Share of Experiments, in parts. What they give back has nowhere else to go.
    given: i32,
    /// Destinations that are asked to have the pods that their share needs.
    sized: BTreeSet<String>,
    /// Destinations that select the pods of all versions. Bound to one of them they have less pods, but
    /// those that were meant.
    open: BTreeSet<String>,
    /// Ready pods missing to `replicas - maxUnavailable`.
    missing: i64,
    /// Pods asked for beyond `replicas + maxSurge`.
    surplus: i64,
    words: String,
}

/// Where requests go.
struct Destination {
    name: String,
    /// Empty: all pods of the Rollout.
    hash: String,
    share: i32,
    whole: i32,
}

impl Observer {
    /// A decision was made on this cache.
    pub(super) fn decided(&mut self, world: &World, cache: &Cache, plane: &Plane) {
        self.alone = true;
        // Whoever asked for a split and died before saying so left nobody who knows.
        let recorded = cache.rollout.status.as_ref();
        let recorded = recorded.and_then(|status| status.canary.weights.as_ref());
        let weight = |weight: Option<i32>| weight.unwrap_or(0);
        let known = weight(recorded.map(|on| on.canary.weight))
            == weight(plane.asked.as_ref().map(|split| split.weight));
        self.fair = !world.frozen
            && known
            && cache.rollout.metadata.resource_version == world.rollout.metadata.resource_version
            && cache.sets.len() == world.sets.len()
            && cache.services == world.services
            && cache.sets.iter().all(|(name, set)| {
                let known = set.status.as_ref().map_or(0, |s| s.available_replicas);
                let spec = world.sets.get(name).map(|set| set.spec.replicas);
                i64::from(known) == ready_of(world, name) && spec == Some(set.spec.replicas)
            });
    }

    /// Something outside happened.
    pub(super) fn disturbed(&mut self) {
        self.fair = false;
        self.alone = false;
    }

    /// Whether nobody but the controller wrote since it decided.
    pub(super) fn quiet(&self) -> bool {
        self.alone
    }

    /// Ready pods, if the controller could know them.
    pub(super) fn ready(&self, world: &World) -> Option<i64> {
        self.fair
            .then(|| world.sets.keys().map(|name| ready_of(world, name)).sum())
    }

    /// What is wrong now.
    pub(super) fn state(&self, stage: &Stage) -> State {
        let world = &stage.world;
        let spec = &world.rollout.spec;
        let replicas = spec.replicas();
        if !self.fair || replicas == 0 {
            return State::default();
        }
        let slack = slack(world);
        let mut state = State::default();
        let by_hand = spec.canary().is_some_and(|canary| {
            canary.replica_progress_threshold.is_some()
                || canary
                    .steps
                    .iter()
                    .any(|step| step.set_canary_scale.is_some())
        });
        let routed = !matches!(stage.kind, Kind::Basic | Kind::BlueGreen);
        let all = ready(world, "");
        let all_to = destinations(stage, stage.plane.live.as_ref());
        for to in all_to.iter().filter(|to| to.share > 0) {
            let has = ready(world, &to.hash);
            if to.hash.is_empty() {
                state.open.insert(to.name.clone());
            }
            // A single pod without surge is replaced in place.
            if has == 0 && i64::from(replicas) + surge(world) > 1 {
                state.empty.insert(to.name.clone());
            }
            if has == all {
                state.most.insert(to.name.clone());
            }
        }
        // Where no router can tell, what was asked for counts: more is not known to anybody.
        let split = stage.plane.known();
        state.given = split.map_or(0, given);
        let all_to = destinations(stage, split);
        for to in all_to.iter().filter(|to| to.share > 0) {
            let has = ready(world, &to.hash);
            // Two destinations may lead to the same pods.
            let same = all_to.iter().filter(|other| other.hash == to.hash);
            let share: i64 = same.map(|other| i64::from(other.share)).sum();
            let parts = i64::from(replicas) * share;
            let whole = i64::from(to.whole.max(1));
            let need = (parts + whole - 1) / whole;
            if asked(world, &to.hash) + slack >= need {
                state.sized.insert(to.name.clone());
            }
            if !by_hand && has + slack < need && (routed || stage.kind == Kind::BlueGreen) {
                state.weak.insert(to.name.clone());
            }
            let words = format!(
                " {} {}/{} needs {need} has {has};",
                to.name, to.share, to.whole
            );
            state.words.push_str(&words);
        }
        state.missing = (i64::from(replicas) - slack - all).max(0);
        if stage.kind == Kind::Basic {
            let asked = asked(world, "");
            state.surplus = (asked - i64::from(replicas) - surge(world)).max(0);
        }
        state
    }

    /// The controller carried out a write.
    pub(super) fn acted(
        &self,
        stage: &Stage,
        action: &Action,
        before: &State,
    ) -> Result<(), Wrong> {
        if !matches!(
            action,
            Action::Route(_)
                | Action::PatchService { .. }
                | Action::PatchReplicaSet { .. }
                | Action::CreateReplicaSet(_)
                | Action::DeleteReplicaSet { .. }
                | Action::EvictPod { .. }
        ) {
            return Ok(());
        }
        let what = || tell::action(&action.clone().into());
        let mut after = self.state(stage);
        let replicas = i64::from(stage.world.rollout.spec.replicas());
        if matches!(action, Action::EvictPod { .. }) && slack(&stage.world) >= replicas {
            return Ok(()); // all may be unavailable at once
        }
        if matches!(action, Action::EvictPod { .. }) && slack(&stage.world) == 0 {
            // A restart takes one pod at a time, whatever may be unavailable (CTL-126).
            after.missing = after.missing.saturating_sub(1);
            after.weak.clear();
            if replicas == 1 {
                after.empty.clear();
            }
        }
        worse(before, &after, what)
    }

    /// ReplicaSets followed their sizes.
    pub(super) fn shrunk(&self, stage: &Stage, before: &State) -> Result<(), Wrong> {
        worse(before, &self.state(stage), || {
            "ReplicaSets follow their sizes".to_owned()
        })
    }
}

/// `maxUnavailable` in pods.
fn slack(world: &World) -> i64 {
    let spec = &world.rollout.spec;
    let replicas = spec.replicas();
    let slack = match (spec.canary(), spec.blue_green()) {
        (Some(canary), _) => {
            let (surge, down) = (canary.max_surge.as_ref(), canary.max_unavailable.as_ref());
            Fences::resolve(surge, down, replicas).unavailable
        }
        (None, spec) => {
            let down = spec.and_then(|spec| spec.max_unavailable.as_ref());
            Fences::blue_green_unavailable(down, replicas)
        }
    };
    i64::from(slack)
}

/// `maxSurge` in pods; only a canary without a router is bound by it.
fn surge(world: &World) -> i64 {
    let spec = &world.rollout.spec;
    let Some(canary) = spec.canary().filter(|_| spec.traffic_routing().is_none()) else {
        return i64::MAX / 4;
    };
    let (surge, down) = (canary.max_surge.as_ref(), canary.max_unavailable.as_ref());
    i64::from(Fences::resolve(surge, down, spec.replicas()).surge)
}

fn worse(before: &State, after: &State, what: impl Fn() -> String) -> Result<(), Wrong> {
    let tell = |rule: &str, text: String| {
        let (from, to) = (&before.words, &after.words);
        Err(format!(
            "{rule} (observer) after {}: {text}\n  before:{from}\n  after:{to}",
            what()
        ))
    };
    let new = |a: &BTreeSet<String>, b: &BTreeSet<String>| b.difference(a).next().cloned();
    if let Some(name) = new(&before.empty, &after.empty) {
        if before.empty.is_empty() {
            return tell("INV-1", format!("{name} has a share and no ready pod"));
        }
        return Ok(());
    }
    if before.empty.is_empty()
        && before.weak.is_empty()
        && let Some(name) = new(&before.weak, &after.weak)
        // First routes: nobody had more before.
        && !(before.words.is_empty() && after.most.contains(&name))
        && !before.open.contains(&name)
        && !(after.given < before.given && after.sized.contains(&name))
    {
        return tell(
            "INV-2",
            format!("{name} has too few ready pods for its share"),
        );
    }
    if after.missing > before.missing {
        return tell("INV-4", format!("{} ready pods are missing", after.missing));
    }
    if after.surplus > before.surplus {
        return tell(
            "INV-5",
            format!("{} pods too many are asked for", after.surplus),
        );
    }
    Ok(())
}

/// Ready pods of a hash; of all when it is empty. Those that a ReplicaSet is no longer asked to have are
/// as good as gone.
fn ready(world: &World, hash: &str) -> i64 {
    let sets = world.sets.iter();
    sets.filter(|(_, set)| hash.is_empty() || set.pod_hash() == Some(hash))
        .map(|(name, set)| ready_of(world, name).min(set.spec.replicas.unwrap_or(1).into()))
        .sum()
}

/// Pods that ReplicaSets of a hash are asked to have; all when it is empty.
fn asked(world: &World, hash: &str) -> i64 {
    let sets = world.sets.values();
    sets.filter(|set| hash.is_empty() || set.pod_hash() == Some(hash))
        .map(|set| i64::from(set.spec.replicas.unwrap_or(1)))
        .sum()
}

/// What goes to the destinations of Experiments.
fn given(split: &Split) -> i32 {
    split.additional.iter().map(|one| one.weight).sum()
}

fn ready_of(world: &World, set: &str) -> i64 {
    let uid = world
        .sets
        .get(set)
        .and_then(|set| set.metadata.uid.as_deref());
    let pods = world.pods.values();
    let mine = pods.filter(|pod| pod.available && Some(pod.owner.as_str()) == uid);
    i64::try_from(mine.count()).unwrap_or(i64::MAX)
}

fn destinations(stage: &Stage, split: Option<&Split>) -> Vec<Destination> {
    let services = &stage.world.services;
    let behind = |service: &str| {
        let view = services.get(service);
        view.map_or(String::new(), |view| view.pod_hash().to_owned())
    };
    let to = |name: &str, hash: String, share: i32, whole: i32| Destination {
        name: name.to_owned(),
        hash,
        share,
        whole,
    };
    let spec = &stage.world.rollout.spec;
    if let Some(spec) = spec.blue_green() {
        let active = &spec.active_service;
        return vec![to("active", behind(active), 1, 1)];
    }
    let stable = spec
        .canary()
        .map_or("", |canary| canary.stable_service.as_str());
    match (split, stage.kind) {
        (_, Kind::Basic) if stable.is_empty() => Vec::new(),
        (_, Kind::Basic) | (None, _) => vec![to("stable", behind(stable), 1, 1)],
        (Some(split), kind) => {
            let Split { weight, whole, .. } = split;
            let more = given(split);
            let (canary, stable) = if kind == Kind::Subsets {
                (split.canary_hash.clone(), split.stable_hash.clone())
            } else {
                (behind(&split.canary_service), behind(&split.stable_service))
            };
            vec![
                to("canary", canary, *weight, *whole),
                to("stable", stable, *whole - *weight - more, *whole),
            ]
        }
    }
}
