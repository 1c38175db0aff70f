//! What may happen to a Rollout: users, autoscalers, pods, caches, routers, analyses, crashes.

use sluice_crds::analysis::AnalysisPhase;

use super::more::More;
use super::random::Random;
use super::shape::IMAGES;

/// One thing that happens. After each the controller looks once, if it has a reason to.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Time passes, in seconds; whoever has something to do does it at its moment.
    Wait(i64),
    /// The controller looks although it has no reason to.
    Pass,
    /// A user sets an image.
    Image(u8),
    /// Another number of pods is wanted: a user or an autoscaler.
    Scale(i32),
    /// The strategy is edited.
    Strategy(u64),
    /// The steps are edited.
    Steps(u64),
    /// An edit makes the spec invalid, or takes that back.
    Invalid(bool),
    /// A verb of the plugin.
    Verb(Verb),
    /// Pods of an image never become ready, or do so again.
    Broken(u8, bool),
    /// Pods take so many seconds to become ready from now on.
    Startup(i64),
    /// A pod that is there loses its readiness.
    Sick(u8),
    /// A pod is deleted.
    Kill(u8),
    /// All pods are well again.
    Cure,
    /// The controller of ReplicaSets stands still, or goes on.
    Freeze(bool),
    /// From now on changes of these kinds reach the controller late: only with the next list.
    Lag(Lag),
    /// What was late arrives.
    Arrive,
    /// Something goes wrong at a write of the next plan that has any.
    Next(usize, Fault),
    /// The controller starts anew.
    Restart,
    /// The router becomes so.
    Router(Router),
    /// Analyses end so from now on.
    Runs(Verdict),
    /// Analyses and Experiments that run end now.
    End(AnalysisPhase),
    /// Somebody deletes an AnalysisRun or an Experiment.
    DeleteChild(u8),
    /// Somebody terminates an AnalysisRun or an Experiment.
    TerminateChild(u8),
    /// A Service or template is gone, or is back.
    Missing(Missing, bool),
    /// What happens to some Rollouts only.
    More(Box<More>),
}

/// Verbs of the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in the plugin")]
pub enum Verb {
    Promote,
    PromoteFull,
    SkipStep,
    Abort,
    Retry,
    Pause,
    Resume,
    Undo(i64),
    Restart,
}

/// Kinds whose changes are late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// The Rollout.
    pub rollout: bool,
    /// ReplicaSets.
    pub sets: bool,
    /// Services.
    pub services: bool,
    /// AnalysisRuns and Experiments.
    pub children: bool,
}

/// What goes wrong at a write.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The controller dies before it.
    Crash,
    /// The API server refuses it.
    Refused,
    /// It arrives, but its answer is lost.
    Lost,
    /// Somebody else changes the object first.
    Conflict,
    /// Something happens first.
    First(Box<Op>),
    /// The controller loses its lease with the write under way: it arrives so many seconds later, when
    /// another one is at work.
    Late(i64),
}

/// How the router answers, where it can tell at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Router {
    /// What is asked for is in force after so many seconds.
    Delay(i64),
    /// What is in force stays so.
    Stuck,
    /// It cannot be asked, and what is in force stays so.
    Unreachable,
}

/// How analyses end.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The phase.
    pub phase: AnalysisPhase,
    /// Seconds until then.
    pub after: i64,
}

/// What can be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// One of the Services that the spec names.
    Service(u8),
    /// The analysis template.
    Template,
}

const PHASES: [AnalysisPhase; 6] = [
    AnalysisPhase::Successful,
    AnalysisPhase::Successful,
    AnalysisPhase::Failed,
    AnalysisPhase::Inconclusive,
    AnalysisPhase::Error,
    AnalysisPhase::Running,
];

/// A random schedule.
#[must_use]
pub fn schedule(random: &mut Random) -> Vec<Op> {
    let mut ops = Vec::new();
    if random.chance(90) {
        ops.push(Op::Wait(60)); // the first revision is there
    }
    ops.push(Op::Image(1));
    let count = random.between(3, 40);
    ops.extend((0..count).map(|_| op(random)));
    ops
}

fn op(random: &mut Random) -> Op {
    match random.below(100) {
        0..=27 => Op::Wait(*random.one_of(&[1, 1, 2, 5, 10, 31, 61, 130, 700])),
        28..=33 => Op::Pass,
        34..=36 => Op::Lag(Lag {
            rollout: random.chance(40),
            sets: random.chance(40),
            services: random.chance(40),
            children: random.chance(40),
        }),
        37..=39 => Op::Arrive,
        40..=51 => {
            let at = random.below(5);
            let fault = match random.below(10) {
                0..=3 => Fault::Crash,
                4 => Fault::Refused,
                5 => Fault::Lost,
                6..=7 => Fault::Conflict,
                _ => Fault::First(Box::new(deed(random))),
            };
            Op::Next(at, fault)
        }
        52..=53 => Op::Restart,
        _ => deed(random),
    }
}

/// What can happen at any moment, also between two writes.
fn deed(random: &mut Random) -> Op {
    match random.below(50) {
        0..=5 => Op::Image(u8::try_from(random.below(usize::from(IMAGES))).unwrap_or(0)),
        6..=8 => Op::Scale(if random.chance(15) {
            random.between(0, 1)
        } else {
            random.between(1, 12)
        }),
        9 => Op::Strategy(random.number() % 100_000),
        10 => Op::Steps(random.number() % 100_000),
        11 => Op::Invalid(random.chance(50)),
        12..=24 => Op::Verb(match random.below(13) {
            0..=2 => Verb::Promote,
            3 => Verb::PromoteFull,
            4 => Verb::SkipStep,
            5..=6 => Verb::Abort,
            7..=8 => Verb::Retry,
            9 => Verb::Pause,
            10 => Verb::Resume,
            11 => Verb::Undo(i64::from(random.between(0, 3))),
            _ => Verb::Restart,
        }),
        25..=27 => Op::Broken(
            u8::try_from(random.below(usize::from(IMAGES))).unwrap_or(0),
            random.chance(60),
        ),
        28 => Op::Startup(*random.one_of(&[0, 1, 5, 30, 200])),
        29..=31 => Op::Sick(u8::try_from(random.below(64)).unwrap_or(0)),
        32..=33 => Op::Kill(u8::try_from(random.below(64)).unwrap_or(0)),
        34 => Op::Cure,
        35..=36 => Op::Freeze(random.chance(50)),
        37..=39 => Op::Router(match random.below(5) {
            0..=2 => Router::Delay(*random.one_of(&[0, 1, 5, 40])),
            3 => Router::Stuck,
            _ => Router::Unreachable,
        }),
        40..=41 => Op::Runs(Verdict {
            phase: random.one_of(&PHASES).clone(),
            after: *random.one_of(&[0, 1, 10, 60]),
        }),
        42..=44 => Op::End(random.one_of(&PHASES[..5]).clone()),
        45 => Op::DeleteChild(u8::try_from(random.below(8)).unwrap_or(0)),
        46 => Op::TerminateChild(u8::try_from(random.below(8)).unwrap_or(0)),
        47..=48 => {
            let what = if random.chance(70) {
                Missing::Service(u8::try_from(random.below(4)).unwrap_or(0))
            } else {
                Missing::Template
            };
            Op::Missing(what, random.chance(50))
        }
        _ => Op::Pass,
    }
}
