use std::sync::Arc;

use jiff::SignedDuration;
use sluice_crds::rollout::PauseReason;
use sluice_crds::{ReplicaSet, Rollout, keys};

use super::pass::Pass;
use super::progress::{self, Exempt};
use super::*;
use crate::testing::{RolloutBuilder, at, pause, replica_set, rollout, t0, weight};

mod texts;

fn told(conditions: &[RolloutCondition]) -> Vec<String> {
    conditions
        .iter()
        .map(|c| format!("{} {} {}", c.r#type, c.status, c.reason))
        .collect()
}

/// API-55
#[test]
fn setting() {
    let mut list = vec![
        new("A", "True", "x", "one", t0()),
        new("B", "True", "x", "", t0()),
    ];
    assert!(
        !set(&mut list, new("A", "True", "x", "two", at(5))),
        "same status and reason"
    );
    assert_eq!(list[0].message, "one");
    assert!(set(&mut list, new("A", "True", "y", "two", at(5))));
    assert_eq!(
        told(&list),
        ["B True x", "A True y"],
        "a rewrite moves it to the end"
    );
    assert_eq!(
        list[1].last_transition_time.timestamp(),
        t0(),
        "the status did not change"
    );
    assert_eq!(list[1].last_update_time.timestamp(), at(5));
    assert!(set(&mut list, new("A", "False", "y", "", at(9))));
    assert_eq!(list[1].last_transition_time.timestamp(), at(9));
    renew(&mut list, new("A", "False", "y", "again", at(12)));
    assert_eq!(list[1].last_transition_time.timestamp(), at(9));
    assert_eq!(list[1].last_update_time.timestamp(), at(12));
    set_invalid_spec(&mut list, "web", "spec.x: no", at(12));
    set_invalid_spec(&mut list, "web", "spec.x: no", at(13));
    set_invalid_spec(&mut list, "web", "spec.y: no", at(14));
    assert_eq!(
        list[2].message,
        "The Rollout \"web\" is invalid: spec.y: no"
    );
    assert_eq!(list[2].last_transition_time.timestamp(), at(12));
    assert!(remove(&mut list, "B") && !remove(&mut list, "B"));
}

fn conditioned(conditions: Vec<RolloutCondition>) -> RolloutBuilder {
    rollout("web")
        .canary([])
        .status(|s| s.conditions = conditions)
}

/// CTL-8, API-58
#[test]
fn before_a_pass() {
    let progressing = |reason: &str| vec![new(kind::PROGRESSING, "True", reason, "", t0())];
    let check = |name: &str, rollout: RolloutBuilder, want: Option<&[&str]>| {
        let got = pre_pass(&rollout.build(), at(5)).map(|list| told(&list));
        assert_eq!(
            got,
            want.map(|w| w.iter().map(|s| (*s).to_owned()).collect()),
            "{name}"
        );
    };
    let held = |r: RolloutBuilder| {
        r.status(|s| {
            s.pause_conditions = vec![sluice_crds::rollout::PauseCondition {
                reason: PauseReason::CanaryPauseStep,
                start_time: t0().into(),
            }];
        })
    };
    check(
        "nothing to say",
        conditioned(progressing("ReplicaSetUpdated")),
        None,
    );
    check(
        "a pause began",
        held(conditioned(progressing("ReplicaSetUpdated"))),
        Some(&[
            "Progressing Unknown RolloutPaused",
            "Paused True RolloutPaused",
        ]),
    );
    let mut both = progressing(reason::PAUSED);
    both[0].status = "Unknown".into();
    both.push(new(kind::PAUSED, "True", reason::PAUSED, "", t0()));
    check(
        "resumed",
        conditioned(both.clone()),
        Some(&[
            "Progressing Unknown RolloutResumed",
            "Paused False RolloutPaused",
        ]),
    );
    check("still paused", held(conditioned(both.clone())), None);
    let mut aborted = vec![both[1].clone()];
    aborted.extend(progressing(reason::ABORTED));
    check(
        "aborted out of a pause",
        conditioned(aborted.clone()).status(|s| s.abort = true),
        None,
    );
    check(
        "retried",
        conditioned(aborted.clone()),
        Some(&[
            "Paused True RolloutPaused",
            "Progressing Unknown RolloutRetry",
        ]),
    );
    let promoted = |s: &mut RolloutStatus| {
        s.stable_rs = "a".into();
        s.current_pod_hash = "a".into();
    };
    check(
        "paused at rest",
        held(conditioned(progressing(reason::NEW_RS_AVAILABLE))).status(promoted),
        Some(&[
            "Progressing True NewReplicaSetAvailable",
            "Paused True RolloutPaused",
        ]),
    );
    let stale = held(conditioned(progressing("ReplicaSetUpdated")));
    check(
        "a spec not yet observed",
        stale.with(|r| r.metadata.generation = Some(2)),
        None,
    );
}

fn web() -> RolloutBuilder {
    rollout("web")
        .replicas(2)
        .canary([weight(50), pause()])
        .status(|s| {
            s.replicas = 2;
            s.updated_replicas = 2;
            s.ready_replicas = 2;
            s.available_replicas = 2;
            s.current_pod_hash = "a".into();
            s.stable_rs = "a".into();
            s.current_step_index = Some(2);
        })
}

struct Seen {
    rollout: Rollout,
    new_rs: Arc<ReplicaSet>,
}

fn pass(seen: &Seen, aborted: Option<&str>, second: i64, next: &mut RolloutStatus) -> Vec<String> {
    let all = [seen.new_rs.clone()];
    let pass = Pass {
        rollout: &seen.rollout,
        new_rs: Some(&seen.new_rs),
        replica_sets: &all,
        revision: "2",
        aborted,
        exempt: Exempt::default(),
        now: at(second),
    };
    pass.apply(next)
        .into_iter()
        .map(|e| format!("{} {}", e.reason, e.message))
        .collect()
}

fn seen(builder: &RolloutBuilder, spec: i32, available: i32) -> (Seen, RolloutStatus) {
    let new_rs = replica_set(builder, "a", 2).size(spec, available).build();
    let rollout = builder.clone().build();
    let next = rollout.status.clone().unwrap();
    (Seen { rollout, new_rs }, next)
}

/// CTL-130, API-56, API-57: healthy, then a pod is lost, then nothing happens for too long.
#[test]
fn health_lost_and_deadline() {
    let (healthy, mut next) = seen(&web(), 2, 2);
    assert_eq!(pass(&healthy, None, 0, &mut next), Vec::<String>::new());
    assert_eq!(
        told(&next.conditions),
        [
            "Healthy True RolloutHealthy",
            "Progressing True NewReplicaSetAvailable",
            "Available True AvailableReason",
            "Completed True RolloutCompleted"
        ]
    );
    let (mut lost, mut next) = seen(
        &web().status(|s| s.conditions = next.conditions.clone()),
        2,
        1,
    );
    next.available_replicas = 1;
    pass(&lost, None, 10, &mut next);
    assert_eq!(
        told(&next.conditions),
        [
            "Completed True RolloutCompleted",
            "Healthy False RolloutHealthy",
            "Progressing True ReplicaSetNotAvailable",
            "Available False AvailableReason"
        ]
    );
    lost.rollout.status = Some(next.clone());
    pass(&lost, None, 611, &mut next);
    let progressing = get(&next.conditions, kind::PROGRESSING).unwrap();
    assert_eq!(
        progressing.message,
        "ReplicaSet \"web-a\" has timed out progressing."
    );
    assert_eq!(progressing.reason, reason::DEADLINE);
    next.available_replicas = 2;
    pass(&lost, None, 700, &mut next);
    assert_eq!(
        reason_of(&next.conditions, kind::PROGRESSING),
        reason::NEW_RS_AVAILABLE
    );
}

/// API-56: the pass that ends a pause and the update with it makes the Rollout healthy; one that is
/// held does not.
#[test]
fn health_after_a_pause() {
    let held = sluice_crds::rollout::PauseCondition {
        reason: PauseReason::CanaryPauseStep,
        start_time: t0().into(),
    };
    let (seen, mut next) = seen(&web().status(|s| s.pause_conditions = vec![held]), 2, 2);
    pass(&seen, None, 0, &mut next);
    assert!(get(&next.conditions, kind::HEALTHY).is_none());
    next.pause_conditions.clear();
    next.conditions.clear();
    pass(&seen, None, 0, &mut next);
    assert_eq!(
        told(&next.conditions),
        [
            "Healthy True RolloutHealthy",
            "Progressing True NewReplicaSetAvailable",
            "Available True AvailableReason",
            "Completed True RolloutCompleted"
        ]
    );
}

/// CTL-130: progress moves the update time, not the transition.
#[test]
fn progress_moves_the_update_time() {
    let (seen, mut next) = seen(&web().status(|s| s.stable_rs = "b".into()), 2, 1);
    next.available_replicas = 1;
    next.updated_replicas = 1;
    let events = pass(&seen, None, 0, &mut next);
    assert_eq!(
        events,
        ["RolloutNotCompleted Rollout not completed, started update to revision 2 (a)"]
    );
    let mut seen = seen;
    seen.rollout.status = Some(next.clone());
    next.available_replicas = 2;
    pass(&seen, None, 9, &mut next);
    let progressing = get(&next.conditions, kind::PROGRESSING).unwrap();
    assert_eq!(progressing.message, "ReplicaSet \"web-a\" is progressing.");
    assert_eq!(progressing.last_update_time.timestamp(), at(9));
    assert_eq!(progressing.last_transition_time.timestamp(), at(0));
}

/// CTL-139
#[test]
fn aborted_once() {
    let (mut seen, mut next) = seen(&web().status(|s| s.stable_rs = "b".into()), 2, 2);
    let events = pass(&seen, Some("no"), 0, &mut next);
    assert_eq!(
        events[0],
        "RolloutAborted Rollout aborted update to revision 2: no"
    );
    seen.rollout.status = Some(next.clone());
    assert_eq!(pass(&seen, Some("no"), 5, &mut next), Vec::<String>::new());
    assert_eq!(
        abort_message("2", ""),
        "Rollout aborted update to revision 2"
    );
}

/// API-56 ReplicaFailure
#[test]
fn replica_failure_is_copied() {
    let builder = web();
    let (mut seen, mut next) = seen(&builder, 2, 2);
    seen.new_rs = replica_set(&builder, "a", 2)
        .with(|rs| {
            rs.status = serde_json::from_value(serde_json::json!({"conditions": [{
                "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
                "message": "quota", "lastTransitionTime": "2026-11-21T03:44:51Z"}]}))
            .unwrap();
        })
        .build();
    pass(&seen, None, 0, &mut next);
    assert_eq!(
        get(&next.conditions, kind::REPLICA_FAILURE)
            .unwrap()
            .message,
        "quota"
    );
    seen.new_rs = replica_set(&builder, "a", 2).size(2, 2).build();
    pass(&seen, None, 0, &mut next);
    assert!(get(&next.conditions, kind::REPLICA_FAILURE).is_none());
}

/// API-56: blue-green is available when the active ReplicaSet is saturated.
#[test]
fn blue_green_availability() {
    let builder = rollout("web")
        .replicas(2)
        .blue_green("web", "")
        .status(|s| {
            s.current_pod_hash = "a".into();
            s.blue_green.active_selector = "a".into();
        });
    let (mut seen, mut next) = seen(&builder, 2, 2);
    pass(&seen, None, 0, &mut next);
    assert!(
        !is_true(&next.conditions, kind::AVAILABLE),
        "never sized for two"
    );
    seen.new_rs = replica_set(&builder, "a", 2)
        .size(2, 2)
        .annotation(keys::DESIRED_REPLICAS, "2")
        .build();
    pass(&seen, None, 0, &mut next);
    assert!(is_true(&next.conditions, kind::AVAILABLE));
}

/// CTL-131, CTL-133, CTL-134
#[test]
fn deadlines() {
    let stuck = vec![new(kind::PROGRESSING, "True", reason::UPDATED, "", t0())];
    let builder = web().status(|s| {
        s.stable_rs = "b".into();
        s.conditions = stuck.clone();
    });
    let builder = builder.with(|r| r.spec.progress_deadline_abort = true);
    let (seen, next) = seen(&builder, 2, 1);
    let none = Exempt::default();
    let abort = |second, exempt| {
        progress::deadline_abort(&seen.rollout, Some("web-a"), &next, exempt, at(second))
    };
    assert_eq!(abort(600, none), None);
    assert_eq!(
        abort(601, none).unwrap(),
        "ReplicaSet \"web-a\" has timed out progressing."
    );
    assert_eq!(abort(601, Exempt { step: true, ..none }), None);
    assert_eq!(
        abort(
            601,
            Exempt {
                draining: true,
                ..none
            }
        ),
        None
    );
    assert_eq!(
        progress::stuck_check(&seen.rollout, &next, none, at(5)),
        Some(at(601))
    );
    assert_eq!(
        progress::stuck_check(&seen.rollout, &next, none, at(900)),
        Some(at(900))
    );
    assert_eq!(
        progress::timeout_message("web", None),
        "Rollout \"web\" has timed out progressing."
    );
    let minute = SignedDuration::from_secs(60);
    for (reason, timed_out) in [
        (reason::ABORTED, false),
        (reason::PAUSED, false),
        (reason::DEADLINE, true),
    ] {
        let list = vec![new(kind::PROGRESSING, "True", reason, "", t0())];
        for second in [30, 900] {
            let told = progress::timed_out(&list, minute, at(second));
            assert_eq!(told, timed_out, "{reason} after {second} s");
        }
    }
    assert!(!progress::timed_out(&[], minute, at(900)));
}

/// INV-8: a pass over every record at rest changes nothing.
#[test]
fn records_at_rest_stay() {
    for file in ["1-rest.json", "4-promoted.json"] {
        for name in crate::testing::records::files(file) {
            let objects = crate::testing::records::objects(&name);
            let of_kind = |kind: &str| {
                let objects = objects.clone().into_iter();
                objects.filter(|o| o["kind"] == *kind).collect::<Vec<_>>()
            };
            let rollout: Rollout = serde_json::from_value(of_kind("Rollout").remove(0)).unwrap();
            let status = rollout.status.clone().unwrap();
            assert_eq!(pre_pass(&rollout, t0()), None, "{name}");
            if get(&status.conditions, kind::INVALID_SPEC).is_some() {
                continue;
            }
            let all: Vec<Arc<ReplicaSet>> = of_kind("ReplicaSet")
                .into_iter()
                .filter(|o| o["metadata"]["ownerReferences"][0]["kind"] == "Rollout")
                .map(|o| Arc::new(serde_json::from_value(o).unwrap()))
                .collect();
            let new_rs = all
                .iter()
                .find(|rs| rs.pod_hash() == Some(&status.current_pod_hash));
            let now = status
                .conditions
                .iter()
                .map(|c| c.last_update_time.timestamp())
                .max()
                .unwrap();
            let pass = Pass {
                rollout: &rollout,
                new_rs: new_rs.map(|rs| &**rs),
                replica_sets: &all,
                revision: "1",
                aborted: None,
                exempt: Exempt::default(),
                now: now + SignedDuration::from_secs(60),
            };
            let mut next = status.clone();
            let events = pass.apply(&mut next);
            assert_eq!(told(&next.conditions), told(&status.conditions), "{name}");
            assert_eq!(next, status, "{name}");
            assert_eq!(events, vec![], "{name}");
        }
    }
}

/// CTL-133, CTL-134, INV-8: a deadline that aborts runs until the update is over, though all pods are
/// there; at rest none runs.
#[test]
fn no_deadline_runs_at_rest() {
    for blue_green in [false, true] {
        let builder = rollout("web").replicas(2);
        let builder = if blue_green {
            builder.blue_green("active", "")
        } else {
            builder.canary([weight(50)])
        };
        let builder = builder
            .with(|r| r.spec.progress_deadline_abort = true)
            .status(|s| {
                s.replicas = 2;
                s.updated_replicas = 2;
                s.ready_replicas = 2;
                s.available_replicas = 2;
                s.current_pod_hash = "a".into();
                s.stable_rs = "a".into();
                s.blue_green.active_selector = "a".into();
                s.current_step_index = Some(1);
                s.conditions = vec![new(kind::PROGRESSING, "True", reason::UPDATED, "", t0())];
            });
        let rollout = builder.build();
        let check =
            |next: &RolloutStatus| progress::stuck_check(&rollout, next, Exempt::default(), at(5));
        let mut next = rollout.status.clone().unwrap();
        assert_eq!(check(&next), None, "blue-green: {blue_green}");
        next.stable_rs = "b".into();
        assert_eq!(check(&next), Some(at(601)), "blue-green: {blue_green}");
    }
}
