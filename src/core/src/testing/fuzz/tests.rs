//! A fixed part of what `cargo xtask sim` plays.

use super::{Case, shrink};

/// Schedules of an ordinary test run.
const SEEDS: u64 = 200;

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
