//! Serves an empty simulated cluster with a node on a port of 127.0.0.1, for kubectl:
//! `cargo run -p sluice-sim --example serve -- 8001 >kubeconfig`.
#![allow(clippy::print_stdout, reason = "prints the kubeconfig")]

use sluice_sim::{Cluster, ClusterOptions, Kubelet, KubeletOptions, kubeconfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "0".to_owned())
        .parse()?;
    let cluster = Cluster::new(ClusterOptions::default());
    let _control = cluster.start();
    let options = KubeletOptions {
        clock: cluster.clock().clone(),
        ..Default::default()
    };
    let _kubelet = Kubelet::new(cluster.client_as("kubelet"), options).start();
    let listener = cluster.listen(([127, 0, 0, 1], port).into()).await?;
    println!("{}", kubeconfig(listener.address()));
    std::future::pending::<()>().await;
    Ok(())
}
