//! Events as data: what the shell records on an object once the plan has been carried out.

/// Whether an event reports ordinary progress or something a person should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventType {
    /// Progress as intended.
    Normal,
    /// A failure or a refusal.
    Warning,
}

/// One core/v1 Event about the object that was decided on (API-67..69).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Normal or Warning.
    pub kind: EventType,
    /// Upstream's reason, for example `RolloutStepCompleted`; notification triggers derive from it.
    pub reason: String,
    /// Upstream's text.
    pub message: String,
}

impl Event {
    /// A Normal event.
    pub fn normal(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind: EventType::Normal,
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// A Warning event.
    pub fn warning(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind: EventType::Warning,
            reason: reason.into(),
            message: message.into(),
        }
    }
}
