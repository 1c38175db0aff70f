//! `cargo xtask test`: everything, in the order in which it fails soonest.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::stage::{self, Outcome};

#[derive(Args)]
pub(crate) struct Options {
    /// Leave out what needs a real control plane, and say so.
    #[arg(long)]
    skip_control_plane: bool,
    /// Only stages whose name contains this text.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// One test binary that cargo built.
struct TestBinary {
    package: String,
    target: String,
    executable: PathBuf,
    directory: PathBuf,
}

const PURE: &str = "pure (ring 1)";
const SIMULATION: &str = "simulation (ring 2)";
const REAL: &str = "real control plane (ring 3)";
/// Test binaries of `e2e` that start a control plane, besides those named `real_*`.
const REAL_TARGETS: [&str; 4] = ["cluster", "controlplane", "dataplane", "rolling_update"];
const TOOLS: &str = "tools";

pub(crate) fn run(options: &Options) -> Result<()> {
    let wanted = |name: &str| {
        options
            .only
            .as_deref()
            .is_none_or(|text| name.contains(text))
    };
    let mut outcomes = Vec::new();
    if wanted("format") {
        stage::heading("format");
        outcomes.push(stage::run(
            "format",
            &mut stage::cargo(&["fmt", "--all", "--check"]),
        )?);
    }
    if wanted("lints") {
        stage::heading("lints");
        let args = [
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ];
        outcomes.push(stage::run("lints", &mut stage::cargo(&args))?);
    }
    let rings = [PURE, SIMULATION, REAL, TOOLS];
    if rings.iter().any(|ring| wanted(ring)) {
        stage::heading("building the tests");
        let binaries = build()?;
        for ring in rings.into_iter().filter(|ring| wanted(ring)) {
            if ring == REAL && options.skip_control_plane {
                outcomes.push(Outcome::skipped(ring, "--skip-control-plane"));
                continue;
            }
            outcomes.push(run_ring(ring, &binaries)?);
        }
    }
    if wanted("licences") {
        outcomes.push(licences()?);
    }
    if wanted("demo") {
        outcomes.push(demo()?);
    }
    if !stage::closing(&outcomes) {
        bail!("something failed, see above");
    }
    Ok(())
}

/// Which ring a test binary belongs to.
fn ring_of(binary: &TestBinary) -> &'static str {
    match (binary.package.as_str(), binary.target.as_str()) {
        ("sluice-xtask", _) => TOOLS,
        ("sluice-e2e", target) if REAL_TARGETS.contains(&target) || target.starts_with("real_") => {
            REAL
        }
        ("sluice-e2e", target) if target.starts_with("pure_") => PURE,
        ("sluice-e2e" | "sluice-sim" | "sluice-controller" | "sluice-cli", _) => SIMULATION,
        _ => PURE,
    }
}

/// Builds all tests once, so that each ring is run without cargo unifying features anew.
fn build() -> Result<Vec<TestBinary>> {
    let args = [
        "test",
        "--workspace",
        "--no-run",
        "--message-format=json-render-diagnostics",
    ];
    let output = stage::cargo(&args)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo test")?;
    if !output.status.success() {
        bail!("the tests do not build");
    }
    let mut binaries = Vec::new();
    for line in output.stdout.split(|byte| *byte == b'\n') {
        let Ok(message) = serde_json::from_slice::<Value>(line) else {
            continue;
        };
        let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
        if text("/reason") != Some("compiler-artifact")
            || message.pointer("/profile/test") != Some(&Value::Bool(true))
        {
            continue;
        }
        let (Some(executable), Some(manifest), Some(target)) = (
            text("/executable"),
            text("/manifest_path"),
            text("/target/name"),
        ) else {
            continue;
        };
        let directory = PathBuf::from(manifest)
            .parent()
            .map(PathBuf::from)
            .unwrap_or_default();
        binaries.push(TestBinary {
            package: package_name(text("/package_id").unwrap_or_default()),
            target: target.into(),
            executable: executable.into(),
            directory,
        });
    }
    binaries.sort_by(|a, b| (&a.package, &a.target).cmp(&(&b.package, &b.target)));
    Ok(binaries)
}

/// The package in an id such as `path+file:///x/src/core#sluice-core@0.1.0`.
fn package_name(id: &str) -> String {
    let tail = id.rsplit_once('#').map_or(id, |(_, tail)| tail);
    tail.split('@').next().unwrap_or(tail).to_owned()
}

fn run_ring(ring: &str, binaries: &[TestBinary]) -> Result<Outcome> {
    stage::heading(ring);
    let mut total = Outcome {
        name: ring.into(),
        ok: true,
        ..Outcome::default()
    };
    let mut by_package: BTreeMap<&str, u64> = BTreeMap::new();
    for binary in binaries.iter().filter(|binary| ring_of(binary) == ring) {
        let name = format!("{} {}", binary.package, binary.target);
        stage::heading(&name);
        let mut command = Command::new(&binary.executable);
        command
            .current_dir(&binary.directory)
            .env("CARGO_MANIFEST_DIR", &binary.directory);
        if ring == REAL {
            // Control planes are heavy: one at a time, but for tests that mostly wait for proxies, each in
            // a network namespace of its own.
            let at_once = if binary.target == "real_dataplane" {
                2
            } else {
                1
            };
            command.arg(format!("--test-threads={at_once}"));
        }
        let outcome = stage::run(&name, &mut command)?;
        *by_package.entry(&binary.package).or_default() += outcome.passed;
        total.add(&outcome);
    }
    for (package, passed) in by_package {
        stage::heading(&format!("{ring}: {package}: {passed} passed"));
    }
    Ok(total)
}

/// cargo-deny, built into the cache when it is not there.
fn licences() -> Result<Outcome> {
    stage::heading("licences and bans");
    const VERSION: &str = "0.20.2";
    let root = sluice_e2e::toolchain::Cache::from_env()?
        .root()
        .join(format!("cargo-deny-{VERSION}"));
    let binary = root.join("bin/cargo-deny");
    if !binary.exists() {
        stage::heading(&format!("building cargo-deny {VERSION} (once)"));
        let root = root.display().to_string();
        let args = [
            "install",
            "--quiet",
            "--locked",
            "--root",
            &root,
            "cargo-deny",
            "--version",
            VERSION,
        ];
        let mut install = stage::cargo(&args);
        install.env("CARGO_TARGET_DIR", PathBuf::from(&root).join("build"));
        if !stage::run("licences", &mut install)?.ok {
            bail!("cargo-deny {VERSION} does not install");
        }
        let _ = std::fs::remove_dir_all(PathBuf::from(&root).join("build"));
    }
    let mut check = Command::new(binary);
    check
        .args([
            "--log-level",
            "error",
            "check",
            "licenses",
            "bans",
            "sources",
        ])
        .current_dir(stage::root());
    stage::run("licences", &mut check)
}

/// README's demo, each story to its end, without a terminal.
fn demo() -> Result<Outcome> {
    let mut total = Outcome {
        name: "demo".into(),
        ok: true,
        ..Outcome::default()
    };
    for story in ["canary", "rollback", "bluegreen"] {
        stage::heading(&format!("demo {story}"));
        let args = [
            "run",
            "--release",
            "--quiet",
            "--",
            "demo",
            story,
            "--until-done",
            "--speed",
            "10",
        ];
        let mut outcome = stage::run("demo", &mut stage::cargo(&args))?;
        outcome.passed = u64::from(outcome.ok);
        outcome.failed = u64::from(!outcome.ok);
        total.add(&outcome);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_ids_name_their_package() {
        assert_eq!(
            package_name("path+file:///x/src/core#sluice-core@0.1.0"),
            "sluice-core"
        );
        assert_eq!(
            package_name("path+file:///x/crds#sluice-crds@0.1.0"),
            "sluice-crds"
        );
    }
}
