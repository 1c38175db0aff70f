//! The client flags of kubectl.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// How to reach the API server, in kubectl's words.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Client options")]
pub struct ClientArgs {
    /// Path of a kubeconfig file; else $KUBECONFIG, else the service account of the pod.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig to use.
    #[arg(long)]
    pub context: Option<String>,
    /// Cluster of the kubeconfig to use.
    #[arg(long)]
    pub cluster: Option<String>,
    /// User of the kubeconfig to use.
    #[arg(long)]
    pub user: Option<String>,
    /// Namespace.
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Address of the API server.
    #[arg(short, long)]
    pub server: Option<String>,
    /// Bearer token.
    #[arg(long)]
    pub token: Option<String>,
    /// User name for basic authentication.
    #[arg(long)]
    pub username: Option<String>,
    /// Password for basic authentication.
    #[arg(long)]
    pub password: Option<String>,
    /// User to act as.
    #[arg(long = "as")]
    pub impersonate: Option<String>,
    /// Groups to act as.
    #[arg(long = "as-group")]
    pub impersonate_groups: Vec<String>,
    /// UID to act as.
    #[arg(long = "as-uid")]
    pub impersonate_uid: Option<String>,
    /// Certificate file of the authority that signed the server's certificate.
    #[arg(long)]
    pub certificate_authority: Option<PathBuf>,
    /// Client certificate file.
    #[arg(long)]
    pub client_certificate: Option<String>,
    /// Client key file.
    #[arg(long)]
    pub client_key: Option<String>,
    /// Name to expect in the server's certificate.
    #[arg(long)]
    pub tls_server_name: Option<String>,
    /// Do not verify the server's certificate.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false,
          default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    pub insecure_skip_tls_verify: bool,
    /// Do not ask for compressed answers.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false,
          default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    pub disable_compression: bool,
    /// Proxy for requests.
    #[arg(long)]
    pub proxy_url: Option<String>,
    /// Time limit of a request, such as 30s; 0 for none of our own choosing.
    #[arg(long, default_value = "0", value_parser = request_timeout)]
    pub request_timeout: Duration,
}

/// The client flags do not lead to an API server.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A kubeconfig file.
    #[error("reading the kubeconfig")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// Neither kubeconfig nor service account.
    #[error("finding a kubeconfig or a service account")]
    Infer(#[from] kube::config::InferConfigError),
    /// A URL.
    #[error("{flag}: {value:?} is not a URL")]
    Url {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
    },
    /// `--certificate-authority`.
    #[error("--certificate-authority: reading {}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

fn request_timeout(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => super::duration(text),
    }
}

impl ClientArgs {
    /// The client configuration: kubeconfig or service account, then the flags.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn config(&self) -> Result<Config, ClientError> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
        };
        let mut config = match &self.kubeconfig {
            Some(path) => {
                Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?
            }
            None => match &self.server {
                Some(server) => Config::new(url("--server", server)?),
                None if self.context.is_some() => Config::from_kubeconfig(&options).await?,
                None => Config::infer().await?,
            },
        };
        self.apply(&mut config)?;
        Ok(config)
    }

    fn apply(&self, config: &mut Config) -> Result<(), ClientError> {
        if let Some(server) = &self.server {
            config.cluster_url = url("--server", server)?;
        }
        if let Some(namespace) = &self.namespace {
            config.default_namespace.clone_from(namespace);
        }
        if let Some(proxy) = &self.proxy_url {
            config.proxy_url = Some(url("--proxy-url", proxy)?);
        }
        if let Some(path) = &self.certificate_authority {
            // Existence now, content whenever it changes.
            std::fs::metadata(path).map_err(|source| ClientError::Authority {
                path: path.clone(),
                source,
            })?;
            config.root_cert_file = Some(path.clone());
        }
        config.accept_invalid_certs |= self.insecure_skip_tls_verify;
        config.disable_compression |= self.disable_compression;
        let auth = &mut config.auth_info;
        if let Some(token) = &self.token {
            auth.token = Some(token.clone().into());
        }
        if let Some(password) = &self.password {
            auth.password = Some(password.clone().into());
        }
        let set = |to: &mut Option<String>, from: &Option<String>| {
            if from.is_some() {
                to.clone_from(from);
            }
        };
        set(&mut auth.username, &self.username);
        set(&mut auth.impersonate, &self.impersonate);
        set(&mut auth.impersonate_uid, &self.impersonate_uid);
        set(&mut auth.client_certificate, &self.client_certificate);
        set(&mut auth.client_key, &self.client_key);
        set(&mut config.tls_server_name, &self.tls_server_name);
        if !self.impersonate_groups.is_empty() {
            config.auth_info.impersonate_groups = Some(self.impersonate_groups.clone());
        }
        Ok(())
    }
}

fn url(flag: &'static str, value: &str) -> Result<http::Uri, ClientError> {
    let parsed = value
        .parse::<http::Uri>()
        .ok()
        .filter(|uri| uri.host().is_some());
    parsed.ok_or_else(|| ClientError::Url {
        flag,
        value: value.to_owned(),
    })
}
