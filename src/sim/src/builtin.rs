//! What the API server itself does to built-in kinds: defaults, allocation, immutability.

mod defaults;

use serde_json::{Value, json};

use crate::error::Cause;
use crate::json::{at, default, each_mut, items, map, put, text};
use crate::kinds::{Kind, KindId, WellKnown};
use crate::object;
use crate::selector::Selector;
use crate::state::State;

/// Completes a new object of a built-in kind.
pub(crate) fn prepare_create(state: &mut State, id: KindId, value: &mut Value) {
    let Ok(kind) = state.kind(id) else { return };
    if kind.custom {
        return;
    }
    defaults::apply(&kind, value);
    let known = state.kinds.known;
    if id == known.pods {
        defaults::pod(value);
        put(
            value,
            &["status"],
            json!({"phase": "Pending", "qosClass": quality(value)}),
        );
    } else if id == known.namespaces {
        let name = object::name(value).to_owned();
        put(
            value,
            &["metadata", "labels", "kubernetes.io/metadata.name"],
            name,
        );
        put(value, &["spec", "finalizers"], json!(["kubernetes"]));
        put(value, &["status", "phase"], "Active");
    } else if id == known.services {
        service_address(state, value);
        put(value, &["status"], json!({"loadBalancer": {}}));
    } else if id == known.jobs {
        job_selector(value);
        if object::labels(value).is_none() {
            let labels = at(value, &["spec", "template", "metadata", "labels"]).cloned();
            put(
                value,
                &["metadata", "labels"],
                labels.unwrap_or_else(|| json!({})),
            );
        }
        put(value, &["status"], json!({}));
    } else if kind.status && value.get("status").is_none() {
        let status = match kind.plural.as_str() {
            "replicasets" | "statefulsets" => json!({"replicas": 0}),
            "ingresses" => json!({"loadBalancer": {}}),
            "poddisruptionbudgets" => json!({
                "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0,
                "expectedPods": 0,
            }),
            "horizontalpodautoscalers" => json!({"currentMetrics": null, "desiredReplicas": 0}),
            _ => json!({}),
        };
        put(value, &["status"], status);
    }
}

/// Completes a replacement of an object of a built-in kind.
pub(crate) fn prepare_update(id: KindId, known: &WellKnown, old: &Value, value: &mut Value) {
    if id == known.services {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if let Some(kept) = at(old, &["spec", field]) {
                default(value, &["spec", field], kept.clone());
            }
        }
        defaults::service(value);
    } else if id == known.pods {
        defaults::pod_spec(value, &["spec"]);
    } else if id == known.replicasets {
        defaults::replica_set(value);
    } else if id == known.deployments {
        defaults::deployment(value);
    }
}

/// Refused fields of a built-in kind.
pub(crate) fn validate(kind: &Kind, value: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    if kind.custom {
        return causes;
    }
    match kind.plural.as_str() {
        "replicasets" | "deployments" | "statefulsets" | "daemonsets" => {
            workload(value, old, &mut causes);
        }
        "jobs" => {
            pod_template_containers(value, &["spec", "template", "spec"], &mut causes);
            immutable(value, old, &["spec", "template"], &mut causes);
            immutable(value, old, &["spec", "selector"], &mut causes);
            let policy = text(value, &["spec", "template", "spec", "restartPolicy"]);
            if !matches!(policy, "Never" | "OnFailure") {
                let field = "spec.template.spec.restartPolicy";
                causes.push(Cause::required(
                    field,
                    "valid values: \"OnFailure\", \"Never\"",
                ));
            }
        }
        "pods" => {
            pod_template_containers(value, &["spec"], &mut causes);
            if let Some(old) = old {
                pod_change(value, old, &mut causes);
            }
        }
        "services" => {
            if items(value, &["spec", "ports"]).is_empty()
                && text(value, &["spec", "type"]) != "ExternalName"
                && text(value, &["spec", "clusterIP"]) != "None"
            {
                causes.push(Cause::required("spec.ports", ""));
            }
            immutable(value, old, &["spec", "clusterIP"], &mut causes);
        }
        "endpoints" | "endpointslices" => addresses(kind, value, &mut causes),
        "leases" => lease(value, &mut causes),
        _ => {}
    }
    causes
}

fn workload(value: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let labels = map(value, &["spec", "template", "metadata", "labels"]);
    let given = at(value, &["spec", "selector"]);
    let selector = given.map(Selector::of_object);
    match (given, &selector) {
        (Some(given), Some(selector)) if selector.is_empty() => {
            let why = "empty selector is invalid for deployment";
            causes.push(Cause::invalid("spec.selector", given, why));
        }
        (None, _) => causes.push(Cause::required("spec.selector", "")),
        _ => {}
    }
    if selector.is_none_or(|s| !s.is_empty() && !s.matches(labels)) {
        let given = labels.map_or(Value::Null, |l| Value::Object(l.clone()));
        causes.push(Cause::invalid(
            "spec.template.metadata.labels",
            &given,
            "`selector` does not match template `labels`",
        ));
    }
    immutable(value, old, &["spec", "selector"], causes);
    if let Some(replicas) = at(value, &["spec", "replicas"]) {
        if replicas.as_i64().is_none() {
            causes.push(Cause::wrong_type("spec.replicas", replicas, "integer"));
        } else if replicas.as_i64() < Some(0) {
            let why = "must be greater than or equal to 0";
            causes.push(Cause::invalid("spec.replicas", replicas, why));
        }
    }
    pod_template_containers(value, &["spec", "template", "spec"], causes);
}

fn pod_template_containers(value: &Value, path: &[&str], causes: &mut Vec<Cause>) {
    let place = path.join(".");
    let containers = at(value, path).map_or(&[][..], |spec| items(spec, &["containers"]));
    if containers.is_empty() {
        causes.push(Cause::required(format!("{place}.containers"), ""));
    }
    for (i, container) in containers.iter().enumerate() {
        for field in ["name", "image"] {
            if text(container, &[field]).is_empty() {
                causes.push(Cause::required(
                    format!("{place}.containers[{i}].{field}"),
                    "",
                ));
            }
        }
    }
}

fn immutable(value: &Value, old: Option<&Value>, path: &[&str], causes: &mut Vec<Cause>) {
    let Some(before) = old.and_then(|old| at(old, path)) else {
        return;
    };
    let now = at(value, path).unwrap_or(&Value::Null);
    if now != before {
        causes.push(Cause::invalid(path.join("."), now, "field is immutable"));
    }
}

/// Of a pod's spec only a few fields may change.
fn pod_change(value: &Value, old: &Value, causes: &mut Vec<Cause>) {
    if value.get("spec") == old.get("spec") {
        return;
    }
    let frozen = |pod: &Value| {
        let mut spec = pod.get("spec").cloned().unwrap_or_default();
        for list in ["containers", "initContainers"] {
            for container in each_mut(&mut spec, &[list]) {
                crate::json::take(container, &["image"]);
            }
        }
        for field in [
            "activeDeadlineSeconds",
            "tolerations",
            "terminationGracePeriodSeconds",
        ] {
            crate::json::take(&mut spec, &[field]);
        }
        spec
    };
    if frozen(value) != frozen(old) {
        causes.push(Cause::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,\
             `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only \
             additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to \
             be set to 1 if it was previously negative)",
        ));
    }
}

fn addresses(kind: &Kind, value: &Value, causes: &mut Vec<Cause>) {
    let mut refuse = |field: String, address: &str| {
        if address.starts_with("127.") || address.starts_with("169.254.") {
            let why = "may not be in the loopback range (127.0.0.0/8, ::1/128)";
            causes.push(Cause::invalid(field, &address.into(), why));
        }
    };
    if kind.plural == "endpoints" {
        for (i, subset) in items(value, &["subsets"]).iter().enumerate() {
            for (j, address) in items(subset, &["addresses"]).iter().enumerate() {
                refuse(
                    format!("subsets[{i}].addresses[{j}].ip"),
                    text(address, &["ip"]),
                );
            }
        }
    } else {
        for (i, endpoint) in items(value, &["endpoints"]).iter().enumerate() {
            for (j, address) in items(endpoint, &["addresses"]).iter().enumerate() {
                let field = format!("endpoints[{i}].addresses[{j}]");
                refuse(field, address.as_str().unwrap_or_default());
            }
        }
    }
}

fn lease(value: &Value, causes: &mut Vec<Cause>) {
    if let Some(seconds) = at(value, &["spec", "leaseDurationSeconds"])
        && seconds.as_i64().is_some_and(|s| s <= 0)
    {
        let why = "must be greater than 0";
        causes.push(Cause::invalid("spec.leaseDurationSeconds", seconds, why));
    }
    if let Some(count) = at(value, &["spec", "leaseTransitions"])
        && count.as_i64().is_some_and(|s| s < 0)
    {
        let why = "must be greater than or equal to 0";
        causes.push(Cause::invalid("spec.leaseTransitions", count, why));
    }
}

fn service_address(state: &mut State, value: &mut Value) {
    match text(value, &["spec", "clusterIP"]) {
        "" if text(value, &["spec", "type"]) != "ExternalName" => {
            let address = state.next_service_ip();
            put(value, &["spec", "clusterIP"], address.clone());
            put(value, &["spec", "clusterIPs"], json!([address]));
        }
        "" => {}
        given => {
            let given = given.to_owned();
            default(value, &["spec", "clusterIPs"], json!([given]));
        }
    }
}

/// Jobs select their pods by the Job's uid.
fn job_selector(value: &mut Value) {
    if crate::json::flag(value, &["spec", "manualSelector"]) {
        return;
    }
    let (uid, name) = (
        object::uid(value).to_owned(),
        object::name(value).to_owned(),
    );
    let template = ["spec", "template", "metadata", "labels"];
    for (key, label) in [
        ("controller-uid", &uid),
        ("batch.kubernetes.io/controller-uid", &uid),
        ("job-name", &name),
        ("batch.kubernetes.io/job-name", &name),
    ] {
        let mut path = template.to_vec();
        path.push(key);
        put(value, &path, label.clone());
    }
    let labels = json!({"batch.kubernetes.io/controller-uid": uid});
    put(value, &["spec", "selector"], json!({"matchLabels": labels}));
}

fn quality(pod: &Value) -> &'static str {
    let containers = items(pod, &["spec", "containers"]);
    let set = |c: &Value, what: &str| map(c, &["resources", what]).is_some_and(|m| !m.is_empty());
    if containers
        .iter()
        .all(|c| !set(c, "requests") && !set(c, "limits"))
    {
        return "BestEffort";
    }
    let whole = |c: &Value| {
        ["cpu", "memory"].iter().all(|r| {
            let limit = at(c, &["resources", "limits", r]);
            let request = at(c, &["resources", "requests", r]);
            limit.is_some() && (request.is_none() || request == limit)
        })
    };
    if containers.iter().all(whole) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}
