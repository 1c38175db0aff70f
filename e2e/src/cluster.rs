//! A control plane to work with by hand, running in the background until it is taken down.
//!
//! [`Cluster::up`] starts a process of its own that holds it ([`Cluster::serve`], for which the
//! caller's program needs a hidden command); [`Cluster::down`] ends that. Its state lies in the cache
//! folder, one cluster per user.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use sluice_sim::kubelet::KubeletOptions;
use tokio::signal::unix::{SignalKind, signal};

use crate::controlplane::{self, ControlPlane, Options};
use crate::node::{self, Node};
use crate::process::{self, ProcessId, RunDir};
use crate::toolchain::{self, Cache};

/// Longer than the control plane itself waits, so that its own message is seen.
const UP: Duration = Duration::from_secs(300);
const DOWN: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(100);

/// What can go wrong with the cluster in the background.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program could not be built or found, or there is no cache folder.
    #[error(transparent)]
    Toolchain(#[from] toolchain::Error),
    /// The control plane did not start, or refused the CRDs.
    #[error(transparent)]
    ControlPlane(#[from] controlplane::Error),
    /// Its node did not become ready.
    #[error(transparent)]
    Node(#[from] node::NotReady),
    /// What an earlier one left could not be cleared away.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// A file of the state could not be read or written.
    #[error("{path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The process in the background ended.
    #[error("the cluster did not start; its log {log} ends with:\n{tail}")]
    Ended {
        /// The whole log.
        log: PathBuf,
        /// Its end.
        tail: String,
    },
    /// It takes longer than it ever should.
    #[error("the cluster is not {what} after {} s; see {log}", limit.as_secs())]
    TooSlow {
        /// `up` or `down`.
        what: &'static str,
        /// How long we waited.
        limit: Duration,
        /// The whole log.
        log: PathBuf,
    },
}

impl Error {
    fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// A running cluster. Shown as text, it says what to do with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The kubeconfig of its `admin`.
    pub kubeconfig: PathBuf,
    /// The API server's URL.
    pub endpoint: String,
    /// The process that holds it, `PID-START`.
    process: String,
}

impl Running {
    fn is_alive(&self) -> bool {
        self.process.parse().is_ok_and(ProcessId::is_alive)
    }

    /// A client of its `admin`.
    ///
    /// # Errors
    /// [`Error::ControlPlane`] when the kubeconfig is not accepted.
    pub async fn client(&self) -> Result<Client, Error> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig =
            Kubeconfig::read_from(&self.kubeconfig).map_err(controlplane::Error::Kubeconfig)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(controlplane::Error::Kubeconfig)?;
        Ok(controlplane::client_from(config)?)
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kubeconfig,
            endpoint,
            ..
        } = self;
        write!(
            f,
            "A control plane serves at {endpoint}. Use it with\n\n  \
             export KUBECONFIG={}\n  \
             kubectl get rollouts -A\n\n\
             and end it with `cargo xtask cluster down`.",
            kubeconfig.display()
        )
    }
}

/// The place of the one cluster of a user.
#[derive(Debug, Clone)]
pub struct Cluster {
    cache: Cache,
    dir: PathBuf,
}

impl Cluster {
    /// The user's cluster, in [`Cache::from_env`].
    ///
    /// # Errors
    /// [`Error::Toolchain`] without a cache folder.
    pub fn from_env() -> Result<Self, Error> {
        let cache = Cache::from_env()?;
        let dir = cache.root().join("cluster");
        Ok(Self { cache, dir })
    }

    /// A cluster whose state lies in a folder of the caller's.
    pub fn at(dir: impl Into<PathBuf>, cache: Cache) -> Self {
        Self {
            cache,
            dir: dir.into(),
        }
    }

    /// Starts the cluster unless it runs, and applies the CRDs given as YAML.
    ///
    /// `serve` is a command that calls [`Cluster::serve`]: usually this program with a hidden verb.
    /// Builds what is missing first, in the foreground, where its progress is seen.
    ///
    /// # Errors
    /// [`Error::Ended`] with the words of the process in the background.
    pub async fn up(&self, mut serve: Command, crds: &str) -> Result<Running, Error> {
        let running = match self.status()? {
            Some(running) => running,
            None => {
                let cache = self.cache.clone();
                let built = tokio::task::spawn_blocking(move || toolchain::control_plane(&cache));
                match built.await {
                    Ok(binaries) => binaries?,
                    Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                };
                RunDir::discard(&self.dir)?;
                let dir = RunDir::at(&self.dir)?;
                let log = File::create(self.log()).map_err(Error::file(&self.log()))?;
                let errors = log.try_clone().map_err(Error::file(&self.log()))?;
                // A group of its own: Ctrl-C here is not meant for it.
                serve
                    .stdin(Stdio::null())
                    .stdout(log)
                    .stderr(errors)
                    .process_group(0);
                let child = serve
                    .spawn()
                    .map_err(Error::file(Path::new(serve.get_program())))?;
                dir.note("serve", child.id())?;
                self.wait_until_up(child).await?
            }
        };
        controlplane::apply(&running.client().await?, "default", crds).await?;
        Ok(running)
    }

    async fn wait_until_up(&self, mut child: Child) -> Result<Running, Error> {
        let deadline = Instant::now() + UP;
        loop {
            if let Some(running) = self.status()? {
                return Ok(running);
            }
            let log = self.log();
            if child.try_wait().map_err(Error::file(&log))?.is_some() {
                let text = fs::read_to_string(&log).unwrap_or_default();
                return Err(Error::Ended {
                    log,
                    tail: toolchain::tail(&text, 20),
                });
            }
            if Instant::now() >= deadline {
                return Err(Error::TooSlow {
                    what: "up",
                    limit: UP,
                    log,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The process in the background: runs the control plane, and a node for its pods, until SIGTERM or SIGINT.
    ///
    /// # Errors
    /// [`Error::ControlPlane`] when it does not start or one of its processes ends.
    pub async fn serve(&self) -> Result<(), Error> {
        let listen = |kind| signal(kind).map_err(Error::file(&self.dir));
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        // The terminal may close; the cluster stays.
        let _hangup = listen(SignalKind::hangup())?;
        let options = Options {
            dir: Some(self.dir.clone()),
            cache: Some(self.cache.clone()),
            ..Options::default()
        };
        let mut plane = ControlPlane::start(options).await?;
        let client = plane.client()?;
        let node = Node::start(client, KubeletOptions::default()).await?;
        let own = ProcessId::own().map_or_else(String::new, |id| id.to_string());
        self.write(&Running {
            kubeconfig: plane.kubeconfig(),
            endpoint: plane.endpoint(),
            process: own,
        })?;
        let ended = loop {
            tokio::select! {
                _ = terminate.recv() => break Ok(()),
                _ = interrupt.recv() => break Ok(()),
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            if let Err(error) = plane.check() {
                break Err(error.into());
            }
        };
        node.stop().await;
        let stopped = plane.stop().await;
        ended.and(stopped.map_err(Error::from))
    }

    /// The cluster, if it runs.
    ///
    /// # Errors
    /// [`Error::File`] when its state cannot be read.
    pub fn status(&self) -> Result<Option<Running>, Error> {
        let path = self.state();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file(&path)(error)),
        };
        // What another version of this program wrote is no cluster that we could talk to.
        let running: Option<Running> = serde_json::from_str(&text).ok();
        Ok(running.filter(Running::is_alive))
    }

    /// Ends the cluster, waits for it and removes its data. Returns whether there was one.
    ///
    /// # Errors
    /// [`Error::TooSlow`] when it does not end.
    pub async fn down(&self) -> Result<bool, Error> {
        let noted = fs::read_to_string(self.dir.join("serve.pid")).unwrap_or_default();
        let process = noted.parse::<ProcessId>().ok().filter(|id| id.is_alive());
        if let Some(id) = process
            && let Some(pid) = i32::try_from(id.pid()).ok().and_then(Pid::from_raw)
        {
            // It may end at this moment; that is what we want.
            let _ = kill_process(pid, Signal::TERM);
            let deadline = Instant::now() + DOWN;
            while id.is_alive() {
                if Instant::now() >= deadline {
                    return Err(Error::TooSlow {
                        what: "down",
                        limit: DOWN,
                        log: self.log(),
                    });
                }
                tokio::time::sleep(POLL).await;
            }
        }
        RunDir::discard(&self.dir)?;
        Ok(process.is_some())
    }

    /// What the process in the background writes.
    pub fn log(&self) -> PathBuf {
        self.dir.join("serve.log")
    }

    fn state(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    /// Whoever finds the file finds all of it.
    fn write(&self, running: &Running) -> Result<(), Error> {
        let (path, part) = (self.state(), self.dir.join("state.json.part"));
        let text = serde_json::to_vec_pretty(running).unwrap_or_default();
        fs::write(&part, text)
            .and_then(|()| fs::rename(&part, &path))
            .map_err(Error::file(&path))
    }
}
