//! Metric providers, the condition language and the judge of one measurement.

pub mod duration;
pub mod expr;
pub mod judge;
pub mod numbers;
