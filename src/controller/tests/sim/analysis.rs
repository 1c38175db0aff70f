//! Analyses and Experiments, with scripted providers and with real Jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Value, json};
use sluice_controller::Config;
use sluice_controller::measure::{Measure, Measured, Work};
use sluice_crds::analysis::{AnalysisPhase, Measurement};

use crate::harness::{NS, Running, World, canary, sizes};

const MINUTE: Duration = Duration::from_secs(60);

/// Answers what it is told to, and counts.
#[derive(Default)]
struct Script {
    fails: AtomicBool,
    hangs: AtomicBool,
    taken: AtomicUsize,
}

impl Measure for Script {
    fn measure(&self, work: Work) -> BoxFuture<'_, Measured> {
        Box::pin(async move {
            self.taken.fetch_add(1, Ordering::SeqCst);
            if self.hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            let phase = match self.fails.load(Ordering::SeqCst) {
                true => AnalysisPhase::Failed,
                false => AnalysisPhase::Successful,
            };
            let secret = work.secrets.values().cloned().collect::<Vec<_>>().join(",");
            let message = format!("asked {} with {secret}", work.metric.name);
            let measurement = Measurement {
                phase,
                message,
                ..Measurement::default()
            };
            Measured {
                measurement,
                ..Measured::default()
            }
        })
    }
}

fn scripted(world: &World) -> (Running, Arc<Script>) {
    let script = Arc::new(Script::default());
    let config = Config {
        measure: Some(script.clone()),
        ..world.config()
    };
    (world.start_with(config), script)
}

fn template(name: &str, metric: Value) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
        "metadata": {"name": name, "namespace": NS},
        "spec": {"metrics": [metric]},
    })
}

fn web(name: &str) -> Value {
    template(
        name,
        json!({
            "name": "rate", "interval": "5s", "count": 3,
            "provider": {"web": {"url": "http://127.0.0.1:1/", "jsonPath": "{$}"}},
        }),
    )
}

fn runs(world: &World) -> Vec<Value> {
    world
        .cluster
        .list("argoproj.io/v1alpha1", "AnalysisRun", NS, "")
}

fn phases(world: &World) -> Vec<String> {
    runs(world)
        .iter()
        .map(|r| r["status"]["phase"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_step_waits_for_its_analysis() {
    let world = World::new();
    world.apply(web("check"));
    let (controller, script) = scripted(&world);
    let steps =
        json!([{"setWeight": 50}, {"analysis": {"templates": [{"templateName": "check"}]}}]);
    world.create(canary("web", 2, steps)).await;
    world.healthy("web").await;
    assert!(runs(&world).is_empty(), "none on the first deploy");
    world.set_image("web", "web:v2").await;
    world
        .until("measured", MINUTE, |_| {
            script.taken.load(Ordering::SeqCst) == 1
        })
        .await;
    assert_eq!(world.sizes(), sizes(&[("web:v1", 1), ("web:v2", 1)]));
    world.healthy("web").await;
    assert_eq!(phases(&world), ["Successful"]);
    assert_eq!(script.taken.load(Ordering::SeqCst), 3);
    controller.stop().await.unwrap();
}

/// Design §5: metric failure to traffic on stable within a second of our own time.
#[tokio::test(start_paused = true)]
async fn a_failing_background_analysis_aborts_at_once() {
    let world = World::new();
    world.apply(web("check"));
    let (controller, script) = scripted(&world);
    let mut rollout = canary("web", 2, json!([{"setWeight": 50}, {"pause": {}}]));
    rollout["spec"]["strategy"]["canary"]["analysis"] =
        json!({"templates": [{"templateName": "check"}]});
    world.create(rollout).await;
    world.healthy("web").await;
    world.set_image("web", "web:v2").await;
    world.paused("web").await;
    world
        .until("measured", MINUTE, |_| {
            script.taken.load(Ordering::SeqCst) > 0
        })
        .await;
    let before = script.taken.load(Ordering::SeqCst);
    script.fails.store(true, Ordering::SeqCst);
    while script.taken.load(Ordering::SeqCst) == before {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let failed = world.clock.now();
    world
        .until("aborted", MINUTE, |w| {
            w.rollout("web").status.is_some_and(|s| s.abort)
        })
        .await;
    let took = world.clock.now().duration_since(failed).as_secs_f64();
    assert!(took < 1.0, "{took}");
    world
        .until("back", MINUTE, |w| w.sizes() == sizes(&[("web:v1", 2)]))
        .await;
    assert_eq!(phases(&world), ["Failed"]);
    controller.stop().await.unwrap();
}

/// ANA-30, ANA-14: secrets are read live and never stored.
#[tokio::test(start_paused = true)]
async fn secrets_reach_the_provider_and_nothing_else() {
    let world = World::new();
    world.apply(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": NS},
        "data": {"key": "aHVudGVyMg=="},
    }));
    let run = |name: &str, key: &str| {
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
            "metadata": {"name": name, "namespace": NS},
            "spec": {
                "args": [{"name": "t", "valueFrom": {"secretKeyRef": {"name": "token", "key": key}}}],
                "metrics": [{"name": "m", "provider": {"web": {"url": "http://{{args.t}}/"}}}],
            },
        })
    };
    let (controller, script) = scripted(&world);
    world.apply(run("good", "key"));
    world.apply(run("wrong", "other"));
    world
        .until("both are over", MINUTE, |w| {
            phases(w) == ["Successful", "Error"]
        })
        .await;
    let text = json!(runs(&world)).to_string();
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("asked m with *****"), "{text}");
    assert!(
        text.contains("key 'other' does not exist in secret 'token'"),
        "{text}"
    );
    assert_eq!(script.taken.load(Ordering::SeqCst), 1);
    controller.stop().await.unwrap();
}

/// A provider that never answers holds nobody up, and ends with its run.
#[tokio::test(start_paused = true)]
async fn a_hanging_provider_holds_nobody_up() {
    let world = World::new();
    world.apply(web("check"));
    let (controller, script) = scripted(&world);
    script.hangs.store(true, Ordering::SeqCst);
    let mut rollout = canary("web", 2, json!([{"setWeight": 50}, {"pause": {}}]));
    rollout["spec"]["strategy"]["canary"]["analysis"] =
        json!({"templates": [{"templateName": "check"}]});
    world.create(rollout).await;
    world.healthy("web").await;
    world.set_image("web", "web:v2").await;
    world.paused("web").await;
    world.promote("web").await;
    world.healthy("web").await;
    controller.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn jobs_decide_a_step() {
    let world = World::new();
    let job = |command: &str| {
        json!({
            "name": "smoke",
            "provider": {"job": {"spec": {"backoffLimit": 0, "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "sh", "image": "busybox", "command": ["sh", "-c", command]}],
            }}}}},
        })
    };
    world.apply(template("smoke", job("exit 0")));
    let controller = world.start();
    let steps =
        json!([{"setWeight": 50}, {"analysis": {"templates": [{"templateName": "smoke"}]}}]);
    world.create(canary("web", 2, steps)).await;
    world.healthy("web").await;
    world.set_image("web", "web:v2").await;
    world.pass_time(1).await;
    world.healthy("web").await;
    assert_eq!(phases(&world), ["Successful"]);
    assert_eq!(world.cluster.list("batch/v1", "Job", NS, "").len(), 1);
    controller.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_experiment_step_runs_its_pods() {
    let world = World::new();
    world.apply(web("check"));
    let (controller, _script) = scripted(&world);
    let steps = json!([{"experiment": {
        "duration": "20s",
        "templates": [{"name": "baseline", "specRef": "stable"}, {"name": "canary", "specRef": "canary"}],
        "analyses": [{"name": "check", "templateName": "check"}],
    }}]);
    world.create(canary("web", 2, steps)).await;
    world.healthy("web").await;
    world.set_image("web", "web:v2").await;
    let experiments = |w: &World| w.cluster.list("argoproj.io/v1alpha1", "Experiment", NS, "");
    world
        .until("an Experiment runs", MINUTE, |w| {
            experiments(w)
                .first()
                .is_some_and(|e| e["status"]["phase"] == "Running")
        })
        .await;
    world.healthy("web").await;
    assert_eq!(experiments(&world)[0]["status"]["phase"], "Successful");
    assert_eq!(phases(&world), ["Successful"]);
    world
        .until("its pods are gone", MINUTE, |w| {
            w.sizes() == sizes(&[("web:v2", 2)])
        })
        .await;
    controller.stop().await.unwrap();
}

/// API-44, INV-9: a run that cannot be decoded ends in Error and says which part cannot be read; the
/// update that waits for it is aborted with the same words, and nobody else is harmed.
#[tokio::test(start_paused = true)]
async fn a_malformed_run_ends_in_error() {
    let world = World::without_definitions();
    world.apply(web("check"));
    let (controller, script) = scripted(&world);
    script.hangs.store(true, Ordering::SeqCst);
    let steps =
        json!([{"setWeight": 50}, {"analysis": {"templates": [{"templateName": "check"}]}}]);
    world.create(canary("web", 2, steps.clone())).await;
    world.create(canary("other", 2, steps)).await;
    world.healthy("web").await;
    world.healthy("other").await;
    world.set_image("web", "web:v2").await;
    world
        .until("a run", MINUTE, |w| phases(w) == ["Running"])
        .await;
    let mut run = runs(&world).remove(0);
    run["spec"]["metrics"][0]["provider"]["web"]["url"] = json!(["http://x"]);
    world.apply(run.clone());
    // One that nobody waits for, and one that has ended.
    let lone = |name: &str, status: Value| {
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
            "metadata": {"name": name, "namespace": NS},
            "spec": {"metrics": "none"}, "status": status,
        })
    };
    world.apply(lone("lone", Value::Null));
    world.apply(lone("over", json!({"phase": "Successful"})));
    world
        .until("aborted", MINUTE, |w| {
            w.rollout("web").status.is_some_and(|s| s.abort)
        })
        .await;
    world.pass_time(60).await;
    let of = |name: &str| {
        let all = runs(&world);
        let found = all.iter().find(|r| r["metadata"]["name"] == name);
        found.unwrap()["status"].clone()
    };
    let name = run["metadata"]["name"].as_str().unwrap();
    let path = "spec.metrics[0].provider.web.url";
    for (name, path) in [(name, path), ("lone", "spec.metrics")] {
        let status = of(name);
        let start = format!("The AnalysisRun \"{name}\" is invalid: {path}: Invalid value: ");
        let message = status["message"].as_str().unwrap();
        assert_eq!(status["phase"], "Error");
        assert!(message.starts_with(&start), "{message}");
        assert!(message.ends_with("; correct or remove it"), "{message}");
    }
    assert_eq!(of("over"), json!({"phase": "Successful"}));
    let rollout = world.rollout("web");
    let told = serde_json::to_string(&rollout.status).unwrap();
    assert!(told.contains(path), "{told}");
    assert_eq!(
        world.sizes().iter().filter(|(i, _)| i == "web:v2").count(),
        0
    );
    let events = world.reasons();
    let invalid = events.iter().filter(|r| r.starts_with("InvalidSpec "));
    assert_eq!(invalid.count(), 2, "{events:?}");
    let writes = world.writes().len();
    world.pass_time(3600).await;
    assert_eq!(world.writes().len(), writes, "once is enough");
    script.hangs.store(false, Ordering::SeqCst);
    world.set_image("other", "web:v3").await;
    world.pass_time(1).await;
    world.healthy("other").await;
    controller.stop().await.unwrap();
}

/// The same for an Experiment.
#[tokio::test(start_paused = true)]
async fn a_malformed_experiment_ends_in_error() {
    let world = World::without_definitions();
    let controller = world.start();
    let steps = json!([{"experiment": {"templates": [{"name": "one", "specRef": "canary"}]}}]);
    world.create(canary("web", 2, steps)).await;
    world.healthy("web").await;
    world.set_image("web", "web:v2").await;
    let found = |world: &World| {
        world
            .cluster
            .list("argoproj.io/v1alpha1", "Experiment", NS, "")
    };
    world
        .until("an experiment", MINUTE, |w| {
            found(w).iter().any(|e| e["status"]["phase"] == "Running")
        })
        .await;
    let mut experiment = found(&world).remove(0);
    experiment["spec"]["templates"][0]["replicas"] = json!("many");
    world.apply(experiment);
    world
        .until("aborted", MINUTE, |w| {
            w.rollout("web").status.is_some_and(|s| s.abort)
        })
        .await;
    world.pass_time(60).await;
    let status = found(&world).remove(0)["status"].clone();
    assert_eq!(status["phase"], "Error");
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("spec.templates[0].replicas"), "{message}");
    let writes = world.writes().len();
    world.pass_time(3600).await;
    assert_eq!(world.writes().len(), writes, "once is enough");
    controller.stop().await.unwrap();
}
