//! Passes over Experiments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use sluice_core::experiment::{
    ExperimentPlan, ObservedExperiment, OwnedService, Write, decide_experiment,
};
use sluice_core::observed::{FailedWrite, Seen};
use sluice_core::plan::Action;
use sluice_core::unreadable::children;
use sluice_crds::{AnalysisRun, Experiment, Rollout, keys};
use tokio::time::Instant;

use crate::cache::{Change, Dependent, Service, controller_uid};
use crate::ctx::Ctx;
use crate::events::Regarding;
use crate::execute::children::{Children, left_behind};
use crate::execute::status::status_patch;
use crate::execute::{Stop, words};
use crate::http::is_status;
use crate::hub::{Actor, Triggers};
use crate::key::Key;
use crate::metrics::Subject;
use crate::observe::TemplateReader;
use crate::queue::Next;

/// Looks at one Experiment and does what is to be done now.
pub async fn pass(ctx: Arc<Ctx>, key: Key) -> Next {
    let started = Instant::now();
    let next = look(&ctx, &key).await;
    if next != Next::Forget {
        let failed = matches!(next, Next::Retry(_));
        ctx.metrics
            .pass(Subject::Experiment, &key, started.elapsed(), failed);
    }
    next
}

async fn look(ctx: &Ctx, key: &Key) -> Next {
    let Some(experiment) = ctx.cache.experiments.get(key) else {
        ctx.experiment_memories.forget(key);
        return Next::Forget;
    };
    if experiment.metadata.deletion_timestamp.is_some() {
        return Next::Rest;
    }
    if children::stands_in(&experiment.metadata) {
        return super::unreadable::end(ctx, key, &ctx.cache.experiments).await;
    }
    let seen = observe(ctx, key, experiment).await;
    let now = ctx.clock.now();
    let plan = decide_experiment(&seen, now);
    for why in &plan.why {
        tracing::debug!(experiment = %key, object = why.object, until = ?why.until, "waits: {}", why.message);
    }
    let mut pass = Pass::new(ctx, key, &seen);
    let stop = pass.run(&plan).await.err();
    let wrote = pass.children.wrote;
    let taken = std::mem::take(&mut pass.children.taken);
    ctx.experiment_memories.change(key, |memory| {
        memory.refused.clear();
        memory
            .taken_names
            .extend(taken.iter().map(|(kind, name)| format!("{kind}/{name}")));
    });
    match stop {
        None if wrote => Next::Now,
        None => super::rest::<Experiment>(ctx, key, now, plan.wake),
        Some(Stop::Conflict) => Next::Now,
        Some(Stop::Fenced) => Next::Retry("not leading".to_owned()),
        Some(Stop::Failed {
            failure, passing, ..
        }) => {
            tracing::warn!(experiment = %key, object = failure.object, error = failure.message, "write failed");
            if !taken.is_empty() {
                return Next::Now;
            }
            if let Some(object) = pass.refused.filter(|_| !passing) {
                let message = failure.message.clone();
                ctx.experiment_memories.change(key, |memory| {
                    memory.refused.insert(object, message);
                });
            }
            Next::Retry(failure.message)
        }
    }
}

async fn observe(ctx: &Ctx, key: &Key, experiment: Arc<Experiment>) -> ObservedExperiment {
    let memory = ctx.experiment_memories.get(key);
    let uid = experiment.uid().unwrap_or_default();
    let mut looked_at = BTreeSet::new();
    let mut templates = TemplateReader::new(ctx, key.namespace(), &mut looked_at);
    for analysis in &experiment.spec.analyses {
        templates.read(
            &analysis.template_name,
            analysis.cluster_scope == Some(true),
        );
    }
    let templates = templates.done();
    ctx.hub
        .looked_at(&Dependent::Experiment(key.clone()), looked_at);
    ObservedExperiment {
        routed: routed(ctx, key, &experiment),
        replica_sets: ctx.cache.replica_sets.owned_by(&uid),
        services: ctx
            .cache
            .services
            .owned_by(&uid)
            .iter()
            .map(|s| owned_service(s))
            .collect(),
        analysis_runs: runs(ctx, key, &experiment, &uid).await,
        templates,
        taken_names: memory.taken_names,
        refused: memory.refused,
        settings: ctx.settings.clone(),
        experiment,
    }
}

/// The Rollout that owns the Experiment.
fn owner(ctx: &Ctx, key: &Key, experiment: &Experiment) -> Option<Arc<Rollout>> {
    let uid = controller_uid(&experiment.metadata)?;
    let owners = experiment.metadata.owner_references.as_ref()?;
    let owner = owners
        .iter()
        .find(|owner| owner.uid == uid && owner.kind == "Rollout")?;
    ctx.cache
        .rollouts
        .get(&Key::new(key.namespace(), owner.name.clone()))
}

/// Services to which that Rollout sends requests, as far as its status says.
fn routed(ctx: &Ctx, key: &Key, experiment: &Experiment) -> BTreeSet<String> {
    let owner = owner(ctx, key, experiment);
    let status = owner.as_ref().and_then(|rollout| rollout.status.as_ref());
    let weights = status.and_then(|status| status.canary.weights.as_ref());
    let additional = weights.iter().flat_map(|weights| &weights.additional);
    additional
        .filter(|destination| destination.weight > 0)
        .map(|destination| destination.service_name.clone())
        .collect()
}

fn owned_service(service: &Service) -> OwnedService {
    let annotations = service.metadata.annotations.as_ref();
    let template = annotations
        .and_then(|a| a.get(keys::EXPERIMENT_TEMPLATE))
        .cloned();
    OwnedService {
        name: service.metadata.name.clone().unwrap_or_default(),
        template: template.unwrap_or_default(),
    }
}

/// Runs of the Experiment, and those that status names; what the cache lacks is read live.
async fn runs(
    ctx: &Ctx,
    key: &Key,
    experiment: &Experiment,
    uid: &str,
) -> BTreeMap<String, Seen<Arc<AnalysisRun>>> {
    let mut found: BTreeMap<_, _> = ctx
        .cache
        .runs
        .owned_by(uid)
        .into_iter()
        .map(|run| (run.name_any(), Seen::Found(run)))
        .collect();
    let recorded = experiment
        .status
        .iter()
        .flat_map(|status| &status.analysis_runs);
    for name in recorded
        .map(|run| &run.analysis_run)
        .filter(|name| !name.is_empty())
    {
        if found.contains_key(name) {
            continue;
        }
        let api: Api<AnalysisRun> = Api::namespaced(ctx.client.clone(), key.namespace());
        let seen = match api.get_opt(name).await {
            Ok(Some(run)) => Seen::Found(ctx.cache.runs.observe_write(run)),
            Ok(None) => Seen::Absent,
            Err(error) => Seen::Unread(words(&error)),
        };
        found.insert(name.clone(), seen);
    }
    found
}

/// One pass under way.
struct Pass<'a> {
    ctx: &'a Ctx,
    key: &'a Key,
    seen: &'a ObservedExperiment,
    children: Children<'a>,
    regarding: Regarding,
    /// `Kind/name` of the write that the API server refused.
    refused: Option<String>,
}

impl<'a> Pass<'a> {
    fn new(ctx: &'a Ctx, key: &'a Key, seen: &'a ObservedExperiment) -> Self {
        let children = Children {
            ctx,
            actor: Actor::Experiment(key),
            namespace: key.namespace(),
            uid: seen.experiment.metadata.uid.as_deref().unwrap_or_default(),
            wrote: false,
            taken: Vec::new(),
        };
        let regarding = Regarding::new(seen.experiment.as_ref());
        Self {
            ctx,
            key,
            seen,
            children,
            regarding,
            refused: None,
        }
    }

    async fn run(&mut self, plan: &ExperimentPlan) -> Result<(), Stop> {
        for planned in &plan.actions {
            self.write(&planned.write).await?;
            for event in &planned.events {
                self.ctx.events.record(&self.regarding, event.clone());
            }
        }
        if let Some(want) = plan.status.as_deref() {
            let experiment = &self.seen.experiment;
            let version = experiment.resource_version().unwrap_or_default();
            if let Some(patch) = status_patch(experiment.status.as_ref(), want, &version) {
                self.status(&patch).await?;
            }
        }
        for event in &plan.events {
            self.ctx.events.record(&self.regarding, event.clone());
        }
        if let Some(owner) = owner(self.ctx, self.key, &self.seen.experiment) {
            let regarding = Regarding::new(owner.as_ref());
            let key = crate::cache::key_of(owner.as_ref());
            for event in &plan.owner_events {
                self.ctx.metrics.event(&key, event);
                self.ctx.events.record(&regarding, event.clone());
            }
        }
        Ok(())
    }

    async fn write(&mut self, write: &Write) -> Result<(), Stop> {
        let runs = self.ctx.cache.runs.clone();
        let (object, result) = match write {
            Write::Shared(Action::CreateReplicaSet(rs)) => (
                format!("ReplicaSet/{}", rs.name_any()),
                self.children.create_replica_set(rs).await,
            ),
            Write::Shared(Action::PatchReplicaSet { name, guard, patch }) => (
                format!("ReplicaSet/{name}"),
                self.children.patch_replica_set(name, guard, patch).await,
            ),
            Write::Shared(Action::CreateAnalysisRun(run)) => (
                format!("AnalysisRun/{}", run.name_any()),
                self.children.create(run.as_ref(), &runs).await,
            ),
            Write::Shared(Action::TerminateAnalysisRun { name }) => (
                format!("AnalysisRun/{name}"),
                self.children.terminate(name, &runs).await,
            ),
            Write::Shared(other) => {
                // Not among the writes of Experiments: nothing is done, and said so.
                tracing::error!(?other, "an Experiment cannot do this");
                return Ok(());
            }
            Write::CreateService(service) => {
                let name = service.pointer("/metadata/name").and_then(|n| n.as_str());
                let name = name.unwrap_or_default().to_owned();
                (
                    format!("Service/{name}"),
                    self.create_service(&name, service).await,
                )
            }
            Write::DeleteService { name } => {
                (format!("Service/{name}"), self.delete_service(name).await)
            }
        };
        if let Err(Stop::Failed { .. }) = &result {
            self.refused = Some(object);
        }
        result
    }

    fn service_api(&self) -> Api<DynamicObject> {
        let kind = kube::api::ApiResource::erase::<Service>(&());
        Api::namespaced_with(self.ctx.client.clone(), self.key.namespace(), &kind)
    }

    async fn create_service(
        &mut self,
        name: &str,
        service: &serde_json::Value,
    ) -> Result<(), Stop> {
        let api = self.service_api();
        let failed = |error: &kube::Error| Stop::from_error(FailedWrite::Other, name, error);
        let body: DynamicObject = serde_json::from_value(service.clone())
            .map_err(|error| failed(&kube::Error::SerdeError(error)))?;
        match api.create(&PostParams::default(), &body).await {
            Ok(created) => {
                self.children.wrote = true;
                self.saw_service(&created);
                Ok(())
            }
            Err(error) if is_status(&error, 409) => match api.get_opt(name).await {
                Ok(Some(found)) if controller_uid(&found.metadata) == Some(self.children.uid) => {
                    self.saw_service(&found);
                    Err(Stop::Conflict)
                }
                Ok(Some(found)) if self.becomes_free(&found.metadata) => {
                    Err(Stop::passing(FailedWrite::Other, name, words(&error)))
                }
                Ok(Some(_)) => {
                    self.children
                        .taken
                        .push(("Service".to_owned(), name.to_owned()));
                    Err(Stop::failed(FailedWrite::Other, name, words(&error)))
                }
                Ok(None) => Err(Stop::Conflict),
                Err(error) => Err(failed(&error)),
            },
            Err(error) => Err(failed(&error)),
        }
    }

    /// Whether a Service goes by itself: it was left behind, or belongs to an Experiment that is over,
    /// such as the one before a retry.
    fn becomes_free(&self, found: &ObjectMeta) -> bool {
        let over = |experiment: &Experiment| {
            let status = experiment.status.as_ref();
            experiment.spec.terminate || status.is_some_and(|status| status.phase.completed())
        };
        let owners = found.owner_references.iter().flatten();
        let mut experiments =
            owners.filter(|owner| owner.controller == Some(true) && owner.kind == "Experiment");
        left_behind(found, &("Experiment", self.key.name()))
            || experiments.any(|owner| {
                let key = Key::new(self.key.namespace(), owner.name.clone());
                let known = self.ctx.cache.experiments.get(&key);
                known.is_some_and(|experiment| over(&experiment))
            })
    }

    fn saw_service(&self, service: &DynamicObject) {
        let value = crate::observe::to_value(service);
        if let Ok(service) = serde_json::from_value::<Service>(value) {
            let now = self.ctx.cache.services.observe_write(service);
            let change = Change::Applied { before: None, now };
            self.ctx.hub.changed(&change, Some(self.children.actor));
        }
    }

    async fn delete_service(&mut self, name: &str) -> Result<(), Stop> {
        match self
            .service_api()
            .delete(name, &DeleteParams::background())
            .await
        {
            Err(error) if !is_status(&error, 404) => {
                Err(Stop::from_error(FailedWrite::Other, name, &error))
            }
            _ => {
                self.children.wrote = true;
                self.ctx
                    .cache
                    .services
                    .observe_delete(&Key::new(self.key.namespace(), name));
                Ok(())
            }
        }
    }

    /// Experiments have no status subresource; only `status` is ever sent (SE-1).
    async fn status(&mut self, patch: &serde_json::Value) -> Result<(), Stop> {
        let api: Api<Experiment> = Api::namespaced(self.ctx.client.clone(), self.key.namespace());
        let name = self.key.name();
        match api
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            Ok(written) => {
                self.children.wrote = true;
                let now = self.ctx.cache.experiments.observe_write(written);
                let before = Some(self.seen.experiment.clone());
                let change = Change::Applied { before, now };
                self.ctx.hub.changed(&change, Some(self.children.actor));
                Ok(())
            }
            Err(error) if is_status(&error, 409) || is_status(&error, 404) => {
                // The next pass needs the version that won.
                match api.get_opt(name).await {
                    Ok(Some(experiment)) => {
                        drop(self.ctx.cache.experiments.observe_write(experiment));
                    }
                    Ok(None) => drop(self.ctx.cache.experiments.observe_delete(self.key)),
                    Err(error) => tracing::debug!(%error, "cannot read the Experiment again"),
                }
                Err(Stop::Conflict)
            }
            Err(error) => Err(Stop::from_error(FailedWrite::Other, name, &error)),
        }
    }
}
