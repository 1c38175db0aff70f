//! What `kubectl apply -k FOLDER` would apply.
//!
//! By `kubectl kustomize` where there is a kubectl, else by a reader of our own that understands what
//! our own kustomizations use: `resources`, `namespace` and JSON patches, and refuses all else.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::toolchain::find_in_path;

/// Kinds that live in no namespace.
const CLUSTER_KINDS: [&str; 3] = [
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
];

/// All objects of a kustomization.
///
/// # Errors
/// What cannot be read or is not understood.
pub fn objects(folder: &Path) -> Result<Vec<Value>> {
    match find_in_path("kubectl") {
        Some(kubectl) => by_kubectl(&kubectl, folder),
        None => read(folder),
    }
}

/// The same as one YAML text.
///
/// # Errors
/// As [`objects`].
pub fn text(folder: &Path) -> Result<String> {
    let parts = objects(folder)?.into_iter().map(|object| {
        // JSON is YAML.
        object.to_string()
    });
    Ok(parts.collect::<Vec<_>>().join("\n---\n"))
}

fn by_kubectl(kubectl: &Path, folder: &Path) -> Result<Vec<Value>> {
    let output = Command::new(kubectl)
        .arg("kustomize")
        .arg(folder)
        .output()
        .context("kubectl")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("kubectl kustomize {}: {said}", folder.display());
    }
    documents(&String::from_utf8(output.stdout)?)
}

fn documents(text: &str) -> Result<Vec<Value>> {
    let values = serde_yaml_ng::Deserializer::from_str(text).map(Value::deserialize);
    let values: Vec<Value> = values.collect::<Result<_, _>>()?;
    Ok(values
        .into_iter()
        .filter(|value| !value.is_null())
        .collect())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kustomization {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    namespace: Option<String>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    patches: Vec<PatchEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchEntry {
    target: Target,
    patch: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    kind: String,
    name: String,
}

fn read(folder: &Path) -> Result<Vec<Value>> {
    let file = folder.join("kustomization.yaml");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let told: Kustomization =
        serde_yaml_ng::from_str(&text).with_context(|| file.display().to_string())?;
    let mut found = vec![];
    for resource in &told.resources {
        let path = folder.join(resource);
        if path.is_dir() {
            found.extend(read(&path)?);
        } else {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            found.extend(documents(&text).with_context(|| path.display().to_string())?);
        }
    }
    if let Some(namespace) = &told.namespace {
        found
            .iter_mut()
            .for_each(|object| move_to(object, namespace));
    }
    for patch in &told.patches {
        let operations: json_patch::Patch = serde_yaml_ng::from_str(&patch.patch)?;
        let of = &patch.target;
        let is_meant = |object: &&mut Value| {
            object.get("kind") == Some(&Value::from(&*of.kind))
                && object.pointer("/metadata/name") == Some(&Value::from(&*of.name))
        };
        let object = found.iter_mut().find(is_meant);
        let object = object.with_context(|| format!("no {} {} to patch", of.kind, of.name))?;
        json_patch::patch(object, &operations)?;
    }
    Ok(found)
}

fn move_to(object: &mut Value, namespace: &str) {
    let kind = object.get("kind").and_then(Value::as_str);
    let in_none = kind.is_some_and(|kind| CLUSTER_KINDS.contains(&kind));
    let put = |at: &mut Value| {
        if let Some(at) = at.as_object_mut() {
            at.insert("namespace".to_owned(), namespace.into());
        }
    };
    if !in_none && let Some(metadata) = object.get_mut("metadata") {
        put(metadata);
    }
    let subjects = object.get_mut("subjects").and_then(Value::as_array_mut);
    subjects.into_iter().flatten().for_each(put);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn by_name(objects: Vec<Value>) -> BTreeMap<String, Value> {
        let name = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]);
        objects
            .into_iter()
            .map(|object| (name(&object), object))
            .collect()
    }

    /// Where there is no kubectl, the same is installed.
    #[test]
    fn both_readers_agree() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kustomize");
        for folder in ["cluster-install", "namespace-install"] {
            let folder = root.join(folder);
            let own = by_name(read(&folder).unwrap());
            assert!(own.len() > 5, "{own:?}");
            if let Some(kubectl) = find_in_path("kubectl") {
                let theirs = by_name(by_kubectl(&kubectl, &folder).unwrap());
                assert_eq!(own, theirs, "{}", folder.display());
            }
        }
    }
}
