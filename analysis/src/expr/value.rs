//! What a condition computes with, and how those values look to the user.
//!
//! Texts follow upstream's words (`float64`, `map[string]interface {}`), because people search for
//! them (ANA-78).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Zoned;

use crate::numbers;

/// A value. Cheap to clone: what may be large is shared.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// Nothing: JSON null, a missing key.
    #[default]
    Nil,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number that the condition itself made; JSON numbers are always floats.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(Arc<str>),
    /// A list.
    Array(Array),
    /// A JSON object, or a map made by the condition.
    Object(Object),
    /// A structure with fixed fields, as CloudWatch answers.
    Record(Record),
    /// A point in time with its zone.
    Time(Box<Zoned>),
    /// A span in nanoseconds.
    Duration(i64),
}

/// What is known of the elements of an array before running (ANA-83).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Elements {
    /// Anything: JSON, InfluxDB.
    #[default]
    Any,
    /// Floats: Prometheus, Datadog (grouped), Graphite, Wavefront.
    Floats,
    /// Whole numbers: ranges.
    Ints,
    /// Texts.
    Texts,
    /// Objects: several rows of New Relic.
    Objects,
    /// Records with these fields: CloudWatch.
    Records(Fields),
}

/// Names and kinds of a record's fields.
pub type Fields = &'static [(&'static str, FieldKind)];

/// The kinds that fields of records have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A text.
    Text,
    /// A list of such elements.
    Array(Elements),
    /// Checked when running only.
    Any,
}

/// A list that knows what its elements are and how deep it nests.
#[derive(Clone, Debug, Default)]
pub struct Array {
    items: Arc<Vec<Value>>,
    elements: Elements,
    depth: u16,
}

/// A map that knows how deep it nests.
#[derive(Clone, Debug, Default)]
pub struct Object {
    entries: Arc<BTreeMap<Key, Value>>,
    depth: u16,
}

/// A structure with fixed fields.
#[derive(Clone, Debug)]
pub struct Record {
    fields: Fields,
    values: Arc<Vec<Value>>,
    depth: u16,
}

/// A map key. JSON only has texts; `groupBy` may make others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// nil
    Nil,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// The bits of a float.
    Float(u64),
    /// A text.
    Text(Arc<str>),
}

impl Key {
    /// The value that serves as this key; none for kinds that cannot be keys.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Nil => Self::Nil,
            Value::Bool(b) => Self::Bool(*b),
            Value::Int(n) => Self::Int(*n),
            Value::Float(x) => Self::Float((x + 0.0).to_bits()),
            Value::Text(t) => Self::Text(t.clone()),
            _ => return None,
        })
    }

    /// The key as a value.
    #[must_use]
    pub fn value(&self) -> Value {
        match self {
            Self::Nil => Value::Nil,
            Self::Bool(b) => Value::Bool(*b),
            Self::Int(n) => Value::Int(*n),
            Self::Float(bits) => Value::Float(f64::from_bits(*bits)),
            Self::Text(t) => Value::Text(t.clone()),
        }
    }
}

impl Array {
    /// A list of `items`, all of which are `elements`.
    #[must_use]
    pub fn new(items: Vec<Value>, elements: Elements) -> Self {
        let depth = above(items.iter());
        Self {
            items: Arc::new(items),
            elements,
            depth,
        }
    }

    /// The items in order.
    #[must_use]
    pub fn items(&self) -> &[Value] {
        &self.items
    }

    /// What is known of all items.
    #[must_use]
    pub fn elements(&self) -> Elements {
        self.elements
    }
}

impl Object {
    /// A map of these entries.
    #[must_use]
    pub fn new(entries: BTreeMap<Key, Value>) -> Self {
        let depth = above(entries.values());
        Self {
            entries: Arc::new(entries),
            depth,
        }
    }

    /// The entries by key.
    #[must_use]
    pub fn entries(&self) -> &BTreeMap<Key, Value> {
        &self.entries
    }

    /// True when every key is a text, as in all of JSON.
    #[must_use]
    pub fn has_text_keys(&self) -> bool {
        // Texts sort last.
        matches!(
            self.entries.first_key_value(),
            None | Some((Key::Text(_), _))
        )
    }
}

impl Record {
    /// A record; `values` are in the order of `fields`.
    #[must_use]
    pub fn new(fields: Fields, values: Vec<Value>) -> Self {
        let depth = above(values.iter());
        Self {
            fields,
            values: Arc::new(values),
            depth,
        }
    }

    /// Names and kinds of the fields.
    #[must_use]
    pub fn fields(&self) -> Fields {
        self.fields
    }

    /// The value of the field `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        let at = self.fields.iter().position(|(field, _)| *field == name)?;
        self.values.get(at)
    }

    /// Fields with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.fields
            .iter()
            .map(|(name, _)| *name)
            .zip(self.values.iter())
    }
}

fn above<'a>(values: impl Iterator<Item = &'a Value>) -> u16 {
    values
        .map(Value::depth)
        .max()
        .unwrap_or(0)
        .saturating_add(1)
}

impl Value {
    /// A text.
    #[must_use]
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(text.into())
    }

    /// A list of anything.
    #[must_use]
    pub fn array(items: Vec<Self>) -> Self {
        Self::Array(Array::new(items, Elements::Any))
    }

    /// A list of numbers, as Prometheus answers (ANA-50).
    #[must_use]
    pub fn numbers(numbers: impl IntoIterator<Item = f64>) -> Self {
        Self::Array(Array::new(
            numbers.into_iter().map(Self::Float).collect(),
            Elements::Floats,
        ))
    }

    /// A JSON value; its numbers become floats (ANA-79).
    #[must_use]
    pub fn from_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::Nil,
            Json::Bool(b) => Self::Bool(*b),
            Json::Number(n) => Self::Float(n.as_f64().unwrap_or(f64::NAN)),
            Json::String(s) => Self::text(s.as_str()),
            Json::Array(items) => Self::array(items.iter().map(Self::from_json).collect()),
            Json::Object(entries) => Self::Object(Object::new(
                entries
                    .iter()
                    .map(|(k, v)| (Key::Text(k.as_str().into()), Self::from_json(v)))
                    .collect(),
            )),
        }
    }

    /// How many lists and maps are nested here; 0 for what is neither.
    #[must_use]
    pub fn depth(&self) -> u16 {
        match self {
            Self::Array(a) => a.depth,
            Self::Object(o) => o.depth,
            Self::Record(r) => r.depth,
            _ => 0,
        }
    }

    /// ANA-78: with such a result a failed condition is blamed on missing data.
    #[must_use]
    pub fn is_nil_or_empty_array(&self) -> bool {
        match self {
            Self::Nil => true,
            Self::Array(a) => a.items.is_empty(),
            _ => false,
        }
    }

    /// Whether it is NaN, or a list of nothing but NaN.
    #[must_use]
    pub fn is_nan(&self) -> bool {
        match self {
            Self::Float(number) => number.is_nan(),
            Self::Array(a) => !a.items.is_empty() && a.items.iter().all(Self::is_nan),
            _ => false,
        }
    }

    /// The kind as upstream names it in texts.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::Array(a) => a.elements.array_type_name(),
            Self::Object(o) if o.has_text_keys() => "map[string]interface {}",
            Self::Object(_) => "map[interface {}]interface {}",
            Self::Record(_) => "struct",
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
        }
    }

    /// Number of values in here, itself included, but no more than `limit`; what walking it costs.
    /// Sharing can make a small program's value exponentially large.
    #[must_use]
    pub fn weight(&self, limit: u64) -> u64 {
        let mut sum = 1;
        let mut add = |v: &Self| {
            if sum < limit {
                sum += v.weight(limit - sum);
            }
        };
        match self {
            Self::Array(a) => a.items.iter().for_each(&mut add),
            Self::Object(o) => o.entries.values().for_each(&mut add),
            Self::Record(r) => r.values.iter().for_each(&mut add),
            Self::Text(t) => sum += (t.len() / 16) as u64,
            _ => {}
        }
        sum.min(limit)
    }

    /// As `%v` prints it: `[0.1 2]`, `map[a:1]`, `<nil>` (format V of ANA-48 for numbers).
    pub fn print(&self, into: &mut String) {
        match self {
            Self::Nil => into.push_str("<nil>"),
            Self::Bool(b) => into.push_str(if *b { "true" } else { "false" }),
            Self::Int(n) => {
                let _ = write!(into, "{n}");
            }
            Self::Float(x) => into.push_str(&numbers::v(*x)),
            Self::Text(t) => into.push_str(t),
            Self::Array(a) => print_list(into, "[", "]", a.items.iter(), |v, to| v.print(to)),
            Self::Object(o) => print_list(into, "map[", "]", o.entries.iter(), |(k, v), to| {
                k.value().print(to);
                to.push(':');
                v.print(to);
            }),
            Self::Record(r) => print_list(into, "{", "}", r.values.iter(), |v, to| v.print(to)),
            Self::Time(t) => into.push_str(&super::time::default_text(t)),
            Self::Duration(ns) => into.push_str(&super::time::duration_text(*ns)),
        }
    }

    /// [`Value::print`] into a new text.
    #[must_use]
    pub fn printed(&self) -> String {
        let mut text = String::new();
        self.print(&mut text);
        text
    }

    /// JSON for [`numbers::j`]; the error names what JSON cannot hold.
    ///
    /// # Errors
    /// For NaN and infinities, as upstream.
    pub fn to_json(&self) -> Result<serde_json::Value, String> {
        use serde_json::Value as Json;
        Ok(match self {
            Self::Nil => Json::Null,
            Self::Bool(b) => Json::Bool(*b),
            Self::Int(n) | Self::Duration(n) => Json::from(*n),
            Self::Float(x) => match serde_json::Number::from_f64(*x) {
                Some(n) => Json::Number(n),
                None => return Err(format!("json: unsupported value: {}", numbers::f(*x))),
            },
            Self::Text(t) => Json::String(t.to_string()),
            Self::Array(a) => Json::Array(
                a.items
                    .iter()
                    .map(Self::to_json)
                    .collect::<Result<_, _>>()?,
            ),
            Self::Object(o) if o.has_text_keys() => Json::Object(
                o.entries
                    .iter()
                    .map(|(k, v)| Ok((k.value().printed(), v.to_json()?)))
                    .collect::<Result<_, String>>()?,
            ),
            Self::Object(_) => {
                return Err(format!("json: unsupported type: {}", self.type_name()));
            }
            Self::Record(r) => Json::Object(
                r.iter()
                    .map(|(name, v)| Ok((name.to_owned(), v.to_json()?)))
                    .collect::<Result<_, String>>()?,
            ),
            Self::Time(t) => Json::String(super::time::rfc3339_nano(t)),
        })
    }
}

fn print_list<T>(
    into: &mut String,
    open: &str,
    close: &str,
    items: impl Iterator<Item = T>,
    print: impl Fn(T, &mut String),
) {
    into.push_str(open);
    for (i, item) in items.enumerate() {
        if i > 0 {
            into.push(' ');
        }
        print(item, into);
    }
    into.push_str(close);
}

impl Elements {
    fn array_type_name(self) -> &'static str {
        match self {
            Self::Any => "[]interface {}",
            Self::Floats => "[]float64",
            Self::Ints => "[]int",
            Self::Texts => "[]string",
            Self::Objects => "[]map[string]interface {}",
            Self::Records(_) => "[]struct",
        }
    }
}
