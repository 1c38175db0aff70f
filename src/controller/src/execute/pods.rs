//! Pods: ephemeral metadata and restarts.

use std::collections::BTreeMap;

use kube::api::{Api, ApiResource, DynamicObject, EvictParams, PostParams};

use super::{Action, FailedWrite, Pass, Planned, Stop, StreamExt, is_fenced, is_status};
use crate::cache::Pod;

impl Pass<'_> {
    fn pod_api(&self) -> Api<DynamicObject> {
        let kind = ApiResource::erase::<Pod>(&());
        Api::namespaced_with(self.ctx.client.clone(), self.key.namespace(), &kind)
    }

    /// Changes labels and annotations of several pods side by side. The ClusterRole grants `update`
    /// on pods and not `patch`, so each is sent as a whole, as it was listed (CTL-148).
    pub(super) async fn pods(&mut self, actions: &[Planned]) -> Result<(), Stop> {
        let api = self.pod_api();
        let writes = actions.iter().filter_map(|planned| match &planned.action {
            Action::PatchPod {
                name,
                labels,
                annotations,
            } => {
                let mut pod = self.raw.pods.get(name)?.clone();
                let metadata = &mut pod.metadata;
                change(metadata.labels.get_or_insert_default(), labels);
                change(metadata.annotations.get_or_insert_default(), annotations);
                Some((name.clone(), pod))
            }
            _ => None,
        });
        let answers: Vec<_> = futures::stream::iter(writes.collect::<Vec<_>>())
            .map(|(name, pod)| {
                let api = api.clone();
                async move {
                    let answer = api.replace(&name, &PostParams::default(), &pod).await;
                    (name, answer)
                }
            })
            .buffer_unordered(self.ctx.pod_writes.max(1))
            .collect()
            .await;
        let mut stop = None;
        for (name, answer) in answers {
            match answer {
                Ok(_) => self.wrote = true,
                // It is gone, and what replaces it gets its metadata from the template.
                Err(error) if is_status(&error, 404) => {}
                Err(error) => stop = Some(Stop::from_error(FailedWrite::Other, &name, &error)),
            }
        }
        stop.map_or(Ok(()), Err)
    }

    pub(super) async fn evict(&mut self, name: &str) -> Result<(), Stop> {
        let api: Api<k8s_openapi::api::core::v1::Pod> = self.api();
        match api.evict(name, &EvictParams::default()).await {
            Ok(_) => {
                self.wrote = true;
                Ok(())
            }
            Err(error) if is_fenced(&error) => Err(Stop::Fenced),
            // A disruption budget says "not now"; or it is gone already.
            Err(error) if is_status(&error, 429) || is_status(&error, 404) => Ok(()),
            Err(error) => Err(Stop::from_error(FailedWrite::Other, name, &error)),
        }
    }
}

fn change(map: &mut BTreeMap<String, String>, wanted: &BTreeMap<String, Option<String>>) {
    for (key, value) in wanted {
        match value {
            Some(value) => drop(map.insert(key.clone(), value.clone())),
            None => drop(map.remove(key)),
        }
    }
}
