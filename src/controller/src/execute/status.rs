//! The status: one merge patch, seen to wanted, guarded by what was read, last in the pass (D4).

use kube::api::{Patch, PatchParams};
use serde::Serialize;
use serde_json::{Value, json};
use sluice_crds::rollout::{RolloutDuration, RolloutStatus};

use super::{Api, FailedWrite, Pass, Rollout, Stop};
use crate::patch::{guarded, merge_diff};

/// The patch of the `status` subresource that turns `seen` into `want`; `None` when they say the same.
///
/// What decodes alike is never written (CTL-13): both sides are compared in their encoded form.
pub fn status_patch<S: Serialize>(seen: Option<&S>, want: &S, version: &str) -> Option<Value> {
    let seen = seen.map_or(Value::Null, |seen| {
        serde_json::to_value(seen).unwrap_or_default()
    });
    let want = serde_json::to_value(want).ok()?;
    let status = merge_diff(&seen, &want)?;
    Some(guarded(json!({ "status": status }), version))
}

impl Pass<'_> {
    pub(super) async fn status(&mut self, want: &RolloutStatus) -> Result<(), Stop> {
        let seen = self.seen.rollout.status.as_ref();
        let Some(patch) = status_patch(seen, want, &self.version) else {
            return Ok(());
        };
        tracing::debug!(%patch, "status");
        let api: Api<Rollout> = self.api();
        let answer = api
            .patch_status(
                self.key.name(),
                &PatchParams::default(),
                &Patch::Merge(&patch),
            )
            .await;
        let rollout = self.answer(FailedWrite::Other, answer).await?;
        let before = seen.and_then(|status| status.duration.as_ref());
        if let Some(ended) = ended_attempt(before, want.duration.as_ref()) {
            self.ctx
                .metrics
                .attempt(&ended.status, ended.total, ended.paused);
        }
        self.saw_rollout(rollout);
        Ok(())
    }
}

/// An attempt that a status write ended (OPS-14), times in seconds.
struct Ended {
    status: String,
    total: f64,
    paused: f64,
}

fn ended_attempt(before: Option<&RolloutDuration>, now: Option<&RolloutDuration>) -> Option<Ended> {
    let now = now?;
    let finished = now.finished_at?;
    if before.and_then(|before| before.finished_at) == Some(finished) {
        return None;
    }
    let started = now.rollout_started_at?;
    let total = finished
        .timestamp()
        .duration_since(started.timestamp())
        .as_secs_f64();
    #[allow(clippy::cast_precision_loss)] // seconds of pauses
    let paused = now.total_manual_pause_duration_seconds.unwrap_or_default() as f64;
    Some(Ended {
        status: now.completion_status.clone(),
        total: total.max(0.0),
        paused,
    })
}
