//! What objects of the same files do to a Rollout, or to each other.

use serde_json::Value;
use sluice_crds::references::services;
use sluice_crds::{LabelSelector, Rollout, decode, keys};

use super::files::Files;
use super::{key, name};
use crate::manifests::text;

const AUTOSCALERS: (&[&str], &str) = (&["autoscaling"], "HorizontalPodAutoscaler");
const BUDGETS: (&[&str], &str) = (&["policy"], "PodDisruptionBudget");

/// What is said about a Rollout and the objects around it. `object` is its manifest, `rollout` the
/// same with the template of its workload.
pub(super) fn warnings(object: &Value, rollout: &Rollout, files: Files<'_>) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(autoscaled(object, files));
    found.extend(workload(rollout, files));
    found.extend(evictions(rollout, files));
    found.extend(subsets(rollout, files));
    found.extend(shared_services(object, rollout, files));
    found.extend(bound_services(rollout, files));
    found.extend(dead_ports(rollout, files));
    found
}

/// Whether an autoscaler is for an object.
fn scales(scaler: &Value, kind: &str, name: &str) -> bool {
    text(scaler, "/spec/scaleTargetRef/kind") == kind
        && text(scaler, "/spec/scaleTargetRef/name") == name
}

/// A size that an autoscaler of the same files and the manifest both set.
fn autoscaled(object: &Value, files: Files<'_>) -> Option<String> {
    object.pointer("/spec/replicas")?;
    let mut all = files.of_kind(AUTOSCALERS.0, AUTOSCALERS.1);
    let scaler = all.find(|scaler| scales(scaler, "Rollout", name(object)))?;
    Some(format!(
        "spec.replicas: HorizontalPodAutoscaler {:?} sets it, too: each time this manifest is \
         applied, the size jumps back; leave spec.replicas out",
        name(scaler)
    ))
}

/// API-30, SE-8: pods of the workload that live on beside those of the Rollout.
fn workload(rollout: &Rollout, files: Files<'_>) -> Option<String> {
    let reference = rollout.spec.workload_ref.as_ref()?;
    let deployment = files.workload(rollout)?;
    if reference.kind != "Deployment" {
        return None;
    }
    let called = name(deployment);
    let mut scalers = files.of_kind(AUTOSCALERS.0, AUTOSCALERS.1);
    if let Some(scaler) = scalers.find(|scaler| scales(scaler, "Deployment", called)) {
        return Some(format!(
            "spec.workloadRef.name: HorizontalPodAutoscaler {:?} sizes Deployment {called:?}, whose \
             place this Rollout takes; let its scaleTargetRef name the Rollout",
            name(scaler)
        ));
    }
    let left = matches!(reference.scale_down.as_str(), "onsuccess" | "progressively");
    let pods = deployment
        .pointer("/spec/replicas")
        .map_or(Some(1), Value::as_i64);
    pods.filter(|pods| !left && *pods > 0).map(|pods| {
        format!(
            "spec.workloadRef.scaleDown: Deployment {called:?} keeps its replicas ({pods}) and takes \
             every new version at once, without steps; write scaleDown: onsuccess, or replicas: 0 \
             in the Deployment"
        )
    })
}

/// CTL-126: a restart evicts pods, and waits where no eviction is allowed.
fn evictions(rollout: &Rollout, files: Files<'_>) -> Option<String> {
    let labels = rollout.spec.template.labels();
    let selects = |budget: &&Value| {
        let selector = budget.pointer("/spec/selector");
        let selector: Option<LabelSelector> = selector.and_then(|one| decode::read(one).ok());
        selector.is_some_and(|one| !one.is_empty() && one.matches(&labels))
    };
    let none = |budget: &&Value| {
        let all = i64::from(rollout.spec.replicas());
        let is = |member: &str, none: &dyn Fn(i64) -> bool, percent: &str| {
            let written = budget.pointer(&format!("/spec/{member}"));
            written.is_some_and(|one| one.as_i64().is_some_and(none) || one == percent)
        };
        is("maxUnavailable", &|pods| pods == 0, "0%")
            || is("minAvailable", &|pods| pods >= all, "100%")
    };
    let mut budgets = files.of_kind(BUDGETS.0, BUDGETS.1).filter(selects);
    let budget = budgets.find(none)?;
    Some(format!(
        "spec.replicas: PodDisruptionBudget {:?} allows no pod of these to be evicted: a restart \
         never ends, and no node can be drained; let it allow one",
        name(budget)
    ))
}

/// Subsets that the Rollout names and the DestinationRule has not.
fn subsets(rollout: &Rollout, files: Files<'_>) -> Vec<String> {
    let istio = rollout
        .spec
        .traffic_routing()
        .and_then(|r| r.istio.as_ref());
    let Some(wanted) = istio.and_then(|istio| istio.destination_rule.as_ref()) else {
        return Vec::new();
    };
    let rule = files.find(&["networking.istio.io"], "DestinationRule", &wanted.name);
    let Some(rule) = rule else {
        return Vec::new();
    };
    let there = rule.pointer("/spec/subsets").and_then(Value::as_array);
    let there: Vec<&str> = there
        .into_iter()
        .flatten()
        .map(|subset| text(subset, "/name"))
        .collect();
    let path = "spec.strategy.canary.trafficRouting.istio.destinationRule";
    let names = [
        ("canarySubsetName", &wanted.canary_subset_name),
        ("stableSubsetName", &wanted.stable_subset_name),
    ];
    let missing = names
        .into_iter()
        .filter(|(_, subset)| !there.contains(&subset.as_str()));
    missing
        .map(|(member, subset)| {
            format!(
                "{path}.{member}: {subset:?}: DestinationRule {:?} has no such subset, so routing \
                 fails and no update goes on; add it there",
                wanted.name
            )
        })
        .collect()
}

/// CTL-151: the hash in a Service is the controller's. One that was read from a cluster, as its uid
/// shows, is no manifest that somebody applies.
fn bound_services(rollout: &Rollout, files: Files<'_>) -> Vec<String> {
    let all = services(&rollout.spec).into_iter();
    let bound = all.filter_map(|(_, called)| {
        let service = files.find(&[""], "Service", called)?;
        let hash = service.pointer("/spec/selector")?.get(keys::POD_TEMPLATE_HASH)?;
        text(service, "/metadata/uid").is_empty().then(|| {
            format!(
                "Service {called}: spec.selector[{}]: {hash}: each time this manifest is applied, \
                 requests go to that version again, whether it has pods or not; leave the label out",
                keys::POD_TEMPLATE_HASH
            )
        })
    });
    bound.collect()
}

/// API-49: ports that a Service has by name, and no container. A Service without members gets its
/// share of the requests all the same.
fn dead_ports(rollout: &Rollout, files: Files<'_>) -> Vec<String> {
    if rollout.spec.template.is_empty() {
        return Vec::new(); // the workload is not in the files
    }
    let template = rollout.spec.template.value();
    let ports = ["containers", "initContainers"].map(|list| {
        let containers = template.pointer(&format!("/spec/{list}"));
        let containers = containers.and_then(Value::as_array).into_iter().flatten();
        containers.filter_map(|one| one.get("ports")?.as_array())
    });
    let ports = ports.into_iter().flatten().flatten();
    let named: Vec<&str> = ports.map(|port| text(port, "/name")).collect();
    let mut found = Vec::new();
    for (_, called) in services(&rollout.spec) {
        let service = files.find(&[""], "Service", called);
        let ports = service.and_then(|service| service.pointer("/spec/ports"));
        let ports = ports.and_then(Value::as_array).into_iter().flatten();
        for (i, port) in ports.enumerate() {
            let wanted = text(port, "/targetPort");
            if !wanted.is_empty() && !named.contains(&wanted) {
                found.push(format!(
                    "Service {called}: spec.ports[{i}].targetPort: {wanted:?}: no container of the \
                     Rollout has a port of this name, so requests to it meet nobody; name it in \
                     spec.template, or correct it here"
                ));
            }
        }
    }
    found
}

/// API-49: a Service belongs to one Rollout.
fn shared_services(object: &Value, rollout: &Rollout, files: Files<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let others = files.of_kind(&["argoproj.io"], "Rollout");
    for other in others.filter(|other| key(other) != key(object)) {
        let Ok(theirs) = decode::read::<Rollout>(other) else {
            continue;
        };
        let theirs: Vec<&str> = services(&theirs.spec)
            .iter()
            .map(|(_, name)| *name)
            .collect();
        let mine = services(&rollout.spec).into_iter();
        found.extend(mine.filter(|(_, name)| theirs.contains(name)).map(|(path, service)| {
            format!(
                "{path}: {service:?}: Rollout {:?} names this Service, too: whichever comes second \
                 is invalid; give each its own",
                name(other)
            )
        }));
    }
    found
}

/// ASE-2: keys that an analysis reads from a Secret of the same files, which has them not.
pub(super) fn secrets(object: &Value, files: Files<'_>) -> Vec<String> {
    let args = object.pointer("/spec/args").and_then(Value::as_array);
    let mut found = Vec::new();
    for (j, arg) in args.into_iter().flatten().enumerate() {
        let called = text(arg, "/valueFrom/secretKeyRef/name");
        let key = text(arg, "/valueFrom/secretKeyRef/key");
        let Some(secret) = files.find(&[""], "Secret", called) else {
            continue;
        };
        let there = ["data", "stringData"]
            .iter()
            .any(|part| secret.get(part).is_some_and(|part| part.get(key).is_some()));
        if !there {
            found.push(format!(
                "spec.args[{j}].valueFrom.secretKeyRef.key: {key:?}: Secret {called:?} has no such \
                 key, so the analysis ends in Error; correct one of them"
            ));
        }
    }
    found
}

/// ANA-29: an argument without any value is given as the empty text.
pub(super) fn empty_arguments(rollout: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(strategy) = rollout.pointer("/spec/strategy") {
        walk(strategy, "spec.strategy", &mut found);
    }
    found
}

fn walk(part: &Value, path: &str, found: &mut Vec<String>) {
    match part {
        Value::Object(members) => {
            let args = members.get("args").and_then(Value::as_array);
            let is_empty = |arg: &Value| {
                let given = |member: &str| arg.get(member).is_some_and(|value| !value.is_null());
                !given("value") && !given("valueFrom")
            };
            let args = args.into_iter().flatten().enumerate();
            found.extend(args.filter(|(_, arg)| is_empty(arg)).map(|(j, arg)| {
                format!(
                    "{path}.args[{j}]: {:?}: without a value it is the empty text, and takes the \
                     place of the template's default; write a value, or leave it out",
                    text(arg, "/name")
                )
            }));
            for (name, member) in members.iter().filter(|(name, _)| *name != "args") {
                walk(member, &format!("{path}.{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{path}[{index}]"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
