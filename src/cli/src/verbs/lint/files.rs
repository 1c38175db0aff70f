//! The objects of the given files, as a Rollout finds them: those of its namespace, by name.
//!
//! What is not in the files was not looked for, and nothing is said about it. A manifest without a
//! namespace may be meant for any.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sluice_crds::analysis::AnalysisTemplateSpec;
use sluice_crds::references::{References, ServiceFacts, wanted};
use sluice_crds::templates::TemplateStore;
use sluice_crds::{RawPodTemplate, Rollout, decode};

use super::{group, kind, name};
use crate::manifests::text;

/// Kind of workloads, their API group, and where the template of their pods stands.
const WORKLOADS: [(&str, &str, &str); 3] = [
    ("Deployment", "apps", "/spec/template"),
    ("ReplicaSet", "apps", "/spec/template"),
    ("PodTemplate", "", "/template"),
];

/// All objects of the files, seen from one namespace.
#[derive(Clone, Copy)]
pub(super) struct Files<'a> {
    pub(super) objects: &'a [Value],
    pub(super) namespace: &'a str,
}

impl<'a> Files<'a> {
    /// What an object of the files has beside it.
    pub(super) fn around(objects: &'a [Value], object: &'a Value) -> Self {
        let namespace = namespace(object);
        Self { objects, namespace }
    }

    /// All objects of a kind.
    pub(super) fn of_kind(
        self,
        groups: &'static [&'static str],
        wanted: &'static str,
    ) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| {
            let there = [namespace(object), self.namespace];
            let same = there[0] == there[1] || there.contains(&"");
            kind(object) == wanted && groups.contains(&group(object)) && same
        })
    }

    /// The object of a name; none where it cannot be told which of several is meant.
    pub(super) fn find(
        self,
        groups: &'static [&'static str],
        wanted: &'static str,
        called: &str,
    ) -> Option<&'a Value> {
        let mut near: Vec<&Value> = self
            .of_kind(groups, wanted)
            .filter(|object| name(object) == called)
            .collect();
        if near
            .iter()
            .any(|object| namespace(object) == self.namespace)
        {
            near.retain(|object| namespace(object) == self.namespace);
        }
        match near.as_slice() {
            [.., last] => near
                .iter()
                .all(|object| namespace(object) == namespace(last))
                .then_some(*last),
            [] => None,
        }
    }

    /// The object that the workload reference of a Rollout names.
    pub(super) fn workload(self, rollout: &Rollout) -> Option<&'a Value> {
        let reference = rollout.spec.workload_ref.as_ref()?;
        let (kind, group, _) = WORKLOADS
            .iter()
            .find(|(kind, ..)| *kind == reference.kind)?;
        let version = reference.api_version.split_once('/');
        if version.map_or("", |(group, _)| group) != *group {
            return None;
        }
        self.find(std::slice::from_ref(group), kind, &reference.name)
    }

    /// The Rollout with the template and selector of the workload that it refers to (API-27).
    pub(super) fn resolved(self, rollout: &Rollout) -> Option<Rollout> {
        let workload = self.workload(rollout)?;
        let (.., pointer) = WORKLOADS
            .iter()
            .find(|(known, ..)| *known == kind(workload))?;
        let mut resolved = rollout.clone();
        resolved.spec.template = RawPodTemplate::new(workload.pointer(pointer)?);
        if resolved.spec.selector.is_none() {
            let selector = workload.pointer("/spec/selector");
            resolved.spec.selector = selector.and_then(|one| decode::read(one).ok());
        }
        Some(resolved)
    }

    /// What a Rollout names, as far as it is in the files.
    pub(super) fn references(self, rollout: &Rollout) -> References {
        let wanted = wanted(&rollout.spec);
        let named =
            |names: &BTreeSet<String>, groups: &'static [&'static str], kind: &'static str| {
                let found = names.iter().filter_map(|name| {
                    let object = self.find(groups, kind, name)?;
                    Some((name.clone(), Some(object.clone())))
                });
                found.collect::<BTreeMap<String, Option<Value>>>()
            };
        let services = named(&wanted.services, &[""], "Service");
        References {
            templates: TemplateStore {
                namespaced: self.templates("AnalysisTemplate"),
                cluster: self.templates("ClusterAnalysisTemplate"),
            },
            services: services
                .into_iter()
                .map(|(name, service)| (name, service.as_ref().map(ServiceFacts::new)))
                .collect(),
            ingresses: named(
                &wanted.ingresses,
                &["networking.k8s.io", "extensions"],
                "Ingress",
            ),
            virtual_services: wanted
                .virtual_services
                .iter()
                .filter_map(|written| {
                    Some((written.clone(), Some(self.of_istio(written)?.clone())))
                })
                .collect(),
            mappings: named(
                &wanted.mappings,
                &["getambassador.io", "x.getambassador.io"],
                "Mapping",
            ),
            ..References::default()
        }
    }

    /// A VirtualService as Rollouts name it, with or without a namespace (API-16).
    fn of_istio(self, written: &str) -> Option<&'a Value> {
        let short = written.strip_suffix(".cluster.local").unwrap_or(written);
        let groups = &["networking.istio.io"];
        match short.rsplit_once('.') {
            None => self.find(groups, "VirtualService", short),
            Some((name, namespace)) => {
                let there = self.objects.iter().find(|object| {
                    object
                        .pointer("/metadata/namespace")
                        .and_then(Value::as_str)
                        == Some(namespace)
                })?;
                Files::around(self.objects, there).find(groups, "VirtualService", name)
            }
        }
    }

    /// Templates of a kind; of one that cannot be read its own lines tell.
    fn templates(self, wanted: &'static str) -> BTreeMap<String, Option<AnalysisTemplateSpec>> {
        let groups = &["argoproj.io"];
        // No namespace has those of the cluster.
        let here = if wanted.starts_with("Cluster") {
            Self {
                namespace: "",
                ..self
            }
        } else {
            self
        };
        let names: BTreeSet<&str> = here.of_kind(groups, wanted).map(name).collect();
        let found = names.into_iter().filter_map(|called| {
            let object = here.find(groups, wanted, called)?;
            let spec = decode::read(object.get("spec")?).ok()?;
            Some((called.to_owned(), Some(spec)))
        });
        found.collect()
    }
}

/// The namespace of an object; empty when it is not said.
pub(super) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}
