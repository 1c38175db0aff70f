//! Taking over from the referenced Deployment (CTL-146, API-30).

use sluice_crds::rollout::RolloutPhase;

use crate::conditions::{self, kind};
use crate::decide::pass::Pass;
use crate::observed::Workload;
use crate::plan::Action;

/// First revision that a Deployment hands over to.
const FIRST: &str = "1";

/// `onsuccess`: once the first revision is stable and healthy, the Deployment goes to 0.
pub(crate) fn on_success(pass: &mut Pass<'_, '_>) {
    if mode(pass) == "onsuccess" && healthy(pass) {
        scale(pass, 0);
    }
}

/// `progressively`: the Deployment shrinks as the first revision grows.
pub(crate) fn progressively(pass: &mut Pass<'_, '_>, new: usize, resized: bool) {
    if mode(pass) != "progressively" {
        return;
    }
    // The status may tell of pods that are gone, or are about to go.
    let sets = pass.view.sets.iter().map(|set| set.ready.min(set.spec));
    let there = sets.fold(0, i32::saturating_add);
    let ready = pass.read().ready_replicas.min(there);
    let shrunk = resized
        && pass
            .set(new)
            .is_some_and(|set| set.object.spec.replicas.unwrap_or(1) > set.spec);
    if healthy(pass) {
        scale(pass, 0);
    } else if ready > 0 || shrunk {
        scale(pass, pass.ctx.replicas.saturating_sub(ready).max(0));
    }
}

/// The Rollout is healthy for the first time, but not with its first revision: the Deployment goes
/// to 0 all the same, and stays as it is from then on (SE-26).
pub(crate) fn first_health(pass: &mut Pass<'_, '_>, phase: &RolloutPhase) {
    let late = *phase == RolloutPhase::Healthy && never_healthy(pass) && pass.revision() != FIRST;
    if late && matches!(mode(pass), "onsuccess" | "progressively") {
        scale(pass, 0);
    }
}

/// `scaleDown` of a Deployment that is still to be taken over from; empty otherwise.
fn mode<'a>(pass: &Pass<'_, 'a>) -> &'a str {
    let Some(reference) = &pass.ctx.spec().workload_ref else {
        return "";
    };
    let pending = pass.revision() == FIRST || never_healthy(pass);
    if pending && reference.kind == "Deployment" {
        &reference.scale_down
    } else {
        ""
    }
}

/// Health is only ever spoken of once it was reached.
fn never_healthy(pass: &Pass<'_, '_>) -> bool {
    !healthy(pass) && conditions::get(&pass.ctx.persisted.conditions, kind::HEALTHY).is_none()
}

fn healthy(pass: &Pass<'_, '_>) -> bool {
    pass.ctx.persisted.phase == RolloutPhase::Healthy
}

fn scale(pass: &mut Pass<'_, '_>, replicas: i32) {
    let (Workload::Found(found), Some(reference)) =
        (&pass.ctx.seen.workload, &pass.ctx.spec().workload_ref)
    else {
        return;
    };
    let key = format!("Deployment/{}", reference.name);
    if found.replicas.is_none_or(|now| now == replicas) || pass.view.touched.contains(&key) {
        return;
    }
    pass.view.touched.insert(key);
    pass.view.act(Action::ScaleWorkload {
        name: reference.name.clone(),
        replicas,
    });
}
