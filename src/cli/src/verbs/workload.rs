//! The object that holds a Rollout's pod template: the Rollout, or what its `workloadRef` names.

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use sluice_core::commands::CommandError;
use sluice_crds::Rollout;

use super::act::Kind;
use crate::client::Session;
use crate::failure::Failure;

/// Where the pod template stands.
pub(super) struct Workload {
    pub(super) api: Api<DynamicObject>,
    pub(super) kind: String,
    pub(super) name: String,
}

/// Finds it, by the kind that `workloadRef` names (EDGE-5).
///
/// # Errors
/// When the kind is none that has a pod template.
pub(super) fn of(session: &Session, rollout: &Rollout) -> Result<Workload, Failure> {
    let name = rollout.metadata.name.clone().unwrap_or_default();
    let Some(reference) = &rollout.spec.workload_ref else {
        return Ok(Workload {
            api: Kind::Rollout.api(session),
            kind: "rollout".into(),
            name,
        });
    };
    let (group, version) = reference
        .api_version
        .split_once('/')
        .unwrap_or(("", &reference.api_version));
    let plural = match (group, reference.kind.as_str()) {
        ("apps", "Deployment") => "deployments",
        ("apps", "ReplicaSet") => "replicasets",
        ("", "PodTemplate") => "podtemplates",
        (_, kind) => return Err(CommandError::WorkloadKind(format!("{group}/{kind}")).into()),
    };
    let gvk = GroupVersionKind::gvk(group, version, &reference.kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
    Ok(Workload {
        api: Api::namespaced_with(session.client.clone(), &session.namespace, &resource),
        kind: reference.kind.to_lowercase(),
        name: reference.name.clone(),
    })
}
