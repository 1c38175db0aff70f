//! The kinds a cluster serves: the built-in ones, third-party ones known by name only, and
//! those that CustomResourceDefinitions add.

mod table;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::schema::Schema;

/// Where a kind stands in the registry; stable for the life of a cluster.
pub(crate) type KindId = usize;

/// JSON paths of the scale subresource, as in a CustomResourceDefinition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScalePaths {
    pub(crate) spec: Vec<String>,
    pub(crate) status: Vec<String>,
    pub(crate) selector: Option<Vec<String>>,
}

/// A printer column of a CustomResourceDefinition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) format: String,
    pub(crate) description: String,
    pub(crate) priority: i64,
    pub(crate) path: String,
}

/// One served kind.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) group: String,
    /// Served versions, the preferred one first.
    pub(crate) versions: Vec<String>,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    /// Has a status subresource.
    pub(crate) status: bool,
    pub(crate) scale: Option<ScalePaths>,
    /// Whether `metadata.generation` is kept.
    pub(crate) generation: bool,
    /// Came from a CustomResourceDefinition or stands for one.
    pub(crate) custom: bool,
    /// Schema per version; none accepts everything.
    pub(crate) schemas: BTreeMap<String, Arc<Schema>>,
    /// Printer columns per version.
    pub(crate) columns: BTreeMap<String, Vec<Column>>,
    /// No longer served (its definition was deleted).
    pub(crate) gone: bool,
}

impl Kind {
    /// `plural.group`, as in messages and CRD names.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `apiVersion` of objects served in `version`.
    pub(crate) fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() {
            version.to_owned()
        } else {
            format!("{}/{version}", self.group)
        }
    }

    /// The preferred version.
    pub(crate) fn version(&self) -> &str {
        self.versions.first().map_or("v1", String::as_str)
    }
}

/// Ids of the kinds that controllers and special rules refer to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WellKnown {
    pub(crate) namespaces: KindId,
    pub(crate) pods: KindId,
    pub(crate) services: KindId,
    pub(crate) endpoints: KindId,
    pub(crate) endpointslices: KindId,
    pub(crate) replicasets: KindId,
    pub(crate) deployments: KindId,
    pub(crate) jobs: KindId,
    pub(crate) pdbs: KindId,
    pub(crate) crds: KindId,
}

/// All kinds, found by group and plural.
#[derive(Debug, Clone)]
pub(crate) struct Kinds {
    list: Vec<Arc<Kind>>,
    by_path: HashMap<(String, String), KindId>,
    pub(crate) known: WellKnown,
}

impl Kinds {
    /// The built-in table; third-party kinds whose `plural.group` is in `without` are left out.
    pub(crate) fn builtin(without: &[String]) -> Self {
        let zero = WellKnown {
            namespaces: 0,
            pods: 0,
            services: 0,
            endpoints: 0,
            endpointslices: 0,
            replicasets: 0,
            deployments: 0,
            jobs: 0,
            pdbs: 0,
            crds: 0,
        };
        let mut kinds = Self {
            list: Vec::new(),
            by_path: HashMap::new(),
            known: zero,
        };
        for row in table::BUILTIN {
            kinds.add(row.kind(false));
        }
        for row in table::THIRD_PARTY {
            let kind = row.kind(true);
            if !without.contains(&kind.qualified()) {
                kinds.add(kind);
            }
        }
        let id = |group: &str, plural: &str| kinds.find(group, plural).unwrap_or_default();
        let known = WellKnown {
            namespaces: id("", "namespaces"),
            pods: id("", "pods"),
            services: id("", "services"),
            endpoints: id("", "endpoints"),
            endpointslices: id("discovery.k8s.io", "endpointslices"),
            replicasets: id("apps", "replicasets"),
            deployments: id("apps", "deployments"),
            jobs: id("batch", "jobs"),
            pdbs: id("policy", "poddisruptionbudgets"),
            crds: id("apiextensions.k8s.io", "customresourcedefinitions"),
        };
        kinds.known = known;
        kinds
    }

    /// Adds a kind, or replaces the one at the same path and keeps its id.
    pub(crate) fn add(&mut self, kind: Kind) -> KindId {
        let path = (kind.group.clone(), kind.plural.clone());
        if let Some(&id) = self.by_path.get(&path) {
            if let Some(slot) = self.list.get_mut(id) {
                *slot = Arc::new(kind);
            }
            return id;
        }
        let id = self.list.len();
        self.list.push(Arc::new(kind));
        self.by_path.insert(path, id);
        id
    }

    /// Stops serving a kind.
    pub(crate) fn remove(&mut self, id: KindId) {
        if let Some(slot) = self.list.get_mut(id) {
            Arc::make_mut(slot).gone = true;
        }
    }

    /// The id at a path; kinds no longer served included.
    pub(crate) fn find(&self, group: &str, plural: &str) -> Option<KindId> {
        // The map is keyed by owned pairs; a lookup costs two short copies.
        self.by_path
            .get(&(group.to_owned(), plural.to_owned()))
            .copied()
    }

    /// The served kind of this `apiVersion` and `kind`.
    pub(crate) fn find_kind(&self, api_version: &str, kind: &str) -> Option<KindId> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.list.iter().position(|k| {
            !k.gone && k.kind == kind && k.group == group && k.versions.iter().any(|v| v == version)
        })
    }

    /// Whether any kind is served under a group and version.
    pub(crate) fn serves(&self, group: &str, version: &str) -> bool {
        self.served()
            .any(|(_, k)| k.group == group && k.versions.iter().any(|v| v == version))
    }

    pub(crate) fn get(&self, id: KindId) -> Option<&Arc<Kind>> {
        self.list.get(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Kinds being served.
    pub(crate) fn served(&self) -> impl Iterator<Item = (KindId, &Arc<Kind>)> {
        self.list.iter().enumerate().filter(|(_, k)| !k.gone)
    }
}
