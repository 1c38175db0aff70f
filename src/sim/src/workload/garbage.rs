//! The garbage collector and the end of namespaces.

use serde_json::Value;

use super::common::change;
use crate::json::{flag, list_mut, text};
use crate::object::{self, Object};
use crate::state::State;
use crate::state::delete::{DeleteOptions, Propagation};
use crate::store::Place;

/// What a removal may set free: dependents, waiting owners, the namespace.
pub(super) fn after_removal(state: &State, gone: &Object) -> Vec<Place> {
    let mut places = state.store.dependents(gone.uid());
    for owner in object::owners(&gone.value) {
        places.extend(state.store.by_uid(text(owner, &["uid"])).cloned());
    }
    let spaces = state.kinds.known.namespaces;
    if let Some(space) = state.store.get(spaces, "", gone.namespace())
        && space.is_deleting()
    {
        places.push(Place::of(spaces, space));
    }
    places
}

/// Removes what has lost its owners, and moves deletions on that wait for dependents.
pub(super) fn reconcile(state: &mut State, place: &Place) {
    let Some(object) = state.store.at(place).cloned() else {
        return;
    };
    if place.kind == state.kinds.known.namespaces && object.is_deleting() {
        end_namespace(state, place);
        return;
    }
    let waits_for = |finalizer: &str| {
        object::finalizers(&object.value)
            .iter()
            .any(|f| f == finalizer)
    };
    if object.is_deleting() && waits_for("orphan") {
        for place in state.store.dependents(object.uid()) {
            let Some(dependent) = state.store.at(&place).cloned() else {
                continue;
            };
            change(state, place.kind, &dependent, |value| {
                list_mut(value, &["metadata", "ownerReferences"])
                    .retain(|o| text(o, &["uid"]) != object.uid());
            });
        }
        drop_finalizer(state, place, "orphan");
    } else if object.is_deleting() && waits_for("foregroundDeletion") {
        let mut blocked = false;
        for place in state.store.dependents(object.uid()) {
            let Some(dependent) = state.store.at(&place).cloned() else {
                continue;
            };
            let blocks =
                |o: &&Value| text(o, &["uid"]) == object.uid() && flag(o, &["blockOwnerDeletion"]);
            if !dependent.is_deleting() {
                delete(state, &place, Propagation::Foreground);
            }
            blocked |= object::owners(&dependent.value).iter().any(|o| blocks(&o))
                && state.store.at(&place).is_some();
        }
        if !blocked {
            drop_finalizer(state, place, "foregroundDeletion");
        }
    }
    collect(state, place, &object);
}

/// Deletes an object whose owners are all gone; references to some that are gone are dropped.
fn collect(state: &mut State, place: &Place, object: &Object) {
    let owners = object::owners(&object.value);
    if owners.is_empty() || object.is_deleting() {
        return;
    }
    let alive = |owner: &Value| state.store.by_uid(text(owner, &["uid"])).is_some();
    let lost: Vec<String> = owners
        .iter()
        .filter(|o| !alive(o))
        .map(|o| text(o, &["uid"]).to_owned())
        .collect();
    if lost.len() == owners.len() {
        delete(state, place, Propagation::Background);
    } else if !lost.is_empty() {
        change(state, place.kind, object, |value| {
            list_mut(value, &["metadata", "ownerReferences"])
                .retain(|o| !lost.iter().any(|l| l == text(o, &["uid"])));
        });
    }
}

fn delete(state: &mut State, place: &Place, propagation: Propagation) {
    let options = DeleteOptions {
        propagation,
        ..DeleteOptions::default()
    };
    // What is gone already needs no deletion.
    drop(state.delete(place.kind, &place.namespace, &place.name, &options));
}

fn drop_finalizer(state: &mut State, place: &Place, finalizer: &str) {
    if let Some(object) = state.store.at(place).cloned() {
        change(state, place.kind, &object, |value| {
            list_mut(value, &["metadata", "finalizers"]).retain(|f| f != finalizer);
        });
    }
}

/// Deletes what a terminating namespace holds, and the namespace when it is empty.
fn end_namespace(state: &mut State, place: &Place) {
    let mut left = false;
    let kinds: Vec<usize> = state
        .kinds
        .served()
        .filter(|(_, k)| k.namespaced)
        .map(|(i, _)| i)
        .collect();
    for kind in kinds {
        let inside: Vec<Place> = state
            .store
            .in_namespace(kind, &place.name)
            .map(|o| Place::of(kind, o))
            .collect();
        for inside in inside {
            if state.store.at(&inside).is_some_and(|o| !o.is_deleting()) {
                delete(state, &inside, Propagation::Background);
            }
            left |= state.store.at(&inside).is_some();
        }
    }
    if !left {
        state.store.remove(place, |_| {});
    }
}
