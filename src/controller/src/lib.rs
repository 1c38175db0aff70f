//! The controller: observe, decide, execute.
//!
//! | module | what |
//! |---|---|
//! | [`cache`], [`hub`], [`queue`] | what is known, who is concerned by a change, whose turn it is |
//! | [`reconcile`] | one pass over one object |
//! | [`observe`], [`execute`] | every read, every write of a pass; between them only `sluice_core` |
//! | [`measure`] | measurements of AnalysisRuns, beside the loop |
//! | [`lease`], [`fence`], [`http`] | who may write, and the client that makes sure of it |
//! | [`look`] | the same observation for somebody who only reads |
//! | [`events`], [`metrics`], [`server`] | what users see |
//!
//! [`run`] puts them together; the binary, `demo` and the tests all start there.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use sluice_core::observed::Settings;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub mod args;
pub mod cache;
pub mod clock;
pub mod ctx;
pub mod events;
pub mod execute;
pub mod fence;
pub mod http;
pub mod hub;
pub mod key;
pub mod lease;
pub mod look;
pub mod measure;
pub mod metrics;
pub mod observe;
pub mod patch;
pub mod providers;
pub mod queue;
pub mod reconcile;
pub mod server;

use cache::{Cache, Feeds, Scope};
use clock::{SharedClock, SystemClock};
use ctx::{Ctx, Memories, OnPlan};
use fence::Fence;
use hub::{Hub, Queues};
use lease::{Election, LeaseSettings};
use metrics::Metrics;

/// Everything that a run of the controller can be told.
#[derive(Clone)]
pub struct Config {
    /// Where time comes from.
    pub clock: SharedClock,
    /// Only this namespace (`--namespaced`).
    pub namespace: Option<String>,
    /// `--instance-id`; empty when not set.
    pub instance_id: String,
    /// Only AnalysisRuns (`--controllers analysis`).
    pub runs_only: bool,
    /// Election; `None`: this process leads without asking.
    pub lease: Option<LeaseSettings>,
    /// Client of the election; the controller's own when absent (INV-12 wants a separate one).
    pub lease_client: Option<Client>,
    /// Workers for Rollouts.
    pub rollout_workers: usize,
    /// Workers for AnalysisRuns.
    pub run_workers: usize,
    /// Workers for Experiments.
    pub experiment_workers: usize,
    /// Workers for cleaning up.
    pub cleanup_workers: usize,
    /// Parallel writes of pods in one pass.
    pub pod_writes: usize,
    /// Longest time between two looks at an object.
    pub resync: Duration,
    /// Client behaviour.
    pub http: http::HttpSettings,
    /// Settings of routers.
    pub routers: sluice_trafficrouters::Config,
    /// Namespace of the controller's own objects.
    pub own_namespace: String,
    /// Takes measurements; the providers of `sluice_analysis` when absent.
    pub measure: Option<Arc<dyn measure::Measure>>,
    /// Listens to every decision about a Rollout.
    pub on_plan: Option<OnPlan>,
    /// Metrics, when the caller wants to see them; else the run makes its own.
    pub metrics: Option<Metrics>,
    /// Port of `/metrics`; none without.
    pub metrics_port: Option<u16>,
    /// Port of `/healthz`; none without.
    pub health_port: Option<u16>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            namespace: None,
            instance_id: String::new(),
            runs_only: false,
            lease: None,
            lease_client: None,
            rollout_workers: 10,
            run_workers: 30,
            experiment_workers: 10,
            cleanup_workers: 10,
            pod_writes: 10,
            resync: Duration::from_secs(900),
            http: http::HttpSettings::default(),
            routers: sluice_trafficrouters::Config::default(),
            own_namespace: "argo-rollouts".to_owned(),
            measure: None,
            on_plan: None,
            metrics: None,
            metrics_port: None,
            health_port: None,
        }
    }
}

/// Why a run ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another process holds the lease now, or it could not be renewed.
    #[error("the leader's lease was lost")]
    LeaseLost,
    /// A port is taken.
    #[error("listening on port {port}")]
    Listen {
        /// The port.
        port: u16,
        /// Why not.
        source: std::io::Error,
    },
    /// Two metrics have the same name.
    #[error(transparent)]
    Metrics(#[from] metrics::MetricsError),
}

/// Runs the controller until `shutdown` resolves: elects, fills the caches, works, and on the way out
/// lets passes end, writes the last events and gives the lease back.
///
/// # Errors
/// [`RunError`]; the process should end then.
pub async fn run(
    config: Config,
    client: Client,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let metrics = match &config.metrics {
        Some(metrics) => metrics.clone(),
        None => Metrics::new()?,
    };
    let stop = CancellationToken::new();
    let fence = if config.lease.is_some() {
        Fence::closed()
    } else {
        Fence::open()
    };
    let guarded = http::wrap(client.clone(), fence.clone(), metrics.clone(), &config.http);
    let gauges = server::Gauges::default();
    let servers = server::start(&config, &metrics, &gauges, &stop).await?;
    tokio::pin!(shutdown);

    let mut election = config.lease.clone().map(|settings| {
        let own = config.lease_client.clone().unwrap_or(client);
        Election::new(settings, own, config.clock.clone(), fence.clone())
    });
    if let Some(election) = &mut election {
        let elected = tokio::select! {
            elected = election.acquire(&stop) => elected,
            () = &mut shutdown => false,
        };
        if !elected {
            stop.cancel();
            servers.wait().await;
            return Ok(());
        }
    }

    let work = CancellationToken::new();
    // Whoever drops this run ends its tasks.
    let _dropped = (stop.clone().drop_guard(), work.clone().drop_guard());
    let working = tokio::spawn(serve(config, guarded, metrics, gauges, work.clone()));
    let give_up = CancellationToken::new();
    let held = async {
        match &mut election {
            Some(election) => election.hold(&give_up).await,
            None => {
                give_up.cancelled().await;
                true
            }
        }
    };
    tokio::pin!(held);
    tokio::pin!(working);
    let mut lost = tokio::select! {
        biased;
        kept = &mut held => !kept,
        () = &mut shutdown => false,
    };
    // Passes end before the lease is given back: they may still have to write. Until then it is held.
    work.cancel();
    let mut ended = None;
    if !lost {
        tokio::select! {
            biased;
            kept = &mut held => lost = !kept,
            result = &mut working => ended = Some(result),
        }
    }
    let ended = match ended {
        Some(ended) => ended,
        None => working.await,
    };
    if ended.is_err() {
        tracing::error!("the controller's main task failed");
    }
    if !lost {
        give_up.cancel();
        held.await;
    }
    stop.cancel();
    servers.wait().await;
    if lost {
        Err(RunError::LeaseLost)
    } else {
        Ok(())
    }
}

/// The providers; where the cluster for Jobs cannot be reached, all but those of Jobs.
async fn providers(config: &Config, client: &Client) -> Arc<dyn measure::Measure> {
    use sluice_analysis::job::JobCluster;

    let jobs = match JobCluster::from_env(client.clone()).await {
        Ok(jobs) => jobs,
        Err(error) => {
            tracing::error!(error, "Jobs run beside their AnalysisRuns instead");
            JobCluster::new(client.clone(), None)
        }
    };
    Arc::new(providers::Providers::new(jobs, config.clock.clone()))
}

/// What a leader does.
async fn serve(
    config: Config,
    client: Client,
    metrics: Metrics,
    gauges: server::Gauges,
    stop: CancellationToken,
) {
    let (events, writer) = events::EventSink::new(client.clone(), config.clock.clone());
    let rollouts = Arc::default();
    let queues = Queues::new(&metrics);
    let hub = Arc::new(Hub {
        queues: queues.clone(),
        dependencies: cache::Dependencies::default(),
        rollouts: Arc::clone(&rollouts),
        unreadable: hub::Unreadable::default(),
        events: events.clone(),
        metrics: metrics.clone(),
    });
    let tasks = TaskTracker::new();
    let feeds = Feeds {
        client: client.clone(),
        scope: Scope {
            namespace: config.namespace.clone(),
            instance_id: config.instance_id.clone(),
        },
        hub: hub.clone(),
        stop: stop.clone(),
        tasks: tasks.clone(),
    };
    let settings = Settings {
        resync: jiff::SignedDuration::try_from(config.resync).unwrap_or_default(),
        instance_id: config.instance_id.clone(),
    };
    let measure = match &config.measure {
        Some(measure) => measure.clone(),
        None => providers(&config, &client).await,
    };
    let ctx = Arc::new(Ctx {
        client,
        clock: config.clock.clone(),
        cache: Cache::new(feeds, rollouts),
        hub,
        events,
        metrics,
        settings,
        routers: config.routers.clone(),
        pod_writes: config.pod_writes,
        on_plan: config.on_plan.clone(),
        memories: Memories::default(),
        experiment_memories: Memories::default(),
        measuring: measure::Measuring::new(
            measure,
            config.clock.clone(),
            queues.runs.clone(),
            tasks.clone(),
            stop.clone(),
        ),
    });
    let events_stop = CancellationToken::new();
    let writing = tokio::spawn(writer.run(events_stop.clone()));
    gauges.show(&ctx);

    let synced = tokio::select! {
        () = ctx.cache.start(config.runs_only) => true,
        () = stop.cancelled() => false,
    };
    if synced {
        tracing::info!(rollouts = ctx.cache.rollouts.len(), "caches are filled");
        work(&config, &ctx, &queues, &stop).await;
    }
    tasks.close();
    tasks.wait().await;
    events_stop.cancel();
    if writing.await.is_err() {
        tracing::error!("the event writer failed");
    }
}

async fn work(config: &Config, ctx: &Arc<Ctx>, queues: &Queues, stop: &CancellationToken) {
    macro_rules! workers {
        ($queue:ident, $workers:expr, $pass:path) => {{
            let ctx = ctx.clone();
            let pass = move |key| $pass(ctx.clone(), key);
            queues.$queue.clone().work($workers, stop.clone(), pass)
        }};
    }
    let runs = workers!(runs, config.run_workers, reconcile::analysis_run::pass);
    if config.runs_only {
        return runs.await;
    }
    let cleaning = config.cleanup_workers;
    tokio::join!(
        runs,
        workers!(rollouts, config.rollout_workers, reconcile::rollout::pass),
        workers!(
            experiments,
            config.experiment_workers,
            reconcile::experiment::pass
        ),
        workers!(services, cleaning, reconcile::cleanup::service),
        workers!(
            destination_rules,
            cleaning,
            reconcile::cleanup::destination_rule
        ),
    );
}
