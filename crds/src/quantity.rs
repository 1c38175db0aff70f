//! Resource quantities: read, compare and write in their canonical form (CTL-19).

/// An amount in units of 10^-9, and how it was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantity {
    nanos: i128,
    style: Style,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Style {
    Decimal,
    Binary,
    Exponent,
}

const NANO: i128 = 1_000_000_000;
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// Reads a quantity; `None` when it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let digits: String = [whole, fraction].concat();
        let digits = digits.trim_start_matches('0');
        let mut mantissa: i128 = match digits {
            "" => 0,
            digits => digits.get(..digits.len().min(30))?.parse().ok()?,
        };
        let mut exponent = i32::try_from(digits.len().saturating_sub(30)).ok()?
            - i32::try_from(fraction.len()).ok()?;
        let style = if let Some(at) = BINARY.iter().position(|s| *s == suffix) {
            mantissa = mantissa.checked_shl(10 * (u32::try_from(at).ok()? + 1))?;
            Style::Binary
        } else if let Some((_, power)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
            exponent += power;
            Style::Decimal
        } else {
            exponent += suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
            Style::Exponent
        };
        let nanos = scale(mantissa, exponent + 9);
        Some(Self {
            nanos: if negative { -nanos } else { nanos },
            style,
        })
    }

    /// The amount in units of 10^-9.
    pub(crate) fn nanos(self) -> i128 {
        self.nanos
    }

    /// Rounded up to thousandths.
    pub(crate) fn rounded_to_milli(self) -> Self {
        Self {
            nanos: div_ceil(self.nanos, 1_000_000) * 1_000_000,
            ..self
        }
    }
}

/// `mantissa * 10^exponent`, rounded away from zero, saturating.
fn scale(mut mantissa: i128, exponent: i32) -> i128 {
    for _ in 0..exponent {
        mantissa = match mantissa.checked_mul(10) {
            Some(scaled) => scaled,
            None => return i128::MAX,
        };
    }
    for step in exponent..0 {
        if mantissa == 0 {
            break;
        }
        // Only the last division may round up, or halves would add up.
        mantissa = if step == -1 {
            div_ceil(mantissa, 10)
        } else {
            div_keep(mantissa, 10)
        };
    }
    mantissa
}

fn div_ceil(value: i128, by: i128) -> i128 {
    value.div_euclid(by) + i128::from(value.rem_euclid(by) != 0)
}

/// Division that leaves a trace of what it cuts off, so that a later rounding up sees it.
fn div_keep(value: i128, by: i128) -> i128 {
    let (quotient, rest) = (value / by, value % by);
    if rest != 0 && quotient % 10 == 0 {
        quotient + 1
    } else {
        quotient
    }
}

/// The canonical form: no fraction, the largest suffix that leaves a whole number, and powers of
/// 1024 only for whole amounts of at least 1024 that were written so.
impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let whole = self.nanos % NANO == 0;
        if self.style == Style::Binary && whole && self.nanos.abs() >= 1024 * NANO {
            let mut number = self.nanos / NANO;
            let mut suffix = "";
            for next in BINARY {
                if number % 1024 != 0 {
                    break;
                }
                number /= 1024;
                suffix = next;
            }
            return write!(f, "{number}{suffix}");
        }
        let (mut number, mut exponent) = (self.nanos, -9);
        while number % 1000 == 0 && exponent < 18 {
            number /= 1000;
            exponent += 3;
        }
        if self.style == Style::Exponent {
            return match exponent {
                0 => write!(f, "{number}"),
                exponent => write!(f, "{number}e{exponent}"),
            };
        }
        let suffix = DECIMAL
            .iter()
            .find(|(_, power)| *power == exponent)
            .map_or("", |(s, _)| s);
        write!(f, "{number}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CTL-19
    #[test]
    fn canonical_forms() {
        for (text, want) in [
            ("0.001", "1m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1500m", "1500m"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1000", "1k"),
            ("1e3", "1e3"),
            ("1E", "1E"),
            ("128974848", "128974848"),
            ("0.5Ki", "512"),
            ("0.5Gi", "512Mi"),
            ("1Ki", "1Ki"),
            ("1025", "1025"),
            ("100.1Ki", "102502400m"),
            ("00.50", "500m"),
            ("0Mi", "0"),
            ("-1", "-1"),
            ("1.0000000001", "1000000001n"),
            ("2.00", "2"),
        ] {
            let got = Quantity::parse(text).map(|q| q.to_string());
            assert_eq!(got.as_deref(), Some(want), "{text}");
        }
        for text in ["", "x", "1x", "1.2.3", "."] {
            assert!(Quantity::parse(text).is_none(), "{text}");
        }
    }
}
