//! `explain`: what a Rollout waits for, in plain words.
//!
//! Everything is read once, [`sluice_core::decide`] decides as a controller would, and
//! [`sluice_core::explain`] tells the plan. Nothing is written.

mod text;

use std::sync::Arc;

use sluice_controller::clock::SystemClock;
use sluice_controller::look::look;
use sluice_core::decide::decide;
use sluice_core::explain::{Scene, explain};

use crate::args::{Explain, Format};
use crate::client::Session;
use crate::failure::Failure;
use crate::output;
use crate::tree::Brush;

/// Explains one Rollout.
///
/// # Errors
/// When there is none of that name, or the cluster cannot be read.
pub async fn run(session: &Session, options: &Explain) -> Result<(), Failure> {
    let client = session.client.clone();
    let clock = Arc::new(SystemClock);
    let seen = look(client, &session.namespace, &options.name, clock).await?;
    let now = super::now();
    let plan = decide(&seen.seen, now);
    let told = explain(&Scene {
        seen: &seen.seen,
        plan: &plan,
        pods: &seen.pods,
        holders: seen.holders,
        unread: &seen.unread,
        now,
    });
    match options.output {
        Format::Json => output::line(serde_json::to_string_pretty(&told)?),
        Format::Table => {
            let brush = Brush::new(output::colours(options.no_color));
            output::text(text::render(&told, now, brush));
        }
    }
    Ok(())
}
