//! Waits that end when a person acts, or by a time that a person set.

use expect_test::expect;
use serde_json::json;
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::rollout::{CanaryStep, RolloutPhase};

use super::stage::{command_moves, cured, ends_by_itself, updating};
use super::{check, stage};
use crate::decide::tests::deployed;
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, analysis, pause, pause_for, rollout, weight};

const ME: &str = "Rollout/web";

fn canary(steps: impl IntoIterator<Item = CanaryStep>) -> RolloutBuilder {
    rollout("web").replicas(2).canary(steps)
}

fn blue_green(change: impl FnOnce(&mut sluice_crds::rollout::BlueGreenStrategy)) -> RolloutBuilder {
    let built = rollout("web").replicas(2).blue_green("active", "preview");
    built.with(|r| change(r.spec.strategy.blue_green.as_mut().unwrap()))
}

fn half_way(built: RolloutBuilder) -> World {
    let mut world = deployed(built);
    updating(&mut world);
    world.advance(90);
    world
}

fn analysed() -> Box<sluice_crds::rollout::RolloutAnalysis> {
    serde_json::from_value(json!({ "templates": [{ "templateName": "errors" }] })).unwrap()
}

/// CTL-90: a pause without an end.
#[test]
fn a_step_without_an_end() {
    let world = half_way(canary([weight(50), pause(), weight(80)]));
    check(
        &world,
        expect![[r#"
        Waiting: web waits for a person to decide.
        waits: NeedsPromotion Rollout/web: step 2/3 pauses until the rollout is promoted; since -90 s
          $ kubectl argo rollouts promote web -n shop
        then: step 3/3, setWeight: 80
        give up: kubectl argo rollouts abort web -n shop"#]],
    );
    command_moves(&world, "NeedsPromotion", ME);
}

/// CTL-90, CTL-160: a pause with an end ends by itself, or sooner by a command.
#[test]
fn a_step_with_an_end() {
    let world = half_way(canary([weight(50), pause_for(3600)]));
    check(
        &world,
        expect![[r#"
        Waiting: web waits for a timed pause to end.
        waits: Paused Rollout/web: step 2/2 pauses for 3600 s; since -90 s; until +3510 s
          $ kubectl argo rollouts promote web -n shop
        then: the new version gets everything and becomes the stable one
        give up: kubectl argo rollouts abort web -n shop"#]],
    );
    ends_by_itself(&world, "Paused", ME);
    command_moves(&world, "Paused", ME);
}

/// CTL-138: `spec.paused` during a step that would go on by itself. The command lifts it and skips
/// the step, so it is said how to do the one without the other.
#[test]
fn held_during_a_step() {
    let mut world = half_way(canary([weight(50), analysis("errors"), pause()]));
    world.edit(|r| r.spec.paused = true);
    world.settle();
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for a person to lift spec.paused.
            waits: ManuallyPaused Rollout/web: spec.paused is set: nothing goes on before it is lifted; since -30 s
              $ kubectl patch rollout web -n shop --type merge -p '{"spec":{"paused":false}}'
              ! where the manifest is kept, set spec.paused to false there, too; promote lifts it as well, but also ends the current step
            waits: AnalysisRunning AnalysisRun/web-84c5f745db-2-1: has not ended yet
              $ kubectl argo rollouts promote web -n shop
              errors: not measured yet; 0 of 1 measured; 0 failed, 0 tolerated
            then: the update goes on where it was
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    command_moves(&world, "ManuallyPaused", ME);
    cured(&world, "ManuallyPaused", ME, |world| {
        world.edit(|r| r.spec.paused = false);
    });
}

/// CTL-138: `spec.paused` before a step that would make the canary.
#[test]
fn held_from_the_start() {
    let mut world = deployed(canary([weight(50), pause()]));
    world.edit(|r| r.spec.paused = true);
    updating(&mut world);
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for a person to lift spec.paused.
            waits: ManuallyPaused Rollout/web: spec.paused is set: nothing goes on before it is lifted; since -30 s
              $ kubectl patch rollout web -n shop --type merge -p '{"spec":{"paused":false}}'
              ! where the manifest is kept, set spec.paused to false there, too; promote lifts it as well, but also ends the current step
            then: the update goes on where it was
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    command_moves(&world, "ManuallyPaused", ME);
}

/// CTL-138: `spec.paused` of a Rollout that has nothing to do.
#[test]
fn held_at_rest() {
    let mut said = Vec::new();
    for built in [canary([weight(50), pause()]), blue_green(|_| ())] {
        let mut world = deployed(built);
        world.edit(|r| r.spec.paused = true);
        world.settle();
        world.after(30);
        said.push(stage::said(&world));
        command_moves(&world, "ManuallyPaused", ME);
    }
    expect![[r#"
        Waiting: web waits for a person to lift spec.paused.
        waits: ManuallyPaused Rollout/web: spec.paused is set: nothing goes on before it is lifted; since -30 s
          $ kubectl argo rollouts promote web -n shop
          ! where the manifest is kept, set spec.paused to false there, too

        Waiting: web waits for a person to lift spec.paused.
        waits: ManuallyPaused Rollout/web: spec.paused is set: nothing goes on before it is lifted; since -30 s
          $ kubectl argo rollouts promote web -n shop
          ! where the manifest is kept, set spec.paused to false there, too"#]]
    .assert_eq(&said.join("\n\n"));
}

/// CTL-138: `spec.paused` of a blue-green update.
#[test]
fn held_before_the_switch() {
    let mut world = deployed(blue_green(|_| ()));
    world.edit(|r| r.spec.paused = true);
    updating(&mut world);
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for a person to lift spec.paused.
            waits: ManuallyPaused Rollout/web: spec.paused is set: nothing goes on before it is lifted; since -30 s
              $ kubectl argo rollouts promote web -n shop
              ! where the manifest is kept, set spec.paused to false there, too
            then: the update goes on where it was
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    command_moves(&world, "ManuallyPaused", ME);
}

/// CTL-116: blue-green without automatic promotion.
#[test]
fn a_switch_by_hand() {
    let world = half_way(blue_green(|spec| spec.auto_promotion_enabled = Some(false)));
    check(
        &world,
        expect![[r#"
        Waiting: web waits for a person to decide.
        waits: NeedsPromotion Rollout/web: the new version is ready, the active service switches when promoted; since -90 s
          $ kubectl argo rollouts promote web -n shop
        then: Service active switches to the new version
        give up: kubectl argo rollouts abort web -n shop"#]],
    );
    command_moves(&world, "NeedsPromotion", ME);
}

/// CTL-115: blue-green that promotes itself after a time.
#[test]
fn a_switch_by_time() {
    let world = half_way(blue_green(|spec| spec.auto_promotion_seconds = 300));
    check(
        &world,
        expect![[r#"
            Waiting: web waits for a timed pause to end.
            waits: Paused Rollout/web: the new version is ready, the active service switches after autoPromotionSeconds (300 s); since -90 s; until +210 s
              $ kubectl argo rollouts promote web -n shop
            then: Service active switches to the new version
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    ends_by_itself(&world, "Paused", ME);
    command_moves(&world, "Paused", ME);
}

/// ANA-41: the analysis of a step was inconclusive: the command goes on to the next step.
#[test]
fn an_inconclusive_step() {
    let mut world = half_way(canary([
        weight(50),
        analysis("errors"),
        weight(80),
        pause(),
    ]));
    let run = "web-84c5f745db-2-1";
    world.end_run(run, AnalysisPhase::Inconclusive, "no data");
    world.settle();
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for a person to decide.
            waits: NeedsPromotion AnalysisRun/web-84c5f745db-2-1: was inconclusive, a person has to decide; since -30 s
              $ kubectl argo rollouts promote web -n shop
              no data
              errors: not measured yet; 0 of 1 measured; 0 failed, 0 tolerated
            then: step 3/4, setWeight: 80
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    command_moves(&world, "NeedsPromotion", &format!("AnalysisRun/{run}"));
}

/// ANA-38, ANA-41: a background analysis was inconclusive: the command has it measured anew.
#[test]
fn an_inconclusive_background() {
    let built = canary([weight(50), pause_for(3600), weight(80)]).strategy(|canary| {
        let analysis = json!({ "templates": [{ "templateName": "errors" }] });
        canary.analysis = Some(serde_json::from_value(analysis).unwrap());
    });
    let mut world = half_way(built);
    let run = "web-84c5f745db-2";
    world.end_run(run, AnalysisPhase::Inconclusive, "no data");
    world.settle();
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for a person to decide.
            waits: NeedsPromotion AnalysisRun/web-84c5f745db-2: was inconclusive, a person has to decide; since -30 s
              $ kubectl argo rollouts promote web -n shop
              no data
              errors: not measured yet; 0 of 1 measured; 0 failed, 0 tolerated
            waits: Paused Rollout/web: step 2/3 pauses for 3600 s; since -120 s; until +3480 s
              $ kubectl argo rollouts promote web -n shop
            then: the analysis is made again
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    command_moves(&world, "NeedsPromotion", &format!("AnalysisRun/{run}"));
    ends_by_itself(&world, "Paused", ME);
}

/// ANA-39..41: an analysis of blue-green was inconclusive: the command has it measured anew.
#[test]
fn an_inconclusive_switch() {
    let mut said = Vec::new();
    for before in [true, false] {
        let mut world = half_way(blue_green(|spec| {
            let place = if before {
                &mut spec.pre_promotion_analysis
            } else {
                &mut spec.post_promotion_analysis
            };
            *place = Some(analysed());
        }));
        let run = world.runs.keys().next().unwrap().clone();
        world.end_run(&run, AnalysisPhase::Inconclusive, "no data");
        world.settle();
        world.after(30);
        said.push(stage::said(&world));
        command_moves(&world, "NeedsPromotion", &format!("AnalysisRun/{run}"));
    }
    expect![[r#"
        Waiting: web waits for a person to decide.
        waits: NeedsPromotion AnalysisRun/web-84c5f745db-2-pre: was inconclusive, a person has to decide; since -30 s
          $ kubectl argo rollouts promote web -n shop
          no data
          errors: not measured yet; 0 of 1 measured; 0 failed, 0 tolerated
        then: the analysis is made again
        give up: kubectl argo rollouts abort web -n shop

        Waiting: web waits for a person to decide.
        waits: NeedsPromotion AnalysisRun/web-84c5f745db-2-post: was inconclusive, a person has to decide; since -30 s
          $ kubectl argo rollouts promote web -n shop
          no data
          errors: not measured yet; 0 of 1 measured; 0 failed, 0 tolerated
        then: the analysis is made again
        give up: kubectl argo rollouts abort web -n shop"#]].assert_eq(&said.join("\n\n"));
}

/// EXP-21: an experiment was inconclusive: the command starts another one.
#[test]
fn an_inconclusive_experiment() {
    let step = json!({ "experiment": {
        "templates": [{ "name": "canary", "specRef": "canary" }] } });
    let step = serde_json::from_value(step).unwrap();
    let mut world = half_way(canary([step, pause()]));
    let name = world.experiments.keys().next().unwrap().clone();
    let status = &mut world.experiments.get_mut(&name).unwrap().status;
    let status = status.get_or_insert_default();
    status.phase = AnalysisPhase::Inconclusive;
    status.message = "no data".to_owned();
    world.settle();
    world.after(30);
    check(
        &world,
        expect![[r#"
            Waiting: web waits for a person to decide.
            waits: NeedsPromotion Experiment/web-84c5f745db-2-0: was inconclusive, a person has to decide; since -30 s
              $ kubectl argo rollouts promote web -n shop
              no data
            then: the experiment is made again
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    command_moves(&world, "NeedsPromotion", &format!("Experiment/{name}"));
}

/// CTL-93, CTL-120: aborted by a person, before and after the controller heard of it.
#[test]
fn aborted_by_a_person() {
    let mut said = Vec::new();
    for built in [
        canary([weight(50), pause()]),
        blue_green(|spec| spec.auto_promotion_enabled = Some(false)),
    ] {
        let mut world = half_way(built);
        world.abort();
        world.settle();
        world.after(40);
        said.push(stage::said(&world));
        command_moves(&world, "Aborted", ME);
        cured(&world, "Aborted", ME, |world| world.set_image("web:v3"));
        cured(&world, "Aborted", ME, |world| world.set_image("web:v1"));
    }
    expect![[r#"
        Aborted: The update of web was aborted by a person.
        waits: Aborted Rollout/web: the update to revision 2 is aborted; since -40 s
          $ kubectl argo rollouts retry rollout web -n shop

        Aborted: The update of web was aborted by a person.
        waits: Aborted Rollout/web: the update to revision 2 is aborted; since -40 s
          $ kubectl argo rollouts retry rollout web -n shop"#]]
    .assert_eq(&said.join("\n\n"));
}

/// An abort while `spec.paused` is set: the one that a person has to decide about comes first.
#[test]
fn aborted_while_held() {
    let mut world = half_way(canary([weight(50), pause()]));
    world.edit(|r| r.spec.paused = true);
    world.settle();
    world.abort();
    world.settle();
    world.after(40);
    check(
        &world,
        expect![[r#"
        Aborted: The update of web was aborted by a person.
        waits: Aborted Rollout/web: the update to revision 2 is aborted; since -40 s
          $ kubectl argo rollouts retry rollout web -n shop"#]],
    );
    command_moves(&world, "Aborted", ME);
}

/// CTL-100: aborted because its time was up.
#[test]
fn aborted_by_the_deadline() {
    let mut world = deployed(canary([weight(50), pause()]).with(|r| {
        r.spec.progress_deadline_abort = true;
        r.spec.progress_deadline_seconds = Some(60);
    }));
    world.broken.insert("web:v2".to_owned());
    updating(&mut world);
    world.after(62);
    world.after(30);
    assert_eq!(world.now_status().phase, RolloutPhase::Degraded);
    check(
        &world,
        expect![[r#"
            Aborted: The update of web was aborted: ReplicaSet "web-84c5f745db" has timed out progressing.
            waits: Aborted Rollout/web: the update to revision 2 is aborted; since -30 s
              $ kubectl argo rollouts retry rollout web -n shop"#]],
    );
    command_moves(&world, "Aborted", ME);
}

/// A step that a plugin would carry out.
#[test]
fn a_plugin_step() {
    let plugin: CanaryStep =
        serde_json::from_value(json!({ "plugin": { "name": "org/wait" } })).unwrap();
    let world = half_way(canary([weight(50), plugin, pause()]));
    check(
        &world,
        expect![[r#"
            Waiting: web waits for a step that is not supported to be skipped or removed.
            waits: NotSupported Rollout/web: step 2/3 is for the plugin "org/wait"; plugins of steps are not supported yet
              $ kubectl argo rollouts promote web -n shop
              ! skip the step, or remove it from the spec
            then: step 3/3, pause
            give up: kubectl argo rollouts abort web -n shop"#]],
    );
    command_moves(&world, "NotSupported", ME);
    cured(&world, "NotSupported", ME, |world| {
        world.edit(|r| {
            r.spec.strategy.canary.as_mut().unwrap().steps.remove(1);
        });
    });
}
