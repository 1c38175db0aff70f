//! Pods and children (INV-3, INV-4, INV-5, INV-7, INV-11).

use std::collections::BTreeSet;

use serde_json::Value;
use sluice_crds::keys;

use super::Findings;
use super::facts::{Facts, Set};
use crate::plan::Action;
use crate::units::share_up;

/// INV-3: what recorded weights, or a Service as read, send to a ReplicaSet, its pods must suffice
/// for. What this plan itself redirects still counts: that has to be seen first.
pub(super) fn nothing_that_serves_shrinks(facts: &Facts<'_>, found: &mut Findings) {
    for set in facts.sets.iter().filter(|set| set.shrinks()) {
        let need = needed(facts, set).min(set.from);
        if set.to < need {
            let message = format!(
                "goes from {} to {}, serves {need} pods' share",
                set.from, set.to
            );
            found.add(3, set.object(), message);
        }
    }
}

/// Pods that a ReplicaSet needs for what is sent to it.
fn needed(facts: &Facts<'_>, set: &Set<'_>) -> i32 {
    if let Some(blue_green) = facts.rollout.spec.blue_green() {
        let active = facts.selected(&blue_green.active_service);
        return if active == Some(set.hash) {
            facts.replicas
        } else {
            0
        };
    }
    if facts.is_basic() || facts.sized_by_hand() {
        return 0; // pods are the share; INV-4 has the budget
    }
    let Some(weights) = facts.recorded() else {
        return 0;
    };
    let shares = [&weights.canary, &weights.stable];
    let share: i32 = shares
        .into_iter()
        .filter(|to| to.pod_template_hash == set.hash)
        .map(|to| to.weight)
        .sum();
    share_up(facts.replicas, share, crate::traffic::whole_of(weights))
}

/// INV-4: what shrinks leaves enough available pods. A version with pods that are not available
/// may shrink all the same: they go first, and it must not block the other one (CTL-33).
pub(super) fn availability_budget(facts: &Facts<'_>, found: &mut Findings) {
    let shrinking = |set: &&Set<'_>| set.shrinks();
    if facts.replicas == 0 || !facts.sets.iter().any(|set| set.shrinks()) {
        return;
    }
    // Pods beyond the size are going already: this plan does not take them away.
    let staying = |set: &Set<'_>| i64::from(set.available.min(set.from));
    let before: i64 = facts.sets.iter().map(staying).sum();
    let after: i64 = facts.sets.iter().map(|set| i64::from(set.left())).sum();
    let floor = if facts.is_basic() {
        i64::from(facts.replicas) - i64::from(facts.fences().unavailable)
    } else {
        1
    };
    let whole = facts
        .sets
        .iter()
        .filter(shrinking)
        .all(|set| set.available >= set.from);
    if whole && after < before.min(floor) {
        let message = format!("{after} of {before} available pods are left, {floor} are needed");
        found.add(4, &*facts.name, message);
    }
    if before > 0 && after == 0 && floor > 0 {
        found.add(4, &*facts.name, "no available pod is left");
    }
}

/// INV-5: a canary without traffic routing stays below its ceiling.
pub(super) fn surge_budget(facts: &Facts<'_>, found: &mut Findings) {
    if !facts.is_basic() {
        return;
    }
    let before: i64 = facts.sets.iter().map(|set| i64::from(set.from)).sum();
    let after: i64 = facts.sets.iter().map(|set| i64::from(set.to)).sum();
    let ceiling = i64::from(facts.replicas) + i64::from(facts.fences().surge);
    if after > before.max(ceiling) {
        let message = format!("{after} pods are asked for, {ceiling} are allowed");
        found.add(5, &*facts.name, message);
    }
}

/// INV-4: only a ReplicaSet without pods is deleted, and never the new or the stable one.
pub(super) fn deletions(facts: &Facts<'_>, found: &mut Findings) {
    for action in facts.actions() {
        let Action::DeleteReplicaSet { name } = action else {
            continue;
        };
        let Some(set) = facts.sets.iter().find(|set| set.name == name) else {
            continue;
        };
        let kept = [
            &facts.stored.stable_rs,
            &facts.next.stable_rs,
            &facts.next.current_pod_hash,
        ];
        if set.from > 0 || set.current > 0 {
            found.add(4, set.object(), "is deleted while it has pods");
        } else if kept.into_iter().any(|hash| hash == set.hash) {
            found.add(
                4,
                set.object(),
                "is deleted while it is the new or the stable one",
            );
        }
    }
}

/// INV-7: one child of a kind per name, and at most one new version at a time.
pub(super) fn one_child(facts: &Facts<'_>, found: &mut Findings) {
    let name_of = |meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
        meta.name.clone().unwrap_or_default()
    };
    let mut made = BTreeSet::new();
    let mut versions = 0;
    for action in facts.actions() {
        let (object, exists) = match action {
            Action::CreateReplicaSet(set) => {
                versions += 1;
                let name = name_of(&set.metadata);
                let exists = facts.sets.iter().any(|own| own.name == name);
                (format!("ReplicaSet/{name}"), exists)
            }
            Action::CreateAnalysisRun(run) => {
                let name = name_of(&run.metadata);
                let runs = &facts.seen.analysis_runs;
                let exists = runs.iter().any(|own| name_of(&own.metadata) == name);
                (format!("AnalysisRun/{name}"), exists)
            }
            Action::CreateExperiment(experiment) => {
                let name = name_of(&experiment.metadata);
                let own = &facts.seen.experiments;
                let exists = own.iter().any(|own| name_of(&own.metadata) == name);
                (format!("Experiment/{name}"), exists)
            }
            _ => continue,
        };
        if exists {
            found.add(7, &*object, "is made although it exists");
        }
        if !made.insert(object.clone()) {
            found.add(7, object, "is made twice");
        }
    }
    if versions > 1 {
        found.add(7, &*facts.name, "makes more than one ReplicaSet");
    }
}

/// INV-11: a new ReplicaSet runs the template in force, unknown members included.
pub(super) fn bytes_survive(facts: &Facts<'_>, found: &mut Findings) {
    for action in facts.actions() {
        let Action::CreateReplicaSet(set) = action else {
            continue;
        };
        if !holds(&set.spec.template.value(), &facts.template().value()) {
            let name = set.metadata.name.as_deref().unwrap_or("");
            found.add(
                11,
                format!("ReplicaSet/{name}"),
                "lacks members of the template",
            );
        }
        if set.pod_hash().is_none() {
            let name = set.metadata.name.as_deref().unwrap_or("");
            let message = format!("has no label {}", keys::POD_TEMPLATE_HASH);
            found.add(7, format!("ReplicaSet/{name}"), message);
        }
    }
}

/// Whether a template has everything that was asked for; it may have more (hash, ephemeral
/// metadata, anti-affinity).
fn holds(made: &Value, asked: &Value) -> bool {
    match (made, asked) {
        (Value::Object(made), Value::Object(asked)) => asked.iter().all(|(key, value)| {
            value.is_null() || made.get(key).is_some_and(|made| holds(made, value))
        }),
        (Value::Array(made), Value::Array(asked)) => {
            made.len() >= asked.len() && made.iter().zip(asked).all(|(m, a)| holds(m, a))
        }
        (made, asked) => made == asked,
    }
}
