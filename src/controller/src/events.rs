//! Kubernetes Events, written in the background (OPS-16, API-67..69).
//!
//! A pass only hands its events over; a slow API server never slows it. The writer gathers what
//! happens to an object until a pass says that the object comes to rest (an update waits for its
//! pods, for a person, for a time that is not near, or is over) and then writes one Event per reason:
//! repetitions as a count, different texts side by side. So an update that hurries through its steps
//! costs one Event per reason, and one that waits is told about as soon as it does. Endings and
//! warnings hurry the writer, and nothing waits longer than [`OLDEST`]. A budget per object bounds the
//! rest; the events of steps, promotions, aborts and scaling are exempt from it (SE-26).

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
use crate::key::Key;

mod budget;

use budget::{Budget, Recent};

/// Source and reporting component of all events.
pub const COMPONENT: &str = "rollouts-controller";
/// Events that wait to be written, at most; what is over is lost (and logged).
const QUEUE: usize = 20_000;
/// After an urgent event, and when an object comes to rest: how long more may still come.
const GATHER: Duration = Duration::from_secs(1);
/// An object that is left alone for so long is at rest; for less, it is about to go on.
pub const REST: Duration = Duration::from_secs(5);
/// An object about which nothing new was said for so long is at rest, whatever its passes say.
const QUIET: Duration = Duration::from_secs(10);
/// The longest that an event waits while more and more happens to its object.
const OLDEST: Duration = Duration::from_secs(30);
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
        let key = Key::new(text(&reference.namespace), text(&reference.name));
        (text(&reference.kind), key)
    }
}

enum Message {
    Recorded(Recorded),
    /// Nothing will happen to the object for some time.
    Resting(Word),
}

struct Recorded {
    regarding: Regarding,
    event: Event,
    at: Timestamp,
}

/// Where passes leave their events. Cheap to clone.
#[derive(Clone)]
pub struct EventSink {
    sender: mpsc::Sender<Message>,
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
        if self.sender.try_send(Message::Recorded(recorded)).is_err() {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            if lost.is_power_of_two() {
                tracing::warn!(lost, "events come faster than they can be written");
            }
        }
    }

    /// The object comes to rest: what was said about it may be written. Never waits.
    pub fn rests(&self, kind: &str, key: &Key) {
        // Where the queue is full, the writer is behind anyway.
        let _ = self
            .sender
            .try_send(Message::Resting((kind.to_owned(), key.clone())));
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

    /// After the object came to rest.
    fn resting(self, now: Instant) -> Self {
        let limit = self.limit.min(now + GATHER);
        Self {
            at: self.at.min(limit),
            limit,
        }
    }
}

/// Kind and key of an object.
type Word = (String, Key);

/// Writes events to the API server.
pub struct EventWriter {
    client: Client,
    receiver: mpsc::Receiver<Message>,
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
                    Some(message) => self.take(message),
                    None => break,
                },
            }
        }
        while let Ok(message) = self.receiver.try_recv() {
            self.take(message);
        }
        let end = Instant::now() + OLDEST;
        if tokio::time::timeout(FLUSH, self.write(end)).await.is_err() {
            tracing::warn!("some events could not be written before the end");
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Recorded(recorded) => self.gather(recorded),
            Message::Resting(word) => {
                let object = self.objects.get_mut(&word);
                if let Some((object, due)) = object.and_then(|o| o.due.map(|due| (o, due))) {
                    let sooner = due.resting(Instant::now());
                    object.due = Some(sooner);
                    self.schedule(word, Some(due), sooner);
                }
            }
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
        let before = object.due.replace(due);
        self.schedule(word, before, due);
    }

    fn schedule(&mut self, word: Word, before: Option<Due>, due: Due) {
        if let Some(before) = before {
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
        enum Said {
            Normal,
            Urgent,
            Rests,
        }
        use Said::{Normal, Rests, Urgent};
        let start = Instant::now();
        let written = |said: &[(u8, Said)]| {
            let due = said.iter().fold(None, |due: Option<Due>, (second, said)| {
                let now = start + Duration::from_secs((*second).into());
                match said {
                    Normal => Some(Due::after(due, false, now)),
                    Urgent => Some(Due::after(due, true, now)),
                    Rests => due.map(|due| due.resting(now)),
                }
            });
            due.map(|due| (due.at - start).as_secs())
        };
        assert_eq!(written(&[(0, Normal)]), Some(10));
        assert_eq!(written(&[(0, Normal), (2, Normal), (4, Normal)]), Some(14));
        assert_eq!(written(&[(0, Normal), (2, Normal), (2, Rests)]), Some(3));
        assert_eq!(written(&[(0, Normal), (2, Rests), (3, Normal)]), Some(3));
        assert_eq!(written(&[(0, Normal), (2, Urgent)]), Some(3));
        assert_eq!(written(&[(0, Urgent), (1, Normal)]), Some(1));
        assert_eq!(written(&[(0, Rests)]), None);
        let busy: Vec<_> = (0..30).map(|second| (second, Normal)).collect();
        assert_eq!(written(&busy), Some(30));
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
