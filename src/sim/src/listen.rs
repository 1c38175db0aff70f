//! Plain HTTP on a socket: the API for kubectl, the metrics for whoever asks Prometheus.

use std::io;
use std::net::SocketAddr;

use http::{Request, Response};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tower::Service;

use crate::cluster::Cluster;

/// A socket being served; it closes when this is dropped.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Listener {
    /// Where it listens; the port is the one given out where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://ADDRESS:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves a service over HTTP/1.
pub(crate) async fn serve<S, B>(address: SocketAddr, service: S) -> io::Result<Listener>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let service = TowerToHyperService::new(service.clone());
                    connections.spawn(async move {
                        let connection = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service);
                        if let Err(error) = connection.await {
                            tracing::debug!(%error, "connection");
                        }
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    });
    Ok(Listener { address, task })
}

impl Cluster {
    /// Serves the API over plain HTTP, for kubectl; use an address of 127.0.0.0/8, as nobody
    /// is asked who they are.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn listen(&self, address: SocketAddr) -> io::Result<Listener> {
        serve(address, self.service()).await
    }
}

/// A kubeconfig for a cluster that listens at `address`.
pub fn kubeconfig(address: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: sim\n  cluster:\n    server: \
         http://{address}\ncontexts:\n- name: sim\n  context:\n    cluster: sim\n    user: sim\n    \
         namespace: default\nusers:\n- name: sim\n  user: {{}}\ncurrent-context: sim\n"
    )
}
