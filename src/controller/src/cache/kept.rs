//! What of an object stays in memory, whether a watch, a live read or the answer to a write brought it.

use std::fmt::Debug;

use kube::Resource;
use kube::api::DynamicObject;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sluice_core::unreadable::children;
use sluice_crds::rollout::RolloutPhase;
use sluice_crds::{
    AnalysisRun, AnalysisTemplate, ClusterAnalysisTemplate, Experiment, FieldError, ReplicaSet,
    Rollout,
};

/// A kind that stores keep.
pub trait Kept: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static {
    /// Drops what nobody reads. Objects that are ever written as a whole must keep their annotations.
    fn trim(&mut self) {
        let meta = self.meta_mut();
        meta.managed_fields = None;
        meta.generate_name = None;
        meta.self_link = None;
        if let Some(annotations) = &mut meta.annotations {
            annotations.remove(sluice_crds::keys::LAST_APPLIED);
        }
    }

    /// Shares what is large and equal with the version that was known before.
    fn share(&mut self, _before: &Self) {}

    /// Whether something stands in for an object of this kind that cannot be decoded.
    const STANDS_IN: bool = false;

    /// What stands in for an object that cannot be decoded, and why it cannot.
    fn stand_in(_object: &Value, _error: &FieldError) -> Option<Self> {
        None
    }

    /// A small form of an object that hardly anybody will look at: JSON that decodes to the same.
    fn packed(&self) -> Option<Box<str>> {
        None
    }
}

/// Most are at rest most of the time, and their many small maps and lists take several times the
/// memory of the text.
impl Kept for Rollout {
    fn share(&mut self, before: &Self) {
        self.spec.template.share(&before.spec.template);
    }

    fn packed(&self) -> Option<Box<str>> {
        let status = self.status.as_ref()?;
        let generation = self.metadata.generation.unwrap_or_default();
        let at_rest = self.metadata.deletion_timestamp.is_none()
            && status.observed_generation == generation.to_string()
            && matches!(
                status.phase,
                RolloutPhase::Healthy | RolloutPhase::Degraded | RolloutPhase::Paused
            );
        if at_rest { pack(self) } else { None }
    }
}

/// There are several for each Rollout, and next to all of them are at rest: as text they take a third
/// of the memory.
impl Kept for ReplicaSet {
    fn share(&mut self, before: &Self) {
        self.spec.template.share(&before.spec.template);
    }

    fn packed(&self) -> Option<Box<str>> {
        let (status, size) = (self.status.as_ref()?, self.spec.replicas.unwrap_or(1));
        let at_rest = self.metadata.deletion_timestamp.is_none()
            && self.metadata.generation.unwrap_or_default() <= status.observed_generation
            && [
                status.replicas,
                status.ready_replicas,
                status.available_replicas,
            ] == [size; 3];
        if at_rest { pack(self) } else { None }
    }
}

impl Kept for AnalysisRun {
    const STANDS_IN: bool = true;

    fn stand_in(object: &Value, error: &FieldError) -> Option<Self> {
        Some(children::run(object, error))
    }
}

impl Kept for Experiment {
    const STANDS_IN: bool = true;

    fn stand_in(object: &Value, error: &FieldError) -> Option<Self> {
        Some(children::experiment(object, error))
    }
}

impl Kept for AnalysisTemplate {}
impl Kept for ClusterAnalysisTemplate {}

/// Routes are looked at by the passes of their Rollout only, and their many small maps take several
/// times the memory of the text.
impl Kept for DynamicObject {
    fn trim(&mut self) {
        self.metadata.managed_fields = None;
    }

    fn packed(&self) -> Option<Box<str>> {
        pack(self)
    }
}

/// The text of an object, if it decodes to the same.
fn pack<K: Kept + PartialEq + Serialize>(object: &K) -> Option<Box<str>> {
    let text = serde_json::to_string(object).ok()?;
    let same = serde_json::from_str::<K>(&text).is_ok_and(|decoded| decoded == *object);
    same.then(|| text.into())
}
