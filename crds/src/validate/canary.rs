//! Canary rules apart from the steps (API-46, API-47, TRF-30).

use super::{json, spec, steps};
use crate::field_error::FieldError;
use crate::numbers;
use crate::rollout::{CanaryStrategy, PingPongSpec, RolloutSpec, RolloutTrafficRouting};

/// Paths lack the name of the strategy, as in the peer (SE-12).
pub(super) const BASE: &str = "spec.strategy";

pub(super) fn errors(spec: &RolloutSpec, canary: &CanaryStrategy) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut invalid = |field: &str, value: serde_json::Value, detail: &str| {
        errors.push(FieldError::invalid(
            format!("{BASE}.{field}"),
            value,
            detail,
        ));
    };
    let zero = |n: &Option<_>| n.as_ref().is_some_and(|n| numbers::leading_number(n) == 0);
    if zero(&canary.max_surge) && zero(&canary.max_unavailable) {
        invalid(
            "maxSurge",
            json(&canary.max_surge),
            "MaxSurge and MaxUnavailable both can not be zero",
        );
    }
    let (stable, candidate) = (&canary.stable_service, &canary.canary_service);
    if stable == candidate && !stable.is_empty() {
        invalid(
            "stableService",
            stable.as_str().into(),
            "This rollout uses the same service for the stable and canary services, but two \
             different services are required.",
        );
    }
    let routing = canary.traffic_routing.as_deref();
    if let Some(services) = &canary.ping_pong {
        errors.extend(ping_pong(services, routing));
    }
    let mut invalid = |field: &str, value: serde_json::Value, detail: &str| {
        errors.push(FieldError::invalid(
            format!("{BASE}.{field}"),
            value,
            detail,
        ));
    };
    if routing.is_some_and(|r| needs_services(r, canary.ping_pong.is_some())) {
        for (field, name) in [("stableService", stable), ("canaryService", candidate)] {
            if name.is_empty() {
                invalid(
                    field,
                    name.as_str().into(),
                    "Canary service and Stable service must to be set to use Traffic Routing",
                );
            }
        }
    }
    if let (Some(delay), None) = (canary.scale_down_delay_seconds, routing) {
        invalid(
            "scaleDownDelaySeconds",
            delay.into(),
            "Canary scaleDownDelaySeconds can only be used with traffic routing",
        );
    }
    if canary.dynamic_stable_scale {
        if routing.is_none() {
            invalid(
                "dynamicStableScale",
                true.into(),
                "Canary dynamicStableScale can only be used with traffic routing",
            );
        }
        if canary.scale_down_delay_seconds.is_some() {
            invalid(
                "dynamicStableScale",
                true.into(),
                "Canary dynamicStableScale cannot be used with scaleDownDelaySeconds",
            );
        }
    }
    if let Some(routing) = routing {
        errors.extend(max_weight(routing));
    }
    errors.extend(steps::errors(spec, canary));
    errors.extend(spec::anti_affinity(canary.anti_affinity.as_ref()));
    errors
}

fn ping_pong(services: &PingPongSpec, routing: Option<&RolloutTrafficRouting>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut invalid = |field: &str, value: serde_json::Value, detail: &str| {
        errors.push(FieldError::invalid(
            format!("{BASE}.{field}"),
            value,
            detail,
        ));
    };
    match routing {
        Some(r) if r.alb.is_none() && r.istio.is_none() && r.plugins.is_empty() => invalid(
            "trafficRouting.alb",
            json(&r.alb),
            "Ping-pong feature works with the ALB, Istio, and plugin-based traffic routers only",
        ),
        // SE-20: the peer accepts it, and then has nothing to switch.
        None => errors.push(FieldError::required(
            format!("{BASE}.trafficRouting"),
            "Ping-pong feature works with the ALB, Istio, and plugin-based traffic routers only",
        )),
        Some(_) => {}
    }
    let mut invalid = |field: &str, value: &str, detail: &str| {
        errors.push(FieldError::invalid(
            format!("{BASE}.{field}"),
            value,
            detail,
        ));
    };
    let PingPongSpec {
        ping_service,
        pong_service,
    } = services;
    for (field, name) in [
        ("pingPong.pingService", ping_service),
        ("pingPong.pongService", pong_service),
    ] {
        if name.is_empty() {
            invalid(
                field,
                name,
                "Ping service and Pong service must to be set to use Ping-Pong feature",
            );
        }
    }
    if ping_service == pong_service {
        invalid(
            "pingPong.pingService",
            ping_service,
            "This rollout uses the same service for the ping and pong services, but two \
             different services are required.",
        );
    }
    if routing
        .and_then(|r| r.alb.as_deref())
        .is_some_and(|alb| alb.root_service.is_empty())
    {
        invalid(
            "trafficRouting.alb.rootService",
            "",
            "Root service field is required for the configuration with ALB and ping-pong feature \
             enabled",
        );
    }
    errors
}

/// Whether both Services of the canary must be named (API-47).
pub(super) fn needs_services(routing: &RolloutTrafficRouting, ping_pong: bool) -> bool {
    let istio_by_host = routing
        .istio
        .as_ref()
        .is_some_and(|i| i.destination_rule.is_none());
    ((routing.alb.is_some() || istio_by_host) && !ping_pong)
        || routing.smi.is_some()
        || routing.apisix.is_some()
        || routing.ambassador.is_some()
        || routing.nginx.is_some()
        || routing.app_mesh.is_some()
        || routing.traefik.is_some()
}

fn max_weight(routing: &RolloutTrafficRouting) -> Vec<FieldError> {
    let Some(weight) = routing.max_traffic_weight else {
        return Vec::new();
    };
    let mut errors = Vec::new();
    if routing.nginx.is_none() && routing.plugins.is_empty() {
        errors.push(FieldError::invalid(
            format!("{BASE}.trafficRouting.maxTrafficWeight"),
            weight,
            "Canary maxTrafficWeight in traffic routing only supported in Nginx and Plugins",
        ));
    }
    if weight <= 0 {
        // SE-13: everything is divided by it.
        errors.push(FieldError::invalid(
            format!("{BASE}.canary.trafficRouting.maxTrafficWeight"),
            weight,
            "must be greater than 0",
        ));
    }
    errors
}
