//! One look at the world: plain data, for the screen and for timelines.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sluice_core::view::{Health, Node, RolloutView};
use sluice_core::why::Why;
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::rollout::{RolloutPhase, RolloutStatus};
use sluice_crds::{AnalysisRun, ReplicaSet, Rollout, keys};

use super::World;
use crate::manifests;
use crate::objects::Objects;
use crate::tree;

/// What is to be seen at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scene {
    /// Since the start, on the cluster's clock.
    pub(crate) elapsed: Duration,
    /// Phase of the Rollout, and why.
    pub(crate) health: Health,
    /// Why it is in that phase.
    pub(crate) message: String,
    /// Steps in their order.
    pub(crate) steps: Vec<Step>,
    /// Versions that have pods or requests, the stable one first.
    pub(crate) versions: Vec<Version>,
    /// Share of requests that nobody answers, from 0 to 1, once a first version is there.
    pub(crate) lost: f64,
    /// Metrics of the new version's analysis runs.
    pub(crate) metrics: Vec<Metric>,
    /// What the controller waits for.
    pub(crate) waits: Vec<String>,
    /// The Rollout and what belongs to it.
    pub(crate) tree: Option<Node>,
    /// Whether it is known where requests go.
    pub(crate) routed: bool,
    /// How far the story is.
    pub(crate) act: Act,
}

/// How far a story is, as its Rollout tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Act {
    /// Something moves.
    #[default]
    Moving,
    /// One version, healthy, with all requests.
    Rest,
    /// It waits for a person's promotion.
    Asking,
    /// Aborted, and all requests are back on the stable version.
    Aborted,
}

/// One step and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Its text, such as `setWeight: 20`.
    pub(crate) text: String,
    /// How far.
    pub(crate) mark: Mark,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Over.
    Done,
    /// The current one.
    Current,
    /// Later.
    ToDo,
}

/// One version of the pods.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Version {
    /// Image of the container that tells versions apart.
    pub(crate) image: String,
    /// Share of requests, in percent.
    pub(crate) percent: u32,
    /// Whether it is the one that is fallen back to.
    pub(crate) stable: bool,
    /// Pods that are available.
    pub(crate) available: i32,
    /// Pods that are wanted.
    pub(crate) wanted: i32,
}

/// One metric of one run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Metric {
    /// The run.
    pub(crate) run: String,
    /// The metric.
    pub(crate) name: String,
    /// What it has to fulfil.
    pub(crate) condition: String,
    /// How many measurements there were.
    pub(crate) count: usize,
    /// The last of them: the verdict and the value.
    pub(crate) values: Vec<(AnalysisPhase, String)>,
    /// Verdict on the metric so far.
    pub(crate) phase: AnalysisPhase,
}

impl Scene {
    /// Looks at a Rollout. `host` is what its users send their requests to; without one, the pods
    /// tell which version serves. `container` is the one whose image tells versions apart: by
    /// default the first.
    pub(crate) fn of(
        world: &World,
        name: &str,
        host: Option<&str>,
        container: Option<&str>,
    ) -> Self {
        let objects = world.objects();
        let shares = host.map(|host| world.shares(host));
        let mut scene = Self {
            elapsed: world.elapsed(),
            routed: shares.is_some(),
            ..Self::default()
        };
        let shares = shares.unwrap_or_default();
        let Some(rollout) = objects.rollouts.get(name) else {
            return scene;
        };
        let status = rollout.status.clone().unwrap_or_default();
        if let Some(view) = tree::rollout_view(&objects, name, world.now()) {
            let RolloutView {
                health,
                message,
                tree,
                ..
            } = view;
            (scene.health, scene.message, scene.tree) = (health, message, Some(tree));
        }
        let share = |hash: &str| shares.by_hash.get(hash).copied().unwrap_or(0.0);
        let sets = Sets::of(&objects, rollout, &status, container);
        scene.versions = sets.versions(share);
        // A first version that still starts has no users yet.
        if sets.updated() || scene.health.word == RolloutPhase::Healthy.as_str() {
            scene.lost = shares.lost;
        }
        scene.steps = steps(rollout, &status, &sets);
        scene.metrics = metrics(&objects, rollout, &status);
        scene.waits = waits(&world.waits(), world.now(), &scene.health);
        scene.act = act(&scene, rollout, &status, &sets);
        scene
    }

    /// The image of the version that all requests go to, if there is one.
    pub(crate) fn serving(&self) -> Option<&str> {
        let whole = self.versions.iter().find(|version| version.percent == 100);
        whole.map(|version| version.image.as_str())
    }
}

/// The ReplicaSets of a Rollout.
struct Sets {
    stable: Option<Arc<ReplicaSet>>,
    current: Option<Arc<ReplicaSet>>,
    others: Vec<Arc<ReplicaSet>>,
    /// The container whose image is a version's name.
    container: Option<String>,
}

impl Sets {
    fn of(
        objects: &Objects,
        rollout: &Rollout,
        status: &RolloutStatus,
        container: Option<&str>,
    ) -> Self {
        let mut sets = Self {
            container: container.map(str::to_owned),
            stable: None,
            current: None,
            others: Vec::new(),
        };
        for set in objects.replica_sets.values() {
            let owners = set.metadata.owner_references.iter().flatten();
            if !owners
                .into_iter()
                .any(|owner| Some(&owner.uid) == rollout.metadata.uid.as_ref())
            {
                continue;
            }
            let hash = hash(set);
            if hash == status.stable_rs {
                sets.stable = Some(Arc::clone(set));
            } else if hash == status.current_pod_hash {
                sets.current = Some(Arc::clone(set));
            } else {
                sets.others.push(Arc::clone(set));
            }
        }
        sets
    }

    fn versions(&self, share: impl Fn(&str) -> f64) -> Vec<Version> {
        let all = self.stable.iter().map(|set| (set, true));
        let all = all.chain(
            self.others
                .iter()
                .chain(&self.current)
                .map(|set| (set, false)),
        );
        let versions = all.map(|(set, stable)| Version {
            image: self.image(set),
            percent: (share(hash(set)) * 100.0).round() as u32,
            stable,
            available: available(set),
            wanted: wanted(set),
        });
        versions
            .filter(|version| version.percent > 0 || version.wanted > 0 || version.available > 0)
            .collect()
    }

    /// The image that a version is called by.
    fn image(&self, set: &ReplicaSet) -> String {
        let template = serde_json::to_value(&set.spec.template).unwrap_or_default();
        let containers = template.pointer("/spec/containers");
        let containers = containers.and_then(serde_json::Value::as_array);
        let mut all = containers.into_iter().flatten();
        let image = match self.container.as_deref() {
            None => all.next(),
            Some(name) => all.find(|one| manifests::text(one, "/name") == name),
        };
        let image = image.map(|one| manifests::text(one, "/image"));
        image.unwrap_or_default().to_owned()
    }

    /// Whether there was an update since the first version.
    fn updated(&self) -> bool {
        self.current.is_some() || !self.others.is_empty()
    }

    /// The ReplicaSet of the newest revision.
    fn newest(&self) -> Option<&Arc<ReplicaSet>> {
        self.current.as_ref().or(self.stable.as_ref())
    }
}

fn hash(set: &ReplicaSet) -> &str {
    let labels = set.metadata.labels.as_ref();
    let hash = labels.and_then(|labels| labels.get(keys::POD_TEMPLATE_HASH));
    hash.map_or("", String::as_str)
}

fn available(set: &ReplicaSet) -> i32 {
    let status = set.status.as_ref();
    status.map_or(0, |status| status.available_replicas)
}

fn wanted(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

/// The steps, all still to come as long as there was no update.
fn steps(rollout: &Rollout, status: &RolloutStatus, sets: &Sets) -> Vec<Step> {
    let updated = sets.updated();
    let mark = |index: usize, current: usize| match index.cmp(&current) {
        _ if !updated => Mark::ToDo,
        std::cmp::Ordering::Less => Mark::Done,
        std::cmp::Ordering::Equal if !status.abort => Mark::Current,
        _ => Mark::ToDo,
    };
    if rollout.spec.strategy.blue_green.is_some() {
        let current = blue_green_step(rollout, status, sets);
        let texts = [
            "new pods behind the preview Service",
            "promotion",
            "active Service switched",
            "old pods gone",
        ];
        let steps = texts.into_iter().enumerate();
        return steps
            .map(|(index, text)| Step {
                text: text.to_owned(),
                mark: mark(index, current),
            })
            .collect();
    }
    let current = usize::try_from(status.current_step_index.unwrap_or(0)).unwrap_or(0);
    let steps = rollout.spec.steps().iter().enumerate();
    steps
        .map(|(index, one)| Step {
            text: one.to_string(),
            mark: mark(index, current),
        })
        .collect()
}

/// Blue-green has no steps in its spec; these are the ones it takes.
fn blue_green_step(rollout: &Rollout, status: &RolloutStatus, sets: &Sets) -> usize {
    let ready = sets
        .newest()
        .is_some_and(|set| available(set) >= rollout.spec.replicas());
    let asked = !status.pause_conditions.is_empty();
    if status.blue_green.active_selector == status.current_pod_hash {
        let old = sets.others.iter().chain(&sets.stable).filter(|set| {
            hash(set) != status.current_pod_hash && (wanted(set) > 0 || pods(set) > 0)
        });
        if old.count() == 0 { 4 } else { 3 }
    } else if !ready {
        0
    } else if asked {
        1
    } else {
        2
    }
}

fn pods(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

/// Metrics of the runs that belong to the newest revision, in the order of the runs' names.
fn metrics(objects: &Objects, rollout: &Rollout, status: &RolloutStatus) -> Vec<Metric> {
    let own = |run: &&Arc<AnalysisRun>| {
        let mut owners = run.metadata.owner_references.iter().flatten();
        let labels = run.metadata.labels.as_ref();
        owners.any(|owner| Some(&owner.uid) == rollout.metadata.uid.as_ref())
            && labels.and_then(|labels| labels.get(keys::POD_TEMPLATE_HASH))
                == Some(&status.current_pod_hash)
    };
    let mut metrics = Vec::new();
    for (name, run) in objects.analysis_runs.iter().filter(|(_, run)| own(run)) {
        let results = run.status.iter().flat_map(|status| &status.metric_results);
        for result in results {
            let spec = run
                .spec
                .metrics
                .iter()
                .find(|metric| metric.name == result.name);
            let values = result.measurements.iter().map(|measurement| {
                let shown = if measurement.value.is_empty() {
                    &measurement.message
                } else {
                    &measurement.value
                };
                let bare = shown.trim_start_matches('[').trim_end_matches(']');
                (measurement.phase.clone(), bare.to_owned())
            });
            metrics.push(Metric {
                run: name.clone(),
                name: result.name.clone(),
                condition: spec.map_or_else(String::new, |spec| spec.success_condition.clone()),
                count: usize::try_from(result.count.saturating_add(result.error)).unwrap_or(0),
                values: values.collect(),
                phase: result.phase.clone(),
            });
        }
    }
    metrics
}

/// What is waited for, as long as the Rollout is not at rest.
fn waits(waits: &[Why], now: Timestamp, health: &Health) -> Vec<String> {
    if health.word == RolloutPhase::Healthy.as_str() {
        return Vec::new();
    }
    let lines = waits.iter().map(|why| {
        let left = why.until.map(|until| until.duration_since(now).as_secs());
        match left {
            Some(left) if left >= 0 => format!("{}: {} ({left}s left)", why.object, why.message),
            _ => format!("{}: {}", why.object, why.message),
        }
    });
    lines.collect()
}

fn act(scene: &Scene, rollout: &Rollout, status: &RolloutStatus, sets: &Sets) -> Act {
    let observed = rollout
        .metadata
        .generation
        .map(|generation| generation.to_string());
    if observed.as_ref() != Some(&status.observed_generation) {
        return Act::Moving;
    }
    // Without pods nobody answers, and that is as it should be.
    let told = scene.routed && rollout.spec.replicas() > 0;
    let whole = |hash: &str| {
        let serving = scene.serving();
        let set = [&sets.stable, &sets.current].into_iter().flatten();
        set.into_iter().any(|set| {
            self::hash(set) == hash && (!told || Some(sets.image(set).as_str()) == serving)
        })
    };
    let alone = sets
        .others
        .iter()
        .chain(&sets.current)
        .all(|set| wanted(set) == 0 && pods(set) == 0);
    match status.phase {
        RolloutPhase::Healthy if alone && whole(&status.current_pod_hash) => Act::Rest,
        RolloutPhase::Degraded if status.abort && whole(&status.stable_rs) => Act::Aborted,
        RolloutPhase::Paused
            if rollout.spec.strategy.blue_green.is_some()
                && !status.pause_conditions.is_empty() =>
        {
            Act::Asking
        }
        _ => Act::Moving,
    }
}
