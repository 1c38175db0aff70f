//! Shares of pods and of requests, in whole numbers.

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

    /// SE-12: 64 bits, and nothing below zero.
    #[test]
    fn products_do_not_overflow() {
        assert_eq!(whole_or_default(0), 100);
        assert_eq!(whole_or_default(1), 1);
        assert_eq!(share_up(30, 100_000_000, 100_000_000), 30);
        assert_eq!(share_up(10, 15, 100), 2);
        assert_eq!(share_down(10, 15, 100), 1);
        assert_eq!(share_up(i32::MAX, i32::MAX, 1), i32::MAX);
        assert_eq!(share_up(-5, 10, 100), 0);
        assert_eq!(share_down(-5, 10, 100), 0);
        assert_eq!(share_down(10, -15, 100), 0);
        assert_eq!(share_down(29, 100_000_000, 100_000_000), 29);
        assert_eq!(share_up(10, 10, 0), 1, "a whole that cannot divide");
        assert_eq!(narrow(i64::MIN), i32::MIN);
    }
}
