//! `cargo xtask bench`: the core, the size of what is shipped, many Rollouts at rest, then the controller
//! on the real control plane; each figure beside its budget.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::stage;

/// A decision about a Rollout may take so long, in microseconds.
const DECISION: f64 = 50.0;
/// Canaries that one core brings from the new image to the promotion, pods simulated: per second.
const UPDATES: f64 = 2000.0;
/// Megabytes that a shipped program may have.
const SIZE: f64 = 20.0;
/// The programs that are shipped: package and name.
const PROGRAMS: [(&str, &str); 2] = [
    ("sluice-controller", "rollouts-controller"),
    ("sluice-cli", "kubectl-argo-rollouts"),
];

#[derive(Args)]
pub(crate) struct Options {
    /// Only the core: no control plane is started.
    #[arg(long)]
    core: bool,
    /// Rollouts that are updated at once on the control plane.
    #[arg(long, default_value_t = 200)]
    rollouts: u32,
    /// Rollouts at rest on a simulated cluster.
    #[arg(long, default_value_t = 10_000)]
    resting: u32,
}

/// One figure.
struct Row {
    what: String,
    measured: f64,
    budget: f64,
    /// More is better.
    at_least: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut bench = stage::cargo(&["bench", "-p", "sluice-core"]);
    let mut outcomes = vec![stage::run("core", &mut bench)?];
    let target = target();
    let mut rows = core(&target.join("criterion"))?;
    if !options.core {
        let [(controller, program), (cli, plugin)] = PROGRAMS;
        let args = ["build", "--profile=ship", "-p", controller, "-p", cli];
        outcomes.push(stage::run("programs", &mut stage::cargo(&args))?);
        for name in [program, plugin] {
            rows.push(size(&target.join("ship").join(name))?);
        }
        let number = options.rollouts.to_string();
        let program = target.join("ship").join(program);
        let program = program.to_str().context("the target folder's name")?;
        let resting = options.resting.to_string();
        for (bench, number) in [("bench-idle", &resting), ("bench-controller", &number)] {
            let mut args = vec!["run", "--release", "-p", "sluice-e2e"];
            args.extend(["--bin", bench, "--", number, program]);
            outcomes.push(stage::run(bench, &mut stage::cargo(&args))?);
        }
    }
    show(&rows);
    if !stage::closing(&outcomes) {
        bail!("a benchmark failed, see above");
    }
    Ok(())
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    let set = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    set.unwrap_or_else(|| stage::root().join("target"))
}

/// What criterion measured last: every decision, and whole updates.
fn core(criterion: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for decision in below(&criterion.join("decide"))? {
        for case in below(&decision)? {
            let Some(nanoseconds) = median(&case)? else {
                continue;
            };
            if name(&decision) == "check" {
                continue; // runs in debug builds only
            }
            rows.push(Row {
                what: format!("decision, {}, {}: µs", name(&decision), name(&case)),
                measured: nanoseconds / 1e3,
                budget: DECISION,
                at_least: false,
            });
        }
        if let Some(nanoseconds) = median(&decision)? {
            rows.push(Row {
                what: format!("decision, {}: µs", name(&decision)),
                measured: nanoseconds / 1e3,
                budget: DECISION,
                at_least: false,
            });
        }
    }
    for case in below(&criterion.join("update"))? {
        if let Some(nanoseconds) = median(&case)? {
            rows.push(Row {
                what: format!("simulated updates, {}: per second and core", name(&case)),
                measured: 1e9 / nanoseconds,
                budget: UPDATES,
                at_least: true,
            });
        }
    }
    anyhow::ensure!(!rows.is_empty(), "criterion left nothing behind");
    Ok(rows)
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().replace('_', " ")
}

/// Folders, by name; those in which criterion keeps reports left out.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let own = ["report", "new", "base", "change"];
        if path.is_dir() && !own.contains(&name(&path).as_str()) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Nanoseconds of one iteration; none where nothing was measured.
fn median(case: &Path) -> Result<Option<f64>> {
    let file = case.join("new/estimates.json");
    if !file.is_file() {
        return Ok(None);
    }
    let text = std::fs::read(&file).with_context(|| file.display().to_string())?;
    let estimates: Value = serde_json::from_slice(&text)?;
    let median = estimates
        .pointer("/median/point_estimate")
        .and_then(Value::as_f64);
    median.context("estimates of criterion").map(Some)
}

#[allow(clippy::cast_precision_loss, reason = "a file of a few megabytes")]
fn size(program: &Path) -> Result<Row> {
    let bytes = std::fs::metadata(program)
        .with_context(|| program.display().to_string())?
        .len();
    Ok(Row {
        what: format!("size of {}: MB", name(program)),
        measured: bytes as f64 / 1e6,
        budget: SIZE,
        at_least: false,
    })
}

fn show(rows: &[Row]) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "\n{:<60} {:>10} {:>10}", "", "measured", "budget");
    for row in rows {
        let held = if row.at_least {
            row.measured >= row.budget
        } else {
            row.measured <= row.budget
        };
        let verdict = if held { "" } else { "  MISSED" };
        let Row {
            what,
            measured,
            budget,
            ..
        } = row;
        let _ = writeln!(out, "{what:<60} {measured:>10.1} {budget:>10}{verdict}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_from_criterion() -> Result<()> {
        let folder = std::env::temp_dir().join(format!("sluice-bench-{}", std::process::id()));
        let put = |case: &str, nanoseconds: f64| -> Result<()> {
            let case = folder.join(case).join("new");
            std::fs::create_dir_all(&case)?;
            let estimates = serde_json::json!({"median": {"point_estimate": nanoseconds}});
            std::fs::write(case.join("estimates.json"), estimates.to_string())?;
            Ok(())
        };
        put("decide/begin/blue-green", 20_000.0)?;
        put("decide/begin_third", 60_000.0)?;
        put("update/basic", 250_000.0)?;
        let rows = core(&folder)?;
        std::fs::remove_dir_all(&folder)?;
        let rows: Vec<_> = rows
            .iter()
            .map(|row| (row.what.as_str(), row.measured))
            .collect();
        let expected = [
            ("decision, begin, blue-green: µs", 20.0),
            ("decision, begin third: µs", 60.0),
            ("simulated updates, basic: per second and core", 4000.0),
        ];
        assert_eq!(rows, expected);
        Ok(())
    }
}
