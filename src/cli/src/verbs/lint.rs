//! `lint` (CLI-34): the controller's own validation, without a cluster, and what it would let pass
//! although it is hardly meant.
//!
//! | module | what |
//! |---|---|
//! | [`types`], [`unknown`] | members that cannot be read, or that nobody reads |
//! | [`files`] | objects of the same files, as a Rollout finds them |
//! | [`together`] | what these do to each other |

mod files;
mod together;
mod types;
mod unknown;

use std::path::PathBuf;

use serde_json::Value;
use sluice_crds::field_error::FieldError;
use sluice_crds::validate::{self, warnings};
use sluice_crds::{AnalysisRun, Experiment, Rollout, decode};

use self::files::Files;

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
    let mut found = Findings::default();
    let mut rollouts: Vec<&Value> = Vec::new();
    for object in objects {
        match identity(object) {
            Identity::Rollout => rollouts.push(object),
            Identity::Beside => found.warnings.extend(of_neighbour(object, objects)),
            Identity::Misnamed(error) => found.problems.push(named(object, &error)),
            Identity::Foreign => {}
        }
    }
    for rollout in &rollouts {
        let (mut problems, mut warnings) = of_rollout(rollout, objects);
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
fn of_rollout(object: &Value, objects: &[Value]) -> (Vec<String>, Vec<String>) {
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
    let files = Files::around(objects, object);
    // A workload that is not in the files is taken for one that fits.
    let resolved = files.resolved(&rollout);
    let borrowed = rollout.spec.workload_ref.is_some() && resolved.is_none();
    let mut errors = validate::manifest(&rollout);
    if let (true, Some(resolved)) = (errors.is_empty(), &resolved) {
        errors = validate::rollout(resolved);
    }
    let rollout = resolved.unwrap_or(rollout);
    let mut references = files.references(&rollout);
    if borrowed {
        references.services.clear();
    }
    if errors.is_empty() {
        errors = validate::references(&rollout, &references);
    }
    // Whoever reads the manifest looks for the paths that stand in it (SE-12).
    let errors = errors.into_iter();
    let exact = errors.map(|error| validate::exact(&rollout, &references, error));
    problems.extend(exact.map(|error| error.to_string()));
    let mut found = warnings::of_rollout(&rollout);
    found.extend(warnings::with_references(&rollout, &references));
    let mut warnings: Vec<String> = found.iter().map(warning).collect();
    warnings.extend(together::empty_arguments(object));
    warnings.extend(together::warnings(object, &rollout, files));
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

/// What is said about an object beside the Rollout: members that nobody reads, or that cannot be
/// read, and what it does not do although it seems to.
fn of_neighbour(object: &Value, objects: &[Value]) -> Vec<String> {
    let fields = unknown::fields(object).into_iter();
    let mut lines: Vec<String> = fields
        .map(|path| format!("{path}: unknown field"))
        .collect();
    let wrong = types::wrong(object);
    if wrong.is_empty() {
        lines.extend(meaning(object).iter().map(warning));
        lines.extend(invalid_experiment(object));
        lines.extend(together::secrets(object, Files::around(objects, object)));
    }
    lines.extend(wrong);
    lines.iter().map(|line| named(object, line)).collect()
}

/// Warnings of an object beside the Rollout; of one that cannot be read there are none.
fn meaning(object: &Value) -> Vec<FieldError> {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    match kind(object) {
        "AnalysisTemplate" | "ClusterAnalysisTemplate" => {
            decode::read(spec).map(|spec| warnings::of_template(&spec))
        }
        "AnalysisRun" => decode::read::<AnalysisRun>(object).map(|run| warnings::of_run(&run.spec)),
        "Experiment" => decode::read(spec).map(|spec| warnings::of_experiment(&spec)),
        _ => Ok(Vec::new()),
    }
    .unwrap_or_default()
}

/// API-54
fn invalid_experiment(object: &Value) -> Option<String> {
    if kind(object) != "Experiment" {
        return None;
    }
    let experiment: Experiment = decode::read(object).ok()?;
    let text = validate::experiment(&experiment)?;
    Some(format!("spec.templates: {text}"))
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
