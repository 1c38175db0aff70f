//! One pass: what a single reconcile of the peer would decide (CTL-11, CTL-12).

use jiff::{SignedDuration, Timestamp};
use sluice_crds::rollout::{PauseReason, RolloutStatus};

use super::context::Context;
use super::view::{Set, View};
use crate::pause::Pauses;
use crate::replicas::routed::{Recorded, Routed};
use crate::replicas::{CanaryScale, Position, RsCount, basic};
use crate::services;
use crate::units::share_up;
use crate::why::{Reason, Why};

/// Whether the next pass may be decided at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Everything asked for has a certain effect, which the view already shows.
    Again,
    /// Something has to happen outside first, or nothing is left to do.
    Stop,
}

/// The state of one pass.
pub(crate) struct Pass<'p, 'a> {
    pub(crate) ctx: &'p Context<'a>,
    pub(crate) view: &'p mut View,
    /// Status as it will be.
    pub(crate) next: RolloutStatus,
    pub(crate) pauses: Pauses,
    /// An abort asked for in this pass, with its cause.
    pub(crate) abort: Option<String>,
    /// The abort in status is over.
    pub(crate) forget_abort: bool,
    /// Weights that were just changed, or that the router could not confirm: steps and promotion
    /// wait (INV-3, FLT-11).
    pub(crate) unproven: bool,
    /// The route of the current header or mirror step was asked for (SE-16).
    pub(crate) route_applied: bool,
    /// What routes have to say was decided in this pass.
    pub(crate) routes_decided: bool,
    /// A child was created, or a ReplicaSet resized.
    pub(crate) moved: bool,
    /// Nothing more may be decided in this plan.
    pub(crate) stop: bool,
}

impl<'p, 'a> Pass<'p, 'a> {
    pub(crate) fn new(ctx: &'p Context<'a>, view: &'p mut View) -> Self {
        view.why.clear();
        let read = &view.status;
        let mut next = RolloutStatus {
            stable_rs: read.stable_rs.clone(),
            conditions: read.conditions.clone(),
            collision_count: read.collision_count,
            promote_full: read.promote_full,
            restarted_at: read.restarted_at,
            alb: read.alb.clone(),
            albs: read.albs.clone(),
            duration: read.duration.clone(),
            ..RolloutStatus::default()
        };
        if ctx.canary().is_some() {
            next.canary.weights = read.canary.weights.clone();
            next.canary.stable_ping_pong = read.canary.stable_ping_pong.clone();
            next.canary.step_plugin_statuses = read.canary.step_plugin_statuses.clone();
        }
        Self {
            ctx,
            view,
            next,
            pauses: Pauses::default(),
            abort: None,
            forget_abort: false,
            unproven: false,
            route_applied: false,
            routes_decided: false,
            moved: false,
            stop: false,
        }
    }

    /// Status as this pass reads it.
    pub(crate) fn read(&self) -> &RolloutStatus {
        &self.view.status
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.ctx.now
    }

    /// `stableRS` is the current hash.
    pub(crate) fn promoted(&self) -> bool {
        crate::conditions::is_completed(self.read())
    }

    pub(crate) fn aborted(&self) -> bool {
        self.abort.is_some() || (self.read().abort && !self.forget_abort)
    }

    /// An abort that nobody has acted on yet, while there is an update that it can be about: no other
    /// template, and no other steps, take it away (INV-6).
    pub(crate) fn unheard_abort(&self) -> bool {
        let read = self.read();
        read.abort
            && read.aborted_at.is_none()
            && !read.stable_rs.is_empty()
            && self.new_hash() != read.stable_rs
    }

    pub(crate) fn paused_for(&self, reason: &PauseReason) -> bool {
        self.read()
            .pause_conditions
            .iter()
            .any(|pause| pause.reason == *reason)
    }

    /// Halted: sizes of an update do not move (CTL-138).
    pub(crate) fn halted(&self) -> bool {
        self.ctx.spec().paused || self.paused_for(&PauseReason::InconclusiveAnalysisRun)
    }

    pub(crate) fn new_set(&self) -> Option<&Set> {
        self.view.new_set()
    }

    pub(crate) fn stable_set(&self) -> Option<&Set> {
        self.view.stable_set()
    }

    /// Hash of the current template: the label of its ReplicaSet, else as computed (CTL-21).
    pub(crate) fn new_hash(&self) -> &str {
        match self.new_set() {
            Some(set) => &set.hash,
            None => self.ctx.hashes.current(),
        }
    }

    /// Revision of the current template, for texts and names.
    pub(crate) fn revision(&self) -> String {
        self.new_set().map_or_else(
            || self.view.revision.clone(),
            |set| set.revision().to_string(),
        )
    }

    pub(crate) fn new_available(&self) -> i32 {
        self.new_set().map_or(0, |set| set.available)
    }

    pub(crate) fn position(&self) -> Position<'_> {
        let read = self.read();
        Position {
            steps: &self.ctx.sizes,
            index: read.current_step_index,
            promote_full: read.promote_full,
            has_stable: !read.stable_rs.is_empty(),
            promoted: self.promoted(),
            aborted: self.aborted(),
            whole: self.ctx.whole(),
        }
    }

    /// Weights recorded in the status as this pass reads it.
    pub(crate) fn recorded(&self) -> Option<Recorded> {
        recorded(self.read())
    }

    pub(crate) fn routed(&self, weights: Option<Recorded>) -> Routed<'_> {
        let mut new = self.new_set().map(Set::count);
        if let (Some(new), Some(weights)) = (&mut new, weights)
            && self.aborted()
            && (self.ctx.dynamic() || crate::routing::in_doubt(self))
        {
            // Pods that stay because nobody confirms that they may go, or for their delay, do not hold
            // up the way back (FLT-11, FLT-17, INV-10).
            let needed = share_up(self.ctx.replicas, weights.canary, self.ctx.whole());
            new.available = new.available.min(needed);
        }
        Routed {
            at: self.position(),
            replicas: self.ctx.replicas,
            dynamic: self.ctx.dynamic(),
            min_pods: self
                .ctx
                .canary()
                .and_then(|canary| canary.min_pods_per_replica_set),
            abort_delay: self.ctx.abort_delay().written,
            new,
            stable: self.stable_set().map(Set::count),
            recorded: weights,
            leads: self.leads(),
        }
    }

    /// As [`Self::routed`], for what needs pods and is not harmed by more of them: a canary that keeps
    /// some for a while has those that it should have.
    pub(crate) fn enough(&self, weights: Option<Recorded>) -> Routed<'_> {
        let mut sized = self.routed(weights);
        let wanted = crate::replicas::routed::counts(&sized).canary;
        if let Some(new) = &mut sized.new
            && new.spec > wanted
            && new.available >= wanted
        {
            *new = RsCount::new(wanted, wanted);
        }
        sized
    }

    /// Whether nothing came before: routes of steps are not set then (TRF-8).
    pub(crate) fn first_revision(&self) -> bool {
        let number = self.revision().parse::<i64>();
        number.is_ok_and(|number| number <= 1)
    }

    /// Available pods of the version with this hash that are to stay, if it is there.
    pub(crate) fn available_of(&self, hash: &str) -> Option<i32> {
        let set = self.view.sets.iter().find(|set| set.hash == hash)?;
        Some(set.available.min(set.spec))
    }

    /// Whether a managed route of a step that was reached leads to the canary (TRF-8).
    fn leads(&self) -> bool {
        let at = self.position();
        // An abort takes the routes away, but not in a pass that only follows `spec.replicas`.
        let aborted = at.aborted && self.routes_decided;
        let updates = at.has_stable && !at.promoted && !aborted && !at.promote_full;
        let steps = self.ctx.canary().map_or(&[][..], |canary| &canary.steps);
        let reached = usize::try_from(at.index.unwrap_or(0)).unwrap_or(0);
        updates
            && !self.first_revision()
            && steps
                .get(..=reached)
                .is_some_and(crate::step::lead_to_canary)
    }

    pub(crate) fn other_counts(&self) -> Vec<RsCount> {
        let others = self.view.others();
        others
            .into_iter()
            .filter_map(|i| self.view.sets.get(i))
            .map(Set::count)
            .collect()
    }

    pub(crate) fn basic_sizes<'o>(&self, others: &'o [RsCount]) -> basic::Sizes<'o> {
        let two = self.view.stable() != self.view.new;
        basic::Sizes {
            replicas: self.ctx.replicas,
            weight: basic::weight(&self.position()),
            fences: self.ctx.fences,
            new: self.new_set().map(Set::count),
            stable: self.stable_set().filter(|_| two).map(Set::count),
            others,
            held: i32::from(two && services::holds_stable(self)),
        }
    }

    pub(crate) fn wait(&mut self, why: Why) {
        for at in [why.until, why.again].into_iter().flatten() {
            self.view.wake_at(at);
        }
        self.view.why.push(why);
    }

    pub(crate) fn wait_for_pods(&mut self, index: Option<usize>, message: String) {
        let object = index
            .and_then(|i| self.view.sets.get(i))
            .map_or_else(|| self.ctx.me(), Set::reason_object);
        self.wait(Why::new(Reason::PodsNotAvailable, object, message));
    }

    pub(crate) fn in_seconds(&self, seconds: i64) -> Timestamp {
        later(self.now(), seconds)
    }

    /// Asks for a size of a ReplicaSet; `true` when that is a change.
    pub(crate) fn resize(&mut self, index: usize, to: i32) -> bool {
        let replicas = self.ctx.replicas;
        let Some(set) = self.view.sets.get_mut(index) else {
            return false;
        };
        let changed = set.resize(to.max(0), replicas, false);
        self.moved |= changed;
        changed
    }

    /// `to`, or 1 where these are the only pods that are available: whatever may be unavailable, somebody
    /// has to answer (INV-1). A single pod without surge is replaced in place.
    pub(crate) fn keep_last(&self, index: usize, to: i32) -> i32 {
        let there = |set: &Set| set.available.min(set.spec) > 0;
        let room = self.ctx.replicas.saturating_add(self.ctx.fences.surge);
        let mut others = self.view.sets.iter().enumerate();
        let alone = self.set(index).is_some_and(there)
            && !others.any(|(other, set)| other != index && there(set));
        if alone && self.ctx.replicas > 0 && room > 1 {
            to.max(1)
        } else {
            to
        }
    }

    /// No version gives up pods that are needed until another one has them (INV-4, FLT-37). Where pod
    /// counts are the split, the counts see to that themselves.
    pub(crate) fn keep_available(&mut self, index: usize, to: i32) -> i32 {
        let floor = self.ctx.floor();
        let sets = self.view.sets.iter().enumerate();
        let elsewhere: i64 = sets
            .filter(|(i, _)| *i != index)
            .map(|(_, set)| i64::from(set.available.min(set.spec)))
            .sum();
        let Some(set) = self.set(index).filter(|set| to < set.spec) else {
            return to;
        };
        let needed = i32::try_from((i64::from(floor) - elsewhere).max(0)).unwrap_or(i32::MAX);
        let needed = if set.available > 0 { needed } else { 0 };
        // Its share has to be on record elsewhere first, whether its pods can serve or not (INV-3).
        let kept = to.max(needed.max(self.served_by(&set.hash)).min(set.spec));
        if kept > to {
            let message =
                format!("keeps {kept} pods until other versions have enough available ones");
            let object = set.reason_object();
            self.wait(Why::new(Reason::PodsNotGone, object, message));
        }
        kept
    }

    /// Pods that the share of traffic needs which a hash has on record, in the status as persisted
    /// or as read (INV-3). A user who sizes the canary apart from its weight knows better.
    pub(crate) fn served_by(&self, hash: &str) -> i32 {
        let index = usize::try_from(self.read().current_step_index.unwrap_or(0)).unwrap_or(0);
        let reached = self.ctx.sizes.iter().take(index.saturating_add(1));
        let sized = reached.rev().find_map(|size| size.scale);
        let by_hand = sized.is_some_and(|scale| scale != CanaryScale::MatchTrafficWeight)
            && index < self.ctx.sizes.len();
        if self.ctx.routing().is_none() || by_hand {
            return 0;
        }
        self.share_of(hash)
    }

    /// The same, whoever sizes it.
    pub(crate) fn share_of(&self, hash: &str) -> i32 {
        if self.ctx.routing().is_none() {
            return 0;
        }
        let statuses = [&*self.ctx.persisted, self.read()];
        let shares = statuses
            .into_iter()
            .filter_map(|status| status.canary.weights.as_ref());
        let pods = shares.map(|weights| {
            let share = [&weights.canary, &weights.stable]
                .into_iter()
                .filter(|destination| destination.pod_template_hash == hash)
                .map(|destination| destination.weight)
                .fold(0, i32::saturating_add);
            let whole = crate::traffic::whole_of(weights);
            crate::units::share_up(self.ctx.replicas, share, whole)
        });
        pods.max().unwrap_or(0)
    }

    pub(crate) fn set(&self, index: usize) -> Option<&Set> {
        self.view.sets.get(index)
    }
}

/// Weights in a status.
pub(crate) fn recorded(status: &RolloutStatus) -> Option<Recorded> {
    let weights = status.canary.weights.as_ref()?;
    Some(Recorded {
        canary: weights.canary.weight,
        stable: weights.stable.weight,
    })
}

/// `at` plus seconds, at the end of time at most.
pub(crate) fn later(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}
