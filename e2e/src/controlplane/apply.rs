//! `kubectl apply --server-side`, in a few lines.

use std::time::{Duration, Instant};

use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiCapabilities, Scope, pinned_kind};
use kube::{Api, Client, ResourceExt};
use serde::Deserialize;
use serde_json::Value;

use super::{ControlPlane, Error, POLL};

/// The owner of the fields that tests apply.
const MANAGER: &str = "sluice-e2e";
/// Until a new CRD is served.
const SERVED: Duration = Duration::from_secs(30);

impl ControlPlane {
    /// Applies all documents of a YAML text as `admin`, in their order; objects without a namespace
    /// go to `default`.
    ///
    /// # Errors
    /// As [`apply`].
    pub async fn apply_yaml(&self, text: &str) -> Result<Vec<DynamicObject>, Error> {
        apply(&self.client()?, "default", text).await
    }

    /// As [`ControlPlane::apply_yaml`], objects without a namespace going to the given one.
    ///
    /// # Errors
    /// As [`apply`].
    pub async fn apply_yaml_in(
        &self,
        namespace: &str,
        text: &str,
    ) -> Result<Vec<DynamicObject>, Error> {
        apply(&self.client()?, namespace, text).await
    }
}

/// Applies all documents of a YAML text in their order, over any client.
///
/// Lists are taken apart. An object with `generateName` only is created. After a CRD it waits until
/// its kind is served, so that objects of it may follow.
///
/// # Errors
/// [`Error::Document`] for text that holds no objects, [`Error::Api`] with the server's answer.
pub async fn apply(
    client: &Client,
    namespace: &str,
    text: &str,
) -> Result<Vec<DynamicObject>, Error> {
    let mut applied = vec![];
    for document in documents(text)? {
        let object = apply_one(client, namespace, document).await?;
        if object
            .types
            .as_ref()
            .is_some_and(|types| types.kind == "CustomResourceDefinition")
        {
            established(client, &object).await?;
        }
        applied.push(object);
    }
    Ok(applied)
}

async fn apply_one(
    client: &Client,
    namespace: &str,
    document: Document,
) -> Result<DynamicObject, Error> {
    let Document {
        index,
        kind,
        object,
    } = document;
    let label = format!("{} {}", kind.kind, object.name_any());
    let (resource, capabilities) = served(client, &kind, &label).await?;
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let own = object.namespace();
            Api::namespaced_with(
                client.clone(),
                own.as_deref().unwrap_or(namespace),
                &resource,
            )
        }
    };
    match (&object.metadata.name, &object.metadata.generate_name) {
        (Some(name), _) => {
            let params = PatchParams::apply(MANAGER).force();
            api.patch(name, &params, &Patch::Apply(&object))
                .await
                .map_err(Error::api("apply", label))
        }
        (None, Some(_)) => {
            let params = PostParams {
                field_manager: Some(MANAGER.to_owned()),
                ..PostParams::default()
            };
            api.create(&params, &object)
                .await
                .map_err(Error::api("create", label))
        }
        (None, None) => Err(Error::Document {
            index,
            problem: "metadata.name is missing".to_owned(),
        }),
    }
}

/// How the kind is called in URLs. A CRD just established may take a moment to show up here.
async fn served(
    client: &Client,
    kind: &GroupVersionKind,
    label: &str,
) -> Result<(kube::core::ApiResource, ApiCapabilities), Error> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match pinned_kind(client, kind).await {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() >= deadline || !is_unknown(&error) => {
                return Err(Error::api("find the kind of", label)(error));
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

fn is_unknown(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 404,
        kube::Error::Discovery(_) => true,
        _ => false,
    }
}

async fn established(client: &Client, crd: &DynamicObject) -> Result<(), Error> {
    let name = crd.name_any();
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let api = Api::<DynamicObject>::all_with(
        client.clone(),
        &kube::core::ApiResource::from_gvk_with_plural(&kind, "customresourcedefinitions"),
    );
    let deadline = Instant::now() + SERVED;
    loop {
        let seen = api
            .get(&name)
            .await
            .map_err(Error::api("read CRD", name.as_str()))?;
        if is_established(&seen.data) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let last = format!(
                "CRD {name}: {}",
                seen.data
                    .pointer("/status/conditions")
                    .unwrap_or(&Value::Null)
            );
            return Err(Error::NotReady {
                what: "the applied CRD",
                last,
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

fn is_established(crd: &Value) -> bool {
    let conditions = crd.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        let is = |field, want| condition.get(field).and_then(Value::as_str) == Some(want);
        is("type", "Established") && is("status", "True")
    })
}

#[derive(Debug)]
struct Document {
    index: usize,
    kind: GroupVersionKind,
    object: DynamicObject,
}

/// The objects of a YAML text; lists taken apart, empty documents left out.
fn documents(text: &str) -> Result<Vec<Document>, Error> {
    let mut found = vec![];
    for (index, document) in serde_yaml_ng::Deserializer::from_str(text).enumerate() {
        let bad = |problem: String| Error::Document { index, problem };
        let value = Value::deserialize(document).map_err(|error| bad(error.to_string()))?;
        if value.is_null() {
            continue;
        }
        let is_list = value
            .get("kind")
            .and_then(Value::as_str)
            .is_some_and(|kind| kind.ends_with("List"));
        let items = match value.get("items") {
            Some(Value::Array(items)) if is_list => items.clone(),
            _ => vec![value],
        };
        for item in items {
            let object: DynamicObject =
                serde_json::from_value(item).map_err(|error| bad(error.to_string()))?;
            let types = object
                .types
                .as_ref()
                .ok_or_else(|| bad("apiVersion or kind is missing".to_owned()))?;
            let kind = GroupVersionKind::try_from(types).map_err(|error| bad(error.to_string()))?;
            found.push(Document {
                index,
                kind,
                object,
            });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_split_into_objects() {
        let text = "\
# a comment before everything
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
---
---
apiVersion: v1
kind: List
items:
- {apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: b}}
- {apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: c}}
";
        let found: Vec<String> = documents(text)
            .unwrap()
            .iter()
            .map(|d| format!("{}/{} {}", d.kind.group, d.kind.kind, d.object.name_any()))
            .collect();
        assert_eq!(
            found,
            ["/ConfigMap a", "apps/ReplicaSet b", "argoproj.io/Rollout c"]
        );
    }

    #[test]
    fn what_is_no_object_is_named_by_its_place() {
        for (text, want) in [
            (
                "{apiVersion: v1, kind: A, metadata: {}}\n---\n[1]",
                "document 1",
            ),
            ("{metadata: {name: a}}", "apiVersion or kind is missing"),
            ("a: b: c", "document 0"),
        ] {
            let error = documents(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
