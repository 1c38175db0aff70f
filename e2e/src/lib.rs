//! Real control plane, scenario runner, data-plane tests.

pub mod controlplane;
pub mod process;
pub mod scenario;
pub mod toolchain;
