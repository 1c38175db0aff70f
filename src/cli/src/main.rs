//! `kubectl-argo-rollouts`: the kubectl plugin, and the demo.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluice_cli::run(std::env::args_os())
}
