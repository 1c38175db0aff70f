//! Where requests go (INV-1, INV-2, INV-13).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use sluice_core::replicas::Fences;
use sluice_sim::Flow;

use super::super::state::{is_ready, number, text};
use super::judge::{Judge, Step, controller};

/// Kinds that decide where requests go.
const DECIDE: [&str; 5] = [
    "Pod",
    "Service",
    "VirtualService",
    "DestinationRule",
    "Ingress",
];

fn is_same(one: &Flow, other: &Flow) -> bool {
    (&one.route, &one.rule, &one.destination) == (&other.route, &other.rule, &other.destination)
}

fn is_out(flow: &Flow) -> bool {
    flow.share > 0.0 && flow.ready.is_empty()
}

impl Judge {
    /// Follows requests through a change.
    pub(super) fn requests(&mut self, step: &Step<'_>, only: bool, found: &mut Vec<String>) {
        let change = step.change;
        if !DECIDE.contains(&change.kind) {
            return;
        }
        if change.gone {
            let namespace = text(&change.object, "/metadata/namespace");
            self.traffic.remove(change.kind, namespace, &change.name);
        } else {
            self.traffic.put((*change.object).clone());
        }
        let before = std::mem::take(&mut self.flows);
        self.flows = self.all_flows();
        if !only && !change.gone && matches!(change.kind, "VirtualService" | "Ingress") {
            sums(step, &self.whole_of(&change.name), found);
            self.share_follows_capacity(&before, found);
        }
        let nobody = !self.of_kind("Pod").any(|(_, pod)| is_ready(pod));
        let lost = self.lost_by_itself(step);
        if lost {
            self.last_loss = self.count;
        }
        // No controller deletes a Service or route of its users.
        let taken = change.gone && change.kind != "Pod";
        let unwanted = self
            .of_kind("Rollout")
            .all(|(_, rollout)| number(rollout, "/spec/replicas") == Some(0));
        for flow in self.flows.iter().filter(|flow| is_out(flow)) {
            let old = before.iter().find(|old| is_same(old, flow));
            let known = old.is_some_and(|old| is_out(old) && flow.share <= old.share);
            let gone = self.is_gone(&flow.destination);
            if known
                || lost
                || taken
                || gone
                || nobody
                || unwanted
                || !self.served.contains(&flow.route)
            {
                continue;
            }
            found.push(format!(
                "INV-1: {} sends {:.0} % to {} ({:?}), where nobody answers, since {} {} changed",
                flow.route,
                flow.share * 100.0,
                flow.destination,
                flow.selects,
                change.kind,
                change.name
            ));
        }
        let out: BTreeSet<&String> = self
            .flows
            .iter()
            .filter(|flow| is_out(flow))
            .map(|flow| &flow.route)
            .collect();
        let serving = self.flows.iter().map(|flow| &flow.route);
        let serving: Vec<String> = serving
            .filter(|route| !out.contains(route))
            .cloned()
            .collect();
        self.served.extend(serving);
    }

    /// Whether the Service of a destination is not there: no controller takes that away.
    fn is_gone(&self, destination: &str) -> bool {
        let service = destination.split('/').next().unwrap_or_default();
        self.get("Service", service).is_none()
    }

    /// A pod that is no longer there, or not ready, and nobody decided that.
    fn lost_by_itself(&self, step: &Step<'_>) -> bool {
        let change = step.change;
        if change.kind != "Pod" || !step.before.as_deref().is_some_and(is_ready) {
            return false;
        }
        let deleted = change.gone
            || change
                .object
                .pointer("/metadata/deletionTimestamp")
                .is_some();
        if !deleted || step.excused.contains(&change.name) {
            return true;
        }
        // Of a Rollout that somebody deleted, the pods go too; a restart that somebody asked for takes
        // the only one there is.
        let set = controller(&change.object, "ReplicaSet");
        let set = set.and_then(|name| self.get("ReplicaSet", name));
        let Some(set) = set else {
            return controller(&change.object, "ReplicaSet").is_some();
        };
        match self.rollout_of(set) {
            Some(rollout) => replicas(rollout) == 1 && restarts(rollout),
            None => controller(set, "Rollout").is_some(),
        }
    }

    /// Flows of all routes, and of Services that are reached without one.
    fn all_flows(&self) -> Vec<Flow> {
        let mut flows = self.traffic.flows();
        let routed: BTreeSet<String> = flows
            .iter()
            .filter_map(|flow| flow.destination.split('/').next())
            .map(str::to_owned)
            .chain(
                self.of_kind("Rollout")
                    .flat_map(|(_, rollout)| aside(rollout)),
            )
            .collect();
        for (name, service) in self.of_kind("Service") {
            // One that an Experiment made is reached by its route alone.
            let users = service.pointer("/metadata/ownerReferences").is_none();
            let selects = service.pointer("/spec/selector").is_some();
            if users && selects && !routed.contains(name) {
                let namespace = text(service, "/metadata/namespace");
                flows.push(self.traffic.flow_of_service(namespace, name));
            }
        }
        flows
    }

    /// What weights of a route may sum to: 100, or what Rollouts that name it say.
    fn whole_of(&self, route: &str) -> BTreeSet<i64> {
        let named = self.of_kind("Rollout").filter_map(|(_, rollout)| {
            let routing = rollout.pointer("/spec/strategy/canary/trafficRouting")?;
            routing
                .to_string()
                .contains(&format!("{route:?}"))
                .then(|| number(routing, "/maxTrafficWeight"))?
        });
        named.chain([100]).collect()
    }

    /// INV-2: a canary's share that grows has the pods it needs, but for those that may be missing.
    fn share_follows_capacity(&self, before: &[Flow], found: &mut Vec<String>) {
        let known = |flow: &&Flow| !flow.selects.is_empty() && !flow.some;
        for flow in self.flows.iter().filter(known) {
            let old = before.iter().find(|old| is_same(old, flow));
            let Some(old) = old.filter(|old| flow.share > old.share) else {
                continue;
            };
            let set = self.of_kind("ReplicaSet").find(|(_, set)| {
                text(set, "/metadata/labels/rollouts-pod-template-hash") == flow.selects
            });
            let Some(rollout) = set.and_then(|(_, set)| self.rollout_of(set)) else {
                continue;
            };
            let stable = text(rollout, "/status/stableRS");
            // What goes back to stable has nowhere else to go.
            if stable == flow.selects || stable.is_empty() || sized_by_hand(rollout) {
                continue;
            }
            let (replicas, fences) = (replicas(rollout), fences(rollout));
            #[allow(clippy::cast_possible_truncation, reason = "at most the replicas")]
            let need = (f64::from(replicas) * flow.share - 1e-6).ceil() as i32 - fences.unavailable;
            let has = flow.ready.get(&flow.selects).copied().unwrap_or(0);
            if i64::try_from(has).unwrap_or(i64::MAX) < i64::from(need) {
                found.push(format!(
                    "INV-2: {} gives {} {:.0} % instead of {:.0} %, which needs {need} ready pods, \
                     there are {has}",
                    flow.route,
                    flow.destination,
                    flow.share * 100.0,
                    old.share * 100.0
                ));
            }
        }
    }
}

/// Services of a Rollout that users do not reach without a route, or not as a matter of course.
fn aside(rollout: &Arc<Value>) -> Vec<String> {
    let canary = "/spec/strategy/canary";
    let mut all = vec![
        format!("{canary}/canaryService"),
        format!("{canary}/pingPong/pingService"),
        format!("{canary}/pingPong/pongService"),
        "/spec/strategy/blueGreen/previewService".to_owned(),
    ];
    if rollout
        .pointer(&format!("{canary}/trafficRouting"))
        .is_some()
    {
        all.push(format!("{canary}/stableService"));
    }
    all.iter()
        .map(|at| text(rollout, at).to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// INV-13: no weight is negative, and all of them make up a whole.
fn sums(step: &Step<'_>, wholes: &BTreeSet<i64>, found: &mut Vec<String>) {
    let object = &step.change.object;
    for section in ["http", "tcp", "tls"] {
        let rules = object.pointer(&format!("/spec/{section}"));
        for rule in rules.and_then(Value::as_array).into_iter().flatten() {
            let list = rule.get("route").and_then(Value::as_array);
            let weights: Vec<i64> = list
                .into_iter()
                .flatten()
                .map(|to| number(to, "/weight").unwrap_or(0))
                .collect();
            let sum: i64 = weights.iter().sum();
            let alone = weights.len() == 1 && (sum == 0 || sum == 100);
            if weights.iter().any(|w| *w < 0) || !(alone || wholes.contains(&sum)) {
                found.push(format!(
                    "INV-13: VirtualService {} has weights {weights:?}",
                    step.change.name
                ));
            }
        }
    }
    let annotations = object.pointer("/metadata/annotations");
    let annotations = annotations.and_then(Value::as_object).into_iter().flatten();
    for (key, weight) in annotations.filter(|(key, _)| key.ends_with("/canary-weight")) {
        let number = |value: &Value| -> Option<i64> { value.as_str()?.parse().ok() };
        let weight = number(weight);
        let total = object.pointer("/metadata/annotations");
        let total = total.and_then(|all| all.get(&*format!("{key}-total")));
        let most = total.and_then(number).unwrap_or(100);
        if weight.is_none_or(|weight| !(0..=most).contains(&weight)) {
            found.push(format!(
                "INV-13: Ingress {} has {key} {weight:?}",
                step.change.name
            ));
        }
    }
}

/// Whether somebody asked for a restart that has not ended.
pub(super) fn restarts(rollout: &Value) -> bool {
    rollout.pointer("/spec/restartAt") != rollout.pointer("/status/restartedAt")
}

/// `spec.replicas`.
pub(super) fn replicas(rollout: &Value) -> i32 {
    let given = number(rollout, "/spec/replicas").unwrap_or(1);
    i32::try_from(given).unwrap_or(i32::MAX)
}

/// How many pods may be missing, and how many too many.
pub(super) fn fences(rollout: &Value) -> Fences {
    let of = |part: &str| {
        let found = ["canary", "blueGreen"]
            .iter()
            .find_map(|strategy| rollout.pointer(&format!("/spec/strategy/{strategy}/{part}")));
        found.and_then(|value| serde_json::from_value(value.clone()).ok())
    };
    let (surge, unavailable) = (of("maxSurge"), of("maxUnavailable"));
    Fences::resolve(surge.as_ref(), unavailable.as_ref(), replicas(rollout))
}

/// Whether the user says how many pods the canary has, whatever its share.
pub(super) fn sized_by_hand(rollout: &Value) -> bool {
    let canary = rollout.pointer("/spec/strategy/canary");
    let steps = canary.and_then(|canary| canary.get("steps")?.as_array());
    canary.is_some_and(|canary| canary.get("replicaProgressThreshold").is_some())
        || steps.is_some_and(|steps| steps.iter().any(|one| one.get("setCanaryScale").is_some()))
}
