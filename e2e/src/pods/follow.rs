//! Served pods that follow the Pods of a cluster.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;

use super::{Behaviour, Pods};

/// How pods of an image answer. An image without an entry answers well, its tag being the version.
///
/// A handle, cheap to clone; changes count for pods already running at their next change, and at
/// once by [`Script::set`].
#[derive(Debug, Clone, Default)]
pub struct Script {
    images: Arc<Mutex<BTreeMap<String, Behaviour>>>,
    running: Arc<Mutex<BTreeMap<Ipv4Addr, String>>>,
}

impl Script {
    /// From now on pods of `image` answer so, running ones included.
    pub fn set(&self, pods: &Pods, image: &str, behaviour: Behaviour) {
        lock(&self.images).insert(image.to_owned(), behaviour.clone());
        for (ip, of) in lock(&self.running).iter() {
            if of == image
                && let Some(now) = pods.get(*ip)
            {
                pods.set(
                    *ip,
                    Behaviour {
                        ready: now.ready,
                        ..behaviour.clone()
                    },
                );
            }
        }
    }

    fn behaviour(&self, image: &str) -> Behaviour {
        let known = lock(&self.images).get(image).cloned();
        known.unwrap_or_else(|| Behaviour::good(tag(image)))
    }

    /// Takes over what a Pod says about itself.
    fn take(&self, pods: &Pods, pod: &Pod) {
        let Some(ip) = address(pod) else { return };
        match serving(pod) {
            Some(image) => {
                lock(&self.running).insert(ip, image.to_owned());
                pods.set(
                    ip,
                    Behaviour {
                        ready: is_ready(pod),
                        ..self.behaviour(image)
                    },
                );
            }
            None => self.drop_pod(pods, pod),
        }
    }

    fn drop_pod(&self, pods: &Pods, pod: &Pod) {
        if let Some(ip) = address(pod) {
            lock(&self.running).remove(&ip);
            pods.remove(ip);
        }
    }
}

/// Keeps `pods` as the cluster's Pods are, until cancelled: a running Pod is served, one that is
/// being deleted is served until it is gone.
pub async fn follow(client: Client, pods: Pods, script: Script, cancel: CancellationToken) {
    let api = Api::<Pod>::all(client);
    let mut events = watcher(api, watcher::Config::default())
        .default_backoff()
        .into_stream()
        .boxed();
    loop {
        let event = tokio::select! {
            () = cancel.cancelled() => return,
            event = events.try_next() => event,
        };
        match event {
            Ok(Some(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod))) => {
                script.take(&pods, &pod);
            }
            Ok(Some(watcher::Event::Delete(pod))) => script.drop_pod(&pods, &pod),
            Ok(Some(watcher::Event::Init | watcher::Event::InitDone)) => {}
            Ok(None) => return,
            Err(error) => tracing::debug!(%error, "watching Pods; trying again"),
        }
    }
}

/// The image of a Pod that has processes to answer with.
fn serving(pod: &Pod) -> Option<&str> {
    let phase = pod.status.as_ref()?.phase.as_deref()?;
    let image = pod.spec.as_ref()?.containers.first()?.image.as_deref()?;
    (phase == "Running").then_some(image)
}

fn address(pod: &Pod) -> Option<Ipv4Addr> {
    pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref());
    let ready = conditions
        .unwrap_or_default()
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    // Endpoints of a Pod being deleted are withdrawn, but proxies learn of it a little later: a
    // request in between is no mistake of anybody.
    ready || pod.metadata.deletion_timestamp.is_some()
}

fn tag(image: &str) -> &str {
    image.rsplit_once(':').map_or(image, |(_, tag)| tag)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(image: &str, phase: &str, ready: &str) -> Pod {
        let value: Value = json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "image": image}]},
            "status": {"phase": phase, "podIP": "10.200.0.9",
                       "conditions": [{"type": "Ready", "status": ready}]},
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn pods_come_change_and_go() {
        let (pods, script) = (Pods::default(), Script::default());
        let ip = Ipv4Addr::new(10, 200, 0, 9);
        script.take(&pods, &pod("web:v2", "Pending", "False"));
        assert_eq!(pods.get(ip), None, "not running yet");
        script.take(&pods, &pod("web:v2", "Running", "False"));
        assert_eq!(
            pods.get(ip),
            Some(Behaviour {
                ready: false,
                ..Behaviour::good("v2")
            })
        );
        script.take(&pods, &pod("web:v2", "Running", "True"));
        assert_eq!(pods.get(ip), Some(Behaviour::good("v2")));

        script.set(&pods, "web:v2", Behaviour::good("two").failing(0.3));
        assert_eq!(
            pods.get(ip),
            Some(Behaviour::good("two").failing(0.3)),
            "at once"
        );
        script.set(&pods, "web:v1", Behaviour::good("one"));
        assert_eq!(pods.get(ip).unwrap().version, "two", "other images only");

        script.take(&pods, &pod("web:v2", "Failed", "False"));
        assert_eq!(pods.get(ip), None);
    }
}
