use super::basic::{self, Sizes, goal, next};
use super::routed::{self, Recorded, Routed};
use super::*;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

mod properties;

fn ios(text: &str) -> IntOrString {
    text.parse()
        .map_or_else(|_| IntOrString::String(text.into()), IntOrString::Int)
}

fn fences(surge: &str, unavailable: &str, replicas: i32) -> Fences {
    Fences::resolve(Some(&ios(surge)), Some(&ios(unavailable)), replicas)
}

/// `spec/available`
fn rs(text: &str) -> RsCount {
    let (spec, available) = text.split_once('/').unwrap();
    RsCount::new(spec.parse().unwrap(), available.parse().unwrap())
}

/// CTL-30
#[test]
fn fenceposts() {
    let of = |surge: Option<&str>, unavailable: Option<&str>, replicas| {
        let (surge, unavailable) = (surge.map(ios), unavailable.map(ios));
        let text = |v: Option<IntOrString>| {
            v.map(|v| match v {
                IntOrString::String(s) if s.starts_with('"') => {
                    IntOrString::String(s.replace('"', ""))
                }
                other => other,
            })
        };
        let (surge, unavailable) = (text(surge), text(unavailable));
        let fences = Fences::resolve(surge.as_ref(), unavailable.as_ref(), replicas);
        (fences.surge, fences.unavailable)
    };
    assert_eq!(
        of(None, None, 10),
        (3, 2),
        "surge rounds up, unavailability down"
    );
    assert_eq!(of(Some("0"), Some("0"), 10), (0, 1));
    assert_eq!(of(Some("0%"), Some("0%"), 10), (0, 1));
    assert_eq!(
        of(Some("0"), Some("20"), 10),
        (0, 10),
        "not more than there are"
    );
    assert_eq!(of(None, None, 0), (0, 0));
    assert_eq!(
        of(Some("\"3\""), Some("0"), 100),
        (3, 0),
        "every text is a percentage"
    );
    assert_eq!(of(Some("%1%0"), Some("0"), 10), (1, 0));
    assert_eq!(
        of(Some("ten"), Some("5"), 10),
        (0, 0),
        "unreadable: no exception either"
    );
    assert_eq!(Fences::blue_green_unavailable(None, 10), 2);
    assert_eq!(Fences::blue_green_unavailable(Some(&ios("0")), 10), 0);
}

fn steps(weights: &[i32]) -> Vec<StepSize> {
    weights
        .iter()
        .map(|w| StepSize {
            weight: Some(*w),
            scale: None,
        })
        .collect()
}

fn at(steps: &[StepSize], index: i32) -> Position<'_> {
    Position {
        steps,
        index: Some(index),
        promote_full: false,
        has_stable: true,
        promoted: false,
        aborted: false,
        whole: 100,
    }
}

/// CTL-31
#[test]
fn weight_of_a_position() {
    let pause = StepSize::default();
    let list = [pause, steps(&[20])[0], pause, steps(&[60])[0]];
    let table = [
        ("before any setWeight", at(&list, 0), 0),
        ("at one", at(&list, 1), 20),
        ("after one", at(&list, 2), 20),
        ("at the last", at(&list, 3), 60),
        ("past the end", at(&list, 4), 100),
        (
            "no index yet",
            Position {
                index: None,
                ..at(&list, 0)
            },
            0,
        ),
        ("no steps", at(&[], 0), 100),
        (
            "aborted",
            Position {
                aborted: true,
                ..at(&list, 1)
            },
            0,
        ),
        (
            "promote full wins over abort",
            Position {
                aborted: true,
                promote_full: true,
                ..at(&list, 1)
            },
            100,
        ),
        (
            "first deploy",
            Position {
                has_stable: false,
                ..at(&list, 1)
            },
            100,
        ),
        (
            "promoted",
            Position {
                promoted: true,
                ..at(&list, 1)
            },
            100,
        ),
        (
            "another whole",
            Position {
                whole: 1000,
                ..at(&list, 9)
            },
            1000,
        ),
    ];
    for (name, at, weight) in table {
        assert_eq!(weight_at(&at), weight, "{name}");
    }
    assert_eq!(weight_before(&at(&list, 1)), 0);
    assert_eq!(weight_before(&at(&list, 3)), 20);
    assert_eq!(weight_before(&at(&list, 4)), 60);
}

/// CTL-32, CTL-34 "Goals"
#[test]
fn goals() {
    let table = "1,50,0→1/0; 1,50,1→1/1; 2,1,0→1/1; 2,1,1→1/2; 2,99,1→2/1; 3,50,0→2/1; 3,10,1→1/3; \
                 3,33,1→1/2; 3,50,1→2/2; 10,15,0→2/8; 10,14,0→1/9; 10,1,1→1/10; 10,19,1→2/9; \
                 10,20,1→2/8; 10,24,1→3/8; 10,99,1→10/1; 10,99,0→9/1; 0,50,1→0/0";
    for row in table.split("; ") {
        let (from, to) = row.split_once('→').unwrap();
        let [r, w, s] = from
            .split(',')
            .map(|n| n.parse().unwrap())
            .collect::<Vec<i32>>()[..]
        else {
            panic!("{row}")
        };
        let got = goal(r, w, 100, s);
        assert_eq!(format!("{}/{}", got.canary, got.stable), to, "{row}");
    }
}

/// CTL-33, CTL-34 "Worked evaluations"
#[test]
fn next_counts() {
    let table = "\
1 10 100 3 0 6/3 7/8 -> 6/7
2 10 20 2 0 0/0 10/10 -> 2/10
3 10 20 20% 0 2/2 10/10 -> 2/8
4 10 30 2 0 0/0 10/10 -> 2/10
5 10 20 0 20% 0/0 10/10 -> 0/8
6 10 30 0 2 0/0 10/10 -> 0/8
7 10 50 2 1 0/0 10/10 -> 2/9
8 10 0 1 1 1/1 10/10 -> 0/10
9 10 100 1 1 10/10 1/1 -> 10/0
10 1 20 1 0 0/0 1/1 -> 1/1
11 1 49 0 1 0/0 1/1 -> 0/1
12 1 51 0 1 0/0 1/1 -> 0/0
13 1 51 0 1 0/0 0/0 -> 1/0
14 10 30 1 0 0/0 1/1 3/3 -> 1/7
15 10 30 0 3 4/4 8/5 -> 3/7
16 10 100 1 0 10/8 10/2 -> 9/2
17 10 30 0 1 4/2 8/6 3/3 -> 4/8
18 10 5 0 1 0/0 10/10 -> 0/9
19 10 5 0 1 0/0 9/9 -> 1/9
20 10 10 0% 0% 0/0 10/10 -> 0/9
21 4 100 1 0 0/0 4/1 -> 1/4
22 3 99 0 2 0/0 3/3 -> 0/1
23 4 100 1 0 1/1 4/1 -> 1/3
24 4 0 1 0 4/4 0/0 -> 4/1
25 4 0 1 0 4/4 1/0 -> 4/1
26 4 0 1 0 4/4 1/1 -> 3/1
27 4 100 3 0 0/0 4/4 -> 3/4
28 10 10 25% 25% 0/0 10/10 -> 1/9
29 10 100 25% 25% 5/2 8/8 -> 5/6
30 10 80 3 0 5/5 5/3 -> 8/5
31 10 20 1 0 5/5 5/5 -> 5/6
32 2 100 0 1 0/0 2/2 -> 0/1
33 10 50 1% 1% 0/0 10/10 -> 1/10";
    for row in table.lines() {
        let (from, to) = row.split_once(" -> ").unwrap();
        let fields: Vec<&str> = from.split(' ').collect();
        let replicas = fields[1].parse().unwrap();
        let others: Vec<RsCount> = fields[7..].iter().map(|text| rs(text)).collect();
        let got = next(&Sizes {
            replicas,
            weight: fields[2].parse().unwrap(),
            fences: fences(fields[3], fields[4], replicas),
            new: Some(rs(fields[5])),
            stable: Some(rs(fields[6])),
            others: &others,
            held: 0,
        });
        assert_eq!(format!("{}/{}", got.canary, got.stable), to, "row {row}");
    }
}

/// SE-14: a promoted Rollout that shrinks goes straight to its size.
#[test]
fn promoted_is_plain() {
    let sizes = Sizes {
        replicas: 5,
        weight: 100,
        fences: fences("0", "1", 5),
        new: Some(rs("10/3")),
        stable: None,
        others: &[],
        held: 0,
    };
    assert_eq!(
        next(&sizes),
        Counts {
            canary: 5,
            stable: 0
        }
    );
    let grown = Sizes {
        replicas: 12,
        others: &[rs("3/3")],
        held: 0,
        fences: fences("1", "0", 12),
        ..sizes
    };
    assert_eq!(
        next(&grown).canary,
        10,
        "the surge budget holds while older versions drain"
    );
}

/// One ReplicaSet write per pass, stable first; pods become available at once.
struct Walk {
    canary: RsCount,
    stable: RsCount,
    canary_ready: bool,
}

impl Walk {
    fn to(&mut self, replicas: i32, weight: i32, surge: &str, unavailable: &str) -> Vec<String> {
        let mut seen = Vec::new();
        for _ in 0..50 {
            let want = next(&Sizes {
                replicas,
                weight,
                fences: fences(surge, unavailable, replicas),
                new: Some(self.canary),
                stable: Some(self.stable),
                others: &[],
                held: 0,
            });
            if want.stable != self.stable.spec {
                self.stable = RsCount::new(want.stable, want.stable);
            } else if want.canary != self.canary.spec {
                let ready = if self.canary_ready { want.canary } else { 0 };
                self.canary = RsCount::new(want.canary, ready);
            } else {
                return seen;
            }
            seen.push(format!("{}/{}", self.canary.spec, self.stable.spec));
        }
        panic!("does not settle: {seen:?}")
    }
}

/// CTL-34 "Trajectories"
#[test]
fn trajectories() {
    let start = |canary: i32, stable: i32| Walk {
        canary: RsCount::new(canary, canary),
        stable: RsCount::new(stable, stable),
        canary_ready: true,
    };
    let mut walk = start(0, 10);
    assert_eq!(walk.to(10, 10, "25%", "25%").join(" "), "0/9 1/9");
    assert_eq!(
        walk.to(10, 100, "25%", "25%").join(" "),
        "1/7 6/7 6/2 10/2 10/0"
    );
    assert_eq!(
        start(0, 10).to(10, 50, "2", "0").join(" "),
        "2/10 2/8 4/8 4/6 5/6 5/5"
    );
    assert_eq!(
        start(0, 10).to(10, 100, "0", "2").join(" "),
        "0/8 2/8 2/6 4/6 4/4 6/4 6/2 8/2 8/0 10/0"
    );
    assert_eq!(start(0, 3).to(3, 50, "0", "1").join(" "), "0/2 1/2 1/1 2/1");
    assert_eq!(
        start(0, 4).to(4, 100, "100%", "25%")[..2].join(" "),
        "0/3 4/3"
    );
    assert_eq!(
        start(5, 5).to(10, 0, "1", "1").join(" "),
        "5/6 3/6 3/8 1/8 1/10 0/10"
    );
    let mut walk = Walk {
        canary_ready: false,
        ..start(0, 4)
    };
    assert_eq!(walk.to(4, 100, "2", "0").join(" "), "2/4");
    assert_eq!(walk.to(8, 100, "2", "0").join(" "), "6/4");
    assert_eq!(walk.to(4, 100, "2", "0").join(" "), "2/4");
}

/// CTL-45, SE-10
#[test]
fn at_desired_counts() {
    let sizes = |new: &str, stable: &str| Sizes {
        replicas: 10,
        weight: 20,
        fences: fences("0", "1", 10),
        new: Some(rs(new)),
        stable: Some(rs(stable)),
        others: &[],
        held: 0,
    };
    assert_eq!(basic::shortfall(&sizes("2/2", "8/8"), None), None);
    assert_eq!(
        basic::shortfall(&sizes("2/2", "8/3"), None),
        None,
        "stable need not be available"
    );
    assert_eq!(
        basic::shortfall(&sizes("2/1", "8/8"), None),
        Some(Shortfall::Canary)
    );
    assert_eq!(
        basic::shortfall(&sizes("2/1", "8/8"), Some(Threshold::Percent(50))),
        None,
        "half is enough"
    );
    assert_eq!(
        basic::shortfall(&sizes("5/5", "5/4"), None),
        Some(Shortfall::Canary),
        "SE-10"
    );
    let mut late = sizes("2/2", "8/8");
    late.stable = Some(RsCount {
        current: 9,
        ..rs("8/8")
    });
    assert_eq!(basic::shortfall(&late, None), Some(Shortfall::Stable));
    let others = [rs("0/1")];
    let sizes = Sizes {
        others: &others,
        held: 0,
        ..sizes("2/2", "8/8")
    };
    assert_eq!(basic::shortfall(&sizes, None), Some(Shortfall::Others));
}

/// CTL-132
#[test]
fn thresholds() {
    let table = [
        ("none: exact", None, Some("4/4"), 4, true),
        ("none: one missing", None, Some("4/3"), 4, false),
        ("none: too many", None, Some("5/5"), 4, false),
        (
            "no ReplicaSet counts as empty",
            Some(Threshold::Pods(0)),
            None,
            0,
            true,
        ),
        ("no ReplicaSet", Some(Threshold::Pods(0)), None, 1, false),
        (
            "negative is unset",
            Some(Threshold::Percent(-1)),
            Some("4/3"),
            4,
            false,
        ),
        (
            "nothing desired",
            Some(Threshold::Percent(100)),
            Some("4/0"),
            0,
            true,
        ),
        (
            "a third of three",
            Some(Threshold::Percent(33)),
            Some("3/1"),
            3,
            true,
        ),
        (
            "more than a third",
            Some(Threshold::Percent(34)),
            Some("3/1"),
            3,
            false,
        ),
        ("pods", Some(Threshold::Pods(2)), Some("9/2"), 9, true),
        (
            "more pods than there are to be",
            Some(Threshold::Pods(4)),
            Some("1/1"),
            1,
            true,
        ),
        (
            "too few pods",
            Some(Threshold::Pods(2)),
            Some("9/1"),
            9,
            false,
        ),
    ];
    for (name, threshold, count, desired, met) in table {
        assert_eq!(
            threshold_met(threshold, count.map(rs), desired),
            met,
            "{name}"
        );
    }
}

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
