//! What the API server will refuse in a pod template once there is an update (SE-25).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field_error::FieldError;
use crate::pod_template::RawPodTemplate;

const PATH: &str = "spec.template.spec";

/// Mounts of volumes that the pod has not. The rules of Kubernetes change, this one does not.
pub(super) fn warnings(template: &RawPodTemplate) -> Vec<FieldError> {
    let template = template.value();
    let spec = template.get("spec").unwrap_or(&Value::Null);
    let volumes: BTreeSet<&str> = items(spec, "volumes").iter().map(name).collect();
    let mut found = Vec::new();
    for list in ["containers", "initContainers"] {
        for (i, container) in items(spec, list).iter().enumerate() {
            for (member, kind) in [
                ("volumeMounts", "mountPath"),
                ("volumeDevices", "devicePath"),
            ] {
                let mounts = items(container, member).iter().enumerate();
                let without = mounts.filter(|(_, mount)| !volumes.contains(name(mount)));
                found.extend(without.map(|(j, mount)| {
                    let at = mount.get(kind).and_then(Value::as_str).unwrap_or("");
                    let detail = format!(
                        "there is no such volume for {at:?}, so the API server refuses the pods and \
                         the update is invalid; add it to volumes"
                    );
                    let path = format!("{PATH}.{list}[{i}].{member}[{j}].name");
                    FieldError::invalid(path, name(mount), detail)
                }));
            }
        }
    }
    found
}

fn items<'a>(object: &'a Value, member: &str) -> &'a [Value] {
    let list = object.get(member).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

fn name(object: &Value) -> &str {
    object.get("name").and_then(Value::as_str).unwrap_or("")
}
