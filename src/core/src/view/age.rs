//! Times as Kubernetes tools shorten them (CLI-7).

use jiff::{SignedDuration, Timestamp};

/// Time since a moment; `<unknown>` when there is none.
#[must_use]
pub fn since(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(
        || "<unknown>".to_owned(),
        |at| short(now.duration_since(at)),
    )
}

/// A duration in its one or two largest units, cut.
#[must_use]
pub fn short(duration: SignedDuration) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    if duration < SignedDuration::from_secs(-1) {
        return "<invalid>".to_owned();
    }
    let s = duration.as_secs().max(0);
    if s < 2 * MINUTE {
        format!("{s}s")
    } else if s < 10 * MINUTE {
        two(s / MINUTE, "m", s % MINUTE, "s")
    } else if s < 3 * HOUR {
        format!("{}m", s / MINUTE)
    } else if s < 8 * HOUR {
        two(s / HOUR, "h", s % HOUR / MINUTE, "m")
    } else if s < 2 * DAY {
        format!("{}h", s / HOUR)
    } else if s < 8 * DAY {
        two(s / DAY, "d", s % DAY / HOUR, "h")
    } else if s < 2 * YEAR {
        format!("{}d", s / DAY)
    } else if s < 8 * YEAR {
        two(s / YEAR, "y", s % YEAR / DAY, "d")
    } else {
        format!("{}y", s / YEAR)
    }
}

fn two(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}
