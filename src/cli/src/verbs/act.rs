//! Sending the patches of a verb.

use anyhow::Result;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::Value;
use sluice_core::commands::Patches;

use crate::client::Session;
use crate::failure::Failure;
use crate::output;

/// Kinds that verbs act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rollout.
    Rollout,
    /// Experiment.
    Experiment,
    /// AnalysisRun.
    AnalysisRun,
}

impl Kind {
    fn resource(self) -> ApiResource {
        let (kind, plural) = match self {
            Self::Rollout => ("Rollout", "rollouts"),
            Self::Experiment => ("Experiment", "experiments"),
            Self::AnalysisRun => ("AnalysisRun", "analysisruns"),
        };
        let gvk = GroupVersionKind::gvk("argoproj.io", "v1alpha1", kind);
        ApiResource::from_gvk_with_plural(&gvk, plural)
    }

    /// As success lines call it (CLI-4).
    fn word(self) -> &'static str {
        match self {
            Self::Rollout => "rollout",
            Self::Experiment => "experiment",
            Self::AnalysisRun => "analysisRun",
        }
    }

    /// The API of this kind in the session's namespace, untyped so that no field is lost.
    #[must_use]
    pub fn api(self, session: &Session) -> Api<DynamicObject> {
        Api::namespaced_with(session.client.clone(), &session.namespace, &self.resource())
    }
}

/// Sends the same patches to every name, stopping at the first failure, and says so for each.
///
/// # Errors
/// The API server's answer.
pub async fn each(
    session: &Session,
    kind: Kind,
    names: &[String],
    patches: &Patches,
    done: &str,
) -> Result<(), Failure> {
    for name in names {
        send(session, kind, name, patches).await?;
        output::line(format_args!("{} '{name}' {done}", kind.word()));
    }
    Ok(())
}

/// Sends the status patch, then the other one. Where `status` is no subresource, one patch of the
/// object says both (CLI-31).
///
/// # Errors
/// The API server's answer.
pub async fn send(session: &Session, kind: Kind, name: &str, patches: &Patches) -> Result<()> {
    let api = kind.api(session);
    let merge = |body: &Value| Patch::Merge(body.clone());
    let params = PatchParams::default();
    if let Some(body) = &patches.status {
        match api.patch_status(name, &params, &merge(body)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {
                if let Some(body) = patches.combined() {
                    api.patch(name, &params, &merge(&body)).await?;
                }
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(body) = &patches.main {
        api.patch(name, &params, &merge(body)).await?;
    }
    Ok(())
}
