//! Why a Rollout does not move: part of every plan (INV-15), read by `explain`.

use jiff::Timestamp;

/// What kind of thing is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Pods of a ReplicaSet have to become available.
    PodsNotAvailable,
    /// Pods of a ReplicaSet have to go away, or to stay until others can do without them.
    PodsNotGone,
    /// A person has to promote (or resume).
    NeedsPromotion,
    /// A pause runs until a known time.
    Paused,
    /// `spec.paused` holds the Rollout.
    ManuallyPaused,
    /// An AnalysisRun has not ended.
    AnalysisRunning,
    /// An Experiment has not ended.
    ExperimentRunning,
    /// The router has not confirmed the weight.
    TrafficUnconfirmed,
    /// A service or subset may only switch once its pods are available.
    SwitchWaitsForPods,
    /// A drained ReplicaSet is kept for its delay.
    ScaleDownDelay,
    /// Aborted: a person has to retry, or to change the spec.
    Aborted,
    /// The spec, or an object it names, has to be corrected.
    InvalidSpec,
    /// An own write has to show up, or a failed one is tried again.
    WriteUnconfirmed,
    /// An object that is there cannot be read.
    Unreadable,
    /// Pods are being restarted.
    Restarting,
    /// A feature named by the spec is not supported yet.
    NotSupported,
}

/// One thing that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// What kind of thing.
    pub reason: Reason,
    /// The object, as `Kind/name`.
    pub object: String,
    /// One sentence for people, without the object's name at its start.
    pub message: String,
    /// Since when it has been so, when known.
    pub since: Option<Timestamp>,
    /// When it ends by itself, when it does.
    pub until: Option<Timestamp>,
    /// When it is looked at again, which need not end it.
    pub again: Option<Timestamp>,
    /// The plugin verb that would move it (`promote`, `retry` ...), when there is one.
    pub command: Option<&'static str>,
}

impl Reason {
    /// Its name, as `explain -o json` has it. Stable.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PodsNotAvailable => "PodsNotAvailable",
            Self::PodsNotGone => "PodsNotGone",
            Self::NeedsPromotion => "NeedsPromotion",
            Self::Paused => "Paused",
            Self::ManuallyPaused => "ManuallyPaused",
            Self::AnalysisRunning => "AnalysisRunning",
            Self::ExperimentRunning => "ExperimentRunning",
            Self::TrafficUnconfirmed => "TrafficUnconfirmed",
            Self::SwitchWaitsForPods => "SwitchWaitsForPods",
            Self::ScaleDownDelay => "ScaleDownDelay",
            Self::Aborted => "Aborted",
            Self::InvalidSpec => "InvalidSpec",
            Self::WriteUnconfirmed => "WriteUnconfirmed",
            Self::Unreadable => "Unreadable",
            Self::Restarting => "Restarting",
            Self::NotSupported => "NotSupported",
        }
    }
}

impl Why {
    /// A reason without times and without a remedy.
    #[must_use]
    pub fn new(reason: Reason, object: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason,
            object: object.into(),
            message: message.into(),
            since: None,
            until: None,
            again: None,
            command: None,
        }
    }

    /// Since when it has been so.
    #[must_use]
    pub fn since(mut self, at: Timestamp) -> Self {
        self.since = Some(at);
        self
    }

    /// When it ends by itself.
    #[must_use]
    pub fn until(mut self, at: Timestamp) -> Self {
        self.until = Some(at);
        self
    }

    /// When it is looked at again.
    #[must_use]
    pub fn again(mut self, at: Timestamp) -> Self {
        self.again = Some(at);
        self
    }

    /// The plugin verb that would move it.
    #[must_use]
    pub fn command(mut self, verb: &'static str) -> Self {
        self.command = Some(verb);
        self
    }
}
