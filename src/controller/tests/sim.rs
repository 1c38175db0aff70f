//! The whole controller on the simulated cluster, in virtual time.
// Tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(clippy::print_stdout, unreachable_pub, missing_docs)]

#[path = "sim/harness.rs"]
mod harness;

#[path = "sim/analysis.rs"]
mod analysis;
#[path = "sim/canary.rs"]
mod canary;
#[path = "sim/experiments.rs"]
mod experiments;
#[path = "sim/faults.rs"]
mod faults;
#[path = "sim/measuring.rs"]
mod measuring;
#[path = "sim/routed.rs"]
mod routed;
#[path = "sim/strategies.rs"]
mod strategies;
