//! From a Rollout to its routers (TRF-2).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_crds::rollout::{CanaryStrategy, RolloutTrafficRouting};
use sluice_crds::{Rollout, keys};

use crate::alb::Alb;
use crate::ambassador::Ambassador;
use crate::apisix::Apisix;
use crate::error::RouteError;
use crate::istio::Istio;
use crate::nginx::Nginx;
use crate::object::ObjectRef;
use crate::router::TrafficRouter;
use crate::smi::Smi;
use crate::traefik::Traefik;

/// Settings of the process that routers depend on (OPS-1). The lists of Ingress classes are not
/// among them: they only limit which Ingresses the peer watches, and we watch every object that we
/// write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `--istio-api-version`: version of VirtualServices and DestinationRules.
    pub istio_api_version: String,
    /// `--ambassador-api-version`: group and version of Mappings.
    pub ambassador_api_version: String,
    /// `--traffic-split-api-version`: version of SMI TrafficSplits.
    pub traffic_split_api_version: String,
    /// `--traefik-api-version`: group and version of TraefikServices. `--traefik-api-group` says
    /// nothing more.
    pub traefik_api_version: String,
    /// `--aws-verify-target-group`: whether load balancers are asked for their weights.
    pub aws_verify_target_group: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            istio_api_version: "v1alpha3".to_owned(),
            ambassador_api_version: "getambassador.io/v2".to_owned(),
            traffic_split_api_version: "v1alpha1".to_owned(),
            traefik_api_version: "traefik.io/v1alpha1".to_owned(),
            aws_verify_target_group: false,
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
    if let Some(settings) = alb {
        if config.aws_verify_target_group {
            return Err(RouteError::NotSupported {
                field: "--aws-verify-target-group".to_owned(),
                remedy: "weights are set without it; start the controller without the flag".into(),
            });
        }
        routers.push(Box::new(Alb::new(&subject, settings)?));
    }
    if let Some(settings) = smi {
        routers.push(Box::new(Smi::new(
            &subject,
            settings,
            &config.traffic_split_api_version,
        )?));
    }
    if let Some(settings) = ambassador {
        let version = &config.ambassador_api_version;
        routers.push(Box::new(Ambassador::new(&subject, settings, version)?));
    }
    if app_mesh.is_some() {
        return Err(not_supported("appMesh"));
    }
    if let Some(settings) = traefik {
        routers.push(Box::new(Traefik::new(
            &subject,
            settings,
            &config.traefik_api_version,
        )));
    }
    if let Some(settings) = apisix {
        routers.push(Box::new(Apisix::new(&subject, settings)?));
    }
    if let Some(name) = plugins.keys().next() {
        return Err(not_supported(&format!("plugins[\"{name}\"]")));
    }
    Ok(routers)
}

fn not_supported(field: &str) -> RouteError {
    RouteError::NotSupported {
        field: format!("spec.strategy.canary.trafficRouting.{field}"),
        remedy: "remove it, or use one of istio, nginx, alb, smi, ambassador, traefik, apisix"
            .to_owned(),
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

    /// Names of the routes that header steps set.
    pub(crate) fn header_routes(&self) -> impl Iterator<Item = String> {
        let steps = self.canary.steps.iter();
        steps.filter_map(|step| step.set_header_route.as_ref().map(|r| r.name.clone()))
    }

    /// Names of the routes that header and mirror steps set.
    pub(crate) fn step_routes(&self) -> impl Iterator<Item = String> {
        let mirrors = self.canary.steps.iter();
        self.header_routes().chain(
            mirrors.filter_map(|step| step.set_mirror_route.as_ref().map(|r| r.name.clone())),
        )
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

#[cfg(test)]
mod tests {
    use super::{Config, managed_objects, routers_for};
    use crate::testing::rollout;

    /// TRF-2
    #[test]
    fn routers_come_in_a_fixed_order() {
        let all = "
trafficRouting:
  apisix: {route: {name: a}}
  traefik: {weightedTraefikServiceName: t}
  ambassador: {mappings: [m]}
  smi: {}
  alb: {ingress: i}
  nginx: {stableIngress: i}
  istio: {virtualService: {name: v}}
";
        let routers = routers_for(&rollout(all), &Config::default()).unwrap();
        let names: Vec<&str> = routers.iter().map(|r| r.name()).collect();
        assert_eq!(
            names,
            [
                "Istio",
                "Nginx",
                "ALB",
                "SMI",
                "Ambassador",
                "Traefik",
                "Apisix"
            ]
        );
        // TRF-17: the Ingress that two of them share is watched once.
        assert_eq!(managed_objects(&rollout(all), &Config::default()).len(), 8);
    }

    #[test]
    fn without_traffic_routing_there_are_none() {
        assert!(
            routers_for(&rollout("{}"), &Config::default())
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        let table = [
            ("appMesh: {}", "appMesh"),
            ("plugins: {acme/mesh: {}}", "plugins[\"acme/mesh\"]"),
        ];
        for (routing, field) in table {
            let rollout = rollout(&format!("trafficRouting: {{{routing}}}"));
            let error = routers_for(&rollout, &Config::default())
                .err()
                .unwrap()
                .to_string();
            let path = format!("spec.strategy.canary.trafficRouting.{field}: not supported yet; ");
            assert!(error.starts_with(&path), "{error}");
        }
        let config = Config {
            aws_verify_target_group: true,
            ..Config::default()
        };
        let error = routers_for(&rollout("trafficRouting: {alb: {ingress: a}}"), &config);
        assert!(
            error
                .err()
                .unwrap()
                .to_string()
                .starts_with("--aws-verify-target-group: not supp")
        );
    }
}
