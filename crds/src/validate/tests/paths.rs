use super::*;
use crate::analysis::AnalysisTemplateSpec;
use crate::templates::TemplateStore;

/// Each first error at the path of the condition, and at the path that the manifest has.
fn check(rollout: &Rollout, found: &References, want: [&str; 2]) {
    let mut errors = super::super::rollout(rollout);
    errors.extend(super::super::references(rollout, found));
    let spec = serde_json::to_string(&rollout.spec).unwrap();
    let error = errors.into_iter().next().expect(&spec);
    assert_eq!(error.path, want[0], "{spec}");
    let exact = super::super::exact(rollout, found, error);
    assert_eq!(exact.path, want[1], "{spec}");
}

/// SE-12: conditions keep the peer's paths, and `lint` names the true ones.
#[test]
fn true_paths() {
    let none = References::default();
    let canary_path = "spec.strategy.canary";
    check(
        &rollout(json!({ "strategy": { "canary": null } })),
        &none,
        ["spec.strategy.strategy", "spec.strategy"],
    );
    check(
        &rollout(json!({ "replicas": -1 })),
        &none,
        ["spec.replicas", "spec.replicas"],
    );
    check(
        &blue_green(json!({ "activeService": "a", "previewService": "a" })),
        &none,
        [
            "spec.strategy.activeService",
            "spec.strategy.blueGreen.activeService",
        ],
    );
    let odd = json!({ "name": "x", "valueFrom": { "fieldRef": { "fieldPath": "metadata.odd" } } });
    let step = |step: Value| canary(json!({ "steps": [{ "pause": {} }, step] }));
    check(
        &step(json!({ "analysis": { "templates": [], "args": [odd] } })),
        &none,
        [
            "spec.strategy.steps[1].analyses",
            &format!("{canary_path}.steps[1].analysis.args"),
        ],
    );
    let analyses = json!([{ "name": "a", "templateName": "t" },
        { "name": "b", "templateName": "t", "args": [odd] }]);
    check(
        &step(json!({ "experiment": { "templates": [], "analyses": analyses } })),
        &none,
        [
            "spec.strategy.steps[1].analyses",
            &format!("{canary_path}.steps[1].experiment.analyses[1].args"),
        ],
    );
    let routed = |routing: Value| {
        canary(json!({ "stableService": "s", "canaryService": "c", "trafficRouting": routing }))
    };
    let routing = format!("{canary_path}.trafficRouting");
    let nothing = |name: &str| [(name.to_owned(), None)].into();
    check(
        &routed(json!({ "nginx": { "stableIngresses": ["a"] } })),
        &References {
            ingresses: nothing("a"),
            ..References::default()
        },
        [
            &format!("{routing}.nginx.StableIngresses"),
            &format!("{routing}.nginx.stableIngresses"),
        ],
    );
    check(
        &routed(json!({ "appMesh": {} })),
        &none,
        [
            &format!("{routing}.appmesh.virtualService"),
            &format!("{routing}.appMesh.virtualService"),
        ],
    );
    check(
        &routed(json!({ "istio": { "virtualServices": [{ "name": "a" }, { "name": "b" }] } })),
        &References {
            virtual_services: nothing("b"),
            ..References::default()
        },
        [
            &format!("{routing}.istio.virtualServices.name"),
            &format!("{routing}.istio.virtualServices[1].name"),
        ],
    );
    check(
        &routed(json!({ "ambassador": { "mappings": ["a"] } })),
        &References {
            mappings: [("a".to_owned(), Some(json!({ "spec": { "weight": 5 } })))].into(),
            ..References::default()
        },
        ["spec.weight", "Mapping: spec.weight"],
    );
    let round: AnalysisTemplateSpec =
        serde_json::from_value(json!({ "templates": [{ "templateName": "t" }] })).unwrap();
    check(
        &step(json!({ "analysis": { "templates": [{ "templateName": "t" }] } })),
        &References {
            templates: TemplateStore {
                namespaced: [("t".to_owned(), Some(round))].into(),
                ..TemplateStore::default()
            },
            ..References::default()
        },
        ["spec.templates", "AnalysisTemplate t: spec.templates"],
    );
}
