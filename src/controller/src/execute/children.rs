//! AnalysisRuns and Experiments of a Rollout.

use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{
    AnalysisRun, Change, Experiment, FailedWrite, Key, Pass, Stop, Triggers, is_status, words,
};
use crate::cache::Store;
use crate::hub::Hub;

impl Pass<'_> {
    pub(super) async fn create_run(&mut self, run: &AnalysisRun) -> Result<(), Stop> {
        self.create_child(run, &self.ctx.cache.runs.clone()).await
    }

    pub(super) async fn create_experiment(&mut self, experiment: &Experiment) -> Result<(), Stop> {
        self.create_child(experiment, &self.ctx.cache.experiments.clone())
            .await
    }

    /// POST; on a name clash the object is read, so that the next decision sees it (INV-7).
    async fn create_child<K>(&mut self, child: &K, store: &Store<K>) -> Result<(), Stop>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
        Hub: Triggers<K>,
    {
        let api: Api<K> = self.api();
        let name = child.name_any();
        match api.create(&PostParams::default(), child).await {
            Ok(created) => {
                self.wrote = true;
                let now = store.observe_write(created);
                self.ctx
                    .hub
                    .changed(&Change::Applied { before: None, now }, self.actor());
                Ok(())
            }
            Err(error) if is_status(&error, 409) => match api.get_opt(&name).await {
                Ok(Some(found)) => {
                    let ours = self.is_ours(found.meta());
                    store.observe_write(found);
                    if ours {
                        return Err(Stop::Conflict);
                    }
                    self.take_name(&name);
                    Err(Stop::failed(FailedWrite::Other, &name, words(&error)))
                }
                Ok(None) => Err(Stop::Conflict),
                Err(error) => Err(Stop::from_error(FailedWrite::Other, &name, &error)),
            },
            Err(error) => Err(Stop::from_error(FailedWrite::Other, &name, &error)),
        }
    }

    pub(super) async fn terminate_run(&mut self, name: &str) -> Result<(), Stop> {
        self.terminate(name, &self.ctx.cache.runs.clone()).await
    }

    pub(super) async fn terminate_experiment(&mut self, name: &str) -> Result<(), Stop> {
        self.terminate(name, &self.ctx.cache.experiments.clone())
            .await
    }

    async fn terminate<K>(&mut self, name: &str, store: &Store<K>) -> Result<(), Stop>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + DeserializeOwned,
        Hub: Triggers<K>,
    {
        let api: Api<K> = self.api();
        let patch = json!({ "spec": { "terminate": true } });
        match api
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(object) => {
                self.wrote = true;
                let now = store.observe_write(object);
                self.ctx
                    .hub
                    .changed(&Change::Applied { before: None, now }, self.actor());
                Ok(())
            }
            Err(error) if is_status(&error, 404) => {
                store.observe_delete(&Key::new(self.key.namespace(), name));
                Ok(())
            }
            Err(error) => Err(Stop::from_error(FailedWrite::Other, name, &error)),
        }
    }

    pub(super) async fn delete_run(&mut self, name: &str) -> Result<(), Stop> {
        self.delete_child::<AnalysisRun>(name, &self.ctx.cache.runs.clone())
            .await
    }

    pub(super) async fn delete_experiment(&mut self, name: &str) -> Result<(), Stop> {
        self.delete_child::<Experiment>(name, &self.ctx.cache.experiments.clone())
            .await
    }

    async fn delete_child<K>(&mut self, name: &str, store: &Store<K>) -> Result<(), Stop>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api: Api<K> = self.api();
        match api.delete(name, &DeleteParams::background()).await {
            Err(error) if !is_status(&error, 404) => {
                Err(Stop::from_error(FailedWrite::Other, name, &error))
            }
            _ => {
                self.wrote = true;
                store.observe_delete(&Key::new(self.key.namespace(), name));
                Ok(())
            }
        }
    }
}
