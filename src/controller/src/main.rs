//! The controller: observe, decide, execute.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use kube::Client;
use sluice_controller::args::Args;
use sluice_controller::http::HttpSettings;
use sluice_controller::lease::LeaseSettings;
use sluice_controller::{Config, run};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Threads that passes run on, at most.
const THREADS: usize = 4;

fn main() -> ExitCode {
    let args = Args::parse();
    if args.version {
        use std::io::Write;
        let version = env!("CARGO_PKG_VERSION");
        let written = writeln!(std::io::stdout(), "rollouts-controller: v{version}");
        return if written.is_ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    log_to_stderr(&args);
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the controller ends");
            ExitCode::FAILURE
        }
    }
}

/// Our own crates at the level asked for, others from warnings on.
fn log_to_stderr(args: &Args) {
    let level = match args.loglevel.as_str() {
        "trace" | "debug" | "warn" | "error" | "off" => args.loglevel.as_str(),
        "fatal" | "panic" => "error",
        "warning" => "warn",
        _ => "info",
    };
    let ours = [
        "rollouts_controller",
        "sluice_controller",
        "sluice_core",
        "sluice_analysis",
        "sluice_trafficrouters",
    ];
    let directives = ours
        .iter()
        .map(|name| format!("{name}={level}"))
        .collect::<Vec<_>>();
    let filter = EnvFilter::new(format!("warn,{}", directives.join(",")));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if args.logformat == "json" {
        builder.json().flatten_event(true).init();
    } else {
        builder.init();
    }
}

fn start(args: Args) -> anyhow::Result<()> {
    args.check()?;
    let provider = rustls::crypto::ring::default_provider();
    anyhow::ensure!(
        provider.install_default().is_ok(),
        "a TLS provider is installed already"
    );
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Each thread keeps memory of its own, and a few are enough for thousands of Rollouts.
        .worker_threads(cores.min(THREADS))
        .enable_all()
        .build()?;
    runtime.block_on(lead(args))
}

async fn lead(args: Args) -> anyhow::Result<()> {
    let kube = args.client.config().await?;
    let own_namespace = own_namespace();
    let namespace = args.namespaced.then(|| kube.default_namespace.clone());
    for flag in args.without_effect() {
        tracing::warn!(flag, "has no effect yet");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace = namespace.as_deref().unwrap_or("(all)"),
        instance_id = args.instance_id,
        metrics_port = args.metrics_port,
        healthz_port = args.healthz_port,
        "Argo Rollouts controller starting"
    );
    let client = Client::try_from(kube.clone()).context("building the API client")?;
    // Another connection, so that a busy controller cannot starve the lease (FLT-26).
    let lease_client = Client::try_from(kube).context("building the lease's API client")?;
    let runs_only = !args.controllers.is_empty();
    // Two processes that look after different kinds must not exclude each other (EDGE-17).
    let mode = if runs_only { "analysis" } else { "" };
    let shard = [args.instance_id.as_str(), mode]
        .into_iter()
        .filter(|part| !part.is_empty());
    let lease = args.leader_elect.then(|| LeaseSettings {
        duration: args.leader_election_lease_duration,
        renew_deadline: args.leader_election_renew_deadline,
        retry_period: args.leader_election_retry_period,
        ..LeaseSettings::new(&own_namespace, shard.collect::<Vec<_>>().join("-"))
    });
    let mut http = HttpSettings::default();
    if !args.client.request_timeout.is_zero() {
        http.timeout = args.client.request_timeout;
    }
    if args.qps.is_some() || args.burst.is_some() {
        http.rate = Some((args.qps.unwrap_or(40.0), args.burst.unwrap_or(80)));
    }
    let config = Config {
        namespace,
        instance_id: args.instance_id,
        runs_only,
        lease,
        lease_client: Some(lease_client),
        rollout_workers: args.rollout_threads,
        run_workers: args.analysis_threads,
        experiment_workers: args.experiment_threads,
        cleanup_workers: args.service_threads,
        pod_writes: args.ephemeral_metadata_threads,
        resync: Duration::from_secs(args.rollout_resync.into()),
        http,
        routers: sluice_trafficrouters::Config {
            istio_api_version: args.istio_api_version,
            ambassador_api_version: args.ambassador_api_version,
            traffic_split_api_version: args.traffic_split_api_version,
            traefik_api_version: args.traefik_api_version,
            aws_verify_target_group: args.aws_verify_target_group,
        },
        own_namespace,
        metrics_port: Some(args.metrics_port),
        health_port: Some(args.healthz_port),
        ..Config::default()
    };
    run(config, client, told_to_stop()?).await?;
    Ok(())
}

/// `POD_NAMESPACE`, else the service account's, else the peer's usual one (OPS-2).
fn own_namespace() -> String {
    let file = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
    std::env::var("POD_NAMESPACE")
        .ok()
        .filter(|namespace| !namespace.is_empty())
        .or_else(|| {
            std::fs::read_to_string(file)
                .ok()
                .map(|text| text.trim().to_owned())
        })
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or_else(|| "argo-rollouts".to_owned())
}

/// Resolves at SIGINT or SIGTERM; a second one ends the process at once (OPS-6).
fn told_to_stop() -> anyhow::Result<impl Future<Output = ()> + Send> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping");
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            std::process::exit(1);
        });
    })
}
