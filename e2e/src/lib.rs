//! Real control plane, scenario runner, data-plane tests.
pub mod scenario;
