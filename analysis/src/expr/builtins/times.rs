//! Times (ANA-85).

use jiff::Zoned;
use jiff::tz::TimeZone;

use super::super::kind::Kind;
use super::super::time;
use super::super::value::Value;
use super::{Param, Signature, arg, text_arg};

pub(super) const TABLE: &[Signature] = &[
    Signature {
        name: "now",
        params: &[],
        required: 0,
        variadic: false,
        returns: |_| Kind::Time,
        run: |run, _| Ok(Value::Time(Box::new(run.env.now.to_zoned(TimeZone::UTC)))),
    },
    Signature {
        name: "duration",
        params: &[Param::Text],
        required: 1,
        variadic: false,
        returns: |_| Kind::Duration,
        run: |_, args| time::parse_duration(text_arg("duration", args, 0)?).map(Value::Duration),
    },
    Signature {
        name: "date",
        params: &[Param::Text, Param::Text, Param::Text],
        required: 1,
        variadic: false,
        returns: |_| Kind::Time,
        run: |_, args| {
            let text = text_arg("date", args, 0)?;
            let zone = match args.len() {
                3 => zone(text_arg("date", args, 2)?)?,
                _ => TimeZone::UTC,
            };
            let layout = if args.len() > 1 {
                Some(text_arg("date", args, 1)?)
            } else {
                None
            };
            time::parse(text, layout, &zone).map(|t| Value::Time(Box::new(t)))
        },
    },
    Signature {
        name: "timezone",
        params: &[Param::Text],
        required: 1,
        variadic: false,
        // A zone is only ever handed to `.In`, which takes its name.
        returns: |_| Kind::Text,
        run: |_, args| {
            zone(text_arg("timezone", args, 0)?)?;
            Ok(arg(args, 0).clone())
        },
    },
];

/// The zone of that name.
pub(in super::super) fn zone(name: &str) -> Result<TimeZone, String> {
    match name {
        "" | "UTC" | "Local" => Ok(TimeZone::UTC),
        _ => TimeZone::get(name).map_err(|_| format!("unknown time zone {name}")),
    }
}

/// A time in another zone.
pub(in super::super) fn move_to(t: &Zoned, name: &str) -> Result<Zoned, String> {
    Ok(t.with_time_zone(zone(name)?))
}
