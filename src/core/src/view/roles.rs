//! What a ReplicaSet is to its Rollout (CLI-12).

use sluice_crds::rollout::RolloutStatus;
use sluice_crds::{ReplicaSet, Rollout, keys};

/// A role, in the order in which roles are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The new version of a canary.
    Canary,
    /// The version that an abort goes back to.
    Stable,
    /// Behind blue-green's active Service.
    Active,
    /// Behind blue-green's preview Service.
    Preview,
    /// Behind the ping Service.
    Ping,
    /// Behind the pong Service.
    Pong,
}

impl Role {
    /// As people read it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Stable => "stable",
            Self::Active => "active",
            Self::Preview => "preview",
            Self::Ping => "ping",
            Self::Pong => "pong",
        }
    }
}

/// The roles of a ReplicaSet, in the order of column INFO. One of an Experiment has none.
pub(crate) fn of(rollout: &Rollout, set: &ReplicaSet) -> Vec<Role> {
    if set.annotation(keys::EXPERIMENT_NAME).is_some() {
        return Vec::new();
    }
    let empty = RolloutStatus::default();
    let status = rollout.status.as_ref().unwrap_or(&empty);
    let is = |hash: &str| !hash.is_empty() && set.pod_hash() == Some(hash);
    let mut roles = Vec::new();
    let stable = is(&status.stable_rs);
    if stable {
        roles.push(Role::Stable);
    }
    if let Some(canary) = &rollout.spec.strategy.canary {
        let current = is(&status.current_pod_hash);
        if current && !stable {
            roles.push(Role::Canary);
        }
        if canary.ping_pong.is_some() && (stable || current) {
            let stable_is_ping = status.canary.stable_ping_pong == "ping";
            roles.push(if stable == stable_is_ping {
                Role::Ping
            } else {
                Role::Pong
            });
        }
    }
    if rollout.spec.strategy.blue_green.is_some() {
        if is(&status.blue_green.active_selector) {
            roles.push(Role::Active);
        } else if is(&status.blue_green.preview_selector) {
            roles.push(Role::Preview);
        }
    }
    roles
}
