//! Whether a ReplicaSet runs a template (CTL-20).

use serde_json::{Map, Value};

use super::encode::{self, Form};
use super::{RawPodTemplate, defaults};
use crate::keys;
use crate::replica_set::ReplicaSet;
use crate::rollout::PodTemplateMetadata;

impl ReplicaSet {
    /// Labels and annotations that were injected into it and its pods (API-41); empty when the
    /// annotation is absent or unreadable.
    pub fn ephemeral_metadata(&self) -> PodTemplateMetadata {
        self.annotation(keys::EPHEMERAL_METADATA)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    /// Whether it was made from `desired`, apart from what controllers and the API server add:
    /// the hash label, ephemeral metadata, the injected anti-affinity, defaults.
    pub fn runs_template(&self, desired: &RawPodTemplate) -> bool {
        let mut live = self.spec.template.value();
        if let Some(template) = live.as_object_mut() {
            remove_metadata(template, &self.ephemeral_metadata());
            remove_anti_affinity(template);
        }
        let mut wanted = desired.value();
        defaults::apply(&mut wanted);
        comparable(live) == comparable(wanted)
    }
}

impl RawPodTemplate {
    /// Whether two templates as an API server stores them mean the same: the hash label and the
    /// deprecated `serviceAccount` aside, quantities by value, absent equal to empty.
    pub fn same_as(&self, other: &Self) -> bool {
        self == other || comparable(self.value()) == comparable(other.value())
    }
}

fn comparable(mut template: Value) -> String {
    if let Some(template) = template.as_object_mut() {
        if let Some(labels) = labels_of(template, "labels") {
            labels.remove(keys::POD_TEMPLATE_HASH);
        }
        if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("serviceAccount");
        }
    }
    encode::pod_template(&template, Form::Compare)
}

fn labels_of<'a>(
    template: &'a mut Map<String, Value>,
    key: &str,
) -> Option<&'a mut Map<String, Value>> {
    template.get_mut("metadata")?.get_mut(key)?.as_object_mut()
}

fn remove_metadata(template: &mut Map<String, Value>, injected: &PodTemplateMetadata) {
    for (key, entries) in [
        ("labels", &injected.labels),
        ("annotations", &injected.annotations),
    ] {
        if let Some(present) = labels_of(template, key) {
            present.retain(|name, _| !entries.contains_key(name));
        }
    }
}

/// The way down to the anti-affinity terms.
const PATH: [&str; 3] = ["spec", "affinity", "podAntiAffinity"];

/// Removes the injected term (API-15), and the objects that are empty without it.
fn remove_anti_affinity(template: &mut Map<String, Value>) {
    let mut removed = false;
    if let Some(rules) = descend(template, &PATH) {
        for (list, term) in [
            ("requiredDuringSchedulingIgnoredDuringExecution", None),
            (
                "preferredDuringSchedulingIgnoredDuringExecution",
                Some("podAffinityTerm"),
            ),
        ] {
            let Some(terms) = rules.get_mut(list).and_then(Value::as_array_mut) else {
                continue;
            };
            let before = terms.len();
            terms.retain(|entry| {
                !is_injected(term.map_or(entry, |key| entry.get(key).unwrap_or(entry)))
            });
            let changed = terms.len() < before;
            removed |= changed;
            if changed && terms.is_empty() {
                rules.remove(list);
            }
        }
    }
    if removed {
        for depth in (2..=PATH.len()).rev() {
            let Some((last, parents)) = PATH.get(..depth).and_then(|p| p.split_last()) else {
                return;
            };
            let Some(parent) = descend(template, parents) else {
                return;
            };
            if parent
                .get(*last)
                .and_then(Value::as_object)
                .is_some_and(Map::is_empty)
            {
                parent.remove(*last);
            }
        }
    }
}

fn descend<'a>(
    root: &'a mut Map<String, Value>,
    path: &[&str],
) -> Option<&'a mut Map<String, Value>> {
    path.iter()
        .try_fold(root, |object, key| object.get_mut(*key)?.as_object_mut())
}

/// Whether a pod affinity term is the one that API-15 describes.
pub(crate) fn is_injected(term: &Value) -> bool {
    let selector = term.get("labelSelector");
    let expressions = selector
        .and_then(|s| s.get("matchExpressions"))
        .and_then(Value::as_array);
    let about_hash = expressions.is_some_and(|all| {
        matches!(all.as_slice(), [one] if one.get("key").and_then(Value::as_str)
            == Some(keys::POD_TEMPLATE_HASH)
            && one.get("operator").and_then(Value::as_str) == Some("In"))
    });
    let topology = term.get("topologyKey").and_then(Value::as_str);
    about_hash && topology == Some(keys::HOSTNAME_TOPOLOGY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn replica_set(template: Value, ephemeral: &str) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": { "annotations": { keys::EPHEMERAL_METADATA: ephemeral } },
            "spec": { "template": template },
        }))
        .unwrap()
    }

    fn plain(image: &str) -> Value {
        json!({
            "metadata": { "labels": { "app": "web" } },
            "spec": { "containers": [{ "name": "web", "image": image,
                "resources": { "requests": { "memory": "1024Mi" } } }] },
        })
    }

    /// CTL-20: what others add does not make a difference; what users write does.
    #[test]
    fn additions_do_not_count() {
        let term = json!({
            "labelSelector": { "matchExpressions": [
                { "key": keys::POD_TEMPLATE_HASH, "operator": "In", "values": ["abc"] } ] },
            "namespaces": ["shop"], "topologyKey": keys::HOSTNAME_TOPOLOGY,
        });
        let live = json!({
            "metadata": {
                "creationTimestamp": null,
                "labels": { "app": "web", "role": "canary", keys::POD_TEMPLATE_HASH: "abc" },
            },
            "spec": {
                "containers": [{ "name": "web", "image": "web:v1", "imagePullPolicy": "IfNotPresent",
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File",
                    "resources": { "requests": { "memory": "1Gi" } } }],
                "affinity": { "podAntiAffinity":
                    { "requiredDuringSchedulingIgnoredDuringExecution": [term] } },
                "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "securityContext": {},
                "terminationGracePeriodSeconds": 30, "schedulerName": "default-scheduler",
                "serviceAccount": "x",
            },
        });
        let live = replica_set(live, r#"{"labels":{"role":"canary"}}"#);
        let same = |desired: Value| live.runs_template(&desired.into());
        assert!(same(plain("web:v1")));
        assert!(!same(plain("web:v2")));
        for change in [
            json!({ "spec": { "nodeName": "a" } }),
            json!({ "spec": { "tomorrow": { "on": true } } }),
            json!({ "metadata": { "labels": { "more": "yes" } } }),
            json!({ "spec": { "affinity": {} } }),
        ] {
            let mut desired = plain("web:v1");
            merge(&mut desired, &change);
            assert!(!same(desired), "{change}");
        }
    }

    fn merge(into: &mut Value, from: &Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    merge(into.entry(key.as_str()).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from.clone(),
        }
    }
}
