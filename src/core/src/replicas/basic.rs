//! Canary without traffic routing: the pod counts are the split (CTL-32..34).

use super::{Counts, Fences, Position, RsCount, Shortfall, Threshold, threshold_met, weight_at};
use crate::units::{narrow, share_down, share_up, whole_or_default};

/// The pod counts that come nearest to a weight (CTL-32).
///
/// From 1 % to 99 % both sides keep at least one pod where there are two or more; ties go to the
/// larger canary; with a surge the total may be one more than `replicas`.
#[must_use]
pub fn goal(replicas: i32, weight: i32, whole: i32, surge: i32) -> Counts {
    let whole = whole_or_default(whole);
    let replicas = replicas.max(0);
    if replicas == 0 {
        return Counts::default();
    }
    let weight = weight.clamp(0, whole);
    let up = share_up(replicas, weight, whole);
    let down = share_down(replicas, weight, whole);
    let zero_ok = weight == 0 || weight == whole || (replicas == 1 && surge == 0);
    let floor_ok = |total| !tied(total, weight, whole) && (down != 0 || zero_ok);

    let mut candidates: Vec<(i32, i32)> = Vec::with_capacity(4);
    if up < replicas || zero_ok {
        candidates.push((up, replicas));
    }
    if floor_ok(replicas) {
        candidates.push((down, replicas));
    }
    if surge > 0 {
        let total = replicas.saturating_add(1);
        candidates.push((up, total));
        if floor_ok(total) {
            candidates.push((down, total));
        }
    }
    let distance = |(canary, total): (i32, i32)| {
        (f64::from(canary) * f64::from(whole) / f64::from(total) - f64::from(weight)).abs()
    };
    let best = candidates.into_iter().reduce(|best, next| {
        if distance(next) < distance(best) {
            next
        } else {
            best
        } // ties keep the earlier
    });
    let (canary, total) = best.unwrap_or((0, replicas));
    Counts {
        canary,
        stable: total - canary,
    }
}

/// Whether rounding up and rounding down are equally far off. Floating point on purpose: which
/// weights tie is visible in pod counts.
fn tied(total: i32, weight: i32, whole: i32) -> bool {
    (f64::from(total) * (f64::from(weight) / f64::from(whole))).fract() == 0.5
}

/// Everything that the next counts depend on.
#[derive(Clone, Copy, Debug)]
pub struct Sizes<'a> {
    /// `spec.replicas`.
    pub replicas: i32,
    /// Wanted share of pods, in percent (CTL-31).
    pub weight: i32,
    /// Room to move.
    pub fences: Fences,
    /// The ReplicaSet of the current template.
    pub new: Option<RsCount>,
    /// The stable ReplicaSet, when it is another one than `new`.
    pub stable: Option<RsCount>,
    /// All further owned ReplicaSets.
    pub others: &'a [RsCount],
    /// Pods that stable keeps at any weight, because its Service has no others (INV-1).
    pub held: i32,
}

impl Sizes<'_> {
    fn goal(&self) -> Counts {
        if self.stable.is_none() {
            return Counts {
                canary: self.replicas.max(0),
                stable: 0,
            };
        }
        let mut goal = goal(self.replicas, self.weight, 100, self.fences.surge);
        if goal.stable < self.held {
            let room = self.replicas.max(0).saturating_add(self.fences.surge);
            goal.stable = self.held;
            goal.canary = goal.canary.min(room.saturating_sub(self.held).max(0));
        }
        goal
    }

    fn ceiling(&self) -> i64 {
        i64::from(self.replicas.max(0)) + i64::from(self.fences.surge)
    }

    /// Available pods of all versions, those apart that are going already.
    fn available(&self) -> i64 {
        let both = [self.new, self.stable];
        let all = both.iter().flatten().chain(self.others);
        all.map(|rs| i64::from(rs.available.min(rs.spec))).sum()
    }

    fn floor(&self) -> i64 {
        i64::from(self.replicas.max(0)) - i64::from(self.fences.unavailable)
    }
}

/// The next sizes on the way to the goal, within both budgets (CTL-33).
///
/// Growth comes first and stable grows before the canary; older versions drain before either
/// shrinks. While the canary grows, the readiness of stable is ignored, so that a crashing stable
/// version cannot block a good canary; while it shrinks, the readiness of the canary is.
///
/// Without a second version (first deploy, or promoted) shrinking is plain: to `replicas` at once,
/// since the ReplicaSet controller removes pods that are not ready first (SE-14).
#[must_use]
pub fn next(sizes: &Sizes<'_>) -> Counts {
    let goal = sizes.goal();
    let (goal_new, goal_stable) = (i64::from(goal.canary), i64::from(goal.stable));
    let spec = |rs: Option<RsCount>| rs.map_or(0, |rs| i64::from(rs.spec));
    let olds: i64 = sizes.others.iter().map(|rs| i64::from(rs.spec)).sum();
    let (mut new, mut stable) = (spec(sizes.new), spec(sizes.stable));
    let mut room = sizes.ceiling() - (new + stable + olds);
    if sizes.stable.is_some() && stable < goal_stable && room > 0 {
        let grow = room.min(goal_stable - stable);
        stable += grow;
        room -= grow;
    }
    if sizes.new.is_some() && new < goal_new && room > 0 {
        new += room.min(goal_new - new);
    }
    let Some(stable_rs) = sizes.stable else {
        return to_counts(new.min(goal_new), 0);
    };
    if olds > 0 {
        if new + stable + olds < sizes.ceiling() || sizes.available() > sizes.floor() {
            return to_counts(new, stable);
        }
        // Full, and no old version can give up a pod: those that do not serve make room, or nothing
        // would ever move (INV-10, INV-15).
        let serving = |rs: Option<RsCount>| rs.map_or(0, |rs| i64::from(rs.available));
        return to_counts(
            new.min(goal_new.max(serving(sizes.new))),
            stable.min(goal_stable.max(serving(sizes.stable))),
        );
    }
    let growing = sizes.new.is_none_or(|rs| goal_new >= i64::from(rs.spec));
    let spare = countable(sizes.new, !growing) + countable(sizes.stable, growing) - sizes.floor();
    if spare <= 0 {
        return to_counts(new, stable);
    }
    if growing {
        if i64::from(stable_rs.spec) > goal_stable {
            stable = goal_stable.max(i64::from(stable_rs.spec) - spare);
        }
        (stable, new) = fit(sizes, stable_rs, stable, sizes.new, new);
    } else if let Some(new_rs) = sizes.new {
        if i64::from(new_rs.spec) > goal_new {
            new = goal_new.max(i64::from(new_rs.spec) - spare);
        }
        (new, stable) = fit(sizes, new_rs, new, sizes.stable, stable);
    }
    to_counts(new, stable)
}

/// Pods of a ReplicaSet that count as serving; all that were asked for where readiness is ignored.
fn countable(rs: Option<RsCount>, ignore_readiness: bool) -> i64 {
    rs.map_or(0, |rs| {
        i64::from(if rs.spec < rs.available || ignore_readiness {
            rs.spec
        } else {
            rs.available
        })
    })
}

/// Fits the draining side `drain_to` and the kept side `keep_to` under the ceiling without giving
/// up kept pods that availability needs. Answers (drained, kept).
fn fit(
    sizes: &Sizes<'_>,
    drain: RsCount,
    drain_to: i64,
    keep: Option<RsCount>,
    keep_to: i64,
) -> (i64, i64) {
    let Some(keep) = keep else {
        return (drain_to, keep_to);
    };
    // Pods beyond the size are going already, and are no reason to grow again (INV-5).
    let available = i64::from(keep.available.min(keep.spec));
    let mut kept = keep_to - (drain_to + keep_to - sizes.ceiling()).max(0);
    let have = i64::from(drain.available).min(drain_to) + available.min(kept);
    kept += (available - kept).max(0).min((sizes.floor() - have).max(0));
    let drained = drain_to - (drain_to + kept - sizes.ceiling()).max(0);
    (drained, kept)
}

fn to_counts(canary: i64, stable: i64) -> Counts {
    Counts {
        canary: narrow(canary.max(0)),
        stable: narrow(stable.max(0)),
    }
}

/// What is missing until the Rollout has the pods its current step wants (CTL-45); `None` when
/// nothing is. Besides the next counts the goal itself must be reached, so that a step does not
/// complete at a point where the split merely cannot move on for lack of ready pods (SE-10).
#[must_use]
pub fn shortfall(sizes: &Sizes<'_>, threshold: Option<Threshold>) -> Option<Shortfall> {
    let want = next(sizes);
    let goal = sizes.goal();
    let at_goal = want.canary == goal.canary && sizes.new.map_or(0, |rs| rs.spec) == goal.canary;
    if !at_goal || !threshold_met(threshold, sizes.new, want.canary) {
        return Some(Shortfall::Canary);
    }
    if want.stable != goal.stable {
        return Some(Shortfall::Stable);
    }
    if sizes.stable.is_some() {
        let stable = super::stable_shortfall(sizes.stable, want.stable);
        if stable.is_some() {
            return stable;
        }
    }
    sizes
        .others
        .iter()
        .any(|rs| rs.available > 0)
        .then_some(Shortfall::Others)
}

/// The weight of a basic canary at a position; always in percent.
#[must_use]
pub fn weight(at: &Position<'_>) -> i32 {
    weight_at(&Position { whole: 100, ..*at })
}
