//! Brings the routers of a Rollout to the wanted state (TRF-2..4).

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::core::TypeMeta;
use sluice_core::event::Event;
use sluice_core::traffic::Want;
use sluice_trafficrouters::{RouteWrite, WriteKind, routers_for};

use super::{Change, FailedWrite, Key, Pass, Stop, is_status, words};
use crate::observe::{api_resource, read_routes};

impl Pass<'_> {
    pub(super) async fn route(&mut self, want: &Want) -> Result<(), Stop> {
        let rollout = self.seen.rollout.clone();
        let routers = match routers_for(&rollout, &self.ctx.routers) {
            Ok(routers) => routers,
            Err(error) => {
                self.record(&error.events());
                return Err(Stop::failed(
                    FailedWrite::Route,
                    self.key.name(),
                    error.to_string(),
                ));
            }
        };
        for router in routers {
            // Anew for each: an earlier router's writes are in the cache.
            let found =
                read_routes(self.ctx, &rollout, &mut std::collections::BTreeSet::new()).await;
            match router.render(want, &found) {
                Ok(writes) => self.route_writes(&writes).await?,
                Err(error) => {
                    self.route_writes(error.writes()).await?;
                    self.record(&error.events());
                    let object = error.object().map_or(router.name(), |object| &object.name);
                    return Err(Stop::failed(FailedWrite::Route, object, error.to_string()));
                }
            }
        }
        self.ctx.memories.change(&self.key, |memory| {
            memory.routed = Some(Box::new(want.clone()))
        });
        Ok(())
    }

    async fn route_writes(&mut self, writes: &[RouteWrite]) -> Result<(), Stop> {
        for write in writes {
            self.record(&write.before);
            match self.route_write(write).await {
                Ok(()) => self.record(&write.after),
                Err(error) => return Err(self.route_failed(write, &error).await),
            }
        }
        Ok(())
    }

    async fn route_write(&mut self, write: &RouteWrite) -> kube::Result<()> {
        let object = &write.object;
        let kind = api_resource(object);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.ctx.client.clone(), &object.namespace, &kind);
        let body = write.kind.body();
        let written = match &write.kind {
            WriteKind::Create(_) => api.create(&PostParams::default(), &decode(body)?).await?,
            WriteKind::Replace(_) => {
                api.replace(&object.name, &PostParams::default(), &decode(body)?)
                    .await?
            }
            WriteKind::Patch { .. } => {
                api.patch(&object.name, &PatchParams::default(), &Patch::Merge(&body))
                    .await?
            }
            WriteKind::Delete { guard } => {
                let preconditions = (!guard.is_empty()).then(|| Preconditions {
                    uid: None,
                    resource_version: Some(guard.clone()),
                });
                let options = DeleteParams {
                    preconditions,
                    ..DeleteParams::background()
                };
                api.delete(&object.name, &options).await?;
                self.wrote = true;
                if let Some(store) = self
                    .ctx
                    .cache
                    .route_store(&object.api_version, &object.plural)
                {
                    store.observe_delete(&Key::new(object.namespace.clone(), object.name.clone()));
                }
                return Ok(());
            }
        };
        self.wrote = true;
        self.saw_route(write, written);
        Ok(())
    }

    fn saw_route(&self, write: &RouteWrite, mut written: DynamicObject) {
        let object = &write.object;
        written.types = Some(TypeMeta {
            api_version: object.api_version.clone(),
            kind: object.kind.clone(),
        });
        if let Some(store) = self
            .ctx
            .cache
            .route_store(&object.api_version, &object.plural)
        {
            let now = store.observe_write(written);
            let change = Change::Applied { before: None, now };
            self.ctx
                .hub
                .route_changed(object.group(), &object.plural, &change, self.actor());
        }
    }

    async fn route_failed(&self, write: &RouteWrite, error: &kube::Error) -> Stop {
        let object = &write.object;
        let stop = Stop::from_error(FailedWrite::Route, &object.name, error);
        let key = Key::new(object.namespace.clone(), object.name.clone());
        let store = self
            .ctx
            .cache
            .route_store(&object.api_version, &object.plural);
        if stop == Stop::Conflict || is_status(error, 404) {
            // The next pass needs the version that won.
            let api: Api<DynamicObject> = Api::namespaced_with(
                self.ctx.client.clone(),
                &object.namespace,
                &api_resource(object),
            );
            match (api.get_opt(&object.name).await, store) {
                (Ok(Some(found)), _) => self.saw_route(write, found),
                (Ok(None), Some(store)) => drop(store.observe_delete(&key)),
                (Ok(None), None) => {}
                (Err(error), _) => tracing::debug!(%error, "cannot read a route after a conflict"),
            }
            return Stop::Conflict;
        }
        if matches!(stop, Stop::Failed { .. }) {
            let text = words(error);
            let own = write.failure.as_ref().map(|failure| failure.event(&text));
            let events: Vec<Event> = own
                .into_iter()
                .chain([Event::warning("TrafficRoutingError", text)])
                .collect();
            self.record(&events);
        }
        stop
    }
}

fn decode(body: serde_json::Value) -> kube::Result<DynamicObject> {
    serde_json::from_value(body).map_err(kube::Error::SerdeError)
}
