//! The one entry point for whoever works on the project: `cargo xtask --help`.

mod bench;
mod check;
mod cluster;
mod crds;
mod sim;
mod stage;
mod test;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, check and try Sluice", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything CI runs: format, lints, every ring of tests, licences, the demo.
    Test(test::Options),
    /// The quick part of it, for while you type: format, lints, pure tests.
    Check,
    /// Write the CustomResourceDefinitions to crds/yaml.
    Crds,
    /// A real control plane on this machine: up, down, status.
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Benchmarks: criterion for the core, then 200 canaries on the real control plane.
    Bench(bench::Options),
    /// Random Rollouts, users and faults against every invariant, on decisions alone.
    Sim(sim::Options),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Test(options) => test::run(&options),
        Command::Check => check::run(),
        Command::Crds => crds::run(),
        Command::Cluster(command) => cluster::run(command),
        Command::Bench(options) => bench::run(&options),
        Command::Sim(options) => sim::run(&options),
    }
}
