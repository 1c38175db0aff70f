//! Shared by the tests of all routers.

use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};
use sluice_core::event::{Event, EventType};
use sluice_core::observed::Seen;
use sluice_core::traffic::{Additional, Want};
use sluice_crds::Rollout;

use crate::conformance::{Group, Specimen, check};
use crate::error::RouteError;
use crate::factory::{Config, routers_for};
use crate::object::{Found, ObjectRef};
use crate::router::{RouteWrite, TrafficRouter, WriteKind};

/// A JSON value from YAML.
pub(crate) fn yaml(text: &str) -> Value {
    serde_yaml_ng::from_str(text).unwrap()
}

/// Rollout `ro` in namespace `ns`, from the YAML of its canary strategy.
pub(crate) fn rollout(canary: &str) -> Rollout {
    let mut value =
        json!({"metadata": {"name": "ro", "namespace": "ns", "uid": "u-1"}, "spec": {}});
    crate::json::set(&mut value, &["spec", "strategy", "canary"], yaml(canary));
    serde_json::from_value(value).unwrap()
}

/// The only router of that Rollout.
pub(crate) fn router(canary: &str) -> Box<dyn TrafficRouter> {
    routers_for(&rollout(canary), &Config::default())
        .unwrap()
        .remove(0)
}

/// What is found when exactly these objects exist, by kind, name and (where given) namespace.
pub(crate) fn found(router: &dyn TrafficRouter, objects: &[Value]) -> Found {
    let is = |object: &Value, wanted: &ObjectRef| {
        let namespace = crate::json::text(object, "/metadata/namespace");
        crate::json::text(object, "/kind") == wanted.kind
            && crate::json::text(object, "/metadata/name") == wanted.name
            && (namespace.is_empty() || namespace == wanted.namespace)
    };
    router
        .reads()
        .into_iter()
        .map(|wanted| match objects.iter().find(|o| is(o, &wanted)) {
            Some(object) => (wanted, Seen::Found(object.clone())),
            None => (wanted, Seen::Absent),
        })
        .collect()
}

/// What rendering led to, for people.
pub(crate) fn show(result: &Result<Vec<RouteWrite>, RouteError>) -> String {
    let mut text = String::new();
    let writes = match result {
        Ok(writes) => writes,
        Err(error) => {
            text.push_str(&format!("error: {error}\n"));
            error
                .events()
                .iter()
                .for_each(|e| text.push_str(&format!("event: {}\n", line(e))));
            error.writes()
        }
    };
    for write in writes {
        write
            .before
            .iter()
            .for_each(|e| text.push_str(&format!("event: {}\n", line(e))));
        let (verb, body) = match &write.kind {
            WriteKind::Create(body) => ("create", Some(body)),
            WriteKind::Patch { patch, .. } => ("patch", Some(patch)),
            WriteKind::Replace(body) => ("replace", Some(body)),
            WriteKind::Delete { .. } => ("delete", None),
        };
        text.push_str(&format!("{verb} {}\n", write.object));
        for entry in body.iter().flat_map(|b| lines(b, "")) {
            text.push_str(&format!("  {entry}\n"));
        }
        write
            .after
            .iter()
            .for_each(|e| text.push_str(&format!("event: {}\n", line(e))));
    }
    text
}

/// One line per member; members of lists on one line each.
fn lines(value: &Value, path: &str) -> Vec<String> {
    match value {
        Value::Object(map) if !map.is_empty() => map
            .iter()
            .flat_map(|(k, v)| lines(v, &format!("{path}.{k}")))
            .collect(),
        Value::Array(list) if list.iter().any(Value::is_object) => {
            let items = list.iter().map(|item| format!("  - {item}"));
            [format!("{path}:")].into_iter().chain(items).collect()
        }
        other => vec![format!("{path} = {other}")],
    }
}

fn line(event: &Event) -> String {
    let kind = match event.kind {
        EventType::Normal => "Normal",
        EventType::Warning => "Warning",
    };
    format!("{kind} {}: {}", event.reason, event.message)
}

/// A specimen of the conformance suite whose router does not depend on recorded destinations.
pub(crate) struct Simple {
    /// YAML of the canary strategy.
    pub(crate) canary: &'static str,
    /// Weights and whole of each group in one object.
    pub(crate) groups: fn(&Value) -> Vec<Group>,
    /// Takes out what the router owns.
    pub(crate) erase: fn(&ObjectRef, &mut Value),
    /// Whether an object that is read must exist.
    pub(crate) required: fn(&ObjectRef) -> bool,
    /// Whether an object or what is in it is a managed route.
    pub(crate) is_managed: fn(&ObjectRef, &Value) -> bool,
}

impl Specimen for Simple {
    fn router(&self, _: &[Additional]) -> Box<dyn TrafficRouter> {
        router(self.canary)
    }

    fn groups(&self, found: &Found) -> Vec<Group> {
        objects(found)
            .flat_map(|(_, value)| (self.groups)(value))
            .collect()
    }

    fn erase_owned(&self, object: &ObjectRef, value: &mut Value) {
        (self.erase)(object, value);
    }

    fn required(&self) -> Vec<ObjectRef> {
        self.router(&[])
            .reads()
            .into_iter()
            .filter(self.required)
            .collect()
    }

    fn managed_routes(&self, found: &Found) -> Vec<String> {
        let managed = objects(found).filter(|(object, value)| (self.is_managed)(object, value));
        managed.map(|(object, _)| object.name.clone()).collect()
    }
}

fn objects(found: &Found) -> impl Iterator<Item = (&ObjectRef, &Value)> {
    found.0.iter().filter_map(|(object, seen)| match seen {
        Seen::Found(value) => Some((object, value)),
        _ => None,
    })
}

/// Runs the suite on these objects, as a property.
pub(crate) fn conform(
    specimen: &dyn Specimen,
    objects: &[Value],
    wants: &[Want],
) -> Result<(), TestCaseError> {
    let found = found(&*specimen.router(&[]), objects);
    check(specimen, &found, wants).map_err(TestCaseError::fail)
}
