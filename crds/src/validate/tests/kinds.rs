use super::*;
use crate::analysis::AnalysisRunSpec;
use crate::experiment::Experiment;

/// ANA-8, ANA-9
#[test]
fn analysis_runs() {
    let web = json!({ "web": { "url": "u" } });
    let metric = |more: Value| {
        let mut metric = json!({ "name": "m", "provider": web });
        json_patch::merge(&mut metric, &more);
        json!({ "metrics": [metric] })
    };
    for (spec, want) in [
        (metric(json!({})), None),
        (json!({}), Some("no metrics specified")),
        (
            json!({ "metrics": [{ "name": "m", "provider": web }, { "name": "m", "provider": web }] }),
            Some("metrics[1]: duplicate name 'm'"),
        ),
        (
            metric(json!({ "consecutiveSuccessLimit": -1 })),
            Some("metrics[0]: consecutiveSuccessLimit must be >= 0"),
        ),
        (
            metric(json!({ "failureLimit": -2 })),
            Some("metrics[0]: failureLimit must be >= 0, or -1 to be disabled"),
        ),
        (
            metric(json!({ "failureLimit": "-1" })),
            Some("metrics[0]: failureLimit and consecutiveSuccessLimit cannot both be disabled"),
        ),
        (
            metric(json!({ "inconclusiveLimit": -1 })),
            Some("metrics[0]: inconclusiveLimit must be >= 0"),
        ),
        (
            metric(json!({ "consecutiveErrorLimit": -1 })),
            Some("metrics[0]: consecutiveErrorLimit must be >= 0"),
        ),
        (
            metric(json!({ "count": 2, "failureLimit": 2, "consecutiveSuccessLimit": 1 })),
            Some(
                "metrics[0]: count (2) must be >= failureLimit + consecutiveSuccessLimit (2 + 1) \
                  if both >= 0",
            ),
        ),
        (
            metric(json!({ "count": 2, "failureLimit": -1, "consecutiveSuccessLimit": 3 })),
            Some("metrics[0]: count must be >= consecutiveSuccessLimit"),
        ),
        (
            metric(json!({ "count": 1, "inconclusiveLimit": 3 })),
            Some("metrics[0]: count must be >= inconclusiveLimit"),
        ),
        (
            metric(json!({ "count": 2 })),
            Some("metrics[0]: interval must be specified when count > 1"),
        ),
        (
            metric(json!({ "interval": "5" })),
            Some("metrics[0]: invalid interval string: time: missing unit in duration \"5\""),
        ),
        (
            metric(json!({ "initialDelay": "x" })),
            Some("metrics[0]: invalid startDelay string: time: invalid duration \"x\""),
        ),
        (
            metric(json!({ "provider": null })),
            Some("metrics[0]: no provider specified"),
        ),
        (
            metric(json!({ "provider": { "plugin": { "a": {} } } })),
            Some("metrics[0]: multiple providers specified"),
        ),
        (
            {
                let mut s = metric(json!({}));
                s["dryRun"] = json!([{ "metricName": "*" }]);
                s
            },
            Some("dryRun[0]: Rule didn't match any metric name(s)"),
        ),
        (
            {
                let mut s = metric(json!({}));
                s["measurementRetention"] =
                    json!([{ "metricName": "m", "limit": 1 }, { "metricName": "x", "limit": 1 }]);
                s
            },
            Some("measurementRetention[1]: Rule didn't match any metric name(s)"),
        ),
    ] {
        let run: AnalysisRunSpec = serde_json::from_value(spec.clone()).unwrap();
        let got = super::super::analysis_run(&run)
            .err()
            .map(|e| e.to_string());
        assert_eq!(got.as_deref(), want, "{spec}");
    }
}

/// API-54
#[test]
fn experiments() {
    let selector = json!({ "matchLabels": { "app": "a" } });
    for (templates, want) in [
        (json!([{ "name": "a", "selector": selector }]), None),
        (
            json!([{ "name": "a" }]),
            Some("Rollout has missing field '.Spec.Templates[0].Selector'"),
        ),
        (
            json!([{ "name": "a", "selector": {} }]),
            Some(
                "This experiment is selecting all pods at index 0. A non-empty selector is required.",
            ),
        ),
        (
            json!([{ "name": "a", "selector": selector, "minReadySeconds": 601 }]),
            Some(
                "MinReadySeconds cannot be longer than ProgressDeadlineSeconds. Check template \
                  index 0",
            ),
        ),
        (
            json!([{ "selector": selector }]),
            Some("Experiment ex has empty template name at index 0"),
        ),
        (
            json!([{ "name": "a", "selector": selector }, { "name": "a", "selector": selector }]),
            Some("Experiment ex has repeated template name 'a' in templates"),
        ),
    ] {
        let experiment: Experiment = serde_json::from_value(
            json!({ "metadata": { "name": "ex" }, "spec": { "templates": templates } }),
        )
        .unwrap();
        assert_eq!(
            super::super::experiment(&experiment).as_deref(),
            want,
            "{templates}"
        );
    }
}

/// API-44: the two invalid Rollouts on record, and no complaint about the other fourteen.
#[test]
fn records() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/fixtures/peer");
    let mut judged = 0;
    for dir in std::fs::read_dir(folder)
        .unwrap()
        .map(|d| d.unwrap().path())
    {
        let Ok(text) = std::fs::read(dir.join("1-rest.json")) else {
            continue;
        };
        let list: Value = serde_json::from_slice(&text).unwrap();
        let items = list["items"].as_array().unwrap();
        let of_kind = |kind: &str| {
            let all = items.iter().filter(|item| item["kind"] == kind);
            all.map(|item| {
                (
                    item["metadata"]["name"].as_str().unwrap().to_owned(),
                    Some(item),
                )
            })
            .collect::<std::collections::BTreeMap<_, _>>()
        };
        let rollouts = of_kind("Rollout");
        let (name, object) = rollouts.iter().next().unwrap();
        let mut rollout: Rollout = serde_json::from_value(object.unwrap().clone()).unwrap();
        if let Some(workload) = &rollout.spec.workload_ref {
            let spec = &of_kind("Deployment")[&workload.name].unwrap()["spec"];
            rollout.spec.template = spec["template"].clone().into();
            let selector = serde_json::from_value(spec["selector"].clone()).unwrap();
            rollout.spec.selector.get_or_insert(selector);
        }
        let wanted = crate::references::wanted(&rollout.spec);
        let services = of_kind("Service");
        let ingresses = of_kind("Ingress");
        let virtual_services = of_kind("VirtualService");
        let templates = of_kind("AnalysisTemplate");
        let found = References {
            services: wanted
                .services
                .into_iter()
                .map(|n| {
                    (
                        n.clone(),
                        services.get(&n).map(|s| ServiceFacts::new(s.unwrap())),
                    )
                })
                .collect(),
            ingresses: wanted
                .ingresses
                .into_iter()
                .map(|n| (n.clone(), ingresses.get(&n).map(|s| s.unwrap().clone())))
                .collect(),
            virtual_services: wanted
                .virtual_services
                .into_iter()
                .map(|n| {
                    (
                        n.clone(),
                        virtual_services.get(&n).map(|s| s.unwrap().clone()),
                    )
                })
                .collect(),
            templates: crate::templates::TemplateStore {
                namespaced: wanted
                    .templates
                    .into_iter()
                    .map(|n| {
                        let spec = templates.get(&n).map(|t| t.unwrap()["spec"].clone());
                        (n, spec.map(|spec| serde_json::from_value(spec).unwrap()))
                    })
                    .collect(),
                ..Default::default()
            },
            ..References::default()
        };
        let mut errors = super::super::rollout(&rollout);
        errors.extend(super::super::references(&rollout, &found));
        let status = rollout.status.clone().unwrap();
        let recorded = status.conditions.iter().find(|c| c.r#type == "InvalidSpec");
        let ours = errors
            .first()
            .map(|error| super::super::invalid_spec_message(name, error));
        assert_eq!(ours.as_ref(), recorded.map(|c| &c.message), "{name}");
        judged += 1;
    }
    assert_eq!(judged, 16);
}
