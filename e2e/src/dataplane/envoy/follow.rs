//! An Envoy that follows the objects of a namespace, as a mesh's control plane would have it.

use futures::stream::{self, BoxStream, StreamExt};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::super::Error;
use super::{Envoy, Mesh};

/// Group, version, kind, plural, in the order of the fields of [`Mesh`].
const KINDS: [(&str, &str, &str, &str); 5] = [
    ("", "v1", "Service", "services"),
    ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    ("", "v1", "Pod", "pods"),
    (
        "networking.istio.io",
        "v1",
        "VirtualService",
        "virtualservices",
    ),
    (
        "networking.istio.io",
        "v1",
        "DestinationRule",
        "destinationrules",
    ),
];

/// Configures `envoy` by the objects of `namespace` until cancelled, then returns it.
///
/// Objects that cannot be translated leave the last configuration in force, as a mesh does; the
/// reason is logged. Istio's CRDs must be there.
///
/// # Errors
/// When Envoy ended or refuses a configuration.
pub async fn follow(
    mut envoy: Envoy,
    client: Client,
    namespace: &str,
    cancel: CancellationToken,
) -> Result<Envoy, Error> {
    let (mut stores, mut changes) = (vec![], vec![]);
    for kind in KINDS {
        let (store, change) = watch(&client, namespace, kind);
        stores.push(store);
        changes.push(change);
    }
    let mut changes = stream::select_all(changes);
    let mut unread = stores.len();
    loop {
        let change = tokio::select! {
            () = cancel.cancelled() => return Ok(envoy),
            change = changes.next() => change,
        };
        match change {
            None => return Ok(envoy),
            Some(Change::Listed) => unread = unread.saturating_sub(1),
            Some(Change::Some) => {}
        }
        // A mesh half read would take away the routes of the other half.
        if unread > 0 {
            continue;
        }
        match mesh(namespace, &stores).translate() {
            Ok(resources) => envoy.apply(resources).await?,
            Err(error) => tracing::warn!(%error, "Envoy keeps its configuration"),
        }
    }
}

enum Change {
    /// The first list of a kind is complete.
    Listed,
    Some,
}

fn watch(
    client: &Client,
    namespace: &str,
    (group, version, kind, plural): (&str, &str, &str, &str),
) -> (Store<DynamicObject>, BoxStream<'static, Change>) {
    let kind = GroupVersionKind::gvk(group, version, kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, plural);
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    let writer = reflector::store::Writer::new(resource);
    let store = writer.as_reader();
    let mut listed = false;
    let events = reflector::reflector(writer, watcher(api, watcher::Config::default()))
        .default_backoff()
        .filter_map(move |event| {
            let change = match event {
                Ok(watcher::Event::InitDone) if !listed => {
                    listed = true;
                    Some(Change::Listed)
                }
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => None,
                Ok(_) => Some(Change::Some),
                Err(error) => {
                    tracing::debug!(%error, "watching for Envoy; trying again");
                    None
                }
            };
            futures::future::ready(change)
        })
        .boxed();
    (store, events)
}

fn mesh(namespace: &str, stores: &[Store<DynamicObject>]) -> Mesh {
    let mut kinds = stores.iter().map(objects);
    let mut next = || kinds.next().unwrap_or_default();
    Mesh {
        namespace: namespace.to_owned(),
        services: next(),
        slices: next(),
        pods: next(),
        virtual_services: next(),
        destination_rules: next(),
    }
}

/// In the order of names: a store has none, and equal objects must give equal configurations.
fn objects(store: &Store<DynamicObject>) -> Vec<Value> {
    let mut objects = store.state();
    objects.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    objects
        .iter()
        .filter_map(|object| serde_json::to_value(object.as_ref()).ok())
        .collect()
}
