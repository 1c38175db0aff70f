//! Requests through a proxy, and what came of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Error, http_client};
use crate::pods::VERSION_HEADER;

/// Where to send requests, and how many at a time.
#[derive(Debug, Clone)]
pub struct Target {
    /// The proxy, `http://127.0.0.1:PORT/path`.
    pub url: String,
    /// The name asked for.
    pub host: String,
    /// Further request headers.
    pub headers: Vec<(String, String)>,
    /// Requests in flight at a time.
    pub concurrency: usize,
    /// Time between an answer and the next request in its place.
    pub pause: Duration,
}

impl Target {
    /// Requests for `host` through the proxy at `url`, eight at a time.
    pub fn new(url: impl Into<String>, host: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            host: host.into(),
            headers: vec![],
            concurrency: 8,
            pause: Duration::ZERO,
        }
    }

    /// The same with at most some 200 requests a second, for a load that goes on beside other work.
    #[must_use]
    pub fn gently(self) -> Self {
        Self {
            concurrency: 4,
            pause: Duration::from_millis(20),
            ..self
        }
    }

    /// The same with one more request header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// What clients saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Good answers by the version that gave them.
    pub versions: BTreeMap<String, u64>,
    /// All else: the status with the version (`500 v2`), or with none where the proxy answered
    /// (`503`), or the error of the connection.
    pub failures: BTreeMap<String, u64>,
}

impl Seen {
    /// Good answers of a version.
    pub fn of(&self, version: &str) -> u64 {
        self.versions.get(version).copied().unwrap_or(0)
    }

    /// All requests.
    pub fn total(&self) -> u64 {
        self.versions.values().sum::<u64>() + self.failed()
    }

    /// Requests without a good answer.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    fn add(&mut self, other: Self) {
        for (version, count) in other.versions {
            *self.versions.entry(version).or_default() += count;
        }
        for (failure, count) in other.failures {
            *self.failures.entry(failure).or_default() += count;
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests:", self.total())?;
        for (version, count) in &self.versions {
            write!(f, " {version}={count}")?;
        }
        for (failure, count) in &self.failures {
            write!(f, " [{failure}]={count}")?;
        }
        Ok(())
    }
}

/// Sends `n` requests and waits for all answers.
///
/// # Errors
/// [`Error::Http`] when the client cannot be built; failed requests are counted, not errors.
pub async fn send(target: &Target, n: u64) -> Result<Seen, Error> {
    run(target, Some(n), CancellationToken::new()).await
}

/// Requests without a break, until stopped.
#[derive(Debug)]
pub struct Load {
    cancel: CancellationToken,
    sent: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<Result<Seen, Error>>,
}

impl Load {
    /// Starts sending.
    pub fn start(target: Target) -> Self {
        let (cancel, sent) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let (stop, counter) = (cancel.clone(), sent.clone());
        let task = tokio::spawn(async move { work(&target, None, stop, counter).await });
        Self { cancel, sent, task }
    }

    /// How many requests were begun so far, to wait for some to have passed.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Lets the requests in flight end and returns what came of all.
    ///
    /// # Errors
    /// [`Error::Http`] when the client could not be built.
    pub async fn stop(self) -> Result<Seen, Error> {
        self.cancel.cancel();
        match self.task.await {
            Ok(seen) => seen,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

async fn run(target: &Target, n: Option<u64>, cancel: CancellationToken) -> Result<Seen, Error> {
    work(target, n, cancel, Arc::new(AtomicU64::new(0))).await
}

async fn work(
    target: &Target,
    limit: Option<u64>,
    cancel: CancellationToken,
    sent: Arc<AtomicU64>,
) -> Result<Seen, Error> {
    let client = http_client()?;
    let mut workers = JoinSet::new();
    for _ in 0..target.concurrency.max(1) {
        let (client, target) = (client.clone(), target.clone());
        let (cancel, sent) = (cancel.clone(), sent.clone());
        workers.spawn(async move {
            let mut seen = Seen::default();
            while !cancel.is_cancelled() {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                if limit.is_some_and(|limit| number >= limit) {
                    break;
                }
                one(&client, &target, &mut seen).await;
                if !target.pause.is_zero() {
                    tokio::time::sleep(target.pause).await;
                }
            }
            seen
        });
    }
    let mut seen = Seen::default();
    while let Some(part) = workers.join_next().await {
        match part {
            Ok(part) => seen.add(part),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    Ok(seen)
}

async fn one(client: &reqwest::Client, target: &Target, seen: &mut Seen) {
    let mut request = client.get(&target.url).header("host", &target.host);
    for (name, value) in &target.headers {
        request = request.header(name, value);
    }
    let failure = match request.send().await {
        Ok(response) => {
            let version = response
                .headers()
                .get(VERSION_HEADER)
                .and_then(|v| v.to_str().ok());
            let version = version.map(str::to_owned);
            let status = response.status();
            // The whole answer counts, not its beginning.
            match (response.bytes().await, version) {
                (Ok(_), Some(version)) if status.is_success() => {
                    *seen.versions.entry(version).or_default() += 1;
                    return;
                }
                (Ok(_), Some(version)) => format!("{} {version}", status.as_u16()),
                (Ok(_), None) => status.as_u16().to_string(),
                (Err(error), _) => root(&error),
            }
        }
        Err(error) => root(&error),
    };
    *seen.failures.entry(failure).or_default() += 1;
}

/// The innermost reason: the outer ones only repeat the URL.
fn root(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// Whether `hits` of `n` requests can be the work of a proxy that sends a share of `weight` percent
/// at random: within three standard deviations. 0 and 100 percent leave no room.
#[allow(clippy::cast_precision_loss)] // counts of requests are far below 2^52
pub fn three_sigma(weight: f64, hits: u64, n: u64) -> bool {
    let (share, n) = (weight / 100.0, n as f64);
    let sigma = (n * share * (1.0 - share)).sqrt();
    (hits as f64 - n * share).abs() <= 3.0 * sigma + 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_sigma_is_strict_at_the_ends_and_lenient_between() {
        let cases = [
            (0.0, 0, 1000, true),
            (0.0, 1, 1000, false),
            (100.0, 1000, 1000, true),
            (100.0, 999, 1000, false),
            // sigma of 20% of 1000 is 12.6
            (20.0, 200, 1000, true),
            (20.0, 237, 1000, true),
            (20.0, 163, 1000, true),
            (20.0, 238, 1000, false),
            (20.0, 162, 1000, false),
            (50.0, 0, 0, true),
        ];
        for (weight, hits, n, want) in cases {
            assert_eq!(
                three_sigma(weight, hits, n),
                want,
                "{hits} of {n} at {weight}%"
            );
        }
    }

    #[tokio::test]
    async fn requests_without_an_answer_are_counted_by_reason() {
        let [port] = crate::controlplane::free_ports().unwrap();
        let seen = send(&Target::new(format!("http://127.0.0.1:{port}/"), "web"), 5)
            .await
            .unwrap();
        assert_eq!((seen.total(), seen.failed()), (5, 5));
        assert!(seen.to_string().contains("refused"), "{seen}");
    }
}
