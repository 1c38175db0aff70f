//! Kubernetes Events, written in the background (OPS-16, API-67..69).
//!
//! A pass only hands its events over; a slow API server never slows it. The writer gathers what
//! happens to an object until the object comes to rest (an update waits for its pods, for a pause, for
//! an analysis, or is over) and then writes one Event per reason: repetitions as a count, different
//! texts side by side. So an update that hurries through its steps costs one Event per reason, and
//! one that waits is told about as soon as it does. Endings and warnings hurry the writer, and
//! nothing waits longer than [`OLDEST`]. A budget per object bounds the rest; the events of steps,
//! promotions, aborts and scaling are exempt from it (SE-26).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event as ApiEvent, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use serde_json::json;
use sluice_core::event::{Event, EventType};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::http::is_status;

mod budget;

use budget::{Budget, Recent};

/// Source and reporting component of all events.
pub const COMPONENT: &str = "rollouts-controller";
/// Events that wait to be written, at most; what is over is lost (and logged).
const QUEUE: usize = 20_000;
/// After an urgent event, how long what goes with it may still come.
const GATHER: Duration = Duration::from_secs(1);
/// An object about which nothing new was said for so long has come to rest.
const QUIET: Duration = Duration::from_secs(3);
/// The longest that an event waits while more and more happens to its object.
const OLDEST: Duration = Duration::from_secs(15);
/// A look at the queue at least so often.
const LOOK: Duration = Duration::from_secs(10);
/// Characters that the message of an Event may have.
const MESSAGE: usize = 1000;
/// How long writing may go on after the controller was told to stop.
const FLUSH: Duration = Duration::from_secs(3);
/// Objects whose events are written at the same time.
const PARALLEL: usize = 8;

/// The object that events are about.
#[derive(Clone, Debug, PartialEq)]
pub struct Regarding(Arc<ObjectReference>);

impl Regarding {
    /// A reference to `object`.
    #[must_use]
    pub fn new<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self(Arc::new(object.object_ref(&())))
    }

    fn word(&self) -> Word {
        let reference = &self.0;
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        (
            text(&reference.kind),
            text(&reference.namespace),
            text(&reference.name),
        )
    }
}

struct Recorded {
    regarding: Regarding,
    event: Event,
    at: Timestamp,
}

/// Where passes leave their events. Cheap to clone.
#[derive(Clone)]
pub struct EventSink {
    sender: mpsc::Sender<Recorded>,
    clock: SharedClock,
    lost: Arc<AtomicU64>,
}

impl EventSink {
    /// A sink, and the writer that has to be run beside it.
    #[must_use]
    pub fn new(client: Client, clock: SharedClock) -> (Self, EventWriter) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let sink = Self {
            sender,
            clock: clock.clone(),
            lost: Arc::default(),
        };
        (
            sink,
            EventWriter {
                client,
                receiver,
                objects: BTreeMap::new(),
                due: BTreeSet::new(),
                names: 0,
                swept: Instant::now(),
                clock,
            },
        )
    }

    /// Logs the event and hands it to the writer; never waits.
    pub fn record(&self, regarding: &Regarding, event: Event) {
        let reference = &regarding.0;
        tracing::info!(
            kind = reference.kind.as_deref(),
            namespace = reference.namespace.as_deref(),
            name = reference.name.as_deref(),
            event_reason = event.reason,
            "{}",
            event.message
        );
        let recorded = Recorded {
            regarding: regarding.clone(),
            event,
            at: self.clock.now(),
        };
        if self.sender.try_send(recorded).is_err() {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            if lost.is_power_of_two() {
                tracing::warn!(lost, "events come faster than they can be written");
            }
        }
    }
}

struct Object {
    regarding: Regarding,
    waiting: Vec<Recorded>,
    due: Option<Due>,
    budget: Budget,
    recent: VecDeque<Recent>,
    used: Instant,
}

/// When an object is to be written about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Due {
    at: Instant,
    /// Not later than this, whatever else happens.
    limit: Instant,
}

impl Due {
    /// After one more event, `urgent` or not.
    fn after(waiting: Option<Self>, urgent: bool, now: Instant) -> Self {
        let limit = waiting.map_or(now + OLDEST, |due| due.limit);
        let limit = if urgent {
            limit.min(now + GATHER)
        } else {
            limit
        };
        Self {
            at: limit.min(now + QUIET),
            limit,
        }
    }
}

/// Kind, namespace and name of an object.
type Word = (String, String, String);

/// Writes events to the API server.
pub struct EventWriter {
    client: Client,
    receiver: mpsc::Receiver<Recorded>,
    objects: BTreeMap<Word, Object>,
    /// When which object is to be written about.
    due: BTreeSet<(Instant, Word)>,
    names: u64,
    swept: Instant,
    clock: SharedClock,
}

impl EventWriter {
    /// Runs until `stop` is cancelled, then writes what is left, within a few seconds.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let next = self.due.first().map(|(at, _)| *at);
            let next = next.unwrap_or_else(|| Instant::now() + LOOK);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep_until(next) => self.write(Instant::now()).await,
                recorded = self.receiver.recv() => match recorded {
                    Some(recorded) => self.gather(recorded),
                    None => break,
                },
            }
        }
        while let Ok(recorded) = self.receiver.try_recv() {
            self.gather(recorded);
        }
        let end = Instant::now() + OLDEST;
        if tokio::time::timeout(FLUSH, self.write(end)).await.is_err() {
            tracing::warn!("some events could not be written before the end");
        }
    }

    fn gather(&mut self, recorded: Recorded) {
        let (now, word) = (Instant::now(), recorded.regarding.word());
        let object = self.objects.entry(word.clone()).or_insert_with(|| Object {
            regarding: recorded.regarding.clone(),
            waiting: Vec::new(),
            due: None,
            budget: Budget::full(now),
            recent: VecDeque::new(),
            used: now,
        });
        object.used = now;
        object.regarding = recorded.regarding.clone();
        let due = Due::after(object.due, budget::is_urgent(&recorded.event), now);
        object.waiting.push(recorded);
        if let Some(before) = object.due.replace(due) {
            self.due.remove(&(before.at, word.clone()));
        }
        self.due.insert((due.at, word));
    }

    /// Writes the events of all objects whose time has come.
    async fn write(&mut self, now: Instant) {
        let mut due = Vec::new();
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, word)) = self.due.pop_first() else {
                break;
            };
            if let Some(mut object) = self.objects.remove(&word) {
                object.due = None;
                self.names += 1;
                due.push((word, object, self.names));
            }
        }
        let (client, clock) = (&self.client, &self.clock);
        let written: Vec<_> = futures::stream::iter(due)
            .map(|(word, mut object, number)| async move {
                object.write(client, clock, number).await;
                (word, object)
            })
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        self.objects.extend(written);
        if self.swept.elapsed() > budget::IDLE {
            self.swept = Instant::now();
            self.objects
                .retain(|_, o| o.due.is_some() || o.used.elapsed() < budget::IDLE);
        }
    }
}

impl Object {
    async fn write(&mut self, client: &Client, clock: &SharedClock, number: u64) {
        let namespace = self
            .regarding
            .0
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        let api: Api<ApiEvent> = Api::namespaced(client.clone(), &namespace);
        for (index, (recorded, count)) in fold(std::mem::take(&mut self.waiting))
            .into_iter()
            .enumerate()
        {
            if !self.budget.allows(&recorded.event, Instant::now()) {
                tracing::debug!(
                    reason = recorded.event.reason,
                    "event over the object's budget"
                );
                continue;
            }
            if let Some(recent) = Recent::of(&mut self.recent, &recorded.event)
                && recent.repeat(&api, count, recorded.at).await
            {
                continue;
            }
            let unique = clock.now().as_nanosecond();
            let name = format!(
                "{}.{unique:x}{number:x}{index:x}",
                self.regarding.0.name.as_deref().unwrap_or_default()
            );
            let body = api_event(&self.regarding, &recorded, &namespace, name.clone(), count);
            match api.create(&PostParams::default(), &body).await {
                Ok(_) => Recent::remember(&mut self.recent, &recorded.event, name, count),
                // The namespace is going away, or we may not: an event is not worth a retry.
                Err(error) => tracing::debug!(%error, "event not written"),
            }
        }
    }
}

/// Events of one reason become one, at the place of the first: equal texts as a count, different
/// ones side by side as far as an Event can hold them.
fn fold(waiting: Vec<Recorded>) -> Vec<(Recorded, i32)> {
    let mut folded: Vec<(Recorded, i32, Vec<String>)> = Vec::new();
    for recorded in waiting {
        let same = |known: &Event| {
            known.kind == recorded.event.kind && known.reason == recorded.event.reason
        };
        let known = folded.iter_mut().find(|(known, _, texts)| {
            let length: usize = texts.iter().map(|text| text.len() + 2).sum();
            let text = &recorded.event.message;
            same(&known.event) && (texts.contains(text) || length + text.len() <= MESSAGE)
        });
        match known {
            Some((known, count, texts)) => {
                *count += 1;
                known.at = recorded.at;
                if !texts.contains(&recorded.event.message) {
                    texts.push(recorded.event.message);
                }
            }
            None => {
                let texts = vec![recorded.event.message.clone()];
                folded.push((recorded, 1, texts));
            }
        }
    }
    let joined = folded.into_iter().map(|(mut recorded, count, texts)| {
        recorded.event.message = texts.join("; ");
        (recorded, count)
    });
    joined.collect()
}

fn api_event(
    regarding: &Regarding,
    recorded: &Recorded,
    namespace: &str,
    name: String,
    count: i32,
) -> ApiEvent {
    let at = Some(Time(recorded.at));
    let kind = match recorded.event.kind {
        EventType::Normal => "Normal",
        EventType::Warning => "Warning",
    };
    ApiEvent {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: (*regarding.0).clone(),
        reason: Some(recorded.event.reason.clone()),
        message: Some(recorded.event.message.chars().take(MESSAGE).collect()),
        type_: Some(kind.to_owned()),
        count: Some(count),
        first_timestamp: at.clone(),
        last_timestamp: at,
        source: Some(EventSource {
            component: Some(COMPONENT.to_owned()),
            host: None,
        }),
        reporting_component: Some(COMPONENT.to_owned()),
        ..ApiEvent::default()
    }
}

impl Recent {
    /// Raises the count of an Event that was written before; `false` when that is gone.
    async fn repeat(&mut self, api: &Api<ApiEvent>, count: i32, at: Timestamp) -> bool {
        self.count = self.count.saturating_add(count);
        let patch = json!({ "count": self.count, "lastTimestamp": Time(at) });
        match api
            .patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(_) => true,
            Err(error) if is_status(&error, 404) => false,
            Err(error) => {
                tracing::debug!(%error, "event not counted");
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14: a hurry is told about once, a rest soon, an ending at once.
    #[tokio::test(start_paused = true)]
    async fn events_wait_for_a_rest() {
        let start = Instant::now();
        let written = |said: &[(f32, bool)]| {
            let due = said.iter().fold(None, |due, &(second, urgent)| {
                let now = start + Duration::from_secs_f32(second);
                Some(Due::after(due, urgent, now))
            });
            due.map(|due| (due.at - start).as_secs_f32())
        };
        assert_eq!(written(&[(0.0, false)]), Some(3.0));
        assert_eq!(
            written(&[(0.0, false), (2.0, false), (4.0, false)]),
            Some(7.0)
        );
        let busy: Vec<_> = (0_u8..15).map(|second| (second.into(), false)).collect();
        assert_eq!(written(&busy), Some(15.0));
        assert_eq!(written(&[(0.0, false), (2.0, true)]), Some(3.0));
        assert_eq!(written(&[(0.0, true), (0.5, false)]), Some(1.0));
    }

    #[test]
    fn one_event_per_reason() {
        let regarding = Regarding(Arc::new(ObjectReference::default()));
        let recorded = |reason: &str, text: &str, s| Recorded {
            regarding: regarding.clone(),
            event: Event::normal(reason, text),
            at: Timestamp::from_second(s).unwrap(),
        };
        let folded = fold(vec![
            recorded("Step", "one", 1),
            recorded("Paused", "pause", 2),
            recorded("Step", "two", 3),
            recorded("Paused", "pause", 4),
            recorded("Long", &"x".repeat(900), 5),
            recorded("Long", &"y".repeat(900), 6),
        ]);
        let seen: Vec<_> = folded
            .iter()
            .map(|(r, n)| {
                (
                    r.event.message.chars().take(8).collect::<String>(),
                    *n,
                    r.at.as_second(),
                )
            })
            .collect();
        let expected = [
            ("one; two", 2, 3),
            ("pause", 2, 4),
            ("xxxxxxxx", 1, 5),
            ("yyyyyyyy", 1, 6),
        ];
        assert_eq!(seen, expected.map(|(text, n, at)| (text.to_owned(), n, at)));
    }
}
