//! `promote` (CLI-30).

use kube::api::Api;
use sluice_core::commands::{self, Promotion};
use sluice_crds::Rollout;

use super::act;
use crate::args::Promote;
use crate::client::Session;
use crate::failure::Failure;
use crate::output;

/// Reads the rollout, decides, patches.
///
/// # Errors
/// When steps are to be skipped that do not exist, or the API server refuses.
pub async fn run(session: &Session, options: &Promote) -> Result<(), Failure> {
    let api: Api<Rollout> = Api::namespaced(session.client.clone(), &session.namespace);
    let rollout = api.get(&options.name).await?;
    let how = Promotion {
        full: options.full,
        skip_current_step: options.skip_current_step,
        skip_all_steps: options.skip_all_steps,
    };
    let patches = commands::promote(&rollout, how)?;
    act::send(session, act::Kind::Rollout, &options.name, &patches).await?;
    let word = if options.full {
        "fully promoted"
    } else {
        "promoted"
    };
    output::line(format_args!("rollout '{}' {word}", options.name));
    Ok(())
}
