//! Foreign kinds, cut down to what decisions read. They are decoded from watches and live reads, and
//! never written as a whole.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::Deserialize;
use sluice_core::observed::{ServiceView, WorkloadView};
use sluice_crds::{LabelSelector, RawPodTemplate, keys};

use super::kept::Kept;

macro_rules! lite {
    ($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident: $type:ty,)* }
     $group:literal $version:literal $kind:literal $plural:literal) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            /// Name, labels, owners.
            pub metadata: ObjectMeta,
            $($(#[$fmeta])* pub $field: $type,)*
        }

        impl Resource for $name {
            type DynamicType = ();
            type Scope = NamespaceResourceScope;

            fn kind(_: &()) -> Cow<'_, str> {
                $kind.into()
            }
            fn group(_: &()) -> Cow<'_, str> {
                $group.into()
            }
            fn version(_: &()) -> Cow<'_, str> {
                $version.into()
            }
            fn plural(_: &()) -> Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

lite! {
    /// A Service.
    Service {
        /// `spec`.
        spec: ServiceSpec,
    }
    "" "v1" "Service" "services"
}

/// `spec` of a Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServiceSpec {
    /// Labels of the pods behind it.
    pub selector: Option<BTreeMap<String, String>>,
}

impl Kept for Service {
    fn trim(&mut self) {
        let meta = &mut self.metadata;
        let annotations = meta.annotations.take().unwrap_or_default();
        let kept = annotations.into_iter().filter(|(key, _)| {
            matches!(
                key.as_str(),
                keys::MANAGED_BY | keys::EXPERIMENT_NAME | keys::EXPERIMENT_TEMPLATE
            )
        });
        let kept: BTreeMap<_, _> = kept.collect();
        *meta = ObjectMeta {
            name: meta.name.take(),
            namespace: meta.namespace.take(),
            uid: meta.uid.take(),
            resource_version: meta.resource_version.take(),
            deletion_timestamp: meta.deletion_timestamp.take(),
            owner_references: meta.owner_references.take(),
            annotations: (!kept.is_empty()).then_some(kept),
            ..ObjectMeta::default()
        };
    }
}

impl Service {
    /// What decisions look at.
    #[must_use]
    pub fn view(&self) -> ServiceView {
        let managed_by = self
            .metadata
            .annotations
            .as_ref()
            .and_then(|a| a.get(keys::MANAGED_BY));
        ServiceView {
            selector: self.spec.selector.clone().unwrap_or_default(),
            managed_by: managed_by.cloned(),
        }
    }
}

lite! {
    /// A Job of an analysis.
    Job {
        /// `status`.
        status: JobStatus,
    }
    "batch" "v1" "Job" "jobs"
}

/// `status` of a Job.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct JobStatus {
    /// `Complete`, `Failed` and others.
    pub conditions: Vec<JobCondition>,
}

/// A condition of a Job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct JobCondition {
    /// Kind of condition.
    pub r#type: String,
    /// `True` or not.
    pub status: String,
}

impl Kept for Job {}

impl Job {
    /// Whether it has ended (ANA-5).
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.status
            .conditions
            .iter()
            .any(|c| matches!(c.r#type.as_str(), "Complete" | "Failed"))
    }
}

lite! {
    /// A pod, as restarts and ephemeral metadata see it.
    Pod {
        /// `status`.
        status: PodStatus,
    }
    "" "v1" "Pod" "pods"
}

/// `status` of a pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodStatus {
    /// `Ready` and others.
    pub conditions: Vec<PodCondition>,
}

/// A condition of a pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodCondition {
    /// Kind of condition.
    pub r#type: String,
    /// `True` or not.
    pub status: String,
    /// Last change of `status`.
    pub last_transition_time: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
}

impl Kept for Pod {}

macro_rules! workload {
    ($name:ident $group:literal $kind:literal $plural:literal) => {
        lite! {
            /// A workload that a Rollout may refer to.
            $name {
                /// `spec`.
                spec: WorkloadSpec,
            }
            $group "v1" $kind $plural
        }

        impl Kept for $name {}

        impl $name {
            /// What decisions look at.
            #[must_use]
            pub fn view(&self) -> WorkloadView {
                WorkloadView {
                    template: self.spec.template.clone(),
                    selector: self.spec.selector.clone(),
                    generation: self.metadata.generation,
                    replicas: self.spec.replicas,
                }
            }
        }
    };
}

workload!(Deployment "apps" "Deployment" "deployments");
workload!(ForeignReplicaSet "apps" "ReplicaSet" "replicasets");

/// `spec` of a Deployment or ReplicaSet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct WorkloadSpec {
    /// Its size.
    pub replicas: Option<i32>,
    /// Its pods.
    pub selector: Option<LabelSelector>,
    /// Its pod template.
    pub template: RawPodTemplate,
}

lite! {
    /// A PodTemplate that a Rollout may refer to.
    PodTemplate {
        /// The template.
        template: RawPodTemplate,
    }
    "" "v1" "PodTemplate" "podtemplates"
}

impl Kept for PodTemplate {}

impl PodTemplate {
    /// What decisions look at.
    #[must_use]
    pub fn view(&self) -> WorkloadView {
        WorkloadView {
            template: self.template.clone(),
            selector: None,
            generation: self.metadata.generation,
            replicas: None,
        }
    }
}
