//! Blue-green.

use expect_test::expect;

use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::rollout::{BlueGreenStrategy, RollbackWindowSpec};

use super::{deployed, traced};
use crate::observed::Seen;
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, at, rollout};

fn manual() -> RolloutBuilder {
    rollout("web")
        .replicas(3)
        .blue_green("active", "preview")
        .with(|r| {
            let spec = r.spec.strategy.blue_green.as_mut().unwrap();
            spec.auto_promotion_enabled = Some(false);
            spec.preview_replica_count = Some(2);
        })
}

/// CTL-122
#[test]
fn promoted_by_hand() {
    let mut world = World::new(manual());
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-5dfb79b7ff (revision 1)
        ScalingReplicaSet Scaled up ReplicaSet web-5dfb79b7ff (revision 1) from 0 to 3
        RolloutUpdated Rollout updated to revision 1
        SwitchService Switched selector for service 'preview' from '' to '5dfb79b7ff'
        RolloutCompleted Rollout completed update to revision 1 (5dfb79b7ff): Initial deploy
        SwitchService Switched selector for service 'active' from '' to '5dfb79b7ff'
        step - pods 3/0 Healthy"#]]
    .assert_eq(&traced(&mut world));
    world.set_image("web:v2");
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-84c5f745db (revision 2)
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 2
        RolloutUpdated Rollout updated to revision 2
        SwitchService Switched selector for service 'preview' from '5dfb79b7ff' to '84c5f745db'
        RolloutNotCompleted Rollout not completed, started update to revision 2 (84c5f745db)
        RolloutPaused Rollout is paused (BlueGreenPause)
        step - pods 2/3 Paused: BlueGreenPause
        waits: NeedsPromotion Rollout/web the new version is ready, the active service switches when promoted"#]].assert_eq(&traced(&mut world));
    world.promote();
    expect![[r#"
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 2 to 3
        SwitchService Switched selector for service 'active' from '5dfb79b7ff' to '84c5f745db'
        RolloutCompleted Rollout completed update to revision 2 (84c5f745db): Completed blue-green update
        step - pods 3/0+3 Healthy
        waits: ScaleDownDelay ReplicaSet/web-5dfb79b7ff is kept for its scale-down delay"#]].assert_eq(&traced(&mut world));
    world.advance(31);
    expect![[r#"
        ScalingReplicaSet Scaled down ReplicaSet web-5dfb79b7ff (revision 1) from 3 to 0
        step - pods 3/0 Healthy"#]]
    .assert_eq(&traced(&mut world));
}

/// CTL-68, CTL-114
#[test]
fn aborted_and_promoted_in_full() {
    let mut world = deployed(manual());
    world.set_image("web:v2");
    world.settle();
    world.told();
    world.abort();
    expect![[r#"
        RolloutAborted Rollout aborted update to revision 2
        step - pods 2/3 Degraded: RolloutAborted: Rollout aborted update to revision 2
        waits: ScaleDownDelay ReplicaSet/web-84c5f745db is kept up after the abort
        waits: Aborted Rollout/web the update to revision 2 is aborted"#]]
    .assert_eq(&traced(&mut world));
    world.advance(31);
    expect![[r#"
        ScalingReplicaSet Scaled down ReplicaSet web-84c5f745db (revision 2) from 2 to 0
        step - pods 0/3 Degraded: RolloutAborted: Rollout aborted update to revision 2
        waits: Aborted Rollout/web the update to revision 2 is aborted"#]]
    .assert_eq(&traced(&mut world));
    world.retry();
    expect![[r#"
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 0 to 2
        RolloutPaused Rollout is paused (BlueGreenPause)
        step - pods 2/3 Paused: BlueGreenPause
        waits: NeedsPromotion Rollout/web the new version is ready, the active service switches when promoted"#]].assert_eq(&traced(&mut world));
    world.promote_full();
    expect![[r#"
        ScalingReplicaSet Scaled up ReplicaSet web-84c5f745db (revision 2) from 2 to 3
        RolloutResumed Rollout is resumed
        SwitchService Switched selector for service 'active' from '5dfb79b7ff' to '84c5f745db'
        RolloutCompleted Rollout completed update to revision 2 (84c5f745db): Full promotion requested
        step - pods 3/0+3 Healthy
        waits: ScaleDownDelay ReplicaSet/web-5dfb79b7ff is kept for its scale-down delay"#]].assert_eq(&traced(&mut world));
}

fn plain() -> RolloutBuilder {
    rollout("web").replicas(3).blue_green("active", "preview")
}

fn strategy(
    rollout: RolloutBuilder,
    change: impl FnOnce(&mut BlueGreenStrategy),
) -> RolloutBuilder {
    rollout.with(|r| change(r.spec.strategy.blue_green.as_mut().unwrap()))
}

/// Hashes behind the active and the preview Service.
fn selected(world: &World) -> (String, String) {
    let of = |name: &str| world.services[name].pod_hash().to_owned();
    (of("active"), of("preview"))
}

/// CTL-115, CTL-116, CTL-160: promoted by itself strictly after its time, or earlier by hand.
#[test]
fn promoted_by_the_clock() {
    let timed = || strategy(plain(), |spec| spec.auto_promotion_seconds = 20);
    let mut world = deployed(timed());
    world.set_image("web:v2");
    let plan = world.settle();
    assert_eq!(world.line(), "step - pods 3/3 Paused: BlueGreenPause");
    assert!(plan.wake > Some(at(20)) && plan.wake < Some(at(21)));
    world.after(20);
    assert_eq!(
        world.now_status().phase.as_str(),
        "Paused",
        "not at the moment itself"
    );
    world.after(1);
    assert_eq!(world.line(), "step - pods 3/0+3 Healthy");
    assert!(!world.now_status().controller_pause);

    let mut world = deployed(timed());
    world.set_image("web:v2");
    world.settle();
    world.advance(5);
    world.promote();
    world.settle();
    assert_eq!(world.line(), "step - pods 3/0+3 Healthy");
}

/// CTL-113, CTL-117, CTL-118: the preview is switched at once, the active Service not before every
/// pod is there; without a pause nothing else is waited for.
#[test]
fn active_waits_for_all_pods() {
    let mut world = deployed(plain());
    let (v1, _) = selected(&world);
    world.advance(10);
    world.startup = 10;
    world.set_image("web:v2");
    world.settle();
    let v2 = world.now_status().current_pod_hash;
    assert_eq!(selected(&world), (v1.clone(), v2.clone()));
    for set in world
        .sets
        .values_mut()
        .filter(|set| set.pod_hash() == Some(&v2))
    {
        set.status.get_or_insert_default().available_replicas = 2;
    }
    world.step();
    assert_eq!(selected(&world).0, v1, "two of three");
    world.after(11);
    assert_eq!(selected(&world), (v2.clone(), v2));
    assert_eq!(world.now_status().phase.as_str(), "Healthy");
}

/// CTL-117, CTL-138: `spec.paused` holds both Services, not the sizes.
#[test]
fn paused_by_hand() {
    let mut world = deployed(plain());
    let (v1, _) = selected(&world);
    world.edit(|r| r.spec.paused = true);
    world.set_image("web:v2");
    world.settle();
    assert_eq!(selected(&world), (v1.clone(), v1));
    expect!["step - pods 3/3 Paused: manually paused"].assert_eq(&world.line());
    world.edit(|r| r.spec.paused = false);
    world.settle();
    assert_eq!(world.line(), "step - pods 3/0+3 Healthy");
}

/// CTL-111, CTL-112: with `previewReplicaCount` all pods come after the pause, and stay asked for
/// when one of them is lost; a new template starts over with the preview.
#[test]
fn the_checkpoint_is_kept() {
    let mut world = deployed(manual());
    world.set_image("web:v2");
    world.settle();
    assert!(!world.now_status().blue_green.scale_up_preview_check_point);
    world.advance(10);
    world.startup = 10;
    world.promote();
    world.settle();
    assert_eq!(world.size_text(), "3/3");
    assert!(world.now_status().blue_green.scale_up_preview_check_point);
    world.set_image("web:v3");
    world.settle();
    assert_eq!(
        world.size_text(),
        "2/3+3",
        "the one before is released with its delay"
    );
    assert!(!world.now_status().blue_green.scale_up_preview_check_point);
    world.after(31);
    assert_eq!(world.line(), "step - pods 2/3 Paused: BlueGreenPause");
}

/// CTL-94, CTL-114: back to a version within its scale-down delay there is neither pause nor wait.
#[test]
fn back_within_the_delay_is_fast() {
    let mut world = deployed(strategy(plain(), |spec| {
        spec.auto_promotion_enabled = Some(false);
    }));
    world.advance(60);
    world.set_image("web:v2");
    world.settle();
    world.promote();
    world.settle();
    world.told();
    world.advance(10);
    world.set_image("web:v1");
    expect![[r#"
        RolloutUpdated Rollout updated to revision 3
        SwitchService Switched selector for service 'preview' from '84c5f745db' to '5dfb79b7ff'
        SwitchService Switched selector for service 'active' from '84c5f745db' to '5dfb79b7ff'
        RolloutNotCompleted Rollout not completed, started update to revision 3 (5dfb79b7ff)
        RolloutCompleted Rollout completed update to revision 3 (5dfb79b7ff): Fast rollback
        step - pods 3/0+3 Healthy
        waits: ScaleDownDelay ReplicaSet/web-84c5f745db is kept for its scale-down delay"#]]
    .assert_eq(&traced(&mut world));
    // After the delay it is an update like any other.
    world.after(60);
    world.set_image("web:v2");
    world.settle();
    assert_eq!(world.line(), "step - pods 3/3 Paused: BlueGreenPause");
}

/// CTL-117, CTL-122, SE-5: aborted after the switch, the active Service goes back; the new version
/// is kept for the delay from then on.
#[test]
fn aborted_after_the_switch() {
    let mut world = deployed(strategy(plain(), |spec| {
        let analysis = serde_json::json!({ "templates": [{ "templateName": "errors" }] });
        spec.post_promotion_analysis = Some(serde_json::from_value(analysis).unwrap());
    }));
    let (v1, _) = selected(&world);
    world.set_image("web:v2");
    world.settle();
    assert_ne!(selected(&world).0, v1);
    world.told();
    world.broken.insert("web:v2".to_owned());
    world.abort();
    expect![[r#"
        SwitchService Switched selector for service 'active' from '84c5f745db' to '5dfb79b7ff'
        RolloutAborted Rollout aborted update to revision 2
        step - pods 3/3 Degraded: RolloutAborted: Rollout aborted update to revision 2
        waits: ScaleDownDelay ReplicaSet/web-84c5f745db is kept up after the abort
        waits: Aborted Rollout/web the update to revision 2 is aborted"#]]
    .assert_eq(&traced(&mut world));
    assert_eq!(selected(&world).0, v1);
    world.after(31);
    assert_eq!(world.size_text(), "0/3");
}

/// CTL-110: while the promotion is still being proved, old versions stay, unless the delay is the
/// user's own.
#[test]
fn old_versions_stay_until_proved() {
    let sizes = |delay: Option<i32>| {
        let mut world = deployed(strategy(plain(), |spec| {
            let analysis = serde_json::json!({ "templates": [{ "templateName": "errors" }] });
            spec.post_promotion_analysis = Some(serde_json::from_value(analysis).unwrap());
            spec.scale_down_delay_seconds = delay;
        }));
        world.set_image("web:v2");
        world.settle();
        world.set_image("web:v3");
        world.settle();
        let before = world.size_text();
        world.after(100);
        let during = world.size_text();
        for run in world.runs.keys().cloned().collect::<Vec<_>>() {
            world.end_run(&run, AnalysisPhase::Successful, "");
        }
        world.settle();
        world.after(100);
        format!("{before} {during} {}", world.size_text())
    };
    assert_eq!(sizes(None), "3/3+3 3/3+3 3/0");
    assert_eq!(sizes(Some(30)), "3/3+3 3/3 3/0");
}

/// CTL-120, SE-7: an active Service that lost its hash gets the stable one back, not the new one.
#[test]
fn a_lost_selector_is_restored() {
    let mut world = deployed(strategy(plain(), |spec| {
        spec.auto_promotion_enabled = Some(false);
    }));
    let (v1, _) = selected(&world);
    world.set_image("web:v2");
    world.settle();
    world.services.get_mut("active").unwrap().selector.clear();
    world.settle();
    assert_eq!(selected(&world).0, v1);
    assert_eq!(world.line(), "step - pods 3/3 Paused: BlueGreenPause");
}

/// CTL-152, CTL-151: a Service that is right but unmarked is marked, without an event.
#[test]
fn an_unmarked_service_is_marked() {
    let mut world = deployed(plain());
    world.services.get_mut("active").unwrap().managed_by = None;
    let plan = world.step();
    let actions: Vec<String> = plan
        .actions
        .iter()
        .map(|p| format!("{:?}", p.action))
        .collect();
    expect![[r#"PatchService { name: "active", patch: Object {"metadata": Object {"annotations": Object {"argo-rollouts.argoproj.io/managed-by-rollouts": String("web")}}} }"#]].assert_eq(&actions.join("\n"));
    assert!(plan.actions[0].events.is_empty());
    assert_eq!(world.services["active"].managed_by.as_deref(), Some("web"));
}

/// CTL-94, CTL-120: within the window a version that is down already comes back without pause too.
#[test]
fn back_within_the_window_is_fast() {
    let mut world = deployed(
        strategy(plain(), |spec| spec.auto_promotion_enabled = Some(false))
            .with(|r| r.spec.rollback_window = Some(RollbackWindowSpec { revisions: 1 })),
    );
    world.advance(60);
    world.set_image("web:v2");
    world.settle();
    world.promote();
    world.settle();
    world.after(60);
    assert_eq!(world.size_text(), "3/0", "the delay is over");
    world.told();
    world.set_image("web:v1");
    let told = traced(&mut world);
    assert!(told.contains("Rollback within window"), "{told}");
    assert_eq!(world.line(), "step - pods 3/0+3 Healthy");
}

/// CTL-69, INV-3: an active Service that cannot be read may still lead to the aborted version.
#[test]
fn an_unread_service_keeps_the_aborted_version() {
    let mut world = deployed(plain());
    world.startup = 0;
    world.broken.insert("web:v2".to_owned());
    world.set_image("web:v2");
    world.settle();
    world.abort();
    let mut seen = world.observe();
    let unread = Seen::Unread("timeout".to_owned());
    seen.services.insert("active".to_owned(), unread);
    let deadlines = |plan: &crate::plan::Plan| {
        let text = format!("{:?}", plan.actions);
        text.contains("scale-down-deadline")
    };
    assert!(!deadlines(&crate::decide::decide(&seen, world.now)));
    let plan = crate::decide::decide(&world.observe(), world.now);
    assert!(deadlines(&plan), "{plan:?}");
}

fn analysed(spec: &mut BlueGreenStrategy) {
    let analysis = serde_json::json!({ "templates": [{ "templateName": "errors" }] });
    spec.pre_promotion_analysis = Some(serde_json::from_value(analysis.clone()).unwrap());
    spec.post_promotion_analysis = Some(serde_json::from_value(analysis).unwrap());
}

/// CTL-12, CTL-119, CTL-120, CTL-122: preview, analysis, switch, analysis, promotion, in this order.
#[test]
fn analyses_stand_before_and_after_the_switch() {
    let mut world = deployed(strategy(plain(), analysed));
    assert!(world.runs.is_empty(), "the first deploy is not measured");
    let (v1, _) = selected(&world);
    world.advance(10);
    world.startup = 10;
    world.set_image("web:v2");
    world.settle();
    assert!(world.runs.is_empty(), "not before all pods are there");
    world.after(11);
    let v2 = world.now_status().current_pod_hash;
    assert_eq!(world.runs.len(), 1);
    assert_eq!(selected(&world), (v1.clone(), v2.clone()));
    let pre = world.runs.keys().next().unwrap().clone();
    world.end_run(&pre, AnalysisPhase::Successful, "");
    world.settle();
    assert_eq!(world.runs.len(), 2);
    assert_eq!(selected(&world).0, v2);
    assert_eq!(world.now_status().stable_rs, v1, "not before it is proved");
    let post = world
        .runs
        .keys()
        .find(|name| **name != pre)
        .unwrap()
        .clone();
    world.end_run(&post, AnalysisPhase::Successful, "");
    world.settle();
    assert_eq!(world.now_status().stable_rs, v2);
    assert_eq!(world.line(), "step - pods 3/0+3 Healthy");
}

/// CTL-119, CTL-139: either analysis may abort, and says which it was; inconclusive, it pauses.
#[test]
fn analyses_may_abort() {
    let ended = |phases: &[AnalysisPhase]| {
        let mut world = deployed(strategy(plain(), analysed));
        let (v1, _) = selected(&world);
        world.set_image("web:v2");
        world.settle();
        let mut known = Vec::new();
        for phase in phases {
            let run = world
                .runs
                .keys()
                .find(|name| !known.contains(*name))
                .unwrap()
                .clone();
            world.end_run(&run, phase.clone(), "too many");
            known.push(run);
            world.settle();
        }
        let back = selected(&world).0 == v1;
        format!("{} on stable: {back}", world.now_status().message)
    };
    use AnalysisPhase::{Failed, Inconclusive, Successful};
    expect!["RolloutAborted: Rollout aborted update to revision 2: Blue/green pre-promotion analysis phase error/failed: too many on stable: true"].assert_eq(&ended(&[Failed]));
    expect!["RolloutAborted: Rollout aborted update to revision 2: Blue/green post-promotion analysis phase error/failed: too many on stable: true"].assert_eq(&ended(&[Successful, Failed]));
    expect!["InconclusiveAnalysisRun on stable: true"].assert_eq(&ended(&[Inconclusive]));
}
