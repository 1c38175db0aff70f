//! `undo` (CLI-32).

use anyhow::Context;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::Value;
use sluice_core::commands::{self, Undo};
use sluice_crds::{ReplicaSet, Rollout};

use super::workload;
use crate::client::Session;
use crate::failure::Failure;
use crate::output;

/// Puts the pod template of an earlier revision back.
///
/// # Errors
/// When there is no such revision, or the API server refuses.
pub async fn run(session: &Session, name: &str, to_revision: i64) -> Result<(), Failure> {
    let api: Api<Rollout> = Api::namespaced(session.client.clone(), &session.namespace);
    let rollout = api.get(name).await?;
    let sets: Api<ReplicaSet> = Api::namespaced(session.client.clone(), &session.namespace);
    let sets = sets.list(&ListParams::default()).await?;
    let workload = workload::of(session, &rollout)?;
    let holder = workload.api.get(&workload.name).await?;
    let current = holder
        .data
        .pointer("/spec/template")
        .or_else(|| holder.data.get("template"))
        .cloned()
        .unwrap_or(Value::Null);
    match commands::undo(&rollout, &current, &sets.items, to_revision)? {
        Undo::Skip { revision } => output::text(format_args!(
            "skipped rollback (current template already matches revision {revision})"
        )),
        Undo::Patch { patch, revision } => {
            let patch: json_patch::Patch = serde_json::from_value(patch)?;
            workload
                .api
                .patch::<()>(&workload.name, &PatchParams::default(), &Patch::Json(patch))
                .await
                .with_context(|| format!("failed restoring revision {revision}"))?;
            output::line(format_args!("rollout '{name}' undo"));
        }
    }
    Ok(())
}
