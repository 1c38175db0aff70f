//! Passes over Rollouts that cannot be decoded.

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use sluice_core::unreadable::{Unreadable, decide};
use sluice_crds::{Rollout, decode};

use crate::ctx::Ctx;
use crate::events::Regarding;
use crate::execute::status::rollout_status_patch;
use crate::execute::words;
use crate::http::{is_fenced, is_status};
use crate::key::Key;
use crate::observe::to_value;
use crate::queue::Next;

/// Reads the Rollout as it is and tells whoever wrote it what is wrong. Once it can be decoded, the
/// usual pass goes on with it.
pub(super) async fn look(ctx: &Ctx, key: &Key) -> Next {
    let kind = ApiResource::erase::<Rollout>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(ctx.client.clone(), key.namespace(), &kind);
    let object = match api.get_opt(key.name()).await {
        Ok(Some(object)) => to_value(&object),
        Ok(None) => {
            ctx.hub.unreadable.remove(key);
            ctx.memories.forget(key);
            return Next::Forget;
        }
        Err(error) => return Next::Retry(words(&error)),
    };
    let seen = match decode::read::<Rollout>(&object) {
        Ok(rollout) => {
            ctx.hub.unreadable.remove(key);
            ctx.cache.rollouts.observe_write(rollout);
            return Next::Now;
        }
        Err(error) => Unreadable::new(&object, error),
    };
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Next::Rest;
    }
    let now = ctx.clock.now();
    let plan = decide(&seen, now);
    for event in &plan.events {
        // A status that cannot be written is tried again; the event is not.
        let told = Some(event.message.clone());
        if ctx.memories.get(key).told != told {
            ctx.metrics.event(key, event);
            ctx.events
                .record(&Regarding::new(&seen.rollout), event.clone());
            ctx.memories.change(key, |memory| memory.told = told);
        }
    }
    let version = seen.rollout.metadata.resource_version.as_deref();
    let patch = plan.status.as_deref().and_then(|status| {
        rollout_status_patch(
            seen.rollout.status.as_ref(),
            status,
            version.unwrap_or_default(),
        )
    });
    let Some(patch) = patch else {
        return super::rest::<Rollout>(ctx, key, now, plan.wake);
    };
    let params = PatchParams::default();
    match api
        .patch_status(key.name(), &params, &Patch::Merge(&patch))
        .await
    {
        Ok(_) => super::rest::<Rollout>(ctx, key, now, plan.wake),
        Err(error) if is_status(&error, 404) || is_status(&error, 409) => Next::Now,
        Err(error) if is_fenced(&error) => Next::Retry("not leading".to_owned()),
        Err(error) => {
            tracing::warn!(rollout = %key, %error, "cannot say in its status that it is invalid");
            Next::Retry(words(&error))
        }
    }
}
