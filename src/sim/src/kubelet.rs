//! A node over any client: in memory the node of the simulated cluster, on a real control
//! plane the only one.
//!
//! It registers a Node, binds pods that have none, and plays their lives: image pull, start,
//! readiness, crash loops, exit, termination. How a pod behaves is decided by, in this order:
//! annotations `sim.sluice.dev/...` on the pod, the callback, the first matching rule, the
//! default. One task per pod; times are tokio's.

mod behaviour;
mod pod;
mod timeline;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams,
};
use kube::runtime::watcher::{self, Event};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Duration;

pub use self::behaviour::{Behaviour, Fate, PodRule};

use crate::clock::{Clock, stamp};
use crate::json::text;

/// A function that may decide how a pod behaves; it gets the pod as JSON.
pub type Script = Arc<dyn Fn(&Value) -> Option<Behaviour> + Send + Sync>;

/// How a kubelet works.
#[derive(Clone)]
pub struct KubeletOptions {
    /// Name of the node.
    pub node: String,
    /// The first two bytes of pod addresses.
    pub network: (u8, u8),
    /// Tried in order; the first that matches decides.
    pub rules: Vec<PodRule>,
    /// Asked before the rules.
    pub script: Option<Script>,
    /// For pods that nothing else decides about.
    pub default: Behaviour,
    /// Really runs the commands of pods that end (`restartPolicy` not Always).
    pub run_commands: bool,
    /// The clock of transition times; that of the cluster, where it is simulated.
    pub clock: Clock,
}

impl Default for KubeletOptions {
    fn default() -> Self {
        Self {
            node: "sluice-node".to_owned(),
            network: (10, 200),
            rules: Vec::new(),
            script: None,
            default: Behaviour::default(),
            run_commands: false,
            clock: Clock::tokio(),
        }
    }
}

impl std::fmt::Debug for KubeletOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KubeletOptions")
            .field("node", &self.node)
            .field("rules", &self.rules)
            .field("default", &self.default)
            .finish_non_exhaustive()
    }
}

impl KubeletOptions {
    /// How a pod behaves.
    fn behaviour(&self, pod: &Value) -> Behaviour {
        let chosen = self
            .script
            .as_ref()
            .and_then(|script| script(pod))
            .or_else(|| {
                self.rules
                    .iter()
                    .find(|r| r.matches(pod))
                    .map(|r| r.behaviour.clone())
            })
            .unwrap_or_else(|| self.default.clone());
        chosen.with_pod(pod)
    }
}

/// What the tasks of all pods share.
struct Shared {
    client: kube::Client,
    options: Mutex<KubeletOptions>,
    addresses: AtomicU32,
}

impl Shared {
    fn options(&self) -> KubeletOptions {
        self.options
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The next pod address.
    fn next_address(&self) -> String {
        let n = self.addresses.fetch_add(1, Ordering::Relaxed) + 1;
        let (a, b) = self.options().network;
        format!("{a}.{b}.{}.{}", (n / 254) % 256, n % 254 + 1)
    }

    /// Keeps addresses of earlier pods from being given out again.
    fn used_address(&self, address: &str) {
        let mut parts = address
            .split('.')
            .skip(2)
            .map(|p| p.parse::<u32>().unwrap_or(0));
        if let (Some(c), Some(d)) = (parts.next(), parts.next()) {
            self.addresses
                .fetch_max(c * 254 + d.saturating_sub(1), Ordering::Relaxed);
        }
    }
}

/// A node that plays pods.
#[derive(Clone)]
pub struct Kubelet(Arc<Shared>);

impl std::fmt::Debug for Kubelet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kubelet").field(&self.0.options()).finish()
    }
}

/// A kubelet in the background; it stops when this is dropped.
#[derive(Debug)]
pub struct RunningKubelet {
    kubelet: Kubelet,
    task: JoinHandle<()>,
}

impl RunningKubelet {
    /// The kubelet, to change its rules.
    pub fn kubelet(&self) -> &Kubelet {
        &self.kubelet
    }
}

impl Drop for RunningKubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A core/v1 kind.
fn core(kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", kind), plural)
}

/// One pod's task.
struct Life {
    latest: watch::Sender<Arc<Value>>,
    task: tokio::task::AbortHandle,
}

impl Kubelet {
    /// A kubelet over a client.
    pub fn new(client: kube::Client, options: KubeletOptions) -> Self {
        let addresses = AtomicU32::new(0);
        Self(Arc::new(Shared {
            client,
            options: Mutex::new(options),
            addresses,
        }))
    }

    /// Changes rules, default and script; pods that start from now on follow them.
    pub fn change(&self, edit: impl FnOnce(&mut KubeletOptions)) {
        edit(
            &mut self
                .0
                .options
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Runs in the background.
    pub fn start(self) -> RunningKubelet {
        let kubelet = self.clone();
        let task = tokio::spawn(async move { self.run(std::future::pending()).await });
        RunningKubelet { kubelet, task }
    }

    /// Runs until `shutdown` is done. Errors of the API are retried.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let shared = self.0;
        register(&shared).await;
        let pods: Api<DynamicObject> = Api::all_with(shared.client.clone(), &core("Pod", "pods"));
        let mut events = watcher::watcher(pods, watcher::Config::default()).boxed();
        let mut lives: HashMap<String, Life> = HashMap::new();
        let mut tasks = JoinSet::new();
        let mut listed: Vec<String> = Vec::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let event = tokio::select! {
                () = &mut shutdown => return,
                event = events.next() => event,
                Some(_) = tasks.join_next() => continue,
            };
            match event {
                None => return,
                Some(Err(error)) => {
                    tracing::debug!(%error, "watching pods");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                Some(Ok(Event::Init)) => listed.clear(),
                Some(Ok(Event::InitApply(pod))) => {
                    listed.push(pod.metadata.uid.clone().unwrap_or_default());
                    follow(&shared, &mut lives, &mut tasks, &pod);
                }
                Some(Ok(Event::InitDone)) => lives.retain(|uid, life| {
                    let there = listed.contains(uid);
                    if !there {
                        life.task.abort();
                    }
                    there
                }),
                Some(Ok(Event::Apply(pod))) => follow(&shared, &mut lives, &mut tasks, &pod),
                Some(Ok(Event::Delete(pod))) => {
                    let uid = pod.metadata.uid.unwrap_or_default();
                    if let Some(life) = lives.remove(&uid) {
                        life.task.abort();
                    }
                }
            }
        }
    }
}

/// Hands the latest version of a pod to its task; starts one for a pod of this node.
fn follow(
    shared: &Arc<Shared>,
    lives: &mut HashMap<String, Life>,
    tasks: &mut JoinSet<()>,
    pod: &DynamicObject,
) {
    let Ok(value) = serde_json::to_value(pod) else {
        return;
    };
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let node = text(&value, &["spec", "nodeName"]);
    if !node.is_empty() && node != shared.options().node {
        return;
    }
    shared.used_address(text(&value, &["status", "podIP"]));
    let value = Arc::new(value);
    match lives.get(&uid) {
        Some(life) => drop(life.latest.send_replace(value)),
        None => {
            let (latest, receiver) = watch::channel(value);
            let task = tasks.spawn(pod::live(shared.clone(), receiver));
            lives.insert(uid, Life { latest, task });
        }
    }
}

/// Makes the Node, ready for pods.
async fn register(shared: &Shared) {
    let nodes: Api<DynamicObject> = Api::all_with(shared.client.clone(), &core("Node", "nodes"));
    let options = shared.options();
    let name = options.node.clone();
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
    });
    let now = stamp(options.clock.now());
    let status = json!({"status": {
        "capacity": {"cpu": "64", "memory": "256Gi", "pods": "100000"},
        "allocatable": {"cpu": "64", "memory": "256Gi", "pods": "100000"},
        "nodeInfo": {
            "kubeletVersion": "v1.36.3", "architecture": "amd64", "operatingSystem": "linux",
            "bootID": "", "containerRuntimeVersion": "sim://1", "kernelVersion": "",
            "kubeProxyVersion": "", "machineID": "", "osImage": "", "systemUUID": "",
        },
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady",
            "message": "kubelet is posting ready status",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        }],
    }});
    loop {
        let made = match serde_json::from_value(node.clone()) {
            Ok(node) => nodes.create(&PostParams::default(), &node).await.map(drop),
            Err(_) => return,
        };
        let known = match made {
            Ok(()) => true,
            Err(kube::Error::Api(status)) if status.code == 409 => true,
            Err(error) => {
                tracing::debug!(%error, "registering the node");
                false
            }
        };
        if known {
            let patch = Patch::Merge(&status);
            match nodes
                .patch_status(&name, &PatchParams::default(), &patch)
                .await
            {
                Ok(_) => return,
                Err(error) => tracing::debug!(%error, "readying the node"),
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
