//! The API through `kube::Client`, and pods that come up and go.

mod common;

use common::{deployable, until};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use sluice_sim::{Cluster, ClusterOptions, Kubelet, KubeletOptions};

#[tokio::test(start_paused = true)]
async fn objects_are_created_read_changed_and_deleted() {
    let cluster = Cluster::new(ClusterOptions::default());
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client());
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some("a".into()),
            ..Default::default()
        },
        data: Some([("k".to_owned(), "v".to_owned())].into()),
        ..Default::default()
    };
    let made = maps.create(&PostParams::default(), &map).await.unwrap();
    assert!(made.metadata.uid.is_some() && made.metadata.creation_timestamp.is_some());
    let patch = Patch::Merge(json!({"data": {"k": null, "l": "w"}}));
    let patched = maps
        .patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(
        patched.data,
        Some([("l".to_owned(), "w".to_owned())].into())
    );
    let stale = maps
        .replace("a", &PostParams::default(), &made)
        .await
        .unwrap_err();
    assert!(matches!(stale, kube::Error::Api(s) if s.is_conflict()));
    assert_eq!(
        maps.list(&ListParams::default()).await.unwrap().items.len(),
        1
    );
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn replica_sets_run_pods() {
    let cluster = Cluster::new(ClusterOptions::default());
    let _control = cluster.start();
    let options = KubeletOptions {
        clock: cluster.clock().clone(),
        ..Default::default()
    };
    let _kubelet = Kubelet::new(cluster.client_as("kubelet"), options).start();
    let sets: Api<ReplicaSet> = Api::default_namespaced(cluster.client());
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    let set = deployable("ReplicaSet", "web", 3);
    sets.create(
        &PostParams::default(),
        &serde_json::from_value(set).unwrap(),
    )
    .await
    .unwrap();
    let status = async || sets.get("web").await.unwrap().status.unwrap();
    until(async || status().await.available_replicas == Some(3)).await;
    let list = pods
        .list(&ListParams::default().labels("app=web"))
        .await
        .unwrap();
    assert!(list.iter().all(|p| {
        let ip = p
            .status
            .as_ref()
            .and_then(|s| s.pod_ip.clone())
            .unwrap_or_default();
        ip.starts_with("10.200.")
    }));

    let scale = Patch::Merge(json!({"spec": {"replicas": 1}}));
    sets.patch_scale("web", &PatchParams::default(), &scale)
        .await
        .unwrap();
    until(async || status().await.replicas == 1).await;
    until(async || pods.list(&ListParams::default()).await.unwrap().items.len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn watchers_follow() {
    use futures::StreamExt;
    let cluster = Cluster::new(ClusterOptions::default());
    for mode in [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ] {
        let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client());
        let mut events = watcher(maps.clone(), mode).applied_objects().boxed();
        let map = ConfigMap {
            metadata: ObjectMeta {
                generate_name: Some("m-".into()),
                ..Default::default()
            },
            ..Default::default()
        };
        let made = maps.create(&PostParams::default(), &map).await.unwrap();
        loop {
            let seen = events.next().await.unwrap().unwrap();
            if seen.metadata.uid == made.metadata.uid {
                break;
            }
        }
    }
}
