//! How the pods of a scenario behave, on a node that several scenarios may share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use sluice_sim::kubelet::{Behaviour, Fate, PodRule as KubeletRule, Script};

use super::super::format::{PodRule, seconds};
use super::super::state::text;

/// Rules by namespace. Clones share them.
#[derive(Clone, Default)]
pub struct Scripts(Arc<Mutex<HashMap<String, Vec<KubeletRule>>>>);

impl Scripts {
    /// What the node asks about each pod.
    #[must_use]
    pub fn script(&self) -> Script {
        let rules = Arc::clone(&self.0);
        Arc::new(move |pod: &Value| {
            let rules = rules.lock().unwrap_or_else(PoisonError::into_inner);
            let mine = rules.get(text(pod, "/metadata/namespace"))?;
            let found = mine.iter().find(|rule| rule.matches(pod));
            found.map(|rule| rule.behaviour.clone())
        })
    }

    /// From now on pods of this namespace start so.
    pub fn set(&self, namespace: &str, rules: &[PodRule]) {
        let rules = rules.iter().map(rule).collect();
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(namespace.to_owned(), rules);
    }
}

fn rule(rule: &PodRule) -> KubeletRule {
    let time = |text: &Option<String>| {
        text.as_ref()
            .and_then(|text| seconds(text).ok())
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(Duration::from_secs)
    };
    let mut behaviour =
        time(&rule.ready_after).map_or_else(Behaviour::default, Behaviour::ready_after);
    if rule.never_ready {
        behaviour = behaviour.fate(Fate::NeverReady);
    }
    if let Some(after) = time(&rule.crash_after) {
        behaviour = behaviour.fate(Fate::CrashAfter(after));
    }
    if let Some(after) = time(&rule.unready_after) {
        behaviour = behaviour.fate(Fate::UnreadyAfter(after));
    }
    KubeletRule::image(&rule.image, behaviour)
}
