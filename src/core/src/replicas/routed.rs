//! Canary with traffic routing: a router splits the requests, pods only have to suffice.

use super::{
    CanaryScale, Counts, Position, RsCount, Shortfall, Threshold, threshold_met, weight_at,
};
use crate::units::{share_down, share_up, whole_or_default};

/// Weights that were last given to the router: `status.canary.weights`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Share of the canary.
    pub canary: i32,
    /// Share of the stable version.
    pub stable: i32,
}

/// Everything that the sizes and the way back depend on.
#[derive(Clone, Copy, Debug)]
pub struct Routed<'a> {
    /// Steps, index and the flags of status.
    pub at: Position<'a>,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `dynamicStableScale`.
    pub dynamic: bool,
    /// `minPodsPerReplicaSet`.
    pub min_pods: Option<i32>,
    /// `abortScaleDownDelaySeconds` as written; absent is not zero.
    pub abort_delay: Option<i32>,
    /// The ReplicaSet of the current template.
    pub new: Option<RsCount>,
    /// The stable ReplicaSet.
    pub stable: Option<RsCount>,
    /// Recorded weights. For the stable side those read from status, for the canary those just set
    /// in this pass: stable shrinks one pass after traffic has moved (CTL-60).
    pub recorded: Option<Recorded>,
    /// A managed route leads to the canary, whatever its weight (TRF-8).
    pub leads: bool,
}

impl Routed<'_> {
    fn pods_for(&self, weight: i32) -> i32 {
        share_up(self.replicas, weight, self.at.whole)
    }

    fn at_least(&self, count: i32) -> i32 {
        match self.min_pods {
            Some(min) if count > 0 => count.max(min.min(self.replicas)),
            Some(_) | None => count,
        }
    }

    fn whole(&self) -> i32 {
        whole_or_default(self.at.whole)
    }
}

/// The `setCanaryScale` that governs the canary's size, if one does (CTL-46): the nearest at or
/// before the current step. Past the last step none does, and after an abort only where
/// `abortScaleDownDelaySeconds: 0` keeps the canary up.
fn scale(want: &Routed<'_>) -> Option<CanaryScale> {
    let at = &want.at;
    if at.promote_full
        || !at.has_stable
        || at.promoted
        || (at.aborted && want.abort_delay != Some(0))
    {
        return None;
    }
    let scale = at.reached()?.iter().rev().find_map(|step| step.scale)?;
    match scale {
        CanaryScale::MatchTrafficWeight => None,
        CanaryScale::Replicas(_) => Some(scale),
        // No weight is more than all of the traffic.
        CanaryScale::Weight(weight) => Some(CanaryScale::Weight(weight.clamp(0, want.whole()))),
    }
}

/// Wanted sizes (CTL-60). `maxSurge` and `maxUnavailable` play no part.
#[must_use]
pub fn counts(want: &Routed<'_>) -> Counts {
    let stepping_down =
        want.at.aborted && want.dynamic && want.new.is_some() && want.stable.is_some();
    let (fixed, weight) = match scale(want) {
        Some(CanaryScale::Replicas(replicas)) => (Some(replicas.max(0)), 0),
        Some(CanaryScale::Weight(weight)) => (None, weight),
        Some(CanaryScale::MatchTrafficWeight) | None if stepping_down => (None, step_down(want)),
        Some(CanaryScale::MatchTrafficWeight) | None => (None, weight_at(&want.at)),
    };
    let mut canary = fixed.unwrap_or_else(|| want.at_least(want.pods_for(weight)));
    let serves = weight_at(&want.at) > 0 || want.recorded.is_some_and(|on| on.canary > 0);
    if want.leads || (serves && scale(want).is_some()) {
        // Sized by hand, or by a weight of 0, but not to nothing while requests come, or are to come
        // (INV-1, INV-3).
        canary = canary.max(want.replicas.min(1));
    }
    if !want.dynamic {
        return Counts {
            canary,
            stable: want.replicas.max(0),
        };
    }
    // A canary sized by hand takes no traffic off stable by that (INV-2).
    let off = match scale(want) {
        Some(_) => weight.min(weight_at(&want.at)),
        None => weight,
    };
    let mut stable = want.pods_for(want.whole().saturating_sub(off));
    if let Some(recorded) = want.recorded {
        // What an Experiment has it gives back at once when it ends: stable keeps the pods for it.
        let kept = want.whole().saturating_sub(recorded.canary);
        stable = stable.max(want.pods_for(kept));
        if want.at.aborted {
            canary = canary.max(want.pods_for(recorded.canary));
        }
    }
    Counts {
        canary: want.at_least(canary),
        stable: want.at_least(stable),
    }
}

/// The weight of the largest-index `setWeight` step whose pods are fewer than those that have to be
/// made up for, else 0: an aborted canary under `dynamicStableScale` walks its steps backwards while
/// stable grows (CTL-65).
///
/// Once no traffic goes to the canary any more, missing stable pods no longer call it back (SE-27).
#[must_use]
pub fn step_down(want: &Routed<'_>) -> i32 {
    let available = |rs: Option<RsCount>| rs.map_or(0, |rs| rs.available);
    let drained = want.recorded.is_some_and(|weights| weights.canary == 0);
    let missing = if drained {
        0
    } else {
        want.replicas.saturating_sub(available(want.stable))
    };
    // Pods that `minPodsPerReplicaSet` keeps on top of the share would keep the share, too (INV-10).
    let least = match (want.min_pods, want.recorded) {
        (Some(_), Some(on)) => want.pods_for(on.canary),
        (None, _) | (_, None) => i32::MAX,
    };
    let cover = match want.abort_delay {
        // The canary keeps its size for a while, or for good: its pods say nothing about the way.
        Some(_) => missing,
        None => missing.max(available(want.new).min(least)),
    };
    let steps = want.at.steps.iter().rev();
    steps
        .filter_map(|step| step.weight)
        .find(|weight| want.pods_for(*weight) < cover)
        .unwrap_or(0)
}

/// The canary's weight on the way back: after an abort, or when an update was reverted while stable
/// is undersized (CTL-65, TRF-6). 0 unless stable scales with its traffic.
#[must_use]
pub fn weight_back(want: &Routed<'_>) -> i32 {
    let (Some(stable), Some(_), true) = (want.stable, want.new, want.dynamic) else {
        return 0;
    };
    if want.replicas <= 0 {
        return 0;
    }
    let whole = want.whole();
    let carried = share_of_pods(stable.available, want.replicas, whole);
    let expected = whole.saturating_sub(carried).max(0);
    let step = if want.at.aborted {
        step_down(want)
    } else {
        weight_at(&step_only(want.at))
    };
    let Some(recorded) = want.recorded else {
        return expected.max(step).min(whole);
    };
    let weight = if step <= 0 {
        expected.min(recorded.canary)
    } else if carried < whole.saturating_sub(step) {
        recorded.canary
    } else {
        step.min(recorded.canary)
    };
    weight.clamp(0, whole)
}

/// The position with nothing but steps and index in force: a dynamic rollback is decided on a
/// Rollout that already counts as promoted, yet looks at its step.
fn step_only(at: Position<'_>) -> Position<'_> {
    Position {
        promote_full: false,
        has_stable: true,
        promoted: false,
        aborted: false,
        ..at
    }
}

/// `floor(whole * available / replicas)`: the share that so many pods can carry.
#[must_use]
pub fn share_of_pods(available: i32, replicas: i32, whole: i32) -> i32 {
    if replicas <= 0 {
        0
    } else {
        share_down(whole_or_default(whole), available, replicas)
    }
}

/// A weight that the canary's pods can carry: never above what is recorded already or what its
/// available pods amount to, whichever is more (SE-8, INV-2).
#[must_use]
pub fn carried(want: &Routed<'_>, weight: i32) -> i32 {
    let available = want.new.map_or(0, |rs| rs.available);
    let capacity = share_of_pods(available, want.replicas, want.whole());
    let recorded = want.recorded.map_or(0, |weights| weights.canary);
    weight.min(recorded.max(capacity)).clamp(0, want.whole())
}

/// Whether stable has the pods for what a canary at `weight` leaves to it (CTL-62, TRF-7); without a
/// stable ReplicaSet never. Where pods may be unavailable a broken pod is waived, else none is, and
/// whatever is left needs a pod (INV-1, INV-2).
#[must_use]
pub fn gate_open(
    stable: Option<RsCount>,
    replicas: i32,
    weight: i32,
    whole: i32,
    unavailable: i32,
    threshold: Option<Threshold>,
) -> bool {
    let whole = whole_or_default(whole);
    let left = whole.saturating_sub(weight);
    let all = share_up(replicas, left, whole);
    let need = if unavailable > 0 {
        share_down(replicas, left, whole).max(all.min(1))
    } else {
        all
    };
    stable.is_some_and(|rs| rs.available >= need || threshold_met(threshold, stable, need))
}

/// What is missing until the Rollout has the pods its current step wants (CTL-45); `None` when
/// nothing is. A stable version that scales with its traffic is not waited for.
#[must_use]
pub fn shortfall(want: &Routed<'_>, threshold: Option<Threshold>) -> Option<Shortfall> {
    let desired = counts(want);
    if !threshold_met(threshold, want.new, desired.canary) {
        return Some(Shortfall::Canary);
    }
    if want.dynamic {
        None
    } else {
        super::stable_shortfall(want.stable, desired.stable)
    }
}
