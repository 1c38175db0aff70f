//! `cargo xtask sim`: random Rollouts, users and faults against every invariant, on decisions alone or
//! with the whole controller.

use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::stage;

/// Schedules of `--long`.
const LONG: u64 = 100_000;

#[derive(Args)]
pub(crate) struct Options {
    /// Play 100,000 schedules.
    #[arg(long, conflicts_with = "seeds")]
    long: bool,
    /// Play the whole controller on the simulated cluster, where the API server, watches and leases
    /// fail, too: some schedules in a second instead of hundreds.
    #[arg(long, conflicts_with = "long")]
    whole: bool,
    /// How many schedules to play, one for each seed.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Play one schedule, or some of its events, and tell what happens: `SEED` or `SEED:0,3,7`.
    #[arg(long, value_name = "SEED[:EVENTS]", conflicts_with_all = ["long", "seeds", "from"])]
    replay: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut command = if options.whole {
        whole(options)
    } else {
        decisions(options)
    };
    if !stage::run("sim", &mut command)?.ok {
        bail!("a schedule breaks an invariant, see above");
    }
    Ok(())
}

/// The controller's schedules are a test, which the environment tells what to play.
fn whole(options: &Options) -> Command {
    let args = [
        "test",
        "--release",
        "-p",
        "sluice-e2e",
        "--test",
        "sim_schedules",
    ];
    let mut command = stage::cargo(&args);
    command.args(["--", "--nocapture"]);
    match &options.replay {
        Some(case) => command.env("SLUICE_SCHEDULE", case),
        None => {
            let to = options.from.saturating_add(options.seeds);
            command.env("SLUICE_SCHEDULES", format!("{}..{to}", options.from))
        }
    };
    command
}

fn decisions(options: &Options) -> Command {
    let mut args = [
        "run",
        "--release",
        "-p",
        "sluice-core",
        "--example",
        "sim",
        "--",
    ]
    .map(str::to_owned)
    .to_vec();
    if let Some(case) = &options.replay {
        args.extend(["--replay".to_owned(), case.clone()]);
    } else {
        let seeds = if options.long { LONG } else { options.seeds };
        args.extend(["--from".to_owned(), options.from.to_string()]);
        args.extend(["--seeds".to_owned(), seeds.to_string()]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    stage::cargo(&args)
}
