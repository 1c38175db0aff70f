//! Whether a Rollout can be carried out at all (API-43).

use std::borrow::Cow;

use sluice_crds::{Rollout, validate};

use crate::conditions::{self, kind};
use crate::decide::context::Context;
use crate::observed::{FailedWrite, Observed, Workload};

/// The first error of the spec, then of the objects that it names; the bare text of an unusable
/// workload reference (API-28).
pub(crate) fn first_error(seen: &Observed) -> Option<String> {
    let rollout = match &seen.workload {
        Workload::Unusable(error) => return Some(error.clone()),
        Workload::NotReferenced => Cow::Borrowed(&*seen.rollout),
        Workload::Found(found) => {
            let mut resolved: Rollout = (*seen.rollout).clone();
            resolved.spec.template = found.template.clone();
            if resolved.spec.selector.is_none() {
                resolved.spec.selector.clone_from(&found.selector);
            }
            Cow::Owned(resolved)
        }
    };
    let own = if judged(seen) {
        None
    } else {
        validate::rollout(&rollout).into_iter().next()
    };
    own.or_else(|| {
        validate::references(&rollout, &seen.references)
            .into_iter()
            .next()
    })
    .map(|error| error.to_string())
}

/// What the API server had to say about the pod template when the ReplicaSet was to be made: it knows
/// rules that are not repeated here (API-45, SE-25), and its paths are those of the Rollout.
pub(crate) fn refused_template(ctx: &Context<'_>) -> Option<String> {
    let failure = ctx.seen.failure.as_ref()?;
    let name = format!("{}-{}", ctx.name(), ctx.hashes.current());
    if failure.what != FailedWrite::CreateReplicaSet || failure.object != name {
        return None;
    }
    let (_, errors) = failure.message.split_once(" is invalid: ")?;
    let errors = match errors.strip_prefix('[') {
        Some(many) => many.strip_suffix(']').unwrap_or(many),
        None => errors,
    };
    let of_template =
        errors.starts_with("spec.template.spec") || errors.starts_with("spec.template.m");
    // The first counts, as everywhere (API-43).
    let first = errors.split(", spec.template.").next()?;
    of_template.then(|| first.to_owned())
}

/// The static rules look at the spec alone: one generation is judged once.
fn judged(seen: &Observed) -> bool {
    let status = seen.rollout.status.as_ref();
    matches!(seen.workload, Workload::NotReferenced)
        && status.is_some_and(|status| {
            conditions::observed(&seen.rollout, status)
                && conditions::get(&status.conditions, kind::INVALID_SPEC).is_none()
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluice_crds::rollout::RolloutPhase;

    use super::*;
    use crate::decide::decide;
    use crate::testing::world::World;
    use crate::testing::{RolloutBuilder, at, rollout, weight};

    fn routed() -> RolloutBuilder {
        rollout("web")
            .canary([weight(101)])
            .routed(json!({ "istio": { "virtualService": { "name": "web" } } }))
            .strategy(|canary| {
                canary.canary_service = "new".to_owned();
                canary.stable_service = "old".to_owned();
            })
    }

    /// API-28, API-43: the workload comes before the spec, the spec before the objects that it
    /// names, missing ones before those that do not fit; the first mistake counts.
    #[test]
    fn the_first_mistake_counts() {
        let mut world = World::new(routed().replicas(-1));
        let check = |world: &World, want: Option<&str>| {
            let error = first_error(&world.observe());
            let begins = |error: &String| want.is_some_and(|want| error.starts_with(want));
            assert!(
                error.as_ref().map_or(want.is_none(), begins),
                "{error:?} instead of {want:?}"
            );
        };
        world.workload = Workload::Unusable("deployments.apps \"shop/web\" not found".to_owned());
        let service = world.services.get_mut("new").unwrap();
        service.managed_by = Some("other".to_owned());
        world
            .references
            .virtual_services
            .insert("web".to_owned(), None);
        check(&world, Some("deployments.apps \"shop/web\" not found"));
        world.workload = Workload::NotReferenced;
        check(&world, Some("spec.replicas: Invalid value: -1"));
        world.edit(|r| r.spec.replicas = Some(1));
        check(
            &world,
            Some("spec.strategy.steps[0].setWeight: Invalid value: 101"),
        );
        world.edit(|r| {
            let canary = r.spec.strategy.canary.as_mut().unwrap();
            canary.steps[0].set_weight = Some(100);
        });
        check(
            &world,
            Some("spec.strategy.canary.trafficRouting.istio.virtualService.name: Invalid value"),
        );
        let route = ["new", "old"].map(|host| json!({ "destination": { "host": host } }));
        let found = json!({ "spec": { "http": [{ "route": route }] } });
        let services = &mut world.references.virtual_services;
        services.insert("web".to_owned(), Some(found));
        check(
            &world,
            Some("spec.strategy.canary.canaryService: Invalid value: \"new\": Service"),
        );
        world.services.get_mut("new").unwrap().managed_by = None;
        check(&world, None);
    }

    /// API-45, SE-25: what the API server refuses in a pod template makes the Rollout invalid, in its
    /// words; any other refusal does not.
    #[test]
    fn the_api_server_judges_the_template() {
        let mut world = World::new(rollout("web").canary([weight(20)]));
        let name = {
            world.step();
            world.sets.keys().next().unwrap().clone()
        };
        world.sets.clear();
        world.rollout.status = None;
        let told = |world: &World, message: &str, object: &str| {
            let mut seen = world.observe();
            seen.failure = Some(crate::observed::Failure {
                what: FailedWrite::CreateReplicaSet,
                object: object.to_owned(),
                message: message.to_owned(),
            });
            let plan = decide(&seen, world.now);
            let status = plan.status.unwrap_or_default();
            let invalid = conditions::get(&status.conditions, kind::INVALID_SPEC);
            let invalid = invalid.map(|condition| condition.message.clone());
            assert!(invalid.is_none() || plan.actions.is_empty() && plan.wake == Some(at(20)));
            invalid
        };
        let port = "spec.template.spec.containers[0].ports[0].containerPort: Invalid value: 0: must be \
                    between 1 and 65535, inclusive";
        let invalid = Some(format!("The Rollout \"web\" is invalid: {port}"));
        let one = format!("ReplicaSet.apps \"{name}\" is invalid: {port}");
        assert_eq!(told(&world, &one, &name), invalid);
        let image = "spec.template.spec.containers[0].image: Required value";
        let two = format!("ReplicaSet.apps \"{name}\" is invalid: [{port}, {image}]");
        assert_eq!(told(&world, &two, &name), invalid);
        assert_eq!(told(&world, &one, "web-other"), None, "of another template");
        for other in [
            "exceeded quota: pods",
            "admission webhook \"x\" denied the request",
        ] {
            assert_eq!(told(&world, other, &name), None);
        }
    }

    /// API-44: nothing but the refusal happens; a wish to abort stays as it is, and another
    /// generation with the same mistake is merely observed.
    #[test]
    fn a_refusal_is_all_that_happens() {
        let mut world = World::new(routed());
        world.status(|status| status.abort = true);
        let plan = decide(&world.observe(), world.now);
        assert!(plan.actions.is_empty() && plan.events.is_empty());
        assert_eq!(plan.wake, Some(at(20)), "SE-20");
        let status = plan.status.unwrap();
        let text = "The Rollout \"web\" is invalid: spec.strategy.steps[0].setWeight: Invalid value: \
                    101: SetWeight needs to be between 0 and 100";
        assert_eq!(status.conditions.len(), 1);
        assert_eq!(
            (
                status.conditions[0].r#type.as_str(),
                status.conditions[0].reason.as_str()
            ),
            ("InvalidSpec", "InvalidSpec")
        );
        assert_eq!(status.conditions[0].message, text);
        assert_eq!(status.phase, RolloutPhase::Degraded);
        assert_eq!(status.message, format!("InvalidSpec: {text}"));
        assert!(status.abort && status.aborted_at.is_none() && status.duration.is_none());
        assert_eq!(status.current_pod_hash, "");

        world.rollout.status = Some(*status.clone());
        assert_eq!(
            decide(&world.observe(), at(20)).status,
            None,
            "nothing is new"
        );
        world.edit(|r| r.spec.min_ready_seconds = 1);
        let again = decide(&world.observe(), at(40)).status.unwrap();
        assert_eq!(again.conditions, status.conditions);
        assert_ne!(again.observed_generation, status.observed_generation);
    }
}
