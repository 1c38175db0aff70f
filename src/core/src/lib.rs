//! The pure decision core: what was observed goes in, a plan comes out.
//!
//! Nothing here reads a clock, a network or a random source. The controller, `simulate`, `explain`
//! and the property tests all call the same functions: [`observed::Observed`] is everything a
//! decision may look at, [`plan::Plan`] everything it may ask for.
#![cfg_attr(
    not(test),
    warn(clippy::wildcard_enum_match_arm, clippy::cast_possible_truncation)
)]

pub mod analysis_run;
mod clock;
pub mod commands;
pub mod conditions;
pub mod decide;
mod drain;
pub mod duration;
pub mod event;
pub mod experiment;
pub mod explain;
pub mod invariants;
pub mod observed;
pub mod phase;
pub mod plan;
pub mod replicas;
pub mod step;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod traffic;
pub mod units;
pub mod unreadable;
pub mod view;
pub mod why;

mod abort;
mod analysis;
mod bluegreen;
mod canary;
mod experiments;
mod history;
mod metadata;
mod pause;
mod restart;
mod revision;
mod rollout_status;
mod routing;
mod same;
mod services;
mod validity;
mod workload;
