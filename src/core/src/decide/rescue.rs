//! An abort while the spec cannot be carried out (INV-10).
//!
//! A template, steps or a number that cannot be used say nothing about the two versions that run: the
//! ReplicaSets and weights on record tell how to get back to stable. So an abort is decided with the
//! version on record, and without what it does not need of the spec; what it cannot do without (the
//! strategy, its Services, its routes) has to be right. The refusal itself stays what it is.

use std::sync::Arc;

use jiff::Timestamp;
use sluice_crds::rollout::{RolloutDuration, RolloutSpec, RolloutStatus};
use sluice_crds::{ReplicaSet, Rollout, hash, keys, validate};

use super::context::Context;
use crate::conditions::{self, kind};
use crate::observed::{Observed, Workload};
use crate::phase;
use crate::plan::Plan;
use crate::why::{Reason, Why};

/// The plan for a Rollout that cannot be carried out (API-44); if it is being aborted, traffic goes
/// back to stable all the same, or it is said why not.
pub(super) fn refuse(seen: &Observed, error: &str, now: Timestamp) -> Plan {
    let mut plan = super::refuse(&seen.rollout, error, now);
    let rollout = &*seen.rollout;
    let Some(read) = rollout.status.as_ref().filter(|status| wanted(status)) else {
        return plan;
    };
    let mended = match mended(seen, read) {
        Ok(mended) => mended,
        Err(missing) => {
            plan.why.push(blocked(rollout, read, &missing));
            return plan;
        }
    };
    let mut ctx = match Context::new(&mended, now) {
        Ok(ctx) => ctx,
        Err(missing) => {
            plan.why.push(blocked(rollout, read, &missing));
            return plan;
        }
    };
    ctx.pinned = true;
    let back = super::carry_out(&ctx);
    let next = back.status.as_deref().unwrap_or(&ctx.persisted).clone();
    let mut next = refused(rollout, read, next, error, now);
    let mut ended = back.ended;
    let over = |duration: &RolloutDuration| duration.finished_at.is_some();
    if read.duration.as_ref().is_some_and(over) {
        // An attempt that is over is not begun anew by a spec that is refused (INV-8).
        next.duration.clone_from(&read.duration);
        ended = Vec::new();
    }
    Plan {
        actions: back.actions,
        status: (*read != next).then(|| Box::new(next)),
        events: back.events,
        wake: back.wake.into_iter().chain(plan.wake).min(),
        stuck_at: None,
        why: plan.why.into_iter().chain(back.why).collect(),
        ended,
    }
}

/// An abort of an update that has begun, and no later wish to promote it.
pub(crate) fn wanted(status: &RolloutStatus) -> bool {
    let promotes = status.promote_full && status.aborted_at.is_some();
    status.abort
        && !promotes
        && !status.stable_rs.is_empty()
        && !status.current_pod_hash.is_empty()
        && status.stable_rs != status.current_pod_hash
}

/// Why an abort has to wait, too.
pub(crate) fn blocked(rollout: &Rollout, read: &RolloutStatus, missing: &str) -> Why {
    let name = rollout.metadata.name.as_deref().unwrap_or_default();
    let message = format!("the abort cannot be carried out before this is corrected: {missing}");
    let mut why = Why::new(Reason::InvalidSpec, format!("Rollout/{name}"), message);
    why.since = read.aborted_at.map(|at| at.timestamp());
    why
}

/// The same world with a spec that says what the way back needs: the version on record, no steps, no
/// analyses, and usual numbers where those given cannot be used. `Err`: what is still wrong.
fn mended(seen: &Observed, read: &RolloutStatus) -> Result<Observed, String> {
    let current = &read.current_pod_hash;
    let sets = &seen.replica_sets;
    let set = sets.iter().find(|set| set.pod_hash() == Some(current));
    let set = set.ok_or_else(|| format!("there is no ReplicaSet of version {current}"))?;
    let mut rollout = (*seen.rollout).clone();
    let spec = &mut rollout.spec;
    spec.workload_ref = None;
    spec.template = set.spec.template.with(|template| {
        let labels = template
            .get_mut("metadata")
            .and_then(|m| m.get_mut("labels"));
        if let Some(labels) = labels.and_then(|labels| labels.as_object_mut()) {
            labels.remove(keys::POD_TEMPLATE_HASH);
        }
    });
    if spec.selector.is_none() {
        let mut selector = set.spec.selector.clone();
        selector.match_labels.remove(keys::POD_TEMPLATE_HASH);
        spec.selector = Some(selector);
    }
    spec.restart_at = None;
    spec.rollback_window = None;
    if let Some(canary) = &mut spec.strategy.canary {
        canary.steps.clear();
        canary.analysis = None;
    }
    if let Some(blue_green) = &mut spec.strategy.blue_green {
        blue_green.pre_promotion_analysis = None;
        blue_green.post_promotion_analysis = None;
    }
    let mut status = read.clone();
    conditions::remove(&mut status.conditions, kind::INVALID_SPEC);
    if rollout.spec.strategy.canary.is_some() {
        status.current_step_hash = hash::step_hash(&[]);
    }
    rollout.status = Some(status);
    usual_numbers(&mut rollout, &seen.replica_sets);
    if let Some(error) = validate::rollout(&rollout).into_iter().next() {
        return Err(error.to_string());
    }
    if let Some(error) = validate::references(&rollout, &seen.references)
        .into_iter()
        .next()
    {
        return Err(error.to_string());
    }
    let mut mended = seen.clone();
    mended.rollout = Arc::new(rollout);
    mended.workload = Workload::NotReferenced;
    Ok(mended)
}

/// Puts a usual number in the place of each that cannot be used, and the size that was last in force.
fn usual_numbers(rollout: &mut Rollout, sets: &[Arc<ReplicaSet>]) {
    let desired = sets.iter().filter_map(|set| {
        let desired = set.annotation(keys::DESIRED_REPLICAS)?;
        desired.parse::<i32>().ok()
    });
    let desired = desired.max();
    let fixes: [&dyn Fn(&mut RolloutSpec); 6] = [
        &|spec| spec.replicas = desired,
        &|spec| spec.min_ready_seconds = 0,
        &|spec| spec.progress_deadline_seconds = None,
        &|spec| spec.revision_history_limit = None,
        &|spec| {
            if let Some(canary) = &mut spec.strategy.canary {
                canary.max_surge = None;
                canary.max_unavailable = None;
            }
        },
        &|spec| {
            if let Some(canary) = &mut spec.strategy.canary {
                canary.scale_down_delay_seconds = None;
            }
            if let Some(blue_green) = &mut spec.strategy.blue_green {
                blue_green.scale_down_delay_revision_limit = None;
            }
        },
    ];
    let mut errors = validate::rollout(rollout).len();
    for fix in fixes {
        if errors == 0 {
            return;
        }
        let mut fixed = rollout.clone();
        fix(&mut fixed.spec);
        let left = validate::rollout(&fixed).len();
        if left < errors {
            *rollout = fixed;
            errors = left;
        }
    }
}

/// The status of the way back, as that of a Rollout whose spec is refused.
fn refused(
    rollout: &Rollout,
    read: &RolloutStatus,
    mut next: RolloutStatus,
    error: &str,
    now: Timestamp,
) -> RolloutStatus {
    let name = rollout.metadata.name.as_deref().unwrap_or_default();
    next.current_step_hash.clone_from(&read.current_step_hash);
    next.current_step_index = read.current_step_index.map(|_| 0);
    next.workload_observed_generation
        .clone_from(&read.workload_observed_generation);
    let told = conditions::get(&read.conditions, kind::INVALID_SPEC);
    next.conditions.extend(told.cloned());
    conditions::set_invalid_spec(&mut next.conditions, name, error, now);
    next.observed_generation = rollout.metadata.generation.unwrap_or_default().to_string();
    let view = phase::of(&rollout.spec, &next);
    next.phase = view.phase;
    next.message = view.message;
    next
}
