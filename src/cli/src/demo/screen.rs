//! A story on a terminal: one picture that is drawn again when something changed.

use std::io::{self, Write};

use crossterm::{cursor, execute, queue, terminal};
use sluice_core::view::tree::{self as drawing, Colour};
use sluice_crds::analysis::AnalysisPhase;

use super::play::Told;
use crate::tree::{self, Brush};
use crate::world::scene::{Mark, Metric, Scene, Step};

/// Columns of the bar that shows who answers requests.
const BAR: usize = 60;

/// How many of the last things told stay on the screen.
const TOLD: usize = 4;

/// How many of the last measurements are shown.
const VALUES: usize = 8;

/// The words around the picture, which stay.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// Name of the story and what it is about.
    pub(super) title: String,
    /// What one could do next, a line each.
    pub(super) hints: Vec<String>,
}

/// The terminal. It is given back as it was when this is dropped.
pub(super) struct Screen {
    brush: Brush,
    drawn: Vec<String>,
    size: (u16, u16),
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When it cannot be written to.
    pub(super) fn take(colours: bool) -> io::Result<Self> {
        execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide)?;
        Ok(Self {
            brush: Brush::new(colours),
            drawn: Vec::new(),
            size: (0, 0),
        })
    }

    /// Draws it, if it looks different from last time.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub(super) fn show(&mut self, frame: &Frame, scene: &Scene, told: &[Told]) -> io::Result<()> {
        let size = terminal::size().unwrap_or((100, 40));
        let lines = picture(frame, scene, told, self.brush);
        let lines = fit(lines, usize::from(size.0), usize::from(size.1));
        if lines == self.drawn && size == self.size {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        queue!(out, terminal::BeginSynchronizedUpdate)?;
        for (row, line) in (0u16..).zip(&lines) {
            queue!(out, cursor::MoveTo(0, row))?;
            write!(out, "{line}")?;
            queue!(out, terminal::Clear(terminal::ClearType::UntilNewLine))?;
        }
        if lines.len() < usize::from(size.1) {
            let below = u16::try_from(lines.len()).unwrap_or(u16::MAX);
            queue!(
                out,
                cursor::MoveTo(0, below),
                terminal::Clear(terminal::ClearType::FromCursorDown)
            )?;
        }
        queue!(out, terminal::EndSynchronizedUpdate)?;
        out.flush()?;
        (self.drawn, self.size) = (lines, size);
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = execute!(io::stdout(), cursor::Show, terminal::LeaveAlternateScreen);
    }
}

/// The parts of a picture: what is above the tree, the tree, and what is below it.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    head: Vec<String>,
    tree: Vec<String>,
    foot: Vec<String>,
}

impl Picture {
    /// All of it, whatever the size of the terminal.
    pub(super) fn lines(&self) -> impl Iterator<Item = &String> {
        self.head.iter().chain(&self.tree).chain(&self.foot)
    }
}

/// The whole picture.
pub(super) fn picture(frame: &Frame, scene: &Scene, told: &[Told], brush: Brush) -> Picture {
    let mut head = vec![brush.strong(&frame.title), String::new()];
    for line in told.iter().skip(told.len().saturating_sub(TOLD)) {
        head.push(match line {
            Told::Said(text) => text.clone(),
            Told::Typed(_) => brush.paint(&line.to_string(), Colour::Working),
        });
    }
    head.push(String::new());
    head.extend(state(scene, brush));
    head.push(String::new());
    let tree = scene
        .tree
        .as_ref()
        .map(|tree| brush.draw(|paint| drawing::render(tree, paint)));
    let tree = tree.unwrap_or_default();
    let mut foot = vec![String::new()];
    foot.extend(frame.hints.iter().map(|hint| brush.faint(hint)));
    Picture {
        head,
        tree: tree.lines().map(str::to_owned).collect(),
        foot,
    }
}

/// Status, steps, requests and measurements.
fn state(scene: &Scene, brush: Brush) -> Vec<String> {
    let mut lines = Vec::new();
    let seconds = scene.elapsed.as_secs();
    let icon = brush.paint(
        &scene.health.icon.to_string(),
        Colour::of_icon(scene.health.icon),
    );
    let message = if scene.message.is_empty() {
        String::new()
    } else {
        format!(" - {}", scene.message)
    };
    lines.push(format!("Time      {}:{:02}", seconds / 60, seconds % 60));
    lines.push(format!("Status    {icon} {}{message}", scene.health.word));
    let waits = scene.waits.first().map_or("-", String::as_str);
    lines.push(format!("Waits     {waits}"));
    for (index, row) in scene.steps.chunks(4).enumerate() {
        let label = if index == 0 { "Steps" } else { "" };
        let row: Vec<String> = row.iter().map(|step| step_text(step, brush)).collect();
        lines.push(format!("{label:<10}{}", row.join("  ")));
    }
    lines.push(format!("Requests  {}", bar(scene, brush)));
    let shares = scene.versions.iter().map(|version| {
        let colour = colour_of(version.stable);
        let share = format!("{} {} %", version.image, version.percent);
        format!(
            "{} ({}/{} pods)",
            brush.paint(&share, colour),
            version.available,
            version.wanted
        )
    });
    let shares: Vec<String> = shares.collect();
    let lost = if scene.lost > 0.0 {
        brush.paint(
            &format!("   no answer {:.0} %", scene.lost * 100.0),
            Colour::Bad,
        )
    } else {
        String::new()
    };
    lines.push(format!("          {}{lost}", shares.join("   ")));
    for metric in &scene.metrics {
        lines.push(format!("Analysis  {}", metric_text(metric, brush)));
    }
    lines
}

fn step_text(step: &Step, brush: Brush) -> String {
    let width = 15;
    match step.mark {
        Mark::Done => {
            let mark = brush.paint("✔", Colour::Good);
            format!("{mark} {:<width$}", step.text)
        }
        Mark::Current => {
            let text = format!("▶ {:<width$}", step.text);
            brush.paint(&text, Colour::Waiting)
        }
        Mark::ToDo => brush.faint(&format!("· {:<width$}", step.text)),
    }
}

fn colour_of(stable: bool) -> Colour {
    if stable {
        Colour::Good
    } else {
        Colour::Waiting
    }
}

/// A bar of full width, a part per version.
fn bar(scene: &Scene, brush: Brush) -> String {
    let mut text = String::new();
    let (mut shown, mut sum) = (0, 0);
    for version in &scene.versions {
        sum += usize::try_from(version.percent).unwrap_or(0);
        let end = (sum * BAR + 50) / 100;
        let sign = if version.stable { "█" } else { "▒" };
        let part = sign.repeat(end.saturating_sub(shown));
        text.push_str(&brush.paint(&part, colour_of(version.stable)));
        shown = end.max(shown);
    }
    text + &brush.faint(&"░".repeat(BAR.saturating_sub(shown)))
}

fn metric_text(metric: &Metric, brush: Brush) -> String {
    let values = metric.values.iter();
    let values = values.skip(metric.values.len().saturating_sub(VALUES));
    let values: Vec<String> = values
        .map(|(phase, value)| brush.paint(value, colour_of_phase(phase)))
        .collect();
    let verdict = if metric.phase.completed() {
        let colour = colour_of_phase(&metric.phase);
        format!("  {}", brush.paint(metric.phase.as_str(), colour))
    } else {
        String::new()
    };
    let condition = brush.faint(&metric.condition);
    format!("{} {}{verdict}  {condition}", metric.name, values.join(" "))
}

fn colour_of_phase(phase: &AnalysisPhase) -> Colour {
    match phase {
        AnalysisPhase::Successful => Colour::Good,
        AnalysisPhase::Failed | AnalysisPhase::Error => Colour::Bad,
        AnalysisPhase::Inconclusive | AnalysisPhase::Pending => Colour::Waiting,
        _ => Colour::Working,
    }
}

/// As many lines as there are rows, the tree giving way, none wider than the terminal.
fn fit(picture: Picture, columns: usize, rows: usize) -> Vec<String> {
    let Picture {
        head,
        mut tree,
        foot,
    } = picture;
    let room = rows.saturating_sub(head.len() + foot.len());
    if tree.len() > room {
        let hidden = tree.len() - room.saturating_sub(1);
        tree.truncate(room.saturating_sub(1));
        if room > 0 {
            tree.push(format!(
                "… {hidden} more rows; a higher terminal shows them"
            ));
        }
    }
    let lines = head.into_iter().chain(tree).chain(foot).take(rows);
    lines.map(|line| tree::cut(&line, columns)).collect()
}
