//! The contract between the shell and a provider of traffic routing (TRF-1).

use std::future::Future;
use std::pin::Pin;

use serde_json::{Value, json};
use sluice_core::event::{Event, EventType};
use sluice_core::traffic::{Verification, Want};

use crate::error::RouteError;
use crate::object::{Found, ObjectRef};

/// What [`TrafficRouter::verify`] gives back: boxed, so that routers can be trait objects.
pub type Verifying<'a> = Pin<Box<dyn Future<Output = Verification> + Send + 'a>>;

/// One provider of one Rollout, made for one pass by [`crate::routers_for`].
///
/// Contract, checked by the conformance suite:
/// * `render` is a function of its arguments; on its own result it yields no write.
/// * At most one write per object; what the provider does not own stays byte for byte (INV-11).
/// * Whatever is asked for, weights stay within bounds and add up (INV-13).
/// * An object that is missing or could not be read is an error that names it.
/// * While [`Want::only_remove_managed_routes`] is set, only managed routes go away.
pub trait TrafficRouter: Send + Sync {
    /// Upstream's name of the provider, for example `Istio`.
    fn name(&self) -> &str;

    /// Objects to read before [`render`](Self::render). Some may be absent (what the router creates).
    fn reads(&self) -> Vec<ObjectRef>;

    /// Objects whose change by others must start a new pass (TRF-17): all that is read or written.
    fn watches(&self) -> Vec<ObjectRef> {
        self.reads()
    }

    /// The writes that turn what was found into what is wanted, in the order to carry them out.
    ///
    /// # Errors
    /// Whatever keeps the wanted state from being rendered; see [`RouteError::writes`] for what is
    /// to be written nevertheless, and [`RouteError::events`] for what to record.
    fn render(&self, want: &Want, found: &Found) -> Result<Vec<RouteWrite>, RouteError>;

    /// Asks the data plane whether it has the weights (TRF-13). Most cannot tell.
    fn verify<'a>(&'a self, want: &'a Want, found: &'a Found) -> Verifying<'a> {
        let _ = (want, found);
        Box::pin(std::future::ready(Verification::NotSupported))
    }
}

/// One write to one object, and what to say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteWrite {
    /// The object.
    pub object: ObjectRef,
    /// The call.
    pub kind: WriteKind,
    /// Events to record before the call.
    pub before: Vec<Event>,
    /// Events to record once the call succeeded, never otherwise.
    pub after: Vec<Event>,
    /// Event to record when the call fails, beside `TrafficRoutingError`.
    pub failure: Option<FailureEvent>,
}

/// The call that a write is.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteKind {
    /// POST. When the name is taken: observe again.
    Create(Value),
    /// JSON merge patch.
    Patch {
        /// resourceVersion that the patch was made for; a conflict means observe again. Empty: none.
        guard: String,
        /// The patch, without the guard.
        patch: Value,
    },
    /// PUT of the whole object, its resourceVersion in place: for kinds on which the existing
    /// ClusterRole grants `update` and not `patch` (INS-4).
    Replace(Value),
    /// DELETE, on the condition that it is still this version.
    Delete {
        /// resourceVersion that the decision was made on. Empty: none.
        guard: String,
    },
}

impl WriteKind {
    /// The request body: of a patch including the guard, of a deletion the preconditions.
    #[must_use]
    pub fn body(&self) -> Value {
        match self {
            Self::Create(object) | Self::Replace(object) => object.clone(),
            Self::Patch { guard, patch } => {
                let mut body = patch.clone();
                if !guard.is_empty() {
                    crate::json::set(&mut body, &["metadata", "resourceVersion"], json!(guard));
                }
                body
            }
            Self::Delete { guard } if guard.is_empty() => json!({}),
            Self::Delete { guard } => json!({"preconditions": {"resourceVersion": guard}}),
        }
    }
}

/// An event about a call that failed: the API server's words follow the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureEvent {
    /// Normal or Warning.
    pub kind: EventType,
    /// Upstream's reason.
    pub reason: &'static str,
    /// Upstream's text up to the error.
    pub text: String,
}

impl FailureEvent {
    pub(crate) fn warning(reason: &'static str, text: String) -> Self {
        Self {
            kind: EventType::Warning,
            reason,
            text,
        }
    }

    /// The event, with the error's text.
    #[must_use]
    pub fn event(&self, error: &str) -> Event {
        Event {
            kind: self.kind,
            reason: self.reason.to_owned(),
            message: format!("{}{error}", self.text),
        }
    }
}
