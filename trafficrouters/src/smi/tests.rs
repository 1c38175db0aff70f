use expect_test::expect;
use proptest::prelude::*;
use serde_json::{Value, json};
use sluice_core::traffic::{Additional, Want};

use crate::conformance::{generate, want};
use crate::testing::{Simple, conform, found, rollout, router, show, yaml};
use crate::{Config, routers_for};

const CANARY: &str = "
canaryService: shop-next
stableService: shop
trafficRouting: {smi: {}}
";

fn wanted() -> Want {
    let shop_exp = Additional {
        weight: 20,
        service: "shop-exp".into(),
        pod_hash: "e1e".into(),
    };
    Want {
        additional: vec![shop_exp],
        ..want(10)
    }
}

fn split(owner: &str) -> Value {
    json!({"kind": "TrafficSplit", "metadata": {"name": "ro", "resourceVersion": "4",
           "ownerReferences": [{"uid": owner, "controller": true}]},
           "spec": {"service": "old", "matches": [{"kind": "HTTPRouteGroup"}]}})
}

/// TRF-380
#[test]
fn the_split_is_created() {
    let router = router(CANARY);
    let result = router.render(&wanted(), &found(&*router, &[]));
    expect![[r#"
        create TrafficSplit ns/ro
          .apiVersion = "split.smi-spec.io/v1alpha1"
          .kind = "TrafficSplit"
          .metadata.name = "ro"
          .metadata.namespace = "ns"
          .metadata.ownerReferences:
            - {"apiVersion":"argoproj.io/v1alpha1","blockOwnerDeletion":true,"controller":true,"kind":"Rollout","name":"ro","uid":"u-1"}
          .spec.backends:
            - {"service":"shop-next","weight":"10"}
            - {"service":"shop-exp","weight":"20"}
            - {"service":"shop","weight":"70"}
          .spec.service = "shop"
        event: Normal TrafficSplitCreated: TrafficSplit `ro` created
    "#]].assert_eq(&show(&result));
    let failure = result
        .unwrap()
        .remove(0)
        .failure
        .unwrap()
        .event("forbidden");
    expect![[r#"Event { kind: Normal, reason: "TrafficSplitNotCreated", message: "TrafficSplit `ro` failed creation: forbidden" }"#]].assert_eq(&format!("{failure:?}"));
}

/// TRF-380
#[test]
fn the_split_is_patched() {
    let rollout = rollout(&CANARY.replace("smi: {}", "smi: {rootService: root}"));
    let config = Config {
        traffic_split_api_version: "v1alpha3".into(),
        ..Config::default()
    };
    let router = routers_for(&rollout, &config).unwrap().remove(0);
    let result = router.render(&wanted(), &found(&*router, &[split("u-1")]));
    expect![[r#"
        patch TrafficSplit ns/ro
          .spec.backends:
            - {"service":"shop-next","weight":10}
            - {"service":"shop-exp","weight":20}
            - {"service":"shop","weight":70}
          .spec.service = "root"
    "#]]
    .assert_eq(&show(&result));
    let error = router
        .render(&wanted(), &found(&*router, &[split("u-2")]))
        .unwrap_err();
    assert_eq!(error.to_string(), "Rollout does not own TrafficSplit `ro`");
}

/// TRF-380
#[test]
fn unknown_versions_are_refused() {
    let config = Config {
        traffic_split_api_version: "v2".into(),
        ..Config::default()
    };
    let error = routers_for(&rollout(CANARY), &config).err().unwrap();
    assert_eq!(
        error.to_string(),
        "Unsupported TrafficSplit API version `v2`"
    );
}

const SPECIMEN: Simple = Simple {
    canary: CANARY,
    groups: |object| {
        let backends = crate::json::list(object, "/spec/backends");
        let weights = backends
            .iter()
            .map(|b| b["weight"].as_str().unwrap().parse().unwrap());
        vec![(weights.collect(), 100)]
    },
    erase: |_, object| {
        crate::json::unset(object, &["spec", "service"]);
        crate::json::unset(object, &["spec", "backends"]);
    },
    required: |_| false,
    is_managed: |_, _| false,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() })]

    /// INV-8, INV-11, INV-13, TRF-18
    #[test]
    fn conforms(wants in generate::wants(100), exists: bool) {
        let mut object = split("u-1");
        object["metadata"]["labels"] = yaml("{a: b}");
        let objects = if exists { vec![object] } else { vec![] };
        conform(&SPECIMEN, &objects, &wants)?;
    }
}
