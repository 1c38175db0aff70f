//! Structural schemas of CustomResourceDefinitions: pruning, defaulting, validation.

mod check;

use std::collections::BTreeMap;

use kube_cel::{CompiledSchema, Validator};
use regex::Regex;
use serde_json::{Map, Value};

use crate::error::Cause;
use crate::json::{at, flag, int, items, map, text};
use crate::patch::lists::ListKind;

/// A compiled schema of one version of a kind.
pub(crate) struct Schema {
    root: Node,
    rules: Option<CompiledSchema>,
    /// As written, for OpenAPI.
    pub(crate) raw: Value,
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Schema")
            .field("rules", &self.rules.is_some())
            .finish_non_exhaustive()
    }
}

/// One level of a schema.
#[derive(Debug, Default)]
struct Node {
    types: Option<JsonType>,
    properties: BTreeMap<String, Node>,
    additional: Option<Box<Node>>,
    items: Option<Box<Node>>,
    required: Vec<String>,
    allowed: Vec<Value>,
    default: Option<Value>,
    /// `x-kubernetes-preserve-unknown-fields`.
    preserve: bool,
    int_or_string: bool,
    /// `x-kubernetes-embedded-resource`: types and metadata survive pruning.
    embedded: bool,
    nullable: bool,
    limits: Limits,
    map_keys: Vec<String>,
    set: bool,
    /// `x-kubernetes-map-type: atomic`.
    atomic: bool,
    any_of: Vec<Node>,
    one_of: Vec<Node>,
    all_of: Vec<Node>,
    not: Option<Box<Node>>,
    /// Whether this or a lower level has a default, so that the others need no walk.
    defaults_below: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum JsonType {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

#[derive(Debug, Default)]
struct Limits {
    minimum: Option<f64>,
    maximum: Option<f64>,
    exclusive: (bool, bool),
    min_length: Option<i64>,
    max_length: Option<i64>,
    pattern: Option<Regex>,
    min_items: Option<i64>,
    max_items: Option<i64>,
    min_properties: Option<i64>,
    max_properties: Option<i64>,
}

impl Schema {
    /// Compiles an `openAPIV3Schema`.
    pub(crate) fn compile(raw: &Value) -> Self {
        let rules = has_rules(raw).then(|| kube_cel::compile_schema(raw));
        Self {
            root: node(raw),
            rules,
            raw: raw.clone(),
        }
    }

    /// Drops fields that the schema does not know; returns their paths.
    pub(crate) fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut unknown = Vec::new();
        let Some(fields) = object.as_object_mut() else {
            return unknown;
        };
        let metadata = fields.remove("metadata");
        prune(&self.root, object, "", &mut unknown);
        if let (Some(metadata), Some(fields)) = (metadata, object.as_object_mut()) {
            fields.insert("metadata".to_owned(), metadata);
        }
        unknown
    }

    /// Fills in defaults and drops nulls that the schema does not allow.
    pub(crate) fn default(&self, object: &mut Value) {
        apply_defaults(&self.root, object);
    }

    /// How the list at a path merges.
    pub(crate) fn list_kind(&self, path: &[&str]) -> ListKind {
        match self.at(path) {
            Some(node) if node.set => ListKind::Set,
            Some(node) if !node.map_keys.is_empty() => ListKind::Map(node.map_keys.clone()),
            _ => ListKind::Atomic,
        }
    }

    /// Whether the map at a path is replaced as a whole.
    pub(crate) fn is_atomic_map(&self, path: &[&str]) -> bool {
        self.at(path).is_some_and(|node| node.atomic)
    }

    /// The level at a path of fields; list elements take no step.
    fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(&self.root, |mut node, field| {
            if let Some(items) = &node.items {
                node = items;
            }
            node.properties.get(*field).or(node.additional.as_deref())
        })
    }

    /// Refused fields; `old` is the version being replaced, for transition rules.
    pub(crate) fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        let mut causes = Vec::new();
        check::check(&self.root, object, "", &mut causes);
        let Some(rules) = &self.rules else {
            return causes;
        };
        if causes.iter().any(Cause::blocks_rules) {
            causes.push(Cause {
                reason: "FieldValueInvalid",
                field: "<nil>".to_owned(),
                message: "Invalid value: null: some validation rules were not checked because the \
                          object was invalid; correct the existing errors to complete validation"
                    .to_owned(),
            });
            return causes;
        }
        thread_local! {
            static VALIDATOR: Validator = Validator::new();
        }
        let result = VALIDATOR.with(|v| v.validate_compiled(rules, object, old));
        for error in result
            .err()
            .map(kube_cel::ValidationErrors::into_vec)
            .unwrap_or_default()
        {
            let field = error.field_path.trim_start_matches('.').to_owned();
            let keys: Vec<&str> = field.split('.').collect();
            causes.push(match at(object, &keys) {
                Some(value) if !value.is_object() && !value.is_array() => {
                    Cause::invalid(field, value, &error.message)
                }
                _ => Cause {
                    reason: "FieldValueInvalid",
                    field,
                    message: format!("Invalid value: {}", error.message),
                },
            });
        }
        causes
    }
}

fn has_rules(raw: &Value) -> bool {
    match raw {
        Value::Object(fields) => {
            fields.contains_key("x-kubernetes-validations") || fields.values().any(has_rules)
        }
        Value::Array(list) => list.iter().any(has_rules),
        _ => false,
    }
}

fn node(raw: &Value) -> Node {
    let nodes = |key: &str| items(raw, &[key]).iter().map(node).collect();
    let child = |key: &str| {
        at(raw, &[key])
            .filter(|v| v.is_object())
            .map(|v| Box::new(node(v)))
    };
    let strings = |key: &str| {
        items(raw, &[key])
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let number = |key: &str| at(raw, &[key]).and_then(Value::as_f64);
    let properties: BTreeMap<String, Node> = map(raw, &["properties"])
        .into_iter()
        .flatten()
        .map(|(name, schema)| (name.clone(), node(schema)))
        .collect();
    let additional = match at(raw, &["additionalProperties"]) {
        Some(Value::Bool(true)) => Some(Box::new(Node {
            preserve: true,
            ..Node::default()
        })),
        _ => child("additionalProperties"),
    };
    let items_node = child("items");
    let default = at(raw, &["default"]).cloned();
    let below = properties
        .values()
        .any(|p| p.default.is_some() || p.defaults_below)
        || additional.as_ref().is_some_and(|a| a.defaults_below)
        || items_node.as_ref().is_some_and(|a| a.defaults_below);
    Node {
        types: match text(raw, &["type"]) {
            "object" => Some(JsonType::Object),
            "array" => Some(JsonType::Array),
            "string" => Some(JsonType::String),
            "integer" => Some(JsonType::Integer),
            "number" => Some(JsonType::Number),
            "boolean" => Some(JsonType::Boolean),
            _ => None,
        },
        properties,
        additional,
        items: items_node,
        required: strings("required"),
        allowed: items(raw, &["enum"]).to_vec(),
        default,
        preserve: flag(raw, &["x-kubernetes-preserve-unknown-fields"]),
        int_or_string: flag(raw, &["x-kubernetes-int-or-string"]),
        embedded: flag(raw, &["x-kubernetes-embedded-resource"]),
        nullable: flag(raw, &["nullable"]),
        limits: Limits {
            minimum: number("minimum"),
            maximum: number("maximum"),
            exclusive: (
                flag(raw, &["exclusiveMinimum"]),
                flag(raw, &["exclusiveMaximum"]),
            ),
            min_length: int(raw, &["minLength"]),
            max_length: int(raw, &["maxLength"]),
            // A pattern outside of RE2's common ground is not enforced.
            pattern: at(raw, &["pattern"])
                .and_then(Value::as_str)
                .and_then(|p| Regex::new(p).ok()),
            min_items: int(raw, &["minItems"]),
            max_items: int(raw, &["maxItems"]),
            min_properties: int(raw, &["minProperties"]),
            max_properties: int(raw, &["maxProperties"]),
        },
        map_keys: strings("x-kubernetes-list-map-keys"),
        set: text(raw, &["x-kubernetes-list-type"]) == "set",
        atomic: text(raw, &["x-kubernetes-map-type"]) == "atomic",
        any_of: nodes("anyOf"),
        one_of: nodes("oneOf"),
        all_of: nodes("allOf"),
        not: child("not"),
        defaults_below: below,
    }
}

fn prune(node: &Node, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(fields) => prune_object(node, fields, path, unknown),
        Value::Array(list) => {
            let Some(inner) = &node.items else { return };
            for (i, item) in list.iter_mut().enumerate() {
                prune(inner, item, &format!("{path}[{i}]"), unknown);
            }
        }
        _ => {}
    }
}

fn prune_object(
    node: &Node,
    fields: &mut Map<String, Value>,
    path: &str,
    unknown: &mut Vec<String>,
) {
    fields.retain(|key, value| {
        let below = || {
            if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            }
        };
        if let Some(inner) = node.properties.get(key).or(node.additional.as_deref()) {
            if needs_walk(inner, value) {
                prune(inner, value, &below(), unknown);
            }
            return true;
        }
        if node.preserve
            || (node.embedded && matches!(key.as_str(), "apiVersion" | "kind" | "metadata"))
        {
            return true;
        }
        unknown.push(below());
        false
    });
}

fn needs_walk(node: &Node, value: &Value) -> bool {
    let shapeless = node.preserve && node.properties.is_empty() && node.additional.is_none();
    (value.is_object() || value.is_array()) && !shapeless
}

fn apply_defaults(node: &Node, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, value| {
                let inner = node.properties.get(key).or(node.additional.as_deref());
                !value.is_null()
                    || inner.is_none_or(|n| n.nullable || n.default.is_some() || shapeless(n))
            });
            if node.defaults_below {
                for (name, inner) in &node.properties {
                    let Some(default) = &inner.default else {
                        continue;
                    };
                    let present = fields
                        .get(name)
                        .is_some_and(|v| !v.is_null() || inner.nullable);
                    if !present {
                        fields.insert(name.clone(), default.clone());
                    }
                }
            }
            for (key, value) in fields.iter_mut() {
                if let Some(inner) = node.properties.get(key).or(node.additional.as_deref()) {
                    apply_defaults(inner, value);
                }
            }
        }
        Value::Array(list) => {
            let Some(inner) = &node.items else { return };
            list.iter_mut().for_each(|item| apply_defaults(inner, item));
        }
        _ => {}
    }
}

/// Says nothing about its value, null included.
fn shapeless(node: &Node) -> bool {
    node.types.is_none() && node.preserve
}

#[cfg(test)]
mod tests;
