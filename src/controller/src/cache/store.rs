//! One kind's objects, as last seen or last written.
//!
//! Watch events and the answers to our own writes meet here; per object the higher resourceVersion
//! wins, so an event that was under way while we wrote never takes the write back (INV-6).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use tokio::sync::watch;

use super::kept::Kept;
use crate::key::Key;

/// What an observation changed.
#[derive(Clone, Debug)]
pub enum Change<K> {
    /// The object is new, or differs from what was known.
    Applied {
        /// As it was known before.
        before: Option<Arc<K>>,
        /// As it is now.
        now: Arc<K>,
    },
    /// The object is gone.
    Deleted(Arc<K>),
}

impl<K: Resource> Change<K> {
    /// The object; when it is gone, its last known form.
    #[must_use]
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Applied { now, .. } => now,
            Self::Deleted(last) => last,
        }
    }
}

/// An object in memory.
enum Held<K> {
    Whole(Arc<K>),
    /// As [`Kept::packed`] gave it, with its UID and what [`owner_word`] says.
    Packed {
        text: Box<str>,
        uid: Option<Box<str>>,
        owner: Box<str>,
    },
}

impl<K: Kept> Held<K> {
    fn new(object: &Arc<K>) -> Self {
        match object.packed() {
            Some(text) => Self::Packed {
                text,
                uid: object.meta().uid.as_deref().map(Into::into),
                owner: owner_word(object.meta()),
            },
            None => Self::Whole(object.clone()),
        }
    }

    /// Always there: what was packed is known to decode.
    fn object(&self) -> Option<Arc<K>> {
        match self {
            Self::Whole(object) => Some(object.clone()),
            Self::Packed { text, .. } => serde_json::from_str(text).ok().map(Arc::new),
        }
    }

    fn uid(&self) -> Option<&str> {
        match self {
            Self::Whole(object) => object.meta().uid.as_deref(),
            Self::Packed { uid, .. } => uid.as_deref(),
        }
    }

    fn owner(&self) -> Box<str> {
        match self {
            Self::Whole(object) => owner_word(object.meta()),
            Self::Packed { owner, .. } => owner.clone(),
        }
    }
}

struct Entry<K> {
    object: Held<K>,
    version: u64,
    /// Round of the last LIST (or of the write) that saw it.
    round: u64,
}

struct Inner<K> {
    objects: BTreeMap<Key, Entry<K>>,
    by_owner: HashMap<Box<str>, HashSet<Key>>,
    /// UIDs of objects that we deleted and whose end the watch has not reported yet.
    deleted: HashMap<Box<str>, Key>,
    round: u64,
    /// A list is being read.
    listing: bool,
}

/// Objects of one kind, with an index by controller owner.
pub struct Store<K> {
    inner: RwLock<Inner<K>>,
    synced: watch::Sender<bool>,
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        let inner = Inner {
            objects: BTreeMap::new(),
            by_owner: HashMap::new(),
            deleted: HashMap::new(),
            round: 0,
            listing: false,
        };
        Self {
            inner: RwLock::new(inner),
            synced: watch::Sender::new(false),
        }
    }
}

/// Namespace and name of an object.
#[must_use]
pub fn key_of<K: Resource>(object: &K) -> Key {
    let meta = object.meta();
    Key::new(
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

/// The version as a number, as all current API servers write it; anything else counts as fresh.
fn version_of(meta: &ObjectMeta) -> u64 {
    meta.resource_version
        .as_deref()
        .and_then(|text| text.parse().ok())
        .unwrap_or(u64::MAX)
}

/// UID of the owner that controls the object.
#[must_use]
pub fn controller_uid(meta: &ObjectMeta) -> Option<&str> {
    let owners = meta.owner_references.iter().flatten();
    owners
        .filter(|owner| owner.controller == Some(true))
        .map(|owner| owner.uid.as_str())
        .next()
}

/// The index word: the owner's UID, or the namespace for objects that nobody controls.
fn owner_word(meta: &ObjectMeta) -> Box<str> {
    match controller_uid(meta) {
        Some(uid) => uid.into(),
        None => orphan_word(meta.namespace.as_deref().unwrap_or_default()),
    }
}

fn orphan_word(namespace: &str) -> Box<str> {
    format!("/{namespace}").into()
}

impl<K: Kept> Inner<K> {
    /// Returns what was known before, packed or not.
    fn insert(&mut self, key: Key, entry: Entry<K>) -> Option<Held<K>> {
        let word = entry.object.owner();
        let before = self
            .objects
            .insert(key.clone(), entry)
            .map(|entry| entry.object);
        if let Some(before) = &before {
            let old_word = before.owner();
            if old_word != word {
                self.unindex(&old_word, &key);
            }
        }
        self.by_owner.entry(word).or_default().insert(key);
        before
    }

    fn share(&self, key: &Key, object: &mut K) {
        if let Some(Held::Whole(known)) = self.objects.get(key).map(|entry| &entry.object) {
            object.share(known);
        }
    }

    fn unindex(&mut self, word: &str, key: &Key) {
        if let Some(keys) = self.by_owner.get_mut(word) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_owner.remove(word);
            }
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<K>> {
        let entry = self.objects.remove(key)?;
        self.unindex(&entry.object.owner(), key);
        entry.object.object()
    }

    fn owned(&self, word: &str) -> Vec<Arc<K>> {
        let keys = self.by_owner.get(word).into_iter().flatten();
        let mut found: Vec<_> = keys
            .filter_map(|key| Some((key, &self.objects.get(key)?.object)))
            .collect();
        found.sort_by_key(|(key, _)| *key);
        found
            .into_iter()
            .filter_map(|(_, object)| object.object())
            .collect()
    }
}

impl<K: Kept> Store<K> {
    fn read(&self) -> RwLockReadGuard<'_, Inner<K>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner<K>> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object of that name.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.read()
            .objects
            .get(key)
            .and_then(|entry| entry.object.object())
    }

    /// All objects, by namespace and name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<K>> {
        self.read()
            .objects
            .values()
            .filter_map(|entry| entry.object.object())
            .collect()
    }

    /// Something of each object, by namespace and name. The store is free between one and the next,
    /// and no more than one is unpacked at a time.
    #[must_use]
    pub fn each<T>(&self, of: impl Fn(&K) -> T) -> Vec<T> {
        let keys: Vec<Key> = self.read().objects.keys().cloned().collect();
        { keys.iter() }
            .filter_map(|key| self.get(key).map(|object| of(&object)))
            .collect()
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().objects.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Objects that the owner of this UID controls, by name.
    #[must_use]
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.read().owned(uid)
    }

    /// Objects of a namespace that nobody controls, by name.
    #[must_use]
    pub fn orphans(&self, namespace: &str) -> Vec<Arc<K>> {
        self.read().owned(&orphan_word(namespace))
    }

    /// Objects of a namespace, by name.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let inner = self.read();
        let from = inner.objects.range(Key::new(namespace, "")..);
        from.take_while(|(key, _)| key.namespace() == namespace)
            .filter_map(|(_, entry)| entry.object.object())
            .collect()
    }

    /// Whether a complete list has been seen.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Returns when a complete list has been seen.
    pub async fn synced(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// The answer to a write (or to a live read): counts from now on. Returns what is known then,
    /// which is newer when an event was faster.
    pub fn observe_write(&self, mut object: K) -> Arc<K> {
        object.trim();
        let key = key_of(&object);
        let version = version_of(object.meta());
        let mut inner = self.write();
        if let Some(known) = inner.objects.get(&key)
            && known.version > version
            && known.object.uid() == object.meta().uid.as_deref()
            && let Some(known) = known.object.object()
        {
            return known;
        }
        inner.share(&key, &mut object);
        let object = Arc::new(object);
        // A list that is being read may be older than the write.
        let round = inner.round + u64::from(inner.listing);
        inner.insert(
            key,
            Entry {
                object: Held::new(&object),
                version,
                round,
            },
        );
        object
    }

    /// We deleted the object: it is gone from now on, whatever late events say.
    pub fn observe_delete(&self, key: &Key) -> Option<Arc<K>> {
        let mut inner = self.write();
        let removed = inner.remove(key)?;
        if let Some(uid) = &removed.meta().uid {
            inner.deleted.insert(uid.as_str().into(), key.clone());
        }
        Some(removed)
    }

    /// Drops what is known about an object, without concluding that it is gone.
    pub fn forget(&self, key: &Key) -> Option<Arc<K>> {
        self.write().remove(key)
    }

    /// A watch event: the object was added or changed.
    pub fn apply(&self, object: K) -> Option<Change<K>> {
        let round = self.read().round;
        self.apply_in(object, round)
    }

    fn apply_in(&self, mut object: K, round: u64) -> Option<Change<K>> {
        let key = key_of(&object);
        let version = version_of(object.meta());
        let mut inner = self.write();
        let uid = object.meta().uid.as_deref().unwrap_or_default();
        if inner.deleted.contains_key(uid) {
            return None;
        }
        if let Some(known) = inner.objects.get_mut(&key)
            && known.version >= version
            && version != u64::MAX
            && known.object.uid() == object.meta().uid.as_deref()
        {
            known.round = known.round.max(round);
            return None;
        }
        inner.share(&key, &mut object);
        let now = Arc::new(object);
        let before = inner.insert(
            key,
            Entry {
                object: Held::new(&now),
                version,
                round,
            },
        );
        drop(inner);
        let before = before.and_then(|before| before.object());
        Some(Change::Applied { before, now })
    }

    /// A watch event: the object is gone. An older end of an earlier object of that name is ignored.
    pub fn delete(&self, object: &K) -> Option<Change<K>> {
        let mut inner = self.write();
        if let Some(uid) = object.meta().uid.as_deref() {
            inner.deleted.remove(uid);
        }
        let key = key_of(object);
        if inner.objects.get(&key)?.object.uid() != object.meta().uid.as_deref() {
            return None;
        }
        inner.remove(&key).map(Change::Deleted)
    }

    /// A new complete list begins.
    pub fn begin_list(&self) {
        let mut inner = self.write();
        inner.round += 1;
        inner.listing = true;
    }

    /// An object of the list that [`Self::begin_list`] began.
    pub fn listed(&self, object: K) -> Option<Change<K>> {
        let round = self.read().round;
        self.apply_in(object, round)
    }

    /// The list is complete: what it did not contain is gone, except what was written meanwhile.
    pub fn end_list(&self) -> Vec<Change<K>> {
        let mut inner = self.write();
        let round = inner.round;
        let gone: Vec<_> = inner
            .objects
            .iter()
            .filter(|(_, entry)| entry.round < round)
            .map(|(key, _)| key.clone())
            .collect();
        let gone = gone
            .iter()
            .filter_map(|key| inner.remove(key))
            .map(Change::Deleted)
            .collect();
        inner.deleted.clear();
        inner.listing = false;
        for entry in inner.objects.values_mut() {
            entry.round = round;
        }
        drop(inner);
        self.synced.send_replace(true);
        gone
    }
}

#[cfg(test)]
mod tests;
