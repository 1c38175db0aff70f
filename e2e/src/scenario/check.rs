//! Comparing a [`State`] with an [`Expect`]: every difference, in words.

use serde_json::Value;

use super::format::Expect;
use super::state::{State, number, text};

/// What does not hold yet; empty when all of it does.
#[must_use]
pub fn differences(expect: &Expect, state: &State) -> Vec<String> {
    let mut found = Vec::new();
    status(expect, &state.rollout, &mut found);
    pods(expect, state, &mut found);
    routes(expect, state, &mut found);
    children(expect, state, &mut found);
    objects(expect, state, &mut found);
    found
}

fn differ<T: PartialEq + std::fmt::Debug>(
    found: &mut Vec<String>,
    what: &str,
    wanted: Option<T>,
    is: Option<T>,
) {
    if wanted.is_some() && wanted != is {
        found.push(format!("{what}: wanted {wanted:?}, is {is:?}"));
    }
}

fn status(expect: &Expect, rollout: &Value, found: &mut Vec<String>) {
    if let Some(phase) = &expect.phase {
        // The stored phase speaks of the spec that was observed, not of a newer one (API-66).
        let seen: Option<i64> = text(rollout, "/status/observedGeneration").parse().ok();
        let is = text(rollout, "/status/phase");
        if seen != number(rollout, "/metadata/generation") {
            found.push(format!(
                "phase: wanted {phase}, the spec is not observed yet"
            ));
        } else if is != phase {
            let message = text(rollout, "/status/message");
            found.push(format!("phase: wanted {phase}, is {is} ({message})"));
        }
    }
    if let Some(part) = &expect.message {
        let is = text(rollout, "/status/message");
        if !is.contains(part.as_str()) {
            found.push(format!("message: wanted {part:?}, is {is:?}"));
        }
    }
    let is = number(rollout, "/status/currentStepIndex");
    differ(found, "step", expect.step.map(i64::from), is);
    let is = number(rollout, "/status/canary/weights/canary/weight");
    differ(found, "weight", expect.weight.map(i64::from), is);
    let is = rollout
        .pointer("/status/abort")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    differ(found, "aborted", expect.aborted, Some(is));
    let stable = text(rollout, "/status/stableRS");
    let is = !stable.is_empty() && stable == text(rollout, "/status/currentPodHash");
    differ(found, "promoted", expect.promoted, Some(is));
    for (kind, wanted) in &expect.conditions {
        let is = rollout
            .pointer("/status/conditions")
            .and_then(Value::as_array)
            .and_then(|all| all.iter().find(|one| text(one, "/type") == kind))
            .map(|one| format!("{}/{}", text(one, "/status"), text(one, "/reason")));
        let holds = is
            .as_ref()
            .is_some_and(|is| is == wanted || is.split('/').next() == Some(wanted.as_str()));
        if !holds {
            found.push(format!("condition {kind}: wanted {wanted}, is {is:?}"));
        }
    }
}

fn pods(expect: &Expect, state: &State, found: &mut Vec<String>) {
    for (image, wanted) in &expect.pods {
        let is: i64 = state
            .replica_sets
            .iter()
            .filter(|set| text(set, "/spec/template/spec/containers/0/image") == image)
            .filter_map(|set| number(set, "/status/availableReplicas"))
            .sum();
        if is != i64::from(*wanted) {
            found.push(format!("pods of {image}: wanted {wanted}, are {is}"));
        }
    }
    let total = |pointer: &str| -> i64 {
        let sets = state.replica_sets.iter();
        sets.filter_map(|set| number(set, pointer)).sum()
    };
    if let Some(least) = expect.available_at_least {
        let are = total("/status/availableReplicas");
        if are < i64::from(least) {
            found.push(format!("available pods: at least {least}, are {are}"));
        }
    }
    if let Some(most) = expect.pods_at_most {
        let are = total("/status/replicas");
        if are > i64::from(most) {
            found.push(format!("pods: at most {most}, are {are}"));
        }
    }
    for (service, wanted) in &expect.ready {
        let are = state.ready_behind(service);
        if are != *wanted {
            found.push(format!(
                "ready pods behind {service}: wanted {wanted}, are {are}"
            ));
        }
    }
    for (service, least) in &expect.ready_at_least {
        let are = state.ready_behind(service);
        if are < *least {
            found.push(format!(
                "ready pods behind {service}: at least {least}, are {are}"
            ));
        }
    }
    for (service, wanted) in &expect.services {
        let Some(object) = state.services.get(service) else {
            found.push(format!("service {service}: does not exist"));
            continue;
        };
        let hash = text(object, "/spec/selector/rollouts-pod-template-hash");
        let is = state.image_of(hash);
        if is != Some(wanted.as_str()) {
            found.push(format!(
                "service {service}: wanted {wanted}, selects {is:?} ({hash})"
            ));
        }
    }
}

fn routes(expect: &Expect, state: &State, found: &mut Vec<String>) {
    for (route, wanted) in &expect.routes {
        let is = match route.split_once('/') {
            Some(("Ingress", name)) => state.ingresses.get(name).and_then(ingress_weight),
            Some((name, destination)) => state
                .virtual_services
                .get(name)
                .and_then(|object| destination_weight(object, destination)),
            None => None,
        };
        if is != Some(i64::from(*wanted)) {
            found.push(format!("route {route}: wanted {wanted}, is {is:?}"));
        }
    }
}

fn ingress_weight(ingress: &Value) -> Option<i64> {
    ingress
        .pointer("/metadata/annotations")?
        .as_object()?
        .iter()
        .find(|(key, _)| key.ends_with("/canary-weight"))
        .and_then(|(_, weight)| weight.as_str()?.parse().ok())
}

/// Weight of a destination, by host or by subset, in the first HTTP, TLS or TCP route that has it.
/// An absent weight is 0.
fn destination_weight(virtual_service: &Value, name: &str) -> Option<i64> {
    ["http", "tls", "tcp"]
        .iter()
        .filter_map(|section| {
            virtual_service
                .pointer(&format!("/spec/{section}"))?
                .as_array()
        })
        .flatten()
        .filter_map(|route| route.pointer("/route")?.as_array())
        .flatten()
        .find(|one| {
            text(one, "/destination/host") == name || text(one, "/destination/subset") == name
        })
        .map(|one| number(one, "/weight").unwrap_or(0))
}

fn children(expect: &Expect, state: &State, found: &mut Vec<String>) {
    for (kind, wanted) in &expect.runs {
        let is = state
            .analysis_runs
            .iter()
            .rev()
            .find(|run| text(run, "/metadata/labels/rollout-type") == kind)
            .map(|run| text(run, "/status/phase"));
        if is != Some(wanted.as_str()) {
            found.push(format!("{kind} analysis run: wanted {wanted}, is {is:?}"));
        }
    }
    if let Some(wanted) = &expect.experiment {
        let is = state
            .experiments
            .last()
            .map(|one| text(one, "/status/phase"));
        if is != Some(wanted.as_str()) {
            found.push(format!("experiment: wanted {wanted}, is {is:?}"));
        }
    }
    for (name, wanted) in &expect.deployments {
        let is = state
            .deployments
            .get(name)
            .and_then(|one| number(one, "/spec/replicas"));
        if is != Some(i64::from(*wanted)) {
            found.push(format!(
                "deployment {name}: wanted {wanted} replicas, has {is:?}"
            ));
        }
    }
    for reason in &expect.events {
        if !state.event_reasons.contains(reason) {
            found.push(format!("event {reason}: not recorded"));
        }
    }
}

fn objects(expect: &Expect, state: &State, found: &mut Vec<String>) {
    for (name, wanted) in &expect.objects {
        let Some((kind, own)) = name.split_once('/') else {
            found.push(format!("{name:?} is not Kind/name"));
            continue;
        };
        let mut all = state.of_kind(kind).iter();
        let is = all.find(|one| text(one, "/metadata/name") == own);
        match (wanted, is) {
            (Value::Null, None) => {}
            (Value::Null, Some(_)) => found.push(format!("{name}: exists")),
            (_, None) => found.push(format!("{name}: does not exist")),
            (wanted, Some(is)) => lacks(name, wanted, is, found),
        }
    }
    for (kind, wanted) in &expect.counts {
        let are = state.of_kind(kind).len();
        if are != *wanted {
            found.push(format!("objects of {kind}: wanted {wanted}, are {are}"));
        }
    }
    for (part, most) in &expect.told_at_most {
        let times: usize = state
            .told
            .iter()
            .map(|(message, count)| {
                let times = message.matches(part.as_str()).count();
                // Texts that were joined are counted together, equal ones by a number.
                if message.contains("; ") {
                    times
                } else {
                    times * count
                }
            })
            .sum();
        if times > *most {
            found.push(format!("{part:?}: told {times} times, at most {most}"));
        }
    }
}

/// What `is` lacks of `wanted`. It may have more members; `null` means that a member is absent.
fn lacks(at: &str, wanted: &Value, is: &Value, found: &mut Vec<String>) {
    match (wanted, is) {
        (Value::Object(wanted), Value::Object(is)) => {
            for (key, wanted) in wanted {
                lacks(
                    &format!("{at}.{key}"),
                    wanted,
                    is.get(key).unwrap_or(&Value::Null),
                    found,
                );
            }
        }
        (Value::Array(wanted), Value::Array(is)) if wanted.len() == is.len() => {
            for (index, (wanted, is)) in wanted.iter().zip(is).enumerate() {
                lacks(&format!("{at}[{index}]"), wanted, is, found);
            }
        }
        (wanted, is) if wanted == is => {}
        (wanted, is) => found.push(format!("{at}: wanted {wanted}, is {is}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_unobserved_spec_has_no_phase_yet() {
        let state = State {
            rollout: json!({
                "metadata": {"generation": 3},
                "status": {"observedGeneration": "2", "phase": "Healthy"},
            }),
            ..State::default()
        };
        let expect = Expect {
            phase: Some("Healthy".into()),
            ..Expect::default()
        };
        assert_eq!(
            differences(&expect, &state),
            ["phase: wanted Healthy, the spec is not observed yet"]
        );
    }

    #[test]
    fn destinations_count_by_host_and_by_subset() {
        let object = json!({"spec": {"http": [{"route": [
            {"destination": {"host": "a"}, "weight": 80},
            {"destination": {"host": "b", "subset": "canary"}, "weight": 20},
            {"destination": {"host": "c"}},
        ]}]}});
        assert_eq!(destination_weight(&object, "a"), Some(80));
        assert_eq!(destination_weight(&object, "canary"), Some(20));
        assert_eq!(destination_weight(&object, "c"), Some(0));
        assert_eq!(destination_weight(&object, "d"), None);
    }

    #[test]
    fn objects_may_have_more_than_is_wanted() {
        let state = State {
            others: [(
                "Service".to_owned(),
                vec![json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80, "name": "http"}]}})],
            )]
            .into(),
            ..State::default()
        };
        let check = |wanted: Value| {
            let expect = Expect {
                objects: [("Service/web".to_owned(), wanted)].into(),
                ..Expect::default()
            };
            differences(&expect, &state)
        };
        let none: [&str; 0] = [];
        assert_eq!(
            check(json!({"spec": {"ports": [{"port": 80}], "selector": null}})),
            none
        );
        assert_eq!(
            check(json!({"spec": {"ports": [{"port": 81}]}})),
            ["Service/web.spec.ports[0].port: wanted 81, is 80"]
        );
        assert_eq!(check(Value::Null), ["Service/web: exists"]);
    }
}
