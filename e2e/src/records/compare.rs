//! What differs between two lists of objects, field by field.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::normal::{Key, normal};
use crate::stand::text;

/// One field that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The case, such as `01-canary-basic`.
    pub case: String,
    /// The moment, such as `2-mid`.
    pub moment: String,
    /// The object, such as `Rollout canary-basic`.
    pub object: String,
    /// Where in it, such as `status.conditions[Healthy].reason`; empty when the object as a whole is
    /// missing on one side.
    pub path: String,
    /// What the peer wrote, as JSON; none where it wrote nothing.
    pub theirs: Option<String>,
    /// What we wrote.
    pub ours: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        write!(
            f,
            "{}/{} {} {}: theirs {} ours {}",
            self.case,
            self.moment,
            self.object,
            self.path,
            shown(&self.theirs),
            shown(&self.ours)
        )
    }
}

/// All differences between a record and what we left, events aside.
#[must_use]
pub fn differences(case: &str, moment: &str, theirs: &[Value], ours: &[Value]) -> Vec<Difference> {
    let (theirs, ours) = (normal(theirs), normal(ours));
    let keys: BTreeSet<&Key> = theirs.keys().chain(ours.keys()).collect();
    let mut found = vec![];
    for key in keys {
        let object = format!("{} {}", key.0, key.1);
        let mut note = |path: &str, theirs: Option<String>, ours: Option<String>| {
            found.push(Difference {
                case: case.to_owned(),
                moment: moment.to_owned(),
                object: object.clone(),
                path: path.to_owned(),
                theirs,
                ours,
            });
        };
        match (theirs.get(key), ours.get(key)) {
            (Some(theirs), Some(ours)) => {
                let (theirs, ours) = (leaves(theirs), leaves(ours));
                let paths: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
                for path in paths {
                    let (theirs, ours) = (theirs.get(path), ours.get(path));
                    if theirs != ours && !(is_span(path) && near(theirs, ours)) {
                        note(path, theirs.cloned(), ours.cloned());
                    }
                }
            }
            (theirs, ours) => {
                let there = |side: Option<&Value>| side.map(|_| "there".to_owned());
                note("", there(theirs), there(ours));
            }
        }
    }
    found
}

/// Seconds by which times of two runs may differ.
const SPREAD: i64 = 8;

/// Whether a field says how many seconds something took.
fn is_span(path: &str) -> bool {
    path.starts_with("status.duration.") && path.ends_with("Seconds")
}

fn near(a: Option<&String>, b: Option<&String>) -> bool {
    let number = |text: Option<&String>| text?.parse::<i64>().ok();
    number(a)
        .zip(number(b))
        .is_some_and(|(a, b)| (a - b).abs() <= SPREAD)
}

/// Every value that holds no others, by its path.
fn leaves(value: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    collect("", value, &mut found);
    found
}

fn collect(path: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                collect(&format!("{path}{dot}{key}"), value, found);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let names: Option<Vec<&str>> = items.iter().map(name).collect();
            // Lists that are looked up by a name are read so, and their order is one more field.
            let named =
                names.filter(|names| names.iter().collect::<BTreeSet<_>>().len() == names.len());
            if let Some(names) = &named {
                found.insert(format!("{path}#order"), names.join(","));
            }
            for (index, item) in items.iter().enumerate() {
                let key = match named.as_ref().and_then(|names| names.get(index)) {
                    Some(name) => (*name).to_owned(),
                    None => index.to_string(),
                };
                collect(&format!("{path}[{key}]"), item, found);
            }
        }
        value => {
            found.insert(path.to_owned(), value.to_string());
        }
    }
}

fn name(item: &Value) -> Option<&str> {
    let named = |key: &str| Some(text(item, key)).filter(|name| !name.is_empty());
    named("/type").or_else(|| named("/name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(status: serde_json::Value) -> Vec<Value> {
        vec![serde_json::json!({
            "kind": "Rollout",
            "metadata": {
                "name": "web", "uid": "u-1", "generation": 1,
                "creationTimestamp": "2026-11-21T03:44:51Z",
            },
            "status": status,
        })]
    }

    fn told(theirs: Value, ours: Value) -> Vec<String> {
        let found = differences("01", "2-mid", &rollout(theirs), &rollout(ours));
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_field_counts() {
        let condition = |kind: &str, is: &str, at: &str| {
            let at = format!("2026-11-21T03:{at}Z");
            serde_json::json!({"type": kind, "status": is, "lastUpdateTime": at})
        };
        let theirs = serde_json::json!({"canary": {}, "conditions": [
            condition("Healthy", "True", "44:52"), condition("Paused", "False", "44:53")]});
        assert_eq!(told(theirs.clone(), theirs.clone()), Vec::<String>::new());
        let ours = serde_json::json!({"replicas": 1, "conditions": [
            condition("Paused", "False", "44:50"), condition("Healthy", "False", "46:45")]});
        assert_eq!(
            told(theirs, ours),
            [
                "01/2-mid Rollout web status.canary: theirs {} ours -",
                "01/2-mid Rollout web status.conditions#order: theirs Healthy,Paused ours Paused,Healthy",
                "01/2-mid Rollout web status.conditions[Healthy].lastUpdateTime: theirs \"<time of the \
                 first revision>\" ours \"<time of the abort>\"",
                "01/2-mid Rollout web status.conditions[Healthy].status: theirs \"True\" ours \"False\"",
                "01/2-mid Rollout web status.replicas: theirs - ours 1",
            ]
        );
    }

    #[test]
    fn spans_may_differ_a_little() {
        let took = |seconds: i64| serde_json::json!({"duration": {"totalManualPauseDurationSeconds": seconds}});
        assert_eq!(told(took(60), took(61)), Vec::<String>::new());
        assert_eq!(told(took(60), took(0)).len(), 1);
    }
}
