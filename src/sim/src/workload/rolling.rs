//! How many pods each ReplicaSet of a Deployment gets: pure arithmetic.

use serde_json::Value;

use crate::json::{at, int, text};

/// What a Deployment asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Desired {
    pub(super) replicas: i64,
    /// Pods above `replicas`.
    pub(super) surge: i64,
    /// Pods below `replicas`.
    pub(super) unavailable: i64,
    /// All old pods go before the first new one comes.
    pub(super) recreate: bool,
}

/// A ReplicaSet as far as it matters here.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Set {
    pub(super) wanted: i64,
    pub(super) replicas: i64,
    pub(super) available: i64,
    pub(super) created: String,
}

impl Desired {
    /// Reads a Deployment.
    pub(super) fn of(deployment: &Value) -> Self {
        let replicas = int(deployment, &["spec", "replicas"]).unwrap_or(1);
        let recreate = text(deployment, &["spec", "strategy", "type"]) == "Recreate";
        let share = |field: &str, up: bool| match at(
            deployment,
            &["spec", "strategy", "rollingUpdate", field],
        ) {
            Some(Value::String(percent)) => {
                let percent: i64 = percent.trim_end_matches('%').parse().unwrap_or(0);
                (replicas * percent + if up { 99 } else { 0 }) / 100
            }
            Some(number) => number.as_i64().unwrap_or(0),
            None => 0,
        };
        let surge = if recreate { 0 } else { share("maxSurge", true) };
        let unavailable = if recreate {
            0
        } else {
            share("maxUnavailable", false)
        };
        // Both zero would never move.
        let unavailable = if surge == 0 && unavailable == 0 && !recreate {
            1
        } else {
            unavailable
        };
        Self {
            replicas,
            surge,
            unavailable: unavailable.min(replicas),
            recreate,
        }
    }
}

/// The next size of each set; `current` is the one of the present template.
pub(super) fn sizes(
    desired: &Desired,
    sets: &[Set],
    current: Option<usize>,
    paused: bool,
) -> Vec<i64> {
    let mut sizes: Vec<i64> = sets.iter().map(|s| s.wanted).collect();
    if paused {
        // Only a change of the number of replicas is followed, by the largest set.
        let largest = (0..sets.len()).max_by_key(|i| sizes.get(*i).copied());
        let others: i64 = sizes.iter().sum();
        if let Some(slot) = largest.and_then(|i| sizes.get_mut(i)) {
            *slot = (desired.replicas - (others - *slot)).max(0);
        }
        return sizes;
    }
    let Some(new) = current else { return sizes };
    if desired.recreate {
        recreate(desired, sets, new, &mut sizes);
        return sizes;
    }
    let total: i64 = sizes.iter().sum();
    if let Some(size) = sizes.get_mut(new) {
        if *size < desired.replicas {
            let room = (desired.replicas + desired.surge - total).max(0);
            *size += room.min(desired.replicas - *size);
        } else {
            *size = desired.replicas;
        }
    }
    shrink_old(desired, sets, new, &mut sizes);
    sizes
}

fn recreate(desired: &Desired, sets: &[Set], new: usize, sizes: &mut [i64]) {
    let old_pods: i64 = sets
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != new)
        .map(|(_, s)| s.replicas)
        .sum();
    for (i, size) in sizes.iter_mut().enumerate() {
        if i != new {
            *size = 0;
        } else if old_pods == 0 {
            *size = desired.replicas;
        }
    }
}

/// Old sets give up pods that are not available first, then as many available ones as the
/// budget allows, the oldest set first.
fn shrink_old(desired: &Desired, sets: &[Set], new: usize, sizes: &mut [i64]) {
    let minimum = desired.replicas - desired.unavailable;
    let total: i64 = sizes.iter().sum();
    let new_unavailable = match (sizes.get(new), sets.get(new)) {
        (Some(size), Some(set)) => (size - set.available).max(0),
        _ => 0,
    };
    let mut budget = (total - minimum - new_unavailable).max(0);
    let mut order: Vec<usize> = (0..sets.len()).filter(|i| *i != new).collect();
    order.sort_by_key(|i| sets.get(*i).map(|s| s.created.clone()));
    for &i in &order {
        let (Some(size), Some(set)) = (sizes.get_mut(i), sets.get(i)) else {
            continue;
        };
        let unhealthy = (*size - set.available).clamp(0, budget);
        *size -= unhealthy;
        budget -= unhealthy;
    }
    let available: i64 = sets.iter().map(|s| s.available).sum();
    let mut spare = (available - minimum).clamp(0, budget);
    for &i in &order {
        let (Some(size), Some(set)) = (sizes.get_mut(i), sets.get(i)) else {
            continue;
        };
        let healthy = (*size).min(set.available).clamp(0, spare);
        *size -= healthy;
        spare -= healthy;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(wanted: i64, available: i64, created: &str) -> Set {
        Set {
            wanted,
            replicas: wanted,
            available,
            created: created.to_owned(),
        }
    }

    #[test]
    fn updates_roll_within_the_budgets() {
        let rolling = Desired {
            replicas: 4,
            surge: 1,
            unavailable: 1,
            recreate: false,
        };
        let recreate = Desired {
            recreate: true,
            ..rolling.clone()
        };
        let rows: [(&str, &Desired, Vec<Set>, Vec<i64>); 6] = [
            (
                "start",
                &rolling,
                vec![set(4, 4, "1"), set(0, 0, "2")],
                vec![3, 1],
            ),
            (
                "new pods are not ready",
                &rolling,
                vec![set(3, 3, "1"), set(1, 0, "2")],
                vec![3, 2],
            ),
            (
                "one is",
                &rolling,
                vec![set(3, 3, "1"), set(2, 1, "2")],
                vec![2, 2],
            ),
            (
                "the last step",
                &rolling,
                vec![set(1, 1, "1"), set(4, 4, "2")],
                vec![0, 4],
            ),
            (
                "a broken old set goes first",
                &rolling,
                vec![set(4, 0, "1"), set(1, 1, "2")],
                vec![2, 1],
            ),
            (
                "recreate empties first",
                &recreate,
                vec![set(4, 4, "1"), set(0, 0, "2")],
                vec![0, 0],
            ),
        ];
        for (name, desired, sets, want) in rows {
            assert_eq!(sizes(desired, &sets, Some(1), false), want, "{name}");
        }
    }
}
