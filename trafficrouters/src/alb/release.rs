//! Clean-up of Ingresses whose Rollout is gone or no longer names them (TRF-255, CTL-152).

use std::collections::BTreeSet;

use serde_json::Value;
use sluice_crds::{Rollout, keys};

use super::action::{Action, ManagedKeys, annotation, set_json};
use super::{edit_paths, leads_to};
use crate::factory::Subject;
use crate::json::unset;
use crate::object::ObjectRef;
use crate::patch::Draft;
use crate::router::RouteWrite;

/// Names of the Rollouts that have annotations in an Ingress.
#[must_use]
pub fn alb_managed_rollouts(ingress: &Value) -> BTreeSet<String> {
    ManagedKeys::read(ingress).into_keys().collect()
}

/// Whether a Rollout's spec names this Ingress for its load balancer.
#[must_use]
pub fn references_alb_ingress(rollout: &Rollout, name: &str) -> bool {
    let alb = Subject::of(rollout).and_then(|subject| subject.routing.alb.as_deref());
    alb.is_some_and(|alb| alb.ingress == name || alb.ingresses.iter().any(|i| i == name))
}

/// Takes a Rollout out of an Ingress: header routes go, and every other action leads to the stable
/// Service that it names (the last of its groups) with all weight, so that no traffic stays split
/// even where the action is called after a root Service (SE-16). An action that cannot be understood
/// is left. `None` when there is nothing of that Rollout in it.
#[must_use]
pub fn release_alb_ingress(object: &ObjectRef, seen: &Value, rollout: &str) -> Option<RouteWrite> {
    let owned = ManagedKeys::read(seen).remove(rollout)?;
    let mut draft = Draft::new(object, seen);
    for key in &owned {
        let Some((prefix, name)) = key.split_once("/actions.") else {
            continue;
        };
        let condition = format!("{prefix}/conditions.{name}");
        if owned.contains(&condition) {
            for key in [key, &condition] {
                unset(&mut draft.wanted, &["metadata", "annotations", key]);
            }
            edit_paths(&mut draft.wanted, |paths| {
                paths.retain(|path| !leads_to(path, name))
            });
        } else if let Some(mut action) = annotation(seen, key).and_then(Action::parse) {
            let groups = &mut action.forward_config.target_groups;
            groups.drain(..groups.len().saturating_sub(1));
            groups.iter_mut().for_each(|group| group.weight = 100);
            set_json(&mut draft.wanted, key, &action.to_json());
        }
    }
    ManagedKeys::edit(&mut draft.wanted, rollout, Vec::clear);
    unset(
        &mut draft.wanted,
        &["metadata", "annotations", keys::ALB_MANAGED_ACTIONS],
    );
    draft.patch()
}
