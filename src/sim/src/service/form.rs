//! How answers look: whole objects, metadata alone, or tables; and the tokens of pages.

use http::{HeaderMap, header};
use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::Kind;
use crate::object::Object;

/// How objects are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Form {
    #[default]
    Full,
    /// Metadata alone.
    Partial,
    /// Columns and cells.
    Table,
}

/// What a client accepts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Media {
    pub(crate) form: Form,
    /// Aggregated discovery.
    pub(crate) aggregated: bool,
    /// JSON, or anything.
    pub(crate) json: bool,
}

impl Media {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let accept = headers
            .get(header::ACCEPT)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("*/*");
        let mut media = Self::default();
        let mut first = true;
        for part in accept.split(',').map(str::trim) {
            let json = part.starts_with("application/json")
                || part.starts_with("*/*")
                || part.starts_with("application/*");
            media.json |= json;
            if !json {
                continue;
            }
            // The first form that is known decides, as preferences are listed in order.
            if first {
                if part.contains("as=Table") && part.contains("v=v1") {
                    media.form = Form::Table;
                } else if part.contains("as=PartialObjectMetadata") {
                    media.form = Form::Partial;
                }
                media.aggregated = part.contains("as=APIGroupDiscoveryList");
                first = false;
            }
        }
        media
    }
}

/// Writes an object as a client sees it in a version.
pub(super) fn write_object(
    out: &mut Vec<u8>,
    kind: &Kind,
    version: &str,
    form: Form,
    object: &Object,
    now: Timestamp,
) {
    match form {
        Form::Full => {
            let types = format!(
                "{{\"apiVersion\":\"{}\",\"kind\":\"{}\",",
                kind.api_version(version),
                kind.kind
            );
            out.extend_from_slice(types.as_bytes());
            // Never empty: each object has metadata.
            out.extend_from_slice(object.json().get(1..).unwrap_or(b"}"));
        }
        Form::Partial => {
            let metadata = object.value.get("metadata").unwrap_or(&Value::Null);
            let text = format!(
                "{{\"apiVersion\":\"meta.k8s.io/v1\",\"kind\":\"PartialObjectMetadata\",\
                 \"metadata\":{metadata}}}"
            );
            out.extend_from_slice(text.as_bytes());
        }
        Form::Table => {
            let include = crate::table::Include::Metadata;
            let table = crate::table::row_table(kind, version, object, now, include);
            out.extend_from_slice(table.to_string().as_bytes());
        }
    }
}

/// A page token: the revision of the list and the last object shown, in hexadecimal.
pub(super) fn write_token(revision: u64, (namespace, name): &(String, String)) -> String {
    let plain = format!("{revision}/{namespace}/{name}");
    plain.bytes().map(|b| format!("{b:02x}")).collect()
}

pub(super) fn read_token(token: &str) -> Option<(u64, (String, String))> {
    let byte = |i: usize| u8::from_str_radix(token.get(i..i + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..token.len()).step_by(2).map(byte).collect();
    let plain = String::from_utf8(bytes?).ok()?;
    let mut parts = plain.splitn(3, '/');
    let revision = parts.next()?.parse().ok()?;
    Some((
        revision,
        (parts.next()?.to_owned(), parts.next()?.to_owned()),
    ))
}
