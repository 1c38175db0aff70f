//! The verbs, a file each.

pub mod act;
pub mod complete;
pub mod completion;
pub mod explain;
pub mod get;
pub mod lint;
pub mod list;
pub mod promote;
pub mod restart;
pub mod set_image;
pub mod status;
pub mod undo;
pub mod version;
mod workload;

use jiff::{Timestamp, Zoned};
use sluice_core::commands;

use crate::args::{Cli, Get, Global, List, Retry, Set, Terminate, Verb};
use crate::client::Session;
use crate::failure::Failure;

/// Runs one verb, with the runtime that it needs.
///
/// # Errors
/// What the user is told after `Error: `.
pub fn run(cli: Cli) -> Result<(), Failure> {
    match cli.verb {
        Verb::Completion(options) => completion::run(&options.shell),
        Verb::Demo(options) => crate::demo::run(&options),
        Verb::Lint(options) => lint::run(&options.filenames),
        Verb::Simulate(options) => crate::simulate::run(&options, cli.global.namespace.as_deref()),
        Verb::Version(options) => {
            version::run(options.short);
            Ok(())
        }
        verb => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(on_cluster(&cli.global, verb)),
    }
}

/// Runs a verb that talks to a cluster.
async fn on_cluster(global: &Global, verb: Verb) -> Result<(), Failure> {
    let session = &Session::new(global).await?;
    match verb {
        Verb::Abort(names) => {
            act::each(
                session,
                act::Kind::Rollout,
                &names.names,
                &commands::abort(),
                "aborted",
            )
            .await
        }
        Verb::Pause(names) => {
            act::each(
                session,
                act::Kind::Rollout,
                &names.names,
                &commands::pause(),
                "paused",
            )
            .await
        }
        Verb::Retry(Retry::Rollout(names)) => {
            act::each(
                session,
                act::Kind::Rollout,
                &names.names,
                &commands::retry(),
                "retried",
            )
            .await
        }
        Verb::Retry(Retry::Experiment(names)) => {
            let patches = commands::retry_experiment();
            act::each(
                session,
                act::Kind::Experiment,
                &names.names,
                &patches,
                "retried",
            )
            .await
        }
        Verb::Terminate(Terminate::Analysisrun(names)) => {
            let patches = commands::terminate();
            act::each(
                session,
                act::Kind::AnalysisRun,
                &names.names,
                &patches,
                "terminated",
            )
            .await
        }
        Verb::Terminate(Terminate::Experiment(names)) => {
            let patches = commands::terminate();
            act::each(
                session,
                act::Kind::Experiment,
                &names.names,
                &patches,
                "terminated",
            )
            .await
        }
        Verb::Restart(options) => restart::run(session, &options).await,
        Verb::Promote(options) => promote::run(session, &options).await,
        Verb::Undo(options) => undo::run(session, &options.name, options.to_revision).await,
        Verb::Set(Set::Image(options)) => {
            set_image::run(session, &options.name, &options.image).await
        }
        Verb::Explain(options) => explain::run(session, &options).await,
        Verb::Status(options) => status::run(session, &options).await,
        Verb::Get(Get::Rollout(options)) => get::rollout(session, &options).await,
        Verb::Get(Get::Experiment(options)) => get::experiment(session, &options).await,
        Verb::List(List::Rollouts(options)) => list::rollouts(session, &options).await,
        Verb::List(List::Experiments(options)) => list::experiments(session, &options).await,
        Verb::Completion(_)
        | Verb::Demo(_)
        | Verb::Lint(_)
        | Verb::Simulate(_)
        | Verb::Version(_) => Err(Failure::message("this verb needs no cluster")),
    }
}

/// The time of this machine.
#[must_use]
pub fn now() -> Timestamp {
    Zoned::now().timestamp()
}
