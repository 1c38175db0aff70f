//! `restart` (CLI-29).

use sluice_core::commands;
use sluice_crds::duration::GoDuration;

use super::act;
use crate::args::Restart;
use crate::client::Session;
use crate::failure::Failure;
use crate::output;

/// Asks for new pods, now or after a while.
///
/// # Errors
/// When the time cannot be read, or the API server refuses.
pub async fn run(session: &Session, options: &Restart) -> Result<(), Failure> {
    let delay = if options.delay.is_empty() {
        "0s"
    } else {
        &options.delay
    };
    let wait: GoDuration = delay
        .parse()
        .map_err(|error| Failure::message(format_args!("--in: {error}")))?;
    let at = super::now().checked_add(wait.signed())?;
    let patches = commands::restart(at);
    act::send(session, act::Kind::Rollout, &options.name, &patches).await?;
    output::line(format_args!(
        "rollout '{}' restarts in {delay}",
        options.name
    ));
    Ok(())
}
