//! What the tree and the list draw, read from the cluster once or kept up to date by watches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::runtime::watcher;
use serde::de::DeserializeOwned;
use sluice_crds::{AnalysisRun, Experiment, ReplicaSet, Rollout};
use tokio::sync::watch;

use crate::client::Session;

/// Everything of one namespace that a tree is made of, by name.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// Rollouts.
    pub rollouts: BTreeMap<String, Arc<Rollout>>,
    /// ReplicaSets.
    pub replica_sets: BTreeMap<String, Arc<ReplicaSet>>,
    /// Pods.
    pub pods: BTreeMap<String, Arc<Pod>>,
    /// Experiments.
    pub experiments: BTreeMap<String, Arc<Experiment>>,
    /// AnalysisRuns.
    pub analysis_runs: BTreeMap<String, Arc<AnalysisRun>>,
}

async fn list<K>(session: &Session) -> Result<BTreeMap<String, Arc<K>>>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(session.client.clone(), &session.namespace);
    let found = api.list(&ListParams::default()).await?;
    Ok(found.items.into_iter().map(named).collect())
}

fn named<K: kube::Resource>(object: K) -> (String, Arc<K>) {
    (
        object.meta().name.clone().unwrap_or_default(),
        Arc::new(object),
    )
}

impl Objects {
    /// Reads all of it once.
    ///
    /// # Errors
    /// When one of the kinds may not be listed, or the cluster cannot be reached.
    pub async fn read(session: &Session) -> Result<Self> {
        let (rollouts, replica_sets, pods, experiments, analysis_runs) = futures::try_join!(
            list(session),
            list(session),
            list(session),
            list(session),
            list(session),
        )?;
        Ok(Self {
            rollouts,
            replica_sets,
            pods,
            experiments,
            analysis_runs,
        })
    }
}

/// Objects that follow the cluster.
pub struct Live {
    objects: Arc<Mutex<Objects>>,
    changed: watch::Receiver<u64>,
    failed: watch::Receiver<Option<String>>,
    tasks: tokio::task::JoinSet<()>,
}

impl Live {
    /// Starts watching; returns once everything has been seen.
    ///
    /// # Errors
    /// When one of the kinds may not be listed or watched: at once, instead of never.
    pub async fn start(session: &Session) -> Result<Self> {
        let objects = Arc::new(Mutex::new(Objects::read(session).await?));
        let (tell, changed) = watch::channel(0);
        let (fail, failed) = watch::channel(None);
        let mut live = Self {
            objects,
            changed,
            failed,
            tasks: tokio::task::JoinSet::new(),
        };
        live.follow::<Rollout>(session, &tell, &fail, |all| &mut all.rollouts);
        live.follow::<ReplicaSet>(session, &tell, &fail, |all| &mut all.replica_sets);
        live.follow::<Pod>(session, &tell, &fail, |all| &mut all.pods);
        live.follow::<Experiment>(session, &tell, &fail, |all| &mut all.experiments);
        live.follow::<AnalysisRun>(session, &tell, &fail, |all| &mut all.analysis_runs);
        Ok(live)
    }

    fn follow<K>(
        &mut self,
        session: &Session,
        tell: &watch::Sender<u64>,
        fail: &watch::Sender<Option<String>>,
        part: fn(&mut Objects) -> &mut BTreeMap<String, Arc<K>>,
    ) where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug
            + Send
            + Sync
            + 'static,
    {
        let api: Api<K> = Api::namespaced(session.client.clone(), &session.namespace);
        let (objects, tell, fail) = (Arc::clone(&self.objects), tell.clone(), fail.clone());
        self.tasks.spawn(async move {
            let mut events = std::pin::pin!(retrying(watcher(api, watcher::Config::default())));
            let mut fresh = BTreeMap::new();
            while let Some(event) = events.next().await {
                let event = match event {
                    Ok(event) => event,
                    Err(text) => {
                        let _ = fail.send(Some(text));
                        return;
                    }
                };
                {
                    let mut all = objects.lock().unwrap_or_else(PoisonError::into_inner);
                    let known = part(&mut all);
                    match event {
                        watcher::Event::Init => fresh.clear(),
                        watcher::Event::InitApply(object) => {
                            let (name, object) = named(object);
                            fresh.insert(name, object);
                        }
                        watcher::Event::InitDone => *known = std::mem::take(&mut fresh),
                        watcher::Event::Apply(object) => {
                            let (name, object) = named(object);
                            known.insert(name, object);
                        }
                        watcher::Event::Delete(object) => {
                            known.remove(&named(object).0);
                        }
                    }
                }
                tell.send_modify(|count| *count += 1);
            }
        });
    }

    /// A copy of what is known now.
    #[must_use]
    pub fn now(&self) -> Objects {
        self.objects
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns when something changed, but at the latest after `patience`.
    ///
    /// # Errors
    /// When a watch was refused for good.
    pub async fn change(&mut self, patience: Duration) -> Result<()> {
        let _ = tokio::time::timeout(patience, self.changed.changed()).await;
        match self.failed.borrow().as_ref() {
            Some(text) => Err(anyhow!("{text}")),
            None => Ok(()),
        }
    }
}

/// A broken watch is set up again after a second; one that is forbidden ends with its text.
fn retrying<K>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
) -> impl Stream<Item = Result<watcher::Event<K>, String>> {
    events.map_err(Some).filter_map(async |event| match event {
        Ok(event) => Some(Ok(event)),
        Err(Some(error)) if forbidden(&error) => Some(Err(error.to_string())),
        Err(_) => {
            tokio::time::sleep(Duration::from_secs(1)).await;
            None
        }
    })
}

fn forbidden(error: &watcher::Error) -> bool {
    let source = match error {
        watcher::Error::InitialListFailed(source) | watcher::Error::WatchStartFailed(source) => {
            source
        }
        watcher::Error::WatchError(status) => return status.code == 403 || status.code == 401,
        _ => return false,
    };
    matches!(source, kube::Error::Api(status) if status.code == 403 || status.code == 401)
}
