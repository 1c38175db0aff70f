//! Running one command of a larger run: its output passes through, its tests are counted.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What a stage came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
    pub(crate) ok: bool,
    pub(crate) took: Duration,
    /// Why the stage did not run, if it did not.
    pub(crate) skipped: Option<String>,
}

impl Outcome {
    /// A stage that was left out, and why.
    pub(crate) fn skipped(name: &str, why: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ok: true,
            skipped: Some(why.into()),
            ..Self::default()
        }
    }

    /// Adds what another command of the same stage came to.
    pub(crate) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.ok &= other.ok;
        self.took += other.took;
    }
}

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The cargo that runs us.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// A heading on the screen, so that long runs can be followed.
pub(crate) fn heading(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "\n== {text}");
    let _ = out.flush();
}

/// Runs `command` to its end. Lines of the form `test result: ... N passed; M failed; K ignored` are
/// added up.
pub(crate) fn run(name: &str, command: &mut Command) -> Result<Outcome> {
    let started = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name}: cannot start {:?}", command.get_program()))?;
    let mut outcome = Outcome {
        name: name.into(),
        ..Outcome::default()
    };
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            let _ = writeln!(std::io::stdout().lock(), "{line}");
            count(&line, &mut outcome);
        }
    }
    outcome.ok = child.wait()?.success();
    outcome.took = started.elapsed();
    Ok(outcome)
}

fn count(line: &str, outcome: &mut Outcome) {
    let Some(rest) = line.trim_start().strip_prefix("test result: ") else {
        return;
    };
    // A test that runs its own binary again, inside a network namespace, picks itself out there: it
    // is counted once, outside.
    if !rest.contains(" 0 filtered out") {
        return;
    }
    let number = |what: &str| -> u64 {
        rest.split([';', '.'])
            .find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
            .unwrap_or(0)
    };
    outcome.passed += number("passed");
    outcome.failed += number("failed");
    outcome.ignored += number("ignored");
}

/// Prints the closing table; whether everything held.
pub(crate) fn closing(outcomes: &[Outcome]) -> bool {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "\n{:<34} {:>7} {:>7} {:>8} {:>8}",
        "stage", "passed", "failed", "ignored", "seconds"
    );
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    for outcome in outcomes {
        let note = match &outcome.skipped {
            Some(why) => format!("  skipped: {why}"),
            None if outcome.ok => String::new(),
            None => "  FAILED".into(),
        };
        let _ = writeln!(
            out,
            "{:<34} {:>7} {:>7} {:>8} {:>8.1}{note}",
            outcome.name,
            outcome.passed,
            outcome.failed,
            outcome.ignored,
            outcome.took.as_secs_f64()
        );
        passed += outcome.passed;
        failed += outcome.failed;
        ignored += outcome.ignored;
    }
    let ok = outcomes.iter().all(|outcome| outcome.ok);
    let word = if ok { "ok" } else { "FAILED" };
    let _ = writeln!(
        out,
        "\nall stages: {word}. {passed} passed; {failed} failed; {ignored} ignored"
    );
    ok
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_from_the_result_lines() {
        let mut outcome = Outcome::default();
        count(
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            &mut outcome,
        );
        count(
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
            &mut outcome,
        );
        count("running 3 tests", &mut outcome);
        assert_eq!(
            (outcome.passed, outcome.failed, outcome.ignored),
            (15, 2, 1)
        );
    }
}
