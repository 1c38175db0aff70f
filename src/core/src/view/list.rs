//! Rows of `list rollouts` and `list experiments` (CLI-23, CLI-25).

use jiff::Timestamp;
use sluice_crds::duration::GoDuration;
use sluice_crds::{Experiment, Rollout, Time};

use super::{age, created, set_weight, step, strategy};
use crate::phase;

/// Which columns are shown besides the usual ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// `--all-namespaces`: NAMESPACE first.
    pub namespace: bool,
    /// `--timestamps`: TIMESTAMP before the others, after NAMESPACE.
    pub timestamp: bool,
}

/// One row: cells, each padded to the least width of its column.
pub type Cells = Vec<String>;

const ROLLOUTS: [(&str, usize); 9] = [
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

const EXPERIMENTS: [(&str, usize); 5] = [
    ("NAME", 10),
    ("STATUS", 6),
    ("DURATION", 8),
    ("REMAINING", 9),
    ("AGE", 3),
];

const NAMESPACE: usize = 9;
const TIMESTAMP: usize = 20;

/// The title line of `list rollouts`.
#[must_use]
pub fn rollout_titles(columns: Columns) -> Cells {
    let titles = ROLLOUTS.map(|(title, _)| title.to_owned());
    cells(columns, ["NAMESPACE", "TIMESTAMP"], titles, &ROLLOUTS)
}

/// One Rollout. Two rows that are equal but for the timestamp show nothing new.
#[must_use]
pub fn rollout(rollout: &Rollout, columns: Columns, now: Timestamp) -> Cells {
    let status = rollout.status.clone().unwrap_or_default();
    let canary = rollout.spec.canary().is_some();
    let or_dash = |text: String| {
        if canary && !text.is_empty() {
            text
        } else {
            "-".to_owned()
        }
    };
    let values = [
        rollout.metadata.name.clone().unwrap_or_default(),
        strategy(rollout).to_owned(),
        phase::shown(rollout).phase.to_string(),
        or_dash(step(rollout)),
        or_dash(set_weight(rollout).to_string()),
        format!("{}/{}", status.ready_replicas, status.replicas),
        rollout.spec.replicas().to_string(),
        status.updated_replicas.to_string(),
        status.available_replicas.to_string(),
    ];
    let namespace = rollout.metadata.namespace.as_deref().unwrap_or("");
    let at = Time::new(now).to_string();
    cells(columns, [namespace, &at], values, &ROLLOUTS)
}

/// The title line of `list experiments`.
#[must_use]
pub fn experiment_titles(columns: Columns) -> Cells {
    let titles = EXPERIMENTS.map(|(title, _)| title.to_owned());
    cells(columns, ["NAMESPACE", "TIMESTAMP"], titles, &EXPERIMENTS)
}

/// One Experiment.
#[must_use]
pub fn experiment(experiment: &Experiment, columns: Columns, now: Timestamp) -> Cells {
    let status = experiment.status.clone().unwrap_or_default();
    let dash = || "-".to_owned();
    let duration = &experiment.spec.duration;
    let remaining = || {
        let whole = duration.parse::<GoDuration>().ok()?.signed();
        let end = status.available_at?.timestamp().checked_add(whole).ok()?;
        (!status.phase.completed() && end > now).then(|| age::short(end.duration_since(now)))
    };
    let values = [
        experiment.metadata.name.clone().unwrap_or_default(),
        status.phase.to_string(),
        if duration.is_empty() {
            dash()
        } else {
            duration.clone()
        },
        remaining().unwrap_or_else(dash),
        age::since(created(&experiment.metadata), now),
    ];
    let namespace = experiment.metadata.namespace.as_deref().unwrap_or("");
    let at = Time::new(now).to_string();
    cells(columns, [namespace, &at], values, &EXPERIMENTS)
}

fn cells<const N: usize>(
    columns: Columns,
    [namespace, timestamp]: [&str; 2],
    values: [String; N],
    widths: &[(&str, usize); N],
) -> Cells {
    let mut cells = Vec::with_capacity(N + 2);
    if columns.namespace {
        cells.push(format!("{namespace:NAMESPACE$}"));
    }
    if columns.timestamp {
        cells.push(format!("{timestamp:TIMESTAMP$}"));
    }
    let padded = values.into_iter().zip(widths);
    cells.extend(padded.map(|(value, (_, width))| format!("{value:width$}")));
    cells
}

/// Aligns rows with two blanks between columns; the last column keeps its own padding.
#[must_use]
pub fn align(rows: &[Cells]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(at) {
                Some(widest) => *widest = (*widest).max(width),
                None => widths.push(width),
            }
        }
    }
    let mut out = String::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if at + 1 < row.len() {
                let width = widths.get(at).copied().unwrap_or_default() + 2;
                out.push_str(&" ".repeat(width - cell.chars().count()));
            }
        }
        out.push('\n');
    }
    out
}
