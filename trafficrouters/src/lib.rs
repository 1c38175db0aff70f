//! Traffic routers: what each route object must say for a wanted split.
//!
//! The core decides a [`Want`](sluice_core::traffic::Want); a [`TrafficRouter`] renders it onto the
//! route objects as they were found and answers with the writes that are missing. Rendering is pure
//! and idempotent: on its own result it yields nothing. Route objects belong to users, so they stay
//! JSON ([`serde_json::Value`]), and what a router does not own survives byte for byte (INV-11).
//!
//! * [`router`]: the trait, the writes, the events around them.
//! * [`factory`]: from a Rollout to its routers, in their order (TRF-2).
//! * [`istio`], [`nginx`] ...: one module per provider.
//! * `conformance` (feature `testing`): what every router has to pass.
//!
//! Nothing here talks to a cluster: the caller reads [`TrafficRouter::reads`] into a [`Found`] and
//! carries the [`RouteWrite`]s out, in order, stopping at the first failure.

pub mod alb;
pub mod ambassador;
pub mod apisix;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod error;
pub mod factory;
pub mod istio;
mod json;
pub mod nginx;
pub mod object;
pub mod patch;
#[cfg(test)]
mod records;
pub mod router;
pub mod smi;
pub mod split;
#[cfg(test)]
mod testing;
pub mod traefik;

pub use alb::{alb_managed_rollouts, references_alb_ingress, release_alb_ingress};
pub use error::RouteError;
pub use factory::{Config, managed_objects, routers_for};
pub use istio::{
    managing_rollout, references_destination_rule, release_destination_rule, subset_hashes,
};
pub use nginx::retire_canary_ingress;
pub use object::{Found, ObjectRef};
pub use router::{FailureEvent, RouteWrite, TrafficRouter, Verifying, WriteKind};
