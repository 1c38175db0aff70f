//! Durations as Go writes and reads them: `1h30m`, `10s`, `1.5s` (API-1, ANA-2).

use std::fmt;
use std::str::FromStr;

/// A signed duration in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(i64);

/// Why a text is no duration; the words are those that users know from the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not of the form at all, or beyond 292 years.
    #[error("time: invalid duration {}", quote(.0))]
    Invalid(String),
    /// A number without unit.
    #[error("time: missing unit in duration {}", quote(.0))]
    MissingUnit(String),
    /// A unit that is none of ns, us, ms, s, m, h.
    #[error("time: unknown unit {} in duration {}", quote(.unit), quote(.text))]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

const SECOND: i64 = 1_000_000_000;

impl GoDuration {
    /// From whole seconds; saturates.
    pub fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(SECOND))
    }

    /// From nanoseconds.
    pub fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Whole seconds, cut towards zero.
    pub fn as_secs(self) -> i64 {
        self.0 / SECOND
    }

    /// Seconds with their fraction.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / SECOND as f64
    }

    /// Nanoseconds.
    pub fn as_nanos(self) -> i64 {
        self.0
    }

    /// As the duration type of the clock.
    pub fn signed(self) -> jiff::SignedDuration {
        jiff::SignedDuration::from_nanos(self.0)
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let invalid = || DurationError::Invalid(text.to_owned());
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let (whole, after) = split_digits(rest);
            let (fraction, after) = match after.strip_prefix('.') {
                Some(after) => split_digits(after),
                None => ("", after),
            };
            if whole.is_empty() && fraction.is_empty() {
                return Err(invalid());
            }
            let end = after
                .find(|c: char| c == '.' || c.is_ascii_digit())
                .unwrap_or(after.len());
            let (unit, after) = after.split_at(end);
            let scale: i128 = match unit {
                "ns" => 1,
                "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
                "ms" => 1_000_000,
                "s" => SECOND.into(),
                "m" => i128::from(SECOND) * 60,
                "h" => i128::from(SECOND) * 3600,
                "" => return Err(DurationError::MissingUnit(text.to_owned())),
                unit => {
                    return Err(DurationError::UnknownUnit {
                        unit: unit.to_owned(),
                        text: text.to_owned(),
                    });
                }
            };
            let whole: i128 = match whole {
                "" => 0,
                digits if digits.trim_start_matches('0').len() > 19 => return Err(invalid()),
                digits => digits.parse().map_err(|_| invalid())?,
            };
            total += whole * scale + fraction_of(fraction, scale);
            if total > i128::from(i64::MAX) + i128::from(negative) {
                return Err(invalid());
            }
            rest = after;
        }
        if negative {
            total = -total;
        }
        i64::try_from(total).map(Self).map_err(|_| invalid())
    }
}

/// `0.<digits>` of `scale`, cut to whole nanoseconds; more digits than that do not matter.
fn fraction_of(digits: &str, scale: i128) -> i128 {
    let (mut value, mut divisor) = (0_i128, 1_i128);
    for digit in digits.bytes().take(18) {
        value = value * 10 + i128::from(digit - b'0');
        divisor *= 10;
    }
    value * scale / divisor
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let nanos = self.0.unsigned_abs();
        let second = SECOND.unsigned_abs();
        if nanos == 0 {
            return f.write_str("0s");
        }
        if nanos < second {
            let (unit, name) = match nanos {
                0..1_000 => (1, "ns"),
                1_000..1_000_000 => (1_000, "\u{b5}s"),
                _ => (1_000_000, "ms"),
            };
            return write!(f, "{}{name}", decimal(nanos, unit));
        }
        let (hours, minutes) = (nanos / second / 3600, nanos / second / 60 % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}s", decimal(nanos % (60 * second), second))
    }
}

/// `value / unit` in decimal without trailing zeros.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, fraction) = (value / unit, value % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let digits = unit.ilog10() as usize;
    let fraction = format!("{fraction:0digits$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ANA-2
    #[test]
    fn reads_what_go_reads() {
        for (text, want) in [
            ("0", Ok("0s")),
            ("5m", Ok("5m0s")),
            ("1h30m", Ok("1h30m0s")),
            ("1.5h", Ok("1h30m0s")),
            ("-1.5s", Ok("-1.5s")),
            ("+10ms", Ok("10ms")),
            (".5s", Ok("500ms")),
            ("5.s", Ok("5s")),
            ("1us", Ok("1\u{b5}s")),
            ("1m1ns", Ok("1m0.000000001s")),
            ("2562047h47m16.854775807s", Ok("2562047h47m16.854775807s")),
            ("asdf", Err("time: invalid duration \"asdf\"")),
            ("", Err("time: invalid duration \"\"")),
            ("5", Err("time: missing unit in duration \"5\"")),
            ("1d", Err("time: unknown unit \"d\" in duration \"1d\"")),
            (
                "1h 5m",
                Err("time: unknown unit \"h \" in duration \"1h 5m\""),
            ),
            ("2562048h", Err("time: invalid duration \"2562048h\"")),
            (".s", Err("time: invalid duration \".s\"")),
            ("-", Err("time: invalid duration \"-\"")),
        ] {
            let got = text.parse::<GoDuration>();
            let got = got.map(|d| d.to_string()).map_err(|e| e.to_string());
            assert_eq!(
                got,
                want.map(str::to_owned).map_err(str::to_owned),
                "{text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_back(nanos: i64) {
            let duration = GoDuration::from_nanos(nanos);
            proptest::prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }
}
