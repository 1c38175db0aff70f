//! `cargo xtask bench`: criterion for the core, then the controller on the real control plane.

use anyhow::{Result, bail};
use clap::Args;

use crate::stage;

#[derive(Args)]
pub(crate) struct Options {
    /// Only the core: no control plane is started.
    #[arg(long)]
    core: bool,
    /// Rollouts that are updated at once on the control plane.
    #[arg(long, default_value_t = 200)]
    rollouts: u32,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut outcomes = vec![stage::run(
        "core",
        &mut stage::cargo(&["bench", "-p", "sluice-core"]),
    )?];
    if !options.core {
        let rollouts = options.rollouts.to_string();
        let args = [
            "run",
            "--release",
            "-p",
            "sluice-e2e",
            "--bin",
            "bench-controller",
            "--",
            &rollouts,
        ];
        outcomes.push(stage::run("controller", &mut stage::cargo(&args))?);
    }
    if !stage::closing(&outcomes) {
        bail!("a benchmark failed, see above");
    }
    Ok(())
}
