//! Ambassador / Emissary (TRF-340): beside each Mapping, a canary Mapping of our own with a weight.
//!
//! Where the peer deletes the canary Mapping five seconds after its weight went to 0, ours stays at
//! weight 0, owned by the Rollout, as the canary Ingress of ingress-nginx does (SE-18): nothing sleeps,
//! and no proxy can still know a Mapping whose Service has moved on.

use serde_json::{Value, json};
use sluice_core::event::Event;
use sluice_core::traffic::Want;
use sluice_crds::rollout::AmbassadorTrafficRouting;

use crate::error::RouteError;
use crate::factory::{Subject, is_controlled_by};
use crate::json::{number, set, text};
use crate::object::{Found, ObjectRef};
use crate::patch::Draft;
use crate::router::{FailureEvent, RouteWrite, TrafficRouter, WriteKind};
use crate::split::Shares;

/// Length to which the name of a Mapping is cut before the suffix.
const NAME_LENGTH: usize = 246;

/// The router of one Rollout.
#[derive(Debug)]
pub struct Ambassador {
    /// Each Mapping of the user with the canary Mapping beside it.
    mappings: Vec<(ObjectRef, ObjectRef)>,
    uid: String,
    owner: Value,
}

impl Ambassador {
    /// The router for `spec.strategy.canary.trafficRouting.ambassador`.
    ///
    /// # Errors
    /// When it names no Mapping.
    pub(crate) fn new(
        subject: &Subject<'_>,
        settings: &AmbassadorTrafficRouting,
        api_version: &str,
    ) -> Result<Self, RouteError> {
        if settings.mappings.is_empty() {
            return Err(RouteError::Config {
                message: "must provide at least one mapping".to_owned(),
            });
        }
        let (kind, plural) = match api_version.starts_with("x.getambassador.io/") {
            true => ("AmbassadorMapping", "ambassadormappings"),
            false => ("Mapping", "mappings"),
        };
        let object =
            |name: String| ObjectRef::new(api_version, kind, plural, subject.namespace, name);
        let canary_name = |base: &String| {
            let mut name: String = base.chars().take(NAME_LENGTH).collect();
            name.push_str("-canary");
            name
        };
        Ok(Self {
            mappings: settings
                .mappings
                .iter()
                .map(|base| (object(base.clone()), object(canary_name(base))))
                .collect(),
            uid: subject.uid.to_owned(),
            owner: subject.owner_reference(),
        })
    }

    /// The write for one Mapping; an error may come with the write that still makes sense.
    fn render_mapping(
        &self,
        (base, canary): &(ObjectRef, ObjectRef),
        want: &Want,
        found: &Found,
    ) -> (Option<RouteWrite>, Option<RouteError>) {
        let weight = Shares::of_two(want, 100).canary;
        let seen = match found.get(canary) {
            Ok(seen) => seen,
            Err(error) => return (None, Some(error)),
        };
        match (canary_spec(base, found, want, weight), seen) {
            // The way back to stable does not depend on the base Mapping (INV-10).
            (Err(error), Some(seen)) if weight == 0 => {
                (update(canary, seen, None, weight), Some(error))
            }
            (Err(error), _) => (None, Some(error)),
            (Ok(_), None) if weight == 0 => (None, None),
            (Ok(spec), None) => (Some(self.create(canary, spec, weight)), None),
            (Ok(spec), Some(seen)) => {
                // One that another controller made follows its own base: only the weight is set.
                let spec = is_controlled_by(seen, &self.uid).then_some(spec);
                (update(canary, seen, spec, weight), None)
            }
        }
    }

    fn create(&self, object: &ObjectRef, spec: Value, weight: i64) -> RouteWrite {
        let body = json!({
            "apiVersion": object.api_version,
            "kind": object.kind,
            "metadata": {
                "name": object.name,
                "namespace": object.namespace,
                "ownerReferences": [self.owner],
            },
            "spec": spec,
        });
        RouteWrite {
            object: object.clone(),
            kind: WriteKind::Create(body),
            before: Vec::new(),
            after: vec![weight_update(weight)],
            failure: Some(FailureEvent::warning(
                "CanaryMappingCreationError",
                "Error creating canary mapping: ".to_owned(),
            )),
        }
    }
}

fn update(
    object: &ObjectRef,
    seen: &Value,
    spec: Option<Value>,
    weight: i64,
) -> Option<RouteWrite> {
    let mut draft = Draft::new(object, seen);
    if let Some(spec) = spec {
        set(&mut draft.wanted, &["spec"], spec);
    }
    set(&mut draft.wanted, &["spec", "weight"], json!(weight));
    draft.after.push(weight_update(weight));
    draft.replace(FailureEvent::warning(
        "CanaryMappingUpdateError",
        format!("Error updating canary mapping \"{}\": ", object.name),
    ))
}

fn weight_update(weight: i64) -> Event {
    Event::normal(
        "CanaryMappingWeightUpdate",
        format!("Set canary mapping weight to {weight}"),
    )
}

/// The base's spec, leading to the canary Service, with the weight.
fn canary_spec(
    base: &ObjectRef,
    found: &Found,
    want: &Want,
    weight: i64,
) -> Result<Value, RouteError> {
    let seen = found.get(base)?.ok_or_else(|| {
        let message = format!("Ambassador mapping \"{}\" not found", base.name);
        RouteError::missing(base, Some("AmbassadorMappingNotFound"), message)
    })?;
    let mut spec = seen.get("spec").cloned().unwrap_or_default();
    if number(&spec, "weight") != 0 {
        return Err(RouteError::Malformed {
            object: Box::new(base.clone()),
            message: format!("Ambassador mapping \"{}\" can not define weight", base.name),
            reason: Some("AmbassadorMappingConfigError"),
        });
    }
    let service = text(&spec, "/service");
    if !service.contains(&want.stable_service) {
        return Err(RouteError::malformed(
            base,
            format!(
                "Ambassador mapping \"{}\" does not lead to service {}",
                base.name, want.stable_service
            ),
        ));
    }
    let service = service.replacen(&want.stable_service, &want.canary_service, 1);
    set(&mut spec, &["service"], json!(service));
    set(&mut spec, &["weight"], json!(weight));
    Ok(spec)
}

impl TrafficRouter for Ambassador {
    fn name(&self) -> &str {
        "Ambassador"
    }

    fn reads(&self) -> Vec<ObjectRef> {
        self.mappings
            .iter()
            .flat_map(|(base, canary)| [base.clone(), canary.clone()])
            .collect()
    }

    fn render(&self, want: &Want, found: &Found) -> Result<Vec<RouteWrite>, RouteError> {
        if want.only_remove_managed_routes {
            return Ok(Vec::new());
        }
        let (mut writes, mut errors) = (Vec::new(), Vec::new());
        for mapping in &self.mappings {
            let (write, error) = self.render_mapping(mapping, want, found);
            writes.extend(write);
            errors.extend(error);
        }
        let Some(error) = join(errors) else {
            return Ok(writes);
        };
        match want.weight <= 0 && !writes.is_empty() {
            true => Err(RouteError::Incomplete {
                writes,
                source: Box::new(error),
            }),
            false => Err(error),
        }
    }
}

/// One error from several, as upstream words it, about the object of the first.
fn join(errors: Vec<RouteError>) -> Option<RouteError> {
    let count = errors.len();
    let texts: String = errors.iter().map(|e| format!("[{e}]")).collect();
    let first = errors.into_iter().next()?;
    let (count, message) = (count, format!("{count} errors found: {texts}"));
    Some(match first {
        RouteError::Missing { object, reason, .. }
        | RouteError::Malformed { object, reason, .. }
            if count > 1 =>
        {
            RouteError::Malformed {
                object,
                message,
                reason,
            }
        }
        RouteError::Unread { object, .. } if count > 1 => RouteError::Unread { object, message },
        one => one,
    })
}

#[cfg(test)]
mod tests;
