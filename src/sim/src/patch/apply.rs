//! Server-side apply: merging by schema, and who owns which field.
//!
//! Owners are kept in `metadata.managedFields` from the first apply on; until then an object
//! has none, and what it held before belongs to `before-first-apply`.

mod fields;

use serde_json::{Map, Value, json};

use self::fields::{Shape, difference, intersection, leaves, union};
use super::Patch;
use super::lists::{ListKind, list_kind};
use crate::error::ApiError;
use crate::json::{at, put, take, text};
use crate::kinds::Kind;
use crate::state::{Part, WriteOptions};

/// The object that an apply creates.
pub(crate) fn create(
    kind: &Kind,
    patch: &Patch,
    options: &WriteOptions,
    stamp: &str,
) -> Result<Value, ApiError> {
    let Patch::Apply {
        config, manager, ..
    } = patch
    else {
        return Err(ApiError::bad_request(
            "only an apply patch creates an object",
        ));
    };
    let mut value = config.clone();
    take(&mut value, &["metadata", "resourceVersion"]);
    let shape = Shape::new(kind, version(kind, options));
    let set = shape.set_of(&without_part(kind, config, Part::Main));
    let entry = manager_entry(kind, options, manager, "Apply", Part::Main, set, stamp);
    put(&mut value, &["metadata", "managedFields"], json!([entry]));
    Ok(value)
}

/// The applied object and the new list of owners.
pub(super) fn apply(
    kind: &Kind,
    old: &Value,
    patch: &Patch,
    part: Part,
    options: &WriteOptions,
    stamp: &str,
) -> Result<(Value, Value), ApiError> {
    let Patch::Apply {
        config,
        manager,
        force,
    } = patch
    else {
        return Err(ApiError::bad_request("not an apply patch"));
    };
    let shape = Shape::new(kind, version(kind, options));
    let config = without_part(kind, config, part);
    let wanted = shape.set_of(&config);
    let mut managers: Vec<Value> = match at(old, &["metadata", "managedFields"]) {
        Some(Value::Array(list)) => list.clone(),
        _ => {
            let all = shape.set_of(old);
            vec![manager_entry(
                kind,
                options,
                "before-first-apply",
                "Update",
                part,
                all,
                stamp,
            )]
        }
    };
    let conflicts = conflicts(&managers, (manager, part), &wanted, old, &config);
    if !conflicts.is_empty() && !force {
        return Err(refuse(&conflicts));
    }
    let is_own = |m: &Value| is_entry(m, manager, "Apply", part);
    let before = managers
        .iter()
        .find(|m| is_own(m))
        .map(|m| owned(m).clone());
    managers.retain(|m| !is_own(m));
    for entry in &mut managers {
        let taken: Vec<&Value> = conflicts
            .iter()
            .filter(|c| c.manager == text(entry, &["manager"]))
            .map(|c| &c.set)
            .collect();
        for set in taken {
            let rest = difference(owned(entry), set);
            put(entry, &["fieldsV1"], rest);
        }
    }
    let mut value = old.clone();
    merge(&shape, &mut Vec::new(), &mut value, &config);
    if let Some(before) = &before {
        let mut gone = difference(before, &wanted);
        for entry in &managers {
            gone = difference(&gone, owned(entry));
        }
        fields::remove(&mut value, &gone);
    }
    let unchanged = before.as_ref() == Some(&wanted) && value == *old;
    if unchanged && conflicts.is_empty() {
        let managed = at(old, &["metadata", "managedFields"])
            .cloned()
            .unwrap_or_default();
        return Ok((value, managed));
    }
    managers.push(manager_entry(
        kind, options, manager, "Apply", part, wanted, stamp,
    ));
    managers.retain(|m| owned(m).as_object().is_some_and(|f| !f.is_empty()));
    // A revision in the configuration is a condition of the write.
    let revision = text(&config, &["metadata", "resourceVersion"]);
    if revision.is_empty() {
        take(&mut value, &["metadata", "resourceVersion"]);
    } else {
        put(&mut value, &["metadata", "resourceVersion"], revision);
    }
    Ok((value, Value::Array(managers)))
}

/// The list of owners after a write that is no apply: whoever changes a field owns it.
pub(crate) fn track(
    kind: &Kind,
    managed: &Value,
    old: &Value,
    new: &Value,
    part: Part,
    options: &WriteOptions,
    stamp: &str,
) -> Value {
    let shape = Shape::new(kind, version(kind, options));
    let present = shape.set_of(new);
    let changed = fields::changed(&present, old, new);
    let vanished = difference(&shape.set_of(old), &present);
    let empty = |v: &Value| v.as_object().is_none_or(Map::is_empty);
    if empty(&changed) && empty(&vanished) {
        return managed.clone();
    }
    let mut managers = managed.as_array().cloned().unwrap_or_default();
    let own = options.manager.as_str();
    let mut mine = json!({});
    managers.retain_mut(|entry| {
        let rest = intersection(owned(entry), &present);
        put(entry, &["fieldsV1"], rest);
        if is_entry(entry, own, "Update", part) {
            mine = owned(entry).clone();
            return false;
        }
        let rest = difference(owned(entry), &changed);
        put(entry, &["fieldsV1"], rest);
        !empty(owned(entry))
    });
    let mine = union(&mine, &changed);
    if !empty(&mine) {
        managers.push(manager_entry(
            kind, options, own, "Update", part, mine, stamp,
        ));
    }
    Value::Array(managers)
}

struct Conflict {
    manager: String,
    /// The manager as messages name it.
    owner: String,
    path: String,
    set: Value,
}

fn conflicts(
    managers: &[Value],
    (manager, part): (&str, Part),
    wanted: &Value,
    old: &Value,
    config: &Value,
) -> Vec<Conflict> {
    let mut found = Vec::new();
    for entry in managers
        .iter()
        .filter(|m| !is_entry(m, manager, "Apply", part))
    {
        let both = intersection(wanted, owned(entry));
        let name = text(entry, &["manager"]);
        let owner = match text(entry, &["operation"]) {
            "Apply" => format!("{name:?}"),
            _ => format!("{name:?} using {}", text(entry, &["apiVersion"])),
        };
        for leaf in leaves(&both) {
            let given = fields::lookup(config, &leaf);
            // An empty map or list claims nothing of what is inside.
            let bare = given.is_some_and(|g| *g == json!({}) || *g == json!([]));
            if bare || fields::lookup(old, &leaf) == given {
                continue;
            }
            found.push(Conflict {
                manager: text(entry, &["manager"]).to_owned(),
                owner: owner.clone(),
                path: fields::show(&leaf),
                set: fields::tree(&leaf),
            });
        }
    }
    found
}

fn refuse(conflicts: &[Conflict]) -> ApiError {
    let mut owners: Vec<&str> = conflicts.iter().map(|c| c.owner.as_str()).collect();
    owners.dedup();
    let lines: Vec<String> = owners
        .iter()
        .map(|owner| {
            let paths: Vec<&str> = conflicts
                .iter()
                .filter(|c| c.owner == *owner)
                .map(|c| c.path.as_str())
                .collect();
            match paths.as_slice() {
                [one] => format!("conflict with {owner}: {one}"),
                many => format!("conflicts with {owner}:\n- {}", many.join("\n- ")),
            }
        })
        .collect();
    let count = match conflicts.len() {
        1 => "1 conflict".to_owned(),
        n => format!("{n} conflicts"),
    };
    let message = format!("Apply failed with {count}: {}", lines.join("\n"));
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|c| {
            json!({
                "reason": "FieldManagerConflict", "field": c.path,
                "message": format!("conflict with {}", c.owner),
            })
        })
        .collect();
    let mut error = ApiError::new(409, "Conflict", message);
    error.details = Some(json!({ "causes": causes }));
    error
}

/// Merges an applied configuration into the live object.
fn merge<'a>(shape: &Shape<'_>, path: &mut Vec<&'a str>, value: &mut Value, config: &'a Value) {
    match (value, config) {
        (Value::Object(fields), Value::Object(wanted)) if !shape.is_atomic_map(path) => {
            for (key, want) in wanted {
                path.push(key);
                match fields.get_mut(key) {
                    Some(found) => merge(shape, path, found, want),
                    None => drop(fields.insert(key.clone(), want.clone())),
                }
                path.pop();
            }
        }
        (Value::Array(list), Value::Array(wanted)) => match shape.list(path) {
            ListKind::Atomic => list.clone_from(wanted),
            ListKind::Set => {
                for want in wanted {
                    if !list.contains(want) {
                        list.push(want.clone());
                    }
                }
            }
            ListKind::Map(keys) => {
                for want in wanted {
                    let same = |item: &&mut Value| fields::same_keys(&keys, item, want);
                    match list.iter_mut().find(same) {
                        Some(item) => merge(shape, path, item, want),
                        None => list.push(want.clone()),
                    }
                }
            }
        },
        (slot, want) => *slot = want.clone(),
    }
}

fn without_part(kind: &Kind, config: &Value, part: Part) -> Value {
    let mut config = config.clone();
    if let Some(fields) = config.as_object_mut().filter(|_| kind.status) {
        match part {
            Part::Main => drop(fields.remove("status")),
            Part::Status => fields.retain(|k, _| k == "status" || k == "metadata"),
        }
    }
    take(&mut config, &["metadata", "managedFields"]);
    config
}

fn version<'a>(kind: &'a Kind, options: &'a WriteOptions) -> &'a str {
    if options.version.is_empty() {
        kind.version()
    } else {
        &options.version
    }
}

/// The fields of an entry.
fn owned(entry: &Value) -> &Value {
    entry.get("fieldsV1").unwrap_or(&Value::Null)
}

fn is_entry(entry: &Value, manager: &str, operation: &str, part: Part) -> bool {
    text(entry, &["manager"]) == manager
        && text(entry, &["operation"]) == operation
        && (text(entry, &["subresource"]) == "status") == (part == Part::Status)
}

fn manager_entry(
    kind: &Kind,
    options: &WriteOptions,
    manager: &str,
    operation: &str,
    part: Part,
    set: Value,
    stamp: &str,
) -> Value {
    let mut entry = json!({
        "manager": manager, "operation": operation,
        "apiVersion": kind.api_version(version(kind, options)),
        "time": stamp, "fieldsType": "FieldsV1", "fieldsV1": set,
    });
    if part == Part::Status {
        crate::json::put(&mut entry, &["subresource"], "status");
    }
    entry
}

impl Shape<'_> {
    fn list(&self, path: &[&str]) -> ListKind {
        list_kind(self.kind, self.version, path)
    }
}
