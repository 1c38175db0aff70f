//! What stays fixed while one decision is made.

use std::borrow::Cow;

use jiff::Timestamp;
use sluice_crds::rollout::{
    BlueGreenStrategy, CanaryStrategy, RolloutSpec, RolloutStatus, RolloutTrafficRouting,
};
use sluice_crds::{IntOrString, LabelSelector, RawPodTemplate, Rollout, Time, keys};

use crate::observed::{Observed, Workload};
use crate::replicas::{Fences, StepSize, Threshold};
use crate::revision::Hashes;
use crate::step::{self, Step};

/// The strategy in force.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Strategy<'a> {
    Canary(&'a CanaryStrategy),
    BlueGreen(&'a BlueGreenStrategy),
}

/// Everything that does not change between the passes of one decision.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) seen: &'a Observed,
    pub(crate) now: Timestamp,
    pub(crate) rollout: &'a Rollout,
    /// The status as the API server has it: what other actors rely on.
    pub(crate) persisted: Cow<'a, RolloutStatus>,
    pub(crate) template: &'a RawPodTemplate,
    pub(crate) selector: Cow<'a, LabelSelector>,
    pub(crate) strategy: Strategy<'a>,
    pub(crate) steps: Vec<Step<'a>>,
    pub(crate) sizes: Vec<StepSize>,
    pub(crate) hashes: Hashes,
    /// `spec.replicas`, 1 when absent.
    pub(crate) replicas: i32,
    pub(crate) fences: Fences,
    /// The current version is the one on record, whatever the template says.
    pub(crate) pinned: bool,
}

impl<'a> Context<'a> {
    /// Everything in its place; `Err` is the text of an `InvalidSpec` condition (API-28).
    pub(crate) fn new(seen: &'a Observed, now: Timestamp) -> Result<Self, String> {
        let rollout = &*seen.rollout;
        let spec = &rollout.spec;
        let (template, workload_selector) = match &seen.workload {
            Workload::NotReferenced => (&spec.template, None),
            Workload::Found(found) => (&found.template, found.selector.as_ref()),
            Workload::Unusable(why) => return Err(why.clone()),
        };
        let selector = match (&spec.selector, workload_selector) {
            (Some(own), _) => Cow::Borrowed(own),
            (None, Some(theirs)) => Cow::Borrowed(theirs),
            (None, None) => Cow::Owned(LabelSelector::default()),
        };
        let strategy = match (&spec.strategy.blue_green, &spec.strategy.canary) {
            (Some(blue_green), _) => Strategy::BlueGreen(blue_green),
            (None, Some(canary)) => Strategy::Canary(canary),
            // Validation says the same; nothing is scaled for it.
            (None, None) => return Err("spec.strategy has neither blueGreen nor canary".to_owned()),
        };
        let persisted = match &rollout.status {
            Some(status) => Cow::Borrowed(status),
            None => Cow::Owned(RolloutStatus::default()),
        };
        let steps: &[_] = match strategy {
            Strategy::Canary(canary) => &canary.steps,
            Strategy::BlueGreen(_) => &[],
        };
        let replicas = spec.replicas.unwrap_or(1).max(0);
        Ok(Self {
            hashes: Hashes::new(template, persisted.collision_count, strategy),
            fences: fences(strategy, replicas),
            steps: steps.iter().map(Step::from).collect(),
            sizes: steps.iter().map(step::size).collect(),
            seen,
            now,
            rollout,
            persisted,
            template,
            selector,
            strategy,
            replicas,
            pinned: false,
        })
    }

    pub(crate) fn spec(&self) -> &'a RolloutSpec {
        &self.rollout.spec
    }

    pub(crate) fn name(&self) -> &'a str {
        self.rollout.metadata.name.as_deref().unwrap_or_default()
    }

    pub(crate) fn namespace(&self) -> &'a str {
        self.rollout
            .metadata
            .namespace
            .as_deref()
            .unwrap_or_default()
    }

    pub(crate) fn uid(&self) -> &'a str {
        self.rollout.metadata.uid.as_deref().unwrap_or_default()
    }

    pub(crate) fn generation(&self) -> i64 {
        self.rollout.metadata.generation.unwrap_or_default()
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&'a str> {
        self.rollout
            .metadata
            .annotations
            .as_ref()?
            .get(key)
            .map(String::as_str)
    }

    /// Pods that have to be available: never none, whatever may be unavailable (INV-4, FLT-37).
    pub(crate) fn floor(&self) -> i32 {
        let least = self.replicas.min(1);
        self.replicas
            .saturating_sub(self.fences.unavailable)
            .max(least)
    }

    /// Annotation `workload-generation` as it has to be: the generation of the referenced workload,
    /// where that is known (CTL-144).
    pub(crate) fn workload_generation(&self) -> Option<String> {
        let found = match &self.seen.workload {
            Workload::Found(found) => found.generation,
            Workload::NotReferenced | Workload::Unusable(_) => None,
        };
        found.map(|generation| generation.to_string()).or_else(|| {
            self.annotation(keys::WORKLOAD_GENERATION)
                .map(str::to_owned)
        })
    }

    pub(crate) fn stamp(&self) -> Time {
        Time::new(self.now)
    }

    pub(crate) fn canary(&self) -> Option<&'a CanaryStrategy> {
        match self.strategy {
            Strategy::Canary(canary) => Some(canary),
            Strategy::BlueGreen(_) => None,
        }
    }

    pub(crate) fn blue_green(&self) -> Option<&'a BlueGreenStrategy> {
        match self.strategy {
            Strategy::BlueGreen(blue_green) => Some(blue_green),
            Strategy::Canary(_) => None,
        }
    }

    /// Traffic routing, where a router splits the requests.
    pub(crate) fn routing(&self) -> Option<&'a RolloutTrafficRouting> {
        self.canary()?.traffic_routing.as_deref()
    }

    /// A canary whose pod counts are its traffic split.
    pub(crate) fn basic(&self) -> bool {
        matches!(self.strategy, Strategy::Canary(canary) if canary.traffic_routing.is_none())
    }

    /// `dynamicStableScale` with a router.
    pub(crate) fn dynamic(&self) -> bool {
        matches!(self.strategy, Strategy::Canary(canary)
            if canary.traffic_routing.is_some() && canary.dynamic_stable_scale)
    }

    /// What weights are parts of; always 100 without a router.
    pub(crate) fn whole(&self) -> i32 {
        let whole = self
            .routing()
            .and_then(|routing| routing.max_traffic_weight);
        crate::units::whole_or_default(whole.unwrap_or(100))
    }

    pub(crate) fn threshold(&self) -> Option<Threshold> {
        let threshold = self.canary()?.replica_progress_threshold.as_ref()?;
        Some(match threshold.r#type.as_str() {
            "Percent" => Threshold::Percent(threshold.value),
            _ => Threshold::Pods(threshold.value),
        })
    }

    /// Number of steps, as `currentStepIndex` counts them.
    pub(crate) fn step_count(&self) -> i32 {
        i32::try_from(self.steps.len()).unwrap_or(i32::MAX)
    }

    /// The step at an index; none past the end.
    pub(crate) fn step_at(&self, index: Option<i32>) -> Option<Step<'a>> {
        self.steps
            .get(usize::try_from(index.unwrap_or(0)).ok()?)
            .copied()
    }

    /// Seconds an aborted new ReplicaSet stays up, and whether the user said so (CTL-68).
    pub(crate) fn abort_delay(&self) -> AbortDelay {
        let written = match self.strategy {
            Strategy::Canary(canary) => canary.abort_scale_down_delay_seconds,
            Strategy::BlueGreen(blue_green) => blue_green.abort_scale_down_delay_seconds,
        };
        AbortDelay { written }
    }

    /// `kind/name` of an object, as reasons name it.
    pub(crate) fn me(&self) -> String {
        format!("Rollout/{}", self.name())
    }
}

/// `abortScaleDownDelaySeconds`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AbortDelay {
    /// As the user wrote it.
    pub(crate) written: Option<i32>,
}

impl AbortDelay {
    /// Seconds; 0 means: leave it up.
    pub(crate) fn seconds(self) -> i64 {
        i64::from(self.written.unwrap_or(30))
    }
}

fn fences(strategy: Strategy<'_>, replicas: i32) -> Fences {
    let of =
        |surge: Option<&IntOrString>, unavailable| Fences::resolve(surge, unavailable, replicas);
    match strategy {
        Strategy::Canary(canary) => of(canary.max_surge.as_ref(), canary.max_unavailable.as_ref()),
        Strategy::BlueGreen(blue_green) => Fences {
            surge: 0,
            unavailable: Fences::blue_green_unavailable(
                blue_green.max_unavailable.as_ref(),
                replicas,
            ),
        },
    }
}
