use serde_json::json;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// Plays facts at their seconds; what is stored is told relative to the start.
fn play(facts: &[(i64, Facts)]) -> (String, Vec<Ended>) {
    let (mut stored, mut ended) = (None, Vec::new());
    for (second, facts) in facts {
        let (next, end) = track(
            stored.as_ref(),
            *facts,
            &RolloutStatus::default(),
            at(*second),
        );
        stored = next;
        ended.extend(end);
    }
    let Some(d) = stored else {
        return ("none".into(), ended);
    };
    let rel = |t: Option<sluice_crds::Time>| t.map(|t| t.timestamp().as_second() - 1_800_000_000);
    let mut text = format!("start {:?}", rel(d.rollout_started_at).unwrap());
    if let Some(since) = rel(d.manual_pause_started_at) {
        text += &format!(" paused {since}");
    }
    if let Some(total) = d.total_manual_pause_duration_seconds {
        text += &format!(" held {total}");
    }
    if let Some(end) = rel(d.finished_at) {
        text += &format!(" end {end}");
    }
    (
        format!("{text} {}", d.completion_status)
            .trim_end()
            .to_owned(),
        ended,
    )
}

/// API-34, CTL-135; the first four rows are the life of `01-canary-basic`.
#[test]
fn attempts() {
    let none = Facts::default();
    let changed = Facts {
        changed: true,
        ..none
    };
    let held = Facts {
        manual_pause: true,
        ..none
    };
    let stable = Facts {
        stable: true,
        available: true,
        ..none
    };
    let aborted = Facts {
        aborted: true,
        ..none
    };
    type Row<'a> = (&'a str, &'a [(i64, Facts)], &'a str);
    let rows: &[Row<'_>] = &[
        (
            "first deploy",
            &[(0, changed), (4, stable)],
            "start 0 end 4 Promoted",
        ),
        (
            "held",
            &[(0, changed), (1, held), (9, held)],
            "start 0 paused 1",
        ),
        (
            "abort out of a pause",
            &[(0, changed), (1, held), (61, aborted)],
            "start 0 held 60 end 61 Aborted",
        ),
        (
            "retry, then promote --full",
            &[
                (0, changed),
                (5, aborted),
                (
                    9,
                    Facts {
                        retried: true,
                        ..none
                    },
                ),
                (10, held),
                (
                    29,
                    Facts {
                        promoted_full: true,
                        stable: true,
                        ..none
                    },
                ),
                (31, stable),
            ],
            "start 9 held 19 end 31 FastPromoted",
        ),
        (
            "two pauses add up",
            &[(0, changed), (1, held), (3, none), (4, held), (9, none)],
            "start 0 held 7",
        ),
        ("superseded", &[(0, changed), (5, changed)], "start 5"),
        (
            "rolled back",
            &[
                (0, changed),
                (
                    5,
                    Facts {
                        rollback: true,
                        ..changed
                    },
                ),
                (7, stable),
            ],
            "start 0 end 7 RolledBack",
        ),
        (
            "rolled back at once",
            &[
                (0, changed),
                (
                    5,
                    Facts {
                        rollback: true,
                        fast: true,
                        ..changed
                    },
                ),
                (7, stable),
            ],
            "start 0 end 7 FastRolledBack",
        ),
        (
            "steps edited at rest",
            &[
                (0, changed),
                (4, stable),
                (
                    9,
                    Facts {
                        changed: true,
                        ..stable
                    },
                ),
            ],
            "start 0 end 4 Promoted",
        ),
        (
            "at rest",
            &[(0, changed), (4, stable), (9, stable)],
            "start 0 end 4 Promoted",
        ),
        ("never seen", &[(0, none)], "none"),
    ];
    for (name, facts, want) in rows {
        assert_eq!(play(facts).0, *want, "{name}");
    }
    let superseded = play(&[(0, changed), (5, changed)]).1;
    let want = Ended {
        outcome: "Superseded".into(),
        total_seconds: 5,
        manual_pause_seconds: 0,
    };
    assert_eq!(superseded, vec![want]);
    let once = play(&[(0, changed), (4, stable), (9, stable)]).1;
    assert_eq!(once.len(), 1, "an end is told once");
}

/// CTL-135: frozen while the spec is invalid.
#[test]
fn frozen_while_invalid() {
    let mut status = RolloutStatus::default();
    crate::conditions::set_invalid_spec(&mut status.conditions, "web", "no", at(0));
    let stored = begin(at(0));
    let facts = Facts {
        aborted: true,
        ..Facts::default()
    };
    assert_eq!(
        track(Some(&stored), facts, &status, at(9)),
        (Some(stored), None)
    );
}

#[test]
fn manual_pauses() {
    let held = |spec: serde_json::Value, reason: &str| {
        let spec = serde_json::from_value(spec).unwrap();
        let status = serde_json::from_value(json!({
            "currentStepIndex": 0,
            "pauseConditions": [{"reason": reason, "startTime": "2026-11-21T03:44:51Z"}],
        }));
        manually_paused(&spec, &status.unwrap())
    };
    let steps =
        |pause: serde_json::Value| json!({"strategy": {"canary": {"steps": [{"pause": pause}]}}});
    assert!(held(steps(json!({})), "CanaryPauseStep"));
    assert!(!held(steps(json!({"duration": 5})), "CanaryPauseStep"));
    assert!(held(
        steps(json!({"duration": 5})),
        "InconclusiveAnalysisRun"
    ));
    let blue_green =
        |auto: bool| json!({"strategy": {"blueGreen": {"autoPromotionEnabled": auto}}});
    assert!(held(blue_green(false), "BlueGreenPause"));
    assert!(!held(blue_green(true), "BlueGreenPause"));
    assert!(manually_paused(
        &serde_json::from_value(json!({"paused": true})).unwrap(),
        &RolloutStatus::default()
    ));
}
