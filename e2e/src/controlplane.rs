//! A real control plane: etcd, kube-apiserver and kube-controller-manager on 127.0.0.1.
//!
//! ```no_run
//! # async fn run() -> Result<(), sluice_e2e::controlplane::Error> {
//! use sluice_e2e::controlplane::{ControlPlane, Options};
//!
//! let plane = ControlPlane::start(Options::default()).await?;
//! plane.apply_yaml("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}").await?;
//! let client = plane.client()?;
//! # drop(client);
//! plane.stop().await
//! # }
//! ```
//!
//! There is no scheduler and no kubelet: pods stay Pending until somebody binds them (the node of
//! `sluice-sim` does). Each start has its own ports, data and credentials, so tests run side by side.

mod apply;
mod audit;
mod credentials;
mod flags;
mod service_account;

pub use apply::apply;
pub use audit::{Mark, Request, Summary};
pub use credentials::User;
pub use service_account::ServiceAccountAccess;

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use crate::process::{self, Process, RunDir};
use crate::toolchain::{self, Cache, ControlPlaneBinaries};
use credentials::Credentials;
use flags::Layout;

/// It takes 4-6 s on an idle machine.
const READY: Duration = Duration::from_secs(120);
/// What an apiserver with open watches needs to end.
const GRACE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// A port found free can be taken by another before it is used.
const ATTEMPTS: usize = 3;

/// What can go wrong with the control plane.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program could not be built or found.
    #[error(transparent)]
    Toolchain(#[from] toolchain::Error),
    /// A program did not start or did not last.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// A file of ours could not be read or written.
    #[error("{path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// No free port on 127.0.0.1.
    #[error("no free port on 127.0.0.1")]
    Port(#[source] std::io::Error),
    /// A key could not be made.
    #[error("the system gave no random numbers for {0}")]
    Random(&'static str),
    /// Our own kubeconfig was refused.
    #[error("the generated kubeconfig is not accepted")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// A user that [`Options::users`] does not name.
    #[error("no user {0:?}: name it in Options::users")]
    NoUser(String),
    /// It did not become ready in time.
    #[error("{what} was not ready within {} s: {last}", READY.as_secs())]
    NotReady {
        /// Who or what was waited for.
        what: &'static str,
        /// The last answer.
        last: String,
    },
    /// A document to apply cannot be read.
    #[error("document {index} (from 0): {problem}")]
    Document {
        /// Its place in the text.
        index: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The API server refused.
    #[error("cannot {verb} {object}")]
    Api {
        /// What was tried.
        verb: &'static str,
        /// The object.
        object: String,
        /// Its answer.
        source: Box<kube::Error>,
    },
    /// The server answered without a token.
    #[error("the API server gave no token for {0}")]
    NoToken(String),
    /// Requests were asked for but not recorded.
    #[error("requests are not recorded: set Options::audit")]
    NoAudit,
}

impl Error {
    fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    fn api(verb: &'static str, object: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let object = object.into();
        move |source| Self::Api {
            verb,
            object,
            source: Box::new(source),
        }
    }
}

/// How to run the control plane.
#[derive(Debug, Clone)]
pub struct Options {
    /// Users beside `admin` (group `system:masters`), each with a token of its own.
    pub users: Vec<User>,
    /// Record every request, for [`ControlPlane::requests`].
    pub audit: bool,
    /// Run kube-controller-manager (ReplicaSets, EndpointSlices, Jobs, garbage collection ...).
    pub controller_manager: bool,
    /// Where to keep data, keys and logs instead of a temporary folder. It stays when stopped.
    pub dir: Option<PathBuf>,
    /// Where the programs are kept; by default [`Cache::from_env`].
    pub cache: Option<Cache>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            users: vec![],
            audit: false,
            controller_manager: true,
            dir: None,
            cache: None,
        }
    }
}

/// A running control plane. Dropping it kills the processes; [`ControlPlane::stop`] ends them.
#[derive(Debug)]
pub struct ControlPlane {
    // Fields drop in order: first the processes, those that depend on others first, then the files.
    controller_manager: Option<Process>,
    apiserver: Process,
    etcd: Process,
    credentials: Credentials,
    layout: Layout,
    audit: bool,
    dir: RunDir,
}

impl ControlPlane {
    /// Builds what is missing, starts the processes and waits until they serve.
    ///
    /// # Errors
    /// As [`Error`] says; nothing keeps running then.
    pub async fn start(options: Options) -> Result<Self, Error> {
        // Fails when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let cache = options.cache.clone().map_or_else(Cache::from_env, Ok)?;
        let built = tokio::task::spawn_blocking(move || toolchain::control_plane(&cache)).await;
        let binaries = match built {
            Ok(binaries) => binaries?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let mut attempt = 1;
        loop {
            match Self::launch(&binaries, &options).await {
                Err(Error::Process(process::Error::Ended { tail, .. }))
                    if attempt < ATTEMPTS && tail.contains("address already in use") =>
                {
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    async fn launch(binaries: &ControlPlaneBinaries, options: &Options) -> Result<Self, Error> {
        let dir = match &options.dir {
            Some(path) => RunDir::at(path)?,
            None => RunDir::temporary("controlplane")?,
        };
        let [etcd_client, etcd_peer, apiserver] = free_ports()?;
        let layout = Layout {
            dir: dir.path().to_owned(),
            etcd_client,
            etcd_peer,
            apiserver,
        };
        let credentials = Credentials::generate(&options.users)?;
        credentials.write(&layout)?;
        if options.audit {
            write(&layout.audit_policy(), flags::AUDIT_POLICY)?;
        }

        let spawn = |name, program: &Path, args: Vec<String>| {
            let mut command = Command::new(program);
            command
                .args(args)
                .current_dir(dir.path())
                .env_remove("KUBECONFIG");
            Process::spawn(name, command, &dir)
        };
        let etcd = spawn("etcd", &binaries.etcd, layout.etcd_args())?;
        let apiserver = spawn(
            "kube-apiserver",
            &binaries.apiserver,
            layout.apiserver_args(options.audit),
        )?;
        let audit = options.audit;
        let mut plane = Self {
            controller_manager: None,
            apiserver,
            etcd,
            credentials,
            layout,
            audit,
            dir,
        };
        plane.apiserver_ready().await?;
        if options.controller_manager {
            let args = plane.layout.controller_manager_args();
            let mut command = Command::new(&binaries.controller_manager);
            command
                .args(args)
                .current_dir(plane.dir.path())
                .env_remove("KUBECONFIG");
            plane.controller_manager = Some(Process::spawn(
                "kube-controller-manager",
                command,
                &plane.dir,
            )?);
            plane.controllers_ready().await?;
        }
        Ok(plane)
    }

    /// Waits for the certificate, writes the kubeconfigs with it, then waits for `/readyz`.
    async fn apiserver_ready(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + READY;
        let certificate = self.layout.certificate();
        while !self.credentials.complete(&certificate) {
            self.wait(deadline, "the API server's certificate", "not written yet")
                .await?;
        }
        self.credentials.write_kubeconfigs(&self.layout)?;
        let client = self.client()?;
        loop {
            let request = http::Request::get("/readyz")
                .body(vec![])
                .map_err(|error| Error::NotReady {
                    what: "kube-apiserver",
                    last: error.to_string(),
                })?;
            match client.request_text(request).await {
                Ok(_) => return Ok(()),
                Err(error) => {
                    self.wait(deadline, "kube-apiserver", &error.to_string())
                        .await?;
                }
            }
        }
    }

    /// The controllers run once one of them has made the `default` ServiceAccount.
    async fn controllers_ready(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + READY;
        let accounts = Api::<ServiceAccount>::namespaced(self.client()?, "default");
        loop {
            let last = match accounts.get_opt("default").await {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => "no ServiceAccount default/default yet".to_owned(),
                Err(error) => error.to_string(),
            };
            self.wait(deadline, "kube-controller-manager", &last)
                .await?;
        }
    }

    /// One turn of a waiting loop: fails when a process ended or time is up.
    async fn wait(
        &mut self,
        deadline: Instant,
        what: &'static str,
        last: &str,
    ) -> Result<(), Error> {
        self.check()?;
        if Instant::now() >= deadline {
            return Err(Error::NotReady {
                what,
                last: last.to_owned(),
            });
        }
        tokio::time::sleep(POLL).await;
        Ok(())
    }

    /// Fails if one of the processes has ended by itself.
    ///
    /// # Errors
    /// [`Error::Process`] with its last words.
    pub fn check(&mut self) -> Result<(), Error> {
        self.etcd.check()?;
        self.apiserver.check()?;
        if let Some(process) = &mut self.controller_manager {
            process.check()?;
        }
        Ok(())
    }

    /// Ends all processes, the last started first, and waits for each.
    ///
    /// # Errors
    /// [`Error::Process`] when one cannot be waited for; the others are killed then.
    pub async fn stop(mut self) -> Result<(), Error> {
        if let Some(process) = self.controller_manager.take() {
            process.stop(GRACE).await?;
        }
        self.apiserver.stop(GRACE).await?;
        self.etcd.stop(GRACE).await?;
        Ok(())
    }

    /// A client of `admin`.
    ///
    /// # Errors
    /// [`Error::Kubeconfig`] when the generated one is not accepted.
    pub fn client(&self) -> Result<Client, Error> {
        self.client_for("admin")
    }

    /// A client of `admin` or of one of [`Options::users`].
    ///
    /// # Errors
    /// [`Error::NoUser`] for any other name.
    pub fn client_for(&self, user: &str) -> Result<Client, Error> {
        client_from(self.config_for(user)?)
    }

    /// What [`ControlPlane::client_for`] connects with, for those who wrap or change it.
    ///
    /// # Errors
    /// As [`ControlPlane::client_for`].
    pub fn config_for(&self, user: &str) -> Result<Config, Error> {
        self.config_with_token(self.token(user)?)
    }

    fn config_with_token(&self, token: &str) -> Result<Config, Error> {
        let value = self.credentials.kubeconfig(&self.layout, "user", token);
        let kubeconfig: Kubeconfig =
            serde_json::from_value(value).map_err(|error| Error::Document {
                index: 0,
                problem: error.to_string(),
            })?;
        let options = KubeConfigOptions::default();
        // Nothing in it is read from files or programs, so this future is ready at once.
        let config =
            futures::executor::block_on(Config::from_custom_kubeconfig(kubeconfig, &options))?;
        Ok(config)
    }

    /// The bearer token of `admin` or of one of [`Options::users`].
    ///
    /// # Errors
    /// [`Error::NoUser`] for any other name.
    pub fn token(&self, user: &str) -> Result<&str, Error> {
        self.credentials
            .token(user)
            .ok_or_else(|| Error::NoUser(user.to_owned()))
    }

    /// The path of a kubeconfig file of `admin`, for kubectl and for our own binaries.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig("admin")
    }

    /// The path of a kubeconfig file of `admin` or of one of [`Options::users`].
    ///
    /// # Errors
    /// [`Error::NoUser`] for any other name.
    pub fn kubeconfig_for(&self, user: &str) -> Result<PathBuf, Error> {
        self.token(user)?;
        Ok(self.layout.kubeconfig(user))
    }

    /// The API server's URL, `https://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.layout.endpoint()
    }

    /// The PEM file by which its certificate is checked.
    pub fn ca_file(&self) -> PathBuf {
        self.layout.certificate()
    }

    /// The folder with data and logs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The API server's process id, for measurements.
    pub fn apiserver_pid(&self) -> u32 {
        self.apiserver.id()
    }
}

/// Whether tests on a real control plane are to be left out: only by `SLUICE_SKIP_CONTROLPLANE=1`.
/// Says so where it is set, so that nobody takes the test for passed.
pub fn left_out() -> bool {
    let skip = std::env::var_os("SLUICE_SKIP_CONTROLPLANE").is_some_and(|v| v == "1");
    if skip {
        toolchain::note("left out: SLUICE_SKIP_CONTROLPLANE=1");
    }
    skip
}

pub(crate) fn client_from(config: Config) -> Result<Client, Error> {
    Client::try_from(config).map_err(Error::api("build", "the client"))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::file(path))
}

/// Free ports, all different because all are held until the last one is found.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N], Error> {
    let mut ports = [0; N];
    let mut held = Vec::with_capacity(N);
    for port in &mut ports {
        let listener =
            TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).map_err(Error::Port)?;
        *port = listener.local_addr().map_err(Error::Port)?.port();
        held.push(listener);
    }
    Ok(ports)
}
