//! Times that lie in the future: a clock was set back, or another machine's was ahead (FLT-27).
//!
//! What is measured from such a time would take as much longer as the clock was wrong. It counts from
//! now on instead, and that is written down once. A clock that jumps ahead cannot be told from time that
//! passed.

use jiff::{SignedDuration, Timestamp};
use sluice_crds::Time;
use sluice_crds::rollout::RolloutStatus;

use crate::conditions::kind;

/// How far the clocks of two healthy machines may differ: nothing is rewritten for that.
const SKEW: SignedDuration = SignedDuration::from_secs(10);

/// Whether `at` lies in the future, seen from `now`, by more than clocks may differ.
pub(crate) fn is_ahead(at: Timestamp, now: Timestamp) -> bool {
    now.checked_add(SKEW).is_ok_and(|latest| at > latest)
}

/// Lets pauses, and the progress that the deadline is measured from, begin now at the latest.
pub(crate) fn heal(status: &mut RolloutStatus, now: Timestamp) {
    let pauses = status.pause_conditions.iter_mut();
    let pauses = pauses.map(|pause| &mut pause.start_time);
    let progress = status.conditions.iter_mut();
    let progress = progress.filter(|condition| condition.r#type == kind::PROGRESSING);
    let progress = progress.map(|condition| &mut condition.last_update_time);
    for time in pauses.chain(progress) {
        if is_ahead(time.timestamp(), now) {
            *time = Time::new(now);
        }
    }
}
