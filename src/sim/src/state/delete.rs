//! Deleting: grace periods, finalizers, propagation, preconditions.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::State;
use crate::clock::stamp;
use crate::error::ApiError;
use crate::json::{int, list_mut, put, text};
use crate::kinds::KindId;
use crate::object::{self, Object};
use crate::request::Options;
use crate::store::Place;

/// What happens to dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Propagation {
    #[default]
    Background,
    Foreground,
    Orphan,
}

/// Options of a deletion.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) propagation: Propagation,
    pub(crate) grace: Option<i64>,
    pub(crate) uid: String,
    pub(crate) revision: String,
    pub(crate) dry_run: bool,
}

impl DeleteOptions {
    /// Reads the `DeleteOptions` body, which wins, and the query.
    pub(crate) fn read(body: &Value, query: &Options) -> Self {
        let policy = text(body, &["propagationPolicy"]);
        let policy = if policy.is_empty() {
            query.get("propagationPolicy")
        } else {
            policy
        };
        let orphan = crate::json::flag(body, &["orphanDependents"]);
        let dry = crate::json::items(body, &["dryRun"])
            .iter()
            .any(|d| d == "All");
        let grace = int(body, &["gracePeriodSeconds"]);
        Self {
            propagation: match policy {
                "Foreground" => Propagation::Foreground,
                "Orphan" => Propagation::Orphan,
                _ if orphan => Propagation::Orphan,
                _ => Propagation::Background,
            },
            grace: grace.or_else(|| query.get("gracePeriodSeconds").parse().ok()),
            uid: text(body, &["preconditions", "uid"]).to_owned(),
            revision: text(body, &["preconditions", "resourceVersion"]).to_owned(),
            dry_run: dry || query.dry_run(),
        }
    }
}

/// What became of the object.
#[derive(Debug, Clone)]
pub(crate) enum Deleted {
    /// It is gone.
    Now(Arc<Object>),
    /// It waits for its grace period or for finalizers.
    Marked(Arc<Object>),
}

impl State {
    /// Deletes or marks an object.
    pub(crate) fn delete(
        &mut self,
        id: KindId,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        let kind = self.kind(id)?;
        let old = self.read(id, namespace, name)?;
        for (given, found, what, end) in [
            (
                &options.uid,
                old.uid().to_owned(),
                "UID",
                "deleted and then recreated",
            ),
            (
                &options.revision,
                old.revision.to_string(),
                "ResourceVersion",
                "modified",
            ),
        ] {
            if !given.is_empty() && *given != found {
                let why = format!(
                    "the {what} in the precondition ({given}) does not match the {what} in record \
                     ({found}). The object might have been {end}"
                );
                return Err(ApiError::conflict(&kind.group, &kind.kind, name, &why));
            }
        }
        let known = self.kinds.known;
        let grace = if id == known.pods {
            pod_grace(&old.value, options.grace)
        } else {
            0
        };
        let mut value = old.value.clone();
        let add = match options.propagation {
            Propagation::Foreground => Some("foregroundDeletion"),
            Propagation::Orphan => Some("orphan"),
            Propagation::Background => None,
        };
        if let Some(finalizer) = add.filter(|_| !old.is_deleting()) {
            let list = list_mut(&mut value, &["metadata", "finalizers"]);
            if !list.iter().any(|f| f == finalizer) {
                list.push(finalizer.into());
            }
        }
        let waits = grace > 0 || !object::finalizers(&value).is_empty() || id == known.namespaces;
        if !waits {
            if options.dry_run {
                return Ok(Deleted::Now(old));
            }
            let place = Place::of(id, &old);
            let stamp = self.stamp();
            let last = self.store.remove(&place, |last| {
                // A pod's last version tells that it went at once.
                if id == known.pods {
                    put(last, &["metadata", "deletionTimestamp"], stamp);
                    put(last, &["metadata", "deletionGracePeriodSeconds"], 0);
                }
            });
            let last = last.unwrap_or(old);
            self.removal_effects(id, &last);
            return Ok(Deleted::Now(last));
        }
        let before = int(&old.value, &["metadata", "deletionGracePeriodSeconds"]);
        if !old.is_deleting() || before.is_some_and(|b| b > grace) {
            let start = self.now;
            let due = start
                .checked_add(SignedDuration::from_secs(grace))
                .unwrap_or(start);
            put(&mut value, &["metadata", "deletionTimestamp"], stamp(due));
            put(
                &mut value,
                &["metadata", "deletionGracePeriodSeconds"],
                grace,
            );
            if kind.generation && !old.is_deleting() {
                let next = int(&old.value, &["metadata", "generation"]).unwrap_or(0) + 1;
                put(&mut value, &["metadata", "generation"], next);
            }
            if id == known.namespaces {
                put(&mut value, &["status"], json!({"phase": "Terminating"}));
            }
        }
        if value == old.value || options.dry_run {
            return Ok(Deleted::Marked(old));
        }
        Ok(Deleted::Marked(self.store.put(id, value)))
    }
}

/// Seconds until a pod must be gone: none for one that never ran or has ended.
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let unscheduled = text(pod, &["spec", "nodeName"]).is_empty();
    let ended = matches!(text(pod, &["status", "phase"]), "Succeeded" | "Failed");
    if unscheduled || ended {
        return 0;
    }
    asked
        .unwrap_or_else(|| int(pod, &["spec", "terminationGracePeriodSeconds"]).unwrap_or(30))
        .max(0)
}
