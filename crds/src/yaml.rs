//! The CustomResourceDefinitions, made from the Rust types (API-5..10).
//!
//! They are lean: a pod template keeps whatever is written into it, and only what changes the
//! meaning of a write is spelled out there (lists that server-side apply merges by key, the
//! default protocol of ports, metadata that is pruned). The files in `crds/yaml` are this module's
//! output; a test compares them.

mod pod_template;
mod schema;

use schemars::JsonSchema;
use serde_json::{Value, json};

use crate::analysis::{AnalysisRunSpec, AnalysisRunStatus, AnalysisTemplateSpec};
use crate::experiment::{ExperimentSpec, ExperimentStatus};
use crate::rollout::{RolloutSpec, RolloutStatus};
use crate::wire::Sorted;

pub(crate) use pod_template::pod_template;

/// All definitions as (file name, YAML text).
pub fn all() -> Vec<(String, String)> {
    let definitions = definitions().into_iter();
    definitions
        .map(|definition| {
            let plural = definition
                .pointer("/spec/names/plural")
                .and_then(Value::as_str);
            let file = format!("{}.yaml", plural.unwrap_or_default());
            let text = serde_yaml_ng::to_string(&Sorted(&definition)).unwrap_or_default();
            (file, text)
        })
        .collect()
}

/// All definitions as JSON.
pub fn definitions() -> Vec<Value> {
    let status_column = |kind: &str| {
        column(
            "Status",
            "string",
            ".status.phase",
            &format!("{kind} status"),
        )
    };
    let template = || object(spec::<AnalysisTemplateSpec>(), None);
    vec![
        definition(
            ["Rollout", "rollouts", "ro"],
            "Namespaced",
            rollout_columns(),
            rollout_schema(),
            json!({
                "status": {},
                "scale": {
                    "specReplicasPath": ".spec.replicas",
                    "statusReplicasPath": ".status.HPAReplicas",
                    "labelSelectorPath": ".status.selector",
                },
            }),
        ),
        definition(
            ["AnalysisRun", "analysisruns", "ar"],
            "Namespaced",
            vec![status_column("AnalysisRun")],
            object(spec::<AnalysisRunSpec>(), Some(spec::<AnalysisRunStatus>())),
            Value::Null,
        ),
        definition(
            ["AnalysisTemplate", "analysistemplates", "at"],
            "Namespaced",
            vec![],
            template(),
            Value::Null,
        ),
        definition(
            ["ClusterAnalysisTemplate", "clusteranalysistemplates", "cat"],
            "Cluster",
            vec![],
            template(),
            Value::Null,
        ),
        definition(
            ["Experiment", "experiments", "exp"],
            "Namespaced",
            vec![status_column("Experiment")],
            object(spec::<ExperimentSpec>(), Some(spec::<ExperimentStatus>())),
            Value::Null,
        ),
    ]
}

fn spec<T: JsonSchema>() -> Value {
    schema::structural::<T>()
}

fn rollout_schema() -> Value {
    let mut schema = object(spec::<RolloutSpec>(), Some(spec::<RolloutStatus>()));
    if let Some(Value::Object(selector)) =
        schema.pointer_mut("/properties/spec/properties/selector")
    {
        // API-9
        let rule = json!([{ "rule": "self == oldSelf", "message": ".spec.selector is immutable" }]);
        selector.insert("x-kubernetes-validations".to_owned(), rule);
    }
    schema
}

/// The schema of an object; `spec` is required (API-10).
fn object(spec: Value, status: Option<Value>) -> Value {
    let mut properties = json!({
        "apiVersion": { "type": "string" },
        "kind": { "type": "string" },
        "metadata": { "type": "object" },
        "spec": spec,
    });
    if let (Some(properties), Some(status)) = (properties.as_object_mut(), status) {
        properties.insert("status".to_owned(), status);
    }
    json!({ "type": "object", "required": ["spec"], "properties": properties })
}

fn column(name: &str, of_type: &str, path: &str, description: &str) -> Value {
    json!({ "name": name, "type": of_type, "jsonPath": path, "description": description })
}

/// API-7
fn rollout_columns() -> Vec<Value> {
    let of_status = |name, field: &str, description: &str| {
        column(name, "integer", &format!(".status.{field}"), description)
    };
    let total = "Total number of non-terminated pods targeted by this rollout";
    vec![
        column(
            "Desired",
            "integer",
            ".spec.replicas",
            "Number of desired pods",
        ),
        of_status("Current", "replicas", total),
        of_status(
            "Up-to-date",
            "updatedReplicas",
            &format!("{total} that have the desired template spec"),
        ),
        of_status(
            "Available",
            "availableReplicas",
            "Total number of available pods (ready for at least minReadySeconds) targeted by this \
             rollout",
        ),
    ]
}

fn definition(
    [kind, plural, short]: [&str; 3],
    scope: &str,
    mut columns: Vec<Value>,
    schema: Value,
    subresources: Value,
) -> Value {
    columns.push(column(
        "Age",
        "date",
        ".metadata.creationTimestamp",
        "Time since resource was created",
    ));
    let mut version = json!({
        "name": "v1alpha1",
        "served": true,
        "storage": true,
        "additionalPrinterColumns": columns,
        "schema": { "openAPIV3Schema": schema },
    });
    if let (Some(version), false) = (version.as_object_mut(), subresources.is_null()) {
        version.insert("subresources".to_owned(), subresources);
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{}", crate::keys::GROUP) },
        "spec": {
            "group": crate::keys::GROUP,
            "names": {
                "kind": kind,
                "listKind": format!("{kind}List"),
                "plural": plural,
                "singular": kind.to_lowercase(),
                "shortNames": [short],
            },
            "scope": scope,
            "versions": [version],
        },
    })
}

#[cfg(test)]
mod tests;
