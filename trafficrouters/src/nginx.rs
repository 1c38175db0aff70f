//! ingress-nginx (TRF-200..204): beside each stable Ingress, a canary Ingress of our own that carries
//! the weight as an annotation. The stable Ingress is only read.
//!
//! A/B annotations (`canary-by-header` ...) come from the user's settings and stay on the canary
//! Ingress between updates, as upstream keeps them: both Services then select the stable version, and
//! a takeover of an Ingress at rest writes nothing (INV-8).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluice_core::event::Event;
use sluice_core::traffic::Want;
use sluice_crds::rollout::NginxTrafficRouting;
use sluice_crds::{Rollout, keys};

use crate::error::RouteError;
use crate::factory::{Subject, is_controlled_by};
use crate::json::{list, set, text, unset};
use crate::object::{Found, ObjectRef};
use crate::patch::Draft;
use crate::router::{RouteWrite, TrafficRouter, WriteKind};

/// Length to which the name of a canary Ingress is cut before its suffix (API-42).
const NAME_LENGTH: usize = 246;

/// The router of one Rollout.
#[derive(Debug)]
pub struct Nginx {
    ingresses: Vec<Pair>,
    /// Annotations besides weight, by full key.
    annotations: BTreeMap<String, String>,
    prefix: String,
    /// `maxTrafficWeight`, when the user set it.
    total: Option<i32>,
    uid: String,
    owner: Value,
}

/// A stable Ingress and the canary Ingress beside it.
#[derive(Debug)]
struct Pair {
    stable: ObjectRef,
    canary: ObjectRef,
}

impl Nginx {
    /// The router for `spec.strategy.canary.trafficRouting.nginx`.
    ///
    /// # Errors
    /// When not exactly one of `stableIngress` and `stableIngresses` is set.
    pub(crate) fn new(
        subject: &Subject<'_>,
        settings: &NginxTrafficRouting,
    ) -> Result<Self, RouteError> {
        let config = |which: &str| RouteError::Config {
            message: format!(
                "Either StableIngress or StableIngresses must be configured. {which} are configured."
            ),
        };
        let names = match (
            settings.stable_ingress.as_str(),
            settings.stable_ingresses.as_slice(),
        ) {
            ("", []) => return Err(config("Neither")),
            ("", several) => several.to_vec(),
            (one, []) => vec![one.to_owned()],
            _ => return Err(config("Both")),
        };
        let prefix = match settings.annotation_prefix.as_str() {
            "" => keys::NGINX_PREFIX,
            own => own,
        };
        let full_key = |key: &String| match key.starts_with(prefix) {
            true => key.clone(),
            false => format!("{prefix}/{key}"),
        };
        let additional = settings.additional_ingress_annotations.iter();
        let verbatim = settings.canary_ingress_annotations.iter();
        Ok(Self {
            ingresses: names
                .iter()
                .map(|name| Pair {
                    stable: ingress_ref(subject.namespace, name.clone()),
                    canary: ingress_ref(subject.namespace, canary_name(subject.name, name)),
                })
                .collect(),
            annotations: additional
                .map(|(key, value)| (full_key(key), value.clone()))
                .chain(verbatim.map(|(key, value)| (key.clone(), value.clone())))
                .collect(),
            prefix: prefix.to_owned(),
            total: subject.routing.max_traffic_weight,
            uid: subject.uid.to_owned(),
            owner: subject.owner_reference(),
        })
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    /// All annotations that the canary Ingress must have (TRF-202).
    fn wanted_annotations(&self, stable: &Value, weight: i32) -> BTreeMap<String, String> {
        let class = stable
            .get("metadata")
            .and_then(|m| m.get("annotations"))
            .and_then(|a| a.get(keys::INGRESS_CLASS))
            .and_then(Value::as_str)
            .map(|class| (keys::INGRESS_CLASS.to_owned(), class.to_owned()));
        let total = self
            .total
            .map(|max| (self.key("canary-weight-total"), max.to_string()));
        class
            .into_iter()
            .chain(self.annotations.clone())
            .chain([
                (self.key("canary"), "true".to_owned()),
                (self.key("canary-weight"), weight.to_string()),
            ])
            .chain(total)
            .collect()
    }

    /// Writes for one pair.
    fn render_pair(
        &self,
        pair: &Pair,
        want: &Want,
        found: &Found,
    ) -> Result<Option<RouteWrite>, RouteError> {
        let weight = want.weight.clamp(0, want.max_weight.max(1));
        let canary = found.get(&pair.canary)?;
        if let Some(seen) = canary.filter(|seen| !is_controlled_by(seen, &self.uid)) {
            let name = text(seen, "/metadata/name");
            return Err(RouteError::foreign(
                &pair.canary,
                format!("canary ingress `{name}` controlled by different object"),
            ));
        }
        let stable = found.get(&pair.stable)?.ok_or_else(|| {
            RouteError::missing(
                &pair.stable,
                None,
                format!(
                    "error retrieving stableIngress `{}` from cache: {}",
                    pair.stable.name,
                    pair.stable.not_found()
                ),
            )
        });
        let stable = match (stable, canary) {
            (Ok(stable), _) => stable,
            // The way back to stable does not depend on the stable Ingress (INV-10).
            (Err(error), Some(seen)) if weight == 0 => {
                let writes = self.weight_only(&pair.canary, seen).into_iter().collect();
                return Err(RouteError::Incomplete {
                    writes,
                    source: Box::new(error),
                });
            }
            (Err(error), _) => return Err(error),
        };
        let annotations = self.wanted_annotations(stable, weight);
        let spec = canary_spec(stable, want);
        if list(&spec, "/rules").is_empty() {
            return Err(RouteError::malformed(
                &pair.stable,
                format!(
                    "ingress `{}` has no rules using service {} backend",
                    pair.stable.name, want.stable_service
                ),
            ));
        }
        Ok(match canary {
            None => Some(self.create(&pair.canary, &annotations, spec, weight)),
            Some(seen) => self.update(&pair.canary, seen, annotations, spec, weight),
        })
    }

    fn create(
        &self,
        object: &ObjectRef,
        annotations: &BTreeMap<String, String>,
        spec: Value,
        weight: i32,
    ) -> RouteWrite {
        let body = json!({
            "apiVersion": object.api_version,
            "kind": object.kind,
            "metadata": {
                "name": object.name,
                "namespace": object.namespace,
                "annotations": annotations,
                "ownerReferences": [self.owner],
            },
            "spec": spec,
        });
        let text = format!(
            "Creating canary ingress `{}` with weight `{weight}`",
            object.name
        );
        RouteWrite {
            object: object.clone(),
            kind: WriteKind::Create(body),
            before: vec![Event::normal("CreatingCanaryIngress", text)],
            after: Vec::new(),
            failure: None,
        }
    }

    /// Annotations and labels that others added stay; the spec is ours as a whole (TRF-203).
    fn update(
        &self,
        object: &ObjectRef,
        seen: &Value,
        annotations: BTreeMap<String, String>,
        spec: Value,
        weight: i32,
    ) -> Option<RouteWrite> {
        let mut draft = Draft::new(object, seen);
        // A total that is left over would change what the weight means.
        let total = self.key("canary-weight-total");
        if !annotations.contains_key(&total) {
            unset(&mut draft.wanted, &["metadata", "annotations", &total]);
        }
        for (key, value) in annotations {
            set(
                &mut draft.wanted,
                &["metadata", "annotations", &key],
                json!(value),
            );
        }
        set(&mut draft.wanted, &["spec"], spec);
        draft.before.push(patching(object, weight));
        draft.patch()
    }

    fn weight_only(&self, object: &ObjectRef, seen: &Value) -> Option<RouteWrite> {
        let mut draft = Draft::new(object, seen);
        let key = self.key("canary-weight");
        set(
            &mut draft.wanted,
            &["metadata", "annotations", &key],
            json!("0"),
        );
        draft.before.push(patching(object, 0));
        draft.patch()
    }
}

impl TrafficRouter for Nginx {
    fn name(&self) -> &str {
        "Nginx"
    }

    fn reads(&self) -> Vec<ObjectRef> {
        self.ingresses
            .iter()
            .flat_map(|pair| [pair.stable.clone(), pair.canary.clone()])
            .collect()
    }

    fn render(&self, want: &Want, found: &Found) -> Result<Vec<RouteWrite>, RouteError> {
        if want.only_remove_managed_routes {
            return Ok(Vec::new());
        }
        let mut writes = Vec::new();
        let mut failed = None;
        for pair in &self.ingresses {
            match self.render_pair(pair, want, found) {
                Ok(write) => writes.extend(write),
                Err(RouteError::Incomplete {
                    writes: partly,
                    source,
                }) => {
                    writes.extend(partly);
                    failed = failed.or(Some(*source));
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            None => Ok(writes),
            Some(source) if want.weight <= 0 && !writes.is_empty() => Err(RouteError::Incomplete {
                writes,
                source: Box::new(source),
            }),
            Some(error) => Err(error),
        }
    }
}

/// Takes the traffic off a canary Ingress that a Rollout owns and no longer uses, because `nginx` or
/// the stable Ingress left its spec (SE-13). It goes away with the Rollout; deleting it now would need
/// a verb that the existing ClusterRole does not grant. `None` when there is nothing to do.
#[must_use]
pub fn retire_canary_ingress(
    rollout: &Rollout,
    object: &ObjectRef,
    seen: &Value,
) -> Option<RouteWrite> {
    rollout
        .metadata
        .uid
        .as_deref()
        .filter(|uid| is_controlled_by(seen, uid))?;
    let subject = Subject::of(rollout);
    let settings = subject
        .as_ref()
        .and_then(|s| Some((s, s.routing.nginx.as_deref()?)));
    let router = settings.and_then(|(subject, nginx)| Nginx::new(subject, nginx).ok());
    if router.is_some_and(|router| router.reads().contains(object)) {
        return None;
    }
    let annotations = seen.get("metadata")?.get("annotations")?.as_object()?;
    let mut draft = Draft::new(object, seen);
    for key in annotations.keys() {
        let path = ["metadata", "annotations", key];
        if key.ends_with("/canary-weight") {
            set(&mut draft.wanted, &path, json!("0"));
        } else if key.contains("/canary-by-") {
            // Headers and cookies outrank the weight.
            unset(&mut draft.wanted, &path);
        }
    }
    draft.before.push(patching(object, 0));
    draft.patch()
}

fn patching(object: &ObjectRef, weight: i32) -> Event {
    Event::normal(
        "PatchingCanaryIngress",
        format!(
            "Updating Ingress `{}` to desiredWeight '{weight}'",
            object.name
        ),
    )
}

/// Class, TLS, and the rules that lead to the stable Service, leading to the canary Service instead
/// (TRF-201). Rules without paths and backends other than Services are no rules of ours (SE-13).
fn canary_spec(stable: &Value, want: &Want) -> Value {
    let mut spec = json!({});
    for key in ["ingressClassName", "tls"] {
        if let Some(value) = stable.get("spec").and_then(|s| s.get(key)) {
            set(&mut spec, &[key], value.clone());
        }
    }
    let mut rules = Vec::new();
    for rule in list(stable, "/spec/rules") {
        let mut rule = rule.clone();
        let mut is_ours = false;
        let paths = rule
            .pointer_mut("/http/paths")
            .and_then(Value::as_array_mut);
        for path in paths.into_iter().flatten() {
            if text(path, "/backend/service/name") == want.stable_service {
                set(
                    path,
                    &["backend", "service", "name"],
                    json!(want.canary_service),
                );
                is_ours = true;
            }
        }
        if is_ours {
            rules.push(rule);
        }
    }
    set(&mut spec, &["rules"], Value::Array(rules));
    spec
}

pub(crate) fn ingress_ref(namespace: &str, name: String) -> ObjectRef {
    ObjectRef::new(
        "networking.k8s.io/v1",
        "Ingress",
        "ingresses",
        namespace,
        name,
    )
}

fn canary_name(rollout: &str, ingress: &str) -> String {
    let mut name: String = format!("{rollout}-{ingress}")
        .chars()
        .take(NAME_LENGTH)
        .collect();
    name.push_str("-canary");
    name
}

#[cfg(test)]
mod tests;
