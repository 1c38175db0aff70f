//! Long commands, run with a sign of life.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Error;

/// Lines of output shown when a command fails.
const TAIL: usize = 30;

/// Writes a line for whoever waits. To stderr: stdout belongs to what is being done.
pub(crate) fn note(line: &str) {
    // Whether anybody reads it is not our concern.
    let _ = writeln!(std::io::stderr(), "sluice-e2e: {line}");
}

/// Runs `command` to its end and returns what it wrote to stdout.
///
/// `what` is shown at once and again with the seconds passed: on a terminal in place, else every
/// half minute, so that a log does not fill with it.
///
/// # Errors
/// [`Error::Failed`] with the last lines of both streams; [`Error::Io`] when it cannot start.
pub(super) fn run(what: &str, command: &mut Command, scratch: &Path) -> Result<String, Error> {
    let program = command.get_program().to_owned();
    let (out_path, err_path) = (scratch.join(".stdout"), scratch.join(".stderr"));
    let create = |path: &Path| fs::File::create(path).map_err(Error::io("create", path));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(create(&out_path)?)
        .stderr(create(&err_path)?)
        .spawn()
        .map_err(Error::io("start", program))?;

    let mut ticker = Ticker::start(what);
    let status = loop {
        match child.try_wait().map_err(Error::io("wait for", scratch))? {
            Some(status) => break status,
            None => {
                ticker.tick();
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    };
    ticker.finish(status.success());

    let read = |path: &Path| {
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        fs::remove_file(path).map_err(Error::io("remove", path))?;
        Ok::<_, Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let (out, err) = (read(&out_path)?, read(&err_path)?);
    if !status.success() {
        let output = tail(&format!("{out}{err}"), TAIL);
        return Err(Error::Failed {
            what: what.to_owned(),
            status,
            output,
        });
    }
    Ok(out)
}

/// The last `lines` lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..)
        .unwrap_or_default()
        .join("\n")
}

struct Ticker<'a> {
    what: &'a str,
    started: Instant,
    shown: Duration,
    in_place: bool,
}

impl<'a> Ticker<'a> {
    fn start(what: &'a str) -> Self {
        let in_place = std::io::stderr().is_terminal();
        Self {
            what,
            started: Instant::now(),
            shown: Duration::ZERO,
            in_place,
        }
    }

    /// Quick commands stay silent: the first line comes after a second.
    fn tick(&mut self) {
        let passed = self.started.elapsed();
        let every = match (self.shown.is_zero(), self.in_place) {
            (true, _) | (_, true) => Duration::from_secs(1),
            (false, false) => Duration::from_secs(30),
        };
        if passed < self.shown + every {
            return;
        }
        self.shown = passed;
        self.line(&format!("... {} s", passed.as_secs()), false);
    }

    fn finish(&self, good: bool) {
        if self.shown.is_zero() && good {
            return;
        }
        let word = if good { "done" } else { "failed" };
        self.line(
            &format!("{word} after {} s", self.started.elapsed().as_secs()),
            true,
        );
    }

    fn line(&self, state: &str, last: bool) {
        let mut err = std::io::stderr();
        let (start, end) = match (self.in_place, last) {
            (true, false) => ("\r\x1b[K", ""),
            (true, true) => ("\r\x1b[K", "\n"),
            (false, _) => ("", "\n"),
        };
        let _ = write!(err, "{start}sluice-e2e: {} {state}{end}", self.what);
        let _ = err.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_returned_and_failure_shows_its_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let sh = |script: &str| {
            let mut command = Command::new("sh");
            command.arg("-c").arg(script);
            run("test", &mut command, dir.path())
        };
        assert_eq!(sh("echo good; echo noise >&2").unwrap(), "good\n");
        let error = sh("seq 100; echo the reason >&2; exit 3")
            .unwrap_err()
            .to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.ends_with("100\nthe reason"), "{error}");
        assert!(!error.contains("\n50\n"), "only the tail: {error}");
    }

    #[test]
    fn tail_of_short_texts_is_all() {
        assert_eq!(tail("a\nb", 5), "a\nb");
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("", 2), "");
    }
}
