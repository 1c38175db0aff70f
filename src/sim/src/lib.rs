//! A Kubernetes API in memory, with workload controllers, a kubelet, traffic and faults.
//!
//! [`Cluster`] is the whole API server and control plane as one state machine; requests reach
//! it through [`Cluster::client`] (a `kube::Client` without a network) or [`Cluster::listen`]
//! (plain HTTP for kubectl). Time comes from a [`Clock`], names and dice from a seed.
//!
//! ```no_run
//! # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
//! use sluice_sim::{Cluster, ClusterOptions, Kubelet, KubeletOptions};
//!
//! let cluster = Cluster::new(ClusterOptions::default());
//! let control = cluster.start(); // ReplicaSets, Deployments, Jobs, endpoints, garbage
//! let kubelet = Kubelet::new(cluster.client_as("kubelet"), KubeletOptions::default()).start();
//! let client = cluster.client(); // any kube::Api works over it
//! # drop((control, kubelet, client));
//! # Ok(())
//! # }
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`cluster`] | the handle, background tasks, direct access to objects |
//! | [`service`] | requests to answers, watches, the listener |
//! | [`faults`] | latency, refusals, lost answers, cut watches, crash points |
//! | [`kubelet`] | a node over any client |
//! | [`listen`] | sockets, kubeconfig |
//! | [`traffic`] | where requests go, and where they are lost |
//! | [`metrics`] | synthetic answers of Prometheus |
//!
//! # What it leaves out
//!
//! * Built-in kinds have no full schema: unknown fields of a Pod are kept, where a real API
//!   server drops them. Only what controllers and kubectl meet is validated and defaulted.
//! * No authentication, no authorization (reviews answer "allowed"), no admission webhooks, no
//!   quotas, no conversion webhooks; versions of a kind differ in `apiVersion` only.
//! * JSON and YAML bodies, not protobuf (which `kubectl create namespace` sends).
//! * The controllers write no Events. Jobs neither index their pods nor obey pod failure or
//!   success policies; StatefulSets, DaemonSets, CronJobs and HorizontalPodAutoscalers are stored
//!   and nothing more.
//! * Owners of fields are kept from the first server-side apply of an object on.

pub mod clock;
pub mod cluster;
pub mod error;
pub mod faults;
pub mod ids;
pub mod kubelet;
pub mod listen;
pub mod metrics;
pub mod request;
pub mod selector;
pub mod service;
pub mod traffic;

mod builtin;
mod crd;
mod json;
mod kinds;
mod object;
mod patch;
mod schema;
mod state;
mod store;
mod table;
mod workload;

pub use clock::Clock;
pub use cluster::{Cluster, ClusterOptions, ControlPlane};
pub use error::ApiError;
pub use faults::{Effect, Faults, Rule, When};
pub use kubelet::{Behaviour, Fate, Kubelet, KubeletOptions, PodRule};
pub use listen::{Listener, kubeconfig};
pub use metrics::{MetricFault, Metrics, Variable};
pub use request::Verb;
pub use service::{LogEntry, RequestLog};
pub use traffic::{Flow, Outage, Shares, Traffic};
