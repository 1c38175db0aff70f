//! From a CustomResourceDefinition to a served kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::json::{at, flag, int, items, map, text};
use crate::kinds::{Column, Kind, ScalePaths};
use crate::schema::Schema;

/// The kind that a definition describes; none while it lacks a name or a served version.
pub(crate) fn kind_of(definition: &Value) -> Option<Kind> {
    let spec = definition.get("spec")?;
    let names = spec.get("names")?;
    let words = |key: &str| {
        items(names, &[key])
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let served: Vec<&Value> = items(spec, &["versions"])
        .iter()
        .filter(|v| flag(v, &["served"]))
        .collect();
    let mut versions: Vec<String> = served
        .iter()
        .map(|v| text(v, &["name"]).to_owned())
        .collect();
    versions.sort_by_key(|v| std::cmp::Reverse(priority(v)));
    let preferred = served
        .iter()
        .find(|v| Some(text(v, &["name"])) == versions.first().map(String::as_str))?;
    let mut schemas = BTreeMap::new();
    let mut columns = BTreeMap::new();
    for version in &served {
        let name = text(version, &["name"]).to_owned();
        if let Some(raw) = at(version, &["schema", "openAPIV3Schema"])
            && !flag(spec, &["preserveUnknownFields"])
        {
            schemas.insert(name.clone(), Arc::new(Schema::compile(raw)));
        }
        let list = items(version, &["additionalPrinterColumns"])
            .iter()
            .map(column)
            .collect();
        columns.insert(name, list);
    }
    let status = map(preferred, &["subresources", "status"]).is_some();
    Some(Kind {
        group: text(spec, &["group"]).to_owned(),
        versions,
        kind: text(names, &["kind"]).to_owned(),
        plural: text(names, &["plural"]).to_owned(),
        singular: text(names, &["singular"]).to_owned(),
        short: words("shortNames"),
        categories: words("categories"),
        namespaced: text(spec, &["scope"]) == "Namespaced",
        status,
        scale: at(preferred, &["subresources", "scale"]).map(scale),
        generation: true,
        custom: true,
        schemas,
        columns,
        gone: false,
    })
}

fn scale(raw: &Value) -> ScalePaths {
    let path = |key: &str| -> Vec<String> {
        text(raw, &[key])
            .split('.')
            .filter(|p| !p.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let selector = path("labelSelectorPath");
    ScalePaths {
        spec: path("specReplicasPath"),
        status: path("statusReplicasPath"),
        selector: (!selector.is_empty()).then_some(selector),
    }
}

fn column(raw: &Value) -> Column {
    let field = |key: &str| text(raw, &[key]).to_owned();
    Column {
        name: field("name"),
        kind: field("type"),
        format: field("format"),
        description: field("description"),
        priority: int(raw, &["priority"]).unwrap_or(0),
        path: field("jsonPath"),
    }
}

/// Order of versions: stable above beta above alpha, then by number.
fn priority(version: &str) -> (u8, u32, u32) {
    let rest = version.strip_prefix('v').unwrap_or(version);
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let tail = rest.get(digits.len()..).unwrap_or_default();
    let major = digits.parse().unwrap_or(0);
    let number = |t: &str| t.parse().unwrap_or(0);
    match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
        (Some(minor), _) => (2, major, number(minor)),
        (_, Some(minor)) => (1, major, number(minor)),
        _ if tail.is_empty() && !digits.is_empty() => (3, major, 0),
        _ => (0, 0, 0),
    }
}

/// The status of a definition that is served.
pub(crate) fn established(definition: &Value, stamp: &str) -> Value {
    let names = at(definition, &["spec", "names"])
        .cloned()
        .unwrap_or_default();
    let stored: Vec<&str> = items(definition, &["spec", "versions"])
        .iter()
        .filter(|v| flag(v, &["storage"]))
        .map(|v| text(v, &["name"]))
        .collect();
    json!({
        "acceptedNames": names,
        "storedVersions": stored,
        "conditions": [
            {
                "type": "NamesAccepted", "status": "True", "reason": "NoConflicts",
                "message": "no conflicts found", "lastTransitionTime": stamp,
            },
            {
                "type": "Established", "status": "True", "reason": "InitialNamesAccepted",
                "message": "the initial names have been accepted", "lastTransitionTime": stamp,
            },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_stability() {
        let mut list = ["v1alpha1", "v2", "v1beta2", "v1", "v1beta1", "odd"];
        list.sort_by_key(|v| std::cmp::Reverse(priority(v)));
        assert_eq!(list, ["v2", "v1", "v1beta2", "v1beta1", "v1alpha1", "odd"]);
    }
}
