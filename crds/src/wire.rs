//! How members are read and written (crate documentation).

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Reads a member that has a zero value: `null` counts as absent.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A whole number of the width of a member.
pub(crate) trait Whole {
    /// The nearest value of this width.
    fn nearest(number: i64) -> Self;
}

impl Whole for i32 {
    fn nearest(number: i64) -> Self {
        Self::try_from(number).unwrap_or(if number < 0 { Self::MIN } else { Self::MAX })
    }
}

impl Whole for i64 {
    fn nearest(number: i64) -> Self {
        number
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a whole number")]
enum Number {
    Whole(i64),
    Other(f64),
}

impl Number {
    fn whole(self) -> i64 {
        match self {
            Self::Whole(number) => number,
            // The conversion of floats keeps to the range of the target.
            Self::Other(number) => number as i64,
        }
    }
}

/// Reads a number; one that is too large for the member counts as the largest. The API server
/// lets such numbers pass where the schema says `int-or-string`, and one object that cannot be
/// read would take the whole list with it.
pub(crate) fn number<'de, D: Deserializer<'de>, T: Whole + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(optional_number(deserializer)?.unwrap_or_default())
}

/// As [`number`] for members that may be absent.
pub(crate) fn optional_number<'de, D: Deserializer<'de>, T: Whole>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<Number>::deserialize(deserializer)?.map(|number| T::nearest(number.whole())))
}

/// Reads a number or text; a number that is too large is kept as text.
pub(crate) fn int_or_string<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<IntOrString>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a number or a text")]
    enum Either {
        Number(Number),
        Text(String),
    }
    Ok(
        Option::<Either>::deserialize(deserializer)?.map(|either| match either {
            Either::Text(text) => IntOrString::String(text),
            Either::Number(number) => {
                let number = number.whole();
                i32::try_from(number).map_or_else(
                    |_| IntOrString::String(number.to_string()),
                    IntOrString::Int,
                )
            }
        }),
    )
}

/// Reads a text that some writers send as a number.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a text")]
    enum Text {
        String(String),
        Number(i64),
    }
    Ok(match Option::<Text>::deserialize(deserializer)? {
        Some(Text::String(s)) => s,
        Some(Text::Number(n)) => n.to_string(),
        None => String::new(),
    })
}

/// Whether a member is left out when it is written.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// JSON that is written with sorted keys.
pub(crate) struct Sorted<'a>(pub(crate) &'a Value);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(object) => {
                let mut members: Vec<_> = object.iter().collect();
                members.sort_by_key(|(key, _)| *key);
                serializer.collect_map(members.into_iter().map(|(k, v)| (k, Sorted(v))))
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Sorted)),
            scalar => scalar.serialize(serializer),
        }
    }
}
/// Writes a raw member so, whatever map type `serde_json` was built with.
pub(crate) fn sorted<S: Serializer>(
    value: &Option<Value>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.as_ref().map(Sorted).serialize(serializer)
}

/// Schema of a member that holds any JSON object.
pub(crate) fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

/// Defines an enum of words that also holds none (`Unset`, the default, the empty text) and words
/// it does not know (`Other`), so that reading it cannot fail.
macro_rules! wire_enum {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$vmeta:meta])* $variant:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            /// Absent or empty.
            #[default]
            Unset,
            $($(#[$vmeta])* $variant,)+
            /// A word this release does not know.
            Other(Box<str>),
        }

        impl $name {
            /// The word on the wire; empty for `Unset`.
            pub fn as_str(&self) -> &str {
                match self {
                    Self::Unset => "",
                    $(Self::$variant => stringify!($variant),)+
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    "" => Self::Unset,
                    $(stringify!($variant) => Self::$variant,)+
                    other => Self::Other(other.into()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::from(&*std::borrow::Cow::<'de, str>::deserialize(deserializer)?))
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string" })
            }
        }
    };
}
pub(crate) use wire_enum;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::rollout::{RolloutSpec, RolloutStatus};

    /// API-2: what is empty, 0 or `false` is as good as absent, except where absence means
    /// something else.
    #[test]
    fn empty_reads_as_absent() {
        let spec = |value: serde_json::Value| serde_json::from_value::<RolloutSpec>(value).unwrap();
        let empty = spec(json!({
            "minReadySeconds": 0, "paused": false, "progressDeadlineAbort": false, "template": {},
            "strategy": { "canary": {
                "canaryService": "", "steps": [], "dynamicStableScale": false,
                "trafficRouting": { "managedRoutes": [], "plugins": {},
                    "nginx": { "stableIngress": "", "stableIngresses": [],
                        "additionalIngressAnnotations": {} } },
            } },
        }));
        let absent = spec(json!({
            "strategy": { "canary": { "trafficRouting": { "nginx": {} } } },
        }));
        assert_eq!(empty, absent);
        assert_eq!(
            serde_json::to_value(&empty).unwrap(),
            serde_json::to_value(&absent).unwrap()
        );
        for meaningful in [
            json!({ "replicas": 0 }),
            json!({ "revisionHistoryLimit": 0 }),
            json!({ "strategy": { "canary": { "scaleDownDelaySeconds": 0 } } }),
            json!({ "strategy": { "canary": { "maxSurge": 0 } } }),
            json!({ "strategy": { "blueGreen": { "autoPromotionEnabled": false } } }),
        ] {
            let kept = serde_json::to_value(spec(meaningful.clone())).unwrap();
            assert!(
                kept.to_string().contains(['0', 'f']),
                "{meaningful} became {kept}"
            );
        }
    }

    /// One odd object must not make a list unreadable.
    #[test]
    fn odd_numbers_are_read() {
        let spec: RolloutSpec = serde_json::from_value(json!({
            "replicas": 3_000_000_000_u64, "minReadySeconds": -3_000_000_000_i64,
            "strategy": { "canary": { "steps": [
                { "setWeight": 5.0 }, { "pause": { "duration": 3_000_000_000_u64 } },
                { "pause": { "duration": 60 } } ] } },
        }))
        .unwrap();
        assert_eq!(
            (spec.replicas, spec.min_ready_seconds),
            (Some(i32::MAX), i32::MIN)
        );
        assert_eq!(spec.steps()[0].set_weight, Some(5));
        let seconds: Vec<_> = spec.steps()[1..]
            .iter()
            .map(|step| {
                step.pause
                    .as_ref()
                    .and_then(crate::rollout::RolloutPause::seconds)
            })
            .collect();
        assert_eq!(seconds, [Some(-1), Some(60)]);
        let status: RolloutStatus =
            serde_json::from_value(json!({ "observedGeneration": 7, "currentStepIndex": null }))
                .unwrap();
        assert_eq!(
            (
                status.observed_generation.as_str(),
                status.current_step_index
            ),
            ("7", None)
        );
    }
}
