//! The images that run, each with the roles of the ReplicaSets that run it (CLI-11).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use sluice_crds::{ReplicaSet, Rollout, keys};

use super::roles;

/// An image and its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// As the pod template names it.
    pub image: String,
    /// Roles, and `Σ:<template>` for the pods of experiments.
    pub tags: Vec<String>,
}

impl std::fmt::Display for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.image)?;
        if self.tags.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.tags.join(", "))
        }
    }
}

/// Images of the main containers of all ReplicaSets with pods, sorted by image.
pub(super) fn of(rollout: Option<&Rollout>, replica_sets: &[Arc<ReplicaSet>]) -> Vec<Image> {
    let mut found: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for set in replica_sets {
        if set
            .status
            .as_ref()
            .is_none_or(|status| status.replicas <= 0)
        {
            continue;
        }
        let tags = match set.annotation(keys::EXPERIMENT_TEMPLATE) {
            Some(template) => vec![format!("Σ:{template}")],
            None => {
                let mut roles = rollout
                    .map(|rollout| roles::of(rollout, set))
                    .unwrap_or_default();
                roles.sort();
                roles
                    .into_iter()
                    .map(|role| role.word().to_owned())
                    .collect()
            }
        };
        let template = set.spec.template.value();
        let containers = template
            .pointer("/spec/containers")
            .and_then(Value::as_array);
        for container in containers.into_iter().flatten() {
            if let Some(image) = container.get("image").and_then(Value::as_str) {
                found
                    .entry(image.to_owned())
                    .or_default()
                    .push(tags.clone());
            }
        }
    }
    found
        .into_iter()
        .map(|(image, tags)| Image {
            image,
            tags: merged(tags),
        })
        .collect()
}

/// Tags of one ReplicaSet keep their order; those of several are merged alphabetically.
fn merged(mut tags: Vec<Vec<String>>) -> Vec<String> {
    tags.retain(|tags| !tags.is_empty());
    if tags.len() <= 1 {
        return tags.pop().unwrap_or_default();
    }
    tags.into_iter()
        .flatten()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}
