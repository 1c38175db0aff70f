//! Aborts that come together with something else: another version, a spec that cannot be used, a
//! clock that went wrong (INV-6, INV-10, FLT-27).

use serde_json::json;
use sluice_crds::RawPodTemplate;
use sluice_crds::rollout::RolloutPhase;

use super::{deployed, istio};
use crate::conditions::{self, kind};
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, at, pause, rollout, weight};
use crate::why::Reason;

fn basic() -> RolloutBuilder {
    rollout("web").replicas(4).canary([weight(50), pause()])
}

/// INV-6, CTL-91: an abort that nobody has acted on yet is about the version that came with it; one
/// that was carried out is not about the next.
#[test]
fn an_abort_stays_with_the_version_that_it_came_with() {
    let blue_green = rollout("web").replicas(4).blue_green("active", "preview");
    let blue_green = blue_green.with(|r| {
        r.spec
            .strategy
            .blue_green
            .as_mut()
            .unwrap()
            .auto_promotion_enabled = Some(false);
    });
    for built in [basic(), istio(basic()), blue_green] {
        let mut world = deployed(built);
        let v1 = world.now_status().stable_rs;
        world.set_image("web:v2");
        world.abort();
        world.settle();
        let status = world.now_status();
        assert!(
            status.abort && status.aborted_at.is_some(),
            "{}",
            world.line()
        );
        assert_ne!(status.current_pod_hash, v1);
        assert_eq!(status.stable_rs, v1);
        let told = world.told();
        let aborted = told
            .iter()
            .filter(|text| text.starts_with("RolloutAborted "));
        assert_eq!(aborted.count(), 1, "{told:?}");
        assert!(status.canary.weights.is_none_or(|on| on.canary.weight == 0));
        world.after(100);
        assert!(world.size_text().starts_with("0/4"), "{}", world.line());

        // Carried out, it says nothing about the next version.
        world.set_image("web:v3");
        world.settle();
        assert!(!world.now_status().abort, "{}", world.line());
        // In the middle of that one, too.
        world.abort();
        world.set_image("web:v4");
        world.settle();
        assert!(world.now_status().abort, "{}", world.line());
        world.retry();
        world.settle();
        assert!(!world.now_status().abort, "{}", world.line());
        // Back on stable there is nothing to abort.
        world.abort();
        world.set_image("web:v1");
        world.settle();
        let status = world.now_status();
        assert!(
            !status.abort && status.current_pod_hash == v1,
            "{}",
            world.line()
        );
    }
}

/// FLT-18, CTL-5: an abort at rest is a no-op, and says nothing about a later version.
#[test]
fn an_abort_at_rest_is_not_kept() {
    let mut world = deployed(basic());
    world.abort();
    world.settle();
    assert!(!world.now_status().abort);
    world.set_image("web:v2");
    world.settle();
    assert!(!world.now_status().abort);
}

fn half_way(built: RolloutBuilder) -> World {
    let mut world = deployed(built);
    world.set_image("web:v2");
    world.settle();
    world.after(100);
    world
}

fn invalid(world: &World) -> Option<String> {
    let status = world.now_status();
    let condition = conditions::get(&status.conditions, kind::INVALID_SPEC)?;
    Some(condition.message.clone())
}

/// INV-10: an abort brings traffic back to stable whatever is wrong with template, steps or numbers;
/// the refusal stays, and once the spec is corrected the update is an aborted one.
#[test]
fn an_abort_needs_no_valid_spec() {
    type Edit = fn(&mut sluice_crds::Rollout);
    let edits: [(&str, Edit); 4] = [
        ("steps[0].setWeight", |r| {
            r.spec.strategy.canary.as_mut().unwrap().steps[0].set_weight = Some(101);
        }),
        ("template", |r| {
            r.spec.template = RawPodTemplate::new(&json!({}))
        }),
        ("spec.replicas", |r| r.spec.replicas = Some(-1)),
        ("progressDeadlineSeconds", |r| {
            r.spec.min_ready_seconds = 60;
            r.spec.progress_deadline_seconds = Some(30);
        }),
    ];
    for (field, edit) in edits {
        for dynamic in [false, true] {
            let mut world = half_way(istio(basic()).strategy(|c| c.dynamic_stable_scale = dynamic));
            let before = world.rollout.spec.clone();
            let current = world.now_status().current_pod_hash;
            world.edit(edit);
            world.settle();
            assert!(
                invalid(&world).is_some_and(|text| text.contains(field)),
                "{field}"
            );
            assert!(
                world.line().contains("weight 50/50"),
                "{field}: not asked for yet"
            );
            world.abort();
            world.settle();
            assert!(
                world.line().contains("weight 0/100"),
                "{field} {}",
                world.line()
            );
            world.after(100);
            assert_eq!(world.size_text(), "0/4", "{field} {dynamic}");
            let status = world.now_status();
            assert!(status.abort && status.aborted_at.is_some());
            assert_eq!(status.current_pod_hash, current, "{field}");
            assert_eq!(status.phase, RolloutPhase::Degraded);
            assert!(
                status.message.starts_with("InvalidSpec: "),
                "{}",
                status.message
            );
            assert!(
                invalid(&world).is_some_and(|text| text.contains(field)),
                "{field}"
            );
            let quiet = world.step();
            assert!(quiet.is_quiet(Some(&status)), "INV-8: {quiet:?}");
            let whys: Vec<_> = quiet.why.iter().map(|why| why.reason).collect();
            assert!(whys.contains(&Reason::InvalidSpec), "{whys:?}");
            let checked = crate::invariants::check(&world.observe(), &quiet);
            assert!(checked.is_empty(), "{checked:?}");
            world.edit(|r| r.spec = before.clone());
            world.settle();
            let status = world.now_status();
            assert!(
                status.abort && invalid(&world).is_none(),
                "{field}: {}",
                world.line()
            );
            assert_eq!(status.current_pod_hash, current, "{field}");
        }
    }
}

/// INV-10, INV-15: what an abort cannot do without is named.
#[test]
fn an_abort_that_has_to_wait_says_so() {
    let mut world = half_way(istio(basic()));
    world
        .references
        .virtual_services
        .insert("web".to_owned(), None);
    world.edit(|r| r.spec.strategy.canary.as_mut().unwrap().steps[0].set_weight = Some(101));
    world.abort();
    let plan = world.settle();
    assert!(world.line().contains("weight 50/50"), "{}", world.line());
    let why: Vec<_> = plan.why.iter().map(|why| why.message.as_str()).collect();
    let start = "the abort cannot be carried out before this is corrected: spec.strategy.canary.trafficRouting";
    assert!(why.iter().any(|text| text.starts_with(start)), "{why:?}");
    assert_eq!(why.len(), 2, "{why:?}");
}

/// INV-10: blue-green goes back after the switch, too.
#[test]
fn a_blue_green_abort_needs_no_valid_spec() {
    let mut world = deployed(rollout("web").replicas(2).blue_green("active", "preview"));
    let v1 = world.now_status().stable_rs;
    world.set_image("web:v2");
    world.edit(|r| {
        r.spec
            .strategy
            .blue_green
            .as_mut()
            .unwrap()
            .auto_promotion_enabled = Some(false);
    });
    world.settle();
    world.edit(|r| r.spec.template = RawPodTemplate::new(&json!({})));
    world.abort();
    world.settle();
    world.after(100);
    assert_eq!(world.services["active"].pod_hash(), v1);
    assert!(
        world.size_text().starts_with("0/2"),
        "{}",
        world.size_text()
    );
    assert!(invalid(&world).is_some());
}

/// FLT-27, CTL-90: a pause that began in the future, by the clock of now, begins now; that is written
/// once. What clocks may differ by changes nothing.
#[test]
fn a_clock_set_back_does_not_prolong_a_pause() {
    let timed = json!({ "pause": { "duration": "60s" } });
    let timed = serde_json::from_value(timed).unwrap();
    let mut world = deployed(rollout("web").replicas(4).canary([weight(50), timed]));
    world.advance(7200);
    world.set_image("web:v2");
    world.settle();
    let since = |world: &World| {
        world.now_status().pause_conditions[0]
            .start_time
            .timestamp()
    };
    assert_eq!(since(&world), at(7200));
    world.advance(-5);
    world.settle();
    assert_eq!(since(&world), at(7200));
    world.advance(-3595);
    let plan = world.settle();
    assert_eq!(since(&world), at(3600));
    assert!(
        plan.wake.is_some_and(|wake| wake <= at(3661)),
        "{:?}",
        plan.wake
    );
    world.after(59);
    assert_eq!(world.now_status().current_step_index, Some(1));
    world.after(2);
    assert_eq!(
        world.now_status().current_step_index,
        Some(2),
        "{}",
        world.line()
    );
}

/// FLT-27, CTL-67: so does the delay of a drained version.
#[test]
fn a_clock_set_back_does_not_prolong_a_delay() {
    let mut world = deployed(istio(rollout("web").replicas(4).canary([weight(50)])));
    world.advance(7200);
    world.set_image("web:v2");
    world.settle();
    assert_eq!(world.size_text(), "4/0+4");
    world.advance(-7200);
    let plan = world.settle();
    assert_eq!(plan.wake, Some(at(30)));
    world.after(30);
    assert_eq!(world.size_text(), "4/0");
}
