//! What has to hold.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

/// What has to hold; absent members are not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Expect {
    /// `status.phase`, once the controller has seen the current spec (API-66).
    pub phase: Option<String>,
    /// `status.message` contains this.
    pub message: Option<String>,
    /// `status.currentStepIndex`.
    pub step: Option<i32>,
    /// `status.canary.weights.canary.weight`.
    pub weight: Option<i32>,
    /// `status.abort`.
    pub aborted: Option<bool>,
    /// Whether `status.stableRS` is the current pod hash.
    pub promoted: Option<bool>,
    /// Available pods by image; an image that is not named may have any number.
    #[serde(default)]
    pub pods: BTreeMap<String, i32>,
    /// Least number of available pods over all ReplicaSets.
    pub available_at_least: Option<i32>,
    /// Largest number of pods over all ReplicaSets, available or not.
    pub pods_at_most: Option<i32>,
    /// Ready pods behind a Service.
    #[serde(default)]
    pub ready: BTreeMap<String, i32>,
    /// Least number of ready pods behind a Service.
    #[serde(default)]
    pub ready_at_least: BTreeMap<String, i32>,
    /// Condition type to `status/reason` or just `status`.
    #[serde(default)]
    pub conditions: BTreeMap<String, String>,
    /// Reasons of events on the Rollout that must have been recorded.
    #[serde(default)]
    pub events: Vec<String>,
    /// Text that is part of events on the Rollout to how often it may have been told.
    #[serde(default)]
    pub told_at_most: BTreeMap<String, usize>,
    /// Service name to the image of the pods it selects.
    #[serde(default)]
    pub services: BTreeMap<String, String>,
    /// `VirtualService/host-or-subset` or `Ingress/name` to its weight.
    #[serde(default)]
    pub routes: BTreeMap<String, i32>,
    /// AnalysisRun phases by `rollout-type` label, the newest of each.
    #[serde(default)]
    pub runs: BTreeMap<String, String>,
    /// Experiment phases, the newest.
    pub experiment: Option<String>,
    /// Deployment name to `spec.replicas`.
    #[serde(default)]
    pub deployments: BTreeMap<String, i32>,
    /// `Kind/name` to members that the object has, items of lists by position; `null`: there is no
    /// such object.
    #[serde(default)]
    pub objects: BTreeMap<String, Value>,
    /// Kind to the number of objects of that kind.
    #[serde(default)]
    pub counts: BTreeMap<String, usize>,
}

impl Expect {
    /// Kinds that it is about beyond those that every look reads.
    #[must_use]
    pub fn kinds(&self) -> BTreeSet<&str> {
        let named = self.objects.keys();
        let named = named.map(|name| name.split_once('/').map_or(name.as_str(), |(kind, _)| kind));
        let pods = !self.ready.is_empty() || !self.ready_at_least.is_empty();
        named
            .chain(self.counts.keys().map(String::as_str))
            .chain(pods.then_some("Pod"))
            .collect()
    }
}
