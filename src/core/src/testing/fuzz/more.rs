//! What happens to some Rollouts only: referenced workloads, takeovers, other strategies, strangers,
//! changes of leaders, edits beside the template.
//!
//! All of it is drawn from a stream of its own, and comes after the other events of a seed by its
//! indices, wherever it happens: so no event of any seed means anything else because of it.

use super::op::{Fault, Op};
use super::random::Random;
use super::shape::Kind;

/// One of these things.
#[derive(Clone, Debug, PartialEq)]
pub enum More {
    /// The template moves to a Deployment; or the way in which that is scaled down is edited.
    Refer(ScaleDown),
    /// The template comes back from the Deployment.
    Inline,
    /// Somebody scales the Deployment.
    Deployment(i32),
    /// The Deployment is gone, or is back.
    Gone(bool),
    /// What is there is what another controller left: no process remembers anything. With `true` it
    /// was one that gave ReplicaSets other hashes.
    Takeover(bool),
    /// The strategy becomes one of this kind.
    Become(Kind, u64),
    /// Services get other names, or the ones that they had.
    Rename,
    /// A stranger writes labels, annotations and selectors.
    Stranger(u8),
    /// `minReadySeconds` is edited.
    MinReady(i32),
    /// `progressDeadlineSeconds` and `progressDeadlineAbort` are edited.
    Deadline(i32, bool),
    /// `revisionHistoryLimit` is edited.
    History(i32),
    /// `restartAt` is set, so many seconds from now.
    RestartAt(i64),
    /// `setWeight: 0` is put in at this place of the steps.
    NoWeight(usize),
    /// An autoscaler and something else want different sizes, in turns.
    Fight(i32, i32, u8),
}

/// `spec.workloadRef.scaleDown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in the API")]
pub enum ScaleDown {
    Never,
    OnSuccess,
    Progressively,
}

impl ScaleDown {
    /// As in the API.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::OnSuccess => "onsuccess",
            Self::Progressively => "progressively",
        }
    }
}

const KINDS: [Kind; 6] = [
    Kind::Basic,
    Kind::Services,
    Kind::Nginx,
    Kind::Subsets,
    Kind::PingPong,
    Kind::BlueGreen,
];

/// Share of the seeds to which more happens, in percent.
const SHARE: usize = 40;

/// What happens besides, each before the event at this place.
#[must_use]
pub fn schedule(random: &mut Random, length: usize) -> Vec<(usize, Op)> {
    if !random.chance(SHARE) {
        return Vec::new();
    }
    let theme = random.below(7);
    let mut all = Vec::new();
    if theme == 0 {
        let at = if random.chance(70) { 0 } else { 2 };
        all.push((at, Op::More(Box::new(refer(random)))));
    }
    let count = random.between(1, 5);
    for _ in 0..count {
        let at = random.below(length + 1);
        let theme = if theme == 6 { random.below(6) } else { theme };
        all.push((at, one(random, theme)));
    }
    all.sort_by_key(|(at, _)| *at);
    all
}

fn refer(random: &mut Random) -> More {
    let modes = [
        ScaleDown::Never,
        ScaleDown::OnSuccess,
        ScaleDown::Progressively,
        ScaleDown::Progressively,
    ];
    More::Refer(*random.one_of(&modes))
}

fn one(random: &mut Random, theme: usize) -> Op {
    let more = match theme {
        0 => match random.below(6) {
            0..=1 => More::Deployment(random.between(0, 12)),
            2..=3 => More::Gone(random.chance(60)),
            4 => More::Inline,
            _ => refer(random),
        },
        1 => More::Takeover(random.chance(50)),
        2 => match random.below(5) {
            0 => More::Rename,
            _ => More::Become(*random.one_of(&KINDS), random.number() % 100_000),
        },
        3 => More::Stranger(u8::try_from(random.below(256)).unwrap_or(0)),
        4 => {
            let late = Fault::Late(*random.one_of(&[0, 1, 5, 20]));
            return Op::Next(random.below(5), late);
        }
        _ => match random.below(12) {
            0..=1 => More::MinReady(random.between(0, 10)),
            2..=3 => More::Deadline(random.between(30, 120), random.chance(50)),
            4 => More::History(random.between(0, 3)),
            5..=6 => More::RestartAt(i64::from(random.between(-5, 40))),
            7..=8 => More::NoWeight(random.below(4)),
            _ => More::Fight(
                random.between(1, 10),
                random.between(0, 10),
                u8::try_from(random.below(5)).unwrap_or(0),
            ),
        },
    };
    Op::More(Box::new(more))
}
