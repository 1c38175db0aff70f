use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};
use sluice_core::traffic::{Additional, Want};
use sluice_crds::rollout::SetHeaderRoute;

use super::{alb_managed_rollouts, references_alb_ingress, release_alb_ingress};
use crate::conformance::{self, generate, rest, want};
use crate::testing::{Simple, conform, found, rollout, router, show, yaml};
use crate::{Config, routers_for};

const CANARY: &str = "
canaryService: shop-next
stableService: shop
trafficRouting:
  managedRoutes: [{name: qa}]
  alb: {ingress: web, servicePort: 443, rootService: shop-root}
";

const WEB: &str = "
kind: Ingress
metadata:
  name: web
  resourceVersion: '4'
  annotations:
    kubernetes.io/ingress.class: alb
    rollouts.argoproj.io/managed-alb-annotations: '{\"other\":[\"alb.ingress.kubernetes.io/actions.x\"]}'
spec:
  rules:
  - host: shop.example
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: shop-root, port: {name: use-annotation}}}}
      - {path: /x, pathType: Prefix, backend: {service: {name: other, port: {number: 80}}}}
  - {host: bare.example}
  - {http: {paths: [{path: /b, backend: {resource: {kind: Bucket, name: b}}}]}}
";

fn header() -> SetHeaderRoute {
    let r#match = "[{headerName: X-QA, headerValue: {exact: '1'}}, {headerName: X-QA, headerValue: {exact: '2'}}]";
    serde_json::from_value(json!({"name": "qa", "match": yaml(r#match)})).unwrap()
}

fn check(canary: &str, objects: &[Value], want: &Want, expected: Expect) {
    let router = router(canary);
    expected.assert_eq(&show(&router.render(want, &found(&*router, objects))));
}

/// TRF-251
#[test]
fn weights_become_an_action() {
    let shop_exp = Additional {
        weight: 20,
        service: "shop-exp".into(),
        pod_hash: "e1e".into(),
    };
    let want = Want {
        additional: vec![shop_exp],
        ..want(10)
    };
    let sticky = CANARY.replace(
        "443,",
        "443, stickinessConfig: {enabled: true, durationSeconds: 3600},",
    );
    check(
        &sticky,
        &[yaml(WEB)],
        &want,
        expect![[r#"
        event: Normal PatchingALBIngress: Updating Ingress `web` to desiredWeight '10'
        patch Ingress ns/web
          .metadata.annotations.alb.ingress.kubernetes.io/actions.shop-root = "{\"Type\":\"forward\",\"ForwardConfig\":{\"TargetGroups\":[{\"ServiceName\":\"shop-next\",\"ServicePort\":\"443\",\"Weight\":10},{\"ServiceName\":\"shop-exp\",\"ServicePort\":\"443\",\"Weight\":20},{\"ServiceName\":\"shop\",\"ServicePort\":\"443\",\"Weight\":70}],\"TargetGroupStickinessConfig\":{\"Enabled\":true,\"DurationSeconds\":3600}}}"
          .metadata.annotations.rollouts.argoproj.io/managed-alb-annotations = "{\"other\":[\"alb.ingress.kubernetes.io/actions.x\"],\"ro\":[\"alb.ingress.kubernetes.io/actions.shop-root\"]}"
    "#]],
    );
}

/// TRF-252
#[test]
fn header_routes_come_and_go() {
    let on = Want {
        header_route: Some(header()),
        ..want(10)
    };
    check(
        CANARY,
        &[yaml(WEB)],
        &on,
        expect![[r#"
        event: Normal PatchingALBIngress: Updating Ingress `web` to headerRoute 'qa'
        event: Normal PatchingALBIngress: Updating Ingress `web` to desiredWeight '10'
        patch Ingress ns/web
          .metadata.annotations.alb.ingress.kubernetes.io/actions.qa = "{\"Type\":\"forward\",\"ForwardConfig\":{\"TargetGroups\":[{\"ServiceName\":\"shop-next\",\"ServicePort\":\"443\",\"Weight\":100}]}}"
          .metadata.annotations.alb.ingress.kubernetes.io/actions.shop-root = "{\"Type\":\"forward\",\"ForwardConfig\":{\"TargetGroups\":[{\"ServiceName\":\"shop-next\",\"ServicePort\":\"443\",\"Weight\":10},{\"ServiceName\":\"shop\",\"ServicePort\":\"443\",\"Weight\":90}]}}"
          .metadata.annotations.alb.ingress.kubernetes.io/conditions.qa = "[{\"field\":\"http-header\",\"httpHeaderConfig\":{\"httpHeaderName\":\"X-QA\",\"values\":[\"1\",\"2\"]}}]"
          .metadata.annotations.rollouts.argoproj.io/managed-alb-annotations = "{\"other\":[\"alb.ingress.kubernetes.io/actions.x\"],\"ro\":[\"alb.ingress.kubernetes.io/actions.qa\",\"alb.ingress.kubernetes.io/conditions.qa\",\"alb.ingress.kubernetes.io/actions.shop-root\"]}"
          .spec.rules:
            - {"host":"shop.example","http":{"paths":[{"backend":{"service":{"name":"qa","port":{"name":"use-annotation"}}},"path":"/*","pathType":"ImplementationSpecific"},{"backend":{"service":{"name":"shop-root","port":{"name":"use-annotation"}}},"path":"/","pathType":"Prefix"},{"backend":{"service":{"name":"other","port":{"number":80}}},"path":"/x","pathType":"Prefix"}]}}
            - {"host":"bare.example"}
            - {"http":{"paths":[{"backend":{"service":{"name":"qa","port":{"name":"use-annotation"}}},"path":"/*","pathType":"ImplementationSpecific"},{"backend":{"resource":{"kind":"Bucket","name":"b"}},"path":"/b"}]}}
    "#]],
    );
    let router = router(CANARY);
    let start = found(&*router, &[yaml(WEB)]);
    let running = conformance::apply(&start, &router.render(&on, &start).unwrap()).unwrap();
    expect![[r#"
        event: Normal PatchingALBIngress: Updating Ingress `web` removing managed routes
        event: Normal PatchingALBIngress: Updating Ingress `web` to desiredWeight '0'
        patch Ingress ns/web
          .metadata.annotations.alb.ingress.kubernetes.io/actions.qa = null
          .metadata.annotations.alb.ingress.kubernetes.io/actions.shop-root = "{\"Type\":\"forward\",\"ForwardConfig\":{\"TargetGroups\":[{\"ServiceName\":\"shop-next\",\"ServicePort\":\"443\",\"Weight\":0},{\"ServiceName\":\"shop\",\"ServicePort\":\"443\",\"Weight\":100}]}}"
          .metadata.annotations.alb.ingress.kubernetes.io/conditions.qa = null
          .metadata.annotations.rollouts.argoproj.io/managed-alb-annotations = "{\"other\":[\"alb.ingress.kubernetes.io/actions.x\"],\"ro\":[\"alb.ingress.kubernetes.io/actions.shop-root\"]}"
          .spec.rules:
            - {"host":"shop.example","http":{"paths":[{"backend":{"service":{"name":"shop-root","port":{"name":"use-annotation"}}},"path":"/","pathType":"Prefix"},{"backend":{"service":{"name":"other","port":{"number":80}}},"path":"/x","pathType":"Prefix"}]}}
            - {"host":"bare.example"}
            - {"http":{"paths":[{"backend":{"resource":{"kind":"Bucket","name":"b"}},"path":"/b"}]}}
    "#]].assert_eq(&show(&router.render(&rest(), &running)));
}

/// INV-8: the same action in other words is left alone.
#[test]
fn spelling_does_not_matter() {
    let router = router(CANARY);
    let start = found(&*router, &[yaml(WEB)]);
    let mut running =
        conformance::apply(&start, &router.render(&want(10), &start).unwrap()).unwrap();
    for seen in running.0.values_mut() {
        let sluice_core::observed::Seen::Found(object) = seen else {
            continue;
        };
        let action =
            &mut object["metadata"]["annotations"]["alb.ingress.kubernetes.io/actions.shop-root"];
        let parsed: Value = serde_json::from_str(action.as_str().unwrap()).unwrap();
        *action = json!(serde_json::to_string_pretty(&parsed).unwrap());
    }
    assert_eq!(router.render(&want(10), &running), Ok(vec![]));
}

/// TRF-250, TRF-251, API-49
#[test]
fn errors_say_what_is_wrong() {
    let elsewhere = yaml("{kind: Ingress, metadata: {name: web}, spec: {rules: [{host: a}]}}");
    let table = [
        (vec![], "ingress.networking.k8s.io \"web\" not found"),
        (
            vec![elsewhere],
            "ingress does not have service `shop-root` in rules",
        ),
    ];
    for (objects, text) in table {
        let router = router(CANARY);
        let error = router
            .render(&want(10), &found(&*router, &objects))
            .unwrap_err();
        assert_eq!(error.to_string(), text);
    }
    let config = [
        (
            "{ingress: a, ingresses: [b]}",
            "Either Ingress or Ingresses must be configured. Both are configured.",
        ),
        (
            "{}",
            "Either Ingress or Ingresses must be configured. Neither are configured.",
        ),
        (
            "{ingress: a, stickinessConfig: {enabled: true, durationSeconds: 0}}",
            "TargetGroupStickinessConfig's duration must be between 1 and 604800 seconds (7 days)!",
        ),
    ];
    for (alb, text) in config {
        let rollout = rollout(&format!("trafficRouting: {{alb: {alb}}}"));
        assert_eq!(
            routers_for(&rollout, &Config::default())
                .err()
                .unwrap()
                .to_string(),
            text
        );
    }
}

/// TRF-255, SE-16
#[test]
fn ingresses_are_released() {
    let router = router(CANARY);
    let start = found(&*router, &[yaml(WEB)]);
    let on = Want {
        header_route: Some(header()),
        ..want(10)
    };
    let running = conformance::apply(&start, &router.render(&on, &start).unwrap()).unwrap();
    let object = router.reads().remove(0);
    let seen = running.get(&object).unwrap().unwrap();
    assert_eq!(
        alb_managed_rollouts(seen).into_iter().collect::<Vec<_>>(),
        ["other", "ro"]
    );
    assert!(references_alb_ingress(&rollout(CANARY), "web"));
    assert!(!references_alb_ingress(&rollout("{}"), "web"));
    let release = release_alb_ingress(&object, seen, "ro").unwrap();
    expect![[r#"
        patch Ingress ns/web
          .metadata.annotations.alb.ingress.kubernetes.io/actions.qa = null
          .metadata.annotations.alb.ingress.kubernetes.io/actions.shop-root = "{\"Type\":\"forward\",\"ForwardConfig\":{\"TargetGroups\":[{\"ServiceName\":\"shop\",\"ServicePort\":\"443\",\"Weight\":100}]}}"
          .metadata.annotations.alb.ingress.kubernetes.io/conditions.qa = null
          .metadata.annotations.rollouts.argoproj.io/managed-alb-annotations = "{\"other\":[\"alb.ingress.kubernetes.io/actions.x\"]}"
          .spec.rules:
            - {"host":"shop.example","http":{"paths":[{"backend":{"service":{"name":"shop-root","port":{"name":"use-annotation"}}},"path":"/","pathType":"Prefix"},{"backend":{"service":{"name":"other","port":{"number":80}}},"path":"/x","pathType":"Prefix"}]}}
            - {"host":"bare.example"}
            - {"http":{"paths":[{"backend":{"resource":{"kind":"Bucket","name":"b"}},"path":"/b"}]}}
    "#]].assert_eq(&show(&Ok(vec![release.clone()])));
    let freed = conformance::apply(&running, &[release]).unwrap();
    assert_eq!(
        release_alb_ingress(&object, freed.get(&object).unwrap().unwrap(), "ro"),
        None
    );
}

const SPECIMEN: Simple = Simple {
    canary: CANARY,
    groups: |object| {
        let annotations = object["metadata"]["annotations"].as_object().unwrap();
        let actions = annotations
            .iter()
            .filter(|(key, _)| key.contains("/actions."));
        actions
            .map(|(_, action)| {
                let action: Value = serde_json::from_str(action.as_str().unwrap()).unwrap();
                let groups = crate::json::list(&action, "/ForwardConfig/TargetGroups");
                (
                    groups
                        .iter()
                        .map(|g| crate::json::number(g, "Weight"))
                        .collect(),
                    100,
                )
            })
            .collect()
    },
    erase: |_, object| {
        let annotations = object["metadata"]["annotations"].as_object_mut().unwrap();
        annotations.retain(|key, _| !key.starts_with("alb.ingress.kubernetes.io/"));
        let managed = annotations["rollouts.argoproj.io/managed-alb-annotations"]
            .as_str()
            .unwrap();
        let mut managed: Value = serde_json::from_str(managed).unwrap();
        crate::json::unset(&mut managed, &["ro"]);
        annotations["rollouts.argoproj.io/managed-alb-annotations"] = managed;
        super::edit_paths(object, |paths| paths.retain(|p| !super::leads_to(p, "qa")));
    },
    required: |_| true,
    is_managed: |_, object| object.to_string().contains("qa"),
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() })]

    /// INV-8, INV-11, INV-13, TRF-18
    #[test]
    fn conforms(wants in generate::wants(100)) {
        conform(&SPECIMEN, &[yaml(WEB)], &wants)?;
    }
}
