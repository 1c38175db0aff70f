//! A synthetic Prometheus that knows how a Rollout stands.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use sluice_sim::{Clock, Listener, MetricFault, Metrics, Variable};
use tokio::task::JoinHandle;

use super::format::MetricsFault;
use super::state::rollouts;

/// It answers until it is dropped.
pub struct Prometheus {
    metrics: Metrics,
    url: String,
    task: JoinHandle<()>,
    _listener: Listener,
}

impl Prometheus {
    /// Answers metrics by formulas over `weight`, the canary's share of the namespace's first
    /// Rollout in parts of 100.
    ///
    /// # Errors
    /// When a formula cannot be read, or no port is left.
    pub async fn start(
        formulas: &BTreeMap<String, String>,
        client: Client,
        namespace: &str,
    ) -> Result<Self> {
        let weight = Arc::new(Mutex::new(0.0));
        let read = Arc::clone(&weight);
        let variables = move |_| {
            let weight = *read.lock().unwrap_or_else(PoisonError::into_inner);
            BTreeMap::from([("weight".to_owned(), Variable::Number(weight))])
        };
        let metrics = Metrics::new(Clock::tokio(), Arc::new(variables));
        for (name, formula) in formulas {
            metrics.set(name, formula)?;
        }
        let listener = metrics
            .listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .await
            .context("a port for Prometheus")?;
        let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &rollouts());
        let task = tokio::spawn(async move {
            loop {
                if let Ok(list) = api.list(&ListParams::default()).await
                    && let Some(first) = list.items.first()
                {
                    let at = "/status/canary/weights/canary/weight";
                    let now = first.data.pointer(at).and_then(serde_json::Value::as_f64);
                    *weight.lock().unwrap_or_else(PoisonError::into_inner) = now.unwrap_or(0.0);
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Ok(Self {
            url: listener.url(),
            metrics,
            task,
            _listener: listener,
        })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it does instead of answering; `None`: it answers.
    pub fn fault(&self, fault: Option<MetricsFault>) {
        self.metrics.fault(fault.map(|fault| match fault {
            MetricsFault::Nan => MetricFault::NotANumber,
            MetricsFault::Empty => MetricFault::Empty,
            MetricsFault::Error => MetricFault::Status(500),
            MetricsFault::Hang => MetricFault::Hang,
        }));
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.task.abort();
    }
}
