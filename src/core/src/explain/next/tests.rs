//! Every write has words of its own, and so has every turn of the status (INV-15).

use expect_test::expect;
use serde_json::json;

use super::*;
use crate::plan::Planned;
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, pause, replica_set, rollout, weight};

const NAME: &str = "web-84c5f745db";

fn web() -> RolloutBuilder {
    rollout("web").replicas(4).canary([weight(25), pause()])
}

fn want() -> Want {
    Want {
        canary_hash: "84c5f745db".to_owned(),
        stable_hash: "5dfb79b7ff".to_owned(),
        canary_service: "web-canary".to_owned(),
        stable_service: "web-stable".to_owned(),
        weight: 20,
        max_weight: 100,
        additional: Vec::new(),
        header_route: None,
        mirror_route: None,
        remove_managed_routes: false,
        only_remove_managed_routes: false,
        weight_before_hash: false,
        keep_hashes: false,
    }
}

/// The clauses of a plan with these writes.
fn told(actions: impl IntoIterator<Item = Action>) -> String {
    let world = World::new(web());
    let plan = Plan {
        actions: actions.into_iter().map(Planned::from).collect(),
        ..Plan::default()
    };
    let sets = [replica_set(&web(), "84c5f745db", 2).size(1, 1).build()];
    of(&world.observe(), &plan, &sets).join("\n")
}

#[test]
fn writes_of_replica_sets() {
    let made = |size| {
        let set = replica_set(&web(), "84c5f745db", 2).size(size, 0).build();
        Action::CreateReplicaSet(Box::new((*set).clone()))
    };
    let patched = |patch| Action::PatchReplicaSet {
        name: NAME.to_owned(),
        guard: "1".to_owned(),
        patch,
    };
    let deadline = |value: Value| json!({ "metadata": { "annotations": { keys::SCALE_DOWN_DEADLINE: value } } });
    let (name, guard) = (NAME.to_owned(), "1".to_owned());
    expect![[r#"
        set spec.replicas of the Rollout to 1
        note the new revision on the Rollout
        create ReplicaSet web-84c5f745db with 1 pod
        create ReplicaSet web-84c5f745db with 3 pods
        take over ReplicaSet web-84c5f745db
        give up ReplicaSet web-84c5f745db, which no longer matches the selector
        scale ReplicaSet web-84c5f745db from 1 to 2 pods
        start the scale-down delay of ReplicaSet web-84c5f745db
        lift the scale-down delay of ReplicaSet web-84c5f745db
        bring annotations and template of ReplicaSet web-84c5f745db up to date
        delete the old ReplicaSet web-84c5f745db (revisionHistoryLimit)"#]]
    .assert_eq(&told([
        Action::PatchRollout {
            patch: json!({ "spec": { "replicas": 1 } }),
        },
        Action::PatchRollout {
            patch: json!({ "metadata": {} }),
        },
        made(1),
        made(3),
        Action::AdoptReplicaSet {
            name: name.clone(),
            guard: guard.clone(),
        },
        Action::ReleaseReplicaSet {
            name: name.clone(),
            guard,
        },
        patched(json!({ "spec": { "replicas": 2 } })),
        patched(deadline(json!("2027-01-15T08:00:00Z"))),
        patched(deadline(Value::Null)),
        patched(json!({ "spec": { "minReadySeconds": 3 } })),
        Action::DeleteReplicaSet { name },
    ]));
}

#[test]
fn writes_of_traffic() {
    let service = |patch| Action::PatchService {
        name: "web-canary".to_owned(),
        patch,
    };
    let selects = |hash: &str| json!({ "spec": { "selector": { keys::POD_TEMPLATE_HASH: hash } } });
    let route = |change: fn(&mut Want)| {
        let mut want = want();
        change(&mut want);
        Action::Route(Box::new(want))
    };
    expect![[r#"
        point Service web-canary at ReplicaSet web-84c5f745db
        point Service web-canary at hash 5dfb79b7ff
        mark Service web-canary as managed
        send 20 % of the requests to the canary
        send 20 of 1000 parts of the requests to the canary
        set the header route by-header
        set the mirror route a-mirror"#]]
    .assert_eq(&told([
        service(selects("84c5f745db")),
        service(selects("5dfb79b7ff")),
        service(json!({ "metadata": { "annotations": { keys::MANAGED_BY: "web" } } })),
        route(|_| {}),
        route(|want| want.max_weight = 1000),
        route(|want| {
            let header = json!({ "name": "by-header", "match": [] });
            want.header_route = Some(serde_json::from_value(header).unwrap());
        }),
        route(|want| {
            let mirror = json!({ "name": "a-mirror", "match": [], "percentage": 5 });
            want.mirror_route = Some(serde_json::from_value(mirror).unwrap());
        }),
        // Removing what is not there needs no words.
        route(|want| want.only_remove_managed_routes = true),
    ]));
}

#[test]
fn writes_of_all_else() {
    let run = crate::testing::analysis_run("check", []);
    let experiment = serde_json::from_value::<sluice_crds::Experiment>(json!({
        "apiVersion": keys::API_VERSION, "kind": "Experiment",
        "metadata": { "name": "try" }, "spec": { "templates": [] } }));
    let name = || "it".to_owned();
    expect![[r#"
        start AnalysisRun check
        end AnalysisRun it
        delete the old AnalysisRun it
        start Experiment try
        end Experiment it
        delete the old Experiment it
        change labels and annotations of pod it
        restart pod it
        scale the referenced workload it to 0 pods"#]]
    .assert_eq(&told([
        Action::CreateAnalysisRun(Box::new(run)),
        Action::TerminateAnalysisRun { name: name() },
        Action::DeleteAnalysisRun { name: name() },
        Action::CreateExperiment(Box::new(experiment.unwrap())),
        Action::TerminateExperiment { name: name() },
        Action::DeleteExperiment { name: name() },
        Action::PatchPod {
            name: name(),
            labels: [].into(),
            annotations: [].into(),
        },
        Action::EvictPod { name: name() },
        Action::ScaleWorkload {
            name: name(),
            replicas: 0,
        },
    ]));
}

/// The clauses of a plan that writes this status after that one.
fn turned(change: fn(&mut RolloutStatus)) -> String {
    let mut world = World::new(web());
    world.status(|status| {
        status.stable_rs = "5dfb79b7ff".to_owned();
        status.current_pod_hash = "84c5f745db".to_owned();
        status.current_step_index = Some(0);
    });
    let mut next = world.now_status();
    change(&mut next);
    let plan = Plan {
        status: Some(Box::new(next)),
        ..Plan::default()
    };
    of(&world.observe(), &plan, &[]).join("\n")
}

#[test]
fn turns_of_the_status() {
    let promoted: fn(&mut RolloutStatus) = |next| {
        next.stable_rs.clone_from(&next.current_pod_hash);
        next.current_step_index = Some(2);
    };
    assert_eq!(turned(|_| {}), "");
    assert_eq!(turned(|next| next.abort = true), "abort the update");
    assert_eq!(
        turned(promoted),
        "make the new version the stable one: the update is complete"
    );
    assert_eq!(
        turned(|next| next.current_step_index = Some(1)),
        "go on to step 2/2, pause"
    );
    assert_eq!(
        turned(|next| next.current_step_index = Some(2)),
        "",
        "no such step"
    );
}
