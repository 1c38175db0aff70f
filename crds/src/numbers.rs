//! Numbers that users may write as text (API-1, API-14, ANA-2).

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The number; a text that is no base-10 integer counts as 0 (ANA-2).
pub fn int_value(value: &IntOrString) -> i64 {
    match value {
        IntOrString::Int(number) => (*number).into(),
        IntOrString::String(text) => text.parse().unwrap_or(0),
    }
}

/// The number of an optional member, absent counting as `default`.
pub fn int_or(value: Option<&IntOrString>, default: i64) -> i64 {
    value.map_or(default, int_value)
}

/// As users wrote it.
pub fn as_written(value: &IntOrString) -> String {
    match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}

/// Which way a percentage of pods is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// Down, for `maxUnavailable`.
    Down,
    /// Up, for `maxSurge`.
    Up,
}

/// A count of pods: a number is a count, any text is a percentage of `total` (API-14). A text that
/// is no number counts as 0.
pub fn pods_of(value: &IntOrString, total: i32, round: Round) -> i32 {
    let IntOrString::String(_) = value else {
        return clamp(int_value(value));
    };
    let share = leading_number(value).saturating_mul(total.into());
    clamp(match round {
        Round::Down => share.div_euclid(100),
        Round::Up => share.saturating_add(99).div_euclid(100),
    })
}

/// The number in a count or percentage, without regard to the number of pods.
pub fn leading_number(value: &IntOrString) -> i64 {
    match value {
        IntOrString::Int(number) => (*number).into(),
        IntOrString::String(text) => text
            .strip_suffix('%')
            .unwrap_or(text)
            .parse()
            .unwrap_or_default(),
    }
}

fn clamp(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> IntOrString {
        IntOrString::String(text.to_owned())
    }

    /// API-14: every text is a percentage.
    #[test]
    fn texts_are_percentages() {
        for (value, total, up, down) in [
            (text("25%"), 10, 3, 2),
            (text("5"), 100, 5, 5),
            (text("5"), 10, 1, 0),
            (IntOrString::Int(5), 10, 5, 5),
            (text("x"), 10, 0, 0),
            (text("0%"), 10, 0, 0),
        ] {
            assert_eq!(pods_of(&value, total, Round::Up), up, "{value:?}");
            assert_eq!(pods_of(&value, total, Round::Down), down, "{value:?}");
        }
    }

    /// ANA-2
    #[test]
    fn what_is_no_number_counts_as_zero() {
        assert_eq!(int_value(&text("7")), 7);
        assert_eq!(int_value(&text("{{args.n}}")), 0);
        assert_eq!(int_or(None, 4), 4);
    }
}
