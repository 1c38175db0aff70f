//! Traefik (TRF-300): weights in the weighted services of a TraefikService.
//!
//! Traefik's weights are relative and an absent one counts as 1, so both weights are always written.
//! Entries of other services keep theirs. Further destinations are not supported by the provider.

use serde_json::{Value, json};
use sluice_core::traffic::Want;
use sluice_crds::rollout::TraefikTrafficRouting;

use crate::error::RouteError;
use crate::factory::Subject;
use crate::json::text;
use crate::object::{Found, ObjectRef};
use crate::patch::Draft;
use crate::router::{FailureEvent, RouteWrite, TrafficRouter};
use crate::split::Shares;

/// The router of one Rollout.
#[derive(Debug)]
pub struct Traefik {
    object: ObjectRef,
}

impl Traefik {
    /// The router for `spec.strategy.canary.trafficRouting.traefik`.
    pub(crate) fn new(
        subject: &Subject<'_>,
        settings: &TraefikTrafficRouting,
        api_version: &str,
    ) -> Self {
        let name = settings.weighted_traefik_service_name.clone();
        let (kind, plural) = ("TraefikService", "traefikservices");
        Self {
            object: ObjectRef::new(api_version, kind, plural, subject.namespace, name),
        }
    }
}

impl TrafficRouter for Traefik {
    fn name(&self) -> &str {
        "Traefik"
    }

    fn reads(&self) -> Vec<ObjectRef> {
        vec![self.object.clone()]
    }

    fn render(&self, want: &Want, found: &Found) -> Result<Vec<RouteWrite>, RouteError> {
        if want.only_remove_managed_routes {
            return Ok(Vec::new());
        }
        let object = &self.object;
        let seen = found
            .get(object)?
            .ok_or_else(|| RouteError::missing(object, None, object.not_found()))?;
        let mut draft = Draft::new(object, seen);
        let shares = Shares::of_two(want, 100);
        let services = draft
            .wanted
            .pointer_mut("/spec/weighted/services")
            .and_then(Value::as_array_mut)
            .ok_or_else(|| {
                let message = "spec.weighted.services was not found in traefik service manifest";
                RouteError::malformed(object, message)
            })?;
        for (name, weight, version) in [
            (&want.canary_service, shares.canary, "canary"),
            (&want.stable_service, shares.stable, "stable"),
        ] {
            let entry = services
                .iter_mut()
                .find(|s| text(s, "/name") == name)
                .ok_or_else(|| {
                    let message = format!("traefik {version} service was not found");
                    RouteError::malformed(object, message)
                })?;
            crate::json::set(entry, &["weight"], json!(weight));
        }
        let failure = FailureEvent::warning(
            "TraefikServiceUpdateError",
            format!("Error updating traefik service \"{}\": ", object.name),
        );
        Ok(draft.replace(failure).into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
