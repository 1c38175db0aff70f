//! Sets of fields in the `FieldsV1` notation: `f:` a field, `k:` a list element by keys, `v:`
//! an element by value, `.` the element itself. A leaf is an empty map.

use serde_json::{Map, Value, json};

use crate::kinds::Kind;
use crate::patch::lists::{ListKind, list_kind};

/// Metadata without owners.
const UNOWNED: &[&str] = &[
    "name",
    "namespace",
    "generateName",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// Knows which lists and maps of a kind merge.
pub(super) struct Shape<'a> {
    pub(super) kind: &'a Kind,
    pub(super) version: &'a str,
}

impl<'a> Shape<'a> {
    pub(super) fn new(kind: &'a Kind, version: &'a str) -> Self {
        Self { kind, version }
    }

    /// Selectors are replaced as a whole.
    pub(super) fn is_atomic_map(&self, path: &[&str]) -> bool {
        let last = path.last().copied().unwrap_or_default();
        if self.kind.custom {
            return self
                .kind
                .schemas
                .get(self.version)
                .is_some_and(|s| s.is_atomic_map(path));
        }
        matches!(last, "selector" | "nodeSelector")
    }

    /// The fields of an object.
    pub(super) fn set_of(&self, object: &Value) -> Value {
        let mut set = Map::new();
        for (key, value) in object.as_object().into_iter().flatten() {
            match key.as_str() {
                "apiVersion" | "kind" => {}
                "metadata" => {
                    let mut inner = Map::new();
                    for (field, value) in value.as_object().into_iter().flatten() {
                        if !UNOWNED.contains(&field.as_str()) {
                            let path = &mut vec!["metadata", field.as_str()];
                            inner.insert(format!("f:{field}"), self.set_at(path, value));
                        }
                    }
                    if !inner.is_empty() {
                        set.insert("f:metadata".to_owned(), Value::Object(inner));
                    }
                }
                _ => {
                    let path = &mut vec![key.as_str()];
                    set.insert(format!("f:{key}"), self.set_at(path, value));
                }
            }
        }
        Value::Object(set)
    }

    fn set_at<'v>(&self, path: &mut Vec<&'v str>, value: &'v Value) -> Value {
        match value {
            Value::Object(fields) if !self.is_atomic_map(path) => {
                let mut set = Map::new();
                for (key, value) in fields {
                    path.push(key);
                    set.insert(format!("f:{key}"), self.set_at(path, value));
                    path.pop();
                }
                Value::Object(set)
            }
            Value::Array(list) => match list_kind(self.kind, self.version, path) {
                ListKind::Atomic => json!({}),
                ListKind::Set => list.iter().map(|v| (format!("v:{v}"), json!({}))).collect(),
                ListKind::Map(keys) => list
                    .iter()
                    .map(|item| {
                        let mut set = self.set_at(path, item);
                        crate::json::put(&mut set, &["."], json!({}));
                        (format!("k:{}", key_of(&keys, item)), set)
                    })
                    .collect(),
            },
            _ => json!({}),
        }
    }
}

fn key_of(keys: &[String], item: &Value) -> Value {
    let pair = |k: &String| item.get(k).map(|v| (k.clone(), v.clone()));
    Value::Object(keys.iter().filter_map(pair).collect())
}

/// Whether two list elements are the same by their keys; a key that one side leaves to its
/// default does not tell them apart.
pub(super) fn same_keys(keys: &[String], a: &Value, b: &Value) -> bool {
    keys.iter().all(|k| match (a.get(k), b.get(k)) {
        (Some(a), Some(b)) => a == b,
        (one, other) => k == "protocol" || one == other,
    })
}

fn is_leaf(set: &Value) -> bool {
    set.as_object().is_none_or(Map::is_empty)
}

/// What is in `a` and not in `b`.
pub(super) fn difference(a: &Value, b: &Value) -> Value {
    combine(a, b, |mine, theirs| match theirs {
        None => Some(mine.clone()),
        Some(_) if is_leaf(mine) => None,
        Some(theirs) => Some(difference(mine, theirs)).filter(|rest| !is_leaf(rest)),
    })
}

/// What is in both.
pub(super) fn intersection(a: &Value, b: &Value) -> Value {
    combine(a, b, |mine, theirs| match theirs? {
        theirs if is_leaf(mine) || is_leaf(theirs) => Some(mine.clone()),
        theirs => Some(intersection(mine, theirs)).filter(|rest| !is_leaf(rest)),
    })
}

/// What is in either.
pub(super) fn union(a: &Value, b: &Value) -> Value {
    let mut all = a.as_object().cloned().unwrap_or_default();
    for (key, theirs) in b.as_object().into_iter().flatten() {
        let joined = all
            .get(key)
            .map_or_else(|| theirs.clone(), |mine| union(mine, theirs));
        all.insert(key.clone(), joined);
    }
    Value::Object(all)
}

fn combine(a: &Value, b: &Value, keep: impl Fn(&Value, Option<&Value>) -> Option<Value>) -> Value {
    let fields = a.as_object().into_iter().flatten();
    Value::Object(
        fields
            .filter_map(|(k, mine)| Some((k.clone(), keep(mine, b.get(k))?)))
            .collect(),
    )
}

/// Paths of all leaves.
pub(super) fn leaves(set: &Value) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    walk(set, &mut Vec::new(), &mut found);
    found
}

fn walk(set: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    for (key, inner) in set.as_object().into_iter().flatten() {
        if key == "." {
            continue;
        }
        path.push(key.clone());
        if is_leaf(inner) {
            found.push(path.clone());
        }
        walk(inner, path, found);
        path.pop();
    }
}

/// The set that holds one path.
pub(super) fn tree(path: &[String]) -> Value {
    path.iter()
        .rev()
        .fold(json!({}), |inner, key| json!({ key: inner }))
}

/// A path in the notation of conflict messages.
pub(super) fn show(path: &[String]) -> String {
    path.iter()
        .map(|step| match step.split_once(':') {
            Some(("f", name)) => format!(".{name}"),
            Some(("k", keys)) => {
                let keys: Value = serde_json::from_str(keys).unwrap_or_default();
                let pairs: Vec<String> = keys
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(k, v)| format!("{k}={v}"))
                    .collect();
                format!("[{}]", pairs.join(","))
            }
            Some((_, value)) => format!("[={value}]"),
            None => String::new(),
        })
        .collect()
}

/// The value at a path.
pub(super) fn lookup<'v>(object: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter()
        .try_fold(object, |here, step| match step.split_once(':')? {
            ("f", name) => here.get(name),
            ("k", keys) => {
                let keys: Value = serde_json::from_str(keys).ok()?;
                here.as_array()?.iter().find(|item| has_keys(item, &keys))
            }
            (_, value) => {
                let value: Value = serde_json::from_str(value).ok()?;
                here.as_array()?.iter().find(|item| **item == value)
            }
        })
}

fn has_keys(item: &Value, keys: &Value) -> bool {
    let mut pairs = keys.as_object().into_iter().flatten();
    pairs.all(|(k, v)| item.get(k).map_or(k == "protocol", |found| found == v))
}

/// Leaves of `present` whose values differ between two versions of an object.
pub(super) fn changed(present: &Value, old: &Value, new: &Value) -> Value {
    let mut set = json!({});
    for leaf in leaves(present) {
        if lookup(old, &leaf) != lookup(new, &leaf) {
            set = union(&set, &tree(&leaf));
        }
    }
    set
}

/// Removes the fields of a set from an object, with the maps that become empty.
pub(super) fn remove(value: &mut Value, set: &Value) {
    for (key, inner) in set.as_object().into_iter().flatten() {
        match key.split_once(':') {
            Some(("f", name)) => {
                let Some(fields) = value.as_object_mut() else {
                    continue;
                };
                if is_leaf(inner) {
                    fields.remove(name);
                } else if let Some(child) = fields.get_mut(name) {
                    remove(child, inner);
                    let bare = child.as_object().is_some_and(Map::is_empty)
                        || child.as_array().is_some_and(Vec::is_empty);
                    if bare {
                        fields.remove(name);
                    }
                }
            }
            Some(("k", keys)) => {
                let keys: Value = serde_json::from_str(keys).unwrap_or_default();
                let Some(list) = value.as_array_mut() else {
                    continue;
                };
                if inner.get(".").is_some() {
                    list.retain(|item| !has_keys(item, &keys));
                } else if let Some(item) = list.iter_mut().find(|item| has_keys(item, &keys)) {
                    remove(item, inner);
                }
            }
            Some((_, given)) => {
                let given: Value = serde_json::from_str(given).unwrap_or_default();
                if let Some(list) = value.as_array_mut() {
                    list.retain(|item| *item != given);
                }
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_subtract_and_intersect() {
        let a = json!({"f:spec": {"f:a": {}, "f:b": {}}, "f:x": {}});
        let b = json!({"f:spec": {"f:b": {}}});
        assert_eq!(
            difference(&a, &b),
            json!({"f:spec": {"f:a": {}}, "f:x": {}})
        );
        assert_eq!(intersection(&a, &b), b);
        assert_eq!(
            union(&b, &json!({"f:y": {}})),
            json!({"f:spec": {"f:b": {}}, "f:y": {}})
        );
    }

    #[test]
    fn paths_read_as_in_messages() {
        let path = ["f:spec", "k:{\"name\":\"a\"}", "f:image"].map(str::to_owned);
        assert_eq!(show(&path), ".spec[name=\"a\"].image");
    }
}
