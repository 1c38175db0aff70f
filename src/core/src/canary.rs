//! The canary strategy: order of a pass (CTL-11), sizes (CTL-42..46, CTL-60), status (CTL-93..96).

use sluice_crds::rollout::PauseReason;

use crate::decide::pass::{Flow, Pass};
use crate::decide::view::{Deadline, Set};
use crate::event::Event;
use crate::replicas::{RsCount, Shortfall, basic, routed};
use crate::rollout_status as status;
use crate::step::Step;
use crate::why::{Reason, Why};
use crate::{
    abort, analysis, drain, experiments, history, metadata, pause, restart, revision, routing,
    services, workload,
};

/// One pass.
pub(crate) fn pass(pass: &mut Pass<'_, '_>) -> Flow {
    pass.pauses.remove(PauseReason::BlueGreenPause); // of a strategy that was edited away
    if changed(pass) {
        reset(pass);
        return status::finish(pass);
    }
    if pause::left_over(pass) {
        pass.pauses.remove(PauseReason::CanaryPauseStep);
        status::base(pass);
        keep_children(pass);
        return status::finish(pass);
    }
    if restart::reconcile(pass) {
        pass.stop = true;
        return Flow::Stop;
    }
    metadata::reconcile(pass);
    history::reconcile(pass);
    let ready = reason_to_promote(pass).is_some();
    let promoting = promotion(pass).is_some();
    services::reconcile_canary(pass, ready, promoting);
    routing::reconcile(pass);
    services::reconcile_ping_pong(pass);
    experiments::reconcile(pass);
    analysis::reconcile_canary(pass);
    if pass.pauses.has_added() {
        return conclude(pass);
    }
    if resize(pass) {
        return conclude(pass);
    }
    if !pause::step(pass) {
        plugin(pass);
    }
    conclude(pass)
}

/// What this pass did not look at stays as it was recorded.
fn keep_children(pass: &mut Pass<'_, '_>) {
    let read = pass.read().canary.clone();
    pass.next.canary.current_step_analysis_run_status = read.current_step_analysis_run_status;
    pass.next.canary.current_background_analysis_run_status =
        read.current_background_analysis_run_status;
    pass.next.canary.current_experiment = read.current_experiment;
}

/// A scaling event: `spec.replicas` changed, so sizes follow and nothing else happens (CTL-10).
pub(crate) fn scale(pass: &mut Pass<'_, '_>) -> Flow {
    if pass.halted() && !pass.aborted() {
        scale_held(pass);
    } else {
        resize(pass);
    }
    status::refresh_counters(pass)
}

/// Held, the versions keep their proportion, but follow `spec.replicas` (SE-15).
fn scale_held(pass: &mut Pass<'_, '_>) {
    let replicas = pass.ctx.replicas;
    let (new, stable) = (pass.view.new, pass.view.stable());
    let mut room = replicas.saturating_add(pass.ctx.fences.surge);
    if pass.ctx.basic() {
        let rest = pass
            .other_counts()
            .iter()
            .map(|count| count.spec)
            .fold(0, i32::saturating_add);
        room = room.saturating_sub(rest).max(0);
    } else {
        room = i32::MAX;
    }
    let mut wanted = Vec::new();
    for index in [new.filter(|new| Some(*new) != stable), stable]
        .into_iter()
        .flatten()
    {
        let Some(set) = pass.set(index) else { continue };
        let before = set.desired().unwrap_or(replicas);
        let alone = stable == new;
        let to = if alone || (Some(index) == stable && !pass.ctx.basic() && !pass.ctx.dynamic()) {
            if set.spec == 0 { 0 } else { replicas }
        } else if before <= 0 {
            set.spec
        } else {
            crate::units::share_up(set.spec, replicas, before)
        };
        // In a router's split the shares are looked after elsewhere.
        let needed = if pass.ctx.basic() {
            set.available.min(set.spec)
        } else {
            0
        };
        wanted.push(Held { index, to, needed });
    }
    if pass.ctx.basic() {
        let rest = pass.other_counts();
        let rest: i32 = rest.iter().map(|rs| rs.available.min(rs.spec)).sum();
        let floor = replicas.saturating_sub(pass.ctx.fences.unavailable);
        keep_serving(&mut wanted, floor.saturating_sub(rest), room);
    }
    let held = i32::from(services::holds_stable(pass));
    for Held { index, to, needed } in wanted {
        let to = to.min(room.max(needed));
        let to = if !pass.ctx.basic() {
            pass.keep_available(index, to) // shares and floor stay covered (INV-3, INV-4)
        } else if Some(index) == stable {
            to.max(held.min(pass.set(index).map_or(0, |set| set.spec))) // INV-1
        } else {
            to
        };
        room = room.saturating_sub(to).max(0);
        pass.resize(index, to);
    }
}

/// A size of a held canary.
struct Held {
    index: usize,
    to: i32,
    /// Available pods that stay.
    needed: i32,
}

/// Available pods stay as far as `floor` needs them; where all is more than `room`, others go first
/// (INV-4, INV-5).
fn keep_serving(wanted: &mut [Held], floor: i32, room: i32) {
    let left: i32 = wanted.iter().map(|held| held.to.min(held.needed)).sum();
    let mut lacking = floor.saturating_sub(left);
    let mut floor = floor;
    for held in wanted.iter_mut() {
        let back = held.needed.saturating_sub(held.to).min(lacking).max(0);
        held.to += back;
        lacking -= back;
        held.needed = held.needed.min(held.to).min(floor).max(0);
        floor -= held.needed;
    }
    let all = wanted
        .iter()
        .map(|held| held.to)
        .fold(0, i32::saturating_add);
    let mut over = all.saturating_sub(room);
    for held in wanted.iter_mut() {
        let less = held.to.saturating_sub(held.needed).min(over).max(0);
        held.to -= less;
        over -= less;
    }
}

/// Template or steps are not those that status is about (CTL-91).
pub(crate) fn changed(pass: &Pass<'_, '_>) -> bool {
    let read = pass.read();
    let steps = pass.ctx.canary().map_or(&[][..], |canary| &canary.steps);
    let same_steps = read.current_step_hash == pass.ctx.hashes.steps()
        || (!read.current_step_hash.is_empty()
            && sluice_crds::hash::is_step_hash(&read.current_step_hash, steps));
    !same_steps || (!read.current_pod_hash.is_empty() && read.current_pod_hash != pass.new_hash())
}

/// Starts over: nothing of the previous update is left (CTL-91).
fn reset(pass: &mut Pass<'_, '_>) {
    let was_promoted = pass.promoted();
    status::base(pass);
    pass.pauses.clear();
    pass.forget_abort = !pass.unheard_abort();
    let count = pass.ctx.step_count();
    let next = &mut pass.next;
    next.restarted_at = pass.ctx.spec().restart_at;
    next.promote_full = false;
    next.current_step_hash = pass.ctx.hashes.steps().to_owned();
    next.canary.step_plugin_statuses.clear();
    next.current_step_index = (count > 0).then_some(0);
    if count == 0 {
        return;
    }
    let to_stable = pass
        .new_set()
        .is_some_and(|set| set.hash == pass.read().stable_rs);
    let in_window = revision::within_window(pass.ctx, pass.view)
        && pass.new_set().is_some_and(|set| set.spec > 0);
    if to_stable {
        pass.next.current_step_index = Some(count);
        if !was_promoted {
            // Only an update that was under way is rolled back (SE-24).
            pass.view
                .tell(Event::normal("SkipSteps", "Rollback to stable ReplicaSets"));
        }
    } else if in_window && !pass.aborted() {
        pass.next.current_step_index = Some(count);
        let text = "Rollback to active ReplicaSets within RollbackWindow";
        pass.view.tell(Event::normal("SkipSteps", text));
    }
}

/// Sizes: stable, then new, then the others; the first change ends it (CTL-42).
fn resize(pass: &mut Pass<'_, '_>) -> bool {
    let (new, stable) = (pass.view.new, pass.view.stable());
    if pass.halted() && !pass.aborted() {
        // An abort is carried out even so (INV-10).
        let why = pause::halt(pass);
        pass.wait(why);
        return false;
    }
    // What the status says about an update that was reverted is not about stable.
    let holds = abort::holds(pass) && new != stable;
    for index in [stable, new.filter(|_| !holds)].into_iter().flatten() {
        // What shrinks with its share has a deadline of its own.
        let drains = pass.ctx.dynamic() || drain::applies(pass, index);
        if let Some(set) = pass.view.sets.get_mut(index).filter(|_| !drains) {
            set.strip_deadline();
        }
    }
    if let Some(index) = stable.filter(|index| Some(*index) != new) {
        let to = stable_count(pass, index);
        let to = if pass.ctx.basic() {
            pass.keep_last(index, to)
        } else {
            let to = drain::size(pass, index, to);
            pass.keep_available(index, to)
        };
        if pass.resize(index, to) {
            return true;
        }
    }
    if let Some(index) = new {
        let resized = if holds {
            abort::hold(pass, index)
        } else {
            resize_new(pass, index)
        };
        workload::progressively(pass, index, resized);
        if resized {
            return true;
        }
    }
    drain_others(pass)
}

fn resize_new(pass: &mut Pass<'_, '_>, index: usize) -> bool {
    let to = if pass.ctx.basic() {
        basic_counts(pass).canary
    } else {
        let just_set = crate::decide::pass::recorded(&pass.next);
        let weights = routing::proven(pass, just_set);
        let mut to = routed::counts(&pass.routed(weights)).canary;
        if Some(index) == pass.view.stable() {
            to = to.max(pass.ctx.replicas); // reverted, and the status does not say so yet (INV-3)
        }
        let (spec, hash) = pass
            .set(index)
            .map_or((0, ""), |set| (set.spec, set.hash.as_str()));
        // Of a promotion that the status does not know the stable Service may still be here (INV-3).
        let serves = Some(index) != pass.view.stable() && services::on_stable_service(pass, hash);
        if routing::in_doubt(pass) || routing::took_over_unrecorded(pass) || serves {
            to.max(spec)
        } else {
            to
        }
    };
    let to = if pass.ctx.basic() {
        pass.keep_last(index, to)
    } else {
        let to = drain::size(pass, index, to);
        pass.keep_available(index, to)
    };
    pass.resize(index, to)
}

fn stable_count(pass: &Pass<'_, '_>, index: usize) -> i32 {
    if pass.ctx.basic() {
        return basic_counts(pass).stable;
    }
    let counts = |also| routed::counts(&pass.routed(routing::proven(pass, also))).stable;
    let spec = pass.set(index).map_or(0, |set| set.spec);
    // Pods for a share that it was given just now stay (INV-2).
    let just_set = crate::decide::pass::recorded(&pass.next);
    let mut to = counts(None).max(counts(just_set).min(spec));
    if routing::foreign(pass) {
        to = pass.ctx.replicas.max(to); // it takes over from a superseded version (CTL-71, INV-15)
    }
    // With a share that nobody confirmed, what serves does not shrink (INV-3).
    // Nor without any on record.
    let unknown = pass.ctx.persisted.canary.weights.is_none();
    if pass.ctx.dynamic() && (routing::in_doubt(pass) || pass.unproven || unknown) {
        to.max(spec)
    } else {
        to
    }
}

fn basic_counts(pass: &Pass<'_, '_>) -> crate::replicas::Counts {
    let others = pass.other_counts();
    let sizes = pass.basic_sizes(&others);
    basic::next(&sizes)
}

/// Lets go of ReplicaSets that are neither new nor stable (CTL-43).
fn drain_others(pass: &mut Pass<'_, '_>) -> bool {
    let mut others = pass.view.others();
    others.retain(|i| pass.set(*i).is_some_and(|set| set.spec > 0));
    if others.is_empty() {
        return false;
    }
    let mut resized = false;
    for &index in &others {
        let Some(set) = pass.set(index) else { continue };
        if services::referenced(pass.ctx, pass.view, set) {
            continue; // what serves is not cleaned up
        }
        if let Deadline::At(at) = set.deadline()
            && pass.now() < at
        {
            if set.available < set.spec {
                pass.view.wake_at(at);
            }
            continue; // nor what is kept for its delay (SE-23)
        }
        if set.available > set.spec {
            let (object, spec) = (set.reason_object(), set.spec);
            let message = format!("is still shrinking to {spec} pods");
            pass.wait(Why::new(Reason::PodsNotGone, object, message));
            return resized;
        }
        // Pods that are missing come back, where nobody confirms that they are not needed (INV-3).
        if set.available < set.spec && !routing::in_doubt(pass) {
            let to = set.available;
            resized |= pass.resize(index, to);
        }
    }
    let available: i64 = pass
        .view
        .sets
        .iter()
        .map(|set| i64::from(set.available.min(set.spec))) // the rest is going already (INV-4)
        .sum();
    let floor = if pass.ctx.basic() {
        pass.ctx
            .replicas
            .saturating_sub(pass.ctx.fences.unavailable)
    } else {
        pass.ctx.floor()
    };
    let mut budget = available - i64::from(floor);
    if routing::in_doubt(pass) {
        return resized;
    }
    others.sort_by_key(|i| std::cmp::Reverse(pass.set(*i).map_or(0, Set::revision)));
    let mut kept = 0;
    for index in others {
        let Some(set) = pass.set(index).filter(|set| set.spec > 0) else {
            continue;
        };
        if budget <= 0 {
            let message = "gives up pods once enough newer ones are available";
            let object = set.reason_object();
            pass.wait(Why::new(Reason::PodsNotGone, object, message));
            break;
        }
        let spec = set.spec;
        let to = if pass.ctx.basic() {
            // The stable Service may not have moved on yet (INV-1).
            let held = i64::from(services::on_stable_service(pass, &set.hash));
            let to = (i64::from(spec) - budget).max(held);
            i32::try_from(to).unwrap_or(spec).min(spec)
        } else if services::referenced(pass.ctx, pass.view, set) {
            continue;
        } else {
            // A superseded canary gets its delay like an old stable (SE-9), and so does what is left of
            // one that shrank with its share: a mesh may be behind (FLT-13).
            history::delayed_size(pass, index, spec, &mut kept)
        };
        let to = if pass.ctx.basic() {
            pass.keep_last(index, to)
        } else {
            pass.keep_available(index, to)
        };
        resized |= pass.resize(index, to);
        budget -= i64::from(spec - to);
    }
    resized
}

/// What is missing until the pods are what the current step wants (CTL-45).
fn shortfall(pass: &Pass<'_, '_>) -> Option<Shortfall> {
    let threshold = pass.ctx.threshold();
    if pass.ctx.basic() {
        let others = pass.other_counts();
        return basic::shortfall(&pass.basic_sizes(&others), threshold);
    }
    let just_set = crate::decide::pass::recorded(&pass.next);
    routed::shortfall(&pass.enough(just_set), threshold)
}

/// Why the new version may become stable in this pass, in the words of the event (CTL-95).
fn promotion(pass: &Pass<'_, '_>) -> Option<String> {
    let reason = reason_to_promote(pass)?;
    if pass.view.stable().is_none() {
        return Some(reason);
    }
    let new = pass.new_set()?;
    let new = RsCount {
        available: new.serving(),
        ..new.count()
    };
    let replicas = pass.ctx.replicas;
    let enough = new.available >= replicas
        || crate::replicas::threshold_met(pass.ctx.threshold(), Some(new), replicas);
    enough.then_some(reason)
}

/// The same, its pods apart.
fn reason_to_promote(pass: &Pass<'_, '_>) -> Option<String> {
    let read = pass.read();
    pass.view.new?;
    if pass.view.stable().is_none() {
        return Some("Initial deploy".to_owned());
    }
    if pass.aborted() {
        return None;
    }
    if read.promote_full {
        return Some("Full promotion requested".to_owned());
    }
    if revision::within_window(pass.ctx, pass.view) {
        return Some("Rollback within window".to_owned());
    }
    if revision::fast_rollback(pass.ctx, pass.view) {
        return Some("Fast rollback".to_owned());
    }
    let count = pass.ctx.step_count();
    let done = count == 0 || read.current_step_index.unwrap_or(0) >= count;
    done.then(|| format!("Completed all {count} canary steps"))
}

/// The status of a pass that went through (CTL-93).
fn conclude(pass: &mut Pass<'_, '_>) -> Flow {
    status::base(pass);
    let count = pass.ctx.step_count();
    let steps_done = (count > 0).then_some(count);
    let in_window = revision::within_window(pass.ctx, pass.view);
    if (pass.read().promote_full || in_window) && !pass.aborted() {
        pass.pauses.clear();
        pass.next.current_step_index = steps_done;
    }
    let held = pass.unproven && pass.read().promote_full
        || unproven_end(pass)
        || !services::new_takes_over(pass);
    if let Some(reason) = promotion(pass).filter(|_| !held) {
        promote(pass, &reason);
    } else if pass.aborted() {
        pass.next.current_step_index = if count == 0 {
            None
        } else if pass
            .new_set()
            .is_some_and(|set| set.hash == pass.read().stable_rs)
        {
            Some(count)
        } else {
            Some(0)
        };
        if !pass.promoted() {
            let revision = pass.revision();
            let message = format!("the update to revision {revision} is aborted");
            let mut why = Why::new(Reason::Aborted, pass.ctx.me(), message).command("retry");
            why.since = pass.read().aborted_at.map(|at| at.timestamp());
            pass.wait(why);
        }
    } else {
        complete_step(pass);
    }
    status::finish(pass)
}

/// At the end all traffic is on the new version: without proof of that nothing old may go (TRF-13).
fn unproven_end(pass: &Pass<'_, '_>) -> bool {
    pass.unproven
        && pass.ctx.routing().is_some()
        && !pass.promoted()
        && pass.view.stable() != pass.view.new
        && !pass.read().stable_rs.is_empty()
}

/// The new version becomes stable (CTL-95).
fn promote(pass: &mut Pass<'_, '_>, reason: &str) {
    pass.pauses.clear();
    pass.abort = None;
    pass.forget_abort = true;
    let count = pass.ctx.step_count();
    let hash = pass.new_hash().to_owned();
    let before = pass.read().stable_rs.clone();
    pass.next.promote_full = false;
    pass.next.current_step_index = (count > 0).then_some(count);
    pass.next.stable_rs.clone_from(&hash);
    if before != hash {
        // Now it loses its Service, too: its delay begins then.
        if let Some(old) = pass.view.sets.iter_mut().find(|set| set.hash == before) {
            old.strip_deadline();
        }
        let revision = pass.revision();
        pass.view.tell(Event::normal(
            "RolloutCompleted",
            format!("Rollout completed update to revision {revision} ({hash}): {reason}"),
        ));
        if pass
            .ctx
            .canary()
            .is_some_and(|canary| canary.ping_pong.is_some())
        {
            let next = if pass.read().canary.stable_ping_pong == "ping" {
                "pong"
            } else {
                "ping"
            };
            pass.next.canary.stable_ping_pong = next.to_owned();
        }
    }
    workload::on_success(pass);
}

/// Ends the current step if it is done: one step per pass (CTL-90).
fn complete_step(pass: &mut Pass<'_, '_>) {
    let index = pass.read().current_step_index;
    let Some(step) = pass.ctx.step_at(index) else {
        explain_end(pass);
        return;
    };
    let promoted = pass.promoted();
    if promoted || pass.ctx.spec().paused || pass.read().promote_full {
        return;
    }
    if !step_done(pass, step) {
        return;
    }
    let position = index.unwrap_or(0).saturating_add(1);
    let written = usize::try_from(index.unwrap_or(0))
        .ok()
        .and_then(|i| pass.ctx.canary()?.steps.get(i))
        .map(ToString::to_string)
        .unwrap_or_default();
    let total = pass.ctx.step_count();
    pass.next.current_step_index = Some(position);
    pass.next.canary.current_step_analysis_run_status = None;
    pass.pauses.remove(PauseReason::CanaryPauseStep);
    pass.view.tell(Event::normal(
        "RolloutStepCompleted",
        format!("Rollout step {position}/{total} completed ({written})"),
    ));
}

fn step_done(pass: &mut Pass<'_, '_>, step: Step<'_>) -> bool {
    match step {
        Step::Pause(hold) => pause::step_over(pass, hold),
        Step::SetWeight(weight) => {
            if let Some(missing) = shortfall(pass) {
                explain(pass, missing, &format!("setWeight {weight}"));
                return false;
            }
            if pass.unproven || !routing::at(pass, weight) {
                let message = format!("setWeight {weight} is done once the router confirms it");
                let me = pass.ctx.me();
                pass.wait(Why::new(Reason::TrafficUnconfirmed, me, message));
                return false;
            }
            true
        }
        Step::SetCanaryScale(_) => match shortfall(pass) {
            Some(missing) => {
                explain(pass, missing, "setCanaryScale");
                false
            }
            None => true,
        },
        Step::Analysis(_) => analysis::step_passed(pass),
        Step::Experiment(_) => experiments::step_passed(pass),
        Step::SetHeaderRoute(_) | Step::SetMirrorRoute(_) => {
            let done = pass.route_applied || no_route_possible(pass);
            if !done && let Some(missing) = shortfall(pass) {
                explain(pass, missing, "the route");
            }
            done
        }
        Step::Plugin(_) | Step::Empty => false,
    }
}

/// On the first revision routes of their own are not set at all (TRF-8), and scaled to zero there is
/// nothing that they could lead to: the step is over without (SE-16).
fn no_route_possible(pass: &Pass<'_, '_>) -> bool {
    let just_set = crate::decide::pass::recorded(&pass.next);
    pass.first_revision() || routed::counts(&pass.routed(just_set)).canary == 0
}

/// A step that a plugin would carry out: said, and waited for.
fn plugin(pass: &mut Pass<'_, '_>) {
    let index = pass.read().current_step_index;
    let Some(Step::Plugin(plugin)) = pass.ctx.step_at(index) else {
        return;
    };
    if pass.promoted() || pass.aborted() || pass.read().promote_full {
        return;
    }
    let message = format!(
        "step {}/{} is for the plugin {:?}; plugins of steps are not supported yet",
        index.unwrap_or(0).saturating_add(1),
        pass.ctx.step_count(),
        plugin.name
    );
    let me = pass.ctx.me();
    pass.wait(Why::new(Reason::NotSupported, me, message).command("promote"));
}

fn explain(pass: &mut Pass<'_, '_>, missing: Shortfall, what: &str) {
    let (index, message) = match missing {
        Shortfall::Canary => (
            pass.view.new,
            format!(
                "{what} waits for the canary: {}",
                count_text(pass.new_set())
            ),
        ),
        Shortfall::Stable
            if let Some(set) = pass.stable_set().filter(|set| set.current > set.spec) =>
        {
            let message = format!("{what} waits until stable has shrunk to {} pods", set.spec);
            let object = set.reason_object();
            pass.wait(Why::new(Reason::PodsNotGone, object, message));
            return;
        }
        Shortfall::Stable => (
            pass.view.stable(),
            format!("{what} waits for stable: {}", count_text(pass.stable_set())),
        ),
        Shortfall::Others => {
            let others = pass.view.others();
            let index = others
                .into_iter()
                .find(|i| pass.set(*i).is_some_and(|set| set.available > 0));
            let text = index
                .and_then(|i| pass.set(i))
                .map(Set::reason_object)
                .unwrap_or_default();
            let message = format!("{what} waits until the pods of older revisions are gone");
            pass.wait(Why::new(Reason::PodsNotGone, text, message));
            return;
        }
    };
    pass.wait_for_pods(index, message);
}

fn explain_end(pass: &mut Pass<'_, '_>) {
    if pass.promoted() && pass.new_available() >= pass.ctx.replicas {
        return;
    }
    let count = count_text(pass.new_set());
    let message = if pass.promoted() {
        format!("not all pods are available: {count}")
    } else {
        format!("the update ends once all pods are available: {count}")
    };
    let new = pass.view.new;
    pass.wait_for_pods(new, message);
}

fn count_text(set: Option<&Set>) -> String {
    set.map_or_else(
        || "no ReplicaSet yet".to_owned(),
        |set| format!("{} of {} pods available", set.available, set.spec),
    )
}
