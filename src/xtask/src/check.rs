//! `cargo xtask check`: what to run between two thoughts.

use anyhow::{Result, bail};

use crate::stage;

const PURE: [&str; 6] = [
    "-p",
    "sluice-crds",
    "-p",
    "sluice-core",
    "-p",
    "sluice-trafficrouters",
];

pub(crate) fn run() -> Result<()> {
    let mut outcomes = vec![stage::run(
        "format",
        &mut stage::cargo(&["fmt", "--all", "--check"]),
    )?];
    let lints = [
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    outcomes.push(stage::run("lints", &mut stage::cargo(&lints))?);
    let tests: Vec<&str> = ["test", "--quiet"].into_iter().chain(PURE).collect();
    outcomes.push(stage::run("pure tests", &mut stage::cargo(&tests))?);
    if !stage::closing(&outcomes) {
        bail!("something failed, see above");
    }
    Ok(())
}
