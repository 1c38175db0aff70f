//! The kubectl plugin: `kubectl argo rollouts VERB` for any cluster by kubeconfig (CLI-1).
//!
//! Verbs read objects, ask [`sluice_core`] what to say or which patch to send, and print. Results go
//! to stdout, everything else to stderr; a failure is `Error: ...` and exit code 1 (CLI-3).

pub mod args;
pub mod client;
pub mod demo;
pub mod failure;
pub mod manifests;
pub mod objects;
pub mod output;
pub mod simulate;
pub mod tree;
pub mod verbs;
mod world;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use crate::args::Cli;
use crate::failure::Failure;

/// Parses the arguments, runs the verb, says what went wrong.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // The provider can only be installed once per process; tests may have done so already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments
        .get(1)
        .is_some_and(|verb| verb == "__complete" || verb == "__completeNoDesc")
    {
        return finish(verbs::complete::run(&arguments));
    }
    let command = Cli::command();
    let cli = match command
        .try_get_matches_from(&arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches))
    {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    finish(verbs::run(cli))
}

/// Help and version are results; any other parsing problem is usage on stderr and exit code 1.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output::line(error.render());
            ExitCode::SUCCESS
        }
        _ => {
            output::note(error.render());
            ExitCode::FAILURE
        }
    }
}

fn finish(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Code(code)) => ExitCode::from(code),
        Err(failure) => {
            if let Some(text) = failure.text() {
                output::note(format_args!("Error: {text}"));
            }
            ExitCode::FAILURE
        }
    }
}
