//! Real control plane, scenario runner, data-plane tests.

pub mod binaries;
pub mod cluster;
pub mod controlplane;
pub mod dataplane;
pub mod idle;
pub mod kustomize;
pub mod netns;
pub mod node;
pub mod pods;
pub mod process;
pub mod records;
pub mod scenario;
pub mod schedules;
pub mod stand;
pub mod takeover;
pub mod toolchain;
