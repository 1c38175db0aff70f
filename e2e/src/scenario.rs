//! Scenarios: one YAML format, played in every ring that can express it.
//!
//! A scenario names the manifests it starts from, what the pods and metrics do, and a list of steps:
//! what a user does (`set-image`, `promote`, `abort` ...), what goes wrong (`crash-controller`,
//! `fault`), and what has to come true (`until`, `expect`, `quiet`). The same file runs against the
//! simulated cluster in virtual time and against a real control plane; [`format::Scenario::rings`]
//! says where it cannot, and why.

pub mod check;
pub mod clock;
pub mod format;
pub mod manifest;
pub mod observer;
pub mod prometheus;
pub mod pure;
pub mod runner;
pub mod state;
pub mod tripwire;
pub mod verification;
pub mod world;
