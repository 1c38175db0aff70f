//! `__complete`, which kubectl calls through `kubectl_complete-argo-rollouts` (CLI-6): candidates, a
//! line each, then `:` and a directive (4: offer no files).

use std::ffi::OsString;

use clap::{CommandFactory, Parser};
use kube::api::ListParams;

use super::act::Kind;
use crate::args::{Cli, Global};
use crate::client::Session;
use crate::failure::Failure;
use crate::output;

/// Flags alone, for the namespace and the cluster that were typed before.
#[derive(Debug, Parser)]
#[command(ignore_errors = true, no_binary_name = true)]
struct Typed {
    #[command(flatten)]
    global: Global,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Prints the candidates for the last word.
///
/// # Errors
/// Never for an unreachable cluster: then there are just no candidates.
pub fn run(arguments: &[OsString]) -> Result<(), Failure> {
    let words: Vec<String> = arguments
        .iter()
        .skip(2)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let Some((prefix, before)) = words.split_last() else {
        output::line(":4");
        return Ok(());
    };
    let mut command = &Cli::command();
    let mut path = Vec::new();
    let mut positional = 0;
    for word in before.iter().filter(|word| !word.starts_with('-')) {
        if let Some(next) = command.find_subcommand(word) {
            command = next;
            path.push(next.get_name());
        } else {
            positional += 1;
        }
    }
    if command.has_subcommands() {
        for verb in command
            .get_subcommands()
            .filter(|verb| verb.get_name().starts_with(prefix))
        {
            let about = verb
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            output::line(format_args!("{}\t{about}", verb.get_name()));
        }
    } else if positional == 0
        && let Some(kind) = kind_of(&path)
    {
        let typed = Typed::try_parse_from(before)
            .map(|typed| typed.global)
            .unwrap_or_default();
        for name in names(&typed, kind).unwrap_or_default() {
            if name.starts_with(prefix) {
                output::line(name);
            }
        }
    }
    output::line(":4");
    Ok(())
}

fn kind_of(path: &[&str]) -> Option<Kind> {
    match path {
        ["get" | "retry" | "terminate", "experiment"] => Some(Kind::Experiment),
        ["terminate", "analysisrun"] => Some(Kind::AnalysisRun),
        ["abort" | "explain" | "pause" | "promote" | "restart" | "status" | "undo"]
        | ["get" | "retry", "rollout"]
        | ["set", "image"] => Some(Kind::Rollout),
        _ => None,
    }
}

fn names(global: &Global, kind: Kind) -> anyhow::Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let session = Session::new(global).await?;
        let list = kind
            .api(&session)
            .list_metadata(&ListParams::default())
            .await?;
        Ok(list
            .items
            .into_iter()
            .filter_map(|item| item.metadata.name)
            .collect())
    })
}
