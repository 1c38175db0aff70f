//! Creating and replacing objects.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{FieldValidation, Part, State, WriteOptions, Written};
use crate::builtin;
use crate::error::{ApiError, Cause};
use crate::json::{at, entry, int, put, take, text};
use crate::kinds::{Kind, KindId};
use crate::object::{self, Object};
use crate::patch::{self, Patch};
use crate::store::Place;

/// Metadata that clients cannot set or change.
const SYSTEM_FIELDS: &[&str] = &[
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

impl State {
    /// Stores a new object.
    pub(crate) fn create(
        &mut self,
        id: KindId,
        namespace: &str,
        mut value: Value,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let kind = self.kind(id)?;
        strip_types(&kind, &mut value, options)?;
        self.check_namespace(&kind, namespace, &mut value)?;
        let prefix = text(&value, &["metadata", "generateName"]).to_owned();
        if object::name(&value).is_empty() && !prefix.is_empty() {
            let name = format!("{prefix}{}", self.random.suffix());
            put(&mut value, &["metadata", "name"], name);
        }
        let name = object::name(&value).to_owned();
        check_name(&kind, &name)?;
        if at(&value, &["metadata", "resourceVersion"]).is_some_and(|v| v != "" && !v.is_null()) {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(ApiError::new(500, "", message));
        }
        for field in SYSTEM_FIELDS {
            take(&mut value, &["metadata", field]);
        }
        take(&mut value, &["metadata", "resourceVersion"]);
        take(&mut value, &["metadata", "selfLink"]);
        put(&mut value, &["metadata", "uid"], self.random.uid());
        put(&mut value, &["metadata", "creationTimestamp"], self.stamp());
        if kind.generation {
            put(&mut value, &["metadata", "generation"], 1);
        }
        if kind.status {
            take(&mut value, &["status"]);
        }
        let warnings = self.admit(&kind, &mut value, None, options)?;
        builtin::prepare_create(self, id, &mut value);
        self.validate(&kind, &value, None, options)?;
        if self.store.get(id, namespace, &name).is_some() {
            return Err(ApiError::exists(&kind.group, &kind.plural, &name));
        }
        if options.dry_run {
            let object = Arc::new(Object::new(value, 0));
            return Ok(Written {
                object,
                warnings,
                created: true,
            });
        }
        let object = self.store.put(id, value);
        self.effects(id, &object);
        let object = self
            .store
            .get(id, namespace, &name)
            .cloned()
            .unwrap_or(object);
        Ok(Written {
            object,
            warnings,
            created: true,
        })
    }

    /// PUT.
    pub(crate) fn update(
        &mut self,
        id: KindId,
        namespace: &str,
        name: &str,
        mut value: Value,
        part: Part,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let kind = self.kind(id)?;
        strip_types(&kind, &mut value, options)?;
        let given = object::name(&value);
        if given != name {
            let message = format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            );
            return Err(ApiError::bad_request(message));
        }
        let old = self.read(id, namespace, name)?;
        let unversioned = text(&value, &["metadata", "resourceVersion"]).is_empty();
        if unversioned && (kind.custom || kind.plural == "leases") {
            let field = "metadata.resourceVersion";
            let cause = Cause {
                reason: "FieldValueInvalid",
                field: field.to_owned(),
                message: "Invalid value: 0: must be specified for an update".to_owned(),
            };
            return Err(ApiError::invalid(&kind.group, &kind.plural, name, &[cause]));
        }
        self.replace(id, &old, value, part, options, None)
    }

    /// A replacement without conditions.
    pub(crate) fn replace_given(
        &mut self,
        id: KindId,
        old: &Arc<Object>,
        mut value: Value,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let kind = self.kind(id)?;
        strip_types(&kind, &mut value, options)?;
        self.replace(id, old, value, Part::Main, options, None)
    }

    /// PATCH; an apply patch creates what is missing.
    pub(crate) fn patch(
        &mut self,
        id: KindId,
        namespace: &str,
        name: &str,
        patch: &Patch,
        part: Part,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let kind = self.kind(id)?;
        let old = match self.read(id, namespace, name) {
            Ok(old) => old,
            Err(missing) => {
                let Patch::Apply { .. } = patch else {
                    return Err(missing);
                };
                if part == Part::Status {
                    return Err(missing);
                }
                let stamp = crate::clock::stamp(self.now);
                let mut value = patch::apply::create(&kind, patch, options, &stamp)?;
                put(&mut value, &["metadata", "name"], name);
                return self.create(id, namespace, value, options);
            }
        };
        let stamp = crate::clock::stamp(self.now);
        let (mut value, managed) = patch.run(&kind, &old.value, part, options, &stamp)?;
        strip_types(&kind, &mut value, options)?;
        if object::name(&value) != name {
            let given = object::name(&value);
            let message = format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            );
            return Err(ApiError::bad_request(message));
        }
        self.replace(id, &old, value, part, options, managed)
    }

    /// Puts `value` in the place of `old`. `managed` is given by server-side apply, which has
    /// done its own bookkeeping of owners.
    pub(crate) fn replace(
        &mut self,
        id: KindId,
        old: &Arc<Object>,
        mut value: Value,
        part: Part,
        options: &WriteOptions,
        managed: Option<Value>,
    ) -> Result<Written, ApiError> {
        let kind = self.kind(id)?;
        let name = old.name();
        let given = text(&value, &["metadata", "resourceVersion"]);
        if !given.is_empty() && given.parse() != Ok(old.revision) {
            return Err(ApiError::modified(&kind.group, &kind.plural, name));
        }
        let given = object::uid(&value);
        if !given.is_empty() && given != old.uid() {
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, \
                 AdditionalErrorMsg: Precondition failed: UID in precondition: {given}, UID in \
                 object meta: {}",
                storage_key(&kind, old),
                old.uid()
            );
            return Err(ApiError::conflict(&kind.group, &kind.plural, name, &why));
        }
        if part == Part::Status && kind.status {
            let status = take(&mut value, &["status"]);
            value = old.value.clone();
            match status {
                Some(status) => put(&mut value, &["status"], status),
                None => drop(take(&mut value, &["status"])),
            }
        } else {
            if kind.status {
                match old.value.get("status") {
                    Some(status) => put(&mut value, &["status"], status.clone()),
                    None => drop(take(&mut value, &["status"])),
                }
            }
            tidy_metadata(&mut value);
            keep_metadata(&old.value, &mut value);
            no_new_finalizers(&kind, &old.value, &value)?;
        }
        let warnings = self.admit(&kind, &mut value, Some(&old.value), options)?;
        builtin::prepare_update(id, &self.kinds.known, &old.value, &mut value);
        if let Some(managed) = managed {
            set_managed(&mut value, managed);
        } else if let Some(fields) = at(&old.value, &["metadata", "managedFields"]) {
            let stamp = crate::clock::stamp(self.now);
            let fields =
                patch::apply::track(&kind, fields, &old.value, &value, part, options, &stamp);
            set_managed(&mut value, fields);
        } else {
            take(&mut value, &["metadata", "managedFields"]);
        }
        if kind.generation && changes_spec(&kind, &old.value, &value) {
            let next = int(&old.value, &["metadata", "generation"]).unwrap_or(0) + 1;
            put(&mut value, &["metadata", "generation"], next);
        }
        self.validate(&kind, &value, Some(&old.value), options)?;
        let revision = old.revision;
        put(
            &mut value,
            &["metadata", "resourceVersion"],
            revision.to_string(),
        );
        if value == old.value {
            return Ok(Written {
                object: old.clone(),
                warnings,
                created: false,
            });
        }
        if options.dry_run {
            let object = Arc::new(Object::new(value, revision));
            return Ok(Written {
                object,
                warnings,
                created: false,
            });
        }
        let free = old.is_deleting()
            && object::finalizers(&value).is_empty()
            && int(&value, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0) == 0
            && id != self.kinds.known.namespaces;
        let object = self.store.put(id, value);
        if free {
            let place = Place::of(id, &object);
            let last = self.store.remove(&place, |_| {}).unwrap_or(object);
            self.removal_effects(id, &last);
            return Ok(Written {
                object: last,
                warnings,
                created: false,
            });
        }
        self.effects(id, &object);
        Ok(Written {
            object,
            warnings,
            created: false,
        })
    }

    /// Schema work that changes the object: pruning and defaulting.
    fn admit(
        &self,
        kind: &Kind,
        value: &mut Value,
        _old: Option<&Value>,
        options: &WriteOptions,
    ) -> Result<Vec<String>, ApiError> {
        let Some(schema) = kind.schemas.get(version_of(kind, options)) else {
            return Ok(Vec::new());
        };
        let unknown = schema.prune(value);
        schema.default(value);
        match options.fields {
            FieldValidation::Strict if !unknown.is_empty() => {
                let list: Vec<String> = unknown
                    .iter()
                    .map(|f| format!("unknown field \"{f}\""))
                    .collect();
                let (name, version) = (&kind.kind, version_of(kind, options));
                Err(ApiError::bad_request(format!(
                    "{name} in version \"{version}\" cannot be handled as a {name}: strict \
                     decoding error: {}",
                    list.join(", ")
                )))
            }
            FieldValidation::Warn => Ok(unknown
                .iter()
                .map(|f| format!("unknown field \"{f}\""))
                .collect()),
            _ => Ok(Vec::new()),
        }
    }

    fn validate(
        &self,
        kind: &Kind,
        value: &Value,
        old: Option<&Value>,
        options: &WriteOptions,
    ) -> Result<(), ApiError> {
        let mut causes = builtin::validate(kind, value, old);
        if let Some(schema) = kind.schemas.get(version_of(kind, options)) {
            causes.extend(schema.validate(value, old));
        }
        if causes.is_empty() {
            return Ok(());
        }
        Err(ApiError::invalid(
            &kind.group,
            &kind.kind,
            object::name(value),
            &causes,
        ))
    }

    fn check_namespace(
        &self,
        kind: &Kind,
        namespace: &str,
        value: &mut Value,
    ) -> Result<(), ApiError> {
        if !kind.namespaced {
            take(value, &["metadata", "namespace"]);
            return Ok(());
        }
        let given = object::namespace(value);
        if !given.is_empty() && given != namespace {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the \
                 request",
            ));
        }
        put(value, &["metadata", "namespace"], namespace);
        let known = self.kinds.known.namespaces;
        let Some(space) = self.store.get(known, "", namespace) else {
            return Err(ApiError::not_found("", "namespaces", namespace));
        };
        if space.is_deleting() {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being \
                 terminated"
            );
            let name = object::name(value);
            let mut error = ApiError::forbidden(&kind.group, &kind.plural, name, &why);
            if let Some(details) = &mut error.details {
                let cause = serde_json::json!([{
                    "reason": "NamespaceTerminating", "field": "metadata.namespace",
                    "message": format!("namespace {namespace} is being terminated"),
                }]);
                put(details, &["causes"], cause);
            }
            return Err(error);
        }
        Ok(())
    }
}

/// Where the API server would keep an object, as its messages tell.
fn storage_key(kind: &Kind, object: &Object) -> String {
    let parts = [
        "/registry",
        &kind.group,
        &kind.plural,
        object.namespace(),
        object.name(),
    ];
    let skip_group = !kind.custom;
    let parts = parts
        .iter()
        .enumerate()
        .filter(|(i, p)| !(p.is_empty() || *i == 1 && skip_group));
    parts.map(|(_, p)| *p).collect::<Vec<_>>().join("/")
}

fn version_of<'a>(kind: &'a Kind, options: &'a WriteOptions) -> &'a str {
    if options.version.is_empty() {
        kind.version()
    } else {
        &options.version
    }
}

/// Removes `apiVersion` and `kind` after comparing them with the path.
fn strip_types(kind: &Kind, value: &mut Value, options: &WriteOptions) -> Result<(), ApiError> {
    let want = kind.api_version(version_of(kind, options));
    let Some(fields) = value.as_object_mut() else {
        return Err(ApiError::bad_request(
            "the object provided is no JSON object",
        ));
    };
    let api_version = fields.remove("apiVersion");
    let given = fields.remove("kind");
    let said = |v: &Option<Value>| v.as_ref().and_then(Value::as_str).unwrap_or("").to_owned();
    let (api_version, given) = (said(&api_version), said(&given));
    // Controllers and views leave the types out; requests for custom kinds may not.
    if kind.custom && given.is_empty() && !options.version.is_empty() {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): Object 'Kind' is missing",
            kind.kind
        )));
    }
    if !api_version.is_empty() && api_version != want {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version \
             ({want})"
        )));
    }
    if !given.is_empty() && given != kind.kind {
        if kind.custom {
            let why = format!("must be {}", kind.kind);
            let cause = Cause::invalid("kind", &Value::from(given.as_str()), &why);
            return Err(ApiError::invalid(
                &kind.group,
                &given,
                object::name(value),
                &[cause],
            ));
        }
        return Err(ApiError::bad_request(format!(
            "{given} in version \"{}\" cannot be handled as a {}",
            version_of(kind, options),
            kind.kind
        )));
    }
    entry(value, &["metadata"]);
    if let Some(metadata) = value.get_mut("metadata").filter(|m| !m.is_object()) {
        *metadata = Value::Object(Map::new());
    }
    tidy_metadata(value);
    Ok(())
}

/// Empty label, annotation, finalizer and owner collections are not stored.
fn tidy_metadata(value: &mut Value) {
    let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    metadata.retain(|_, v| match v {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    });
}

fn keep_metadata(old: &Value, value: &mut Value) {
    for field in SYSTEM_FIELDS
        .iter()
        .chain(&["name", "namespace", "generateName", "selfLink"])
    {
        match at(old, &["metadata", field]) {
            Some(kept) => put(value, &["metadata", field], kept.clone()),
            None => drop(take(value, &["metadata", field])),
        }
    }
}

fn no_new_finalizers(kind: &Kind, old: &Value, value: &Value) -> Result<(), ApiError> {
    if !object::is_deleting(old) {
        return Ok(());
    }
    let had = object::finalizers(old);
    let added: Vec<String> = object::finalizers(value)
        .iter()
        .filter(|f| !had.contains(f))
        .map(Value::to_string)
        .collect();
    if added.is_empty() {
        return Ok(());
    }
    let why = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers \
         []string{{{}}}",
        added.join(", ")
    );
    let cause = Cause::forbidden("metadata.finalizers", &why);
    Err(ApiError::invalid(
        &kind.group,
        &kind.kind,
        object::name(old),
        &[cause],
    ))
}

fn set_managed(value: &mut Value, fields: Value) {
    if fields.as_array().is_some_and(|f| !f.is_empty()) {
        put(value, &["metadata", "managedFields"], fields);
    } else {
        take(value, &["metadata", "managedFields"]);
    }
}

/// Whether the generation moves: anything but metadata, and the status where that is a part
/// of its own.
fn changes_spec(kind: &Kind, old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return false;
    };
    let counts = |key: &&String| *key != "metadata" && !(kind.status && *key == "status");
    let keys = |map: &Map<String, Value>| map.keys().filter(counts).count();
    keys(old) != keys(new) || new.iter().any(|(k, v)| counts(&k) && old.get(k) != Some(v))
}

fn check_name(kind: &Kind, name: &str) -> Result<(), ApiError> {
    let refuse = |cause| Err(ApiError::invalid(&kind.group, &kind.kind, name, &[cause]));
    if name.is_empty() {
        return refuse(Cause::required(
            "metadata.name",
            "name or generateName is required",
        ));
    }
    if kind.group == "rbac.authorization.k8s.io" {
        return Ok(());
    }
    let service = kind.plural == "services";
    let label = service || kind.plural == "namespaces";
    let lower = |c: char| c.is_ascii_lowercase();
    let plain = |c: char| lower(c) || c.is_ascii_digit();
    let fits = |c: char| plain(c) || c == '-' || (c == '.' && !label);
    let first = name
        .chars()
        .next()
        .is_some_and(|c| if service { lower(c) } else { plain(c) });
    let last = name.chars().next_back().is_some_and(plain);
    let limit = if label { 63 } else { 253 };
    if name.len() <= limit && name.chars().all(fits) && first && last {
        return Ok(());
    }
    let why = if service {
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
         alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or \
         'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
    } else if label {
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and \
         must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex \
         used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    } else {
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
         '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used \
         for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    };
    refuse(Cause::invalid("metadata.name", &Value::from(name), why))
}
