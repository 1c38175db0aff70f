//! The manifests of the recorded peer, played by our controller and compared with the record.
//!
//! `fixtures/peer` holds what a running peer wrote for sixteen manifests, five moments each. Here the
//! same manifests go through the same moments on the simulated cluster in virtual time ([`play`]), both
//! sides are brought into one form ([`normal`]), and everything that differs is listed ([`compare`],
//! [`events`]). What may differ, and why, stands in [`exceptions`]; nothing else may.

pub mod compare;
pub mod events;
pub mod exceptions;
pub mod normal;
pub mod play;

use std::time::Duration;

/// A moment at which everything was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The name of its file.
    pub name: &'static str,
    /// What is done before it.
    pub before: &'static [(Deed, Duration)],
}

/// What a user does, and how long nothing more happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// `kubectl apply` of the manifest.
    Apply,
    /// `set image` to what the record of the moment has.
    SetImage,
    /// `abort`.
    Abort,
    /// `retry`.
    Retry,
    /// `promote --full`.
    PromoteFull,
    /// Nothing.
    Wait,
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// All moments in their order. The times are those of the record, which its README names roughly: all
/// sixteen were driven at once, and taking a snapshot of them took a while, in which time passed too.
pub const MOMENTS: [Moment; 5] = [
    Moment {
        name: "1-rest",
        before: &[(Deed::Apply, s(40))],
    },
    Moment {
        name: "2-mid",
        before: &[(Deed::Wait, s(13)), (Deed::SetImage, s(31))],
    },
    Moment {
        name: "3-aborted",
        before: &[(Deed::Wait, s(30)), (Deed::Abort, s(24))],
    },
    Moment {
        name: "4-promoted",
        before: &[
            (Deed::Wait, s(8)),
            (Deed::Retry, s(20)),
            (Deed::PromoteFull, s(55)),
        ],
    },
    Moment {
        name: "5-mid-v3",
        before: &[(Deed::Wait, s(23)), (Deed::SetImage, s(33))],
    },
];
