//! Route objects of a Rollout, as its routers want them read.

use std::collections::BTreeSet;

use kube::api::ApiResource;
use sluice_core::observed::Seen;
use sluice_crds::Rollout;
use sluice_trafficrouters::{Found, ObjectRef, routers_for};

use crate::cache::ObjectId;
use crate::ctx::Ctx;
use crate::key::Key;

/// What the dynamic client needs to reach the object.
#[must_use]
pub fn api_resource(object: &ObjectRef) -> ApiResource {
    ApiResource {
        group: object.group().to_owned(),
        version: object.version().to_owned(),
        api_version: object.api_version.clone(),
        kind: object.kind.clone(),
        plural: object.plural.clone(),
    }
}

/// Reads what the routers of `rollout` want to read. Routers that cannot be made read nothing: the
/// `Route` action reports them.
pub async fn read_routes(
    ctx: &Ctx,
    rollout: &Rollout,
    looked_at: &mut BTreeSet<ObjectId>,
) -> Found {
    let routers = routers_for(rollout, &ctx.routers).unwrap_or_default();
    let wanted: BTreeSet<ObjectRef> = routers.iter().flat_map(|router| router.reads()).collect();
    let mut found = Found::default();
    for object in wanted {
        let key = Key::new(object.namespace.clone(), object.name.clone());
        looked_at.insert(ObjectId::new(object.group(), &object.plural, key.clone()));
        let seen = match ctx.cache.route(&api_resource(&object), &key).await {
            Seen::Found(value) => {
                let mut value = super::to_value(&value);
                if let Some(map) = value.as_object_mut() {
                    // Items of lists of built-in kinds come without.
                    map.insert("apiVersion".into(), object.api_version.clone().into());
                    map.insert("kind".into(), object.kind.clone().into());
                }
                Seen::Found(value)
            }
            Seen::Absent => Seen::Absent,
            Seen::Unread(error) => Seen::Unread(error),
        };
        found.0.insert(object, seen);
    }
    found
}
