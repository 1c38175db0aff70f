use expect_test::{Expect, expect};
use serde_json::{Value, json};
use sluice_core::observed::Seen;
use sluice_core::traffic::{Additional, Want};
use sluice_crds::rollout::{SetHeaderRoute, SetMirrorRoute};

use super::{release_destination_rule, subset_hashes, virtual_service_ref};
use crate::conformance::{self, rest, want};
use crate::testing::{found, rollout, router, show, yaml};
use crate::{Config, routers_for};

mod conforms;

const HOSTS: &str = "
canaryService: shop-next
stableService: shop
trafficRouting:
  managedRoutes: [{name: qa}, {name: shadow}]
  istio: {virtualService: {name: web, routes: [web]}}
";

const SUBSETS: &str = "
trafficRouting:
  managedRoutes: [{name: qa}, {name: shadow}]
  istio:
    virtualService: {name: web}
    destinationRule: {name: shop, canarySubsetName: canary, stableSubsetName: stable}
";

const RULE: &str = "
kind: DestinationRule
metadata: {name: shop, resourceVersion: '7'}
spec:
  host: shop
  trafficPolicy: {connectionPool: {http: {http1MaxPendingRequests: 64}}}
  subsets:
  - {name: stable, labels: {app: shop}}
  - {name: canary, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
";

/// A VirtualService `web` with these routes.
fn web(sections: &str) -> Value {
    let mut value = yaml("{kind: VirtualService, metadata: {name: web, resourceVersion: '3'}}");
    crate::json::set(&mut value, &["spec"], yaml(sections));
    crate::json::set(&mut value, &["spec", "hosts"], json!(["shop.example"]));
    value
}

fn hosts(stable: i64, canary: i64) -> Value {
    web(&format!(
        "http:
- name: web
  retries: {{attempts: 3}}
  route:
  - {{destination: {{host: shop, port: {{number: 8080}}}}, weight: {stable}}}
  - {{destination: {{host: shop-next, port: {{number: 8080}}}}, weight: {canary}}}
- {{name: admin, route: [{{destination: {{host: admin}}}}]}}
"
    ))
}

fn subsets(stable: i64, canary: i64) -> Value {
    web(&format!(
        "http:
- route:
  - {{destination: {{host: shop, subset: stable}}, weight: {stable}}}
  - {{destination: {{host: shop, subset: canary}}, weight: {canary}}}
"
    ))
}

fn header(name: &str) -> SetHeaderRoute {
    let r#match = "[{headerName: x-qa, headerValue: {exact: '1'}}, {headerName: agent, headerValue: {prefix: Bot}}]";
    serde_json::from_value(json!({"name": name, "match": yaml(r#match)})).unwrap()
}

fn mirror(name: &str) -> SetMirrorRoute {
    let r#match = "[{method: {exact: GET}, path: {prefix: /api}, headers: {x-qa: {regex: '.+'}}}]";
    serde_json::from_value(json!({"name": name, "percentage": 35, "match": yaml(r#match)})).unwrap()
}

fn experiment(weight: i32) -> Additional {
    Additional {
        weight,
        service: "shop-exp".into(),
        pod_hash: "e1e".into(),
    }
}

fn check(canary: &str, objects: &[Value], want: &Want, expected: Expect) {
    let router = router(canary);
    expected.assert_eq(&show(&router.render(want, &found(&*router, objects))));
}

/// TRF-104, TRF-105
#[test]
fn weights_are_set_and_experiments_appended() {
    let want = Want {
        additional: vec![experiment(20)],
        ..want(10)
    };
    check(
        HOSTS,
        &[hosts(100, 0)],
        &want,
        expect![[r#"
            patch VirtualService ns/web
              .spec.http:
                - {"name":"web","retries":{"attempts":3},"route":[{"destination":{"host":"shop","port":{"number":8080}},"weight":70},{"destination":{"host":"shop-next","port":{"number":8080}},"weight":10},{"destination":{"host":"shop-exp"},"weight":20}]}
                - {"name":"admin","route":[{"destination":{"host":"admin"}}]}
            event: Normal Updated VirtualService: VirtualService `web` set to desiredWeight '10'
        "#]],
    );
}

/// TRF-104, SE-10: what status records goes away again, what others added stays and is paid for.
#[test]
fn only_recorded_destinations_are_removed() {
    let mut object = hosts(50, 10);
    let route = object
        .pointer_mut("/spec/http/0/route")
        .unwrap()
        .as_array_mut()
        .unwrap();
    route.push(yaml("{destination: {host: shop-exp}, weight: 20}"));
    route.push(yaml("{destination: {host: legacy}, weight: 20}"));
    route.push(yaml("{destination: {host: preview}, weight: 0}"));
    let mut rollout = rollout(HOSTS);
    rollout.status = serde_json::from_value(json!({"canary": {"weights": {
        "canary": {"weight": 10}, "stable": {"weight": 70},
        "additional": [{"weight": 20, "serviceName": "shop-exp", "podTemplateHash": "e1e"}],
    }}}))
    .unwrap();
    let router = routers_for(&rollout, &Config::default()).unwrap().remove(0);
    let result = router.render(&want(10), &found(&*router, &[object]));
    expect![[r#"
        patch VirtualService ns/web
          .spec.http:
            - {"name":"web","retries":{"attempts":3},"route":[{"destination":{"host":"shop","port":{"number":8080}},"weight":70},{"destination":{"host":"shop-next","port":{"number":8080}},"weight":10},{"destination":{"host":"legacy"},"weight":20},{"destination":{"host":"preview"},"weight":0}]}
            - {"name":"admin","route":[{"destination":{"host":"admin"}}]}
        event: Normal Updated VirtualService: VirtualService `web` set to desiredWeight '10'
    "#]].assert_eq(&show(&result));
}

/// TRF-106, TRF-107, TRF-108, SE-27: one write for everything.
#[test]
fn header_and_mirror_routes() {
    let want = Want {
        header_route: Some(header("qa")),
        mirror_route: Some(mirror("shadow")),
        ..want(10)
    };
    check(
        HOSTS,
        &[hosts(100, 0)],
        &want,
        expect![[r#"
        patch VirtualService ns/web
          .spec.http:
            - {"match":[{"headers":{"x-qa":{"exact":"1"}}},{"headers":{"agent":{"prefix":"Bot"}}}],"name":"qa","route":[{"destination":{"host":"shop-next","port":{"number":8080}},"weight":100}]}
            - {"match":[{"headers":{"x-qa":{"regex":".+"}},"method":{"exact":"GET"},"uri":{"prefix":"/api"}}],"mirror":{"host":"shop-next","port":{"number":8080}},"mirrorPercentage":{"value":35},"name":"shadow","route":[{"destination":{"host":"shop","port":{"number":8080}},"weight":90},{"destination":{"host":"shop-next","port":{"number":8080}},"weight":10}]}
            - {"name":"web","retries":{"attempts":3},"route":[{"destination":{"host":"shop","port":{"number":8080}},"weight":90},{"destination":{"host":"shop-next","port":{"number":8080}},"weight":10}]}
            - {"name":"admin","route":[{"destination":{"host":"admin"}}]}
        event: Normal Updated VirtualService: VirtualService `web` set headerRoute 'qa'
        event: Normal Updated VirtualService: VirtualService `web` set mirrorRoute 'shadow'
        event: Normal Updated VirtualService: VirtualService `web` set to desiredWeight '10'
    "#]],
    );
}

/// TRF-106, TRF-107, TRF-110: with a DestinationRule, host and subset come from there.
#[test]
fn managed_routes_by_subset() {
    let want = Want {
        header_route: Some(header("qa")),
        mirror_route: Some(mirror("shadow")),
        ..want(20)
    };
    check(
        SUBSETS,
        &[subsets(100, 0), yaml(RULE)],
        &want,
        expect![[r#"
        patch DestinationRule ns/shop
          .metadata.annotations.argo-rollouts.argoproj.io/managed-by-rollouts = "ro"
          .spec.subsets:
            - {"labels":{"app":"shop","rollouts-pod-template-hash":"5c4"},"name":"stable"}
            - {"labels":{"rollouts-pod-template-hash":"7d9"},"name":"canary","trafficPolicy":{"loadBalancer":{"simple":"RANDOM"}}}
        event: Normal UpdatedDestinationRule: DestinationRule shop subset updated (canary: 7d9, stable: 5c4)
        patch VirtualService ns/web
          .spec.http:
            - {"match":[{"headers":{"x-qa":{"exact":"1"}}},{"headers":{"agent":{"prefix":"Bot"}}}],"name":"qa","route":[{"destination":{"host":"shop","subset":"canary"},"weight":100}]}
            - {"match":[{"headers":{"x-qa":{"regex":".+"}},"method":{"exact":"GET"},"uri":{"prefix":"/api"}}],"mirror":{"host":"shop","subset":"canary"},"mirrorPercentage":{"value":35},"name":"shadow","route":[{"destination":{"host":"shop","subset":"stable"},"weight":80},{"destination":{"host":"shop","subset":"canary"},"weight":20}]}
            - {"route":[{"destination":{"host":"shop","subset":"stable"},"weight":80},{"destination":{"host":"shop","subset":"canary"},"weight":20}]}
        event: Normal Updated VirtualService: VirtualService `web` set headerRoute 'qa'
        event: Normal Updated VirtualService: VirtualService `web` set mirrorRoute 'shadow'
        event: Normal Updated VirtualService: VirtualService `web` set to desiredWeight '20'
    "#]],
    );
}

/// TRF-109, SE-9, SE-27: removal and weight are one write with both events, and then none.
#[test]
fn removal_is_part_of_the_same_write() {
    let router = router(HOSTS);
    let on = Want {
        header_route: Some(header("qa")),
        mirror_route: Some(mirror("shadow")),
        ..want(10)
    };
    let rest = Want {
        remove_managed_routes: true,
        ..want(0)
    };
    let before = found(&*router, &[hosts(100, 0)]);
    let with = conformance::apply(&before, &router.render(&on, &before).unwrap()).unwrap();
    let result = router.render(&rest, &with);
    expect![[r#"
        patch VirtualService ns/web
          .spec.http:
            - {"name":"web","retries":{"attempts":3},"route":[{"destination":{"host":"shop","port":{"number":8080}},"weight":100},{"destination":{"host":"shop-next","port":{"number":8080}},"weight":0}]}
            - {"name":"admin","route":[{"destination":{"host":"admin"}}]}
        event: Normal Updated VirtualService: VirtualService `web` removed all managed routes.
        event: Normal Updated VirtualService: VirtualService `web` set to desiredWeight '0'
    "#]].assert_eq(&show(&result));
    let after = conformance::apply(&with, &result.unwrap()).unwrap();
    assert_eq!(router.render(&rest, &after), Ok(vec![]));
}

/// TRF-108, SE-6, SE-7, SE-8: routes without `name`, and a named one as the only one of the user.
#[test]
fn the_base_route_is_the_only_unmanaged_one() {
    let canary = HOSTS.replace(", routes: [web]", "");
    let unnamed = web("http:
- {match: [{uri: {prefix: /a}}], name: qa, route: [{destination: {host: shop-next}, weight: 100}]}
- {name: user, route: [{destination: {host: shop}}, {destination: {host: shop-next}}]}
");
    let want = Want {
        mirror_route: Some(mirror("shadow")),
        ..want(30)
    };
    check(
        &canary,
        &[unnamed],
        &want,
        expect![[r#"
        patch VirtualService ns/web
          .spec.http:
            - {"match":[{"uri":{"prefix":"/a"}}],"name":"qa","route":[{"destination":{"host":"shop-next"},"weight":100}]}
            - {"match":[{"headers":{"x-qa":{"regex":".+"}},"method":{"exact":"GET"},"uri":{"prefix":"/api"}}],"mirror":{"host":"shop-next"},"mirrorPercentage":{"value":35},"name":"shadow","route":[{"destination":{"host":"shop"},"weight":70},{"destination":{"host":"shop-next"},"weight":30}]}
            - {"name":"user","route":[{"destination":{"host":"shop"},"weight":70},{"destination":{"host":"shop-next"},"weight":30}]}
        event: Normal Updated VirtualService: VirtualService `web` set mirrorRoute 'shadow'
        event: Normal Updated VirtualService: VirtualService `web` set to desiredWeight '30'
    "#]],
    );
}

/// TRF-101, TRF-102, TRF-103, TRF-100
#[test]
fn errors_say_what_is_wrong() {
    let omitted = HOSTS.replace(", routes: [web]", "");
    let tls = HOSTS.replace(
        "routes: [web]",
        "tlsRoutes: [{port: 443, sniHosts: [a.example]}]",
    );
    let tcp = HOSTS.replace("routes: [web]", "tcpRoutes: [{port: 3306}]");
    let two = "[{destination: {host: shop}}, {destination: {host: shop-next}}]";
    let table = [
        (HOSTS, vec![], "VirtualService `web` not found"),
        (
            HOSTS,
            vec![web("http: [{name: other, route: []}]")],
            "HTTP Route 'web' is not found in the defined Virtual Service.",
        ),
        (
            HOSTS,
            vec![web(
                "http: [{name: web, route: [{destination: {host: shop}}]}]",
            )],
            "Canary Service 'shop-next' not found in route",
        ),
        (
            HOSTS,
            vec![web(
                "http: [{name: web, route: [{destination: {host: shop-next.ns.svc}}]}]",
            )],
            "Stable Service 'shop' not found in route",
        ),
        (
            HOSTS,
            vec![web("http: {}")],
            "Unable to get HTTP routes for Istio VirtualService",
        ),
        (
            &omitted,
            vec![web("{}")],
            "Unable to get any of the HTTP, TCP or TLS routes for the Istio VirtualService",
        ),
        (
            &omitted,
            vec![web(&format!("http: [{{route: {two}}}, {{route: {two}}}]"))],
            "spec.http[] should be set in VirtualService and it must have exactly one route when \
             omitting spec.strategy.canary.trafficRouting.istio.virtualService.routes",
        ),
        (
            &omitted,
            vec![web(&format!("tls: [{{route: {two}}}, {{route: {two}}}]"))],
            "spec.tls[] should be set in VirtualService and it must have exactly one route when \
             omitting spec.strategy.canary.trafficRouting.istio.virtualService.tlsRoutes",
        ),
        (
            &tls,
            vec![web(&format!(
                "tls: [{{match: [{{port: 443, sniHosts: [b.example]}}], route: {two}}}]"
            ))],
            "No matching TLS routes found in the defined Virtual Service.",
        ),
        (
            &tcp,
            vec![web(&format!(
                "tcp: [{{match: [{{port: 1}}, {{port: 3306}}], route: {two}}}]"
            ))],
            "No matching TCP routes found in the defined Virtual Service.",
        ),
        (
            SUBSETS,
            vec![subsets(100, 0)],
            "DestinationRule `shop` not found",
        ),
        (
            SUBSETS,
            vec![
                subsets(100, 0),
                yaml(
                    "{kind: DestinationRule, metadata: {name: shop}, spec: {subsets: [{name: stable}]}}",
                ),
            ],
            "DestinationRule `shop` has no subset 'canary'",
        ),
        (
            SUBSETS,
            vec![hosts_only(), yaml(RULE)],
            "Canary DestinationRule subset 'canary' not found in route",
        ),
    ];
    for (canary, objects, text) in table {
        let router = router(canary);
        let error = router
            .render(&want(10), &found(&*router, &objects))
            .unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

fn hosts_only() -> Value {
    web(
        "http: [{route: [{destination: {host: shop, subset: stable}}, {destination: {host: shop-next}}]}]",
    )
}

/// TRF-100
#[test]
fn events_of_missing_objects() {
    check(
        HOSTS,
        &[],
        &want(10),
        expect![[r#"
        error: VirtualService `web` not found
        event: Warning VirtualServiceNotFound: VirtualService `web` not found
        event: Warning TrafficRoutingError: VirtualService `web` not found
    "#]],
    );
}

/// TRF-102
#[test]
fn tls_and_tcp_routes_follow_in_the_same_write() {
    let canary = HOSTS.replace(
        "routes: [web]",
        "routes: [web], tlsRoutes: [{port: 443, sniHosts: [b, a]}], tcpRoutes: [{port: 3306}]",
    );
    let two = "[{destination: {host: shop}, weight: 100}, {destination: {host: shop-next}}]";
    let object = web(&format!(
        "http: [{{name: web, route: {two}}}]
tls:
- {{match: [{{port: 443, sniHosts: [a]}}, {{port: 443, sniHosts: [b]}}], route: {two}}}
- {{match: [{{port: 443, sniHosts: [c]}}], route: [{{destination: {{host: other}}}}]}}
tcp:
- {{match: [{{port: 3306}}], route: {two}}}
- {{route: [{{destination: {{host: other}}}}]}}
"
    ));
    check(
        &canary,
        &[object],
        &want(40),
        expect![[r#"
        patch VirtualService ns/web
          .spec.http:
            - {"name":"web","route":[{"destination":{"host":"shop"},"weight":60},{"destination":{"host":"shop-next"},"weight":40}]}
          .spec.tcp:
            - {"match":[{"port":3306}],"route":[{"destination":{"host":"shop"},"weight":60},{"destination":{"host":"shop-next"},"weight":40}]}
            - {"route":[{"destination":{"host":"other"}}]}
          .spec.tls:
            - {"match":[{"port":443,"sniHosts":["a"]},{"port":443,"sniHosts":["b"]}],"route":[{"destination":{"host":"shop"},"weight":60},{"destination":{"host":"shop-next"},"weight":40}]}
            - {"match":[{"port":443,"sniHosts":["c"]}],"route":[{"destination":{"host":"other"}}]}
        event: Normal Updated VirtualService: VirtualService `web` set to desiredWeight '40'
    "#]],
    );
}

/// TRF-110, TRF-9: hashes first, unless the weight has to go down before them.
#[test]
fn subsets_get_hashes() {
    let objects = [subsets(80, 20), yaml(RULE)];
    check(
        SUBSETS,
        &objects,
        &want(20),
        expect![[r#"
        patch DestinationRule ns/shop
          .metadata.annotations.argo-rollouts.argoproj.io/managed-by-rollouts = "ro"
          .spec.subsets:
            - {"labels":{"app":"shop","rollouts-pod-template-hash":"5c4"},"name":"stable"}
            - {"labels":{"rollouts-pod-template-hash":"7d9"},"name":"canary","trafficPolicy":{"loadBalancer":{"simple":"RANDOM"}}}
        event: Normal UpdatedDestinationRule: DestinationRule shop subset updated (canary: 7d9, stable: 5c4)
    "#]],
    );
    let want = Want {
        weight_before_hash: true,
        canary_hash: String::new(),
        ..want(0)
    };
    check(
        SUBSETS,
        &objects,
        &want,
        expect![[r#"
        patch VirtualService ns/web
          .spec.http:
            - {"route":[{"destination":{"host":"shop","subset":"stable"},"weight":100},{"destination":{"host":"shop","subset":"canary"},"weight":0}]}
        event: Normal Updated VirtualService: VirtualService `web` set to desiredWeight '0'
        patch DestinationRule ns/shop
          .metadata.annotations.argo-rollouts.argoproj.io/managed-by-rollouts = "ro"
          .spec.subsets:
            - {"labels":{"app":"shop","rollouts-pod-template-hash":"5c4"},"name":"stable"}
            - {"name":"canary","trafficPolicy":{"loadBalancer":{"simple":"RANDOM"}}}
        event: Normal UpdatedDestinationRule: DestinationRule shop subset updated (canary: , stable: 5c4)
    "#]],
    );
}

/// TRF-104: a subset of the user keeps its share.
#[test]
fn additional_subsets_keep_their_share() {
    let canary = SUBSETS.replace(
        "stableSubsetName: stable",
        "stableSubsetName: stable, additionalSubsetNames: [legacy]",
    );
    let mut object = subsets(80, 0);
    let route = object
        .pointer_mut("/spec/http/0/route")
        .unwrap()
        .as_array_mut()
        .unwrap();
    route.push(yaml(
        "{destination: {host: shop, subset: legacy}, weight: 20}",
    ));
    let mut rule = yaml(RULE);
    rule.pointer_mut("/spec/subsets")
        .unwrap()
        .as_array_mut()
        .unwrap()
        .push(yaml("{name: legacy, labels: {v: '1'}}"));
    check(
        &canary,
        &[object, rule],
        &want(10),
        expect![[r#"
        patch DestinationRule ns/shop
          .metadata.annotations.argo-rollouts.argoproj.io/managed-by-rollouts = "ro"
          .spec.subsets:
            - {"labels":{"app":"shop","rollouts-pod-template-hash":"5c4"},"name":"stable"}
            - {"labels":{"rollouts-pod-template-hash":"7d9"},"name":"canary","trafficPolicy":{"loadBalancer":{"simple":"RANDOM"}}}
            - {"labels":{"v":"1"},"name":"legacy"}
        event: Normal UpdatedDestinationRule: DestinationRule shop subset updated (canary: 7d9, stable: 5c4)
        patch VirtualService ns/web
          .spec.http:
            - {"route":[{"destination":{"host":"shop","subset":"stable"},"weight":70},{"destination":{"host":"shop","subset":"canary"},"weight":10},{"destination":{"host":"shop","subset":"legacy"},"weight":20}]}
        event: Normal Updated VirtualService: VirtualService `web` set to desiredWeight '10'
    "#]],
    );
}

/// TRF-111, SE-11, FLT-8: subsets that may not switch keep the traffic they have; the way back to a
/// right stable subset stays open.
#[test]
fn waiting_subsets_hold_the_weight() {
    let router = router(SUBSETS);
    let start = found(&*router, &[subsets(100, 0), yaml(RULE)]);
    let running = conformance::apply(&start, &router.render(&want(20), &start).unwrap()).unwrap();
    let next = Want {
        canary_hash: "9f1".into(),
        keep_hashes: true,
        ..want(60)
    };
    assert_eq!(router.render(&next, &running), Ok(vec![]));
    let back = Want {
        weight: 0,
        ..next.clone()
    };
    let writes = router.render(&back, &running).unwrap();
    assert_eq!(
        writes
            .iter()
            .map(|w| w.object.kind.as_str())
            .collect::<Vec<_>>(),
        ["VirtualService"]
    );
    let promoted = Want {
        stable_hash: "9f1".into(),
        ..back
    };
    assert_eq!(router.render(&promoted, &running), Ok(vec![]));
}

/// INV-10: one VirtualService that is gone does not keep traffic of another on the canary.
#[test]
fn an_abort_goes_as_far_as_it_can() {
    let canary = HOSTS.replace(
        "virtualService: {name: web, routes: [web]}",
        "virtualServices: [{name: gone}, {name: web, routes: [web]}]",
    );
    check(
        &canary,
        &[hosts(60, 40)],
        &rest(),
        expect![[r#"
        error: VirtualService `gone` not found
        event: Warning VirtualServiceNotFound: VirtualService `gone` not found
        event: Warning TrafficRoutingError: VirtualService `gone` not found
        patch VirtualService ns/web
          .spec.http:
            - {"name":"web","retries":{"attempts":3},"route":[{"destination":{"host":"shop","port":{"number":8080}},"weight":100},{"destination":{"host":"shop-next","port":{"number":8080}},"weight":0}]}
            - {"name":"admin","route":[{"destination":{"host":"admin"}}]}
        event: Normal Updated VirtualService: VirtualService `web` set to desiredWeight '0'
    "#]],
    );
    let router = router(&canary);
    let error = router
        .render(&want(50), &found(&*router, &[hosts(60, 40)]))
        .unwrap_err();
    assert_eq!(error.writes(), []);
    // Managed routes of those that exist go away without an error (TRF-109).
    let remove = Want {
        only_remove_managed_routes: true,
        ..want(0)
    };
    assert_eq!(
        router.render(&remove, &found(&*router, &[hosts(60, 40)])),
        Ok(vec![])
    );
}

/// TRF-100
#[test]
fn names_may_carry_a_namespace() {
    let table = [
        ("web", "ns/web"),
        ("web.mesh", "mesh/web"),
        ("web.v2.mesh", "mesh/web.v2"),
        ("web.mesh.cluster.local", "mesh/web"),
    ];
    for (name, expected) in table {
        let object = virtual_service_ref(name, "ns", "v1");
        assert_eq!(format!("{}/{}", object.namespace, object.name), expected);
        assert_eq!(object.api_version, "networking.istio.io/v1");
    }
}

/// API-16
#[test]
fn exactly_one_form_is_configured() {
    for istio in [
        "{}",
        "{virtualService: {name: a}, virtualServices: [{name: b}]}",
    ] {
        let rollout = rollout(&format!("trafficRouting: {{istio: {istio}}}"));
        let error = routers_for(&rollout, &Config::default()).err().unwrap();
        assert_eq!(
            error.to_string(),
            "either VirtualService or VirtualServices must be configured"
        );
    }
}

/// CTL-44, CTL-152, TRF-112
#[test]
fn rules_are_read_and_released() {
    let router = router(SUBSETS);
    let start = found(&*router, &[subsets(100, 0), yaml(RULE)]);
    let running = conformance::apply(&start, &router.render(&want(20), &start).unwrap()).unwrap();
    assert_eq!(
        subset_hashes(&running),
        Seen::Found(["5c4".to_owned(), "7d9".to_owned()].into_iter().collect())
    );
    let mut unread = running.clone();
    let object = router.reads().remove(0);
    assert_eq!(object.kind, "DestinationRule");
    unread
        .0
        .insert(object.clone(), Seen::Unread("timeout".into()));
    assert!(matches!(subset_hashes(&unread), Seen::Unread(_)));

    let seen = running.get(&object).unwrap().unwrap();
    assert_eq!(super::managing_rollout(seen), Some("ro"));
    let release = release_destination_rule(&object, seen).unwrap();
    let freed = conformance::apply(&running, &[release]).unwrap();
    let freed = freed.get(&object).unwrap().unwrap();
    assert_eq!(freed["spec"], yaml(RULE)["spec"]);
    assert_eq!(release_destination_rule(&object, freed), None);
}
