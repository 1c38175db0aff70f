//! Pods and the ReplicaSets that own them (INV-3, INV-4, INV-5, INV-7).

use serde_json::Value;

use super::super::state::{is_ready, number, text};
use super::judge::{Judge, Step, controller, unseen};
use super::traffic::{fences, replicas, restarts, sized_by_hand};

fn size(set: &Value) -> i64 {
    number(set, "/spec/replicas").unwrap_or(1)
}

fn hash(set: &Value) -> &str {
    text(set, "/metadata/labels/rollouts-pod-template-hash")
}

impl Judge {
    /// A ReplicaSet came, went, or changed.
    pub(super) fn resize(&mut self, step: &Step<'_>, found: &mut Vec<String>) {
        let change = step.change;
        let set = &*change.object;
        let from = step.before.as_deref().map_or(0, size);
        let to = if change.gone { 0 } else { size(set) };
        if from != to || change.gone {
            self.resized.insert(change.name.clone(), self.count);
        }
        let Some(rollout) = self.rollout_of(set) else {
            return;
        };
        if to < from {
            self.shrinks(rollout, &change.name, set, (from, to), found);
        }
        if self.only_requests {
            return;
        }
        let sets = self.sets_of(rollout);
        if to > from && rollout.pointer("/spec/strategy/canary").is_some() {
            let routed = rollout.pointer("/spec/strategy/canary/trafficRouting");
            let ceiling = i64::from(replicas(rollout)) + i64::from(fences(rollout).surge);
            let all: i64 = sets.iter().map(|set| size(set)).sum();
            if routed.is_none() && all > ceiling && !unseen(rollout) {
                found.push(format!(
                    "INV-5: ReplicaSet {} grows to {to}, which makes {all} pods, {ceiling} are \
                     allowed",
                    change.name
                ));
            }
        }
        let twins = sets.iter().filter(|one| hash(one) == hash(set)).count();
        if step.before.is_none() && !change.gone && twins > 1 {
            found.push(format!("INV-7: {twins} ReplicaSets of hash {}", hash(set)));
        }
    }

    /// INV-3: what is sent to it, the rest of it must be able to answer.
    fn shrinks(
        &self,
        rollout: &Value,
        name: &str,
        set: &Value,
        (from, to): (i64, i64),
        found: &mut Vec<String>,
    ) {
        let wanted = replicas(rollout);
        let routed = rollout
            .pointer("/spec/strategy/canary/trafficRouting")
            .is_some();
        let basic = rollout.pointer("/spec/strategy/canary").is_some() && !routed;
        let mine = || self.flows.iter().filter(|flow| flow.selects == hash(set));
        let some = mine().any(|flow| flow.some && flow.share > 0.0);
        let known = mine().filter(|flow| !flow.some);
        let share = known.map(|flow| flow.share).fold(0.0, f64::max);
        if share <= 0.0 && !some {
            return;
        }
        #[allow(clippy::cast_possible_truncation, reason = "at most the replicas")]
        let need = if basic || (routed && sized_by_hand(rollout)) {
            i64::from(wanted > 0)
        } else {
            let need = (f64::from(wanted) * share - 1e-6).ceil() as i64;
            need.max(i64::from(some && wanted > 0))
        };
        if to < need.min(from) {
            found.push(format!(
                "INV-3: ReplicaSet {name} goes from {from} to {to} while it gets {:.0} % of the \
                 requests",
                share * 100.0
            ));
        }
    }

    /// INV-4: a ready pod is taken away only while enough others are ready.
    pub(super) fn pod(&mut self, step: &Step<'_>, found: &mut Vec<String>) {
        let change = step.change;
        let was = step.before.as_deref().is_some_and(is_ready);
        let is = !change.gone && is_ready(&change.object);
        if !was || is || step.excused.contains(&change.name) {
            return;
        }
        let deleted = change.gone
            || change
                .object
                .pointer("/metadata/deletionTimestamp")
                .is_some();
        let Some(owner) = controller(&change.object, "ReplicaSet") else {
            return;
        };
        let Some(set) = self.get("ReplicaSet", owner) else {
            return;
        };
        let Some(rollout) = self.rollout_of(set) else {
            return;
        };
        // Before anything is stable there is nothing to keep up.
        if !deleted || unseen(rollout) || text(rollout, "/status/stableRS").is_empty() {
            return;
        }
        // Who was asked for before a pod got lost is not to blame.
        if self.resized.get(owner).copied().unwrap_or(0) < self.last_loss {
            return;
        }
        let sets = self.sets_of(rollout);
        let names: Vec<&str> = sets.iter().map(|set| text(set, "/metadata/name")).collect();
        let left = self
            .of_kind("Pod")
            .filter(|(_, pod)| is_ready(pod))
            .filter(|(_, pod)| {
                controller(pod, "ReplicaSet").is_some_and(|owner| names.contains(&owner))
            })
            .count();
        // A restart that somebody asked for may always take one.
        let restarts = i32::from(restarts(rollout));
        let floor = replicas(rollout) - fences(rollout).unavailable.max(restarts);
        if i64::try_from(left).unwrap_or(i64::MAX) < i64::from(floor) {
            found.push(format!(
                "INV-4: pod {} is taken away, {left} ready pods are left, {floor} are needed",
                change.name
            ));
        }
    }
}
