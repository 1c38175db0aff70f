//! Where requests go: from Services, endpoints and routes to the share that each pod hash
//! gets. Pure functions over objects as JSON.

mod routes;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::json::{flag, items, map, text};
use crate::object;
use crate::selector::Selector;

/// Labels that name a pod's version, the first found counts.
const HASH_LABELS: [&str; 2] = ["rollouts-pod-template-hash", "pod-template-hash"];

/// The objects that decide, of all namespaces.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    services: Vec<Value>,
    pods: Vec<Value>,
    slices: Vec<Value>,
    routes: Vec<Value>,
    destination_rules: Vec<Value>,
}

/// Who gets which share of requests.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shares {
    /// Pod hash -> share of all requests, from 0 to 1. Pods without a hash count under "".
    pub by_hash: BTreeMap<String, f64>,
    /// Share of requests that no ready pod answers.
    pub lost: f64,
}

/// A destination that is sent requests and has no ready endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Outage {
    /// The route: kind, namespace and name.
    pub route: String,
    /// Service, with the subset where one is meant.
    pub destination: String,
    /// Its share of the route's requests, from 0 to 1.
    pub share: f64,
}

/// Where a rule of a route sends requests, and who is there to answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Flow {
    /// The route: kind, namespace and name.
    pub route: String,
    /// Name of the rule, or its position among those of its route.
    pub rule: String,
    /// Service, with the subset where one is meant.
    pub destination: String,
    /// Its share of the rule's requests, from 0 to 1.
    pub share: f64,
    /// Only requests that match something go there, or copies of requests: how many is not known.
    pub some: bool,
    /// Ready pods by pod hash.
    pub ready: BTreeMap<String, usize>,
    /// The pod hash that Service or subset select; empty when neither selects one.
    pub selects: String,
}

/// Where one route sends a share of its requests.
#[derive(Debug, Clone, PartialEq)]
struct Destination {
    namespace: String,
    service: String,
    subset: String,
    share: f64,
}

/// Kinds that are looked at for routes.
const ROUTES: [(&str, &str); 6] = [
    ("networking.istio.io/v1", "VirtualService"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("networking.k8s.io/v1", "Ingress"),
    ("split.smi-spec.io/v1alpha1", "TrafficSplit"),
    ("traefik.io/v1alpha1", "TraefikService"),
    ("traefik.containo.us/v1alpha1", "TraefikService"),
];

impl Traffic {
    /// The present objects of a cluster.
    pub fn of(cluster: &Cluster) -> Self {
        let list = |version: &str, kind: &str| cluster.list(version, kind, "", "");
        Self {
            services: list("v1", "Service"),
            pods: list("v1", "Pod"),
            slices: list("discovery.k8s.io/v1", "EndpointSlice"),
            routes: ROUTES
                .iter()
                .flat_map(|(version, kind)| list(version, kind))
                .collect(),
            destination_rules: list("networking.istio.io/v1", "DestinationRule"),
        }
    }

    /// Any objects, told apart by `kind`; those of other kinds are left out.
    pub fn from_objects(objects: impl IntoIterator<Item = Value>) -> Self {
        let mut traffic = Self::default();
        for object in objects {
            match text(&object, &["kind"]) {
                "Service" => traffic.services.push(object),
                "Pod" => traffic.pods.push(object),
                "EndpointSlice" => traffic.slices.push(object),
                "DestinationRule" => traffic.destination_rules.push(object),
                kind if ROUTES.iter().any(|(_, k)| *k == kind) => traffic.routes.push(object),
                _ => {}
            }
        }
        traffic
    }

    /// The shares of requests to a host or Service of a namespace. The first that applies
    /// counts: a VirtualService or HTTPRoute for the host, a TrafficSplit or TraefikService of
    /// the name, Ingresses of the host or with the Service as a backend, the Service itself.
    pub fn share(&self, namespace: &str, target: &str) -> Shares {
        let mut shares = Shares::default();
        for destination in self.destinations(namespace, target) {
            self.add(&mut shares, &destination);
        }
        shares
    }

    /// Destinations that are sent requests and have no ready endpoint, over all routes.
    pub fn outages(&self) -> Vec<Outage> {
        let mut outages = Vec::new();
        for route in &self.routes {
            for destination in routes::of_route(self, route) {
                if destination.share > 0.0 && self.ready(&destination).is_empty() {
                    let subset = &destination.subset;
                    let subset = if subset.is_empty() {
                        String::new()
                    } else {
                        format!("/{subset}")
                    };
                    outages.push(Outage {
                        route: format!(
                            "{} {}/{}",
                            text(route, &["kind"]),
                            object::namespace(route),
                            object::name(route)
                        ),
                        destination: format!("{}{subset}", destination.service),
                        share: destination.share,
                    });
                }
            }
        }
        outages
    }

    /// Takes an object in, or a newer version of it; other kinds are ignored.
    pub fn put(&mut self, value: Value) {
        self.remove(
            text(&value, &["kind"]),
            object::namespace(&value),
            object::name(&value),
        );
        if let Some(list) = self.list_of(text(&value, &["kind"])) {
            list.push(value);
        }
    }

    /// Forgets an object.
    pub fn remove(&mut self, kind: &str, namespace: &str, name: &str) {
        if let Some(list) = self.list_of(kind) {
            list.retain(|one| {
                text(one, &["kind"]) != kind
                    || object::namespace(one) != namespace
                    || object::name(one) != name
            });
        }
    }

    fn list_of(&mut self, kind: &str) -> Option<&mut Vec<Value>> {
        match kind {
            "Service" => Some(&mut self.services),
            "Pod" => Some(&mut self.pods),
            "EndpointSlice" => Some(&mut self.slices),
            "DestinationRule" => Some(&mut self.destination_rules),
            kind if ROUTES.iter().any(|(_, known)| *known == kind) => Some(&mut self.routes),
            _ => None,
        }
    }

    /// Every destination of every rule of every route, those of managed header routes and mirrors
    /// included.
    pub fn flows(&self) -> Vec<Flow> {
        let mut flows = Vec::new();
        for route in &self.routes {
            let name = format!(
                "{} {}/{}",
                text(route, &["kind"]),
                object::namespace(route),
                object::name(route)
            );
            for rule in routes::rules_of(self, route) {
                let all = rule.destinations.iter().map(|to| (to, rule.some));
                for (to, some) in all.chain(rule.mirrors.iter().map(|to| (to, true))) {
                    flows.push(self.flow(&name, (&rule.name, some), to));
                }
            }
        }
        flows
    }

    /// What requests to a Service meet that no route leads elsewhere.
    pub fn flow_of_service(&self, namespace: &str, name: &str) -> Flow {
        let destination = Destination {
            namespace: namespace.to_owned(),
            service: name.to_owned(),
            subset: String::new(),
            share: 1.0,
        };
        let route = format!("Service {namespace}/{name}");
        self.flow(&route, ("0", false), &destination)
    }

    fn flow(&self, route: &str, (rule, some): (&str, bool), destination: &Destination) -> Flow {
        let mut ready = BTreeMap::new();
        for pod in self.ready(destination) {
            *ready.entry(hash(pod).to_owned()).or_default() += 1;
        }
        let subset = &destination.subset;
        let subset = if subset.is_empty() {
            String::new()
        } else {
            format!("/{subset}")
        };
        Flow {
            route: route.to_owned(),
            rule: rule.to_owned(),
            some,
            destination: format!("{}{subset}", destination.service),
            share: destination.share,
            ready,
            selects: self.selects(destination),
        }
    }

    fn selects(&self, destination: &Destination) -> String {
        let of = |labels: Option<&serde_json::Map<String, Value>>| {
            HASH_LABELS
                .iter()
                .find_map(|key| labels?.get(*key)?.as_str())
                .unwrap_or_default()
                .to_owned()
        };
        let subsets = self.destination_rules.iter().flat_map(|rule| {
            let (service, _) = routes::host(text(rule, &["spec", "host"]), object::namespace(rule));
            let mine = service == destination.service;
            items(rule, &["spec", "subsets"])
                .iter()
                .filter(move |_| mine)
        });
        let subset = subsets
            .filter(|subset| text(subset, &["name"]) == destination.subset)
            .map(|subset| of(map(subset, &["labels"])))
            .find(|hash| !hash.is_empty());
        subset.unwrap_or_else(|| {
            of(self
                .service(&destination.namespace, &destination.service)
                .and_then(|service| map(service, &["spec", "selector"])))
        })
    }

    fn destinations(&self, namespace: &str, target: &str) -> Vec<Destination> {
        for route in &self.routes {
            let found = routes::for_target(self, route, namespace, target);
            if !found.is_empty() {
                return found;
            }
        }
        vec![Destination {
            namespace: namespace.to_owned(),
            service: target.split('.').next().unwrap_or(target).to_owned(),
            subset: String::new(),
            share: 1.0,
        }]
    }

    fn add(&self, shares: &mut Shares, destination: &Destination) {
        let ready = self.ready(destination);
        if ready.is_empty() {
            shares.lost += destination.share;
            return;
        }
        let each = destination.share / ready.len() as f64;
        for pod in ready {
            *shares.by_hash.entry(hash(pod).to_owned()).or_default() += each;
        }
    }

    fn service(&self, namespace: &str, name: &str) -> Option<&Value> {
        let is = |s: &&Value| object::name(s) == name && object::namespace(s) == namespace;
        self.services.iter().find(is)
    }

    /// Ready pods behind a destination, by the EndpointSlices where there are some.
    fn ready(&self, destination: &Destination) -> Vec<&Value> {
        let Destination {
            namespace,
            service: name,
            ..
        } = destination;
        let Some(service) = self.service(namespace, name) else {
            return Vec::new();
        };
        let mine = |slice: &&Value| {
            let label = ["metadata", "labels", "kubernetes.io/service-name"];
            text(slice, &label) == name && object::namespace(slice) == namespace
        };
        let slices: Vec<&Value> = self.slices.iter().filter(mine).collect();
        let in_space = self
            .pods
            .iter()
            .filter(|p| object::namespace(p) == namespace);
        let behind: Vec<&Value> = if slices.is_empty() {
            let selector = map(service, &["spec", "selector"]).filter(|s| !s.is_empty());
            let Some(selector) = selector.map(Selector::of_map) else {
                return Vec::new();
            };
            in_space
                .filter(|p| selector.matches(object::labels(p)))
                .filter(|p| object::has_condition(p, "Ready") && !object::is_deleting(p))
                .collect()
        } else {
            let ready: Vec<&str> = slices
                .iter()
                .flat_map(|s| items(s, &["endpoints"]))
                .filter(|e| flag(e, &["conditions", "ready"]))
                .map(|e| text(e, &["targetRef", "name"]))
                .collect();
            in_space
                .filter(|p| ready.contains(&object::name(p)))
                .collect()
        };
        match self.subset(destination) {
            Some(labels) => behind
                .into_iter()
                .filter(|p| labels.matches(object::labels(p)))
                .collect(),
            None => behind,
        }
    }

    /// The labels of a destination's subset. A subset that no DestinationRule defines matches
    /// nothing.
    fn subset(&self, destination: &Destination) -> Option<Selector> {
        if destination.subset.is_empty() {
            return None;
        }
        let nothing = || Selector::parse("sim.sluice.dev/no-such-subset=true").unwrap_or_default();
        for rule in &self.destination_rules {
            let host = text(rule, &["spec", "host"]);
            let (service, namespace) = routes::host(host, object::namespace(rule));
            if service != destination.service || namespace != destination.namespace {
                continue;
            }
            for subset in items(rule, &["spec", "subsets"]) {
                if text(subset, &["name"]) == destination.subset {
                    return Some(
                        map(subset, &["labels"])
                            .map(Selector::of_map)
                            .unwrap_or_default(),
                    );
                }
            }
        }
        Some(nothing())
    }
}

fn hash(pod: &Value) -> &str {
    let labels = object::labels(pod);
    HASH_LABELS
        .iter()
        .find_map(|key| labels?.get(*key)?.as_str())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
