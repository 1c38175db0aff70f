//! The invariants as executable checks: an independent look at what was decided.
//!
//! [`check`] looks at one decision, [`Trace`] at a sequence of them. Both are cheap enough for every
//! step of a simulation and for debug builds of the controller. What cannot be told from
//! observation and plan (INV-12, the lease) is not here.
//!
//! A check that fails names its rule and the object; it never trusts the code that decided, and
//! shares no arithmetic with it but [`crate::replicas::Fences`].

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each check picks out the few actions that concern it"
)]

use std::fmt;

use crate::observed::Observed;
use crate::plan::Plan;

mod facts;
mod intents;
mod pods;
#[cfg(test)]
mod tests;
mod trace;
mod traffic;

pub use trace::Trace;

/// A rule that a decision breaks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Number of the invariant.
    pub rule: u8,
    /// The object, as `Kind/name`.
    pub object: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "INV-{} {}: {}", self.rule, self.object, self.message)
    }
}

/// What a single decision breaks; empty when all is well.
#[must_use]
pub fn check(seen: &Observed, plan: &Plan) -> Vec<Violation> {
    let Some(facts) = facts::Facts::new(seen, plan) else {
        return Vec::new();
    };
    let mut found = Findings(Vec::new());
    traffic::weights_are_sane(&facts, &mut found);
    traffic::traffic_to_ready_pods(&facts, &mut found);
    traffic::share_follows_capacity(&facts, &mut found);
    traffic::selectors_to_ready_pods(&facts, &mut found);
    pods::nothing_that_serves_shrinks(&facts, &mut found);
    pods::availability_budget(&facts, &mut found);
    pods::surge_budget(&facts, &mut found);
    pods::deletions(&facts, &mut found);
    pods::one_child(&facts, &mut found);
    pods::bytes_survive(&facts, &mut found);
    intents::guards(&facts, &mut found);
    intents::kept(&facts, &mut found);
    intents::promotion_needs_proof(&facts, &mut found);
    intents::steps_are_honest(&facts, &mut found);
    intents::abort_moves(&facts, &mut found);
    intents::progress_or_reason(&facts, &mut found);
    intents::bounded(&facts, &mut found);
    found.0
}

/// Violations found so far.
pub(crate) struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, rule: u8, object: impl Into<String>, message: impl Into<String>) {
        self.0.push(Violation {
            rule,
            object: object.into(),
            message: message.into(),
        });
    }
}
