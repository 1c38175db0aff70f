//! Which process is meant: a number alone comes back for another one.

use std::fmt;
use std::fs;
use std::str::FromStr;

/// A process, told from later ones of the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessId {
    pid: u32,
    /// In clock ticks since boot, from `/proc`.
    started: u64,
}

impl ProcessId {
    /// The process that has this number now; none where there is none or no `/proc`.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, started) = state_and_start(&stat)?;
        // A zombie does nothing any more; it only waits to be counted.
        (state != "Z").then_some(Self { pid, started })
    }

    /// This process itself.
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether that very process still runs.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// The number, for signals. Ask [`ProcessId::is_alive`] right before.
    pub fn pid(self) -> u32 {
        self.pid
    }
}

/// The command's name stands in parentheses and may hold any character, so we read from its end.
fn state_and_start(stat: &str) -> Option<(&str, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    // Field 22 of the line; the state is field 3.
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.started)
    }
}

/// The text is none of a process identity.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not PID-START")]
pub struct ParseProcessIdError(String);

impl FromStr for ProcessId {
    type Err = ParseProcessIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.trim().split_once('-').and_then(|(pid, started)| {
            Some(Self {
                pid: pid.parse().ok()?,
                started: started.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| ParseProcessIdError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_read_behind_any_name() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 1000 10 18446";
        assert_eq!(state_and_start(stat), Some(("S", 9876)));
        assert_eq!(state_and_start("7 (x) S 1"), None);
    }

    #[test]
    fn identities_survive_being_written_down() {
        let own = ProcessId::own().unwrap();
        assert!(own.is_alive());
        assert_eq!(own.to_string().parse::<ProcessId>().unwrap(), own);
        assert!("12".parse::<ProcessId>().is_err());
        let earlier = ProcessId {
            started: own.started - 1,
            ..own
        };
        assert!(!earlier.is_alive(), "same number, other process");
    }
}
