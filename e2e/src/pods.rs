//! Pods that answer: one server for all addresses of the namespace ([`crate::netns`]).
//!
//! A connection's local address tells which pod was meant. What it answers is scripted per pod in
//! [`Pods`], which also keeps the books: a test can ask not only what clients saw, but whether any
//! request went to a pod that was gone or not ready.

mod follow;
mod server;

pub use follow::{Script, follow};
pub use server::serve;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The header of each answer that names the version.
pub const VERSION_HEADER: &str = "x-sluice-version";
/// The header of each answer that names the pod's address.
pub const POD_HEADER: &str = "x-sluice-pod";

/// How a pod answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// Told in each answer and as a label of its metrics.
    pub version: String,
    /// Share of requests answered by 500, 0 to 1. Spread evenly, not by chance: of 10 requests at
    /// 0.2 exactly 2 fail.
    pub error_rate: f64,
    /// Time before each answer.
    pub latency: Duration,
    /// Whether it should get requests. It answers all the same; see [`Pods::misrouted`].
    pub ready: bool,
}

impl Behaviour {
    /// A ready pod without errors that answers at once.
    pub fn good(version: impl Into<String>) -> Self {
        Self {
            version: version.into(),
            error_rate: 0.0,
            latency: Duration::ZERO,
            ready: true,
        }
    }

    /// The same, failing this share of requests.
    #[must_use]
    pub fn failing(self, error_rate: f64) -> Self {
        Self { error_rate, ..self }
    }
}

/// What clients asked of all pods of a version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionCounts {
    /// Answers by HTTP status, without mirrored requests.
    pub by_code: BTreeMap<u16, u64>,
    /// Copies of requests sent by a mirroring route; nobody reads their answers.
    pub mirrored: u64,
}

/// Requests that should not have arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Misrouted {
    /// Connections to addresses of no pod, by address.
    pub no_pod: BTreeMap<Ipv4Addr, u64>,
    /// Requests to pods not ready, by address.
    pub unready: BTreeMap<Ipv4Addr, u64>,
}

impl Misrouted {
    /// Whether all went where they should.
    pub fn is_empty(&self) -> bool {
        self.no_pod.is_empty() && self.unready.is_empty()
    }
}

/// All served pods: a handle, cheap to clone, of one shared state.
#[derive(Debug, Clone, Default)]
pub struct Pods(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    pods: BTreeMap<Ipv4Addr, Pod>,
    versions: BTreeMap<String, VersionCounts>,
    misrouted: Misrouted,
}

#[derive(Debug)]
struct Pod {
    behaviour: Behaviour,
    /// Requests so far, and failures that the error rate still owes, in parts of one.
    requests: u64,
    owed: f64,
    by_code: BTreeMap<u16, u64>,
    seconds: f64,
}

/// What to answer to one request.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    version: String,
    code: u16,
    latency: Duration,
}

impl Pods {
    /// Adds a pod or changes how it answers; its counters stay.
    pub fn set(&self, ip: Ipv4Addr, behaviour: Behaviour) {
        let mut state = self.lock();
        match state.pods.get_mut(&ip) {
            Some(pod) => pod.behaviour = behaviour,
            None => {
                let pod = Pod {
                    behaviour,
                    requests: 0,
                    owed: 0.0,
                    by_code: BTreeMap::new(),
                    seconds: 0.0,
                };
                state.pods.insert(ip, pod);
            }
        }
    }

    /// Removes a pod: connections to it are closed from now on.
    pub fn remove(&self, ip: Ipv4Addr) {
        self.lock().pods.remove(&ip);
    }

    /// How the pod answers; none if there is no such pod.
    pub fn get(&self, ip: Ipv4Addr) -> Option<Behaviour> {
        self.lock().pods.get(&ip).map(|pod| pod.behaviour.clone())
    }

    /// The addresses of all pods.
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        self.lock().pods.keys().copied().collect()
    }

    /// What was asked of each version, removed pods included.
    pub fn versions(&self) -> BTreeMap<String, VersionCounts> {
        self.lock().versions.clone()
    }

    /// The requests so far that should not have arrived.
    pub fn misrouted(&self) -> Misrouted {
        self.lock().misrouted.clone()
    }

    /// Whether there is such a pod; a connection to none is put on record.
    fn admit(&self, ip: Ipv4Addr) -> bool {
        let mut state = self.lock();
        let known = state.pods.contains_key(&ip);
        if !known {
            *state.misrouted.no_pod.entry(ip).or_default() += 1;
        }
        known
    }

    /// Decides the answer to a request and counts it; none if the pod is gone.
    fn answer(&self, ip: Ipv4Addr, mirrored: bool) -> Option<Answer> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let pod = state.pods.get_mut(&ip)?;
        let Behaviour {
            version,
            error_rate,
            latency,
            ready,
        } = pod.behaviour.clone();
        pod.requests += 1;
        pod.owed += error_rate;
        // Rates such as 0.1 have no exact sum; a failure is due a hair before.
        let fails = pod.owed > 1.0 - 1e-9;
        if fails {
            pod.owed -= 1.0;
        }
        let code = if fails { 500 } else { 200 };
        *pod.by_code.entry(code).or_default() += 1;
        pod.seconds += latency.as_secs_f64();
        if !ready {
            *state.misrouted.unready.entry(ip).or_default() += 1;
        }
        let counts = state.versions.entry(version.clone()).or_default();
        if mirrored {
            counts.mirrored += 1;
        } else {
            *counts.by_code.entry(code).or_default() += 1;
        }
        Some(Answer {
            version,
            code,
            latency,
        })
    }

    /// The pod's counters in Prometheus' text format; none if there is no such pod.
    fn metrics(&self, ip: Ipv4Addr) -> Option<String> {
        let state = self.lock();
        let pod = state.pods.get(&ip)?;
        let version = &pod.behaviour.version;
        let mut text = String::from(
            "# HELP http_requests_total Requests answered.\n# TYPE http_requests_total counter\n",
        );
        // Both codes are there from the start: a rate over a series that appears with its first
        // failure would miss that failure.
        for code in [200, 500] {
            let count = pod.by_code.get(&code).copied().unwrap_or(0);
            let labels = format!("code=\"{code}\",version=\"{version}\"");
            // Writing to a String cannot fail.
            let _ = writeln!(text, "http_requests_total{{{labels}}} {count}");
        }
        let _ = write!(
            text,
            "# HELP http_request_duration_seconds Time to the answer.\n\
             # TYPE http_request_duration_seconds summary\n\
             http_request_duration_seconds_sum{{version=\"{version}\"}} {}\n\
             http_request_duration_seconds_count{{version=\"{version}\"}} {}\n",
            pod.seconds, pod.requests,
        );
        Some(text)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);

    fn codes(pods: &Pods, n: usize) -> Vec<u16> {
        (0..n)
            .map(|_| pods.answer(A, false).unwrap().code)
            .collect()
    }

    #[test]
    fn failures_come_evenly_and_in_the_scripted_share() {
        for (rate, of_100) in [(0.0, 0), (0.1, 10), (0.25, 25), (0.99, 99), (1.0, 100)] {
            let pods = Pods::default();
            pods.set(A, Behaviour::good("v1").failing(rate));
            let failed = codes(&pods, 100)
                .iter()
                .filter(|code| **code == 500)
                .count();
            assert_eq!(failed, of_100, "rate {rate}");
        }
        let pods = Pods::default();
        pods.set(A, Behaviour::good("v1").failing(0.5));
        assert_eq!(codes(&pods, 4), [200, 500, 200, 500]);
    }

    #[test]
    fn behaviour_changes_but_counters_go_on() {
        let pods = Pods::default();
        pods.set(A, Behaviour::good("v1"));
        codes(&pods, 3);
        pods.set(
            A,
            Behaviour {
                latency: Duration::from_millis(250),
                ..Behaviour::good("v1")
            },
        );
        pods.answer(A, true).unwrap();
        expect![[r#"
            # HELP http_requests_total Requests answered.
            # TYPE http_requests_total counter
            http_requests_total{code="200",version="v1"} 4
            http_requests_total{code="500",version="v1"} 0
            # HELP http_request_duration_seconds Time to the answer.
            # TYPE http_request_duration_seconds summary
            http_request_duration_seconds_sum{version="v1"} 0.25
            http_request_duration_seconds_count{version="v1"} 4
        "#]]
        .assert_eq(&pods.metrics(A).unwrap());
        let seen = pods.versions().remove("v1").unwrap();
        assert_eq!(
            seen,
            VersionCounts {
                by_code: [(200, 3)].into(),
                mirrored: 1
            }
        );
    }

    #[test]
    fn what_should_not_have_arrived_is_on_record() {
        let pods = Pods::default();
        assert!(!pods.admit(A));
        assert_eq!(pods.answer(A, false), None);
        pods.set(
            A,
            Behaviour {
                ready: false,
                ..Behaviour::good("v1")
            },
        );
        assert!(pods.admit(A));
        codes(&pods, 2);
        let wrong = pods.misrouted();
        assert_eq!(
            wrong,
            Misrouted {
                no_pod: [(A, 1)].into(),
                unready: [(A, 2)].into()
            }
        );
        assert!(!wrong.is_empty());
        pods.remove(A);
        assert_eq!(
            pods.versions()["v1"].by_code[&200],
            2,
            "removed pods keep their counts"
        );
    }
}
