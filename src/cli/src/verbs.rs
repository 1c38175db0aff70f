//! The verbs, a file each.

pub mod act;
pub mod complete;
pub mod completion;
pub mod get;
pub mod lint;
pub mod list;
pub mod promote;
pub mod set_image;
pub mod status;
pub mod undo;
pub mod version;
mod workload;

use jiff::{Timestamp, Zoned};
use sluice_core::commands;
use sluice_crds::duration::GoDuration;

use crate::args::{Cli, Get, List, Retry, Set, Terminate, Verb};
use crate::client::Session;
use crate::failure::Failure;
use crate::output;

/// Runs one verb.
///
/// # Errors
/// What the user is told after `Error: `.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    let connect = || Session::new(&cli.global);
    match cli.verb {
        Verb::Completion(options) => completion::run(&options.shell),
        Verb::Demo(options) => crate::demo::run(&options).await,
        Verb::Lint(options) => lint::run(&options.filename),
        Verb::Version(options) => {
            version::run(options.short);
            Ok(())
        }
        Verb::Abort(names) => {
            act::each(
                &connect().await?,
                act::Kind::Rollout,
                &names.names,
                &commands::abort(),
                "aborted",
            )
            .await
        }
        Verb::Pause(names) => {
            act::each(
                &connect().await?,
                act::Kind::Rollout,
                &names.names,
                &commands::pause(),
                "paused",
            )
            .await
        }
        Verb::Retry(Retry::Rollout(names)) => {
            act::each(
                &connect().await?,
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
                &connect().await?,
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
                &connect().await?,
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
                &connect().await?,
                act::Kind::Experiment,
                &names.names,
                &patches,
                "terminated",
            )
            .await
        }
        Verb::Restart(options) => {
            let delay = if options.delay.is_empty() {
                "0s"
            } else {
                &options.delay
            };
            let wait: GoDuration = delay
                .parse()
                .map_err(|error| Failure::message(format_args!("--in: {error}")))?;
            let at = now().checked_add(wait.signed())?;
            let patches = commands::restart(at);
            let session = connect().await?;
            act::send(&session, act::Kind::Rollout, &options.name, &patches).await?;
            output::line(format_args!(
                "rollout '{}' restarts in {delay}",
                options.name
            ));
            Ok(())
        }
        Verb::Promote(options) => promote::run(&connect().await?, &options).await,
        Verb::Undo(options) => {
            undo::run(&connect().await?, &options.name, options.to_revision).await
        }
        Verb::Set(Set::Image(options)) => {
            set_image::run(&connect().await?, &options.name, &options.image).await
        }
        Verb::Status(options) => status::run(&connect().await?, &options).await,
        Verb::Get(Get::Rollout(options)) => get::rollout(&connect().await?, &options).await,
        Verb::Get(Get::Experiment(options)) => get::experiment(&connect().await?, &options).await,
        Verb::List(List::Rollouts(options)) => list::rollouts(&connect().await?, &options).await,
        Verb::List(List::Experiments(options)) => {
            list::experiments(&connect().await?, &options).await
        }
    }
}

/// The time of this machine.
#[must_use]
pub fn now() -> Timestamp {
    Zoned::now().timestamp()
}
