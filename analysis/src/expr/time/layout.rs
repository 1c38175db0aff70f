//! Go's time layouts: a layout is the moment Mon Jan 2 15:04:05 MST 2006 (-0700), written the way
//! that times shall be written.

use std::fmt::Write as _;

use jiff::Zoned;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

/// A piece of a layout.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Piece<'a> {
    Plain(&'a str),
    LongMonth,
    ShortMonth,
    Month {
        pad: bool,
    },
    LongWeekday,
    ShortWeekday,
    Day {
        pad: char,
    },
    YearDay,
    Hour,
    Hour12 {
        pad: bool,
    },
    Minute {
        pad: bool,
    },
    Second {
        pad: bool,
    },
    LongYear,
    ShortYear,
    UpperHalf,
    LowerHalf,
    ZoneName,
    /// `Z07:00` and its relatives.
    Offset {
        utc_is_z: bool,
        colon: bool,
        minutes: bool,
    },
    /// `.000` prints all digits, `.999` those needed.
    Fraction {
        digits: usize,
        all: bool,
    },
}

const PIECES: [(&str, Piece<'static>); 29] = [
    ("January", Piece::LongMonth),
    ("Jan", Piece::ShortMonth),
    ("Monday", Piece::LongWeekday),
    ("Mon", Piece::ShortWeekday),
    ("MST", Piece::ZoneName),
    ("2006", Piece::LongYear),
    ("002", Piece::YearDay),
    ("01", Piece::Month { pad: true }),
    ("02", Piece::Day { pad: '0' }),
    ("03", Piece::Hour12 { pad: true }),
    ("04", Piece::Minute { pad: true }),
    ("05", Piece::Second { pad: true }),
    ("06", Piece::ShortYear),
    ("15", Piece::Hour),
    ("_2", Piece::Day { pad: ' ' }),
    ("1", Piece::Month { pad: false }),
    ("2", Piece::Day { pad: '-' }),
    ("3", Piece::Hour12 { pad: false }),
    ("4", Piece::Minute { pad: false }),
    ("5", Piece::Second { pad: false }),
    ("PM", Piece::UpperHalf),
    ("pm", Piece::LowerHalf),
    (
        "-07:00",
        Piece::Offset {
            utc_is_z: false,
            colon: true,
            minutes: true,
        },
    ),
    (
        "-0700",
        Piece::Offset {
            utc_is_z: false,
            colon: false,
            minutes: true,
        },
    ),
    (
        "-07",
        Piece::Offset {
            utc_is_z: false,
            colon: false,
            minutes: false,
        },
    ),
    (
        "Z07:00",
        Piece::Offset {
            utc_is_z: true,
            colon: true,
            minutes: true,
        },
    ),
    (
        "Z0700",
        Piece::Offset {
            utc_is_z: true,
            colon: false,
            minutes: true,
        },
    ),
    (
        "Z07",
        Piece::Offset {
            utc_is_z: true,
            colon: false,
            minutes: false,
        },
    ),
    ("_2006", Piece::Plain("_")),
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

fn short(name: &str) -> &str {
    name.get(..3).unwrap_or(name)
}

/// The next piece of a layout, and what follows it.
fn piece(layout: &str) -> Option<(Piece<'_>, &str)> {
    let first = layout.chars().next()?;
    if let Some(rest) = layout.strip_prefix("_2006") {
        let _ = rest;
        return Some((Piece::Plain("_"), layout.get(1..).unwrap_or_default()));
    }
    for (text, piece) in PIECES {
        if let Some(rest) = layout.strip_prefix(text) {
            return Some((piece, rest));
        }
    }
    if matches!(first, '.' | ',') {
        for (digit, all) in [('0', true), ('9', false)] {
            let rest = layout
                .get(1..)
                .unwrap_or_default()
                .trim_start_matches(digit);
            let digits = layout.len() - 1 - rest.len();
            if digits > 0 && !rest.starts_with(|c: char| c.is_ascii_digit()) {
                return Some((Piece::Fraction { digits, all }, rest));
            }
        }
    }
    let end = first.len_utf8();
    Some((
        Piece::Plain(layout.get(..end)?),
        layout.get(end..).unwrap_or_default(),
    ))
}

/// Writes `t` as `layout` says.
pub(super) fn format(t: &Zoned, layout: &str) -> String {
    let mut out = String::new();
    let mut rest = layout;
    while let Some((piece, next)) = piece(rest) {
        write(t, piece, &mut out);
        rest = next;
    }
    out
}

fn name<'n>(names: &[&'n str], at: i8) -> &'n str {
    usize::try_from(at)
        .ok()
        .and_then(|at| names.get(at))
        .copied()
        .unwrap_or_default()
}

fn write(t: &Zoned, piece: Piece<'_>, out: &mut String) {
    let month = name(&MONTHS, t.month() - 1);
    let weekday = name(&WEEKDAYS, t.weekday().to_sunday_zero_offset());
    let half = t.hour() >= 12;
    let hour12 = (t.hour() + 11) % 12 + 1;
    let mut number = |n: i32, pad: bool| {
        let _ = if pad {
            write!(out, "{n:02}")
        } else {
            write!(out, "{n}")
        };
    };
    match piece {
        Piece::Month { pad } => number(i32::from(t.month()), pad),
        Piece::Day { pad: '0' } => number(i32::from(t.day()), true),
        Piece::Day { pad: '-' } => number(i32::from(t.day()), false),
        Piece::Hour => number(i32::from(t.hour()), true),
        Piece::Hour12 { pad } => number(i32::from(hour12), pad),
        Piece::Minute { pad } => number(i32::from(t.minute()), pad),
        Piece::Second { pad } => number(i32::from(t.second()), pad),
        Piece::ShortYear => number(i32::from(t.year()).rem_euclid(100), true),
        Piece::Day { .. } => {
            let _ = write!(out, "{:2}", t.day());
        }
        Piece::YearDay => {
            let _ = write!(out, "{:03}", t.day_of_year());
        }
        Piece::LongYear => {
            let _ = write!(out, "{:04}", t.year());
        }
        Piece::Plain(text) => out.push_str(text),
        Piece::LongMonth => out.push_str(month),
        Piece::ShortMonth => out.push_str(short(month)),
        Piece::LongWeekday => out.push_str(weekday),
        Piece::ShortWeekday => out.push_str(short(weekday)),
        Piece::UpperHalf => out.push_str(if half { "PM" } else { "AM" }),
        Piece::LowerHalf => out.push_str(if half { "pm" } else { "am" }),
        Piece::ZoneName => out.push_str(t.time_zone().to_offset_info(t.timestamp()).abbreviation()),
        Piece::Offset {
            utc_is_z,
            colon,
            minutes,
        } => {
            let seconds = t.offset().seconds();
            if utc_is_z && seconds == 0 {
                out.push('Z');
                return;
            }
            let total = seconds.abs() / 60;
            let sign = if seconds < 0 { '-' } else { '+' };
            let _ = write!(out, "{sign}{:02}", total / 60);
            if minutes {
                let _ = write!(out, "{}{:02}", if colon { ":" } else { "" }, total % 60);
            }
        }
        Piece::Fraction { digits, all } => {
            let text = format!("{:09}", t.subsec_nanosecond());
            let text = text.get(..digits.min(9)).unwrap_or_default();
            let text = if all {
                text
            } else {
                text.trim_end_matches('0')
            };
            if !text.is_empty() {
                out.push('.');
                out.push_str(text);
            }
        }
    }
}

/// What was read so far.
struct Parts {
    year: i16,
    month: i8,
    day: i8,
    year_day: Option<i16>,
    hour: i8,
    minute: i8,
    second: i8,
    nanosecond: i32,
    afternoon: Option<bool>,
    offset: Option<i32>,
    utc: bool,
}

/// Reads `text` as `layout` says; times without offset are in `zone`.
pub(super) fn parse(text: &str, layout: &str, zone: &TimeZone) -> Result<Zoned, ()> {
    let mut parts = Parts {
        year: 0,
        month: 1,
        day: 1,
        year_day: None,
        hour: 0,
        minute: 0,
        second: 0,
        nanosecond: 0,
        afternoon: None,
        offset: None,
        utc: false,
    };
    let (mut layout, mut text) = (layout, text);
    while let Some((piece, next)) = piece(layout) {
        text = read(text, piece, &mut parts)?;
        // A fraction of a second may follow also where the layout has none.
        if matches!(piece, Piece::Second { .. })
            && !matches!(self::piece(next), Some((Piece::Fraction { .. }, _)))
            && text.starts_with('.')
            && text
                .get(1..)
                .is_some_and(|t| t.starts_with(|c: char| c.is_ascii_digit()))
        {
            text = read(
                text,
                Piece::Fraction {
                    digits: 9,
                    all: false,
                },
                &mut parts,
            )?;
        }
        layout = next;
    }
    if !text.is_empty() {
        return Err(());
    }
    let hour = match parts.afternoon {
        Some(true) if parts.hour < 12 => parts.hour + 12,
        Some(false) if parts.hour == 12 => 0,
        _ => parts.hour,
    };
    let mut at = DateTime::new(
        parts.year,
        parts.month,
        parts.day,
        hour,
        parts.minute,
        parts.second,
        parts.nanosecond,
    )
    .map_err(|_| ())?;
    if let Some(day) = parts.year_day {
        at = at.with().day_of_year(day).build().map_err(|_| ())?;
    }
    let zone = match parts.offset {
        Some(0) => TimeZone::UTC,
        Some(seconds) => Offset::from_seconds(seconds)
            .map_err(|_| ())?
            .to_time_zone(),
        None if parts.utc => TimeZone::UTC,
        None => zone.clone(),
    };
    at.to_zoned(zone).map_err(|_| ())
}

/// Up to `max` digits, at least `min`.
fn digits(text: &str, min: usize, max: usize) -> Result<(i32, &str), ()> {
    let len = text
        .bytes()
        .take(max)
        .take_while(u8::is_ascii_digit)
        .count();
    if len < min {
        return Err(());
    }
    let (number, rest) = text.split_at_checked(len).ok_or(())?;
    Ok((number.parse().map_err(|_| ())?, rest))
}

fn small(text: &str, pad: bool) -> Result<(i8, &str), ()> {
    let (n, rest) = digits(text, if pad { 2 } else { 1 }, 2)?;
    Ok((i8::try_from(n).map_err(|_| ())?, rest))
}

/// The name that `text` starts with, of any case.
fn named<'t>(text: &'t str, names: &[&str], shorten: bool) -> Result<(i8, &'t str), ()> {
    for (i, name) in (0i8..).zip(names) {
        let name = if shorten { short(name) } else { name };
        if let Some((head, rest)) = text.split_at_checked(name.len())
            && head.eq_ignore_ascii_case(name)
        {
            return Ok((i, rest));
        }
    }
    Err(())
}

fn read<'t>(text: &'t str, piece: Piece<'_>, parts: &mut Parts) -> Result<&'t str, ()> {
    let rest;
    match piece {
        Piece::Plain(plain) => return text.strip_prefix(plain).ok_or(()),
        Piece::LongMonth | Piece::ShortMonth => {
            let month;
            (month, rest) = named(text, &MONTHS, piece == Piece::ShortMonth)?;
            parts.month = month + 1;
        }
        Piece::LongWeekday | Piece::ShortWeekday => {
            (_, rest) = named(text, &WEEKDAYS, piece == Piece::ShortWeekday)?;
        }
        Piece::Month { pad } => (parts.month, rest) = small(text, pad)?,
        Piece::Day { pad } => {
            let text = if pad == ' ' {
                text.trim_start_matches(' ')
            } else {
                text
            };
            (parts.day, rest) = small(text, pad == '0')?;
        }
        Piece::YearDay => {
            let (day, after) = digits(text, 3, 3)?;
            parts.year_day = Some(i16::try_from(day).map_err(|_| ())?);
            rest = after;
        }
        Piece::Hour => (parts.hour, rest) = small(text, false)?,
        Piece::Hour12 { pad } => (parts.hour, rest) = small(text, pad)?,
        Piece::Minute { pad } => (parts.minute, rest) = small(text, pad)?,
        Piece::Second { pad } => (parts.second, rest) = small(text, pad)?,
        Piece::LongYear => {
            let (year, after) = digits(text, 4, 4)?;
            parts.year = i16::try_from(year).map_err(|_| ())?;
            rest = after;
        }
        Piece::ShortYear => {
            let (year, after) = digits(text, 2, 2)?;
            parts.year = i16::try_from(if year >= 69 { 1900 + year } else { 2000 + year })
                .map_err(|_| ())?;
            rest = after;
        }
        Piece::UpperHalf | Piece::LowerHalf => {
            let (head, after) = text.split_at_checked(2).ok_or(())?;
            parts.afternoon = Some(match head.to_ascii_lowercase().as_str() {
                "am" => false,
                "pm" => true,
                _ => return Err(()),
            });
            rest = after;
        }
        Piece::ZoneName => {
            let len = text.bytes().take_while(u8::is_ascii_uppercase).count();
            if len < 3 {
                return Err(());
            }
            let (zone, after) = text.split_at_checked(len).ok_or(())?;
            parts.utc = matches!(zone, "UTC" | "GMT");
            rest = after;
        }
        Piece::Offset {
            utc_is_z,
            colon,
            minutes,
        } => {
            if let Some(after) = text.strip_prefix('Z').filter(|_| utc_is_z) {
                parts.offset = Some(0);
                return Ok(after);
            }
            let sign = match text.chars().next() {
                Some('+') => 1,
                Some('-') => -1,
                _ => return Err(()),
            };
            let (hours, mut after) = digits(text.get(1..).unwrap_or_default(), 2, 2)?;
            let mut total = hours * 3600;
            if minutes {
                after = if colon {
                    after.strip_prefix(':').ok_or(())?
                } else {
                    after
                };
                let (mins, end) = digits(after, 2, 2)?;
                total += mins * 60;
                after = end;
            }
            parts.offset = Some(sign * total);
            rest = after;
        }
        Piece::Fraction {
            digits: wanted,
            all,
        } => {
            let Some(fraction) = text.strip_prefix(['.', ',']) else {
                return if all { Err(()) } else { Ok(text) };
            };
            let len = fraction.bytes().take_while(u8::is_ascii_digit).count();
            if (all && len != wanted) || len == 0 || len > 9 {
                return Err(());
            }
            let (value, after) = digits(fraction, len, len)?;
            parts.nanosecond = value * 10i32.pow(9 - u32::try_from(len).map_err(|_| ())?);
            rest = after;
        }
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Zoned {
        text.parse::<jiff::Timestamp>()
            .unwrap()
            .to_zoned(TimeZone::UTC)
    }

    /// ANA-85
    #[test]
    fn formats() {
        let t = at("2026-03-09T08:07:06.120Z");
        for (layout, want) in [
            ("2006-01-02T15:04:05Z07:00", "2026-03-09T08:07:06Z"),
            (
                "Mon, 02 Jan 2006 15:04:05 MST",
                "Mon, 09 Mar 2026 08:07:06 UTC",
            ),
            ("Monday _2 January 06 3:4:5PM", "Monday  9 March 26 8:7:6AM"),
            ("15:04:05.000", "08:07:06.120"),
            ("15:04:05.999999", "08:07:06.12"),
            ("-0700 -07:00 -07 Z0700", "+0000 +00:00 +00 Z"),
            ("002 1/2", "068 3/9"),
        ] {
            assert_eq!(format(&t, layout), want, "{layout}");
        }
    }

    /// ANA-85
    #[test]
    fn parses() {
        for (layout, text, want) in [
            ("2006-01-02", "2026-03-09", "2026-03-09T00:00:00Z"),
            (
                "2006-01-02T15:04:05Z07:00",
                "2026-03-09T08:00:00+02:00",
                "2026-03-09T06:00:00Z",
            ),
            (
                "2006-01-02 15:04:05",
                "2026-03-09 08:07:06.5",
                "2026-03-09T08:07:06.5Z",
            ),
            (
                "02 Jan 06 3:04PM",
                "09 mar 26 1:05PM",
                "2026-03-09T13:05:00Z",
            ),
            (
                "Mon Jan _2 15:04:05 2006",
                "Mon Mar  9 08:07:06 2026",
                "2026-03-09T08:07:06Z",
            ),
        ] {
            let got = parse(text, layout, &TimeZone::UTC).unwrap();
            assert_eq!(got.timestamp().to_string(), want, "{layout}");
        }
        for (layout, text) in [
            ("2006-01-02", "2026-13-09"),
            ("2006-01-02", "2026-03-09x"),
            ("15:04", "é8:00"),
            ("2006", ""),
        ] {
            assert!(
                parse(text, layout, &TimeZone::UTC).is_err(),
                "{layout} {text}"
            );
        }
    }
}
