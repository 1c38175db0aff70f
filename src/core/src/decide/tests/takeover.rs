//! Rollouts whose pod template comes from a Deployment, ReplicaSet or PodTemplate.

use sluice_crds::rollout::ObjectRef;
use sluice_crds::{LabelSelector, RawPodTemplate, keys};

use super::cluster;
use crate::observed::{Workload, WorkloadView};
use crate::plan::Action;
use crate::testing::world::World;
use crate::testing::{pause, rollout, template, weight};

fn referring(kind: &str, scale_down: &str) -> World {
    let mut world = cluster(
        rollout("web")
            .replicas(4)
            .canary([weight(25), pause()])
            .with(|r| {
                r.spec.template = RawPodTemplate::default();
                r.spec.selector = None;
                r.spec.workload_ref = Some(ObjectRef {
                    api_version: "apps/v1".to_owned(),
                    kind: kind.to_owned(),
                    name: "web".to_owned(),
                    scale_down: scale_down.to_owned(),
                });
            }),
    );
    set_workload(&mut world, "web:v1", 1);
    world
}

fn set_workload(world: &mut World, image: &str, generation: i64) {
    let replicas = replicas(world).or(Some(4));
    world.workload = Workload::Found(WorkloadView {
        template: template("web", image),
        selector: Some(LabelSelector::by_labels([("app", "web")])),
        generation: Some(generation),
        replicas,
    });
}

fn replicas(world: &World) -> Option<i32> {
    match &world.workload {
        Workload::Found(found) => found.replicas,
        _ => None,
    }
}

fn annotation(world: &World) -> Option<&str> {
    let annotations = world.rollout.metadata.annotations.as_ref()?;
    annotations
        .get(keys::WORKLOAD_GENERATION)
        .map(String::as_str)
}

/// CTL-24, CTL-144: the generation of the workload is written to the Rollout, copied to the new
/// ReplicaSet alone, and shown as observed; the Rollout's own generation does not move.
#[test]
fn the_generation_of_the_workload_is_followed() {
    let mut world = referring("Deployment", "never");
    world.settle();
    assert_eq!(annotation(&world), Some("1"));
    assert_eq!(world.now_status().workload_observed_generation, "1");
    assert_eq!(world.rollout.metadata.generation, Some(1));
    set_workload(&mut world, "web:v2", 2);
    let plan = world.step();
    let patches = plan
        .actions
        .iter()
        .filter(|p| matches!(p.action, Action::PatchRollout { .. }));
    assert_eq!(patches.count(), 1, "revision and generation in one write");
    world.settle();
    assert_eq!(annotation(&world), Some("2"));
    assert_eq!(world.now_status().workload_observed_generation, "2");
    let copies: Vec<_> = world
        .sets
        .values()
        .map(|set| {
            let of = |key| set.annotation(key).unwrap_or("-").to_owned();
            (of(keys::REVISION), of(keys::WORKLOAD_GENERATION))
        })
        .collect();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(copies, [pair("1", "1"), pair("2", "2")]);
    // Without a change of the template there is no new revision.
    set_workload(&mut world, "web:v2", 3);
    world.settle();
    assert_eq!(annotation(&world), Some("3"));
    assert_eq!(world.sets.len(), 2);
    let writes = world.writes;
    world.settle();
    assert_eq!(world.writes, writes, "INV-8");
}

/// CTL-144: what the reference left behind goes with the next revision.
#[test]
fn without_reference_the_generation_goes() {
    let mut world = referring("Deployment", "never");
    world.settle();
    world.edit(|r| {
        r.spec.workload_ref = None;
        r.spec.selector = Some(LabelSelector::by_labels([("app", "web")]));
        r.spec.template = template("web", "web:v1");
    });
    world.workload = Workload::NotReferenced;
    world.settle();
    assert_eq!(world.now_status().workload_observed_generation, "");
    assert_eq!(world.sets.len(), 1, "the same template, the same version");
    world.set_image("web:v2");
    world.settle();
    assert_eq!(annotation(&world), None);
}

/// CTL-145, CTL-146: nothing is written to a workload that is to stay, or that is no Deployment.
#[test]
fn workloads_that_stay() {
    for (kind, mode) in [
        ("Deployment", "never"),
        ("Deployment", ""),
        ("Deployment", "OnSuccess"),
        ("ReplicaSet", "onsuccess"),
        ("PodTemplate", "progressively"),
    ] {
        let mut world = referring(kind, mode);
        world.settle();
        assert_eq!(world.now_status().phase.as_str(), "Healthy");
        assert_eq!(replicas(&world), Some(4), "{kind} {mode}");
    }
}

/// CTL-146: after the first revision is Healthy, not before; later the size is the user's.
#[test]
fn on_success() {
    let mut world = referring("Deployment", "onsuccess");
    world.startup = 10;
    world.settle();
    assert_eq!(replicas(&world), Some(4), "pods are not ready yet");
    world.advance(11);
    world.play();
    let plan = world.step();
    assert_eq!(world.now_status().phase.as_str(), "Healthy");
    let scaled = |plan: &crate::plan::Plan| {
        plan.actions
            .iter()
            .any(|p| matches!(p.action, Action::ScaleWorkload { .. }))
    };
    assert!(!scaled(&plan), "one pass after Healthy was written");
    assert!(scaled(&world.step()));
    assert_eq!(replicas(&world), Some(0));
    set_workload(&mut world, "web:v2", 2);
    world.settle();
    world.promote();
    world.settle();
    if let Workload::Found(found) = &mut world.workload {
        found.replicas = Some(3);
    }
    world.settle();
    assert_eq!(
        replicas(&world),
        Some(3),
        "a later revision leaves it alone"
    );
}

/// CTL-146: as ready pods appear, the Deployment gives up as many.
#[test]
fn progressively() {
    let mut world = referring("Deployment", "progressively");
    world.startup = 1000;
    world.settle();
    assert_eq!(replicas(&world), Some(4));
    let mut sizes = Vec::new();
    for ready in 1..=4 {
        for set in world.sets.values_mut() {
            let status = set.status.get_or_insert_default();
            (status.ready_replicas, status.available_replicas) = (ready, ready);
        }
        world.step();
        world.step();
        sizes.push(replicas(&world).unwrap());
    }
    assert_eq!(sizes, [3, 2, 1, 0]);
    // Healthy with its first revision, the Rollout has taken over for good.
    let mut world = referring("Deployment", "progressively");
    world.settle();
    assert_eq!(world.now_status().phase.as_str(), "Healthy");
    if let Workload::Found(found) = &mut world.workload {
        found.replicas = Some(2);
    }
    world.settle();
    assert_eq!(replicas(&world), Some(0));
    if let Workload::Found(found) = &mut world.workload {
        found.replicas = None;
    }
    let plan = world.step();
    assert!(
        plan.actions.is_empty(),
        "a workload without a size is not sized"
    );
}

/// CTL-146, INV-4: pods that the status still counts, and that are gone, are no reason to scale down.
#[test]
fn what_is_gone_is_not_counted() {
    let mut world = referring("Deployment", "progressively");
    world.startup = 1000;
    world.settle();
    world.status(|status| status.ready_replicas = 4);
    world.step();
    assert_eq!(replicas(&world), Some(4), "{}", world.line());
    for set in world.sets.values_mut() {
        let status = set.status.get_or_insert_default();
        (status.ready_replicas, status.available_replicas) = (2, 2);
    }
    world.status(|status| status.ready_replicas = 4);
    world.step();
    assert_eq!(replicas(&world), Some(2), "{}", world.line());
}

/// SE-26: a first revision that never became healthy does not keep the Deployment for ever; after
/// the first health its size is the user's.
#[test]
fn a_later_revision_takes_over() {
    for mode in ["onsuccess", "progressively"] {
        let mut world = referring("Deployment", mode);
        world.broken.insert("web:v1".to_owned());
        world.settle();
        set_workload(&mut world, "web:v2", 2);
        world.settle();
        assert_eq!(world.now_status().phase.as_str(), "Paused", "{mode}");
        world.promote();
        world.settle();
        assert_eq!(world.now_status().phase.as_str(), "Healthy", "{mode}");
        assert_eq!(replicas(&world), Some(0), "{mode}");
        if let Workload::Found(found) = &mut world.workload {
            found.replicas = Some(3);
        }
        world.settle();
        assert_eq!(replicas(&world), Some(3), "{mode}");
    }
}

/// CTL-5, CTL-160: a reference that cannot be used is looked at again after 20 seconds.
#[test]
fn an_unusable_reference_is_retried() {
    let mut world = referring("Deployment", "never");
    world.workload = Workload::Unusable("no".to_owned());
    let plan = world.step();
    assert_eq!(plan.wake, Some(crate::testing::at(20)));
    let conditions = &plan.status.unwrap().conditions;
    assert_eq!(conditions[0].message, "The Rollout \"web\" is invalid: no");
    set_workload(&mut world, "web:v1", 1);
    world.settle();
    assert_eq!(world.now_status().phase.as_str(), "Healthy");
}
