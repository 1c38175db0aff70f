//! The annotations: forward actions, conditions, and the list of those that are ours (TRF-251).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_crds::keys;
use sluice_crds::rollout::SetHeaderRoute;

use crate::json::{set, unset};

/// A forward action. The order of members is the order in the annotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Action {
    r#type: String,
    pub(super) forward_config: ForwardConfig,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ForwardConfig {
    pub(super) target_groups: Vec<TargetGroup>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_group_stickiness_config: Option<Stickiness>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TargetGroup {
    service_name: String,
    service_port: String,
    pub(super) weight: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Stickiness {
    enabled: bool,
    duration_seconds: i64,
}

impl Stickiness {
    pub(super) fn lasting(duration_seconds: i64) -> Self {
        Self {
            enabled: true,
            duration_seconds,
        }
    }
}

impl Action {
    pub(super) fn forward(
        groups: impl IntoIterator<Item = (String, i64)>,
        port: i32,
        stickiness: Option<Stickiness>,
    ) -> Self {
        let target_groups = groups
            .into_iter()
            .map(|(service_name, weight)| TargetGroup {
                service_name,
                service_port: port.to_string(),
                weight,
            })
            .collect();
        Self {
            r#type: "forward".to_owned(),
            forward_config: ForwardConfig {
                target_groups,
                target_group_stickiness_config: stickiness,
            },
        }
    }

    /// Compact, members in the order of upstream.
    pub(super) fn to_json(&self) -> String {
        // Nothing in here can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// `None` for what is not a forward action of this shape with ports.
    pub(super) fn parse(annotation: &str) -> Option<Self> {
        let action: Self = serde_json::from_str(annotation).ok()?;
        let groups = &action.forward_config.target_groups;
        (!groups.is_empty() && groups.iter().all(|g| !g.service_port.is_empty())).then_some(action)
    }
}

/// Conditions of a header route: equal names are alternatives, different ones must all hold (TRF-252).
pub(super) fn conditions(route: &SetHeaderRoute) -> String {
    let mut headers: Vec<(&str, Vec<&str>)> = Vec::new();
    for m in &route.r#match {
        let value = m.header_value.as_ref().map_or("", |v| v.exact.as_str());
        match headers.iter_mut().find(|(name, _)| *name == m.header_name) {
            Some((_, values)) => values.push(value),
            None => headers.push((&m.header_name, vec![value])),
        }
    }
    let conditions: Vec<Value> = headers
        .into_iter()
        .map(|(name, values)| {
            json!({
                "field": "http-header",
                "httpHeaderConfig": {"httpHeaderName": name, "values": values},
            })
        })
        .collect();
    Value::Array(conditions).to_string()
}

/// The text of an annotation.
pub(super) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(key)?
        .as_str()
}

/// Sets an annotation that holds JSON, unless it holds the same JSON already.
pub(super) fn set_json(object: &mut Value, key: &str, wanted: &str) {
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
    let is_same = annotation(object, key).is_some_and(|now| parse(now) == parse(wanted));
    if !is_same {
        set(object, &["metadata", "annotations", key], json!(wanted));
    }
}

/// Adds a key to a list that does not have it.
pub(super) fn add(list: &mut Vec<String>, key: &str) {
    if !list.iter().any(|k| k == key) {
        list.push(key.to_owned());
    }
}

/// The annotation that lists the annotations of each Rollout.
pub(super) struct ManagedKeys;

impl ManagedKeys {
    /// The lists by Rollout; empty when there is none or it cannot be understood.
    pub(super) fn read(object: &Value) -> BTreeMap<String, Vec<String>> {
        annotation(object, keys::ALB_MANAGED_ANNOTATIONS)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    /// Changes the list of one Rollout; those of others stay. An empty list goes away.
    pub(super) fn edit(object: &mut Value, rollout: &str, edit: impl FnOnce(&mut Vec<String>)) {
        let mut all = Self::read(object);
        let before = all.clone();
        let mut own = all.remove(rollout).unwrap_or_default();
        edit(&mut own);
        if !own.is_empty() {
            all.insert(rollout.to_owned(), own);
        }
        if all == before {
            return;
        }
        let path = ["metadata", "annotations", keys::ALB_MANAGED_ANNOTATIONS];
        match all.is_empty() {
            true => unset(object, &path),
            false => set(object, &path, json!(json!(all).to_string())),
        }
    }
}
