//! What outlives an update: the delay of drained ReplicaSets (CTL-67), and how many old ReplicaSets,
//! runs and Experiments are kept (CTL-25, ANA-45, EXP-22).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::keys;

use crate::decide::pass::Pass;
use crate::decide::view::Deadline;
use crate::plan::Action;
use crate::why::{Reason, Why};

/// The size of a drained ReplicaSet: `keep` until its delay has passed, then 0. `kept` counts those
/// kept so far, the newest revision first.
pub(crate) fn delayed_size(
    pass: &mut Pass<'_, '_>,
    index: usize,
    keep: i32,
    kept: &mut i32,
) -> i32 {
    let spec = pass.ctx.spec();
    let delay = i64::from(spec.scale_down_delay_seconds());
    let full = spec
        .scale_down_delay_revision_limit()
        .is_some_and(|limit| *kept >= limit);
    let now = pass.now();
    let until = pass.in_seconds(delay);
    let Some(set) = pass.view.sets.get_mut(index) else {
        return 0;
    };
    if full {
        return 0;
    }
    let ends = match set.deadline_until(until) {
        Deadline::None if delay <= 0 => return 0, // no delay means at once (SE-4)
        Deadline::None => {
            set.set_deadline(until);
            until
        }
        Deadline::At(at) if now < at => at,
        Deadline::At(_) | Deadline::Unreadable => return 0,
    };
    *kept += 1;
    let object = set.reason_object();
    pass.wait(
        Why::new(
            Reason::ScaleDownDelay,
            object,
            "is kept for its scale-down delay",
        )
        .until(ends),
    );
    keep
}

/// Deletes ReplicaSets beyond `revisionHistoryLimit`, the oldest first; those that still have pods,
/// or whose state is not known yet, are left alone.
pub(crate) fn reconcile(pass: &mut Pass<'_, '_>) {
    let limit = usize::try_from(pass.ctx.spec().revision_history_limit()).unwrap_or(0);
    let mut old = pass.view.others();
    old.retain(|i| pass.set(*i).is_some_and(|set| !set.deleting));
    let excess = old.len().saturating_sub(limit);
    let mut names = Vec::new();
    let persisted = &pass.ctx.persisted;
    for set in old.into_iter().take(excess).filter_map(|i| pass.set(i)) {
        // What is stable on record stays so until the status says otherwise: a crash in between must
        // not leave a stable version without ReplicaSet (INV-4).
        if [&persisted.stable_rs, &persisted.current_pod_hash].contains(&&set.hash) {
            continue;
        }
        let idle = set.spec == 0 && set.current == 0 && set.settled && !set.fresh;
        if idle && !pass.view.touched.contains(&set.name) {
            names.push(set.name.clone());
        }
    }
    for name in names {
        pass.view.touched.insert(name.clone());
        pass.view.act(Action::DeleteReplicaSet { name });
    }
}

/// A run or an Experiment, as far as history limits look at it.
pub(crate) struct Child<'a> {
    pub(crate) meta: &'a ObjectMeta,
    pub(crate) phase: AnalysisPhase,
}

/// Names of children to delete: newest first they are kept up to the limits.
pub(crate) fn surplus(
    pass: &Pass<'_, '_>,
    mut children: Vec<Child<'_>>,
    current: &[String],
) -> Vec<String> {
    let spec = pass.ctx.spec();
    let mut good = spec.successful_run_history_limit();
    let mut bad = spec.unsuccessful_run_history_limit();
    let age = |child: &Child<'_>| child.meta.creation_timestamp.as_ref().map(|at| at.0);
    children.sort_by(|a, b| (age(b), &a.meta.name).cmp(&(age(a), &b.meta.name)));
    let mut names = Vec::new();
    for child in children {
        let name = child.meta.name.clone().unwrap_or_default();
        if current.contains(&name)
            || child.meta.deletion_timestamp.is_some()
            || pass.view.touched.contains(&format!("delete {name}"))
        {
            continue;
        }
        let hash = child
            .meta
            .labels
            .as_ref()
            .and_then(|labels| labels.get(keys::POD_TEMPLATE_HASH));
        let lives = hash.is_some_and(|hash| {
            pass.view.sets.iter().any(|set| {
                set.hash == *hash && !set.deleting && !pass.view.touched.contains(&set.name)
            })
        });
        let keep = lives
            && match child.phase {
                AnalysisPhase::Successful => take(&mut good),
                AnalysisPhase::Failed | AnalysisPhase::Error | AnalysisPhase::Inconclusive => {
                    take(&mut bad)
                }
                AnalysisPhase::Unset
                | AnalysisPhase::Pending
                | AnalysisPhase::Running
                | AnalysisPhase::Other(_) => true,
            };
        if !keep {
            names.push(name);
        }
    }
    names
}

fn take(left: &mut i32) -> bool {
    *left = left.saturating_sub(1);
    *left >= 0
}
