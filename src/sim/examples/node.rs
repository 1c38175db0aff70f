//! The kubelet on a real control plane: plays the pods of the cluster of the current kubeconfig.
//! `KUBECONFIG=... cargo run -p sluice-sim --example node`.

use sluice_sim::{Kubelet, KubeletOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = kube::Client::try_default().await?;
    let options = KubeletOptions {
        run_commands: true,
        ..Default::default()
    };
    Kubelet::new(client, options)
        .run(std::future::pending())
        .await;
    Ok(())
}
