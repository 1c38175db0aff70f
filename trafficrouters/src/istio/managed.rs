//! Routes that the router makes and removes: header and mirror routes (TRF-106..109).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use sluice_core::traffic::Want;
use sluice_crds::rollout::{RouteMatch, SetHeaderRoute, SetMirrorRoute, StringMatch};

use super::{RuleTarget, name_of};
use crate::json::{list, text};

/// Where requests of a managed route go.
pub(super) struct CanaryTarget<'a> {
    host: &'a str,
    subset: &'a str,
}

impl<'a> CanaryTarget<'a> {
    /// With a DestinationRule its host and the canary subset, else the canary Service.
    pub(super) fn new(want: &'a Want, rule: Option<(&'a RuleTarget, &'a Value)>) -> Self {
        match rule {
            Some((target, object)) => Self {
                host: text(object, "/spec/host"),
                subset: &target.canary,
            },
            None => Self {
                host: &want.canary_service,
                subset: "",
            },
        }
    }

    /// The destination; its port is that of the route beside it.
    fn destination(&self, beside: &Value) -> Value {
        destination(self.host, self.subset, list(beside, "/route").first())
    }
}

/// Members that have no value are left out, not written empty (TRF-113).
fn destination(host: &str, subset: &str, port_of: Option<&Value>) -> Value {
    let mut destination = json!({"host": host});
    if !subset.is_empty() {
        crate::json::set(&mut destination, &["subset"], json!(subset));
    }
    if let Some(port) = port_of.and_then(|d| d.pointer("/destination/port")) {
        crate::json::set(&mut destination, &["port"], port.clone());
    }
    destination
}

/// Replaces, adds or (without matches) removes a header route. Each header is an entry of its own:
/// one of them suffices.
pub(super) fn set_header(
    http: &mut Vec<Value>,
    route: &SetHeaderRoute,
    to: &CanaryTarget<'_>,
    beside: &Value,
) {
    http.retain(|r| name_of(r) != route.name);
    if route.r#match.is_empty() {
        return;
    }
    let matches: Vec<Value> = route
        .r#match
        .iter()
        .map(|m| {
            let value = m
                .header_value
                .as_ref()
                .map(string_match)
                .unwrap_or_else(|| json!({}));
            json!({"headers": {m.header_name.as_str(): value}})
        })
        .collect();
    http.push(json!({
        "name": route.name,
        "match": matches,
        "route": [{"destination": to.destination(beside), "weight": 100}],
    }));
}

/// Replaces, adds (on top) or (without matches) removes a mirror route.
pub(super) fn set_mirror(
    http: &mut Vec<Value>,
    route: &SetMirrorRoute,
    to: &CanaryTarget<'_>,
    beside: &Value,
) {
    http.retain(|r| name_of(r) != route.name);
    if route.r#match.is_empty() {
        return;
    }
    let copies: Vec<Value> = list(beside, "/route")
        .iter()
        .map(copy_destination)
        .collect();
    http.insert(
        0,
        json!({
            "name": route.name,
            "match": route.r#match.iter().map(route_match).collect::<Vec<_>>(),
            "route": copies,
            "mirror": to.destination(beside),
            "mirrorPercentage": {"value": route.percentage.unwrap_or(100)},
        }),
    );
}

/// Host, subset, port and weight: the weight is kept in step with the original (TRF-107).
fn copy_destination(original: &Value) -> Value {
    let (host, subset) = (
        text(original, "/destination/host"),
        text(original, "/destination/subset"),
    );
    let mut copy = json!({"destination": destination(host, subset, Some(original))});
    if let Some(weight) = original.get("weight") {
        crate::json::set(&mut copy, &["weight"], weight.clone());
    }
    copy
}

fn route_match(m: &RouteMatch) -> Value {
    let mut entry = Map::new();
    entry.extend(
        m.method
            .as_ref()
            .map(|v| ("method".to_owned(), string_match(v))),
    );
    entry.extend(m.path.as_ref().map(|v| ("uri".to_owned(), string_match(v))));
    if !m.headers.is_empty() {
        let headers: Map<String, Value> = m
            .headers
            .iter()
            .map(|(name, v)| (name.clone(), string_match(v)))
            .collect();
        entry.insert("headers".to_owned(), Value::Object(headers));
    }
    Value::Object(entry)
}

fn string_match(m: &StringMatch) -> Value {
    [
        ("exact", &m.exact),
        ("prefix", &m.prefix),
        ("regex", &m.regex),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(kind, value)| (kind.to_owned(), json!(value)))
    .collect::<Map<_, _>>()
    .into()
}

/// Deletes the routes with these names (TRF-109).
pub(super) fn remove(http: &mut Vec<Value>, names: &BTreeSet<String>) {
    http.retain(|r| !names.contains(name_of(r)));
}

/// Puts managed routes first, in the order of `managedRoutes`; all others keep theirs, whatever
/// they are called (TRF-108, SE-8).
pub(super) fn order(http: &mut [Value], managed: &[String]) {
    http.sort_by_key(|r| {
        managed
            .iter()
            .position(|m| m == name_of(r))
            .unwrap_or(managed.len())
    });
}
