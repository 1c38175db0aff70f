//! Objects of two clusters in one form: without what differs from run to run.
//!
//! Of a time remains after which deed of the user it was: what was not written again since shows so.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::stand::text;

/// Members of `metadata` that the API server gives. Generations and resource versions count writes,
/// which is no one's contract; the generation of a Rollout, which is one, is kept.
const GIVEN: [&str; 6] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "managedFields",
    "managers",
    "selfLink",
];
/// Ends of the stretches of time between deeds, in seconds after the Rollout was made, and their names.
/// They lie where nothing happens in any record, so that a few seconds more or less do not matter.
const STRETCHES: [(i64, &str); 4] = [
    (45, "<time of the first revision>"),
    (98, "<time of the second revision>"),
    (128, "<time of the abort>"),
    (225, "<time of retry and promotion>"),
];
/// After all of them.
const LAST: &str = "<time of the third revision>";

/// Kind and name.
pub type Key = (String, String);

/// All objects but events in a form that can be compared, by kind and name.
///
/// Times become stretches of time; UIDs become the names of their objects, also within names; random names of
/// pods become numbers.
#[must_use]
pub fn normal(objects: &[Value]) -> BTreeMap<Key, Value> {
    let names = names(objects);
    let began = objects.iter().find(|one| text(one, "/kind") == "Rollout");
    let began = began.map_or("", |one| text(one, "/metadata/creationTimestamp"));
    let began: Timestamp = began.parse().unwrap_or_default();
    let mut found = BTreeMap::new();
    let mut pods: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for object in objects {
        let kind = text(object, "/kind");
        if ["Event", "EndpointSlice"].contains(&kind) {
            continue;
        }
        // The ReplicaSets of a Deployment, as its status, are the cluster's work.
        if text(object, "/metadata/ownerReferences/0/kind") == "Deployment" {
            continue;
        }
        let mut object = object.clone();
        if kind == "Deployment"
            && let Some(object) = object.as_object_mut()
        {
            object.remove("status");
        }
        if kind == "Pod" {
            let owner = names.rename(text(&object, "/metadata/ownerReferences/0/name"));
            let part = |at: &str| object.pointer(at).cloned().unwrap_or_default();
            let mut labels = json!({
                "labels": part("/metadata/labels"),
                "annotations": part("/metadata/annotations"),
            });
            tidy(&mut labels, &names, began);
            pods.entry(owner).or_default().push(labels);
            continue;
        }
        if let Some(metadata) = object
            .pointer_mut("/metadata")
            .and_then(Value::as_object_mut)
        {
            metadata.retain(|key, _| !GIVEN.contains(&key.as_str()));
            if kind != "Rollout" {
                metadata.remove("generation");
            }
        }
        if kind != "Rollout"
            && let Some(status) = status(&mut object)
        {
            status.remove("observedGeneration");
        }
        if kind == "Service"
            && let Some(spec) = object.pointer_mut("/spec")
        {
            for key in ["clusterIP", "clusterIPs"] {
                spec.as_object_mut().map(|spec| spec.remove(key));
            }
        }
        tidy(&mut object, &names, began);
        let name = text(&object, "/metadata/name").to_owned();
        found.insert((kind.to_owned(), name), object);
    }
    for (owner, mut of) in pods {
        of.sort_by_key(Value::to_string);
        for (index, pod) in of.into_iter().enumerate() {
            found.insert(("Pod".to_owned(), format!("{owner}-{index}")), pod);
        }
    }
    found
}

fn status(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.get_mut("status")?.as_object_mut()
}

/// What UIDs are called.
#[derive(Debug, Default)]
pub struct Names(Vec<(String, String)>);

impl Names {
    /// The text with names in place of UIDs.
    #[must_use]
    pub fn rename(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (uid, name) in &self.0 {
            if text.contains(uid.as_str()) {
                text = text.replace(uid.as_str(), name);
            }
        }
        text
    }
}

/// The names of all objects by their UIDs. Jobs are named after a UID themselves.
#[must_use]
pub fn names(objects: &[Value]) -> Names {
    let mut names = Names::default();
    let (jobs, others): (Vec<&Value>, Vec<&Value>) =
        objects.iter().partition(|one| text(one, "/kind") == "Job");
    for object in others.into_iter().chain(jobs) {
        let uid = text(object, "/metadata/uid");
        if !uid.is_empty() && text(object, "/kind") != "Pod" {
            let name = names.rename(text(object, "/metadata/name"));
            names.0.push((uid.to_owned(), format!("<{}>", name)));
        }
    }
    names
}

/// The stretch in which so many seconds after the beginning lie.
fn stretch(seconds: i64) -> &'static str {
    let found = STRETCHES.iter().find(|(end, _)| seconds < *end);
    found.map_or(LAST, |(_, name)| name)
}

/// Replaces times and UIDs.
fn tidy(value: &mut Value, names: &Names, began: Timestamp) {
    match value {
        Value::Object(fields) => {
            let values = fields.values_mut();
            values.for_each(|value| tidy(value, names, began));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| tidy(value, names, began)),
        Value::String(text) => match text.parse::<Timestamp>() {
            Ok(time) => stretch(time.duration_since(began).as_secs()).clone_into(text),
            Err(_) => *text = names.rename(text),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
