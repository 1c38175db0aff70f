//! One thing wrong with one field, in the words that Kubernetes users know (API-3).

use std::fmt;

use serde_json::Value;

use crate::pod_template::write_sorted;

/// What kind of mistake it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A field is missing.
    Required,
    /// A field must not be there.
    Forbidden,
    /// The field may be right, but it cannot be told.
    Internal,
    /// The value is not acceptable.
    Invalid,
    /// The value is not one of a closed list.
    Unsupported,
    /// The value occurs twice.
    Duplicate,
}

impl ErrorKind {
    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Forbidden => "Forbidden",
            Self::Internal => "Internal error",
            Self::Invalid => "Invalid value",
            Self::Unsupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
        }
    }
}

/// One thing wrong with one field. Its text is `<path>: <kind>[: <value>][: <detail>]`.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// Where, as in `spec.strategy.steps[0].setWeight`.
    pub path: String,
    /// What kind of mistake.
    pub kind: ErrorKind,
    /// The value, for the kinds that show it.
    pub value: Option<Value>,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl std::error::Error for FieldError {}

impl FieldError {
    /// A value that is not acceptable.
    pub fn invalid(
        path: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(path, ErrorKind::Invalid, Some(value.into()), detail)
    }

    /// A value that occurs twice.
    pub fn duplicate(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(path, ErrorKind::Duplicate, Some(value.into()), "")
    }

    /// A missing field.
    pub fn required(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(path, ErrorKind::Required, None, detail)
    }

    /// A field that must not be there.
    pub fn forbidden(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(path, ErrorKind::Forbidden, None, detail)
    }

    /// A field that cannot be judged.
    pub fn internal(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(path, ErrorKind::Internal, None, detail)
    }

    /// A value out of a closed list.
    pub fn unsupported(path: impl Into<String>, value: impl Into<Value>, known: &[&str]) -> Self {
        let known: Vec<String> = known.iter().map(|word| go_quote(word)).collect();
        let detail = format!("supported values: {}", known.join(", "));
        Self::new(path, ErrorKind::Unsupported, Some(value.into()), detail)
    }

    fn new(
        path: impl Into<String>,
        kind: ErrorKind,
        value: Option<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into(),
            kind,
            value,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.kind.words())?;
        match &self.value {
            None => {}
            Some(Value::String(text)) => write!(f, ": {}", go_quote(text))?,
            Some(value) => {
                let mut text = String::new();
                write_sorted(value, &mut text);
                write!(f, ": {text}")?;
            }
        }
        if self.detail.is_empty() {
            Ok(())
        } else {
            write!(f, ": {}", self.detail)
        }
    }
}

/// A text in double quotes with Go's escapes.
pub fn go_quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if c < ' ' || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// API-3
    #[test]
    fn renders() {
        for (error, want) in [
            (
                FieldError::invalid("a.b", "x\"\n", "no"),
                r#"a.b: Invalid value: "x\"\n": no"#,
            ),
            (FieldError::invalid("a", 0, "no"), "a: Invalid value: 0: no"),
            (
                FieldError::invalid("a", Value::Null, "no"),
                "a: Invalid value: null: no",
            ),
            (
                FieldError::invalid("a", json!({"b": 1, "a": [true]}), "no"),
                r#"a: Invalid value: {"a":[true],"b":1}: no"#,
            ),
            (
                FieldError::required("a", "write it"),
                "a: Required value: write it",
            ),
            (FieldError::required("a", ""), "a: Required value"),
            (FieldError::internal("a", "both"), "a: Internal error: both"),
            (FieldError::forbidden("a", "no"), "a: Forbidden: no"),
            (
                FieldError::unsupported("a", "X", &["Always"]),
                r#"a: Unsupported value: "X": supported values: "Always""#,
            ),
        ] {
            assert_eq!(error.to_string(), want);
        }
    }
}
