//! The blue-green strategy (CTL-12, CTL-110..122).

use sluice_crds::rollout::PauseReason;

use crate::analysis::{self, Kind};
use crate::decide::pass::{Flow, Pass, later};
use crate::decide::view::Set;
use crate::event::Event;
use crate::pause::just_after;
use crate::rollout_status as status;
use crate::services;
use crate::why::{Reason, Why};
use crate::{abort, history, metadata, pause, restart, revision, workload};

/// One pass.
pub(crate) fn pass(pass: &mut Pass<'_, '_>) -> Flow {
    let Some(spec) = pass.ctx.blue_green() else {
        return Flow::Stop;
    };
    pass.pauses.remove(PauseReason::CanaryPauseStep); // of a strategy that was edited away
    let new = pass.new_hash().to_owned();
    if !pass.halted() && pass.view.new.is_some() {
        services::point(pass, &spec.preview_service, &new); // at once, ready or not (CTL-118)
    }
    let current = &pass.read().current_pod_hash;
    if !current.is_empty() && *current != new {
        return reset(pass);
    }
    if restart::reconcile(pass) {
        pass.stop = true; // one disruption at a time (SE-17)
        return Flow::Stop;
    }
    resize(pass);
    history::reconcile(pass);
    pause_pass(pass);
    switch_active(pass);
    analysis::reconcile_blue_green(pass);
    metadata::reconcile(pass);
    conclude(pass)
}

/// A scaling event: sizes follow `spec.replicas` and nothing else happens (CTL-10).
pub(crate) fn scale(pass: &mut Pass<'_, '_>) -> Flow {
    resize(pass);
    status::refresh_counters(pass)
}

/// Hash that the active Service selects; empty for none.
pub(crate) fn active_hash(pass: &Pass<'_, '_>) -> String {
    let service = pass
        .ctx
        .blue_green()
        .and_then(|spec| pass.view.services.get(&spec.active_service));
    service
        .map(|service| service.pod_hash().to_owned())
        .unwrap_or_default()
}

fn reset(pass: &mut Pass<'_, '_>) -> Flow {
    status::base(pass);
    selectors(pass);
    pass.pauses.clear();
    pass.forget_abort = !pass.unheard_abort();
    pass.next.restarted_at = pass.ctx.spec().restart_at;
    pass.next.promote_full = false;
    status::finish(pass)
}

fn selectors(pass: &mut Pass<'_, '_>) {
    let Some(spec) = pass.ctx.blue_green() else {
        return;
    };
    let hash_of = |name: &str| {
        let service = pass.view.services.get(name);
        service
            .map(|service| service.pod_hash().to_owned())
            .unwrap_or_default()
    };
    let (active, preview) = (
        hash_of(&spec.active_service),
        hash_of(&spec.preview_service),
    );
    pass.next.blue_green.active_selector = active;
    pass.next.blue_green.preview_selector = preview;
}

/// Sizes; several may change in one pass (CTL-110).
fn resize(pass: &mut Pass<'_, '_>) {
    let (new, stable) = (pass.view.new, pass.view.stable());
    let replicas = pass.ctx.replicas;
    let holds = abort::holds(pass);
    for index in [stable, new.filter(|_| !holds)].into_iter().flatten() {
        if let Some(set) = pass.view.sets.get_mut(index) {
            set.strip_deadline();
        }
    }
    if let Some(index) = stable.filter(|index| Some(*index) != new) {
        pass.resize(index, replicas);
    }
    if let Some(index) = new {
        let resized = if holds {
            abort::hold(pass, index)
        } else {
            let to = new_count(pass);
            let to = pass.keep_available(index, to);
            pass.resize(index, to)
        };
        workload::progressively(pass, index, resized);
    }
    release_others(pass);
}

/// Size of the new ReplicaSet (CTL-111).
fn new_count(pass: &Pass<'_, '_>) -> i32 {
    let replicas = pass.ctx.replicas;
    let Some(preview) = pass
        .ctx
        .blue_green()
        .and_then(|spec| spec.preview_replica_count)
    else {
        return replicas;
    };
    let read = pass.read();
    let active = active_hash(pass);
    let other_active = pass
        .view
        .sets
        .iter()
        .any(|set| !active.is_empty() && set.hash == active)
        && active != pass.new_hash();
    let fresh = pass.new_hash() != read.current_pod_hash;
    // Where nothing has to be proven there is no preview to pass first.
    let fast = read.promote_full || revision::fast_rollback(pass.ctx, pass.view);
    if !other_active || fast {
        return replicas;
    }
    if !fresh && read.pause_conditions.is_empty() && read.blue_green.scale_up_preview_check_point {
        return replicas;
    }
    preview
}

fn release_others(pass: &mut Pass<'_, '_>) {
    let Some(spec) = pass.ctx.blue_green() else {
        return;
    };
    if pass.paused_for(&PauseReason::InconclusiveAnalysisRun) {
        return;
    }
    let mut others = pass.view.others();
    others.retain(|i| pass.set(*i).is_some_and(|set| set.spec > 0));
    let proving = spec.post_promotion_analysis.is_some()
        && spec.scale_down_delay_seconds.is_none()
        && !pass.promoted()
        && !pass.aborted()
        && !pass.read().promote_full
        && !revision::fast_rollback(pass.ctx, pass.view)
        && !analysis::promotion_passed(pass, Kind::PostPromotion);
    if others.is_empty() || proving {
        return;
    }
    others.sort_by_key(|i| std::cmp::Reverse(pass.set(*i).map_or(0, Set::revision)));
    let replicas = pass.ctx.replicas;
    let mut kept = 0;
    for index in others {
        let referenced = pass
            .set(index)
            .is_none_or(|set| services::referenced(pass.ctx, pass.view, set));
        if !referenced {
            let to = history::delayed_size(pass, index, replicas, &mut kept);
            let to = pass.keep_available(index, to);
            pass.resize(index, to);
        }
    }
}

/// New has the pods it should have by now (CTL-113).
pub(crate) fn ready(pass: &Pass<'_, '_>) -> bool {
    let count = new_count(pass);
    pass.new_set()
        .is_some_and(|set| set.spec >= count && set.serving() >= count)
}

/// Nothing has to be waited for (CTL-114). An active Service that lost its hash while a stable
/// version is known is no reason to hurry (SE-7).
fn fast_tracked(pass: &Pass<'_, '_>) -> bool {
    let active = active_hash(pass);
    let unset = active.is_empty() && pass.view.stable().is_none();
    revision::fast_rollback(pass.ctx, pass.view)
        || pass.read().promote_full
        || unset
        || active == pass.new_hash()
}

fn auto_promotion(pass: &Pass<'_, '_>) -> (bool, i64) {
    pass.ctx.blue_green().map_or((true, 0), |spec| {
        (
            spec.auto_promotion_enabled.unwrap_or(true),
            i64::from(spec.auto_promotion_seconds),
        )
    })
}

/// The pause before the switch is over (CTL-115).
fn pause_over(pass: &Pass<'_, '_>) -> bool {
    let read = pass.read();
    if pass.pauses.has_added() {
        return false;
    }
    if read.blue_green.scale_up_preview_check_point {
        return true;
    }
    let since = pause::since(read, &PauseReason::BlueGreenPause);
    match auto_promotion(pass) {
        (true, seconds) if seconds <= 0 => true,
        (true, seconds) => match since {
            Some(since) => pass.now() > later(since.timestamp(), seconds),
            None => pause::resumed(read),
        },
        (false, _) => pause::resumed(read),
    }
}

/// CTL-116
fn pause_pass(pass: &mut Pass<'_, '_>) {
    if pass.aborted() || pass.halted() {
        if pass.halted() {
            let why = pause::halt(pass);
            pass.wait(why);
        }
        return;
    }
    if !ready(pass) {
        explain_pods(pass);
        return;
    }
    let (auto, seconds) = auto_promotion(pass);
    let needed = !auto || seconds > 0;
    let read = pass.read();
    if fast_tracked(pass) || read.blue_green.scale_up_preview_check_point || !needed {
        pass.pauses.remove(PauseReason::BlueGreenPause);
        return;
    }
    if !analysis::promotion_passed(pass, Kind::PrePromotion) {
        return;
    }
    match pause::since(read, &PauseReason::BlueGreenPause) {
        Some(_) if pause_over(pass) => pass.pauses.remove(PauseReason::BlueGreenPause),
        Some(since) if auto => {
            let until = just_after(later(since.timestamp(), seconds));
            let why = Why::new(
                Reason::Paused,
                pass.ctx.me(),
                format!(
                    "the new version is ready, the active service switches after \
                     autoPromotionSeconds ({seconds} s)"
                ),
            );
            pass.wait(why.since(since.timestamp()).until(until).command("promote"));
        }
        Some(since) => {
            let message = "the new version is ready, the active service switches when promoted";
            let why = Why::new(Reason::NeedsPromotion, pass.ctx.me(), message);
            pass.wait(why.since(since.timestamp()).command("promote"));
        }
        None if pause::resumed(read) => {} // the user has just resumed
        None => pass.pauses.add(PauseReason::BlueGreenPause),
    }
}

fn explain_pods(pass: &mut Pass<'_, '_>) {
    let count = new_count(pass);
    let available = pass.new_set().map_or(0, Set::serving);
    let message = if pass.promoted() {
        format!("not all pods are available: {available} of {count}")
    } else {
        format!("the new version needs all its pods: {available} of {count} available")
    };
    let new = pass.view.new;
    pass.wait_for_pods(new, message);
}

/// Switches the active Service (CTL-117).
fn switch_active(pass: &mut Pass<'_, '_>) {
    let Some(spec) = pass.ctx.blue_green() else {
        return;
    };
    let new = pass.new_hash().to_owned();
    let active = active_hash(pass);
    if pass.aborted() && !pass.promoted() {
        return back_to_stable(pass, &spec.active_service, &active);
    }
    let adopts = active.is_empty() && pass.view.stable().is_some();
    if adopts && pass.view.stable() != pass.view.new {
        back_to_stable(pass, &spec.active_service, &active);
        if !active_hash(pass).is_empty() {
            return;
        }
    }
    let replicas = pass.ctx.replicas;
    let saturated = pass.new_set().is_some_and(|set| set.saturated(replicas));
    if pass.halted() || !ready(pass) || !saturated {
        return;
    }
    let due = fast_tracked(pass)
        || (pause_over(pass) && analysis::promotion_passed(pass, Kind::PrePromotion));
    let target = if due { new } else { active };
    services::point(pass, &spec.active_service, &target);
}

/// Back to stable as soon as that can serve, whatever the new version looks like (SE-5, INV-10).
fn back_to_stable(pass: &mut Pass<'_, '_>, service: &str, active: &str) {
    let Some(stable) = pass.stable_set() else {
        return;
    };
    let (hash, count) = (stable.hash.clone(), stable.count());
    let behind = pass.available_of(active).unwrap_or(0);
    // Without a hash it selects the pods of all versions.
    let loses = active.is_empty() && services::loses_capacity(pass, stable);
    let enough = count.available.saturating_add(pass.ctx.fences.unavailable) >= pass.ctx.replicas
        || (count.available >= behind && !loses);
    // Scaled to zero there is nothing to wait for.
    if active == hash || pass.ctx.replicas == 0 || (count.available > 0 && enough) {
        return services::point(pass, service, &hash);
    }
    let stable = pass.view.stable();
    let message = format!("Service {service} goes back once stable has available pods");
    pass.wait_for_pods(stable, message);
}

/// Why the new version may become stable in this pass (CTL-120).
fn promotion(pass: &Pass<'_, '_>) -> Option<&'static str> {
    let read = pass.read();
    pass.view.new?;
    if pass.view.stable().is_none() {
        return Some("Initial deploy");
    }
    if active_hash(pass) != pass.new_hash() || pass.aborted() {
        return None;
    }
    if read.promote_full {
        return Some("Full promotion requested");
    }
    if revision::within_window(pass.ctx, pass.view) {
        return Some("Rollback within window");
    }
    if revision::fast_rollback(pass.ctx, pass.view) {
        return Some("Fast rollback");
    }
    if !analysis::promotion_passed(pass, Kind::PostPromotion) {
        return None;
    }
    Some("Completed blue-green update")
}

fn conclude(pass: &mut Pass<'_, '_>) -> Flow {
    status::base(pass);
    selectors(pass);
    let skips = pass.read().promote_full || revision::within_window(pass.ctx, pass.view);
    if skips && !pass.aborted() {
        pass.pauses.clear();
    }
    checkpoint(pass);
    if let Some(reason) = promotion(pass) {
        let hash = pass.new_hash().to_owned();
        pass.pauses.clear();
        pass.abort = None;
        pass.forget_abort = true;
        pass.next.promote_full = false;
        pass.next.blue_green.scale_up_preview_check_point = false;
        if pass.read().stable_rs != hash {
            let revision = pass.revision();
            pass.view.tell(Event::normal(
                "RolloutCompleted",
                format!("Rollout completed update to revision {revision} ({hash}): {reason}"),
            ));
        }
        pass.next.stable_rs = hash;
        workload::on_success(pass);
    } else if pass.aborted() {
        let revision = pass.revision();
        let message = format!("the update to revision {revision} is aborted");
        let mut why = Why::new(Reason::Aborted, pass.ctx.me(), message).command("retry");
        why.since = pass.read().aborted_at.map(|at| at.timestamp());
        pass.wait(why);
    }
    status::finish(pass)
}

/// The preview has passed everything and may grow to full size (CTL-112).
fn checkpoint(pass: &mut Pass<'_, '_>) {
    let Some(count) = pass
        .ctx
        .blue_green()
        .and_then(|spec| spec.preview_replica_count)
    else {
        return;
    };
    let reached = pass.read().blue_green.scale_up_preview_check_point
        || (!pass.halted() // nothing goes on while it is held
            && analysis::promotion_passed(pass, Kind::PrePromotion)
            && pause_over(pass)
            && pass.new_available() >= count);
    pass.next.blue_green.scale_up_preview_check_point = reached;
}
