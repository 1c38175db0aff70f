//! Failures of the API, answered as `Status` bodies.

use hyper::body::Bytes;
use serde_json::{Value, json};

/// A refusal, with what a real API server would put into the `Status` it answers.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, such as `NotFound`.
    pub reason: &'static str,
    /// The sentence for people.
    pub message: String,
    /// The `details` of the Status.
    pub details: Option<Value>,
    /// Seconds for the `Retry-After` header.
    pub retry_after: Option<u64>,
}

impl ApiError {
    /// A refusal without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
            retry_after: None,
        }
    }

    fn detailed(mut self, group: &str, kind: &str, name: &str) -> Self {
        let mut details = json!({ "kind": kind });
        if !name.is_empty() {
            crate::json::put(&mut details, &["name"], name);
        }
        if !group.is_empty() {
            crate::json::put(&mut details, &["group"], group);
        }
        self.details = Some(details);
        self
    }

    /// 404 for an object; `resource` is the plural.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", qualified(group, resource));
        Self::new(404, "NotFound", message).detailed(group, resource, name)
    }

    /// 404 for a path that is not served.
    pub fn no_such_path() -> Self {
        let mut error = Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        );
        error.details = Some(json!({}));
        error
    }

    /// 404 in plain text, for a group or version that is not served.
    pub fn no_such_page() -> Self {
        Self::new(404, "", "404 page not found\n")
    }

    /// 409 for a name that is taken.
    pub fn exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", qualified(group, resource));
        Self::new(409, "AlreadyExists", message).detailed(group, resource, name)
    }

    /// 409 for a write on an outdated version.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            qualified(group, resource)
        );
        Self::new(409, "Conflict", message).detailed(group, resource, name)
    }

    /// 409 for a stale `resourceVersion`.
    pub fn modified(group: &str, resource: &str, name: &str) -> Self {
        Self::conflict(
            group,
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and \
             try again",
        )
    }

    /// 422 with the refused fields; `kind` is the kind's name, not the plural.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: &[Cause]) -> Self {
        let texts: Vec<String> = causes.iter().map(Cause::text).collect();
        let text = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{} \"{name}\" is invalid: {text}", qualified(group, kind));
        let mut error = Self::new(422, "Invalid", message).detailed(group, kind, name);
        if let Some(details) = &mut error.details {
            let list: Vec<Value> = causes
                .iter()
                .map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field}))
                .collect();
            crate::json::put(details, &["causes"], list);
        }
        error
    }

    /// 403.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = format!(
            "{} \"{name}\" is forbidden: {why}",
            qualified(group, resource)
        );
        Self::new(403, "Forbidden", message).detailed(group, resource, name)
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        let mut error = Self::new(405, "MethodNotAllowed", message);
        error.details = Some(json!({}));
        error
    }

    /// 410 for a revision that was compacted away.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 415.
    pub fn unsupported_media(given: &str, known: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: \
             {known} (got {given:?})"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 429; the client is told to wait `seconds`.
    pub fn too_many(seconds: u64, message: impl Into<String>) -> Self {
        let mut error = Self::new(429, "TooManyRequests", message);
        error.retry_after = Some(seconds);
        error.details = Some(json!({ "retryAfterSeconds": seconds }));
        error
    }

    /// The Status object.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            crate::json::put(&mut status, &["reason"], self.reason);
        }
        if let Some(details) = &self.details {
            crate::json::put(&mut status, &["details"], details.clone());
        }
        status
    }

    /// The Status as JSON text.
    pub fn body(&self) -> Bytes {
        Bytes::from(self.status().to_string())
    }
}

/// One refused field of an [`ApiError::invalid`].
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    /// Such as `FieldValueInvalid`.
    pub reason: &'static str,
    /// Path of the field.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Cause {
    /// A value that is not allowed.
    pub fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        let message = format!("Invalid value: {value}: {why}");
        Self {
            reason: "FieldValueInvalid",
            field: field.into(),
            message,
        }
    }

    /// A missing value.
    pub fn required(field: impl Into<String>, why: &str) -> Self {
        let message = match why {
            "" => "Required value".to_owned(),
            why => format!("Required value: {why}"),
        };
        Self {
            reason: "FieldValueRequired",
            field: field.into(),
            message,
        }
    }

    /// A value that may not change or may not be set.
    pub fn forbidden(field: impl Into<String>, why: &str) -> Self {
        let message = format!("Forbidden: {why}");
        Self {
            reason: "FieldValueForbidden",
            field: field.into(),
            message,
        }
    }

    /// A value outside of an enumeration.
    pub fn unsupported(field: impl Into<String>, value: &Value, allowed: &[String]) -> Self {
        let allowed: Vec<String> = allowed.iter().map(|a| format!("{a:?}")).collect();
        let message = format!(
            "Unsupported value: {value}: supported values: {}",
            allowed.join(", ")
        );
        Self {
            reason: "FieldValueNotSupported",
            field: field.into(),
            message,
        }
    }

    /// A value of the wrong JSON type.
    pub fn wrong_type(field: impl Into<String>, value: &Value, want: &str) -> Self {
        let field = field.into();
        let got = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(n) if n.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let message =
            format!("Invalid value: \"{got}\": {field} in body must be of type {want}: \"{got}\"");
        Self {
            reason: "FieldValueTypeInvalid",
            field,
            message,
        }
    }

    /// A string that is too long.
    pub fn too_long(field: impl Into<String>, limit: i64) -> Self {
        let message = format!("Too long: may not be more than {limit} bytes");
        Self {
            reason: "FieldValueTooLong",
            field: field.into(),
            message,
        }
    }

    /// A list or map with too many elements.
    pub fn too_many(field: impl Into<String>, count: i64, limit: i64) -> Self {
        let message = format!("Too many: {count}: must have at most {limit} items");
        Self {
            reason: "FieldValueTooMany",
            field: field.into(),
            message,
        }
    }

    /// Whether rules over the whole object make no sense after this.
    pub(crate) fn blocks_rules(&self) -> bool {
        !matches!(self.reason, "FieldValueInvalid" | "FieldValueDuplicate")
    }

    fn text(&self) -> String {
        if self.field.is_empty() {
            self.message.clone()
        } else {
            format!("{}: {}", self.field, self.message)
        }
    }
}

fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    }
}
