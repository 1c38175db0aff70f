//! Reading objects, with messages that say where.

use serde_json::Value;

/// What cannot be translated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name}: {field} is {problem}")]
pub struct TranslateError {
    kind: &'static str,
    name: String,
    field: String,
    problem: String,
}

/// A part of an object, and the way there, for messages.
pub(super) struct Field<'a> {
    pub(super) kind: &'static str,
    pub(super) name: &'a str,
    pub(super) path: String,
    pub(super) value: &'a Value,
}

pub(super) struct Object<'a> {
    pub(super) kind: &'static str,
    pub(super) value: &'a Value,
}

impl<'a> Object<'a> {
    pub(super) fn at(&self, path: String, value: &'a Value) -> Field<'a> {
        Field {
            kind: self.kind,
            name: text(self.value, "/metadata/name"),
            path,
            value,
        }
    }

    pub(super) fn known(&self, field: &str, names: &[&str]) -> Result<(), TranslateError> {
        match self.value.get(field) {
            Some(value) => self.at(field.to_owned(), value).known(names),
            None => Ok(()),
        }
    }
}

impl<'a> Field<'a> {
    pub(super) fn sub(&self, path: String, value: &'a Value) -> Self {
        Self {
            kind: self.kind,
            name: self.name,
            path: format!("{}.{path}", self.path),
            value,
        }
    }

    /// Fails on a field that is not among those understood.
    pub(super) fn known(&self, names: &[&str]) -> Result<(), TranslateError> {
        let fields = self
            .value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str());
        match fields.into_iter().find(|name| !names.contains(name)) {
            Some(name) => Err(self.bad(name, "not supported yet by the translation for Envoy")),
            None => Ok(()),
        }
    }

    pub(super) fn bad(&self, field: &str, problem: &str) -> TranslateError {
        TranslateError {
            kind: self.kind,
            name: self.name.to_owned(),
            field: format!("{}.{field}", self.path),
            problem: problem.to_owned(),
        }
    }
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}
