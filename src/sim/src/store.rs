//! Objects, indexes and the revision log. No rules of the API live here.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::watch;

use crate::kinds::KindId;
use crate::object::{self, Object};
use crate::selector::{Filter, Selector};

/// A place in the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) kind: KindId,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Place {
    pub(crate) fn of(kind: KindId, object: &Object) -> Self {
        Self {
            kind,
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
        }
    }
}

/// One change: `before` is none for a creation, `after` none for a removal.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) before: Option<Arc<Object>>,
    pub(crate) after: Option<Arc<Object>>,
    /// What a watch shows for a removal: the last version under the removal's revision.
    pub(crate) tombstone: Option<Arc<Object>>,
}

type Names = BTreeMap<String, Arc<Object>>;

/// Objects of one kind.
#[derive(Debug)]
pub(crate) struct Table {
    objects: BTreeMap<String, Names>,
    log: VecDeque<Change>,
    /// Changes up to this revision are no longer in the log.
    compacted: u64,
    /// namespace -> "key=value" -> names
    by_label: HashMap<String, HashMap<String, BTreeSet<String>>>,
    news: watch::Sender<u64>,
}

impl Table {
    fn new(revision: u64) -> Self {
        Self {
            objects: BTreeMap::new(),
            log: VecDeque::new(),
            compacted: revision,
            by_label: HashMap::new(),
            news: watch::Sender::new(revision),
        }
    }

    fn index(&mut self, object: &Object, add: bool) {
        let Some(labels) = object.labels().filter(|l| !l.is_empty()) else {
            return;
        };
        let space = self
            .by_label
            .entry(object.namespace().to_owned())
            .or_default();
        for (key, value) in labels {
            let pair = format!("{key}={}", value.as_str().unwrap_or_default());
            if add {
                space
                    .entry(pair)
                    .or_default()
                    .insert(object.name().to_owned());
            } else if let Some(names) = space.get_mut(&pair) {
                names.remove(object.name());
                if names.is_empty() {
                    space.remove(&pair);
                }
            }
        }
    }

    fn candidates(&self, namespace: &str, selector: &Selector) -> Option<&BTreeSet<String>> {
        static NONE: BTreeSet<String> = BTreeSet::new();
        let mut pairs = selector.pairs().peekable();
        pairs.peek()?;
        let Some(space) = self.by_label.get(namespace) else {
            return Some(&NONE);
        };
        pairs
            .map(|(key, value)| space.get(&format!("{key}={value}")).unwrap_or(&NONE))
            .min_by_key(|names| names.len())
    }
}

/// All objects under one revision counter.
#[derive(Debug)]
pub(crate) struct Store {
    revision: u64,
    tables: Vec<Table>,
    by_uid: HashMap<String, Place>,
    /// Owner uid -> what names it as an owner.
    dependents: HashMap<String, BTreeSet<Place>>,
    log_limit: usize,
    /// Changes not yet seen by the workload controllers; none when nobody asks for them.
    pub(crate) pending: Option<VecDeque<(KindId, Change)>>,
}

impl Store {
    pub(crate) fn new(kinds: usize, log_limit: usize) -> Self {
        Self {
            revision: 1,
            tables: (0..kinds).map(|_| Table::new(1)).collect(),
            by_uid: HashMap::new(),
            dependents: HashMap::new(),
            log_limit,
            pending: None,
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Makes room for kinds up to `count`.
    pub(crate) fn grow(&mut self, count: usize) {
        while self.tables.len() < count {
            self.tables.push(Table::new(self.revision));
        }
    }

    fn table(&self, kind: KindId) -> Option<&Table> {
        self.tables.get(kind)
    }

    pub(crate) fn get(&self, kind: KindId, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.table(kind)?.objects.get(namespace)?.get(name)
    }

    pub(crate) fn at(&self, place: &Place) -> Option<&Arc<Object>> {
        self.get(place.kind, &place.namespace, &place.name)
    }

    pub(crate) fn by_uid(&self, uid: &str) -> Option<&Place> {
        self.by_uid.get(uid)
    }

    /// What names `uid` as an owner.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<Place> {
        self.dependents
            .get(uid)
            .map(|p| p.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Objects of a kind that `uid` owns.
    pub(crate) fn owned(&self, uid: &str, kind: KindId) -> Vec<Arc<Object>> {
        let places = self.dependents.get(uid).into_iter().flatten();
        places
            .filter(|p| p.kind == kind)
            .filter_map(|p| self.at(p))
            .cloned()
            .collect()
    }

    /// Objects of a kind, by namespace and name.
    pub(crate) fn all(&self, kind: KindId) -> impl Iterator<Item = &Arc<Object>> {
        self.table(kind)
            .into_iter()
            .flat_map(|t| t.objects.values().flat_map(BTreeMap::values))
    }

    pub(crate) fn in_namespace<'a>(
        &'a self,
        kind: KindId,
        namespace: &str,
    ) -> impl Iterator<Item = &'a Arc<Object>> {
        self.table(kind)
            .and_then(|t| t.objects.get(namespace))
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// Objects that a filter lets through, by namespace and name. Uses the label index where
    /// the selector demands a label pair.
    pub(crate) fn select(&self, kind: KindId, filter: &Filter) -> Vec<Arc<Object>> {
        let Some(table) = self.table(kind) else {
            return Vec::new();
        };
        let spaces: Vec<(&String, &Names)> = if filter.namespace.is_empty() {
            table.objects.iter().collect()
        } else {
            table
                .objects
                .get_key_value(&filter.namespace)
                .into_iter()
                .collect()
        };
        let mut found = Vec::new();
        for (space, names) in spaces {
            if let Some(name) = filter.fields.only_name() {
                found.extend(names.get(name).filter(|o| filter.matches(o)).cloned());
            } else if let Some(candidates) = table.candidates(space, &filter.labels) {
                let objects = candidates.iter().filter_map(|n| names.get(n));
                found.extend(objects.filter(|o| filter.matches(o)).cloned());
            } else {
                found.extend(names.values().filter(|o| filter.matches(o)).cloned());
            }
        }
        found
    }

    /// As [`Store::select`], but as it was at an older revision; none if that is compacted.
    pub(crate) fn select_at(
        &self,
        kind: KindId,
        filter: &Filter,
        revision: u64,
    ) -> Option<Vec<Arc<Object>>> {
        let table = self.table(kind)?;
        if revision >= self.revision {
            return Some(self.select(kind, filter));
        }
        if revision < table.compacted {
            return None;
        }
        let mut then: BTreeMap<(String, String), Arc<Object>> = BTreeMap::new();
        for object in self.all(kind) {
            then.insert(
                (object.namespace().to_owned(), object.name().to_owned()),
                object.clone(),
            );
        }
        for change in table.log.iter().rev().take_while(|c| c.revision > revision) {
            let Some(any) = change.before.as_ref().or(change.after.as_ref()) else {
                continue;
            };
            let key = (any.namespace().to_owned(), any.name().to_owned());
            match &change.before {
                Some(before) => then.insert(key, before.clone()),
                None => then.remove(&key),
            };
        }
        Some(then.into_values().filter(|o| filter.matches(o)).collect())
    }

    /// Stores a new version under the next revision, which is written into its metadata.
    pub(crate) fn put(&mut self, kind: KindId, mut value: serde_json::Value) -> Arc<Object> {
        self.revision += 1;
        let revision = self.revision;
        crate::json::put(
            &mut value,
            &["metadata", "resourceVersion"],
            revision.to_string(),
        );
        let after = Arc::new(Object::new(value, revision));
        self.grow(kind + 1);
        let before = self.tables.get_mut(kind).and_then(|table| {
            let space = table
                .objects
                .entry(after.namespace().to_owned())
                .or_default();
            let before = space.insert(after.name().to_owned(), after.clone());
            match &before {
                Some(before) if before.labels() == after.labels() => {}
                Some(before) => {
                    table.index(before, false);
                    table.index(&after, true);
                }
                None => {
                    table.index(&after, true);
                }
            }
            before
        });
        self.link(kind, before.as_deref(), Some(&after));
        self.record(
            kind,
            Change {
                revision,
                before,
                after: Some(after.clone()),
                tombstone: None,
            },
        );
        after
    }

    /// Removes an object; returns its last version under the revision of the removal.
    /// `edit` changes that version.
    pub(crate) fn remove(
        &mut self,
        place: &Place,
        edit: impl FnOnce(&mut serde_json::Value),
    ) -> Option<Arc<Object>> {
        let table = self.tables.get_mut(place.kind)?;
        let space = table.objects.get_mut(&place.namespace)?;
        let before = space.remove(&place.name)?;
        if space.is_empty() {
            table.objects.remove(&place.namespace);
        }
        table.index(&before, false);
        self.revision += 1;
        let revision = self.revision;
        let mut last = before.value.clone();
        crate::json::put(
            &mut last,
            &["metadata", "resourceVersion"],
            revision.to_string(),
        );
        edit(&mut last);
        let tombstone = Arc::new(Object::new(last, revision));
        self.link(place.kind, Some(&before), None);
        let change = Change {
            revision,
            before: Some(before),
            after: None,
            tombstone: Some(tombstone.clone()),
        };
        self.record(place.kind, change);
        Some(tombstone)
    }

    fn link(&mut self, kind: KindId, before: Option<&Object>, after: Option<&Object>) {
        let old = before.map_or(&[][..], |o| object::owners(&o.value));
        let new = after.map_or(&[][..], |o| object::owners(&o.value));
        if old != new {
            for (owners, object, add) in [(old, before, false), (new, after, true)] {
                let Some(object) = object else { continue };
                for owner in owners {
                    let uid = crate::json::text(owner, &["uid"]);
                    let place = Place::of(kind, object);
                    if add {
                        self.dependents
                            .entry(uid.to_owned())
                            .or_default()
                            .insert(place);
                    } else if let Some(set) = self.dependents.get_mut(uid) {
                        set.remove(&place);
                        if set.is_empty() {
                            self.dependents.remove(uid);
                        }
                    }
                }
            }
        }
        match (before, after) {
            (None, Some(o)) => {
                self.by_uid.insert(o.uid().to_owned(), Place::of(kind, o));
            }
            (Some(o), None) => {
                self.by_uid.remove(o.uid());
            }
            _ => {}
        }
    }

    fn record(&mut self, kind: KindId, change: Change) {
        let revision = change.revision;
        if let Some(pending) = &mut self.pending {
            pending.push_back((kind, change.clone()));
        }
        if let Some(table) = self.tables.get_mut(kind) {
            table.log.push_back(change);
            if table.log.len() > self.log_limit
                && let Some(old) = table.log.pop_front()
            {
                table.compacted = old.revision;
            }
            table.news.send_replace(revision);
        }
    }

    /// Drops the log: watches and pages from before now get 410.
    pub(crate) fn compact(&mut self) {
        for table in &mut self.tables {
            table.log.clear();
            table.compacted = self.revision;
        }
    }

    /// Changes of a kind after `revision`, oldest first, at most `limit`; none if some of
    /// them are compacted.
    pub(crate) fn changes(&self, kind: KindId, revision: u64, limit: usize) -> Option<Vec<Change>> {
        let Some(table) = self.table(kind) else {
            return Some(Vec::new());
        };
        if revision < table.compacted {
            return None;
        }
        let start = table.log.partition_point(|c| c.revision <= revision);
        Some(table.log.iter().skip(start).take(limit).cloned().collect())
    }

    /// Oldest revision from which a watch of the kind can start.
    pub(crate) fn compacted(&self, kind: KindId) -> u64 {
        self.table(kind).map_or(0, |t| t.compacted)
    }

    /// Told of each change of a kind.
    pub(crate) fn news(&self, kind: KindId) -> Option<watch::Receiver<u64>> {
        self.table(kind).map(|t| t.news.subscribe())
    }
}
