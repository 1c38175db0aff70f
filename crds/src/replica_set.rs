//! ReplicaSets as envelopes: what we read is typed, the pod template stays raw.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pod_template::RawPodTemplate;
use crate::resource::resource;
use crate::selector::LabelSelector;
use crate::time::Time;
use crate::wire;

resource! {
    /// An `apps/v1` ReplicaSet. Write it with POST (creation) or patches only: members that are
    /// not listed here are not kept.
    pub struct ReplicaSet {
        spec: ReplicaSetSpec,
        status: ReplicaSetStatus,
    }
    group: "apps", version: "v1", plural: "replicasets", scope: NamespaceResourceScope
}

/// `spec` of a ReplicaSet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaSetSpec {
    /// Desired pods; the API server makes absent 1.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub replicas: Option<i32>,
    /// Seconds a pod must stay ready before it counts as available.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub min_ready_seconds: i32,
    /// Pods of the ReplicaSet.
    #[serde(deserialize_with = "wire::or_default")]
    pub selector: LabelSelector,
    /// Pod template.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub template: RawPodTemplate,
}

/// `status` of a ReplicaSet, written by the controller manager.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaSetStatus {
    /// Pods.
    #[serde(deserialize_with = "wire::number")]
    pub replicas: i32,
    /// Pods with all labels of the template.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub fully_labeled_replicas: i32,
    /// Ready pods.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub ready_replicas: i32,
    /// Pods that have been ready for `minReadySeconds`.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub available_replicas: i32,
    /// Pods that are going away.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub terminating_replicas: Option<i32>,
    /// Generation that this status is about.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub observed_generation: i64,
    /// Conditions, such as `ReplicaFailure`.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub conditions: Vec<ReplicaSetCondition>,
}

/// A condition of a ReplicaSet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaSetCondition {
    /// Kind of condition.
    #[serde(deserialize_with = "wire::or_default")]
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    #[serde(deserialize_with = "wire::or_default")]
    pub status: String,
    /// Last change of `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// Reason, one word.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub reason: String,
    /// For people.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub message: String,
}

impl ReplicaSet {
    /// The pod hash in its labels.
    pub fn pod_hash(&self) -> Option<&str> {
        let labels = self.metadata.labels.as_ref()?;
        labels
            .get(crate::keys::POD_TEMPLATE_HASH)
            .map(String::as_str)
    }

    /// An annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata
            .annotations
            .as_ref()?
            .get(key)
            .map(String::as_str)
    }
}
