//! What a simulated update came to, for people and for programs.

use serde::Serialize;
use sluice_core::view::tree::Colour;

use super::images::Image;
use crate::output::{Lines, wrapped};
use crate::tree::Brush;

/// How an update ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Outcome {
    /// The new version serves.
    Promoted,
    /// It was aborted, the old version serves.
    Aborted,
    /// It is stuck.
    Degraded,
    /// It waits for somebody, or for more time than there was.
    Waiting,
}

impl Outcome {
    /// The exit code.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Promoted => 0,
            Self::Aborted | Self::Degraded => 2,
            Self::Waiting => 3,
        }
    }

    fn colour(self) -> Colour {
        match self {
            Self::Promoted => Colour::Good,
            Self::Aborted | Self::Degraded => Colour::Bad,
            Self::Waiting => Colour::Waiting,
        }
    }
}

/// One line of the timeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    /// Seconds since the update.
    pub(super) at: f64,
    /// `update`, `fault`, `step`, `requests`, `pods`, `measured`, `analysis`, `status`, `event`,
    /// `wait` or `command`.
    pub(super) kind: &'static str,
    /// What happened.
    pub(super) text: String,
    /// How often in a row.
    #[serde(skip_serializing_if = "once")]
    pub(super) times: u32,
    /// When the last of them was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<f64>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn once(times: &u32) -> bool {
    *times == 1
}

/// What became of the requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Requests {
    /// Host or Service that they were sent to.
    pub(super) target: String,
    /// How many each second.
    pub(super) per_second: u32,
    /// How many in all.
    pub(super) sent: u64,
    /// How many were sent where no ready pod was.
    pub(super) without_ready_pod: u64,
    /// The largest share at one moment, from 0 to 1.
    pub(super) worst_share: f64,
    /// When that was, in seconds since the update.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) worst_at: Option<f64>,
}

/// What is waited for at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Waits {
    /// Name of the reason.
    pub(super) reason: &'static str,
    /// The object.
    pub(super) object: String,
    /// What exactly.
    pub(super) message: String,
}

/// The whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// The Rollout.
    pub(super) rollout: String,
    /// Its namespace.
    pub(super) namespace: String,
    /// The first container that got another image: as members of the report itself.
    #[serde(flatten)]
    pub(super) first: Image,
    /// All of them.
    pub(super) images: Vec<Image>,
    /// What was assumed, a sentence each.
    pub(super) notes: Vec<String>,
    /// What happened.
    pub(super) timeline: Vec<Entry>,
    /// How it ended.
    pub(super) outcome: Outcome,
    /// The exit code.
    pub(super) exit_code: u8,
    /// The same in a sentence.
    pub(super) verdict: String,
    /// Seconds from the update to the end.
    pub(super) seconds: f64,
    /// What became of the requests, where it is known where they go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) requests: Option<Requests>,
    /// What is waited for, unless it was promoted.
    pub(super) waits: Vec<Waits>,
}

/// Columns before the text of a line: the time, the kind.
const MARGIN: usize = 19;

impl Report {
    /// As people read it, 80 columns wide.
    pub(super) fn text(&self, brush: Brush) -> String {
        let mut lines = Lines::new(brush, MARGIN);
        let changes = self.images.iter();
        let changes = changes.map(|image| format!("{} becomes {}", image.from, image.to));
        let title = format!(
            "Rollout {}, simulated: {}",
            self.rollout,
            changes.collect::<Vec<_>>().join(", ")
        );
        for line in wrapped(&title, 80) {
            lines.push(&brush.strong(&line));
        }
        for note in &self.notes {
            for (index, line) in wrapped(note, 76).iter().enumerate() {
                let mark = if index == 0 { "- " } else { "  " };
                lines.push(&format!("{mark}{}", brush.faint(line)));
            }
        }
        lines.gap();
        for entry in &self.timeline {
            let times = match entry.until {
                Some(until) if entry.times > 1 => {
                    format!(" ({} times, until {})", entry.times, clock(until))
                }
                _ => String::new(),
            };
            let label = format!("{:>8}  {:<9}", clock(entry.at), entry.kind);
            lines.row(&label, &format!("{}{times}", entry.text));
        }
        lines.gap();
        lines.headline(&self.verdict, self.outcome.colour());
        if let Some(requests) = &self.requests {
            lines.push(&requests.text());
        }
        lines.done()
    }
}

impl Requests {
    /// `requests without a ready pod: 0 of 37200 (to web, 100 a second)`.
    fn text(&self) -> String {
        let worst = match self.worst_at {
            Some(at) => format!(
                "; at worst {:.0} % of them, {} after the update",
                self.worst_share * 100.0,
                clock(at)
            ),
            None => String::new(),
        };
        format!(
            "requests without a ready pod: {} of {} (to {}, {} a second){worst}",
            self.without_ready_pod, self.sent, self.target, self.per_second
        )
    }
}

/// `1:02:03`, `2:03`; whole seconds.
pub(super) fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0).floor() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_on_a_clock() {
        for (seconds, wanted) in [(0.4, "0:00"), (61.9, "1:01"), (3723.0, "1:02:03")] {
            assert_eq!(clock(seconds), wanted);
        }
    }
}
