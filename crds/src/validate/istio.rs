//! Istio VirtualServices that a Rollout names (API-50, TRF-100..103).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field_error::FieldError;
use crate::references::References;
use crate::rollout::{
    CanaryStrategy, IstioTrafficRouting, IstioVirtualService, RolloutSpec, RolloutTrafficRouting,
};

const BASE: &str = "spec.strategy.canary.trafficRouting.istio";

/// Whether exactly one of the two forms of naming VirtualServices is used.
pub(super) fn form(spec: &RolloutSpec) -> Option<FieldError> {
    let istio = istio(spec)?;
    (istio.virtual_service.is_some() != istio.virtual_services.is_empty()).then(|| {
        FieldError::internal(
            BASE,
            "either VirtualService or VirtualServices must be configured",
        )
    })
}

/// VirtualServices that are not there.
pub(super) fn missing(spec: &RolloutSpec, found: &References) -> Vec<FieldError> {
    named(spec)
        .filter(|(_, service)| matches!(found.virtual_services.get(&service.name), Some(None)))
        .map(|(path, service)| {
            let name = service.name.as_str();
            let detail = format!("virtualservices.networking.istio.io \"{name}\" not found");
            FieldError::invalid(path, name, detail)
        })
        .collect()
}

/// VirtualServices without the routes or destinations that are needed.
pub(super) fn unfit(spec: &RolloutSpec, found: &References) -> Vec<FieldError> {
    let (Some(canary), Some(routing)) = (spec.canary(), spec.traffic_routing()) else {
        return Vec::new();
    };
    let mut errors = Vec::new();
    for (path, service) in named(spec) {
        let Some(Some(object)) = found.virtual_services.get(&service.name) else {
            continue;
        };
        if let Err(detail) = check(object, service, canary, routing) {
            errors.push(FieldError::invalid(path, service.name.as_str(), detail));
        }
    }
    errors
}

fn istio(spec: &RolloutSpec) -> Option<&IstioTrafficRouting> {
    spec.traffic_routing()?.istio.as_deref()
}

fn named(spec: &RolloutSpec) -> impl Iterator<Item = (String, &IstioVirtualService)> {
    let all = istio(spec).into_iter().flat_map(|istio| {
        let one = istio.virtual_service.iter().map(|v| ("virtualService", v));
        one.chain(
            istio
                .virtual_services
                .iter()
                .map(|v| ("virtualServices", v)),
        )
    });
    all.map(|(field, service)| (format!("{BASE}.{field}.name"), service))
}

const SECTIONS: [(&str, &str, &str); 3] = [
    ("http", "HTTP", "routes"),
    ("tls", "TLS", "tlsRoutes"),
    ("tcp", "TCP", "tcpRoutes"),
];

fn check(
    object: &Value,
    service: &IstioVirtualService,
    canary: &CanaryStrategy,
    routing: &RolloutTrafficRouting,
) -> Result<(), String> {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let present = |key: &str| spec.get(key).filter(|section| !section.is_null());
    if SECTIONS.iter().all(|(key, ..)| present(key).is_none()) {
        return Err(
            "Unable to get any of the HTTP, TCP or TLS routes for the Istio VirtualService"
                .to_owned(),
        );
    }
    for (key, words, member) in SECTIONS {
        let Some(section) = present(key) else {
            continue;
        };
        let routes = section
            .as_array()
            .ok_or_else(|| format!("Unable to get {words} routes for Istio VirtualService"))?;
        let result = match key {
            "http" => http_routes(routes, service, routing),
            "tls" => layer4_routes(routes, words, &tls_wanted(service)),
            _ => layer4_routes(routes, words, &tcp_wanted(service)),
        };
        let selected = result.map_err(|problem| match problem {
            Problem::NotOne => format!(
                "spec.{key}[] should be set in VirtualService and it must have exactly one route \
                 when omitting {BASE}.virtualService.{member}"
            ),
            Problem::Other(text) => text,
        });
        selected
            .and_then(|routes| {
                routes
                    .into_iter()
                    .try_for_each(|r| destinations(r, canary, routing))
            })
            .map_err(|e| format!("Istio VirtualService has invalid {words} routes. Error: {e}"))?;
    }
    Ok(())
}

enum Problem {
    /// There is not exactly one route to choose.
    NotOne,
    /// Said in full.
    Other(String),
}

fn http_routes<'a>(
    routes: &'a [Value],
    service: &IstioVirtualService,
    routing: &RolloutTrafficRouting,
) -> Result<Vec<&'a Value>, Problem> {
    let name = |route: &'a Value| {
        route
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    if service.routes.is_empty() {
        let managed = |route: &Value| {
            let name = route.get("name").and_then(Value::as_str);
            routing
                .managed_routes
                .iter()
                .any(|managed| Some(managed.name.as_str()) == name)
        };
        let mut own = routes.iter().filter(|route| !managed(route));
        return match (own.next(), own.next()) {
            (Some(one), None) => Ok(vec![one]),
            _ => Err(Problem::NotOne),
        };
    }
    let find = |wanted: &String| {
        routes
            .iter()
            .find(|route| name(route) == wanted)
            .ok_or_else(|| {
                let text =
                    format!("HTTP Route '{wanted}' is not found in the defined Virtual Service.");
                Problem::Other(text)
            })
    };
    service.routes.iter().map(find).collect()
}

/// Port and server names of a TLS or TCP route.
type Layer4 = (i64, BTreeSet<String>);

fn tls_wanted(service: &IstioVirtualService) -> Vec<Layer4> {
    service
        .tls_routes
        .iter()
        .map(|r| (r.port, r.sni_hosts.iter().cloned().collect()))
        .collect()
}

fn tcp_wanted(service: &IstioVirtualService) -> Vec<Layer4> {
    service
        .tcp_routes
        .iter()
        .map(|r| (r.port, BTreeSet::new()))
        .collect()
}

fn layer4_routes<'a>(
    routes: &'a [Value],
    words: &str,
    wanted: &[Layer4],
) -> Result<Vec<&'a Value>, Problem> {
    if wanted.is_empty() {
        return match routes {
            [one] => Ok(vec![one]),
            _ => Err(Problem::NotOne),
        };
    }
    let fits = |route: &&Value| {
        let matches = route.get("match").and_then(Value::as_array);
        let matches = || matches.into_iter().flatten();
        let ports: BTreeSet<i64> = matches()
            .filter_map(|m| m.get("port").and_then(Value::as_i64))
            .collect();
        let hosts: BTreeSet<String> = matches()
            .flat_map(|m| {
                m.get("sniHosts")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
            })
            .filter_map(|host| host.as_str().map(str::to_owned))
            .collect();
        ports.len() <= 1
            && wanted.iter().any(|(port, names)| {
                *port == ports.first().copied().unwrap_or(0) && *names == hosts
            })
    };
    let selected: Vec<&Value> = routes.iter().filter(fits).collect();
    if selected.is_empty() {
        let text = format!("No matching {words} routes found in the defined Virtual Service.");
        return Err(Problem::Other(text));
    }
    Ok(selected)
}

fn destinations(
    route: &Value,
    canary: &CanaryStrategy,
    routing: &RolloutTrafficRouting,
) -> Result<(), String> {
    let all = route.get("route").and_then(Value::as_array);
    let has = |member: &str, wanted: &str| {
        all.into_iter().flatten().any(|entry| {
            let destination = entry.get("destination").and_then(|d| d.get(member));
            let text = destination.and_then(Value::as_str).unwrap_or_default();
            let text = if member == "host" { short(text) } else { text };
            text == wanted
        })
    };
    let rule = routing
        .istio
        .as_ref()
        .and_then(|istio| istio.destination_rule.as_ref());
    if let Some(rule) = rule {
        for (words, subset) in [
            ("Canary", &rule.canary_subset_name),
            ("Stable", &rule.stable_subset_name),
        ] {
            if !has("subset", subset) {
                return Err(format!(
                    "{words} DestinationRule subset '{subset}' not found in route"
                ));
            }
        }
        return Ok(());
    }
    let (candidate, stable) = match &canary.ping_pong {
        Some(pair) if canary.canary_service.is_empty() && canary.stable_service.is_empty() => {
            (&pair.ping_service, &pair.pong_service)
        }
        _ => (&canary.canary_service, &canary.stable_service),
    };
    for (words, service) in [("Canary", candidate), ("Stable", stable)] {
        if !has("host", short(service)) {
            return Err(format!("{words} Service '{service}' not found in route"));
        }
    }
    Ok(())
}

/// A host without its domain.
fn short(host: &str) -> &str {
    host.split('.').next().unwrap_or(host)
}
