//! From flags and kubeconfig to a client and a namespace (CLI-2).

use anyhow::{Context as _, Result, anyhow};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use sluice_crds::duration::GoDuration;

use crate::args::Global;

/// A client, and the namespace that verbs act in.
#[derive(Clone)]
pub struct Session {
    /// The client.
    pub client: Client,
    /// `--namespace`, else that of the context, else `default`.
    pub namespace: String,
}

impl Session {
    /// Connects as the flags say. Nothing is sent yet.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read or names something that is not in it.
    pub async fn new(global: &Global) -> Result<Self> {
        let config = config(global).await?;
        let namespace = global
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).context("setting up the client")?;
        Ok(Self { client, namespace })
    }
}

async fn config(global: &Global) -> Result<Config> {
    let options = KubeConfigOptions {
        context: global.context.clone(),
        cluster: global.cluster.clone(),
        user: global.user.clone(),
    };
    let chosen =
        global.kubeconfig.is_some() || global.context.is_some() || global.cluster.is_some();
    let mut config = match &global.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| unusable(&error, global))?;
            Config::from_custom_kubeconfig(file, &options)
                .await
                .map_err(|error| unusable(&error, global))?
        }
        None => match Config::from_kubeconfig(&options).await {
            Ok(config) => config,
            // Inside a pod there is no kubeconfig; whoever named a context meant one.
            Err(error) if chosen => return Err(unusable(&error, global)),
            Err(error) => match &global.server {
                Some(server) => Config::new(server.parse().context("--server")?),
                None => Config::incluster().map_err(|_| unusable(&error, global))?,
            },
        },
    };
    if let Some(server) = &global.server {
        config.cluster_url = server.parse().context("--server")?;
    }
    if global.insecure_skip_tls_verify {
        config.accept_invalid_certs = true;
        config.root_cert = None;
    }
    if let Some(path) = &global.certificate_authority {
        let pem = std::fs::read(path)
            .with_context(|| format!("--certificate-authority {}", path.display()))?;
        config.root_cert = Some(certificates(&pem)?);
    }
    if let Some(name) = &global.tls_server_name {
        config.tls_server_name = Some(name.clone());
    }
    if global.disable_compression {
        config.disable_compression = true;
    }
    let auth = &mut config.auth_info;
    if let Some(token) = &global.token {
        *auth = kube::config::AuthInfo {
            token: Some(token.clone().into()),
            ..Default::default()
        };
    }
    if let Some(path) = &global.client_certificate {
        auth.client_certificate = Some(path.display().to_string());
        auth.client_certificate_data = None;
    }
    if let Some(path) = &global.client_key {
        auth.client_key = Some(path.display().to_string());
        auth.client_key_data = None;
    }
    if let Some(user) = &global.as_user {
        auth.impersonate = Some(user.clone());
    }
    if !global.as_group.is_empty() {
        auth.impersonate_groups = Some(global.as_group.clone());
    }
    if global.request_timeout != "0" {
        let time: GoDuration = global
            .request_timeout
            .parse()
            .context("--request-timeout")?;
        let time = std::time::Duration::try_from(time.signed()).context("--request-timeout")?;
        config.read_timeout = (!time.is_zero()).then_some(time);
    }
    Ok(config)
}

/// What is wrong with a kubeconfig, with which one, and what helps. The causes are in the errors' own
/// texts already, so they are not told as a chain.
fn unusable(error: &KubeconfigError, global: &Global) -> anyhow::Error {
    let place = match &global.kubeconfig {
        Some(path) => path.display().to_string(),
        None => std::env::var("KUBECONFIG")
            .ok()
            .filter(|files| !files.is_empty())
            .unwrap_or_else(|| "~/.kube/config".to_owned()),
    };
    match error {
        KubeconfigError::ReadConfig(cause, path) => anyhow!(
            "kubeconfig {} cannot be read: {cause}; name another with --kubeconfig or KUBECONFIG",
            path.display()
        ),
        KubeconfigError::Parse(cause) => {
            // Its excerpt of the file would take several lines.
            let text = cause.to_string();
            let first = text.lines().next().unwrap_or_default();
            let first = first.strip_prefix("error: ").unwrap_or(first);
            anyhow!(
                "kubeconfig {place} is not valid YAML: {first}; correct it, or name another \
                     with --kubeconfig or KUBECONFIG"
            )
        }
        KubeconfigError::CurrentContextNotSet => anyhow!(
            "kubeconfig {place} has no current context; choose one with --context, or with \
             kubectl config use-context"
        ),
        KubeconfigError::LoadContext(name) => anyhow!(
            "kubeconfig {place} has no context {name:?}; choose another with --context, or see \
             kubectl config get-contexts"
        ),
        other => anyhow!(
            "kubeconfig {place}: {other}; correct it, or name another with \
                          --kubeconfig or KUBECONFIG"
        ),
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::pem_slice_iter(pem)
        .map(|one| Ok(one.context("--certificate-authority")?.to_vec()))
        .collect()
}
