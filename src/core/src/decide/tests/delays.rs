//! ReplicaSets that lost their traffic: how long they stay, and what keeps them.

use expect_test::expect;
use serde_json::json;
use sluice_crds::rollout::PingPongSpec;

use super::{cluster, deployed, istio, traced};
use crate::observed::Seen;
use crate::testing::world::World;
use crate::testing::{RolloutBuilder, at, pause, rollout, weight};
use crate::why::Reason;

fn routed() -> RolloutBuilder {
    istio(rollout("web").replicas(4).canary([weight(50), pause()]))
}

fn update(world: &mut World, version: i32) {
    world.set_image(&format!("web:v{version}"));
    world.settle();
    world.promote();
    world.settle();
}

/// Sizes and deadlines, by revision.
fn kept(world: &World) -> String {
    let mut all: Vec<_> = world.sets.values().collect();
    all.sort_by_key(|set| {
        set.annotation("rollout.argoproj.io/revision")
            .unwrap()
            .parse::<i32>()
            .unwrap()
    });
    let texts = all.into_iter().map(|set| {
        let replicas = set.spec.replicas.unwrap();
        match set.annotation("scale-down-deadline") {
            Some(text) => format!("{replicas} until {}", text.get(11..19).unwrap()),
            None => replicas.to_string(),
        }
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// CTL-67: the default delay, an edit of it while one runs, and the way back within.
#[test]
fn drained_versions_are_kept_for_a_time() {
    let mut world = deployed(routed());
    update(&mut world, 2);
    expect!["4 until 08:00:30, 4"].assert_eq(&kept(&world));
    world.edit(|r| {
        r.spec
            .strategy
            .canary
            .as_mut()
            .unwrap()
            .scale_down_delay_seconds = Some(600);
    });
    world.settle();
    expect!["4 until 08:00:30, 4"].assert_eq(&kept(&world));
    let plan = world.settle();
    assert_eq!(plan.wake, Some(at(30)), "CTL-160: exactly at the deadline");
    world.advance(29);
    update(&mut world, 1);
    expect!["4 until 08:10:29, 4"].assert_eq(&kept(&world));
    world.after(599);
    expect!["4 until 08:10:29, 4"].assert_eq(&kept(&world));
    world.after(1);
    expect!["0, 4"].assert_eq(&kept(&world));
}

/// CTL-67: at most so many at a time, the newest first.
#[test]
fn only_so_many_are_kept() {
    for (limit, want) in [
        (
            None,
            "4 until 08:10:00, 4 until 08:10:01, 4 until 08:10:02, 4",
        ),
        (Some(2), "0, 4 until 08:10:01, 4 until 08:10:02, 4"),
        (Some(1), "0, 0, 4 until 08:10:02, 4"),
        (Some(0), "0, 0, 0, 4"),
    ] {
        let mut world = deployed(routed().strategy(|c| {
            c.scale_down_delay_seconds = Some(600);
            c.scale_down_delay_revision_limit = limit;
        }));
        for version in 2..=4 {
            update(&mut world, version);
            world.advance(1);
        }
        assert_eq!(kept(&world), want, "{limit:?}");
    }
}

/// CTL-67: blue-green keeps them at `spec.replicas`, which they follow; an unreadable deadline is
/// over.
#[test]
fn blue_green_keeps_them_full() {
    let mut world = deployed(rollout("web").replicas(2).blue_green("active", "preview"));
    update(&mut world, 2);
    world.edit(|r| r.spec.replicas = Some(3));
    world.settle();
    expect!["3 until 08:00:30, 3"].assert_eq(&kept(&world));
    for set in world.sets.values_mut() {
        let annotations = set.metadata.annotations.as_mut().unwrap();
        if let Some(text) = annotations.get_mut("scale-down-deadline") {
            *text = "soon".to_owned();
        }
    }
    world.settle();
    expect!["0, 3"].assert_eq(&kept(&world));
}

/// SE-4: no delay means at once, and no loop.
#[test]
fn no_delay_is_at_once() {
    for built in [
        routed().strategy(|c| c.scale_down_delay_seconds = Some(0)),
        rollout("web")
            .replicas(4)
            .blue_green("active", "preview")
            .with(|r| {
                r.spec
                    .strategy
                    .blue_green
                    .as_mut()
                    .unwrap()
                    .scale_down_delay_seconds = Some(0);
            }),
    ] {
        let mut world = deployed(built);
        update(&mut world, 2);
        assert_eq!(kept(&world), "0, 4");
        assert_eq!(world.settle().wake, None);
    }
}

/// CTL-69, SE-3, SE-29: after an abort the canary is held for its delay, for ever with 0, and to
/// the end of a delay that is longer than a resync.
#[test]
fn aborted_canaries_are_held() {
    let aborted = |delay: Option<i32>, dynamic: bool| {
        let mut world = deployed(routed().strategy(|c| {
            c.abort_scale_down_delay_seconds = delay;
            c.dynamic_stable_scale = dynamic;
        }));
        world.set_image("web:v2");
        world.settle();
        world.abort();
        world.settle();
        let mut lines = vec![kept(&world)];
        for seconds in [29, 1, 3600 - 31, 1] {
            world.after(seconds);
            lines.push(kept(&world));
        }
        lines.dedup();
        lines.join(" -> ")
    };
    assert_eq!(aborted(None, false), "4, 2 until 08:00:30 -> 4, 0");
    assert_eq!(aborted(Some(30), false), "4, 2 until 08:00:30 -> 4, 0");
    assert_eq!(aborted(Some(3600), false), "4, 2 until 09:00:00 -> 4, 0");
    assert_eq!(aborted(Some(0), false), "4, 2");
    assert_eq!(aborted(None, true), "4, 2 until 08:00:30 -> 4, 0");
    assert_eq!(aborted(Some(30), true), "4, 2 until 08:00:30 -> 4, 0");
    assert_eq!(aborted(Some(0), true), "4, 2");
}

/// CTL-69: a retry takes the deadline away, and starts from what is still up.
#[test]
fn a_retry_takes_the_deadline_away() {
    let mut world = deployed(routed());
    world.set_image("web:v2");
    world.settle();
    world.abort();
    world.settle();
    world.after(10);
    world.retry();
    world.settle();
    assert_eq!(kept(&world), "4, 2");
    world.after(60);
    assert_eq!(kept(&world), "4, 2");
}

/// CTL-69, SE-6, INV-3: not before stable has all its pods, and not while a router denies the weight.
#[test]
fn the_delay_waits_for_stable() {
    let mut world = deployed(routed());
    world.set_image("web:v2");
    world.settle();
    world.broken.insert("web:v1".to_owned());
    world.abort();
    world.settle();
    assert_eq!(kept(&world), "4, 2");
    world.after(100);
    assert_eq!(kept(&world), "4, 2");
    world.broken.clear();
    world.verification = crate::traffic::Verification::NotVerified;
    world.settle();
    assert_eq!(kept(&world), "4, 2");
    world.verification = crate::traffic::Verification::Verified;
    world.settle();
    assert_eq!(kept(&world), "4, 2 until 08:02:10");
}

/// CTL-44: what a Service or a subset selects, or cannot be told not to, is no old version.
#[test]
fn what_is_referenced_stays() {
    let mut world = deployed(routed().strategy(|c| c.scale_down_delay_seconds = Some(0)));
    let v1 = world.now_status().stable_rs;
    update(&mut world, 2);
    assert_eq!(kept(&world), "0, 4");
    // Put back to life by hand, it has no deadline and no traffic.
    let revived = |world: &World| {
        let mut world = world.clone();
        world
            .sets
            .get_mut(&format!("web-{v1}"))
            .unwrap()
            .spec
            .replicas = Some(4);
        world.play();
        world
    };
    let shrinks = |world: &World, change: &dyn Fn(&mut crate::observed::Observed)| {
        let mut seen = world.observe();
        change(&mut seen);
        let plan = crate::decide::decide(&seen, world.now);
        let text = format!("{:?}", plan.actions);
        text.contains(&format!("web-{v1}")) && text.contains("\"replicas\": Number(0)")
    };
    let world = revived(&world);
    assert!(shrinks(&world, &|_| {}));
    let found = |hashes: &[&str]| Seen::Found(hashes.iter().map(|h| (*h).to_owned()).collect());
    assert!(!shrinks(&world, &|seen| seen.subset_hashes = found(&[&v1])));
    assert!(shrinks(&world, &|seen| seen.subset_hashes = found(&["other"])));
    assert!(!shrinks(&world, &|seen| seen.subset_hashes =
        Seen::Unread("timeout".to_owned())));
    assert!(!shrinks(&world, &|seen| {
        seen.services
            .insert("web-stable".to_owned(), Seen::Unread("timeout".to_owned()));
    }));
    let mut selected = world.clone();
    let service = selected.services.get_mut("web-canary").unwrap();
    service
        .selector
        .insert(sluice_crds::keys::POD_TEMPLATE_HASH.to_owned(), v1.clone());
    assert!(!shrinks(&selected, &|_| {}));
    let mut recorded = world.clone();
    recorded.status(|status| {
        status
            .canary
            .weights
            .as_mut()
            .unwrap()
            .canary
            .pod_template_hash
            .clone_from(&v1);
    });
    assert!(!shrinks(&recorded, &|_| {}));
}

/// CTL-43, SE-23: old versions give up pods that are not there first; with a router only what
/// nothing refers to.
#[test]
fn unhealthy_old_pods_go_first() {
    let mut world = deployed(
        rollout("web")
            .replicas(4)
            .canary([weight(50), pause()])
            .strategy(|c| {
                c.max_surge = Some(sluice_crds::IntOrString::Int(4));
                c.max_unavailable = Some(sluice_crds::IntOrString::Int(0));
            }),
    );
    world.set_image("web:v2");
    world.settle();
    // The second version breaks and is replaced: none of its pods is of use.
    world.broken.insert("web:v2".to_owned());
    world.play();
    world.advance(1000);
    world.startup = 1000;
    world.told();
    world.set_image("web:v3");
    expect![[r#"
        NewReplicaSetCreated Created ReplicaSet web-79589fdb97 (revision 3)
        ScalingReplicaSet Scaled up ReplicaSet web-79589fdb97 (revision 3) from 0 to 2
        RolloutUpdated Rollout updated to revision 3
        RolloutResumed Rollout is resumed
        ScalingReplicaSet Scaled down ReplicaSet web-84c5f745db (revision 2) from 2 to 0
        step 0 pods 2/2 Progressing: more replicas need to be updated
        waits: PodsNotAvailable ReplicaSet/web-79589fdb97 setWeight 50 waits for the canary: 0 of 2 pods available"#]].assert_eq(&traced(&mut world));
}

/// CTL-66: reverted in the middle, with a stable version that shrank: traffic stays on the canary,
/// which stays up, until stable has its pods again.
#[test]
fn a_revert_waits_for_stable() {
    let mut world = deployed(
        istio(rollout("web").replicas(4).canary([weight(75), pause()]))
            .strategy(|c| c.dynamic_stable_scale = true),
    );
    world.set_image("web:v2");
    world.settle();
    world.after(30);
    expect!["step 1 pods 3/1 weight 75/25 Paused: CanaryPauseStep"].assert_eq(&world.line());
    world.told();
    world.advance(10);
    world.startup = 10;
    world.set_image("web:v1");
    expect![[r#"
        RolloutUpdated Rollout updated to revision 3
        ScalingReplicaSet Scaled up ReplicaSet web-5dfb79b7ff (revision 3) from 1 to 4
        SkipSteps Rollback to stable ReplicaSets
        RolloutResumed Rollout is resumed
        step 2 pods 4/0+3 weight 75/25 Healthy
        waits: PodsNotAvailable ReplicaSet/web-5dfb79b7ff needs more available pods to take back the last 75 % of the traffic
        waits: PodsNotAvailable ReplicaSet/web-5dfb79b7ff not all pods are available: 1 of 4 pods available"#]].assert_eq(&traced(&mut world));
    let canary = world.services["web-canary"].pod_hash().to_owned();
    assert_ne!(canary, world.now_status().stable_rs);
    world.advance(11);
    expect![[r#"
        SwitchService Switched selector for service 'web-canary' from '84c5f745db' to '5dfb79b7ff'
        TrafficWeightUpdated Traffic weight updated from 75 to 0
        step 2 pods 4/0+3 weight 0/100 Healthy
        waits: ScaleDownDelay ReplicaSet/web-84c5f745db is kept for its scale-down delay"#]]
    .assert_eq(&traced(&mut world));
    assert_eq!(
        world.services["web-canary"].pod_hash(),
        world.now_status().stable_rs
    );
}

/// CTL-70: an abort swaps neither ping nor pong; the next update takes the same one again.
#[test]
fn ping_and_pong_stay_on_abort() {
    let mut world = cluster(
        rollout("web")
            .replicas(4)
            .canary([weight(50), pause()])
            .routed(json!({ "istio": { "virtualService": { "name": "web" } } }))
            .strategy(|c| {
                c.ping_pong = Some(PingPongSpec {
                    ping_service: "ping".to_owned(),
                    pong_service: "pong".to_owned(),
                });
            }),
    );
    world.settle();
    let v1 = world.now_status().stable_rs;
    world.set_image("web:v2");
    world.settle();
    let v2 = world.now_status().current_pod_hash;
    world.told();
    world.abort();
    expect![[r#"
        TrafficWeightUpdated Traffic weight updated from 50 to 0
        RolloutAborted Rollout aborted update to revision 2
        step 0 pods 2/4 weight 0/100 Degraded: RolloutAborted: Rollout aborted update to revision 2
        waits: ScaleDownDelay ReplicaSet/web-84c5f745db is kept up after the abort
        waits: Aborted Rollout/web the update to revision 2 is aborted"#]]
    .assert_eq(&traced(&mut world));
    let selected = |world: &World| {
        let of = |name: &str| world.services[name].pod_hash().to_owned();
        (
            of("ping"),
            of("pong"),
            world.now_status().canary.stable_ping_pong,
        )
    };
    assert_eq!(selected(&world), (v1.clone(), v2, "ping".to_owned()));
    world.set_image("web:v3");
    world.settle();
    let v3 = world.now_status().current_pod_hash;
    assert_eq!(selected(&world), (v1, v3, "ping".to_owned()));
}

/// CTL-43: while a superseded version still shrinks, the clean-up waits, and says so.
#[test]
fn clean_up_waits_for_pods_that_still_go() {
    let mut world = deployed(rollout("web").replicas(4).canary([weight(50), pause()]));
    world.set_image("web:v2");
    world.settle();
    world.advance(1000);
    world.startup = 1000;
    world.set_image("web:v3");
    world.step();
    let old = world.sets.get_mut("web-84c5f745db").unwrap();
    old.spec.replicas = Some(1);
    old.status.get_or_insert_default().available_replicas = 2;
    world.step();
    let plan = world.step();
    let waits = plan
        .why
        .iter()
        .any(|why| why.message == "is still shrinking to 1 pods");
    assert!(waits, "{:?}", plan.why);
    assert_eq!(world.sets["web-84c5f745db"].spec.replicas, Some(1));
}

/// CTL-43: healthy old pods go as far as the budget of missing pods lets them, the newest revision
/// first.
#[test]
fn old_pods_go_within_the_budget() {
    let mut world = deployed(
        rollout("web")
            .replicas(6)
            .canary([weight(50), pause()])
            .strategy(|c| {
                c.max_surge = Some(sluice_crds::IntOrString::Int(0));
                c.max_unavailable = Some(sluice_crds::IntOrString::Int(2));
            }),
    );
    world.set_image("web:v2");
    world.settle();
    assert_eq!(world.size_text(), "3/3");
    world.advance(1000);
    world.startup = 1000;
    for set in world.sets.values_mut() {
        set.status.get_or_insert_default().available_replicas = 3;
    }
    world.set_image("web:v3");
    let mut sizes = Vec::new();
    for _ in 0..6 {
        world.step();
        sizes.push(world.size_text());
    }
    sizes.dedup();
    expect!["0/3+1 2/3+1"].assert_eq(&sizes.join(" "));
}

/// CTL-69, INV-3: under `dynamicStableScale` an aborted canary keeps its size while a router denies
/// the weights.
#[test]
fn doubt_keeps_an_aborted_canary() {
    let mut world = deployed(routed().strategy(|c| c.dynamic_stable_scale = true));
    world.set_image("web:v2");
    world.settle();
    world.after(30);
    assert_eq!(world.size_text(), "2/2");
    world.verification = crate::traffic::Verification::NotVerified;
    world.abort();
    world.settle();
    assert_eq!(world.size_text(), "2/4");
    world.verification = crate::traffic::Verification::Verified;
    world.settle();
    assert_eq!(world.size_text(), "0/4");
}

/// CTL-43, CTL-67: pods that never came are no version that could be gone back to: no delay.
#[test]
fn dead_versions_get_no_delay() {
    let mut world = deployed(routed());
    world.broken.insert("web:v2".to_owned());
    world.set_image("web:v2");
    world.settle();
    assert_eq!(kept(&world), "4, 2");
    world.set_image("web:v3");
    world.settle();
    assert_eq!(kept(&world), "4, 0, 2");
}

fn dynamic(steps: &[i32]) -> World {
    let mut all = Vec::new();
    for step in steps {
        all.extend([weight(*step), pause()]);
    }
    let built = istio(rollout("web").replicas(8).canary(all));
    deployed(built.strategy(|c| c.dynamic_stable_scale = true))
}

/// INV-3, FLT-13: where no router can tell, stable keeps its pods for the delay after its share went
/// down, and the delay starts again when it goes down further.
#[test]
fn stable_stays_until_its_share_must_have_left() {
    let mut world = dynamic(&[25, 50]);
    world.set_image("web:v2");
    let plan = world.settle();
    assert_eq!(kept(&world), "8 until 08:00:30, 2");
    assert_eq!(plan.wake, Some(at(30)));
    let why = plan
        .why
        .iter()
        .find(|why| why.reason == Reason::ScaleDownDelay);
    let why = why.unwrap();
    assert_eq!(
        (why.object.as_str(), why.until),
        ("ReplicaSet/web-5dfb79b7ff", Some(at(30)))
    );
    expect!["keeps 8 pods until the routes that took traffic off them are in force everywhere"]
        .assert_eq(&why.message);
    world.after(20);
    world.promote();
    world.settle();
    assert_eq!(kept(&world), "8 until 08:00:50, 4");
    world.after(29);
    assert_eq!(kept(&world), "8 until 08:00:50, 4");
    world.after(1);
    assert_eq!(kept(&world), "4, 4");
    // Another number of replicas is nobody's traffic: that follows at once.
    world.edit(|r| r.spec.replicas = Some(4));
    world.settle();
    assert_eq!(kept(&world), "2, 2");
    assert_eq!(world.settle().wake, None, "INV-8");
}

/// INV-3: a router that confirms the split is all the proof there need be, also that of a process
/// that is gone.
#[test]
fn a_confirmed_share_needs_no_delay() {
    let mut world = dynamic(&[25]);
    world.verification = crate::traffic::Verification::Verified;
    world.set_image("web:v2");
    world.settle();
    assert_eq!(kept(&world), "6, 2");
    let mut world = dynamic(&[25]);
    world.set_image("web:v2");
    world.settle();
    world.status(|status| status.canary.weights.as_mut().unwrap().verified = Some(true));
    world.settle();
    assert_eq!(kept(&world), "6, 2");
}

/// FLT-17, INV-10: what is kept for its delay does not hold up the way back, whichever delays there
/// are.
#[test]
fn an_abort_does_not_wait_for_delays() {
    for delay in [None, Some(0), Some(60)] {
        for (waited, first) in [(0, "kept"), (100, "shrunk")] {
            let mut world = dynamic(&[25, 75]);
            world.edit(|r| {
                let canary = r.spec.strategy.canary.as_mut().unwrap();
                canary.abort_scale_down_delay_seconds = delay;
            });
            world.set_image("web:v2");
            world.settle();
            world.promote();
            world.settle();
            world.after(waited);
            world.abort();
            world.settle();
            let status = world.now_status();
            let weights = status.canary.weights.unwrap();
            assert_eq!(
                weights.canary.weight,
                0,
                "{delay:?} {first}: {}",
                world.line()
            );
            let stable = world.set_of(&status.stable_rs).unwrap();
            assert_eq!(stable.spec.replicas, Some(8), "{delay:?} {first}");
            world.after(3600);
            let want = if delay == Some(0) { "8, 6" } else { "8, 0" };
            assert_eq!(kept(&world), want, "{delay:?} {first}");
        }
    }
}

/// CTL-43, INV-3: a version that was stable until now gets the delay of those that lost their Service.
#[test]
fn a_promotion_starts_the_delay_anew() {
    let mut world = dynamic(&[75]);
    world.set_image("web:v2");
    world.settle();
    assert_eq!(kept(&world), "8 until 08:00:30, 6");
    world.after(20);
    world.promote();
    world.settle();
    assert_eq!(kept(&world), "8 until 08:00:50, 8");
    world.after(29);
    assert_eq!(kept(&world), "8 until 08:00:50, 8");
    world.after(1);
    assert_eq!(kept(&world), "0, 8");
}
