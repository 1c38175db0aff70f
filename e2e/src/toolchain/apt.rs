//! Prometheus, which only distributions and its own site offer as a program.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Cache, Error, find_in_path, is_executable, progress};

const REMEDY: &str =
    "install Prometheus 2.40 or newer (Debian: apt-get install prometheus) so that it is in PATH";

/// Prometheus: the one in `PATH`, else installed by apt-get where we are root.
///
/// # Errors
/// [`Error::MissingTool`] where it is not there and cannot be installed, [`Error::Failed`] with
/// apt-get's words.
pub fn prometheus(cache: &Cache) -> Result<PathBuf, Error> {
    if let Some(found) = installed() {
        return Ok(found);
    }
    let missing = || Error::MissingTool {
        tool: "prometheus",
        purpose: "the test with a real Prometheus".to_owned(),
        remedy: REMEDY,
    };
    if !rustix::process::geteuid().is_root() {
        return Err(missing());
    }
    let apt = find_in_path("apt-get").ok_or_else(missing)?;
    let scratch = tempfile::tempdir_in(cache.state_dir("tmp")?)
        .map_err(Error::io("create a folder in", cache.root()))?;
    let run = |what: &str, args: &[&str]| {
        let mut command = Command::new(&apt);
        command.env("DEBIAN_FRONTEND", "noninteractive").args(args);
        progress::run(what, &mut command, scratch.path())
    };
    run("refreshing the package lists", &["update", "-qq"])?;
    run(
        "installing Prometheus",
        &[
            "install",
            "-qq",
            "--yes",
            "--no-install-recommends",
            "prometheus",
        ],
    )?;
    installed().ok_or_else(missing)
}

fn installed() -> Option<PathBuf> {
    let usual = Path::new("/usr/bin/prometheus");
    find_in_path("prometheus").or_else(|| is_executable(usual).then(|| usual.to_owned()))
}
