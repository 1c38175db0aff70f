//! The rows of `list rollouts` and `list experiments` (CLI-23, CLI-25).

use jiff::Timestamp;
use sluice_crds::duration::GoDuration;
use sluice_crds::{Experiment, Rollout};

use super::build::strategy_word;
use super::{age, weights};
use crate::phase;

/// Titles and least widths of `list rollouts`.
pub const ROLLOUT_COLUMNS: [(&str, usize); 9] = [
    ("NAME", 10),
    ("STRATEGY", 9),
    ("STATUS", 12),
    ("STEP", 4),
    ("SET-WEIGHT", 10),
    ("READY", 5),
    ("DESIRED", 7),
    ("UP-TO-DATE", 10),
    ("AVAILABLE", 9),
];

/// Titles and least widths of `list experiments`.
pub const EXPERIMENT_COLUMNS: [(&str, usize); 5] = [
    ("NAME", 10),
    ("STATUS", 6),
    ("DURATION", 8),
    ("REMAINING", 9),
    ("AGE", 3),
];

/// Title and least width of the column that `--all-namespaces` puts first.
pub const NAMESPACE_COLUMN: (&str, usize) = ("NAMESPACE", 9);

/// Cells of a Rollout, in the order of [`ROLLOUT_COLUMNS`].
#[must_use]
pub fn rollout(rollout: &Rollout) -> Vec<String> {
    let status = rollout.status.clone().unwrap_or_default();
    let shown = phase::shown(rollout);
    let canary = rollout.spec.strategy.canary.is_some();
    let step = weights::step(rollout);
    vec![
        rollout.metadata.name.clone().unwrap_or_default(),
        strategy_word(rollout).to_owned(),
        shown.phase.as_str().to_owned(),
        if canary && !step.is_empty() {
            step
        } else {
            "-".into()
        },
        if canary {
            weights::set_weight(rollout).to_string()
        } else {
            "-".into()
        },
        format!("{}/{}", status.ready_replicas, status.replicas),
        rollout.spec.replicas().to_string(),
        status.updated_replicas.to_string(),
        status.available_replicas.to_string(),
    ]
}

/// Cells of an Experiment, in the order of [`EXPERIMENT_COLUMNS`].
#[must_use]
pub fn experiment(experiment: &Experiment, now: Timestamp) -> Vec<String> {
    let status = experiment.status.clone().unwrap_or_default();
    let duration = experiment.spec.duration.as_str();
    let ends = status
        .available_at
        .filter(|_| !status.phase.completed())
        .zip(duration.parse::<GoDuration>().ok())
        .map(|(since, time)| since.timestamp().as_second() + time.as_secs() - now.as_second())
        .filter(|left| *left > 0);
    let created = experiment
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|time| time.0);
    vec![
        experiment.metadata.name.clone().unwrap_or_default(),
        status.phase.as_str().to_owned(),
        if duration.is_empty() {
            "-".into()
        } else {
            duration.to_owned()
        },
        ends.map_or_else(|| "-".into(), age::short),
        age::since(created, now),
    ]
}

/// Lines of a table: cells padded to the least width of their column, then to its widest cell, two
/// blanks between columns; the last cell keeps its padding to the least width.
#[must_use]
pub fn table(columns: &[(&str, usize)], rows: &[Vec<String>]) -> Vec<String> {
    let titles = columns
        .iter()
        .map(|(title, _)| (*title).to_owned())
        .collect();
    let all: Vec<&Vec<String>> = std::iter::once(&titles).chain(rows).collect();
    let mut widths: Vec<usize> = columns.iter().map(|(_, width)| *width).collect();
    let last = widths.len().saturating_sub(1);
    for row in &all {
        for (width, cell) in widths.iter_mut().zip(row.iter()).take(last) {
            *width = (*width).max(cell.chars().count());
        }
    }
    all.iter()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            cells.join("  ")
        })
        .collect()
}
