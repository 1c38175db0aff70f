//! What is asked for, and what is given up, once a run is being stopped.

use super::*;

fn two(first: Value) -> AnalysisRun {
    analysis_run("r", [first, metric("other", json!({ "interval": "1h" }))])
}

/// ANA-11, ANA-19: what is open is stopped once, and the run ends with that, also where a provider does not say that it
/// has ended.
#[test]
fn what_is_open_is_stopped_once() {
    let mut play = Play::new(two(job("job", json!({}))), &[("job", "o o o o")]);
    play.pass();
    play.pass();
    play.terminate();
    let plan = play.pass();
    let kinds: Vec<_> = plan.tasks.iter().map(|task| task.kind).collect();
    assert_eq!(kinds, [TaskKind::Terminate]);
    assert!(!play.status().phase.completed());
    let plan = play.pass();
    assert!(plan.tasks.is_empty(), "{:?}", plan.tasks);
    assert!(play.status().phase.completed());
}

/// ANA-10, ANA-11: of a run that is being stopped, what only answers a question is given up; what leaves
/// something behind is waited for.
#[test]
fn only_what_leaves_traces_is_waited_for() {
    let run = analysis_run("r", [metric("short", json!({})), job("long", json!({}))]);
    let mut play = Play::new(run, &[("short", "-"), ("long", "-")]);
    let plan = play.pass();
    assert_eq!(plan.tasks.len(), 2);
    let plan = play.pass();
    assert!(plan.cancel.is_empty(), "{:?}", plan.cancel);
    play.terminate();
    let plan = play.pass();
    assert_eq!(plan.cancel.into_iter().collect::<Vec<_>>(), ["short"]);
    assert!(!play.status().phase.completed());
}

/// ANA-16: work for a metric that has its verdict is given up, while the run goes on for others.
#[test]
fn work_for_a_metric_with_a_verdict_is_given_up() {
    let mut play = Play::new(two(metric("done", json!({ "count": 1 }))), &[("done", "s")]);
    play.pass();
    play.pass();
    let status = play.status();
    assert_eq!(status.phase, AnalysisPhase::Running);
    assert_eq!(status.metric_results[0].phase, AnalysisPhase::Successful);
    play.seen.in_flight.insert("done".into());
    play.seen.in_flight.insert("gone".into());
    let plan = play.pass();
    assert_eq!(
        plan.cancel.into_iter().collect::<Vec<_>>(),
        ["done", "gone"]
    );
}
