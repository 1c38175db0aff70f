use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::Value;
use sluice_core::traffic::Want;

use crate::conformance::{self, generate, rest, want};
use crate::testing::{Simple, conform, found, rollout, router, show, yaml};
use crate::{Config, routers_for};

const CANARY: &str = "
canaryService: shop-next
stableService: shop
trafficRouting: {ambassador: {mappings: [shop-map]}}
";

const MAPPING: &str = "
kind: Mapping
metadata: {name: shop-map, labels: {a: b}, annotations: {note: x}}
spec: {prefix: /shop, service: 'shop:80', timeout_ms: 3000}
";

fn check(objects: &[Value], want: &Want, expected: Expect) {
    let router = router(CANARY);
    expected.assert_eq(&show(&router.render(want, &found(&*router, objects))));
}

/// TRF-340, SE-18
#[test]
fn the_canary_mapping_is_created_and_updated() {
    check(&[yaml(MAPPING)], &want(0), expect![[""]]);
    check(
        &[yaml(MAPPING)],
        &want(30),
        expect![[r#"
        create Mapping ns/shop-map-canary
          .apiVersion = "getambassador.io/v2"
          .kind = "Mapping"
          .metadata.name = "shop-map-canary"
          .metadata.namespace = "ns"
          .metadata.ownerReferences:
            - {"apiVersion":"argoproj.io/v1alpha1","blockOwnerDeletion":true,"controller":true,"kind":"Rollout","name":"ro","uid":"u-1"}
          .spec.prefix = "/shop"
          .spec.service = "shop-next:80"
          .spec.timeout_ms = 3000
          .spec.weight = 30
        event: Normal CanaryMappingWeightUpdate: Set canary mapping weight to 30
    "#]],
    );
    let router = router(CANARY);
    let start = found(&*router, &[yaml(MAPPING)]);
    let running = conformance::apply(&start, &router.render(&want(30), &start).unwrap()).unwrap();
    expect![[r#"
        replace Mapping ns/shop-map-canary
          .apiVersion = "getambassador.io/v2"
          .kind = "Mapping"
          .metadata.name = "shop-map-canary"
          .metadata.namespace = "ns"
          .metadata.ownerReferences:
            - {"apiVersion":"argoproj.io/v1alpha1","blockOwnerDeletion":true,"controller":true,"kind":"Rollout","name":"ro","uid":"u-1"}
          .metadata.resourceVersion = "0-0"
          .spec.prefix = "/shop"
          .spec.service = "shop-next:80"
          .spec.timeout_ms = 3000
          .spec.weight = 0
        event: Normal CanaryMappingWeightUpdate: Set canary mapping weight to 0
    "#]].assert_eq(&show(&router.render(&rest(), &running)));
}

/// SE-18: one that another controller made gets the weight and nothing else.
#[test]
fn the_canary_mapping_of_another_controller_is_kept() {
    let theirs = yaml(
        "{kind: Mapping, metadata: {name: shop-map-canary}, spec: {prefix: /shop, service: 'shop-next:80', weight: 30}}",
    );
    check(
        &[yaml(MAPPING), theirs],
        &want(40),
        expect![[r#"
        replace Mapping ns/shop-map-canary
          .kind = "Mapping"
          .metadata.name = "shop-map-canary"
          .spec.prefix = "/shop"
          .spec.service = "shop-next:80"
          .spec.weight = 40
        event: Normal CanaryMappingWeightUpdate: Set canary mapping weight to 40
    "#]],
    );
}

/// TRF-340
#[test]
fn errors_say_what_is_wrong() {
    check(
        &[],
        &want(10),
        expect![[r#"
        error: Ambassador mapping "shop-map" not found
        event: Warning AmbassadorMappingNotFound: Ambassador mapping "shop-map" not found
        event: Warning TrafficRoutingError: Ambassador mapping "shop-map" not found
    "#]],
    );
    let weighted =
        yaml("{kind: Mapping, metadata: {name: shop-map}, spec: {service: shop, weight: 5}}");
    check(
        &[weighted],
        &want(10),
        expect![[r#"
        error: Ambassador mapping "shop-map" can not define weight
        event: Warning AmbassadorMappingConfigError: Ambassador mapping "shop-map" can not define weight
        event: Warning TrafficRoutingError: Ambassador mapping "shop-map" can not define weight
    "#]],
    );
    let two = router(&CANARY.replace("[shop-map]", "[shop-map, api-map]"));
    expect![[r#"
        error: 2 errors found: [Ambassador mapping "shop-map" not found][Ambassador mapping "api-map" not found]
        event: Warning AmbassadorMappingNotFound: 2 errors found: [Ambassador mapping "shop-map" not found][Ambassador mapping "api-map" not found]
        event: Warning TrafficRoutingError: 2 errors found: [Ambassador mapping "shop-map" not found][Ambassador mapping "api-map" not found]
    "#]].assert_eq(&show(&two.render(&want(10), &found(&*two, &[]))));
    let error = routers_for(
        &rollout(&CANARY.replace("[shop-map]", "[]")),
        &Config::default(),
    );
    assert_eq!(
        error.err().unwrap().to_string(),
        "must provide at least one mapping"
    );
}

/// TRF-340
#[test]
fn the_group_decides_the_kind() {
    let config = Config {
        ambassador_api_version: "x.getambassador.io/v3alpha1".into(),
        ..Config::default()
    };
    let router = routers_for(&rollout(CANARY), &config).unwrap().remove(0);
    assert_eq!(router.reads()[0].plural, "ambassadormappings");
}

const SPECIMEN: Simple = Simple {
    canary: CANARY,
    groups: |object| match object["spec"]["weight"].as_i64() {
        Some(weight) => vec![(vec![weight, 100 - weight], 100)],
        None => vec![],
    },
    erase: |object, value| {
        if object.name == "shop-map-canary" {
            crate::json::unset(value, &["spec"]);
        }
    },
    required: |object| object.name == "shop-map",
    is_managed: |_, _| false,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() })]

    /// INV-8, INV-11, INV-13, TRF-18
    #[test]
    fn conforms(wants in generate::wants(100)) {
        conform(&SPECIMEN, &[yaml(MAPPING)], &wants)?;
    }
}
