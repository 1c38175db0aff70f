//! What a process has used so far, from `/proc`.

use anyhow::{Context, Result};

/// Linux counts CPU time in hundredths of a second for all programs.
const TICKS: f64 = 100.0;

/// CPU seconds of a process so far.
///
/// # Errors
/// When it is gone.
pub fn cpu(id: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name may hold anything; user and system time are the 12th and 13th field after it.
    let fields = stat.rsplit_once(") ").context("/proc/PID/stat")?.1;
    let fields: Vec<&str> = fields.split(' ').collect();
    let field = |at: usize| -> Result<f64> {
        Ok(fields.get(at).context("/proc/PID/stat is short")?.parse()?)
    };
    Ok((field(11)? + field(12)?) / TICKS)
}

/// A line of `/proc/PID/status` such as `VmRSS`, in MiB.
///
/// # Errors
/// When it is gone, or has no such line.
pub fn memory(id: u32, line: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let kib = status
        .lines()
        .find_map(|found| found.strip_prefix(line)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next())
        .with_context(|| format!("no {line} in /proc/PID/status"))?;
    Ok(kib.parse::<f64>()? / 1024.0)
}
