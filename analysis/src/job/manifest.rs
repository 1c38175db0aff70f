//! The Job that is created (ANA-58).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DynamicObject, TypeMeta};
use serde_json::{Value as Json, json};
use sluice_crds::analysis::JobMetric;
use sluice_crds::keys;

use crate::provider::RunRef;

/// What a name of a Job, and hence of its pods' label, may have.
const MAX_NAME: usize = 63;
/// Finished Jobs that nobody owns go by themselves after a day (ASE-13).
const UNOWNED_TTL: i32 = 24 * 60 * 60;

/// The `n`th Job of a metric.
pub(super) fn job(
    run: &RunRef,
    metric: &str,
    settings: &JobMetric,
    n: i32,
    namespace: &str,
    owned: bool,
) -> DynamicObject {
    let mut labels = settings.metadata.labels.clone();
    labels.insert(keys::JOB_RUN_UID.to_owned(), run.uid.clone());
    let mut annotations = settings.metadata.annotations.clone();
    for (key, value) in [
        (keys::JOB_RUN_NAME, &run.name[..]),
        (keys::JOB_RUN_NAMESPACE, &run.namespace),
        (keys::JOB_METRIC_NAME, metric),
    ] {
        annotations.insert(key.to_owned(), value.to_owned());
    }
    let owner = OwnerReference {
        api_version: keys::API_VERSION.to_owned(),
        kind: "AnalysisRun".to_owned(),
        name: run.name.clone(),
        uid: run.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    DynamicObject {
        types: Some(TypeMeta {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
        }),
        metadata: ObjectMeta {
            name: Some(name(&run.uid, metric, n)),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: owned.then(|| vec![owner]),
            ..ObjectMeta::default()
        },
        data: json!({ "spec": spec(&settings.spec, run, owned) }),
    }
}

/// The user's spec with our label on the pods.
fn spec(settings: &Json, run: &RunRef, owned: bool) -> Json {
    let mut spec = settings.clone();
    let label = [(keys::JOB_RUN_UID, run.uid.as_str())];
    let mut at = Some(&mut spec);
    for member in ["template", "metadata", "labels"] {
        at = at.and_then(Json::as_object_mut).map(|object| {
            let inner = object.entry(member).or_insert(Json::Null);
            if inner.is_null() {
                *inner = json!({});
            }
            inner
        });
    }
    if let Some(labels) = at.and_then(Json::as_object_mut) {
        labels.extend(label.map(|(key, value)| (key.to_owned(), Json::from(value))));
    }
    if let Some(spec) = spec.as_object_mut().filter(|_| !owned) {
        spec.entry("ttlSecondsAfterFinished")
            .or_insert(UNOWNED_TTL.into());
    }
    spec
}

/// `<uid>.<metric>.<n>`. A metric that does not fit, or has characters that names may not have, is
/// changed, and gets a hash, so that two metrics never share a Job (ASE-11).
pub(super) fn name(uid: &str, metric: &str, n: i32) -> String {
    let room = MAX_NAME.saturating_sub(uid.len() + n.to_string().len() + 2);
    let safe: String = metric
        .chars()
        .map(|c| match c {
            'a'..='z' | '0'..='9' | '-' => c,
            'A'..='Z' => c.to_ascii_lowercase(),
            _ => '-',
        })
        .collect();
    let trimmed = safe.trim_matches('-');
    if trimmed == metric && (1..=room).contains(&metric.len()) {
        return format!("{uid}.{metric}.{n}");
    }
    let hash = format!("{:08x}", fnv1a(metric));
    // All of it is ASCII now.
    let head = trimmed.get(..room.saturating_sub(hash.len() + 1).min(trimmed.len()));
    match head.unwrap_or_default().trim_matches('-') {
        "" => format!("{uid}.{hash}.{n}"),
        head => format!("{uid}.{head}-{hash}.{n}"),
    }
}

/// A hash that stays the same in every release.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash: u32, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
