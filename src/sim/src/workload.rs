//! Workload controllers, run over the state directly: no requests, no faults. They hear of
//! every change and work until nothing is left to do at the present time.

mod common;
mod deployment;
mod endpoints;
mod garbage;
mod job;
mod replicaset;
mod rolling;

use std::collections::BTreeSet;
use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use crate::kinds::KindId;
use crate::object::{self, Object};
use crate::state::State;
use crate::store::{Change, Place};

/// Passes over one queue entry after another end here at the latest, so that two controllers
/// that undo each other's work cannot hang a test.
const PASS_LIMIT: usize = 1_000_000;

/// The queues of all controllers.
#[derive(Debug, Default)]
pub(crate) struct Controllers {
    started: bool,
    queue: VecDeque<Place>,
    queued: BTreeSet<Place>,
    timers: BTreeMap<Timestamp, BTreeSet<Place>>,
    services: endpoints::ServiceIndex,
}

impl Controllers {
    /// Works off what is to do now; returns when there is more.
    pub(crate) fn run(&mut self, state: &mut State) -> Option<Timestamp> {
        if !self.started {
            self.start(state);
        }
        self.take_changes(state);
        let due: Vec<Timestamp> = self.timers.range(..=state.now).map(|(t, _)| *t).collect();
        for time in due {
            for place in self.timers.remove(&time).unwrap_or_default() {
                self.enqueue(place);
            }
        }
        for _ in 0..PASS_LIMIT {
            let Some(place) = self.queue.pop_front() else {
                break;
            };
            self.queued.remove(&place);
            if let Some(wake) = reconcile(state, &place) {
                self.timers.entry(wake).or_default().insert(place);
            }
            self.take_changes(state);
        }
        self.timers.keys().next().copied()
    }

    /// From now on changes are recorded; what is there already is looked at once.
    fn start(&mut self, state: &mut State) {
        self.started = true;
        state.store.pending = Some(VecDeque::new());
        for service in state.store.all(state.kinds.known.services) {
            self.services.update(None, Some(service));
        }
        for (id, _) in state.kinds.clone().served() {
            for object in state.store.all(id) {
                for place in self.concerned(state, id, object) {
                    self.enqueue(place);
                }
            }
        }
    }

    fn take_changes(&mut self, state: &mut State) {
        let Some(pending) = &mut state.store.pending else {
            return;
        };
        for (id, change) in std::mem::take(pending) {
            let Change { before, after, .. } = change;
            if id == state.kinds.known.services {
                self.services.update(before.as_deref(), after.as_deref());
            }
            if let (Some(gone), None) = (&before, &after) {
                for place in garbage::after_removal(state, gone) {
                    self.enqueue(place);
                }
            }
            for object in [before, after].into_iter().flatten() {
                for place in self.concerned(state, id, &object) {
                    self.enqueue(place);
                }
            }
        }
    }

    fn enqueue(&mut self, place: Place) {
        if self.queued.insert(place.clone()) {
            self.queue.push_back(place);
        }
    }

    /// What is to be looked at after a change of an object.
    fn concerned(&self, state: &State, id: KindId, object: &Object) -> Vec<Place> {
        let known = state.kinds.known;
        let mut places = Vec::new();
        let owned = !object::owners(&object.value).is_empty();
        let controlled = [
            known.replicasets,
            known.deployments,
            known.jobs,
            known.services,
        ];
        if owned || object.is_deleting() || controlled.contains(&id) {
            places.push(Place::of(id, object));
        }
        let owner = object::controller_uid(&object.value).and_then(|u| state.store.by_uid(u));
        if id == known.pods {
            match owner {
                Some(owner) => places.push(owner.clone()),
                None => places.extend(replicaset::claimants(state, object)),
            }
            let services = self.services.selecting(object);
            places.extend(services.map(|name| Place {
                kind: known.services,
                namespace: object.namespace().to_owned(),
                name,
            }));
        } else if id == known.replicasets || id == known.endpointslices {
            places.extend(owner.cloned());
        }
        places
    }
}

/// Looks at one object; returns when to look again.
fn reconcile(state: &mut State, place: &Place) -> Option<Timestamp> {
    garbage::reconcile(state, place);
    let known = state.kinds.known;
    if place.kind == known.replicasets {
        replicaset::reconcile(state, place)
    } else if place.kind == known.deployments {
        deployment::reconcile(state, place)
    } else if place.kind == known.jobs {
        job::reconcile(state, place)
    } else if place.kind == known.services {
        endpoints::reconcile(state, place);
        None
    } else {
        None
    }
}
