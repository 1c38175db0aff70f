//! The anti-affinity that keeps new pods off the nodes of stable ones (API-15, CTL-150).

use serde_json::{Map, Value, json};

use super::{RawPodTemplate, object_at};
use crate::keys;
use crate::rollout::AntiAffinity;

impl RawPodTemplate {
    /// A copy whose pods keep away from those of `stable_hash`; a term that was injected before is
    /// replaced, the user's own terms stay.
    #[must_use]
    pub fn with_anti_affinity(
        &self,
        rules: &AntiAffinity,
        namespace: &str,
        stable_hash: &str,
    ) -> Self {
        let term = json!({
            "labelSelector": { "matchExpressions": [
                { "key": keys::POD_TEMPLATE_HASH, "operator": "In", "values": [stable_hash] },
            ] },
            "namespaces": [namespace],
            "topologyKey": keys::HOSTNAME_TOPOLOGY,
        });
        self.with(|template| {
            remove_anti_affinity(template);
            let Some(target) = object_at(template, &PATH) else {
                return;
            };
            if let Some(preferred) = &rules.preferred_during_scheduling_ignored_during_execution {
                let term = json!({ "weight": preferred.weight, "podAffinityTerm": term });
                append(target, PREFERRED, term);
            } else {
                append(target, REQUIRED, term); // also where neither is written, as the peer does
            }
        })
    }

    /// A copy without the injected term.
    #[must_use]
    pub fn without_anti_affinity(&self) -> Self {
        self.with(remove_anti_affinity)
    }

    /// The stable hash that the injected term names.
    pub fn anti_affinity_hash(&self) -> Option<String> {
        let value = self.value();
        let rules = value.pointer("/spec/affinity/podAntiAffinity")?;
        let items = |list| {
            rules
                .get(list)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
        };
        let preferred = items(PREFERRED).filter_map(|entry| entry.get("podAffinityTerm"));
        let term = items(REQUIRED)
            .chain(preferred)
            .find(|term| is_injected(term))?;
        let hash = term.pointer("/labelSelector/matchExpressions/0/values/0")?;
        hash.as_str().map(str::to_owned)
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn append(rules: &mut Map<String, Value>, list: &str, term: Value) {
    let terms = rules.entry(list).or_insert(Value::Null);
    match terms {
        Value::Array(terms) => terms.push(term),
        other => *other = json!([term]),
    }
}

/// The way down to the anti-affinity terms.
const PATH: [&str; 3] = ["spec", "affinity", "podAntiAffinity"];

/// Removes the injected term (API-15), and the objects that are empty without it.
pub(super) fn remove_anti_affinity(template: &mut Map<String, Value>) {
    let mut removed = false;
    if let Some(rules) = descend(template, &PATH) {
        for (list, term) in [(REQUIRED, None), (PREFERRED, Some("podAffinityTerm"))] {
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
fn is_injected(term: &Value) -> bool {
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

    fn rules(rules: Value) -> AntiAffinity {
        serde_json::from_value(rules).unwrap()
    }

    /// CTL-150: added, found, replaced and taken away without a trace.
    #[test]
    fn comes_and_goes() {
        let own = json!({ "topologyKey": "zone", "labelSelector": {} });
        for template in [
            json!({ "spec": { "containers": [] } }),
            json!({ "spec": { "affinity": { "podAntiAffinity": { (REQUIRED): [own] } } } }),
            json!({ "spec": { "affinity": { "nodeAffinity": {} } } }),
        ] {
            let template = RawPodTemplate::new(&template);
            for rules in [
                rules(json!({ (REQUIRED): {} })),
                rules(json!({ (PREFERRED): { "weight": 5 } })),
            ] {
                let once = template.with_anti_affinity(&rules, "shop", "abc");
                assert_eq!(once.anti_affinity_hash().as_deref(), Some("abc"));
                let twice = once.with_anti_affinity(&rules, "shop", "def");
                assert_eq!(twice.anti_affinity_hash().as_deref(), Some("def"));
                assert_eq!(twice, template.with_anti_affinity(&rules, "shop", "def"));
                assert_eq!(twice.without_anti_affinity(), template);
            }
            assert_eq!(template.anti_affinity_hash(), None);
        }
    }
}
