//! Sizes and shares behind a router.

use super::*;
use crate::replicas::routed::{self, Recorded, Routed};

fn routed<'a>(steps: &'a [StepSize], index: i32, replicas: i32) -> Routed<'a> {
    Routed {
        at: at(steps, index),
        replicas,
        dynamic: false,
        min_pods: None,
        abort_delay: None,
        new: Some(RsCount::default()),
        stable: Some(RsCount::new(replicas, replicas)),
        recorded: None,
        leads: false,
    }
}

fn weights(canary: i32, stable: i32) -> Option<Recorded> {
    Some(Recorded { canary, stable })
}

fn scaled(weight: i32, scale: CanaryScale) -> Vec<StepSize> {
    vec![
        StepSize {
            weight: Some(weight),
            scale: None,
        },
        StepSize {
            weight: None,
            scale: Some(scale),
        },
    ]
}

/// CTL-46, CTL-60: every row of the table.
#[test]
fn routed_counts() {
    use CanaryScale::{MatchTrafficWeight, Replicas, Weight};
    let check = |name: &str, want: Routed<'_>, canary, stable| {
        assert_eq!(routed::counts(&want), Counts { canary, stable }, "{name}");
    };
    let ten = steps(&[10]);
    check("w10", routed(&ten, 0, 10), 1, 10);
    let five = steps(&[5]);
    check(
        "minPods 2",
        Routed {
            min_pods: Some(2),
            ..routed(&five, 0, 10)
        },
        2,
        10,
    );
    let mut full = Routed {
        min_pods: Some(2),
        ..routed(&five, 0, 1)
    };
    full.at.promote_full = true;
    check("promoteFull, minPods 2", full, 1, 1);
    check(
        "scale.replicas 9",
        routed(&scaled(100, Replicas(9)), 1, 1),
        9,
        1,
    );
    check(
        "scale.weight 200: no more than all",
        routed(&scaled(100, Weight(200)), 1, 4),
        4,
        4,
    );
    assert_eq!(
        CanaryScale::new(true, Some(9), Some(100)),
        MatchTrafficWeight
    );
    assert_eq!(CanaryScale::new(false, Some(9), Some(100)), Replicas(9));
    assert_eq!(CanaryScale::new(false, None, None), MatchTrafficWeight);
    check(
        "match",
        routed(&scaled(20, MatchTrafficWeight), 1, 10),
        2,
        10,
    );
    let one = scaled(0, Replicas(1));
    for (delay, canary) in [(0, 1), (30, 0)] {
        let mut aborted = Routed {
            abort_delay: Some(delay),
            ..routed(&one, 1, 1)
        };
        aborted.at.aborted = true;
        check("abort with scale.replicas 1", aborted, canary, 1);
    }
    let by_hand = scaled(20, Weight(90));
    let by_hand = Routed {
        dynamic: true,
        ..routed(&by_hand, 1, 10)
    };
    check("scale.weight 90 takes no traffic (INV-2)", by_hand, 9, 8);
    let dynamic = |steps, index, replicas, recorded| Routed {
        dynamic: true,
        recorded,
        ..routed(steps, index, replicas)
    };
    check("dynamic w10", dynamic(&ten, 0, 10, weights(10, 90)), 1, 9);
    let twenty = steps(&[20]);
    check(
        "dynamic w20",
        dynamic(&twenty, 0, 10, weights(10, 90)),
        2,
        9,
    );
    let much = steps(&[75]);
    check("dynamic w75", dynamic(&much, 0, 4, weights(25, 75)), 3, 3);
    check(
        "dynamic w75, moved",
        dynamic(&much, 0, 4, weights(75, 25)),
        3,
        1,
    );
    let two = steps(&[20, 60]);
    let mut abort = Routed {
        new: Some(RsCount::new(6, 6)),
        stable: Some(RsCount::new(4, 4)),
        ..dynamic(&two, 1, 10, weights(60, 40))
    };
    abort.at.aborted = true;
    check("dynamic abort", abort, 6, 8);
    let mut lone = Routed {
        new: None,
        stable: None,
        ..dynamic(&twenty, 0, 10, weights(20, 80))
    };
    lone.at.aborted = true;
    check("dynamic abort, no ReplicaSets", lone, 2, 10);
    check(
        "dynamic, scale.replicas 3",
        dynamic(&scaled(50, Replicas(3)), 1, 10, None),
        3,
        10,
    );
    check(
        "scale past the last step",
        routed(&scaled(50, Replicas(3)), 2, 10),
        10,
        10,
    );
}

/// CTL-65: the step-down.
#[test]
fn step_down() {
    let list = steps(&[10, 50]);
    let table = [
        ("default delay", None, 9, 10),
        ("delay 30, stable 5", Some(30), 5, 10),
        ("delay 30, stable 9", Some(30), 9, 0),
        (
            "delay 0: held, its size says nothing (INV-10)",
            Some(0),
            9,
            0,
        ),
    ];
    for (name, abort_delay, stable, weight) in table {
        let mut want = routed(&list, 1, 10);
        want.dynamic = true;
        want.abort_delay = abort_delay;
        want.at.aborted = true;
        want.new = Some(RsCount::new(5, 5));
        want.stable = Some(RsCount::new(stable, stable));
        assert_eq!(routed::step_down(&want), weight, "{name}");
        want.recorded = weights(0, 100);
        want.new = Some(RsCount::new(0, 0));
        assert_eq!(
            routed::step_down(&want),
            0,
            "{name}: SE-27, finished canaries stay down"
        );
    }
}

/// CTL-65, INV-10: pods that only `minPodsPerReplicaSet` keeps do not keep traffic.
#[test]
fn step_down_with_a_lower_limit() {
    let list = steps(&[22]);
    let mut want = routed(&list, 0, 8);
    want.dynamic = true;
    want.min_pods = Some(3);
    want.at.aborted = true;
    want.new = Some(RsCount::new(3, 3));
    want.stable = Some(RsCount::new(8, 8));
    want.recorded = weights(22, 78);
    assert_eq!(routed::step_down(&want), 0);
}

/// CTL-65, TRF-6
#[test]
fn weight_back() {
    let back = |steps: &[StepSize], stable, canary, recorded, aborted| {
        let mut want = routed(steps, 0, 5);
        want.dynamic = true;
        want.at.aborted = aborted;
        want.at.promoted = !aborted;
        want.new = Some(RsCount::new(canary, canary));
        want.stable = Some(RsCount::new(5, stable));
        want.recorded = recorded;
        (
            routed::weight_back(&want),
            routed::weight_back(&Routed {
                dynamic: false,
                ..want
            }),
        )
    };
    assert_eq!(back(&steps(&[50]), 3, 4, weights(100, 0), true), (50, 0));
    assert_eq!(back(&[], 1, 4, weights(100, 0), true), (80, 0));
    assert_eq!(
        back(&steps(&[50]), 2, 4, weights(60, 40), true),
        (60, 0),
        "stable carries too little"
    );
    assert_eq!(back(&steps(&[50]), 2, 4, None, true), (60, 0));
    assert_eq!(back(&steps(&[50]), 5, 4, None, true), (50, 0));
    assert_eq!(
        back(&steps(&[20]), 4, 1, weights(60, 40), false),
        (20, 0),
        "rollback looks at its step"
    );
}

/// CTL-62, TRF-7, SE-12, CTL-132
#[test]
fn gate() {
    let open = |available, weight, whole, threshold| {
        let stable = Some(RsCount::new(30, available));
        routed::gate_open(stable, 30, weight, whole, 1, threshold)
    };
    assert!(open(30, 0, 100, None));
    assert!(!open(29, 0, 100, None));
    assert!(open(29, 5, 100, None), "28.5 rounds down");
    assert!(open(30, 0, 100_000_000, None));
    assert!(open(15, 0, 100, Some(Threshold::Percent(50))));
    assert!(open(0, 100, 100, None));
    assert!(
        !routed::gate_open(None, 30, 100, 100, 0, None),
        "no stable version: always shut"
    );
    // INV-1, INV-2: without an allowance every pod of the share, and one in any case.
    let strict = |available, weight, unavailable| {
        let stable = Some(RsCount::new(3, available));
        routed::gate_open(stable, 3, weight, 100, unavailable, None)
    };
    assert!(!strict(2, 6, 0) && strict(3, 6, 0));
    assert!(strict(2, 6, 1));
    assert!(!strict(0, 97, 1) && strict(1, 97, 1));
}

/// CTL-60, INV-2: what an Experiment has comes back to stable at once: its pods for that stay.
#[test]
fn stable_keeps_the_pods_for_what_experiments_have() {
    let list = steps(&[50]);
    let mut want = Routed {
        dynamic: true,
        recorded: weights(0, 77),
        ..routed(&list, 1, 9)
    };
    want.at.promote_full = true;
    assert_eq!(routed::counts(&want).stable, 9);
}

/// SE-8, CTL-61
#[test]
fn traffic_follows_capacity() {
    let list = steps(&[50]);
    let want = Routed {
        new: Some(RsCount::new(5, 2)),
        recorded: weights(10, 90),
        ..routed(&list, 0, 10)
    };
    assert_eq!(routed::carried(&want, 50), 20);
    assert_eq!(
        routed::carried(
            &Routed {
                recorded: weights(30, 70),
                ..want
            },
            50
        ),
        30
    );
    assert_eq!(routed::carried(&want, 5), 5);
    assert_eq!(routed::share_of_pods(3, 8, 100), 37);
    assert_eq!(routed::share_of_pods(3, 0, 100), 0);
}

/// CTL-45 with a router
#[test]
fn routed_at_desired_counts() {
    let list = steps(&[20]);
    let want = Routed {
        new: Some(rs("2/2")),
        ..routed(&list, 0, 10)
    };
    assert_eq!(routed::shortfall(&want, None), None);
    let slow = Routed {
        new: Some(rs("2/1")),
        ..want
    };
    assert_eq!(routed::shortfall(&slow, None), Some(Shortfall::Canary));
    let small = Routed {
        stable: Some(rs("9/9")),
        ..want
    };
    assert_eq!(routed::shortfall(&small, None), Some(Shortfall::Stable));
    assert_eq!(
        routed::shortfall(
            &Routed {
                dynamic: true,
                ..small
            },
            None
        ),
        None
    );
}
