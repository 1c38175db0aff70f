//! A Rollout that cannot be decoded.
//!
//! Nothing can be decided about it, but whoever wrote it is told, in the way in which any invalid
//! spec is told (API-44), and by an event: a schema that lets such an object pass gives no answer of
//! its own.

use jiff::Timestamp;
use serde_json::Value;
use sluice_crds::rollout::{RolloutCondition, RolloutStatus};
use sluice_crds::{FieldError, Rollout, decode};

use crate::conditions::{self, kind};
use crate::decide::rescue;
use crate::event::Event;
use crate::plan::Plan;

pub mod children;

/// As much of a Rollout as can be read, and what cannot.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Name, generation and status; the spec is empty.
    pub rollout: Rollout,
    /// The part that cannot be read.
    pub error: FieldError,
}

impl Unreadable {
    /// Reads what can be read. Of a status that is damaged itself only the conditions are looked at:
    /// the rest is neither judged nor written.
    #[must_use]
    pub fn new(object: &Value, error: FieldError) -> Self {
        let mut rollout = Rollout::default();
        let text = |name: &str| {
            let member = object.pointer("/metadata")?.get(name)?;
            member.as_str().map(str::to_owned)
        };
        rollout.metadata.name = text("name");
        rollout.metadata.namespace = text("namespace");
        rollout.metadata.uid = text("uid");
        rollout.metadata.resource_version = text("resourceVersion");
        let generation = object.pointer("/metadata/generation");
        rollout.metadata.generation = generation.and_then(Value::as_i64);
        let status = object.get("status").filter(|status| !status.is_null());
        rollout.status = status.map(|status| {
            decode::read::<RolloutStatus>(status).unwrap_or_else(|_| RolloutStatus {
                conditions: status
                    .get("conditions")
                    .map(conditions_of)
                    .unwrap_or_default(),
                ..RolloutStatus::default()
            })
        });
        Self { rollout, error }
    }
}

fn conditions_of(list: &Value) -> Vec<RolloutCondition> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| decode::read(item).ok()).collect()
}

/// What to do about it: the condition, and a warning when it is news. There is no time to look
/// again, since only a change of the object can help.
#[must_use]
pub fn decide(seen: &Unreadable, now: Timestamp) -> Plan {
    let rollout = &seen.rollout;
    let mut plan = crate::decide::refuse(rollout, &seen.error.to_string(), now);
    plan.wake = None;
    for why in &mut plan.why {
        why.until = None;
    }
    if let Some(read) = rollout
        .status
        .as_ref()
        .filter(|status| rescue::wanted(status))
    {
        let missing = seen.error.to_string();
        plan.why.push(rescue::blocked(rollout, read, &missing)); // INV-10, INV-15
    }
    let message = |status: Option<&RolloutStatus>| {
        let condition = conditions::get(&status?.conditions, kind::INVALID_SPEC)?;
        Some(condition.message.clone())
    };
    let next = message(plan.status.as_deref());
    if next.is_some() && next != message(rollout.status.as_ref()) {
        let text = next.unwrap_or_default();
        plan.events.push(Event::warning(kind::INVALID_SPEC, text));
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use sluice_crds::rollout::RolloutPhase;

    fn plan(object: &Value) -> Plan {
        let error = decode::read::<Rollout>(object).unwrap_err();
        decide(&Unreadable::new(object, error), Timestamp::UNIX_EPOCH)
    }

    /// API-44 for what cannot even be decoded: condition, phase, one event; nothing else moves.
    #[test]
    fn whoever_wrote_it_is_told_once() {
        let mut object = json!({
            "metadata": { "name": "web", "namespace": "shop", "generation": 7 },
            "spec": { "replicas": "three" },
            "status": { "stableRS": "abc", "abort": true, "observedGeneration": "6" },
        });
        let first = plan(&object);
        let text = "The Rollout \"web\" is invalid: spec.replicas: Invalid value: \"three\": cannot \
                    be read (expected a whole number); correct or remove it";
        let status = first.status.unwrap();
        assert_eq!(status.conditions.len(), 1);
        assert_eq!(status.conditions[0].message, text);
        assert_eq!(status.phase, RolloutPhase::Degraded);
        assert_eq!(status.message, format!("InvalidSpec: {text}"));
        assert_eq!(status.observed_generation, "7");
        assert_eq!((status.stable_rs.as_str(), status.abort), ("abc", true));
        assert_eq!(first.events, [Event::warning("InvalidSpec", text)]);
        assert!(first.actions.is_empty() && first.wake.is_none() && first.why.len() == 1);

        object["status"] = serde_json::to_value(&status).unwrap();
        let again = plan(&object);
        assert!(again.status.is_none() && again.events.is_empty());
    }

    /// A damaged status is not rewritten beyond what is said in it.
    #[test]
    fn a_damaged_status_keeps_what_it_says() {
        let object = json!({
            "metadata": { "name": "web", "generation": 1 },
            "status": { "currentStepIndex": "two", "stableRS": "abc", "conditions": [
                { "type": "Available", "status": "True", "lastUpdateTime": "2026-01-01T00:00:00Z" },
                5,
            ] },
        });
        let status = plan(&object).status.unwrap();
        let types: Vec<_> = status
            .conditions
            .iter()
            .map(|c| c.r#type.as_str())
            .collect();
        assert_eq!(types, ["Available", "InvalidSpec"]);
        assert_eq!(status.stable_rs, "");
        assert!(
            status.message.contains("status.conditions[1]"),
            "{}",
            status.message
        );
    }
}
