//! From flags and kubeconfig to a client and a namespace (CLI-2).

use anyhow::{Context as _, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
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
            let file = Kubeconfig::read_from(path)
                .with_context(|| format!("reading the kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(file, &options)
                .await
                .context("kubeconfig")?
        }
        None => match Config::from_kubeconfig(&options).await {
            Ok(config) => config,
            // Inside a pod there is no kubeconfig; whoever named a context meant one.
            Err(error) if chosen => return Err(error).context("kubeconfig"),
            Err(error) => match &global.server {
                Some(server) => Config::new(server.parse().context("--server")?),
                None => Config::incluster()
                    .map_err(|_| error)
                    .context("kubeconfig")?,
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

fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::pem_slice_iter(pem)
        .map(|one| Ok(one.context("--certificate-authority")?.to_vec()))
        .collect()
}
