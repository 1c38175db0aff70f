//! Columns of built-in kinds.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{age, short_duration, since};
use crate::clock::parse_stamp;
use crate::json::{at, int, items, map, text};
use crate::kinds::Kind;
use crate::object;
use crate::selector::Selector;

/// One column: its cell is computed from the object at a time.
pub(super) struct Builtin {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) priority: i64,
    pub(super) cell: fn(&Value, Timestamp) -> Value,
}

const fn column(
    name: &'static str,
    kind: &'static str,
    priority: i64,
    cell: fn(&Value, Timestamp) -> Value,
) -> Builtin {
    Builtin {
        name,
        kind,
        priority,
        cell,
    }
}

const AGE: Builtin = column("Age", "string", 0, age);
const CONTAINERS: Builtin = column("Containers", "string", 1, |v, _| template_of(v, "name"));
const IMAGES: Builtin = column("Images", "string", 1, |v, _| template_of(v, "image"));
const SELECTOR: Builtin = column("Selector", "string", 1, |v, _| {
    at(v, &["spec", "selector"]).map_or_else(
        || "<none>".into(),
        |s| Selector::of_object(s).query().into(),
    )
});

const PODS: &[Builtin] = &[
    column("Ready", "string", 0, |v, _| {
        let total = items(v, &["spec", "containers"]).len();
        let ready = items(v, &["status", "containerStatuses"]);
        let ready = ready
            .iter()
            .filter(|c| c.get("ready") == Some(&true.into()))
            .count();
        format!("{ready}/{total}").into()
    }),
    column("Status", "string", 0, |v, _| pod_status(v).into()),
    column("Restarts", "string", 0, |v, _| {
        let restarts = |c: &Value| int(c, &["restartCount"]).unwrap_or(0);
        let sum: i64 = items(v, &["status", "containerStatuses"])
            .iter()
            .map(restarts)
            .sum();
        sum.to_string().into()
    }),
    AGE,
    column("IP", "string", 1, |v, _| {
        or_none(text(v, &["status", "podIP"]))
    }),
    column("Node", "string", 1, |v, _| {
        or_none(text(v, &["spec", "nodeName"]))
    }),
    column("Nominated Node", "string", 1, |_, _| "<none>".into()),
    column("Readiness Gates", "string", 1, |v, _| {
        let gates = items(v, &["spec", "readinessGates"]);
        if gates.is_empty() {
            return "<none>".into();
        }
        let open = |g: &&Value| object::has_condition(v, text(g, &["conditionType"]));
        format!("{}/{}", gates.iter().filter(open).count(), gates.len()).into()
    }),
];

const REPLICA_SETS: &[Builtin] = &[
    column("Desired", "integer", 0, |v, _| {
        number(v, &["spec", "replicas"])
    }),
    column("Current", "integer", 0, |v, _| {
        number(v, &["status", "replicas"])
    }),
    column("Ready", "integer", 0, |v, _| {
        number(v, &["status", "readyReplicas"])
    }),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const DEPLOYMENTS: &[Builtin] = &[
    column("Ready", "string", 0, |v, _| {
        let ready = int(v, &["status", "readyReplicas"]).unwrap_or(0);
        format!("{ready}/{}", int(v, &["spec", "replicas"]).unwrap_or(0)).into()
    }),
    column("Up-to-date", "integer", 0, |v, _| {
        number(v, &["status", "updatedReplicas"])
    }),
    column("Available", "integer", 0, |v, _| {
        number(v, &["status", "availableReplicas"])
    }),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const SERVICES: &[Builtin] = &[
    column("Type", "string", 0, |v, _| {
        text(v, &["spec", "type"]).into()
    }),
    column("Cluster-IP", "string", 0, |v, _| {
        or_none(text(v, &["spec", "clusterIP"]))
    }),
    column("External-IP", "string", 0, |_, _| "<none>".into()),
    column("Port(s)", "string", 0, |v, _| {
        let port = |p: &Value| {
            format!(
                "{}/{}",
                int(p, &["port"]).unwrap_or(0),
                text(p, &["protocol"])
            )
        };
        let ports: Vec<String> = items(v, &["spec", "ports"]).iter().map(port).collect();
        or_none(&ports.join(","))
    }),
    AGE,
    column("Selector", "string", 1, |v, _| {
        or_none(&pairs(map(v, &["spec", "selector"])))
    }),
];

const JOBS: &[Builtin] = &[
    column("Status", "string", 0, |v, _| {
        for kind in ["Complete", "Failed", "Suspended"] {
            if object::has_condition(v, kind) {
                return kind.into();
            }
        }
        "Running".into()
    }),
    column("Completions", "string", 0, |v, _| {
        let done = int(v, &["status", "succeeded"]).unwrap_or(0);
        format!("{done}/{}", int(v, &["spec", "completions"]).unwrap_or(1)).into()
    }),
    column("Duration", "string", 0, |v, now| {
        let Some(start) = parse_stamp(text(v, &["status", "startTime"])) else {
            return "".into();
        };
        let end = parse_stamp(text(v, &["status", "completionTime"])).unwrap_or(now);
        short_duration(end.duration_since(start).as_secs()).into()
    }),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const INGRESSES: &[Builtin] = &[
    column("Class", "string", 0, |v, _| {
        or_none(text(v, &["spec", "ingressClassName"]))
    }),
    column("Hosts", "string", 0, |v, _| {
        let hosts: Vec<&str> = items(v, &["spec", "rules"])
            .iter()
            .map(|r| text(r, &["host"]))
            .collect();
        let hosts = hosts.join(",");
        if hosts.is_empty() {
            "*".into()
        } else {
            hosts.into()
        }
    }),
    column("Address", "string", 0, |_, _| "".into()),
    column("Ports", "string", 0, |v, _| {
        if items(v, &["spec", "tls"]).is_empty() {
            "80".into()
        } else {
            "80, 443".into()
        }
    }),
    AGE,
];

const EVENTS: &[Builtin] = &[
    column("Last Seen", "string", 0, |v, now| {
        let last = text(v, &["lastTimestamp"]);
        let last = if last.is_empty() {
            text(v, &["eventTime"])
        } else {
            last
        };
        since(last, now).into()
    }),
    column("Type", "string", 0, |v, _| text(v, &["type"]).into()),
    column("Reason", "string", 0, |v, _| text(v, &["reason"]).into()),
    column("Object", "string", 0, |v, _| {
        let kind = text(v, &["involvedObject", "kind"]).to_lowercase();
        format!("{kind}/{}", text(v, &["involvedObject", "name"])).into()
    }),
    column("Message", "string", 0, |v, _| {
        text(v, &["message"]).trim().into()
    }),
];

const NAMESPACES: &[Builtin] = &[
    column("Status", "string", 0, |v, _| {
        text(v, &["status", "phase"]).into()
    }),
    AGE,
];

const NODES: &[Builtin] = &[
    column("Status", "string", 0, |v, _| {
        if object::has_condition(v, "Ready") {
            "Ready".into()
        } else {
            "NotReady".into()
        }
    }),
    column("Roles", "string", 0, |_, _| "<none>".into()),
    AGE,
    column("Version", "string", 0, |v, _| {
        text(v, &["status", "nodeInfo", "kubeletVersion"]).into()
    }),
];

const DATA: &[Builtin] = &[
    column("Data", "integer", 0, |v, _| {
        (map(v, &["data"]).map_or(0, Map::len) + map(v, &["binaryData"]).map_or(0, Map::len)).into()
    }),
    AGE,
];

const SECRETS: &[Builtin] = &[
    column("Type", "string", 0, |v, _| text(v, &["type"]).into()),
    column("Data", "integer", 0, |v, _| {
        map(v, &["data"]).map_or(0, Map::len).into()
    }),
    AGE,
];

const SLICES: &[Builtin] = &[
    column("AddressType", "string", 0, |v, _| {
        text(v, &["addressType"]).into()
    }),
    column("Ports", "string", 0, |v, _| {
        let port = |p: &Value| int(p, &["port"]).unwrap_or(0).to_string();
        let ports: Vec<String> = items(v, &["ports"]).iter().map(port).collect();
        or_none(&ports.join(","))
    }),
    column("Endpoints", "string", 0, |v, _| {
        let first = |e: &Value| {
            items(e, &["addresses"])
                .first()
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let all: Vec<String> = items(v, &["endpoints"]).iter().filter_map(first).collect();
        or_none(&all.join(","))
    }),
    AGE,
];

const ENDPOINTS: &[Builtin] = &[
    column("Endpoints", "string", 0, |v, _| {
        let mut all = Vec::new();
        for subset in items(v, &["subsets"]) {
            for address in items(subset, &["addresses"]) {
                for port in items(subset, &["ports"]) {
                    let port = int(port, &["port"]).unwrap_or(0);
                    all.push(format!("{}:{port}", text(address, &["ip"])));
                }
            }
        }
        or_none(&all.join(","))
    }),
    AGE,
];

const LEASES: &[Builtin] = &[
    column("Holder", "string", 0, |v, _| {
        text(v, &["spec", "holderIdentity"]).into()
    }),
    AGE,
];

const SCALERS: &[Builtin] = &[
    column("Reference", "string", 0, |v, _| {
        let target = |f: &str| text(v, &["spec", "scaleTargetRef", f]).to_owned();
        format!("{}/{}", target("kind"), target("name")).into()
    }),
    column("MinPods", "string", 0, |v, _| {
        number(v, &["spec", "minReplicas"])
    }),
    column("MaxPods", "string", 0, |v, _| {
        number(v, &["spec", "maxReplicas"])
    }),
    column("Replicas", "string", 0, |v, _| {
        number(v, &["status", "currentReplicas"])
    }),
    AGE,
];

const DEFINITIONS: &[Builtin] = &[column("Created At", "date", 0, |v, _| {
    text(v, &["metadata", "creationTimestamp"]).into()
})];

/// The columns after the name; none for kinds that have no own ones.
pub(super) fn columns(kind: &Kind) -> Option<&'static [Builtin]> {
    if kind.custom {
        return None;
    }
    Some(match kind.plural.as_str() {
        "pods" => PODS,
        "replicasets" => REPLICA_SETS,
        "deployments" | "statefulsets" => DEPLOYMENTS,
        "services" => SERVICES,
        "jobs" => JOBS,
        "ingresses" => INGRESSES,
        "events" => EVENTS,
        "namespaces" => NAMESPACES,
        "nodes" => NODES,
        "configmaps" => DATA,
        "secrets" => SECRETS,
        "endpointslices" => SLICES,
        "endpoints" => ENDPOINTS,
        "leases" => LEASES,
        "horizontalpodautoscalers" => SCALERS,
        "customresourcedefinitions" => DEFINITIONS,
        _ => return None,
    })
}

fn number(value: &Value, path: &[&str]) -> Value {
    int(value, path).unwrap_or(0).into()
}

fn or_none(text: &str) -> Value {
    if text.is_empty() {
        "<none>".into()
    } else {
        text.into()
    }
}

fn pairs(labels: Option<&Map<String, Value>>) -> String {
    let pair = |(k, v): (&String, &Value)| format!("{k}={}", v.as_str().unwrap_or_default());
    labels
        .into_iter()
        .flatten()
        .map(pair)
        .collect::<Vec<_>>()
        .join(",")
}

fn template_of(value: &Value, field: &str) -> Value {
    let containers = items(value, &["spec", "template", "spec", "containers"]);
    let names: Vec<&str> = containers.iter().map(|c| text(c, &[field])).collect();
    names.join(",").into()
}

/// The word kubectl shows for a pod.
fn pod_status(pod: &Value) -> String {
    let mut word = text(pod, &["status", "phase"]).to_owned();
    let reason = text(pod, &["status", "reason"]);
    if !reason.is_empty() {
        reason.clone_into(&mut word);
    }
    for container in items(pod, &["status", "containerStatuses"]) {
        let waiting = text(container, &["state", "waiting", "reason"]);
        let ended = text(container, &["state", "terminated", "reason"]);
        if !waiting.is_empty() {
            waiting.clone_into(&mut word);
        } else if !ended.is_empty() {
            ended.clone_into(&mut word);
        }
    }
    if object::is_deleting(pod) {
        "Terminating".clone_into(&mut word);
    }
    word
}
