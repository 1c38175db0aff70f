//! The four patch formats.

pub(crate) mod apply;
pub(crate) mod lists;
mod strategic;

use serde_json::Value;

use crate::error::ApiError;
use crate::json::{put, take, text};
use crate::kinds::Kind;
use crate::state::{Part, WriteOptions};

/// A patch as sent.
#[derive(Debug, Clone)]
pub(crate) enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7386.
    Merge(Value),
    /// Lists of built-in kinds merge by key.
    Strategic(Value),
    /// Server-side apply.
    Apply {
        config: Value,
        manager: String,
        force: bool,
    },
}

const KNOWN: &str = "application/json-patch+json, application/merge-patch+json, \
                     application/strategic-merge-patch+json, application/apply-patch+yaml";

impl Patch {
    /// Reads a body by its content type.
    pub(crate) fn read(
        content_type: &str,
        body: &[u8],
        manager: &str,
        force: bool,
    ) -> Result<Self, ApiError> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        let bad =
            |e: &dyn std::fmt::Display| ApiError::bad_request(format!("error decoding patch: {e}"));
        let json = || serde_json::from_slice(body).map_err(|e| bad(&e));
        match kind {
            "application/json-patch+json" => serde_json::from_slice(body)
                .map(Self::Json)
                .map_err(|e| bad(&e)),
            "application/merge-patch+json" => json().map(Self::Merge),
            "application/strategic-merge-patch+json" => json().map(Self::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+json" => {
                if manager.is_empty() {
                    let message = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: \
                                   Required value: is required for apply patch";
                    return Err(ApiError::new(422, "Invalid", message));
                }
                let config: Value = serde_yaml_ng::from_slice(body).map_err(|e| bad(&e))?;
                Ok(Self::Apply {
                    config,
                    manager: manager.to_owned(),
                    force,
                })
            }
            other => Err(ApiError::unsupported_media(other, KNOWN)),
        }
    }

    /// The patched object, and the owners of fields if the patch settles them.
    pub(crate) fn run(
        &self,
        kind: &Kind,
        old: &Value,
        part: Part,
        options: &WriteOptions,
        stamp: &str,
    ) -> Result<(Value, Option<Value>), ApiError> {
        let version = if options.version.is_empty() {
            kind.version()
        } else {
            options.version.as_str()
        };
        let mut value = old.clone();
        put(&mut value, &["apiVersion"], kind.api_version(version));
        put(&mut value, &["kind"], kind.kind.clone());
        match self {
            Self::Json(patch) => {
                json_patch::patch(&mut value, &patch.0).map_err(|_| unfit())?;
            }
            Self::Merge(patch) => merge_object(&mut value, patch)?,
            Self::Strategic(patch) => {
                if kind.custom {
                    let known = "application/json-patch+json, application/merge-patch+json, \
                                 application/apply-patch+yaml";
                    let given = "application/strategic-merge-patch+json";
                    return Err(ApiError::unsupported_media(given, known));
                }
                if !patch.is_object() {
                    return Err(ApiError::bad_request(
                        "a strategic merge patch must be an object",
                    ));
                }
                strategic::merge(&kind.kind, &mut value, patch)?;
            }
            Self::Apply { .. } => {
                let (mut value, managed) = apply::apply(kind, old, self, part, options, stamp)?;
                put(&mut value, &["apiVersion"], kind.api_version(version));
                put(&mut value, &["kind"], kind.kind.clone());
                return Ok((value, Some(managed)));
            }
        }
        // What the client did not name is not a condition of the write.
        if !self.names_revision() {
            take(&mut value, &["metadata", "resourceVersion"]);
        }
        Ok((value, None))
    }

    /// Patches a view that has no list keys and no field owners, such as a `Scale`.
    pub(crate) fn run_plain(&self, value: &mut Value) -> Result<(), ApiError> {
        match self {
            Self::Json(patch) => json_patch::patch(value, &patch.0).map_err(|_| unfit()),
            Self::Merge(patch) | Self::Strategic(patch) => merge_object(value, patch),
            Self::Apply { config, .. } => merge_object(value, config),
        }
    }

    /// Whether the patch itself carries a `resourceVersion`.
    pub(crate) fn names_revision(&self) -> bool {
        match self {
            Self::Json(patch) => patch.0.iter().any(|op| {
                !matches!(op, json_patch::PatchOperation::Test(_))
                    && *op.path() == *"/metadata/resourceVersion"
            }),
            Self::Merge(patch) | Self::Strategic(patch) | Self::Apply { config: patch, .. } => {
                !text(patch, &["metadata", "resourceVersion"]).is_empty()
            }
        }
    }
}

/// A JSON patch whose operations do not fit the object.
fn unfit() -> ApiError {
    let message = "the server rejected our request due to an error in our request";
    let mut error = ApiError::new(422, "Invalid", message);
    error.details = Some(serde_json::json!({}));
    error
}

fn merge_object(value: &mut Value, patch: &Value) -> Result<(), ApiError> {
    if !patch.is_object() {
        return Err(ApiError::bad_request("a merge patch must be an object"));
    }
    json_patch::merge(value, patch);
    Ok(())
}
