//! Objects that a spec refers to and that validation looks at (API-49).

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use serde_json::Value;
use sluice_core::observed::Seen;
use sluice_crds::Rollout;
use sluice_crds::analysis::AnalysisTemplateSpec;
use sluice_crds::references::{References, ServiceFacts, wanted};
use sluice_crds::rollout::AnalysisTemplateRef;
use sluice_crds::templates::TemplateStore;
use sluice_trafficrouters::Found;

use crate::cache::{ObjectId, Service};
use crate::ctx::Ctx;
use crate::key::Key;

/// Reads them. What could not be read is left out: validation says nothing about it.
pub(super) fn read(
    ctx: &Ctx,
    rollout: &Rollout,
    routes: &Found,
    looked_at: &mut BTreeSet<ObjectId>,
) -> References {
    let wanted = wanted(&rollout.spec);
    let namespace = rollout.namespace().unwrap_or_default();
    let services = wanted.services.iter().map(|name| {
        let key = Key::new(namespace.clone(), name.clone());
        looked_at.insert(ObjectId::new("", "services", key.clone()));
        (
            name.clone(),
            ctx.cache.services.get(&key).map(|service| facts(&service)),
        )
    });
    let services = services.collect();
    let mut templates = TemplateReader::new(ctx, &namespace, looked_at);
    for name in &wanted.templates {
        templates.read(name, false);
    }
    for name in &wanted.cluster_templates {
        templates.read(name, true);
    }
    References {
        services,
        templates: templates.done(),
        ingresses: of_kind(routes, "Ingress", wanted.ingresses, &namespace),
        virtual_services: of_kind(
            routes,
            "VirtualService",
            wanted.virtual_services,
            &namespace,
        ),
        ..References::default()
    }
}

fn facts(service: &Service) -> ServiceFacts {
    let view = service.view();
    ServiceFacts {
        selector: view.selector,
        managed_by: view.managed_by,
    }
}

/// Objects that the routers read anyway, by the name that the spec has for them.
fn of_kind(
    routes: &Found,
    kind: &str,
    names: BTreeSet<String>,
    namespace: &str,
) -> BTreeMap<String, Option<Value>> {
    let found = names.into_iter().filter_map(|written| {
        let (name, place) = place(&written, kind, namespace);
        let object = routes.0.iter().find(|(object, _)| {
            object.kind == kind && object.name == name && object.namespace == place
        });
        match object?.1 {
            Seen::Found(value) => Some((written, Some(value.clone()))),
            Seen::Absent => Some((written, None)),
            Seen::Unread(_) => None,
        }
    });
    found.collect()
}

/// Name and namespace of a VirtualService written `name[.namespace]` (TRF-100).
fn place(written: &str, kind: &str, namespace: &str) -> (String, String) {
    let short = written.strip_suffix(".cluster.local").unwrap_or(written);
    match short.rsplit_once('.') {
        Some((name, place)) if kind == "VirtualService" => (name.to_owned(), place.to_owned()),
        _ => (written.to_owned(), namespace.to_owned()),
    }
}

/// Follows templates to those that they refer to.
pub struct TemplateReader<'a> {
    ctx: &'a Ctx,
    namespace: &'a str,
    looked_at: &'a mut BTreeSet<ObjectId>,
    store: TemplateStore,
}

impl<'a> TemplateReader<'a> {
    /// Reads for an object of this namespace; what is read is noted in `looked_at`.
    pub fn new(ctx: &'a Ctx, namespace: &'a str, looked_at: &'a mut BTreeSet<ObjectId>) -> Self {
        Self {
            ctx,
            namespace,
            looked_at,
            store: TemplateStore::default(),
        }
    }

    /// All that was read.
    #[must_use]
    pub fn done(self) -> TemplateStore {
        self.store
    }

    /// Reads a template and all that it refers to, each once.
    pub fn read(&mut self, name: &str, cluster: bool) {
        let mut open: Vec<AnalysisTemplateRef> = vec![AnalysisTemplateRef {
            template_name: name.to_owned(),
            cluster_scope: cluster.then_some(true),
        }];
        while let Some(reference) = open.pop() {
            let cluster = reference.cluster_scope == Some(true);
            let name = reference.template_name;
            let known = if cluster {
                &self.store.cluster
            } else {
                &self.store.namespaced
            };
            if known.contains_key(&name) {
                continue;
            }
            let spec = self.find(&name, cluster);
            open.extend(spec.iter().flat_map(|spec| spec.templates.iter().cloned()));
            let map = if cluster {
                &mut self.store.cluster
            } else {
                &mut self.store.namespaced
            };
            map.insert(name, spec);
        }
    }

    fn find(&mut self, name: &str, cluster: bool) -> Option<AnalysisTemplateSpec> {
        let (plural, namespace) = if cluster {
            ("clusteranalysistemplates", "")
        } else {
            ("analysistemplates", self.namespace)
        };
        let key = Key::new(namespace, name);
        self.looked_at
            .insert(ObjectId::new(sluice_crds::keys::GROUP, plural, key.clone()));
        let cache = &self.ctx.cache;
        if cluster {
            cache
                .cluster_templates
                .get(&key)
                .map(|template| template.spec.clone())
        } else {
            cache
                .templates
                .get(&key)
                .map(|template| template.spec.clone())
        }
    }
}
