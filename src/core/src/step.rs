//! Steps of a canary: what users wrote, turned into one choice per step.

use sluice_crds::IntOrString;
use sluice_crds::duration::GoDuration;
use sluice_crds::rollout::{
    CanaryStep, PluginStep, RolloutAnalysis, RolloutExperimentStep, RolloutPause, SetCanaryScale,
    SetHeaderRoute, SetMirrorRoute,
};

use crate::replicas::{CanaryScale, StepSize};

/// One step. Where a user set several members, the first of pause, setCanaryScale, setWeight,
/// experiment, analysis, setHeaderRoute, setMirrorRoute, plugin decides (TRF-14).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step<'a> {
    /// Wait.
    Pause(Hold),
    /// Size the canary apart from its weight.
    SetCanaryScale(&'a SetCanaryScale),
    /// Move traffic (or pods).
    SetWeight(i32),
    /// Run an Experiment.
    Experiment(&'a RolloutExperimentStep),
    /// Run an analysis.
    Analysis(&'a RolloutAnalysis),
    /// Add or remove a header route.
    SetHeaderRoute(&'a SetHeaderRoute),
    /// Add or remove a mirror route.
    SetMirrorRoute(&'a SetMirrorRoute),
    /// Hand over to a plugin.
    Plugin(&'a PluginStep),
    /// No member at all; validation refuses it.
    Empty,
}

/// How long a pause lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Until somebody promotes.
    UntilPromoted,
    /// This many seconds; negative for a duration that cannot be read, which validation refuses.
    Seconds(i64),
}

impl Hold {
    fn of(pause: &RolloutPause) -> Self {
        match &pause.duration {
            None => Self::UntilPromoted,
            Some(duration) => Self::Seconds(seconds(duration)),
        }
    }
}

impl<'a> From<&'a CanaryStep> for Step<'a> {
    fn from(step: &'a CanaryStep) -> Self {
        if let Some(pause) = &step.pause {
            Self::Pause(Hold::of(pause))
        } else if let Some(scale) = &step.set_canary_scale {
            Self::SetCanaryScale(scale)
        } else if let Some(weight) = step.set_weight {
            Self::SetWeight(weight)
        } else if let Some(experiment) = &step.experiment {
            Self::Experiment(experiment)
        } else if let Some(analysis) = &step.analysis {
            Self::Analysis(analysis)
        } else if let Some(route) = &step.set_header_route {
            Self::SetHeaderRoute(route)
        } else if let Some(route) = &step.set_mirror_route {
            Self::SetMirrorRoute(route)
        } else if let Some(plugin) = &step.plugin {
            Self::Plugin(plugin)
        } else {
            Self::Empty
        }
    }
}

/// What a step says about sizes, whichever of its members decides (CTL-46).
#[must_use]
pub fn size(step: &CanaryStep) -> StepSize {
    StepSize {
        weight: step.set_weight,
        scale: step
            .set_canary_scale
            .as_ref()
            .map(|s| CanaryScale::new(s.match_traffic_weight, s.replicas, s.weight)),
    }
}

/// The step in the words of `RolloutStepCompleted` events (API-18).
#[must_use]
pub fn text(step: &CanaryStep) -> String {
    if let Some(weight) = step.set_weight {
        return format!("setWeight: {weight}");
    }
    if let Some(pause) = &step.pause {
        return match &pause.duration {
            None => "pause".to_owned(),
            Some(IntOrString::Int(seconds)) => format!("pause: {seconds}"),
            Some(IntOrString::String(duration)) => format!("pause: {duration}"),
        };
    }
    if step.experiment.is_some() {
        return "experiment".to_owned();
    }
    if step.analysis.is_some() {
        return "analysis".to_owned();
    }
    if let Some(scale) = &step.set_canary_scale {
        if let Some(weight) = scale.weight {
            return format!("setCanaryScale{{weight: {weight}}}");
        }
        if scale.match_traffic_weight {
            return "setCanaryScale{matchTrafficWeight: true}".to_owned();
        }
        return format!(
            "setCanaryScale{{replicas: {}}}",
            scale.replicas.unwrap_or_default()
        );
    }
    if let Some(plugin) = &step.plugin {
        return format!("plugin: {}", plugin.name);
    }
    if let Some(route) = &step.set_header_route {
        return format!("setHeaderRoute: {}", route.name);
    }
    if let Some(route) = &step.set_mirror_route {
        return format!("setMirrorRoute: {}", route.name);
    }
    "invalid".to_owned()
}

/// Seconds of a pause: a number or digits are seconds, anything else a Go duration cut to whole
/// seconds, -1 what is neither (API-17).
fn seconds(duration: &IntOrString) -> i64 {
    match duration {
        IntOrString::Int(seconds) => i64::from(*seconds),
        IntOrString::String(text) => text
            .parse::<i64>()
            .ok()
            .or_else(|| text.parse::<GoDuration>().ok().map(GoDuration::as_secs))
            .filter(|seconds| i32::try_from(*seconds).is_ok())
            .unwrap_or(-1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(json: serde_json::Value) -> CanaryStep {
        serde_json::from_value(json).unwrap()
    }

    /// API-17, API-18
    #[test]
    fn steps_are_read_and_named() {
        for (json, name, hold) in [
            (serde_json::json!({"setWeight": 10}), "setWeight: 10", None),
            (
                serde_json::json!({"pause": {}}),
                "pause",
                Some(Hold::UntilPromoted),
            ),
            (
                serde_json::json!({"pause": {"duration": 60}}),
                "pause: 60",
                Some(Hold::Seconds(60)),
            ),
            (
                serde_json::json!({"pause": {"duration": "90"}}),
                "pause: 90",
                Some(Hold::Seconds(90)),
            ),
            (
                serde_json::json!({"pause": {"duration": "1m30s"}}),
                "pause: 1m30s",
                Some(Hold::Seconds(90)),
            ),
            (
                serde_json::json!({"pause": {"duration": "soon"}}),
                "pause: soon",
                Some(Hold::Seconds(-1)),
            ),
            (
                serde_json::json!({"setCanaryScale": {"replicas": 3}}),
                "setCanaryScale{replicas: 3}",
                None,
            ),
            (
                serde_json::json!({"setCanaryScale": {"matchTrafficWeight": true}}),
                "setCanaryScale{matchTrafficWeight: true}",
                None,
            ),
            (
                serde_json::json!({"plugin": {"name": "o/p"}}),
                "plugin: o/p",
                None,
            ),
            (serde_json::json!({}), "invalid", None),
        ] {
            let step = step(json);
            assert_eq!(text(&step), name);
            if let Some(hold) = hold {
                assert_eq!(Step::from(&step), Step::Pause(hold));
            }
        }
    }
}
