//! What the tests share.
#![allow(dead_code, reason = "each test crate uses a part")]

use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::{Value, json};
use sluice_sim::kubelet::RunningKubelet;
use sluice_sim::{Cluster, ClusterOptions, ControlPlane, Kubelet, KubeletOptions};

/// A cluster with controllers and a node.
pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    pub(crate) kubelet: RunningKubelet,
    _control: ControlPlane,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let cluster = Cluster::new(ClusterOptions::default());
        let options = KubeletOptions {
            clock: cluster.clock().clone(),
            ..Default::default()
        };
        let kubelet = Kubelet::new(cluster.client_as("kubelet"), options).start();
        Self {
            _control: cluster.start(),
            kubelet,
            cluster,
        }
    }

    pub(crate) fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.cluster.get(api_version(kind), kind, "default", name)
    }

    pub(crate) fn pods(&self, selector: &str) -> Vec<Value> {
        self.cluster.list("v1", "Pod", "default", selector)
    }

    /// The number at a JSON pointer of an object; 0 when absent.
    pub(crate) fn number(&self, kind: &str, name: &str, pointer: &str) -> i64 {
        let object = self.get(kind, name).unwrap_or_default();
        object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
    }
}

pub(crate) fn api_version(kind: &str) -> &'static str {
    match kind {
        "Deployment" | "ReplicaSet" => "apps/v1",
        "Job" => "batch/v1",
        "EndpointSlice" => "discovery.k8s.io/v1",
        "Rollout" => "argoproj.io/v1alpha1",
        "PodDisruptionBudget" => "policy/v1",
        "CustomResourceDefinition" => "apiextensions.k8s.io/v1",
        "VirtualService" => "networking.istio.io/v1",
        "Lease" => "coordination.k8s.io/v1",
        _ => "v1",
    }
}

/// A client for objects of a kind in `default`.
pub(crate) fn api(client: &kube::Client, kind: &str, plural: &str) -> Api<DynamicObject> {
    let (group, version) = api_version(kind).split_once('/').unwrap_or(("", "v1"));
    let gvk = GroupVersionKind::gvk(group, version, kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
    if matches!(plural, "customresourcedefinitions" | "namespaces") {
        return Api::all_with(client.clone(), &resource);
    }
    Api::default_namespaced_with(client.clone(), &resource)
}

pub(crate) async fn create(api: &Api<DynamicObject>, object: Value) -> kube::Result<Value> {
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let made = api.create(&PostParams::default(), &object).await?;
    Ok(serde_json::to_value(made).unwrap())
}

/// Waits in virtual time until something holds; an hour at most.
pub(crate) async fn until(what: &str, test: impl AsyncFn() -> bool) {
    for _ in 0..36_000 {
        if test().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("did not happen within an hour: {what}");
}

/// A ReplicaSet or Deployment of pods labelled `app=NAME`.
pub(crate) fn workload(kind: &str, name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "web", "image": "web:v1", "ports": [{"containerPort": 8080}],
                }]},
            },
        },
    })
}

/// The code and message of a refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(result: kube::Result<T>) -> (u16, String) {
    match result.unwrap_err() {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("no refusal by the API: {other}"),
    }
}

pub(crate) fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"kind": "Gadget", "plural": "gadgets", "singular": "gadget", "shortNames": ["gd"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size",
                    "labelSelectorPath": ".status.selector"
                }},
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
                ],
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "required": ["size"], "properties": {
                        "size": {"type": "integer", "minimum": 0},
                        "mode": {"type": "string", "enum": ["A", "B"], "default": "A"},
                        "fixed": {"type": "string", "x-kubernetes-validations": [
                            {"rule": "self == oldSelf", "message": "fixed cannot change"}
                        ]}
                    }},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
                }}}
            }]
        }
    })
}
