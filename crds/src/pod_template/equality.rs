//! Whether a ReplicaSet runs a template (CTL-20).

use serde_json::{Map, Value};

use super::affinity::remove_anti_affinity;
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
        self.runs(&desired.compared())
    }

    /// The same for a template that is compared with several.
    pub fn runs(&self, desired: &ComparedTemplate) -> bool {
        let mut live = self.spec.template.value();
        if let Some(template) = live.as_object_mut() {
            remove_metadata(template, &self.ephemeral_metadata());
            remove_anti_affinity(template);
        }
        comparable(live) == desired.0
    }
}

/// A template in the form in which it is compared with those that an API server stores.
#[derive(Clone, Debug)]
pub struct ComparedTemplate(String);

impl RawPodTemplate {
    /// Prepares it for [`ReplicaSet::runs`].
    pub fn compared(&self) -> ComparedTemplate {
        let mut wanted = self.value();
        defaults::apply(&mut wanted);
        ComparedTemplate(comparable(wanted))
    }

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
