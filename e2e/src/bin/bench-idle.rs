//! The bench of many Rollouts at rest: `bench-idle [N [PROGRAM]]`, N = 10,000 by default.
//!
//! A simulated cluster holds N Rollouts of all kinds with two ReplicaSets each, and is listened to over
//! plain HTTP; the controller is PROGRAM, else the release binary, as a child. Nothing changes: how
//! long it takes to look at all of them, what it writes, and what it uses then stand beside their budgets.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sluice_e2e::binaries;
use sluice_e2e::idle::{KINDS, at_rest, cluster, fill};
use sluice_e2e::process::usage::{cpu, memory};
use sluice_e2e::process::{Process, RunDir};

const POLL: Duration = Duration::from_millis(100);
/// So long without using a processor, and the controller has looked at everything.
const REST: Duration = Duration::from_secs(3);
/// How long it is watched then.
const WATCHED: Duration = Duration::from_secs(60);
/// Longest time to rest.
const PATIENCE: Duration = Duration::from_secs(300);
/// Seconds of a processor within [`REST`] that count as none: the lease is renewed.
const NONE: f64 = 0.03;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let number: usize = match args.next() {
        Some(text) => text.parse().context("the number of Rollouts")?,
        None => 10_000,
    };
    let program = match args.next() {
        Some(program) => PathBuf::from(program),
        None => binaries::program("sluice-controller", "rollouts-controller")?,
    };
    // A quarter of an hour passes until all is at rest; it should not be one of ours.
    let ago = SignedDuration::from_hours(1);
    let objects = std::thread::spawn(move || -> Result<Vec<Value>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()?;
        runtime.block_on(at_rest(&sluice_sim::Clock::tokio_at(
            Timestamp::now() - ago,
        )))
    });
    let objects = objects.join().map_err(|_| anyhow::anyhow!("panicked"))??;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(bench(number, &objects, &program))
}

fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

async fn bench(number: usize, objects: &[Value], program: &Path) -> Result<()> {
    let cluster = cluster(&sluice_sim::Clock::tokio())?;
    fill(&cluster, objects, number.div_ceil(KINDS)).await?;
    let listener = cluster
        .listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .await?;
    cluster.requests().clear();
    say(&format!("controller: {}", program.display()))?;
    let revision = cluster.revision();
    let dir = RunDir::temporary("bench-idle")?;
    let mut command = Command::new(program);
    command
        .arg(format!("--server={}", listener.url()))
        .args(["--metricsPort=0", "--healthzPort=0", "--leader-elect=false"])
        .env("POD_NAMESPACE", "default")
        .env_remove("KUBECONFIG");
    let began = Instant::now();
    let mut controller = Process::spawn("rollouts-controller", command, &dir)?;
    let id = controller.id();
    let (mut used, mut last) = (0.0, Instant::now());
    while last.elapsed() < REST {
        tokio::time::sleep(POLL).await;
        controller.check()?;
        let now = cpu(id)?;
        if now > used + NONE {
            (used, last) = (now, Instant::now());
        }
        if began.elapsed() > PATIENCE {
            bail!("the controller does not come to rest");
        }
    }
    let started = last.duration_since(began).as_secs_f64();
    let starting = cpu(id)?;
    tokio::time::sleep(WATCHED).await;
    let resting = (cpu(id)? - starting) / WATCHED.as_secs_f64();
    let (resident, highest) = (memory(id, "VmRSS")?, memory(id, "VmHWM")?);
    let writes = cluster.revision() - revision;
    let lists = cluster.requests().counts("");
    controller.stop(Duration::from_secs(30)).await?;
    #[allow(clippy::cast_precision_loss, reason = "a small number, if not none")]
    let rows = [
        ("seconds to look at all", started, 10.0),
        ("changes of the cluster", writes as f64, 0.0),
        ("resident memory, MiB", resident, 150.0),
        ("processors used at rest", resting, 0.02),
    ];
    say(&format!(
        "\n{number} Rollouts at rest\n\n{:<34} {:>10} {:>10}",
        "", "measured", "budget"
    ))?;
    for (what, measured, budget) in rows {
        let verdict = if measured <= budget { "" } else { "  MISSED" };
        say(&format!(
            "{what:<34} {measured:>10.3} {budget:>10}{verdict}"
        ))?;
    }
    say(&format!(
        "\n{highest:.1} MiB at the highest; {starting:.1} CPU-seconds at start\nrequests: {lists:#?}"
    ))
}
