//! Label and field selectors, in query form and in object form.

use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::json::{items, map, text};
use crate::object::{self, Object};

/// A label selector: all requirements must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
}

impl Selector {
    /// Reads the query form: `a=b,c!=d,e in (f,g),h,!i`.
    ///
    /// # Errors
    /// 400 for text that is none.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        split_outside_parentheses(text)
            .into_iter()
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| {
                requirement(part).ok_or_else(|| {
                    ApiError::bad_request(format!(
                        "unable to parse requirement: found {part:?} in label selector {text:?}"
                    ))
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Reads a `LabelSelector` object (`matchLabels`, `matchExpressions`). An empty selector
    /// matches everything.
    pub fn of_object(selector: &Value) -> Self {
        let mut list = Vec::new();
        for (key, value) in map(selector, &["matchLabels"]).into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            list.push(Requirement {
                key: key.clone(),
                test: Test::In(vec![value]),
            });
        }
        for row in items(selector, &["matchExpressions"]) {
            let values = items(row, &["values"]);
            let values = values
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            let test = match text(row, &["operator"]) {
                "In" => Test::In(values),
                "NotIn" => Test::NotIn(values),
                "DoesNotExist" => Test::Missing,
                _ => Test::Exists,
            };
            list.push(Requirement {
                key: text(row, &["key"]).to_owned(),
                test,
            });
        }
        Self(list)
    }

    /// Equality with every label of a map, as Services select.
    pub fn of_map(labels: &Map<String, Value>) -> Self {
        let row = |(key, value): (&String, &Value)| Requirement {
            key: key.clone(),
            test: Test::In(vec![value.as_str().unwrap_or_default().to_owned()]),
        };
        Self(labels.iter().map(row).collect())
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether labels satisfy it.
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.0.iter().all(|r| {
            let value = labels.and_then(|l| l.get(&r.key)).and_then(Value::as_str);
            match &r.test {
                Test::In(list) => value.is_some_and(|v| list.iter().any(|l| l == v)),
                Test::NotIn(list) => value.is_none_or(|v| !list.iter().any(|l| l == v)),
                Test::Exists => value.is_some(),
                Test::Missing => value.is_none(),
            }
        })
    }

    /// Label pairs that every match must have, for index lookups.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|r| match &r.test {
            Test::In(values) => match values.as_slice() {
                [one] => Some((r.key.as_str(), one.as_str())),
                _ => None,
            },
            _ => None,
        })
    }

    /// The query form, as scale subresources and custom kinds store it.
    pub fn query(&self) -> String {
        let part = |r: &Requirement| match &r.test {
            Test::In(v) => match v.as_slice() {
                [one] => format!("{}={one}", r.key),
                many => format!("{} in ({})", r.key, many.join(",")),
            },
            Test::NotIn(v) => format!("{} notin ({})", r.key, v.join(",")),
            Test::Exists => r.key.clone(),
            Test::Missing => format!("!{}", r.key),
        };
        self.0.iter().map(part).collect::<Vec<_>>().join(",")
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    text.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

fn requirement(part: &str) -> Option<Requirement> {
    let make = |key: &str, test| {
        let key = key.trim();
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        (!key.is_empty() && key.chars().all(fits)).then(|| Requirement {
            key: key.to_owned(),
            test,
        })
    };
    let set = |values: &str| -> Option<Vec<String>> {
        let inner = values.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(|v| v.trim().to_owned()).collect())
    };
    if let Some((key, value)) = part.split_once("!=") {
        return make(key, Test::NotIn(vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return make(key, Test::In(vec![value.trim().to_owned()]));
    }
    if let Some((key, values)) = part.split_once(" notin ") {
        return make(key, Test::NotIn(set(values)?));
    }
    if let Some((key, values)) = part.split_once(" in ") {
        return make(key, Test::In(set(values)?));
    }
    match part.strip_prefix('!') {
        Some(key) => make(key, Test::Missing),
        None => make(part, Test::Exists),
    }
}

/// A field selector: `path=value` or `path!=value`, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields(Vec<(Vec<String>, String, bool)>);

/// Fields that can be selected besides `metadata.name` and `metadata.namespace`, by plural.
const FIELDS: &[(&str, &[&str])] = &[
    (
        "pods",
        &[
            "status.phase",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.podIP",
            "status.nominatedNodeName",
        ],
    ),
    (
        "events",
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
    ),
    ("secrets", &["type"]),
    ("namespaces", &["status.phase"]),
    ("nodes", &["spec.unschedulable"]),
    ("jobs", &["status.successful"]),
    ("replicasets", &["status.replicas"]),
    ("services", &["spec.clusterIP", "spec.type"]),
];

impl Fields {
    /// Reads the query form for a resource (plural); custom kinds offer no fields of their own.
    ///
    /// # Errors
    /// 400 for a field that the resource does not offer.
    pub fn parse(text: &str, resource: &str, custom: bool) -> Result<Self, ApiError> {
        let offered = FIELDS
            .iter()
            .find(|(r, _)| *r == resource)
            .map_or(&[][..], |(_, f)| f);
        let mut list = Vec::new();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (path, value, equal) = if let Some((path, value)) = part.split_once("!=") {
                (path, value, false)
            } else if let Some((path, value)) =
                part.split_once("==").or_else(|| part.split_once('='))
            {
                (path, value, true)
            } else {
                let message = format!("invalid selector: {part:?}; can't understand {part:?}");
                return Err(ApiError::bad_request(message));
            };
            let common = matches!(path, "metadata.name" | "metadata.namespace");
            if !common && !offered.contains(&path) {
                return Err(ApiError::bad_request(if offered.is_empty() && !custom {
                    format!(
                        "\"{path}\" is not a known field selector: only \"metadata.name\", \
                         \"metadata.namespace\""
                    )
                } else {
                    format!("field label not supported: {path}")
                }));
            }
            list.push((
                path.split('.').map(str::to_owned).collect(),
                value.to_owned(),
                equal,
            ));
        }
        Ok(Self(list))
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one name it allows, if it does.
    pub(crate) fn only_name(&self) -> Option<&str> {
        self.0
            .iter()
            .find(|(path, _, equal)| {
                *equal && matches!(path.as_slice(), [m, n] if m == "metadata" && n == "name")
            })
            .map(|(_, value, _)| value.as_str())
    }

    /// Whether an object satisfies it.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(path, want, equal)| {
            let keys: Vec<&str> = path.iter().map(String::as_str).collect();
            let found = crate::json::at(object, &keys);
            let found = match found {
                Some(Value::String(s)) => s.clone(),
                None | Some(Value::Null) => String::new(),
                Some(other) => other.to_string(),
            };
            (found == *want) == *equal
        })
    }
}

/// Namespace, labels and fields together: what a list or watch is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) namespace: String,
    pub(crate) labels: Selector,
    pub(crate) fields: Fields,
}

impl Filter {
    pub(crate) fn matches(&self, object: &Object) -> bool {
        (self.namespace.is_empty() || object.namespace() == self.namespace)
            && self.labels.matches(object::labels(&object.value))
            && (self.fields.is_empty() || self.fields.matches(&object.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn label_selectors_match() {
        let labels = json!({"app": "web", "tier": "front"});
        let rows = [
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app in (api, web),tier", true),
            ("app notin (web)", false),
            ("!app", false),
            ("!other,other!=x,other notin (x)", true),
            ("", true),
        ];
        for (text, want) in rows {
            let selector = Selector::parse(text).unwrap();
            assert_eq!(selector.matches(labels.as_object()), want, "{text}");
        }
        assert!(Selector::parse("a b").is_err());
    }

    #[test]
    fn field_selectors_match() {
        let pod = json!({"metadata": {"name": "a"}, "status": {"phase": "Running"}});
        let fields = |text| Fields::parse(text, "pods", false);
        assert!(
            fields("metadata.name=a,status.phase!=Failed")
                .unwrap()
                .matches(&pod)
        );
        assert!(!fields("spec.nodeName=n").unwrap().matches(&pod));
        assert!(fields("spec.nodeName=").unwrap().matches(&pod));
        assert_eq!(fields("spec.volumes=x").unwrap_err().code, 400);
    }
}
