//! `explain`: what a Rollout waits for, in plain words.
//!
//! Everything is read once, [`sluice_core::decide`] decides as a controller would, and
//! [`sluice_core::explain`] tells the plan. Nothing is written.

mod text;

use std::sync::Arc;
use std::time::Duration;

use sluice_controller::clock::SystemClock;
use sluice_controller::look::{Look, LookError, look};
use sluice_core::decide::decide;
use sluice_core::explain::{Explanation, Scene, State, explain};
use sluice_core::observed::Seen;

use crate::args::{Explain, Format};
use crate::client::Session;
use crate::failure::Failure;
use crate::output;
use crate::tree::Brush;

/// How long a controller may take to do what is due before it is said that none acts.
const PATIENCE: Duration = Duration::from_secs(2);

async fn see(session: &Session, name: &str) -> Result<Look, LookError> {
    let clock = Arc::new(SystemClock);
    look(session.client.clone(), &session.namespace, name, clock).await
}

fn version(seen: &Look) -> Option<&String> {
    seen.seen.rollout.metadata.resource_version.as_ref()
}

fn tell(seen: &Look) -> Explanation {
    let now = super::now();
    let plan = decide(&seen.seen, now);
    explain(&Scene {
        seen: &seen.seen,
        plan: &plan,
        pods: &seen.pods,
        holders: seen.holders.clone(),
        unread: &seen.unread,
        now,
    })
}

/// Explains one Rollout.
///
/// # Errors
/// When there is none of that name, or the cluster cannot be read.
pub async fn run(session: &Session, options: &Explain) -> Result<(), Failure> {
    let mut seen = see(session, &options.name).await?;
    let mut told = tell(&seen);
    if told.state == State::Unattended {
        // A controller may run without a lease, or with one elsewhere: then things change.
        tokio::time::sleep(PATIENCE).await;
        let later = see(session, &options.name).await?;
        if version(&later) != version(&seen) {
            let text = "one acts, though no valid lease of it was found";
            seen = Look {
                holders: Seen::Unread(text.to_owned()),
                ..later
            };
        } else {
            seen = later;
        }
        told = tell(&seen);
    }
    let now = super::now();
    match options.output {
        Format::Json => output::line(serde_json::to_string_pretty(&told)?),
        Format::Table => {
            let brush = Brush::new(output::colours(options.no_color));
            output::text(text::render(&told, now, brush));
        }
    }
    Ok(())
}
