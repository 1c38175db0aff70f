//! What is known of a value before running (ANA-83).

use std::sync::Arc;

use super::value::{Elements, FieldKind, Fields, Value};

/// The kind of a node, as far as it is known without running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Known only when running.
    Any,
    /// nil
    Nil,
    /// A boolean.
    Bool,
    /// A whole number.
    Int,
    /// A float.
    Float,
    /// A text.
    Text,
    /// A list of these.
    Array(Arc<Kind>),
    /// A map with text keys; its members are [`Kind::Any`].
    Object,
    /// A structure with these fields.
    Record(Fields),
    /// A point in time.
    Time,
    /// A span of time.
    Duration,
}

impl Kind {
    /// A list of `element`.
    #[must_use]
    pub fn array_of(element: Self) -> Self {
        Self::Array(Arc::new(element))
    }

    /// The kind of a provider's result: its top level, and the elements of arrays that cannot hold
    /// anything else.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Nil => Self::Nil,
            Value::Bool(_) => Self::Bool,
            Value::Int(_) => Self::Int,
            Value::Float(_) => Self::Float,
            Value::Text(_) => Self::Text,
            Value::Array(a) => Self::array_of(Self::of_elements(a.elements())),
            Value::Object(o) if o.has_text_keys() => Self::Object,
            Value::Object(_) => Self::Any,
            Value::Record(r) => Self::Record(r.fields()),
            Value::Time(_) => Self::Time,
            Value::Duration(_) => Self::Duration,
        }
    }

    pub(super) fn of_elements(elements: Elements) -> Self {
        match elements {
            Elements::Any => Self::Any,
            Elements::Floats => Self::Float,
            Elements::Ints => Self::Int,
            Elements::Texts => Self::Text,
            Elements::Objects => Self::Object,
            Elements::Records(fields) => Self::Record(fields),
        }
    }

    pub(super) fn of_field(field: FieldKind) -> Self {
        match field {
            FieldKind::Text => Self::Text,
            FieldKind::Array(elements) => Self::array_of(Self::of_elements(elements)),
            FieldKind::Any => Self::Any,
        }
    }

    pub(super) fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Float)
    }

    /// `self`, or not known.
    pub(super) fn may_be(&self, wanted: impl Fn(&Self) -> bool) -> bool {
        self.is_any() || wanted(self)
    }

    /// Both may be compared with `==` (ANA-83).
    pub(super) fn comparable(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any | Self::Nil, _) | (_, Self::Any | Self::Nil) => true,
            (Self::Int | Self::Float, Self::Int | Self::Float)
            | (Self::Array(_), Self::Array(_))
            | (Self::Record(_), Self::Record(_)) => true,
            (a, b) => a == b,
        }
    }

    /// The kind of something that is one or the other.
    pub(super) fn either(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Nil, b) => b,
            (a, Self::Nil) => a,
            _ => Self::Any,
        }
    }

    /// As error texts name it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Any => "unknown".to_owned(),
            Self::Nil => "nil".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Int => "int".to_owned(),
            Self::Float => "float64".to_owned(),
            Self::Text => "string".to_owned(),
            Self::Array(element) if element.is_any() => "[]interface {}".to_owned(),
            Self::Array(element) => format!("[]{}", element.name()),
            Self::Object => "map[string]interface {}".to_owned(),
            Self::Record(_) => "struct".to_owned(),
            Self::Time => "time.Time".to_owned(),
            Self::Duration => "time.Duration".to_owned(),
        }
    }
}
