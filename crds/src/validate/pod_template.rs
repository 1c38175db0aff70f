//! The part of pod template validation that is done here; the rest is the API server's, which is
//! asked by a dry-run (SE-25).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field_error::FieldError;
use crate::pod_template::RawPodTemplate;

const PATH: &str = "spec.template.spec";

pub(super) fn errors(template: &RawPodTemplate) -> Vec<FieldError> {
    let template = template.value();
    let spec = template.get("spec").unwrap_or(&Value::Null);
    let mut errors = containers(spec);
    let policy = spec
        .get("restartPolicy")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !matches!(policy, "" | "Always") {
        let path = format!("{PATH}.restartPolicy");
        errors.push(FieldError::unsupported(path, policy, &["Always"]));
    }
    if spec
        .get("activeDeadlineSeconds")
        .is_some_and(|seconds| !seconds.is_null())
    {
        errors.push(FieldError::forbidden(
            format!("{PATH}.activeDeadlineSeconds"),
            "activeDeadlineSeconds in ReplicaSet is not Supported",
        ));
    }
    errors
}

fn containers(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut names = BTreeSet::new();
    for list in ["containers", "initContainers"] {
        let items = spec
            .get(list)
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        if items.is_empty() && list == "containers" {
            errors.push(FieldError::required(format!("{PATH}.{list}"), ""));
        }
        for (i, container) in items.iter().enumerate() {
            let path = format!("{PATH}.{list}[{i}]");
            let text = |key: &str| {
                container
                    .get(key)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let name = text("name");
            if name.is_empty() {
                errors.push(FieldError::required(format!("{path}.name"), ""));
            } else if !names.insert(name) {
                errors.push(FieldError::duplicate(format!("{path}.name"), name));
            }
            if text("image").is_empty() {
                errors.push(FieldError::required(format!("{path}.image"), ""));
            }
        }
    }
    errors
}
