//! Which ReplicaSets belong to a Rollout, which is new, and how a revision begins.

use std::collections::BTreeMap;

use expect_test::expect;
use serde_json::json;
use sluice_crds::{RawPodTemplate, ReplicaSet, hash, keys};

use super::{deployed, traced};
use crate::decide::decide;
use crate::observed::{FailedWrite, Failure};
use crate::plan::{Action, Plan};
use crate::testing::world::World;
use crate::testing::{at, pause, replica_set, rollout, template, weight};

const V1: &str = "5dfb79b7ff";
const V2: &str = "84c5f745db";

fn plain() -> crate::testing::RolloutBuilder {
    rollout("web").replicas(4).canary([weight(25), pause()])
}

fn decided(world: &World) -> Plan {
    decide(&world.observe(), world.now)
}

fn created(plan: &Plan) -> Option<&ReplicaSet> {
    plan.actions
        .iter()
        .find_map(|planned| match &planned.action {
            Action::CreateReplicaSet(rs) => Some(&**rs),
            _ => None,
        })
}

fn set_mut<'w>(world: &'w mut World, hash: &str) -> &'w mut ReplicaSet {
    world.sets.get_mut(&format!("web-{hash}")).unwrap()
}

/// Names of the writes of a plan.
fn writes(plan: &Plan) -> String {
    let name = |action: &Action| {
        let text = format!("{action:?}");
        let end = text.find([' ', '(']).unwrap_or(text.len());
        text[..end].to_owned()
    };
    let all: Vec<String> = plan.actions.iter().map(|p| name(&p.action)).collect();
    all.join(" ")
}

/// CTL-22: all of the object that is created. `kubectl`'s and the notification engine's annotations
/// stay behind, labels come from the template.
#[test]
fn a_new_replica_set() {
    let mut world = deployed(
        plain()
            .annotation("team", "shop")
            .annotation(keys::LAST_APPLIED, "{}")
            .annotation(keys::NOTIFIED, "{}")
            .with(|r| {
                r.metadata.labels = Some(BTreeMap::from([("of".to_owned(), "rollout".to_owned())]));
                r.spec.min_ready_seconds = 7;
            }),
    );
    world.set_image("web:v2");
    let plan = decided(&world);
    let object = serde_json::to_value(created(&plan).unwrap()).unwrap();
    expect![[r#"
        {
          "apiVersion": "apps/v1",
          "kind": "ReplicaSet",
          "metadata": {
            "annotations": {
              "rollout.argoproj.io/desired-replicas": "4",
              "rollout.argoproj.io/revision": "2",
              "team": "shop"
            },
            "labels": {
              "app": "web",
              "rollouts-pod-template-hash": "84c5f745db"
            },
            "name": "web-84c5f745db",
            "namespace": "shop",
            "ownerReferences": [
              {
                "apiVersion": "argoproj.io/v1alpha1",
                "blockOwnerDeletion": true,
                "controller": true,
                "kind": "Rollout",
                "name": "web",
                "uid": "uid-web"
              }
            ]
          },
          "spec": {
            "minReadySeconds": 7,
            "replicas": 0,
            "selector": {
              "matchLabels": {
                "app": "web",
                "rollouts-pod-template-hash": "84c5f745db"
              }
            },
            "template": {
              "metadata": {
                "labels": {
                  "app": "web",
                  "rollouts-pod-template-hash": "84c5f745db"
                }
              },
              "spec": {
                "containers": [
                  {
                    "image": "web:v2",
                    "name": "web"
                  }
                ]
              }
            }
          }
        }"#]]
    .assert_eq(&format!("{object:#}"));
}

/// CTL-4: owner references take the children along.
#[test]
fn a_rollout_that_goes_is_left_alone() {
    let mut world = deployed(plain());
    world.set_image("web:v2");
    world.rollout.metadata.deletion_timestamp = Some(sluice_crds::Time::new(at(9)).into());
    let plan = decided(&world);
    assert!(plan.actions.is_empty() && plan.status.is_none() && plan.wake.is_none());
}

/// CTL-15
#[test]
fn ownership_follows_labels() {
    let world = deployed(plain());
    let check = |name: &str, change: &dyn Fn(&mut ReplicaSet), want: &str| {
        let mut world = world.clone();
        change(set_mut(&mut world, V1));
        assert_eq!(writes(&decided(&world)), want, "{name}");
    };
    let label = |rs: &mut ReplicaSet, key: &str, value: &str| {
        let labels = rs.metadata.labels.get_or_insert_default();
        labels.insert(key.to_owned(), value.to_owned());
    };
    check("at rest", &|_| {}, "");
    check(
        "not matching",
        &|rs| label(rs, "app", "other"),
        "ReleaseReplicaSet",
    );
    let orphan = |rs: &mut ReplicaSet| rs.metadata.owner_references = None;
    check("orphaned", &orphan, "AdoptReplicaSet");
    let going = |rs: &mut ReplicaSet| {
        orphan(rs);
        rs.metadata.deletion_timestamp = Some(sluice_crds::Time::new(at(9)).into());
    };
    check("orphaned and going", &going, "CreateReplicaSet");
    let foreign = |rs: &mut ReplicaSet| {
        rs.metadata.owner_references.as_mut().unwrap()[0].uid = "another".to_owned();
    };
    check("another's", &foreign, "CreateReplicaSet");
    let bare = |rs: &mut ReplicaSet| {
        rs.metadata
            .labels
            .as_mut()
            .unwrap()
            .remove(keys::POD_TEMPLATE_HASH);
    };
    check("without hash", &bare, "CreateReplicaSet");

    // What was refused is not asked for again at once.
    let mut world = world.clone();
    orphan(set_mut(&mut world, V1));
    let mut seen = world.observe();
    seen.failure = Some(Failure {
        what: FailedWrite::Other,
        object: format!("web-{V1}"),
        message: "no".to_owned(),
    });
    let plan = decide(&seen, world.now);
    assert!(!writes(&plan).contains("Adopt"), "{}", writes(&plan));
}

/// CTL-16, CTL-17, CTL-21, SE-1: a ReplicaSet that runs the template is new, under whatever hash,
/// and status goes by its label.
#[test]
fn what_runs_is_recognised() {
    let template = template("web", "web:v1");
    let mut known = hash::known_pod_template_hashes(&template, None);
    known.push("anything".to_owned());
    // As an API server stores it.
    let stored = json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": {
            "containers": [{ "name": "web", "image": "web:v1", "resources": {},
                "imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File" }],
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "securityContext": {},
            "schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30,
        },
    });
    let stored = RawPodTemplate::new(&stored);
    for hash in known {
        let of = plain().status(|s| {
            s.stable_rs.clone_from(&hash);
            s.current_pod_hash.clone_from(&hash);
        });
        let mut world = World::new(of.clone());
        let set = replica_set(&of, &hash, 1).size(4, 4);
        let mut set = ReplicaSet::clone(&set.build());
        set.spec.template = stored.with_label(keys::POD_TEMPLATE_HASH, &hash);
        world.sets.insert(format!("web-{hash}"), set);
        world.settle();
        assert_eq!(world.sets.len(), 1, "{hash}");
        assert_eq!(world.now_status().current_pod_hash, hash);
        assert_eq!(world.now_status().phase.as_str(), "Healthy", "{hash}");
    }
    // Of two that run it, the one that status calls current.
    for current in [V1, "anything"] {
        let of = plain().status(|s| {
            s.stable_rs = current.to_owned();
            s.current_pod_hash = current.to_owned();
        });
        let mut world = World::new(of.clone());
        for hash in [V1, "anything"] {
            let size = if hash == current { 4 } else { 0 };
            let set = replica_set(&of, hash, 1).size(size, size);
            let mut set = ReplicaSet::clone(&set.build());
            set.spec.template = stored.with_label(keys::POD_TEMPLATE_HASH, hash);
            world.sets.insert(format!("web-{hash}"), set);
        }
        world.settle();
        assert_eq!(world.now_status().current_pod_hash, current);
        assert_eq!(world.size_text(), "4/0", "{current}");
    }
}

/// CTL-19, CTL-23: a name that belongs to somebody else counts as a collision, the next hash has
/// another name.
#[test]
fn a_taken_name_counts_as_collision() {
    let mut world = deployed(plain());
    world.set_image("web:v2");
    let mut names = Vec::new();
    for count in 1..3 {
        let next = created(&decided(&world)).unwrap().metadata.name.clone();
        names.push(next.clone().unwrap());
        let mut seen = world.observe();
        seen.taken_names.extend(names.iter().cloned());
        let plan = decide(&seen, world.now);
        assert_eq!(writes(&plan), "");
        assert_eq!(plan.wake, Some(world.now));
        world.execute(&plan, usize::MAX);
        assert_eq!(world.now_status().collision_count, Some(count));
    }
    world.settle();
    assert_eq!(world.sets.len(), 2);
    assert!(world.sets.keys().all(|name| !names.contains(name)));
    let found = created(&decided(&world)).is_none();
    assert!(found, "the hash goes by the count from now on");
}

/// CTL-23: any other error is told once, and tried again.
#[test]
fn a_creation_that_fails_is_told() {
    let mut world = deployed(plain());
    world.set_image("web:v2");
    let mut seen = world.observe();
    seen.failure = Some(Failure {
        what: FailedWrite::CreateReplicaSet,
        object: format!("web-{V2}"),
        message: "exceeded quota".to_owned(),
    });
    let plan = decide(&seen, world.now);
    assert_eq!(writes(&plan), "");
    let [event] = &plan.events[..] else {
        panic!("{:?}", plan.events)
    };
    expect![[r#"Event { kind: Warning, reason: "ReplicaSetCreateError", message: "Failed to create new replica set \"web-84c5f745db\": exceeded quota" }"#]].assert_eq(&format!("{event:?}"));
    let conditions = plan.status.as_ref().unwrap().conditions.last().unwrap();
    expect![[r#"Progressing False ReplicaSetCreateError: Failed to create new replica set "web-84c5f745db": exceeded quota"#]].assert_eq(&format!(
        "{} {} {}: {}",
        conditions.r#type, conditions.status, conditions.reason, conditions.message
    ));
    world.execute(&plan, usize::MAX);
    let mut again = world.observe();
    again.failure = seen.failure;
    assert!(created(&decide(&again, world.now)).is_some());
}

/// CTL-24, SE-13: annotations are added, never removed; only the new ReplicaSet follows, and only a
/// raised revision is history.
#[test]
fn the_new_replica_set_keeps_in_step() {
    let mut world = deployed(plain().annotation("team", "shop").annotation("old", "yes"));
    let text = |world: &World, hash: &str| {
        let set = world.set_of(hash).unwrap();
        let annotations = set.metadata.annotations.clone().unwrap();
        format!("ready {} {annotations:?}", set.spec.min_ready_seconds)
    };
    world.edit(|r| {
        let annotations = r.metadata.annotations.as_mut().unwrap();
        annotations.insert("team".to_owned(), "cart".to_owned());
        annotations.remove("old");
        r.spec.min_ready_seconds = 3;
    });
    world.settle();
    expect![[r#"ready 3 {"old": "yes", "rollout.argoproj.io/desired-replicas": "4", "rollout.argoproj.io/revision": "1", "team": "cart"}"#]].assert_eq(&text(&world, V1));
    for (version, seconds) in [("web:v2", 5), ("web:v1", 6), ("web:v2", 7), ("web:v1", 8)] {
        world.advance(60);
        world.set_image(version);
        world.edit(|r| r.spec.min_ready_seconds = seconds);
        world.settle();
    }
    expect![[r#"
        ready 8 {"old": "yes", "rollout.argoproj.io/desired-replicas": "4", "rollout.argoproj.io/revision": "5", "rollout.argoproj.io/revision-history": "1,3", "team": "cart"}
        ready 7 {"rollout.argoproj.io/desired-replicas": "4", "rollout.argoproj.io/revision": "4", "rollout.argoproj.io/revision-history": "2", "team": "cart"}"#]].assert_eq(&format!("{}\n{}", text(&world, V1), text(&world, V2)));
    let revision = world.rollout.metadata.annotations.as_ref().unwrap();
    assert_eq!(revision[keys::REVISION], "5");
}

/// CTL-24: what is there already is said when nothing was said before.
#[test]
fn a_found_replica_set_is_told() {
    let of = plain();
    let mut world = World::new(of.clone());
    let set = ReplicaSet::clone(&replica_set(&of, V1, 1).size(4, 1).build());
    world.sets.insert(format!("web-{V1}"), set);
    let told = traced(&mut world);
    assert!(!told.contains("NewReplicaSetCreated"), "{told}");
    let condition = crate::conditions::replica_set_found("web-a", at(0));
    assert_eq!(condition.message, "Found new replica set \"web-a\"");
    assert_eq!(condition.reason, "FoundNewReplicaSet");
}

/// CTL-25: only the oldest beyond the limit are looked at, and of these those with pods, or that
/// nobody has observed, stay without substitute. What is being deleted does not count.
#[test]
fn history_is_cut_from_its_old_end() {
    let history = |limit: Option<i32>, change: &dyn Fn(&str, &mut ReplicaSet)| {
        let of = plain().with(|r| r.spec.revision_history_limit = limit);
        let mut world = deployed(of.clone());
        // Created before the current one, as their revisions say.
        for revision in 1..=5 {
            let hash = format!("old{revision}");
            let mut set = ReplicaSet::clone(&replica_set(&of, &hash, -revision).size(0, 0).build());
            let age = at(revision * 60 - 3600);
            set.metadata.creation_timestamp = Some(sluice_crds::Time::new(age).into());
            set.spec.template = template("web", &format!("web:{hash}"));
            set.metadata.annotations = Some(BTreeMap::from([(
                keys::REVISION.to_owned(),
                "0".to_owned(),
            )]));
            change(&hash, &mut set);
            world.sets.insert(format!("web-{hash}"), set);
        }
        let plan = decided(&world);
        let deleted: Vec<&str> = plan
            .actions
            .iter()
            .filter_map(|planned| match &planned.action {
                Action::DeleteReplicaSet { name } => Some(name.trim_start_matches("web-")),
                _ => None,
            })
            .collect();
        deleted.join(" ")
    };
    assert_eq!(history(None, &|_, _| {}), "", "ten by default");
    assert_eq!(history(Some(5), &|_, _| {}), "");
    assert_eq!(history(Some(3), &|_, _| {}), "old1 old2");
    assert_eq!(history(Some(0), &|_, _| {}), "old1 old2 old3 old4 old5");
    let pods = |hash: &str, set: &mut ReplicaSet| {
        if hash == "old1" {
            set.status.get_or_insert_default().replicas = 1;
        }
    };
    assert_eq!(history(Some(3), &pods), "old2");
    let unseen = |hash: &str, set: &mut ReplicaSet| {
        if hash == "old2" {
            set.metadata.generation = Some(2);
        }
    };
    assert_eq!(history(Some(3), &unseen), "old1");
    let going = |hash: &str, set: &mut ReplicaSet| {
        if hash == "old1" {
            set.metadata.deletion_timestamp = Some(sluice_crds::Time::new(at(9)).into());
        }
    };
    assert_eq!(history(Some(3), &going), "old2");
}

/// CTL-130: a ReplicaSet that cannot make pods is a condition of the Rollout, which goes with it.
#[test]
fn replica_failure_comes_and_goes() {
    let mut world = deployed(plain());
    let status = json!({ "replicas": 4, "readyReplicas": 4, "availableReplicas": 4,
        "observedGeneration": 1, "conditions": [{ "type": "ReplicaFailure", "status": "True",
            "reason": "FailedCreate", "message": "quota", "lastTransitionTime": "2027-01-15T08:00:00Z" }] });
    set_mut(&mut world, V1).status = Some(serde_json::from_value(status).unwrap());
    let plan = decided(&world);
    let conditions = plan.status.unwrap().conditions;
    let failure = crate::conditions::get(&conditions, "ReplicaFailure").unwrap();
    assert_eq!(
        (failure.reason.as_str(), failure.message.as_str()),
        ("FailedCreate", "quota")
    );
    world.rollout.status.as_mut().unwrap().conditions = conditions;
    world.settle();
    assert!(crate::conditions::get(&world.now_status().conditions, "ReplicaFailure").is_none());
}
