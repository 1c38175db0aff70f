//! What is Prometheus' own (ANA-52..55).

use wiremock::matchers::{body_string_contains, header, method, path, query_param};

use super::*;

fn metric(settings: serde_json::Value) -> serde_json::Value {
    let mut prometheus = json!({"query": "up", "timeout": 5});
    prometheus
        .as_object_mut()
        .unwrap()
        .extend(settings.as_object().unwrap().clone());
    json!({"name": "m", "provider": {"prometheus": prometheus}})
}

fn success(data: serde_json::Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"status": "success", "data": data}))
}

async fn value_of(body: ResponseTemplate, condition: &str) -> String {
    let server = server(body).await;
    let mut metric = metric(json!({"address": server.uri()}));
    metric["successCondition"] = condition.into();
    let measured = measure(metric).await.measurement;
    match measured.phase {
        AnalysisPhase::Error => measured.message,
        phase => format!("{phase} {}", measured.value),
    }
}

/// ANA-50, ANA-55
#[tokio::test]
async fn kinds_and_texts() {
    let vector = |values: &[&str]| {
        let result: Vec<_> = values
            .iter()
            .map(|v| json!({"metric": {}, "value": [1, v]}))
            .collect();
        success(json!({"resultType": "vector", "result": result}))
    };
    for (body, condition, want) in [
        (
            success(json!({"resultType": "scalar", "result": [1, "10"]})),
            "result == 10",
            "Successful 10",
        ),
        (
            vector(&["0.5", "1e21"]),
            "result[1] > 1",
            "Successful [0.5,1000000000000000000000]",
        ),
        (
            vector(&["NaN", "+Inf", "-Inf"]),
            "isNaN(result[0])",
            "Successful [NaN,+Inf,-Inf]",
        ),
        (vector(&[]), "len(result) == 0", "Successful []"),
        (
            vector(&[]),
            "result[0] > 1",
            "could not evaluate successCondition \"result[0] > 1\": metric result is nil or \
             empty: no data returned from the metric provider",
        ),
        (
            success(json!({"resultType": "matrix", "result": [
                {"metric": {}, "values": [[1, "1"], [2, "2"]]}, {"metric": {}, "values": [[1, "3"]]},
            ]})),
            "sum(result) == 6",
            "Successful [1,2,3]",
        ),
        (
            success(json!({"resultType": "string", "result": [1, "a"]})),
            "true",
            "unexpected value type \"string\"",
        ),
        (
            success(
                json!({"resultType": "vector", "result": [{"metric": {}, "histogram": [1, {}]}]}),
            ),
            "true",
            "native histograms are not supported yet, use histogram_quantile() or another \
             function that yields floats",
        ),
        (
            ResponseTemplate::new(400).set_body_json(
                json!({"status": "error", "errorType": "bad_data", "error": "parse error"}),
            ),
            "true",
            "bad_data: parse error",
        ),
        (
            ResponseTemplate::new(200).set_body_json(
                json!({"status": "error", "errorType": "execution", "error": "too many"}),
            ),
            "true",
            "execution: too many",
        ),
        (
            ResponseTemplate::new(404),
            "true",
            "client_error: client error: 404",
        ),
        (
            ResponseTemplate::new(502),
            "true",
            "server_error: server error: 502",
        ),
        (
            ResponseTemplate::new(400).set_body_json(json!({"status": "success"})),
            "true",
            "bad_response: inconsistent body for response code 400",
        ),
    ] {
        assert_eq!(value_of(body, condition).await, want);
    }
}

/// ANA-55: warnings reach the measurement, the query its metric.
#[tokio::test]
async fn metadata() {
    let body = json!({"status": "success", "warnings": ["w\"1", "w2"],
        "data": {"resultType": "vector", "result": []}});
    let server = server(ResponseTemplate::new(200).set_body_json(body)).await;
    let measured = measure(metric(json!({"address": server.uri(), "query": "sum(x)"}))).await;
    assert_eq!(measured.measurement.metadata["warnings"], r#""w\"1", "w2""#);
    assert_eq!(measured.metadata["ResolvedPrometheusQuery"], "sum(x)");
}

/// ANA-53: a POST with the time; below the path of the address.
#[tokio::test]
async fn instant_query() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/prom/api/v1/query"))
        .and(body_string_contains("query=up%7Ba%3D%22b%22%7D"))
        .and(body_string_contains("time=1777629600.25"))
        .respond_with(success(json!({"resultType": "vector", "result": []})))
        .expect(1)
        .mount(&server)
        .await;
    let address = format!("{}/prom/", server.uri());
    let measured = measure(metric(json!({"address": address, "query": "up{a=\"b\"}"}))).await;
    assert_eq!(phase(&measured), (AnalysisPhase::Successful, ""));
}

/// ANA-53: bounds are expressions.
#[tokio::test]
async fn range_query() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/api/v1/query_range"))
        .and(body_string_contains("start=1777626000.25"))
        .and(body_string_contains("end=1777629600.25"))
        .and(body_string_contains("step=90"))
        .respond_with(success(json!({"resultType": "matrix", "result": []})))
        .expect(1)
        .mount(&server)
        .await;
    let range = json!({"start": "now() - duration(\"1h\")", "end": "now()", "step": "1m30s"});
    let measured = measure(metric(
        json!({"address": server.uri(), "rangeQuery": range}),
    ))
    .await;
    assert_eq!(phase(&measured), (AnalysisPhase::Successful, ""));
    for (start, step, want) in [
        (
            "1 +",
            "1m",
            "failed to parse rangeQuery.start as time: unexpected end of expression (1:4)",
        ),
        (
            "5",
            "1m",
            "failed to parse rangeQuery.start as time: expected time.Time, but got int",
        ),
        (
            "result",
            "1m",
            "failed to parse rangeQuery.start as time: unknown name result (1:1)",
        ),
        (
            "asInt(1)",
            "1m",
            "failed to parse rangeQuery.start as time: unknown name asInt (1:1)",
        ),
        (
            "now()",
            "1d",
            "failed to parse rangeQuery.step as duration: time: unknown unit \"d\" in duration \"1d\"",
        ),
    ] {
        let range = json!({"start": start, "end": "now()", "step": step});
        let measured = measure(metric(
            json!({"address": server.uri(), "rangeQuery": range}),
        ))
        .await;
        assert_eq!(phase(&measured), (AnalysisPhase::Error, want));
    }
}

/// ANA-53: where POST is not allowed, GET.
#[tokio::test]
async fn falls_back_to_get() {
    for status in [403, 405, 501] {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(status))
            .expect(1)
            .mount(&server)
            .await;
        Mock::given(method("GET"))
            .and(query_param("query", "up"))
            .and(query_param("time", "1777629600.25"))
            .respond_with(success(json!({"resultType": "vector", "result": []})))
            .expect(1)
            .mount(&server)
            .await;
        let measured = measure(metric(json!({"address": server.uri()}))).await;
        assert_eq!(
            phase(&measured),
            (AnalysisPhase::Successful, ""),
            "{status}"
        );
    }
}

/// ANA-54: who is asked for the metric sees these headers.
#[tokio::test]
async fn headers_and_passwords() {
    for (settings, want) in [
        (
            json!({"basicAuth": {"username": "u", "password": "p"}}),
            "Basic dTpw",
        ),
        (json!({}), "Bearer own"),
    ] {
        let server = MockServer::start().await;
        Mock::given(header("authorization", want))
            .and(header("x-scope-orgid", "b"))
            .respond_with(success(json!({"resultType": "vector", "result": []})))
            .expect(1)
            .mount(&server)
            .await;
        let mut headers = vec![
            json!({"key": "X-Scope-OrgID", "value": "a"}),
            json!({"key": "X-Scope-OrgID", "value": "b"}),
        ];
        if want == "Bearer own" {
            headers.push(json!({"key": "Authorization", "value": want}));
        }
        let measured = measure(metric(
            json!({"address": server.uri(), "headers": headers, "authentication": settings}),
        ))
        .await;
        assert_eq!(phase(&measured), (AnalysisPhase::Successful, ""), "{want}");
    }
}

/// ANA-52, ANA-54
#[tokio::test]
async fn bad_settings() {
    let aps = "https://aps-workspaces.eu-west-1.amazonaws.com/workspaces/ws";
    for (settings, want) in [
        (json!({}), "prometheus address is not configured"),
        (
            json!({"address": "prometheus:9090"}),
            "prometheus address is not is url format",
        ),
        (
            json!({"address": "/metrics"}),
            "prometheus address is not is url format",
        ),
        (
            json!({"address": "http://p", "timeout": -1}),
            "prometheus timeout should not be negative",
        ),
        (
            json!({"address": "http://p", "authentication": {"basicAuth": {"username": "u"}}}),
            "missing mandatory parameter in metric for basic auth setup: password",
        ),
        (
            json!({"address": "http://p", "authentication": {"basicAuth": {"password": "u"}}}),
            "missing mandatory parameter in metric for basic auth setup: username",
        ),
        (
            json!({"address": "http://p", "authentication": {"oauth2": {"tokenUrl": "http://t"}}}),
            "missing mandatory parameter in metric for OAuth2 setup",
        ),
        (
            json!({"address": aps, "authentication": {"sigv4": {"region": "eu-west-1"}}}),
            "provider.prometheus.authentication.sigv4 is not supported yet",
        ),
        (
            json!({"address": "http://p", "headers": [{"key": "a b", "value": ""}]}),
            "net/http: invalid header field name \"a b\"",
        ),
    ] {
        let measured = measure(metric(settings)).await;
        assert_eq!(phase(&measured), (AnalysisPhase::Error, want));
    }
}

/// ANA-52: the environment's address is asked where the metric has none.
#[tokio::test]
async fn address_of_the_environment() {
    let server = server(success(json!({"resultType": "vector", "result": []}))).await;
    let context = Context::new().with_prometheus(server.uri());
    let measured = measure_with(context, metric(json!({})), &Redactor::default()).await;
    assert_eq!(phase(&measured), (AnalysisPhase::Successful, ""));
}

/// ANA-49: tokens by client credentials, kept while they last, asked for again when refused.
#[tokio::test]
async fn oauth2() {
    let server = MockServer::start().await;
    Mock::given(path("/token"))
        .and(header("authorization", "Basic aWQlMkYxOnMlMkJ4"))
        .and(header("x-own", "1"))
        .and(body_string_contains(
            "grant_type=client_credentials&scope=a+b",
        ))
        .respond_with(ResponseTemplate::new(200).set_body_json(
            json!({"access_token": "tok", "token_type": "bearer", "expires_in": 3600}),
        ))
        .expect(2)
        .mount(&server)
        .await;
    let answer = || success(json!({"resultType": "vector", "result": []}));
    Mock::given(path("/api/v1/query"))
        .and(header("authorization", "Bearer tok"))
        .respond_with(answer())
        .up_to_n_times(2)
        .mount(&server)
        .await;
    Mock::given(path("/api/v1/query"))
        .respond_with(ResponseTemplate::new(401))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(path("/api/v1/query"))
        .respond_with(answer())
        .mount(&server)
        .await;
    let metric = metric(json!({
        "address": server.uri(),
        "headers": [{"key": "x-own", "value": "1"}],
        "authentication": {"oauth2": {
            "tokenUrl": format!("{}/token", server.uri()),
            "clientId": "id/1", "clientSecret": "s+x", "scopes": ["a", "b"],
        }},
    }));
    let metric: Metric = serde_json::from_value(metric).unwrap();
    let measurer = Measurer::new(Arc::new(Context::new()), Arc::new(now));
    let (run, secrets) = (run(), Redactor::default());
    // Two with the first token, then that one is refused.
    for _ in 0..3 {
        let request = Request {
            run: &run,
            metric: &metric,
            secrets: &secrets,
        };
        let measured = measurer.start(&request, 0).await;
        assert_eq!(phase(&measured), (AnalysisPhase::Successful, ""));
    }
}

/// ANA-49: the second way of presenting credentials, and what is said when none works.
#[tokio::test]
async fn oauth2_failures() {
    for (status, kind, body, want) in [
        (
            400,
            "application/json",
            r#"{"error":"invalid_client","error_description":"who?"}"#,
            "oauth2: \"invalid_client\" \"who?\"",
        ),
        (
            500,
            "text/html",
            "oops",
            "oauth2: cannot fetch token: 500 Internal Server Error\nResponse: oops",
        ),
        (
            200,
            "application/json",
            "{}",
            "oauth2: server response missing access_token",
        ),
        (200, "text/plain", "error=denied", "oauth2: \"denied\" \"\""),
    ] {
        let server = MockServer::start().await;
        Mock::given(path("/token"))
            .respond_with(ResponseTemplate::new(status).set_body_raw(body, kind))
            .expect(2)
            .mount(&server)
            .await;
        let measured = measure(metric(json!({
            "address": server.uri(),
            "authentication": {"oauth2": {
                "tokenUrl": format!("{}/token", server.uri()), "clientId": "i", "clientSecret": "s",
            }},
        })))
        .await;
        assert_eq!(phase(&measured), (AnalysisPhase::Error, want));
    }
}
