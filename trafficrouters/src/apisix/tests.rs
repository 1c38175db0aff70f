use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};
use sluice_core::traffic::Want;
use sluice_crds::rollout::SetHeaderRoute;

use crate::conformance::{self, generate, rest, want};
use crate::router::WriteKind;
use crate::testing::{Simple, conform, found, router, show, yaml};

const CANARY: &str = "
canaryService: shop-next
stableService: shop
trafficRouting:
  managedRoutes: [{name: qa}]
  apisix: {route: {name: shop-route, rules: [web]}}
";

const ROUTE: &str = "
kind: ApisixRoute
metadata: {name: shop-route, resourceVersion: '4', uid: x, labels: {team: shop}}
spec:
  ingressClassName: apisix
  http:
  - name: web
    match: {paths: [/*], exprs: [{subject: {scope: Cookie, name: c}, op: Equal, value: '1'}]}
    plugins: [{name: cors, enable: true}]
    backends: [{serviceName: shop, servicePort: 80}, {serviceName: shop-next, servicePort: 80}]
  - {name: admin, match: {paths: [/admin]}, backends: [{serviceName: admin, servicePort: 80}]}
";

fn header(r#match: &str) -> Option<SetHeaderRoute> {
    Some(serde_json::from_value(json!({"name": "qa", "match": yaml(r#match)})).unwrap())
}

fn check(objects: &[Value], want: &Want, expected: Expect) {
    let router = router(CANARY);
    expected.assert_eq(&show(&router.render(want, &found(&*router, objects))));
}

/// TRF-320, TRF-321, SE-17
#[test]
fn weights_and_header_route() {
    let r#match = "[{headerName: x-qa, headerValue: {exact: '1'}}, {headerName: agent, headerValue: {prefix: Bot.}}]";
    let want = Want {
        header_route: header(r#match),
        ..want(30)
    };
    check(
        &[yaml(ROUTE)],
        &want,
        expect![[r#"
        create ApisixRoute ns/qa
          .apiVersion = "apisix.apache.org/v2"
          .kind = "ApisixRoute"
          .metadata.labels.team = "shop"
          .metadata.name = "qa"
          .metadata.namespace = "ns"
          .metadata.ownerReferences:
            - {"apiVersion":"argoproj.io/v1alpha1","blockOwnerDeletion":true,"controller":true,"kind":"Rollout","name":"ro","uid":"u-1"}
          .spec.http:
            - {"backends":[{"serviceName":"shop-next","servicePort":80,"weight":100}],"match":{"exprs":[{"op":"Equal","subject":{"name":"c","scope":"Cookie"},"value":"1"},{"op":"Equal","subject":{"name":"x-qa","scope":"Header"},"value":"1"},{"op":"RegexMatch","subject":{"name":"agent","scope":"Header"},"value":"^Bot\\..*"}],"paths":["/*"]},"name":"web","plugins":[{"enable":true,"name":"cors"}],"priority":1}
          .spec.ingressClassName = "apisix"
        replace ApisixRoute ns/shop-route
          .kind = "ApisixRoute"
          .metadata.labels.team = "shop"
          .metadata.name = "shop-route"
          .metadata.resourceVersion = "4"
          .metadata.uid = "x"
          .spec.http:
            - {"backends":[{"serviceName":"shop","servicePort":80,"weight":70},{"serviceName":"shop-next","servicePort":80,"weight":30}],"match":{"exprs":[{"op":"Equal","subject":{"name":"c","scope":"Cookie"},"value":"1"}],"paths":["/*"]},"name":"web","plugins":[{"enable":true,"name":"cors"}]}
            - {"backends":[{"serviceName":"admin","servicePort":80}],"match":{"paths":["/admin"]},"name":"admin"}
          .spec.ingressClassName = "apisix"
    "#]],
    );
}

/// TRF-321
#[test]
fn header_routes_are_removed() {
    let router = router(CANARY);
    let start = found(&*router, &[yaml(ROUTE)]);
    let r#match = "[{headerName: x-qa, headerValue: {exact: '1'}}]";
    let on = Want {
        header_route: header(r#match),
        ..want(30)
    };
    let running = conformance::apply(&start, &router.render(&on, &start).unwrap()).unwrap();
    let off = Want {
        header_route: header("[]"),
        ..want(30)
    };
    for (want, failure) in [
        (off, "Error delete apisix route \"qa\": x"),
        (rest(), "Error deleting apisix route \"qa\": x"),
    ] {
        let writes = router.render(&want, &running).unwrap();
        assert!(matches!(writes[0].kind, WriteKind::Delete { .. }));
        assert_eq!(
            writes[0].failure.as_ref().unwrap().event("x").message,
            failure
        );
    }
}

/// TRF-320, TRF-321
#[test]
fn errors_say_what_is_wrong() {
    let spec = |spec: &str| json!({"kind": "ApisixRoute", "metadata": {"name": "shop-route"}, "spec": yaml(spec)});
    let foreign = yaml("{kind: ApisixRoute, metadata: {name: qa}}");
    let table = [
        (
            vec![],
            "apisixroutes.apisix.apache.org \"shop-route\" not found",
        ),
        (
            vec![spec("{http: [{name: x}]}")],
            "Apisix http route rule web not found",
        ),
        (
            vec![spec(
                "{http: [{name: web, backends: [{serviceName: shop}]}]}",
            )],
            "apisix route shop-next backend was not found",
        ),
        (
            vec![yaml(ROUTE), foreign],
            "duplicate ApisixRoute [qa] already exists",
        ),
    ];
    let r#match = "[{headerName: x-qa, headerValue: {exact: '1'}}]";
    for (objects, text) in table {
        let router = router(CANARY);
        let want = Want {
            header_route: header(r#match),
            ..want(10)
        };
        let error = router
            .render(&want, &found(&*router, &objects))
            .unwrap_err();
        assert_eq!(error.to_string(), text);
    }
    let router = router(CANARY);
    let error = router
        .render(&want(10), &found(&*router, &[spec("{}")]))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "spec.http was not found in Apisix Route manifest"
    );
}

const SPECIMEN: Simple = Simple {
    canary: CANARY,
    groups: |object| {
        let backends = crate::json::list(object, "/spec/http/0/backends");
        vec![(
            backends
                .iter()
                .map(|b| crate::json::number(b, "weight"))
                .collect(),
            100,
        )]
    },
    erase: |object, value| {
        if object.name == "qa" {
            *value = Value::Null;
            return;
        }
        for backend in value
            .pointer_mut("/spec/http/0/backends")
            .unwrap()
            .as_array_mut()
            .unwrap()
        {
            crate::json::unset(backend, &["weight"]);
        }
    },
    required: |object| object.name != "qa",
    is_managed: |object, _| object.name == "qa",
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() })]

    /// INV-8, INV-11, INV-13, TRF-18
    #[test]
    fn conforms(wants in generate::wants(100), weight in prop::option::of(0..200)) {
        let mut object = yaml(ROUTE);
        if let Some(weight) = weight {
            object["spec"]["http"][0]["backends"][1]["weight"] = json!(weight);
        }
        conform(&SPECIMEN, &[object], &wants)?;
    }
}
