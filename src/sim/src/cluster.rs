//! The cluster as its users hold it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Duration;

use crate::clock::Clock;
use crate::error::ApiError;
use crate::faults::Faults;
use crate::json::text;
use crate::kinds::{Kind, KindId, Kinds};
use crate::object::{self, Object};
use crate::selector::{Filter, Selector};
use crate::service::{ApiService, RequestLog};
use crate::state::delete::DeleteOptions;
use crate::state::{Part, State, WriteOptions};
use crate::workload::Controllers;

/// How a cluster is made.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Seed of uids, generated names and fault dice.
    pub seed: u64,
    /// The clock; tokio time from the wall clock's present by default.
    pub clock: Clock,
    /// Changes kept per kind for watches and pages; older ones answer 410.
    pub log_limit: usize,
    /// Entries of the request log kept.
    pub request_log_limit: usize,
    /// Third-party kinds (`plural.group`) that are not installed, such as
    /// `virtualservices.networking.istio.io`.
    pub without_kinds: Vec<String>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            clock: Clock::tokio(),
            log_limit: 20_000,
            request_log_limit: 200_000,
            without_kinds: Vec::new(),
        }
    }
}

/// A Kubernetes cluster in memory; clones are handles on the same one.
#[derive(Debug, Clone)]
pub struct Cluster(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    controllers: Mutex<Controllers>,
    clock: Clock,
    faults: Faults,
    log: RequestLog,
    /// Told when there may be work for the controllers.
    work: Notify,
}

impl Cluster {
    /// An empty cluster: the usual namespaces, no nodes.
    pub fn new(options: ClusterOptions) -> Self {
        let kinds = Kinds::builtin(&options.without_kinds);
        let clock = options.clock;
        let state = State::new(kinds, options.seed, clock.now(), options.log_limit);
        Self(Arc::new(Inner {
            state: Mutex::new(state),
            controllers: Mutex::new(Controllers::default()),
            clock,
            faults: Faults::new(options.seed),
            log: RequestLog::new(options.request_log_limit),
            work: Notify::new(),
        }))
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// What goes wrong.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// What was asked, by whom, and how it was answered.
    pub fn requests(&self) -> &RequestLog {
        &self.0.log
    }

    /// A client without a network, default namespace `default`. Needs a tokio runtime.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.service(), "default")
    }

    /// As [`Cluster::client`], with a user agent, by which requests are counted and faults
    /// aimed.
    pub fn client_as(&self, user_agent: &str) -> kube::Client {
        kube::Client::new(self.service().with_user_agent(user_agent), "default")
    }

    /// The tower service behind the clients.
    pub fn service(&self) -> ApiService {
        ApiService::new(self.clone())
    }

    /// The state under lock, at the present time. Controllers hear of what was done with it.
    pub(crate) fn lock(&self) -> StateGuard<'_> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.now = self.0.clock.now();
        let revision = state.store.revision();
        StateGuard {
            state,
            revision,
            work: &self.0.work,
        }
    }

    /// The global revision: that of the last change.
    pub fn revision(&self) -> u64 {
        self.lock().store.revision()
    }

    /// Forgets the log of changes: older watches and pages get 410 Gone.
    pub fn compact(&self) {
        self.lock().store.compact();
    }

    /// An object, with its types; `api_version` as in manifests.
    pub fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let state = self.lock();
        let id = state.kinds.find_kind(api_version, kind)?;
        let found = state.store.get(id, namespace, name)?;
        Some(typed(state.kinds.get(id)?, found))
    }

    /// All objects of a kind, by namespace (all when empty) and label selector in query form.
    /// Unknown kinds and selectors that cannot be read give none.
    pub fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        selector: &str,
    ) -> Vec<Value> {
        let state = self.lock();
        let Some(id) = state.kinds.find_kind(api_version, kind) else {
            return Vec::new();
        };
        let Ok(labels) = Selector::parse(selector) else {
            return Vec::new();
        };
        let filter = Filter {
            namespace: namespace.to_owned(),
            labels,
            ..Filter::default()
        };
        let Some(kind) = state.kinds.get(id) else {
            return Vec::new();
        };
        state
            .store
            .select(id, &filter)
            .iter()
            .map(|o| typed(kind, o))
            .collect()
    }

    /// Creates an object, or replaces its content (status included, where given), without a
    /// request: no log, no faults. The namespace is made when missing.
    ///
    /// # Errors
    /// What a request would be refused for, conflicts aside.
    pub fn apply(&self, object: &Value) -> Result<Value, ApiError> {
        let mut state = self.lock();
        let (id, kind) = locate(&state, object)?;
        let mut namespace = String::new();
        if kind.namespaced {
            let given = object::namespace(object);
            namespace = if given.is_empty() {
                "default".to_owned()
            } else {
                given.to_owned()
            };
            let spaces = state.kinds.known.namespaces;
            if state.store.get(spaces, "", &namespace).is_none() {
                let space = serde_json::json!({"metadata": {"name": namespace}});
                state.create(spaces, "", space, &WriteOptions::default())?;
            }
        }
        let version = text(object, &["apiVersion"])
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let options = WriteOptions {
            version: version.to_owned(),
            ..WriteOptions::default()
        };
        let mut value = object.clone();
        crate::json::take(&mut value, &["metadata", "resourceVersion"]);
        let name = object::name(object).to_owned();
        let mut written = match state.store.get(id, &namespace, &name).cloned() {
            None => state.create(id, &namespace, value.clone(), &options)?,
            Some(old) => {
                crate::json::take(&mut value, &["metadata", "uid"]);
                state.replace_given(id, &old, value.clone(), &options)?
            }
        };
        if let Some(status) = value.get("status").filter(|_| kind.status) {
            let name = written.object.name().to_owned();
            let patch = serde_json::json!({"status": status});
            let patch = crate::patch::Patch::Merge(patch);
            written = state.patch(id, &namespace, &name, &patch, Part::Status, &options)?;
        }
        Ok(typed(&kind, &written.object))
    }

    /// Applies each document of a YAML text, as [`Cluster::apply`] does.
    ///
    /// # Errors
    /// 400 for text that is no YAML; else the first refusal.
    pub fn apply_yaml(&self, text: &str) -> Result<Vec<Value>, ApiError> {
        use serde::Deserialize;
        let mut applied = Vec::new();
        for document in serde_yaml_ng::Deserializer::from_str(text) {
            let value = Value::deserialize(document)
                .map_err(|e| ApiError::bad_request(format!("cannot read the YAML: {e}")))?;
            if !value.is_null() {
                applied.push(self.apply(&value)?);
            }
        }
        Ok(applied)
    }

    /// Installs our own CustomResourceDefinitions: from then on our kinds are pruned, defaulted
    /// and validated, and have their printer columns.
    ///
    /// # Errors
    /// A refusal, which would be a fault of the definitions.
    pub fn install_definitions(&self) -> Result<(), ApiError> {
        for (_, yaml) in sluice_crds::yaml::all() {
            self.apply_yaml(&yaml)?;
        }
        Ok(())
    }

    /// Merge-patches an object without a request: no log, no faults.
    ///
    /// # Errors
    /// What a request would be refused for.
    pub fn merge(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, ApiError> {
        let mut state = self.lock();
        let types = serde_json::json!({"apiVersion": api_version, "kind": kind});
        let (id, kind) = locate(&state, &types)?;
        let patch = crate::patch::Patch::Merge(patch.clone());
        let options = WriteOptions::default();
        let written = state.patch(id, namespace, name, &patch, Part::Main, &options)?;
        Ok(typed(&kind, &written.object))
    }

    /// Deletes an object without a request: no log, no faults; background propagation.
    ///
    /// # Errors
    /// 404.
    pub fn delete(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<(), ApiError> {
        let mut state = self.lock();
        let types = serde_json::json!({"apiVersion": api_version, "kind": kind});
        let (id, _) = locate(&state, &types)?;
        state.delete(id, namespace, name, &DeleteOptions::default())?;
        Ok(())
    }

    /// Lets the workload controllers work until nothing is left to do now; returns when they
    /// next have something to do.
    pub fn tick(&self) -> Option<Timestamp> {
        let mut controllers = self
            .0
            .controllers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.now = self.0.clock.now();
        controllers.run(&mut state)
    }

    /// Runs the workload controllers in the background, on tokio time, until the returned
    /// handle is dropped.
    pub fn start(&self) -> ControlPlane {
        let cluster = self.clone();
        ControlPlane(tokio::spawn(async move {
            loop {
                let work = cluster.0.work.notified();
                let wake = cluster.tick();
                let now = cluster.clock().now();
                let sleep = wake.map(|at| {
                    let left = at.duration_since(now);
                    Duration::try_from(left)
                        .unwrap_or_default()
                        .max(Duration::from_millis(1))
                });
                match sleep {
                    Some(sleep) => {
                        tokio::select! {
                            () = work => {}
                            () = tokio::time::sleep(sleep) => {}
                        }
                    }
                    None => work.await,
                }
            }
        }))
    }
}

/// The running workload controllers; they stop when this is dropped.
#[derive(Debug)]
pub struct ControlPlane(JoinHandle<()>);

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The locked state; tells the controllers when it is let go changed.
pub(crate) struct StateGuard<'a> {
    state: MutexGuard<'a, State>,
    revision: u64,
    work: &'a Notify,
}

impl std::ops::Deref for StateGuard<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl std::ops::DerefMut for StateGuard<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for StateGuard<'_> {
    fn drop(&mut self) {
        if self.state.store.revision() != self.revision {
            self.work.notify_one();
        }
    }
}

fn locate(state: &State, object: &Value) -> Result<(KindId, Arc<Kind>), ApiError> {
    let (api_version, kind) = (text(object, &["apiVersion"]), text(object, &["kind"]));
    let id = state.kinds.find_kind(api_version, kind).ok_or_else(|| {
        ApiError::new(
            404,
            "NotFound",
            format!("no kind {kind:?} in version {api_version:?}"),
        )
    })?;
    Ok((id, state.kind(id)?))
}

fn typed(kind: &Kind, object: &Object) -> Value {
    let mut value = object.value.clone();
    crate::json::put(
        &mut value,
        &["apiVersion"],
        kind.api_version(kind.version()),
    );
    crate::json::put(&mut value, &["kind"], kind.kind.clone());
    value
}
