//! The manifests around a random Rollout: everything that it refers to.

use anyhow::Result;
use serde_json::{Value, json};
use sluice_core::testing::fuzz::shape::{Kind, Shape};
use sluice_crds::references;

/// What is applied at the beginning.
pub(super) struct Objects {
    /// Services and templates.
    pub(super) around: String,
    /// Routes.
    routes: String,
    /// The Rollout.
    rollout: String,
    /// Names of the Services.
    pub(super) services: Vec<String>,
}

impl Objects {
    pub(super) fn all(&self) -> String {
        format!("{}{}{}", self.around, self.routes, self.rollout)
    }
}

/// All Services that any shape may name, since an edit may name others; the route objects of this kind;
/// the analysis template.
pub(super) fn of(shape: &Shape) -> Result<Objects> {
    let names = [
        "canary", "stable", "ping", "pong", "active", "preview", "web",
    ];
    let mut around: Vec<Value> = names.iter().map(|name| service(name)).collect();
    around.push(template());
    let mut routes = Vec::new();
    match shape.kind {
        Kind::Services => routes.push(virtual_service(&[("stable", None), ("canary", None)])),
        Kind::PingPong => routes.push(virtual_service(&[("ping", None), ("pong", None)])),
        Kind::Subsets => {
            routes.push(virtual_service(&[
                ("web", Some("stable")),
                ("web", Some("canary")),
            ]));
            routes.push(destination_rule());
        }
        Kind::Nginx => routes.push(ingress()),
        Kind::Basic | Kind::BlueGreen => {}
    }
    let mut rollout = serde_json::to_value(&shape.rollout)?;
    if let Some(members) = rollout.as_object_mut() {
        members.insert("apiVersion".into(), "argoproj.io/v1alpha1".into());
        members.insert("kind".into(), "Rollout".into());
        members.remove("status");
        members.insert("metadata".into(), json!({ "name": "web" }));
    }
    let services = references::services(&shape.rollout.spec);
    let services = services.into_iter().map(|(_, name)| name.to_owned());
    Ok(Objects {
        around: around.iter().map(document).collect(),
        routes: routes.iter().map(document).collect(),
        rollout: document(&rollout),
        services: services.collect(),
    })
}

/// JSON is YAML.
fn document(object: &Value) -> String {
    format!("{object}\n---\n")
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
        "spec": { "selector": { "app": "web" }, "ports": [{ "name": "http", "port": 80 }] },
    })
}

/// Everything goes to the first destination.
fn virtual_service(to: &[(&str, Option<&str>)]) -> Value {
    let route: Vec<Value> = to
        .iter()
        .enumerate()
        .map(|(index, (host, subset))| {
            let destination = match subset {
                Some(subset) => json!({ "host": host, "subset": subset }),
                None => json!({ "host": host }),
            };
            json!({ "destination": destination, "weight": if index == 0 { 100 } else { 0 } })
        })
        .collect();
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": { "name": "web" },
        "spec": { "hosts": ["web"], "http": [{ "name": "primary", "route": route }] },
    })
}

fn destination_rule() -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": { "name": "web" },
        "spec": { "host": "web", "subsets": [
            { "name": "stable", "labels": { "app": "web" } },
            { "name": "canary", "labels": { "app": "web" } },
        ] },
    })
}

fn ingress() -> Value {
    let backend = json!({ "service": { "name": "stable", "port": { "number": 80 } } });
    let path = json!({ "path": "/", "pathType": "Prefix", "backend": backend });
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "name": "web" },
        "spec": { "ingressClassName": "nginx",
            "rules": [{ "host": "web.example", "http": { "paths": [path] } }] },
    })
}

fn template() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
        "metadata": { "name": "errors" },
        "spec": { "metrics": [{
            "name": "errors", "count": 2, "interval": "5s", "successCondition": "result[0] < 1",
            "provider": { "prometheus": { "address": "$PROMETHEUS", "query": "error_rate" } },
        }] },
    })
}
