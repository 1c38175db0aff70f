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

/// The text of `get rollout`; `None` when there is no such Rollout.
#[must_use]
pub fn rollout(objects: &Objects, name: &str, now: Timestamp, colours: bool) -> Option<String> {
    let rollout = objects.rollouts.get(name)?;
    let all = All::of(objects);
    let view = RolloutView::new(rollout, all.around(), now);
    Some(tree::rollout(&view, if colours { &paint } else { &plain }))
}

/// The text of `get experiment`; `None` when there is no such Experiment.
#[must_use]
pub fn experiment(objects: &Objects, name: &str, now: Timestamp, colours: bool) -> Option<String> {
    let experiment = objects.experiments.get(name)?;
    let all = All::of(objects);
    let view = ExperimentView::new(experiment, all.around(), now);
    Some(tree::experiment(
        &view,
        if colours { &paint } else { &plain },
    ))
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
