//! What is put into ReplicaSets and pods besides the user's template: ephemeral metadata (CTL-148)
//! and anti-affinity (CTL-150).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sluice_crds::rollout::{AntiAffinity, PodTemplateMetadata};
use sluice_crds::{RawPodTemplate, keys};

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
    match text {
        Some(text) => {
            set.annotations
                .insert(keys::EPHEMERAL_METADATA.to_owned(), text);
        }
        None => {
            set.annotations.remove(keys::EPHEMERAL_METADATA);
        }
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

/// The template of the new ReplicaSet, whose own hash is `own`: the user's, with a term that keeps
/// its pods off the nodes of the stable ones while there are any (CTL-150).
pub(crate) fn spread(ctx: &Context<'_>, stable: &str, own: &str) -> RawPodTemplate {
    match anti_affinity(ctx).filter(|_| !stable.is_empty() && stable != own) {
        Some(rules) => ctx
            .template
            .with_anti_affinity(rules, ctx.namespace(), stable),
        None => ctx.template.clone(),
    }
}

/// Rewrites the injected term where it names a version that is no longer stable; once its own
/// version is, there is nothing left to keep off (CTL-24, CTL-150).
pub(crate) fn sync_affinity(ctx: &Context<'_>, set: &mut Set, stable: &str) {
    set.template_patch.remove("spec");
    if anti_affinity(ctx).is_none() || stable.is_empty() {
        return;
    }
    let live = &set.object.spec.template;
    if live
        .anti_affinity_hash()
        .is_none_or(|named| named == stable)
    {
        return;
    }
    let affinity = |template: &RawPodTemplate| {
        let value = template.value();
        value.pointer("/spec/affinity").cloned().unwrap_or_default()
    };
    let patch = becoming(&affinity(live), affinity(&spread(ctx, stable, &set.hash)));
    set.template_patch
        .insert("spec".to_owned(), json!({ "affinity": patch }));
}

/// The merge patch that makes `wanted` of `live`.
fn becoming(live: &Value, wanted: Value) -> Value {
    let (Value::Object(live), Value::Object(mut wanted)) = (live, wanted.clone()) else {
        return wanted;
    };
    for (key, old) in live {
        let new = wanted.remove(key).unwrap_or_default();
        wanted.insert(key.clone(), becoming(old, new));
    }
    Value::Object(wanted)
}
