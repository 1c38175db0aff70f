//! Pods that will never start (ANA-60).

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::DynamicObject;
use serde_json::Value as Json;

const TERMINAL: [&str; 3] = ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"];

/// Pods are worth a look while the Job has active ones that are not ready.
pub(super) fn may_be_stuck(job: &DynamicObject) -> bool {
    let count = |name: &str| {
        job.data
            .get("status")
            .and_then(|s| s.get(name))
            .and_then(Json::as_i64)
            .unwrap_or(0)
    };
    count("active") > count("ready")
}

/// The Job's selector as a query; none before the API server has filled it in.
pub(super) fn selector(job: &DynamicObject) -> Option<String> {
    let labels = job
        .data
        .pointer("/spec/selector/matchLabels")?
        .as_object()?;
    let pairs: Option<Vec<String>> = labels
        .iter()
        .map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .collect();
    pairs
        .filter(|pairs| !pairs.is_empty())
        .map(|pairs| pairs.join(","))
}

/// What keeps a pod from starting for good.
pub(super) fn terminal_error(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let init = status.init_container_statuses.iter().flatten();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    init.chain(status.container_statuses.iter().flatten())
        .find_map(|container| waiting(name, container))
}

fn waiting(pod: &str, container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    let message = waiting.message.as_deref().unwrap_or_default();
    TERMINAL.contains(&reason).then(|| {
        format!(
            "Pod {pod}, container {} has terminal error ({reason}): {message}\n",
            container.name
        )
    })
}
