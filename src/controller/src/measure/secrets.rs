//! Secrets of a run, read live at each measurement and never kept.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use sluice_core::analysis_run::args::secret_refs;
use sluice_crds::AnalysisRun;

use crate::execute::words;

/// Why the secrets of a run are not at hand.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A Secret, or a key in it, does not exist: the run cannot go on.
    #[error("{0}")]
    Missing(String),
    /// It could not be read just now.
    #[error("{0}")]
    Unread(String),
}

/// Values of the arguments that come from Secrets, by name of the argument.
///
/// # Errors
/// [`SecretError`]
pub async fn read(
    client: &kube::Client,
    run: &AnalysisRun,
) -> Result<BTreeMap<String, String>, SecretError> {
    let references = secret_refs(&run.spec);
    let mut values = BTreeMap::new();
    if references.is_empty() {
        return Ok(values);
    }
    let namespace = run.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut read: BTreeMap<&str, Secret> = BTreeMap::new();
    for (argument, reference) in references {
        let name = reference.name.as_str();
        if !read.contains_key(name) {
            let secret = api.get_opt(name).await;
            let secret = secret.map_err(|error| SecretError::Unread(words(&error)))?;
            let absent = || SecretError::Missing(format!("secrets \"{name}\" not found"));
            read.insert(name, secret.ok_or_else(absent)?);
        }
        let data = read.get(name).and_then(|secret| secret.data.as_ref());
        let Some(value) = data.and_then(|data| data.get(&reference.key)) else {
            let text = format!("key '{}' does not exist in secret '{name}'", reference.key);
            return Err(SecretError::Missing(text));
        };
        values.insert(
            argument.to_owned(),
            String::from_utf8_lossy(&value.0).into_owned(),
        );
    }
    Ok(values)
}
