//! Times and spans: texts, parsing, methods (ANA-81, ANA-85).

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use sluice_crds::duration::GoDuration;

use super::builtins::times::move_to;
use super::kind::Kind;
use super::ops;
use super::value::Value;

mod layout;

const SECOND: i64 = 1_000_000_000;

/// A span in Go's syntax (`1h30m`, `-1.5s`), in nanoseconds.
pub(super) fn parse_duration(text: &str) -> Result<i64, String> {
    text.parse::<GoDuration>()
        .map(GoDuration::as_nanos)
        .map_err(|e| e.to_string())
}

/// A span as Go prints it: `1h30m0s`, `1.5s`, `0s`.
pub(super) fn duration_text(nanoseconds: i64) -> String {
    GoDuration::from_nanos(nanoseconds).to_string()
}

/// A time as Go's `%v` prints it: `2026-01-02 03:04:05 +0000 UTC`.
pub(super) fn default_text(t: &Zoned) -> String {
    layout::format(t, "2006-01-02 15:04:05.999999999 -0700 MST")
}

/// RFC 3339 with the fraction that is there.
pub(super) fn rfc3339_nano(t: &Zoned) -> String {
    layout::format(t, "2006-01-02T15:04:05.999999999Z07:00")
}

/// From one time to another; saturates after 292 years.
pub(super) fn nanoseconds_between(from: &Zoned, to: &Zoned) -> i64 {
    let span = to.timestamp().as_nanosecond() - from.timestamp().as_nanosecond();
    i64::try_from(span).unwrap_or(if span < 0 { i64::MIN } else { i64::MAX })
}

/// Layouts that `date` tries by itself, in this order.
const COMMON_LAYOUTS: [&str; 12] = [
    "2006-01-02",
    "15:04:05",
    "2006-01-02 15:04:05",
    "2006-01-02T15:04:05.999999999Z07:00",
    "02 Jan 06 15:04 MST",
    "Monday, 02-Jan-06 15:04:05 MST",
    "Mon, 02 Jan 2006 15:04:05 MST",
    "02 Jan 06 15:04 -0700",
    "Mon, 02 Jan 2006 15:04:05 -0700",
    "Mon Jan _2 15:04:05 MST 2006",
    "Mon Jan _2 15:04:05 2006",
    "Mon Jan 02 15:04:05 -0700 2006",
];

/// `date(text[, layout[, zone]])`.
pub(super) fn parse(text: &str, layout: Option<&str>, zone: &TimeZone) -> Result<Zoned, String> {
    if let Some(layout) = layout {
        return layout::parse(text, layout, zone)
            .map_err(|_| format!("parsing time {text:?} as {layout:?}: cannot parse"));
    }
    COMMON_LAYOUTS
        .iter()
        .find_map(|layout| layout::parse(text, layout, zone).ok())
        .ok_or_else(|| format!("invalid date {text}"))
}

type MethodRow = (&'static str, Kind);

const TIME_METHODS: [MethodRow; 30] = [
    ("Unix", Kind::Int),
    ("UnixMilli", Kind::Int),
    ("UnixMicro", Kind::Int),
    ("UnixNano", Kind::Int),
    ("Year", Kind::Int),
    ("Month", Kind::Int),
    ("Day", Kind::Int),
    ("Hour", Kind::Int),
    ("Minute", Kind::Int),
    ("Second", Kind::Int),
    ("Nanosecond", Kind::Int),
    ("Weekday", Kind::Int),
    ("YearDay", Kind::Int),
    ("Add", Kind::Time),
    ("AddDate", Kind::Time),
    ("Sub", Kind::Duration),
    ("Before", Kind::Bool),
    ("After", Kind::Bool),
    ("Equal", Kind::Bool),
    ("Compare", Kind::Int),
    ("IsZero", Kind::Bool),
    ("UTC", Kind::Time),
    ("Local", Kind::Time),
    ("In", Kind::Time),
    ("Format", Kind::Text),
    ("String", Kind::Text),
    ("Truncate", Kind::Time),
    ("Round", Kind::Time),
    ("GoString", Kind::Text),
    ("IsDST", Kind::Bool),
];

const DURATION_METHODS: [MethodRow; 10] = [
    ("Hours", Kind::Float),
    ("Minutes", Kind::Float),
    ("Seconds", Kind::Float),
    ("Milliseconds", Kind::Int),
    ("Microseconds", Kind::Int),
    ("Nanoseconds", Kind::Int),
    ("String", Kind::Text),
    ("Abs", Kind::Duration),
    ("Round", Kind::Duration),
    ("Truncate", Kind::Duration),
];

/// What the method `name` of `on` yields; none when there is no such method.
pub(super) fn method(on: &Kind, name: &str) -> Option<Kind> {
    let table: &[MethodRow] = match on {
        Kind::Time => &TIME_METHODS,
        Kind::Duration => &DURATION_METHODS,
        _ => return None,
    };
    table
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, kind)| kind.clone())
}

/// Calls the method `name` of a time or a span.
pub(super) fn call_method(on: &Value, name: &str, args: &[Value]) -> Result<Value, String> {
    let outcome = match on {
        Value::Time(t) => time_method(t, name, args)?,
        Value::Duration(d) => duration_method(*d, name, args)?,
        _ => None,
    };
    outcome.ok_or_else(|| {
        let kinds: Vec<&str> = args.iter().map(Value::type_name).collect();
        format!(
            "cannot call {name}({}) of {}",
            kinds.join(", "),
            on.type_name()
        )
    })
}

fn time_method(t: &Zoned, name: &str, args: &[Value]) -> Result<Option<Value>, String> {
    let at = t.timestamp();
    let value = match (name, args) {
        ("Unix", []) => Value::Int(at.as_nanosecond().div_euclid(1_000_000_000) as i64),
        ("UnixMilli", []) => Value::Int(at.as_nanosecond().div_euclid(1_000_000) as i64),
        ("UnixMicro", []) => Value::Int(at.as_nanosecond().div_euclid(1_000) as i64),
        ("UnixNano", []) => Value::Int(at.as_nanosecond() as i64),
        ("Year", []) => Value::Int(i64::from(t.year())),
        ("Month", []) => Value::Int(i64::from(t.month())),
        ("Day", []) => Value::Int(i64::from(t.day())),
        ("Hour", []) => Value::Int(i64::from(t.hour())),
        ("Minute", []) => Value::Int(i64::from(t.minute())),
        ("Second", []) => Value::Int(i64::from(t.second())),
        ("Nanosecond", []) => Value::Int(i64::from(t.subsec_nanosecond())),
        ("Weekday", []) => Value::Int(i64::from(t.weekday().to_sunday_zero_offset())),
        ("YearDay", []) => Value::Int(i64::from(t.day_of_year())),
        ("Add", [Value::Duration(d)]) => ops::shift(t, *d)?,
        ("Sub", [Value::Time(other)]) => Value::Duration(nanoseconds_between(other, t)),
        ("Before", [Value::Time(other)]) => Value::Bool(at < other.timestamp()),
        ("After", [Value::Time(other)]) => Value::Bool(at > other.timestamp()),
        ("Equal", [Value::Time(other)]) => Value::Bool(at == other.timestamp()),
        ("Compare", [Value::Time(other)]) => Value::Int(at.cmp(&other.timestamp()) as i64),
        ("IsZero", []) => Value::Bool(t.year() == 1 && t.day_of_year() == 1),
        ("IsDST", []) => Value::Bool(t.time_zone().to_offset_info(at).dst().is_dst()),
        ("UTC" | "Local", []) => moved(t.with_time_zone(TimeZone::UTC)),
        ("In", [Value::Text(zone)]) => moved(move_to(t, zone)?),
        ("Format", [Value::Text(layout)]) => Value::text(layout::format(t, layout)),
        ("String" | "GoString", []) => Value::text(default_text(t)),
        ("AddDate", [Value::Int(years), Value::Int(months), Value::Int(days)]) => {
            moved(add_date(t, *years, *months, *days).ok_or("time out of range")?)
        }
        ("Truncate" | "Round", [Value::Duration(step)]) => moved(to_step(t, name, *step)?),
        _ => return Ok(None),
    };
    Ok(Some(value))
}

fn moved(t: Zoned) -> Value {
    Value::Time(Box::new(t))
}

/// Adds calendar units as Go does: what overflows a month runs into the next.
fn add_date(t: &Zoned, years: i64, months: i64, days: i64) -> Option<Zoned> {
    let month0 = i64::from(t.month()) - 1 + months;
    let year = i64::from(t.year()) + years + month0.div_euclid(12);
    let month = month0.rem_euclid(12) + 1;
    let first = DateTime::new(
        i16::try_from(year).ok()?,
        i8::try_from(month).ok()?,
        1,
        t.hour(),
        t.minute(),
        t.second(),
        t.subsec_nanosecond(),
    )
    .ok()?;
    let span = jiff::Span::new()
        .try_days(i64::from(t.day()) - 1 + days)
        .ok()?;
    first
        .checked_add(span)
        .ok()?
        .to_zoned(t.time_zone().clone())
        .ok()
}

fn to_step(t: &Zoned, name: &str, step: i64) -> Result<Zoned, String> {
    if step <= 0 {
        return Ok(t.clone());
    }
    // Counted from the year 1, where Go's times begin; a whole number of seconds before the epoch.
    let zero = 62_135_596_800i128 * i128::from(SECOND);
    let since = t.timestamp().as_nanosecond() + zero;
    let rest = since.rem_euclid(i128::from(step));
    let up = name == "Round" && rest * 2 >= i128::from(step);
    let wanted = since - rest + if up { i128::from(step) } else { 0 };
    Timestamp::from_nanosecond(wanted - zero)
        .map(|at| at.to_zoned(t.time_zone().clone()))
        .map_err(|_| "time out of range".to_owned())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "spans are shown as floats, as upstream"
)]
fn duration_method(d: i64, name: &str, args: &[Value]) -> Result<Option<Value>, String> {
    let in_units = |unit: i64| Value::Float((d / unit) as f64 + (d % unit) as f64 / unit as f64);
    let value = match (name, args) {
        ("Hours", []) => in_units(3600 * SECOND),
        ("Minutes", []) => in_units(60 * SECOND),
        ("Seconds", []) => in_units(SECOND),
        ("Milliseconds", []) => Value::Int(d / 1_000_000),
        ("Microseconds", []) => Value::Int(d / 1_000),
        ("Nanoseconds", []) => Value::Int(d),
        ("String", []) => Value::text(duration_text(d)),
        ("Abs", []) => Value::Duration(d.saturating_abs()),
        ("Truncate" | "Round", [Value::Duration(step)]) if *step <= 0 => Value::Duration(d),
        ("Truncate", [Value::Duration(step)]) => Value::Duration(d - d % step),
        ("Round", [Value::Duration(step)]) => {
            let rest = d % step;
            let up = i128::from(rest.abs()) * 2 >= i128::from(*step);
            let away = if up { step * rest.signum() } else { 0 };
            Value::Duration((d - rest).saturating_add(away))
        }
        _ => return Ok(None),
    };
    Ok(Some(value))
}
