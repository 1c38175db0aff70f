//! Taking over from the referenced Deployment (CTL-146, API-30).

use sluice_crds::rollout::RolloutPhase;

use crate::decide::pass::Pass;
use crate::observed::Workload;
use crate::plan::Action;

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
    let ready = pass.read().ready_replicas;
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

/// `scaleDown` of a Deployment that the first revision takes over from; empty otherwise.
fn mode<'a>(pass: &Pass<'_, 'a>) -> &'a str {
    let Some(reference) = &pass.ctx.spec().workload_ref else {
        return "";
    };
    let first = pass.revision() == "1";
    if first && reference.kind == "Deployment" {
        &reference.scale_down
    } else {
        ""
    }
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
