use super::*;
use serde_json::json;

fn pod(name: &str, hash: &str, ready: bool) -> Value {
    let status = if ready { "True" } else { "False" };
    json!({
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "d", "labels": {
            "app": "web", "rollouts-pod-template-hash": hash
        }},
        "status": {"conditions": [{"type": "Ready", "status": status}]},
    })
}

fn service(name: &str, selector: Value) -> Value {
    json!({
        "kind": "Service", "metadata": {"name": name, "namespace": "d"},
        "spec": {"selector": selector},
    })
}

fn base() -> Vec<Value> {
    vec![
        pod("a", "old", true),
        pod("b", "old", true),
        pod("c", "new", true),
        pod("d", "new", false),
        service("web", json!({"app": "web"})),
        service(
            "stable",
            json!({"app": "web", "rollouts-pod-template-hash": "old"}),
        ),
        service(
            "canary",
            json!({"app": "web", "rollouts-pod-template-hash": "new"}),
        ),
        service("empty", json!({"app": "other"})),
    ]
}

fn with(route: Value) -> Traffic {
    Traffic::from_objects(base().into_iter().chain([route]))
}

fn shares(traffic: &Traffic, target: &str) -> String {
    let shares = traffic.share("d", target);
    let mut text: Vec<String> = shares
        .by_hash
        .iter()
        .map(|(hash, share)| format!("{hash}={share:.2}"))
        .collect();
    if shares.lost > 0.0 {
        text.push(format!("lost={:.2}", shares.lost));
    }
    text.join(" ")
}

#[test]
fn services_share_by_ready_pods() {
    let traffic = Traffic::from_objects(base());
    assert_eq!(shares(&traffic, "web"), "new=0.33 old=0.67");
    assert_eq!(shares(&traffic, "empty"), "lost=1.00");
    assert_eq!(traffic.outages(), []);
}

#[test]
fn virtual_services_share_by_weight() {
    let route = |a: &str, b: &str| {
        json!({
            "kind": "VirtualService", "metadata": {"name": "vs", "namespace": "d"},
            "spec": {"hosts": ["web.example.com", "web"], "http": [
                {"match": [{"headers": {"x": {"exact": "1"}}}],
                 "route": [{"destination": {"host": "empty"}}]},
                {"route": [
                    {"destination": {"host": a}, "weight": 80},
                    {"destination": {"host": b}, "weight": 20}
                ]}
            ]},
        })
    };
    let traffic = with(route("stable", "canary.d.svc.cluster.local"));
    assert_eq!(shares(&traffic, "web.example.com"), "new=0.20 old=0.80");
    assert_eq!(shares(&traffic, "web"), "new=0.20 old=0.80");
    let broken = with(route("stable", "empty"));
    assert_eq!(shares(&broken, "web"), "old=0.80 lost=0.20");
    let outages = broken.outages();
    assert_eq!(outages.len(), 1);
    assert_eq!(outages[0].destination, "empty");
}

#[test]
fn subsets_choose_by_labels() {
    let rule = json!({
        "kind": "DestinationRule", "metadata": {"name": "dr", "namespace": "d"},
        "spec": {"host": "web", "subsets": [
            {"name": "stable", "labels": {"rollouts-pod-template-hash": "old"}},
            {"name": "canary", "labels": {"rollouts-pod-template-hash": "gone"}}
        ]},
    });
    let route = json!({
        "kind": "VirtualService", "metadata": {"name": "vs", "namespace": "d"},
        "spec": {"hosts": ["web"], "http": [{"route": [
            {"destination": {"host": "web", "subset": "stable"}, "weight": 90},
            {"destination": {"host": "web", "subset": "canary"}, "weight": 10}
        ]}]},
    });
    let traffic = Traffic::from_objects(base().into_iter().chain([rule, route]));
    assert_eq!(shares(&traffic, "web"), "old=0.90 lost=0.10");
}

#[test]
fn ingresses_share_with_their_canary() {
    let ingress = |name: &str, service: &str, annotations: Value| {
        json!({
            "kind": "Ingress",
            "metadata": {"name": name, "namespace": "d", "annotations": annotations},
            "spec": {"rules": [{"host": "x.com", "http": {"paths": [
                {"path": "/", "backend": {"service": {"name": service}}}
            ]}}]},
        })
    };
    let canary = json!({
        "nginx.ingress.kubernetes.io/canary": "true",
        "nginx.ingress.kubernetes.io/canary-weight": "25",
    });
    let objects = [
        ingress("m", "stable", json!({})),
        ingress("m-canary", "canary", canary),
    ];
    let traffic = Traffic::from_objects(base().into_iter().chain(objects));
    assert_eq!(shares(&traffic, "x.com"), "new=0.25 old=0.75");
    let action = json!({"alb.ingress.kubernetes.io/actions.stable":
        "{\"Type\":\"forward\",\"ForwardConfig\":{\"TargetGroups\":[{\"ServiceName\":\"stable\",\
         \"Weight\":60},{\"ServiceName\":\"canary\",\"Weight\":40}]}}"});
    assert_eq!(
        shares(&with(ingress("alb", "stable", action)), "x.com"),
        "new=0.40 old=0.60"
    );
}

#[test]
fn routes_of_the_gateway_api_and_others_share() {
    let rows = [
        json!({
            "kind": "HTTPRoute", "metadata": {"name": "web", "namespace": "d"},
            "spec": {"rules": [{"backendRefs": [
                {"name": "stable", "weight": 3}, {"name": "canary", "weight": 1}
            ]}]},
        }),
        json!({
            "kind": "TrafficSplit", "metadata": {"name": "s", "namespace": "d"},
            "spec": {"service": "web", "backends": [
                {"service": "stable", "weight": 75}, {"service": "canary", "weight": 25}
            ]},
        }),
        json!({
            "kind": "TraefikService", "metadata": {"name": "web", "namespace": "d"},
            "spec": {"weighted": {"services": [
                {"name": "stable", "weight": 75}, {"name": "canary", "weight": 25}
            ]}},
        }),
    ];
    for route in rows {
        let kind = text(&route, &["kind"]).to_owned();
        assert_eq!(shares(&with(route), "web"), "new=0.25 old=0.75", "{kind}");
    }
}
