//! `lint` (CLI-34): the controller's own validation, without a cluster.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;
use sluice_crds::Rollout;
use sluice_crds::references::{References, ServiceFacts};
use sluice_crds::validate;

use crate::failure::Failure;
use crate::output;

/// Prints every problem of every Rollout in a file.
///
/// # Errors
/// The first problem; or that the file is not what it should be.
pub fn run(path: &Path) -> Result<(), Failure> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let problems = problems(&text).with_context(|| path.display().to_string())?;
    for problem in &problems {
        output::line(problem);
    }
    match problems.into_iter().next() {
        None => Ok(()),
        Some(first) => Err(Failure::message(first)),
    }
}

/// All problems of a multi-document text, in the order of its documents.
///
/// # Errors
/// When the text is neither YAML nor JSON, or a Rollout in it has a member of the wrong type.
pub fn problems(text: &str) -> anyhow::Result<Vec<String>> {
    let mut documents = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let value = serde_yaml_ng::Value::deserialize(document)?;
        documents.push(serde_json::to_value(value)?);
    }
    let references = references(&documents);
    let mut problems = Vec::new();
    for document in &documents {
        if kind(document) != "Rollout" {
            continue;
        }
        let name = name(document);
        let rollout: Rollout = serde_json::from_value(document.clone())
            .with_context(|| format!("Rollout {name:?}"))?;
        let mut found = validate::manifest(&rollout);
        if found.is_empty() {
            found = validate::references(&rollout, &references);
        }
        problems.extend(found.into_iter().map(|error| error.to_string()));
    }
    Ok(problems)
}

fn kind(document: &Value) -> &str {
    document
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn name(document: &Value) -> &str {
    document
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Objects of the same file. What is not in it was not looked for: nothing is said about it.
fn references(documents: &[Value]) -> References {
    let of = |wanted: &str| -> BTreeMap<String, Option<Value>> {
        documents
            .iter()
            .filter(|document| kind(document) == wanted)
            .map(|document| (name(document).to_owned(), Some(document.clone())))
            .collect()
    };
    References {
        services: of("Service")
            .into_iter()
            .map(|(name, service)| (name, service.as_ref().map(ServiceFacts::new)))
            .collect(),
        ingresses: of("Ingress"),
        virtual_services: of("VirtualService"),
        ..References::default()
    }
}
