//! Envoy, configured from Istio's objects as Istio would configure it.
//!
//! [`Mesh::translate`] is pure: objects in, Envoy resources out. [`Envoy::apply`] hands them to the
//! running proxy by files that it watches, in an order that breaks nothing: endpoints and clusters
//! before the routes that name them, and clusters go only after no route names them.
//!
//! Unlike a real sidecar it retries nothing by itself, so that no failure is hidden.

mod follow;
mod translate;

pub use follow::follow;
pub use translate::{Mesh, Resources, TranslateError};

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

use super::{Error, POLL, READY, answers, http_client};
use crate::controlplane::free_ports;
use crate::process::{Process, RunDir};
use crate::toolchain::Proxies;

/// A running Envoy. Dropping it kills it.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    web: u16,
    admin: u16,
    /// Counts what was applied; Envoy tells it back.
    version: u64,
    current: Resources,
    dir: RunDir,
}

impl Envoy {
    /// Starts it with no routes and waits until it serves.
    ///
    /// # Errors
    /// [`Error::Process`] with its last words, [`Error::NotReady`].
    pub async fn start(programs: &Proxies) -> Result<Self, Error> {
        let dir = RunDir::temporary("envoy")?;
        let [web, admin] = free_ports()?;
        let current = Resources::default();
        replace(dir.path(), "rds", &discovery(0, &current.routes))?;
        replace(dir.path(), "cds", &discovery(0, &current.clusters))?;
        replace(
            dir.path(),
            "lds",
            &discovery(0, &[listener(dir.path(), web)]),
        )?;
        let bootstrap = dir.path().join("bootstrap.json");
        fs::write(&bootstrap, bootstrap_config(dir.path(), admin).to_string())
            .map_err(Error::file(&bootstrap))?;
        let mut command = Command::new(&programs.envoy);
        command
            .arg("-c")
            .arg(&bootstrap)
            .args([
                "--concurrency",
                "1",
                "--disable-hot-restart",
                "--log-level",
                "warning",
            ])
            .current_dir(dir.path());
        let mut process = Process::spawn("envoy", command, &dir)?;
        answers(&mut process, &format!("http://127.0.0.1:{admin}/ready")).await?;
        Ok(Self {
            process,
            web,
            admin,
            version: 0,
            current,
            dir,
        })
    }

    /// Where requests go in, `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.web)
    }

    /// Configures it and waits until its routes are the new ones; endpoints follow within
    /// milliseconds. Does nothing if nothing changed.
    ///
    /// # Errors
    /// [`Error::NotReady`] when it refuses, with what it says about it.
    pub async fn apply(&mut self, wanted: Resources) -> Result<(), Error> {
        if wanted == self.current {
            return Ok(());
        }
        self.version += 1;
        let version = self.version;
        let both = wanted.with_clusters_of(&self.current);
        let dir = self.dir.path().to_owned();
        let write =
            |name: &str, resources: &[Value]| replace(&dir, name, &discovery(version, resources));
        for (name, endpoints) in both.endpoint_files() {
            if !self.current.endpoints.contains(endpoints) {
                write(&name, std::slice::from_ref(endpoints))?;
            }
        }
        if both.clusters != self.current.clusters {
            write("cds", &both.clusters)?;
            self.taken("cluster_manager.cds.version_text", version)
                .await?;
        }
        if wanted.routes != self.current.routes {
            write("rds", &wanted.routes)?;
            self.taken("http.mesh.rds.mesh.version_text", version)
                .await?;
        }
        if wanted.clusters != both.clusters {
            self.version += 1;
            let version = self.version;
            replace(
                self.dir.path(),
                "cds",
                &discovery(version, &wanted.clusters),
            )?;
            self.taken("cluster_manager.cds.version_text", version)
                .await?;
        }
        self.current = wanted;
        Ok(())
    }

    /// Waits until Envoy says that it works by this version.
    async fn taken(&mut self, stat: &str, version: u64) -> Result<(), Error> {
        let client = http_client()?;
        let url = format!("http://127.0.0.1:{}/stats?filter=version_text$", self.admin);
        let want = format!("{stat}: \"{version}\"");
        let deadline = Instant::now() + READY;
        loop {
            let stats = client.get(&url).send().await?.text().await?;
            if stats.lines().any(|line| line == want) {
                return Ok(());
            }
            self.process.check()?;
            if Instant::now() >= deadline {
                let log = fs::read_to_string(self.process.log()).unwrap_or_default();
                let last = format!("waited for {want}\n{}", crate::toolchain::tail(&log, 10));
                return Err(Error::NotReady {
                    what: "Envoy's new configuration".to_owned(),
                    last,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The lines of its statistics whose names hold this text, `name: value`.
    ///
    /// # Errors
    /// [`Error::Http`] when they cannot be read.
    pub async fn stats(&self, part: &str) -> Result<Vec<String>, Error> {
        let url = format!("http://127.0.0.1:{}/stats", self.admin);
        let text = http_client()?.get(url).send().await?.text().await?;
        Ok(text
            .lines()
            .filter(|line| line.contains(part))
            .map(str::to_owned)
            .collect())
    }

    /// Ends it.
    ///
    /// # Errors
    /// [`Error::Process`] when it cannot be waited for.
    pub async fn stop(self) -> Result<(), Error> {
        self.process.stop(READY).await?;
        Ok(())
    }
}

/// Renames over the old file: only then Envoy looks, and it sees a whole one.
fn replace(dir: &Path, name: &str, content: &Value) -> Result<(), Error> {
    let path = file(dir, name);
    let part = dir.join(format!("{name}.part"));
    fs::write(&part, content.to_string())
        .and_then(|()| fs::rename(&part, &path))
        .map_err(Error::file(path))
}

fn file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.json"))
}

fn discovery(version: u64, resources: &[Value]) -> Value {
    json!({"version_info": version.to_string(), "resources": resources})
}

fn by_file(dir: &Path, name: &str) -> Value {
    json!({"resource_api_version": "V3", "path_config_source": {"path": file(dir, name)}})
}

fn bootstrap_config(dir: &Path, admin: u16) -> Value {
    json!({
        "node": {"id": "sluice-e2e", "cluster": "sluice-e2e"},
        "admin": {"address": address("127.0.0.1", admin)},
        "dynamic_resources": {
            "lds_config": by_file(dir, "lds"),
            "cds_config": by_file(dir, "cds"),
        },
    })
}

fn listener(dir: &Path, port: u16) -> Value {
    let http = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3";
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    json!({
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": "mesh",
        "address": address("127.0.0.1", port),
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": format!("{http}.HttpConnectionManager"),
                "stat_prefix": "mesh",
                "strip_any_host_port": true,
                "rds": {"route_config_name": "mesh", "config_source": by_file(dir, "rds")},
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": router},
                }],
            },
        }]}],
    })
}

fn address(ip: &str, port: u16) -> Value {
    json!({"socket_address": {"address": ip, "port_value": port}})
}
