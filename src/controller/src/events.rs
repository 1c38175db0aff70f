//! Kubernetes Events, written in the background (OPS-16, API-67..69).
//!
//! A pass only hands its events over; a slow API server never slows it. The writer gathers what
//! happens to an object for a moment, folds repetitions into one Event with a count, and keeps to a
//! budget per object, from which the events of steps, promotions, aborts and scaling are exempt
//! (SE-26).

use std::collections::{BTreeMap, VecDeque};
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
/// How long the events of an object are gathered before they are written.
const GATHER: Duration = Duration::from_secs(1);
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

    fn word(&self) -> (String, String, String) {
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
                names: 0,
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
    due: Option<Instant>,
    budget: Budget,
    recent: VecDeque<Recent>,
    used: Instant,
}

/// Writes events to the API server.
pub struct EventWriter {
    client: Client,
    receiver: mpsc::Receiver<Recorded>,
    objects: BTreeMap<(String, String, String), Object>,
    names: u64,
    clock: SharedClock,
}

impl EventWriter {
    /// Runs until `stop` is cancelled, then writes what is left, within a few seconds.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let due = self.objects.values().filter_map(|object| object.due).min();
            let due = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(600));
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                recorded = self.receiver.recv() => match recorded {
                    Some(recorded) => self.gather(recorded),
                    None => break,
                },
                () = tokio::time::sleep_until(due) => self.write(Instant::now()).await,
            }
        }
        while let Ok(recorded) = self.receiver.try_recv() {
            self.gather(recorded);
        }
        let end = Instant::now() + GATHER;
        if tokio::time::timeout(FLUSH, self.write(end)).await.is_err() {
            tracing::warn!("some events could not be written before the end");
        }
    }

    fn gather(&mut self, recorded: Recorded) {
        let now = Instant::now();
        let object = self
            .objects
            .entry(recorded.regarding.word())
            .or_insert_with(|| Object {
                regarding: recorded.regarding.clone(),
                waiting: Vec::new(),
                due: None,
                budget: Budget::full(now),
                recent: VecDeque::new(),
                used: now,
            });
        object.used = now;
        object.regarding = recorded.regarding.clone();
        object.due.get_or_insert(now + GATHER);
        object.waiting.push(recorded);
    }

    /// Writes the events of all objects whose time has come.
    async fn write(&mut self, now: Instant) {
        let (client, clock) = (&self.client, &self.clock);
        let mut due = Vec::new();
        for object in self
            .objects
            .values_mut()
            .filter(|o| o.due.is_some_and(|at| at <= now))
        {
            object.due = None;
            self.names += 1;
            due.push((object, self.names));
        }
        futures::stream::iter(due)
            .for_each_concurrent(PARALLEL, |(object, number)| async move {
                object.write(client, clock, number).await;
            })
            .await;
        budget::forget_idle(
            &mut self.objects,
            |object| object.due.is_some(),
            |object| object.used,
        );
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
            if let Some(recent) = self.recent.iter_mut().find(|r| r.event == recorded.event)
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
                Ok(_) => Recent::remember(&mut self.recent, recorded.event, name, count),
                // The namespace is going away, or we may not: an event is not worth a retry.
                Err(error) => tracing::debug!(%error, "event not written"),
            }
        }
    }
}

/// Equal events become one with a count, at the place of the first.
fn fold(waiting: Vec<Recorded>) -> Vec<(Recorded, i32)> {
    let mut folded: Vec<(Recorded, i32)> = Vec::new();
    for recorded in waiting {
        match folded
            .iter_mut()
            .find(|(known, _)| known.event == recorded.event)
        {
            Some((known, count)) => {
                *count += 1;
                known.at = recorded.at;
            }
            None => folded.push((recorded, 1)),
        }
    }
    folded
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
        message: Some(recorded.event.message.chars().take(1024).collect()),
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

    #[test]
    fn repetitions_become_a_count() {
        let clock = |s| Timestamp::from_second(s).unwrap();
        let regarding = Regarding(Arc::new(ObjectReference::default()));
        let recorded = |text: &str, s| Recorded {
            regarding: regarding.clone(),
            event: Event::normal("Reason", text),
            at: clock(s),
        };
        let folded = fold(vec![recorded("a", 1), recorded("b", 2), recorded("a", 3)]);
        let seen: Vec<_> = folded
            .iter()
            .map(|(r, n)| (r.event.message.as_str(), *n, r.at.as_second()))
            .collect();
        assert_eq!(seen, [("a", 2, 3), ("b", 1, 2)]);
    }
}
