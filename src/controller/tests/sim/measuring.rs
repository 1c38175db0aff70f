//! What happens to measurements when something goes wrong around them: restarts, Secrets, panics,
//! users who stop or delete a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use sluice_controller::Config;
use sluice_controller::measure::{Measure, Measured, Work};
use sluice_crds::AnalysisRun;
use sluice_crds::analysis::{AnalysisPhase, Measurement};
use sluice_sim::{Effect, Rule, Verb, When};

use crate::harness::{AGENT, NS, World, canary, sizes};

const MINUTE: Duration = Duration::from_secs(60);
const GROUP: &str = "argoproj.io/v1alpha1";

/// A run with these metrics.
fn run(name: &str, metrics: Value) -> Value {
    json!({
        "apiVersion": GROUP, "kind": "AnalysisRun",
        "metadata": {"name": name, "namespace": NS}, "spec": {"metrics": metrics},
    })
}

/// A Job that takes this long.
fn job(name: &str, seconds: u64) -> Value {
    json!({"name": name, "provider": {"job": {"spec": {"backoffLimit": 0, "template": {
        "metadata": {"annotations": {"sim.sluice.dev/run-seconds": seconds.to_string()}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "sh", "image": "busybox"}]},
    }}}}})
}

fn web(name: &str) -> Value {
    json!({"name": name, "provider": {"web": {"url": "http://127.0.0.1:1/"}}})
}

fn status(world: &World, name: &str) -> Value {
    let found = world.cluster.get(GROUP, "AnalysisRun", NS, name);
    found.map(|run| run["status"].clone()).unwrap_or_default()
}

fn jobs(world: &World) -> Vec<Value> {
    world.cluster.list("batch/v1", "Job", NS, "")
}

fn runs(world: &World) -> Api<DynamicObject> {
    Api::namespaced_with(world.client(), NS, &ApiResource::erase::<AnalysisRun>(&()))
}

async fn terminate(world: &World, name: &str) {
    let patch = json!({"spec": {"terminate": true}});
    let api = runs(world);
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
}

async fn phase(world: &World, name: &str, want: &str) {
    world
        .until(&format!("{name} {want}"), 10 * MINUTE, |w| {
            status(w, name)["phase"] == want
        })
        .await;
}

async fn one_job(world: &World) {
    world
        .until("a Job runs", MINUTE, |w| {
            jobs(w).len() == 1
                && status(w, "r")["metricResults"][0]["measurements"][0]["metadata"].is_object()
        })
        .await;
}

/// Answers when it is allowed to, or falls over.
#[derive(Default)]
struct Odd {
    begun: AtomicUsize,
}

impl Measure for Odd {
    fn measure(&self, work: Work) -> BoxFuture<'_, Measured> {
        Box::pin(async move {
            let before = self.begun.fetch_add(1, Ordering::SeqCst);
            match work.metric.name.as_str() {
                "falls" => panic!("no way: {:?}", work.secrets),
                "hangs" => std::future::pending().await,
                "hangs-once" if before == 0 => std::future::pending().await,
                _ => Measured {
                    measurement: Measurement {
                        phase: AnalysisPhase::Successful,
                        ..Measurement::default()
                    },
                    ..Measured::default()
                },
            }
        })
    }
}

fn odd(world: &World) -> (Config, Arc<Odd>) {
    let odd = Arc::new(Odd::default());
    let config = Config {
        measure: Some(odd.clone()),
        ..world.config()
    };
    (config, odd)
}

/// ASE-15, ANA-12: a measurement that panics is an Error of its metric, and of nobody else.
#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_of_its_metric() {
    let world = World::new();
    let controller = world.start_with(odd(&world).0);
    world.apply(run("r", json!([web("falls"), web("fine")])));
    world.apply(run("other", json!([web("fine")])));
    phase(&world, "other", "Successful").await;
    phase(&world, "r", "Error").await;
    let results = &status(&world, "r")["metricResults"];
    assert_eq!(results[0]["error"], 5, "{results}");
    assert_eq!(results[0]["message"], "the measurement panicked");
    assert_eq!(results[1]["phase"], "Successful");
    controller.stop().await.unwrap();
}

/// INV-16: a provider that never answers takes nobody's worker.
#[tokio::test(start_paused = true)]
async fn hanging_providers_take_no_worker() {
    let world = World::new();
    let config = Config {
        run_workers: 1,
        ..odd(&world).0
    };
    let controller = world.start_with(config);
    for number in 0..5 {
        world.apply(run(&format!("hangs-{number}"), json!([web("hangs")])));
    }
    world.apply(run("r", json!([web("fine")])));
    let started = world.clock.now();
    phase(&world, "r", "Successful").await;
    let took = world.clock.now().duration_since(started).as_secs();
    assert!(took < 5, "{took}");
    assert_eq!(status(&world, "hangs-0")["phase"], "Running");
    controller.stop().await.unwrap();
}

/// ANA-11: a measurement that was under way when the controller died is taken again.
#[tokio::test(start_paused = true)]
async fn a_measurement_survives_a_crash() {
    let world = World::new();
    let (config, odd) = odd(&world);
    let controller = world.start_with(config.clone());
    world.apply(run("r", json!([web("hangs-once")])));
    world
        .until("under way", MINUTE, |_| {
            odd.begun.load(Ordering::SeqCst) == 1
        })
        .await;
    controller.kill().await;
    let controller = world.start_with(config);
    phase(&world, "r", "Successful").await;
    let result = &status(&world, "r")["metricResults"][0];
    assert_eq!(
        (&result["count"], &result["error"]),
        (&json!(1), &Value::Null)
    );
    controller.stop().await.unwrap();
}

/// ANA-58..60, FLT-27: whenever the controller dies, a Job is made once and its verdict counts.
#[tokio::test(start_paused = true)]
async fn a_job_survives_a_crash_after_any_write() {
    for writes in 1..8 {
        let world = World::new();
        let controller = world.start();
        let mut point = world.cluster.faults().stop_after_writes(AGENT, writes);
        world.apply(run("r", json!([job("smoke", 30)])));
        tokio::select! {
            () = phase(&world, "r", "Successful") => {}
            () = point.reached() => {}
        }
        controller.kill().await;
        world.cluster.faults().clear();
        let controller = world.start();
        phase(&world, "r", "Successful").await;
        assert_eq!(jobs(&world).len(), 1, "after {writes} writes");
        let result = &status(&world, "r")["metricResults"][0];
        assert_eq!(result["measurements"].as_array().unwrap().len(), 1);
        controller.stop().await.unwrap();
    }
}

/// ASE-12: the answer to the creation of a Job is lost; the Job is found, not made again.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_makes_no_second_job() {
    let world = World::new();
    let rule = Rule::new(When::First(1), Effect::LoseAnswer).resource("jobs");
    world.cluster.faults().add(rule.verb(Verb::Create));
    let controller = world.start();
    world.apply(run("r", json!([job("smoke", 30)])));
    phase(&world, "r", "Successful").await;
    assert_eq!(jobs(&world).len(), 1);
    assert_eq!(
        status(&world, "r")["metricResults"][0]["error"],
        Value::Null
    );
    controller.stop().await.unwrap();
}

/// ANA-5, ASE-12: a Job is looked at ever more rarely, its end is noticed at once even so.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_job_is_noticed_at_once() {
    let world = World::new();
    let controller = world.start();
    let started = world.clock.now();
    world.apply(run("r", json!([job("smoke", 200)])));
    phase(&world, "r", "Successful").await;
    let took = world.clock.now().duration_since(started).as_secs();
    assert!((200..=203).contains(&took), "{took}");
    controller.stop().await.unwrap();
}

fn with_secret(mut run: Value) -> Value {
    run["spec"]["args"] =
        json!([{"name": "t", "valueFrom": {"secretKeyRef": {"name": "token", "key": "key"}}}]);
    run
}

fn secret(world: &World) {
    world.apply(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": NS},
        "data": {"key": "aHVudGVyMg=="},
    }));
}

/// ASE-2: a Secret that goes away under a running Job takes nothing from its verdict, and does not
/// keep it from being stopped.
#[tokio::test(start_paused = true)]
async fn a_job_is_looked_after_without_its_secret() {
    for (stop, ends) in [(false, "Successful"), (true, "Inconclusive")] {
        let world = World::new();
        secret(&world);
        let controller = world.start();
        world.apply(with_secret(run("r", json!([job("smoke", 30)]))));
        one_job(&world).await;
        let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(world.client(), NS);
        secrets
            .delete("token", &DeleteParams::default())
            .await
            .unwrap();
        if stop {
            terminate(&world, "r").await;
        }
        phase(&world, "r", ends).await;
        if stop {
            world
                .until("the Job is gone", MINUTE, |w| jobs(w).is_empty())
                .await;
        }
        controller.stop().await.unwrap();
    }
}

/// ASE-2: a Secret that cannot be read for the moment is an Error measurement, tried again.
#[tokio::test(start_paused = true)]
async fn an_unreadable_secret_is_tried_again() {
    let world = World::new();
    secret(&world);
    let rule = Rule::new(When::First(1), Effect::InternalError).resource("secrets");
    world.cluster.faults().add(rule.user_agent(AGENT));
    let (config, odd) = odd(&world);
    let controller = world.start_with(config);
    world.apply(with_secret(run("r", json!([web("fine")]))));
    phase(&world, "r", "Successful").await;
    assert_eq!(status(&world, "r")["metricResults"][0]["error"], 1);
    assert_eq!(odd.begun.load(Ordering::SeqCst), 1);
    controller.stop().await.unwrap();
}

/// ANA-19, ANA-61: a run that a user stops takes its Job along, also past an API server that stumbles.
#[tokio::test(start_paused = true)]
async fn a_stopped_run_takes_its_job_along() {
    let world = World::new();
    let controller = world.start();
    world.apply(run("r", json!([job("smoke", 300)])));
    one_job(&world).await;
    let rule = Rule::new(When::First(2), Effect::InternalError).resource("jobs");
    world
        .cluster
        .faults()
        .add(rule.verb(Verb::Delete).user_agent(AGENT));
    terminate(&world, "r").await;
    phase(&world, "r", "Inconclusive").await;
    assert_eq!(
        status(&world, "r")["message"],
        "Metric \"smoke\" assessed Inconclusive due to inconclusive (1) > inconclusiveLimit (0): \
         \"Error Message: Metric Terminated\""
    );
    world
        .until("the Job is gone", MINUTE, |w| jobs(w).is_empty())
        .await;
    controller.stop().await.unwrap();
}

/// ANA-5: a run that a user deletes takes its Job along, and nothing is written about it any more.
#[tokio::test(start_paused = true)]
async fn a_deleted_run_takes_its_job_along() {
    let world = World::new();
    let controller = world.start();
    world.apply(run("r", json!([job("smoke", 300)])));
    one_job(&world).await;
    runs(&world)
        .delete("r", &DeleteParams::background())
        .await
        .unwrap();
    world
        .until("the Job is gone", MINUTE, |w| jobs(w).is_empty())
        .await;
    let before = world.writes().len();
    world.pass_time(400).await;
    assert_eq!(world.writes().len(), before);
    controller.stop().await.unwrap();
}

/// ANA-24, ASE-6: a finished run is deleted when its time is up, without anything else happening.
#[tokio::test(start_paused = true)]
async fn a_finished_run_is_deleted_in_time() {
    let world = World::new();
    let controller = world.start_with(odd(&world).0);
    let mut short = run("r", json!([web("fine")]));
    short["spec"]["ttlStrategy"] = json!({"secondsAfterSuccess": 30});
    world.apply(short);
    phase(&world, "r", "Successful").await;
    world.pass_time(25).await;
    assert_eq!(status(&world, "r")["phase"], "Successful");
    world.pass_time(10).await;
    assert!(world.cluster.get(GROUP, "AnalysisRun", NS, "r").is_none());
    controller.stop().await.unwrap();
}

/// ANA-21, ANA-61, ASE-13: Jobs of measurements that are no longer kept go, those of others stay.
#[tokio::test(start_paused = true)]
async fn old_jobs_are_dropped() {
    let world = World::new();
    let controller = world.start();
    let mut busy = job("busy-{{args.of}}", 1);
    busy["interval"] = json!("5s");
    busy["count"] = json!(4);
    let mut two = run("r", json!([busy, job("calm", 1)]));
    two["spec"]["args"] = json!([{"name": "of", "value": "web"}]);
    two["spec"]["measurementRetention"] = json!([{"metricName": "busy", "limit": 2}]);
    world.apply(two);
    phase(&world, "r", "Successful").await;
    let of = |w: &World, metric: &str| {
        let named = |job: &Value| {
            job["metadata"]["annotations"]["analysisrun.argoproj.io/metric-name"] == metric
        };
        jobs(w).iter().filter(|job| named(job)).count()
    };
    world
        .until("two are left", MINUTE, |w| of(w, "busy-web") == 2)
        .await;
    assert_eq!(of(&world, "calm"), 1);
    controller.stop().await.unwrap();
}

fn template(kind: &str, name: &str, spec: Value) -> Value {
    let mut template =
        json!({"apiVersion": GROUP, "kind": kind, "metadata": {"name": name}, "spec": spec});
    if kind == "AnalysisTemplate" {
        template["metadata"]["namespace"] = json!(NS);
    }
    template
}

/// ANA-26, ANA-33, ANA-36: nested templates of both kinds; a step's run that a user deletes is
/// started anew, and one that a user stops lets nothing pass (INV-9).
#[tokio::test(start_paused = true)]
async fn a_step_outlives_its_runs() {
    let world = World::new();
    world.apply(template(
        "ClusterAnalysisTemplate",
        "far",
        json!({"metrics": [web("far")], "templates": [{"templateName": "near"}]}),
    ));
    let mut slow = web("near");
    slow["interval"] = json!("20s");
    slow["count"] = json!(3);
    world.apply(template(
        "AnalysisTemplate",
        "near",
        json!({"metrics": [slow]}),
    ));
    let controller = world.start_with(odd(&world).0);
    let far = json!([{"templateName": "far", "clusterScope": true}]);
    let steps = json!([{"setWeight": 50}, {"analysis": {"templates": far}}]);
    world.create(canary("web", 2, steps)).await;
    world.healthy("web").await;
    world.set_image("web", "web:v2").await;
    let names = |w: &World| -> Vec<String> {
        let all = w.cluster.list(GROUP, "AnalysisRun", NS, "");
        let uid = |run: &Value| run["metadata"]["uid"].as_str().unwrap().to_owned();
        all.iter().map(uid).collect()
    };
    let only = |w: &World| w.cluster.list(GROUP, "AnalysisRun", NS, "")[0].clone();
    world.until("a run", MINUTE, |w| names(w).len() == 1).await;
    let first = only(&world);
    let metrics: Vec<_> = first["spec"]["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(metrics, ["near", "far"], "namespaced ones first");
    let name = first["metadata"]["name"].as_str().unwrap().to_owned();
    runs(&world)
        .delete(&name, &DeleteParams::background())
        .await
        .unwrap();
    let uid = first["metadata"]["uid"].as_str().unwrap().to_owned();
    world
        .until("another run", MINUTE, |w| {
            names(w).len() == 1 && !names(w).contains(&uid)
        })
        .await;
    world
        .until("measured once", MINUTE, |w| {
            status(w, &name)["metricResults"][0]["count"] == 1
        })
        .await;
    terminate(&world, &name).await;
    world.paused("web").await;
    assert_eq!(
        status(&world, &name)["phase"],
        "Successful",
        "visible contract"
    );
    assert_eq!(world.phase("web"), "Paused InconclusiveAnalysisRun");
    assert_eq!(world.sizes(), sizes(&[("web:v1", 1), ("web:v2", 1)]));
    world.promote("web").await;
    world.healthy("web").await;
    assert_eq!(names(&world).len(), 2, "measured anew");
    controller.stop().await.unwrap();
}

/// A canary with a background analysis and one in its second step.
fn measured_canary() -> Value {
    let check = json!([{"templateName": "check"}]);
    let steps = json!([{"setWeight": 50}, {"analysis": {"templates": check}}]);
    let mut rollout = canary("web", 2, steps);
    rollout["spec"]["strategy"]["canary"]["analysis"] = json!({"templates": check});
    rollout
}

fn check_template(world: &World) {
    let mut metric = web("fine");
    metric["interval"] = json!("3s");
    metric["count"] = json!(2);
    world.apply(template(
        "AnalysisTemplate",
        "check",
        json!({"metrics": [metric]}),
    ));
}

/// Kinds of the runs there are, as sorted labels.
fn kinds(world: &World) -> Vec<String> {
    let all = world.cluster.list(GROUP, "AnalysisRun", NS, "");
    let kind = |run: &Value| run["metadata"]["labels"]["rollout-type"].clone();
    let mut kinds: Vec<_> = all
        .iter()
        .map(|run| kind(run).as_str().unwrap_or_default().to_owned())
        .collect();
    kinds.sort();
    kinds
}

/// ANA-43, INV-7, FLT-4, FLT-27: whenever the controller dies, each analysis of an update is one run.
#[tokio::test(start_paused = true)]
async fn one_run_per_analysis_after_any_crash() {
    for writes in (4..34).step_by(2) {
        let world = World::new();
        check_template(&world);
        let (config, _) = odd(&world);
        let controller = world.start_with(config.clone());
        let mut point = world.cluster.faults().stop_after_writes(AGENT, writes);
        let updated = async {
            world.create(measured_canary()).await;
            world.healthy("web").await;
            world.set_image("web", "web:v2").await;
            world.pass_time(1).await;
            world.healthy("web").await;
        };
        tokio::select! {
            () = updated => {}
            () = point.reached() => {}
        }
        controller.kill().await;
        world.cluster.faults().clear();
        let controller = world.start_with(config);
        world.healthy("web").await;
        world.set_image("web", "web:v2").await;
        world.pass_time(1).await;
        world.healthy("web").await;
        assert_eq!(
            kinds(&world),
            ["Background", "Step"],
            "after {writes} writes"
        );
        controller.stop().await.unwrap();
    }
}

/// INV-7, FLT-4: caches that lag, and answers that are lost, make no second run.
#[tokio::test(start_paused = true)]
async fn one_run_per_analysis_with_a_lagging_cache() {
    let world = World::new();
    check_template(&world);
    let faults = world.cluster.faults();
    let late = Effect::DelayWatch(Duration::from_secs(3));
    faults.add(Rule::new(When::Always, late).user_agent(AGENT));
    let lost = Rule::new(When::Every(2), Effect::LoseAnswer).resource("analysisruns");
    faults.add(lost.user_agent(AGENT));
    let controller = world.start_with(odd(&world).0);
    world.create(measured_canary()).await;
    world.healthy("web").await;
    world.set_image("web", "web:v2").await;
    world.pass_time(1).await;
    world.healthy("web").await;
    assert_eq!(kinds(&world), ["Background", "Step"]);
    controller.stop().await.unwrap();
}

/// ANA-26, OPS-9: with an instance id, templates without its label do not exist.
#[tokio::test(start_paused = true)]
async fn templates_belong_to_an_instance() {
    let world = World::new();
    let mut check = template(
        "AnalysisTemplate",
        "check",
        json!({"metrics": [web("fine")]}),
    );
    world.apply(check.clone());
    let config = Config {
        instance_id: "blue".into(),
        ..odd(&world).0
    };
    let controller = world.start_with(config);
    let steps =
        json!([{"setWeight": 50}, {"analysis": {"templates": [{"templateName": "check"}]}}]);
    let mut rollout = canary("web", 2, steps);
    let label = json!({"argo-rollouts.argoproj.io/controller-instance-id": "blue"});
    rollout["metadata"]["labels"] = label.clone();
    world.create(rollout).await;
    world
        .until("refused", MINUTE, |w| {
            w.phase("web")
                .contains("AnalysisTemplate 'check' not found")
        })
        .await;
    check["metadata"]["labels"] = label;
    world.apply(check);
    world.healthy("web").await;
    controller.stop().await.unwrap();
}
