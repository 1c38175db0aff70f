//! Where text goes. A reader that went away (`| head`) ends the output, not the process with a panic.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use sluice_core::view::tree::Colour;

use crate::tree::Brush;

/// A line of the result, on stdout.
pub fn line(text: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Part of the result, without a line end.
pub fn text(text: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = write!(out, "{text}");
    let _ = out.flush();
}

/// A line for people, on stderr.
pub fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Whether colours should be used: a terminal, no `NO_COLOR`, no `TERM=dumb`, no `--no-color`.
#[must_use]
pub fn colours(no_color: bool) -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !no_color && !dumb && !refused && std::io::stdout().is_terminal()
}

/// Width that texts are wrapped to.
const WIDTH: usize = 80;

/// Lines of labelled text, wrapped with a hanging indent.
pub struct Lines {
    brush: Brush,
    indent: usize,
    text: String,
}

impl Lines {
    /// No lines yet; texts begin after `indent` columns.
    #[must_use]
    pub fn new(brush: Brush, indent: usize) -> Self {
        Self {
            brush,
            indent,
            text: String::new(),
        }
    }

    /// A sentence over the whole width.
    pub fn headline(&mut self, text: &str, colour: Colour) {
        for line in wrapped(text, WIDTH) {
            let painted = self.brush.paint(&line, colour);
            self.push(&painted);
        }
    }

    /// An empty line, but never two.
    pub fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// A label and its text.
    pub fn row(&mut self, label: &str, text: &str) {
        let indent = self.indent;
        let hang = if text.starts_with("- ") { 2 } else { 0 };
        for (index, line) in wrapped(text, WIDTH.saturating_sub(indent + hang))
            .iter()
            .enumerate()
        {
            let label = if index == 0 { label } else { "" };
            let pad = " ".repeat(indent.saturating_sub(label.chars().count()));
            let extra = if index == 0 { 0 } else { hang };
            let label = self.brush.faint(label);
            self.push(&format!("{label}{pad}{}{line}", " ".repeat(extra)));
        }
    }

    /// A label and a command, which is not wrapped: it is to be copied.
    pub fn command(&mut self, label: &str, command: &str) {
        let pad = " ".repeat(self.indent.saturating_sub(label.chars().count()));
        let (label, command) = (self.brush.faint(label), self.brush.strong(command));
        self.push(&format!("{label}{pad}{command}"));
    }

    /// A line as it is.
    pub fn push(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// All of it.
    #[must_use]
    pub fn done(self) -> String {
        self.text
    }
}

/// Breaks a text between words; a word that is too long stands alone.
#[must_use]
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            let length = line.chars().count() + 1 + word.chars().count();
            if !line.is_empty() && length > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}
