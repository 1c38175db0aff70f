//! What happens in a scenario: the steps, and what can go wrong.

use serde::Deserialize;

use super::{Expect, PodRule};

/// One step, written as a map with one key.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Change the image of the first container, of the Rollout or of its referenced workload.
    SetImage(String),
    /// Merge-patch the Rollout.
    Patch(serde_json::Value),
    /// Merge-patch another object, or all objects of a kind.
    PatchObject(PatchObject),
    /// The API server refuses a merge patch of the Rollout, in words that contain the text.
    Refused(Refused),
    /// Apply further manifests.
    Apply(String),
    /// Delete `Kind/name`, or all objects of a kind (`Kind/*`); `AnalysisRun/Step` (or another value
    /// of the label `rollout-type`) and `Experiment/Newest` stand for the newest one.
    Delete(String),
    /// The plugin's verb for an AnalysisRun or Experiment, named as for `delete`.
    Terminate(String),
    /// Set `spec.replicas` through the scale subresource.
    Scale(i32),
    /// The plugin's verb.
    Promote(Promote),
    /// The plugin's verb.
    Abort(Empty),
    /// The plugin's verb.
    Retry(Empty),
    /// The plugin's verb.
    Pause(Empty),
    /// The plugin's verb.
    Restart(Empty),
    /// The plugin's verb; 0 is the revision before.
    Undo(u64),
    /// Wait until all of this holds; it must within the deadline.
    Until(Expect),
    /// All of this holds now.
    Expect(Expect),
    /// From now on never all of this at once; looked at whenever a step waits.
    Never(Expect),
    /// From now on always all of this; looked at whenever a step waits.
    Always(Expect),
    /// `never` and `always` of earlier steps hold no longer.
    Lift(Empty),
    /// Let time pass.
    Advance(String),
    /// Wait until the writes of what came before have ended, then for this long nothing is written
    /// by the controller.
    Quiet(String),
    /// From this very moment, for this long, nothing is written by the controller.
    Still(String),
    /// Stop the controller dead after its n-th write from now, and start it again.
    CrashAfter(u64),
    /// Right after the controller's n-th write from now, before it hears of it, somebody else acts.
    Between(Between),
    /// A step that may be refused, or that may never come about.
    Attempt(Box<Step>),
    /// Stop and start the controller.
    RestartController(Empty),
    /// Stop the controller: it is removed.
    StopController(Empty),
    /// Start the controller that was stopped.
    StartController(Empty),
    /// The clocks of the controllers jump; `-1h` goes back. What the cluster shows does not.
    ClockJump(String),
    /// How pods that start from now on behave, instead of the scenario's `pods`.
    Pods(Vec<PodRule>),
    /// Pods vanish, as with their node.
    LosePods(LosePods),
    /// Something goes wrong from now on.
    Fault(Box<Fault>),
    /// Nothing goes wrong any more.
    Heal(Empty),
}

impl Step {
    /// This step and those within it.
    pub(super) fn and_inner<'a>(&'a self, all: &mut Vec<&'a Step>) {
        all.push(self);
        match self {
            Self::Between(between) => {
                for step in &between.steps {
                    step.and_inner(all);
                }
            }
            Self::Attempt(step) => step.and_inner(all),
            _ => {}
        }
    }
}

/// `promote: {}` or `promote: {full: true}`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promote {
    /// Skip analysis, pauses and steps.
    #[serde(default)]
    pub full: bool,
}

/// `{}`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// `patch-object: {object: AnalysisRun/*, patch: {spec: {terminate: true}}}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchObject {
    /// `Kind/name`, or `Kind/*` for all of them.
    pub object: String,
    /// A JSON merge patch.
    pub patch: serde_json::Value,
}

/// `refused: {patch: {spec: {selector: ...}}, message: immutable}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// A JSON merge patch of the Rollout.
    pub patch: serde_json::Value,
    /// Part of the reason.
    pub message: String,
}

/// `between: {writes: 1, steps: [{abort: {}}]}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Between {
    /// After which write of the controller, counted from 1.
    pub writes: u64,
    /// What happens then; the answer to that write waits until all of it is done.
    pub steps: Vec<Step>,
}

/// `lose-pods: {image: "1.28", count: 1}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LosePods {
    /// Text that their image has to contain.
    pub image: String,
    /// How many; all by default.
    pub count: Option<usize>,
}

/// What goes wrong. Shares are of requests, from 0 to 1.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fault {
    /// Only requests for this plural; all by default.
    pub resource: Option<String>,
    /// Only this controller, where there are several: `a`, `b`, ...
    pub controller: Option<String>,
    /// Share of requests that are answered 409.
    #[serde(default)]
    pub conflict: f64,
    /// Share of requests that are answered 500.
    #[serde(default)]
    pub error: f64,
    /// Share of requests that are answered 429.
    #[serde(default)]
    pub throttle: f64,
    /// Share of requests that are carried out, but whose answer is lost.
    #[serde(default)]
    pub lost_answer: f64,
    /// Every answer takes between half of this and all of it.
    pub latency: Option<String>,
    /// Reads show the state of this many changes ago.
    pub stale: Option<u64>,
    /// Delay of watch events.
    pub watch_delay: Option<String>,
    /// Watches that begin from now on break after this time.
    pub watch_cut: Option<String>,
    /// Plurals whose running watches break now; `""` means all.
    #[serde(default)]
    pub cut: Vec<String>,
    /// Plurals whose news the controllers do not get until `heal`.
    #[serde(default)]
    pub freeze: Vec<String>,
    /// What routers answer when asked whether the data plane follows them.
    pub verification: Option<Verdict>,
    /// What Prometheus does.
    pub metrics: Option<MetricsFault>,
}

impl Fault {
    /// Whether decisions alone can show it: it is about what routers answer.
    #[must_use]
    pub fn is_of_verification(&self) -> bool {
        let only = Self {
            verification: self.verification,
            ..Self::default()
        };
        self.verification.is_some() && format!("{self:?}") == format!("{only:?}")
    }

    /// Whether it needs nothing but the synthetic Prometheus and routers' answers.
    #[must_use]
    pub fn spares_the_api(&self) -> bool {
        let only = Self {
            verification: self.verification,
            metrics: self.metrics,
            ..Self::default()
        };
        format!("{self:?}") == format!("{only:?}")
    }
}

/// What a router answers about a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The data plane has it.
    Confirmed,
    /// The data plane does not have it yet.
    Denied,
    /// It cannot be asked, as when an API throttles.
    Failed,
}

/// What Prometheus does instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetricsFault {
    /// It answers NaN.
    Nan,
    /// It finds no series.
    Empty,
    /// It answers 500.
    Error,
    /// It does not answer.
    Hang,
}
