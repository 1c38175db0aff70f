//! Where text goes. A reader that went away (`| head`) ends the output, not the process with a panic.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

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
