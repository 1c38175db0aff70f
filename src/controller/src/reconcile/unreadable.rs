//! Passes over objects that cannot be decoded.

use kube::Resource;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use sluice_core::conditions::kind::INVALID_SPEC;
use sluice_core::event::Event;
use sluice_core::unreadable::{Unreadable, children, decide};
use sluice_crds::{Rollout, decode};

use crate::cache::{Kept, Store};
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

/// Ends an AnalysisRun or an Experiment that cannot be decoded: in Error, with what is wrong in its
/// status and in an event. Whoever waits for it takes it as such already.
pub(super) async fn end<K>(ctx: &Ctx, key: &Key, store: &Store<K>) -> Next
where
    K: Kept + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(ctx.client.clone(), key.namespace(), &resource);
    let object = match api.get_opt(key.name()).await {
        Ok(Some(object)) => to_value(&object),
        Ok(None) => {
            store.observe_delete(key);
            return Next::Now;
        }
        Err(error) => return Next::Retry(words(&error)),
    };
    let error = match decode::read::<K>(&object) {
        Ok(found) => {
            store.observe_write(found);
            return Next::Now;
        }
        Err(error) => error,
    };
    let Some((patch, message)) = children::ending(&K::kind(&()), &object, &error) else {
        return Next::Rest;
    };
    let written = api
        .patch(key.name(), &PatchParams::default(), &Patch::Merge(&patch))
        .await;
    match written {
        Ok(written) => {
            if let Some(stand_in) = K::stand_in(&to_value(&written), &error) {
                ctx.events.record(
                    &Regarding::new(&stand_in),
                    Event::warning(INVALID_SPEC, message),
                );
                store.observe_write(stand_in);
            }
            Next::Rest
        }
        Err(error) if is_status(&error, 404) || is_status(&error, 409) => Next::Now,
        Err(error) if is_fenced(&error) => Next::Retry("not leading".to_owned()),
        Err(error) => {
            tracing::warn!(object = %key, %error, "cannot say in its status that it is invalid");
            Next::Retry(words(&error))
        }
    }
}
