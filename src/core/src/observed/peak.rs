//! How many pods of a ReplicaSet have been up at once: what comes back is no progress (FLT-35).

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice_crds::ReplicaSet;

/// The most pods that were up at once while the ReplicaSet did not shrink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    /// `spec.replicas` at that time.
    pub size: i32,
    /// Ready pods.
    pub ready: i32,
    /// Available pods.
    pub available: i32,
}

impl Peak {
    /// What is up now.
    #[must_use]
    pub fn of(set: &ReplicaSet) -> Self {
        let status = set.status.as_ref();
        Self {
            size: set.spec.replicas.unwrap_or(1),
            ready: status.map_or(0, |status| status.ready_replicas),
            available: status.map_or(0, |status| status.available_replicas),
        }
    }

    /// The higher of what was up and what is; a smaller ReplicaSet starts anew.
    #[must_use]
    pub fn and(self, now: Self) -> Self {
        if now.size < self.size {
            return now;
        }
        Self {
            size: now.size,
            ready: self.ready.max(now.ready),
            available: self.available.max(now.available),
        }
    }
}

/// Whether more pods of any of these are up than ever were.
#[must_use]
pub fn surpassed(peaks: &BTreeMap<String, Peak>, sets: &[Arc<ReplicaSet>]) -> bool {
    sets.iter().any(|set| {
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let known = peaks.get(name).copied().unwrap_or_default();
        let now = Peak::of(set);
        now.size < known.size || now.ready > known.ready || now.available > known.available
    })
}

/// The peaks once these have been seen; those of others are forgotten.
#[must_use]
pub fn with(peaks: &BTreeMap<String, Peak>, sets: &[Arc<ReplicaSet>]) -> BTreeMap<String, Peak> {
    sets.iter()
        .map(|set| {
            let name = set.metadata.name.clone().unwrap_or_default();
            let now = Peak::of(set);
            let peak = peaks.get(&name).map_or(now, |known| known.and(now));
            (name, peak)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pause, replica_set, rollout};

    /// FLT-35
    #[test]
    fn what_comes_back_surpasses_nothing() {
        let web = rollout("web").replicas(4).canary([pause()]);
        let mut peaks = BTreeMap::new();
        let mut next = |size, available| {
            let sets = vec![replica_set(&web, "a", 1).size(size, available).build()];
            let more = surpassed(&peaks, &sets);
            peaks = with(&peaks, &sets);
            more
        };
        assert!(next(4, 2));
        assert!(!next(4, 0));
        assert!(!next(4, 2));
        assert!(next(4, 3));
        assert!(!next(6, 3), "it only grew");
        assert!(next(2, 2), "a smaller one starts anew");
        assert!(!next(2, 2));
    }
}
