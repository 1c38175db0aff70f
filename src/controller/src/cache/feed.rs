//! Feeds stores from watches.
//!
//! Each item is decoded on its own: one that cannot be decoded is reported and skipped, and the watch
//! goes on. Where an optional kind does not exist (Istio is not installed) or may not be watched, the
//! feed asks again every ten minutes (TRF-100); nothing else waits for it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sluice_crds::decode;
use tokio_util::sync::CancellationToken;

use super::kept::Kept;
use super::store::{Change, Store};
use crate::key::Key;

/// Time between two attempts at a kind that may well not exist.
pub const OPTIONAL_RETRY: Duration = Duration::from_secs(600);
/// Time between two attempts at a kind that the controller cannot do without.
pub const REQUIRED_RETRY: Duration = Duration::from_secs(5);
/// First wait after an error of a watch; doubles.
const ERROR_WAIT: Duration = Duration::from_millis(200);
/// Longest wait after an error of a watch.
const ERROR_WAIT_CAP: Duration = Duration::from_secs(30);

/// An object that may not be decodable.
#[derive(Clone, Debug)]
pub struct Lenient<K> {
    meta: ObjectMeta,
    object: Result<Box<K>, String>,
    stand_in: Option<Box<K>>,
}

impl<K> Lenient<K> {
    /// The object, or what stands in for it.
    ///
    /// # Errors
    /// Why it could not be decoded.
    pub fn into_object(self) -> Result<K, String> {
        match (self.object, self.stand_in) {
            (Ok(object), _) | (Err(_), Some(object)) => Ok(*object),
            (Err(error), None) => Err(error),
        }
    }
}

impl<K: Resource> Resource for Lenient<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
        K::kind(dt)
    }
    fn group(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
        K::group(dt)
    }
    fn version(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
        K::version(dt)
    }
    fn plural(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
        K::plural(dt)
    }
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

impl<'de, K: Kept> Deserialize<'de> for Lenient<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        let text = |name: &str| {
            value
                .get("metadata")
                .and_then(|m| m.get(name))
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let meta = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        let trimmed = |mut object: K| {
            object.trim();
            Box::new(object)
        };
        let (object, stand_in) = if K::STANDS_IN {
            match decode::read::<K>(&value) {
                Ok(object) => (Ok(object), None),
                Err(error) => (Err(error.to_string()), K::stand_in(&value, &error)),
            }
        } else {
            let object = serde_json::from_value::<K>(value);
            (object.map_err(|error| error.to_string()), None)
        };
        Ok(Self {
            meta,
            object: object.map(trimmed),
            stand_in: stand_in.map(trimmed),
        })
    }
}

/// What a feed reports.
pub enum Report<K> {
    /// Something changed.
    Changed(Change<K>),
    /// An object could not be decoded: which, and why.
    Malformed(Box<ObjectMeta>, String),
}

/// Watches until `stop` is cancelled.
pub async fn feed<K>(
    api: Api<Lenient<K>>,
    config: watcher::Config,
    store: Arc<Store<K>>,
    missing_retry: Duration,
    stop: CancellationToken,
    mut report: impl FnMut(Report<K>) + Send,
) where
    K: Kept,
    K::DynamicType: Clone + Send + Sync,
{
    let url = api.resource_url().to_owned();
    let mut stream = std::pin::pin!(watcher::watcher(api, config));
    let mut errors = 0_u32;
    loop {
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            event = stream.next() => event,
        };
        let wait = match event {
            None => return,
            Some(Ok(event)) => {
                if !matches!(event, Event::Init) {
                    errors = 0;
                }
                take(&store, event, &mut report);
                continue;
            }
            Some(Err(error)) if is_missing(&error) => {
                tracing::info!(%url, %error, again = ?missing_retry, "cannot watch this kind yet");
                missing_retry
            }
            Some(Err(error)) => {
                errors += 1;
                let wait = ERROR_WAIT
                    .saturating_mul(1 << errors.min(10))
                    .min(ERROR_WAIT_CAP);
                if errors > 1 {
                    tracing::warn!(%url, %error, "watch failed");
                } else {
                    tracing::debug!(%url, %error, "watch ended");
                }
                // The first error is most often an end of the connection: go on at once.
                if errors == 1 {
                    Duration::from_millis(5)
                } else {
                    wait
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn take<K>(store: &Store<K>, event: Event<Lenient<K>>, report: &mut impl FnMut(Report<K>))
where
    K: Kept,
{
    let mut decoded = |item: Lenient<K>| match item.object {
        Ok(object) => Some(*object),
        Err(error) => {
            let meta = item.meta;
            if let Some(stand_in) = item.stand_in {
                report(Report::Malformed(Box::new(meta), error));
                return Some(*stand_in);
            }
            // Its older form must not be acted on; it is not gone either.
            store.forget(&Key::new(
                meta.namespace.as_deref().unwrap_or_default(),
                meta.name.as_deref().unwrap_or_default(),
            ));
            report(Report::Malformed(Box::new(meta), error));
            None
        }
    };
    let change = match event {
        Event::Init => {
            store.begin_list();
            None
        }
        Event::InitApply(item) => decoded(item).and_then(|object| store.listed(object)),
        Event::Apply(item) => decoded(item).and_then(|object| store.apply(object)),
        // What cannot be decoded was forgotten before, unless something stands in for it.
        Event::Delete(item) => item
            .into_object()
            .ok()
            .and_then(|object| store.delete(&object)),
        Event::InitDone => {
            for change in store.end_list() {
                report(Report::Changed(change));
            }
            None
        }
    };
    if let Some(change) = change {
        report(Report::Changed(change));
    }
}

/// The kind is not served (404), or we may not watch it (403).
fn is_missing(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status,
        _ => return false,
    };
    matches!(status.code, 403 | 404)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use sluice_crds::ReplicaSet;

    /// OPS-10: one malformed object does not break the cache.
    #[test]
    fn a_malformed_object_is_reported_and_skipped() {
        let item = |name: &str, replicas: Value| -> Lenient<ReplicaSet> {
            serde_json::from_value(json!({
                "metadata": {
                    "name": name, "namespace": "ns", "resourceVersion": "5", "uid": name,
                    "managedFields": [{"manager": "x"}],
                    "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
                },
                "spec": {"replicas": replicas, "selector": {}},
            }))
            .unwrap()
        };
        let store = Store::default();
        let (mut changed, mut malformed) = (0, Vec::new());
        let mut report = |report: Report<ReplicaSet>| match report {
            Report::Changed(_) => changed += 1,
            Report::Malformed(meta, error) => malformed.push((meta.name, error)),
        };
        take(
            &store,
            Event::Apply(item("bad", json!("three"))),
            &mut report,
        );
        take(&store, Event::Apply(item("good", json!(3))), &mut report);
        assert_eq!((changed, malformed.len()), (1, 1));
        let good = store.get(&Key::new("ns", "good")).unwrap();
        assert_eq!(good.metadata.managed_fields, None);
        assert_eq!(good.metadata.annotations, Some(Default::default()));
    }
}
