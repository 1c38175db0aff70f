//! `lint` (CLI-34): the controller's own validation, without a cluster.

mod types;
mod unknown;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;
use sluice_crds::field_error::FieldError;
use sluice_crds::references::{References, ServiceFacts};
use sluice_crds::validate;
use sluice_crds::{Rollout, decode};

use crate::failure::Failure;
use crate::output;

/// What was found in a file, in the order of its documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What makes a Rollout invalid.
    pub problems: Vec<String>,
    /// What is valid and yet hardly meant.
    pub warnings: Vec<String>,
}

/// Prints every problem of every Rollout in a file on stdout, and warnings on stderr.
///
/// # Errors
/// The first problem; or that the file is not what it should be.
pub fn run(path: &Path) -> Result<(), Failure> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let Findings { problems, warnings } =
        findings(&text).with_context(|| path.display().to_string())?;
    for warning in &warnings {
        output::note(format_args!("Warning: {warning}"));
    }
    for problem in &problems {
        output::line(problem);
    }
    match problems.into_iter().next() {
        None => Ok(()),
        Some(first) => Err(Failure::message(first)),
    }
}

/// Looks at all documents of a text.
///
/// # Errors
/// When the text is neither YAML nor JSON.
pub fn findings(text: &str) -> anyhow::Result<Findings> {
    Ok(of_documents(&documents(text)?))
}

/// The documents of a text.
///
/// # Errors
/// When it is neither YAML nor JSON.
pub fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    let mut documents = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let value = serde_yaml_ng::Value::deserialize(document)?;
        documents.push(serde_json::to_value(value)?);
    }
    Ok(documents)
}

/// Looks at documents that belong together.
#[must_use]
pub fn of_documents(documents: &[Value]) -> Findings {
    let references = references(documents);
    let mut found = Findings::default();
    for document in documents {
        if kind(document) != "Rollout" || group(document) != "argoproj.io" {
            continue;
        }
        found.problems.extend(
            unknown::fields(document)
                .into_iter()
                .map(|path| format!("{path}: unknown field")),
        );
        let wrong = types::wrong(document);
        if !wrong.is_empty() {
            // Nothing more can be told of a Rollout that cannot be read.
            found.problems.extend(wrong);
            continue;
        }
        let rollout: Rollout = match decode::read(document) {
            Ok(rollout) => rollout,
            Err(error) => {
                found.problems.push(error.to_string());
                continue;
            }
        };
        let mut errors = validate::manifest(&rollout);
        if errors.is_empty() {
            errors = validate::references(&rollout, &references);
        }
        let texts = errors.iter().map(ToString::to_string);
        found.problems.extend(texts);
        let warnings = validate::warnings(&rollout);
        found.warnings.extend(warnings.iter().map(warning));
        found.warnings.extend(autoscaled(document, documents));
    }
    found
}

/// The text of a warning: that of an error, but nothing is invalid.
fn warning(about: &FieldError) -> String {
    let text = about.to_string();
    text.replacen(": Invalid value: ", ": ", 1)
}

/// A size that an autoscaler of the same file and the manifest both set.
fn autoscaled(rollout: &Value, documents: &[Value]) -> Option<String> {
    rollout.pointer("/spec/replicas")?;
    let targets = |document: &&Value| {
        let target = |member: &str| {
            let pointer = format!("/spec/scaleTargetRef/{member}");
            document.pointer(&pointer).and_then(Value::as_str)
        };
        kind(document) == "HorizontalPodAutoscaler"
            && target("kind") == Some("Rollout")
            && target("name") == Some(name(rollout))
    };
    let scaler = documents.iter().find(targets)?;
    Some(format!(
        "spec.replicas: HorizontalPodAutoscaler {:?} sets it, too: each time this manifest is \
         applied, the size jumps back; leave spec.replicas out",
        name(scaler)
    ))
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

fn group(document: &Value) -> &str {
    let version = document.get("apiVersion").and_then(Value::as_str);
    version
        .and_then(|version| version.split_once('/'))
        .map_or("", |(group, _)| group)
}

/// Objects of the same file. What is not in it was not looked for: nothing is said about it.
fn references(documents: &[Value]) -> References {
    let of = |groups: &[&str], wanted: &str| -> BTreeMap<String, Option<Value>> {
        documents
            .iter()
            .filter(|document| kind(document) == wanted && groups.contains(&group(document)))
            .map(|document| (name(document).to_owned(), Some(document.clone())))
            .collect()
    };
    References {
        services: of(&[""], "Service")
            .into_iter()
            .map(|(name, service)| (name, service.as_ref().map(ServiceFacts::new)))
            .collect(),
        ingresses: of(&["networking.k8s.io", "extensions"], "Ingress"),
        virtual_services: of(&["networking.istio.io"], "VirtualService"),
        ..References::default()
    }
}
