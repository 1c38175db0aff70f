//! How many events an object may cause, and which were written lately.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use sluice_core::event::{Event, EventType};
use tokio::time::Instant;

/// Events of one object that may be written at once.
const BURST: u32 = 100;
/// Time after which one more may be written.
const REFILL: Duration = Duration::from_secs(10);
/// Events per object whose repetition raises a count instead of making a new Event.
const RECENT: usize = 64;
/// Objects without news are forgotten after this time.
pub(super) const IDLE: Duration = Duration::from_secs(600);

/// Reasons that are written whatever the budget says: people and tools follow an update by them.
const NEVER_DROPPED: [&str; 14] = [
    "NewReplicaSetCreated",
    "RolloutAborted",
    "RolloutCompleted",
    "RolloutDeleted",
    "RolloutNotCompleted",
    "RolloutPaused",
    "RolloutResumed",
    "RolloutStepCompleted",
    "RolloutUpdated",
    "ScalingReplicaSet",
    "SkipSteps",
    "SwitchService",
    "AnalysisRunFailed",
    "AnalysisRunError",
];

/// Whether an event is written soon however busy its object is: warnings, and what ends an update.
pub(super) fn is_urgent(event: &Event) -> bool {
    const ENDINGS: [&str; 3] = ["RolloutAborted", "RolloutCompleted", "RolloutDeleted"];
    event.kind == EventType::Warning || ENDINGS.contains(&event.reason.as_str())
}

/// A budget: full at first, then one more per [`REFILL`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    left: u32,
    at: Instant,
}

impl Budget {
    pub(super) fn full(now: Instant) -> Self {
        Self {
            left: BURST,
            at: now,
        }
    }

    /// Whether `event` may be written; takes it from the budget.
    pub(super) fn allows(&mut self, event: &Event, now: Instant) -> bool {
        if NEVER_DROPPED.contains(&event.reason.as_str()) {
            return true;
        }
        let refills = (now.duration_since(self.at).as_secs() / REFILL.as_secs()).min(BURST.into());
        let refills = u32::try_from(refills).unwrap_or(BURST);
        self.at += REFILL * refills;
        self.left = self.left.saturating_add(refills).min(BURST);
        if self.left == BURST {
            self.at = now;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

/// An Event that was written.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    /// What it says, as a digest: the texts of an object would be most of what is known of it.
    said: u64,
    pub(super) name: String,
    pub(super) count: i32,
}

fn digest(event: &Event) -> u64 {
    let mut hasher = DefaultHasher::new();
    let warning = event.kind == EventType::Warning;
    (warning, &event.reason, &event.message).hash(&mut hasher);
    hasher.finish()
}

impl Recent {
    /// The one that says the same as `event`.
    pub(super) fn of<'a>(recent: &'a mut VecDeque<Self>, event: &Event) -> Option<&'a mut Self> {
        let said = digest(event);
        recent.iter_mut().find(|known| known.said == said)
    }

    /// Notes a new Event, forgetting the oldest when there are many.
    pub(super) fn remember(recent: &mut VecDeque<Self>, event: &Event, name: String, count: i32) {
        let said = digest(event);
        recent.retain(|known| known.said != said);
        if recent.len() >= RECENT {
            recent.pop_front();
        }
        recent.push_back(Self { said, name, count });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SE-26
    #[tokio::test(start_paused = true)]
    async fn noise_ends_and_milestones_never_do() {
        let mut budget = Budget::full(Instant::now());
        let noise = Event::normal("TrafficWeightUpdated", "");
        let written = (0..300)
            .filter(|_| budget.allows(&noise, Instant::now()))
            .count();
        assert_eq!(written, 100);
        assert!(budget.allows(&Event::normal("RolloutStepCompleted", ""), Instant::now()));
        tokio::time::advance(Duration::from_secs(25)).await;
        let written = (0..300)
            .filter(|_| budget.allows(&noise, Instant::now()))
            .count();
        assert_eq!(written, 2);
    }
}
