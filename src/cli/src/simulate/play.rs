//! One update from its beginning to its end.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use sluice_crds::duration::GoDuration;

use super::fault::Faults;
use super::input::Input;
use super::player::Player;
use super::report::Report;
use super::stage::{Old, Stage};
use crate::args::Simulate;

/// Plays the update.
///
/// # Errors
/// When the first version cannot be brought up, or an option makes no sense.
pub(super) async fn play(input: Input, faults: &Faults, options: &Simulate) -> Result<Report> {
    let until: GoDuration = options
        .until
        .parse()
        .map_err(|error| anyhow!("--until: {error}"))?;
    let until = Duration::try_from(until.signed()).context("--until")?;
    let old = Old::default();
    let mut stage = Stage::build(&input, faults, options, &old).await?;
    stage.first(&input).await?;
    stage.begin(&input, faults, &old).await?;
    let mut player = Player::new(&stage, &input);
    for fault in &faults.written {
        player.tell("fault", fault.clone());
    }
    let end = player.watch(&stage, &input, faults, options, until).await?;
    let report = player.report(&stage, input, end);
    stage.world.close().await;
    Ok(report)
}
