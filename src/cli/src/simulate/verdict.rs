//! How an update ended: the report of it.

use std::sync::PoisonError;
use std::time::Duration;

use super::input::Input;
use super::player::Player;
use super::report::{self, Outcome, Report, Requests, Waits};
use super::stage::Stage;

/// Requests in a simulated second.
pub(super) const PER_SECOND: u32 = 100;

/// How it ended, and why.
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) why: String,
    /// When, since the update.
    pub(super) at: Duration,
}

impl Player {
    /// Everything that was told, and how it ended.
    pub(super) fn report(mut self, stage: &Stage, input: Input, end: End) -> Report {
        self.entries.sort_by(|a, b| a.at.total_cmp(&b.at));
        let took = report::clock(end.at.as_secs_f64());
        let verdict = match end.outcome {
            Outcome::Promoted => format!("Promoted after {took}: {}.", end.why),
            Outcome::Aborted => {
                let back = match self.last.serving() {
                    Some(image) => format!(" {}.", input.images.serving(image)),
                    None => String::new(),
                };
                format!(
                    "Aborted after {took}: {}.{back}",
                    end.why.trim_end_matches('.')
                )
            }
            Outcome::Degraded => {
                format!("Degraded since {took}: {}.", end.why.trim_end_matches('.'))
            }
            Outcome::Waiting => {
                format!(
                    "Still waiting after {took}: {}.",
                    end.why.trim_end_matches('.')
                )
            }
        };
        let mut notes = input.notes;
        notes.extend(stage.notes.iter().cloned());
        let assumed = stage.assumed.lock().unwrap_or_else(PoisonError::into_inner);
        notes.extend(assumed.iter().cloned());
        let waits = stage.world.waits();
        let waits = waits.iter().filter(|_| end.outcome != Outcome::Promoted);
        let requests = input.host.map(|target| Requests {
            target,
            per_second: PER_SECOND,
            sent: (self.now.as_secs_f64() * f64::from(PER_SECOND)).round() as u64,
            without_ready_pod: self.unanswered.ceil() as u64,
            worst_share: self.worst.0,
            worst_at: self.worst.1.map(|at| at.as_secs_f64()),
        });
        Report {
            rollout: input.name,
            namespace: input.namespace,
            images: input.images.iter().cloned().collect(),
            first: input.images.first,
            notes,
            timeline: self.entries,
            outcome: end.outcome,
            exit_code: end.outcome.code(),
            verdict,
            seconds: end.at.as_secs_f64(),
            requests,
            waits: waits
                .map(|why| Waits {
                    reason: why.reason.as_str(),
                    object: why.object.clone(),
                    message: why.message.clone(),
                })
                .collect(),
        }
    }
}

/// The cause in a phase's message: `RolloutAborted: Rollout aborted update to revision 2: CAUSE`.
pub(super) fn cause(message: &str) -> String {
    let (reason, rest) = message.split_once(": ").unwrap_or(("", message));
    let cause = rest.split_once(": ").map(|(_, cause)| cause);
    let cause = cause.filter(|_| reason == "RolloutAborted");
    cause.unwrap_or(rest).to_owned()
}
