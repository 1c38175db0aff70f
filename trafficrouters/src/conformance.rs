//! What every router has to pass, whatever its provider: see [`check`].
//!
//! A provider describes itself as a [`Specimen`]; its tests then feed the suite generated route
//! objects and sequences of wanted states.

use serde_json::{Value, json};
use sluice_core::observed::Seen;
use sluice_core::traffic::{Additional, Want};

use crate::object::{Found, ObjectRef};
use crate::router::{RouteWrite, TrafficRouter, WriteKind};

#[cfg(test)]
pub(crate) mod generate;

/// The weights of destinations that share requests among themselves, and what they must add up to.
pub type Group = (Vec<i64>, i64);

/// A router together with what the suite has to know about its objects.
pub trait Specimen {
    /// The router of the pass in which status records these further destinations.
    fn router(&self, recorded: &[Additional]) -> Box<dyn TrafficRouter>;

    /// All groups of destinations; one that carries no weights yet is left out.
    fn groups(&self, found: &Found) -> Vec<Group>;

    /// Takes out of an object everything that the router may change; what is left must stay.
    fn erase_owned(&self, object: &ObjectRef, value: &mut Value);

    /// Objects that must exist before anything can be routed.
    fn required(&self) -> Vec<ObjectRef>;

    /// Names of managed routes that are there.
    fn managed_routes(&self, found: &Found) -> Vec<String> {
        let _ = found;
        Vec::new()
    }
}

/// A state at rest but for its canary weight, in percent.
#[must_use]
pub fn want(weight: i32) -> Want {
    Want {
        canary_hash: "7d9".to_owned(),
        stable_hash: "5c4".to_owned(),
        canary_service: "shop-next".to_owned(),
        stable_service: "shop".to_owned(),
        weight,
        max_weight: 100,
        additional: Vec::new(),
        header_route: None,
        mirror_route: None,
        remove_managed_routes: false,
        only_remove_managed_routes: false,
        weight_before_hash: false,
        keep_hashes: false,
    }
}

/// The state after a promotion or an abort: all traffic on stable, no managed routes.
#[must_use]
pub fn rest() -> Want {
    Want {
        canary_hash: "5c4".to_owned(),
        remove_managed_routes: true,
        ..want(0)
    }
}

/// Carries writes out in memory, as an API server would: guards are compared, versions move on.
///
/// # Errors
/// A write that a server would refuse.
pub fn apply(found: &Found, writes: &[RouteWrite]) -> Result<Found, String> {
    let mut after = found.clone();
    for (i, write) in writes.iter().enumerate() {
        let object = &write.object;
        let stored = match after.0.get(object) {
            Some(Seen::Found(value)) => Some(value.clone()),
            _ => None,
        };
        let version = format!("{}-{i}", stored.as_ref().map_or("0", version_of));
        let next = match (&write.kind, stored) {
            (WriteKind::Create(_), Some(_)) => return Err(format!("{object} already exists")),
            (WriteKind::Create(body), None) => Some(body.clone()),
            (_, None) => return Err(format!("{object} does not exist")),
            (WriteKind::Patch { guard, patch }, Some(mut value)) => {
                if *guard != version_of(&value) {
                    return Err(format!("conflict on {object}"));
                }
                merge(&mut value, patch);
                Some(value)
            }
            (WriteKind::Replace(body), Some(value)) => {
                if version_of(body) != version_of(&value) {
                    return Err(format!("conflict on {object}"));
                }
                Some(body.clone())
            }
            (WriteKind::Delete { .. }, Some(_)) => None,
        };
        let seen = match next {
            Some(mut value) => {
                crate::json::set(&mut value, &["metadata", "resourceVersion"], json!(version));
                Seen::Found(value)
            }
            None => Seen::Absent,
        };
        after.0.insert(object.clone(), seen);
    }
    Ok(after)
}

fn version_of(value: &Value) -> &str {
    crate::json::text(value, "/metadata/resourceVersion")
}

fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *value = patch.clone();
        return;
    };
    for (key, change) in changes {
        match change {
            Value::Null => {
                if let Some(map) = value.as_object_mut() {
                    map.remove(key);
                }
            }
            change => {
                let mut inner = value.get(key).cloned().unwrap_or(Value::Null);
                merge(&mut inner, change);
                crate::json::set(value, &[key], inner);
            }
        }
    }
}

/// Brings the objects through a sequence of wanted states and back to rest, and checks after each:
///
/// * a second rendering yields nothing (INV-8),
/// * there is one write per object, and none without a change,
/// * the weights of each group are within bounds and add up (INV-13),
/// * what the router does not own is as it was (INV-11),
/// * asked only to remove managed routes, it changes no weight.
///
/// Then: back at rest everything is as it was at rest before, without managed routes; an object that
/// is missing or unread is an error that names it, and yields no write.
///
/// # Errors
/// The first thing that does not hold, in words.
pub fn check(specimen: &dyn Specimen, found: &Found, wants: &[Want]) -> Result<(), String> {
    let mut recorded: Vec<Additional> = Vec::new();
    // A first round, since weights that were left out are written from then on.
    let touched = step(specimen, found, &want(10), &mut recorded)?;
    let at_rest = step(specimen, &touched, &rest(), &mut recorded)?;
    let mut now = at_rest.clone();
    for want in wants {
        now = step(specimen, &now, want, &mut recorded)?;
        let removed = Want {
            only_remove_managed_routes: true,
            ..want.clone()
        };
        let after = apply(&now, &render(specimen, &now, &removed, &recorded)?)?;
        if specimen
            .groups(&after)
            .iter()
            .any(|g| !specimen.groups(&now).contains(g))
        {
            return Err(format!(
                "weights moved while routes were removed: {}",
                show(&after)
            ));
        }
        if !specimen.managed_routes(&after).is_empty() {
            return Err(format!("managed routes left: {}", show(&after)));
        }
    }
    let back = step(specimen, &now, &rest(), &mut recorded)?;
    if !specimen.managed_routes(&back).is_empty() {
        return Err(format!("managed routes left at rest: {}", show(&back)));
    }
    if show(&back) != show(&at_rest) {
        return Err(format!(
            "rest differs:\n{}\n{}",
            show(&at_rest),
            show(&back)
        ));
    }
    absent(specimen, found, &want(10))
}

fn step(
    specimen: &dyn Specimen,
    found: &Found,
    want: &Want,
    recorded: &mut Vec<Additional>,
) -> Result<Found, String> {
    let writes = render(specimen, found, want, recorded)?;
    for write in &writes {
        if writes.iter().filter(|w| w.object == write.object).count() > 1 {
            return Err(format!("{} is written twice", write.object));
        }
    }
    let after = apply(found, &writes)?;
    recorded.clone_from(&want.additional);
    let again = render(specimen, &after, want, recorded)?;
    if !again.is_empty() {
        return Err(format!("not idempotent: {again:#?}\non {}", show(&after)));
    }
    for (weights, whole) in specimen.groups(&after) {
        if weights.iter().any(|w| *w < 0) || weights.iter().sum::<i64>() != whole {
            return Err(format!("{weights:?} is not {whole}: {}", show(&after)));
        }
    }
    for (object, seen) in &found.0 {
        let (Seen::Found(before), Some(Seen::Found(now))) = (seen, after.0.get(object)) else {
            continue;
        };
        let (mut before, mut now) = (before.clone(), now.clone());
        for value in [&mut before, &mut now] {
            specimen.erase_owned(object, value);
            crate::json::unset(value, &["metadata", "resourceVersion"]);
        }
        if before != now {
            return Err(format!(
                "foreign parts of {object} changed:\n{before}\n{now}"
            ));
        }
    }
    Ok(after)
}

fn render(
    specimen: &dyn Specimen,
    found: &Found,
    want: &Want,
    recorded: &[Additional],
) -> Result<Vec<RouteWrite>, String> {
    let router = specimen.router(recorded);
    router
        .render(want, found)
        .map_err(|e| format!("{want:?}: {e}\non {}", show(found)))
}

/// Each object gone, and each object unreadable.
fn absent(specimen: &dyn Specimen, found: &Found, want: &Want) -> Result<(), String> {
    let router = specimen.router(&[]);
    for object in specimen.required() {
        for seen in [Seen::Absent, Seen::Unread("timeout".to_owned())] {
            let mut without = found.clone();
            without.0.insert(object.clone(), seen.clone());
            match router.render(want, &without) {
                Ok(writes) => return Err(format!("{object} is {seen:?}, and {writes:?}")),
                Err(e) if !e.to_string().contains(&object.name) => {
                    return Err(format!("{object} is not named by: {e}"));
                }
                Err(e) if !e.writes().is_empty() => {
                    return Err(format!("{object} is {seen:?}, and {:?}", e.writes()));
                }
                Err(_) => {}
            }
        }
    }
    Ok(())
}

/// All objects without their versions, as text.
fn show(found: &Found) -> String {
    let mut text = String::new();
    for (object, seen) in &found.0 {
        match seen {
            Seen::Found(value) => {
                let mut value = value.clone();
                crate::json::unset(&mut value, &["metadata", "resourceVersion"]);
                text.push_str(&format!("{object}: {value}\n"));
            }
            other => text.push_str(&format!("{object}: {other:?}\n")),
        }
    }
    text
}
