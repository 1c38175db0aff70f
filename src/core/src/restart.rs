//! Restarting pods after `spec.restartAt` (CTL-126).

use std::collections::BTreeMap;

use jiff::Timestamp;
use sluice_crds::Rollout;

use crate::decide::pass::Pass;
use crate::decide::view::Set;
use crate::observed::PodView;
use crate::pause::just_after;
use crate::plan::Action;
use crate::services;
use crate::why::{Reason, Why};

/// Seconds until pods that could not be evicted yet are looked at again.
const POLL: i64 = 30;

/// Whether a restart was asked for, its moment has passed, and it has not been carried out.
pub(crate) fn due(rollout: &Rollout, now: Timestamp) -> bool {
    let done = rollout
        .status
        .as_ref()
        .and_then(|status| status.restarted_at);
    rollout
        .spec
        .restart_at
        .is_some_and(|at| now > at.timestamp() && done != Some(at))
}

/// Evicts as many old pods as availability allows. Answers whether it did: then nothing else is
/// decided before the effect is seen (one budget for all disruptions, INV-4).
pub(crate) fn reconcile(pass: &mut Pass<'_, '_>) -> bool {
    let Some(at) = pass.ctx.spec().restart_at else {
        return false;
    };
    if pass.next.restarted_at == Some(at) {
        return false;
    }
    if pass.now() <= at.timestamp() {
        let why = Why::new(
            Reason::Restarting,
            pass.ctx.me(),
            "pods are restarted at spec.restartAt",
        );
        pass.wait(why.until(just_after(at.timestamp())));
        return false;
    }
    let Some(pods) = &pass.ctx.seen.pods else {
        let why = Why::new(
            Reason::Restarting,
            pass.ctx.me(),
            "its pods have not been read yet",
        );
        let again = pass.in_seconds(1);
        pass.wait(why.again(again));
        return false;
    };
    let order = priorities(pass);
    let mut ours: Vec<_> = pods
        .iter()
        .filter_map(|pod| order.get(&pod.owner).map(|rank| (*rank, pod)))
        .collect();
    ours.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let available = count(
        ours.iter()
            .filter(|(_, pod)| pod.available && !pod.terminating)
            .count(),
    );
    let wanted: i64 = pass.view.sets.iter().map(|set| i64::from(set.spec)).sum();
    let floor =
        i64::from(pass.ctx.replicas).max(wanted) - i64::from(pass.ctx.fences.unavailable).max(1);
    let mut budget = available - floor;
    let old: Vec<(&str, &str)> = ours
        .iter()
        .filter(|(_, pod)| !pod.terminating)
        .filter(|(_, pod)| pod.created.is_some_and(|created| created < at.timestamp()))
        .map(|(_, pod)| (pod.name.as_str(), pod.owner.as_str()))
        .collect();
    if old.is_empty() {
        pass.next.restarted_at = Some(at);
        return false;
    }
    let left = old.len();
    if split_in_doubt(pass) {
        // Whoever serves now may not be who is on record: nobody has pods to spare (INV-2).
        let why = Why::new(
            Reason::TrafficUnconfirmed,
            pass.ctx.me(),
            format!("{left} pods are restarted once the traffic split is confirmed"),
        );
        let again = pass.in_seconds(POLL);
        pass.wait(why.since(at.timestamp()).again(again));
        return false;
    }
    let mut evicted = false;
    let mut spared = last_pods(pass, &ours);
    for (name, owner) in old {
        if budget <= 0 {
            break;
        }
        if let Some(spare) = spared.get_mut(owner) {
            if *spare <= 0 {
                continue;
            }
            *spare -= 1;
        }
        budget -= 1;
        evicted = true;
        pass.view.act(Action::EvictPod {
            name: name.to_owned(),
        });
    }
    let message = format!("{left} pods are older than spec.restartAt");
    let again = pass.in_seconds(POLL);
    let why = Why::new(Reason::Restarting, pass.ctx.me(), message).since(at.timestamp());
    pass.wait(why.again(again));
    evicted
}

/// Whether traffic may be on either of several versions.
fn split_in_doubt(pass: &Pass<'_, '_>) -> bool {
    let versions = pass.view.sets.iter().filter(|set| set.available > 0);
    versions.count() > 1 && crate::routing::in_doubt(pass)
}

/// Pods that each ReplicaSet with a share of the traffic can spare, by UID: all available ones but
/// those that its share needs, less what may be unavailable, and never the last one (INV-1, INV-2).
/// A Rollout of one pod has nothing to spare, and is restarted all the same.
fn last_pods<'a>(pass: &Pass<'_, '_>, pods: &[(usize, &'a PodView)]) -> BTreeMap<&'a str, i64> {
    let mut spare = BTreeMap::new();
    if pass.ctx.replicas <= 1 {
        return spare;
    }
    let active = crate::bluegreen::active_hash(pass);
    for set in &pass.view.sets {
        let serves = pass.share_of(&set.hash) > 0
            || services::on_stable_service(pass, &set.hash)
            || active == set.hash;
        if !serves {
            continue;
        }
        let down = pass.ctx.fences.unavailable.max(1); // one at a time goes always (CTL-126)
        let needed = pass.served_by(&set.hash).saturating_sub(down).max(1);
        let mine = pods.iter().filter(|(_, pod)| pod.owner == set.uid);
        let ready = mine.clone().filter(|(_, pod)| pod.available);
        let ready = i64::try_from(ready.count()).unwrap_or(i64::MAX);
        for (_, pod) in mine {
            spare.insert(pod.owner.as_str(), ready.saturating_sub(i64::from(needed)));
        }
    }
    spare
}

/// Rank of each ReplicaSet by UID: stable, new, others from the oldest (SE-17).
fn priorities(pass: &Pass<'_, '_>) -> BTreeMap<String, usize> {
    let view = &pass.view;
    let mut order: Vec<usize> = view.stable().into_iter().collect();
    order.extend(view.new.filter(|new| Some(*new) != view.stable()));
    order.extend(view.others());
    let sets = order.into_iter().filter_map(|i| view.sets.get(i));
    sets.enumerate()
        .map(|(rank, set): (usize, &Set)| (set.uid.clone(), rank))
        .collect()
}
