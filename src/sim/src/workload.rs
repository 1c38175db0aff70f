//! Workload controllers, run over the state directly: no requests, no faults. They hear of
//! every change and work until nothing is left to do at the present time.

mod common;
mod replicaset;

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
        for (id, _) in state.kinds.clone().served() {
            for object in state.store.all(id) {
                for place in concerned(state, id, object) {
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
            for object in [before, after].into_iter().flatten() {
                for place in concerned(state, id, &object) {
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
}

/// What is to be looked at after a change of an object.
fn concerned(state: &State, id: KindId, object: &Object) -> Vec<Place> {
    let known = state.kinds.known;
    let mut places = Vec::new();
    if id == known.replicasets {
        places.push(Place::of(id, object));
    } else if id == known.pods {
        if let Some(owner) =
            object::controller_uid(&object.value).and_then(|u| state.store.by_uid(u))
        {
            places.push(owner.clone());
        } else {
            places.extend(replicaset::claimants(state, object));
        }
    }
    places
}

/// Looks at one object; returns when to look again.
fn reconcile(state: &mut State, place: &Place) -> Option<Timestamp> {
    let known = state.kinds.known;
    if place.kind == known.replicasets {
        return replicaset::reconcile(state, place);
    }
    None
}
