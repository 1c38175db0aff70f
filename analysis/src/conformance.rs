//! What every provider that answers at once must do, whoever it asks. A new one adds a [`Subject`]
//! and a line at the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use sluice_crds::analysis::{AnalysisPhase, Measurement, Metric};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::{Context, Measured, Measurer, Redactor, Request, RunRef};

mod prometheus;
mod web;

/// A provider under test.
#[derive(Clone, Copy)]
struct Subject {
    /// The metric that asks the server at this address, with a deadline of a second, for a number
    /// that `result` stands for in the conditions below. The query holds `query`.
    metric: fn(address: &str, query: &str) -> serde_json::Value,
    /// An answer that holds this number.
    answer: fn(f64) -> ResponseTemplate,
    /// The number, in conditions.
    number: &'static str,
    /// An answer that is not understood.
    malformed: &'static str,
}

const PROMETHEUS: Subject = Subject {
    metric: |address, query| {
        json!({"name": "m", "provider": {"prometheus": {
            "address": address, "query": query, "timeout": 1,
        }}})
    },
    answer: |x| {
        ResponseTemplate::new(200).set_body_json(json!({"status": "success", "data": {
            "resultType": "vector",
            "result": [{"metric": {}, "value": [1.5, x.to_string()]}],
        }}))
    },
    number: "result[0]",
    malformed: "{\"status\":",
};

const WEB: Subject = Subject {
    metric: |address, query| {
        json!({"name": "m", "provider": {"web": {
            "url": format!("{address}/?q={query}"), "jsonPath": "{.x}", "timeoutSeconds": 1,
        }}})
    },
    answer: |x| ResponseTemplate::new(200).set_body_json(json!({"x": x})),
    number: "result",
    malformed: "{}",
};

/// What time it is in these tests.
fn now() -> Timestamp {
    "2026-05-01T10:00:00.25Z".parse().unwrap()
}

fn run() -> RunRef {
    RunRef {
        name: "run".into(),
        namespace: "default".into(),
        uid: "uid-1".into(),
    }
}

async fn server(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

async fn measure(metric: serde_json::Value) -> Measured {
    measure_with(Context::new(), metric, &Redactor::default()).await
}

async fn measure_with(context: Context, metric: serde_json::Value, secrets: &Redactor) -> Measured {
    let metric: Metric = serde_json::from_value(metric).unwrap();
    let measurer = Measurer::new(Arc::new(context), Arc::new(now));
    let run = run();
    measurer
        .start(
            &Request {
                run: &run,
                metric: &metric,
                secrets,
            },
            0,
        )
        .await
}

fn phase(measured: &Measured) -> (AnalysisPhase, &str) {
    (
        measured.measurement.phase.clone(),
        &measured.measurement.message,
    )
}

fn is_error(measurement: &Measurement) -> bool {
    let done = measurement.started_at.is_some() && measurement.finished_at.is_some();
    measurement.phase == AnalysisPhase::Error
        && done
        && measurement.value.is_empty()
        && !measurement.message.is_empty()
}

/// ANA-77: conditions decide; times and value are written.
async fn judged_by_conditions(subject: Subject) {
    let server = server((subject.answer)(0.5)).await;
    let n = subject.number;
    for (success, failure, want) in [
        (String::new(), String::new(), AnalysisPhase::Successful),
        (format!("{n} < 1"), String::new(), AnalysisPhase::Successful),
        (format!("{n} > 1"), String::new(), AnalysisPhase::Failed),
        (String::new(), format!("{n} < 1"), AnalysisPhase::Failed),
        (
            format!("{n} > 1"),
            format!("{n} > 2"),
            AnalysisPhase::Inconclusive,
        ),
    ] {
        let mut metric = (subject.metric)(&server.uri(), "up");
        metric["successCondition"] = success.as_str().into();
        metric["failureCondition"] = failure.as_str().into();
        let measured = measure(metric).await;
        assert_eq!(phase(&measured), (want, ""), "{success} / {failure}");
        let measurement = measured.measurement;
        assert!(measurement.value.contains("0.5"), "{}", measurement.value);
        assert_eq!(measurement.started_at, Some(now().into()));
        assert_eq!(measurement.finished_at, Some(now().into()));
        assert_eq!(measurement.resume_at, None);
    }
}

/// ANA-51: a condition that cannot be evaluated is an Error without value.
async fn broken_condition_is_error(subject: Subject) {
    let server = server((subject.answer)(0.5)).await;
    let mut metric = (subject.metric)(&server.uri(), "up");
    metric["successCondition"] = "nonsense > 1".into();
    let measured = measure(metric).await;
    assert!(is_error(&measured.measurement), "{measured:?}");
    assert_eq!(
        measured.measurement.message,
        "could not evaluate successCondition \"nonsense > 1\": unknown name nonsense (1:1)"
    );
}

/// ANA-57, ANA-55: only 2xx is an answer.
async fn other_status_is_error(subject: Subject) {
    for status in [301, 400, 401, 404, 500, 503] {
        let server = server(ResponseTemplate::new(status)).await;
        let measured = measure((subject.metric)(&server.uri(), "up")).await;
        assert!(is_error(&measured.measurement), "{status}: {measured:?}");
    }
}

/// An answer that is not understood is never a verdict.
async fn malformed_body_is_error(subject: Subject) {
    let server = server(ResponseTemplate::new(200).set_body_string(subject.malformed)).await;
    let measured = measure((subject.metric)(&server.uri(), "up")).await;
    assert!(is_error(&measured.measurement), "{measured:?}");
}

/// ASE-10: bodies are read up to a limit.
async fn huge_body_is_error(subject: Subject) {
    let body = vec![b' '; crate::MAX_BODY + 1];
    let server = server(ResponseTemplate::new(200).set_body_bytes(body)).await;
    let mut metric = (subject.metric)(&server.uri(), "up");
    // Reading it may take long on a busy machine; that is not what is asked here.
    if subject.number == WEB.number {
        metric["provider"]["web"]["timeoutSeconds"] = 60.into();
    } else {
        metric["provider"]["prometheus"]["timeout"] = 60.into();
    }
    let measured = measure(metric).await;
    assert!(is_error(&measured.measurement), "{measured:?}");
    assert!(
        measured
            .measurement
            .message
            .contains("larger than 10485760 bytes"),
        "{measured:?}"
    );
}

/// ANA-52, ASE-10: one deadline for everything; a server that is silent holds nobody up.
async fn silence_is_error(subject: Subject) {
    let slow = (subject.answer)(0.5).set_delay(Duration::from_secs(600));
    let server = server(slow).await;
    let started = Instant::now();
    let measured = measure((subject.metric)(&server.uri(), "up")).await;
    assert!(started.elapsed() < Duration::from_secs(30));
    assert!(is_error(&measured.measurement), "{measured:?}");
    assert!(
        measured
            .measurement
            .message
            .contains("context deadline exceeded"),
        "{measured:?}"
    );
}

/// Nobody there is an Error that says where nobody was.
async fn refused_connection_is_error(subject: Subject) {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let measured = measure((subject.metric)(&format!("http://127.0.0.1:{port}"), "up")).await;
    assert!(is_error(&measured.measurement), "{measured:?}");
    let message = measured.measurement.message.to_lowercase();
    assert!(message.contains(&format!("127.0.0.1:{port}")), "{message}");
    assert!(message.contains("connection refused"), "{message}");
}

/// ASE-3: secrets are in nothing that is written, whatever the server echoes.
async fn secrets_are_hidden(subject: Subject) {
    let secret = "s3cr3t/+x";
    let redactor = Redactor::new([secret]);
    for (status, body) in [
        (200, format!("{{\"x\": \"{secret}\"}}")),
        (
            200,
            format!("{{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"{secret}\"}}"),
        ),
        (500, secret.to_owned()),
    ] {
        let server = server(ResponseTemplate::new(status).set_body_string(body)).await;
        let mut metric = (subject.metric)(&server.uri(), "s3cr3t%2F%2Bx");
        metric["successCondition"] = format!("{} == '{secret}'", subject.number).into();
        let measured = measure_with(Context::new(), metric, &redactor).await;
        let written = serde_json::to_string(&measured.measurement).unwrap();
        let metadata = format!("{:?}", measured.metadata);
        for form in [secret, "s3cr3t"] {
            assert!(!written.contains(form), "{written}");
            assert!(!metadata.contains(form), "{metadata}");
        }
    }
}

/// A certificate that nobody vouches for is refused, unless the metric says `insecure`. There is no
/// TLS server here: that its handshake fails, and is not taken for an answer, is what counts.
async fn plain_server_is_no_tls_server(subject: Subject) {
    let server = server((subject.answer)(0.5)).await;
    let address = server.uri().replace("http://", "https://");
    let measured = measure((subject.metric)(&address, "up")).await;
    assert!(is_error(&measured.measurement), "{measured:?}");
}

macro_rules! conformance {
    ($($name:ident: $subject:expr;)+) => { $(
        mod $name {
            use super::super::*;

            conformance!(@tests $subject;
                judged_by_conditions, broken_condition_is_error, other_status_is_error,
                malformed_body_is_error, huge_body_is_error, silence_is_error,
                refused_connection_is_error, secrets_are_hidden, plain_server_is_no_tls_server);
        }
    )+ };
    (@tests $subject:expr; $($test:ident),+) => { $(
        #[tokio::test]
        async fn $test() {
            super::super::$test($subject).await;
        }
    )+ };
}

mod every_provider {
    conformance! {
        prometheus: PROMETHEUS;
        web: WEB;
    }
}

/// ANA-12, ANA-47: what cannot be built is an Error measurement, at once.
#[tokio::test]
async fn what_cannot_be_built() {
    for (provider, want) in [
        (json!({}), "no valid provider in metric 'm'"),
        (
            json!({"kayenta": {}}),
            "metric provider kayenta is not supported yet",
        ),
        (
            json!({"datadog": {"query": "q"}}),
            "metric provider datadog is not supported yet",
        ),
        (
            json!({"wavefront": {}}),
            "metric provider wavefront is not supported yet",
        ),
        (
            json!({"newRelic": {}}),
            "metric provider newRelic is not supported yet",
        ),
        (
            json!({"cloudWatch": {}}),
            "metric provider cloudWatch is not supported yet",
        ),
        (
            json!({"graphite": {}}),
            "metric provider graphite is not supported yet",
        ),
        (
            json!({"influxdb": {}}),
            "metric provider influxdb is not supported yet",
        ),
        (
            json!({"skywalking": {}}),
            "metric provider skywalking is not supported yet",
        ),
        (
            json!({"plugin": {"acme/sample": {}}}),
            "metric provider plugin acme/sample is not supported yet",
        ),
        (
            json!({"job": {"spec": {}}}),
            "metric provider job: there is no Kubernetes cluster to run Jobs in",
        ),
    ] {
        let measured = measure(json!({"name": "m", "provider": provider})).await;
        assert!(is_error(&measured.measurement), "{measured:?}");
        assert_eq!(measured.measurement.message, want);
    }
}

/// ANA-13: a provider that leaves nothing open leaves an open measurement as it is; one that cannot
/// be built makes it an Error.
#[tokio::test]
async fn open_measurements() {
    let open = Measurement {
        phase: AnalysisPhase::Running,
        started_at: Some(now().into()),
        ..Measurement::default()
    };
    let measurer = Measurer::new(Arc::new(Context::new()), Arc::new(now));
    let (run, secrets) = (run(), Redactor::default());
    for (provider, want) in [
        (
            json!({"web": {"url": "http://127.0.0.1"}}),
            AnalysisPhase::Running,
        ),
        (json!({"datadog": {}}), AnalysisPhase::Error),
    ] {
        let metric = json!({"name": "m", "provider": provider});
        let metric: Metric = serde_json::from_value(metric).unwrap();
        let request = Request {
            run: &run,
            metric: &metric,
            secrets: &secrets,
        };
        assert_eq!(
            measurer.resume(&request, &open).await.measurement.phase,
            want
        );
        assert_eq!(
            measurer.terminate(&request, &open).await.measurement.phase,
            want
        );
        let swept = measurer.collect_garbage(&request, 1).await;
        assert_eq!(swept.is_ok(), want == AnalysisPhase::Running);
    }
}

mod isolation {
    use std::collections::BTreeMap;

    use futures::future::{BoxFuture, FutureExt as _};

    use super::*;
    use crate::measure::short;
    use crate::provider::{Provider, Reading};

    struct Fake(fn() -> Result<Reading, String>, Duration);

    impl Provider for Fake {
        fn deadline(&self) -> Duration {
            self.1
        }

        fn describe(&self) -> String {
            "fake".to_owned()
        }

        fn measure(&self, _now: Timestamp) -> BoxFuture<'_, Result<Reading, String>> {
            async move {
                tokio::task::yield_now().await;
                (self.0)()
            }
            .boxed()
        }
    }

    /// ASE-15: a panic is an Error of one measurement.
    #[tokio::test]
    async fn panics_are_errors() {
        let work = async {
            let provider = Fake(|| panic!("boom"), Duration::from_secs(1));
            Ok(short(&provider, &Metric::default(), now()).await)
        };
        let outcome = crate::measure::isolated(work).await;
        assert_eq!(outcome.unwrap_err(), "metric provider panicked: boom");
    }

    /// ANA-52: a deadline of 0 is over before it began.
    #[tokio::test]
    async fn no_time_at_all() {
        let provider = Fake(|| Ok(Reading::default()), Duration::ZERO);
        let measurement = short(&provider, &Metric::default(), now()).await;
        assert_eq!(measurement.phase, AnalysisPhase::Error);
    }

    /// ANA-51, ANA-72: some providers keep their value when the condition is broken.
    #[tokio::test]
    async fn kept_value() {
        let provider = Fake(
            || {
                Ok(Reading {
                    value: "[]".to_owned(),
                    metadata: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
                    keep_value: true,
                    ..Reading::default()
                })
            },
            Duration::from_secs(1),
        );
        let metric = Metric {
            success_condition: "result > 1".to_owned(),
            ..Metric::default()
        };
        let measurement = short(&provider, &metric, now()).await;
        assert_eq!(
            (measurement.phase, &*measurement.value),
            (AnalysisPhase::Error, "[]")
        );
        assert_eq!(measurement.metadata["k"], "v");
    }
}
