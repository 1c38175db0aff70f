use serde_json::{Value, json};
use sluice_crds::Rollout;

use super::*;

fn rollout(spec: Value, status: Value) -> Rollout {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "generation": 3,
                     "annotations": {"rollout.argoproj.io/workload-generation": "7"}},
        "spec": spec,
        "status": status,
    }))
    .unwrap()
}

fn text(view: &PhaseView) -> String {
    if view.message.is_empty() {
        view.phase.to_string()
    } else {
        format!("{}: {}", view.phase, view.message)
    }
}

fn canary() -> Value {
    json!({"strategy": {"canary": {}}})
}

fn routed() -> Value {
    json!({"strategy": {"canary": {"trafficRouting": {"istio": {}}}}})
}

fn blue_green(post: bool) -> Value {
    let mut strategy = json!({"activeService": "web"});
    if post {
        strategy["postPromotionAnalysis"] = json!({});
    }
    json!({"strategy": {"blueGreen": strategy}})
}

/// CTL-14, API-65: each row in turn. SE-16: the order of conditions does not matter.
#[test]
fn computed() {
    let up = json!({"updatedReplicas": 1, "availableReplicas": 1, "replicas": 1});
    let with = |extra: Value| {
        let mut status = up.clone();
        for (key, value) in extra.as_object().unwrap() {
            status[key] = value.clone();
        }
        status
    };
    let condition = |kind: &str, reason: &str| json!({"type": kind, "reason": reason, "status": "True", "message": "words"});
    let conditions = |list: Vec<Value>| with(json!({"conditions": list}));
    let rows = [
        (
            canary(),
            conditions(vec![
                condition("Progressing", "RolloutAborted"),
                condition("InvalidSpec", "InvalidSpec"),
            ]),
            "Degraded: InvalidSpec: words",
        ),
        (
            canary(),
            conditions(vec![condition("Progressing", "RolloutAborted")]),
            "Degraded: RolloutAborted: words",
        ),
        (
            canary(),
            conditions(vec![condition("Progressing", "ProgressDeadlineExceeded")]),
            "Degraded: ProgressDeadlineExceeded: words",
        ),
        (
            canary(),
            conditions(vec![condition("Other", "RolloutAborted")]),
            "Progressing: waiting for all steps to complete",
        ),
        (
            json!({"paused": true, "strategy": {"canary": {}}}),
            up.clone(),
            "Paused: manually paused",
        ),
        (
            canary(),
            with(
                json!({"pauseConditions": [{"reason": "BlueGreenPause", "startTime": "2026-11-21T03:44:51Z"}]}),
            ),
            "Paused: BlueGreenPause",
        ),
        (
            json!({"restartAt": "2026-11-21T03:44:51Z"}),
            up.clone(),
            "Progressing: rollout is restarting",
        ),
        (
            json!({"replicas": 2}),
            up.clone(),
            "Progressing: more replicas need to be updated",
        ),
        (
            canary(),
            with(json!({"availableReplicas": 0})),
            "Progressing: updated replicas are still becoming available",
        ),
        (
            blue_green(false),
            up.clone(),
            "Progressing: active service cutover pending",
        ),
        (
            blue_green(true),
            with(json!({"currentPodHash": "a", "blueGreen": {"activeSelector": "a"}})),
            "Progressing: waiting for analysis to complete",
        ),
        (
            blue_green(true),
            with(
                json!({"currentPodHash": "a", "blueGreen": {"activeSelector": "a",
            "postPromotionAnalysisRunStatus": {"name": "r", "status": "Successful"}}}),
            ),
            "Progressing: waiting for post-promotion verification to complete",
        ),
        (
            blue_green(false),
            with(
                json!({"currentPodHash": "a", "stableRS": "a", "blueGreen": {"activeSelector": "a"}}),
            ),
            "Healthy",
        ),
        (
            canary(),
            with(json!({"replicas": 2})),
            "Progressing: old replicas are pending termination",
        ),
        (
            routed(),
            with(json!({"replicas": 2})),
            "Progressing: waiting for all steps to complete",
        ),
        (
            routed(),
            with(json!({"replicas": 2, "stableRS": "a", "currentPodHash": "a"})),
            "Healthy",
        ),
    ];
    for (spec, status, want) in rows {
        let rollout = rollout(spec, status);
        assert_eq!(
            text(&of(&rollout.spec, rollout.status.as_ref().unwrap())),
            want
        );
    }
}

/// API-66, CLI-8
#[test]
fn as_readers_take_it() {
    let healthy = |extra: Value| {
        let mut status = json!({"observedGeneration": "3", "phase": "Healthy"});
        for (key, value) in extra.as_object().unwrap() {
            status[key] = value.clone();
        }
        status
    };
    let referenced = json!({"workloadRef": {"kind": "Deployment", "name": "web"}});
    let rows = [
        (json!({}), healthy(json!({})), "Healthy"),
        (
            json!({}),
            healthy(json!({"observedGeneration": "2"})),
            "Progressing: waiting for rollout spec update to be observed",
        ),
        (
            json!({}),
            healthy(json!({"observedGeneration": "4"})),
            "Healthy",
        ),
        (
            json!({}),
            healthy(json!({"observedGeneration": "6d8f9b7c45"})),
            "Healthy",
        ),
        (
            json!({}),
            healthy(json!({"controllerPause": true})),
            "Progressing: waiting for rollout to unpause",
        ),
        (
            referenced.clone(),
            healthy(json!({"workloadObservedGeneration": "6"})),
            "Progressing: waiting for rollout spec update to be observed for the reference workload",
        ),
        (
            referenced,
            healthy(json!({"workloadObservedGeneration": "7"})),
            "Healthy",
        ),
        (
            json!({}),
            healthy(json!({"workloadObservedGeneration": "6"})),
            "Healthy",
        ),
        (
            json!({"paused": true}),
            healthy(json!({"phase": ""})),
            "Paused: manually paused",
        ),
    ];
    for (spec, status, want) in rows {
        assert_eq!(text(&shown(&rollout(spec, status))), want);
    }
}

/// The computed phase is what the peer stored, in every record.
#[test]
fn equals_the_records() {
    let mut seen = 0;
    for object in crate::testing::records::all("Rollout") {
        let rollout: Rollout = serde_json::from_value(object.json).unwrap();
        let status = rollout.status.as_ref().unwrap();
        let stored = PhaseView {
            phase: status.phase.clone(),
            message: status.message.clone(),
        };
        assert_eq!(
            text(&of(&rollout.spec, status)),
            text(&stored),
            "{}",
            object.file
        );
        assert_eq!(shown(&rollout).phase, stored.phase, "{}", object.file);
        seen += 1;
    }
    assert_eq!(seen, 80);
}
