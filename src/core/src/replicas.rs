//! How many pods each version gets: plain arithmetic, no objects.
//!
//! [`basic`] splits pods where the pod counts *are* the traffic split; [`routed`] sizes a canary
//! whose traffic a router splits. Both start from the [`weight_at`] a step asks for. All products
//! are 64 bits wide (SE-12), and every function is total: no input panics, none yields a negative
//! count.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub mod basic;
pub mod routed;
#[cfg(test)]
mod tests;

/// What is known about the size of one ReplicaSet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RsCount {
    /// `spec.replicas`: what was asked for.
    pub spec: i32,
    /// `status.replicas`: pods that exist.
    pub current: i32,
    /// `status.availableReplicas`: pods that can serve.
    pub available: i32,
}

impl RsCount {
    /// A ReplicaSet that has as many pods as were asked for, `available` of which can serve.
    #[must_use]
    pub fn new(spec: i32, available: i32) -> Self {
        Self {
            spec,
            current: spec,
            available,
        }
    }
}

/// A pair of sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pods of the new version.
    pub canary: i32,
    /// Pods of the stable version.
    pub stable: i32,
}

/// `maxSurge` and `maxUnavailable` as numbers of pods (CTL-30).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fences {
    /// Pods above `spec.replicas` that may exist.
    pub surge: i32,
    /// Pods below `spec.replicas` that may be unavailable.
    pub unavailable: i32,
}

impl Fences {
    /// Resolves both against `replicas`. Percentages of surge round up, of unavailability down; 25 %
    /// where a value is absent. If neither leaves room to move, one pod may be unavailable. A text
    /// that is no percentage makes both zero, without that exception (CTL-30).
    #[must_use]
    pub fn resolve(
        max_surge: Option<&IntOrString>,
        max_unavailable: Option<&IntOrString>,
        replicas: i32,
    ) -> Self {
        let replicas = replicas.max(0);
        let resolved =
            pods_of(max_surge, replicas, true).zip(pods_of(max_unavailable, replicas, false));
        let Some((surge, unavailable)) = resolved else {
            return Self {
                surge: 0,
                unavailable: 0,
            };
        };
        let unavailable = if surge == 0 && unavailable == 0 {
            1
        } else {
            unavailable
        };
        Self {
            surge,
            unavailable: unavailable.min(replicas),
        }
    }

    /// Blue-green's `maxUnavailable`, which only restarts look at: rounds down, may be zero
    /// (CTL-126).
    #[must_use]
    pub fn blue_green_unavailable(max_unavailable: Option<&IntOrString>, replicas: i32) -> i32 {
        let replicas = replicas.max(0);
        pods_of(max_unavailable, replicas, false)
            .unwrap_or(0)
            .min(replicas)
    }
}

/// A number of pods, or a percentage of `replicas`; 25 % when absent. Every text is a percentage,
/// with or without its sign (API-14). `None` when the text is no number.
fn pods_of(value: Option<&IntOrString>, replicas: i32, round_up: bool) -> Option<i32> {
    let percent = match value {
        Some(IntOrString::Int(pods)) => return Some((*pods).max(0)),
        Some(IntOrString::String(text)) => text.replace('%', "").parse::<i32>().ok()?,
        None => 25,
    };
    let share = if round_up {
        crate::units::share_up
    } else {
        crate::units::share_down
    };
    Some(share(replicas, percent, 100))
}

/// What a step says about sizes; every step of `spec.strategy.canary.steps` has one, empty or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepSize {
    /// `setWeight`.
    pub weight: Option<i32>,
    /// `setCanaryScale`.
    pub scale: Option<CanaryScale>,
}

/// A `setCanaryScale` step, its precedence resolved: `matchTrafficWeight`, then `replicas`, then
/// `weight`; an empty one follows the traffic weight (CTL-46).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryScale {
    /// As many pods as the traffic weight needs.
    MatchTrafficWeight,
    /// This many pods.
    Replicas(i32),
    /// As many pods as this weight would need.
    Weight(i32),
}

impl CanaryScale {
    /// From the three optional fields of the step.
    #[must_use]
    pub fn new(match_traffic_weight: bool, replicas: Option<i32>, weight: Option<i32>) -> Self {
        match (match_traffic_weight, replicas, weight) {
            (true, _, _) | (false, None, None) => Self::MatchTrafficWeight,
            (false, Some(replicas), _) => Self::Replicas(replicas),
            (false, None, Some(weight)) => Self::Weight(weight),
        }
    }
}

/// Where a canary stands, as far as its weight depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position<'a> {
    /// What the steps say, in order.
    pub steps: &'a [StepSize],
    /// `status.currentStepIndex`.
    pub index: Option<i32>,
    /// `status.promoteFull`.
    pub promote_full: bool,
    /// `status.stableRS` is not empty.
    pub has_stable: bool,
    /// `status.stableRS` is the current hash.
    pub promoted: bool,
    /// `status.abort`.
    pub aborted: bool,
    /// `maxTrafficWeight`, or 100 without traffic routing.
    pub whole: i32,
}

impl Position<'_> {
    /// The steps up to and including the current one; `None` when there is no current step: no
    /// steps at all, or all of them done.
    fn reached(&self) -> Option<&[StepSize]> {
        let index = usize::try_from(self.index.unwrap_or(0)).unwrap_or(0);
        self.steps.get(..=index)
    }
}

/// The weight that the steps ask for (CTL-31).
#[must_use]
pub fn weight_at(at: &Position<'_>) -> i32 {
    let whole = crate::units::whole_or_default(at.whole);
    if at.promote_full || !at.has_stable || at.promoted {
        return whole;
    }
    if at.aborted {
        return 0;
    }
    match at.reached() {
        None => whole,
        Some(steps) => steps.iter().rev().find_map(|step| step.weight).unwrap_or(0),
    }
}

/// The nearest `setWeight` strictly before the current step, else 0: what traffic keeps while the
/// canary is still growing towards the current step (CTL-61).
#[must_use]
pub fn weight_before(at: &Position<'_>) -> i32 {
    let index = usize::try_from(at.index.unwrap_or(0))
        .unwrap_or(0)
        .min(at.steps.len());
    at.steps
        .iter()
        .take(index)
        .rev()
        .find_map(|step| step.weight)
        .unwrap_or(0)
}

/// `replicaProgressThreshold`: when fewer than all pods are enough to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// Percent of the desired count.
    Percent(i32),
    /// A number of pods.
    Pods(i32),
}

/// Whether a ReplicaSet counts as having reached `desired` (CTL-132). Without a (valid) threshold,
/// or without a ReplicaSet, it must have exactly as many pods, all available.
#[must_use]
pub fn threshold_met(threshold: Option<Threshold>, rs: Option<RsCount>, desired: i32) -> bool {
    let count = rs.unwrap_or_default();
    match threshold.filter(|_| rs.is_some()) {
        Some(Threshold::Percent(value)) if value >= 0 => {
            desired <= 0
                || 100 * i64::from(count.available) >= i64::from(value) * i64::from(desired)
        }
        // Never more than there are to be: nobody could wait for those.
        Some(Threshold::Pods(value)) if value >= 0 => count.available >= value.min(desired.max(0)),
        Some(Threshold::Percent(_) | Threshold::Pods(_)) | None => {
            count.spec == desired && count.available == desired
        }
    }
}

/// What keeps a Rollout from being at its desired counts (CTL-45).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// The canary does not have its pods, or they are not available.
    Canary,
    /// The stable version does not have exactly its pods.
    Stable,
    /// Older versions still have pods that can serve.
    Others,
}

/// Whether the stable side and the others are where they should be; the part of CTL-45 that both
/// kinds of canary share.
fn stable_shortfall(stable: Option<RsCount>, desired: i32) -> Option<Shortfall> {
    let there = stable.is_some_and(|rs| rs.spec == desired && rs.current == desired);
    (!there).then_some(Shortfall::Stable)
}
