//! Units as types: a number that could mean two things gets a name.

use std::fmt;

/// Share of requests, in parts of a whole that is `maxTrafficWeight` (default 100). The checked
/// form of every weight that leaves the core: `0 <= weight <= whole` (INV-13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    parts: i32,
    whole: i32,
}

impl Weight {
    /// `parts` of `whole`, moved into the range where it lies outside. A whole below 1 (which
    /// validation refuses) counts as 100.
    #[must_use]
    pub fn clamped(parts: i32, whole: i32) -> Self {
        let whole = whole_or_default(whole);
        Self {
            parts: parts.clamp(0, whole),
            whole,
        }
    }

    /// `None` where the number lies outside of `0..=whole`.
    #[must_use]
    pub fn checked(parts: i32, whole: i32) -> Option<Self> {
        (whole > 0 && (0..=whole).contains(&parts)).then_some(Self { parts, whole })
    }

    /// The share itself.
    #[must_use]
    pub fn parts(self) -> i32 {
        self.parts
    }

    /// What it is a share of.
    #[must_use]
    pub fn whole(self) -> i32 {
        self.whole
    }

    /// What is left for everything else.
    #[must_use]
    pub fn rest(self) -> i32 {
        self.whole - self.parts
    }

    /// Pods that this share of `replicas` needs, rounded up.
    #[must_use]
    pub fn pods(self, replicas: i32) -> i32 {
        share_up(replicas, self.parts, self.whole)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.parts, self.whole)
    }
}

/// Pod-template hash, as found in the label `rollouts-pod-template-hash`: compared, never parsed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodHash(Box<str>);

impl PodHash {
    /// `None` for the empty text, which in status fields means "none".
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// The label value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PodHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The whole that weights are parts of; a value below 1 cannot divide anything and counts as 100.
#[must_use]
pub fn whole_or_default(whole: i32) -> i32 {
    if whole > 0 { whole } else { 100 }
}

/// `ceil(replicas * parts / whole)` in 64 bits (SE-12), never negative.
#[must_use]
pub fn share_up(replicas: i32, parts: i32, whole: i32) -> i32 {
    let whole = i64::from(whole_or_default(whole));
    let product = i64::from(replicas.max(0)) * i64::from(parts.max(0));
    narrow(product.div_euclid(whole) + i64::from(product.rem_euclid(whole) != 0))
}

/// `floor(replicas * parts / whole)` in 64 bits (SE-12), never negative.
#[must_use]
pub fn share_down(replicas: i32, parts: i32, whole: i32) -> i32 {
    let whole = i64::from(whole_or_default(whole));
    narrow((i64::from(replicas.max(0)) * i64::from(parts.max(0))).div_euclid(whole))
}

/// Back to the width of the API, at its bounds where it does not fit.
pub(crate) fn narrow(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// INV-13, SE-12
    #[test]
    fn weights_stay_in_range_and_products_do_not_overflow() {
        assert_eq!(Weight::clamped(120, 100).parts(), 100);
        assert_eq!(Weight::clamped(-3, 100).parts(), 0);
        assert_eq!(Weight::clamped(5, 0).whole(), 100);
        assert_eq!(Weight::checked(101, 100), None);
        assert_eq!(Weight::clamped(30, 100).rest(), 70);
        assert_eq!(share_up(30, 100_000_000, 100_000_000), 30);
        assert_eq!(share_up(10, 15, 100), 2);
        assert_eq!(share_down(10, 15, 100), 1);
        assert_eq!(share_up(i32::MAX, i32::MAX, 1), i32::MAX);
        assert_eq!(share_up(-5, 10, 100), 0);
    }

    #[test]
    fn an_empty_hash_is_no_hash() {
        assert_eq!(PodHash::new(""), None);
        assert_eq!(
            PodHash::new("597bb485d8").map(|h| h.to_string()),
            Some("597bb485d8".into())
        );
    }
}
