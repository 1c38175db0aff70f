//! The one node of a real control plane: `sluice-sim`'s kubelet over our client.
//!
//! There is no scheduler: it binds every pod to itself. Its pods have addresses of 10.200.0.0/16;
//! inside a namespace ([`crate::netns`]) [`crate::pods::follow`] makes them answer.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node as KubeNode;
use kube::{Api, Client};
use sluice_sim::kubelet::{Kubelet, KubeletOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Registering takes two requests.
const READY: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// The node did not become ready.
#[derive(Debug, thiserror::Error)]
#[error("the node {name} was not ready within {} s: {last}", READY.as_secs())]
pub struct NotReady {
    name: String,
    last: String,
}

/// A running node. Dropping it leaves its pods as they are.
#[derive(Debug)]
pub struct Node {
    kubelet: Kubelet,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Node {
    /// Starts the kubelet and waits until its Node object is ready.
    ///
    /// # Errors
    /// [`NotReady`] with what was last seen of it.
    pub async fn start(client: Client, options: KubeletOptions) -> Result<Self, NotReady> {
        let name = options.node.clone();
        let nodes = Api::<KubeNode>::all(client.clone());
        let (kubelet, cancel) = (Kubelet::new(client, options), CancellationToken::new());
        let task = tokio::spawn(kubelet.clone().run(cancel.clone().cancelled_owned()));
        let node = Self {
            kubelet,
            cancel,
            task,
        };
        let deadline = Instant::now() + READY;
        loop {
            let last = match nodes.get_opt(&name).await {
                Ok(Some(found)) if is_ready(&found) => return Ok(node),
                Ok(found) => format!("{:?}", found.and_then(|node| node.status)),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                return Err(NotReady { name, last });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The kubelet, to change how pods behave.
    pub fn kubelet(&self) -> &Kubelet {
        &self.kubelet
    }

    /// Ends the kubelet and waits for it.
    pub async fn stop(mut self) {
        self.cancel.cancel();
        // It ends by cancellation only; a panic of its was reported where it happened.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_ready(node: &KubeNode) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref());
    conditions
        .unwrap_or_default()
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
