//! Drawing trees on a terminal or into a pipe.

use jiff::Timestamp;
use sluice_core::view::tree::Colour;
use sluice_core::view::{Around, ExperimentView, RolloutView, tree};

use crate::objects::Objects;

/// The ANSI colour of a meaning (CLI-20).
fn paint(text: &str, colour: Colour) -> String {
    let code = match colour {
        Colour::Waiting => 33,
        Colour::Working => 94,
        Colour::Bad => 31,
        Colour::Good => 32,
        Colour::Plain => return text.to_owned(),
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

fn plain(text: &str, _: Colour) -> String {
    text.to_owned()
}

/// Paints, or leaves everything as it is.
#[derive(Clone, Copy, Debug)]
pub struct Brush {
    colours: bool,
}

impl Brush {
    /// With colours or without.
    #[must_use]
    pub fn new(colours: bool) -> Self {
        Self { colours }
    }

    /// In the colour of a meaning.
    #[must_use]
    pub fn paint(self, text: &str, colour: Colour) -> String {
        self.draw(|paint| paint(text, colour))
    }

    /// Bold.
    #[must_use]
    pub fn strong(self, text: &str) -> String {
        self.code(1, text)
    }

    /// Less important.
    #[must_use]
    pub fn faint(self, text: &str) -> String {
        self.code(2, text)
    }

    fn code(self, code: u8, text: &str) -> String {
        if self.colours && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Lets something draw with the colours.
    pub fn draw(self, drawing: impl FnOnce(tree::Paint<'_>) -> String) -> String {
        drawing(if self.colours { &paint } else { &plain })
    }
}

/// The first `columns` columns of a line. Escape sequences take none, and the last colour is ended.
#[must_use]
pub fn cut(line: &str, columns: usize) -> String {
    let mut kept = String::new();
    let (mut shown, mut escaped, mut painted) = (0, false, false);
    for sign in line.chars() {
        if escaped {
            escaped = !sign.is_ascii_alphabetic();
        } else if sign == '\x1b' {
            (escaped, painted) = (true, true);
        } else {
            if shown == columns {
                if painted {
                    kept.push_str("\x1b[0m");
                }
                return kept;
            }
            shown += 1;
        }
        kept.push(sign);
    }
    kept
}

/// The view of a Rollout among its objects; `None` when there is no such Rollout.
#[must_use]
pub fn rollout_view(objects: &Objects, name: &str, now: Timestamp) -> Option<RolloutView> {
    let rollout = objects.rollouts.get(name)?;
    let all = All::of(objects);
    Some(RolloutView::new(rollout, all.around(), now))
}

/// The text of `get rollout`; `None` when there is no such Rollout.
#[must_use]
pub fn rollout(objects: &Objects, name: &str, now: Timestamp, colours: bool) -> Option<String> {
    let view = rollout_view(objects, name, now)?;
    Some(Brush::new(colours).draw(|paint| tree::rollout(&view, paint)))
}

/// The text of `get experiment`; `None` when there is no such Experiment.
#[must_use]
pub fn experiment(objects: &Objects, name: &str, now: Timestamp, colours: bool) -> Option<String> {
    let experiment = objects.experiments.get(name)?;
    let all = All::of(objects);
    let view = ExperimentView::new(experiment, all.around(), now);
    Some(Brush::new(colours).draw(|paint| tree::experiment(&view, paint)))
}

/// The maps' values, side by side.
struct All {
    replica_sets: Vec<std::sync::Arc<sluice_crds::ReplicaSet>>,
    pods: Vec<std::sync::Arc<k8s_openapi::api::core::v1::Pod>>,
    experiments: Vec<std::sync::Arc<sluice_crds::Experiment>>,
    analysis_runs: Vec<std::sync::Arc<sluice_crds::AnalysisRun>>,
}

impl All {
    fn of(objects: &Objects) -> Self {
        Self {
            replica_sets: objects.replica_sets.values().cloned().collect(),
            pods: objects.pods.values().cloned().collect(),
            experiments: objects.experiments.values().cloned().collect(),
            analysis_runs: objects.analysis_runs.values().cloned().collect(),
        }
    }

    fn around(&self) -> Around<'_> {
        Around {
            replica_sets: &self.replica_sets,
            pods: &self.pods,
            experiments: &self.experiments,
            analysis_runs: &self.analysis_runs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_by_what_is_seen() {
        for (line, columns, want) in [
            ("plain", 9, "plain"),
            ("plain", 3, "pla"),
            ("\x1b[32m✔\x1b[0m good", 3, "\x1b[32m✔\x1b[0m g\x1b[0m"),
            ("a\x1b[32mbc\x1b[0m", 3, "a\x1b[32mbc\x1b[0m"),
        ] {
            assert_eq!(cut(line, columns), want, "{line:?}");
        }
    }
}
