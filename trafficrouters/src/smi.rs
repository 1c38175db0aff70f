//! Service Mesh Interface (TRF-380): a TrafficSplit of our own.

use serde_json::{Value, json};
use sluice_core::event::{Event, EventType};
use sluice_core::traffic::Want;
use sluice_crds::rollout::SmiTrafficRouting;

use crate::error::RouteError;
use crate::factory::{Subject, is_controlled_by};
use crate::json::set;
use crate::object::{Found, ObjectRef};
use crate::patch::Draft;
use crate::router::{FailureEvent, RouteWrite, TrafficRouter, WriteKind};
use crate::split::Shares;

const GROUP: &str = "split.smi-spec.io";

/// The router of one Rollout.
#[derive(Debug)]
pub struct Smi {
    object: ObjectRef,
    /// Service that clients use; empty: the stable one.
    root_service: String,
    /// Version v1alpha1 writes weights as quantities, that is as texts.
    weights_are_text: bool,
    uid: String,
    owner: Value,
}

impl Smi {
    /// The router for `spec.strategy.canary.trafficRouting.smi`.
    ///
    /// # Errors
    /// When the configured API version is not one of those that exist.
    pub(crate) fn new(
        subject: &Subject<'_>,
        settings: &SmiTrafficRouting,
        version: &str,
    ) -> Result<Self, RouteError> {
        if !["v1alpha1", "v1alpha2", "v1alpha3"].contains(&version) {
            let message = format!("Unsupported TrafficSplit API version `{version}`");
            return Err(RouteError::Config { message });
        }
        let name = match settings.traffic_split_name.as_str() {
            "" => subject.name,
            own => own,
        };
        let api_version = format!("{GROUP}/{version}");
        let (kind, plural) = ("TrafficSplit", "trafficsplits");
        Ok(Self {
            object: ObjectRef::new(&api_version, kind, plural, subject.namespace, name),
            root_service: settings.root_service.clone(),
            weights_are_text: version == "v1alpha1",
            uid: subject.uid.to_owned(),
            owner: subject.owner_reference(),
        })
    }

    /// Canary, further destinations, stable.
    fn backends(&self, want: &Want) -> Value {
        let shares = Shares::of(want, 100);
        let services = [&want.canary_service]
            .into_iter()
            .chain(want.additional.iter().map(|a| &a.service))
            .chain([&want.stable_service]);
        let weights = [shares.canary]
            .into_iter()
            .chain(shares.additional)
            .chain([shares.stable]);
        services
            .zip(weights)
            .map(|(service, weight)| match self.weights_are_text {
                true => json!({"service": service, "weight": weight.to_string()}),
                false => json!({"service": service, "weight": weight}),
            })
            .collect()
    }
}

impl TrafficRouter for Smi {
    fn name(&self) -> &str {
        "SMI"
    }

    fn reads(&self) -> Vec<ObjectRef> {
        vec![self.object.clone()]
    }

    fn render(&self, want: &Want, found: &Found) -> Result<Vec<RouteWrite>, RouteError> {
        if want.only_remove_managed_routes {
            return Ok(Vec::new());
        }
        let object = &self.object;
        let root = match self.root_service.as_str() {
            "" => &want.stable_service,
            own => own,
        };
        let backends = self.backends(want);
        let Some(seen) = found.get(object)? else {
            let body = json!({
                "apiVersion": object.api_version,
                "kind": object.kind,
                "metadata": {
                    "name": object.name,
                    "namespace": object.namespace,
                    "ownerReferences": [self.owner],
                },
                "spec": {"service": root, "backends": backends},
            });
            return Ok(vec![RouteWrite {
                object: object.clone(),
                kind: WriteKind::Create(body),
                before: Vec::new(),
                after: vec![Event::normal(
                    "TrafficSplitCreated",
                    format!("TrafficSplit `{}` created", object.name),
                )],
                failure: Some(FailureEvent {
                    // Upstream records it as Normal.
                    kind: EventType::Normal,
                    reason: "TrafficSplitNotCreated",
                    text: format!("TrafficSplit `{}` failed creation: ", object.name),
                }),
            }]);
        };
        if !is_controlled_by(seen, &self.uid) {
            let message = format!("Rollout does not own TrafficSplit `{}`", object.name);
            return Err(RouteError::foreign(object, message));
        }
        let mut draft = Draft::new(object, seen);
        set(&mut draft.wanted, &["spec", "service"], json!(root));
        set(&mut draft.wanted, &["spec", "backends"], backends);
        Ok(draft.patch().into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
