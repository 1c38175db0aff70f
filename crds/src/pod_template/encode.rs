//! The texts of a pod template that hashes and comparisons are made over (CTL-19, CTL-20).

use serde_json::{Map, Value};

use super::schema::{Field, Kind, Presence, fields};
use super::write_sorted;
use crate::quantity::Quantity;

/// Which text is wanted.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Form {
    /// Today's hash.
    Hash {
        /// Whether members that the table does not know take part.
        unknown: bool,
    },
    /// The hash of releases up to 1.8, which wrote `creationTimestamp: null`.
    OldHash,
    /// For comparing: absent and empty lists and maps are one, quantities go by value.
    Compare,
}

/// Encodes a pod template.
pub(crate) fn pod_template(template: &Value, form: Form) -> String {
    let mut out = String::new();
    message("PodTemplateSpec", template, form, &mut out);
    out
}

fn message(name: &str, value: &Value, form: Form, out: &mut String) {
    let empty = Map::new();
    let object = value.as_object().unwrap_or(&empty);
    let known = fields(name);
    out.push('{');
    let start = out.len();
    if name == "ObjectMeta" && form == Form::OldHash {
        // It was written first only because nothing before it is set in a template.
        out.push_str("\"creationTimestamp\":null");
    }
    for field in known {
        member(field, object.get(field.name), form, start, out);
    }
    if matches!(form, Form::Compare | Form::Hash { unknown: true }) {
        let mut unknown: Vec<_> = object
            .iter()
            .filter(|(key, value)| !value.is_null() && known.iter().all(|f| f.name != *key))
            .collect();
        unknown.sort_by_key(|(key, _)| *key);
        for (key, value) in unknown {
            open(key, start, out);
            let mut text = String::new();
            write_sorted(value, &mut text);
            push_escaped(&text, out);
        }
    }
    out.push('}');
}

/// Writes the key of the next member.
fn open(key: &str, start: usize, out: &mut String) {
    if out.len() > start {
        out.push(',');
    }
    if key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        out.extend(["\"", key, "\""]);
    } else {
        plain(&Value::from(key), out);
    }
    out.push(':');
}

fn member(field: &Field, value: Option<&Value>, form: Form, start: usize, out: &mut String) {
    let value = value.filter(|value| !value.is_null());
    let written = match field.presence {
        Presence::Always(_) => !(form == Form::Compare && is_empty_collection(field.kind, value)),
        Presence::IfPresent => value.is_some(),
        Presence::UnlessZero => value.is_some_and(|value| !is_zero(value)),
    };
    if !written {
        return;
    }
    open(field.name, start, out);
    match (field.kind, value) {
        (Kind::Message(name), value) => message(name, value.unwrap_or(&Value::Null), form, out),
        (Kind::Quantity, value) => quantity(value.unwrap_or(&Value::from("0")), form, out),
        (Kind::IntOrString, None) => out.push('0'),
        (_, None) => match field.presence {
            Presence::Always(zero) => out.push_str(zero),
            _ => out.push_str("null"),
        },
        (Kind::List(Some(item)), Some(Value::Array(items))) => {
            out.push('[');
            for (i, value) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                message(item, value, form, out);
            }
            out.push(']');
        }
        (Kind::Map(Some("quantity")), Some(Value::Object(entries))) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            out.push('{');
            let start = out.len();
            for (key, value) in entries {
                open(key, start, out);
                quantity(value, form, out);
            }
            out.push('}');
        }
        (_, Some(value)) => plain(value, out),
    }
}

fn is_empty_collection(kind: Kind, value: Option<&Value>) -> bool {
    matches!(kind, Kind::List(_) | Kind::Map(_)) && value.is_none_or(is_zero)
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        // By-value messages are marked as always written, so this is a map.
        Value::Object(entries) => entries.is_empty(),
        Value::Bool(true) => false,
    }
}

fn quantity(value: &Value, form: Form, out: &mut String) {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text = match Quantity::parse(&text) {
        None => text,
        Some(quantity) if form == Form::Compare => quantity.nanos().to_string(),
        Some(quantity) => quantity.to_string(),
    };
    plain(&Value::String(text), out);
}

fn plain(value: &Value, out: &mut String) {
    if let Value::Bool(_) | Value::Null | Value::Number(_) = value {
        return write_sorted(value, out);
    }
    let mut text = String::new();
    write_sorted(value, &mut text);
    push_escaped(&text, out);
}

/// Appends JSON with the escapes of Go's encoder. The characters occur in texts only, so that the
/// JSON as a whole can be treated.
pub(crate) fn push_escaped(json: &str, out: &mut String) {
    if !json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return out.push_str(json);
    }
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
}
