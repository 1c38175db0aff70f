//! Live pods of a Rollout, for restarts and ephemeral metadata.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject};
use sluice_core::observed::{Observed, PodView};
use sluice_crds::LabelSelector;

use crate::cache::{Pod, controller_uid};
use crate::ctx::Ctx;

/// Lists the pods that the selector matches and that one of the seen ReplicaSets controls.
///
/// # Errors
/// The API server's.
pub(super) async fn read(
    ctx: &Ctx,
    seen: &Observed,
    selector: &LabelSelector,
    now: Timestamp,
) -> kube::Result<(Vec<PodView>, BTreeMap<String, DynamicObject>)> {
    let namespace = seen.rollout.namespace().unwrap_or_default();
    let kind = ApiResource::erase::<Pod>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(ctx.client.clone(), &namespace, &kind);
    let min_ready = SignedDuration::from_secs(seen.rollout.spec.min_ready_seconds.into());
    let (mut views, mut objects) = (Vec::new(), BTreeMap::new());
    for object in api.list(&super::query(selector)).await?.items {
        let Some(owner) = controller_uid(&object.metadata).map(str::to_owned) else {
            continue;
        };
        if !seen
            .replica_sets
            .iter()
            .any(|rs| rs.metadata.uid.as_deref() == Some(&owner))
        {
            continue;
        }
        // What cannot be decoded counts as a pod that is not available.
        let pod = serde_json::from_value::<Pod>(super::to_value(&object)).unwrap_or_default();
        let terminating = object.metadata.deletion_timestamp.is_some();
        let name = object.name_any();
        views.push(PodView {
            owner,
            created: object.metadata.creation_timestamp.as_ref().map(|at| at.0),
            available: !terminating && is_available(&pod, min_ready, now),
            terminating,
            labels: object.labels().clone(),
            annotations: object.annotations().clone(),
            resource_version: object.resource_version().unwrap_or_default(),
            name: name.clone(),
        });
        objects.insert(name, object);
    }
    views.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((views, objects))
}

/// Ready for `min_ready` (CTL-126).
fn is_available(pod: &Pod, min_ready: SignedDuration, now: Timestamp) -> bool {
    let ready = pod
        .status
        .conditions
        .iter()
        .find(|c| c.r#type == "Ready" && c.status == "True");
    ready.is_some_and(|ready| {
        let since = ready.last_transition_time.as_ref().map(|at| at.0);
        min_ready.is_zero() || since.is_some_and(|since| now.duration_since(since) >= min_ready)
    })
}
