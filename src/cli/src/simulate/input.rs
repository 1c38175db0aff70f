//! From files to the objects of a simulated cluster, and to the update that is played.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};
use sluice_crds::Rollout;
use sluice_crds::references::{services, wanted};

use super::images::Images;
use crate::args::Simulate;
use crate::manifests::{self, text};
use crate::verbs::lint;

/// What is played.
pub(super) struct Input {
    /// Its name.
    pub(super) name: String,
    /// Its namespace.
    pub(super) namespace: String,
    /// All objects, the Rollout last.
    pub(super) objects: Vec<Value>,
    /// What users send their requests to, where the files tell.
    pub(super) host: Option<String>,
    /// The containers that get another image, at least one.
    pub(super) images: Images,
    /// What was assumed, a sentence each.
    pub(super) notes: Vec<String>,
}

impl Input {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// What is wrong with them, or missing from them, and what to do about it.
    pub(super) fn read(options: &Simulate, namespace: Option<&str>) -> Result<Self> {
        let mut documents = manifests::read(&options.filenames)?;
        let found = lint::of_objects(&documents);
        if !found.problems.is_empty() {
            bail!(
                "the manifests are not valid:\n  {}",
                found.problems.join("\n  ")
            );
        }
        let name = chosen(&documents, options.rollout.as_deref())?;
        unnamed(&documents)?;
        let at = position(&documents, "Rollout", &name);
        let mut rollout = at
            .map(|at| documents.remove(at))
            .ok_or_else(|| anyhow!("no Rollout {name:?}"))?;
        let given = text(&rollout, "/metadata/namespace");
        let namespace = if given.is_empty() {
            namespace.unwrap_or("default").to_owned()
        } else {
            given.to_owned()
        };
        if let Some(replicas) = options.replicas {
            put(&mut rollout, "spec", "replicas", json!(replicas));
        }
        documents.push(rollout);
        for document in &mut documents {
            clean(document, &namespace);
        }
        let rollout: Rollout = documents
            .last()
            .cloned()
            .map(serde_json::from_value)
            .transpose()?
            .unwrap_or_default();
        let missing = missing(&rollout, &documents);
        if !missing.is_empty() {
            bail!(
                "{}\n(every object that the rollout names is needed: add its file with -f)",
                missing.join("\n")
            );
        }
        let template = template(&rollout, &documents);
        let images = Images::read(&template, &options.image)?;
        let mut notes: Vec<String> = Vec::new();
        if options.image.is_empty() {
            notes.push(format!(
                "{} is taken as the new image; name another with --image",
                images.first.to
            ));
        }
        if rollout.spec.replicas() == 0 {
            let text = "the rollout has no pods; give it some with --replicas";
            notes.push(text.to_owned());
        }
        let host = host(&rollout, &template, &documents);
        if host.is_none() {
            notes.push(
                "no Service in the files selects the pods: where requests go is not simulated"
                    .to_owned(),
            );
        }
        notes.extend(secrets(&mut documents, &namespace));
        Ok(Self {
            name,
            namespace,
            objects: documents,
            host,
            images,
            notes,
        })
    }
}

fn put(object: &mut Value, part: &str, key: &str, value: Value) {
    if let Some(part) = object.get_mut(part).and_then(Value::as_object_mut) {
        part.insert(key.to_owned(), value);
    }
}

fn position(documents: &[Value], kind: &str, name: &str) -> Option<usize> {
    documents.iter().position(|document| {
        text(document, "/kind") == kind && text(document, "/metadata/name") == name
    })
}

/// The Rollout that is meant.
fn chosen(documents: &[Value], named: Option<&str>) -> Result<String> {
    let rollouts = documents
        .iter()
        .filter(|document| text(document, "/kind") == "Rollout");
    let names: Vec<&str> = rollouts
        .map(|document| text(document, "/metadata/name"))
        .collect();
    match (named, names.as_slice()) {
        (_, []) => bail!("no Rollout in the given files; add the file that holds it with -f"),
        (Some(name), names) if names.contains(&name) => Ok(name.to_owned()),
        (Some(name), names) => bail!(
            "no Rollout {name:?} in the given files; there are {}",
            names.join(", ")
        ),
        (None, [name]) => Ok((*name).to_owned()),
        (None, names) => bail!(
            "the files hold several Rollouts ({}); choose one with --rollout",
            names.join(", ")
        ),
    }
}

/// A cluster would invent a name; here one is needed, so that the outcome can be told of it.
fn unnamed(documents: &[Value]) -> Result<()> {
    let without = |document: &&Value| text(document, "/metadata/name").is_empty();
    match documents.iter().find(without) {
        Some(document) => bail!(
            "{} {:?} has no metadata.name; give it one for the simulation",
            text(document, "/kind"),
            text(document, "/metadata/generateName")
        ),
        None => Ok(()),
    }
}

/// The pod template, that of the workload that is referred to included.
fn template(rollout: &Rollout, documents: &[Value]) -> Value {
    let Some(reference) = &rollout.spec.workload_ref else {
        return rollout.spec.template.value().clone();
    };
    let at = position(documents, &reference.kind, &reference.name);
    let workload = at.and_then(|at| documents.get(at));
    let template = workload.and_then(|workload| {
        workload
            .pointer("/spec/template")
            .or_else(|| workload.pointer("/template"))
    });
    template.cloned().unwrap_or_default()
}

/// Kinds without a namespace that people keep beside a Rollout.
const CLUSTER_WIDE: [&str; 7] = [
    "ClusterAnalysisTemplate",
    "Namespace",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "PriorityClass",
    "StorageClass",
];

/// As it would be applied the first time: without what a cluster has written.
fn clean(document: &mut Value, namespace: &str) {
    let cluster_wide = CLUSTER_WIDE.contains(&text(document, "/kind"));
    let service = text(document, "/kind") == "Service";
    let Some(object) = document.as_object_mut() else {
        return;
    };
    object.remove("status");
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for written in [
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "managedFields",
            "ownerReferences",
        ] {
            metadata.remove(written);
        }
        if !cluster_wide {
            metadata
                .entry("namespace")
                .or_insert_with(|| json!(namespace));
        }
    }
    let spec = object.get_mut("spec").filter(|_| service);
    if let Some(spec) = spec.and_then(Value::as_object_mut) {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
        if let Some(selector) = spec.get_mut("selector").and_then(Value::as_object_mut) {
            selector.remove(sluice_crds::keys::POD_TEMPLATE_HASH);
        }
    }
}

/// Objects that the Rollout names and the files lack, a line each.
fn missing(rollout: &Rollout, documents: &[Value]) -> Vec<String> {
    let has = |kind: &str, name: &str| position(documents, kind, name).is_some();
    let lacks = |kind: &str, name: &str, path: &str| {
        (!name.is_empty() && !has(kind, name))
            .then(|| format!("{kind} {name:?} ({path}) is not in the given files"))
    };
    let spec = &rollout.spec;
    let mut lines = Vec::new();
    if let Some(reference) = &spec.workload_ref {
        lines.extend(lacks(&reference.kind, &reference.name, "spec.workloadRef"));
    }
    for (path, name) in services(spec) {
        lines.extend(lacks("Service", name, path));
    }
    let wanted = wanted(spec);
    let routing = "spec.strategy.canary.trafficRouting";
    for name in &wanted.virtual_services {
        let bare = name.split('.').next().unwrap_or(name);
        lines.extend(lacks("VirtualService", bare, routing));
    }
    for (kind, names) in [
        ("DestinationRule", &wanted.destination_rules),
        ("Ingress", &wanted.ingresses),
        ("Mapping", &wanted.mappings),
    ] {
        lines.extend(names.iter().filter_map(|name| lacks(kind, name, routing)));
    }
    let mut open: Vec<(&str, String)> = wanted
        .templates
        .iter()
        .map(|name| ("AnalysisTemplate", name.clone()))
        .chain(
            wanted
                .cluster_templates
                .iter()
                .map(|name| ("ClusterAnalysisTemplate", name.clone())),
        )
        .collect();
    let experiments = spec
        .steps()
        .iter()
        .filter_map(|step| step.experiment.as_deref());
    open.extend(
        experiments
            .flat_map(|experiment| &experiment.analyses)
            .map(|one| {
                let cluster = one.cluster_scope == Some(true);
                (template_kind(cluster), one.template_name.clone())
            }),
    );
    let mut seen = BTreeSet::new();
    while let Some((kind, name)) = open.pop() {
        if !seen.insert((kind, name.clone())) {
            continue;
        }
        lines.extend(lacks(kind, &name, "an analysis of the rollout"));
        let Some(found) = position(documents, kind, &name).and_then(|at| documents.get(at)) else {
            continue;
        };
        let nested = found.pointer("/spec/templates").and_then(Value::as_array);
        open.extend(nested.into_iter().flatten().map(|reference| {
            let cluster = reference.get("clusterScope") == Some(&Value::Bool(true));
            (
                template_kind(cluster),
                text(reference, "/templateName").to_owned(),
            )
        }));
    }
    lines
}

fn template_kind(cluster: bool) -> &'static str {
    if cluster {
        "ClusterAnalysisTemplate"
    } else {
        "AnalysisTemplate"
    }
}

/// What users send their requests to. `template` is that of the pods.
fn host(rollout: &Rollout, template: &Value, documents: &[Value]) -> Option<String> {
    let spec = &rollout.spec;
    if let Some(blue_green) = &spec.strategy.blue_green {
        return Some(blue_green.active_service.clone());
    }
    let canary = spec.canary()?;
    if let Some(routing) = &canary.traffic_routing {
        let istio = routing.istio.as_deref();
        let virtual_service = istio.and_then(|istio| {
            istio
                .virtual_service
                .iter()
                .chain(&istio.virtual_services)
                .next()
        });
        if let Some(reference) = virtual_service {
            let name = reference.name.split('.').next().unwrap_or_default();
            let found = position(documents, "VirtualService", name)?;
            let host = documents.get(found)?.pointer("/spec/hosts/0")?.as_str()?;
            return Some(host.to_owned());
        }
        if let Some(traefik) = &routing.traefik {
            return Some(traefik.weighted_traefik_service_name.clone());
        }
        let smi = routing.smi.as_ref().map(|smi| smi.root_service.clone());
        if let Some(root) = smi.filter(|root| !root.is_empty()) {
            return Some(root);
        }
        let route = routing.plugins.values().find_map(|plugin| {
            let name = plugin.pointer("/httpRoute")?.as_str()?;
            Some(name.to_owned())
        });
        return route
            .or_else(|| Some(canary.stable_service.clone()).filter(|name| !name.is_empty()));
    }
    let labels = template.pointer("/metadata/labels");
    let behind = |document: &&Value| {
        let selector = document
            .pointer("/spec/selector")
            .and_then(Value::as_object);
        text(document, "/kind") == "Service"
            && selector.is_some_and(|selector| {
                !selector.is_empty()
                    && selector
                        .iter()
                        .all(|(key, value)| labels.and_then(|all| all.get(key)) == Some(value))
            })
    };
    let service = documents.iter().find(behind)?;
    Some(text(service, "/metadata/name").to_owned())
}

/// Secrets that analyses read: invented where the files have none.
fn secrets(documents: &mut Vec<Value>, namespace: &str) -> Vec<String> {
    let mut wanted: BTreeSet<(String, String)> = BTreeSet::new();
    for document in documents.iter() {
        if !text(document, "/kind").ends_with("AnalysisTemplate") {
            continue;
        }
        let args = document.pointer("/spec/args").and_then(Value::as_array);
        for reference in args
            .into_iter()
            .flatten()
            .filter_map(|arg| arg.pointer("/valueFrom/secretKeyRef"))
        {
            let part = |pointer| text(reference, pointer).to_owned();
            wanted.insert((part("/name"), part("/key")));
        }
    }
    let mut notes = Vec::new();
    let mut invented: Vec<Value> = Vec::new();
    for (name, key) in wanted {
        if name.is_empty() || position(documents, "Secret", &name).is_some() {
            continue;
        }
        match invented
            .iter_mut()
            .find(|one| text(one, "/metadata/name") == name)
        {
            Some(secret) => put(secret, "data", &key, json!("c2ltdWxhdGVk")),
            None => {
                notes.push(format!(
                    "Secret {name} is not in the files; it gets invented values"
                ));
                invented.push(json!({
                    "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                    "metadata": {"name": name, "namespace": namespace},
                    "data": {key: "c2ltdWxhdGVk"},
                }));
            }
        }
    }
    documents.splice(0..0, invented);
    notes
}
