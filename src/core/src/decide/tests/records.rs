//! What a running peer left behind: at rest nothing is written, in the middle nothing jumps.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use sluice_crds::keys;
use sluice_crds::references::{References, ServiceFacts};
use sluice_crds::rollout::RolloutStatus;

use crate::decide::decide;
use crate::observed::{Observed, PodView, Seen, ServiceView, Settings, Workload, WorkloadView};
use crate::plan::{Action, Plan};
use crate::testing::records;
use crate::traffic::Verification;

fn of<T: serde::de::DeserializeOwned>(objects: &[Value], kind: &str) -> Vec<T> {
    let of_kind = objects.iter().filter(|o| o["kind"] == kind);
    of_kind
        .map(|o| serde_json::from_value(o.clone()).expect(kind))
        .collect()
}

fn named(objects: &[Value], kind: &str) -> BTreeMap<String, Value> {
    let of_kind = objects.iter().filter(|o| o["kind"] == kind);
    of_kind
        .map(|o| {
            (
                o["metadata"]["name"].as_str().unwrap().to_owned(),
                o.clone(),
            )
        })
        .collect()
}

/// The world of a record, and the moment at which it was taken.
pub(super) fn observed(file: &str) -> (Observed, Timestamp) {
    let objects = records::objects(file);
    let rollout: sluice_crds::Rollout = of(&objects, "Rollout").remove(0);
    let mut references = References::default();
    let mut services = BTreeMap::new();
    for (name, service) in named(&objects, "Service") {
        let selector: BTreeMap<String, String> =
            serde_json::from_value(service["spec"]["selector"].clone()).unwrap_or_default();
        let managed_by = service["metadata"]["annotations"][keys::MANAGED_BY].as_str();
        let managed_by = managed_by.map(str::to_owned);
        let facts = ServiceFacts {
            selector: selector.clone(),
            managed_by: managed_by.clone(),
        };
        references.services.insert(name.clone(), Some(facts));
        services.insert(
            name,
            Seen::Found(ServiceView {
                selector,
                managed_by,
            }),
        );
    }
    if let Some(canary) = &rollout.spec.strategy.canary {
        for name in [&canary.canary_service, &canary.stable_service] {
            if !name.is_empty() && !services.contains_key(name) {
                references.services.insert(name.clone(), None);
                services.insert(name.clone(), Seen::Absent);
            }
        }
    }
    for (name, template) in named(&objects, "AnalysisTemplate") {
        let spec = serde_json::from_value(template["spec"].clone()).unwrap();
        references.templates.namespaced.insert(name, Some(spec));
    }
    for (name, object) in named(&objects, "VirtualService") {
        references.virtual_services.insert(name, Some(object));
    }
    for (name, object) in named(&objects, "Ingress") {
        references.ingresses.insert(name, Some(object));
    }
    let rules = named(&objects, "DestinationRule");
    let hashes = rules.values().flat_map(|rule| {
        let subsets = rule["spec"]["subsets"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        subsets.into_iter().filter_map(|s| {
            s["labels"][keys::POD_TEMPLATE_HASH]
                .as_str()
                .map(str::to_owned)
        })
    });
    let subset_hashes = if rules.is_empty() {
        Seen::Absent
    } else {
        Seen::Found(hashes.collect())
    };
    let sets: Vec<sluice_crds::ReplicaSet> = of(&objects, "ReplicaSet");
    let uid = rollout.metadata.uid.clone();
    let ours = |meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
        meta.owner_references
            .iter()
            .flatten()
            .any(|o| Some(&o.uid) == uid.as_ref())
    };
    let workload = match &rollout.spec.workload_ref {
        None => Workload::NotReferenced,
        Some(reference) => {
            let found = &named(&objects, &reference.kind)[&reference.name];
            Workload::Found(WorkloadView {
                template: sluice_crds::RawPodTemplate::new(&found["spec"]["template"]),
                selector: serde_json::from_value(found["spec"]["selector"].clone()).ok(),
                generation: found["metadata"]["generation"].as_i64(),
                replicas: found["spec"]["replicas"]
                    .as_i64()
                    .and_then(|n| i32::try_from(n).ok()),
            })
        }
    };
    let pods = named(&objects, "Pod").into_values().map(|pod| {
        let map =
            |key: &str| serde_json::from_value(pod["metadata"][key].clone()).unwrap_or_default();
        let owner = pod["metadata"]["ownerReferences"][0]["uid"]
            .as_str()
            .unwrap_or("");
        PodView {
            name: pod["metadata"]["name"].as_str().unwrap().to_owned(),
            owner: owner.to_owned(),
            created: None,
            available: true,
            terminating: !pod["metadata"]["deletionTimestamp"].is_null(),
            labels: map("labels"),
            annotations: map("annotations"),
            resource_version: String::new(),
        }
    });
    // The newest time in the status is not long before the record was taken.
    let text = serde_json::to_string(&rollout.status).unwrap();
    let newest = text
        .split('"')
        .filter_map(|word| word.parse::<Timestamp>().ok())
        .max()
        .unwrap_or_default();
    let seen = Observed {
        workload,
        replica_sets: sets
            .into_iter()
            .filter(|s| ours(&s.metadata))
            .map(Arc::new)
            .collect(),
        services,
        analysis_runs: of::<sluice_crds::AnalysisRun>(&objects, "AnalysisRun")
            .into_iter()
            .filter(|r| ours(&r.metadata))
            .map(Arc::new)
            .collect(),
        experiments: of::<sluice_crds::Experiment>(&objects, "Experiment")
            .into_iter()
            .map(Arc::new)
            .collect(),
        references,
        subset_hashes,
        verification: Verification::NotSupported,
        pods: Some(pods.collect()),
        taken_names: Default::default(),
        failure: None,
        peaks: Default::default(),
        settings: Settings::default(),
        rollout: Arc::new(rollout),
    };
    (seen, newest)
}

/// Writes of a plan, those left out that repeat what is there.
fn writes(seen: &Observed, plan: &Plan) -> Vec<String> {
    let empty = RolloutStatus::default();
    let read = seen.rollout.status.as_ref().unwrap_or(&empty);
    let recorded = read.canary.weights.as_ref();
    let mut writes: Vec<String> = plan
        .actions
        .iter()
        .filter(|planned| match &planned.action {
            Action::Route(want) => {
                !(want.only_remove_managed_routes
                    || recorded.is_some_and(|weights| {
                        weights.canary.weight == want.weight
                            && weights.canary.pod_template_hash == want.canary_hash
                            && weights.stable.pod_template_hash == want.stable_hash
                    }))
            }
            _ => true,
        })
        .map(|planned| format!("{:?}", planned.action))
        .collect();
    if let Some(status) = &plan.status {
        let (a, b) = (
            serde_json::to_value(read).unwrap(),
            serde_json::to_value(status).unwrap(),
        );
        for key in a
            .as_object()
            .unwrap()
            .keys()
            .chain(b.as_object().unwrap().keys())
        {
            if a[key] != b[key] {
                writes.push(format!("status.{key}: {} -> {}", a[key], b[key]));
            }
        }
    }
    writes.sort();
    writes.dedup();
    writes
}

/// INV-8, FLT-23: a takeover of what rests writes nothing.
#[test]
fn rest_stays_untouched() {
    let mut text = String::new();
    for file in records::files("1-rest.json")
        .into_iter()
        .chain(records::files("4-promoted.json"))
    {
        let (seen, now) = observed(&file);
        for write in writes(&seen, &decide(&seen, now)) {
            text.push_str(&format!("{file}: {write}\n"));
        }
    }
    expect_test::expect![[r#""#]].assert_eq(&text);
}

/// INV-14: in the middle of an update things go on from where they are.
#[test]
fn the_middle_goes_on() {
    let mut text = String::new();
    for file in records::files("2-mid.json")
        .into_iter()
        .chain(records::files("3-aborted.json"))
        .chain(records::files("5-mid-v3.json"))
    {
        let (seen, now) = observed(&file);
        for write in writes(&seen, &decide(&seen, now)) {
            text.push_str(&format!("{file}: {write}\n"));
        }
    }
    expect_test::expect![[r#"
        11-headers-mirror/3-aborted.json: PatchService { name: "headers-canary", patch: Object {"spec": Object {"selector": Object {"rollouts-pod-template-hash": String("55f7dffbfc")}}} }
    "#]].assert_eq(&text);
}
