//! What an Experiment creates (EXP-5, EXP-7, EXP-12).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Map, Value, json};
use sluice_crds::analysis::AnalysisRunSpec;
use sluice_crds::experiment::TemplateSpec;
use sluice_crds::hash::pod_template_hash;
use sluice_crds::replica_set::ReplicaSetSpec;
use sluice_crds::{AnalysisRun, Experiment, RawPodTemplate, ReplicaSet, keys};

/// Label of pods behind a template's Service: the Experiment. Without it the pods of templates that
/// are otherwise equal would be mixed (ASE-19).
pub const EXPERIMENT_UID: &str = "experiment.argoproj.io/uid";

/// Label of pods behind a template's Service: the template.
pub const TEMPLATE: &str = "experiment.argoproj.io/template";

/// Longest value of a label.
const LABEL_LENGTH: usize = 63;

fn owner(experiment: &Experiment) -> Vec<OwnerReference> {
    vec![OwnerReference {
        api_version: keys::API_VERSION.to_owned(),
        kind: "Experiment".to_owned(),
        name: experiment.metadata.name.clone().unwrap_or_default(),
        uid: experiment.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }]
}

fn annotations(experiment: &Experiment, template: &TemplateSpec) -> BTreeMap<String, String> {
    let name = experiment.metadata.name.clone().unwrap_or_default();
    BTreeMap::from([
        (keys::EXPERIMENT_NAME.to_owned(), name),
        (keys::EXPERIMENT_TEMPLATE.to_owned(), template.name.clone()),
    ])
}

/// The pod-template hash of a template: that of its pods without a hash label that it may have
/// brought along from a Rollout's ReplicaSet.
#[must_use]
pub fn hash_of(template: &TemplateSpec, collision_count: Option<i32>) -> String {
    let bare = if template
        .template
        .labels()
        .contains_key(keys::POD_TEMPLATE_HASH)
    {
        template.template.with(|object| {
            let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
            let labels = metadata
                .and_then(|m| m.get_mut("labels"))
                .and_then(Value::as_object_mut);
            if let Some(labels) = labels {
                labels.remove(keys::POD_TEMPLATE_HASH);
            }
        })
    } else {
        template.template.clone()
    };
    pod_template_hash(&bare, collision_count)
}

/// The ReplicaSet of a template, without pods; it grows once it was seen.
#[must_use]
pub fn replica_set(
    experiment: &Experiment,
    template: &TemplateSpec,
    collision_count: Option<i32>,
) -> ReplicaSet {
    let mut added = vec![(keys::POD_TEMPLATE_HASH, hash_of(template, collision_count))];
    if template.service.is_some() {
        let uid = experiment.metadata.uid.clone().unwrap_or_default();
        let name: String = template.name.chars().take(LABEL_LENGTH).collect();
        added.extend([(EXPERIMENT_UID, uid), (TEMPLATE, name)]);
    }
    let mut pods: RawPodTemplate = template.template.clone();
    let mut selector = template.selector.clone().unwrap_or_default();
    for (key, value) in added {
        pods = pods.with_label(key, &value);
        selector.match_labels.insert(key.to_owned(), value);
    }
    let name = experiment.metadata.name.as_deref().unwrap_or("");
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{}", template.name)),
            namespace: experiment.metadata.namespace.clone(),
            labels: Some(pods.labels()),
            annotations: Some(annotations(experiment, template)),
            owner_references: Some(owner(experiment)),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: template.min_ready_seconds,
            selector,
            template: pods,
        },
        status: None,
    }
}

/// The Service of a template, as JSON; `None` when none is asked for, or when the pods have no
/// ports.
#[must_use]
pub fn service(
    experiment: &Experiment,
    template: &TemplateSpec,
    set: &ReplicaSet,
) -> Option<Value> {
    let asked = template.service.as_ref()?;
    let name = match asked.name.as_str() {
        "" => set.metadata.name.clone().unwrap_or_default(),
        name => name.to_owned(),
    };
    let pods = set.spec.template.value();
    let containers = pods.pointer("/spec/containers").and_then(Value::as_array)?;
    let ports: Vec<Value> = containers
        .iter()
        .filter_map(|container| container.get("ports")?.as_array())
        .flatten()
        .filter_map(service_port)
        .collect();
    if ports.is_empty() {
        return None;
    }
    Some(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": experiment.metadata.namespace,
            "annotations": annotations(experiment, template),
            "ownerReferences": owner(experiment),
        },
        "spec": {"selector": set.metadata.labels, "ports": ports},
    }))
}

fn service_port(container_port: &Value) -> Option<Value> {
    let number = container_port.get("containerPort")?;
    let mut port = Map::new();
    if let Some(name) = container_port.get("name") {
        port.insert("name".to_owned(), name.clone());
    }
    if let Some(protocol) = container_port.get("protocol") {
        port.insert("protocol".to_owned(), protocol.clone());
    }
    port.insert("port".to_owned(), number.clone());
    port.insert("targetPort".to_owned(), number.clone());
    Some(Value::Object(port))
}

/// The AnalysisRun of an analysis.
#[must_use]
pub fn analysis_run(
    experiment: &Experiment,
    name: &str,
    spec: AnalysisRunSpec,
    instance_id: &str,
) -> AnalysisRun {
    let wanted = &experiment.spec.analysis_run_metadata;
    let mut labels = BTreeMap::new();
    if !instance_id.is_empty() {
        labels.insert(keys::INSTANCE_ID.to_owned(), instance_id.to_owned());
    }
    labels.extend(wanted.labels.clone());
    let some = |map: BTreeMap<String, String>| (!map.is_empty()).then_some(map);
    AnalysisRun {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: experiment.metadata.namespace.clone(),
            labels: some(labels),
            annotations: some(wanted.annotations.clone()),
            owner_references: Some(owner(experiment)),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}
