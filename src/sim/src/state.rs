//! The rules of the API over the store: a pure state machine, time given from outside.

pub(crate) mod delete;
pub(crate) mod special;
pub(crate) mod write;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::clock::stamp;
use crate::crd;
use crate::error::ApiError;
use crate::ids::Random;
use crate::json::put;
use crate::kinds::{Kind, KindId, Kinds};
use crate::object::Object;
use crate::store::{Place, Store};

/// Everything a cluster knows.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) kinds: Kinds,
    pub(crate) store: Store,
    pub(crate) random: Random,
    /// Time of the request or tick being served.
    pub(crate) now: Timestamp,
    service_ips: u32,
}

/// Which part of an object a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything but the status, where the kind has a status subresource.
    Main,
    /// The status alone.
    Status,
}

/// What to do with fields that a schema does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum FieldValidation {
    #[default]
    Ignore,
    Warn,
    Strict,
}

/// How a write is made.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteOptions {
    /// Served version in which the object is given; the preferred one when empty.
    pub(crate) version: String,
    pub(crate) dry_run: bool,
    pub(crate) fields: FieldValidation,
    /// Field manager, for server-side apply.
    pub(crate) manager: String,
}

/// A write's outcome.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) object: Arc<Object>,
    pub(crate) warnings: Vec<String>,
    pub(crate) created: bool,
}

impl State {
    /// A cluster with the namespaces and the Service that every cluster has.
    pub(crate) fn new(kinds: Kinds, seed: u64, now: Timestamp, log_limit: usize) -> Self {
        let store = Store::new(kinds.len(), log_limit);
        let mut state = Self {
            kinds,
            store,
            random: Random::new(seed),
            now,
            service_ips: 0,
        };
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            let known = state.kinds.known.namespaces;
            let options = WriteOptions::default();
            // Cannot clash: the store is empty.
            drop(state.create(known, "", json!({"metadata": {"name": name}}), &options));
        }
        state
    }

    /// The served kind at a path.
    pub(crate) fn kind_at(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Result<(KindId, Arc<Kind>), ApiError> {
        if !self.kinds.serves(group, version) {
            return Err(ApiError::no_such_page());
        }
        self.kinds
            .find(group, plural)
            .and_then(|id| Some((id, self.kinds.get(id)?.clone())))
            .filter(|(_, k)| !k.gone && k.versions.iter().any(|v| v == version))
            .ok_or_else(ApiError::no_such_path)
    }

    pub(crate) fn kind(&self, id: KindId) -> Result<Arc<Kind>, ApiError> {
        self.kinds
            .get(id)
            .cloned()
            .ok_or_else(ApiError::no_such_path)
    }

    /// An object, or 404.
    pub(crate) fn read(
        &self,
        id: KindId,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Object>, ApiError> {
        match self.store.get(id, namespace, name) {
            Some(object) => Ok(object.clone()),
            None => {
                let kind = self.kind(id)?;
                Err(ApiError::not_found(&kind.group, &kind.plural, name))
            }
        }
    }

    /// Effects of a stored version on the cluster itself: definitions add kinds.
    fn effects(&mut self, id: KindId, object: &Arc<Object>) {
        if id != self.kinds.known.crds || object.is_deleting() {
            return;
        }
        if let Some(kind) = crd::kind_of(&object.value) {
            self.kinds.add(kind);
            self.store.grow(self.kinds.len());
        }
        if crate::json::at(&object.value, &["status", "conditions"]).is_none() {
            let mut value = object.value.clone();
            put(
                &mut value,
                &["status"],
                crd::established(&object.value, &stamp(self.now)),
            );
            self.store.put(id, value);
        }
    }

    /// Effects of a removal: the kind of a definition goes with all its objects.
    fn removal_effects(&mut self, id: KindId, object: &Object) {
        if id != self.kinds.known.crds {
            return;
        }
        let group = crate::json::text(&object.value, &["spec", "group"]);
        let plural = crate::json::text(&object.value, &["spec", "names", "plural"]);
        let Some(gone) = self.kinds.find(group, plural) else {
            return;
        };
        let places: Vec<Place> = self.store.all(gone).map(|o| Place::of(gone, o)).collect();
        for place in places {
            self.store.remove(&place, |_| {});
        }
        self.kinds.remove(gone);
    }

    /// The next free cluster IP.
    pub(crate) fn next_service_ip(&mut self) -> String {
        self.service_ips += 1;
        let n = self.service_ips;
        format!("10.96.{}.{}", (n / 250) % 250, n % 250 + 1)
    }

    /// Present time as an object stores it.
    pub(crate) fn stamp(&self) -> Value {
        stamp(self.now).into()
    }
}
