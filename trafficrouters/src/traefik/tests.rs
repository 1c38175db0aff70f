use expect_test::expect;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::conformance::{generate, want};
use crate::testing::{Simple, conform, found, router, show, yaml};

const CANARY: &str = "
canaryService: shop-next
stableService: shop
trafficRouting: {traefik: {weightedTraefikServiceName: shop-split}}
";

fn split(services: &str) -> Value {
    let text = format!("{{services: {services}, sticky: {{cookie: {{}}}}}}");
    json!({"kind": "TraefikService", "metadata": {"name": "shop-split", "resourceVersion": "4"},
           "spec": {"weighted": yaml(&text)}})
}

/// TRF-300
#[test]
fn weights_are_set() {
    let object =
        split("[{name: shop, port: 80}, {name: shop-next, port: 80}, {name: x, weight: 3}]");
    let router = router(CANARY);
    let result = router.render(&want(30), &found(&*router, &[object]));
    expect![[r#"
        replace TraefikService ns/shop-split
          .kind = "TraefikService"
          .metadata.name = "shop-split"
          .metadata.resourceVersion = "4"
          .spec.weighted.services:
            - {"name":"shop","port":80,"weight":70}
            - {"name":"shop-next","port":80,"weight":30}
            - {"name":"x","weight":3}
          .spec.weighted.sticky.cookie = {}
    "#]]
    .assert_eq(&show(&result));
    let failure = result.unwrap().remove(0).failure.unwrap();
    expect![[r#"Error updating traefik service "shop-split": the object has been modified"#]]
        .assert_eq(&failure.event("the object has been modified").message);
}

/// TRF-300
#[test]
fn errors_say_what_is_wrong() {
    let bare = json!({"kind": "TraefikService", "metadata": {"name": "shop-split"}});
    let table = [
        (
            vec![],
            "traefikservices.traefik.io \"shop-split\" not found",
        ),
        (
            vec![bare],
            "spec.weighted.services was not found in traefik service manifest",
        ),
        (
            vec![split("[{name: shop}]")],
            "traefik canary service was not found",
        ),
        (
            vec![split("[{name: shop-next}]")],
            "traefik stable service was not found",
        ),
    ];
    for (objects, text) in table {
        let router = router(CANARY);
        let error = router
            .render(&want(10), &found(&*router, &objects))
            .unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

const SPECIMEN: Simple = Simple {
    canary: CANARY,
    groups: |object| {
        let services = crate::json::list(object, "/spec/weighted/services");
        let ours = services
            .iter()
            .filter(|s| s["name"] == "shop" || s["name"] == "shop-next");
        vec![(
            ours.map(|s| crate::json::number(s, "weight")).collect(),
            100,
        )]
    },
    erase: |_, object| {
        let services = object.pointer_mut("/spec/weighted/services");
        for service in services.and_then(Value::as_array_mut).into_iter().flatten() {
            if service["name"] == "shop" || service["name"] == "shop-next" {
                crate::json::unset(service, &["weight"]);
            }
        }
    },
    required: |_| true,
    is_managed: |_, _| false,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() })]

    /// INV-8, INV-11, INV-13, TRF-18
    #[test]
    fn conforms(wants in generate::wants(100), weight in prop::option::of(0..200)) {
        let mut object = split("[{name: x, weight: 3}, {name: shop-next, port: 80}, {name: shop, kind: Service}]");
        if let Some(weight) = weight {
            object["spec"]["weighted"]["services"][2]["weight"] = json!(weight);
        }
        conform(&SPECIMEN, &[object], &wants)?;
    }
}
