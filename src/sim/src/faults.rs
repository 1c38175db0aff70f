//! What goes wrong between a client and the API. Deterministic by the cluster's seed and the
//! order of requests.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::Duration;

use crate::error::ApiError;
use crate::ids::Random;
use crate::request::{ResourceRequest, Verb};

/// One thing that goes wrong. Unset conditions match everything.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Only this verb.
    pub verb: Option<Verb>,
    /// Only this plural.
    pub resource: Option<String>,
    /// Only this subresource; `Some("")` means the object itself.
    pub subresource: Option<String>,
    /// Only objects of this name.
    pub name: Option<String>,
    /// Only clients whose user agent contains this.
    pub user_agent: Option<String>,
    /// Which of the matching requests.
    pub when: When,
    /// What happens to them.
    pub effect: Effect,
}

/// Which of the requests that match a rule are hit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    /// All.
    Always,
    /// Each with this probability.
    Chance(f64),
    /// Only the n-th, counted from 1.
    Nth(u64),
    /// The first n.
    First(u64),
    /// Every n-th.
    Every(u64),
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// The answer comes later.
    Delay(Duration),
    /// The answer comes later, by a time drawn between the two.
    DelayBetween(Duration, Duration),
    /// 409 Conflict, nothing done.
    Conflict,
    /// 429 with `Retry-After` seconds, nothing done.
    TooManyRequests(u64),
    /// 500, nothing done.
    InternalError,
    /// 503, nothing done.
    Unavailable,
    /// The connection breaks before anything is done.
    Reset,
    /// The request is carried out, but the connection breaks before the answer.
    LoseAnswer,
    /// Reads show the state of this many revisions ago.
    Stale(u64),
    /// Each batch of a watch comes later.
    DelayWatch(Duration),
    /// The watch breaks after this time.
    CutWatch(Duration),
}

impl Rule {
    /// A rule for every request.
    pub fn new(when: When, effect: Effect) -> Self {
        Self {
            verb: None,
            resource: None,
            subresource: None,
            name: None,
            user_agent: None,
            when,
            effect,
        }
    }

    /// Only this verb.
    #[must_use]
    pub fn verb(mut self, verb: Verb) -> Self {
        self.verb = Some(verb);
        self
    }

    /// Only this resource (plural).
    #[must_use]
    pub fn resource(mut self, resource: &str) -> Self {
        self.resource = Some(resource.to_owned());
        self
    }

    /// Only this subresource; empty means the object itself.
    #[must_use]
    pub fn subresource(mut self, subresource: &str) -> Self {
        self.subresource = Some(subresource.to_owned());
        self
    }

    /// Only objects of this name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Only clients whose user agent contains this.
    #[must_use]
    pub fn user_agent(mut self, agent: &str) -> Self {
        self.user_agent = Some(agent.to_owned());
        self
    }

    fn matches(&self, request: &ResourceRequest, agent: &str) -> bool {
        self.verb.is_none_or(|v| v == request.verb)
            && self
                .resource
                .as_ref()
                .is_none_or(|r| *r == request.resource)
            && self
                .subresource
                .as_ref()
                .is_none_or(|s| *s == request.subresource)
            && self.name.as_ref().is_none_or(|n| *n == request.name)
            && self
                .user_agent
                .as_ref()
                .is_none_or(|a| agent.contains(a.as_str()))
    }
}

/// What the rules decided for one request.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) delay: Duration,
    pub(crate) refusal: Option<ApiError>,
    pub(crate) reset: bool,
    pub(crate) lose_answer: bool,
    pub(crate) stale: u64,
    pub(crate) watch_delay: Duration,
    pub(crate) watch_cut: Option<Duration>,
}

/// Commands to running watches.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct WatchControl {
    /// Watches that stand still, by their client's agent (part of it) and resource.
    pub(crate) frozen: Vec<(String, String)>,
    /// Raised for each cut, with the resource (all when empty).
    pub(crate) cuts: Vec<String>,
}

/// The rules in force, and the hands on running watches.
#[derive(Debug)]
pub struct Faults {
    inner: Mutex<Inner>,
    watches: watch::Sender<WatchControl>,
}

#[derive(Debug)]
struct Inner {
    random: Random,
    next: u64,
    rules: Vec<(u64, Rule, u64)>,
    crashes: Vec<Crash>,
}

#[derive(Debug)]
struct Crash {
    agent: String,
    writes_left: u64,
    reached: watch::Sender<bool>,
}

/// A client's death after a number of writes.
#[derive(Debug, Clone)]
pub struct CrashPoint(watch::Receiver<bool>);

impl CrashPoint {
    /// Waits until the last permitted write was answered.
    pub async fn reached(&mut self) {
        // An error means that the faults were cleared: then it is never reached.
        if self.0.wait_for(|reached| *reached).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether it was reached.
    pub fn is_reached(&self) -> bool {
        *self.0.borrow()
    }
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        let random = Random::new(seed ^ 0x5fa7);
        let inner = Inner {
            random,
            next: 0,
            rules: Vec::new(),
            crashes: Vec::new(),
        };
        Self {
            inner: Mutex::new(inner),
            watches: watch::Sender::default(),
        }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a rule into force; returns a number by which to [`Faults::remove`] it.
    pub fn add(&self, rule: Rule) -> u64 {
        let mut inner = self.inner();
        inner.next += 1;
        let id = inner.next;
        inner.rules.push((id, rule, 0));
        id
    }

    /// Ends a rule.
    pub fn remove(&self, id: u64) {
        self.inner().rules.retain(|(i, _, _)| *i != id);
    }

    /// Ends all rules and crash points and thaws all watches.
    pub fn clear(&self) {
        let mut inner = self.inner();
        inner.rules.clear();
        inner.crashes.clear();
        drop(inner);
        self.watches.send_modify(|w| w.frozen.clear());
    }

    /// Lets clients whose user agent contains `agent` (all when empty) make `writes` more
    /// writes; then each of their requests breaks, as if the process had died in between.
    /// [`Faults::clear`] brings them back.
    pub fn stop_after_writes(&self, agent: &str, writes: u64) -> CrashPoint {
        let reached = watch::Sender::new(writes == 0);
        let point = CrashPoint(reached.subscribe());
        let crash = Crash {
            agent: agent.to_owned(),
            writes_left: writes,
            reached,
        };
        self.inner().crashes.push(crash);
        point
    }

    /// Breaks all running watches of a resource (all when empty); new ones work.
    pub fn cut_watches(&self, resource: &str) {
        self.watches
            .send_modify(|w| w.cuts.push(resource.to_owned()));
    }

    /// Holds back the news of a resource until [`Faults::thaw_watches`].
    pub fn freeze_watches(&self, resource: &str) {
        self.freeze_watches_of("", resource);
    }

    /// The same, only for clients whose user agent contains `agent`.
    pub fn freeze_watches_of(&self, agent: &str, resource: &str) {
        self.watches
            .send_modify(|w| w.frozen.push((agent.to_owned(), resource.to_owned())));
    }

    /// Lets the news of a resource flow again.
    pub fn thaw_watches(&self, resource: &str) {
        self.watches
            .send_modify(|w| w.frozen.retain(|(_, r)| r != resource));
    }

    pub(crate) fn watch_control(&self) -> watch::Receiver<WatchControl> {
        self.watches.subscribe()
    }

    /// Decides about a request.
    pub(crate) fn judge(&self, request: &ResourceRequest, agent: &str) -> Verdict {
        let mut verdict = Verdict::default();
        let mut inner = self.inner();
        let Inner {
            random,
            rules,
            crashes,
            ..
        } = &mut *inner;
        if crashes
            .iter()
            .any(|c| c.writes_left == 0 && agent.contains(&c.agent))
        {
            verdict.reset = true;
            return verdict;
        }
        for (_, rule, seen) in rules
            .iter_mut()
            .filter(|(_, r, _)| r.matches(request, agent))
        {
            *seen += 1;
            let hit = match rule.when {
                When::Always => true,
                When::Chance(p) => random.chance(p),
                When::Nth(n) => *seen == n,
                When::First(n) => *seen <= n,
                When::Every(n) => n > 0 && *seen % n == 0,
            };
            if hit {
                verdict.add(&rule.effect, request, random);
            }
        }
        verdict
    }

    /// Counts a write that was carried out towards crash points.
    pub(crate) fn wrote(&self, agent: &str) {
        for crash in &mut self.inner().crashes {
            if agent.contains(&crash.agent) {
                crash.writes_left = crash.writes_left.saturating_sub(1);
                if crash.writes_left == 0 {
                    crash.reached.send_replace(true);
                }
            }
        }
    }
}

impl Verdict {
    fn add(&mut self, effect: &Effect, request: &ResourceRequest, random: &mut Random) {
        let (group, resource, name) = (&request.group, &request.resource, &request.name);
        match effect {
            Effect::Delay(by) => self.delay += *by,
            Effect::DelayBetween(low, high) => {
                self.delay += *low + high.saturating_sub(*low).mul_f64(random.unit());
            }
            Effect::Conflict => self.refusal = Some(ApiError::modified(group, resource, name)),
            Effect::TooManyRequests(seconds) => {
                let message = "the server has received too many requests and has asked us to try \
                               again later";
                self.refusal = Some(ApiError::too_many(*seconds, message));
            }
            Effect::InternalError => {
                let message = "Internal error occurred: injected fault";
                self.refusal = Some(ApiError::new(500, "InternalError", message));
            }
            Effect::Unavailable => {
                let message = "the server is currently unable to handle the request";
                self.refusal = Some(ApiError::new(503, "ServiceUnavailable", message));
            }
            Effect::Reset => self.reset = true,
            Effect::LoseAnswer => self.lose_answer = true,
            Effect::Stale(revisions) => self.stale = *revisions,
            Effect::DelayWatch(by) => self.watch_delay += *by,
            Effect::CutWatch(after) => self.watch_cut = Some(*after),
        }
    }
}
