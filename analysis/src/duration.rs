//! Go durations (ANA-2).

/// Nanoseconds of a text such as `1h30m`, `-1.5s`, `300ms`, `0`.
///
/// # Errors
/// In Go's words: `time: invalid duration "asdf"`, `time: missing unit in duration "5"`,
/// `time: unknown unit "d" in duration "1d"`.
pub fn parse_nanoseconds(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or_default()),
        Some(b'+') => (false, text.get(1..).unwrap_or_default()),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit();
        let after_whole = rest.trim_start_matches(is_number);
        let whole = rest
            .get(..rest.len() - after_whole.len())
            .unwrap_or_default();
        let (fraction, after_number) = match after_whole.strip_prefix('.') {
            Some(tail) => {
                let after = tail.trim_start_matches(is_number);
                (
                    tail.get(..tail.len() - after.len()).unwrap_or_default(),
                    after,
                )
            }
            None => ("", after_whole),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = after_number
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after_number.len());
        let (unit, next) = after_number.split_at(end);
        let scale: u128 = match unit {
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        };
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| invalid())?
        };
        // More than 18 digits are far below a nanosecond.
        let digits = fraction.get(..fraction.len().min(18)).unwrap_or_default();
        let part: u128 = if digits.is_empty() {
            0
        } else {
            digits.parse().map_err(|_| invalid())?
        };
        let power = 10u128.pow(u32::try_from(digits.len()).unwrap_or(18));
        total = total
            .saturating_add(u128::from(whole).saturating_mul(scale))
            .saturating_add(part * scale / power);
        rest = next;
    }
    let total = i128::try_from(total).map_err(|_| invalid())?;
    i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ANA-2
    #[test]
    fn go_durations() {
        for (text, want) in [
            ("0", Ok(0)),
            ("1h30m", Ok(5_400_000_000_000)),
            ("-1.5s", Ok(-1_500_000_000)),
            (".5ms", Ok(500_000)),
            ("3µs", Ok(3_000)),
            ("1h1m1s1ms1us1ns", Ok(3_661_001_001_001)),
            ("asdf", Err("time: invalid duration \"asdf\"")),
            ("", Err("time: invalid duration \"\"")),
            ("5", Err("time: missing unit in duration \"5\"")),
            ("1d", Err("time: unknown unit \"d\" in duration \"1d\"")),
            ("9999999999h", Err("time: invalid duration \"9999999999h\"")),
        ] {
            assert_eq!(
                parse_nanoseconds(text),
                want.map_err(str::to_owned),
                "{text}"
            );
        }
    }
}
