//! A fixed part of what `cargo xtask sim` plays.

use super::{Case, shrink};

/// Schedules of an ordinary test run.
const SEEDS: u64 = 2_000;

/// INV-1..11, INV-13..16: whatever happens, after every decision, and at the end.
#[test]
fn random_schedules_keep_every_invariant() {
    for seed in 0..SEEDS {
        let case = Case::of(seed);
        let Some(failure) = case.run().failure else {
            continue;
        };
        let small = shrink(&case);
        let story = small.replay();
        panic!(
            "{failure}\n\nin small, replayed by `cargo xtask sim --replay {small}`:\n{}\n{}",
            story.story.join("\n"),
            story.failure.unwrap_or_default()
        );
    }
}

/// Parts of schedules that broke an invariant once, beside those that became tests of their own: pods
/// that are going are not counted on (INV-4), a fast rollback needs no new proof (INV-9), an index
/// says nothing about steps that were changed since (INV-14), looking is no unrest (INV-8), pods
/// that serve stay through an undo (INV-4), and so does doubt about a split through a crash (INV-3).
/// A Service of all versions is not narrowed too early (FLT-22), a new router gives nothing to a stable
/// version without pods (INV-1), a Deployment shrinks for pods that are there (CTL-146), and a stale
/// abort scales no stable version away (INV-3).
/// Ping or pong is with the version that becomes stable (INV-1), a changed `maxTrafficWeight` leaves
/// recorded shares what they are (INV-3), a Service stays with pods that suffice (INV-2), and the last
/// pods behind a Service for all versions stay (INV-1).
/// The last available pods stay (INV-1), Services wait for proof that a promotion's traffic has left them
/// (FLT-10), a refused spec begins nothing (INV-8), a passed checkpoint holds up no analysis (CTL-113), and
/// at zero replicas a Service does not go back and forth (INV-8).
#[test]
fn what_failed_once_holds() {
    let cases = [
        "3596:0,1,4,5,6,7,12,17,20,21",
        "4050:0,1,2,3",
        "1779:10,11,18,32",
        "2441:12,13,14,17",
        "4377:13,14,15,27",
        "3419:0,1,16",
        "4188:0,1,6,7,11,23",
        "3531:0,1,11,13,18,20,21,25",
        "4661:0,1,2,4,31,32",
        "4911:0,1,2,5,6,9,14,15",
        "198:0,1,18,19",
        "538:15,1,4,17",
        "1202:0,1,19",
        "489:0,1,10,22,25,26,42,31,43",
        "78:20,21,0,1",
        "3754:34,2,9,10,15,21,22,27,30",
        "41301:4,5,6,16,20,21",
        "16386:1,3,10,20,21",
        "12544:0,1,2,7,8,9,10",
        "18344:15,16,18,30,35",
        "9698:0,1,3,23,40",
        "25800:0,1,9,14,15,17,23,27,28",
        "48654:0,1,3,29,30,32,35,37",
        "20615:0,1,4,7,8,12,16,20",
        "36868:0,1,3,25,31,33,36",
        "2874:0,1,3,40,5,7,9,22",
        "18383:8,1,3,10",
        "18776:1,2,12,14,42,20,25",
        "39654:2,13,22,24,26",
        "48821:0,1,6,21",
        "67571:2,3,5,26,28,29,34",
        "70334:0,1,24,2,8,18,19",
        "85962:10,11,24,26,27,37",
        "86384:6,2,3",
        "88103:0,1,18,24,36,26,38",
        "93690:27,28,31,32,33,35",
        "95555:0,1,2,4,7",
        "26889:0,1,4,7,10,12",
        "105774:1,2,6,12,13,22,23",
        "218362:0,1,37,26,32,38",
        "107774:1,7,14,25,42,34",
        "110909:0,1,4,8,11,13,14,19,20",
        "169892:0,1,7,9,10,11,13,14,15,23,24,29",
        "196706:4,5,9,10,13,15,16,17,19,20,22,25,27",
    ];
    for text in cases {
        let failure = text.parse::<Case>().unwrap().run().failure;
        assert_eq!(failure, None, "{text}");
    }
}

#[test]
fn a_case_is_written_as_it_is_read() {
    for text in ["7", "7:", "7:0,2,31"] {
        assert_eq!(text.parse::<Case>().unwrap().to_string(), text);
    }
    assert!("x".parse::<Case>().is_err() && "7:x".parse::<Case>().is_err());
}

#[test]
fn a_seed_gives_the_same_story_for_ever() {
    let case = Case::of(11);
    assert_eq!(case.replay().story, case.replay().story);
}
