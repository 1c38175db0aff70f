//! Placeholders and secrets of a run (ANA-7, ANA-30, ANA-31).

use std::collections::BTreeMap;

use sluice_crds::analysis::{AnalysisRunSpec, Argument, Measurement, Metric, SecretKeyRef};
use sluice_crds::keys;
use sluice_crds::placeholders::{PlaceholderError, substitute_json};

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

/// The spec as tasks are planned from it: secrets are replaced by a stand-in.
///
/// # Errors
///
/// As [`resolve`].
pub(crate) fn planning_copy(spec: &AnalysisRunSpec) -> Result<AnalysisRunSpec, String> {
    let secrets = secret_refs(spec)
        .into_keys()
        .map(|arg| (arg.to_owned(), STAND_IN.to_owned()));
    let secrets = secrets.collect();
    let resolved = spec
        .metrics
        .iter()
        .map(|metric| resolve(metric, spec, &secrets));
    let metrics = resolved.collect::<Result<_, _>>()?;
    Ok(AnalysisRunSpec {
        metrics,
        ..spec.clone()
    })
}

/// A metric with every `{{args.NAME}}` replaced; `secrets` holds the values of those arguments that
/// come from Secrets, by name of the argument, and wins over `value`.
///
/// # Errors
///
/// The texts users know (ANA-30): an argument without value (whether a metric uses it or not), an
/// unknown placeholder, a placeholder without end, or text that leaves no valid metric behind.
pub fn resolve(
    metric: &Metric,
    spec: &AnalysisRunSpec,
    secrets: &BTreeMap<String, String>,
) -> Result<Metric, String> {
    let missing = |arg: &&Argument| arg.value.is_none() && !secrets.contains_key(&arg.name);
    if let Some(arg) = spec.args.iter().find(missing) {
        return Err(PlaceholderError::NotSupplied(arg.name.clone()).to_string());
    }
    let text = serde_json::to_string(metric).map_err(|error| error.to_string())?;
    if !text.contains("{{") {
        return Ok(metric.clone());
    }
    let value_of = |name: &str| {
        let arg = spec.args.iter().rev().find(|arg| arg.name == name)?;
        secrets.get(name).or(arg.value.as_ref()).cloned()
    };
    let resolved = substitute_json(&text, |tag| {
        let value = tag.strip_prefix("args.").and_then(value_of);
        value.ok_or_else(|| PlaceholderError::Unresolved(tag.to_owned()))
    });
    let resolved = resolved.map_err(|error| error.to_string())?;
    serde_json::from_str(&resolved).map_err(|error| error.to_string())
}

/// The metric at `index` as far as it can be known without reading a Secret: enough to look after
/// something that runs already.
///
/// # Errors
///
/// As [`resolve`], and when there is no such metric.
pub fn without_secrets(spec: &AnalysisRunSpec, index: usize) -> Result<Metric, String> {
    let planned = planning_copy(spec)?.metrics.into_iter().nth(index);
    planned.ok_or_else(|| format!("the spec has no metric {index} any more"))
}

/// Masks secrets in everything that is stored about a measurement (ANA-14, ASE-3).
pub fn redact<'s>(measurement: &mut Measurement, secrets: impl IntoIterator<Item = &'s str>) {
    let secrets = longest_first(secrets);
    for secret in &secrets {
        mask(&mut measurement.message, secret);
        mask(&mut measurement.value, secret);
    }
    redact_metadata(&mut measurement.metadata, secrets);
}

/// Masks secrets in a text.
#[must_use]
pub fn redacted<'s>(mut text: String, secrets: impl IntoIterator<Item = &'s str>) -> String {
    for secret in longest_first(secrets) {
        mask(&mut text, secret);
    }
    text
}

/// So that a secret inside another one does not leave the rest of that.
fn longest_first<'s>(secrets: impl IntoIterator<Item = &'s str>) -> Vec<&'s str> {
    let mut secrets: Vec<_> = secrets.into_iter().collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

/// Masks secrets in what a provider shows about a metric or a measurement.
pub fn redact_metadata<'s>(
    metadata: &mut BTreeMap<String, String>,
    secrets: impl IntoIterator<Item = &'s str>,
) {
    // These lead back to what runs: a secret that reads like a part of them must not cut the thread.
    let references = [keys::MEASUREMENT_JOB_NAME, keys::MEASUREMENT_JOB_NAMESPACE];
    for secret in longest_first(secrets) {
        for (_, value) in metadata
            .iter_mut()
            .filter(|(key, _)| !references.contains(&key.as_str()))
        {
            mask(value, secret);
        }
    }
}

fn mask(text: &mut String, secret: &str) {
    if !secret.is_empty() && text.contains(secret) {
        *text = text.replace(secret, MASK);
    }
}
