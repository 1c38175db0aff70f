//! The record of requests, for counting and for asserting who did what.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::cluster::Cluster;
use crate::request::{ResourceRequest, Verb};

/// One request for a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// When it was answered.
    pub at: Timestamp,
    /// What was done.
    pub verb: Verb,
    /// API group.
    pub group: String,
    /// Plural.
    pub resource: String,
    /// Such as `status`; empty for the object itself.
    pub subresource: String,
    /// Empty for cluster-wide requests.
    pub namespace: String,
    /// Empty for collections.
    pub name: String,
    /// HTTP status; 0 where the connection broke.
    pub code: u16,
    /// The client's user agent.
    pub user_agent: String,
}

/// The latest requests, oldest first.
#[derive(Debug)]
pub struct RequestLog {
    entries: Mutex<VecDeque<LogEntry>>,
    limit: usize,
}

impl RequestLog {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            entries: Mutex::default(),
            limit,
        }
    }

    pub(crate) fn add(&self, cluster: &Cluster, request: &ResourceRequest, agent: &str, code: u16) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.limit {
            entries.pop_front();
        }
        entries.push_back(LogEntry {
            at: cluster.clock().now(),
            verb: request.verb,
            group: request.group.clone(),
            resource: request.resource.clone(),
            subresource: request.subresource.clone(),
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            code,
            user_agent: agent.to_owned(),
        });
    }

    /// All entries kept.
    pub fn entries(&self) -> Vec<LogEntry> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().cloned().collect()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Number of requests of clients whose user agent contains `agent`, by verb and resource
    /// (`patch rollouts/status`).
    pub fn counts(&self, agent: &str) -> BTreeMap<String, u64> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = BTreeMap::new();
        for entry in entries.iter().filter(|e| e.user_agent.contains(agent)) {
            let slash = if entry.subresource.is_empty() {
                ""
            } else {
                "/"
            };
            let key = format!(
                "{} {}{slash}{}",
                entry.verb.as_str(),
                entry.resource,
                entry.subresource
            );
            *counts.entry(key).or_default() += 1;
        }
        counts
    }

    /// Writes of clients whose user agent contains `agent`, refused ones included.
    pub fn writes(&self, agent: &str) -> Vec<LogEntry> {
        let mut entries = self.entries();
        entries.retain(|e| e.verb.writes() && e.user_agent.contains(agent));
        entries
    }
}
