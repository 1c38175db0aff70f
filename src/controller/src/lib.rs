//! The controller: observe, decide, execute.
pub mod cache;
pub mod clock;
pub mod events;
pub mod fence;
pub mod http;
pub mod hub;
pub mod key;
pub mod lease;
pub mod metrics;
pub mod patch;
pub mod queue;
