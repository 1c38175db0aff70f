//! AnalysisRuns and Experiments that cannot be decoded.
//!
//! Whoever waits for one must neither wait for ever nor take it for one that does not exist. So
//! something stands in for it: it has ended in Error, which never promotes (INV-9), and its message
//! names the part that cannot be read. One that ended before keeps its end.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::{AnalysisRun, Experiment, FieldError, decode};

/// Annotation of what stands in, in memory only: no key of a real object begins with a blank.
const MARK: &str = " unreadable";

/// What stands in for an AnalysisRun.
#[must_use]
pub fn run(object: &Value, error: &FieldError) -> AnalysisRun {
    let mut status = status::<sluice_crds::analysis::AnalysisRunStatus>(object);
    status.phase = phase(object);
    if !status.phase.completed() {
        status.phase = AnalysisPhase::Error;
        status.message = text("AnalysisRun", object, error);
    }
    AnalysisRun {
        metadata: metadata(object),
        spec: sluice_crds::analysis::AnalysisRunSpec::default(),
        status: Some(status),
    }
}

/// What stands in for an Experiment.
#[must_use]
pub fn experiment(object: &Value, error: &FieldError) -> Experiment {
    let mut status = status::<sluice_crds::experiment::ExperimentStatus>(object);
    status.phase = phase(object);
    if !status.phase.completed() {
        status.phase = AnalysisPhase::Error;
        status.message = text("Experiment", object, error);
    }
    Experiment {
        metadata: metadata(object),
        spec: sluice_crds::experiment::ExperimentSpec::default(),
        status: Some(status),
    }
}

/// Whether an object only stands in for one that cannot be decoded.
#[must_use]
pub fn stands_in(meta: &ObjectMeta) -> bool {
    let annotations = meta.annotations.as_ref();
    annotations.is_some_and(|annotations| annotations.contains_key(MARK))
}

/// The merge patch that writes the end into the object, guarded by the version that was read, and
/// what it says; `None` when it has ended.
#[must_use]
pub fn ending(kind: &str, object: &Value, error: &FieldError) -> Option<(Value, String)> {
    if phase(object).completed() {
        return None;
    }
    let message = text(kind, object, error);
    let version = object.pointer("/metadata/resourceVersion");
    let patch = json!({
        "metadata": { "resourceVersion": version },
        "status": { "phase": AnalysisPhase::Error, "message": message },
    });
    Some((patch, message))
}

fn text(kind: &str, object: &Value, error: &FieldError) -> String {
    let name = object.pointer("/metadata/name").and_then(Value::as_str);
    format!(
        "The {kind} {:?} is invalid: {error}",
        name.unwrap_or_default()
    )
}

fn phase(object: &Value) -> AnalysisPhase {
    let phase = object.pointer("/status/phase");
    phase
        .and_then(|phase| decode::read(phase).ok())
        .unwrap_or_default()
}

fn status<S: DeserializeOwned + Default>(object: &Value) -> S {
    let status = object.get("status");
    status
        .and_then(|status| decode::read(status).ok())
        .unwrap_or_default()
}

fn metadata(object: &Value) -> ObjectMeta {
    let found = object.get("metadata");
    let mut meta = found
        .and_then(|meta| decode::read::<ObjectMeta>(meta).ok())
        .unwrap_or_else(|| {
            let text = |name: &str| Some(found?.get(name)?.as_str()?.to_owned());
            ObjectMeta {
                name: text("name"),
                namespace: text("namespace"),
                uid: text("uid"),
                resource_version: text("resourceVersion"),
                ..ObjectMeta::default()
            }
        });
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(MARK.to_owned(), String::new());
    meta
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(object: &Value) -> AnalysisRun {
        let error = decode::read::<AnalysisRun>(object).unwrap_err();
        run(object, &error)
    }

    /// INV-9, API-44: it has ended in Error, says what is wrong, and belongs to whom it belonged.
    #[test]
    fn what_cannot_be_read_has_ended_in_error() {
        let mut object = json!({
            "metadata": { "name": "r", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                "labels": { "rollout-type": "Step" } },
            "spec": { "metrics": [{ "name": "m", "provider": { "web": 5 } }] },
            "status": { "phase": "Running" },
        });
        let found = read(&object);
        let status = found.status.unwrap();
        let start = "The AnalysisRun \"r\" is invalid: spec.metrics[0].provider.web: Invalid value: 5: cannot be read (";
        assert_eq!(status.phase, AnalysisPhase::Error);
        assert!(status.message.starts_with(start), "{}", status.message);
        assert!(stands_in(&found.metadata));
        assert_eq!(found.metadata.labels.unwrap()["rollout-type"], "Step");
        let error = decode::read::<AnalysisRun>(&object).unwrap_err();
        let (patch, message) = ending("AnalysisRun", &object, &error).unwrap();
        assert_eq!(message, status.message);
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(
            patch["status"],
            json!({ "phase": "Error", "message": message })
        );

        object["status"] = patch["status"].clone();
        assert_eq!(
            ending("AnalysisRun", &object, &error),
            None,
            "once is enough"
        );
        object["status"]["phase"] = json!("Successful");
        assert_eq!(
            read(&object).status.unwrap().phase,
            AnalysisPhase::Successful
        );
    }

    /// INV-9, API-44: an Experiment likewise; one that has ended keeps its end, and metadata that
    /// cannot be read at least say who it is.
    #[test]
    fn experiments_end_as_runs_do() {
        let mut object = json!({
            "metadata": { "name": "e", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                "labels": 5 },
            "spec": { "templates": 5 },
            "status": { "phase": "Running" },
        });
        let read = |object: &Value| {
            let error = decode::read::<Experiment>(object).unwrap_err();
            experiment(object, &error)
        };
        let found = read(&object);
        let status = found.status.unwrap();
        assert_eq!(status.phase, AnalysisPhase::Error);
        let start = "The Experiment \"e\" is invalid: ";
        assert!(status.message.starts_with(start), "{}", status.message);
        assert!(stands_in(&found.metadata));
        let meta = found.metadata;
        let who = [meta.name, meta.namespace, meta.uid, meta.resource_version];
        let who = who.map(Option::unwrap_or_default);
        assert_eq!(who, ["e", "shop", "u", "7"]);

        object["status"] = json!({ "phase": "Successful", "message": "done" });
        let status = read(&object).status.unwrap();
        assert_eq!(status.phase, AnalysisPhase::Successful);
        assert_eq!(status.message, "done");
    }
}
