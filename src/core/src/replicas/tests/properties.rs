//! What holds for every input.

use proptest::prelude::*;

use super::*;

fn any_count() -> impl Strategy<Value = RsCount> {
    (any::<i32>(), any::<i32>(), any::<i32>()).prop_map(|(spec, current, available)| RsCount {
        spec,
        current,
        available,
    })
}

prop_compose! {
    fn sane_count(max: i32)(spec in 0..=max)(spec in Just(spec), available in 0..=spec) -> RsCount {
        RsCount::new(spec, available)
    }
}

fn any_step() -> impl Strategy<Value = StepSize> {
    (
        any::<Option<i32>>(),
        any::<Option<(bool, Option<i32>, Option<i32>)>>(),
    )
        .prop_map(|(weight, scale)| StepSize {
            weight,
            scale: scale.map(|(m, r, w)| CanaryScale::new(m, r, w)),
        })
}

proptest! {
    /// SE-12: nothing panics or goes below zero, whatever is stored.
    #[test]
    fn total_for_any_input(
        replicas in any::<i32>(),
        weight in any::<i32>(),
        whole in any::<i32>(),
        surge in any::<i32>(),
        unavailable in any::<i32>(),
        new in proptest::option::of(any_count()),
        stable in proptest::option::of(any_count()),
        others in proptest::collection::vec(any_count(), 0..3),
        list in proptest::collection::vec(any_step(), 0..4),
        index in any::<Option<i32>>(),
        flags in any::<[bool; 5]>(),
        min_pods in any::<Option<i32>>(),
        abort_delay in any::<Option<i32>>(),
        recorded in any::<Option<(i32, i32)>>(),
        threshold in any::<Option<(bool, i32)>>(),
    ) {
        let fences = Fences::resolve(
            Some(&IntOrString::Int(surge)), Some(&IntOrString::Int(unavailable)), replicas);
        let threshold =
            threshold.map(|(p, v)| if p { Threshold::Percent(v) } else { Threshold::Pods(v) });
        let sizes = Sizes { replicas, weight, fences, new, stable, others: &others, held: 0 };
        let counts = next(&sizes);
        prop_assert!(counts.canary >= 0 && counts.stable >= 0);
        let _ = basic::shortfall(&sizes, threshold);
        let goal = goal(replicas, weight, whole, surge);
        prop_assert!(goal.canary >= 0 && goal.stable >= 0);
        let at = Position {
            steps: &list, index, promote_full: flags[0], has_stable: flags[1], promoted: flags[2],
            aborted: flags[3], whole,
        };
        let want = Routed {
            at, replicas, dynamic: flags[4], min_pods, abort_delay, new, stable,
            recorded: recorded.map(|(canary, stable)| Recorded { canary, stable }),
            leads: flags[0],
        };
        let counts = routed::counts(&want);
        prop_assert!(counts.canary >= 0 && counts.stable >= 0);
        let whole = crate::units::whole_or_default(whole);
        prop_assert!((0..=whole).contains(&routed::weight_back(&want)), "INV-13");
        prop_assert!((0..=whole).contains(&routed::carried(&want, weight)), "INV-13");
        let _ = routed::shortfall(&want, threshold);
        let _ = routed::gate_open(stable, replicas, weight, whole, 0, threshold);
        let _ = (weight_at(&at), weight_before(&at));
    }

    /// INV-4, INV-5: one move never leaves the budgets that held before it.
    #[test]
    fn budgets_hold(
        replicas in 0..40i32,
        weight in 0..=100i32,
        surge in 0..12i32,
        unavailable in 0..12i32,
        new in sane_count(40),
        stable in sane_count(40),
        others in proptest::collection::vec(sane_count(10), 0..2),
    ) {
        let fences = Fences::resolve(
            Some(&IntOrString::Int(surge)), Some(&IntOrString::Int(unavailable)), replicas);
        let sizes =
            Sizes { replicas, weight, fences, new: Some(new), stable: Some(stable), others: &others, held: 0 };
        let counts = next(&sizes);
        let olds: i32 = others.iter().map(|rs| rs.spec).sum();
        let before = new.spec + stable.spec + olds;
        let after = counts.canary + counts.stable + olds;
        prop_assert!(after <= before.max(replicas + fences.surge), "{before} -> {after}");
        let ready = |to: i32, rs: RsCount| rs.available.min(to);
        let had = new.available + stable.available;
        let has = ready(counts.canary, new) + ready(counts.stable, stable);
        let growing = goal(replicas, weight, 100, fences.surge).canary >= new.spec;
        let ignored = if growing { stable.spec - stable.available } else { new.spec - new.available };
        let floor = replicas - fences.unavailable;
        if olds == 0 && ignored == 0 {
            prop_assert!(has >= had.min(floor), "{had} -> {has}, floor {floor}");
        }
    }

    /// Every walk with pods that become available settles at the goal.
    #[test]
    fn settles(
        replicas in 0..30i32,
        weight in 0..=100i32,
        surge in 0..6i32,
        unavailable in 0..6i32,
        canary in 0..30i32,
        stable in 0..30i32,
    ) {
        let mut walk = Walk {
            canary: RsCount::new(canary, canary),
            stable: RsCount::new(stable, stable),
            canary_ready: true,
        };
        let mut rounds = 0;
        loop {
            let seen = walk.to(replicas, weight, &surge.to_string(), &unavailable.to_string());
            rounds += 1;
            if seen.is_empty() || rounds > 3 { break }
        }
        let fences = Fences::resolve(
            Some(&IntOrString::Int(surge)), Some(&IntOrString::Int(unavailable)), replicas);
        let goal = goal(replicas, weight, 100, fences.surge);
        prop_assert_eq!((walk.canary.spec, walk.stable.spec), (goal.canary, goal.stable));
    }
}
