//! Every read of a pass over a Rollout: from the caches where they are complete, live otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde_json::Value;
use sluice_core::decide::needs_pods;
use sluice_core::observed::{Observed, Seen, Workload, WorkloadView};
use sluice_core::traffic::{Verification, Want};
use sluice_crds::{AnalysisRun, LabelSelector, ReplicaSet, Rollout, keys};
use sluice_trafficrouters::{Found, routers_for};

use crate::cache::{Dependent, ObjectId, key_of};
use crate::ctx::Ctx;
use crate::hub::{Actor, Triggers};
use crate::key::Key;

mod pods;
mod references;
mod routes;

pub use references::TemplateReader;
pub use routes::{api_resource, read_routes};

/// Answers beside the routers whether the data plane follows what they were last brought to (`None`:
/// not known since the start of this process): for simulations, which have a data plane of their own.
pub type Verify = Arc<dyn Fn(&Rollout, Option<&Want>) -> Verification + Send + Sync>;

/// What a pass works on beyond the observation: raw forms that are written as a whole.
#[derive(Debug, Default)]
pub struct Raw {
    /// Live pods by name, where they were read.
    pub pods: BTreeMap<String, kube::api::DynamicObject>,
}

/// Reads everything that a decision about `rollout` may look at.
pub async fn observe(ctx: &Ctx, rollout: Arc<Rollout>, now: Timestamp) -> (Observed, Raw) {
    let key = key_of(rollout.as_ref());
    let memory = ctx.memories.get(&key);
    let mut looked_at = BTreeSet::new();
    let workload = workload(ctx, &rollout, &mut looked_at).await;
    let selector = selector(&rollout, &workload);
    let routes = read_routes(ctx, &rollout, &mut looked_at).await;
    let mut seen = Observed {
        replica_sets: replica_sets(ctx, &rollout, &selector),
        services: services(ctx, &rollout, &mut looked_at),
        analysis_runs: runs(ctx, &rollout).await,
        experiments: ctx.cache.experiments.owned_by(uid(&rollout)),
        references: references::read(ctx, &rollout, &routes, &mut looked_at),
        subset_hashes: subset_hashes(&rollout, &routes),
        verification: verify(ctx, &rollout, memory.routed.as_deref(), &routes).await,
        pods: None,
        taken_names: memory.taken_names,
        failure: memory.failure,
        peaks: memory.peaks,
        settings: ctx.settings.clone(),
        workload,
        rollout,
    };
    ctx.hub.looked_at(&Dependent::Rollout(key), looked_at);
    let mut raw = Raw::default();
    if needs_pods(&seen.rollout, now) {
        match pods::read(ctx, &seen, &selector, now).await {
            Ok((views, objects)) => {
                seen.pods = Some(views);
                raw.pods = objects;
            }
            Err(error) => tracing::warn!(%error, "cannot list pods"),
        }
    }
    (seen, raw)
}

fn uid(rollout: &Rollout) -> &str {
    rollout.metadata.uid.as_deref().unwrap_or_default()
}

/// The selector in force: the Rollout's, else that of its workload.
fn selector(rollout: &Rollout, workload: &Workload) -> LabelSelector {
    match (&rollout.spec.selector, workload) {
        (Some(selector), _) => selector.clone(),
        (
            None,
            Workload::Found(WorkloadView {
                selector: Some(selector),
                ..
            }),
        ) => selector.clone(),
        (None, _) => LabelSelector::default(),
    }
}

/// ReplicaSets that the Rollout controls, and those it may adopt (CTL-15).
fn replica_sets(ctx: &Ctx, rollout: &Rollout, selector: &LabelSelector) -> Vec<Arc<ReplicaSet>> {
    let mut found = ctx.cache.replica_sets.owned_by(uid(rollout));
    if !selector.is_empty() {
        let namespace = rollout.namespace().unwrap_or_default();
        let orphans = ctx.cache.replica_sets.orphans(&namespace);
        found.extend(
            orphans
                .into_iter()
                .filter(|rs| selector.matches(rs.labels())),
        );
    }
    found
}

/// Every Service that the spec names.
fn services(
    ctx: &Ctx,
    rollout: &Rollout,
    looked_at: &mut BTreeSet<ObjectId>,
) -> BTreeMap<String, Seen<sluice_core::observed::ServiceView>> {
    let namespace = rollout.namespace().unwrap_or_default();
    let names = named_services(rollout);
    names
        .into_iter()
        .map(|name| {
            let key = Key::new(namespace.clone(), name);
            looked_at.insert(ObjectId::new("", "services", key.clone()));
            let view = ctx.cache.services.get(&key);
            (
                name.to_owned(),
                view.map_or(Seen::Absent, |service| Seen::Found(service.view())),
            )
        })
        .collect()
}

/// Names of the Services in the spec.
#[must_use]
pub fn named_services(rollout: &Rollout) -> BTreeSet<&str> {
    let strategy = &rollout.spec.strategy;
    let mut names = BTreeSet::new();
    if let Some(blue_green) = &strategy.blue_green {
        names.extend([
            blue_green.active_service.as_str(),
            blue_green.preview_service.as_str(),
        ]);
    }
    if let Some(canary) = &strategy.canary {
        names.extend([
            canary.canary_service.as_str(),
            canary.stable_service.as_str(),
        ]);
        if let Some(pair) = &canary.ping_pong {
            names.extend([pair.ping_service.as_str(), pair.pong_service.as_str()]);
        }
    }
    names.remove("");
    names
}

/// AnalysisRuns of the Rollout. One that status names and the cache lacks is read live: no verdict
/// comes from a cache alone (CTL-5).
async fn runs(ctx: &Ctx, rollout: &Rollout) -> Vec<Arc<AnalysisRun>> {
    let mut found = ctx.cache.runs.owned_by(uid(rollout));
    let namespace = rollout.namespace().unwrap_or_default();
    for name in recorded_runs(rollout) {
        if found
            .iter()
            .any(|run| run.metadata.name.as_deref() == Some(name))
        {
            continue;
        }
        let api: Api<AnalysisRun> = Api::namespaced(ctx.client.clone(), &namespace);
        match api.get_opt(name).await {
            Ok(Some(run)) => found.push(ctx.cache.runs.observe_write(run)),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, run = name, "cannot read the AnalysisRun"),
        }
    }
    found
}

/// Unfinished runs that status names.
fn recorded_runs(rollout: &Rollout) -> Vec<&str> {
    let Some(status) = &rollout.status else {
        return Vec::new();
    };
    let (canary, blue_green) = (&status.canary, &status.blue_green);
    let recorded = [
        &canary.current_step_analysis_run_status,
        &canary.current_background_analysis_run_status,
        &blue_green.pre_promotion_analysis_run_status,
        &blue_green.post_promotion_analysis_run_status,
    ];
    let open = recorded
        .into_iter()
        .flatten()
        .filter(|run| !run.status.completed());
    open.map(|run| run.name.as_str())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Hashes in the subsets of the DestinationRule; none without one.
fn subset_hashes(rollout: &Rollout, routes: &Found) -> Seen<BTreeSet<String>> {
    let canary = rollout.spec.strategy.canary.as_ref();
    let routing = canary.and_then(|canary| canary.traffic_routing.as_ref());
    match routing.and_then(|routing| routing.istio.as_ref()) {
        Some(istio) if istio.destination_rule.is_some() => {
            sluice_trafficrouters::subset_hashes(routes)
        }
        _ => Seen::Absent,
    }
}

/// What the routers say about the weights they were last given: the worst answer counts (TRF-13).
async fn verify(ctx: &Ctx, rollout: &Rollout, want: Option<&Want>, routes: &Found) -> Verification {
    let routers = routers_for(rollout, &ctx.routers).unwrap_or_default();
    let mut worst = match &ctx.verify {
        Some(verify) if !routers.is_empty() => verify(rollout, want),
        _ => Verification::NotSupported,
    };
    let Some(want) = want else {
        let recorded = rollout.status.as_ref();
        let recorded = recorded.and_then(|status| status.canary.weights.as_ref());
        return match worst {
            Verification::NotSupported => Verification::unasked(recorded),
            known => known,
        };
    };
    for router in routers {
        let answer = router.verify(want, routes).await;
        let rank = |answer: &Verification| match answer {
            Verification::NotSupported => 0,
            Verification::Verified => 1,
            Verification::NotVerified => 2,
            Verification::Failed(_) => 3,
        };
        if rank(&answer) > rank(&worst) {
            worst = answer;
        }
    }
    worst
}

/// What `spec.workloadRef` leads to (CTL-144).
async fn workload(ctx: &Ctx, rollout: &Rollout, looked_at: &mut BTreeSet<ObjectId>) -> Workload {
    let Some(reference) = &rollout.spec.workload_ref else {
        return Workload::NotReferenced;
    };
    if !rollout.spec.template.is_empty() {
        return Workload::Unusable("template must be empty for workload reference rollout".into());
    }
    let namespace = rollout.namespace().unwrap_or_default();
    let key = Key::new(namespace, reference.name.clone());
    let group = reference
        .api_version
        .split_once('/')
        .map_or("", |(group, _)| group);
    let cache = &ctx.cache;
    let mut depend = |plural: &str| {
        looked_at.insert(ObjectId::new(group, plural, key.clone()));
    };
    let (resource, found) = match (group, reference.kind.as_str()) {
        ("apps", "Deployment") => {
            depend("deployments");
            (
                "deployments.apps",
                view(cache.workload(&cache.deployments, &key).await, |w| w.view()),
            )
        }
        ("apps", "ReplicaSet") => {
            depend("replicasets");
            let found = cache.workload(&cache.foreign_replica_sets, &key).await;
            ("replicasets.apps", view(found, |w| w.view()))
        }
        ("", "PodTemplate") => {
            depend("podtemplates");
            (
                "podtemplates",
                view(cache.workload(&cache.pod_templates, &key).await, |w| {
                    w.view()
                }),
            )
        }
        (group, kind) => {
            return Workload::Unusable(format!("workload of type {group}/{kind} is not supported"));
        }
    };
    match found {
        Seen::Found(view) => Workload::Found(view),
        Seen::Absent => Workload::Unusable(format!("{resource} \"{key}\" not found")),
        Seen::Unread(error) => Workload::Unusable(error),
    }
}

fn view<K>(seen: Seen<Arc<K>>, view: impl FnOnce(&K) -> WorkloadView) -> Seen<WorkloadView> {
    match seen {
        Seen::Found(object) => Seen::Found(view(&object)),
        Seen::Absent => Seen::Absent,
        Seen::Unread(error) => Seen::Unread(error),
    }
}

/// Reads the Rollout live and puts it into the cache. `None`: it is gone.
///
/// # Errors
/// When it cannot be read.
pub async fn reread(ctx: &Ctx, key: &Key) -> kube::Result<Option<Arc<Rollout>>> {
    let api: Api<Rollout> = Api::namespaced(ctx.client.clone(), key.namespace());
    let Some(rollout) = api.get_opt(key.name()).await? else {
        if let Some(gone) = ctx.cache.rollouts.observe_delete(key) {
            ctx.hub.changed(
                &crate::cache::Change::Deleted(gone),
                Some(Actor::Rollout(key)),
            );
        }
        return Ok(None);
    };
    Ok(Some(ctx.cache.rollouts.observe_write(rollout)))
}

/// Reads the ReplicaSets of an observation live and puts them into the cache. `false`: one of them has
/// changed since.
///
/// # Errors
/// When one cannot be read.
pub async fn confirm(ctx: &Ctx, seen: &Observed) -> kube::Result<bool> {
    let mut same = true;
    for set in &seen.replica_sets {
        let key = key_of(set.as_ref());
        let api: Api<ReplicaSet> = Api::namespaced(ctx.client.clone(), key.namespace());
        match api.get_opt(key.name()).await? {
            Some(found) => {
                same &= found.resource_version() == set.resource_version();
                ctx.cache.replica_sets.observe_write(found);
            }
            None => {
                same = false;
                ctx.cache.replica_sets.observe_delete(&key);
            }
        }
    }
    Ok(same)
}

/// Query form of a selector; empty selects everything.
fn query(selector: &LabelSelector) -> ListParams {
    if selector.is_empty() {
        ListParams::default()
    } else {
        ListParams::default().labels(&selector.to_string())
    }
}

/// A label of the pod's controlling ReplicaSet.
#[must_use]
pub fn hash_label(labels: &BTreeMap<String, String>) -> Option<&str> {
    labels.get(keys::POD_TEMPLATE_HASH).map(String::as_str)
}

/// The JSON form of a dynamic object.
#[must_use]
pub fn to_value(object: &kube::api::DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}
