//! AWS load balancer controller (TRF-250..252, TRF-255): forward actions as annotations of the user's
//! Ingresses, and header routes as rules in front of theirs. Load balancers are not asked whether
//! they follow.
//!
//! One patch per Ingress and pass; a value that says the same in other words is left as it is.

use serde_json::{Value, json};
use sluice_core::event::Event;
use sluice_core::traffic::Want;
use sluice_crds::keys;
use sluice_crds::rollout::{AlbTrafficRouting, SetHeaderRoute};

use crate::error::RouteError;
use crate::factory::Subject;
use crate::json::{list, set, text, unset};
use crate::nginx::ingress_ref;
use crate::object::{Found, ObjectRef};
use crate::patch::Draft;
use crate::router::{RouteWrite, TrafficRouter};
use crate::split::Shares;

mod action;
mod release;

use action::{Action, ManagedKeys, Stickiness};
pub use release::{alb_managed_rollouts, references_alb_ingress, release_alb_ingress};

/// Port name that stands for "see the annotation".
const USE_ANNOTATION: &str = "use-annotation";

/// The router of one Rollout.
#[derive(Debug)]
pub struct Alb {
    rollout: String,
    ingresses: Vec<ObjectRef>,
    /// Service named in the rules; empty: the stable one.
    root_service: String,
    port: i32,
    prefix: String,
    stickiness: Option<Stickiness>,
    /// `managedRoutes`, in order of precedence.
    managed: Vec<String>,
}

impl Alb {
    /// The router for `spec.strategy.canary.trafficRouting.alb`.
    ///
    /// # Errors
    /// When not exactly one of `ingress` and `ingresses` is set, or stickiness is out of bounds.
    pub(crate) fn new(
        subject: &Subject<'_>,
        settings: &AlbTrafficRouting,
    ) -> Result<Self, RouteError> {
        let config = |which: &str| RouteError::Config {
            message: format!(
                "Either Ingress or Ingresses must be configured. {which} are configured."
            ),
        };
        let names = match (settings.ingress.as_str(), settings.ingresses.as_slice()) {
            ("", []) => return Err(config("Neither")),
            ("", several) => several.to_vec(),
            (one, []) => vec![one.to_owned()],
            _ => return Err(config("Both")),
        };
        let sticky = settings.stickiness_config.as_ref().filter(|s| s.enabled);
        if sticky.is_some_and(|s| !(1..=604_800).contains(&s.duration_seconds)) {
            return Err(RouteError::Config {
                message: "TargetGroupStickinessConfig's duration must be between 1 and 604800 \
                          seconds (7 days)!"
                    .to_owned(),
            });
        }
        Ok(Self {
            rollout: subject.name.to_owned(),
            ingresses: names
                .into_iter()
                .map(|n| ingress_ref(subject.namespace, n))
                .collect(),
            root_service: settings.root_service.clone(),
            port: settings.service_port,
            prefix: match settings.annotation_prefix.as_str() {
                "" => keys::ALB_PREFIX.to_owned(),
                own => own.to_owned(),
            },
            stickiness: sticky.map(|s| Stickiness::lasting(s.duration_seconds)),
            managed: subject.managed_routes(),
        })
    }

    fn action_key(&self, name: &str) -> String {
        format!("{}/actions.{name}", self.prefix)
    }

    fn condition_key(&self, name: &str) -> String {
        format!("{}/conditions.{name}", self.prefix)
    }

    fn action(&self, groups: impl IntoIterator<Item = (String, i64)>) -> Action {
        Action::forward(groups, self.port, self.stickiness.clone())
    }

    /// Brings one Ingress to the wanted state.
    fn edit(&self, draft: &mut Draft<'_>, want: &Want) -> Result<(), RouteError> {
        let object = draft.object;
        let event = |what: &str| {
            Event::normal(
                "PatchingALBIngress",
                format!("Updating Ingress `{}` {what}", object.name),
            )
        };
        let removing = want.remove_managed_routes || want.only_remove_managed_routes;
        if removing {
            let before = draft.wanted.clone();
            self.managed
                .iter()
                .for_each(|name| self.remove_header(&mut draft.wanted, name));
            if draft.wanted != before {
                draft.before.push(event("removing managed routes"));
            }
        }
        if want.only_remove_managed_routes {
            return Ok(());
        }
        let root = match self.root_service.as_str() {
            "" => &want.stable_service,
            own => own,
        };
        if !all_paths(&draft.wanted).any(|path| leads_to(path, root)) {
            let message = format!("ingress does not have service `{root}` in rules");
            return Err(RouteError::malformed(object, message));
        }
        if let Some(header) = want.header_route.as_ref().filter(|_| !removing) {
            let before = draft.wanted.clone();
            self.set_header(&mut draft.wanted, header, want);
            if draft.wanted != before {
                draft
                    .before
                    .push(event(&format!("to headerRoute '{}'", header.name)));
            }
        }
        let before = draft.wanted.clone();
        let shares = Shares::of(want, 100);
        let groups = [(want.canary_service.clone(), shares.canary)]
            .into_iter()
            .chain(
                want.additional
                    .iter()
                    .map(|a| a.service.clone())
                    .zip(shares.additional),
            )
            .chain([(want.stable_service.clone(), shares.stable)]);
        let key = self.action_key(root);
        action::set_json(&mut draft.wanted, &key, &self.action(groups).to_json());
        ManagedKeys::edit(&mut draft.wanted, &self.rollout, |keys| {
            action::add(keys, &key)
        });
        if draft.wanted != before {
            draft
                .before
                .push(event(&format!("to desiredWeight '{}'", want.weight)));
        }
        Ok(())
    }

    fn set_header(&self, ingress: &mut Value, route: &SetHeaderRoute, want: &Want) {
        if route.r#match.is_empty() {
            return self.remove_header(ingress, &route.name);
        }
        let (action, condition) = (
            self.action_key(&route.name),
            self.condition_key(&route.name),
        );
        let canary = self.action([(want.canary_service.clone(), 100)]);
        action::set_json(ingress, &action, &canary.to_json());
        action::set_json(ingress, &condition, &action::conditions(route));
        ManagedKeys::edit(ingress, &self.rollout, |keys| {
            action::add(keys, &action);
            action::add(keys, &condition);
        });
        let first = json!({
            "path": "/*",
            "pathType": "ImplementationSpecific",
            "backend": {"service": {"name": route.name, "port": {"name": USE_ANNOTATION}}},
        });
        let position = |path: &Value| {
            let name = text(path, "/backend/service/name");
            self.managed
                .iter()
                .position(|m| m == name)
                .unwrap_or(self.managed.len())
        };
        edit_paths(ingress, |paths| {
            paths.retain(|path| !leads_to(path, &route.name));
            paths.insert(0, first.clone());
            paths.sort_by_key(position);
        });
    }

    fn remove_header(&self, ingress: &mut Value, name: &str) {
        let keys = [self.action_key(name), self.condition_key(name)];
        for key in &keys {
            unset(ingress, &["metadata", "annotations", key]);
        }
        ManagedKeys::edit(ingress, &self.rollout, |list| {
            list.retain(|key| !keys.contains(key))
        });
        edit_paths(ingress, |paths| paths.retain(|path| !leads_to(path, name)));
    }
}

impl TrafficRouter for Alb {
    fn name(&self) -> &str {
        "ALB"
    }

    fn reads(&self) -> Vec<ObjectRef> {
        self.ingresses.clone()
    }

    fn render(&self, want: &Want, found: &Found) -> Result<Vec<RouteWrite>, RouteError> {
        let (mut writes, mut failed) = (Vec::new(), None);
        for object in &self.ingresses {
            let write = found.get(object).and_then(|seen| match seen {
                Some(seen) => {
                    let mut draft = Draft::new(object, seen);
                    self.edit(&mut draft, want)?;
                    Ok(draft.patch())
                }
                None if want.only_remove_managed_routes => Ok(None),
                None => Err(RouteError::missing(object, None, object.not_found())),
            });
            match write {
                Ok(write) => writes.extend(write),
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

/// Whether a path's backend is the annotation of this name.
fn leads_to(path: &Value, name: &str) -> bool {
    text(path, "/backend/service/name") == name
        && text(path, "/backend/service/port/name") == USE_ANNOTATION
}

fn all_paths(ingress: &Value) -> impl Iterator<Item = &Value> {
    list(ingress, "/spec/rules")
        .iter()
        .flat_map(|rule| list(rule, "/http/paths"))
}

/// Edits the paths of each rule that has some (SE-14).
fn edit_paths(ingress: &mut Value, mut edit: impl FnMut(&mut Vec<Value>)) {
    let mut rules = list(ingress, "/spec/rules").to_vec();
    for rule in &mut rules {
        if let Some(paths) = rule
            .pointer_mut("/http/paths")
            .and_then(Value::as_array_mut)
        {
            edit(paths);
        }
    }
    if list(ingress, "/spec/rules") != rules {
        set(ingress, &["spec", "rules"], Value::Array(rules));
    }
}

#[cfg(test)]
mod tests;
