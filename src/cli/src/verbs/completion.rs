//! `completion` (CLI-6).

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::failure::Failure;

/// Prints the script for a shell.
///
/// # Errors
/// When it is none of bash, zsh, fish and powershell.
pub fn run(shell: &str) -> Result<(), Failure> {
    let shell = match shell {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        "powershell" => Shell::PowerShell,
        other => {
            return Err(Failure::message(format_args!(
                "invalid argument {other:?} for \"completion\""
            )));
        }
    };
    let mut script = Vec::new();
    clap_complete::generate(
        shell,
        &mut Cli::command(),
        "kubectl-argo-rollouts",
        &mut script,
    );
    crate::output::text(String::from_utf8_lossy(&script));
    Ok(())
}
