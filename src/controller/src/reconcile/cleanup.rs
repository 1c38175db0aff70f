//! Services and DestinationRules that a Rollout left behind (CTL-152, TRF-112).
//!
//! Cleaning is careful: it happens only when a live read says that the managing Rollout is gone or
//! names the object no more. "Could not read" is not "gone" (SE-7).

use std::sync::Arc;

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::json;
use sluice_core::observed::Seen;
use sluice_crds::{Rollout, keys};
use sluice_trafficrouters::{
    ObjectRef, managing_rollout, references_destination_rule, release_destination_rule,
};

use crate::cache::{Change, ObjectId, Service, key_of};
use crate::ctx::Ctx;
use crate::execute::words;
use crate::http::is_status;
use crate::hub::Triggers;
use crate::key::Key;
use crate::observe::{api_resource, named_services, to_value};
use crate::patch::guarded;
use crate::queue::Next;

/// What a live read says about a Rollout that is named as the manager of an object.
enum Manager {
    /// It names the object.
    Refers,
    /// It is gone, or does not name the object any more.
    Gone,
}

async fn manager(ctx: &Ctx, key: &Key, refers: impl Fn(&Rollout) -> bool) -> kube::Result<Manager> {
    if ctx
        .cache
        .rollouts
        .get(key)
        .is_some_and(|rollout| refers(&rollout))
    {
        return Ok(Manager::Refers);
    }
    let api: Api<DynamicObject> = Api::namespaced_with(
        ctx.client.clone(),
        key.namespace(),
        &kube::api::ApiResource::erase::<Rollout>(&()),
    );
    let Some(found) = api.get_opt(key.name()).await? else {
        return Ok(Manager::Gone);
    };
    // One that cannot be decoded may well name it.
    let refers = serde_json::from_value::<Rollout>(to_value(&found)).map_or(true, |r| refers(&r));
    Ok(if refers {
        Manager::Refers
    } else {
        Manager::Gone
    })
}

/// Looks at one Service.
pub async fn service(ctx: Arc<Ctx>, key: Key) -> Next {
    let Some(service) = ctx.cache.services.get(&key) else {
        return Next::Forget;
    };
    let view = service.view();
    if !view.selector.contains_key(keys::POD_TEMPLATE_HASH) && view.managed_by.is_none() {
        return Next::Forget;
    }
    // Services of Experiments end with their owner.
    if service
        .metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.kind == "Experiment")
    {
        return Next::Forget;
    }
    let names_it = |rollout: &Rollout| named_services(rollout).contains(key.name());
    match &view.managed_by {
        Some(name) => {
            let manager_key = Key::new(key.namespace(), name.clone());
            match manager(&ctx, &manager_key, names_it).await {
                Ok(Manager::Refers) => return Next::Forget,
                Ok(Manager::Gone) => {}
                Err(error) => return Next::Retry(words(&error)),
            }
        }
        None => {
            let rollouts = ctx.cache.rollouts.in_namespace(key.namespace());
            let referring = rollouts.iter().find(|rollout| names_it(rollout));
            if let Some(rollout) = referring {
                ctx.hub.queues.rollouts.add(key_of(rollout.as_ref()));
                return Next::Forget;
            }
            // A hash that nobody of our shard put there is not ours to remove, unless no controller
            // of another shard can have put it.
            if !ctx.settings.instance_id.is_empty() {
                return Next::Forget;
            }
        }
    }
    // Another Rollout may have taken the name over meanwhile.
    let rollouts = ctx.cache.rollouts.in_namespace(key.namespace());
    if let Some(rollout) = rollouts.iter().find(|rollout| names_it(rollout)) {
        ctx.hub.queues.rollouts.add(key_of(rollout.as_ref()));
        return Next::Forget;
    }
    let patch = json!({
        "metadata": { "annotations": { keys::MANAGED_BY: null } },
        "spec": { "selector": { keys::POD_TEMPLATE_HASH: null } },
    });
    let patch = guarded(
        patch,
        service
            .metadata
            .resource_version
            .as_deref()
            .unwrap_or_default(),
    );
    let api: Api<Service> = Api::namespaced(ctx.client.clone(), key.namespace());
    tracing::info!(service = %key, "no Rollout uses the Service any more; its selector is freed");
    match api
        .patch(key.name(), &PatchParams::default(), &Patch::Merge(&patch))
        .await
    {
        Ok(service) => {
            let now = ctx.cache.services.observe_write(service);
            ctx.hub
                .changed(&Change::Applied { before: None, now }, None);
            Next::Forget
        }
        Err(error) if is_status(&error, 404) => Next::Forget,
        Err(error) => Next::Retry(words(&error)),
    }
}

/// Looks at one DestinationRule.
pub async fn destination_rule(ctx: Arc<Ctx>, key: Key) -> Next {
    let version = &ctx.routers.istio_api_version;
    let object = ObjectRef::new(
        &format!("networking.istio.io/{version}"),
        "DestinationRule",
        "destinationrules",
        key.namespace(),
        key.name(),
    );
    let kind = api_resource(&object);
    let found = match ctx.cache.route(&kind, &key).await {
        Seen::Found(found) => found,
        Seen::Absent => return Next::Forget,
        Seen::Unread(error) => return Next::Retry(error),
    };
    let value = to_value(&found);
    let Some(name) = managing_rollout(&value).map(str::to_owned) else {
        return Next::Forget;
    };
    let manager_key = Key::new(key.namespace(), name);
    let names_it = |rollout: &Rollout| references_destination_rule(rollout, key.name());
    match manager(&ctx, &manager_key, names_it).await {
        Ok(Manager::Refers) => return Next::Forget,
        Ok(Manager::Gone) => {}
        Err(error) => return Next::Retry(words(&error)),
    }
    let Some(write) = release_destination_rule(&object, &value) else {
        return Next::Forget;
    };
    let api: Api<DynamicObject> = Api::namespaced_with(ctx.client.clone(), key.namespace(), &kind);
    tracing::info!(destination_rule = %key, "no Rollout uses the DestinationRule any more; it is freed");
    let body = write.kind.body();
    match api
        .patch(key.name(), &PatchParams::default(), &Patch::Merge(&body))
        .await
    {
        Ok(written) => {
            if let Some(store) = ctx.cache.route_store(&kind.api_version, &kind.plural) {
                store.observe_write(written);
            }
            ctx.hub
                .dependents(&ObjectId::new(&kind.group, &kind.plural, key), None);
            Next::Forget
        }
        Err(error) if is_status(&error, 404) => Next::Forget,
        Err(error) => Next::Retry(words(&error)),
    }
}
