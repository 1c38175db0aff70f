//! Istio (TRF-100..113): weights and managed routes in VirtualServices, pod hashes in the subsets of
//! a DestinationRule.
//!
//! Everything that one pass changes in a VirtualService is one patch (SE-27). Destinations that are
//! neither ours nor recorded as ours are never touched: their weight is taken off the stable share,
//! and off the canary's once nothing is left of that (SE-10, INV-13).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sluice_core::observed::Seen;
use sluice_core::traffic::Want;
use sluice_crds::rollout::{IstioTrafficRouting, IstioVirtualService, TlsRoute};
use sluice_crds::{Rollout, keys};

use crate::error::RouteError;
use crate::factory::Subject;
use crate::object::{Found, ObjectRef};
use crate::patch::Draft;
use crate::router::{RouteWrite, TrafficRouter};

mod destination_rule;
mod managed;
mod virtual_service;
mod weights;

pub use destination_rule::{
    managing_rollout, references_destination_rule, release_destination_rule,
};

/// API group of all objects here.
const GROUP: &str = "networking.istio.io";

/// The router of one Rollout.
#[derive(Debug)]
pub struct Istio {
    rollout: String,
    virtual_services: Vec<VirtualServiceTarget>,
    rule: Option<RuleTarget>,
    /// `managedRoutes`, in order of precedence.
    managed: Vec<String>,
    /// Those, and the routes of header and mirror steps: what removal removes (TRF-109).
    removable: BTreeSet<String>,
    /// Services of experiments that status records as destinations (SE-10).
    recorded: BTreeSet<String>,
}

/// A VirtualService and the routes in it that carry weights.
#[derive(Debug)]
struct VirtualServiceTarget {
    object: ObjectRef,
    /// Names of HTTP routes; none: the only one that is not managed.
    http: Vec<String>,
    /// TLS routes; none: the only one.
    tls: Vec<TlsRoute>,
    /// Ports of TCP routes; none: the only one.
    tcp: Vec<i64>,
}

/// A DestinationRule and the subsets in it that carry hashes.
#[derive(Debug)]
struct RuleTarget {
    object: ObjectRef,
    canary: String,
    stable: String,
    /// Subsets of the user that share the route; never changed.
    additional: BTreeSet<String>,
}

impl Istio {
    /// The router for `spec.strategy.canary.trafficRouting.istio`.
    ///
    /// # Errors
    /// When not exactly one of `virtualService` and `virtualServices` is set.
    pub(crate) fn new(
        subject: &Subject<'_>,
        settings: &IstioTrafficRouting,
        version: &str,
    ) -> Result<Self, RouteError> {
        let targets: Vec<&IstioVirtualService> = match (
            &settings.virtual_service,
            settings.virtual_services.as_slice(),
        ) {
            (Some(one), []) => vec![one],
            (None, several @ [_, ..]) => several.iter().collect(),
            _ => {
                return Err(RouteError::Config {
                    message: "either VirtualService or VirtualServices must be configured"
                        .to_owned(),
                });
            }
        };
        let managed = subject.managed_routes();
        Ok(Self {
            rollout: subject.name.to_owned(),
            virtual_services: targets
                .into_iter()
                .map(|vs| VirtualServiceTarget {
                    object: virtual_service_ref(&vs.name, subject.namespace, version),
                    http: vs.routes.clone(),
                    tls: vs.tls_routes.clone(),
                    tcp: vs.tcp_routes.iter().map(|r| r.port).collect(),
                })
                .collect(),
            rule: settings.destination_rule.as_ref().map(|rule| RuleTarget {
                object: rule_ref(&rule.name, subject.namespace, version),
                canary: rule.canary_subset_name.clone(),
                stable: rule.stable_subset_name.clone(),
                additional: rule.additional_subset_names.iter().cloned().collect(),
            }),
            removable: managed
                .iter()
                .cloned()
                .chain(subject.step_routes())
                .collect(),
            managed,
            recorded: subject.recorded_destinations(),
        })
    }

    /// Whether a destination was added by us for an experiment that is over: status records it, or
    /// it bears the name that our experiments give to theirs, in case a crash came before the record.
    fn is_leftover(&self, service: &str, want: &Want) -> bool {
        let wanted = want.additional.iter().any(|a| a.service == service);
        let named_by_us = !want.canary_hash.is_empty()
            && service
                .strip_prefix(&self.rollout)
                .and_then(|rest| rest.strip_prefix('-'))
                .and_then(|rest| rest.strip_prefix(&want.canary_hash))
                .is_some_and(|rest| rest.starts_with('-'));
        !wanted && (named_by_us || self.recorded.contains(service))
    }

    /// The DestinationRule with its hashes, when there is one.
    fn draft_rule<'f>(
        &'f self,
        want: &Want,
        found: &'f Found,
    ) -> Result<Option<Draft<'f>>, RouteError> {
        let Some(target) = &self.rule else {
            return Ok(None);
        };
        let seen = found.get(&target.object)?.ok_or_else(|| {
            RouteError::missing(
                &target.object,
                Some("DestinationRuleNotFound"),
                format!("DestinationRule `{}` not found", target.object.name),
            )
        })?;
        let mut draft = Draft::new(&target.object, seen);
        destination_rule::edit(&mut draft, target, self, want)?;
        Ok(Some(draft))
    }

    /// Every VirtualService that can be rendered, in the order of the spec, and the first error.
    fn draft_virtual_services<'f>(
        &'f self,
        scope: &virtual_service::Scope<'_>,
        found: &'f Found,
    ) -> (Vec<Draft<'f>>, Option<RouteError>) {
        let mut drafts: BTreeMap<&ObjectRef, Draft<'f>> = BTreeMap::new();
        let mut order = Vec::new();
        let mut error = None;
        for target in &self.virtual_services {
            let object = &target.object;
            let edited = match drafts.remove(object) {
                // Listed twice with different routes: still one write.
                Some(draft) => Ok(Some(draft)),
                None => found
                    .get(object)
                    .map(|o| o.map(|seen| Draft::new(object, seen))),
            }
            .and_then(|draft| match draft {
                Some(mut draft) => {
                    virtual_service::edit(&mut draft, target, self, scope)?;
                    Ok(Some(draft))
                }
                None if scope.only_remove => Ok(None),
                None => Err(RouteError::missing(
                    object,
                    Some("VirtualServiceNotFound"),
                    format!("VirtualService `{}` not found", object.name),
                )),
            });
            match edited {
                Ok(Some(draft)) => {
                    if !order.contains(&object) {
                        order.push(object);
                    }
                    drafts.insert(object, draft);
                }
                Ok(None) => {}
                Err(e) => {
                    order.retain(|o| *o != object);
                    error = error.or(Some(e));
                }
            }
        }
        (
            order
                .into_iter()
                .filter_map(|object| drafts.remove(object))
                .collect(),
            error,
        )
    }
}

impl TrafficRouter for Istio {
    fn name(&self) -> &str {
        "Istio"
    }

    fn reads(&self) -> Vec<ObjectRef> {
        let objects: BTreeSet<&ObjectRef> = self
            .virtual_services
            .iter()
            .map(|vs| &vs.object)
            .chain(self.rule.iter().map(|rule| &rule.object))
            .collect();
        objects.into_iter().cloned().collect()
    }

    fn render(&self, want: &Want, found: &Found) -> Result<Vec<RouteWrite>, RouteError> {
        if want.only_remove_managed_routes {
            let scope = virtual_service::Scope {
                want,
                rule: None,
                only_remove: true,
            };
            let (drafts, error) = self.draft_virtual_services(&scope, found);
            // A route that cannot be read now is cleaned in a later pass; nothing else waits for it.
            drop(error);
            return Ok(drafts.into_iter().filter_map(Draft::patch).collect());
        }
        let (rule, rule_error) = match self.draft_rule(want, found) {
            Ok(rule) => (rule, None),
            Err(e) => (None, Some(e)),
        };
        let to_stable = want.weight <= 0 && want.additional.is_empty();
        // A subset that may not switch yet must not get other traffic than now, except that an
        // abort may always lead back to a stable subset that is right (TRF-111, FLT-8).
        let switch_waits = want.keep_hashes
            && rule.as_ref().is_some_and(|draft| draft.changed())
            && !(to_stable
                && rule
                    .as_ref()
                    .zip(self.rule.as_ref())
                    .is_some_and(|(draft, target)| {
                        destination_rule::hash_of(draft.seen(), &target.stable) == want.stable_hash
                    }));
        let scope = virtual_service::Scope {
            want,
            rule: rule.as_ref().map(Draft::seen),
            only_remove: switch_waits,
        };
        let (drafts, vs_error) = self.draft_virtual_services(&scope, found);
        let routes: Vec<RouteWrite> = drafts.into_iter().filter_map(Draft::patch).collect();
        if let Some(error) = rule_error.or(vs_error) {
            return Err(match to_stable && !routes.is_empty() {
                true => RouteError::Incomplete {
                    writes: routes,
                    source: Box::new(error),
                },
                false => error,
            });
        }
        let rule = rule.filter(|_| !want.keep_hashes).and_then(Draft::patch);
        Ok(if want.weight_before_hash {
            routes.into_iter().chain(rule).collect()
        } else {
            rule.into_iter().chain(routes).collect()
        })
    }
}

/// Pod hashes that any subset of the found DestinationRules selects (CTL-44). An object that could
/// not be read makes the answer unread: then every ReplicaSet counts as referenced.
#[must_use]
pub fn subset_hashes(found: &Found) -> Seen<BTreeSet<String>> {
    let mut hashes = BTreeSet::new();
    for (object, seen) in &found.0 {
        if object.kind != "DestinationRule" || object.group() != GROUP {
            continue;
        }
        match seen {
            Seen::Found(rule) => hashes.extend(destination_rule::hashes(rule)),
            Seen::Absent => {}
            Seen::Unread(why) => return Seen::Unread(format!("{object}: {why}")),
        }
    }
    Seen::Found(hashes)
}

/// `name` or `name.namespace`, a trailing `.cluster.local` aside (TRF-100).
fn virtual_service_ref(name: &str, namespace: &str, version: &str) -> ObjectRef {
    let name = name.strip_suffix(".cluster.local").unwrap_or(name);
    let (name, namespace) = name.rsplit_once('.').unwrap_or((name, namespace));
    ObjectRef::new(
        &format!("{GROUP}/{version}"),
        "VirtualService",
        "virtualservices",
        namespace,
        name,
    )
}

fn rule_ref(name: &str, namespace: &str, version: &str) -> ObjectRef {
    ObjectRef::new(
        &format!("{GROUP}/{version}"),
        "DestinationRule",
        "destinationrules",
        namespace,
        name,
    )
}

/// The DestinationRule of a Rollout's spec, by name.
fn rule_name(rollout: &Rollout) -> Option<&str> {
    let routing = rollout
        .spec
        .strategy
        .canary
        .as_ref()?
        .traffic_routing
        .as_ref()?;
    Some(&routing.istio.as_ref()?.destination_rule.as_ref()?.name)
}

/// Path of the hash label within a subset.
const HASH_LABEL: [&str; 2] = ["labels", keys::POD_TEMPLATE_HASH];

/// `metadata.name` or `name` of a JSON object in a list.
fn name_of(value: &Value) -> &str {
    crate::json::text(value, "/name")
}

#[cfg(test)]
mod tests;
