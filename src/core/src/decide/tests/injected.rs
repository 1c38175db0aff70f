//! What ReplicaSets and pods get besides the user's template: anti-affinity, ephemeral metadata.

use std::collections::BTreeMap;

use expect_test::expect;
use serde_json::{Value, json};
use sluice_crds::RawPodTemplate;
use sluice_crds::rollout::{AntiAffinity, PodTemplateMetadata};

use super::deployed;
use crate::testing::world::World;
use crate::testing::{pause, rollout, weight};

const V1: &str = "5dfb79b7ff";

fn rules(rules: Value) -> Option<AntiAffinity> {
    Some(serde_json::from_value(rules).unwrap())
}

fn affinity(world: &World, image: &str) -> String {
    let set = world.sets.values().find(|set| {
        let template = set.spec.template.value();
        template.pointer("/spec/containers/0/image") == Some(&json!(image))
    });
    let template = set.unwrap().spec.template.value();
    let affinity = template.pointer("/spec/affinity").cloned();
    affinity.unwrap_or_default().to_string()
}

/// CTL-24, CTL-150: new pods keep off the nodes of stable ones, as long as those are another
/// version; the user's own terms stay.
#[test]
fn new_pods_keep_off_the_nodes_of_stable_ones() {
    let mut world = deployed(
        rollout("web")
            .replicas(4)
            .canary([weight(25), pause()])
            .strategy(|c| {
                c.anti_affinity =
                    rules(json!({ "requiredDuringSchedulingIgnoredDuringExecution": {} }));
            }),
    );
    assert_eq!(affinity(&world, "web:v1"), "null", "nothing to keep off");
    world.advance(60);
    world.set_image("web:v2");
    world.settle();
    expect![[r#"{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{"matchExpressions":[{"key":"rollouts-pod-template-hash","operator":"In","values":["5dfb79b7ff"]}]},"namespaces":["shop"],"topologyKey":"kubernetes.io/hostname"}]}}"#]].assert_eq(&affinity(&world, "web:v2"));
    // Another version comes in between: the term of the second names a version that is not stable
    // any more when its turn comes.
    world.advance(60);
    world.set_image("web:v3");
    world.settle();
    world.promote();
    world.settle();
    assert_eq!(
        affinity(&world, "web:v3"),
        "null",
        "it is stable itself now"
    );
    assert!(affinity(&world, "web:v2").contains(V1));
    world.advance(60);
    world.set_image("web:v2");
    world.settle();
    assert!(!affinity(&world, "web:v2").contains(V1));
    assert!(affinity(&world, "web:v2").contains(&world.now_status().stable_rs));
    let writes = world.writes;
    world.settle();
    assert_eq!(world.writes, writes, "INV-8");
}

/// CTL-150: with a weight, beside the user's own terms, which outlive the promotion.
#[test]
fn own_affinity_stays() {
    let with_affinity = |image: &str| {
        RawPodTemplate::new(&json!({
            "metadata": { "labels": { "app": "web" } },
            "spec": {
                "containers": [{ "name": "web", "image": image }],
                "affinity": { "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        { "weight": 1, "podAffinityTerm": { "topologyKey": "zone" } }
                    ] } },
            },
        }))
    };
    let preferred = json!({ "preferredDuringSchedulingIgnoredDuringExecution": { "weight": 5 } });
    let mut world = deployed(
        rollout("web")
            .replicas(2)
            .blue_green("active", "")
            .with(|r| {
                r.spec.template = with_affinity("web:v1");
                let spec = r.spec.strategy.blue_green.as_mut().unwrap();
                spec.anti_affinity = rules(preferred);
                spec.auto_promotion_enabled = Some(false);
            }),
    );
    let own = affinity(&world, "web:v1");
    world.edit(|r| r.spec.template = with_affinity("web:v2"));
    world.settle();
    expect![[r#"{"podAntiAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"podAffinityTerm":{"topologyKey":"zone"},"weight":1},{"podAffinityTerm":{"labelSelector":{"matchExpressions":[{"key":"rollouts-pod-template-hash","operator":"In","values":["6c6b6856f9"]}]},"namespaces":["shop"],"topologyKey":"kubernetes.io/hostname"},"weight":5}]}}"#]].assert_eq(&affinity(&world, "web:v2"));
    world.promote();
    world.settle();
    assert_eq!(affinity(&world, "web:v2"), own);
    assert_eq!(
        world.sets.len(),
        2,
        "the term is no part of the version (CTL-20)"
    );
}

fn metadata(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Option<PodTemplateMetadata> {
    let map = |entries: &[(&str, &str)]| -> BTreeMap<String, String> {
        let owned = entries
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        owned.collect()
    };
    Some(PodTemplateMetadata {
        labels: map(labels),
        annotations: map(annotations),
    })
}

/// What each ReplicaSet records and carries, and its pods carry, the hash left out.
fn carried(world: &World) -> String {
    let mut lines = Vec::new();
    let plain = |map: &BTreeMap<String, String>| {
        let mut map = map.clone();
        map.remove("rollouts-pod-template-hash");
        format!("{map:?}")
    };
    for (name, set) in &world.sets {
        let record = set.annotation("rollout.argoproj.io/ephemeral-metadata");
        let template = set.spec.template.metadata();
        lines.push(format!(
            "{name} {} {} {}",
            record.unwrap_or("-"),
            plain(&template.labels),
            plain(&template.annotations)
        ));
        let mut pods: Vec<String> = world
            .pods
            .values()
            .filter(|pod| set.metadata.uid.as_ref() == Some(&pod.owner))
            .map(|pod| format!("  pod {} {}", plain(&pod.labels), plain(&pod.annotations)))
            .collect();
        pods.dedup();
        lines.extend(pods);
    }
    lines.join("\n")
}

/// CTL-148: blue-green; only what was recorded goes, foreign entries stay.
#[test]
fn metadata_of_preview_and_active() {
    let mut world = deployed(
        rollout("web")
            .replicas(2)
            .blue_green("active", "preview")
            .with(|r| {
                let spec = r.spec.strategy.blue_green.as_mut().unwrap();
                spec.auto_promotion_enabled = Some(false);
                spec.active_metadata = metadata(&[("role", "active")], &[]);
                spec.preview_metadata = metadata(&[("role", "preview")], &[("trial", "yes")]);
            }),
    );
    expect![[r#"
        web-5dfb79b7ff {"labels":{"role":"active"}} {"app": "web", "role": "active"} {}
          pod {"app": "web", "role": "active"} {}"#]]
    .assert_eq(&carried(&world));
    world.set_image("web:v2");
    world.settle();
    for pod in world.pods.values_mut() {
        pod.labels.insert("foreign".to_owned(), "kept".to_owned());
    }
    expect![[r#"
        web-5dfb79b7ff {"labels":{"role":"active"}} {"app": "web", "role": "active"} {}
          pod {"app": "web", "foreign": "kept", "role": "active"} {}
        web-84c5f745db {"labels":{"role":"preview"},"annotations":{"trial":"yes"}} {"app": "web", "role": "preview"} {"trial": "yes"}
          pod {"app": "web", "foreign": "kept", "role": "preview"} {"trial": "yes"}"#]].assert_eq(&carried(&world));
    world.promote();
    world.settle();
    expect![[r#"
        web-5dfb79b7ff - {"app": "web"} {}
          pod {"app": "web", "foreign": "kept"} {}
        web-84c5f745db {"labels":{"role":"active"}} {"app": "web", "role": "active"} {}
          pod {"app": "web", "foreign": "kept", "role": "active"} {}"#]]
    .assert_eq(&carried(&world));
    world.advance(31);
    world.settle();
    expect![[r#"
        web-5dfb79b7ff - {"app": "web"} {}
        web-84c5f745db {"labels":{"role":"active"}} {"app": "web", "role": "active"} {}
          pod {"app": "web", "foreign": "kept", "role": "active"} {}"#]]
    .assert_eq(&carried(&world));
}

/// CTL-148: edited metadata reaches live pods without a new revision; emptied, it leaves no trace.
#[test]
fn metadata_is_edited_on_live_pods() {
    let mut world = deployed(
        rollout("web")
            .replicas(2)
            .canary([weight(50), pause()])
            .strategy(|c| {
                c.stable_metadata =
                    metadata(&[("role", "stable"), ("tier", "a")], &[("note", "1")]);
            }),
    );
    world.edit(|r| {
        let canary = r.spec.strategy.canary.as_mut().unwrap();
        canary.stable_metadata = metadata(&[("role", "old")], &[]);
    });
    world.settle();
    expect![[r#"
        web-5dfb79b7ff {"labels":{"role":"old"}} {"app": "web", "role": "old"} {}
          pod {"app": "web", "role": "old"} {}"#]]
    .assert_eq(&carried(&world));
    world.edit(|r| {
        let canary = r.spec.strategy.canary.as_mut().unwrap();
        canary.stable_metadata = metadata(&[], &[]);
    });
    world.settle();
    expect![[r#"
        web-5dfb79b7ff - {"app": "web"} {}
          pod {"app": "web"} {}"#]]
    .assert_eq(&carried(&world));
    assert_eq!(world.sets.len(), 1);
    assert_eq!(world.now_status().current_pod_hash, V1);
}

/// CTL-148: a pod that is going, or that somebody labelled the same by hand, is no work.
#[test]
fn pods_that_go_are_left_alone() {
    let mut world = deployed(
        rollout("web")
            .replicas(2)
            .canary([weight(50), pause()])
            .strategy(|c| c.stable_metadata = metadata(&[("role", "stable")], &[])),
    );
    for pod in world.pods.values_mut() {
        pod.labels.remove("role");
        pod.terminating = true;
    }
    let mut seen = world.observe();
    seen.pods = Some(world.pods.values().cloned().collect());
    let plan = crate::decide::decide(&seen, world.now);
    assert!(plan.actions.is_empty());
    for pod in seen.pods.as_mut().unwrap() {
        pod.terminating = false;
    }
    let plan = crate::decide::decide(&seen, world.now);
    assert_eq!(plan.actions.len(), 2);
}
