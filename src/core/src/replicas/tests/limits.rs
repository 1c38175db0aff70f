//! No more pods than a rule asks for, and no fewer.

use super::*;
use crate::replicas::{CanaryScale, Counts};

/// CTL-33, INV-5: both versions fit under the ceiling again after `spec.replicas` fell: what the floor
/// needs is kept of the growing side, and not one pod more.
#[test]
fn what_is_kept_is_what_the_floor_needs() {
    for (new, stable, to) in [
        ("2/2", "5/5", "1/4"),
        ("2/0", "6/6", "1/4"),
        ("3/1", "5/5", "1/4"),
    ] {
        let got = next(&Sizes {
            replicas: 4,
            weight: 25,
            fences: fences("1", "1", 4),
            new: Some(rs(new)),
            stable: Some(rs(stable)),
            others: &[],
            held: 0,
        });
        let got = format!("{}/{}", got.canary, got.stable);
        assert_eq!(got, to, "{new} {stable}");
    }
}

/// INV-1, INV-3, CTL-46: sized by hand to nothing, a canary has a pod as soon as it is to have a share,
/// and none for none.
#[test]
fn a_share_to_come_needs_a_pod() {
    for (weight, recorded, canary) in [
        (25, None, 1),
        (0, None, 0),
        (
            0,
            Some(Recorded {
                canary: 5,
                stable: 95,
            }),
            1,
        ),
        (
            0,
            Some(Recorded {
                canary: 0,
                stable: 100,
            }),
            0,
        ),
    ] {
        let steps = [
            StepSize {
                weight: Some(weight),
                scale: None,
            },
            StepSize {
                weight: None,
                scale: Some(CanaryScale::Replicas(0)),
            },
        ];
        let counts = routed::counts(&Routed {
            at: at(&steps, 1),
            replicas: 4,
            dynamic: false,
            min_pods: None,
            abort_delay: None,
            new: Some(RsCount::default()),
            stable: Some(RsCount::new(4, 4)),
            recorded,
            leads: false,
        });
        assert_eq!(
            counts,
            Counts { canary, stable: 4 },
            "{weight} {recorded:?}"
        );
    }
}

/// CTL-46: `setCanaryScale` governs while an update is under way: not past a promotion, nor after an abort
/// that does not keep the canary up.
#[test]
fn a_scale_by_hand_ends_with_the_update() {
    let steps = [StepSize {
        weight: None,
        scale: Some(CanaryScale::Replicas(3)),
    }];
    let size = |change: fn(&mut Position<'_>), abort_delay| {
        let mut position = at(&steps, 0);
        change(&mut position);
        let counts = routed::counts(&Routed {
            at: position,
            replicas: 10,
            dynamic: false,
            min_pods: None,
            abort_delay,
            new: Some(RsCount::new(3, 3)),
            stable: Some(RsCount::new(10, 10)),
            recorded: None,
            leads: false,
        });
        counts.canary
    };
    assert_eq!(size(|_| {}, None), 3);
    assert_eq!(size(|at| at.promoted = true, None), 10);
    assert_eq!(size(|at| at.promote_full = true, None), 10);
    assert_eq!(size(|at| at.aborted = true, None), 0);
    assert_eq!(size(|at| at.aborted = true, Some(30)), 0);
    assert_eq!(size(|at| at.aborted = true, Some(0)), 3, "kept up");
}

/// CTL-33, INV-10: pods that do not serve make room for others only where there is none.
#[test]
fn nothing_makes_room_where_there_is_room() {
    for (surge, to) in [("3", "2/3"), ("2", "1/3")] {
        let got = next(&Sizes {
            replicas: 4,
            weight: 25,
            fences: fences(surge, "1", 4),
            new: Some(rs("2/0")),
            stable: Some(rs("2/2")),
            others: &[rs("1/1")],
            held: 0,
        });
        let got = format!("{}/{}", got.canary, got.stable);
        assert_eq!(got, to, "surge {surge}");
    }
}
