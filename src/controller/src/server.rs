//! `/metrics` and `/healthz` (OPS-7, OPS-12).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ctx::Ctx;
use crate::metrics::{Metrics, ObjectGauges, RolloutFacts};
use crate::{Config, RunError};

/// What the gauges are computed from: the caches, once this process leads.
#[derive(Clone, Default)]
pub struct Gauges(Arc<Mutex<Weak<Ctx>>>);

impl Gauges {
    /// From now on these caches are shown.
    pub(crate) fn show(&self, ctx: &Arc<Ctx>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(ctx);
    }

    /// All objects now; none on a standby.
    #[must_use]
    pub fn objects(&self) -> ObjectGauges {
        let ctx = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade();
        ctx.map_or_else(ObjectGauges::default, |ctx| ObjectGauges {
            rollouts: ctx.cache.rollouts.each(RolloutFacts::of),
            runs: ctx.cache.runs.all(),
            experiments: ctx.cache.experiments.all(),
            templates: ctx.cache.templates.all(),
            cluster_templates: ctx.cache.cluster_templates.all(),
        })
    }
}

/// The servers of one run.
pub(crate) struct Servers(TaskTracker);

impl Servers {
    /// Returns when all have ended; they end when told to stop.
    pub(crate) async fn wait(self) {
        self.0.close();
        self.0.wait().await;
    }
}

/// Starts the servers that `config` asks for.
pub(crate) async fn start(
    config: &Config,
    metrics: &Metrics,
    gauges: &Gauges,
    stop: &CancellationToken,
) -> Result<Servers, RunError> {
    let servers = Servers(TaskTracker::new());
    if let Some(port) = config.health_port {
        serve(
            &servers,
            port,
            Router::new().route("/healthz", get(healthz)),
            stop,
        )
        .await?;
    }
    if let Some(port) = config.metrics_port {
        let (metrics, gauges) = (metrics.clone(), gauges.clone());
        let answer = move || {
            let text = metrics.render(&gauges.objects());
            std::future::ready(match text {
                Ok(text) => {
                    let kind = "text/plain; version=0.0.4; charset=utf-8";
                    ([(header::CONTENT_TYPE, kind)], text).into_response()
                }
                Err(error) => {
                    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
                }
            })
        };
        serve(
            &servers,
            port,
            Router::new().route("/metrics", get(answer)),
            stop,
        )
        .await?;
    }
    Ok(servers)
}

async fn healthz() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, "ok")
}

/// Listens on IPv6 and IPv4, or on IPv4 alone where there is no IPv6 (EDGE-17).
async fn serve(
    servers: &Servers,
    port: u16,
    router: Router,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let listener =
        match TcpListener::bind(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind(("0.0.0.0", port))
                .await
                .map_err(|source| RunError::Listen { port, source })?,
        };
    let stop = stop.clone();
    servers.0.spawn(async move {
        let serving = axum::serve(listener, router)
            .with_graceful_shutdown(async move { stop.cancelled().await });
        if let Err(error) = serving.await {
            tracing::error!(%error, port, "server ended");
        }
    });
    Ok(())
}
