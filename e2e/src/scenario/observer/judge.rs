//! The cluster at one moment, and what a change may not do to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use sluice_sim::{Flow, Traffic};

use super::super::state::{number, text};
use super::Change;

/// More objects of a kind than this are a leak (INV-16).
const MANY: usize = 60;

/// What is known, and what has been seen to work.
#[derive(Default)]
pub(super) struct Judge {
    /// Only requests are looked at, and who is there to answer them.
    pub(super) only_requests: bool,
    /// Those who are there have to be as many as their share needs.
    shares_too: bool,
    pub(super) objects: BTreeMap<(&'static str, String), Arc<Value>>,
    pub(super) traffic: Traffic,
    pub(super) flows: Vec<Flow>,
    /// Routes whose destinations have all answered at some time.
    pub(super) served: BTreeSet<String>,
    /// Changes so far.
    pub(super) count: u64,
    /// The change at which a pod was last lost, other than by anybody's will.
    pub(super) last_loss: u64,
    /// The change at which a ReplicaSet was last resized.
    pub(super) resized: BTreeMap<String, u64>,
}

/// A change, with what was there before.
pub(super) struct Step<'a> {
    pub(super) change: &'a Change,
    pub(super) before: Option<Arc<Value>>,
    pub(super) excused: &'a BTreeSet<String>,
}

impl Judge {
    /// One that looks at requests only, and at shares where the controller can know of them.
    pub(super) fn of_requests(shares_too: bool) -> Self {
        Self {
            only_requests: true,
            shares_too,
            ..Self::default()
        }
    }

    /// Takes a change in and says what it breaks.
    pub(super) fn take(&mut self, change: &Change, excused: &BTreeSet<String>) -> Vec<String> {
        self.count += 1;
        let key = (change.kind, change.name.clone());
        let before = if change.gone {
            self.objects.remove(&key)
        } else {
            self.objects.insert(key, Arc::clone(&change.object))
        };
        let step = Step {
            change,
            before,
            excused,
        };
        let mut found = Vec::new();
        if !self.only_requests {
            // With flows as they were: what a resize takes away is what is being sent there.
            match change.kind {
                "ReplicaSet" => self.resize(&step, &mut found),
                "Pod" => self.pod(&step, &mut found),
                "Rollout" => steps(&step, &mut found),
                "AnalysisRun" | "Experiment" => self.one_child(&step, &mut found),
                _ => {}
            }
            self.bounded(change.kind, &mut found);
        } else if change.kind == "ReplicaSet" && self.shares_too {
            self.resize(&step, &mut found);
        }
        self.requests(&step, self.only_requests, &mut found);
        found
    }

    pub(super) fn of_kind<'a>(
        &'a self,
        kind: &'static str,
    ) -> impl Iterator<Item = (&'a str, &'a Arc<Value>)> {
        self.objects
            .iter()
            .filter(move |((other, _), _)| *other == kind)
            .map(|((_, name), object)| (name.as_str(), object))
    }

    pub(super) fn get(&self, kind: &'static str, name: &str) -> Option<&Arc<Value>> {
        self.objects.get(&(kind, name.to_owned()))
    }

    /// The Rollout that controls an object.
    pub(super) fn rollout_of(&self, object: &Value) -> Option<&Arc<Value>> {
        self.get("Rollout", controller(object, "Rollout")?)
    }

    /// The ReplicaSets of a Rollout.
    pub(super) fn sets_of(&self, rollout: &Value) -> Vec<&Arc<Value>> {
        let name = text(rollout, "/metadata/name");
        self.of_kind("ReplicaSet")
            .map(|(_, set)| set)
            .filter(|set| controller(set, "Rollout") == Some(name))
            .collect()
    }

    /// INV-7: one run or Experiment at a time for one revision and step.
    fn one_child(&self, step: &Step<'_>, found: &mut Vec<String>) {
        let change = step.change;
        if change.gone || step.before.is_some() {
            return;
        }
        let key = |object: &Value| {
            let members = [
                "/metadata/labels/rollout-type",
                "/metadata/labels/step-index",
                "/metadata/labels/rollouts-pod-template-hash",
                // Who goes back to a version is at another revision.
                "/metadata/annotations/rollout.argoproj.io~1revision",
            ];
            members.map(|member| text(object, member).to_owned())
        };
        let open = |object: &Value| {
            let ended = ["Successful", "Failed", "Error", "Inconclusive"];
            !ended.contains(&text(object, "/status/phase"))
                && object.pointer("/spec/terminate").and_then(Value::as_bool) != Some(true)
                && object.pointer("/metadata/deletionTimestamp").is_none()
        };
        let Some(owner) = controller(&change.object, "Rollout") else {
            return;
        };
        for (name, other) in self.of_kind(change.kind) {
            if name != change.name
                && controller(other, "Rollout") == Some(owner)
                && open(other)
                && key(other) == key(&change.object)
            {
                found.push(format!(
                    "INV-7: {} {} is made while {name} runs for the same",
                    change.kind, change.name
                ));
            }
        }
    }

    fn bounded(&self, kind: &'static str, found: &mut Vec<String>) {
        if matches!(kind, "ReplicaSet" | "AnalysisRun" | "Experiment") {
            let are = self.of_kind(kind).count();
            if are > MANY {
                found.push(format!("INV-16: {are} objects of {kind}"));
            }
        }
    }
}

/// Name of the controlling owner of a kind.
pub(super) fn controller<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    owners
        .iter()
        .find(|owner| {
            owner.get("controller").and_then(Value::as_bool) == Some(true)
                && text(owner, "/kind") == kind
        })
        .map(|owner| text(owner, "/name"))
}

/// INV-13 and INV-14 in the status of a Rollout.
fn steps(step: &Step<'_>, found: &mut Vec<String>) {
    let (now, name) = (&*step.change.object, &step.change.name);
    let weights = now.pointer("/status/canary/weights");
    if let Some(weights) = weights.filter(|weights| !weights.is_null()) {
        let all = ["canary", "stable"].map(|part| number(weights, &format!("/{part}/weight")));
        let more = weights.get("additional").and_then(Value::as_array);
        let more = more.into_iter().flatten();
        let all: Vec<i64> = all
            .into_iter()
            .chain(more.map(|one| number(one, "/weight")))
            .map(|weight| weight.unwrap_or(0))
            .collect();
        let whole = "/spec/strategy/canary/trafficRouting/maxTrafficWeight";
        let known = step.before.as_deref();
        let known = known.and_then(|old| old.pointer("/status/canary/weights"));
        let whole = number(now, whole).unwrap_or(100);
        if known != Some(weights)
            && (all.iter().sum::<i64>() != whole || all.iter().any(|w| *w < 0))
        {
            found.push(format!(
                "INV-13: Rollout {name} records weights {all:?} of {whole}"
            ));
        }
    }
    let Some(before) = step.before.as_deref() else {
        return;
    };
    let index = |one: &Value| number(one, "/status/currentStepIndex");
    let (Some(from), Some(to)) = (index(before), index(now)) else {
        return;
    };
    let same = |at: &str| text(before, at) == text(now, at);
    let aborted = |one: &Value| one.pointer("/status/abort").and_then(Value::as_bool) == Some(true);
    if !same("/status/currentPodHash") || !same("/status/currentStepHash") {
        return;
    }
    if to < from && !aborted(before) && !aborted(now) {
        found.push(format!(
            "INV-14: Rollout {name} goes back from step {from} to {to}"
        ));
    }
}

/// Whether the controller has not answered to the present spec yet: what it does until then was asked
/// for by an earlier one.
pub(super) fn unseen(rollout: &Value) -> bool {
    let seen: Option<i64> = text(rollout, "/status/observedGeneration").parse().ok();
    seen != number(rollout, "/metadata/generation")
}
