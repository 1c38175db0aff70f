//! A real Prometheus that scrapes what a test tells it to.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::{Error, answers};
use crate::controlplane::free_ports;
use crate::process::{Process, RunDir};

/// A running Prometheus. Dropping it kills it.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    port: u16,
    targets: PathBuf,
    dir: RunDir,
}

impl Prometheus {
    /// Starts it with no targets and waits until it answers. It scrapes each second.
    ///
    /// # Errors
    /// [`Error::Process`] with its last words, [`Error::NotReady`].
    pub async fn start(program: &Path) -> Result<Self, Error> {
        let dir = RunDir::temporary("prometheus")?;
        let [port] = free_ports()?;
        let targets = dir.path().join("targets.json");
        let config = dir.path().join("prometheus.yml");
        write_targets(&targets, &[])?;
        fs::write(&config, configuration(&targets)).map_err(Error::file(&config))?;
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.path().join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--query.lookback-delta=5s")
            .current_dir(dir.path());
        let mut process = Process::spawn("prometheus", command, &dir)?;
        answers(&mut process, &format!("http://127.0.0.1:{port}/-/ready")).await?;
        Ok(Self {
            process,
            port,
            targets,
            dir,
        })
    }

    /// Its URL, `http://127.0.0.1:PORT`, as an AnalysisTemplate's `address`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Scrapes `/metrics` of these addresses from now on, each with these labels.
    ///
    /// # Errors
    /// [`Error::File`] when the list cannot be written.
    pub fn scrape(&self, targets: &[(SocketAddr, &[(&str, &str)])]) -> Result<(), Error> {
        write_targets(&self.targets, targets)
    }

    /// Its folder, with its log.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Ends it.
    ///
    /// # Errors
    /// [`Error::Process`] when it cannot be waited for.
    pub async fn stop(self) -> Result<(), Error> {
        self.process.stop(super::READY).await?;
        Ok(())
    }
}

fn configuration(targets: &Path) -> String {
    let config = json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{
            "job_name": "pods",
            "file_sd_configs": [{"files": [targets], "refresh_interval": "1s"}],
        }],
    });
    format!("{config:#}\n") // JSON is YAML
}

/// Replaced as a whole: it may be read at any time.
fn write_targets(path: &Path, targets: &[(SocketAddr, &[(&str, &str)])]) -> Result<(), Error> {
    let entry = |(address, labels): &(SocketAddr, &[(&str, &str)])| {
        let labels: serde_json::Map<_, _> = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        json!({"targets": [address.to_string()], "labels": labels})
    };
    let list: Vec<_> = targets.iter().map(entry).collect();
    let part = path.with_extension("json.part");
    fs::write(&part, json!(list).to_string())
        .and_then(|()| fs::rename(&part, path))
        .map_err(Error::file(path))
}
