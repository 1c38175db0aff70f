//! `get rollout` and `get experiment` (CLI-9..22).

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::args::{GetExperiment, GetRollout};
use crate::client::Session;
use crate::failure::Failure;
use crate::objects::{Live, Objects};
use crate::{output, tree};

/// Draws the text for objects, a name, a time, with or without colours.
type Draw = fn(&Objects, &str, Timestamp, bool) -> Option<String>;

/// `get rollout`.
///
/// # Errors
/// When there is none of that name, when the API server refuses, or after the timeout (EDGE-3).
pub async fn rollout(session: &Session, options: &GetRollout) -> Result<(), Failure> {
    let colours = output::colours(options.no_color);
    let patience = (options.timeout_seconds > 0)
        .then(|| Instant::now() + Duration::from_secs(options.timeout_seconds));
    if options.watch {
        watch(
            session,
            "rollout",
            &options.name,
            tree::rollout,
            colours,
            patience,
        )
        .await
    } else {
        once(session, "rollout", &options.name, tree::rollout, colours).await
    }
}

/// `get experiment`.
///
/// # Errors
/// When there is none of that name, or when the API server refuses.
pub async fn experiment(session: &Session, options: &GetExperiment) -> Result<(), Failure> {
    let colours = output::colours(options.no_color);
    if options.watch {
        watch(
            session,
            "experiment",
            &options.name,
            tree::experiment,
            colours,
            None,
        )
        .await
    } else {
        once(
            session,
            "experiment",
            &options.name,
            tree::experiment,
            colours,
        )
        .await
    }
}

fn not_found(kind: &str, name: &str) -> Failure {
    Failure::message(format_args!("{kind}.argoproj.io {name:?} not found"))
}

async fn once(
    session: &Session,
    kind: &str,
    name: &str,
    draw: Draw,
    colours: bool,
) -> Result<(), Failure> {
    let objects = Objects::read(session).await?;
    let text = draw(&objects, name, super::now(), colours).ok_or_else(|| not_found(kind, name))?;
    output::text(text);
    Ok(())
}

/// Redraws on change, at most every 200 ms, and every second for the ages (CLI-21).
async fn watch(
    session: &Session,
    kind: &str,
    name: &str,
    draw: Draw,
    colours: bool,
    deadline: Option<Instant>,
) -> Result<(), Failure> {
    let mut live = Live::start(session).await?;
    let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
    let mut drawn = String::new();
    loop {
        let text =
            draw(&live.now(), name, super::now(), colours).ok_or_else(|| not_found(kind, name))?;
        if text != drawn {
            output::text(format_args!("\x1b[H\x1b[2J\x1b[0;0H{text}"));
            drawn = text;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Failure::message(format_args!(
                "{kind} {name:?} watch exceeded timeout"
            )));
        }
        tokio::select! {
            _ = &mut stop => return Ok(()),
            result = async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                live.change(Duration::from_millis(800)).await
            } => result?,
        }
    }
}
