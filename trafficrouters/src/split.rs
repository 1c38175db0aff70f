//! The wanted split in the parts a provider counts in (INV-13, SE-19).

use sluice_core::traffic::Want;

/// Parts of a whole: `canary + additional + stable` is exactly that whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// For the canary.
    pub canary: i64,
    /// For each of [`Want::additional`], in that order.
    pub additional: Vec<i64>,
    /// The rest.
    pub stable: i64,
}

impl Shares {
    /// The split in parts of `whole`. Values out of bounds are cut, the canary taking precedence
    /// over further destinations; rounding follows the largest remainder, stable first among equals.
    #[must_use]
    pub fn of(want: &Want, whole: i64) -> Self {
        let max = i64::from(want.max_weight).max(1);
        let mut rest = max;
        let canary = take(&mut rest, i64::from(want.weight));
        let additional: Vec<i64> = want
            .additional
            .iter()
            .map(|a| take(&mut rest, i64::from(a.weight)))
            .collect();
        let mut parts = vec![rest, canary];
        parts.extend(additional);
        let mut scaled = largest_remainder(&parts, max, whole).into_iter();
        let stable = scaled.next().unwrap_or_default();
        let canary = scaled.next().unwrap_or_default();
        Self {
            canary,
            additional: scaled.collect(),
            stable,
        }
    }

    /// Canary and stable alone, for providers that know no further destinations.
    #[must_use]
    pub fn of_two(want: &Want, whole: i64) -> Self {
        Self::of(
            &Want {
                additional: Vec::new(),
                ..want.clone()
            },
            whole,
        )
    }

    /// The same with `foreign` parts already given away to others: stable pays first, then further
    /// destinations from the last, then the canary.
    #[must_use]
    pub fn beside(mut self, foreign: i64) -> Self {
        let mut owed = foreign.max(0);
        let payers = [&mut self.stable]
            .into_iter()
            .chain(self.additional.iter_mut().rev())
            .chain([&mut self.canary]);
        for part in payers {
            owed -= take(part, owed);
        }
        self
    }
}

/// Takes up to `wanted` (never less than 0) out of `rest`.
fn take(rest: &mut i64, wanted: i64) -> i64 {
    let taken = wanted.clamp(0, (*rest).max(0));
    *rest -= taken;
    taken
}

/// Scales parts of `max` to parts of `whole`.
fn largest_remainder(parts: &[i64], max: i64, whole: i64) -> Vec<i64> {
    let mut scaled: Vec<i64> = parts.iter().map(|p| p * whole / max).collect();
    let mut by_remainder: Vec<usize> = (0..parts.len()).collect();
    by_remainder.sort_by_key(|i| std::cmp::Reverse(parts.get(*i).map_or(0, |p| p * whole % max)));
    let missing = whole - scaled.iter().sum::<i64>();
    for i in by_remainder
        .into_iter()
        .take(usize::try_from(missing).unwrap_or_default())
    {
        if let Some(part) = scaled.get_mut(i) {
            *part += 1;
        }
    }
    scaled
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sluice_core::traffic::Additional;

    use super::Shares;
    use crate::conformance::want;

    fn shares(weight: i32, max: i32, additional: &[i32]) -> Shares {
        let mut want = want(weight);
        want.max_weight = max;
        want.additional = additional
            .iter()
            .map(|w| Additional {
                weight: *w,
                service: "x".into(),
                pod_hash: "h".into(),
            })
            .collect();
        Shares::of(&want, 100)
    }

    /// INV-13, SE-19
    #[test]
    fn splits_add_up() {
        let table = [
            (shares(10, 100, &[]), (10, vec![], 90)),
            (shares(10, 100, &[20]), (10, vec![20], 70)),
            (shares(90, 100, &[20, 5]), (90, vec![10, 0], 0)),
            (shares(333, 1000, &[]), (33, vec![], 67)),
            (shares(1, 3, &[1]), (33, vec![33], 34)),
            (shares(-5, 100, &[]), (0, vec![], 100)),
            (shares(400, 100, &[]), (100, vec![], 0)),
            (shares(1, 0, &[]), (100, vec![], 0)),
        ];
        for (is, (canary, additional, stable)) in table {
            assert_eq!(
                is,
                Shares {
                    canary,
                    additional,
                    stable
                }
            );
        }
    }

    proptest! {
        /// INV-13
        #[test]
        fn every_split_adds_up(
            weight: i32, max: i32, add in prop::collection::vec(any::<i32>(), 0..3), foreign in 0i64..300,
        ) {
            let split = shares(weight, max, &add);
            let sum = |s: &Shares| s.canary + s.stable + s.additional.iter().sum::<i64>();
            prop_assert_eq!(sum(&split), 100);
            let left = split.beside(foreign);
            prop_assert_eq!(sum(&left), (100 - foreign).max(0));
            prop_assert!(left.canary >= 0 && left.stable >= 0);
        }
    }
}
