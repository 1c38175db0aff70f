//! Pod hashes in the subsets of a DestinationRule (TRF-110, TRF-112).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_core::event::Event;
use sluice_core::traffic::Want;
use sluice_crds::{Rollout, keys};

use super::{HASH_LABEL, Istio, RuleTarget, name_of};
use crate::error::RouteError;
use crate::json::{list, set, unset};
use crate::object::ObjectRef;
use crate::patch::Draft;
use crate::router::RouteWrite;

const SUBSETS: [&str; 2] = ["spec", "subsets"];
const MANAGED_BY: [&str; 3] = ["metadata", "annotations", keys::MANAGED_BY];

/// Brings hashes, experiment subsets and the managed-by annotation to the wanted state.
pub(super) fn edit(
    draft: &mut Draft<'_>,
    target: &RuleTarget,
    istio: &Istio,
    want: &Want,
) -> Result<(), RouteError> {
    let mut subsets = list(&draft.wanted, "/spec/subsets").to_vec();
    for name in [&target.canary, &target.stable] {
        if !subsets.iter().any(|s| name_of(s) == name) {
            return Err(RouteError::malformed(
                draft.object,
                format!(
                    "DestinationRule `{}` has no subset '{name}'",
                    draft.object.name
                ),
            ));
        }
    }
    for subset in &mut subsets {
        if name_of(subset) == target.canary {
            set_hash(subset, &want.canary_hash);
        } else if name_of(subset) == target.stable {
            set_hash(subset, &want.stable_hash);
        }
    }
    // Only what an experiment of ours left behind goes; subsets of the user stay (SE-10).
    let of_user: BTreeSet<&str> = [target.canary.as_str(), target.stable.as_str()]
        .into_iter()
        .chain(target.additional.iter().map(String::as_str))
        .collect();
    subsets.retain(|s| of_user.contains(name_of(s)) || !istio.is_leftover(name_of(s), want));
    for add in &want.additional {
        match subsets.iter_mut().find(|s| name_of(s) == add.service) {
            Some(subset) => set_hash(subset, &add.pod_hash),
            None => {
                let mut subset = json!({"name": add.service});
                set_hash(&mut subset, &add.pod_hash);
                subsets.push(subset);
            }
        }
    }
    set(&mut draft.wanted, &SUBSETS, Value::Array(subsets));
    set(&mut draft.wanted, &MANAGED_BY, json!(istio.rollout));
    if draft.changed() {
        draft.after.push(Event::normal(
            "UpdatedDestinationRule",
            format!(
                "DestinationRule {} subset updated ({}: {}, {}: {})",
                target.object.name,
                target.canary,
                want.canary_hash,
                target.stable,
                want.stable_hash
            ),
        ));
    }
    Ok(())
}

/// Sets the hash label, or removes it for an empty hash; other labels stay.
fn set_hash(subset: &mut Value, hash: &str) {
    match hash {
        "" => unset(subset, &HASH_LABEL),
        hash => set(subset, &HASH_LABEL, json!(hash)),
    }
}

/// The hash that a subset selects; empty when it selects none.
pub(super) fn hash_of<'a>(rule: &'a Value, subset: &str) -> &'a str {
    list(rule, "/spec/subsets")
        .iter()
        .find(|s| name_of(s) == subset)
        .map_or("", hash_label)
}

/// All hashes that any subset selects.
pub(super) fn hashes(rule: &Value) -> impl Iterator<Item = String> {
    list(rule, "/spec/subsets")
        .iter()
        .map(hash_label)
        .filter(|hash| !hash.is_empty())
        .map(str::to_owned)
}

fn hash_label(subset: &Value) -> &str {
    subset
        .get("labels")
        .and_then(|l| l.get(keys::POD_TEMPLATE_HASH))
        .map_or("", |hash| hash.as_str().unwrap_or_default())
}

/// The Rollout that an object's managed-by annotation names, in the object's namespace.
#[must_use]
pub fn managing_rollout(object: &Value) -> Option<&str> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(keys::MANAGED_BY)?
        .as_str()
}

/// Whether a Rollout's spec names this DestinationRule.
#[must_use]
pub fn references_destination_rule(rollout: &Rollout, name: &str) -> bool {
    super::rule_name(rollout) == Some(name)
}

/// Frees a DestinationRule whose Rollout is gone or no longer names it: annotation and hash labels
/// go, everything else stays (TRF-112, CTL-152). `None` when there is nothing of ours in it.
#[must_use]
pub fn release_destination_rule(object: &ObjectRef, seen: &Value) -> Option<RouteWrite> {
    managing_rollout(seen)?;
    let mut draft = Draft::new(object, seen);
    unset(&mut draft.wanted, &MANAGED_BY);
    let mut subsets = list(seen, "/spec/subsets").to_vec();
    for subset in &mut subsets {
        if !hash_label(subset).is_empty() {
            unset(subset, &HASH_LABEL);
        }
    }
    if !subsets.is_empty() {
        set(&mut draft.wanted, &SUBSETS, Value::Array(subsets));
    }
    draft.patch()
}
