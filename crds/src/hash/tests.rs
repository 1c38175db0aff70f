use serde_json::{Value, json};

use super::*;
use crate::keys;
use crate::replica_set::ReplicaSet;
use crate::rollout::Rollout;

fn container(name: &str) -> Value {
    json!({ "name": name, "image": "nginx:1.19-alpine",
        "ports": [{ "name": "http", "containerPort": 80, "protocol": "TCP" }],
        "resources": { "requests": { "cpu": "5m", "memory": "16Mi" } } })
}

/// CTL-19: golden hashes, today's and those of releases up to 1.8.
#[test]
fn golden_pod_hashes() {
    let first = json!({ "metadata": { "labels": { "app": "canary-scaledowndelay" } },
        "spec": { "containers": [container("canary-scaledowndelay")] } });
    let second = json!({ "metadata": { "labels": { "app": "dynamic-stable-scale" } },
        "spec": { "containers": [container("dynamic-stable-scale")],
            "readinessGates": [{ "conditionType": "argoproj.io/e2e-readiness" }] } });
    let defaulted = json!({ "metadata": { "labels": { "app": "workload" } }, "spec": {
        "containers": [{ "name": "web", "image": "web:v1",
            "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }],
            "resources": { "requests": { "cpu": "1m", "memory": "8Mi" } },
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "imagePullPolicy": "IfNotPresent" }],
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst", "securityContext": {},
        "schedulerName": "default-scheduler" } });
    for (template, count, want, old) in [
        (&first, None, "674d8cf959", Some("66597877b7")),
        (&first, Some(0), "68785fb4f5", None),
        (&first, Some(1), "dbc977b9d", None),
        (&second, None, "6b56c8cdb4", Some("868d98995b")),
        (&defaulted, None, "7b896667d9", None),
    ] {
        let template = RawPodTemplate::new(template);
        assert_eq!(pod_template_hash(&template, count), want);
        let known = known_pod_template_hashes(&template, count);
        assert_eq!(known.len(), 2);
        if let Some(old) = old {
            assert_eq!(known[1], old);
        }
    }
}

/// CTL-3, CTL-19: quantities in canonical form, escapes, members nobody wrote.
#[test]
fn encodings() {
    let template = json!({ "spec": { "containers": [{ "name": "a<b", "image": "x",
        "resources": { "limits": { "memory": "1024Mi", "cpu": "0.001" } }, "args": [],
        "stdin": false, "tomorrow": 1,
        "readinessProbe": { "httpGet": { "port": 80 }, "periodSeconds": 5 } }],
        "volumes": [{ "name": "v", "emptyDir": { "sizeLimit": "0.5Gi" } }] } });
    let got = encode::pod_template(&template, Form::Hash { unknown: true });
    expect_test::expect![[r#"{"metadata":{},"spec":{"volumes":[{"name":"v","emptyDir":{"sizeLimit":"512Mi"}}],"containers":[{"name":"a\u003cb","image":"x","resources":{"limits":{"cpu":"1m","memory":"1Gi"}},"readinessProbe":{"httpGet":{"port":80},"periodSeconds":5},"tomorrow":1}]}}"#]]
    .assert_eq(&got);
    let empty = encode::pod_template(&json!({}), Form::OldHash);
    assert_eq!(
        empty,
        r#"{"metadata":{"creationTimestamp":null},"spec":{"containers":null}}"#
    );
}

fn steps(steps: Value) -> Vec<CanaryStep> {
    serde_json::from_value(steps).unwrap()
}

/// CTL-92, API-35
#[test]
fn golden_step_hashes() {
    for (json, want) in [
        (json!([]), "5ffbfbbd64"),
        (json!([{ "pause": {} }]), "6b9b86fbd5"),
        (json!([{ "pause": {} }, { "pause": {} }]), "79c9b9f6bf"),
        (json!([{ "setWeight": 10 }, { "pause": {} }]), "849b756fd4"),
        (
            json!([{ "setWeight": 10 }, { "pause": { "duration": 60 } },
                { "setCanaryScale": { "matchTrafficWeight": true } },
                { "pause": { "duration": "5m" } }]),
            "789854df8",
        ),
        (
            json!([{ "setWeight": 10 },
                { "setHeaderRoute": { "name": "by-agent", "match": [
                    { "headerName": "User-Agent", "headerValue": { "regex": ".*beta.*" } }] } },
                { "setMirrorRoute": { "name": "shadow", "percentage": 35, "match": [
                    { "method": { "exact": "GET" }, "path": { "prefix": "/read" } }] } },
                { "setCanaryScale": { "replicas": 3 } }, { "pause": {} }]),
            "5b7df756cc",
        ),
        (
            json!([{ "experiment": { "duration": "1h", "templates": [
                    { "name": "baseline", "specRef": "stable" },
                    { "name": "canary", "specRef": "canary",
                        "metadata": { "labels": { "arm": "canary" } } }] } },
                { "setWeight": 50 }, { "pause": {} }]),
            "6b88c754b8",
        ),
        (
            json!([{ "setWeight": 20 },
                { "analysis": { "templates": [{ "templateName": "job-ok" }], "args": [
                    { "name": "hash", "valueFrom": { "podTemplateHashValue": "Latest" } }] } },
                { "pause": {} }]),
            "54f964cf5",
        ),
    ] {
        let steps = steps(json);
        assert_eq!(step_hash(&steps), want);
        assert!(is_step_hash(want, &steps));
    }
}

/// API-35: an explicit `clusterScope: false` is accepted in either form.
#[test]
fn step_hash_of_older_releases() {
    let with = steps(json!([{ "analysis": { "templates": [
        { "templateName": "a", "clusterScope": false }] } }]));
    let without = steps(json!([{ "analysis": { "templates": [{ "templateName": "a" }] } }]));
    assert_ne!(step_hash(&with), step_hash(&without));
    assert!(is_step_hash(&step_hash(&without), &with));
    assert!(!is_step_hash(&step_hash(&with), &without));
}

fn records() -> Vec<Vec<Value>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/fixtures/peer");
    let mut records = Vec::new();
    for dir in std::fs::read_dir(folder)
        .unwrap()
        .map(|d| d.unwrap().path())
    {
        if dir.is_dir() {
            for file in std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()) {
                if file.extension().is_some_and(|e| e == "json") {
                    let list: Value =
                        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
                    records.push(list["items"].as_array().unwrap().clone());
                }
            }
        }
    }
    records
}

/// CTL-19, CTL-20, CTL-92: every Rollout on record has the hashes that we compute, and the
/// ReplicaSet of its template is told from all others by equality alone.
#[test]
fn recorded_hashes() {
    let (mut pod_hashes, mut step_hashes, mut equal, mut different) = (0, 0, 0, 0);
    for items in records() {
        let of_kind = |kind: &'static str| items.iter().filter(move |i| i["kind"] == kind);
        let rollout = of_kind("Rollout").next().unwrap();
        let mut rollout: Rollout = serde_json::from_value(rollout.clone()).unwrap();
        if let Some(workload) = &rollout.spec.workload_ref {
            let found = of_kind("Deployment")
                .find(|d| d["metadata"]["name"] == workload.name.as_str())
                .unwrap();
            rollout.spec.template = RawPodTemplate::new(&found["spec"]["template"]);
        }
        let status = rollout.status.clone().unwrap();
        if status.current_pod_hash.is_empty() {
            continue;
        }
        let hash = pod_template_hash(&rollout.spec.template, status.collision_count);
        assert_eq!(hash, status.current_pod_hash);
        pod_hashes += 1;
        if rollout.spec.canary().is_some() {
            assert_eq!(step_hash(rollout.spec.steps()), status.current_step_hash);
            step_hashes += 1;
        }
        for set in of_kind("ReplicaSet") {
            let set: ReplicaSet = serde_json::from_value(set.clone()).unwrap();
            let Some(label) = set.pod_hash() else {
                continue;
            };
            if set.annotation(keys::EXPERIMENT_NAME).is_some() {
                continue;
            }
            let is_new = set.runs_template(&rollout.spec.template);
            assert_eq!(is_new, label == hash, "{:?}", set.metadata.name);
            if is_new {
                equal += 1;
            } else {
                different += 1;
            }
        }
    }
    assert!(pod_hashes >= 70 && step_hashes >= 60 && equal >= 60 && different >= 60);
}
