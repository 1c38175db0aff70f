//! Who has looked at which object: a change of the object concerns them.
//!
//! Filled by `observe`, so it holds exactly what decisions were made on, for all kinds alike.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use crate::key::Key;

/// An object of any kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    /// `plural.group`, or the plural alone for the core group.
    pub kind: String,
    /// Its name.
    pub key: Key,
}

impl ObjectId {
    /// An object from group (may be empty), plural and key.
    #[must_use]
    pub fn new(group: &str, plural: &str, key: Key) -> Self {
        let kind = if group.is_empty() {
            plural.to_owned()
        } else {
            format!("{plural}.{group}")
        };
        Self { kind, key }
    }
}

/// Somebody who looks at objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dependent {
    /// A Rollout.
    Rollout(Key),
    /// An Experiment.
    Experiment(Key),
}

#[derive(Default)]
struct Inner {
    by_object: HashMap<ObjectId, BTreeSet<Dependent>>,
    by_dependent: HashMap<Dependent, BTreeSet<ObjectId>>,
}

/// Both directions.
#[derive(Default)]
pub struct Dependencies(Mutex<Inner>);

impl Dependencies {
    /// `who` looked at exactly these objects. Returns those that it no longer looks at.
    pub fn set(&self, who: &Dependent, objects: BTreeSet<ObjectId>) -> Vec<ObjectId> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = inner.by_dependent.get(who).cloned().unwrap_or_default();
        if before == objects {
            return Vec::new();
        }
        for object in objects.difference(&before) {
            inner
                .by_object
                .entry(object.clone())
                .or_default()
                .insert(who.clone());
        }
        let dropped: Vec<_> = before.difference(&objects).cloned().collect();
        for object in &dropped {
            if let Some(dependents) = inner.by_object.get_mut(object) {
                dependents.remove(who);
                if dependents.is_empty() {
                    inner.by_object.remove(object);
                }
            }
        }
        if objects.is_empty() {
            inner.by_dependent.remove(who);
        } else {
            inner.by_dependent.insert(who.clone(), objects);
        }
        dropped
    }

    /// Who looked at the object.
    #[must_use]
    pub fn of(&self, object: &ObjectId) -> Vec<Dependent> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner
            .by_object
            .get(object)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_follow() {
        let dependencies = Dependencies::default();
        let who = Dependent::Rollout(Key::new("ns", "web"));
        let object = |name: &str| ObjectId::new("", "services", Key::new("ns", name));
        assert!(
            dependencies
                .set(&who, [object("a"), object("b")].into())
                .is_empty()
        );
        assert_eq!(dependencies.of(&object("a")), std::slice::from_ref(&who));
        assert_eq!(dependencies.set(&who, [object("b")].into()), [object("a")]);
        assert!(dependencies.of(&object("a")).is_empty());
        assert_eq!(dependencies.set(&who, BTreeSet::new()), [object("b")]);
    }
}
