//! Applying manifests through the ordinary API, as a user's `kubectl apply` would.

use anyhow::{Context, Result, anyhow, bail};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch,
    PatchParams, PostParams,
};
use serde::Deserialize;
use serde_json::Value;

/// Kinds that scenarios use: group, kind, plural, whether namespaced.
const KINDS: [(&str, &str, &str, bool); 24] = [
    ("", "ConfigMap", "configmaps", true),
    ("", "Namespace", "namespaces", false),
    ("", "Pod", "pods", true),
    ("", "PodTemplate", "podtemplates", true),
    ("", "Secret", "secrets", true),
    ("", "Service", "services", true),
    ("", "ServiceAccount", "serviceaccounts", true),
    (
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        false,
    ),
    ("apps", "Deployment", "deployments", true),
    ("apps", "ReplicaSet", "replicasets", true),
    ("argoproj.io", "AnalysisRun", "analysisruns", true),
    ("argoproj.io", "AnalysisTemplate", "analysistemplates", true),
    (
        "argoproj.io",
        "ClusterAnalysisTemplate",
        "clusteranalysistemplates",
        false,
    ),
    ("argoproj.io", "Experiment", "experiments", true),
    ("argoproj.io", "Rollout", "rollouts", true),
    ("batch", "Job", "jobs", true),
    ("coordination.k8s.io", "Lease", "leases", true),
    ("discovery.k8s.io", "EndpointSlice", "endpointslices", true),
    (
        "networking.istio.io",
        "DestinationRule",
        "destinationrules",
        true,
    ),
    (
        "networking.istio.io",
        "VirtualService",
        "virtualservices",
        true,
    ),
    ("networking.k8s.io", "Ingress", "ingresses", true),
    ("networking.k8s.io", "IngressClass", "ingressclasses", false),
    (
        "policy",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        true,
    ),
    ("rbac.authorization.k8s.io", "Role", "roles", true),
];

/// The documents of a YAML text, as JSON; empty ones are left out.
///
/// # Errors
/// When the text is not YAML.
pub fn documents(text: &str) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let value = serde_yaml_ng::Value::deserialize(document).context("reading YAML")?;
        let value: Value = serde_json::to_value(value).context("reading YAML")?;
        if !value.is_null() {
            found.push(value);
        }
    }
    Ok(found)
}

/// The API that serves an object's kind, and the object's name.
///
/// # Errors
/// When the kind is none that scenarios know.
pub fn api_for(
    client: &kube::Client,
    namespace: &str,
    object: &Value,
) -> Result<(Api<DynamicObject>, String)> {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (group, version) = text("/apiVersion")
        .split_once('/')
        .unwrap_or(("", text("/apiVersion")));
    let kind = text("/kind");
    let name = text("/metadata/name").to_owned();
    let (plural, namespaced) = plural_of(group, kind)?;
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    let own = text("/metadata/namespace");
    let namespace = if own.is_empty() { namespace } else { own };
    let api = if namespaced {
        Api::namespaced_with(client.clone(), namespace, &resource)
    } else {
        Api::all_with(client.clone(), &resource)
    };
    Ok((api, name))
}

/// Plural of a kind and whether it lives in a namespace.
///
/// # Errors
/// When the kind is none that scenarios know.
pub fn plural_of(group: &str, kind: &str) -> Result<(&'static str, bool)> {
    KINDS
        .iter()
        .find(|known| (known.0, known.1) == (group, kind))
        .map(|known| (known.2, known.3))
        .ok_or_else(|| anyhow!("scenarios do not know the kind {kind} of group {group:?}"))
}

/// Creates every document; one that exists is merge-patched.
///
/// # Errors
/// When the API server refuses one; the text names it.
pub async fn apply(client: &kube::Client, namespace: &str, text: &str) -> Result<()> {
    for document in documents(text)? {
        let (api, name) = api_for(client, namespace, &document)?;
        let what = format!(
            "{} {name}",
            document.pointer("/kind").unwrap_or(&Value::Null)
        );
        let object: DynamicObject =
            serde_json::from_value(document.clone()).with_context(|| what.clone())?;
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {
                api.patch(&name, &PatchParams::default(), &Patch::Merge(document))
                    .await
                    .with_context(|| format!("changing {what}"))?;
            }
            Err(error) => return Err(error).with_context(|| format!("creating {what}")),
        }
    }
    Ok(())
}

/// How to reach the objects of a kind, in the version that scenarios use.
///
/// # Errors
/// When the kind is none that scenarios know.
pub fn resource_of(kind: &str) -> Result<ApiResource> {
    let (group, plural) = KINDS
        .iter()
        .find(|known| known.1 == kind)
        .map(|known| (known.0, known.2))
        .ok_or_else(|| anyhow!("scenarios do not know the kind {kind}"))?;
    let version = if group == "argoproj.io" {
        "v1alpha1"
    } else {
        "v1"
    };
    let kind = GroupVersionKind::gvk(group, version, kind);
    Ok(ApiResource::from_gvk_with_plural(&kind, plural))
}

/// The API of `Kind/name` or `Kind/*`, and the names that are meant.
async fn named(
    client: &kube::Client,
    namespace: &str,
    object: &str,
) -> Result<(Api<DynamicObject>, Vec<String>)> {
    let Some((kind, name)) = object.split_once('/') else {
        bail!("{object:?} is not Kind/name");
    };
    let api = Api::namespaced_with(client.clone(), namespace, &resource_of(kind)?);
    if name != "*" {
        return Ok((api, vec![name.to_owned()]));
    }
    let listed = api.list(&ListParams::default()).await;
    let listed = listed.with_context(|| format!("listing {object}"))?;
    let names: Vec<String> = listed
        .items
        .into_iter()
        .filter_map(|one| one.metadata.name)
        .collect();
    anyhow::ensure!(!names.is_empty(), "there is no {kind}");
    Ok((api, names))
}

/// Deletes `Kind/name`, or all objects of `Kind/*`.
///
/// # Errors
/// When the kind is unknown, there is no such object, or the API server refuses.
pub async fn delete(client: &kube::Client, namespace: &str, object: &str) -> Result<()> {
    let (api, names) = named(client, namespace, object).await?;
    for name in names {
        api.delete(&name, &DeleteParams::default())
            .await
            .with_context(|| format!("deleting {object}"))?;
    }
    Ok(())
}

/// Merge-patches `Kind/name`, or all objects of `Kind/*`.
///
/// # Errors
/// As [`delete`].
pub async fn patch(
    client: &kube::Client,
    namespace: &str,
    object: &str,
    patch: &Value,
) -> Result<()> {
    let (api, names) = named(client, namespace, object).await?;
    for name in names {
        api.patch(&name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .with_context(|| format!("changing {object}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_split_and_empty_ones_dropped() {
        let found = documents("a: 1\n---\n# nothing\n---\nb: {c: [x]}\n").unwrap();
        assert_eq!(
            found,
            [
                serde_json::json!({"a": 1}),
                serde_json::json!({"b": {"c": ["x"]}})
            ]
        );
    }

    #[test]
    fn every_example_has_a_kind_that_scenarios_know() {
        let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let mut count = 0;
        for entry in std::fs::read_dir(examples).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                for document in documents(&std::fs::read_to_string(&path).unwrap()).unwrap() {
                    let version = document["apiVersion"].as_str().unwrap();
                    let group = version.split_once('/').map_or("", |(group, _)| group);
                    plural_of(group, document["kind"].as_str().unwrap()).unwrap();
                    count += 1;
                }
            }
        }
        assert!(count > 10);
    }
}
