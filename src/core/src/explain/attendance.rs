//! Whether anybody acts: the controllers' lease, and how far a controller has looked.

use jiff::Timestamp;
use serde::Serialize;
use sluice_crds::Rollout;

use crate::conditions;
use crate::observed::Seen;
use crate::view::age;

/// Seconds that a lease may be overdue before nobody is taken to hold it: clocks differ.
const GRACE: i64 = 15;

/// Who holds a lease, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Namespace of the lease.
    pub namespace: String,
    /// `spec.holderIdentity`; empty when it was given back.
    pub identity: String,
    /// `spec.renewTime`.
    pub renewed: Option<Timestamp>,
    /// `spec.leaseDurationSeconds`.
    pub seconds: i64,
}

/// Whether a controller is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Presence {
    /// One holds the lease.
    Running,
    /// The lease has expired, or was given back.
    Gone,
    /// There is no lease.
    None,
    /// The lease could not be read.
    Unknown,
}

impl Presence {
    /// Whether nobody is there, as far as one can tell.
    #[must_use]
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Gone | Self::None)
    }
}

/// Who acts on a Rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attendance {
    /// Whether a controller is there.
    pub state: Presence,
    /// Who holds the lease.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub holder: String,
    /// Namespace of the lease.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Last sign of life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewed: Option<Timestamp>,
    /// A change of the spec that no controller has looked at yet.
    pub behind: bool,
    /// One sentence without a full stop.
    pub message: String,
}

pub(super) fn of(holders: &Seen<Vec<Holder>>, rollout: &Rollout, now: Timestamp) -> Attendance {
    let behind = rollout
        .status
        .as_ref()
        .is_none_or(|status| !conditions::observed(rollout, status));
    let mut found = Attendance {
        state: Presence::Unknown,
        holder: String::new(),
        namespace: String::new(),
        renewed: None,
        behind,
        message: String::new(),
    };
    let newest = match holders {
        Seen::Found(all) => all.iter().max_by_key(|holder| holder.renewed),
        Seen::Absent => None,
        Seen::Unread(why) => {
            found.message = format!("whether a controller runs is not known: {why}");
            return found;
        }
    };
    let Some(holder) = newest else {
        found.state = Presence::None;
        found.message = "no lease of a controller was found, so none runs (or one that runs with \
                         --leader-elect=false)"
            .to_owned();
        return found;
    };
    found.holder.clone_from(&holder.identity);
    found.namespace.clone_from(&holder.namespace);
    found.renewed = holder.renewed;
    let place = &holder.namespace;
    let since = holder
        .renewed
        .map(|at| now.duration_since(at).as_secs().max(0));
    let ago = since.map_or_else(
        || "at an unknown time".to_owned(),
        |s| format!("{} ago", age::short(s)),
    );
    let alive = since.is_some_and(|s| s <= holder.seconds.saturating_add(GRACE));
    if holder.identity.is_empty() {
        found.state = Presence::Gone;
        found.message = format!("the controller in namespace {place} gave its lease back {ago}");
    } else if alive {
        found.state = Presence::Running;
        found.message = format!("{} in namespace {place} leads", holder.identity);
    } else {
        found.state = Presence::Gone;
        found.message =
            format!("the controller's lease in namespace {place} has expired, last renewed {ago}");
    }
    found
}
