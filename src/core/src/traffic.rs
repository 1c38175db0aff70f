//! What the core wants of every traffic router, in words that hold for all of them.
//!
//! The core decides the split (TRF-5..12); a router only renders it into its own objects.

use sluice_crds::rollout::{SetHeaderRoute, SetMirrorRoute, TrafficWeights, WeightDestination};

/// A further destination beside canary and stable: an experiment's Service (TRF-12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Additional {
    /// Share of requests, in parts of [`Want::max_weight`].
    pub weight: i32,
    /// Service to send them to.
    pub service: String,
    /// Pod-template hash behind that Service.
    pub pod_hash: String,
}

/// The wanted state of all routes of one Rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    /// Pod-template hash of the canary; empty when there is none.
    pub canary_hash: String,
    /// Pod-template hash of the stable version; empty on the very first deploy.
    pub stable_hash: String,
    /// Service that selects the canary (ping or pong where those are used); empty with subsets only.
    pub canary_service: String,
    /// Service that selects the stable version; empty with subsets only.
    pub stable_service: String,
    /// Share of requests for the canary, in parts of `max_weight`.
    pub weight: i32,
    /// The whole, `maxTrafficWeight` or 100.
    pub max_weight: i32,
    /// Further destinations.
    pub additional: Vec<Additional>,
    /// Header route of the current step (TRF-8).
    pub header_route: Option<SetHeaderRoute>,
    /// Mirror route of the current step (TRF-8).
    pub mirror_route: Option<SetMirrorRoute>,
    /// Delete every managed route first (TRF-5 column "also").
    pub remove_managed_routes: bool,
    /// Only delete managed routes: hashes and weights stay untouched (the capacity gate is shut, TRF-7).
    pub only_remove_managed_routes: bool,
    /// Take the weight down before the hashes move: the canary has no available pod (TRF-9).
    pub weight_before_hash: bool,
    /// Leave subset hashes as they are: a named ReplicaSet is not fully available yet (TRF-111).
    pub keep_hashes: bool,
}

impl Want {
    /// Whether it asks for nothing but what is on record: same weights to the same hashes (or to
    /// those that are there, where it leaves them), no route to add. Removing managed routes at rest
    /// is such a repetition too.
    #[must_use]
    pub fn repeats(&self, on_record: &TrafficWeights) -> bool {
        let same = |destination: &WeightDestination, weight: i32, hash: &str| {
            destination.weight == weight
                && (self.keep_hashes || destination.pod_template_hash == hash)
        };
        let extra: i32 = self
            .additional
            .iter()
            .map(|additional| additional.weight)
            .sum();
        same(&on_record.canary, self.weight, &self.canary_hash)
            && same(
                &on_record.stable,
                self.max_weight - self.weight - extra,
                &self.stable_hash,
            )
            && on_record.additional.len() == self.additional.len()
            && on_record
                .additional
                .iter()
                .zip(&self.additional)
                .all(|(on, want)| same(on, want.weight, &want.pod_hash))
            && self.header_route.is_none()
            && self.mirror_route.is_none()
    }
}

/// What a router can say about a weight that it was given (TRF-13).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// The router cannot tell; the write itself is the proof.
    #[default]
    NotSupported,
    /// The data plane has it.
    Verified,
    /// The data plane does not have it yet.
    NotVerified,
    /// Asking failed.
    Failed(String),
}

impl Verification {
    /// What is known before this process has asked a router for anything: doubt that was recorded by
    /// its predecessor remains (INV-3).
    #[must_use]
    pub fn unasked(recorded: Option<&TrafficWeights>) -> Self {
        match recorded.and_then(|weights| weights.verified) {
            Some(false) => Self::NotVerified,
            Some(true) | None => Self::NotSupported,
        }
    }
}

/// What recorded weights are parts of: `maxTrafficWeight` as it was when they were recorded, which may
/// have changed since.
pub(crate) fn whole_of(weights: &TrafficWeights) -> i32 {
    let shares = [&weights.canary, &weights.stable].into_iter();
    shares
        .chain(&weights.additional)
        .map(|destination| destination.weight)
        .fold(0, i32::saturating_add)
}
