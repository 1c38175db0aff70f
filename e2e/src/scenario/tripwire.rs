//! Between the controller and the API server: counts what it asks, can cut it off after a given number
//! of writes, as a crash at exactly that point would, and can hold an answer back while somebody else
//! acts.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use tokio::sync::{Notify, watch};
use tower::{BoxError, Service};

/// A handle on the wire of one controller process.
#[derive(Clone, Default)]
pub struct Tripwire(Arc<Wire>);

#[derive(Default)]
struct Wire {
    writes: AtomicU64,
    /// Writes until the cut; negative means never.
    left: AtomicI64,
    armed: AtomicBool,
    cut: AtomicBool,
    tripped: Notify,
    requests: Mutex<BTreeMap<String, u64>>,
    /// Writes until an answer is held back; 0 or less means none is.
    to_hold: AtomicI64,
    held: watch::Sender<bool>,
}

impl Tripwire {
    /// A client that goes through the wire.
    #[must_use]
    pub fn client(&self, inner: Client, namespace: &str) -> Client {
        Client::new(
            Wired {
                inner,
                wire: Arc::clone(&self.0),
            },
            namespace,
        )
    }

    /// Objects written so far; leases and events are not counted.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.0.writes.load(Ordering::SeqCst)
    }

    /// Cuts the wire once `writes` more writes have been answered.
    pub fn arm(&self, writes: u64) {
        self.0
            .left
            .store(i64::try_from(writes).unwrap_or(i64::MAX), Ordering::SeqCst);
        self.0.armed.store(true, Ordering::SeqCst);
    }

    /// Neither cuts nor holds anything that has not been reached yet.
    pub fn disarm(&self) {
        self.0.armed.store(false, Ordering::SeqCst);
        self.0.to_hold.store(0, Ordering::SeqCst);
    }

    /// Holds the answer to the n-th write from now back, until [`Tripwire::release`].
    pub fn hold_after(&self, writes: u64) {
        let writes = i64::try_from(writes).unwrap_or(i64::MAX);
        self.0.to_hold.store(writes, Ordering::SeqCst);
    }

    /// Whether an answer is being held back.
    #[must_use]
    pub fn holds(&self) -> bool {
        *self.0.held.borrow()
    }

    /// Lets the answer go.
    pub fn release(&self) {
        self.0.held.send_replace(false);
    }

    /// Nothing passes any more.
    pub fn cut(&self) {
        self.0.cut.store(true, Ordering::SeqCst);
        self.0.tripped.notify_waiters();
    }

    /// Whether it has been cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.0.cut.load(Ordering::SeqCst)
    }

    /// Requests by `verb resource`, leases and events included.
    #[must_use]
    pub fn requests(&self) -> BTreeMap<String, u64> {
        self.0
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[derive(Clone)]
struct Wired {
    inner: Client,
    wire: Arc<Wire>,
}

impl Service<Request<Body>> for Wired {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (inner, wire) = (self.inner.clone(), Arc::clone(&self.wire));
        Box::pin(async move {
            if wire.cut.load(Ordering::SeqCst) {
                // A dead process neither gets an answer nor an error.
                return std::future::pending().await;
            }
            let resource = resource_of(request.uri().path());
            let write = is_write(request.method()) && !matches!(resource, "leases" | "events");
            {
                let mut requests = wire.requests.lock().unwrap_or_else(PoisonError::into_inner);
                *requests
                    .entry(format!("{} {resource}", request.method()))
                    .or_default() += 1;
            }
            let response = inner.send(request).await?;
            if write && response.status().is_success() {
                wire.writes.fetch_add(1, Ordering::SeqCst);
                if wire.to_hold.fetch_sub(1, Ordering::SeqCst) == 1 {
                    wire.held.send_replace(true);
                    let mut held = wire.held.subscribe();
                    // The sender is in `wire`.
                    let _ = held.wait_for(|held| !held).await;
                }
                if wire.armed.load(Ordering::SeqCst)
                    && wire.left.fetch_sub(1, Ordering::SeqCst) == 1
                {
                    // The write has happened; its answer is lost.
                    wire.cut.store(true, Ordering::SeqCst);
                    wire.tripped.notify_waiters();
                    return std::future::pending().await;
                }
            }
            Ok(response)
        })
    }
}

fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The plural in `/api/v1/namespaces/x/pods/y` or `/apis/apps/v1/namespaces/x/replicasets`, with its
/// subresource left out.
fn resource_of(path: &str) -> &str {
    let mut parts = path.trim_matches('/').split('/');
    match parts.next() {
        Some("api") => parts.next(),
        Some("apis") => parts.next().and_then(|_| parts.next()),
        _ => return path,
    };
    let parts: Vec<&str> = parts.collect();
    match parts[..] {
        ["namespaces", _, resource, ..] => resource,
        [resource, ..] => resource,
        [] => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_read_off_the_path() {
        for (path, resource) in [
            ("/api/v1/namespaces/x/pods/y/eviction", "pods"),
            ("/apis/apps/v1/namespaces/x/replicasets", "replicasets"),
            ("/apis/argoproj.io/v1alpha1/rollouts", "rollouts"),
            ("/api/v1/namespaces/x", "namespaces"),
            ("/version", "/version"),
        ] {
            assert_eq!(resource_of(path), resource, "{path}");
        }
    }
}
