//! What each kind of route says about destinations.

use serde_json::Value;

use super::{Destination, Traffic};
use crate::json::{at, int, items, text};
use crate::object::{self, annotation};

const NGINX: &str = "nginx.ingress.kubernetes.io";
const ALB: &str = "alb.ingress.kubernetes.io";

/// Service and namespace of a host: `name`, `name.namespace`, or fully qualified.
pub(super) fn host(host: &str, default_namespace: &str) -> (String, String) {
    let mut parts = host.split('.');
    let service = parts.next().unwrap_or_default().to_owned();
    let namespace = parts.next().unwrap_or(default_namespace).to_owned();
    (service, namespace)
}

/// Destinations of a route.
pub(super) fn of_route(traffic: &Traffic, route: &Value) -> Vec<Destination> {
    match text(route, &["kind"]) {
        "VirtualService" => virtual_service(route),
        "HTTPRoute" => http_route(route),
        "Ingress" => ingress(traffic, route),
        "TrafficSplit" => backends(route, items(route, &["spec", "backends"]), "service"),
        "TraefikService" => backends(
            route,
            items(route, &["spec", "weighted", "services"]),
            "name",
        ),
        _ => Vec::new(),
    }
}

/// One rule of a route.
pub(super) struct Rule {
    /// Its name, or its position where it has none.
    pub(super) name: String,
    /// Only requests that match something take it.
    pub(super) some: bool,
    pub(super) destinations: Vec<Destination>,
    /// Where copies go.
    pub(super) mirrors: Vec<Destination>,
}

/// The rules of a route.
pub(super) fn rules_of(traffic: &Traffic, route: &Value) -> Vec<Rule> {
    if text(route, &["kind"]) != "VirtualService" {
        return vec![Rule {
            name: "0".to_owned(),
            some: false,
            destinations: of_route(traffic, route),
            mirrors: Vec::new(),
        }];
    }
    let sections = ["http", "tcp", "tls"].into_iter();
    let rules = sections.flat_map(|section| items(route, &["spec", section]));
    rules
        .enumerate()
        .map(|(position, rule)| {
            let mirrors = items(rule, &["mirrors"]).iter();
            let mirrors = mirrors.filter_map(|mirror| at(mirror, &["destination"]));
            let share = at(rule, &["mirrorPercentage", "value"]).and_then(Value::as_f64);
            let share = share.unwrap_or(100.0) / 100.0;
            let name = text(rule, &["name"]);
            Rule {
                name: if name.is_empty() {
                    position.to_string()
                } else {
                    name.to_owned()
                },
                some: !items(rule, &["match"]).is_empty(),
                destinations: istio_rule(route, rule),
                mirrors: mirrors
                    .chain(at(rule, &["mirror"]))
                    .map(|mirror| istio_destination(route, mirror, share))
                    .collect(),
            }
        })
        .collect()
}

/// Destinations of a route if it is about the target.
pub(super) fn for_target(
    traffic: &Traffic,
    route: &Value,
    namespace: &str,
    target: &str,
) -> Vec<Destination> {
    let space = object::namespace(route);
    let names_host = |given: &str| {
        given == target
            || (host(given, space) == host(target, namespace)
                && !target.is_empty()
                && traffic
                    .service(namespace, &host(target, namespace).0)
                    .is_some())
    };
    let applies = match text(route, &["kind"]) {
        "VirtualService" => {
            let hosts = items(route, &["spec", "hosts"]);
            hosts.iter().filter_map(Value::as_str).any(names_host)
        }
        "HTTPRoute" => {
            let hosts = items(route, &["spec", "hostnames"]);
            (space == namespace && object::name(route) == target)
                || hosts.iter().filter_map(Value::as_str).any(|h| h == target)
        }
        "TrafficSplit" => space == namespace && text(route, &["spec", "service"]) == target,
        "TraefikService" => space == namespace && object::name(route) == target,
        "Ingress" => {
            let rules = items(route, &["spec", "rules"]);
            let on_host = rules.iter().any(|r| text(r, &["host"]) == target);
            let backend = space == namespace && paths(route).any(|p| backend(p) == target);
            !is_canary(route) && (on_host || backend)
        }
        _ => false,
    };
    if applies {
        of_route(traffic, route)
    } else {
        Vec::new()
    }
}

/// The first HTTP route that plain requests take: one without a match on headers.
fn virtual_service(route: &Value) -> Vec<Destination> {
    let plain = |r: &&Value| {
        let matches = items(r, &["match"]);
        matches.is_empty() || matches.iter().any(|m| at(m, &["headers"]).is_none())
    };
    let mut rule = items(route, &["spec", "http"]).iter().find(plain);
    for other in ["tcp", "tls"] {
        rule = rule.or_else(|| items(route, &["spec", other]).first());
    }
    rule.map(|rule| istio_rule(route, rule)).unwrap_or_default()
}

fn istio_rule(route: &Value, rule: &Value) -> Vec<Destination> {
    let list = items(rule, &["route"]);
    let total = total(list);
    list.iter()
        .filter_map(|d| {
            let to = at(d, &["destination"])?;
            Some(istio_destination(route, to, share(d, total, list.len())))
        })
        .collect()
}

fn istio_destination(route: &Value, destination: &Value, share: f64) -> Destination {
    let given = text(destination, &["host"]);
    let (service, namespace) = host(given, object::namespace(route));
    Destination {
        namespace,
        service,
        subset: text(destination, &["subset"]).to_owned(),
        share,
    }
}

fn http_route(route: &Value) -> Vec<Destination> {
    let plain = |r: &&Value| {
        let matches = items(r, &["matches"]);
        matches.is_empty() || matches.iter().any(|m| at(m, &["headers"]).is_none())
    };
    let Some(rule) = items(route, &["spec", "rules"]).iter().find(plain) else {
        return Vec::new();
    };
    let list = items(rule, &["backendRefs"]);
    let weight = |b: &Value| int(b, &["weight"]).unwrap_or(1) as f64;
    let total: f64 = list.iter().map(weight).sum();
    list.iter()
        .map(|b| {
            let space = text(b, &["namespace"]);
            let space = if space.is_empty() {
                object::namespace(route)
            } else {
                space
            };
            Destination {
                namespace: space.to_owned(),
                service: text(b, &["name"]).to_owned(),
                subset: String::new(),
                share: if total > 0.0 { weight(b) / total } else { 0.0 },
            }
        })
        .collect()
}

/// Weighted backends by a field that names the Service.
fn backends(route: &Value, list: &[Value], field: &str) -> Vec<Destination> {
    let total = total(list);
    list.iter()
        .map(|b| Destination {
            namespace: object::namespace(route).to_owned(),
            service: text(b, &[field]).to_owned(),
            subset: String::new(),
            share: share(b, total, list.len()),
        })
        .collect()
}

fn total(list: &[Value]) -> f64 {
    list.iter()
        .map(|d| int(d, &["weight"]).unwrap_or(0) as f64)
        .sum()
}

/// A destination alone gets everything; without weights at all, all get the same.
fn share(destination: &Value, total: f64, count: usize) -> f64 {
    match int(destination, &["weight"]) {
        Some(weight) if total > 0.0 => weight as f64 / total,
        _ if count == 1 => 1.0,
        _ => 0.0,
    }
}

fn paths(ingress: &Value) -> impl Iterator<Item = &Value> {
    items(ingress, &["spec", "rules"])
        .iter()
        .flat_map(|r| items(r, &["http", "paths"]))
}

fn backend(path: &Value) -> &str {
    text(path, &["backend", "service", "name"])
}

fn is_canary(ingress: &Value) -> bool {
    annotation(ingress, &format!("{NGINX}/canary")) == Some("true")
}

/// An Ingress with its canary beside it, or with a weighted action of the AWS controller.
fn ingress(traffic: &Traffic, route: &Value) -> Vec<Destination> {
    let namespace = object::namespace(route).to_owned();
    let destination = |service: &str, share: f64| Destination {
        namespace: namespace.clone(),
        service: service.to_owned(),
        subset: String::new(),
        share,
    };
    let Some(main) = paths(route).next().map(backend) else {
        return Vec::new();
    };
    if is_canary(route) {
        // Counted with the Ingress that it belongs to; alone it shows its own weight.
        return vec![destination(main, canary_share(route))];
    }
    if let Some(action) = annotation(route, &format!("{ALB}/actions.{main}")) {
        let action: Value = serde_json::from_str(action).unwrap_or_default();
        let groups = ["forwardConfig", "ForwardConfig"];
        let groups = groups
            .iter()
            .find_map(|k| action.get(*k))
            .cloned()
            .unwrap_or_default();
        let keys = ["targetGroups", "TargetGroups"];
        let list = keys
            .iter()
            .find_map(|k| groups.get(*k)?.as_array())
            .cloned()
            .unwrap_or_default();
        let weight = |g: &Value| {
            int(g, &["weight"])
                .or_else(|| int(g, &["Weight"]))
                .unwrap_or(0) as f64
        };
        let total: f64 = list.iter().map(weight).sum();
        let name = |g: &Value| {
            let lower = text(g, &["serviceName"]);
            if lower.is_empty() {
                text(g, &["ServiceName"]).to_owned()
            } else {
                lower.to_owned()
            }
        };
        let share = |g: &Value| if total > 0.0 { weight(g) / total } else { 0.0 };
        return list
            .iter()
            .map(|g| destination(&name(g), share(g)))
            .collect();
    }
    let hosts = |i: &Value| -> Vec<String> {
        items(i, &["spec", "rules"])
            .iter()
            .map(|r| text(r, &["host"]).to_owned())
            .collect()
    };
    let beside = |other: &&Value| {
        text(other, &["kind"]) == "Ingress"
            && is_canary(other)
            && object::namespace(other) == namespace
            && hosts(other) == hosts(route)
    };
    match traffic.routes.iter().find(beside) {
        Some(canary) => {
            let share = canary_share(canary);
            let service = paths(canary).next().map(backend).unwrap_or_default();
            vec![destination(main, 1.0 - share), destination(service, share)]
        }
        None => vec![destination(main, 1.0)],
    }
}

fn canary_share(ingress: &Value) -> f64 {
    let read = |key: &str| {
        annotation(ingress, &format!("{NGINX}/{key}")).and_then(|v| v.parse::<f64>().ok())
    };
    let total = read("canary-weight-total")
        .filter(|t| *t > 0.0)
        .unwrap_or(100.0);
    (read("canary-weight").unwrap_or(0.0) / total).clamp(0.0, 1.0)
}
