//! An explanation as people read it, 80 columns wide.

use jiff::Timestamp;
use sluice_core::explain::{Analysis, Explanation, Presence, State, Version, Wait};
use sluice_core::view::age;
use sluice_core::view::tree::Colour;

use crate::output::Lines;
use crate::tree::Brush;

/// The text.
pub(super) fn render(told: &Explanation, now: Timestamp, brush: Brush) -> String {
    let mut lines = Lines::new(brush, 12);
    lines.headline(&told.summary, colour(told.state));
    for wait in &told.waits {
        lines.gap();
        self::wait(&mut lines, wait, now);
    }
    if !told.next.is_empty() || told.then.is_some() || told.give_up.is_some() {
        lines.gap();
    }
    for (index, next) in told.next.iter().enumerate() {
        lines.row(if index == 0 { "Next" } else { "" }, next);
    }
    if let Some(then) = &told.then {
        lines.row("Then", then);
    }
    if let Some(command) = &told.give_up {
        lines.command("Give up", command);
    }
    lines.gap();
    context(&mut lines, told, now);
    lines.done()
}

fn colour(state: State) -> Colour {
    match state {
        State::Resting => Colour::Good,
        State::Moving | State::Deleting => Colour::Working,
        State::Waiting => Colour::Waiting,
        State::Aborted | State::Stuck | State::Invalid | State::Unattended => Colour::Bad,
    }
}

fn wait(lines: &mut Lines, wait: &Wait, now: Timestamp) {
    lines.row("Waits for", wait.headline);
    lines.row("", &wait.message);
    for detail in &wait.details {
        lines.row("", &format!("- {detail}"));
    }
    lines.row("  on", &wait.object);
    if let Some(since) = wait.since {
        lines.row("  since", &moment(since, now));
    }
    let people = [
        "NeedsPromotion",
        "ManuallyPaused",
        "Aborted",
        "NotSupported",
    ];
    if let Some(until) = wait.until {
        lines.row("  until", &moment(until, now));
    } else if people.contains(&wait.reason) {
        lines.row("  until", "somebody acts");
    }
    if let Some(again) = wait.looked_at_again {
        lines.row("  next look", &moment(again, now));
    }
    if let Some(command) = &wait.command {
        lines.command(label(wait), command);
    }
    if let Some(remedy) = &wait.remedy {
        lines.row("  remedy", remedy);
    }
}

/// What the command does: where something ends by itself it is a way to have that sooner.
fn label(wait: &Wait) -> &'static str {
    match wait.reason {
        "AnalysisRunning" | "ExperimentRunning" | "NotSupported" => "  skip with",
        "Paused" => "  end with",
        _ => "  moved by",
    }
}

/// `2026-01-01 00:00:00Z (3m12s ago)`.
fn moment(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.as_second() - now.as_second();
    let relative = if seconds > 0 {
        format!("in {}", age::short(seconds))
    } else {
        format!("{} ago", age::short(-seconds))
    };
    format!("{} ({relative})", at.strftime("%Y-%m-%d %H:%M:%SZ"))
}

fn context(lines: &mut Lines, told: &Explanation, now: Timestamp) {
    let revision = if told.revision.is_empty() {
        String::new()
    } else {
        format!(", revision {}", told.revision)
    };
    // What is invalid, or ended the update, has been said above.
    let said = matches!(told.state, State::Invalid | State::Aborted);
    let message = if told.message.is_empty() || said {
        String::new()
    } else {
        format!(" - {}", told.message)
    };
    let what = format!("{}{revision}, {}{message}", told.strategy, told.phase);
    lines.row("Rollout", &what);
    if let Some(step) = &told.step {
        lines.row(
            "Step",
            &format!("{}/{}, {}", step.number, step.count, step.text),
        );
    }
    if let Some(weights) = &told.weights {
        let unit = if weights.whole == 100 {
            " %".to_owned()
        } else {
            format!(" of {}", weights.whole)
        };
        let confirmed = match weights.confirmed {
            Some(true) => ", confirmed by the router",
            Some(false) => ", not confirmed by the router",
            None => "",
        };
        let text = format!(
            "{}{unit} wanted for the canary, {}{unit} in force{confirmed}",
            weights.desired, weights.actual
        );
        lines.row(if weights.routed { "Requests" } else { "Share" }, &text);
    }
    for (index, version) in told.versions.iter().enumerate() {
        let label = if index == 0 { "Versions" } else { "" };
        lines.row(label, &self::version(version, now));
    }
    for analysis in &told.analyses {
        self::analysis(lines, analysis, told);
    }
    if let Some(deadline) = &told.progress_deadline {
        let then = if deadline.aborts {
            "the update is aborted"
        } else {
            "it counts as Degraded"
        };
        let text = format!(
            "without progress until {}, {then}",
            moment(deadline.at, now)
        );
        lines.row("Deadline", &text);
    }
    let behind = if told.controller.behind && told.controller.state == Presence::Running {
        "; it has not looked at the last change of the spec yet"
    } else {
        ""
    };
    let controller = format!("{}{behind}", told.controller.message);
    lines.row("Controller", &controller);
    for note in &told.notes {
        lines.row("Note", note);
    }
}

fn version(version: &Version, now: Timestamp) -> String {
    let roles = if version.roles.is_empty() {
        "old".to_owned()
    } else {
        version.roles.join(", ")
    };
    let kept = version.scale_down_at.map_or_else(String::new, |at| {
        let left = at.as_second() - now.as_second();
        if left > 0 {
            format!(", kept for another {}", age::short(left))
        } else {
            String::new()
        }
    });
    format!(
        "revision {} ({roles}): {}, {} of {} pods available{kept}",
        version.revision,
        version.images.join(" "),
        version.available,
        version.wanted
    )
}

/// A run that no wait has told of.
fn analysis(lines: &mut Lines, analysis: &Analysis, told: &Explanation) {
    let object = format!("AnalysisRun/{}", analysis.name);
    if told.waits.iter().any(|wait| wait.object == object) {
        return;
    }
    let text = format!("{} ({}): {}", analysis.name, analysis.kind, analysis.phase);
    lines.row("Analysis", &text);
    let said = told.waits.iter().any(|wait| {
        wait.details
            .iter()
            .any(|line| line.contains(&analysis.name))
    });
    if !said {
        for metric in &analysis.metrics {
            lines.row("", &format!("- {}", metric.line()));
        }
    }
}
