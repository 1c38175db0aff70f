use super::basic::{self, Sizes, goal, next};
use super::routed::{self, Recorded, Routed};
use super::*;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

mod limits;
mod properties;
mod shares;

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
        // Where one pod moves at a time, each that goes and each that comes is a write of its own.
        let writes = self.canary.spec + self.stable.spec + 2 * (replicas + 1);
        for _ in 0..=writes {
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
