//! The HTTP side of served pods.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{POD_HEADER, Pods, VERSION_HEADER};

/// Serves all pods on one port until cancelled. Returns once it listens, with its address.
///
/// `0.0.0.0:8080` inside a namespace answers for every pod; `127.0.0.1:0` outside of one answers for
/// the pod of that address. Any path is answered by the pod's script, but `/metrics`.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(
    pods: Pods,
    address: SocketAddr,
    cancel: CancellationToken,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    tokio::spawn(async move {
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            // A connection that broke before it was accepted is the client's affair.
            let Ok((stream, _)) = accepted else { continue };
            let (pods, cancel) = (pods.clone(), cancel.clone());
            connections.spawn(async move {
                tokio::select! {
                    () = cancel.cancelled() => {}
                    () = connection(stream, pods) => {}
                }
            });
        }
    });
    Ok(bound)
}

async fn connection(stream: TcpStream, pods: Pods) {
    let Ok(SocketAddr::V4(meant)) = stream.local_addr() else {
        return;
    };
    let ip = *meant.ip();
    if !pods.admit(ip) {
        return; // closes it: the nearest we can come to nobody listening
    }
    let service = service_fn(move |request| {
        let pods = pods.clone();
        async move { respond(&pods, ip, &request).await }
    });
    // Clients end connections as they like.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// An error closes the connection without an answer, as a pod does that has ended.
async fn respond(
    pods: &Pods,
    ip: Ipv4Addr,
    request: &Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Gone> {
    if request.uri().path() == "/metrics" {
        let text = pods.metrics(ip).ok_or(Gone)?;
        return Ok(Response::new(Full::from(text)));
    }
    // Envoy marks copies by this ending of the host's name.
    let host = request
        .headers()
        .get(http::header::HOST)
        .map(http::HeaderValue::as_bytes);
    let mirrored = host.is_some_and(is_shadow);
    let answer = pods.answer(ip, mirrored).ok_or(Gone)?;
    if !answer.latency.is_zero() {
        tokio::time::sleep(answer.latency).await;
    }
    let body = format!("{} {}\n", answer.version, ip);
    let mut response = Response::new(Full::from(body));
    *response.status_mut() =
        StatusCode::from_u16(answer.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Ok(version) = answer.version.parse() {
        headers.insert(VERSION_HEADER, version);
    }
    if let Ok(pod) = IpAddr::V4(ip).to_string().parse() {
        headers.insert(POD_HEADER, pod);
    }
    Ok(response)
}

fn is_shadow(host: &[u8]) -> bool {
    let name = host.split(|byte| *byte == b':').next().unwrap_or_default();
    name.ends_with(b"-shadow")
}

/// The pod was removed while a connection to it was open.
#[derive(Debug, thiserror::Error)]
#[error("the pod is gone")]
struct Gone;

impl From<Infallible> for Gone {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::http_client;
    use crate::pods::Behaviour;

    #[tokio::test]
    async fn a_pod_answers_as_scripted_until_removed() {
        let (pods, cancel) = (Pods::default(), CancellationToken::new());
        let ip = Ipv4Addr::LOCALHOST;
        let address = serve(pods.clone(), (ip, 0).into(), cancel.clone())
            .await
            .unwrap();
        let client = http_client().unwrap();
        let get = |path: &str| client.get(format!("http://{address}{path}")).send();

        assert!(get("/").await.is_err(), "no pod there yet");
        pods.set(ip, Behaviour::good("v7").failing(0.5));
        let good = get("/any/path").await.unwrap();
        assert_eq!(good.headers()[VERSION_HEADER], "v7");
        assert_eq!(
            (good.status().as_u16(), good.text().await.unwrap().as_str()),
            (200, "v7 127.0.0.1\n")
        );
        assert_eq!(get("/").await.unwrap().status(), 500);
        let metrics = get("/metrics").await.unwrap().text().await.unwrap();
        assert!(
            metrics.contains(r#"{code="500",version="v7"} 1"#),
            "{metrics}"
        );

        pods.remove(ip);
        assert!(get("/").await.is_err(), "the kept connection is closed too");
        cancel.cancel();
    }

    #[test]
    fn copies_are_told_by_their_host() {
        assert!(is_shadow(b"web.shop-shadow"));
        assert!(is_shadow(b"web-shadow:80"));
        assert!(!is_shadow(b"web:80"));
    }
}
