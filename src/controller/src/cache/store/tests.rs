use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use sluice_crds::{ReplicaSet, Rollout};

use super::*;

fn object(name: &str, uid: &str, version: &str, owner: Option<&str>) -> ReplicaSet {
    let mut object = ReplicaSet::new(name, Default::default());
    object.metadata.namespace = Some("ns".into());
    object.metadata.uid = Some(uid.into());
    object.metadata.resource_version = Some(version.into());
    object.metadata.owner_references = owner.map(|uid| {
        vec![OwnerReference {
            uid: uid.into(),
            controller: Some(true),
            ..Default::default()
        }]
    });
    object
}

fn versions(store: &Store<ReplicaSet>) -> Vec<String> {
    let all = store.all();
    let text = |o: &Arc<ReplicaSet>| {
        let meta = &o.metadata;
        format!(
            "{}@{}",
            meta.name.as_deref().unwrap(),
            meta.resource_version.as_deref().unwrap()
        )
    };
    all.iter().map(text).collect()
}

/// CTL-2, INV-6, D3: an event that was under way while we wrote does not take the write back.
#[test]
fn an_older_event_never_overwrites_a_write() {
    let store = Store::default();
    assert!(store.apply(object("a", "1", "10", None)).is_some());
    store.observe_write(object("a", "1", "12", None));
    assert!(store.apply(object("a", "1", "11", None)).is_none(), "older");
    assert!(
        store.apply(object("a", "1", "12", None)).is_none(),
        "our own write comes back"
    );
    assert_eq!(versions(&store), ["a@12"]);
    assert!(store.apply(object("a", "1", "13", None)).is_some(), "newer");
    let kept = store.observe_write(object("a", "1", "12", None));
    assert_eq!(
        kept.metadata.resource_version.as_deref(),
        Some("13"),
        "the event was faster"
    );
}

#[test]
fn a_deleted_object_does_not_come_back_but_its_namesake_does() {
    let store = Store::default();
    store.apply(object("a", "1", "10", None));
    store.observe_delete(&Key::new("ns", "a"));
    assert!(store.apply(object("a", "1", "11", None)).is_none());
    assert!(store.apply(object("a", "2", "12", None)).is_some());
    assert!(
        store.delete(&object("a", "1", "13", None)).is_none(),
        "the end of the first"
    );
    assert_eq!(versions(&store), ["a@12"]);
}

/// FLT-3: what a new list does not contain is gone, what was written during the list is not.
#[test]
fn a_new_list_replaces_the_old_one() {
    let store = Store::default();
    store.begin_list();
    store.listed(object("a", "1", "1", None));
    store.listed(object("b", "2", "2", None));
    assert!(!store.is_synced());
    assert!(store.end_list().is_empty());
    assert!(store.is_synced());
    store.begin_list();
    store.listed(object("b", "2", "2", None));
    store.observe_write(object("c", "3", "9", None));
    let gone = store.end_list();
    assert_eq!(gone.len(), 1);
    assert_eq!(versions(&store), ["b@2", "c@9"]);
    store.begin_list();
    assert_eq!(store.end_list().len(), 2, "the next list counts for all");
}

#[test]
fn owners_are_indexed() {
    let store = Store::default();
    store.apply(object("a", "1", "1", Some("owner")));
    store.apply(object("b", "2", "2", None));
    let names = |found: Vec<Arc<ReplicaSet>>| -> Vec<String> {
        found
            .iter()
            .map(|o| o.metadata.name.clone().unwrap())
            .collect()
    };
    assert_eq!(names(store.owned_by("owner")), ["a"]);
    assert_eq!(names(store.orphans("ns")), ["b"]);
    store.apply(object("b", "2", "3", Some("owner")));
    assert_eq!(names(store.owned_by("owner")), ["a", "b"]);
    assert!(store.orphans("ns").is_empty());
    store.delete(&object("a", "1", "4", None));
    assert_eq!(names(store.owned_by("owner")), ["b"]);
    assert_eq!(names(store.in_namespace("ns")), ["b"]);
    assert!(store.in_namespace("n").is_empty());
}

/// Design §5: a ReplicaSet at rest is kept as text, and nobody can tell.
#[test]
fn what_rests_is_packed() {
    let mut resting: ReplicaSet = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "a", "namespace": "ns", "uid": "1", "resourceVersion": "10",
            "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": "web"}, "annotations": {"rollout.argoproj.io/revision": "1"},
            "ownerReferences": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
                "name": "web", "uid": "owner", "controller": true, "blockOwnerDeletion": true}]},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}},
        "status": {"replicas": 2, "readyReplicas": 2, "availableReplicas": 2,
            "fullyLabeledReplicas": 2, "observedGeneration": 2},
    }))
    .unwrap();
    assert!(resting.packed().is_some());
    let store = Store::default();
    store.apply(resting.clone());
    let key = Key::new("ns", "a");
    assert_eq!(*store.get(&key).unwrap(), resting);
    assert_eq!(*store.owned_by("owner")[0], resting);
    assert_eq!(*store.in_namespace("ns")[0], resting);
    assert!(store.apply(resting.clone()).is_none(), "nothing new");

    resting.metadata.resource_version = Some("11".into());
    resting.spec.replicas = Some(0);
    resting.metadata.generation = Some(3);
    assert!(resting.packed().is_none(), "its pods still go");
    let Some(Change::Applied {
        before: Some(before),
        ..
    }) = store.apply(resting.clone())
    else {
        panic!("a newer version counts");
    };
    assert_eq!(before.spec.replicas, Some(2));
    assert_eq!(*store.get(&key).unwrap(), resting);
    assert!(store.observe_delete(&key).is_some() && store.owned_by("owner").is_empty());
}

/// Design §5: so is a Rollout that rests.
#[test]
fn a_rollout_that_rests_is_packed() {
    let mut rollout: Rollout = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "1", "resourceVersion": "10",
            "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"rollout.argoproj.io/revision": "1"}},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}},
            "strategy": {"canary": {"maxSurge": "25%", "steps": [{"setWeight": 20}, {"pause": {}}]}}},
        "status": {"phase": "Paused", "observedGeneration": "2", "currentPodHash": "a",
            "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "2026-01-01T00:00:00Z"}],
            "canary": {"weights": {"canary": {"weight": 20}, "stable": {"weight": 80}}},
            "blueGreen": {}},
    }))
    .unwrap();
    assert!(rollout.packed().is_some());
    let store = Store::default();
    store.apply(rollout.clone());
    assert_eq!(*store.get(&Key::new("ns", "web")).unwrap(), rollout);
    let names = store.each(|rollout| rollout.metadata.name.clone());
    assert_eq!(names, [Some("web".to_owned())]);
    rollout.metadata.generation = Some(3);
    assert!(rollout.packed().is_none(), "it is about to be looked at");
}

/// Design §5: the answer to a write is kept no larger than what a watch brings, and one copy of a
/// template serves all versions of an object.
#[test]
fn the_answer_to_a_write_is_trimmed_and_shared() {
    let template = serde_json::json!({"metadata": {"labels": {"app": "web"}}});
    let with = |version: &str| {
        let mut object = object("a", "1", version, None);
        object.metadata.managed_fields = Some(vec![Default::default()]);
        object.spec.template = sluice_crds::RawPodTemplate::new(&template);
        object
    };
    let store = Store::default();
    let first = store.observe_write(with("10"));
    assert_eq!(first.metadata.managed_fields, None);
    let written = store.observe_write(with("11"));
    let Some(Change::Applied { now: watched, .. }) = store.apply(with("12")) else {
        panic!("a newer version counts");
    };
    for later in [written, watched] {
        let (first, later) = (&first.spec.template, &later.spec.template);
        assert_eq!(first.as_str().as_ptr(), later.as_str().as_ptr());
    }
}
