//! The next status: counters, pauses and abort, conditions, phase, duration (CTL-13, CTL-136).

use crate::conditions;
use crate::conditions::pass::Pass as Conditions;
use crate::conditions::progress::{self, Exempt};
use crate::decide::pass::{Flow, Pass};
use crate::decide::view::{Deadline, Set};
use crate::duration::{self, Facts};
use crate::event::Event;
use crate::observed::peak;
use crate::phase;
use crate::revision;
use crate::step::Step;
use crate::workload;

/// Seconds between looks at a Rollout whose progress deadline is over.
const STUCK_RETRY: i64 = 30;

/// Counters and hashes: what follows from the ReplicaSets alone.
pub(crate) fn base(pass: &mut Pass<'_, '_>) {
    counters(pass);
    let hash = pass.new_hash().to_owned();
    let read = pass.read();
    let (step_hash, index) = match pass.ctx.canary() {
        None => (String::new(), None),
        // A form of another release stays as it is: rewriting it would look like a change there.
        Some(_) => (
            read.current_step_hash.clone(),
            (pass.ctx.step_count() > 0).then(|| read.current_step_index.unwrap_or(0)),
        ),
    };
    pass.next.current_pod_hash = hash;
    pass.next.current_step_hash = step_hash;
    pass.next.current_step_index = index;
}

fn counters(pass: &mut Pass<'_, '_>) {
    let sets = &pass.view.sets;
    let sum = |of: fn(&Set) -> i32| sets.iter().map(of).fold(0_i32, i32::saturating_add);
    let replicas = sum(|set| set.current);
    let updated = pass.new_set().map_or(0, |set| set.current);
    let active = pass.ctx.blue_green().and_then(|blue_green| {
        let hash = pass
            .view
            .services
            .get(&blue_green.active_service)?
            .pod_hash();
        sets.iter().find(|set| !hash.is_empty() && set.hash == hash)
    });
    let (ready, available, hpa, selector) = match active {
        Some(set) => (
            set.ready,
            set.available,
            set.current,
            set.object.spec.selector.to_string(),
        ),
        None => (
            sum(|set| set.ready),
            sum(|set| set.available),
            replicas,
            pass.ctx.selector.to_string(),
        ),
    };
    let next = &mut pass.next;
    next.replicas = replicas;
    next.updated_replicas = updated;
    next.ready_replicas = ready;
    next.available_replicas = available;
    next.hpa_replicas = hpa;
    next.selector = selector;
}

/// The status of a replicas-only pass: what was read, with fresh counters (CTL-10).
pub(crate) fn refresh_counters(pass: &mut Pass<'_, '_>) -> Flow {
    pass.next = pass.read().clone();
    let before = (
        pass.next.replicas,
        pass.next.updated_replicas,
        pass.next.ready_replicas,
    );
    counters(pass);
    (
        pass.next.replicas,
        pass.next.updated_replicas,
        pass.next.ready_replicas,
    ) = before;
    persist(pass, None)
}

/// Ends a pass: settles pauses and abort, and everything that follows from them.
pub(crate) fn finish(pass: &mut Pass<'_, '_>) -> Flow {
    let now = pass.now();
    let exempt = exempt(pass);
    if !pass.aborted() {
        let name = pass.new_set().map(|set| set.name.clone());
        let due =
            progress::deadline_abort(&pass.view.shadow, name.as_deref(), &pass.next, exempt, now);
        if let Some(cause) = due {
            pass.abort = Some(cause);
        }
    }
    let stamp = pass.ctx.stamp();
    pass.next.abort = pass.aborted();
    pass.next.aborted_at = pass
        .next
        .abort
        .then(|| pass.read().aborted_at.unwrap_or(stamp));
    let mut next = std::mem::take(&mut pass.next);
    pass.pauses.settle(pass.read(), &mut next, stamp);
    pass.next = next;
    let cause = pass
        .next
        .abort
        .then(|| pass.abort.clone().unwrap_or_default());
    persist(pass, cause.as_deref())
}

/// Conditions, phase, duration; then the next status becomes the one that the next pass reads.
fn persist(pass: &mut Pass<'_, '_>, aborted: Option<&str>) -> Flow {
    let now = pass.now();
    let ctx = pass.ctx;
    pass.next.observed_generation = ctx.generation().to_string();
    pass.next.workload_observed_generation = match ctx.spec().workload_ref {
        Some(_) => ctx.workload_generation().unwrap_or_default(),
        None => String::new(),
    };
    let replicas_only = aborted.is_none() && pass.next.abort;
    let aborted = if replicas_only { Some("") } else { aborted };
    let objects = revision::objects(pass.view);
    let new_object = pass.new_set().map(|set| std::sync::Arc::clone(&set.object));
    let revision = pass.revision();
    let mut next = std::mem::take(&mut pass.next);
    let events = Conditions {
        rollout: &pass.view.shadow,
        new_rs: new_object.as_deref(),
        replica_sets: &objects,
        revision: &revision,
        aborted,
        exempt: exempt_for(pass, &next),
        now,
    }
    .apply(&mut next);
    let view = phase::of(ctx.spec(), &next);
    next.phase = view.phase;
    next.message = view.message;
    workload::first_health(pass, &next.phase);
    let facts = facts(pass, &next);
    let (duration, ended) = duration::track(pass.read().duration.as_ref(), facts, &next, now);
    next.duration = duration;
    pass.view.ended.extend(ended);
    pass.view.events.extend(events);
    tell_pause(pass, &next);
    let stuck = progress::stuck_check(&pass.view.shadow, &next, exempt_for(pass, &next), now);
    pass.view.stuck_at = stuck;
    if !pass.moved
        && let Some(at) = stuck
    {
        // A deadline that has passed without effect (something else is waited for) is no reason to
        // look again at once.
        let soon = pass.in_seconds(STUCK_RETRY);
        pass.view.wake_at(if at <= now { soon } else { at });
    }
    let changed = next != *pass.read();
    pass.view.status = next;
    if pass.moved || !changed {
        Flow::Stop
    } else {
        Flow::Again
    }
}

fn facts(pass: &Pass<'_, '_>, next: &sluice_crds::rollout::RolloutStatus) -> Facts {
    let read = pass.read();
    let changed = read.current_pod_hash != next.current_pod_hash
        || read.current_step_hash != next.current_step_hash;
    let stable = conditions::is_completed(next);
    Facts {
        changed,
        rollback: !read.stable_rs.is_empty() && revision::rollback(pass.view),
        fast: revision::fast_rollback(pass.ctx, pass.view),
        retried: read.aborted_at.is_some() && !next.abort,
        promoted_full: read.promote_full && read.stable_rs != next.stable_rs,
        stable,
        available: pass.new_available() >= pass.ctx.replicas,
        aborted: next.abort,
        manual_pause: duration::manually_paused(pass.ctx.spec(), next),
    }
}

fn exempt(pass: &Pass<'_, '_>) -> Exempt {
    exempt_for(pass, &pass.next)
}

/// What keeps the progress deadline from applying (CTL-131).
fn exempt_for(pass: &Pass<'_, '_>, next: &sluice_crds::rollout::RolloutStatus) -> Exempt {
    let step = pass
        .ctx
        .canary()
        .and_then(|_| pass.ctx.step_at(next.current_step_index));
    let (new, stable) = (pass.view.new, pass.view.stable());
    let mut others = pass
        .view
        .sets
        .iter()
        .enumerate()
        .filter(|(i, _)| Some(*i) != new && Some(*i) != stable);
    Exempt {
        step: matches!(
            step,
            Some(Step::Pause(_) | Step::Analysis(_) | Step::Experiment(_) | Step::Plugin(_))
        ),
        draining: others.any(|(_, set)| set.deadline() != Deadline::None),
        regained: {
            let seen = pass.ctx.seen;
            !peak::surpassed(&seen.peaks, &seen.replica_sets)
        },
    }
}

fn tell_pause(pass: &mut Pass<'_, '_>, next: &sluice_crds::rollout::RolloutStatus) {
    let before = pass.read().pause_conditions.first();
    match (before, next.pause_conditions.first()) {
        (None, Some(pause)) => {
            let text = format!("Rollout is paused ({})", pause.reason);
            pass.view.tell(Event::normal("RolloutPaused", text));
        }
        (Some(_), None) if !next.abort => {
            pass.view
                .tell(Event::normal("RolloutResumed", "Rollout is resumed"));
        }
        (None | Some(_), _) => {}
    }
}
