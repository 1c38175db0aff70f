//! Passes over AnalysisRuns.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use sluice_core::analysis_run::{ObservedRun, RunPlan, decide_run};
use sluice_core::unreadable::children;
use sluice_crds::analysis::Metric;
use sluice_crds::{AnalysisRun, keys};
use tokio::time::Instant;

use crate::cache::Change;
use crate::ctx::Ctx;
use crate::events::Regarding;
use crate::execute::status::status_patch;
use crate::execute::words;
use crate::http::is_status;
use crate::hub::{Actor, Triggers};
use crate::key::Key;
use crate::metrics::Subject;
use crate::queue::Next;

/// Looks at one AnalysisRun and does what is to be done now.
pub async fn pass(ctx: Arc<Ctx>, key: Key) -> Next {
    let started = Instant::now();
    let next = look(&ctx, &key).await;
    if next != Next::Forget {
        let failed = matches!(next, Next::Retry(_));
        ctx.metrics
            .pass(Subject::AnalysisRun, &key, started.elapsed(), failed);
    }
    next
}

async fn look(ctx: &Ctx, key: &Key) -> Next {
    let Some(run) = ctx.cache.runs.get(key) else {
        ctx.measuring.forget(key);
        return Next::Forget;
    };
    if children::stands_in(&run.metadata) {
        ctx.measuring.forget(key);
        return super::unreadable::end(ctx, key, &ctx.cache.runs).await;
    }
    let uid = run.metadata.uid.clone().unwrap_or_default();
    let (results, in_flight) = ctx.measuring.of(key, &uid);
    let entered = results.len();
    let ended_jobs = ended_jobs(ctx, &run);
    let seen = ObservedRun {
        run,
        results,
        in_flight,
        ended_jobs,
    };
    let now = ctx.clock.now();
    let plan = decide_run(&seen, now);
    match execute(ctx, key, &seen.run, &plan, entered).await {
        Ok(()) => super::rest::<AnalysisRun>(ctx, key, now, plan.wake),
        Err(Next::Now) => Next::Now,
        Err(next) => next,
    }
}

/// Metrics whose open measurement is a Job that has ended (ASE-12).
fn ended_jobs(ctx: &Ctx, run: &AnalysisRun) -> BTreeSet<String> {
    let results = run.status.iter().flat_map(|status| &status.metric_results);
    let ended = results.filter(|result| {
        let open = result
            .measurements
            .last()
            .filter(|last| last.finished_at.is_none());
        open.is_some_and(|open| {
            let of = |key: &str| open.metadata.get(key).cloned().unwrap_or_default();
            let job = Key::new(
                of(keys::MEASUREMENT_JOB_NAMESPACE),
                of(keys::MEASUREMENT_JOB_NAME),
            );
            ctx.cache.jobs.get(&job).is_some_and(|job| job.is_over())
        })
    });
    ended.map(|result| result.name.clone()).collect()
}

async fn execute(
    ctx: &Ctx,
    key: &Key,
    run: &Arc<AnalysisRun>,
    plan: &RunPlan,
    entered: usize,
) -> Result<(), Next> {
    let api: Api<AnalysisRun> = Api::namespaced(ctx.client.clone(), key.namespace());
    if plan.delete {
        return delete(ctx, key, run, &api).await;
    }
    let mut run = run.clone();
    if let Some(want) = plan.status.as_deref() {
        let version = run.resource_version().unwrap_or_default();
        if let Some(patch) = status_patch(run.status.as_ref(), want, &version) {
            // Runs have no status subresource; only `status` is ever sent (SE-1).
            let patched = api
                .patch(key.name(), &PatchParams::default(), &Patch::Merge(&patch))
                .await;
            match patched {
                Ok(written) => {
                    let now = ctx.cache.runs.observe_write(written);
                    let change = Change::Applied {
                        before: Some(run.clone()),
                        now: now.clone(),
                    };
                    ctx.hub.changed(&change, Some(Actor::Run(key)));
                    run = now;
                }
                Err(error) if is_status(&error, 409) || is_status(&error, 404) => {
                    return Err(reread(ctx, key, &api).await);
                }
                Err(error) => return Err(Next::Retry(words(&error))),
            }
        }
    }
    ctx.measuring.entered(key, entered);
    ctx.measuring.cancel(key, &plan.cancel);
    for event in &plan.events {
        ctx.events
            .record(&Regarding::new(run.as_ref()), event.clone());
    }
    for task in &plan.tasks {
        ctx.measuring.begin(&ctx.client, key, &run, task.clone());
    }
    for garbage in &plan.garbage {
        if let Some(metric) = run.spec.metrics.get(garbage.index) {
            let name = garbage.metric.clone();
            let metric = Metric {
                name,
                ..metric.clone()
            };
            ctx.measuring.collect(run.clone(), metric, garbage.keep);
        }
    }
    if run.status.as_ref().is_some_and(|s| s.phase.completed()) {
        ctx.measuring.forget(key);
    }
    Ok(())
}

/// The next pass needs the version that won.
async fn reread(ctx: &Ctx, key: &Key, api: &Api<AnalysisRun>) -> Next {
    match api.get_opt(key.name()).await {
        Ok(Some(run)) => {
            ctx.cache.runs.observe_write(run);
            Next::Now
        }
        Ok(None) => {
            ctx.cache.runs.observe_delete(key);
            Next::Now
        }
        Err(error) => Next::Retry(words(&error)),
    }
}

async fn delete(
    ctx: &Ctx,
    key: &Key,
    run: &AnalysisRun,
    api: &Api<AnalysisRun>,
) -> Result<(), Next> {
    let preconditions = Preconditions {
        uid: run.uid(),
        resource_version: None,
    };
    let options = DeleteParams {
        preconditions: Some(preconditions),
        ..DeleteParams::background()
    };
    match api.delete(key.name(), &options).await {
        Err(error) if !is_status(&error, 404) && !is_status(&error, 409) => {
            Err(Next::Retry(words(&error)))
        }
        _ => {
            ctx.cache.runs.observe_delete(key);
            Err(Next::Forget)
        }
    }
}
