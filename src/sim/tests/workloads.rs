//! Controllers and kubelet together, in virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use std::time::Duration;

use common::{Bench, until, workload};
use serde_json::{Value, json};
use sluice_sim::{Behaviour, Clock, Cluster, ClusterOptions, Fate, PodRule, Traffic};

fn service(name: &str, selector: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}], "selector": selector},
    })
}

fn addresses(bench: &Bench, service: &str) -> (usize, usize) {
    let selector = format!("kubernetes.io/service-name={service}");
    let slices = bench
        .cluster
        .list("discovery.k8s.io/v1", "EndpointSlice", "default", &selector);
    let all: Vec<Value> = slices
        .iter()
        .flat_map(|s| s["endpoints"].as_array().cloned().unwrap_or_default())
        .collect();
    let ready = all
        .iter()
        .filter(|e| e["conditions"]["ready"] == true)
        .count();
    (ready, all.len())
}

fn scale(bench: &Bench, kind: &str, name: &str, replicas: i64) {
    let patch = json!({"spec": {"replicas": replicas}});
    bench
        .cluster
        .merge("apps/v1", kind, "default", name, &patch)
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn replica_sets_scale_and_prefer_ready_pods() {
    let bench = Bench::new();
    bench
        .cluster
        .apply(&workload("ReplicaSet", "web", 2))
        .unwrap();
    let ready = async || bench.number("ReplicaSet", "web", "/status/readyReplicas");
    until("two ready", async || ready().await == 2).await;
    bench.kubelet.kubelet().change(|o| {
        o.rules.push(PodRule::image(
            "web",
            Behaviour::default().fate(Fate::NeverReady),
        ));
    });
    scale(&bench, "ReplicaSet", "web", 4);
    until("four pods", async || bench.pods("app=web").len() == 4).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(ready().await, 2);
    scale(&bench, "ReplicaSet", "web", 2);
    until("two pods", async || bench.pods("app=web").len() == 2).await;
    assert_eq!(ready().await, 2, "the pods that are not ready went");
    let set = bench.get("ReplicaSet", "web").unwrap();
    assert_eq!(
        set["status"]["observedGeneration"],
        set["metadata"]["generation"]
    );
}

#[tokio::test(start_paused = true)]
async fn availability_waits_for_min_ready_seconds() {
    let bench = Bench::new();
    let mut set = workload("ReplicaSet", "web", 1);
    set["spec"]["minReadySeconds"] = json!(30);
    bench.cluster.apply(&set).unwrap();
    until("ready", async || {
        bench.number("ReplicaSet", "web", "/status/readyReplicas") == 1
    })
    .await;
    let start = tokio::time::Instant::now();
    assert_eq!(
        bench.number("ReplicaSet", "web", "/status/availableReplicas"),
        0
    );
    let available = async || bench.number("ReplicaSet", "web", "/status/availableReplicas");
    until("available", async || available().await == 1).await;
    assert!(
        (29..=31).contains(&start.elapsed().as_secs()),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn pods_fail_as_told() {
    let bench = Bench::new();
    let crash = Behaviour::default().fate(Fate::CrashAfter(Duration::from_secs(1)));
    bench
        .kubelet
        .kubelet()
        .change(|o| o.rules.push(PodRule::image("crash", crash)));
    let reason = |name: &str| {
        let pods = bench.pods(&format!("app={name}"));
        let status = &pods[0]["status"]["containerStatuses"][0];
        status["state"]["waiting"]["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let rows = [
        ("a", "crash:v1", "CrashLoopBackOff"),
        ("b", "does-not-exist:v1", "ImagePullBackOff"),
    ];
    for (name, image, want) in rows {
        let mut set = workload("ReplicaSet", name, 1);
        set["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        bench.cluster.apply(&set).unwrap();
        until("a pod", async || {
            !bench.pods(&format!("app={name}")).is_empty()
        })
        .await;
        until(want, async || reason(name) == want).await;
    }
    let crashed = &bench.pods("app=a")[0];
    assert_eq!(
        crashed["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"],
        1
    );
}

#[tokio::test(start_paused = true)]
async fn readiness_gates_hold_pods_back() {
    let bench = Bench::new();
    let mut set = workload("ReplicaSet", "web", 1);
    set["spec"]["template"]["spec"]["readinessGates"] =
        json!([{"conditionType": "example.com/lb"}]);
    bench.cluster.apply(&set).unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(
        bench.number("ReplicaSet", "web", "/status/readyReplicas"),
        0
    );
    let name = bench.pods("app=web")[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let pods = common::api(&bench.cluster.client(), "Pod", "pods");
    let patch = json!({"status": {"conditions": [{"type": "example.com/lb", "status": "True"}]}});
    let patch = kube::api::Patch::Strategic(&patch);
    pods.patch_status(&name, &Default::default(), &patch)
        .await
        .unwrap();
    until("ready", async || {
        bench.number("ReplicaSet", "web", "/status/readyReplicas") == 1
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn termination_takes_its_time() {
    let bench = Bench::new();
    let slow = Behaviour {
        stop: Duration::from_secs(20),
        ..Default::default()
    };
    bench.kubelet.kubelet().change(|o| o.default = slow);
    bench
        .cluster
        .apply(&workload("ReplicaSet", "web", 1))
        .unwrap();
    bench
        .cluster
        .apply(&service("web", json!({"app": "web"})))
        .unwrap();
    until("serving", async || addresses(&bench, "web") == (1, 1)).await;
    let start = tokio::time::Instant::now();
    scale(&bench, "ReplicaSet", "web", 0);
    until("no longer ready", async || {
        addresses(&bench, "web") == (0, 1)
    })
    .await;
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(bench.number("ReplicaSet", "web", "/status/replicas"), 0);
    until("gone", async || bench.pods("app=web").is_empty()).await;
    assert!(
        (19..=21).contains(&start.elapsed().as_secs()),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn deployments_roll_without_a_gap() {
    let bench = Bench::new();
    bench
        .cluster
        .apply(&workload("Deployment", "web", 4))
        .unwrap();
    let available = async || bench.number("Deployment", "web", "/status/availableReplicas");
    until("available", async || available().await == 4).await;
    let image = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "web", "image": "web:v2", "ports": [{"containerPort": 8080}]}
    ]}}}});
    bench
        .cluster
        .merge("apps/v1", "Deployment", "default", "web", &image)
        .unwrap();
    for _ in 0..200 {
        assert!(available().await >= 3, "maxUnavailable 25%");
        assert!(
            bench.number("Deployment", "web", "/status/replicas") <= 5,
            "maxSurge 25%"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let deployment = bench.get("Deployment", "web").unwrap();
    assert_eq!(deployment["status"]["updatedReplicas"], 4);
    assert_eq!(
        deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "2"
    );
    let progressing = deployment["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["type"] == "Progressing")
        .unwrap();
    assert_eq!(progressing["reason"], "NewReplicaSetAvailable");
    let sets = bench
        .cluster
        .list("apps/v1", "ReplicaSet", "default", "app=web");
    assert_eq!(sets.len(), 2);
    scale(&bench, "Deployment", "web", 1);
    until("one pod", async || bench.pods("app=web").len() == 1).await;
    bench
        .cluster
        .delete("apps/v1", "Deployment", "default", "web")
        .unwrap();
    until("collected", async || bench.pods("app=web").is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn deployments_report_a_lack_of_progress() {
    let bench = Bench::new();
    let mut deployment = workload("Deployment", "web", 1);
    deployment["spec"]["progressDeadlineSeconds"] = json!(60);
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!("does-not-exist:v1");
    bench.cluster.apply(&deployment).unwrap();
    until("deadline", async || {
        let deployment = bench.get("Deployment", "web").unwrap();
        let conditions = deployment["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions
            .iter()
            .any(|c| c["reason"] == "ProgressDeadlineExceeded")
    })
    .await;
}

fn job(name: &str, annotations: Value, spec: Value) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {
            "metadata": {"annotations": annotations},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "job:v1"}]},
        }},
    });
    for (key, value) in spec.as_object().unwrap() {
        job["spec"][key] = value.clone();
    }
    job
}

fn ending(bench: &Bench, name: &str) -> Option<(String, String)> {
    let job = bench.get("Job", name)?;
    let conditions = job["status"]["conditions"].as_array()?.clone();
    let end = conditions
        .iter()
        .find(|c| c["type"] == "Complete" || c["type"] == "Failed")?;
    let text = |field: &str| end[field].as_str().unwrap_or_default().to_owned();
    Some((text("type"), text("reason")))
}

#[tokio::test(start_paused = true)]
async fn jobs_end() {
    let bench = Bench::new();
    let fails = json!({"sim.sluice.dev/exit-code": "1"});
    let long = json!({"sim.sluice.dev/run-seconds": "3600", "sim.sluice.dev/exit-code": "0"});
    let rows = [
        (
            job("fine", json!({}), json!({})),
            "Complete",
            "CompletionsReached",
            1,
        ),
        (
            job("bad", fails, json!({"backoffLimit": 1})),
            "Failed",
            "BackoffLimitExceeded",
            2,
        ),
        (
            job("late", long, json!({"activeDeadlineSeconds": 20})),
            "Failed",
            "DeadlineExceeded",
            0,
        ),
        (
            job(
                "many",
                json!({}),
                json!({"completions": 3, "parallelism": 2}),
            ),
            "Complete",
            "CompletionsReached",
            3,
        ),
    ];
    for (object, kind, reason, pods) in rows {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        bench.cluster.apply(&object).unwrap();
        until(&name, async || ending(&bench, &name).is_some()).await;
        assert_eq!(
            ending(&bench, &name),
            Some((kind.to_owned(), reason.to_owned())),
            "{name}"
        );
        until("pods", async || {
            bench.pods(&format!("job-name={name}")).len() == pods
        })
        .await;
    }
}

/// Commands run on the real clock, as processes do.
#[tokio::test]
async fn jobs_run_commands_when_asked() {
    let bench = Bench::new();
    bench.kubelet.kubelet().change(|o| {
        o.run_commands = true;
        o.default.start = Duration::ZERO;
    });
    let mut object = job("sh", json!({}), json!({"backoffLimit": 0}));
    object["spec"]["template"]["spec"]["containers"][0]["command"] =
        json!(["sh", "-c", "test \"$WORD\" = go && exit 3"]);
    object["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{"name": "WORD", "value": "go"}]);
    bench.cluster.apply(&object).unwrap();
    until("ended", async || ending(&bench, "sh").is_some()).await;
    let pod = &bench.pods("job-name=sh")[0];
    assert_eq!(
        pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"],
        3
    );
}

#[tokio::test(start_paused = true)]
async fn services_find_their_pods_and_traffic_follows() {
    let bench = Bench::new();
    bench
        .cluster
        .apply(&service("web", json!({"app": "web"})))
        .unwrap();
    assert_eq!(
        Traffic::of(&bench.cluster).share("default", "web").lost,
        1.0
    );
    let mut set = workload("ReplicaSet", "web", 3);
    set["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] = json!("abc");
    bench.cluster.apply(&set).unwrap();
    until("serving", async || addresses(&bench, "web") == (3, 3)).await;
    let shares = Traffic::of(&bench.cluster).share("default", "web");
    assert!((shares.by_hash["abc"] - 1.0).abs() < 1e-9);
    let endpoints = bench.get("Endpoints", "web").unwrap();
    assert_eq!(endpoints["subsets"][0]["ports"][0]["port"], 8080);
    let other = json!({"spec": {"selector": {"app": "other"}}});
    bench
        .cluster
        .merge("v1", "Service", "default", "web", &other)
        .unwrap();
    until("none", async || addresses(&bench, "web") == (0, 0)).await;
}

/// Without a runtime: the state machine moves by hand.
#[test]
fn controllers_tick_on_a_manual_clock() {
    let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    let cluster = Cluster::new(ClusterOptions {
        clock: clock.clone(),
        ..Default::default()
    });
    let mut set = workload("ReplicaSet", "web", 2);
    set["spec"]["minReadySeconds"] = json!(10);
    cluster.apply(&set).unwrap();
    cluster.tick();
    let pods = cluster.list("v1", "Pod", "default", "");
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        let mut pod = pod.clone();
        pod["status"] = json!({"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        ]});
        cluster.apply(&pod).unwrap();
    }
    assert_eq!(
        cluster.tick(),
        Some("2026-01-01T00:00:10Z".parse().unwrap())
    );
    clock.advance(Duration::from_secs(10));
    assert_eq!(cluster.tick(), None);
    let set = cluster
        .get("apps/v1", "ReplicaSet", "default", "web")
        .unwrap();
    assert_eq!(set["status"]["availableReplicas"], 2);
}
