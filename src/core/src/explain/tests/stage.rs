//! A Rollout in the small cluster, what is said of it, and whether that is true.

use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::super::{Explanation, Holder, Scene, Wait, explain};
use crate::commands::{self, Patches, Promotion};
use crate::decide::decide;
use crate::observed::{Observed, Seen};
use crate::plan::Action;
use crate::testing::world::{World, merge};

/// A controller that renewed its lease a second ago.
pub(super) fn leader(world: &World) -> Seen<Vec<Holder>> {
    let renewed = world.now.checked_sub(SignedDuration::from_secs(1));
    Seen::Found(vec![Holder {
        namespace: "argo-rollouts".to_owned(),
        identity: "controller_1".to_owned(),
        renewed: renewed.ok(),
        seconds: 15,
    }])
}

/// What is said of an observation.
pub(super) fn told(
    seen: &Observed,
    pods: &[Arc<Pod>],
    holders: Seen<Vec<Holder>>,
    world: &World,
) -> Explanation {
    let plan = decide(seen, world.now);
    explain(&Scene {
        seen,
        plan: &plan,
        pods,
        holders,
        unread: &[],
        now: world.now,
    })
}

/// What is said of a world with a controller.
pub(super) fn of(world: &World) -> Explanation {
    told(&world.observe(), &[], leader(world), world)
}

/// The same as text.
pub(super) fn said(world: &World) -> String {
    text(&of(world), world)
}

/// The sentences of an explanation, a line each.
pub(super) fn text(told: &Explanation, world: &World) -> String {
    let seconds = |at: jiff::Timestamp| at.duration_since(world.now).as_secs();
    let mut lines = vec![format!("{:?}: {}", told.state, told.summary)];
    for wait in &told.waits {
        let mut line = format!("waits: {} {}: {}", wait.reason, wait.object, wait.message);
        for (word, at) in [
            ("since", wait.since),
            ("until", wait.until),
            ("looked at again", wait.looked_at_again),
        ] {
            if let Some(at) = at {
                line += &format!("; {word} {:+} s", seconds(at));
            }
        }
        lines.push(line);
        lines.extend(wait.command.iter().map(|command| format!("  $ {command}")));
        lines.extend(wait.remedy.iter().map(|remedy| format!("  ! {remedy}")));
        lines.extend(wait.details.iter().map(|line| format!("  {line}")));
    }
    lines.extend(told.next.iter().map(|next| format!("next: {next}")));
    lines.extend(told.then.iter().map(|then| format!("then: {then}")));
    lines.extend(told.give_up.iter().map(|line| format!("give up: {line}")));
    if let Some(deadline) = &told.progress_deadline {
        let (left, aborts) = (seconds(deadline.at), deadline.aborts);
        lines.push(format!("stuck in {left} s, aborts: {aborts}"));
    }
    lines.join("\n")
}

/// The wait of this kind on this object.
pub(super) fn find<'a>(told: &'a Explanation, reason: &str, object: &str) -> Option<&'a Wait> {
    let mut all = told.waits.iter();
    all.find(|wait| (wait.reason, wait.object.as_str()) == (reason, object))
}

/// The one that has to be there.
fn present(world: &World, reason: &str, object: &str) -> Wait {
    let told = of(world);
    let found = find(&told, reason, object).cloned();
    found.unwrap_or_else(|| panic!("no {reason} on {object}: {}", text(&told, world)))
}

fn gone(world: &World, wait: &Wait) {
    let told = of(world);
    let left = find(&told, wait.reason, &wait.object);
    // A wait of the same kind for something else is another one.
    let same = left.is_some_and(|left| left.message == wait.message);
    assert!(!same, "still there: {}", text(&told, world));
}

/// At `until` it is there still; right after that it is gone, without anybody's help.
pub(super) fn ends_by_itself(world: &World, reason: &str, object: &str) {
    let wait = present(world, reason, object);
    let until = wait.until.expect("a time");
    let mut world = world.clone();
    world.now = until.checked_sub(SignedDuration::from_millis(1)).unwrap();
    world.settle();
    let told = of(&world);
    let left = find(&told, reason, object);
    assert_eq!(left.and_then(|left| left.until), Some(until), "too early");
    world.now = until.checked_add(SignedDuration::from_millis(1)).unwrap();
    world.settle();
    gone(&world, &wait);
}

/// Nothing but the command that is named ends it.
pub(super) fn command_moves(world: &World, reason: &str, object: &str) {
    let wait = present(world, reason, object);
    let mut world = world.clone();
    world.settle();
    present(&world, reason, object);
    run(&mut world, wait.command.as_deref().expect("a command"));
    world.settle();
    gone(&world, &wait);
}

/// It is there as long as nothing changes, however often it is looked at, and gone after `change`.
pub(super) fn cured(world: &World, reason: &str, object: &str, change: impl FnOnce(&mut World)) {
    let wait = present(world, reason, object);
    let mut world = world.clone();
    if let Some(again) = wait.looked_at_again {
        let wake = decide(&world.observe(), world.now).wake;
        assert!(
            wake.is_some_and(|at| at <= again),
            "nobody looks then: {wake:?}"
        );
        world.now = again;
    }
    world.settle();
    present(&world, reason, object);
    change(&mut world);
    world.settle();
    gone(&world, &wait);
}

/// Types a command.
pub(super) fn run(world: &mut World, line: &str) {
    let body = line.strip_prefix("kubectl patch rollout web -n shop --type merge -p '");
    if let Some(body) = body.and_then(|rest| rest.strip_suffix('\'')) {
        return main(world, serde_json::from_str(body).unwrap());
    }
    let rest = line.strip_prefix("kubectl argo rollouts ");
    let verb = rest.and_then(|rest| rest.strip_suffix(" -n shop"));
    let verb = verb.unwrap_or_else(|| panic!("{line}"));
    if let Some(name) = verb.strip_prefix("terminate experiment ") {
        let name = name.to_owned();
        world.write(&Action::TerminateExperiment { name }).unwrap();
        return;
    }
    let promotion = |full| Promotion {
        full,
        ..Promotion::default()
    };
    let patches = match verb {
        "promote web" => commands::promote(&world.rollout, promotion(false)).unwrap(),
        "promote web --full" => commands::promote(&world.rollout, promotion(true)).unwrap(),
        "retry rollout web" => commands::retry(),
        "abort web" => commands::abort(),
        other => panic!("not a command for people: {other}"),
    };
    apply(world, patches);
}

fn apply(world: &mut World, patches: Patches) {
    if let Some(patch) = patches.status {
        let mut value = serde_json::to_value(&world.rollout.status).unwrap();
        merge(&mut value, &patch["status"]);
        let changed = serde_json::from_value(value).unwrap();
        world.status(|status| *status = changed);
    }
    if let Some(patch) = patches.main {
        main(world, patch);
    }
}

fn main(world: &mut World, patch: Value) {
    world.write(&Action::PatchRollout { patch }).unwrap();
}

/// On stable, then with another image.
pub(super) fn updating(world: &mut World) {
    world.settle();
    world.set_image("web:v2");
    world.settle();
}
