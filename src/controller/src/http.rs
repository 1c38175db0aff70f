//! The client through which the controller talks to the API server: the caller's client, behind the
//! fence, with a time limit, an optional rate limit, and counted.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tower::BoxError;

use crate::fence::{Fence, Fenced};
use crate::metrics::Metrics;

/// What the client is to do beyond passing requests on.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Time limit of requests other than watches.
    pub timeout: Duration,
    /// Requests per second and burst; only when asked for (D13).
    pub rate: Option<(f32, u32)>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            rate: None,
        }
    }
}

/// A request was given up.
#[derive(Debug, thiserror::Error)]
#[error("no answer from the API server within {0:?}")]
struct TimedOut(Duration);

/// Wraps `inner`. Must be called inside a tokio runtime.
#[must_use]
pub fn wrap(inner: Client, fence: Fence, metrics: Metrics, settings: &HttpSettings) -> Client {
    let namespace = inner.default_namespace().to_owned();
    let bucket = settings
        .rate
        .map(|(rate, burst)| Arc::new(Mutex::new(Bucket::new(rate, burst))));
    let timeout = settings.timeout;
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, fence, metrics, bucket) = (
            inner.clone(),
            fence.clone(),
            metrics.clone(),
            bucket.clone(),
        );
        async move {
            if let Some(bucket) = bucket {
                bucket.lock().await.take().await;
            }
            let label = RequestLabel::of(&request);
            let answer = if label.watch {
                inner.send(request).await
            } else if is_write(request.method()) {
                fence.check()?;
                tokio::select! {
                    biased;
                    answer = tokio::time::timeout(timeout, inner.send(request)) => {
                        answer.map_err(|_| TimedOut(timeout))?
                    }
                    () = fence.closed_meanwhile() => return Err(BoxError::from(Fenced)),
                }
            } else {
                tokio::time::timeout(timeout, inner.send(request))
                    .await
                    .map_err(|_| TimedOut(timeout))?
            };
            metrics.request(
                &label,
                answer.as_ref().ok().map(|answer| answer.status().as_u16()),
            );
            answer.map_err(BoxError::from)
        }
    });
    Client::new(service, namespace)
}

fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether `error` says that the fence was closed.
#[must_use]
pub fn is_fenced(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(source) if source.is::<Fenced>())
}

/// Whether `error` is this HTTP status.
#[must_use]
pub fn is_status(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// A token bucket; waiters queue on its lock, so they are served in order.
struct Bucket {
    per_second: f32,
    burst: f32,
    tokens: f32,
    at: Instant,
}

impl Bucket {
    fn new(per_second: f32, burst: u32) -> Self {
        let burst = f32::from(u16::try_from(burst.max(1)).unwrap_or(u16::MAX));
        Self {
            per_second: per_second.max(0.1),
            burst,
            tokens: burst,
            at: Instant::now(),
        }
    }

    async fn take(&mut self) {
        let now = Instant::now();
        self.tokens =
            (self.tokens + (now - self.at).as_secs_f32() * self.per_second).min(self.burst);
        self.at = now;
        if self.tokens < 1.0 {
            let wait = Duration::from_secs_f32((1.0 - self.tokens) / self.per_second);
            tokio::time::sleep(wait).await;
            self.tokens = 1.0;
            self.at = Instant::now();
        }
        self.tokens -= 1.0;
    }
}

/// What `controller_clientset_k8s_request_total` tells about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLabel {
    /// Resource (plural).
    pub kind: String,
    /// Namespace; empty for cluster-wide requests.
    pub namespace: String,
    /// Name, for kinds whose number is bounded by the number of Rollouts; else `N/A`.
    pub name: String,
    /// Get, List, Watch, Create, Update, Patch, Delete or Unknown.
    pub verb: &'static str,
    /// Whether it is a watch.
    pub watch: bool,
}

/// Kinds whose objects come and go with revisions: their names would add series without end.
const UNBOUNDED: [&str; 6] = [
    "events",
    "replicasets",
    "pods",
    "analysisruns",
    "experiments",
    "jobs",
];

impl RequestLabel {
    /// Reads the path: `/api/v1/...` or `/apis/GROUP/VERSION/...`, then `[namespaces/NS/]KIND[/NAME[/SUB]]`.
    #[must_use]
    pub fn of(request: &Request<Body>) -> Self {
        let uri = request.uri();
        let mut parts = uri.path().split('/').filter(|part| !part.is_empty());
        match parts.next() {
            Some("api") => drop(parts.next()),
            Some("apis") => drop(parts.nth(1)),
            _ => {}
        }
        let mut kind = parts.next().unwrap_or_default();
        let mut name = parts.next().unwrap_or_default();
        let mut namespace = "";
        if kind == "namespaces"
            && let Some(inner) = parts.next()
        {
            (namespace, kind) = (name, inner);
            name = parts.next().unwrap_or_default();
        }
        let watch = uri.query().is_some_and(|query| {
            query
                .split('&')
                .any(|pair| matches!(pair, "watch=true" | "watch=1"))
        });
        let verb = match *request.method() {
            Method::GET if watch => "Watch",
            Method::GET if name.is_empty() => "List",
            Method::GET => "Get",
            Method::POST => "Create",
            Method::PUT => "Update",
            Method::PATCH => "Patch",
            Method::DELETE => "Delete",
            _ => "Unknown",
        };
        let name = match verb {
            "List" => "N/A",
            "Watch" => "",
            _ if UNBOUNDED.contains(&kind) => "N/A",
            _ => name,
        };
        Self {
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
            verb,
            watch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(method: &str, uri: &str) -> String {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .body(Body::empty())
            .unwrap();
        let label = RequestLabel::of(&request);
        format!(
            "{} {} ns={} name={}",
            label.verb, label.kind, label.namespace, label.name
        )
    }

    /// OPS-12, EDGE-18
    #[test]
    fn requests_are_named_properly() {
        let rollouts = "/apis/argoproj.io/v1alpha1";
        let cases = [
            (
                "GET",
                format!("{rollouts}/rollouts?limit=500"),
                "List rollouts ns= name=N/A",
            ),
            (
                "GET",
                format!("{rollouts}/rollouts?watch=true&a=b"),
                "Watch rollouts ns= name=",
            ),
            (
                "PATCH",
                format!("{rollouts}/namespaces/a/rollouts/web/status?"),
                "Patch rollouts ns=a name=web",
            ),
            (
                "POST",
                "/apis/apps/v1/namespaces/a/replicasets".into(),
                "Create replicasets ns=a name=N/A",
            ),
            (
                "PATCH",
                "/api/v1/namespaces/a/services/s".into(),
                "Patch services ns=a name=s",
            ),
            (
                "GET",
                "/api/v1/namespaces/a".into(),
                "Get namespaces ns= name=a",
            ),
            (
                "DELETE",
                "/api/v1/namespaces/a/pods/p".into(),
                "Delete pods ns=a name=N/A",
            ),
        ];
        for (method, uri, expected) in cases {
            assert_eq!(label(method, &uri), expected, "{method} {uri}");
        }
    }

    /// D13
    #[tokio::test(start_paused = true)]
    async fn the_bucket_holds_the_rate() {
        let mut bucket = Bucket::new(10.0, 5);
        let start = Instant::now();
        for _ in 0..25 {
            bucket.take().await;
        }
        let taken = start.elapsed().as_secs_f32();
        assert!((1.9..2.2).contains(&taken), "{taken}");
    }
}
