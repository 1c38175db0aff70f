use serde_json::{Value, json};

use super::*;

fn spec(value: Value) -> AnalysisTemplateSpec {
    serde_json::from_value(value).unwrap()
}

fn references(names: &[&str]) -> Vec<AnalysisTemplateRef> {
    let reference = |name: &&str| match name.strip_prefix('/') {
        Some(name) => AnalysisTemplateRef {
            template_name: name.into(),
            cluster_scope: Some(true),
        },
        None => AnalysisTemplateRef {
            template_name: (*name).into(),
            cluster_scope: None,
        },
    };
    names.iter().map(reference).collect()
}

/// A store of templates that refer to each other; names with `/` are cluster-wide.
fn store(templates: &[(&str, &[&str])]) -> TemplateStore {
    let mut store = TemplateStore::default();
    for (name, refers) in templates {
        let spec = AnalysisTemplateSpec {
            templates: references(refers),
            ..Default::default()
        };
        match name.strip_prefix('/') {
            Some(name) => store.cluster.insert(name.into(), Some(spec)),
            None => store.namespaced.insert((*name).into(), Some(spec)),
        };
    }
    store
}

/// ANA-26: order and duplicates; ASE-7: cycles.
#[test]
fn collects() {
    let store = store(&[
        ("a", &["/x", "b"]),
        ("b", &[]),
        ("c", &["b"]),
        ("/x", &["b"]),
        ("loop", &["/back"]),
        ("/back", &["loop"]),
        ("broken", &["gone"]),
    ]);
    for (names, want) in [
        (&["a", "c"][..], Ok("a b c x")),
        (&["/x", "a"], Ok("b a x")),
        (&["b", "b"], Ok("b")),
        (&["gone"], Err("AnalysisTemplate 'gone' not found")),
        (&["/gone"], Err("ClusterAnalysisTemplate 'gone' not found")),
        (&["broken"], Err("AnalysisTemplate 'gone' not found")),
        (
            &["loop"],
            Err("AnalysisTemplate 'loop' refers to itself by way of its templates"),
        ),
    ] {
        let references = references(names);
        let got = collect(&references, &store)
            .map(|all| all.iter().map(|t| t.name).collect::<Vec<_>>().join(" "))
            .map_err(|e| e.to_string());
        assert_eq!(
            got,
            want.map(str::to_owned).map_err(str::to_owned),
            "{names:?}"
        );
    }
}

fn run(templates: Value, caller: Value) -> Result<Value, String> {
    let templates: Vec<AnalysisTemplateSpec> = serde_json::from_value(templates).unwrap();
    let templates: Vec<_> = templates.iter().collect();
    let caller = spec(caller);
    let caller = Caller {
        args: &caller.args,
        dry_run: &caller.dry_run,
        measurement_retention: &caller.measurement_retention,
    };
    let merged = merge(&templates, caller).map_err(|e| e.to_string())?;
    Ok(serde_json::to_value(merged.args).unwrap())
}

/// ANA-27, ANA-28, API-52
#[test]
fn merges_arguments() {
    let secret = json!({ "secretKeyRef": { "name": "s", "key": "k" } });
    for (templates, caller, want) in [
        (
            json!([{ "args": [{ "name": "a", "value": "1" }, { "name": "b" }] }]),
            json!({ "args": [{ "name": "b", "value": "2" }, { "name": "other", "value": "3" }] }),
            Ok(json!([{ "name": "a", "value": "1" }, { "name": "b", "value": "2" }])),
        ),
        (
            json!([{ "args": [{ "name": "a" }] }, { "args": [{ "name": "a", "value": "1" }] }]),
            json!({}),
            Ok(json!([{ "name": "a", "value": "1" }])),
        ),
        (
            json!([{ "args": [{ "name": "a", "valueFrom": secret }] }, { "args": [{ "name": "a" }] }]),
            json!({}),
            Ok(json!([{ "name": "a", "valueFrom": secret }])),
        ),
        (
            json!([{ "args": [{ "name": "a", "valueFrom": secret }] }]),
            json!({ "args": [{ "name": "a", "value": "mine" }] }),
            Ok(json!([{ "name": "a", "value": "mine" }])),
        ),
        (
            json!([{ "args": [{ "name": "a", "value": "1" }] },
                { "args": [{ "name": "a", "value": "2" }] }]),
            json!({ "args": [{ "name": "a", "value": "3" }] }),
            Err("Argument `a` specified multiple times with different values: '1', '2'"),
        ),
        (
            json!([{ "args": [{ "name": "a" }] }]),
            json!({}),
            Err("args.a was not resolved"),
        ),
        (
            json!([{ "metrics": [{ "name": "m" }] }, { "metrics": [{ "name": "m" }] }]),
            json!({}),
            Err("two metrics have the same name 'm'"),
        ),
        (
            json!([{ "dryRun": [{ "metricName": "m" }] }]),
            json!({ "dryRun": [{ "metricName": "m" }] }),
            Err("two Dry-Run metric rules have the same name 'm'"),
        ),
        (
            json!([{ "measurementRetention": [{ "metricName": "m", "limit": 1 }] }]),
            json!({ "measurementRetention": [{ "metricName": "m", "limit": 2 }] }),
            Err("two Measurement Retention metric rules have the same name 'm'"),
        ),
    ] {
        assert_eq!(run(templates, caller), want.map_err(str::to_owned));
    }
}
