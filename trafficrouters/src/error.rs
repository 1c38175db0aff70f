//! Why a router cannot render.

use sluice_core::event::Event;

use crate::object::ObjectRef;
use crate::router::RouteWrite;

/// Why a router cannot render. The texts are upstream's where upstream has one; they reach users as
/// events and in `status.message`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RouteError {
    /// The spec asks for something that is not built yet.
    #[error("{field}: not supported yet; {remedy}")]
    NotSupported {
        /// Path of the field in the Rollout.
        field: String,
        /// What the user can do.
        remedy: String,
    },
    /// The router's settings in the Rollout are wrong.
    #[error("{message}")]
    Config {
        /// What is wrong with which field.
        message: String,
    },
    /// A route object that the Rollout names does not exist.
    #[error("{message}")]
    Missing {
        /// The object.
        object: Box<ObjectRef>,
        /// Upstream's text.
        message: String,
        /// Reason of the Warning event that upstream records for it.
        reason: Option<&'static str>,
    },
    /// A route object could not be read: nothing may be concluded about it.
    #[error("reading {object}: {message}")]
    Unread {
        /// The object.
        object: Box<ObjectRef>,
        /// Why not.
        message: String,
    },
    /// A route object exists and does not have the shape that the Rollout asks for.
    #[error("{message}")]
    Malformed {
        /// The object.
        object: Box<ObjectRef>,
        /// Upstream's text.
        message: String,
        /// Reason of the Warning event that upstream records for it.
        reason: Option<&'static str>,
    },
    /// An object with the name of ours belongs to somebody else.
    #[error("{message}")]
    Foreign {
        /// The object.
        object: Box<ObjectRef>,
        /// Upstream's text.
        message: String,
    },
    /// All traffic is to go to the stable version, and one object is in the way: what brings the
    /// others there has to be written all the same, so that an abort ends (INV-10).
    #[error("{source}")]
    Incomplete {
        /// Carry these out before reporting the error.
        writes: Vec<RouteWrite>,
        /// What is in the way.
        source: Box<RouteError>,
    },
}

impl RouteError {
    pub(crate) fn unread(object: &ObjectRef, message: impl Into<String>) -> Self {
        Self::Unread {
            object: Box::new(object.clone()),
            message: message.into(),
        }
    }

    pub(crate) fn missing(
        object: &ObjectRef,
        reason: Option<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        Self::Missing {
            object: Box::new(object.clone()),
            message: message.into(),
            reason,
        }
    }

    pub(crate) fn malformed(object: &ObjectRef, message: impl Into<String>) -> Self {
        Self::Malformed {
            object: Box::new(object.clone()),
            message: message.into(),
            reason: None,
        }
    }

    pub(crate) fn foreign(object: &ObjectRef, message: impl Into<String>) -> Self {
        Self::Foreign {
            object: Box::new(object.clone()),
            message: message.into(),
        }
    }

    /// The object in the way, when it is an object.
    #[must_use]
    pub fn object(&self) -> Option<&ObjectRef> {
        match self {
            Self::NotSupported { .. } | Self::Config { .. } => None,
            Self::Missing { object, .. }
            | Self::Unread { object, .. }
            | Self::Malformed { object, .. }
            | Self::Foreign { object, .. } => Some(object),
            Self::Incomplete { source, .. } => source.object(),
        }
    }

    /// Writes to carry out although rendering failed, before the error is reported.
    #[must_use]
    pub fn writes(&self) -> &[RouteWrite] {
        match self {
            Self::Incomplete { writes, .. } => writes,
            _ => &[],
        }
    }

    /// What to record on the Rollout: the provider's own reason, then `TrafficRoutingError` (TRF-10).
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let reason = match self {
            Self::Missing { reason, .. } | Self::Malformed { reason, .. } => *reason,
            Self::Incomplete { source, .. } => return source.events(),
            _ => None,
        };
        reason
            .into_iter()
            .chain(["TrafficRoutingError"])
            .map(|reason| Event::warning(reason, self.to_string()))
            .collect()
    }
}
