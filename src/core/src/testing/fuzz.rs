//! Random Rollouts, edits, scale events, verbs and faults, played on decisions alone.
//!
//! A seed gives a Rollout and a schedule, the same for ever. After every decision all invariants are
//! checked, by [`crate::invariants`] and by an observer that looks at pods and traffic only; at the
//! end faults stop, and the Rollout has to come to rest, to obey an abort and to finish. What fails
//! is replayed by its [`Case`], which [`shrink`] makes small.
//!
//! ```
//! use sluice_core::testing::fuzz::Case;
//!
//! let case: Case = "7:0,2".parse().unwrap(); // of seed 7 only the first and the third event
//! assert_eq!(case.to_string(), "7:0,2");
//! assert!(case.run().failure.is_none());
//! ```

#![allow(
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a schedule that makes no sense is a broken test, and tells few things apart"
)]

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use sluice_crds::Rollout;

pub mod more;
pub mod op;
pub mod random;
pub mod shape;

mod cache;
mod change;
mod ending;
mod execute;
mod happen;
mod late;
mod observer;
mod outside;
mod stage;
mod tell;

use op::Op;
use random::Random;
use shape::Shape;
use stage::Stage;

/// A schedule, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What everything follows from.
    pub seed: u64,
    /// Indices of the events that happen; `None`: all of them.
    pub kept: Option<Vec<usize>>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seed)?;
        if let Some(kept) = &self.kept {
            let kept: Vec<String> = kept.iter().map(ToString::to_string).collect();
            write!(f, ":{}", kept.join(","))?;
        }
        Ok(())
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let number = text.trim().parse::<u64>();
            number.map_err(|error| format!("{text:?}: {error}"))
        };
        let (seed, kept) = match text.split_once(':') {
            None => (text, None),
            Some((seed, "")) => (seed, Some(Vec::new())),
            Some((seed, kept)) => {
                let kept = kept.split(',').map(|index| {
                    usize::try_from(number(index)?).map_err(|error| error.to_string())
                });
                (seed, Some(kept.collect::<Result<_, _>>()?))
            }
        };
        let seed = number(seed)?;
        Ok(Self { seed, kept })
    }
}

/// How a schedule went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What is wrong, the rule first.
    pub failure: Option<String>,
    /// Decisions that were made.
    pub passes: usize,
    /// Versions that became stable.
    pub updates: usize,
    /// The story, where it was asked for.
    pub story: Vec<String>,
}

impl Case {
    /// All of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self { seed, kept: None }
    }

    /// The events, with their indices.
    #[must_use]
    pub fn events(&self) -> Vec<(usize, Op)> {
        let usual = op::schedule(&mut Random::new(self.seed, 2));
        let length = usual.len();
        let more = more::schedule(&mut Random::new(self.seed, 6), length);
        let more = more.into_iter().zip(length..);
        let more = more.map(|((at, op), index)| (at, index, op));
        let usual = usual.into_iter().enumerate();
        let mut all: Vec<_> = usual.map(|(at, op)| (at, at, op)).chain(more).collect();
        // What happens besides has higher indices, and comes before the event at its place.
        all.sort_by_key(|(at, index, _)| (*at, *index < length, *index));
        let kept = |index: &usize| self.kept.as_ref().is_none_or(|kept| kept.contains(index));
        let all = all.into_iter().map(|(_, index, op)| (index, op));
        all.filter(|(index, _)| kept(index)).collect()
    }

    /// Plays it.
    #[must_use]
    pub fn run(&self) -> Outcome {
        self.play(false)
    }

    /// Plays it and tells the story.
    #[must_use]
    pub fn replay(&self) -> Outcome {
        self.play(true)
    }

    fn play(&self, tell: bool) -> Outcome {
        let shape = Shape::new(&mut Random::new(self.seed, 1));
        let mut stage = Stage::new(&shape, tell);
        let rollout = stage.rollout().clone();
        stage.tell(|_| format!("{:?}: {}", shape.kind, spec_text(&rollout)));
        let events = self.events();
        let abort = Random::new(self.seed, 5).chance(50);
        let played = catch_unwind(AssertUnwindSafe(|| {
            for (index, op) in &events {
                stage.tell(|_| format!("#{index}"));
                stage.step(op)?;
            }
            stage.end_well(abort)
        }));
        let failure = match played {
            Ok(Ok(())) => None,
            Ok(Err(wrong)) => Some(wrong),
            Err(panic) => Some(format!("panicked: {}", panic_text(&*panic))),
        };
        let events = stage.world.events.iter();
        Outcome {
            failure,
            passes: stage.passes,
            updates: events
                .filter(|event| event.reason == "RolloutCompleted")
                .count(),
            story: stage.log.unwrap_or_default(),
        }
    }
}

fn spec_text(rollout: &Rollout) -> String {
    let mut spec = serde_json::to_value(&rollout.spec).unwrap_or_default();
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("template");
        spec.remove("selector");
    }
    spec.to_string()
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a text".to_owned())
}

/// The first word of a failure: its rule. Shrinking keeps it.
#[must_use]
pub fn rule(failure: &str) -> &str {
    failure.split([' ', ':']).next().unwrap_or_default()
}

/// The smallest part of a failing case that it finds to fail by the same rule.
#[must_use]
pub fn shrink(case: &Case) -> Case {
    let Some(failure) = case.run().failure else {
        return case.clone();
    };
    let wanted = rule(&failure).to_owned();
    let all = case.events().into_iter().map(|(index, _)| index).collect();
    let fails = |kept: &[usize]| {
        let case = Case {
            seed: case.seed,
            kept: Some(kept.to_vec()),
        };
        let failure = case.run().failure;
        failure.is_some_and(|failure| rule(&failure) == wanted)
    };
    Case {
        seed: case.seed,
        kept: Some(fewest(all, fails)),
    }
}

/// Drops events, more at once and then one by one, as long as what is left `fails`.
pub fn fewest(mut kept: Vec<usize>, mut fails: impl FnMut(&[usize]) -> bool) -> Vec<usize> {
    let mut size = kept.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut dropped = false;
        while at < kept.len() {
            let mut fewer = kept.clone();
            fewer.drain(at..(at + size).min(kept.len()));
            if fails(&fewer) {
                kept = fewer;
                dropped = true;
            } else {
                at += size;
            }
        }
        if size > 1 {
            size = size.div_ceil(2);
        } else if !dropped {
            return kept;
        }
    }
}

/// Names of the Services in the spec.
fn named(rollout: &Rollout) -> Vec<String> {
    let services = sluice_crds::references::services(&rollout.spec);
    services
        .into_iter()
        .map(|(_, name)| name.to_owned())
        .collect()
}

#[cfg(test)]
mod tests;
