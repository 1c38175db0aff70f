//! A change of leaders: writes of the old one that are still under way arrive while the new one works
//! (INV-12, FLT-25). The fence stops whatever was not sent yet.

use jiff::{SignedDuration, Timestamp};
use sluice_crds::rollout::RolloutStatus;

use super::execute::Stop;
use super::stage::Stage;
use crate::plan::Action;

/// What is under way, with the version of the Rollout that it holds for.
#[derive(Clone, Debug)]
pub(super) enum Write {
    Of(Action, Option<String>),
    Status(Box<RolloutStatus>, Option<String>),
}

/// A write that arrives later.
#[derive(Clone, Debug)]
pub(super) struct Straggler {
    pub(super) at: Timestamp,
    write: Write,
}

impl Stage {
    pub(super) fn lose_lease(&mut self, seconds: i64, write: Write) -> Stop {
        let at = self.world.now + SignedDuration::from_secs(seconds);
        self.tell(|_| format!("  the lease is lost, and {seconds} s later arrives: {write:?}"));
        self.straggler = guarded(&write).then_some(Straggler { at, write });
        Stop::Died
    }

    /// What was under way arrives, if its time has come; answers whether it did.
    pub(super) fn arrive_late(&mut self) -> bool {
        let now = self.world.now;
        let Some(late) = self.straggler.take_if(|late| late.at <= now) else {
            return false;
        };
        self.observer.disturbed();
        self.trace.outside();
        let found = self.world.rollout.metadata.resource_version.clone();
        let done = match late.write {
            Write::Of(Action::PatchRollout { .. }, version) if version != found => false,
            Write::Of(action, _) => self.world.write(&action).is_ok(),
            Write::Status(next, version) => {
                let same = version == found;
                if same {
                    self.world.status(|status| *status = *next);
                }
                same
            }
        };
        self.tell(|_| format!("  what was under way arrives: {done}"));
        done
    }
}

/// Whether the API server refuses it once somebody else has written the object: the others are safe
/// by the fence alone.
fn guarded(write: &Write) -> bool {
    match write {
        Write::Status(..) => true,
        Write::Of(action, _) => matches!(
            action,
            Action::PatchRollout { .. }
                | Action::CreateReplicaSet(_)
                | Action::PatchReplicaSet { .. }
                | Action::CreateAnalysisRun(_)
                | Action::CreateExperiment(_)
        ),
    }
}
