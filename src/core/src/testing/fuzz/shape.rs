//! Random Rollouts of every kind, and what they refer to.

use serde_json::{Value, json};
use sluice_crds::analysis::AnalysisTemplateSpec;
use sluice_crds::rollout::{CanaryStep, RolloutStrategy};
use sluice_crds::{Rollout, validate};

use super::random::Random;
use crate::observed::ServiceView;
use crate::testing::rollout;
use crate::testing::world::World;

mod spec;

use spec::{build, some_steps};

/// How traffic reaches the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A canary whose pods are its share.
    Basic,
    /// A canary behind Istio, split by two Services.
    Services,
    /// The same behind nginx, with another whole than 100.
    Nginx,
    /// Behind Istio, split by the subsets of a DestinationRule.
    Subsets,
    /// Behind Istio, with Services that take turns.
    PingPong,
    /// Blue-green.
    BlueGreen,
}

const KINDS: [Kind; 8] = [
    Kind::Basic,
    Kind::Basic,
    Kind::Services,
    Kind::Services,
    Kind::Nginx,
    Kind::Subsets,
    Kind::PingPong,
    Kind::BlueGreen,
];

/// Images that are set.
pub const IMAGES: u8 = 4;

/// The name of an image.
#[must_use]
pub fn image(number: u8) -> String {
    format!("web:v{}", number % IMAGES)
}

/// A Rollout to be played with.
#[derive(Clone, Debug)]
pub struct Shape {
    /// How traffic reaches the pods.
    pub kind: Kind,
    /// The Rollout.
    pub rollout: Rollout,
    /// Whether the router can tell what is in force.
    pub verifies: bool,
    /// Seconds until a pod is ready.
    pub startup: i64,
}

impl Shape {
    /// A valid Rollout.
    ///
    /// # Panics
    ///
    /// When a hundred attempts give no valid one.
    #[must_use]
    pub fn new(random: &mut Random) -> Self {
        let kind = *random.one_of(&KINDS);
        for _ in 0..100 {
            let built = build(random, kind);
            if validate::rollout(&built).is_empty() {
                return Self {
                    kind,
                    rollout: built,
                    verifies: kind != Kind::Basic && kind != Kind::BlueGreen && random.chance(40),
                    startup: *random.one_of(&[0, 0, 1, 5, 20]),
                };
            }
        }
        panic!("no valid {kind:?}");
    }

    /// The cluster in which it lives.
    #[must_use]
    pub fn world(&self) -> World {
        let built = self.rollout.clone();
        let mut world = World::new(rollout("web").with(|r| *r = built));
        world
            .references
            .templates
            .namespaced
            .insert("errors".to_owned(), Some(errors_template()));
        // All of them, so that an edit may name others.
        let services = ["canary", "stable", "ping", "pong", "active", "preview"];
        world
            .services
            .extend(services.map(|name| (name.to_owned(), ServiceView::default())));
        route_objects(&mut world);
        world.startup = self.startup;
        world
    }
}

/// Route objects that lead to every Service there is.
pub(super) fn route_objects(world: &mut World) {
    let hosts = world.services.keys();
    let mut route: Vec<Value> = hosts
        .clone()
        .map(|host| json!({ "destination": { "host": host } }))
        .collect();
    for subset in ["canary", "stable"] {
        route.push(json!({ "destination": { "host": "web", "subset": subset } }));
    }
    let vs = json!({ "spec": { "http": [ { "name": "primary", "route": route } ] } });
    let paths: Vec<Value> = hosts
        .map(|host| json!({ "backend": { "service": { "name": host } } }))
        .collect();
    let ingress = json!({ "spec": { "rules": [ { "http": { "paths": paths } } ] } });
    let references = &mut world.references;
    let virtual_services = &mut references.virtual_services;
    virtual_services.insert("web".to_owned(), Some(vs));
    references.ingresses.insert("web".to_owned(), Some(ingress));
}

/// The analysis template that all of them use.
///
/// # Panics
///
/// Never: it is well formed.
#[must_use]
pub fn errors_template() -> AnalysisTemplateSpec {
    let template = json!({
        "metrics": [{ "name": "errors", "count": 1, "successCondition": "result < 1",
            "provider": { "prometheus": { "address": "http://p", "query": "up" } } }],
    });
    serde_json::from_value(template).expect("a template")
}

/// Another strategy of the same kind.
///
/// # Panics
///
/// When a hundred attempts give no valid one.
#[must_use]
pub fn strategy(seed: u64, kind: Kind, of: &Rollout) -> RolloutStrategy {
    let mut random = Random::new(seed, 3);
    for _ in 0..100 {
        let mut changed = of.clone();
        changed.spec.strategy = build(&mut random, kind).spec.strategy;
        // An edit may come while something else is invalid.
        changed.spec.min_ready_seconds = 0;
        if validate::rollout(&changed).is_empty() {
            return changed.spec.strategy;
        }
    }
    panic!("no valid {kind:?}");
}

/// Other steps for a strategy of this kind.
///
/// # Panics
///
/// When a hundred attempts give no valid ones.
#[must_use]
pub fn steps(seed: u64, kind: Kind, of: &Rollout) -> Vec<CanaryStep> {
    let mut random = Random::new(seed, 4);
    for _ in 0..100 {
        let list = some_steps(&mut random, kind, of.spec.max_traffic_weight());
        let list: Vec<CanaryStep> = serde_json::from_value(json!(list)).expect("steps");
        let mut changed = of.clone();
        changed.spec.min_ready_seconds = 0;
        if let Some(canary) = &mut changed.spec.strategy.canary {
            canary.steps.clone_from(&list);
        }
        if validate::rollout(&changed).is_empty() {
            return list;
        }
    }
    panic!("no valid steps for {kind:?}");
}
