//! The bench of the controller on a real control plane: `bench-controller [N [PROGRAM]]`, N = 200 by
//! default.
//!
//! N Rollouts of one replica, each with a VirtualService and two Services and the weights 20, 40, 60,
//! 80 with pauses of two seconds, are updated all at once; then the controller is started anew and
//! nothing changed. The controller is PROGRAM, else the release binary, as a child under the
//! ServiceAccount and role of `deploy/`. Requests come from the audit log, CPU time and memory from `/proc`. Each figure
//! stands beside its budget and what the peer took on the same bench.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Value, json};
use sluice_e2e::controlplane::{Mark, Options, Request, ServiceAccountAccess, Summary};
use sluice_e2e::process::usage::{self, cpu};
use sluice_e2e::process::{Process, RunDir};
use sluice_e2e::stand::{ARGO, ISTIO, Namespace, Stand, StandOptions, is_current, kind, text};
use sluice_e2e::toolchain::{self, Cache};
use sluice_e2e::{binaries, kustomize};
use sluice_sim::kubelet::{Behaviour, KubeletOptions};

/// Where the controller is installed.
const OWN: &str = "argo-rollouts";
/// Where the Rollouts are.
const SHOP: &str = "bench";
/// Requests of ours in flight.
const PARALLEL: usize = 16;
const POLL: Duration = Duration::from_millis(250);
/// So long without a request but the lease's, and the controller has come to rest.
const REST: Duration = Duration::from_secs(4);
/// The longest that anything may take, per Rollout and at least.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let number = match args.next() {
        Some(text) => text.parse().context("the number of Rollouts")?,
        None => 200,
    };
    bench(number, args.next().map(PathBuf::from)).await
}

fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

async fn bench(number: u32, program: Option<PathBuf>) -> Result<()> {
    let cache = Cache::from_env()?;
    let crds = tokio::task::spawn_blocking(move || toolchain::istio_crds(&cache)).await??;
    let build = || binaries::program("sluice-controller", "rollouts-controller");
    let program = match program {
        Some(program) => program,
        None => tokio::task::spawn_blocking(build).await??,
    };
    say(&format!("controller: {}", program.display()))?;
    let options = StandOptions {
        plane: Options {
            audit: true,
            ..Options::default()
        },
        // The controller is measured, not how fast pods start.
        node: KubeletOptions {
            default: Behaviour::ready_after(Duration::from_millis(100)),
            ..KubeletOptions::default()
        },
        crds,
    };
    let stand = Stand::start(options).await?;
    let own = stand.namespace(OWN);
    own.create().await?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kustomize/cluster-install");
    own.apply(&kustomize::text(&folder)?).await?;
    let account = stand.plane.service_account(OWN, "argo-rollouts").await?;
    let shop = stand.namespace(SHOP);
    shop.create().await?;

    let dir = RunDir::temporary("bench")?;
    let mut bench = Bench {
        controller: start(&stand, &account, &program, &dir)?,
        stand,
        shop,
        account,
        number,
    };
    let began = Instant::now();
    bench.create().await?;
    bench.all_updated(1).await?;
    let created = began.elapsed();
    bench.rest().await?;
    say(&format!(
        "{number} Rollouts are healthy after {:.1} s; updating all",
        created.as_secs_f64()
    ))?;
    let before = bench.events().await?;
    let update = bench.update().await?;
    let mut events = bench.events().await?;
    for (reason, count) in before {
        *events.entry(reason).or_default() -= count;
    }
    let memory = Memory {
        resident: usage::memory(bench.controller.id(), "VmRSS")?,
        anonymous: usage::memory(bench.controller.id(), "RssAnon")?,
        highest: usage::memory(bench.controller.id(), "VmHWM")?,
    };

    say("starting the controller anew")?;
    bench.controller.terminate();
    while bench.controller.check().is_ok() {
        tokio::time::sleep(POLL).await;
    }
    let (mark, began) = (bench.stand.plane.mark()?, Instant::now());
    bench.controller = start(&bench.stand, &bench.account, &program, &dir)?;
    let last = bench.rest().await?;
    let restart = Part {
        wall: last.saturating_duration_since(began),
        cpu: cpu(bench.controller.id())?,
        requests: bench.requests(mark)?,
    };
    say(&report(number, &update, &restart, &memory)?)?;
    say("events of the update, per Rollout:")?;
    for (reason, count) in events.into_iter().filter(|(_, count)| *count > 0.0) {
        say(&format!("{:>9.2}  {reason}", count / f64::from(number)))?;
    }
    bench.controller.stop(Duration::from_secs(30)).await?;
    bench.stand.stop().await
}

/// Starts the controller as its Deployment would.
fn start(
    stand: &Stand,
    account: &ServiceAccountAccess,
    program: &Path,
    dir: &RunDir,
) -> Result<Process> {
    let mut command = Command::new(program);
    command
        .arg(format!("--server={}", stand.plane.endpoint()))
        .arg(format!("--token={}", account.token))
        .arg(format!(
            "--certificate-authority={}",
            stand.plane.ca_file().display()
        ))
        .args(["--metricsPort=0", "--healthzPort=0"])
        .env("POD_NAMESPACE", OWN)
        .env_remove("KUBECONFIG");
    Ok(Process::spawn("rollouts-controller", command, dir)?)
}

struct Bench {
    controller: Process,
    stand: Stand,
    shop: Namespace,
    account: ServiceAccountAccess,
    number: u32,
}

/// One part of the bench.
struct Part {
    wall: Duration,
    cpu: f64,
    requests: Summary,
}

/// Memory of the controller after the update, in MiB.
struct Memory {
    resident: f64,
    /// Not mapped from the program's file.
    anonymous: f64,
    highest: f64,
}

impl Bench {
    async fn create(&self) -> Result<()> {
        let all = (0..self.number).flat_map(objects);
        stream::iter(all)
            .map(|object| async move {
                let of = kind(text(&object, "/apiVersion"), text(&object, "/kind"));
                self.shop.post(&of, object).await.map(drop)
            })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await
    }

    /// Waits until all are healthy at this revision. They are watched: to list them again and again
    /// would cost the API server as much as the controller does.
    async fn all_updated(&mut self, revision: u32) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let (number, want) = (usize::try_from(self.number)?, revision.to_string());
        let done = |rollout: &Value| {
            let revision = "/metadata/annotations/rollout.argoproj.io~1revision";
            is_current(rollout)
                && text(rollout, "/status/phase") == "Healthy"
                && text(rollout, revision) == want
        };
        let all = self.shop.api(&kind(ARGO, "Rollout"));
        let mut changes = pin!(watcher(all, watcher::Config::default()));
        let mut there = BTreeSet::new();
        while there.len() < number {
            match tokio::time::timeout(POLL, changes.next()).await {
                Ok(Some(Ok(Event::Apply(rollout) | Event::InitApply(rollout)))) => {
                    let rollout = serde_json::to_value(rollout)?;
                    let name = text(&rollout, "/metadata/name").to_owned();
                    if done(&rollout) {
                        there.insert(name);
                    } else {
                        there.remove(&name);
                    }
                }
                Ok(Some(Ok(Event::Init | Event::InitDone | Event::Delete(_)))) => {}
                Ok(Some(Err(error))) => bail!("watching Rollouts: {error}"),
                Ok(None) => bail!("watching Rollouts ended"),
                Err(_) => self.controller.check()?,
            }
            if Instant::now() >= deadline {
                bail!("only {there:?} are done");
            }
        }
        Ok(())
    }

    /// Waits until old ReplicaSets are empty.
    async fn old_pods_gone(&self) -> Result<()> {
        let number = usize::try_from(self.number)?;
        let one_each = |sets: &[Value]| {
            let full = |set: &&Value| set.pointer("/spec/replicas") != Some(&json!(0));
            sets.iter().filter(full).count() == number
        };
        let sets = kind("apps/v1", "ReplicaSet");
        self.shop
            .until_all(&sets, "old ReplicaSets are empty", PATIENCE, one_each)
            .await?;
        Ok(())
    }

    /// How many events there are, by reason; what happened again is counted again.
    async fn events(&self) -> Result<BTreeMap<String, f64>> {
        let mut found = BTreeMap::new();
        for event in self.shop.list(&kind("v1", "Event")).await? {
            if text(&event, "/source/component") == "rollouts-controller" {
                let count = event.pointer("/count").and_then(Value::as_f64);
                *found.entry(text(&event, "/reason").to_owned()).or_default() +=
                    count.unwrap_or(1.0);
            }
        }
        Ok(found)
    }

    /// Waits until the controller asks for nothing any more but its lease; when it last did.
    async fn rest(&self) -> Result<Instant> {
        let (mut seen, mut last) = (0, Instant::now());
        let deadline = Instant::now() + PATIENCE;
        while last.elapsed() < REST {
            let now = self
                .stand
                .plane
                .requests()?
                .of_user(&self.account.user)
                .count(|request| request.resource != "leases");
            if now != seen {
                (seen, last) = (now, Instant::now());
            }
            if Instant::now() >= deadline {
                bail!("the controller does not come to rest");
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(last)
    }

    async fn update(&mut self) -> Result<Part> {
        let of = kind(ARGO, "Rollout");
        let containers = json!([{"name": "web", "image": "web:v2"}]);
        let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let (mark, spent) = (self.stand.plane.mark()?, cpu(self.controller.id())?);
        let began = Instant::now();
        let (shop, of, patch) = (&self.shop, &of, &patch);
        stream::iter(0..self.number)
            .map(|index| async move { shop.patch(of, &name(index), patch).await })
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await?;
        self.all_updated(2).await?;
        let wall = began.elapsed();
        // Old pods stay for 30 s; taking them down belongs to the update.
        self.old_pods_gone().await?;
        self.rest().await?;
        Ok(Part {
            wall,
            cpu: cpu(self.controller.id())? - spent,
            requests: self.requests(mark)?,
        })
    }

    /// What the controller asked for, its lease aside.
    fn requests(&self, mark: Mark) -> Result<Summary> {
        let all = self.stand.plane.requests_since(mark)?;
        Ok(all.of_user(&self.account.user))
    }
}

fn name(index: u32) -> String {
    format!("web-{index:04}")
}

fn objects(index: u32) -> Vec<Value> {
    let name = name(index);
    let (stable, canary) = (format!("{name}-stable"), format!("{name}-canary"));
    let service = |service: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": service},
               "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}})
    };
    let to = |host: &str, weight: u32| json!({"destination": {"host": host}, "weight": weight});
    let pause = || json!({"pause": {"duration": "2s"}});
    let steps: Vec<_> = [20, 40, 60, 80]
        .into_iter()
        .flat_map(|weight| [json!({"setWeight": weight}), pause()])
        .collect();
    vec![
        service(&stable),
        service(&canary),
        json!({"apiVersion": ISTIO, "kind": "VirtualService", "metadata": {"name": name},
               "spec": {"hosts": [name], "http": [{"name": "primary",
                        "route": [to(&stable, 100), to(&canary, 0)]}]}}),
        json!({"apiVersion": ARGO, "kind": "Rollout", "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                         "spec": {"containers": [{"name": "web", "image": "web:v1"}]}},
            "strategy": {"canary": {
                "stableService": stable, "canaryService": canary,
                "trafficRouting": {"istio": {"virtualService": {"name": name,
                                   "routes": ["primary"]}}},
                "steps": steps,
            }},
        }}),
    ]
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts of requests are far below 2^52"
)]
fn report(number: u32, update: &Part, restart: &Part, memory: &Memory) -> Result<String> {
    let each = f64::from(number);
    let ours = |request: &Request| request.resource != "leases";
    let requests = update.requests.count(ours) as f64;
    let lists = update.requests.count(|r| ours(r) && r.verb == "list") as f64;
    let writes = |part: &Part| part.requests.count(|r| ours(r) && r.is_write()) as f64;
    let reads = restart.requests.count(|r| ours(r) && r.verb == "get") as f64;
    let rows = [
        (
            "update: seconds to all healthy",
            update.wall.as_secs_f64(),
            15.0,
            "133",
        ),
        ("update: requests per Rollout", requests / each, 24.0, "53"),
        ("update: LISTs in all", lists, 0.0, ""),
        (
            "update: CPU-seconds per Rollout",
            update.cpu / each,
            0.04,
            "0.19",
        ),
        ("resident memory, MiB", memory.resident, 30.0, "135"),
        (
            "restart: seconds to rest",
            restart.wall.as_secs_f64(),
            10.0,
            "",
        ),
        ("restart: writes", writes(restart), 0.0, "200"),
        ("restart: GETs", reads, 0.0, "400"),
    ];
    let mut text = format!(
        "\n{number} Rollouts of one replica, 4 weights with pauses of 2 s\n\n{:<34} {:>10} {:>10} {:>10}\n",
        "", "measured", "budget", "peer (200)"
    );
    for (what, measured, budget, peer) in rows {
        let verdict = if measured <= budget { "" } else { "  MISSED" };
        writeln!(
            text,
            "{what:<34} {measured:>10.3} {budget:>10} {peer:>10}{verdict}"
        )?;
    }
    writeln!(
        text,
        "\nresident memory: {:.1} MiB of it not from the program's file; {:.1} MiB at the highest",
        memory.anonymous, memory.highest
    )?;
    writeln!(
        text,
        "restart: {:.2} CPU-seconds\n\nupdate, per Rollout:",
        restart.cpu
    )?;
    let mut kinds: Vec<(String, u64)> = vec![];
    for (request, count) in update.requests.iter().filter(|(request, _)| ours(request)) {
        let slash = if request.subresource.is_empty() {
            ""
        } else {
            "/"
        };
        let what = format!(
            "{:<7} {}{slash}{} {}",
            request.verb, request.resource, request.subresource, request.code
        );
        match kinds.iter_mut().find(|(known, _)| *known == what) {
            Some((_, sum)) => *sum += count,
            None => kinds.push((what, count)),
        }
    }
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (what, count) in kinds {
        writeln!(text, "{:>9.2}  {what}", count as f64 / each)?;
    }
    writeln!(text, "\nrestart, in all:\n{}", restart.requests)?;
    Ok(text)
}
