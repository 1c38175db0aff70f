//! `lint` (CLI-34): the controller's own validation, without a cluster.

mod types;
mod unknown;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use sluice_crds::analysis::AnalysisTemplateSpec;
use sluice_crds::field_error::FieldError;
use sluice_crds::references::{References, ServiceFacts};
use sluice_crds::templates::TemplateStore;
use sluice_crds::validate;
use sluice_crds::{Rollout, decode};

use crate::failure::Failure;
use crate::manifests;
use crate::output;

/// What was found in a file, in the order of its documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What makes a Rollout invalid.
    pub problems: Vec<String>,
    /// What is valid and yet hardly meant.
    pub warnings: Vec<String>,
}

/// Prints every problem of every Rollout in the files on stdout, and warnings on stderr.
///
/// # Errors
/// The first problem; or that a file is not what it should be.
pub fn run(files: &[PathBuf]) -> Result<(), Failure> {
    let objects = manifests::read(files)?;
    let Findings { problems, warnings } = of_objects(&objects);
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

/// Looks at objects that belong together.
#[must_use]
pub fn of_objects(objects: &[Value]) -> Findings {
    let references = references(objects);
    let mut found = Findings::default();
    let mut rollouts: Vec<&Value> = Vec::new();
    for object in objects {
        match identity(object) {
            Identity::Rollout => rollouts.push(object),
            Identity::Beside => found.warnings.extend(unread(object)),
            Identity::Misnamed(error) => found.problems.push(named(object, &error)),
            Identity::Foreign => {}
        }
    }
    for rollout in &rollouts {
        let (mut problems, mut warnings) = of_rollout(rollout, objects, &references);
        let here = |other: &&&Value| key(other) == key(rollout);
        if !name(rollout).is_empty() && rollouts.iter().filter(here).count() > 1 {
            problems.push(format!(
                "metadata.name: Duplicate value: {:?}: the files hold another Rollout of this name, \
                 and only the last one applied would stay",
                name(rollout)
            ));
        }
        // Of several, it has to be said which.
        if rollouts.len() > 1 {
            for line in problems.iter_mut().chain(&mut warnings) {
                *line = named(rollout, line);
            }
        }
        found.problems.extend(problems);
        found.warnings.extend(warnings);
    }
    if rollouts.is_empty() && found.problems.is_empty() {
        let text = "no Rollout in the given files: nothing was checked";
        found.warnings.push(text.to_owned());
    }
    found
}

/// Problems and warnings of one Rollout.
fn of_rollout(
    object: &Value,
    objects: &[Value],
    references: &References,
) -> (Vec<String>, Vec<String>) {
    let fields = unknown::fields(object).into_iter();
    let mut problems: Vec<String> = fields
        .map(|path| format!("{path}: unknown field"))
        .collect();
    if name(object).is_empty() && manifests::text(object, "/metadata/generateName").is_empty() {
        let error = FieldError::required("metadata.name", "name or generateName is required");
        problems.push(error.to_string());
    }
    let wrong = types::wrong(object);
    if !wrong.is_empty() {
        // Nothing more can be told of a Rollout that cannot be read.
        problems.extend(wrong);
        return (problems, Vec::new());
    }
    let rollout: Rollout = match decode::read(object) {
        Ok(rollout) => rollout,
        Err(error) => {
            problems.push(error.to_string());
            return (problems, Vec::new());
        }
    };
    let mut errors = validate::manifest(&rollout);
    if errors.is_empty() {
        errors = validate::references(&rollout, references);
    }
    problems.extend(errors.iter().map(ToString::to_string));
    let found = validate::warnings(&rollout);
    let mut warnings: Vec<String> = found.iter().map(warning).collect();
    warnings.extend(autoscaled(object, objects));
    (problems, warnings)
}

/// What an object is to `lint`.
enum Identity {
    /// It is judged.
    Rollout,
    /// Of the same API group: its fields are looked at.
    Beside,
    /// It is not what it was meant to be.
    Misnamed(String),
    /// Nothing is said about it.
    Foreign,
}

/// Kinds that stand beside a Rollout.
const BESIDE: [&str; 4] = [
    "AnalysisTemplate",
    "ClusterAnalysisTemplate",
    "AnalysisRun",
    "Experiment",
];

const VERSION: &str = "argoproj.io/v1alpha1";

fn identity(object: &Value) -> Identity {
    let (kind, version) = (kind(object), manifests::text(object, "/apiVersion"));
    let mut ours = std::iter::once("Rollout").chain(BESIDE);
    let Some(meant) = ours.find(|known| known.eq_ignore_ascii_case(kind)) else {
        return Identity::Foreign;
    };
    let error = if version.is_empty() {
        FieldError::required("apiVersion", format!("{VERSION} is needed"))
    } else if group(object) != "argoproj.io" {
        return Identity::Foreign; // others have Rollouts, too
    } else if version != VERSION {
        FieldError::unsupported("apiVersion", version, &[VERSION])
    } else if kind != meant {
        FieldError::unsupported("kind", kind, &[meant])
    } else if meant == "Rollout" {
        return Identity::Rollout;
    } else {
        return Identity::Beside;
    };
    Identity::Misnamed(error.to_string())
}

/// Members of an object beside the Rollout that nobody reads, or that cannot be read.
fn unread(object: &Value) -> Vec<String> {
    let fields = unknown::fields(object).into_iter();
    let fields = fields.map(|path| format!("{path}: unknown field"));
    let lines = fields.chain(types::wrong(object));
    lines.map(|line| named(object, &line)).collect()
}

/// A line about an object, with its kind and name.
fn named(object: &Value, line: &str) -> String {
    format!("{} {}: {line}", kind(object), name(object))
}

/// What tells an object from others of its kind.
fn key(object: &Value) -> (&str, &str) {
    (manifests::text(object, "/metadata/namespace"), name(object))
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
    manifests::text(document, "/kind")
}

fn name(document: &Value) -> &str {
    manifests::text(document, "/metadata/name")
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
    // One that cannot be read is told of by itself.
    let templates = |wanted: &str| -> BTreeMap<String, Option<AnalysisTemplateSpec>> {
        let found = of(&["argoproj.io"], wanted).into_iter();
        found
            .filter_map(|(name, object)| {
                let spec = decode::read(object?.get("spec")?).ok()?;
                Some((name, Some(spec)))
            })
            .collect()
    };
    References {
        templates: TemplateStore {
            namespaced: templates("AnalysisTemplate"),
            cluster: templates("ClusterAnalysisTemplate"),
        },
        services: of(&[""], "Service")
            .into_iter()
            .map(|(name, service)| (name, service.as_ref().map(ServiceFacts::new)))
            .collect(),
        ingresses: of(&["networking.k8s.io", "extensions"], "Ingress"),
        virtual_services: of(&["networking.istio.io"], "VirtualService"),
        ..References::default()
    }
}
