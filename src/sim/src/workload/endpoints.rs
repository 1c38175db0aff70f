//! EndpointSlices and Endpoints of Services, by the readiness of pods.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use super::common::{change, has_ended, is_ready, owner_reference};
use crate::json::{at, flag, int, items, map, put, text};
use crate::object::Object;
use crate::selector::{Filter, Selector};
use crate::state::delete::DeleteOptions;
use crate::state::{State, WriteOptions};
use crate::store::Place;

/// Endpoints per slice.
const SLICE: usize = 100;

const MANAGER: &str = "endpointslice-controller.k8s.io";

/// Which Services a pod's labels may concern: by namespace and one pair of the selector.
#[derive(Debug, Default)]
pub(super) struct ServiceIndex {
    by_pair: HashMap<String, HashMap<String, BTreeSet<String>>>,
}

impl ServiceIndex {
    /// Takes note of a change of a Service.
    pub(super) fn update(&mut self, before: Option<&Object>, after: Option<&Object>) {
        for (service, add) in [(before, false), (after, true)] {
            let Some(service) = service else { continue };
            let Some(pair) = first_pair(service) else {
                continue;
            };
            let space = self
                .by_pair
                .entry(service.namespace().to_owned())
                .or_default();
            let names = space.entry(pair).or_default();
            if add {
                names.insert(service.name().to_owned());
            } else {
                names.remove(service.name());
            }
        }
    }

    /// Names of Services in the pod's namespace that may select it.
    pub(super) fn selecting<'a>(&'a self, pod: &'a Object) -> impl Iterator<Item = String> + 'a {
        let space = self.by_pair.get(pod.namespace());
        let labels = pod.labels().into_iter().flatten();
        labels
            .filter_map(move |(k, v)| {
                space?.get(&format!("{k}={}", v.as_str().unwrap_or_default()))
            })
            .flatten()
            .cloned()
    }
}

fn first_pair(service: &Object) -> Option<String> {
    let (key, value) = map(&service.value, &["spec", "selector"])?.iter().next()?;
    Some(format!("{key}={}", value.as_str().unwrap_or_default()))
}

pub(super) fn reconcile(state: &mut State, place: &Place) {
    let Some(service) = state.store.at(place).cloned() else {
        let known = state.kinds.known;
        let options = DeleteOptions::default();
        // Endpoints share the Service's name; there may be none.
        drop(state.delete(known.endpoints, &place.namespace, &place.name, &options));
        return;
    };
    let Some(selector) = map(&service.value, &["spec", "selector"]).filter(|s| !s.is_empty())
    else {
        return;
    };
    if service.is_deleting() {
        return;
    }
    let filter = Filter {
        namespace: service.namespace().to_owned(),
        labels: Selector::of_map(selector),
        ..Filter::default()
    };
    let pods: Vec<Arc<Object>> = state
        .store
        .select(state.kinds.known.pods, &filter)
        .into_iter()
        .filter(|p| !text(&p.value, &["status", "podIP"]).is_empty() && !has_ended(p))
        .collect();
    // Pods may resolve a named port to different numbers.
    let mut groups: BTreeMap<String, (Vec<Value>, Vec<Arc<Object>>)> = BTreeMap::new();
    for pod in pods {
        let ports = ports(&service, &pod);
        let key = Value::Array(ports.clone()).to_string();
        groups
            .entry(key)
            .or_insert_with(|| (ports, Vec::new()))
            .1
            .push(pod);
    }
    let groups: Vec<(Vec<Value>, Vec<Arc<Object>>)> = groups.into_values().collect();
    write_slices(state, &service, &groups);
    write_endpoints(state, &service, &groups);
}

/// The Service's ports on one pod; those that it does not have are left out.
fn ports(service: &Object, pod: &Object) -> Vec<Value> {
    let containers = items(&pod.value, &["spec", "containers"]);
    let named = |name: &str| {
        let mut all = containers.iter().flat_map(|c| items(c, &["ports"]));
        all.find(|p| text(p, &["name"]) == name)
            .and_then(|p| int(p, &["containerPort"]))
    };
    let resolve = |port: &Value| {
        let number = match at(port, &["targetPort"]) {
            Some(Value::String(name)) => named(name)?,
            Some(number) => number.as_i64()?,
            None => int(port, &["port"])?,
        };
        let mut out = json!({
            "name": text(port, &["name"]), "port": number, "protocol": text(port, &["protocol"]),
        });
        if let Some(protocol) = at(port, &["appProtocol"]) {
            put(&mut out, &["appProtocol"], protocol.clone());
        }
        Some(out)
    };
    items(&service.value, &["spec", "ports"])
        .iter()
        .filter_map(resolve)
        .collect()
}

fn serves(service: &Object, pod: &Object) -> bool {
    flag(&service.value, &["spec", "publishNotReadyAddresses"])
        || (is_ready(pod) && !pod.is_deleting())
}

fn reference(pod: &Object) -> Value {
    json!({"kind": "Pod", "namespace": pod.namespace(), "name": pod.name(), "uid": pod.uid()})
}

fn endpoint(service: &Object, pod: &Object) -> Value {
    let mut endpoint = json!({
        "addresses": [text(&pod.value, &["status", "podIP"])],
        "conditions": {
            "ready": serves(service, pod), "serving": is_ready(pod),
            "terminating": pod.is_deleting(),
        },
        "targetRef": reference(pod),
    });
    let node = text(&pod.value, &["spec", "nodeName"]);
    if !node.is_empty() {
        put(&mut endpoint, &["nodeName"], node);
    }
    endpoint
}

fn write_slices(state: &mut State, service: &Object, groups: &[(Vec<Value>, Vec<Arc<Object>>)]) {
    let known = state.kinds.known;
    let Ok(kind) = state.kind(known.services) else {
        return;
    };
    let mut wanted: Vec<(Vec<Value>, Value)> = Vec::new();
    for (ports, pods) in groups {
        for chunk in pods.chunks(SLICE) {
            let list: Vec<Value> = chunk.iter().map(|p| endpoint(service, p)).collect();
            wanted.push((list, Value::Array(ports.clone())));
        }
    }
    if wanted.is_empty() {
        wanted.push((Vec::new(), Value::Null));
    }
    let mut found: Vec<Arc<Object>> = state
        .store
        .owned(service.uid(), known.endpointslices)
        .into_iter()
        .filter(|s| {
            let label = [
                "metadata",
                "labels",
                "endpointslice.kubernetes.io/managed-by",
            ];
            text(&s.value, &label) == MANAGER && !s.is_deleting()
        })
        .collect();
    // One reference for all writes of this pass.
    let owner = owner_reference(&kind, service);
    for (endpoints, ports) in wanted {
        if found.is_empty() {
            let mut labels = json!({
                "endpointslice.kubernetes.io/managed-by": MANAGER,
                "kubernetes.io/service-name": service.name(),
            });
            for (key, value) in service.labels().into_iter().flatten() {
                put(&mut labels, &[key], value.clone());
            }
            let slice = json!({
                "metadata": {
                    "generateName": format!("{}-", service.name()), "labels": labels,
                    "ownerReferences": [owner],
                },
                "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
            });
            let options = WriteOptions::default();
            // Only a namespace that ends refuses this.
            drop(state.create(known.endpointslices, service.namespace(), slice, &options));
        } else {
            let slice = found.remove(0);
            change(state, known.endpointslices, &slice, |value| {
                put(value, &["endpoints"], endpoints);
                put(value, &["ports"], ports);
            });
        }
    }
    for slice in found {
        let options = DeleteOptions::default();
        drop(state.delete(
            known.endpointslices,
            slice.namespace(),
            slice.name(),
            &options,
        ));
    }
}

fn write_endpoints(state: &mut State, service: &Object, groups: &[(Vec<Value>, Vec<Arc<Object>>)]) {
    let known = state.kinds.known;
    let mut subsets = Vec::new();
    for (ports, pods) in groups {
        let addresses = |ready: bool| -> Vec<Value> {
            pods.iter()
                .filter(|p| serves(service, p) == ready && (ready || !p.is_deleting()))
                .map(|p| {
                    let mut address = json!({
                        "ip": text(&p.value, &["status", "podIP"]), "targetRef": reference(p),
                    });
                    let node = text(&p.value, &["spec", "nodeName"]);
                    if !node.is_empty() {
                        put(&mut address, &["nodeName"], node);
                    }
                    address
                })
                .collect()
        };
        let mut subset = json!({"ports": ports});
        for (field, list) in [
            ("addresses", addresses(true)),
            ("notReadyAddresses", addresses(false)),
        ] {
            if !list.is_empty() {
                put(&mut subset, &[field], list);
            }
        }
        if subset.as_object().is_some_and(|s| s.len() > 1) {
            subsets.push(subset);
        }
    }
    match state
        .store
        .get(known.endpoints, service.namespace(), service.name())
        .cloned()
    {
        Some(found) => {
            change(state, known.endpoints, &found, |value| {
                if subsets.is_empty() {
                    crate::json::take(value, &["subsets"]);
                } else {
                    put(value, &["subsets"], subsets);
                }
            });
        }
        None => {
            let mut endpoints = json!({"metadata": {"name": service.name()}});
            if let Some(labels) = service.labels() {
                put(
                    &mut endpoints,
                    &["metadata", "labels"],
                    Value::Object(labels.clone()),
                );
            }
            let label = ["metadata", "labels", "endpoints.kubernetes.io/managed-by"];
            put(&mut endpoints, &label, "endpoint-controller");
            if !subsets.is_empty() {
                put(&mut endpoints, &["subsets"], subsets);
            }
            let options = WriteOptions::default();
            drop(state.create(known.endpoints, service.namespace(), endpoints, &options));
        }
    }
}
