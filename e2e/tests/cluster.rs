//! `cargo xtask cluster up|status|down`, the library's side.
//!
//! Builds what is missing. `SLUICE_SKIP_CONTROLPLANE=1` leaves it out.

use std::process::Command;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use sluice_e2e::cluster::Cluster;
use sluice_e2e::controlplane::left_out;
use sluice_e2e::toolchain::Cache;

const DIR: &str = "SLUICE_TEST_CLUSTER_DIR";
const CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.test.sluice.dev}
spec:
  group: test.sluice.dev
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
";

/// The process in the background: this binary, started by the test below.
#[tokio::test]
#[ignore = "a helper of the other test"]
async fn serve() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    Cluster::at(dir, Cache::from_env().unwrap())
        .serve()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_cluster_stays_up_until_taken_down() {
    if left_out() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cluster");
    let cluster = Cluster::at(&dir, Cache::from_env().unwrap());
    let serve = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["serve", "--exact", "--ignored", "--nocapture"])
            .env(DIR, &dir);
        command
    };
    assert_eq!(cluster.status().unwrap(), None);
    assert!(!cluster.down().await.unwrap(), "there is none");

    let running = cluster.up(serve(), CRD).await.unwrap();
    assert!(
        running
            .to_string()
            .contains(running.kubeconfig.to_str().unwrap())
    );
    assert_eq!(cluster.status().unwrap().as_ref(), Some(&running));
    let nodes = Api::<Node>::all(running.client().await.unwrap());
    nodes.get("sluice-node").await.unwrap();
    let crds = Api::<CustomResourceDefinition>::all(running.client().await.unwrap());
    crds.get("widgets.test.sluice.dev").await.unwrap();
    let again = cluster.up(serve(), CRD).await.unwrap();
    assert_eq!(again, running, "the same one");

    assert!(cluster.down().await.unwrap());
    assert_eq!(cluster.status().unwrap(), None);
    assert!(
        crds.get("widgets.test.sluice.dev").await.is_err(),
        "nobody serves"
    );
    assert!(!dir.exists());
}

#[tokio::test]
async fn a_cluster_that_does_not_start_says_why() {
    if left_out() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let cluster = Cluster::at(temp.path().join("cluster"), Cache::from_env().unwrap());
    let mut broken = Command::new("sh");
    broken.args(["-c", "echo no space left; exit 1"]);
    let error = cluster.up(broken, CRD).await.unwrap_err().to_string();
    assert!(error.ends_with("no space left"), "{error}");
}
