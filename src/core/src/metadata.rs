//! What is put into ReplicaSets and pods besides the user's template: ephemeral metadata (CTL-148)
//! and anti-affinity (CTL-150).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sluice_crds::keys;
use sluice_crds::rollout::{AntiAffinity, PodTemplateMetadata};

use crate::decide::context::{Context, Strategy};
use crate::decide::pass::Pass;
use crate::decide::view::Set;
use crate::plan::Action;

/// Sets a member deep inside an object, making the objects on the way.
pub(crate) fn put(root: &mut Map<String, Value>, path: &[&str], value: Value) {
    match path {
        [] => {}
        [last] => {
            root.insert((*last).to_owned(), value);
        }
        [first, rest @ ..] => {
            let mut inner = match root.remove(*first) {
                Some(Value::Object(inner)) => inner,
                Some(_) | None => Map::new(),
            };
            put(&mut inner, rest, value);
            root.insert((*first).to_owned(), Value::Object(inner));
        }
    }
}

/// Annotations of the Rollout that its ReplicaSets carry too (API-40).
pub(crate) fn copied_annotations(ctx: &Context<'_>) -> BTreeMap<String, String> {
    let annotations = ctx.rollout.metadata.annotations.iter().flatten();
    let mut copied: BTreeMap<String, String> = annotations
        .filter(|(key, _)| !keys::NOT_COPIED.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if ctx.spec().workload_ref.is_some()
        && let Some(generation) = ctx.workload_generation()
    {
        copied.insert(keys::WORKLOAD_GENERATION.to_owned(), generation);
    }
    copied
}

/// Metadata by role: of the version that serves, and of the one on trial.
struct Roles<'a> {
    settled: Option<&'a PodTemplateMetadata>,
    trial: Option<&'a PodTemplateMetadata>,
}

fn roles<'a>(ctx: &Context<'a>) -> Roles<'a> {
    match ctx.strategy {
        Strategy::Canary(canary) => Roles {
            settled: canary.stable_metadata.as_ref(),
            trial: canary.canary_metadata.as_ref(),
        },
        Strategy::BlueGreen(blue_green) => Roles {
            settled: blue_green.active_metadata.as_ref(),
            trial: blue_green.preview_metadata.as_ref(),
        },
    }
}

/// Whether the strategy asks for ephemeral metadata at all.
pub(crate) fn configured(strategy: &sluice_crds::rollout::RolloutStrategy) -> bool {
    let canary = strategy.canary.as_ref();
    let blue_green = strategy.blue_green.as_ref();
    canary.is_some_and(|c| c.canary_metadata.is_some() || c.stable_metadata.is_some())
        || blue_green.is_some_and(|b| b.preview_metadata.is_some() || b.active_metadata.is_some())
}

/// What a ReplicaSet about to be created gets.
pub(crate) fn of_new_set(ctx: &Context<'_>, stable: &str) -> PodTemplateMetadata {
    let roles = roles(ctx);
    let role = if stable.is_empty() {
        roles.settled
    } else {
        roles.trial
    };
    role.cloned().unwrap_or_default()
}

/// The record of injected metadata; none where nothing was injected.
pub(crate) fn recorded_text(metadata: &PodTemplateMetadata) -> Option<String> {
    if metadata.labels.is_empty() && metadata.annotations.is_empty() {
        return None;
    }
    serde_json::to_string(metadata).ok()
}

/// Gives each ReplicaSet and its pods the metadata of its role (CTL-148).
pub(crate) fn reconcile(pass: &mut Pass<'_, '_>) {
    if !configured(&pass.ctx.spec().strategy) {
        return;
    }
    let settled_only = pass.promoted() || pass.view.stable().is_none();
    let (new, stable) = (pass.view.new, pass.view.stable());
    let roles = roles(pass.ctx);
    let nothing = PodTemplateMetadata::default();
    let mut pod_patches = Vec::new();
    for index in 0..pass.view.sets.len() {
        let role = if Some(index) == new {
            if settled_only {
                roles.settled
            } else {
                roles.trial
            }
        } else if Some(index) == stable {
            roles.settled
        } else {
            None
        };
        let wanted = role.unwrap_or(&nothing);
        let Some(set) = pass.view.sets.get_mut(index) else {
            continue;
        };
        if set.fresh {
            continue; // created with what its role asks for
        }
        let recorded = set.object.ephemeral_metadata();
        inject(set, wanted, &recorded);
        let (uid, template_of) = (set.uid.clone(), &set.object.spec.template);
        if set.current == 0 && set.spec == 0 {
            continue;
        }
        for pod in pass
            .ctx
            .seen
            .pods
            .iter()
            .flatten()
            .filter(|pod| pod.owner == uid)
        {
            if pod.terminating || pass.view.touched.contains(&pod.name) {
                continue;
            }
            let own = template_of.metadata();
            let labels = differences(
                &pod.labels,
                &wanted.labels,
                obsolete(&recorded.labels, &roles, |m| &m.labels, &own.labels),
            );
            let annotations = differences(
                &pod.annotations,
                &wanted.annotations,
                obsolete(
                    &recorded.annotations,
                    &roles,
                    |m| &m.annotations,
                    &own.annotations,
                ),
            );
            if !labels.is_empty() || !annotations.is_empty() {
                pod_patches.push((pod.name.clone(), labels, annotations));
            }
        }
    }
    for (name, labels, annotations) in pod_patches {
        pass.view.touched.insert(name.clone());
        pass.view.act(Action::PatchPod {
            name,
            labels,
            annotations,
        });
    }
}

/// Entries that were injected for some role: what the ReplicaSet records, and what the other role
/// asks for, so that a crash between ReplicaSet and pods leaves nothing behind.
fn obsolete<'a>(
    recorded: &'a BTreeMap<String, String>,
    roles: &Roles<'a>,
    part: impl Fn(&'a PodTemplateMetadata) -> &'a BTreeMap<String, String>,
    template: &BTreeMap<String, String>,
) -> Vec<(&'a str, Option<&'a str>)> {
    let mut all: Vec<(&str, Option<&str>)> =
        recorded.keys().map(|key| (key.as_str(), None)).collect();
    for role in [roles.settled, roles.trial].into_iter().flatten() {
        for (key, value) in part(role) {
            if !recorded.contains_key(key) && !template.contains_key(key) {
                all.push((key, Some(value)));
            }
        }
    }
    all
}

/// What has to change so that `present` has all of `wanted` and none of `obsolete`.
fn differences(
    present: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
    obsolete: Vec<(&str, Option<&str>)>,
) -> BTreeMap<String, Option<String>> {
    let mut changes = BTreeMap::new();
    for (key, only_if) in obsolete {
        let there = present
            .get(key)
            .is_some_and(|value| only_if.is_none_or(|v| v == value));
        if there && !wanted.contains_key(key) {
            changes.insert(key.to_owned(), None);
        }
    }
    for (key, value) in wanted {
        if present.get(key) != Some(value) {
            changes.insert(key.clone(), Some(value.clone()));
        }
    }
    changes
}

/// Makes the template of a ReplicaSet carry `wanted`.
fn inject(set: &mut Set, wanted: &PodTemplateMetadata, recorded: &PodTemplateMetadata) {
    let text = recorded_text(wanted);
    let stored = set.object.annotation(keys::EPHEMERAL_METADATA);
    let present = set.object.spec.template.metadata();
    let labels = differences(
        &present.labels,
        &wanted.labels,
        recorded
            .labels
            .keys()
            .map(|key| (key.as_str(), None))
            .collect(),
    );
    let annotations = differences(
        &present.annotations,
        &wanted.annotations,
        recorded
            .annotations
            .keys()
            .map(|key| (key.as_str(), None))
            .collect(),
    );
    match &text {
        Some(text) => {
            set.annotations
                .insert(keys::EPHEMERAL_METADATA.to_owned(), text.clone());
        }
        None => {
            set.annotations.remove(keys::EPHEMERAL_METADATA);
        }
    }
    if stored == text.as_deref() && labels.is_empty() && annotations.is_empty() {
        set.template_patch.remove("metadata");
        return;
    }
    let mut metadata = Map::new();
    if !labels.is_empty() {
        metadata.insert("labels".to_owned(), json!(labels));
    }
    if !annotations.is_empty() {
        metadata.insert("annotations".to_owned(), json!(annotations));
    }
    if metadata.is_empty() {
        set.template_patch.remove("metadata");
    } else {
        set.template_patch
            .insert("metadata".to_owned(), Value::Object(metadata));
    }
}

fn anti_affinity<'a>(ctx: &Context<'a>) -> Option<&'a AntiAffinity> {
    match ctx.strategy {
        Strategy::Canary(canary) => canary.anti_affinity.as_ref(),
        Strategy::BlueGreen(blue_green) => blue_green.anti_affinity.as_ref(),
    }
}

/// `spec.affinity` of the new ReplicaSet: the user's, with a term that keeps its pods off the nodes
/// of the stable ones; `None` while there is nothing to keep off (CTL-150).
pub(crate) fn affinity(ctx: &Context<'_>, stable: &str) -> Option<Value> {
    let rule = anti_affinity(ctx)?;
    if stable.is_empty() || stable == ctx.hashes.current() {
        return None;
    }
    let term = json!({
        "labelSelector": {
            "matchExpressions": [
                { "key": keys::POD_TEMPLATE_HASH, "operator": "In", "values": [stable] }
            ]
        },
        "namespaces": [ctx.namespace()],
        "topologyKey": keys::HOSTNAME_TOPOLOGY,
    });
    let template = ctx.template.value();
    let mut affinity = match template.pointer("/spec/affinity") {
        Some(Value::Object(map)) => map.clone(),
        Some(_) | None => Map::new(),
    };
    let (list, entry) = match &rule.preferred_during_scheduling_ignored_during_execution {
        Some(preferred) => (
            "preferredDuringSchedulingIgnoredDuringExecution",
            json!({ "weight": preferred.weight, "podAffinityTerm": term }),
        ),
        None => ("requiredDuringSchedulingIgnoredDuringExecution", term),
    };
    let own = affinity
        .get("podAntiAffinity")
        .and_then(|rules| rules.get(list));
    let mut terms = own.and_then(Value::as_array).cloned().unwrap_or_default();
    terms.push(entry);
    put(
        &mut affinity,
        &["podAntiAffinity", list],
        Value::Array(terms),
    );
    Some(Value::Object(affinity))
}

/// Rewrites the injected term where it names a version that is no longer stable (CTL-24).
pub(crate) fn sync_affinity(ctx: &Context<'_>, set: &mut Set, stable: &str) {
    if anti_affinity(ctx).is_none() || stable.is_empty() || stable == set.hash {
        return;
    }
    let live = set.object.spec.template.as_str();
    let value: Value = match serde_json::from_str(live) {
        Ok(value) => value,
        Err(_) => return,
    };
    let Some(named) = injected_value(&value) else {
        return;
    };
    if named == stable {
        return;
    }
    if let Some(affinity) = affinity(ctx, stable) {
        set.template_patch
            .insert("spec".to_owned(), json!({ "affinity": affinity }));
    }
}

/// The hash that the injected term of a template names.
fn injected_value(template: &Value) -> Option<&str> {
    let rules = template.pointer("/spec/affinity/podAntiAffinity")?;
    let required = rules.get("requiredDuringSchedulingIgnoredDuringExecution");
    let preferred = rules.get("preferredDuringSchedulingIgnoredDuringExecution");
    let plain = required.and_then(Value::as_array).into_iter().flatten();
    let weighted = preferred
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get("podAffinityTerm"));
    plain.chain(weighted).find_map(|term| {
        let expressions = term
            .pointer("/labelSelector/matchExpressions")?
            .as_array()?;
        let ours = expressions
            .iter()
            .find(|e| e.get("key").and_then(Value::as_str) == Some(keys::POD_TEMPLATE_HASH))?;
        ours.get("values")?.get(0)?.as_str()
    })
}
