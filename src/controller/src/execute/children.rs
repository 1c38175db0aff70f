//! Objects that a Rollout or an Experiment controls: ReplicaSets, AnalysisRuns, Experiments.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};
use sluice_core::observed::FailedWrite;
use sluice_crds::ReplicaSet;

use super::{Stop, words};
use crate::cache::{Change, Kept, Store, controller_uid};
use crate::ctx::Ctx;
use crate::http::is_status;
use crate::hub::{Actor, Hub, Triggers};
use crate::key::Key;
use crate::patch::guarded;

/// Whether an object is about to go: it is being deleted, or its owner was an earlier object of this
/// kind and name, which is gone.
#[must_use]
pub fn left_behind(found: &ObjectMeta, (kind, name): &(&str, &str)) -> bool {
    let owners = found.owner_references.iter().flatten();
    found.deletion_timestamp.is_some() || { owners }
        .any(|owner| owner.controller == Some(true) && owner.kind == *kind && owner.name == *name)
}

/// Writes the children of one owner.
pub struct Children<'a> {
    /// What all passes share.
    pub ctx: &'a Ctx,
    /// Whose pass it is.
    pub actor: Actor<'a>,
    /// Namespace of the owner.
    pub namespace: &'a str,
    /// UID of the owner.
    pub uid: &'a str,
    /// Whether anything was written.
    pub wrote: bool,
    /// Kind and name of children that could not be created because somebody else's object has it.
    pub taken: Vec<(String, String)>,
}

impl Children<'_> {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.ctx.client.clone(), self.namespace)
    }

    fn key(&self, name: &str) -> Key {
        Key::new(self.namespace, name)
    }

    /// Our own write of a child: others may be concerned.
    fn saw<K: Kept>(&mut self, store: &Store<K>, object: K)
    where
        Hub: Triggers<K>,
    {
        self.wrote = true;
        let now = store.observe_write(object);
        self.ctx
            .hub
            .changed(&Change::Applied { before: None, now }, Some(self.actor));
    }

    /// POST; a name clash is an answer, not an overwrite (CTL-23).
    pub async fn create_replica_set(&mut self, rs: &ReplicaSet) -> Result<(), Stop> {
        let store = self.ctx.cache.replica_sets.clone();
        self.post(
            rs,
            &store,
            FailedWrite::CreateReplicaSet,
            FailedWrite::ReplicaSetNameTaken,
        )
        .await
    }

    /// POST of a run or Experiment; on a name clash the object is read, so that the next decision
    /// sees it (INV-7).
    pub async fn create<K>(&mut self, child: &K, store: &Store<K>) -> Result<(), Stop>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Kept + Serialize,
        Hub: Triggers<K>,
    {
        self.post(child, store, FailedWrite::Other, FailedWrite::Other)
            .await
    }

    async fn post<K>(
        &mut self,
        child: &K,
        store: &Store<K>,
        failed: FailedWrite,
        taken: FailedWrite,
    ) -> Result<(), Stop>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Kept + Serialize,
        Hub: Triggers<K>,
    {
        let api: Api<K> = self.api();
        let name = child.name_any();
        let error = match api.create(&PostParams::default(), child).await {
            Ok(created) => {
                self.saw(store, created);
                return Ok(());
            }
            Err(error) => error,
        };
        if !is_status(&error, 409) {
            return Err(Stop::from_error(failed, &name, &error));
        }
        // The cache may be behind: whose is it?
        match api.get_opt(&name).await {
            Ok(Some(found)) => {
                let ours = controller_uid(found.meta()) == Some(self.uid);
                let owner = child.meta().owner_references.iter().flatten();
                let owner = owner.map(|owner| (owner.kind.as_str(), owner.name.as_str()));
                let going = { owner }.any(|owner| left_behind(found.meta(), &owner));
                store.observe_write(found);
                if ours {
                    return Err(Stop::Conflict);
                }
                // Its place becomes free by itself. Rollouts have other names to take.
                if going && matches!(self.actor, Actor::Experiment(_)) {
                    return Err(Stop::passing(failed, &name, words(&error)));
                }
                self.taken.push((K::kind(&()).into_owned(), name.clone()));
                Err(Stop::failed(taken, &name, words(&error)))
            }
            Ok(None) => Err(Stop::Conflict),
            Err(error) => Err(Stop::from_error(failed, &name, &error)),
        }
    }

    /// Merge patch of a ReplicaSet, on the condition that it is still the version `guard`.
    pub async fn patch_replica_set(
        &mut self,
        name: &str,
        guard: &str,
        patch: &Value,
    ) -> Result<(), Stop> {
        let api: Api<ReplicaSet> = self.api();
        let body = guarded(patch.clone(), guard);
        match api
            .patch(name, &PatchParams::default(), &Patch::Merge(&body))
            .await
        {
            Ok(rs) => {
                let store = self.ctx.cache.replica_sets.clone();
                self.saw(&store, rs);
                Ok(())
            }
            Err(error) => Err(self.replica_set_failed(name, &error).await),
        }
    }

    /// After a conflict the next pass needs the version that won.
    async fn replica_set_failed(&self, name: &str, error: &kube::Error) -> Stop {
        let store = &self.ctx.cache.replica_sets;
        if is_status(error, 404) {
            store.observe_delete(&self.key(name));
            return Stop::Conflict;
        }
        let stop = Stop::from_error(FailedWrite::Other, name, error);
        if stop == Stop::Conflict {
            let api: Api<ReplicaSet> = self.api();
            match api.get_opt(name).await {
                Ok(Some(rs)) => drop(store.observe_write(rs)),
                Ok(None) => drop(store.observe_delete(&self.key(name))),
                Err(error) => tracing::debug!(%error, "cannot read a ReplicaSet after a conflict"),
            }
        }
        stop
    }

    /// DELETE of a ReplicaSet, on the condition that it is the one that was seen.
    pub async fn delete_replica_set(&mut self, name: &str) -> Result<(), Stop> {
        let key = self.key(name);
        let store = &self.ctx.cache.replica_sets;
        let preconditions = store.get(&key).map(|rs| Preconditions {
            uid: rs.metadata.uid.clone(),
            resource_version: rs.metadata.resource_version.clone(),
        });
        let options = DeleteParams {
            preconditions,
            ..DeleteParams::background()
        };
        let api: Api<ReplicaSet> = self.api();
        match api.delete(name, &options).await {
            Ok(_) => {
                self.wrote = true;
                store.observe_delete(&key);
                Ok(())
            }
            Err(error) if is_status(&error, 404) => {
                store.observe_delete(&key);
                Ok(())
            }
            Err(error) => Err(self.replica_set_failed(name, &error).await),
        }
    }

    /// Sets `spec.terminate` of a run or Experiment.
    pub async fn terminate<K>(&mut self, name: &str, store: &Store<K>) -> Result<(), Stop>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Kept,
        Hub: Triggers<K>,
    {
        let api: Api<K> = self.api();
        let patch = json!({ "spec": { "terminate": true } });
        match api
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(object) => {
                self.saw(store, object);
                Ok(())
            }
            Err(error) if is_status(&error, 404) => {
                store.observe_delete(&self.key(name));
                Ok(())
            }
            Err(error) => Err(Stop::from_error(FailedWrite::Other, name, &error)),
        }
    }

    /// DELETE of a run or Experiment.
    pub async fn delete<K>(&mut self, name: &str, store: &Store<K>) -> Result<(), Stop>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Kept,
    {
        let api: Api<K> = self.api();
        match api.delete(name, &DeleteParams::background()).await {
            Err(error) if !is_status(&error, 404) => {
                Err(Stop::from_error(FailedWrite::Other, name, &error))
            }
            _ => {
                self.wrote = true;
                store.observe_delete(&self.key(name));
                Ok(())
            }
        }
    }
}
