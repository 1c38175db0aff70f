//! What a pod looks like so long after its start: a pure function.

use tokio::time::Duration;

use super::behaviour::{Behaviour, Fate};

/// Whether and when ended containers start again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    OnFailure,
    Never,
}

/// Containers of a pod at a time; offsets are after the pod's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Container {
    Waiting(&'static str),
    Running {
        since: Duration,
    },
    Ended {
        code: i32,
        since: Duration,
        until: Duration,
    },
}

/// A pod at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) phase: &'static str,
    pub(super) container: Container,
    pub(super) ready: bool,
    pub(super) restarts: u32,
    /// The run before this one, as [`Container::Ended`].
    pub(super) last: Option<Container>,
}

/// The view after `elapsed`, and the offset of the next change.
pub(super) fn view(
    behaviour: &Behaviour,
    restart: Restart,
    elapsed: Duration,
) -> (View, Option<Duration>) {
    let start = behaviour.start;
    let plain = |phase, container, ready| View {
        phase,
        container,
        ready,
        restarts: 0,
        last: None,
    };
    if behaviour.fate == Fate::ImagePull {
        let backoff = start + Duration::from_secs(10);
        return if elapsed < start {
            (
                plain("Pending", Container::Waiting("ContainerCreating"), false),
                Some(start),
            )
        } else if elapsed < backoff {
            (
                plain("Pending", Container::Waiting("ErrImagePull"), false),
                Some(backoff),
            )
        } else {
            (
                plain("Pending", Container::Waiting("ImagePullBackOff"), false),
                None,
            )
        };
    }
    if elapsed < start {
        return (
            plain("Pending", Container::Waiting("ContainerCreating"), false),
            Some(start),
        );
    }
    let ready_at = start + behaviour.ready;
    let running = Container::Running { since: start };
    match &behaviour.fate {
        Fate::NeverReady => (plain("Running", running, false), None),
        Fate::UnreadyAfter(after) => {
            let end = ready_at + *after;
            let ready = (ready_at..end).contains(&elapsed);
            let next = [ready_at, end].into_iter().find(|t| *t > elapsed);
            (plain("Running", running, ready), next)
        }
        Fate::CrashAfter(run) => runs(behaviour, restart, elapsed, 1, *run),
        Fate::Exit(code, run) => runs(behaviour, restart, elapsed, *code, *run),
        Fate::Serve | Fate::Command | Fate::ImagePull => {
            let ready = elapsed >= ready_at;
            (
                plain("Running", running, ready),
                Some(ready_at).filter(|_| !ready),
            )
        }
    }
}

/// Between the n-th end (from 1) and the restart after it: ten seconds, doubled up to five
/// minutes.
fn backoff(ends: u32) -> Duration {
    let factor = 1_u64 << ends.saturating_sub(1).min(5);
    Duration::from_secs((10 * factor).min(300))
}

/// Runs of equal length that end with a code.
fn runs(
    behaviour: &Behaviour,
    restart: Restart,
    elapsed: Duration,
    code: i32,
    run: Duration,
) -> (View, Option<Duration>) {
    let mut since = behaviour.start;
    let mut restarts = 0;
    let mut last = None;
    // A run without length would never let time pass.
    let run = run.max(Duration::from_millis(1));
    loop {
        let end = since + run;
        if elapsed < end {
            let ready_at = since + behaviour.ready;
            let ready = elapsed >= ready_at;
            let next = if ready { end } else { ready_at.min(end) };
            let container = Container::Running { since };
            return (
                View {
                    phase: "Running",
                    container,
                    ready,
                    restarts,
                    last,
                },
                Some(next),
            );
        }
        let ended = Container::Ended {
            code,
            since,
            until: end,
        };
        let again = match restart {
            Restart::Always => true,
            Restart::OnFailure => code != 0,
            Restart::Never => false,
        };
        if !again {
            let phase = if code == 0 { "Succeeded" } else { "Failed" };
            return (
                View {
                    phase,
                    container: ended,
                    ready: false,
                    restarts,
                    last,
                },
                None,
            );
        }
        let next = end + backoff(restarts + 1);
        if elapsed < next {
            let container = Container::Waiting("CrashLoopBackOff");
            let last = Some(ended);
            return (
                View {
                    phase: "Running",
                    container,
                    ready: false,
                    restarts,
                    last,
                },
                Some(next),
            );
        }
        last = Some(ended);
        restarts += 1;
        since = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(behaviour: &Behaviour, restart: Restart) -> Vec<String> {
        let mut at = Duration::ZERO;
        let mut lines = Vec::new();
        for _ in 0..7 {
            let (view, next) = view(behaviour, restart, at);
            let container = match &view.container {
                Container::Waiting(why) => (*why).to_owned(),
                Container::Running { .. } => "runs".to_owned(),
                Container::Ended { code, .. } => format!("exit {code}"),
            };
            let ready = if view.ready { " ready" } else { "" };
            lines.push(format!(
                "{}s {} {container}{ready} r{}",
                at.as_secs(),
                view.phase,
                view.restarts
            ));
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        lines
    }

    fn behaviour(fate: Fate) -> Behaviour {
        let seconds = Duration::from_secs;
        Behaviour {
            start: seconds(1),
            ready: seconds(2),
            fate,
            stop: Duration::ZERO,
        }
    }

    #[test]
    fn pods_live_as_told() {
        let seconds = Duration::from_secs;
        let rows = [
            (
                Fate::Serve,
                Restart::Always,
                vec![
                    "0s Pending ContainerCreating r0",
                    "1s Running runs r0",
                    "3s Running runs ready r0",
                ],
            ),
            (
                Fate::ImagePull,
                Restart::Always,
                vec![
                    "0s Pending ContainerCreating r0",
                    "1s Pending ErrImagePull r0",
                    "11s Pending ImagePullBackOff r0",
                ],
            ),
            (
                Fate::CrashAfter(seconds(1)),
                Restart::Always,
                vec![
                    "0s Pending ContainerCreating r0",
                    "1s Running runs r0",
                    "2s Running CrashLoopBackOff r0",
                    "12s Running runs r1",
                    "13s Running CrashLoopBackOff r1",
                    "33s Running runs r2",
                    "34s Running CrashLoopBackOff r2",
                ],
            ),
            (
                Fate::Exit(3, seconds(1)),
                Restart::Never,
                vec![
                    "0s Pending ContainerCreating r0",
                    "1s Running runs r0",
                    "2s Failed exit 3 r0",
                ],
            ),
            (
                Fate::UnreadyAfter(seconds(5)),
                Restart::Always,
                vec![
                    "0s Pending ContainerCreating r0",
                    "1s Running runs r0",
                    "3s Running runs ready r0",
                    "8s Running runs r0",
                ],
            ),
        ];
        for (fate, restart, want) in rows {
            assert_eq!(story(&behaviour(fate.clone()), restart), want, "{fate:?}");
        }
    }
}
