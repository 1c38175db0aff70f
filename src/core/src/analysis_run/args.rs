//! Placeholders and secrets of a run (ANA-7, ANA-30, ANA-31).

use std::collections::BTreeMap;

use sluice_crds::analysis::{AnalysisRunSpec, Measurement, Metric, SecretKeyRef};

/// What stands for a secret while tasks are planned; no Secret is read for that.
const STAND_IN: &str = "temp-for-secret";

/// What stands for a secret in what is stored.
const MASK: &str = "*****";

/// The arguments that come from Secrets, by name of the argument.
#[must_use]
pub fn secret_refs(spec: &AnalysisRunSpec) -> BTreeMap<&str, &SecretKeyRef> {
    let refs = spec.args.iter().filter_map(|arg| {
        let secret = arg.value_from.as_ref()?.secret_key_ref.as_ref()?;
        Some((arg.name.as_str(), secret))
    });
    refs.collect()
}

/// The metrics as tasks are planned from them: secrets are replaced by a stand-in.
///
/// # Errors
///
/// As [`resolve`].
pub(crate) fn planning_copy(spec: &AnalysisRunSpec) -> Result<Vec<Metric>, String> {
    let secrets = secret_refs(spec)
        .into_keys()
        .map(|arg| (arg.to_owned(), STAND_IN.to_owned()));
    let secrets = secrets.collect();
    spec.metrics
        .iter()
        .map(|metric| resolve(metric, spec, &secrets))
        .collect()
}

/// A metric with every `{{args.NAME}}` replaced; `secrets` holds the values of those arguments that
/// come from Secrets, by name of the argument, and wins over `value`.
///
/// # Errors
///
/// The texts users know (ANA-30): an argument without value, an unknown placeholder, a placeholder
/// without end, or text that leaves no valid metric behind.
pub fn resolve(
    metric: &Metric,
    spec: &AnalysisRunSpec,
    secrets: &BTreeMap<String, String>,
) -> Result<Metric, String> {
    let text = serde_json::to_string(metric).map_err(|error| error.to_string())?;
    if !text.contains("{{") {
        check_supplied(spec, secrets)?;
        return Ok(metric.clone());
    }
    let pieces = split(&text)?;
    check_supplied(spec, secrets)?;
    let value_of = |name: &str| {
        let arg = spec.args.iter().rev().find(|arg| arg.name == name)?;
        secrets.get(name).or(arg.value.as_ref())
    };
    let mut resolved = String::with_capacity(text.len());
    for (plain, tag) in pieces {
        resolved.push_str(plain);
        let Some(tag) = tag else { continue };
        let value = tag.trim().strip_prefix("args.").and_then(value_of);
        let value = value.ok_or_else(|| format!("failed to resolve {{{{{tag}}}}}"))?;
        resolved.push_str(&escaped(value));
    }
    serde_json::from_str(&resolved).map_err(|error| error.to_string())
}

/// Every argument needs a value, whether a metric uses it or not.
fn check_supplied(
    spec: &AnalysisRunSpec,
    secrets: &BTreeMap<String, String>,
) -> Result<(), String> {
    let missing = spec
        .args
        .iter()
        .find(|arg| arg.value.is_none() && !secrets.contains_key(&arg.name));
    match missing {
        Some(arg) => Err(format!("argument \"{}\" was not supplied", arg.name)),
        None => Ok(()),
    }
}

/// Splits at placeholders: text, and the tag that follows it. A tag begins at the first `{{` and
/// ends at the next `}}`.
fn split(text: &str) -> Result<Vec<(&str, Option<&str>)>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once("{{") {
        let (tag, next) = after.split_once("}}").ok_or_else(|| {
            format!("Cannot find end tag=\"}}}}\" in the template={text:?} starting from {after:?}")
        })?;
        pieces.push((plain, Some(tag)));
        rest = next;
    }
    pieces.push((rest, None));
    Ok(pieces)
}

/// A value as it has to look inside a JSON text (ASE-9).
fn escaped(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or("")
        .to_owned()
}

/// Masks secrets in everything that is stored about a measurement (ANA-14, ASE-3).
pub fn redact<'s>(measurement: &mut Measurement, secrets: impl IntoIterator<Item = &'s str>) {
    for secret in secrets {
        mask(&mut measurement.message, secret);
        mask(&mut measurement.value, secret);
        redact_metadata(&mut measurement.metadata, [secret]);
    }
}

/// Masks secrets in what a provider shows about a metric or a measurement.
pub fn redact_metadata<'s>(
    metadata: &mut BTreeMap<String, String>,
    secrets: impl IntoIterator<Item = &'s str>,
) {
    for secret in secrets {
        for value in metadata.values_mut() {
            mask(value, secret);
        }
    }
}

fn mask(text: &mut String, secret: &str) {
    if !secret.is_empty() && text.contains(secret) {
        *text = text.replace(secret, MASK);
    }
}
