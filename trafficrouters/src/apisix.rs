//! Apache APISIX (TRF-320, TRF-321): weights in the backends of an ApisixRoute, and header routes as
//! further ApisixRoutes of our own.
//!
//! A header route is rebuilt from the base route whenever its step sets it: it holds the rules of the
//! Rollout only, one priority higher, with the header expressions beside those of the user (SE-17).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_core::traffic::Want;
use sluice_crds::keys;
use sluice_crds::rollout::{ApisixTrafficRouting, SetHeaderRoute};

use crate::error::RouteError;
use crate::factory::{Subject, is_controlled_by};
use crate::json::{list, number, set, text, unset};
use crate::object::{Found, ObjectRef};
use crate::patch::{Draft, resource_version};
use crate::router::{FailureEvent, RouteWrite, TrafficRouter, WriteKind};
use crate::split::Shares;

/// The router of one Rollout.
#[derive(Debug)]
pub struct Apisix {
    base: ObjectRef,
    rules: Vec<String>,
    /// ApisixRoutes that removal removes: `managedRoutes`.
    managed: Vec<String>,
    /// Those, and the routes of header steps: what may have to be looked at.
    headers: BTreeSet<String>,
    uid: String,
    owner: Value,
}

impl Apisix {
    /// The router for `spec.strategy.canary.trafficRouting.apisix`.
    ///
    /// # Errors
    /// When `route` is not set.
    pub(crate) fn new(
        subject: &Subject<'_>,
        settings: &ApisixTrafficRouting,
    ) -> Result<Self, RouteError> {
        let route = settings.route.as_ref().ok_or_else(|| RouteError::Config {
            message:
                "spec.strategy.canary.trafficRouting.apisix.route: must be set to the name of \
                      an ApisixRoute"
                    .to_owned(),
        })?;
        let managed = subject.managed_routes();
        Ok(Self {
            base: route_ref(subject.namespace, &route.name),
            rules: match route.rules.as_slice() {
                [] => vec![route.name.clone()],
                rules => rules.to_vec(),
            },
            headers: managed
                .iter()
                .cloned()
                .chain(subject.header_routes())
                .collect(),
            managed,
            uid: subject.uid.to_owned(),
            owner: subject.owner_reference(),
        })
    }

    fn header_ref(&self, name: &str) -> ObjectRef {
        route_ref(&self.base.namespace, name)
    }

    /// Deletes what is ours under a name; what is not stays.
    fn delete(
        &self,
        name: &str,
        found: &Found,
        verb: &str,
    ) -> Result<Option<RouteWrite>, RouteError> {
        let object = self.header_ref(name);
        let Some(seen) = found
            .get(&object)?
            .filter(|o| is_controlled_by(o, &self.uid))
        else {
            return Ok(None);
        };
        let failure = failure("ApisixRouteDeleteError", verb, name);
        Ok(Some(RouteWrite {
            kind: WriteKind::Delete {
                guard: resource_version(seen),
            },
            object,
            before: Vec::new(),
            after: Vec::new(),
            failure: Some(failure),
        }))
    }

    /// Creates or rebuilds a header route from the base route.
    fn set_header(
        &self,
        route: &SetHeaderRoute,
        base: &Value,
        want: &Want,
        found: &Found,
    ) -> Result<Option<RouteWrite>, RouteError> {
        if route.r#match.is_empty() {
            return self.delete(&route.name, found, "Error delete");
        }
        let object = self.header_ref(&route.name);
        let spec = self.header_spec(route, base, want)?;
        let Some(seen) = found.get(&object)? else {
            let mut body = json!({
                "apiVersion": object.api_version,
                "kind": object.kind,
                "metadata": {
                    "name": object.name,
                    "namespace": object.namespace,
                    "ownerReferences": [self.owner],
                },
                "spec": spec,
            });
            for key in ["labels", "annotations"] {
                if let Some(value) = base.get("metadata").and_then(|m| m.get(key)) {
                    set(&mut body, &["metadata", key], value.clone());
                }
            }
            unset(&mut body, &["metadata", "annotations", keys::LAST_APPLIED]);
            return Ok(Some(RouteWrite {
                kind: WriteKind::Create(body),
                before: Vec::new(),
                after: Vec::new(),
                failure: Some(failure(
                    "ApisixRouteCreateError",
                    "Error create",
                    &route.name,
                )),
                object,
            }));
        };
        if !is_controlled_by(seen, &self.uid) {
            let message = format!("duplicate ApisixRoute [{}] already exists", route.name);
            return Err(RouteError::foreign(&object, message));
        }
        let mut draft = Draft::new(&object, seen);
        set(&mut draft.wanted, &["spec"], spec);
        Ok(draft.replace(failure(
            "ApisixRouteUpdateError",
            "Error update",
            &route.name,
        )))
    }

    fn header_spec(
        &self,
        route: &SetHeaderRoute,
        base: &Value,
        want: &Want,
    ) -> Result<Value, RouteError> {
        let mut rules = Vec::new();
        for name in &self.rules {
            let rule = list(base, "/spec/http")
                .iter()
                .find(|r| text(r, "/name") == name);
            let mut rule = rule.cloned().ok_or_else(|| self.no_rule(name))?;
            let priority = number(&rule, "priority") + 1;
            set(&mut rule, &["priority"], json!(priority));
            let exprs: Vec<Value> = list(&rule, "/match/exprs")
                .iter()
                .cloned()
                .chain(exprs(route))
                .collect();
            set(&mut rule, &["match", "exprs"], Value::Array(exprs));
            let mut backends = list(&rule, "/backends").to_vec();
            backends.retain(|b| text(b, "/serviceName") != want.stable_service);
            for backend in &mut backends {
                if text(backend, "/serviceName") == want.canary_service {
                    set(backend, &["weight"], json!(100));
                }
            }
            set(&mut rule, &["backends"], Value::Array(backends));
            rules.push(rule);
        }
        let mut spec = base.get("spec").cloned().unwrap_or_default();
        unset(&mut spec, &["stream"]);
        set(&mut spec, &["http"], Value::Array(rules));
        Ok(spec)
    }

    /// Weights of both versions in every rule.
    fn set_weights(&self, draft: &mut Draft<'_>, want: &Want) -> Result<(), RouteError> {
        let object = &self.base;
        let shares = Shares::of_two(want, 100);
        let http = draft
            .wanted
            .pointer_mut("/spec/http")
            .and_then(Value::as_array_mut);
        let http = http.ok_or_else(|| {
            RouteError::malformed(object, "spec.http was not found in Apisix Route manifest")
        })?;
        for name in &self.rules {
            let rule = http
                .iter_mut()
                .find(|r| text(r, "/name") == name)
                .ok_or_else(|| self.no_rule(name))?;
            for (service, weight) in [
                (&want.canary_service, shares.canary),
                (&want.stable_service, shares.stable),
            ] {
                rule.get_mut("backends")
                    .and_then(Value::as_array_mut)
                    .and_then(|b| b.iter_mut().find(|b| text(b, "/serviceName") == service))
                    .map(|backend| set(backend, &["weight"], json!(weight)))
                    .ok_or_else(|| {
                        let message = format!("apisix route {service} backend was not found");
                        RouteError::malformed(object, message)
                    })?;
            }
        }
        Ok(())
    }

    /// Header route and weights.
    fn render_routes(
        &self,
        want: &Want,
        found: &Found,
        removing: bool,
    ) -> Result<Vec<RouteWrite>, RouteError> {
        let missing = || RouteError::missing(&self.base, None, self.base.not_found());
        let base = found.get(&self.base)?.ok_or_else(missing)?;
        let mut writes = Vec::new();
        if let Some(header) = want.header_route.as_ref().filter(|_| !removing) {
            writes.extend(self.set_header(header, base, want, found)?);
        }
        let mut draft = Draft::new(&self.base, base);
        self.set_weights(&mut draft, want)?;
        let failure = failure("ApisixRouteUpdateError", "Error updating", &self.base.name);
        writes.extend(draft.replace(failure));
        Ok(writes)
    }

    fn no_rule(&self, name: &str) -> RouteError {
        RouteError::malformed(
            &self.base,
            format!("Apisix http route rule {name} not found"),
        )
    }
}

impl TrafficRouter for Apisix {
    fn name(&self) -> &str {
        "Apisix"
    }

    fn reads(&self) -> Vec<ObjectRef> {
        let headers = self.headers.iter().map(|name| self.header_ref(name));
        [self.base.clone()].into_iter().chain(headers).collect()
    }

    fn render(&self, want: &Want, found: &Found) -> Result<Vec<RouteWrite>, RouteError> {
        let mut writes = Vec::new();
        let removing = want.remove_managed_routes || want.only_remove_managed_routes;
        if removing {
            for name in &self.managed {
                writes.extend(self.delete(name, found, "Error deleting")?);
            }
        }
        if want.only_remove_managed_routes {
            return Ok(writes);
        }
        match self.render_routes(want, found, removing) {
            Ok(routes) => writes.extend(routes),
            // Header routes go away on an abort even when the base route is broken (INV-10).
            Err(source) if want.weight <= 0 && !writes.is_empty() => {
                return Err(RouteError::Incomplete {
                    writes,
                    source: Box::new(source),
                });
            }
            Err(error) => return Err(error),
        }
        Ok(writes)
    }
}

fn route_ref(namespace: &str, name: &str) -> ObjectRef {
    ObjectRef::new(
        "apisix.apache.org/v2",
        "ApisixRoute",
        "apisixroutes",
        namespace,
        name,
    )
}

fn failure(reason: &'static str, verb: &str, name: &str) -> FailureEvent {
    FailureEvent::warning(reason, format!("{verb} apisix route \"{name}\": "))
}

/// One expression per header; all of them must hold.
fn exprs(route: &SetHeaderRoute) -> impl Iterator<Item = Value> {
    route.r#match.iter().map(|m| {
        let value = m.header_value.clone().unwrap_or_default();
        let (op, value) = if !value.exact.is_empty() {
            ("Equal", value.exact)
        } else if !value.regex.is_empty() {
            ("RegexMatch", value.regex)
        } else {
            ("RegexMatch", format!("^{}.*", escape(&value.prefix)))
        };
        json!({"subject": {"scope": "Header", "name": m.header_name}, "op": op, "value": value})
    })
}

/// Takes the special meaning from the characters of a text that stands in a regular expression.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests;
