//! Steps of a canary: what users wrote, turned into one choice per step.

use std::collections::BTreeSet;

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
        pause
            .seconds()
            .map_or(Self::UntilPromoted, |seconds| Self::Seconds(seconds.into()))
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

/// Whether a managed route that these steps have set still leads to the canary: one without a match
/// takes the route of its name away (TRF-8).
#[must_use]
pub fn lead_to_canary(steps: &[CanaryStep]) -> bool {
    let mut routes = BTreeSet::new();
    for step in steps {
        let (name, leads) = match Step::from(step) {
            Step::SetHeaderRoute(route) => (&route.name, !route.r#match.is_empty()),
            Step::SetMirrorRoute(route) => (&route.name, !route.r#match.is_empty()),
            Step::Pause(_)
            | Step::SetCanaryScale(_)
            | Step::SetWeight(_)
            | Step::Experiment(_)
            | Step::Analysis(_)
            | Step::Plugin(_)
            | Step::Empty => continue,
        };
        if leads {
            routes.insert(name);
        } else {
            routes.remove(name);
        }
    }
    !routes.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// CTL-90, TRF-14: the first member in this order decides; API-17: pauses.
    #[test]
    fn one_member_decides() {
        let mut members = vec![
            ("pause", json!({ "duration": "1m30s" })),
            ("setCanaryScale", json!({ "replicas": 3 })),
            ("setWeight", json!(10)),
            ("experiment", json!({ "templates": [] })),
            ("analysis", json!({})),
            ("setHeaderRoute", json!({ "name": "h" })),
            ("setMirrorRoute", json!({ "name": "m" })),
            ("plugin", json!({ "name": "o/p" })),
        ];
        let mut chosen = Vec::new();
        while !members.is_empty() {
            let step: serde_json::Map<_, _> = members
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect();
            let step: CanaryStep = serde_json::from_value(step.into()).unwrap();
            chosen.push(match Step::from(&step) {
                Step::Pause(hold) => format!("{hold:?}"),
                Step::SetCanaryScale(_) => "scale".to_owned(),
                Step::SetWeight(weight) => format!("weight {weight}"),
                Step::Experiment(_) => "experiment".to_owned(),
                Step::Analysis(_) => "analysis".to_owned(),
                Step::SetHeaderRoute(route) => route.name.clone(),
                Step::SetMirrorRoute(route) => route.name.clone(),
                Step::Plugin(plugin) => plugin.name.clone(),
                Step::Empty => "empty".to_owned(),
            });
            members.remove(0);
        }
        assert_eq!(
            chosen.join(", "),
            "Seconds(90), scale, weight 10, experiment, analysis, h, m, o/p"
        );
        assert_eq!(Step::from(&CanaryStep::default()), Step::Empty);
        let pause: CanaryStep = serde_json::from_value(json!({ "pause": {} })).unwrap();
        assert_eq!(Step::from(&pause), Step::Pause(Hold::UntilPromoted));
    }

    /// TRF-8: routes are set with a match and taken away without.
    #[test]
    fn routes_that_lead_to_the_canary() {
        let agents = json!([{ "headerName": "agent", "headerValue": { "exact": "beta" } }]);
        let reads = json!([{ "method": { "exact": "GET" } }]);
        let steps: Vec<CanaryStep> = serde_json::from_value(json!([
            { "setWeight": 10 },
            { "setHeaderRoute": { "name": "by-agent", "match": agents } },
            { "setMirrorRoute": { "name": "shadow", "match": reads } },
            { "setHeaderRoute": { "name": "by-agent" } },
            { "setMirrorRoute": { "name": "shadow" } },
        ]))
        .unwrap();
        let upto: Vec<bool> = (0..=5).map(|n| lead_to_canary(&steps[..n])).collect();
        assert_eq!(upto, [false, false, true, true, true, false]);
    }
}
