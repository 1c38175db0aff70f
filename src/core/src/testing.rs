//! Builders and recorded objects for tests, shared with the tests of other crates (feature
//! `testing`).
//!
//! ```
//! use sluice_core::testing::{pause, replica_set, rollout, weight};
//!
//! let web = rollout("web").replicas(4).canary([weight(25), pause()]).status(|s| s.replicas = 4);
//! let rs = replica_set(&web, "6fbdb5d7fc", 1).size(4, 4);
//! # let _ = rs.build();
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a fixture that cannot be built is a broken test"
)]

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};
use sluice_crds::analysis::{AnalysisPhase, Metric};
use sluice_crds::replica_set::ReplicaSetStatus;
use sluice_crds::rollout::{
    AnalysisTemplateRef, BlueGreenStrategy, CanaryStep, CanaryStrategy, RolloutAnalysis,
    RolloutPause, RolloutSpec, RolloutStatus, SetCanaryScale,
};
use sluice_crds::{
    AnalysisRun, IntOrString, LabelSelector, RawPodTemplate, ReplicaSet, Rollout, keys,
};

pub mod fuzz;
pub mod life;
pub mod records;
pub mod world;

/// The moment at which tests begin.
#[must_use]
pub fn t0() -> Timestamp {
    at(0)
}

/// Seconds after [`t0`].
#[must_use]
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("in range")
}

fn meta(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some("shop".to_owned()),
        uid: Some(format!("uid-{name}")),
        resource_version: Some("1".to_owned()),
        generation: Some(1),
        creation_timestamp: Some(sluice_crds::Time::new(t0()).into()),
        ..ObjectMeta::default()
    }
}

fn owner(kind: &str, of: &ObjectMeta) -> Vec<OwnerReference> {
    vec![OwnerReference {
        api_version: keys::API_VERSION.to_owned(),
        kind: kind.to_owned(),
        name: of.name.clone().unwrap_or_default(),
        uid: of.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }]
}

/// A Rollout under construction.
#[derive(Clone, Debug)]
pub struct RolloutBuilder(Rollout);

/// A Rollout of one replica, with selector and template, without strategy.
#[must_use]
pub fn rollout(name: &str) -> RolloutBuilder {
    let mut rollout = Rollout::new(name, RolloutSpec::default());
    rollout.metadata = meta(name);
    rollout.spec.replicas = Some(1);
    rollout.spec.selector = Some(LabelSelector::by_labels([("app", name)]));
    rollout.spec.template = template(name, "web:v1");
    RolloutBuilder(rollout)
}

/// A pod template with one container.
#[must_use]
pub fn template(app: &str, image: &str) -> RawPodTemplate {
    RawPodTemplate::new(&json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "web", "image": image}]},
    }))
}

impl RolloutBuilder {
    /// Anything the other methods do not offer.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Rollout)) -> Self {
        change(&mut self.0);
        self
    }

    /// `spec.replicas`.
    #[must_use]
    pub fn replicas(self, replicas: i32) -> Self {
        self.with(|r| r.spec.replicas = Some(replicas))
    }

    /// The image of the only container.
    #[must_use]
    pub fn image(self, image: &str) -> Self {
        self.with(|r| r.spec.template = template(r.metadata.name.as_deref().unwrap_or(""), image))
    }

    /// A canary with these steps.
    #[must_use]
    pub fn canary(self, steps: impl IntoIterator<Item = CanaryStep>) -> Self {
        let steps = steps.into_iter().collect();
        self.with(|r| {
            r.spec.strategy.canary = Some(CanaryStrategy {
                steps,
                ..CanaryStrategy::default()
            });
        })
    }

    /// Changes the canary strategy, which has to be there.
    #[must_use]
    pub fn strategy(self, change: impl FnOnce(&mut CanaryStrategy)) -> Self {
        self.with(|r| change(r.spec.strategy.canary.as_mut().expect("a canary")))
    }

    /// Traffic routing as JSON, below `trafficRouting`.
    #[must_use]
    pub fn routed(self, routing: Value) -> Self {
        self.strategy(|canary| {
            canary.traffic_routing =
                Some(serde_json::from_value(routing).expect("traffic routing"));
        })
    }

    /// Blue-green between these services; an empty preview means none.
    #[must_use]
    pub fn blue_green(self, active: &str, preview: &str) -> Self {
        self.with(|r| {
            r.spec.strategy.blue_green = Some(BlueGreenStrategy {
                active_service: active.to_owned(),
                preview_service: preview.to_owned(),
                ..BlueGreenStrategy::default()
            });
        })
    }

    /// An annotation.
    #[must_use]
    pub fn annotation(self, key: &str, value: &str) -> Self {
        self.with(|r| {
            let all = r.metadata.annotations.get_or_insert_default();
            all.insert(key.to_owned(), value.to_owned());
        })
    }

    /// Changes the status, which is about the present generation to begin with.
    #[must_use]
    pub fn status(self, change: impl FnOnce(&mut RolloutStatus)) -> Self {
        self.with(|r| {
            let generation = r.metadata.generation.unwrap_or(0).to_string();
            let status = r.status.get_or_insert_with(|| RolloutStatus {
                observed_generation: generation,
                ..RolloutStatus::default()
            });
            change(status);
        })
    }

    /// The Rollout.
    #[must_use]
    pub fn build(self) -> Rollout {
        self.0
    }
}

/// `setWeight`.
#[must_use]
pub fn weight(weight: i32) -> CanaryStep {
    CanaryStep {
        set_weight: Some(weight),
        ..CanaryStep::default()
    }
}

/// A pause until somebody promotes.
#[must_use]
pub fn pause() -> CanaryStep {
    CanaryStep {
        pause: Some(RolloutPause::default()),
        ..CanaryStep::default()
    }
}

/// A pause of this many seconds.
#[must_use]
pub fn pause_for(seconds: i32) -> CanaryStep {
    let pause = RolloutPause {
        duration: Some(IntOrString::Int(seconds)),
    };
    CanaryStep {
        pause: Some(pause),
        ..CanaryStep::default()
    }
}

/// `setCanaryScale` with a number of pods.
#[must_use]
pub fn scale(replicas: i32) -> CanaryStep {
    let scale = SetCanaryScale {
        replicas: Some(replicas),
        ..SetCanaryScale::default()
    };
    CanaryStep {
        set_canary_scale: Some(scale),
        ..CanaryStep::default()
    }
}

/// An analysis step with one template.
#[must_use]
pub fn analysis(template: &str) -> CanaryStep {
    let template = AnalysisTemplateRef {
        template_name: template.to_owned(),
        ..AnalysisTemplateRef::default()
    };
    let analysis = RolloutAnalysis {
        templates: vec![template],
        ..RolloutAnalysis::default()
    };
    CanaryStep {
        analysis: Some(Box::new(analysis)),
        ..CanaryStep::default()
    }
}

/// A ReplicaSet under construction.
#[derive(Clone, Debug)]
pub struct ReplicaSetBuilder(ReplicaSet);

/// A ReplicaSet of a Rollout, without pods.
#[must_use]
pub fn replica_set(of: &RolloutBuilder, hash: &str, revision: i64) -> ReplicaSetBuilder {
    let name = format!("{}-{hash}", of.0.metadata.name.as_deref().unwrap_or(""));
    let mut rs = ReplicaSet {
        metadata: meta(&name),
        ..ReplicaSet::default()
    };
    let mut labels = of.0.spec.template.labels();
    labels.insert(keys::POD_TEMPLATE_HASH.to_owned(), hash.to_owned());
    rs.metadata.owner_references = Some(owner("Rollout", &of.0.metadata));
    rs.metadata.creation_timestamp = Some(sluice_crds::Time::new(at(revision * 60)).into());
    rs.spec.selector = LabelSelector::by_labels(labels.clone());
    rs.spec.template = of.0.spec.template.with_label(keys::POD_TEMPLATE_HASH, hash);
    rs.metadata.labels = Some(labels);
    ReplicaSetBuilder(rs)
        .size(0, 0)
        .annotation(keys::REVISION, &revision.to_string())
}

impl ReplicaSetBuilder {
    /// Anything the other methods do not offer.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut ReplicaSet)) -> Self {
        change(&mut self.0);
        self
    }

    /// `spec.replicas`, as many pods, and how many of them are ready and available; sized for the
    /// Rollout's wish.
    #[must_use]
    pub fn size(self, spec: i32, available: i32) -> Self {
        self.with(|rs| {
            rs.spec.replicas = Some(spec);
            rs.status = Some(ReplicaSetStatus {
                replicas: spec,
                ready_replicas: available,
                available_replicas: available,
                observed_generation: 1,
                ..ReplicaSetStatus::default()
            });
        })
    }

    /// An annotation.
    #[must_use]
    pub fn annotation(self, key: &str, value: &str) -> Self {
        self.with(|rs| {
            let all = rs.metadata.annotations.get_or_insert_default();
            all.insert(key.to_owned(), value.to_owned());
        })
    }

    /// The ReplicaSet.
    #[must_use]
    pub fn build(self) -> Arc<ReplicaSet> {
        Arc::new(self.0)
    }
}

/// An AnalysisRun with these metrics, each the JSON of one.
#[must_use]
pub fn analysis_run(name: &str, metrics: impl IntoIterator<Item = Value>) -> AnalysisRun {
    let metrics: Vec<Metric> = metrics
        .into_iter()
        .map(|m| serde_json::from_value(m).expect("a metric"))
        .collect();
    let mut run = AnalysisRun {
        metadata: meta(name),
        ..AnalysisRun::default()
    };
    run.spec.metrics = metrics;
    run
}

/// Gives a run a phase, and an owner.
#[must_use]
pub fn run_of(of: &RolloutBuilder, name: &str, phase: AnalysisPhase) -> AnalysisRun {
    let mut run = AnalysisRun {
        metadata: meta(name),
        ..AnalysisRun::default()
    };
    run.metadata.owner_references = Some(owner("Rollout", &of.0.metadata));
    run.status.get_or_insert_default().phase = phase;
    run
}
