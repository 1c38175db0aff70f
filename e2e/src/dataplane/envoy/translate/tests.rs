use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

fn service(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"ports": [{"name": "http", "port": 80}]}})
}

fn slice(service: &str, endpoints: &[(&str, &str, Option<bool>)]) -> Value {
    let endpoint = |(ip, pod, ready): &(&str, &str, Option<bool>)| json!({"addresses": [ip], "conditions": {"ready": ready}, "targetRef": {"name": pod}});
    json!({
        "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

fn virtual_service(http: Value) -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"hosts": ["web"], "http": http}})
}

fn mesh(http: Value) -> Mesh {
    let pod =
        |name: &str, hash: &str| json!({"metadata": {"name": name, "labels": {"hash": hash}}});
    Mesh {
        namespace: "shop".into(),
        services: vec![service("web"), service("canary")],
        slices: vec![
            slice(
                "web",
                &[
                    ("10.200.0.2", "new", None),
                    ("10.200.0.1", "old", Some(true)),
                    ("10.200.0.3", "starting", Some(false)),
                ],
            ),
            slice("canary", &[("10.200.0.2", "new", Some(true))]),
        ],
        pods: vec![pod("old", "aaa"), pod("new", "bbb"), pod("starting", "bbb")],
        virtual_services: vec![virtual_service(http)],
        destination_rules: vec![json!({
            "metadata": {"name": "web"},
            "spec": {"host": "web.shop.svc.cluster.local", "subsets": [
                {"name": "stable", "labels": {"hash": "aaa"}},
                {"name": "canary", "labels": {"hash": "bbb"}},
            ]},
        })],
    }
}

/// The parts that matter, one a line.
fn show(resources: &Resources) -> String {
    let mut lines = vec![];
    for host in list(&resources.routes[0], "/virtual_hosts") {
        for route in list(host, "/routes") {
            lines.push(format!(
                "{} {} -> {}",
                text(host, "/name"),
                route["match"],
                route["route"]
            ));
        }
    }
    for assignment in &resources.endpoints {
        let address = |e: &Value| {
            let address = &e["endpoint"]["address"]["socket_address"];
            format!("{}:{}", text(address, "/address"), address["port_value"])
        };
        let all: Vec<_> = list(assignment, "/endpoints/0/lb_endpoints")
            .iter()
            .map(address)
            .collect();
        lines.push(format!("{} = {all:?}", text(assignment, "/cluster_name")));
    }
    lines.join("\n") + "\n"
}

fn check(http: Value, expected: Expect) {
    let shown = match mesh(http).translate() {
        Ok(resources) => show(&resources),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&shown);
}

#[test]
fn weights_by_host() {
    check(
        json!([{"name": "primary", "route": [
            {"destination": {"host": "web"}, "weight": 80},
            {"destination": {"host": "canary.shop.svc.cluster.local"}, "weight": 20},
        ]}]),
        expect![[r#"
            canary {"prefix":"/"} -> {"cluster":"outbound|80||canary.shop.svc.cluster.local"}
            web {"prefix":"/"} -> {"weighted_clusters":{"clusters":[{"name":"outbound|80||web.shop.svc.cluster.local","weight":80},{"name":"outbound|80||canary.shop.svc.cluster.local","weight":20}]}}
            outbound|80||canary.shop.svc.cluster.local = ["10.200.0.2:8080"]
            outbound|80||web.shop.svc.cluster.local = ["10.200.0.1:8080", "10.200.0.2:8080"]
        "#]],
    );
}

#[test]
fn weights_by_subset_choose_ready_pods_by_their_labels() {
    check(
        json!([{"route": [
            {"destination": {"host": "web", "subset": "stable"}, "weight": 100},
            {"destination": {"host": "web", "subset": "canary"}, "weight": 0},
        ]}]),
        expect![[r#"
            canary {"prefix":"/"} -> {"cluster":"outbound|80||canary.shop.svc.cluster.local"}
            web {"prefix":"/"} -> {"weighted_clusters":{"clusters":[{"name":"outbound|80|stable|web.shop.svc.cluster.local","weight":100},{"name":"outbound|80|canary|web.shop.svc.cluster.local","weight":0}]}}
            outbound|80|canary|web.shop.svc.cluster.local = ["10.200.0.2:8080"]
            outbound|80|stable|web.shop.svc.cluster.local = ["10.200.0.1:8080"]
            outbound|80||canary.shop.svc.cluster.local = ["10.200.0.2:8080"]
            outbound|80||web.shop.svc.cluster.local = ["10.200.0.1:8080", "10.200.0.2:8080"]
        "#]],
    );
}

#[test]
fn header_routes_come_first_and_copies_go_aside() {
    check(
        json!([
            {"match": [{"headers": {"agent": {"exact": "robot"}, "x": {"regex": "a.*"}}},
                       {"uri": {"prefix": "/new"}, "method": {"exact": "GET"}}],
             "route": [{"destination": {"host": "canary"}}]},
            {"route": [{"destination": {"host": "web", "subset": "gone"}}],
             "mirror": {"host": "canary"}, "mirrorPercentage": {"value": 12.5}},
        ]),
        expect![[r#"
            canary {"prefix":"/"} -> {"cluster":"outbound|80||canary.shop.svc.cluster.local"}
            web {"headers":[{"invert_match":false,"name":"agent","string_match":{"exact":"robot"}},{"invert_match":false,"name":"x","string_match":{"safe_regex":{"regex":"a.*"}}}],"prefix":"/"} -> {"weighted_clusters":{"clusters":[{"name":"outbound|80||canary.shop.svc.cluster.local","weight":100}]}}
            web {"headers":[{"invert_match":false,"name":":method","string_match":{"exact":"GET"}}],"prefix":"/new"} -> {"weighted_clusters":{"clusters":[{"name":"outbound|80||canary.shop.svc.cluster.local","weight":100}]}}
            web {"prefix":"/"} -> {"request_mirror_policies":[{"cluster":"outbound|80||canary.shop.svc.cluster.local","runtime_fraction":{"default_value":{"denominator":"MILLION","numerator":125000}}}],"weighted_clusters":{"clusters":[{"name":"outbound|80|gone|web.shop.svc.cluster.local","weight":100}]}}
            outbound|80|gone|web.shop.svc.cluster.local = []
            outbound|80||canary.shop.svc.cluster.local = ["10.200.0.2:8080"]
            outbound|80||web.shop.svc.cluster.local = ["10.200.0.1:8080", "10.200.0.2:8080"]
        "#]],
    );
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let to = |host: &str| json!([{"destination": {"host": host}}]);
    check(
        json!([{"route": to("web"), "rewrite": {"uri": "/"}}]),
        expect![
            "VirtualService web: spec.http[0].rewrite is not supported yet by the translation for Envoy"
        ],
    );
    check(
        json!([{"route": to("web")}, {"route": to("nobody")}]),
        expect![[
            r#"VirtualService web: spec.http[1].route[0].destination is to "nobody", but there is no such Service"#
        ]],
    );
    check(
        json!([{"match": [{"uri": {"like": "/"}}], "route": to("web")}]),
        expect!["VirtualService web: spec.http[0].match[0].uri is neither exact, prefix nor regex"],
    );
    check(
        json!([{"route": [{"destination": {"host": "web"}, "weight": 0}]}]),
        expect!["VirtualService web: spec.http[0].route is without any weight"],
    );
}

#[test]
fn clusters_stay_until_no_route_names_them() {
    let canary = mesh(json!([{"route": [{"destination": {"host": "web", "subset": "canary"}}]}]));
    let old = canary.translate().unwrap();
    let new = Mesh {
        virtual_services: vec![],
        ..canary
    }
    .translate()
    .unwrap();
    assert_eq!((old.clusters.len(), new.clusters.len()), (3, 2));
    let between = new.with_clusters_of(&old);
    assert_eq!(between.clusters, old.clusters);
    assert_eq!(between.endpoints.len(), 3);
    assert_eq!(between.routes, new.routes);
}
