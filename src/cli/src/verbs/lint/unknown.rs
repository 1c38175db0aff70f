//! Fields that nobody reads: mostly misspelled ones.

use std::sync::OnceLock;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

/// Paths of the fields of a Rollout that are not in its schema. In a pod template, those that are
/// not in this version of the Kubernetes API.
pub(super) fn fields(rollout: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(schema) = schema(rollout) {
        by_schema(schema, rollout, "", &mut found);
    }
    let template = rollout.pointer("/spec/template");
    let typed = template.and_then(|template| {
        let typed: PodTemplateSpec = serde_json::from_value(template.clone()).ok()?;
        Some((template, serde_json::to_value(typed).ok()?))
    });
    if let Some((template, known)) = typed {
        not_kept(template, &known, "spec.template", &mut found);
    }
    found
}

/// The definitions; making them takes longer than all the rest.
static DEFINITIONS: OnceLock<Vec<Value>> = OnceLock::new();

/// The schema of an object's kind.
pub(super) fn schema(object: &Value) -> Option<&'static Value> {
    let definitions = DEFINITIONS.get_or_init(sluice_crds::yaml::definitions);
    let definition = definitions
        .iter()
        .find(|one| one.pointer("/spec/names/kind") == object.get("kind"))?;
    definition.pointer("/spec/versions/0/schema/openAPIV3Schema")
}

/// Walks a structural schema.
fn by_schema(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let open = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    match value {
        Value::Object(members) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let additional = schema.get("additionalProperties");
            for (name, member) in members {
                let path = join(path, name);
                let own = properties.and_then(|properties| properties.get(name));
                match own.or(additional) {
                    Some(schema) => by_schema(schema, member, &path, found),
                    // The API server knows metadata; a schema without properties allows any.
                    None if open || path == "metadata" || properties.is_none() => {}
                    None => found.push(path),
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    by_schema(schema, item, &format!("{path}[{index}]"), found);
                }
            }
        }
        _ => {}
    }
}

/// What `value` has and `kept`, the same after it went through the typed form, has not.
fn not_kept(value: &Value, kept: &Value, path: &str, found: &mut Vec<String>) {
    match (value, kept) {
        (Value::Object(members), Value::Object(kept)) => {
            for (name, member) in members.iter().filter(|(_, member)| !member.is_null()) {
                let path = join(path, name);
                match kept.get(name) {
                    Some(kept) => not_kept(member, kept, &path, found),
                    None => found.push(path),
                }
            }
        }
        (Value::Array(items), Value::Array(kept)) => {
            for (index, (item, kept)) in items.iter().zip(kept).enumerate() {
                not_kept(item, kept, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
