//! Services and Ingresses that a Rollout names (API-49).

use serde_json::Value;

use crate::field_error::FieldError;
use crate::keys;
use crate::references::{self, References};
use crate::rollout::{Rollout, RolloutSpec};

const ROUTING: &str = "spec.strategy.canary.trafficRouting";

/// Services that are not there.
pub(super) fn missing(spec: &RolloutSpec, found: &References) -> Vec<FieldError> {
    references::services(spec)
        .into_iter()
        .filter(|(_, name)| matches!(found.services.get(*name), Some(None)))
        .map(|(path, name)| {
            FieldError::invalid(path, name, format!("service \"{name}\" not found"))
        })
        .collect()
}

/// Services that select other pods or belong to another Rollout.
pub(super) fn unfit(rollout: &Rollout, found: &References) -> Vec<FieldError> {
    let labels = rollout.spec.template.labels();
    let own_name = rollout.metadata.name.as_deref().unwrap_or_default();
    let mut errors = Vec::new();
    for (path, name) in references::services(&rollout.spec) {
        let Some(Some(service)) = found.services.get(name) else {
            continue;
        };
        for (key, value) in &service.selector {
            if key != keys::POD_TEMPLATE_HASH && labels.get(key) != Some(value) {
                let detail = format!("Service \"{name}\" has unmatch label \"{key}\" in rollout");
                errors.push(FieldError::invalid(path, name, detail));
            }
        }
        if service
            .managed_by
            .as_deref()
            .is_some_and(|manager| manager != own_name)
        {
            let detail = format!("Service \"{name}\" is managed by another Rollout");
            errors.push(FieldError::invalid(path, name, detail));
        }
    }
    errors
}

/// The Ingresses of one router.
struct IngressUse<'a> {
    /// Path of the single form, of the list when it is missing, of the list when it is unfit.
    paths: [String; 3],
    one: &'a str,
    many: &'a [String],
    service: &'a str,
}

fn ingress_uses(spec: &RolloutSpec) -> Vec<IngressUse<'_>> {
    let (Some(canary), Some(routing)) = (spec.canary(), spec.traffic_routing()) else {
        return Vec::new();
    };
    let mut uses = Vec::new();
    if let Some(nginx) = &routing.nginx {
        uses.push(IngressUse {
            paths: ["stableIngress", "StableIngresses", "stableIngresses"]
                .map(|field| format!("{ROUTING}.nginx.{field}")),
            one: &nginx.stable_ingress,
            many: &nginx.stable_ingresses,
            service: &canary.stable_service,
        });
    }
    if let Some(alb) = &routing.alb {
        let root = Some(&alb.root_service).filter(|name| !name.is_empty());
        uses.push(IngressUse {
            paths: ["ingress", "ingresses", "ingresses"]
                .map(|field| format!("{ROUTING}.alb.{field}")),
            one: &alb.ingress,
            many: &alb.ingresses,
            service: root.unwrap_or(&canary.stable_service),
        });
    }
    uses
}

/// Whether exactly one of the two forms of naming Ingresses is used.
pub(super) fn ingress_forms(spec: &RolloutSpec) -> Vec<FieldError> {
    let Some(routing) = spec.traffic_routing() else {
        return Vec::new();
    };
    let judge = |router: &str, forms: &str, one: &str, many: &[String]| {
        let which = match (one.is_empty(), many.is_empty()) {
            (false, false) => "Both",
            (true, true) => "Neither",
            _ => return None,
        };
        let detail = format!("Either {forms} must be configured. {which} are configured.");
        Some(FieldError::internal(format!("{ROUTING}.{router}"), detail))
    };
    let nginx = routing.nginx.as_ref().and_then(|nginx| {
        let forms = "StableIngress or StableIngresses";
        judge(
            "nginx",
            forms,
            &nginx.stable_ingress,
            &nginx.stable_ingresses,
        )
    });
    let alb = routing
        .alb
        .as_ref()
        .and_then(|alb| judge("alb", "Ingress or Ingresses", &alb.ingress, &alb.ingresses));
    nginx.into_iter().chain(alb).collect()
}

/// Ingresses that are not there.
pub(super) fn missing_ingresses(spec: &RolloutSpec, found: &References) -> Vec<FieldError> {
    each_ingress(
        spec,
        |name, _| {
            matches!(found.ingresses.get(name), Some(None))
                .then(|| format!("ingress.networking.k8s.io \"{name}\" not found"))
        },
        1,
    )
}

/// Ingresses without a rule for the Service.
pub(super) fn unfit_ingresses(spec: &RolloutSpec, found: &References) -> Vec<FieldError> {
    each_ingress(
        spec,
        |name, service| {
            let ingress = found.ingresses.get(name)?.as_ref()?;
            (!serves(ingress, service))
                .then(|| format!("ingress `{name}` has no rules using service {service} backend"))
        },
        2,
    )
}

fn each_ingress(
    spec: &RolloutSpec,
    problem: impl Fn(&str, &str) -> Option<String>,
    list_path: usize,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for IngressUse {
        paths,
        one,
        many,
        service,
    } in ingress_uses(spec)
    {
        if !one.is_empty()
            && let Some(detail) = problem(one, service)
        {
            errors.push(FieldError::invalid(paths[0].as_str(), one, detail));
        }
        for name in many {
            if let Some(detail) = problem(name, service) {
                let path = paths.get(list_path).cloned().unwrap_or_default();
                errors.push(FieldError::invalid(path, many.to_vec(), detail));
            }
        }
    }
    errors
}

/// Whether a rule of an Ingress has the Service as backend; paths with a resource as backend are
/// passed over.
fn serves(ingress: &Value, service: &str) -> bool {
    let items =
        |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    items(ingress.pointer("/spec/rules"))
        .iter()
        .flat_map(|rule| items(rule.pointer("/http/paths")))
        .any(|path| {
            let backend = path.get("backend");
            let name = backend.and_then(|b| {
                b.pointer("/service/name")
                    .or_else(|| b.get("serviceName"))
                    .and_then(Value::as_str)
            });
            name == Some(service)
        })
}
