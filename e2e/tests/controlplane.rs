//! The control plane that all tests of the third ring stand on.
//!
//! Builds what is missing. `SLUICE_SKIP_CONTROLPLANE=1` leaves it out.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ListParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, ResourceExt};
use sluice_e2e::controlplane::{ControlPlane, Options, User, left_out};
use sluice_e2e::process::ProcessId;
use sluice_e2e::toolchain::{self, Cache};

const OBJECTS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.test.sluice.dev}
spec:
  group: test.sluice.dev
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
- {apiVersion: test.sluice.dev/v1, kind: Widget, metadata: {name: w, namespace: shop}, size: 3}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: shop}
rules: [{apiGroups: [''], resources: [configmaps], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: robot, namespace: shop}]
";

#[tokio::test]
async fn a_real_control_plane_serves_counts_and_ends() {
    if left_out() {
        return;
    }
    let options = Options {
        audit: true,
        users: vec![User::named("jane")],
        ..Options::default()
    };
    let plane = ControlPlane::start(options).await.unwrap();
    let client = plane.client().unwrap();
    let version = client.apiserver_version().await.unwrap();
    assert_eq!(version.git_version, toolchain::KUBERNETES_VERSION);

    // Objects of kinds new and old, and controllers that act on them.
    let applied = plane.apply_yaml(OBJECTS).await.unwrap();
    let names: Vec<String> = applied.iter().map(ResourceExt::name_any).collect();
    assert_eq!(
        names,
        [
            "widgets.test.sluice.dev",
            "shop",
            "w",
            "web",
            "reader",
            "reader"
        ]
    );
    let deployments = Api::<Deployment>::default_namespaced(client.clone());
    let pods = Api::<Pod>::default_namespaced(client.clone());
    while pods
        .list(&ListParams::default().labels("app=web"))
        .await
        .unwrap()
        .items
        .len()
        < 2
    {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        deployments.get("web").await.unwrap().spec.unwrap().replicas,
        Some(2)
    );
    let sets = Api::<ReplicaSet>::default_namespaced(client.clone());
    assert_eq!(
        sets.list(&ListParams::default()).await.unwrap().items.len(),
        1
    );

    // CRDs of other projects are read where Go keeps them.
    let cache = Cache::from_env().unwrap();
    let crds = tokio::task::spawn_blocking(move || {
        [
            toolchain::istio_crds(&cache).unwrap(),
            toolchain::gateway_api_crds(&cache).unwrap(),
        ]
    });
    for crds in crds.await.unwrap() {
        assert!(plane.apply_yaml(&crds).await.unwrap().len() > 5);
    }
    let routes: Vec<DynamicObject> = plane
        .apply_yaml(
            "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a}}",
        )
        .await
        .unwrap();
    assert_eq!(routes.len(), 1);

    // A ServiceAccount may do what its role says and no more.
    let robot = plane.service_account("shop", "robot").await.unwrap();
    let mark = plane.mark().unwrap();
    let maps = Api::<ConfigMap>::namespaced(robot.client().unwrap(), "shop");
    maps.list(&ListParams::default()).await.unwrap();
    maps.list(&ListParams::default()).await.unwrap();
    let refused = maps
        .create(&PostParams::default(), &ConfigMap::default())
        .await
        .unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 403));
    let jane = Api::<ConfigMap>::namespaced(plane.client_for("jane").unwrap(), "shop");
    assert!(
        jane.list(&ListParams::default()).await.is_err(),
        "jane is in no group"
    );
    assert!(plane.client_for("nobody").is_err());

    // And every request is on record, by the one who made it.
    let seen = plane.requests_since(mark).unwrap();
    expect_test::expect![[r#"
        2      list     configmaps                       200
        1      create   configmaps                       403
    "#]]
    .assert_eq(&seen.of_user(&robot.user).to_string());
    assert_eq!(seen.of_user("jane").count(|request| request.code == 403), 1);
    assert!(
        plane
            .requests()
            .unwrap()
            .count(|request| request.is_write())
            > 10
    );

    // The kubeconfig file is good for other programs.
    let kubeconfig = kube::config::Kubeconfig::read_from(plane.kubeconfig()).unwrap();
    assert_eq!(kubeconfig.current_context.as_deref(), Some("sluice"));

    let apiserver = ProcessId::of(plane.apiserver_pid()).unwrap();
    let dir = plane.dir().to_owned();
    plane.stop().await.unwrap();
    assert!(!apiserver.is_alive());
    assert!(!dir.exists());
}
