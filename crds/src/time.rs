//! Moments on the wire: RFC 3339, UTC, whole seconds (API-1, ANA-3).

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in whole seconds, so that what is compared is what was persisted.
///
/// The default is the Unix epoch; it stands for "never set" where the wire form demands a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Timestamp);

impl Time {
    /// Cuts `at` to whole seconds, towards the past.
    pub fn new(at: Timestamp) -> Self {
        let seconds = at.as_nanosecond().div_euclid(1_000_000_000);
        let seconds = i64::try_from(seconds).unwrap_or_default();
        Self(Timestamp::from_second(seconds).unwrap_or_default())
    }

    /// The moment.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self::new(at)
    }
}

impl From<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time> for Time {
    fn from(at: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time) -> Self {
        Self::new(at.0)
    }
}

impl From<Time> for k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    fn from(at: Time) -> Self {
        Self(at.0)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole seconds print without a fraction.
        write!(f, "{}", self.0)
    }
}

impl std::str::FromStr for Time {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self::new)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// API-1, ANA-3: whole seconds in UTC, whatever was written.
    #[test]
    fn whole_seconds_in_utc() {
        for (text, want) in [
            ("2026-11-21T03:44:51Z", Some("2026-11-21T03:44:51Z")),
            ("2026-11-21T03:44:51.999Z", Some("2026-11-21T03:44:51Z")),
            ("2026-11-21T05:44:51+02:00", Some("2026-11-21T03:44:51Z")),
            ("1969-12-31T23:59:59.5Z", Some("1969-12-31T23:59:59Z")),
            ("2026-11-21", None),
            ("", None),
        ] {
            let got = serde_json::from_value::<Time>(text.into()).ok();
            let got = got.map(|time| serde_json::to_value(time).unwrap());
            assert_eq!(got, want.map(Into::into), "{text}");
        }
    }
}
