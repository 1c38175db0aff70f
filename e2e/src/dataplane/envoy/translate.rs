//! VirtualServices, DestinationRules, Services and EndpointSlices as Envoy resources.
//!
//! What a rollout controller can change is understood in full: weights, subsets, header matches,
//! mirrors. Anything else of a VirtualService is refused by name rather than left out silently,
//! because a route that means something else than it says would make a test lie.

mod field;
mod matching;
mod resource;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use field::{Field, Object, list, text};
use matching::route_match;
use resource::{cluster, endpoints_file, load_assignment, mirror, route_configuration};

pub use field::TranslateError;

/// The objects of one namespace, as the API server gives them.
#[derive(Debug, Clone, Default)]
pub struct Mesh {
    /// The namespace, for short host names.
    pub namespace: String,
    /// `v1` Services.
    pub services: Vec<Value>,
    /// `discovery.k8s.io/v1` EndpointSlices.
    pub slices: Vec<Value>,
    /// `v1` Pods: subsets choose by their labels.
    pub pods: Vec<Value>,
    /// `networking.istio.io` VirtualServices.
    pub virtual_services: Vec<Value>,
    /// `networking.istio.io` DestinationRules.
    pub destination_rules: Vec<Value>,
}

/// Envoy resources, each list in the order of names.
#[derive(Debug, Clone, PartialEq)]
pub struct Resources {
    /// One RouteConfiguration, named `mesh`.
    pub routes: Vec<Value>,
    /// One Cluster per host, port and subset.
    pub clusters: Vec<Value>,
    /// One ClusterLoadAssignment per Cluster.
    pub endpoints: Vec<Value>,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            routes: vec![route_configuration(&[])],
            clusters: vec![],
            endpoints: vec![],
        }
    }
}

impl Resources {
    /// Each cluster's endpoints and the file that they go to.
    pub(super) fn endpoint_files(&self) -> impl Iterator<Item = (String, &Value)> {
        self.endpoints
            .iter()
            .map(|each| (endpoints_file(text(each, "/cluster_name")), each))
    }

    /// These, plus the clusters of `old` that are gone: requests on their way still need them.
    #[must_use]
    pub(super) fn with_clusters_of(&self, old: &Self) -> Self {
        let merge = |new: &[Value], old: &[Value], key: &str| {
            let name = |value: &Value| text(value, &format!("/{key}")).to_owned();
            let all: BTreeMap<String, Value> = old
                .iter()
                .chain(new)
                .map(|value| (name(value), value.clone()))
                .collect();
            all.into_values().collect()
        };
        Self {
            routes: self.routes.clone(),
            clusters: merge(&self.clusters, &old.clusters, "name"),
            endpoints: merge(&self.endpoints, &old.endpoints, "cluster_name"),
        }
    }
}

/// A destination that something routes to.
#[derive(Debug, Clone)]
struct Destination {
    /// The Service's short name.
    service: String,
    port: u64,
    subset: String,
}

impl Destination {
    /// Istio's name of the cluster, as its proxies show it.
    fn cluster(&self, namespace: &str) -> String {
        let Self {
            service,
            port,
            subset,
        } = self;
        format!("outbound|{port}|{subset}|{service}.{namespace}.svc.cluster.local")
    }
}

impl Mesh {
    /// Envoy's configuration for these objects.
    ///
    /// A host of a VirtualService routes as that says; a Service without one to its endpoints. A
    /// destination without ready endpoints answers 503, as in Istio.
    ///
    /// # Errors
    /// Names object and field of what is not supported or missing.
    pub fn translate(&self) -> Result<Resources, TranslateError> {
        let mut used = Vec::new();
        let mut hosts: BTreeMap<String, Value> = BTreeMap::new();
        for service in &self.services {
            let name = text(service, "/metadata/name");
            let Some(port) = first_port(service) else {
                continue;
            };
            let plain = Destination {
                service: name.to_owned(),
                port,
                subset: String::new(),
            };
            let route = json!({"match": {"prefix": "/"},
                               "route": {"cluster": plain.cluster(&self.namespace)}});
            used.push(plain);
            hosts.insert(name.to_owned(), self.virtual_host(name, &[route]));
        }
        for service in &self.virtual_services {
            let routes = self.routes(service, &mut used)?;
            for host in list(service, "/spec/hosts") {
                let host = self.short(host.as_str().unwrap_or_default());
                hosts.insert(host.clone(), self.virtual_host(&host, &routes));
            }
        }
        let by_name: BTreeMap<String, &Destination> = used
            .iter()
            .map(|to| (to.cluster(&self.namespace), to))
            .collect();
        let (mut clusters, mut endpoints) = (vec![], vec![]);
        for (name, destination) in by_name {
            clusters.push(cluster(&name));
            endpoints.push(load_assignment(&name, &self.endpoints(destination)));
        }
        let hosts: Vec<Value> = hosts.into_values().collect();
        Ok(Resources {
            routes: vec![route_configuration(&hosts)],
            clusters,
            endpoints,
        })
    }

    /// `web.shop.svc.cluster.local` as `web`; names of other places stay.
    fn short(&self, host: &str) -> String {
        let ns = &self.namespace;
        let endings = [
            format!(".{ns}.svc.cluster.local"),
            format!(".{ns}.svc"),
            format!(".{ns}"),
        ];
        let cut = endings
            .iter()
            .find_map(|ending| host.strip_suffix(ending.as_str()));
        cut.unwrap_or(host).to_owned()
    }

    fn virtual_host(&self, host: &str, routes: &[Value]) -> Value {
        let ns = &self.namespace;
        let mut domains = vec![host.to_owned()];
        if !host.contains('.') && host != "*" {
            domains.extend(
                [
                    ns.clone(),
                    format!("{ns}.svc"),
                    format!("{ns}.svc.cluster.local"),
                ]
                .map(|place| format!("{host}.{place}")),
            );
        }
        json!({"name": host, "domains": domains, "routes": routes})
    }

    fn routes(
        &self,
        virtual_service: &Value,
        used: &mut Vec<Destination>,
    ) -> Result<Vec<Value>, TranslateError> {
        let object = Object {
            kind: "VirtualService",
            value: virtual_service,
        };
        object.known("spec", &["hosts", "gateways", "http", "exportTo"])?;
        let mut routes = vec![];
        for (index, http) in list(virtual_service, "/spec/http").iter().enumerate() {
            let at = Object {
                kind: "VirtualService",
                value: virtual_service,
            }
            .at(format!("spec.http[{index}]"), http);
            at.known(&[
                "name",
                "match",
                "route",
                "mirror",
                "mirrors",
                "mirrorPercentage",
            ])?;
            let action = self.action(&at, used)?;
            let matches = list(http, "/match");
            if matches.is_empty() {
                routes.push(json!({"match": {"prefix": "/"}, "route": action}));
            }
            for (number, wanted) in matches.iter().enumerate() {
                let wanted = at.sub(format!("match[{number}]"), wanted);
                routes.push(json!({"match": route_match(&wanted)?, "route": action}));
            }
        }
        Ok(routes)
    }

    fn action(&self, at: &Field<'_>, used: &mut Vec<Destination>) -> Result<Value, TranslateError> {
        let targets = list(at.value, "/route");
        let mut weighted = vec![];
        for (index, target) in targets.iter().enumerate() {
            let target = at.sub(format!("route[{index}]"), target);
            target.known(&["destination", "weight"])?;
            let cluster = self.destination(&target, "destination", used)?;
            // Where there is but one, Istio takes a missing weight for all.
            let weight = match target.value.get("weight") {
                Some(weight) => weight
                    .as_u64()
                    .ok_or_else(|| target.bad("weight", "no number"))?,
                None if targets.len() == 1 => 100,
                None => 0,
            };
            weighted.push(json!({"name": cluster, "weight": weight}));
        }
        if weighted
            .iter()
            .all(|target| target.get("weight") == Some(&json!(0)))
        {
            return Err(at.bad("route", "without any weight"));
        }
        let mut action = json!({"weighted_clusters": {"clusters": weighted}});
        let mirrors = self.mirrors(at, used)?;
        if let (Some(fields), false) = (action.as_object_mut(), mirrors.is_empty()) {
            fields.insert("request_mirror_policies".to_owned(), mirrors.into());
        }
        Ok(action)
    }

    fn mirrors(
        &self,
        at: &Field<'_>,
        used: &mut Vec<Destination>,
    ) -> Result<Vec<Value>, TranslateError> {
        let mut mirrors = vec![];
        if at
            .value
            .get("mirror")
            .is_some_and(|mirror| !mirror.is_null())
        {
            let cluster = self.destination(at, "mirror", used)?;
            mirrors.push(mirror(
                &cluster,
                at.value.pointer("/mirrorPercentage/value"),
            ));
        }
        for (index, value) in list(at.value, "/mirrors").iter().enumerate() {
            let each = at.sub(format!("mirrors[{index}]"), value);
            let cluster = self.destination(&each, "destination", used)?;
            mirrors.push(mirror(&cluster, value.pointer("/percentage/value")));
        }
        Ok(mirrors)
    }

    /// Reads a destination and returns the name of its cluster.
    fn destination(
        &self,
        at: &Field<'_>,
        field: &str,
        used: &mut Vec<Destination>,
    ) -> Result<String, TranslateError> {
        let value = at.value.get(field).unwrap_or(&Value::Null);
        let host = text(value, "/host");
        let service = self.short(host);
        let known = self.service(&service);
        let known = known
            .ok_or_else(|| at.bad(field, &format!("to {host:?}, but there is no such Service")))?;
        let port = value
            .pointer("/port/number")
            .and_then(Value::as_u64)
            .or_else(|| first_port(known))
            .ok_or_else(|| at.bad(field, &format!("to {host:?}, a Service without ports")))?;
        let subset = text(value, "/subset").to_owned();
        let destination = Destination {
            service,
            port,
            subset,
        };
        let cluster = destination.cluster(&self.namespace);
        used.push(destination);
        Ok(cluster)
    }

    fn service(&self, name: &str) -> Option<&Value> {
        self.services
            .iter()
            .find(|service| text(service, "/metadata/name") == name)
    }

    /// Addresses and port of a destination's ready endpoints, sorted.
    fn endpoints(&self, to: &Destination) -> Vec<(String, u64)> {
        let labels = match to.subset.as_str() {
            "" => &Map::new(),
            subset => match self.subset(&to.service, subset) {
                Some(labels) => labels,
                // Istio knows no such cluster and answers 503; so does one without endpoints.
                None => return vec![],
            },
        };
        let ports = self
            .service(&to.service)
            .map(|service| list(service, "/spec/ports"));
        let named = ports
            .unwrap_or_default()
            .iter()
            .find(|port| port.get("port").and_then(Value::as_u64) == Some(to.port));
        let port_name = named.map_or("", |port| text(port, "/name"));
        let mut found = vec![];
        for slice in &self.slices {
            let of = text(slice, "/metadata/labels/kubernetes.io~1service-name");
            if of != to.service {
                continue;
            }
            let port = list(slice, "/ports")
                .iter()
                .find(|port| text(port, "/name") == port_name);
            let Some(port) = port
                .and_then(|port| port.get("port"))
                .and_then(Value::as_u64)
            else {
                continue;
            };
            for endpoint in list(slice, "/endpoints") {
                let ready = endpoint
                    .pointer("/conditions/ready")
                    .and_then(Value::as_bool);
                // Absent means ready, says the API.
                if ready == Some(false) || !self.has_labels(endpoint, labels) {
                    continue;
                }
                let addresses = list(endpoint, "/addresses")
                    .iter()
                    .filter_map(Value::as_str);
                found.extend(addresses.map(|address| (address.to_owned(), port)));
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// The labels of a subset, from the DestinationRules of the host.
    fn subset(&self, service: &str, subset: &str) -> Option<&Map<String, Value>> {
        let of_host = |rule: &&Value| self.short(text(rule, "/spec/host")) == service;
        self.destination_rules
            .iter()
            .filter(of_host)
            .flat_map(|rule| list(rule, "/spec/subsets"))
            .find(|each| text(each, "/name") == subset)
            .and_then(|each| each.get("labels")?.as_object())
    }

    fn has_labels(&self, endpoint: &Value, wanted: &Map<String, Value>) -> bool {
        if wanted.is_empty() {
            return true;
        }
        let name = text(endpoint, "/targetRef/name");
        let pod = self
            .pods
            .iter()
            .find(|pod| text(pod, "/metadata/name") == name);
        let labels = pod.and_then(|pod| pod.pointer("/metadata/labels")?.as_object());
        labels.is_some_and(|labels| {
            wanted
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
        })
    }
}

fn first_port(service: &Value) -> Option<u64> {
    list(service, "/spec/ports").first()?.get("port")?.as_u64()
}

#[cfg(test)]
mod tests;
