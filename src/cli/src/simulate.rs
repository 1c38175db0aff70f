//! `simulate`: an update of the user's own manifests, played on a cluster inside this process.
//!
//! The real controller runs on a simulated clock, so that an hour of pauses takes a moment.
//!
//! | module | what |
//! |---|---|
//! | [`input`] | files to objects, what they lack, what the update is |
//! | [`images`] | what the update changes |
//! | [`fault`] | what goes wrong |
//! | [`measure`] | measurements by formulas |
//! | [`play`] | one update, from the beginning to the end |
//! | [`stage`] | the cluster of it: objects, controller, metrics |
//! | [`player`] | the update as it happens |
//! | [`verdict`] | how it ended |
//! | [`report`] | what is printed |

mod fault;
mod images;
mod input;
mod measure;
mod play;
mod player;
mod report;
mod stage;
mod verdict;

use serde_json::Value;

use self::fault::Faults;
use self::input::Input;
use self::report::Report;
use crate::args::{Format, Simulate};
use crate::failure::Failure;
use crate::output;
use crate::tree::Brush;

/// Plays an update and prints how it went.
///
/// # Errors
/// What is wrong with the input; else, unless the update was promoted, the exit code of how it ended.
pub(crate) fn run(options: &Simulate, namespace: Option<&str>) -> Result<(), Failure> {
    let report = played(options, namespace)?;
    match options.output {
        Format::Json => output::line(serde_json::to_string_pretty(&report)?),
        Format::Table => {
            let brush = Brush::new(output::colours(options.no_color));
            output::text(report.text(brush));
        }
    }
    match report.outcome.code() {
        0 => Ok(()),
        code => Err(Failure::Code(code)),
    }
}

/// Plays an update and tells how it went, as `-o json` prints it.
///
/// # Errors
/// What is wrong with the input.
pub fn told(options: &Simulate, namespace: Option<&str>) -> Result<Value, Failure> {
    Ok(serde_json::to_value(played(options, namespace)?)?)
}

fn played(options: &Simulate, namespace: Option<&str>) -> Result<Report, Failure> {
    let faults = Faults::parse(&options.fault)?;
    let input = Input::read(options, namespace)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()?;
    let report = runtime.block_on(play::play(input, &faults, options));
    runtime.shutdown_background();
    Ok(report?)
}
