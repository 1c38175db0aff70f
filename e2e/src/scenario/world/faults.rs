//! Faults of the simulated API server, and what its log proves.

use std::time::Duration;

use anyhow::Result;
use sluice_sim::{Cluster, Effect, LogEntry, Rule, When};

use super::super::format::{Fault, seconds};
use super::CONTROLLER;

/// Puts a fault into force.
///
/// # Errors
/// When a time in it cannot be read.
pub(super) fn add(cluster: &Cluster, fault: &Fault) -> Result<()> {
    let agent = match &fault.controller {
        Some(letter) => format!("{CONTROLLER}-{letter}"),
        None => CONTROLLER.to_owned(),
    };
    let add = |when: When, effect: Effect| {
        let mut rule = Rule::new(when, effect).user_agent(&agent);
        if let Some(resource) = &fault.resource {
            rule = rule.resource(resource);
        }
        cluster.faults().add(rule);
    };
    for (share, effect) in [
        (fault.conflict, Effect::Conflict),
        (fault.error, Effect::InternalError),
        (fault.throttle, Effect::TooManyRequests(1)),
        (fault.lost_answer, Effect::LoseAnswer),
    ] {
        if share > 0.0 {
            add(When::Chance(share), effect);
        }
    }
    let time = |text: &Option<String>| -> Result<Option<Duration>> {
        let Some(text) = text else { return Ok(None) };
        Ok(Some(Duration::from_secs(u64::try_from(seconds(text)?)?)))
    };
    if let Some(most) = time(&fault.latency)? {
        add(When::Always, Effect::DelayBetween(most / 2, most));
    }
    if let Some(revisions) = fault.stale {
        add(When::Always, Effect::Stale(revisions));
    }
    if let Some(delay) = time(&fault.watch_delay)? {
        add(When::Always, Effect::DelayWatch(delay));
    }
    if let Some(after) = time(&fault.watch_cut)? {
        add(When::Always, Effect::CutWatch(after));
    }
    for resource in &fault.freeze {
        cluster.faults().freeze_watches_of(&agent, resource);
    }
    for resource in &fault.cut {
        cluster.faults().cut_watches(resource);
    }
    Ok(())
}

/// INV-12: writes of a controller after another one has taken the lease.
pub(super) fn two_writers(entries: &[LogEntry]) -> Vec<String> {
    let mut holder = "";
    let mut found = Vec::new();
    let writes = entries.iter().filter(|entry| {
        entry.verb.writes() && (200..300).contains(&entry.code) && entry.resource != "events"
    });
    for entry in writes.filter(|entry| entry.user_agent.starts_with(CONTROLLER)) {
        if entry.resource == "leases" {
            holder = &entry.user_agent;
        } else if entry.user_agent != holder {
            found.push(format!(
                "INV-12: {} writes {}/{} while {holder:?} leads",
                entry.user_agent, entry.resource, entry.name
            ));
        }
    }
    found
}
