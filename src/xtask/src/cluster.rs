//! `cargo xtask cluster up|down|status`: a real control plane to work with by hand.

use std::io::Write;
use std::process::Command as Process;

use anyhow::Result;
use clap::Subcommand;
use sluice_e2e::cluster::Cluster;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start it in the background (the first time it is compiled: some minutes) and say how to use it.
    Up,
    /// Stop it and wait for its end.
    Down,
    /// Say whether it runs, and where.
    Status,
    /// What `up` starts in the background.
    #[command(hide = true)]
    Serve,
}

pub(crate) fn run(command: Command) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let cluster = Cluster::from_env()?;
    let mut out = std::io::stdout();
    runtime.block_on(async {
        match command {
            Command::Up => {
                let mut serve = Process::new(std::env::current_exe()?);
                serve.args(["cluster", "serve"]);
                let definitions: Vec<String> = sluice_crds::yaml::all()
                    .into_iter()
                    .map(|(_, text)| text)
                    .collect();
                let running = cluster.up(serve, &definitions.join("\n---\n")).await?;
                writeln!(out, "{running}")?;
            }
            Command::Down => {
                cluster.down().await?;
                writeln!(out, "no control plane runs")?;
            }
            Command::Status => match cluster.status()? {
                Some(running) => writeln!(out, "{running}")?,
                None => writeln!(
                    out,
                    "no control plane runs; `cargo xtask cluster up` starts one"
                )?,
            },
            Command::Serve => cluster.serve().await?,
        }
        Ok(())
    })
}
