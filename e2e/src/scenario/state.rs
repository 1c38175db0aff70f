//! What a scenario looks at, read through the ordinary API in either ring.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use serde_json::Value;

use super::manifest;

/// One look at a namespace.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The Rollout.
    pub rollout: Value,
    /// Its ReplicaSets, and those of its experiments.
    pub replica_sets: Vec<Value>,
    /// Services by name.
    pub services: BTreeMap<String, Value>,
    /// VirtualServices by name; empty where the kind is not served.
    pub virtual_services: BTreeMap<String, Value>,
    /// Ingresses by name.
    pub ingresses: BTreeMap<String, Value>,
    /// AnalysisRuns, oldest first.
    pub analysis_runs: Vec<Value>,
    /// Experiments, oldest first.
    pub experiments: Vec<Value>,
    /// Deployments by name.
    pub deployments: BTreeMap<String, Value>,
    /// Reasons of events on the Rollout.
    pub event_reasons: Vec<String>,
    /// Texts of events on the Rollout, with how often each was told.
    pub told: Vec<(String, usize)>,
    /// Objects of further kinds that somebody asked for.
    pub others: BTreeMap<String, Vec<Value>>,
}

/// Kinds that are read by name and version here.
fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// The Rollout kind.
#[must_use]
pub fn rollouts() -> ApiResource {
    resource("argoproj.io", "v1alpha1", "Rollout", "rollouts")
}

impl State {
    /// Reads everything that expectations can be about, and all objects of `kinds`.
    ///
    /// # Errors
    /// When the API server refuses; a kind that is not served counts as empty, a Rollout that does
    /// not exist as `null`.
    pub async fn read(
        client: &kube::Client,
        namespace: &str,
        rollout: &str,
        kinds: &BTreeSet<&str>,
    ) -> Result<Self> {
        let api = |resource: ApiResource| -> Api<DynamicObject> {
            Api::namespaced_with(client.clone(), namespace, &resource)
        };
        let found = api(rollouts())
            .get_opt(rollout)
            .await
            .context("reading the Rollout")?;
        let list = async |resource: ApiResource| -> Result<Vec<Value>> {
            let kind = resource.kind.clone();
            match api(resource).list(&ListParams::default()).await {
                Ok(list) => {
                    let mut items: Vec<Value> = list
                        .items
                        .into_iter()
                        .map(serde_json::to_value)
                        .collect::<Result<_, _>>()?;
                    items.sort_by(|a, b| order(a).cmp(&order(b)));
                    Ok(items)
                }
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
                Err(error) => Err(error).with_context(|| format!("listing {kind}")),
            }
        };
        let (mut event_reasons, mut told) = (Vec::new(), Vec::new());
        for event in list(resource("", "v1", "Event", "events")).await? {
            if event
                .pointer("/involvedObject/name")
                .and_then(Value::as_str)
                == Some(rollout)
            {
                event_reasons.push(text(&event, "/reason").to_owned());
                let count = number(&event, "/count").unwrap_or(1);
                let message = text(&event, "/message").to_owned();
                told.push((message, usize::try_from(count).unwrap_or(1)));
            }
        }
        let mut others = BTreeMap::new();
        for kind in kinds {
            others.insert(
                (*kind).to_owned(),
                list(manifest::resource_of(kind)?).await?,
            );
        }
        Ok(Self {
            rollout: serde_json::to_value(found)?,
            replica_sets: list(resource("apps", "v1", "ReplicaSet", "replicasets")).await?,
            services: by_name(list(resource("", "v1", "Service", "services")).await?),
            virtual_services: by_name(
                list(resource(
                    "networking.istio.io",
                    "v1",
                    "VirtualService",
                    "virtualservices",
                ))
                .await?,
            ),
            ingresses: by_name(
                list(resource("networking.k8s.io", "v1", "Ingress", "ingresses")).await?,
            ),
            analysis_runs: list(resource(
                "argoproj.io",
                "v1alpha1",
                "AnalysisRun",
                "analysisruns",
            ))
            .await?,
            experiments: list(resource(
                "argoproj.io",
                "v1alpha1",
                "Experiment",
                "experiments",
            ))
            .await?,
            deployments: by_name(list(resource("apps", "v1", "Deployment", "deployments")).await?),
            event_reasons,
            told,
            others,
        })
    }

    /// All objects of a kind that was asked for.
    #[must_use]
    pub fn of_kind(&self, kind: &str) -> &[Value] {
        self.others.get(kind).map_or(&[], Vec::as_slice)
    }

    /// Ready pods behind a Service.
    #[must_use]
    pub fn ready_behind(&self, service: &str) -> i32 {
        let selector = self.services.get(service);
        let selector = selector.and_then(|one| one.pointer("/spec/selector")?.as_object());
        let Some(selector) = selector else { return 0 };
        let selects = |pod: &&Value| {
            let labels = pod.pointer("/metadata/labels");
            let has = |(key, value): (&String, &Value)| {
                labels.and_then(|labels| labels.get(key)) == Some(value)
            };
            !selector.is_empty() && selector.iter().all(has)
        };
        let pods = self.of_kind("Pod").iter().filter(selects);
        i32::try_from(pods.filter(|pod| is_ready(pod)).count()).unwrap_or(i32::MAX)
    }

    /// Image of the first container behind a pod-template hash.
    #[must_use]
    pub fn image_of(&self, hash: &str) -> Option<&str> {
        self.replica_sets
            .iter()
            .find(|set| {
                set.pointer("/metadata/labels/rollouts-pod-template-hash")
                    .and_then(Value::as_str)
                    == Some(hash)
            })
            .map(|set| text(set, "/spec/template/spec/containers/0/image"))
    }
}

/// Whether a pod gets requests.
#[must_use]
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.is_some_and(|all| {
        all.iter()
            .any(|one| text(one, "/type") == "Ready" && text(one, "/status") == "True")
    });
    ready && pod.pointer("/metadata/deletionTimestamp").is_none()
}

fn order(object: &Value) -> (&str, &str) {
    (
        text(object, "/metadata/creationTimestamp"),
        text(object, "/metadata/name"),
    )
}

fn by_name(items: Vec<Value>) -> BTreeMap<String, Value> {
    items
        .into_iter()
        .map(|item| (text(&item, "/metadata/name").to_owned(), item))
        .collect()
}

/// The text at a JSON pointer; empty when there is none.
#[must_use]
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The number at a JSON pointer, if there is one.
#[must_use]
pub fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}
