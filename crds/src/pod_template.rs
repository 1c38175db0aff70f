//! Pod templates as opaque JSON.
//!
//! Typed pod templates lose members that a newer API server knows, and take many times the memory.
//! A template is therefore kept as one compact text, shared between clones.

mod affinity;
pub(crate) mod defaults;
pub(crate) mod encode;
mod equality;
mod schema;

pub use equality::ComparedTemplate;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::{cmp, fmt, hash};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::hash::Digests;

/// A pod template: compact JSON with sorted keys, so that equal text is equal JSON.
///
/// Missing and `null` read as the empty template. Members we do not know are kept.
#[derive(Clone)]
pub struct RawPodTemplate(Arc<Shared>);

/// What clones share.
struct Shared {
    text: Box<str>,
    /// What its hashes are made of, from the first question on.
    digests: Digests,
}

impl RawPodTemplate {
    fn of(text: String) -> Self {
        Self(Arc::new(Shared {
            text: text.into(),
            digests: Digests::default(),
        }))
    }

    pub(crate) fn digests(&self) -> &Digests {
        &self.0.digests
    }

    /// Gives up the own text for that of `other`, if it is the same: one copy of it stays.
    pub fn share(&mut self, other: &Self) {
        if self == other {
            self.0 = Arc::clone(&other.0);
        }
    }

    /// The template of a JSON value; `null` gives the empty one.
    pub fn new(value: &Value) -> Self {
        if value.is_null() {
            return Self::default();
        }
        let mut text = String::new();
        write_sorted(value, &mut text);
        Self::of(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The JSON value, parsed anew at each call.
    pub fn value(&self) -> Value {
        // The text was written by `new`, so it parses.
        serde_json::from_str(self.as_str()).unwrap_or_default()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.as_str() == "{}"
    }

    /// A changed copy.
    #[must_use]
    pub fn with(&self, change: impl FnOnce(&mut Map<String, Value>)) -> Self {
        let mut object = match self.value() {
            Value::Object(object) => object,
            _ => Map::new(),
        };
        change(&mut object);
        Self::new(&Value::Object(object))
    }

    /// `metadata.labels`.
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.metadata().labels
    }

    /// `metadata.annotations`.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        self.metadata().annotations
    }

    /// Labels and annotations.
    pub fn metadata(&self) -> crate::rollout::PodTemplateMetadata {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Outer {
            #[serde(deserialize_with = "crate::wire::or_default")]
            metadata: crate::rollout::PodTemplateMetadata,
        }
        serde_json::from_str::<Outer>(self.as_str())
            .unwrap_or_default()
            .metadata
    }

    /// A copy with one more label (or another value of it).
    #[must_use]
    pub fn with_label(&self, key: &str, value: &str) -> Self {
        self.with(|template| {
            if let Some(labels) = object_at(template, &["metadata", "labels"]) {
                labels.insert(key.to_owned(), value.into());
            }
        })
    }
}

/// The object at `path`, made where it is missing; `None` where something else is in the way.
pub(crate) fn object_at<'a>(
    root: &'a mut Map<String, Value>,
    path: &[&str],
) -> Option<&'a mut Map<String, Value>> {
    path.iter().try_fold(root, |object, key| {
        let next = object.entry(*key).or_insert(Value::Null);
        if next.is_null() {
            *next = Value::Object(Map::new());
        }
        next.as_object_mut()
    })
}

/// Compact JSON with sorted keys, whatever map type `serde_json` was built with.
pub(crate) fn write_sorted(value: &Value, out: &mut String) {
    match value {
        Value::Object(object) => {
            let mut members: Vec<(&String, &Value)> = object.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (i, (key, value)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_sorted(&Value::String(key.clone()), out);
                out.push(':');
                write_sorted(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_sorted(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

impl Default for RawPodTemplate {
    fn default() -> Self {
        Self::of("{}".to_owned())
    }
}

impl fmt::Debug for RawPodTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for RawPodTemplate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.as_str() == other.as_str()
    }
}

impl Eq for RawPodTemplate {}

impl PartialOrd for RawPodTemplate {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RawPodTemplate {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl hash::Hash for RawPodTemplate {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl From<Value> for RawPodTemplate {
    fn from(value: Value) -> Self {
        Self::new(&value)
    }
}

impl Serialize for RawPodTemplate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawPodTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(&Value::deserialize(deserializer)?))
    }
}

impl JsonSchema for RawPodTemplate {
    fn schema_name() -> Cow<'static, str> {
        "PodTemplate".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let schema = crate::yaml::pod_template();
        schemars::Schema::try_from(schema).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// D2: nothing is lost, and equal JSON is equal text.
        #[test]
        fn keeps_everything(value in any_json()) {
            let template: RawPodTemplate = serde_json::from_value(value.clone()).unwrap();
            let back = serde_json::to_value(&template).unwrap();
            prop_assert_eq!(&back, &if value.is_null() { json!({}) } else { value });
            let text = serde_json::to_string_pretty(&back).unwrap();
            prop_assert_eq!(serde_json::from_str::<RawPodTemplate>(&text).unwrap(), template);
        }
    }

    /// Every value of a template, as paths.
    fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            Value::Object(object) => {
                object
                    .iter()
                    .for_each(|(key, value)| paths(value, &format!("{at}/{key}"), found));
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                items.for_each(|(i, value)| paths(value, &format!("{at}/{i}"), found));
            }
            _ => {}
        }
    }

    proptest! {
        /// CTL-19, CTL-20: whatever is written where something else belongs, hashing and comparing
        /// go on, and a ReplicaSet with the defaults filled in runs the template it was made from.
        #[test]
        fn odd_templates_do_no_harm(odd in any_json(), pick in any::<prop::sample::Index>()) {
            let mut value = json!({
                "metadata": { "labels": { "app": "web" }, "annotations": {} },
                "spec": {
                    "affinity": { "podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [{ "topologyKey": "z" }],
                    } },
                    "containers": [{ "name": "web", "image": "web:v1",
                        "resources": { "limits": { "cpu": "1.5", "memory": "1Gi" } },
                        "ports": [{ "containerPort": 80 }],
                        "readinessProbe": { "httpGet": { "port": "http" } } }],
                    "volumes": [{ "name": "v", "projected": { "sources": [
                        { "serviceAccountToken": { "path": "t" } }] } }],
                },
            });
            let mut all = Vec::new();
            paths(&value, "", &mut all);
            *value.pointer_mut(pick.get(&all).as_str()).unwrap() = odd;
            let template = RawPodTemplate::new(&value);
            prop_assert!(!crate::hash::known_pod_template_hashes(&template, Some(1)).is_empty());
            let mut live = template.value();
            defaults::apply(&mut live);
            let mut set = crate::replica_set::ReplicaSet::default();
            set.spec.template = RawPodTemplate::new(&live);
            prop_assert!(set.runs_template(&template));
            let mut rollout = crate::rollout::Rollout::default();
            rollout.spec.template = template;
            prop_assert!(!crate::validate::rollout(&rollout).is_empty());
        }
    }

    /// Reading labels takes no offence at what else is there.
    #[test]
    fn labels_and_changes() {
        let template = RawPodTemplate::new(&json!({ "metadata": { "labels": null }, "x": 1 }));
        assert_eq!(template.labels(), BTreeMap::new());
        let labelled = template.with_label("app", "web");
        assert_eq!(
            labelled.labels().get("app").map(String::as_str),
            Some("web")
        );
        assert_eq!(labelled.value()["x"], 1);
        assert!(RawPodTemplate::default().is_empty() && !template.is_empty());
    }
}
