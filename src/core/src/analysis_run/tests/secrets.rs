//! What can be known and said without giving secrets away (ANA-14, ASE-3).

use super::*;

/// ANA-14: texts, too; the longest secret first, so that nothing of it stays beside a shorter one.
#[test]
fn texts_are_masked() {
    let masked =
        |secrets: &[&str]| args::redacted("token-2 and tok".to_owned(), secrets.iter().copied());
    assert_eq!(masked(&["tok", "token-2"]), "***** and *****");
    assert_eq!(masked(&["", "other"]), "token-2 and tok");
}

/// ANA-30, ANA-31: something that runs is looked after without the Secret that it was started with.
#[test]
fn a_running_metric_is_known_without_its_secret() {
    let mut run = analysis_run(
        "r",
        [
            metric("first", json!({})),
            metric(
                "second",
                json!({ "failureCondition": "result > {{args.limit}}",
                "provider": { "web": { "url": "http://{{args.host}}",
                    "headers": [{ "key": "a", "value": "{{args.key}}" }] } } }),
            ),
        ],
    );
    let args = json!([
        { "name": "limit", "value": "5" }, { "name": "host", "value": "x" },
        { "name": "key", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } },
    ]);
    run.spec.args = serde_json::from_value(args).unwrap();
    let metric = args::without_secrets(&run.spec, 1).unwrap();
    assert_eq!(metric.name, "second");
    assert_eq!(metric.failure_condition, "result > 5");
    let text = serde_json::to_string(&metric).unwrap();
    assert!(
        text.contains("http://x") && !text.contains("args.key"),
        "{text}"
    );
    assert_eq!(
        args::without_secrets(&run.spec, 2).unwrap_err(),
        "the spec has no metric 2 any more"
    );
}
