//! Watches a namespace with a client of its own and holds what happens against the invariants,
//! whatever the controller believes.
//!
//! Every change that the API server tells of is replayed in the order in which it was made: the
//! versions of objects come from one counter, whatever their kind. So each check sees the cluster as it
//! was at one moment, and knows which change broke what. News are left to lie for a moment first, so
//! that those of other kinds can arrive.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures::StreamExt;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::format::DataPlane;
use super::manifest;
use super::state::{is_ready, text};
use super::verification::Moved;

mod judge;
mod pods;
#[cfg(test)]
mod tests;
mod traffic;

use judge::Judge;

/// Kinds that are watched.
const KINDS: [&str; 9] = [
    "Rollout",
    "ReplicaSet",
    "Pod",
    "Service",
    "VirtualService",
    "DestinationRule",
    "Ingress",
    "AnalysisRun",
    "Experiment",
];

/// How long news lie before they are judged.
const SETTLE: Duration = Duration::from_millis(700);

/// One change of one object.
#[derive(Clone, Debug)]
struct Change {
    at: Instant,
    version: u64,
    kind: &'static str,
    name: String,
    /// Its last form, where it was deleted.
    object: Arc<Value>,
    gone: bool,
}

/// What has happened and is not judged yet.
#[derive(Clone, Default)]
struct Inbox {
    changes: Arc<Mutex<Vec<Change>>>,
    /// When something last changed that a data plane has to follow.
    moved: Moved,
}

/// The observer of one namespace; it watches until it is dropped.
pub struct Observer {
    inbox: Inbox,
    excused: Arc<Mutex<BTreeSet<String>>>,
    tasks: Vec<JoinHandle<()>>,
    judge: Judge,
    lagging: Option<Lagging>,
}

/// The same namespace as a data plane sees it that follows slowly.
struct Lagging {
    judge: Judge,
    routes: Duration,
    members: Duration,
    deregisters_first: bool,
    services: BTreeMap<String, Arc<Value>>,
    /// Changes that have not arrived there.
    on_the_way: VecDeque<Change>,
}

impl Observer {
    /// Watches a namespace.
    ///
    /// # Errors
    /// When the data plane's delays cannot be read.
    pub fn start(client: Client, namespace: &str, data_plane: &DataPlane) -> Result<Self> {
        let inbox = Inbox::default();
        let mut tasks = Vec::new();
        for kind in KINDS {
            let api =
                Api::namespaced_with(client.clone(), namespace, &manifest::resource_of(kind)?);
            tasks.push(tokio::spawn(watch(api, kind, inbox.clone())));
        }
        let (routes, members) = data_plane.delays()?;
        let seconds = |delay: i64| Duration::from_secs(u64::try_from(delay).unwrap_or(0));
        let lagging = (routes.max(members) > 0).then(|| Lagging {
            judge: Judge::of_requests(data_plane.verifies),
            routes: seconds(routes),
            members: seconds(members),
            deregisters_first: data_plane.deregisters_first,
            services: BTreeMap::new(),
            on_the_way: VecDeque::new(),
        });
        Ok(Self {
            inbox,
            excused: Arc::default(),
            tasks,
            judge: Judge::default(),
            lagging,
        })
    }

    /// When something last changed that a data plane has to follow.
    #[must_use]
    pub fn moved(&self) -> Moved {
        Arc::clone(&self.inbox.moved)
    }

    /// These pods are taken away by somebody else than the controller.
    pub fn excuse(&self, pods: &[String]) {
        let mut excused = self.excused.lock().unwrap_or_else(PoisonError::into_inner);
        excused.extend(pods.iter().cloned());
    }

    /// Waits for the news of what has happened, and says what of it broke an invariant.
    pub async fn violations(&mut self) -> Vec<String> {
        tokio::time::sleep(SETTLE).await;
        let mut changes = std::mem::take(&mut *self.inbox.lock());
        changes.sort_by_key(|change| change.version);
        let excused = self
            .excused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut found = Vec::new();
        for change in &changes {
            found.extend(self.judge.take(change, &excused));
        }
        if let Some(lagging) = &mut self.lagging {
            found.extend(lagging.take(changes, &excused));
        }
        found.dedup();
        found.truncate(20);
        found
    }
}

impl Lagging {
    fn take(&mut self, changes: Vec<Change>, excused: &BTreeSet<String>) -> Vec<String> {
        for mut change in changes {
            if let Some(left) = self.left_at_once(&change) {
                self.on_the_way.push_back(left);
            }
            change.at += match change.kind {
                "VirtualService" | "Ingress" => self.routes,
                "Service" | "DestinationRule" => self.members,
                // Who joins is registered late; who leaves is gone.
                "Pod" if is_ready(&change.object) && !change.gone => self.members,
                _ => Duration::ZERO,
            };
            self.on_the_way.push_back(change);
        }
        self.on_the_way
            .make_contiguous()
            .sort_by_key(|change| (change.at, change.version));
        let now = Instant::now();
        let mut found = Vec::new();
        while let Some(next) = self.on_the_way.pop_front() {
            if next.at + SETTLE > now {
                self.on_the_way.push_front(next);
                break;
            }
            let broken = self.judge.take(&next, excused).into_iter();
            found.extend(broken.map(|text| format!("{text} (data plane behind)")));
        }
        found
    }
}

impl Lagging {
    /// The Service as it is while some have left and others not yet joined.
    fn left_at_once(&mut self, change: &Change) -> Option<Change> {
        if change.kind != "Service" || !self.deregisters_first {
            return None;
        }
        let before = self
            .services
            .insert(change.name.clone(), Arc::clone(&change.object))?;
        let hash = "/spec/selector/rollouts-pod-template-hash";
        let (from, to) = (text(&before, hash), text(&change.object, hash));
        if from == to {
            return None;
        }
        let mut both = (*change.object).clone();
        let selector = both.pointer_mut("/spec/selector")?.as_object_mut()?;
        if !from.is_empty() {
            // Who has one hash has not the other.
            selector.insert("rollouts-pod-template-hash".into(), "none".into());
        }
        Some(Change {
            object: Arc::new(both),
            ..change.clone()
        })
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Puts what happens to the objects of a kind into the inbox.
async fn watch(api: Api<DynamicObject>, kind: &'static str, inbox: Inbox) {
    // A kind that is not served will not be.
    if let Err(kube::Error::Api(status)) = api.list(&ListParams::default().limit(1)).await
        && status.code == 404
    {
        return;
    }
    let mut known: BTreeMap<String, Arc<Value>> = BTreeMap::new();
    let mut listed = BTreeSet::new();
    let mut events = watcher(api, watcher::Config::default())
        .default_backoff()
        .boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(object)) => put(&inbox, &mut known, kind, &object, false),
            Ok(watcher::Event::InitApply(object)) => {
                listed.insert(object.metadata.name.clone().unwrap_or_default());
                put(&inbox, &mut known, kind, &object, false);
            }
            Ok(watcher::Event::Delete(object)) => put(&inbox, &mut known, kind, &object, true),
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitDone) => {
                // Deleted while the watch was broken; when exactly is not known.
                let gone: Vec<String> = known
                    .keys()
                    .filter(|name| !listed.contains(*name))
                    .cloned()
                    .collect();
                for name in gone {
                    if let Some(object) = known.remove(&name) {
                        push(&inbox, kind, &name, object, true);
                    }
                }
            }
            Err(error) => tracing::debug!(%error, kind, "the observer's watch"),
        }
    }
}

fn put(
    inbox: &Inbox,
    known: &mut BTreeMap<String, Arc<Value>>,
    kind: &'static str,
    object: &DynamicObject,
    gone: bool,
) {
    let name = object.metadata.name.clone().unwrap_or_default();
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        members.insert("kind".into(), kind.into());
    }
    let value = Arc::new(value);
    let before = if gone {
        known.remove(&name)
    } else {
        known.insert(name.clone(), Arc::clone(&value))
    };
    let spec = |one: &Value| one.get("spec").cloned();
    let moves = match kind {
        "Pod" => is_ready(&value) && !before.as_deref().is_some_and(is_ready),
        "Service" | "VirtualService" | "DestinationRule" => {
            before.as_deref().and_then(spec) != spec(&value)
        }
        "Ingress" => true,
        _ => false,
    };
    if moves {
        let mut moved = inbox.moved.lock().unwrap_or_else(PoisonError::into_inner);
        *moved = Some(Instant::now());
    }
    push(inbox, kind, &name, value, gone);
}

fn push(inbox: &Inbox, kind: &'static str, name: &str, object: Arc<Value>, gone: bool) {
    let version = text(&object, "/metadata/resourceVersion");
    let change = Change {
        at: Instant::now(),
        version: version.parse().unwrap_or(0),
        kind,
        name: name.to_owned(),
        object,
        gone,
    };
    inbox.lock().push(change);
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Vec<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
