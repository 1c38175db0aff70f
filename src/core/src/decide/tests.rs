//! Whole updates in the small cluster of [`crate::testing::world`].

mod blue_green;
mod canary;
mod records;
mod routed;
