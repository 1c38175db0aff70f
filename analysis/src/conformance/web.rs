//! What is the web provider's own (ANA-56, ANA-57).

use wiremock::matchers::{body_string, header, method, path, query_param};

use super::*;

async fn outcome(body: &str, settings: serde_json::Value, condition: &str) -> String {
    let server = server(ResponseTemplate::new(200).set_body_string(body)).await;
    let mut web = json!({"url": server.uri()});
    web.as_object_mut()
        .unwrap()
        .extend(settings.as_object().unwrap().clone());
    let metric = json!({"name": "m", "successCondition": condition, "provider": {"web": web}});
    let measured = measure(metric).await.measurement;
    match measured.phase {
        AnalysisPhase::Error => measured.message,
        phase => format!("{phase} {}", measured.value),
    }
}

/// ANA-50, ANA-57
#[tokio::test]
async fn results() {
    let book = r#"{"a":{"b":[1,"<x>",null]},"ok":true}"#;
    for (body, path, condition, want) in [
        (book, "{$.a.b[0]}", "result == 1", "Successful 1"),
        (
            book,
            "{$.a.b[1]}",
            "result == '<x>'",
            "Successful \"\\u003cx\\u003e\"",
        ),
        (book, "{$.a.b[2]}", "isNil(result)", "Successful null"),
        (
            book,
            "{$.a}",
            "result.b[0] == 1",
            "Successful {\"b\":[1,\"\\u003cx\\u003e\",null]}",
        ),
        (
            book,
            "",
            "result.ok",
            "Successful {\"a\":{\"b\":[1,\"\\u003cx\\u003e\",null]},\"ok\":true}",
        ),
        (book, "$.a", "result == '$.a'", "Successful \"$.a\""),
        (
            "plain text",
            "{$.a}",
            "result contains 'text'",
            "Successful plain text",
        ),
        ("", "{$.a}", "result == ''", "Successful "),
        // ASE-15
        ("null", "", "isNil(result)", "Successful null"),
        (
            "[]",
            "{$[*]}",
            "true",
            "result of web metric produced no value",
        ),
        (
            book,
            "{.x}",
            "true",
            "Could not find JSONPath in body: x is not found",
        ),
        (
            book,
            "{.a.b[5]}",
            "true",
            "Could not find JSONPath in body: array index out of bounds: index 5, length 3",
        ),
        (
            book,
            "{.a",
            "true",
            "invalid jsonPath \"{.a\": unclosed action",
        ),
    ] {
        assert_eq!(
            outcome(body, json!({"jsonPath": path}), condition).await,
            want,
            "{path}"
        );
    }
}

/// ANA-56
#[tokio::test]
async fn bad_settings() {
    for (settings, want) in [
        (
            json!({"method": "POST", "body": "a", "jsonBody": {"a": 1}}),
            "use either Body or JSONBody; both cannot exists for WebMetric payload",
        ),
        (
            json!({"body": "a"}),
            "Body/JSONBody can only be used with POST or PUT WebMetric Method types",
        ),
        (
            json!({"method": "GET", "jsonBody": {"a": 1}}),
            "Body/JSONBody can only be used with POST or PUT WebMetric Method types",
        ),
        (
            json!({"url": "nowhere"}),
            "provider.web.url must be an absolute http or https URL",
        ),
        (
            json!({"authentication": {"oauth2": {"tokenUrl": "http://t", "clientId": "i"}}}),
            "missing mandatory parameter in metric for OAuth2 setup",
        ),
    ] {
        assert_eq!(outcome("{}", settings, "true").await, want);
    }
}

/// ANA-56: what is sent.
#[tokio::test]
async fn requests() {
    let server = MockServer::start().await;
    let ok = || ResponseTemplate::new(204);
    Mock::given(method("PUT"))
        .and(path("/p"))
        .and(query_param("q", "1"))
        .and(header("content-type", "application/json"))
        .and(header("x-a", "2"))
        .and(body_string(r#"{"a":{"b":1}}"#))
        .respond_with(ok())
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(body_string("raw"))
        .respond_with(ok())
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .respond_with(ok())
        .expect(1)
        .mount(&server)
        .await;
    let headers = json!([
        {"key": "Content-Type", "value": "text/plain"},
        {"key": "X-A", "value": "1"},
        {"key": "x-a", "value": "2"},
    ]);
    for web in [
        json!({"method": "PUT", "url": format!("{}/p?q=1", server.uri()),
            "headers": headers, "jsonBody": {"a": {"b": 1}}}),
        json!({"method": "POST", "url": server.uri(), "body": "raw"}),
        json!({"url": server.uri()}),
    ] {
        let measured = measure(json!({"name": "m", "provider": {"web": web}})).await;
        assert_eq!(phase(&measured), (AnalysisPhase::Successful, ""));
    }
}

/// ANA-49, ANA-56: the token replaces a header of the metric.
#[tokio::test]
async fn oauth2() {
    let server = MockServer::start().await;
    Mock::given(path("/token"))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_raw("access_token=tok&token_type=Custom", "text/plain"),
        )
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/"))
        .and(header("authorization", "Custom tok"))
        .respond_with(ResponseTemplate::new(200).set_body_string("1"))
        .expect(1)
        .mount(&server)
        .await;
    let web = json!({
        "url": server.uri(),
        "headers": [{"key": "Authorization", "value": "own"}],
        "authentication": {
            "oauth2": {"tokenUrl": format!("{}/token", server.uri()), "clientId": "i", "clientSecret": "s"},
            "basicAuth": {"username": "ignored"},
        },
    });
    let measured = measure(json!({"name": "m", "provider": {"web": web}})).await;
    assert_eq!(phase(&measured), (AnalysisPhase::Successful, ""));
}

/// A status must stay small enough to be written; the verdict sees everything.
#[tokio::test]
async fn long_values_are_cut() {
    let body = "é".repeat(100_000);
    let outcome = outcome(&body, json!({}), "len(result) == 100000").await;
    assert!(outcome.starts_with("Successful é") && outcome.ends_with("... (200000 bytes)"));
    assert!(outcome.len() < 17_000);
}
