use std::collections::BTreeSet;
use std::sync::Arc;

use sluice_crds::{AnalysisRun, AnalysisTemplate, Experiment, Rollout};

use super::*;
use crate::hub::Queues;

/// Families of the peer on a busy cluster, those about its Go process aside (OPS-12).
const PEER: [&str; 34] = [
    "analysis_run_info",
    "analysis_run_metric_phase",
    "analysis_run_metric_type",
    "analysis_run_phase",
    "analysis_run_reconcile",
    "analysis_template_info",
    "analysis_template_metric_info",
    "argo_rollouts_controller_info",
    "build_info",
    "controller_clientset_k8s_request_total",
    "experiment_info",
    "experiment_phase",
    "experiment_reconcile",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "rollout_duration_seconds",
    "rollout_events_total",
    "rollout_info",
    "rollout_info_replicas_available",
    "rollout_info_replicas_desired",
    "rollout_info_replicas_unavailable",
    "rollout_info_replicas_updated",
    "rollout_manual_pause_duration_seconds",
    "rollout_phase",
    "rollout_progression_duration_seconds",
    "rollout_reconcile",
    "rollout_reconcile_error",
    "workqueue_adds_total",
    "workqueue_depth",
    "workqueue_queue_duration_seconds",
    "workqueue_retries_total",
    "workqueue_unfinished_work_seconds",
];

fn objects() -> ObjectGauges {
    let metric = serde_json::json!({"name": "m", "provider": {"web": {"url": "x"}}});
    let run = serde_json::json!({"metadata": {"name": "r", "namespace": "ns"},
        "spec": {"metrics": [metric]}});
    let template = run.clone();
    let rollout = serde_json::json!({"metadata": {"name": "web", "namespace": "ns"},
        "spec": {"strategy": {"canary": {"trafficRouting": {"istio": {}}}}},
        "status": {"replicas": 3, "availableReplicas": 1, "conditions": [
            {"type": "Progressing", "reason": "RolloutPaused"}]}});
    ObjectGauges {
        rollouts: vec![RolloutFacts::of(
            &serde_json::from_value::<Rollout>(rollout).unwrap(),
        )],
        runs: vec![Arc::new(
            serde_json::from_value::<AnalysisRun>(run).unwrap(),
        )],
        experiments: vec![Arc::new(Experiment::new("e", Default::default()))],
        templates: vec![Arc::new(
            serde_json::from_value::<AnalysisTemplate>(template).unwrap(),
        )],
        cluster_templates: Vec::new(),
    }
}

/// OPS-12, OPS-17: names are the peer's; labelled families have no series before their first use.
#[tokio::test]
async fn families_bear_the_names_of_the_peer() {
    let metrics = Metrics::new().unwrap();
    let _queues = Queues::new(&metrics);
    let text = metrics.render(&ObjectGauges::default()).unwrap();
    assert!(!text.contains("rollout_reconcile"), "{text}");
    let key = Key::new("ns", "web");
    for subject in [Subject::Rollout, Subject::AnalysisRun, Subject::Experiment] {
        metrics.pass(
            subject,
            &key,
            Duration::from_millis(3),
            subject == Subject::Rollout,
        );
    }
    metrics.event(&key, &Event::normal("RolloutUpdated", ""));
    metrics.attempt("Promoted", 12.0, 3.0);
    let label = RequestLabel {
        kind: "rollouts".into(),
        namespace: "ns".into(),
        name: "web".into(),
        verb: "Patch",
        watch: false,
    };
    metrics.request(&label, Some(200));
    let text = metrics.render(&objects()).unwrap();
    let families: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let missing: Vec<_> = PEER
        .iter()
        .filter(|name| !families.contains(*name))
        .collect();
    assert!(missing.is_empty(), "missing {missing:?} in {families:?}");
    for line in [
        r#"rollout_info{name="web",namespace="ns",phase="Paused",strategy="canary",traffic_router="Istio"} 1"#,
        r#"rollout_info_replicas_unavailable{name="web",namespace="ns"} 2"#,
        r#"rollout_phase{name="web",namespace="ns",phase="Paused",strategy="canary"} 1"#,
        r#"analysis_run_phase{name="r",namespace="ns",phase="Pending"} 1"#,
        r#"analysis_template_metric_info{metric="m",name="r",namespace="ns",type="Web"} 1"#,
        r#"workqueue_depth{name="Ingresses"} 0"#,
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

/// OPS-15: series of a deleted object stay for 65 s.
#[tokio::test(start_paused = true)]
async fn series_of_deleted_objects_end() {
    let metrics = Metrics::new().unwrap();
    let key = Key::new("ns", "web");
    metrics.pass(Subject::Rollout, &key, Duration::from_millis(3), true);
    metrics.event(&key, &Event::normal("RolloutDeleted", ""));
    metrics.deleted(Subject::Rollout, key);
    let render = || metrics.render(&ObjectGauges::default()).unwrap();
    assert!(render().contains("rollout_events_total"));
    tokio::time::advance(Duration::from_secs(66)).await;
    assert!(!render().contains("name=\"web\""), "{}", render());
}
