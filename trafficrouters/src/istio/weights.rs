//! Weights of the destinations of one route (TRF-103, TRF-104).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluice_core::traffic::Want;

use super::{Istio, RuleTarget};
use crate::json::{first_label, list, number, text};
use crate::split::Shares;

/// Istio counts in percent.
const WHOLE: i64 = 100;

/// What a destination is to the Rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role<'w> {
    Canary,
    Stable,
    /// Service of a running experiment.
    Additional(&'w str),
    /// Service of an experiment that is over.
    Leftover,
    Foreign,
}

/// Checks that a route leads to both versions (TRF-103).
pub(super) fn check(route: &Value, istio: &Istio, want: &Want) -> Result<(), String> {
    let has = |role: Role<'_>| {
        list(route, "/route")
            .iter()
            .any(|d| role_of(d, istio, want) == role)
    };
    let (canary, stable) = match &istio.rule {
        Some(rule) => (
            format!(
                "Canary DestinationRule subset '{}' not found in route",
                rule.canary
            ),
            format!(
                "Stable DestinationRule subset '{}' not found in route",
                rule.stable
            ),
        ),
        None => (
            format!(
                "Canary Service '{}' not found in route",
                want.canary_service
            ),
            format!(
                "Stable Service '{}' not found in route",
                want.stable_service
            ),
        ),
    };
    match (has(Role::Canary), has(Role::Stable)) {
        (true, true) => Ok(()),
        (false, _) => Err(canary),
        (true, false) => Err(stable),
    }
}

/// Sets the weights of one route. An absent weight is 0 and stays absent where 0 is wanted (TRF-19).
pub(super) fn apply(route: &mut Value, istio: &Istio, want: &Want) {
    let Some(destinations) = route.get_mut("route").and_then(Value::as_array_mut) else {
        return;
    };
    let roles: Vec<Role<'_>> = destinations
        .iter()
        .map(|d| role_of(d, istio, want))
        .collect();
    let foreign = destinations
        .iter()
        .zip(&roles)
        .filter(|(_, role)| **role == Role::Foreign)
        .map(|(destination, _)| number(destination, "weight").max(0))
        .sum();
    let Shares {
        mut canary,
        mut stable,
        additional,
    } = Shares::of(want, WHOLE).beside(foreign);
    let mut missing: BTreeMap<&str, i64> = want
        .additional
        .iter()
        .map(|a| a.service.as_str())
        .zip(additional)
        .collect();

    for (destination, role) in destinations.iter_mut().zip(&roles) {
        // Where the same destination stands twice, the first one carries the share.
        let weight = match role {
            Role::Canary => std::mem::take(&mut canary),
            Role::Stable => std::mem::take(&mut stable),
            Role::Additional(service) => missing.remove(service).unwrap_or_default(),
            Role::Leftover | Role::Foreign => continue,
        };
        if number(destination, "weight") != weight {
            crate::json::set(destination, &["weight"], json!(weight));
        }
    }
    let mut roles = roles.into_iter();
    destinations.retain(|_| roles.next() != Some(Role::Leftover));
    destinations.extend(
        missing
            .into_iter()
            .filter(|(_, weight)| *weight != 0)
            .map(|(host, weight)| json!({"destination": {"host": host}, "weight": weight})),
    );
}

fn role_of<'w>(destination: &Value, istio: &Istio, want: &'w Want) -> Role<'w> {
    let host = text(destination, "/destination/host");
    let subset = text(destination, "/destination/subset");
    if let (Some(rule), false) = (&istio.rule, subset.is_empty()) {
        return role_of_subset(rule, subset);
    }
    let is = |service: &str| !service.is_empty() && first_label(host) == first_label(service);
    if let Some(add) = want.additional.iter().find(|a| is(&a.service)) {
        Role::Additional(&add.service)
    } else if is(&want.canary_service) && istio.rule.is_none() {
        Role::Canary
    } else if is(&want.stable_service) && istio.rule.is_none() {
        Role::Stable
    } else if istio.is_leftover(first_label(host), want) {
        Role::Leftover
    } else {
        Role::Foreign
    }
}

/// With a DestinationRule the subset decides: its host is that of both versions.
fn role_of_subset(rule: &RuleTarget, subset: &str) -> Role<'static> {
    if subset == rule.canary {
        Role::Canary
    } else if subset == rule.stable {
        Role::Stable
    } else {
        Role::Foreign
    }
}
