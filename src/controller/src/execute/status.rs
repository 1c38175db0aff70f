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

/// As [`status_patch`] for a Rollout. The two strategy parts, even if empty, are there from the first
/// status that tells of a ReplicaSet (API-70), and not before: one that is refused at once has
/// nothing but the refusal (API-44).
pub fn rollout_status_patch(
    seen: Option<&RolloutStatus>,
    want: &RolloutStatus,
    version: &str,
) -> Option<Value> {
    let begins = seen.is_none_or(|seen| seen.current_pod_hash.is_empty());
    let mut before = serde_json::to_value(seen.unwrap_or(&RolloutStatus::default())).ok()?;
    if begins
        && !want.current_pod_hash.is_empty()
        && let Value::Object(members) = &mut before
    {
        members.remove("canary");
        members.remove("blueGreen");
    }
    status_patch(Some(&before), &serde_json::to_value(want).ok()?, version)
}

impl Pass<'_> {
    pub(super) async fn status(&mut self, want: &RolloutStatus) -> Result<(), Stop> {
        let seen = self.seen.rollout.status.as_ref();
        let Some(patch) = rollout_status_patch(seen, want, &self.version) else {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn status(value: Value) -> RolloutStatus {
        serde_json::from_value(value).unwrap()
    }

    /// API-4, CTL-13: the difference and nothing else, lists as a whole, guarded; no news is no
    /// write, and neither is what merely decodes alike.
    #[test]
    fn only_what_changed_is_sent() {
        let seen = status(
            json!({ "abort": false, "currentPodHash": "a", "replicas": 3,
            "pauseConditions": [{ "reason": "CanaryPauseStep", "startTime": "2026-01-01T00:00:00Z" }] }),
        );
        let mut want = seen.clone();
        assert_eq!(rollout_status_patch(Some(&seen), &want, "5"), None);
        want.replicas = 4;
        want.pause_conditions.clear();
        want.current_step_index = Some(0);
        assert_eq!(
            rollout_status_patch(Some(&seen), &want, "5"),
            Some(json!({
                "metadata": { "resourceVersion": "5" },
                "status": { "replicas": 4, "pauseConditions": null, "currentStepIndex": 0 },
            }))
        );
    }

    /// API-44, API-70: a refusal is all there is to say about a Rollout that is refused at once; the
    /// empty strategy parts come with the first ReplicaSet.
    #[test]
    fn strategy_parts_come_with_the_first_replica_set() {
        let refused = status(json!({ "phase": "Degraded", "observedGeneration": "1" }));
        assert_eq!(
            rollout_status_patch(None, &refused, ""),
            Some(json!({ "status": { "phase": "Degraded", "observedGeneration": "1" } }))
        );
        let begun = status(json!({ "phase": "Progressing", "observedGeneration": "1",
            "currentPodHash": "a" }));
        let parts = json!({ "status": { "phase": "Progressing", "currentPodHash": "a",
            "canary": {}, "blueGreen": {} } });
        assert_eq!(
            rollout_status_patch(Some(&refused), &begun, ""),
            Some(parts.clone())
        );
        let mut first = parts;
        first["status"]["observedGeneration"] = json!("1");
        assert_eq!(rollout_status_patch(None, &begun, ""), Some(first));
    }
}
