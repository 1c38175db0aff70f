//! Our own programs, for tests that run them as users do.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What the programs are made of, below the root of the checkout.
const SOURCES: [&str; 5] = ["src", "crds", "trafficrouters", "analysis", "Cargo.lock"];

/// The program `name` of `package`: the one beside the running executable if it is newer than all
/// sources, else built now. Blocks, for minutes the first time.
///
/// # Errors
/// When it does not build.
pub fn program(package: &str, name: &str) -> Result<PathBuf> {
    // TARGET/PROFILE/NAME, or TARGET/PROFILE/deps/NAME for a test.
    let own = env::current_exe()?;
    let folders = own.ancestors().skip(1).take(2);
    let beside = folders
        .map(|folder| folder.join(name))
        .find(|p| p.is_file());
    let release = own.components().any(|part| part.as_os_str() == "release");
    if let Some(beside) = beside
        && fs::metadata(&beside)?.modified()? >= newest_source()?
    {
        return Ok(beside);
    }
    build(package, name, release)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn newest_source() -> Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut left: Vec<_> = SOURCES.iter().map(|part| root().join(part)).collect();
    while let Some(path) = left.pop() {
        let meta = fs::metadata(&path).with_context(|| path.display().to_string())?;
        if meta.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        } else {
            newest = newest.max(meta.modified()?);
        }
    }
    Ok(newest)
}

fn build(package: &str, name: &str, release: bool) -> Result<PathBuf> {
    crate::toolchain::note(&format!("building {name}"));
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["build", "--quiet", "--package", package, "--bin", name])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(root())
        .stderr(Stdio::inherit());
    if release {
        command.arg("--release");
    }
    let output = command.output().context("cargo")?;
    if !output.status.success() {
        bail!("{name} of {package} does not build");
    }
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let messages = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let is_it = |message: &Value| {
        message.pointer("/target/name").and_then(Value::as_str) == Some(name)
            && message.pointer("/target/kind/0").and_then(Value::as_str) == Some("bin")
    };
    let made = messages
        .filter(is_it)
        .find_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)));
    made.with_context(|| format!("cargo did not say where {name} is"))
}
