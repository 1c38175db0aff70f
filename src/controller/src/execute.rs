//! Every write of a pass over a Rollout: the plan's actions in order, its status last.
//!
//! The executor chooses nothing. It stops at the first failure, so that nothing is built on a write
//! that did not happen; what failed is an observation of the next pass.

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use sluice_core::event::Event;
use sluice_core::observed::{FailedWrite, Failure, Observed};
use sluice_core::plan::{Action, Plan, Planned};
use sluice_crds::{Rollout, keys};

use crate::cache::{Change, Service, key_of, lite};
use crate::ctx::Ctx;
use crate::events::Regarding;
use crate::http::{is_fenced, is_status};
use crate::hub::{Actor, Triggers};
use crate::key::Key;
use crate::observe::Raw;
use crate::patch::guarded;
use children::Children;

pub mod children;
mod pods;
mod route;
pub mod status;

/// Why a pass ended before its plan did.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// Something was written by somebody else meanwhile: observe again.
    Conflict,
    /// This process does not lead any more.
    Fenced,
    /// A write failed.
    Failed {
        /// Which, and why.
        failure: Failure,
        /// Whether it may have arrived nevertheless.
        unsure: bool,
        /// Whether the same write may succeed later: overload, an error of the server, no answer.
        passing: bool,
    },
}

/// How far a pass came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Whether anything was written.
    pub wrote: bool,
    /// Why it ended early.
    pub stop: Option<Stop>,
}

/// The words of an error, as users know them.
#[must_use]
pub fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl Stop {
    /// What an error of a write means for the pass.
    #[must_use]
    pub fn from_error(what: FailedWrite, object: &str, error: &kube::Error) -> Self {
        if is_fenced(error) {
            return Self::Fenced;
        }
        if is_status(error, 409) {
            return Self::Conflict;
        }
        let failure = Failure {
            what,
            object: object.to_owned(),
            message: words(error),
        };
        let passing = match error {
            kube::Error::Api(status) => matches!(status.code, 429 | 500..),
            _ => true,
        };
        Self::Failed {
            failure,
            unsure: !matches!(error, kube::Error::Api(_)),
            passing,
        }
    }

    /// A failure in these words.
    #[must_use]
    pub fn failed(what: FailedWrite, object: &str, message: String) -> Self {
        Self::Failed {
            failure: Failure {
                what,
                object: object.to_owned(),
                message,
            },
            unsure: false,
            passing: false,
        }
    }

    /// A failure that passes by itself.
    #[must_use]
    pub fn passing(what: FailedWrite, object: &str, message: String) -> Self {
        Self::Failed {
            failure: Failure {
                what,
                object: object.to_owned(),
                message,
            },
            unsure: false,
            passing: true,
        }
    }
}

/// One pass under way.
struct Pass<'a> {
    ctx: &'a Ctx,
    seen: &'a Observed,
    raw: &'a Raw,
    children: Children<'a>,
    key: Key,
    regarding: Regarding,
    /// resourceVersion of the Rollout that the decision holds for, own writes of this pass included.
    version: String,
    wrote: bool,
}

/// Carries `plan` out.
pub async fn execute(ctx: &Ctx, seen: &Observed, raw: &Raw, plan: &Plan) -> Outcome {
    let key = key_of(seen.rollout.as_ref());
    let mut pass = Pass {
        ctx,
        seen,
        raw,
        children: Children {
            ctx,
            actor: Actor::Rollout(&key),
            namespace: key.namespace(),
            uid: seen.rollout.metadata.uid.as_deref().unwrap_or_default(),
            wrote: false,
            taken: Vec::new(),
        },
        key: key.clone(),
        regarding: Regarding::new(seen.rollout.as_ref()),
        version: seen.rollout.resource_version().unwrap_or_default(),
        wrote: false,
    };
    let stop = pass.run(plan).await.err();
    let taken = std::mem::take(&mut pass.children.taken);
    if !taken.is_empty() {
        ctx.memories.change(&pass.key, |memory| {
            memory
                .taken_names
                .extend(taken.into_iter().map(|(_, name)| name));
        });
    }
    Outcome {
        wrote: pass.wrote || pass.children.wrote,
        stop,
    }
}

impl Pass<'_> {
    async fn run(&mut self, plan: &Plan) -> Result<(), Stop> {
        let mut rest = plan.actions.as_slice();
        while let Some((planned, after)) = rest.split_first() {
            let pods = rest
                .iter()
                .take_while(|p| matches!(p.action, Action::PatchPod { .. }))
                .count();
            if pods > 1 {
                let (together, after) = rest.split_at(pods);
                self.pods(together).await?;
                rest = after;
                continue;
            }
            self.action(planned).await?;
            self.record(&planned.events);
            rest = after;
        }
        if let Some(status) = plan.status.as_deref() {
            self.status(status).await?;
        }
        self.record(&plan.events);
        Ok(())
    }

    fn record(&self, events: &[Event]) {
        for event in events {
            self.ctx.metrics.event(&self.key, event);
            self.ctx.events.record(&self.regarding, event.clone());
        }
    }

    fn actor(&self) -> Option<Actor<'_>> {
        Some(Actor::Rollout(&self.key))
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.ctx.client.clone(), self.key.namespace())
    }

    async fn action(&mut self, planned: &Planned) -> Result<(), Stop> {
        tracing::debug!(action = ?Brief(&planned.action), "write");
        let cache = &self.ctx.cache;
        let (runs, experiments) = (cache.runs.clone(), cache.experiments.clone());
        match &planned.action {
            Action::PatchRollout { patch } => self.patch_rollout(patch).await,
            Action::CreateReplicaSet(rs) => self.children.create_replica_set(rs).await,
            Action::AdoptReplicaSet { name, guard } => self.adopt(name, guard).await,
            Action::ReleaseReplicaSet { name, guard } => self.release(name, guard).await,
            Action::PatchReplicaSet { name, guard, patch } => {
                self.children.patch_replica_set(name, guard, patch).await
            }
            Action::DeleteReplicaSet { name } => self.children.delete_replica_set(name).await,
            Action::PatchService { name, patch } => self.patch_service(name, patch).await,
            Action::Route(want) => self.route(want).await,
            Action::CreateAnalysisRun(run) => self.children.create(run.as_ref(), &runs).await,
            Action::TerminateAnalysisRun { name } => self.children.terminate(name, &runs).await,
            Action::DeleteAnalysisRun { name } => self.children.delete(name, &runs).await,
            Action::CreateExperiment(experiment) => {
                self.children
                    .create(experiment.as_ref(), &experiments)
                    .await
            }
            Action::TerminateExperiment { name } => {
                self.children.terminate(name, &experiments).await
            }
            Action::DeleteExperiment { name } => self.children.delete(name, &experiments).await,
            Action::PatchPod { .. } => self.pods(std::slice::from_ref(planned)).await,
            Action::EvictPod { name } => self.evict(name).await,
            Action::ScaleWorkload { name, replicas } => self.scale_workload(name, *replicas).await,
        }
    }

    async fn patch_rollout(&mut self, patch: &Value) -> Result<(), Stop> {
        let body = guarded(patch.clone(), &self.version);
        let api: Api<Rollout> = self.api();
        let answer = api
            .patch(
                self.key.name(),
                &PatchParams::default(),
                &Patch::Merge(&body),
            )
            .await;
        let rollout = self.answer(FailedWrite::Other, answer).await?;
        self.saw_rollout(rollout);
        Ok(())
    }

    /// Our own write of the Rollout: what follows in this pass holds for its new version.
    fn saw_rollout(&mut self, rollout: Rollout) {
        self.wrote = true;
        self.version = rollout.resource_version().unwrap_or_default();
        self.ctx.cache.rollouts.observe_write(rollout);
    }

    /// An answer to a write of the Rollout itself.
    async fn answer(
        &self,
        what: FailedWrite,
        answer: kube::Result<Rollout>,
    ) -> Result<Rollout, Stop> {
        match answer {
            Ok(rollout) => Ok(rollout),
            Err(error) => {
                let stop = Stop::from_error(what, self.key.name(), &error);
                if stop == Stop::Conflict || is_status(&error, 404) {
                    // The next pass needs the version that won.
                    if let Err(error) = crate::observe::reread(self.ctx, &self.key).await {
                        tracing::debug!(%error, "cannot read the Rollout after a conflict");
                    }
                    return Err(Stop::Conflict);
                }
                Err(stop)
            }
        }
    }

    async fn adopt(&mut self, name: &str, guard: &str) -> Result<(), Stop> {
        // Only while the Rollout certainly exists (CTL-15).
        let live: Api<Rollout> = self.api();
        let rollout = &self.seen.rollout;
        match live.get_opt(self.key.name()).await {
            Ok(Some(found))
                if found.metadata.uid == rollout.metadata.uid
                    && found.metadata.deletion_timestamp.is_none() => {}
            Ok(_) => return Err(Stop::Conflict),
            Err(error) => return Err(Stop::from_error(FailedWrite::Other, name, &error)),
        }
        let mut owners = self.owners_of(name);
        owners.push(OwnerReference {
            api_version: keys::API_VERSION.to_owned(),
            kind: "Rollout".to_owned(),
            name: self.key.name().to_owned(),
            uid: rollout.metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        });
        let patch = json!({ "metadata": { "ownerReferences": owners } });
        self.children.patch_replica_set(name, guard, &patch).await
    }

    async fn release(&mut self, name: &str, guard: &str) -> Result<(), Stop> {
        let uid = self.seen.rollout.metadata.uid.clone().unwrap_or_default();
        let mut owners = self.owners_of(name);
        owners.retain(|owner| owner.uid != uid);
        let patch = json!({ "metadata": { "ownerReferences": owners } });
        self.children.patch_replica_set(name, guard, &patch).await
    }

    fn owners_of(&self, name: &str) -> Vec<OwnerReference> {
        let found = self
            .seen
            .replica_sets
            .iter()
            .find(|rs| rs.metadata.name.as_deref() == Some(name));
        found
            .and_then(|rs| rs.metadata.owner_references.clone())
            .unwrap_or_default()
    }

    async fn patch_service(&mut self, name: &str, patch: &Value) -> Result<(), Stop> {
        let api: Api<Service> = self.api();
        match api
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            Ok(service) => {
                self.wrote = true;
                let now = self.ctx.cache.services.observe_write(service);
                // Other Rollouts may name the same Service.
                self.ctx
                    .hub
                    .changed(&Change::Applied { before: None, now }, self.actor());
                Ok(())
            }
            Err(error) if is_status(&error, 404) => {
                self.ctx
                    .cache
                    .services
                    .observe_delete(&Key::new(self.key.namespace(), name));
                Err(Stop::Conflict)
            }
            Err(error) => Err(Stop::from_error(FailedWrite::Other, name, &error)),
        }
    }

    async fn scale_workload(&mut self, name: &str, replicas: i32) -> Result<(), Stop> {
        // The ClusterRole grants get and update, not patch (INS-4).
        let kind = kube::api::ApiResource::erase::<lite::Deployment>(&());
        let api: Api<kube::api::DynamicObject> =
            Api::namespaced_with(self.ctx.client.clone(), self.key.namespace(), &kind);
        let scaled = async {
            let Some(mut object) = api.get_opt(name).await? else {
                return Ok(false);
            };
            let now = object
                .data
                .pointer("/spec/replicas")
                .and_then(Value::as_i64);
            if now == Some(replicas.into()) {
                return Ok(false);
            }
            if let Some(spec) = object.data.get_mut("spec").and_then(Value::as_object_mut) {
                spec.insert("replicas".into(), replicas.into());
            }
            api.replace(name, &PostParams::default(), &object)
                .await
                .map(|_| true)
        };
        match scaled.await {
            Ok(wrote) => self.wrote |= wrote,
            Err(error) if is_fenced(&error) => return Err(Stop::Fenced),
            // Somebody else sized it meanwhile; the status must not say that this is done.
            Err(error) if is_status(&error, 409) => return Err(Stop::Conflict),
            Err(error) => tracing::warn!(workload = name, %error, "cannot scale the workload"),
        }
        Ok(())
    }
}

/// A short form of an action for logs.
struct Brief<'a>(&'a Action);

impl std::fmt::Debug for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Action::CreateReplicaSet(rs) => write!(f, "CreateReplicaSet {}", rs.name_any()),
            Action::CreateAnalysisRun(run) => write!(f, "CreateAnalysisRun {}", run.name_any()),
            Action::CreateExperiment(ex) => write!(f, "CreateExperiment {}", ex.name_any()),
            other => write!(f, "{other:?}"),
        }
    }
}
