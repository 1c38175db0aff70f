use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};
use sluice_core::observed::Seen;
use sluice_core::traffic::{Additional, Want};

use super::retire_canary_ingress;
use crate::conformance::{self, Group, Specimen, generate, rest, want};
use crate::object::{Found, ObjectRef};
use crate::router::TrafficRouter;
use crate::testing::{found, rollout, router, show, yaml};
use crate::{Config, routers_for};

const CANARY: &str = "
canaryService: shop-next
stableService: shop
trafficRouting:
  maxTrafficWeight: 1000
  nginx: {stableIngress: web, additionalIngressAnnotations: {canary-by-header: X-Canary}}
";

const WEB: &str = "
kind: Ingress
metadata:
  name: web
  labels: {team: shop}
  annotations: {kubernetes.io/ingress.class: nginx, nginx.ingress.kubernetes.io/proxy-read-timeout: '30'}
spec:
  defaultBackend: {service: {name: fallback, port: {number: 80}}}
  tls: [{hosts: [shop.example], secretName: cert}]
  rules:
  - host: shop.example
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}
      - {path: /x, pathType: Prefix, backend: {service: {name: other, port: {number: 80}}}}
  - {host: static.example, http: {paths: [{path: /, pathType: Prefix, backend: {resource: {kind: Bucket, name: b}}}]}}
  - {host: bare.example}
";

fn thousand(weight: i32) -> Want {
    Want {
        max_weight: 1000,
        ..want(weight)
    }
}

fn check(canary: &str, objects: &[Value], want: &Want, expected: Expect) {
    let router = router(canary);
    expected.assert_eq(&show(&router.render(want, &found(&*router, objects))));
}

/// TRF-201, TRF-202, TRF-203
#[test]
fn the_canary_ingress_is_created() {
    check(
        CANARY,
        &[yaml(WEB)],
        &thousand(250),
        expect![[r#"
        event: Normal CreatingCanaryIngress: Creating canary ingress `ro-web-canary` with weight `250`
        create Ingress ns/ro-web-canary
          .apiVersion = "networking.k8s.io/v1"
          .kind = "Ingress"
          .metadata.annotations.kubernetes.io/ingress.class = "nginx"
          .metadata.annotations.nginx.ingress.kubernetes.io/canary = "true"
          .metadata.annotations.nginx.ingress.kubernetes.io/canary-by-header = "X-Canary"
          .metadata.annotations.nginx.ingress.kubernetes.io/canary-weight = "250"
          .metadata.annotations.nginx.ingress.kubernetes.io/canary-weight-total = "1000"
          .metadata.name = "ro-web-canary"
          .metadata.namespace = "ns"
          .metadata.ownerReferences:
            - {"apiVersion":"argoproj.io/v1alpha1","blockOwnerDeletion":true,"controller":true,"kind":"Rollout","name":"ro","uid":"u-1"}
          .spec.rules:
            - {"host":"shop.example","http":{"paths":[{"backend":{"service":{"name":"shop-next","port":{"number":80}}},"path":"/","pathType":"Prefix"},{"backend":{"service":{"name":"other","port":{"number":80}}},"path":"/x","pathType":"Prefix"}]}}
          .spec.tls:
            - {"hosts":["shop.example"],"secretName":"cert"}
    "#]],
    );
}

/// TRF-203, SE-13: labels and annotations of others stay; a stale total goes, as it would change
/// what the weight means.
#[test]
fn the_canary_ingress_is_patched() {
    let existing = yaml(
        "
kind: Ingress
metadata:
  name: ro-web-canary
  resourceVersion: '9'
  labels: {added: later}
  annotations:
    note: kept
    nginx.ingress.kubernetes.io/canary: 'true'
    nginx.ingress.kubernetes.io/canary-weight: '5'
    nginx.ingress.kubernetes.io/canary-weight-total: '1000'
    nginx.ingress.kubernetes.io/canary-by-header: X-Canary
  ownerReferences: [{kind: Rollout, name: ro, uid: u-1, controller: true}]
spec:
  rules: []
",
    );
    let canary = CANARY.replace("  maxTrafficWeight: 1000\n", "");
    check(
        &canary,
        &[yaml(WEB), existing],
        &want(30),
        expect![[r#"
        event: Normal PatchingCanaryIngress: Updating Ingress `ro-web-canary` to desiredWeight '30'
        patch Ingress ns/ro-web-canary
          .metadata.annotations.kubernetes.io/ingress.class = "nginx"
          .metadata.annotations.nginx.ingress.kubernetes.io/canary-weight = "30"
          .metadata.annotations.nginx.ingress.kubernetes.io/canary-weight-total = null
          .spec.rules:
            - {"host":"shop.example","http":{"paths":[{"backend":{"service":{"name":"shop-next","port":{"number":80}}},"path":"/","pathType":"Prefix"},{"backend":{"service":{"name":"other","port":{"number":80}}},"path":"/x","pathType":"Prefix"}]}}
          .spec.tls:
            - {"hosts":["shop.example"],"secretName":"cert"}
    "#]],
    );
}

/// TRF-200, TRF-203
#[test]
fn errors_say_what_is_wrong() {
    let foreign = yaml(
        "{kind: Ingress, metadata: {name: ro-web-canary, ownerReferences: [{uid: x, controller: true}]}}",
    );
    let elsewhere = yaml("{kind: Ingress, metadata: {name: web}, spec: {rules: [{host: a}]}}");
    let table = [
        (
            vec![],
            "error retrieving stableIngress `web` from cache: ingress.networking.k8s.io \"web\" not found",
        ),
        (
            vec![yaml(WEB), foreign],
            "canary ingress `ro-web-canary` controlled by different object",
        ),
        (
            vec![elsewhere],
            "ingress `web` has no rules using service shop backend",
        ),
    ];
    for (objects, text) in table {
        let router = router(CANARY);
        let error = router
            .render(&thousand(10), &found(&*router, &objects))
            .unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

/// INV-10: the weight goes back to 0 even when the stable Ingress is gone.
#[test]
fn an_abort_does_not_need_the_stable_ingress() {
    let router = router(CANARY);
    let start = found(&*router, &[yaml(WEB)]);
    let mut running =
        conformance::apply(&start, &router.render(&thousand(250), &start).unwrap()).unwrap();
    running.0.insert(router.reads().remove(0), Seen::Absent);
    expect![[r#"
        error: error retrieving stableIngress `web` from cache: ingress.networking.k8s.io "web" not found
        event: Warning TrafficRoutingError: error retrieving stableIngress `web` from cache: ingress.networking.k8s.io "web" not found
        event: Normal PatchingCanaryIngress: Updating Ingress `ro-web-canary` to desiredWeight '0'
        patch Ingress ns/ro-web-canary
          .metadata.annotations.nginx.ingress.kubernetes.io/canary-weight = "0"
    "#]].assert_eq(&show(&router.render(&thousand(0), &running)));
}

/// SE-13: an Ingress that is no longer used carries no traffic.
#[test]
fn orphans_are_retired() {
    let router = router(CANARY);
    let start = found(&*router, &[yaml(WEB)]);
    let writes = router.render(&thousand(250), &start).unwrap();
    let running = conformance::apply(&start, &writes).unwrap();
    let object = router.reads().remove(1);
    let seen = running.get(&object).unwrap().unwrap();
    assert_eq!(retire_canary_ingress(&rollout(CANARY), &object, seen), None);
    let write = retire_canary_ingress(&rollout("{}"), &object, seen).unwrap();
    expect![[r#"
        event: Normal PatchingCanaryIngress: Updating Ingress `ro-web-canary` to desiredWeight '0'
        patch Ingress ns/ro-web-canary
          .metadata.annotations.nginx.ingress.kubernetes.io/canary-by-header = null
          .metadata.annotations.nginx.ingress.kubernetes.io/canary-weight = "0"
    "#]]
    .assert_eq(&show(&Ok(vec![write.clone()])));
    let retired = conformance::apply(&running, &[write]).unwrap();
    let seen = retired.get(&object).unwrap().unwrap();
    assert_eq!(retire_canary_ingress(&rollout("{}"), &object, seen), None);
    let foreign =
        yaml("{metadata: {annotations: {nginx.ingress.kubernetes.io/canary-weight: '5'}}}");
    assert_eq!(
        retire_canary_ingress(&rollout("{}"), &object, &foreign),
        None
    );
}

/// API-42
#[test]
fn names_are_cut() {
    let name = super::canary_name(&"r".repeat(200), &"i".repeat(100));
    assert_eq!(name.len(), 246 + 7);
    assert!(name.ends_with("i-canary"));
}

/// API-49
#[test]
fn exactly_one_form_is_configured() {
    let table = [
        ("{}", "Neither"),
        ("{stableIngress: a, stableIngresses: [b]}", "Both"),
    ];
    for (nginx, which) in table {
        let rollout = rollout(&format!("trafficRouting: {{nginx: {nginx}}}"));
        let error = routers_for(&rollout, &Config::default()).err().unwrap();
        assert_eq!(
            error.to_string(),
            format!(
                "Either StableIngress or StableIngresses must be configured. {which} are configured."
            )
        );
    }
}

struct Two;

impl Specimen for Two {
    fn router(&self, _: &[Additional]) -> Box<dyn TrafficRouter> {
        router(&CANARY.replace("stableIngress: web", "stableIngresses: [web, api]"))
    }

    fn groups(&self, found: &Found) -> Vec<Group> {
        let annotation = |object: &Value, key: &str| {
            let key = format!("nginx.ingress.kubernetes.io/canary-{key}");
            object["metadata"]["annotations"][key]
                .as_str()
                .and_then(|v| v.parse::<i64>().ok())
        };
        let of = |seen: &Seen<Value>| match seen {
            Seen::Found(object) => {
                let (weight, total) = (
                    annotation(object, "weight")?,
                    annotation(object, "weight-total")?,
                );
                Some((vec![weight, total - weight], total))
            }
            _ => None,
        };
        found.0.values().filter_map(of).collect()
    }

    fn erase_owned(&self, object: &ObjectRef, value: &mut Value) {
        if object.name.ends_with("-canary") {
            crate::json::unset(value, &["spec"]);
            for key in [
                "canary",
                "canary-weight",
                "canary-weight-total",
                "canary-by-header",
            ] {
                crate::json::unset(
                    value,
                    &[
                        "metadata",
                        "annotations",
                        &format!("nginx.ingress.kubernetes.io/{key}"),
                    ],
                );
            }
            crate::json::unset(
                value,
                &["metadata", "annotations", "kubernetes.io/ingress.class"],
            );
        }
    }

    fn required(&self) -> Vec<ObjectRef> {
        let is_stable = |o: &ObjectRef| !o.name.ends_with("-canary");
        self.router(&[])
            .reads()
            .into_iter()
            .filter(is_stable)
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// INV-8, INV-11, INV-13, TRF-18
    #[test]
    fn conforms(
        wants in generate::wants(1000),
        note in "[a-z]{0,3}",
        paths in prop::collection::vec(prop::sample::select(vec!["shop", "other"]), 0..4),
        exists: bool,
    ) {
        let mut web = yaml(WEB);
        web["metadata"]["annotations"]["note"] = json!(note);
        for (n, service) in paths.iter().enumerate() {
            let path = json!({"path": format!("/{n}"), "backend": {"service": {"name": service}}});
            web["spec"]["rules"][0]["http"]["paths"].as_array_mut().unwrap().push(path);
        }
        let mut api = web.clone();
        api["metadata"]["name"] = json!("api");
        let mut objects = vec![web, api];
        if exists {
            objects.push(json!({"kind": "Ingress", "metadata": {
                "name": "ro-api-canary", "labels": {"a": "b"}, "annotations": {"note": note},
                "ownerReferences": [{"uid": "u-1", "controller": true}],
            }}));
        }
        let found = found(&*Two.router(&[]), &objects);
        let mut wants = wants;
        wants.push(Want { max_weight: 1000, ..rest() });
        if let Err(why) = conformance::check(&Two, &found, &wants) {
            return Err(TestCaseError::fail(why));
        }
    }
}
