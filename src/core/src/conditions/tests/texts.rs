//! Every text that a condition may have.

use super::*;

fn said(conditions: &[RolloutCondition]) -> Vec<String> {
    conditions
        .iter()
        .map(|c| format!("{} {} {}: {}", c.r#type, c.status, c.reason, c.message))
        .collect()
}

/// API-56: conditions of a Rollout that is healthy, and of one that no longer is.
#[test]
fn of_a_rollout() {
    let (mut seen, mut next) = seen(&web(), 2, 2);
    pass(&seen, None, 0, &mut next);
    assert_eq!(
        said(&next.conditions),
        [
            "Healthy True RolloutHealthy: Rollout is healthy",
            "Progressing True NewReplicaSetAvailable: ReplicaSet \"web-a\" has successfully progressed.",
            "Available True AvailableReason: Rollout has minimum availability",
            "Completed True RolloutCompleted: RolloutCompleted",
        ]
    );
    seen.new_rs = replica_set(&web(), "a", 2).size(2, 1).build();
    seen.rollout.status = Some(next.clone());
    next.available_replicas = 1;
    next.stable_rs = "b".into();
    pass(&seen, None, 5, &mut next);
    assert_eq!(
        said(&next.conditions),
        [
            "Healthy False RolloutHealthy: Rollout is not healthy",
            "Progressing True ReplicaSetUpdated: ReplicaSet \"web-a\" is progressing.",
            "Available False AvailableReason: Rollout does not have minimum availability",
            "Completed False RolloutCompleted: RolloutCompleted",
        ]
    );
}

/// API-59: what `Progressing` says.
#[test]
fn of_progress() {
    let one = |condition: RolloutCondition| said(&[condition]).remove(0);
    assert_eq!(
        one(replica_set_created("web-a", t0())),
        "Progressing True NewReplicaSetCreated: Created new replica set \"web-a\""
    );
    assert_eq!(
        one(replica_set_found("web-a", t0())),
        "Progressing True FoundNewReplicaSet: Found new replica set \"web-a\""
    );
    assert_eq!(
        one(replica_set_failed("web-a", "quota", t0())),
        "Progressing False ReplicaSetCreateError: Failed to create new replica set \"web-a\": quota"
    );
    let progressing = |seen: &Seen, aborted: Option<&str>, change: fn(&mut RolloutStatus)| {
        let mut next = seen.rollout.status.clone().unwrap();
        change(&mut next);
        let pass = Pass {
            rollout: &seen.rollout,
            new_rs: None,
            replica_sets: &[],
            revision: "2",
            aborted,
            exempt: Exempt::default(),
            now: at(700),
        };
        pass.apply(&mut next);
        one(get(&next.conditions, kind::PROGRESSING).unwrap().clone())
    };
    let stuck = new(kind::PROGRESSING, "True", reason::UPDATED, "", t0());
    let builder = web().status(|s| {
        s.stable_rs = "b".into();
        s.conditions = vec![stuck];
    });
    let (seen, _) = seen(&builder, 2, 1);
    assert_eq!(
        progressing(&seen, None, |_| {}),
        "Progressing False ProgressDeadlineExceeded: Rollout \"web\" has timed out progressing."
    );
    assert_eq!(
        progressing(&seen, None, |s| s.updated_replicas = 1),
        "Progressing True ReplicaSetUpdated: Rollout \"web\" is progressing."
    );
    assert_eq!(
        progressing(&seen, Some(""), |_| {}),
        "Progressing False RolloutAborted: Rollout aborted update to revision 2"
    );
    assert_eq!(
        progressing(&seen, Some("no"), |_| {}),
        "Progressing False RolloutAborted: Rollout aborted update to revision 2: no"
    );
}

/// API-58, CTL-8: what a pause, a resume and a retry say.
#[test]
fn of_pauses() {
    let told = |rollout: RolloutBuilder| said(&pre_pass(&rollout.build(), at(5)).unwrap());
    let started = new(kind::PROGRESSING, "True", reason::UPDATED, "", t0());
    let paused = conditioned(vec![started]).with(|r| r.spec.paused = true);
    let texts = told(paused.clone());
    assert_eq!(
        texts,
        [
            "Progressing Unknown RolloutPaused: Rollout is paused",
            "Paused True RolloutPaused: Rollout is paused",
        ]
    );
    let conditions = pre_pass(&paused.build(), at(5)).unwrap();
    assert_eq!(
        told(conditioned(conditions)),
        [
            "Progressing Unknown RolloutResumed: Rollout is resumed",
            "Paused False RolloutPaused: Rollout is paused",
        ]
    );
    let aborted = new(kind::PROGRESSING, "False", reason::ABORTED, "", t0());
    assert_eq!(
        told(conditioned(vec![aborted])),
        ["Progressing Unknown RolloutRetry: Retrying Rollout after abort"]
    );
}
