//! Real proxies, a real Prometheus, real requests: what users would have seen.
//!
//! All of it runs inside a namespace ([`crate::netns`]), where pods have addresses. [`traefik`]
//! speaks the Gateway API and the annotations of ingress-nginx, [`envoy`] what Istio's objects
//! mean, [`prometheus`] scrapes the served pods, [`traffic`] sends requests and counts.

pub mod envoy;
pub mod prometheus;
pub mod traefik;
pub mod traffic;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::controlplane::ControlPlane;
use crate::process::{self, Process};
use crate::{controlplane, toolchain};

/// Each of the programs starts within two seconds on an idle machine.
const READY: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// What can go wrong with the data plane.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program could not be fetched or found.
    #[error(transparent)]
    Toolchain(#[from] toolchain::Error),
    /// A program did not start or did not last.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// The control plane could not be asked.
    #[error(transparent)]
    ControlPlane(#[from] controlplane::Error),
    /// A file of ours could not be written.
    #[error("cannot write {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The HTTP client could not be built, or an admin page not be read.
    #[error("HTTP")]
    Http(#[from] reqwest::Error),
    /// A program was not ready in time, or did not take its configuration.
    #[error("{what} was not ready within {} s: {last}", READY.as_secs())]
    NotReady {
        /// The program.
        what: String,
        /// The last answer.
        last: String,
    },
    /// Objects that the translation for Envoy does not know what to do with.
    #[error(transparent)]
    Translate(#[from] envoy::TranslateError),
}

impl Error {
    fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

/// How a program reaches the API server.
#[derive(Debug, Clone)]
pub struct Access {
    /// `https://127.0.0.1:PORT`.
    pub endpoint: String,
    /// A bearer token.
    pub token: String,
    /// The PEM file to check its certificate by.
    pub ca_file: PathBuf,
    /// A kubeconfig that says the same.
    pub kubeconfig: PathBuf,
}

impl Access {
    /// The access of a user to our control plane.
    ///
    /// # Errors
    /// [`controlplane::Error::NoUser`] for an unknown user.
    pub fn of(plane: &ControlPlane, user: &str) -> Result<Self, Error> {
        Ok(Self {
            endpoint: plane.endpoint(),
            token: plane.token(user)?.to_owned(),
            ca_file: plane.ca_file(),
            kubeconfig: plane.kubeconfig_for(user)?,
        })
    }
}

/// A client for plain HTTP on this machine: no proxies, no redirects followed.
///
/// # Errors
/// [`Error::Http`] when it cannot be built.
pub fn http_client() -> Result<reqwest::Client, Error> {
    // Fails when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        .build()?;
    Ok(client)
}

/// Waits until a URL answers 200.
async fn answers(process: &mut Process, url: &str) -> Result<(), Error> {
    let client = http_client()?;
    let deadline = Instant::now() + READY;
    loop {
        let last = match client.get(url).send().await {
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) => response.status().to_string(),
            Err(error) => error.to_string(),
        };
        process.check()?;
        if Instant::now() >= deadline {
            return Err(Error::NotReady {
                what: process.name().to_owned(),
                last,
            });
        }
        tokio::time::sleep(POLL).await;
    }
}
