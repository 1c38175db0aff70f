//! Where Jobs run (ANA-62).

use std::sync::Arc;

use kube::api::DynamicObject;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// `in-cluster`, or the path of a kubeconfig: Jobs run there instead.
pub const KUBECONFIG_ENV: &str = "ARGO_ROLLOUTS_ANALYSIS_JOB_KUBECONFIG";
/// Namespace of all Jobs; default is that of the run.
pub const NAMESPACE_ENV: &str = "ARGO_ROLLOUTS_ANALYSIS_JOB_NAMESPACE";

/// What a watch knows of a Job, by namespace and name.
pub type JobCache = Arc<dyn Fn(&str, &str) -> Option<DynamicObject> + Send + Sync>;

/// The cluster and namespace of Jobs.
pub struct JobCluster {
    pub(super) client: Client,
    /// Instead of the run's.
    pub(super) namespace: Option<String>,
    /// Reached by a kubeconfig of its own, so that a run of ours cannot own anything there.
    pub(super) foreign: bool,
    cache: Option<JobCache>,
}

impl JobCluster {
    /// Jobs run where `client` leads, in `namespace` or else beside their run.
    #[must_use]
    pub fn new(client: Client, namespace: Option<String>) -> Self {
        Self {
            client,
            namespace,
            foreign: false,
            cache: None,
        }
    }

    /// Jobs run where [`KUBECONFIG_ENV`] and [`NAMESPACE_ENV`] say, else where `client` leads.
    ///
    /// # Errors
    /// When the named kubeconfig cannot be used.
    pub async fn from_env(client: Client) -> Result<Self, String> {
        let var = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let namespace = var(NAMESPACE_ENV);
        let Some(kubeconfig) = var(KUBECONFIG_ENV) else {
            return Ok(Self::new(client, namespace));
        };
        let failed = |e: &dyn std::fmt::Display| format!("{KUBECONFIG_ENV}={kubeconfig}: {e}");
        let config = if kubeconfig == "in-cluster" {
            Config::incluster().map_err(|e| failed(&e))?
        } else {
            let file = Kubeconfig::read_from(&kubeconfig).map_err(|e| failed(&e))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .map_err(|e| failed(&e))?
        };
        let client = Client::try_from(config).map_err(|e| failed(&e))?;
        Ok(Self {
            client,
            namespace,
            foreign: true,
            cache: None,
        })
    }

    /// Looks at `cache` before asking the API.
    #[must_use]
    pub fn with_cache(mut self, cache: JobCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// The client that leads there, for watching.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The namespace of all Jobs, where there is one.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    pub(super) fn cached(&self, namespace: &str, name: &str) -> Option<DynamicObject> {
        self.cache.as_ref()?(namespace, name)
    }
}
