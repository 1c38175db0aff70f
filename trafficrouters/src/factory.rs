//! From a Rollout to its routers (TRF-2).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_crds::rollout::{CanaryStrategy, RolloutTrafficRouting};
use sluice_crds::{Rollout, keys};

use crate::error::RouteError;
use crate::istio::Istio;
use crate::nginx::Nginx;
use crate::object::ObjectRef;
use crate::router::TrafficRouter;

/// Settings of the process that routers depend on (OPS-1). The lists of Ingress classes are not
/// among them: they only limit which Ingresses the peer watches, and we watch every object that we
/// write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `--istio-api-version`: version of VirtualServices and DestinationRules.
    pub istio_api_version: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            istio_api_version: "v1alpha3".to_owned(),
        }
    }
}

/// The routers of a Rollout, in the order in which they are brought to the wanted state. None for a
/// Rollout without traffic routing.
///
/// # Errors
/// The first router that cannot be made: wrong settings, or a provider that is not supported yet.
/// One failing router fails the step (TRF-2).
pub fn routers_for(
    rollout: &Rollout,
    config: &Config,
) -> Result<Vec<Box<dyn TrafficRouter>>, RouteError> {
    let Some(subject) = Subject::of(rollout) else {
        return Ok(Vec::new());
    };
    let RolloutTrafficRouting {
        istio,
        nginx,
        alb,
        smi,
        ambassador,
        app_mesh,
        traefik,
        apisix,
        plugins,
        // Read through the subject.
        managed_routes: _,
        max_traffic_weight: _,
    } = subject.routing;
    let mut routers: Vec<Box<dyn TrafficRouter>> = Vec::new();
    if let Some(settings) = istio {
        routers.push(Box::new(Istio::new(
            &subject,
            settings,
            &config.istio_api_version,
        )?));
    }
    if let Some(settings) = nginx {
        routers.push(Box::new(Nginx::new(&subject, settings)?));
    }
    let unsupported = [
        ("alb", alb.is_some()),
        ("smi", smi.is_some()),
        ("ambassador", ambassador.is_some()),
        ("appMesh", app_mesh.is_some()),
        ("traefik", traefik.is_some()),
        ("apisix", apisix.is_some()),
    ];
    if let Some((field, _)) = unsupported.into_iter().find(|(_, is_set)| *is_set) {
        return Err(not_supported(field));
    }
    if let Some(name) = plugins.keys().next() {
        return Err(not_supported(&format!("plugins[\"{name}\"]")));
    }
    Ok(routers)
}

fn not_supported(field: &str) -> RouteError {
    RouteError::NotSupported {
        field: format!("spec.strategy.canary.trafficRouting.{field}"),
        remedy: "remove it, or route with istio or nginx".to_owned(),
    }
}

/// Every object whose change by others must start a new pass for this Rollout (TRF-17). Empty where
/// the routers cannot be made.
#[must_use]
pub fn managed_objects(rollout: &Rollout, config: &Config) -> BTreeSet<ObjectRef> {
    routers_for(rollout, config)
        .unwrap_or_default()
        .iter()
        .flat_map(|r| r.watches())
        .collect()
}

/// A Rollout with traffic routing, as routers look at it.
pub(crate) struct Subject<'a> {
    /// Name of the Rollout.
    pub(crate) name: &'a str,
    /// Its namespace.
    pub(crate) namespace: &'a str,
    /// Its uid.
    pub(crate) uid: &'a str,
    /// `spec.strategy.canary`.
    pub(crate) canary: &'a CanaryStrategy,
    /// `spec.strategy.canary.trafficRouting`.
    pub(crate) routing: &'a RolloutTrafficRouting,
    rollout: &'a Rollout,
}

impl<'a> Subject<'a> {
    /// `None` when the Rollout has no traffic routing.
    pub(crate) fn of(rollout: &'a Rollout) -> Option<Self> {
        let canary = rollout.spec.strategy.canary.as_ref()?;
        let routing = canary.traffic_routing.as_deref()?;
        let meta = &rollout.metadata;
        Some(Self {
            name: meta.name.as_deref().unwrap_or_default(),
            namespace: meta.namespace.as_deref().unwrap_or_default(),
            uid: meta.uid.as_deref().unwrap_or_default(),
            canary,
            routing,
            rollout,
        })
    }

    /// Names in `managedRoutes`, in order.
    pub(crate) fn managed_routes(&self) -> Vec<String> {
        self.routing
            .managed_routes
            .iter()
            .map(|r| r.name.clone())
            .collect()
    }

    /// Names of the routes that header and mirror steps set.
    pub(crate) fn step_routes(&self) -> impl Iterator<Item = String> {
        self.canary.steps.iter().flat_map(|step| {
            let header = step.set_header_route.as_ref().map(|r| r.name.clone());
            header
                .into_iter()
                .chain(step.set_mirror_route.as_ref().map(|r| r.name.clone()))
        })
    }

    /// Services of further destinations that status records.
    pub(crate) fn recorded_destinations(&self) -> BTreeSet<String> {
        let weights = self
            .rollout
            .status
            .as_ref()
            .and_then(|s| s.canary.weights.as_ref());
        weights
            .iter()
            .flat_map(|w| &w.additional)
            .map(|d| d.service_name.clone())
            .filter(|service| !service.is_empty())
            .collect()
    }

    /// The controller reference that objects created for this Rollout bear.
    pub(crate) fn owner_reference(&self) -> Value {
        json!({
            "apiVersion": keys::API_VERSION,
            "kind": "Rollout",
            "name": self.name,
            "uid": self.uid,
            "controller": true,
            "blockOwnerDeletion": true,
        })
    }
}

/// Whether the controller of an object has this uid.
pub(crate) fn is_controlled_by(object: &Value, uid: &str) -> bool {
    crate::json::list(object, "/metadata/ownerReferences")
        .iter()
        .any(|owner| {
            owner.get("controller").and_then(Value::as_bool) == Some(true)
                && crate::json::text(owner, "/uid") == uid
        })
}
