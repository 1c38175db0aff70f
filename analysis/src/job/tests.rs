use expect_test::expect;
use jiff::Timestamp;
use kube::Client;
use serde_json::json;
use wiremock::matchers::{body_partial_json, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::measure::{Measured, Measurer, Request};
use crate::redact::Redactor;

const UID: &str = "5e1ee0ea-3a3c-4a4b-8c6d-1f2e3d4c5b6a";
const JOBS: &str = "/apis/batch/v1/namespaces/team/jobs";

fn now() -> Timestamp {
    "2026-05-01T10:00:50Z".parse().unwrap()
}

fn run() -> RunRef {
    RunRef {
        name: "run".into(),
        namespace: "team".into(),
        uid: UID.into(),
    }
}

fn client(server: &MockServer) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::try_from(kube::Config::new(server.uri().parse().unwrap())).unwrap()
}

fn measurer(cluster: JobCluster) -> Measurer {
    let context = Context::new().with_jobs(Arc::new(cluster));
    Measurer::new(Arc::new(context), Arc::new(now))
}

fn metric() -> sluice_crds::analysis::Metric {
    serde_json::from_value(json!({"name": "watch", "provider": {"job": {
        "metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
        "spec": {"backoffLimit": 0, "unknown": {"kept": true}, "template": {"spec": {"x": 1}}},
    }}}))
    .unwrap()
}

fn open() -> Measurement {
    serde_json::from_value(json!({
        "phase": "Running", "startedAt": "2026-05-01T10:00:00Z", "resumeAt": "2026-05-01T10:00:00Z",
        "metadata": {"job-name": format!("{UID}.watch.1"), "job-namespace": "team"},
    }))
    .unwrap()
}

fn job(status: Json) -> Json {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": format!("{UID}.watch.1"), "namespace": "team",
            "labels": {"analysisrun.argoproj.io/uid": UID},
            "ownerReferences": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
                "name": "run", "uid": UID, "controller": true}],
        },
        "spec": {"selector": {"matchLabels": {"controller-uid": "j1"}}},
        "status": status,
    })
}

fn failure(code: u16, reason: &str, message: &str) -> ResponseTemplate {
    ResponseTemplate::new(code).set_body_json(json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    }))
}

async fn on(server: &MockServer, verb: &str, at: &str, answer: ResponseTemplate) {
    Mock::given(method(verb))
        .and(path(at))
        .respond_with(answer)
        .mount(server)
        .await;
}

async fn start(cluster: JobCluster, ordinal: i32) -> Measured {
    let (run, metric, secrets) = (run(), metric(), Redactor::default());
    let request = Request {
        run: &run,
        metric: &metric,
        secrets: &secrets,
    };
    measurer(cluster).start(&request, ordinal).await
}

async fn resume(cluster: JobCluster) -> Measurement {
    let (run, metric, secrets) = (run(), metric(), Redactor::default());
    let request = Request {
        run: &run,
        metric: &metric,
        secrets: &secrets,
    };
    measurer(cluster)
        .resume(&request, &open())
        .await
        .measurement
}

fn shown(measurement: &Measurement) -> String {
    serde_json::to_string(measurement).unwrap()
}

/// ANA-58: what is created, nothing of the user's spec lost.
#[test]
fn manifest() {
    let metric = metric();
    let settings = metric.provider.job.unwrap();
    let made = manifest::job(&run(), "watch", &settings, 2, "team", true);
    expect![[r#"
        {
          "apiVersion": "batch/v1",
          "kind": "Job",
          "metadata": {
            "annotations": {
              "analysisrun.argoproj.io/metric-name": "watch",
              "analysisrun.argoproj.io/name": "run",
              "analysisrun.argoproj.io/namespace": "team",
              "note": "b"
            },
            "labels": {
              "analysisrun.argoproj.io/uid": "5e1ee0ea-3a3c-4a4b-8c6d-1f2e3d4c5b6a",
              "team": "a"
            },
            "name": "5e1ee0ea-3a3c-4a4b-8c6d-1f2e3d4c5b6a.watch.2",
            "namespace": "team",
            "ownerReferences": [
              {
                "apiVersion": "argoproj.io/v1alpha1",
                "blockOwnerDeletion": true,
                "controller": true,
                "kind": "AnalysisRun",
                "name": "run",
                "uid": "5e1ee0ea-3a3c-4a4b-8c6d-1f2e3d4c5b6a"
              }
            ]
          },
          "spec": {
            "backoffLimit": 0,
            "template": {
              "metadata": {
                "labels": {
                  "analysisrun.argoproj.io/uid": "5e1ee0ea-3a3c-4a4b-8c6d-1f2e3d4c5b6a"
                }
              },
              "spec": {
                "x": 1
              }
            },
            "unknown": {
              "kept": true
            }
          }
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&made).unwrap());
    // ASE-13: without owner it goes by itself.
    let made = manifest::job(&run(), "watch", &settings, 1, "jobs", false);
    assert_eq!(made.metadata.owner_references, None);
    assert_eq!(made.data["spec"]["ttlSecondsAfterFinished"], 86400);
}

/// ANA-58, ASE-11
#[test]
fn names() {
    let long = "error-rate-of-the-payment-service";
    for (metric, n, want) in [
        ("watch", 4, "watch.4"),
        ("exactly-twenty-four-char", 1, "exactly-twenty-four-char.1"),
        (long, 1, "error-rate-of-t-46b10fa3.1"),
        (
            "error-rate-of-the-order-service",
            1,
            "error-rate-of-t-2ed278a9.1",
        ),
        (long, 1000, "error-rate-o-46b10fa3.1000"),
        ("Error Rate", 1, "error-rate-2799c7a9.1"),
        ("é_/", 1, "efdb7a8f.1"),
        ("", 1, "811c9dc5.1"),
    ] {
        let name = manifest::name(UID, metric, n);
        let rest = name.strip_prefix(UID).unwrap().strip_prefix('.').unwrap();
        assert!(
            name.len() <= 63 && name.ends_with(&format!(".{n}")),
            "{name}"
        );
        let valid = |part: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-'))
                && !part.starts_with('-')
                && !part.ends_with('-')
        };
        assert!(name.split('.').all(valid), "{name}");
        // Hashes never change: another release must find the Job again.
        assert_eq!(rest, want);
    }
}

/// ANA-59
#[tokio::test]
async fn starts() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path(JOBS))
        .and(body_partial_json(
            json!({"metadata": {"name": format!("{UID}.watch.4")}}),
        ))
        .respond_with(ResponseTemplate::new(201).set_body_json(job(json!({}))))
        .expect(1)
        .mount(&server)
        .await;
    let measured = start(JobCluster::new(client(&server), None), 3).await;
    expect![[r#"{"phase":"Running","startedAt":"2026-05-01T10:00:50Z","metadata":{"job-name":"5e1ee0ea-3a3c-4a4b-8c6d-1f2e3d4c5b6a.watch.1","job-namespace":"team"},"resumeAt":"2026-05-01T10:00:50Z"}"#]]
    .assert_eq(&shown(&measured.measurement));
}

/// ANA-59: one that exists is ours, or an Error.
#[tokio::test]
async fn adopts_its_own() {
    let exists = || failure(409, "AlreadyExists", "jobs.batch \"x\" already exists");
    let at = format!("{JOBS}/{UID}.watch.1");
    let mut foreign = job(json!({}));
    foreign["metadata"]["ownerReferences"][0]["uid"] = "other".into();
    for (found, want) in [
        (job(json!({})), ""),
        (foreign, "jobs.batch \"x\" already exists"),
    ] {
        let server = MockServer::start().await;
        on(&server, "POST", JOBS, exists()).await;
        on(
            &server,
            "GET",
            &at,
            ResponseTemplate::new(200).set_body_json(found),
        )
        .await;
        let measured = start(JobCluster::new(client(&server), None), 0).await;
        assert_eq!(measured.measurement.message, want);
        let phase = if want.is_empty() {
            AnalysisPhase::Running
        } else {
            AnalysisPhase::Error
        };
        assert_eq!(measured.measurement.phase, phase);
    }
    // In another namespace nothing is owned: the label tells (ASE-12).
    let mut stranger = job(json!({}));
    stranger["metadata"]["labels"]["analysisrun.argoproj.io/uid"] = "other".into();
    for (found, phase) in [
        (job(json!({})), AnalysisPhase::Running),
        (stranger, AnalysisPhase::Error),
    ] {
        let server = MockServer::start().await;
        let jobs = "/apis/batch/v1/namespaces/jobs/jobs";
        on(&server, "POST", jobs, exists()).await;
        let found = ResponseTemplate::new(200).set_body_json(found);
        on(&server, "GET", &format!("{jobs}/{UID}.watch.1"), found).await;
        let cluster = JobCluster::new(client(&server), Some("jobs".to_owned()));
        assert_eq!(start(cluster, 0).await.measurement.phase, phase);
    }
}

/// ANA-60
#[tokio::test]
async fn looks_again() {
    let condition = |kind: &str| json!({"conditions": [{"type": kind, "status": "True"}]});
    let at = format!("{JOBS}/{UID}.watch.1");
    let times = r#""startedAt":"2026-05-01T10:00:00Z","finishedAt":"2026-05-01T10:00:50Z""#;
    for (status, want) in [
        (
            condition("Complete"),
            format!("{{\"phase\":\"Successful\",{times},"),
        ),
        (
            condition("Failed"),
            format!("{{\"phase\":\"Failed\",{times},"),
        ),
        (
            condition("Suspended"),
            "{\"phase\":\"Running\",\"startedAt\"".to_owned(),
        ),
    ] {
        let server = MockServer::start().await;
        let found = ResponseTemplate::new(200).set_body_json(job(status));
        on(&server, "GET", &at, found).await;
        let measurement = resume(JobCluster::new(client(&server), None)).await;
        assert!(
            shown(&measurement).starts_with(&want),
            "{}",
            shown(&measurement)
        );
        // √(2·50 s) = 10 s
        let at = if measurement.phase == AnalysisPhase::Running {
            "10:01:00"
        } else {
            "10:00:00"
        };
        assert_eq!(
            measurement.resume_at.unwrap().to_string(),
            format!("2026-05-01T{at}Z")
        );
        assert_eq!(measurement.metadata, open().metadata);
    }
}

/// ANA-60, ASE-12: what the cache has not seen is asked for; what is gone is an Error; an API that
/// does not answer is neither.
#[tokio::test]
async fn missing_jobs() {
    let at = format!("{JOBS}/{UID}.watch.1");
    let done = job(json!({"conditions": [{"type": "Complete"}]}));
    for (cached, answer, phase, message) in [
        (
            Some(done.clone()),
            failure(500, "", ""),
            AnalysisPhase::Successful,
            "",
        ),
        (
            None,
            ResponseTemplate::new(200).set_body_json(done),
            AnalysisPhase::Successful,
            "",
        ),
        (
            None,
            failure(404, "NotFound", "jobs.batch \"j\" not found"),
            AnalysisPhase::Error,
            "jobs.batch \"j\" not found",
        ),
        (
            None,
            failure(500, "InternalError", "etcd"),
            AnalysisPhase::Running,
            "",
        ),
        (
            None,
            failure(403, "Forbidden", "no"),
            AnalysisPhase::Running,
            "",
        ),
    ] {
        let server = MockServer::start().await;
        on(&server, "GET", &at, answer).await;
        let cached: Option<DynamicObject> = cached.map(|j| serde_json::from_value(j).unwrap());
        let cache: JobCache = Arc::new(move |_, _| cached.clone());
        let measurement = resume(JobCluster::new(client(&server), None).with_cache(cache)).await;
        assert_eq!(
            (&measurement.phase, &*measurement.message),
            (&phase, message)
        );
        assert_eq!(measurement.metadata, open().metadata);
    }
}

/// ANA-60: pods that cannot be pulled will not get better.
#[tokio::test]
async fn terminal_pods() {
    let pod = |reason: &str| {
        json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [{
            "metadata": {"name": "p"}, "spec": {"containers": []},
            "status": {"containerStatuses": [{
                "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": reason, "message": "no such image"}},
            }]},
        }]})
    };
    for (reason, phase, message) in [
        (
            "ImagePullBackOff",
            AnalysisPhase::Inconclusive,
            "Pod p, container c has terminal error (ImagePullBackOff): no such image\n",
        ),
        ("ContainerCreating", AnalysisPhase::Running, ""),
    ] {
        let server = MockServer::start().await;
        let active = ResponseTemplate::new(200).set_body_json(job(json!({"active": 1})));
        on(&server, "GET", &format!("{JOBS}/{UID}.watch.1"), active).await;
        Mock::given(path("/api/v1/namespaces/team/pods"))
            .and(query_param("labelSelector", "controller-uid=j1"))
            .respond_with(ResponseTemplate::new(200).set_body_json(pod(reason)))
            .expect(1)
            .mount(&server)
            .await;
        let measurement = resume(JobCluster::new(client(&server), None)).await;
        assert_eq!(
            (&measurement.phase, &*measurement.message),
            (&phase, message)
        );
    }
}

/// ANA-60: nothing is remembered, or it is another run's.
#[tokio::test]
async fn not_ours() {
    let server = MockServer::start().await;
    let mut stranger = job(json!({}));
    stranger["metadata"]["labels"] = json!({});
    let found = ResponseTemplate::new(200).set_body_json(stranger);
    on(&server, "GET", &format!("{JOBS}/{UID}.watch.1"), found).await;
    let measurement = resume(JobCluster::new(client(&server), None)).await;
    assert_eq!(
        measurement.message,
        format!("job.batch \"{UID}.watch.1\" does not belong to AnalysisRun run")
    );
    let provider = JobProvider {
        cluster: Arc::new(JobCluster::new(client(&server), None)),
        run: run(),
        metric: "watch".to_owned(),
        job: JobMetric::default(),
    };
    let progress = provider.poll(&Measurement::default(), now()).await;
    assert_eq!(progress.message, "job metadata reference missing");
}

/// ANA-61
#[tokio::test]
async fn stops() {
    for (answer, phase) in [
        (
            ResponseTemplate::new(200).set_body_json(job(json!({}))),
            AnalysisPhase::Inconclusive,
        ),
        (
            failure(404, "NotFound", "gone"),
            AnalysisPhase::Inconclusive,
        ),
        (failure(403, "Forbidden", "no"), AnalysisPhase::Error),
    ] {
        let server = MockServer::start().await;
        Mock::given(method("DELETE"))
            .and(path(format!("{JOBS}/{UID}.watch.1")))
            .and(body_partial_json(
                json!({"propagationPolicy": "Foreground"}),
            ))
            .respond_with(answer)
            .expect(1)
            .mount(&server)
            .await;
        let (run, metric, secrets) = (run(), metric(), Redactor::default());
        let request = Request {
            run: &run,
            metric: &metric,
            secrets: &secrets,
        };
        let measurer = measurer(JobCluster::new(client(&server), None));
        let measurement = measurer.terminate(&request, &open()).await.measurement;
        assert_eq!(measurement.phase, phase);
        assert_eq!(measurement.finished_at, Some(now().into()));
        assert_eq!(measurement.metadata, open().metadata);
    }
}

/// ASE-12: the answer to the creation is lost; the Job that came of it is found.
#[tokio::test]
async fn finds_what_it_made() {
    for (found, want) in [
        (
            ResponseTemplate::new(200).set_body_json(job(json!({}))),
            "Running",
        ),
        (failure(404, "NotFound", "not found"), "Error"),
    ] {
        let server = MockServer::start().await;
        on(&server, "POST", JOBS, failure(500, "InternalError", "lost")).await;
        on(&server, "GET", &format!("{JOBS}/{UID}.watch.1"), found).await;
        let measured = start(JobCluster::new(client(&server), None), 0).await;
        assert_eq!(measured.measurement.phase.as_str(), want);
    }
}

/// ANA-61, ASE-13: only finished Jobs, only of this metric.
#[tokio::test]
async fn garbage() {
    let item = |name: &str, metric: &str, created: &str, done: bool| {
        let mut item = job(if done {
            json!({"conditions": [{"type": "Complete"}]})
        } else {
            json!({"active": 1})
        });
        item["metadata"]["name"] = name.into();
        item["metadata"]["creationTimestamp"] = created.into();
        item["metadata"]["annotations"] = json!({"analysisrun.argoproj.io/metric-name": metric});
        item
    };
    let list = json!({"kind": "JobList", "apiVersion": "batch/v1", "metadata": {}, "items": [
        item("new", "watch", "2026-05-01T10:00:04Z", true),
        item("old", "watch", "2026-05-01T10:00:02Z", true),
        item("old-running", "watch", "2026-05-01T10:00:01Z", false),
        item("other", "other", "2026-05-01T10:00:00Z", true),
        item("oldest", "watch", "2026-05-01T10:00:00Z", true),
    ]});
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path(JOBS))
        .and(query_param(
            "labelSelector",
            format!("analysisrun.argoproj.io/uid={UID}"),
        ))
        .respond_with(ResponseTemplate::new(200).set_body_json(list))
        .expect(1)
        .mount(&server)
        .await;
    for name in ["old", "oldest"] {
        Mock::given(method("DELETE"))
            .and(path(format!("{JOBS}/{name}")))
            .respond_with(ResponseTemplate::new(200).set_body_json(job(json!({}))))
            .expect(1)
            .mount(&server)
            .await;
    }
    let (run, metric, secrets) = (run(), metric(), Redactor::default());
    let request = Request {
        run: &run,
        metric: &metric,
        secrets: &secrets,
    };
    let measurer = measurer(JobCluster::new(client(&server), None));
    assert_eq!(measurer.collect_garbage(&request, 1).await, Ok(()));
}
