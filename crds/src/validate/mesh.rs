//! Ambassador Mappings and App Mesh objects that a Rollout names (API-49).

use serde_json::Value;

use crate::field_error::FieldError;
use crate::references::References;
use crate::rollout::{Rollout, RolloutSpec};

const ROUTING: &str = "spec.strategy.canary.trafficRouting";

/// Mappings that are not named or not there.
pub(super) fn missing_mappings(spec: &RolloutSpec, found: &References) -> Vec<FieldError> {
    let Some(ambassador) = spec.traffic_routing().and_then(|r| r.ambassador.as_ref()) else {
        return Vec::new();
    };
    let path = format!("{ROUTING}.ambassador.mappings");
    if ambassador.mappings.is_empty() {
        return vec![FieldError::invalid(
            path,
            Value::Null,
            "must provide at least one mapping",
        )];
    }
    let missing = ambassador
        .mappings
        .iter()
        .filter(|n| matches!(found.mappings.get(*n), Some(None)));
    missing
        .map(|name| {
            let detail = format!("mappings.getambassador.io \"{name}\" not found");
            FieldError::invalid(path.as_str(), name.as_str(), detail)
        })
        .collect()
}

/// Mappings that already have a weight.
pub(super) fn unfit_mappings(spec: &RolloutSpec, found: &References) -> Vec<FieldError> {
    let ambassador = spec.traffic_routing().and_then(|r| r.ambassador.as_ref());
    let names = ambassador.into_iter().flat_map(|a| &a.mappings);
    names
        .filter_map(|name| {
            let mapping = found.mappings.get(name)?.as_ref()?;
            let weight = mapping.pointer("/spec/weight").and_then(Value::as_i64)?;
            let detail = format!("Ambassador mapping \"{name}\" can not define weight");
            (weight != 0).then(|| FieldError::invalid("spec.weight", weight, detail))
        })
        .collect()
}

/// An App Mesh virtual service that is not named or not there, or whose router is not.
pub(super) fn missing_virtual_service(rollout: &Rollout, found: &References) -> Option<FieldError> {
    let mesh = rollout.spec.traffic_routing()?.app_mesh.as_deref()?;
    let path = format!("{ROUTING}.appmesh.virtualService");
    let Some(service) = &mesh.virtual_service else {
        return Some(FieldError::invalid(
            path,
            Value::Null,
            "must provide virtual-service",
        ));
    };
    let name = &service.name;
    let value = format!(
        "{name}.{}",
        rollout.metadata.namespace.as_deref().unwrap_or_default()
    );
    let detail = match found.app_mesh_virtual_services.get(name)? {
        None => format!("virtualservices.appmesh.k8s.aws \"{name}\" not found"),
        Some(object) => {
            let Some(None) = found.app_mesh_routers.get(name) else {
                return None;
            };
            let router = object.pointer("/spec/provider/virtualRouter/virtualRouterRef/name");
            let router = router.and_then(Value::as_str).unwrap_or(name);
            format!("virtualrouters.appmesh.k8s.aws \"{router}\" not found")
        }
    };
    Some(FieldError::invalid(path, value, detail))
}

/// A router whose routes cannot be split in two.
pub(super) fn unfit_router(spec: &RolloutSpec, found: &References) -> Vec<FieldError> {
    let mesh = spec.traffic_routing().and_then(|r| r.app_mesh.as_deref());
    let service = mesh.and_then(|mesh| mesh.virtual_service.as_ref());
    let router = service.and_then(|s| found.app_mesh_routers.get(&s.name)?.as_ref());
    let (Some(service), Some(router)) = (service, router) else {
        return Vec::new();
    };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = text(router.pointer("/metadata/name"));
    let kind = text(router.get("kind"));
    if kind != "VirtualRouter" {
        let detail = format!("Expected object kind to be VirtualRouter but is {kind}");
        return vec![FieldError::invalid("kind", kind, detail)];
    }
    let routes = router.pointer("/spec/routes").and_then(Value::as_array);
    let routes = routes.map_or(&[][..], Vec::as_slice);
    if routes.is_empty() {
        let detail = format!("No routes defined for AppMesh virtual-router {name}");
        return vec![FieldError::invalid("spec.routes", name, detail)];
    }
    let mut errors = Vec::new();
    for (i, route) in routes.iter().enumerate() {
        let path = format!("spec.routes[{i}]");
        if !route.is_object() {
            let detail =
                format!("Invalid route was found for AppMesh virtual-router {name} at index {i}");
            errors.push(FieldError::invalid(path, route.clone(), detail));
            continue;
        }
        let called = text(route.get("name"));
        if !service.routes.is_empty() && !service.routes.contains(&called) {
            continue;
        }
        let about = format!("AppMesh virtual-router {name} and route {called}");
        let kinds = ["httpRoute", "http2Route", "grpcRoute", "tcpRoute"];
        let Some(rule) = kinds.iter().find_map(|kind| route.get(kind)) else {
            let detail = format!(
                "Error getting route details for {about}. Error: none of {}",
                kinds.join(", ")
            );
            errors.push(FieldError::invalid(path, called, detail));
            continue;
        };
        match rule
            .pointer("/action/weightedTargets")
            .and_then(Value::as_array)
            .map(Vec::len)
        {
            None => {
                let detail = format!("Invalid route action found for {about}");
                errors.push(FieldError::invalid(path, called, detail));
            }
            Some(2) => {}
            Some(n) => {
                let detail =
                    format!("Invalid number of weightedTargets ({n}) for {about}, expected 2");
                errors.push(FieldError::invalid(path, called, detail));
            }
        }
    }
    errors
}
