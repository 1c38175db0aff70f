//! What absent members mean (API-11..19). Nothing of this is written into objects.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::duration::GoDuration;
use crate::experiment::{ExperimentSpec, TemplateSpec};
use crate::numbers::{self, Round};
use crate::rollout::{
    BlueGreenStrategy, CanaryStep, CanaryStrategy, Rollout, RolloutExperimentStep, RolloutPause,
    RolloutSpec, RolloutTrafficRouting, SetMirrorRoute,
};

/// Seconds until a drained ReplicaSet goes to 0 where a delay applies.
pub const SCALE_DOWN_DELAY_SECONDS: i32 = 30;
/// Seconds without progress until an update counts as stuck.
pub const PROGRESS_DEADLINE_SECONDS: i32 = 600;
/// Old ReplicaSets kept.
pub const REVISION_HISTORY_LIMIT: i32 = 10;
/// Denominator of weights.
pub const MAX_TRAFFIC_WEIGHT: i32 = 100;
/// Finished runs kept, of either outcome.
pub const RUN_HISTORY_LIMIT: i32 = 5;
/// Measurements kept per metric.
pub const MEASUREMENTS_KEPT: i32 = 10;
/// Errors in a row that a metric may have.
pub const CONSECUTIVE_ERROR_LIMIT: i64 = 4;

impl Rollout {
    /// Desired pods; 1 when absent.
    pub fn replicas(&self) -> i32 {
        self.spec.replicas()
    }
}

impl RolloutSpec {
    /// Desired pods; 1 when absent.
    pub fn replicas(&self) -> i32 {
        self.replicas.unwrap_or(1)
    }

    /// Old ReplicaSets kept.
    pub fn revision_history_limit(&self) -> i32 {
        self.revision_history_limit
            .unwrap_or(REVISION_HISTORY_LIMIT)
    }

    /// Seconds without progress until the update counts as stuck.
    pub fn progress_deadline_seconds(&self) -> i32 {
        self.progress_deadline_seconds
            .unwrap_or(PROGRESS_DEADLINE_SECONDS)
    }

    /// Revisions within which going back skips steps; 0 is none.
    pub fn rollback_window(&self) -> i32 {
        self.rollback_window
            .as_ref()
            .map_or(0, |window| window.revisions)
    }

    /// Successful runs and Experiments kept.
    pub fn successful_run_history_limit(&self) -> i32 {
        let limits = self.analysis.as_ref();
        limits
            .and_then(|l| l.successful_run_history_limit)
            .unwrap_or(RUN_HISTORY_LIMIT)
    }

    /// Unsuccessful runs and Experiments kept.
    pub fn unsuccessful_run_history_limit(&self) -> i32 {
        let limits = self.analysis.as_ref();
        limits
            .and_then(|l| l.unsuccessful_run_history_limit)
            .unwrap_or(RUN_HISTORY_LIMIT)
    }

    /// The canary strategy, if that is the one.
    pub fn canary(&self) -> Option<&CanaryStrategy> {
        self.strategy.canary.as_ref()
    }

    /// The blue-green strategy, if that is the one.
    pub fn blue_green(&self) -> Option<&BlueGreenStrategy> {
        self.strategy.blue_green.as_ref()
    }

    /// Steps; none for blue-green.
    pub fn steps(&self) -> &[CanaryStep] {
        self.canary().map_or(&[], |canary| &canary.steps)
    }

    /// The routers of the canary.
    pub fn traffic_routing(&self) -> Option<&RolloutTrafficRouting> {
        self.canary()?.traffic_routing.as_deref()
    }

    /// Denominator of weights (API-16).
    pub fn max_traffic_weight(&self) -> i32 {
        let routing = self.traffic_routing();
        routing
            .and_then(|r| r.max_traffic_weight)
            .unwrap_or(MAX_TRAFFIC_WEIGHT)
    }

    /// Seconds until the ReplicaSet that lost its traffic goes to 0 (CTL-67): 30, and 0 for a
    /// canary without router.
    pub fn scale_down_delay_seconds(&self) -> i32 {
        match (self.blue_green(), self.canary()) {
            (Some(blue_green), _) => blue_green
                .scale_down_delay_seconds
                .unwrap_or(SCALE_DOWN_DELAY_SECONDS),
            (None, Some(canary)) if canary.traffic_routing.is_some() => canary
                .scale_down_delay_seconds
                .unwrap_or(SCALE_DOWN_DELAY_SECONDS),
            _ => 0,
        }
    }

    /// Old ReplicaSets that the delay may keep up at a time; `None` is no limit.
    pub fn scale_down_delay_revision_limit(&self) -> Option<i32> {
        match (self.blue_green(), self.canary()) {
            (Some(blue_green), _) => blue_green.scale_down_delay_revision_limit,
            (None, Some(canary)) => canary.scale_down_delay_revision_limit,
            (None, None) => None,
        }
    }

    /// Seconds until the new ReplicaSet goes to 0 after an abort (CTL-68). `None`: it stays up,
    /// which `0` asks for, and where the rule does not apply (canary without router).
    pub fn abort_scale_down_delay_seconds(&self) -> Option<i32> {
        let written = match (self.blue_green(), self.canary()) {
            (Some(blue_green), _) => blue_green.abort_scale_down_delay_seconds,
            // A canary that follows its traffic is scaled down anyway (API-13).
            (None, Some(canary)) if canary.dynamic_stable_scale => {
                return canary
                    .abort_scale_down_delay_seconds
                    .filter(|seconds| *seconds != 0);
            }
            (None, Some(canary)) if canary.traffic_routing.is_some() => {
                canary.abort_scale_down_delay_seconds
            }
            _ => return None,
        };
        Some(written.unwrap_or(SCALE_DOWN_DELAY_SECONDS)).filter(|seconds| *seconds != 0)
    }

    /// Pods that may be missing: rounded down, and 1 where surge and this both come to 0.
    pub fn max_unavailable_pods(&self) -> i32 {
        let replicas = self.replicas();
        let quarter = default_quarter();
        let written = match (self.blue_green(), self.canary()) {
            (Some(blue_green), _) => blue_green.max_unavailable.as_ref(),
            (None, canary) => canary.and_then(|c| c.max_unavailable.as_ref()),
        };
        let unavailable =
            numbers::pods_of(written.unwrap_or(&quarter), replicas, Round::Down).min(replicas);
        match unavailable {
            0 if self.canary().is_some() && self.max_surge_pods() == 0 => 1,
            pods => pods,
        }
    }

    /// Pods that may be too many during an update, rounded up.
    pub fn max_surge_pods(&self) -> i32 {
        let quarter = default_quarter();
        let written = self.canary().and_then(|canary| canary.max_surge.as_ref());
        numbers::pods_of(written.unwrap_or(&quarter), self.replicas(), Round::Up)
    }
}

fn default_quarter() -> IntOrString {
    IntOrString::String("25%".to_owned())
}

impl BlueGreenStrategy {
    /// Whether the switch happens without a human.
    pub fn auto_promotion_enabled(&self) -> bool {
        self.auto_promotion_enabled.unwrap_or(true)
    }
}

impl RolloutPause {
    /// Seconds of the pause; `None` lasts until somebody promotes. Digits are seconds, other
    /// texts Go durations cut to seconds; what cannot be read is -1 (API-17).
    pub fn seconds(&self) -> Option<i32> {
        Some(match self.duration.as_ref()? {
            IntOrString::Int(seconds) => *seconds,
            IntOrString::String(text) => text
                .parse::<i64>()
                .ok()
                .or_else(|| text.parse::<GoDuration>().ok().map(GoDuration::as_secs))
                .and_then(|seconds| i32::try_from(seconds).ok())
                .unwrap_or(-1),
        })
    }
}

impl SetMirrorRoute {
    /// Percentage of matching requests that are copied.
    pub fn percentage(&self) -> i32 {
        self.percentage.unwrap_or(100)
    }
}

impl RolloutExperimentStep {
    /// Go duration, if one is set.
    pub fn duration(&self) -> Option<&str> {
        Some(self.duration.as_str()).filter(|text| !text.is_empty())
    }
}

impl ExperimentSpec {
    /// Go duration, if one is set.
    pub fn duration(&self) -> Option<&str> {
        Some(self.duration.as_str()).filter(|text| !text.is_empty())
    }

    /// Seconds without progress per template.
    pub fn progress_deadline_seconds(&self) -> i32 {
        self.progress_deadline_seconds
            .unwrap_or(PROGRESS_DEADLINE_SECONDS)
    }

    /// Seconds until the ReplicaSets go to 0 at the end.
    pub fn scale_down_delay_seconds(&self) -> i32 {
        self.scale_down_delay_seconds
            .unwrap_or(SCALE_DOWN_DELAY_SECONDS)
    }
}

impl TemplateSpec {
    /// Pods; 1 when absent.
    pub fn replicas(&self) -> i32 {
        self.replicas.unwrap_or(1)
    }
}

/// The words for a step in events and screens (API-18).
impl std::fmt::Display for CanaryStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(weight) = self.set_weight {
            return write!(f, "setWeight: {weight}");
        }
        if let Some(pause) = &self.pause {
            return match &pause.duration {
                Some(duration) => write!(f, "pause: {}", numbers::as_written(duration)),
                None => f.write_str("pause"),
            };
        }
        if self.experiment.is_some() {
            return f.write_str("experiment");
        }
        if self.analysis.is_some() {
            return f.write_str("analysis");
        }
        if let Some(scale) = &self.set_canary_scale {
            return match (scale.weight, scale.match_traffic_weight, scale.replicas) {
                (Some(weight), ..) => write!(f, "setCanaryScale{{weight: {weight}}}"),
                (_, true, _) => f.write_str("setCanaryScale{matchTrafficWeight: true}"),
                (_, _, Some(replicas)) => write!(f, "setCanaryScale{{replicas: {replicas}}}"),
                _ => f.write_str("invalid"),
            };
        }
        if let Some(plugin) = &self.plugin {
            return write!(f, "plugin: {}", plugin.name);
        }
        if let Some(route) = &self.set_header_route {
            return write!(f, "setHeaderRoute: {}", route.name);
        }
        match &self.set_mirror_route {
            Some(route) => write!(f, "setMirrorRoute: {}", route.name),
            None => f.write_str("invalid"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// API-11, API-12, API-13, API-16, API-17, API-26: what absent members mean.
    #[test]
    fn absent_members() {
        let spec = |strategy: serde_json::Value| -> RolloutSpec {
            serde_json::from_value(json!({ "replicas": 10, "strategy": strategy })).unwrap()
        };
        let nothing = RolloutSpec::default();
        assert_eq!(nothing.replicas(), 1);
        assert_eq!(nothing.revision_history_limit(), 10);
        assert_eq!(nothing.progress_deadline_seconds(), 600);
        assert_eq!(nothing.rollback_window(), 0);
        assert_eq!(nothing.successful_run_history_limit(), 5);
        assert_eq!(nothing.unsuccessful_run_history_limit(), 5);
        assert_eq!(nothing.scale_down_delay_revision_limit(), None);
        assert!(!nothing.paused && !nothing.progress_deadline_abort);
        let blue_green = spec(json!({ "blueGreen": {} }));
        assert_eq!(blue_green.max_unavailable_pods(), 2, "25 %, rounded down");
        assert!(blue_green.blue_green().unwrap().auto_promotion_enabled());
        let canary = spec(json!({ "canary": { "trafficRouting": {} } }));
        assert_eq!(canary.max_unavailable_pods(), 2);
        assert_eq!(canary.max_surge_pods(), 3, "25 %, rounded up");
        assert_eq!(canary.max_traffic_weight(), 100);
        assert!(canary.steps().is_empty());
        let none = spec(json!({ "canary": { "maxSurge": "1%", "maxUnavailable": "1%" } }));
        assert_eq!((none.max_surge_pods(), none.max_unavailable_pods()), (1, 0));
        let none = spec(json!({ "canary": { "maxSurge": 0, "maxUnavailable": "1%" } }));
        assert_eq!((none.max_surge_pods(), none.max_unavailable_pods()), (0, 1));
        assert_eq!(SetMirrorRoute::default().percentage(), 100);
        let experiment = ExperimentSpec::default();
        assert_eq!(experiment.progress_deadline_seconds(), 600);
        assert_eq!(experiment.scale_down_delay_seconds(), 30);
        assert_eq!(experiment.duration(), None);
        assert_eq!(TemplateSpec::default().replicas(), 1);
    }

    /// API-17: pauses in seconds.
    #[test]
    fn pause_seconds() {
        for (duration, want) in [
            (json!(null), None),
            (json!(60), Some(60)),
            (json!("60"), Some(60)),
            (json!("5m"), Some(300)),
            (json!("1500ms"), Some(1)),
            (json!("soon"), Some(-1)),
            (json!("9999999999"), Some(-1)),
            (json!(-3), Some(-3)),
        ] {
            let pause: RolloutPause =
                serde_json::from_value(json!({ "duration": duration })).unwrap();
            assert_eq!(pause.seconds(), want, "{duration}");
        }
    }

    /// API-18
    #[test]
    fn words_for_steps() {
        for (step, want) in [
            (json!({ "setWeight": 20 }), "setWeight: 20"),
            (json!({ "pause": {} }), "pause"),
            (json!({ "pause": { "duration": "1h" } }), "pause: 1h"),
            (json!({ "pause": { "duration": 10 } }), "pause: 10"),
            (json!({ "experiment": { "templates": [] } }), "experiment"),
            (json!({ "analysis": {} }), "analysis"),
            (
                json!({ "setCanaryScale": { "weight": 5, "replicas": 1 } }),
                "setCanaryScale{weight: 5}",
            ),
            (
                json!({ "setCanaryScale": { "matchTrafficWeight": true, "replicas": 1 } }),
                "setCanaryScale{matchTrafficWeight: true}",
            ),
            (
                json!({ "setCanaryScale": { "replicas": 3 } }),
                "setCanaryScale{replicas: 3}",
            ),
            (json!({ "plugin": { "name": "a/b" } }), "plugin: a/b"),
            (
                json!({ "setHeaderRoute": { "name": "h" } }),
                "setHeaderRoute: h",
            ),
            (
                json!({ "setMirrorRoute": { "name": "m" } }),
                "setMirrorRoute: m",
            ),
            (json!({}), "invalid"),
        ] {
            let step: CanaryStep = serde_json::from_value(step).unwrap();
            assert_eq!(step.to_string(), want);
        }
    }

    /// API-13, CTL-67, CTL-68: delays by strategy.
    #[test]
    fn delays_by_strategy() {
        for (strategy, down, abort) in [
            (json!({ "blueGreen": {} }), 30, Some(30)),
            (
                json!({ "blueGreen": { "abortScaleDownDelaySeconds": 0 } }),
                30,
                None,
            ),
            (json!({ "canary": {} }), 0, None),
            (
                json!({ "canary": { "trafficRouting": {}, "dynamicStableScale": true } }),
                30,
                None,
            ),
            (json!({ "canary": { "trafficRouting": {} } }), 30, Some(30)),
            (
                json!({ "canary": { "trafficRouting": {}, "scaleDownDelaySeconds": 5 } }),
                5,
                Some(30),
            ),
        ] {
            let spec: RolloutSpec =
                serde_json::from_value(json!({ "strategy": strategy })).unwrap();
            assert_eq!(spec.scale_down_delay_seconds(), down, "{strategy}");
            assert_eq!(spec.abort_scale_down_delay_seconds(), abort, "{strategy}");
        }
    }
}
