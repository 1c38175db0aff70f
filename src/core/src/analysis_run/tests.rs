use serde_json::{Value, json};
use sluice_crds::AnalysisRun;

use super::*;
use crate::testing::{analysis_run, at};

mod ends;
mod moments;
mod records;
mod secrets;

/// Plays a run against scripted measurements, jumping from wake-up to wake-up.
struct Play {
    seen: ObservedRun,
    now: Timestamp,
    script: BTreeMap<String, Vec<&'static str>>,
    log: Vec<String>,
}

fn metric(name: &str, extra: Value) -> Value {
    let mut metric = json!({"name": name, "provider": {"web": {"url": "http://x"}}});
    for (key, value) in extra.as_object().unwrap() {
        metric[key] = value.clone();
    }
    metric
}

fn job(name: &str, extra: Value) -> Value {
    let mut metric = metric(name, extra);
    metric["provider"] = json!({"job": {"spec": {}}});
    metric
}

impl Play {
    fn new(run: AnalysisRun, script: &[(&str, &'static str)]) -> Self {
        let words = |text: &'static str| text.split_whitespace().rev().collect();
        Self {
            seen: ObservedRun {
                run: Arc::new(run),
                ..ObservedRun::default()
            },
            now: at(0),
            script: script
                .iter()
                .map(|(m, text)| ((*m).to_owned(), words(text)))
                .collect(),
            log: Vec::new(),
        }
    }

    fn spec(mut self, extra: Value) -> Self {
        let mut run = (*self.seen.run).clone();
        let mut spec = serde_json::to_value(&run.spec).unwrap();
        for (key, value) in extra.as_object().unwrap() {
            spec[key] = value.clone();
        }
        run.spec = serde_json::from_value(spec).unwrap();
        self.seen.run = Arc::new(run);
        self
    }

    fn status(&self) -> AnalysisRunStatus {
        self.seen.run.status.clone().unwrap_or_default()
    }

    fn terminate(&mut self) {
        let mut run = (*self.seen.run).clone();
        run.spec.terminate = true;
        self.seen.run = Arc::new(run);
    }

    /// One pass; measurements arrive at once. Word of the script: first letter of the phase, `o`
    /// for one that stays open.
    fn pass(&mut self) -> RunPlan {
        let plan = decide_run(&self.seen, self.now);
        self.seen.results.clear();
        self.seen.ended_jobs.clear();
        if let Some(status) = &plan.status {
            let mut run = (*self.seen.run).clone();
            run.status = Some((**status).clone());
            self.seen.run = Arc::new(run);
        }
        for event in &plan.events {
            self.log.push(event.message.clone());
        }
        for task in &plan.tasks {
            let words = self.script.entry(task.metric.clone()).or_default();
            let word = words.pop().unwrap_or("s");
            self.log.push(format!(
                "{}s {} {:?}",
                self.second(),
                task.metric,
                task.kind
            ));
            if word == "-" {
                self.seen.in_flight.insert(task.metric.clone());
                continue;
            }
            self.deliver(task.kind, &task.metric, task.measurement.clone(), word);
        }
        plan
    }

    fn second(&self) -> i64 {
        self.now.duration_since(at(0)).as_secs()
    }

    fn deliver(&mut self, kind: TaskKind, metric: &str, open: Option<Measurement>, word: &str) {
        let phase = match word {
            "s" => AnalysisPhase::Successful,
            "f" => AnalysisPhase::Failed,
            "e" => AnalysisPhase::Error,
            "i" => AnalysisPhase::Inconclusive,
            _ => AnalysisPhase::Running,
        };
        let message = if word == "e" {
            "no answer".to_owned()
        } else {
            String::new()
        };
        let measurement = Measurement {
            phase,
            message,
            ..open.unwrap_or_default()
        };
        self.seen.in_flight.remove(metric);
        self.seen.results.push(TaskResult {
            metric: metric.to_owned(),
            kind,
            outcome: Outcome::Measured(measurement),
            metadata: BTreeMap::new(),
        });
    }

    /// Runs to the end (or until nothing is due); answers phase, message and events.
    fn end(&mut self) -> String {
        for _ in 0..60 {
            let plan = self.pass();
            if self.status().phase.completed() {
                break;
            }
            if self.seen.results.is_empty() {
                let Some(wake) = plan.wake else { break };
                assert!(!plan.why.is_empty(), "INV-15");
                self.now = self.now.max(wake);
            }
        }
        let status = self.status();
        let sums = status.run_summary;
        let sums = [sums.successful, sums.failed, sums.inconclusive, sums.error];
        format!(
            "{}s {} {sums:?} {}",
            self.second(),
            status.phase,
            status.message
        )
        .trim()
        .to_owned()
    }
}

fn play(extra: Value, script: &'static str) -> String {
    Play::new(analysis_run("r", [metric("m", extra)]), &[("m", script)]).end()
}

/// ANA-10, ANA-11, ANA-14..16, ANA-18, ANA-19
#[test]
fn one_metric() {
    let rows: &[(&str, Value, &str, &str)] = &[
        ("once", json!({}), "s", "0s Successful [1, 0, 0, 0]"),
        (
            "one failure fails",
            json!({}),
            "f",
            "0s Failed [0, 1, 0, 0] Metric \"m\" assessed Failed due to failed (1) > failureLimit (0)",
        ),
        (
            "inconclusive",
            json!({}),
            "i",
            "0s Inconclusive [0, 0, 1, 0] Metric \"m\" assessed Inconclusive due to inconclusive (1) > inconclusiveLimit (0)",
        ),
        (
            "five errors in a row, 10 s apart",
            json!({}),
            "e e e e e",
            "40s Error [0, 0, 0, 1] Metric \"m\" assessed Error due to consecutiveErrors (5) > consecutiveErrorLimit (4): \"Error Message: no answer\"",
        ),
        (
            "errors do not count",
            json!({}),
            "e e e e s",
            "40s Successful [1, 0, 0, 0]",
        ),
        (
            "count and interval",
            json!({"count": 3, "interval": "1m"}),
            "s s s",
            "120s Successful [1, 0, 0, 0]",
        ),
        (
            "failures within the limit",
            json!({"count": "3", "interval": "5s", "failureLimit": 1}),
            "s f s",
            "10s Successful [1, 0, 0, 0]",
        ),
        (
            "beyond it",
            json!({"interval": "5s", "failureLimit": 1}),
            "s f s f",
            "15s Failed [0, 1, 0, 0] Metric \"m\" assessed Failed due to failed (2) > failureLimit (1)",
        ),
        (
            "initial delay",
            json!({"initialDelay": "30s"}),
            "s",
            "30s Successful [1, 0, 0, 0]",
        ),
        (
            "enough in a row",
            json!({"interval": "5s", "failureLimit": -1, "consecutiveSuccessLimit": 2}),
            "s f s s",
            "15s Successful [1, 0, 0, 0]",
        ),
        (
            "too few in a row",
            json!({"count": 3, "interval": "5s", "failureLimit": 1, "consecutiveSuccessLimit": 2}),
            "s f s",
            "10s Inconclusive [0, 0, 1, 0] Metric \"m\" assessed Inconclusive due to consecutiveSuccess (1) < consecutiveSuccessLimit (2)",
        ),
        (
            "too few in a row, failures do not matter",
            json!({"count": 3, "interval": "5s", "failureLimit": -1, "consecutiveSuccessLimit": 2}),
            "s f s",
            "10s Failed [0, 1, 0, 0] Metric \"m\" assessed Failed due to consecutiveSuccess (1) < consecutiveSuccessLimit (2)",
        ),
    ];
    for (name, extra, script, want) in rows {
        assert_eq!(play(extra.clone(), script), *want, "{name}");
    }
}

/// ANA-18, ANA-91: events, order of results (ASE-5), the other metrics are closed.
#[test]
fn a_failure_ends_the_others() {
    let run = analysis_run(
        "r",
        [
            metric("slow", json!({"interval": "1h"})),
            metric("bad", json!({})),
            metric("late", json!({"initialDelay": "1h"})),
        ],
    );
    let mut play = Play::new(run, &[("slow", "s"), ("bad", "f")]);
    assert_eq!(
        play.end(),
        "0s Failed [1, 1, 0, 0] Metric \"bad\" assessed Failed due to failed (1) > failureLimit (0)"
    );
    assert_eq!(
        play.log,
        [
            "0s slow Start",
            "0s bad Start",
            "Metric 'bad' Completed. Result: Failed",
            "Metric 'slow' Completed. Result: Successful",
            "Analysis Completed. Result: Failed"
        ]
    );
    let status = play.status();
    let names: Vec<_> = status
        .metric_results
        .iter()
        .map(|r| r.name.as_str())
        .collect();
    assert_eq!(names, ["slow", "bad"]);
    assert_eq!(status.run_summary.count, 3);
    assert!(status.completed_at.is_some());
}

/// A slow provider does not hold up the verdict, and its work is cancelled.
#[test]
fn a_slow_provider_holds_nobody_up() {
    let run = analysis_run("r", [metric("slow", json!({})), metric("bad", json!({}))]);
    let mut play = Play::new(run, &[("slow", "-"), ("bad", "f")]);
    play.pass();
    assert_eq!(play.status().phase, AnalysisPhase::Running);
    assert!(
        play.status().started_at.is_some(),
        "ASE-15: set before anything was measured"
    );
    let plan = play.pass();
    assert_eq!(play.status().phase, AnalysisPhase::Failed);
    assert_eq!(plan.cancel.into_iter().collect::<Vec<_>>(), ["slow"]);
}

/// A Job that was just asked for is awaited, then stopped: nothing is left behind.
#[test]
fn a_job_in_flight_is_awaited_and_stopped() {
    let run = analysis_run("r", [job("job", json!({})), metric("bad", json!({}))]);
    let mut play = Play::new(run, &[("job", "- i"), ("bad", "f")]);
    play.pass();
    let plan = play.pass();
    assert_eq!(play.status().phase, AnalysisPhase::Running);
    assert!(plan.cancel.is_empty() && plan.tasks.is_empty());
    play.deliver(TaskKind::Start, "job", None, "o");
    assert_eq!(play.pass().tasks[0].kind, TaskKind::Terminate);
    play.pass();
    let status = play.status();
    assert_eq!(status.phase, AnalysisPhase::Failed);
    assert_eq!(
        status.metric_results[0].measurements[0].message,
        "Metric Terminated"
    );
    assert_eq!(status.metric_results[0].phase, AnalysisPhase::Inconclusive);
}

/// ANA-11, ANA-13: open measurements, their time, and an ended Job that is seen at once (ASE-12).
#[test]
fn open_measurements() {
    let mut play = Play::new(
        analysis_run("r", [job("m", json!({}))]),
        &[("m", "o o o s")],
    );
    play.pass();
    let plan = play.pass();
    assert!(
        plan.tasks.is_empty(),
        "looked at just now, and no time is named"
    );
    assert_eq!(plan.wake, Some(at(10)));
    play.now = at(10);
    assert_eq!(play.pass().tasks[0].kind, TaskKind::Resume);
    let resume_at = |play: &mut Play, second| {
        let mut run = (*play.seen.run).clone();
        run.status.as_mut().unwrap().metric_results[0].measurements[0].resume_at =
            Some(at(second).into());
        play.seen.run = Arc::new(run);
        play.seen.results.clear();
    };
    resume_at(&mut play, 60);
    let plan = play.pass();
    assert!(plan.tasks.is_empty());
    assert_eq!(plan.wake, Some(at(60)));
    play.seen.ended_jobs.insert("m".into());
    assert_eq!(play.pass().tasks.len(), 1, "the Job has ended");
    resume_at(&mut play, 60);
    play.now = at(60);
    assert_eq!(play.pass().tasks.len(), 1);
    play.pass();
    assert_eq!(play.status().phase, AnalysisPhase::Successful);
}

/// ANA-19: terminated between measurements, and before any.
#[test]
fn terminated() {
    let mut play = Play::new(
        analysis_run("r", [metric("m", json!({"interval": "1h"}))]),
        &[],
    );
    play.pass();
    play.pass();
    play.terminate();
    assert_eq!(play.end(), "0s Successful [1, 0, 0, 0] Run Terminated");
    let mut early = Play::new(analysis_run("r", [metric("m", json!({}))]), &[]);
    early.terminate();
    assert_eq!(early.end(), "0s Successful [0, 0, 0, 0] Run Terminated");
    assert_eq!(early.status().run_summary.count, 1);
}

/// ANA-9, ANA-18: a dry-run metric changes nothing.
#[test]
fn dry_run() {
    let run = analysis_run("r", [metric("dry-1", json!({})), metric("real", json!({}))]);
    let mut play = Play::new(run, &[("dry-1", "f"), ("real", "s")])
        .spec(json!({"dryRun": [{"metricName": "dry"}]}));
    assert_eq!(play.end(), "0s Successful [1, 0, 0, 0]");
    let status = play.status();
    assert_eq!(status.dry_run_summary.clone().unwrap().failed, 1);
    assert!(status.metric_results[0].dry_run);
    assert_eq!(
        status.metric_results[0].message,
        "Metric assessed Failed due to failed (1) > failureLimit (0)"
    );
    let only = analysis_run("r", [metric("dry", json!({}))]);
    let mut play = Play::new(only, &[("dry", "f")]).spec(json!({"dryRun": [{"metricName": ".*"}]}));
    assert_eq!(play.end(), "0s Successful [0, 0, 0, 0]");
}

/// ANA-21
#[test]
fn history_is_trimmed() {
    let run = analysis_run("r", [metric("m", json!({"interval": "1s", "count": 13}))]);
    let mut play = Play::new(run.clone(), &[]);
    play.end();
    let result = &play.status().metric_results[0];
    assert_eq!(
        (result.measurements.len(), result.count),
        (10, 13),
        "counters are never trimmed"
    );
    let mut play = Play::new(run, &[])
        .spec(json!({"measurementRetention": [{"metricName": "^m$", "limit": 2}]}));
    let mut garbage = Vec::new();
    for _ in 0..8 {
        let plan = play.pass();
        garbage.extend(plan.garbage);
        play.now = plan.wake.unwrap_or(play.now);
    }
    assert_eq!(play.status().metric_results[0].measurements.len(), 2);
    let first = Garbage {
        index: 0,
        metric: "m".to_owned(),
        keep: 2,
    };
    assert_eq!(garbage[0], first);
}

fn refused(run: AnalysisRun, extra: Value) -> String {
    let mut play = Play::new(run, &[]).spec(extra);
    let plan = play.pass();
    assert!(plan.tasks.is_empty());
    let status = play.status();
    assert_eq!(status.phase, AnalysisPhase::Error);
    assert!(
        status.started_at.is_some() && status.completed_at.is_some(),
        "ASE-1"
    );
    assert_eq!(play.log, ["Analysis Completed. Result: Error"]);
    status.message
}

/// ANA-8, ANA-9
#[test]
fn invalid_specs() {
    let one = |extra: Value| refused(analysis_run("r", [metric("m", extra)]), json!({}));
    let rows = [
        (
            json!({"consecutiveSuccessLimit": -1}),
            "consecutiveSuccessLimit must be >= 0",
        ),
        (
            json!({"failureLimit": -2}),
            "failureLimit must be >= 0, or -1 to be disabled",
        ),
        (
            json!({"failureLimit": -1}),
            "failureLimit and consecutiveSuccessLimit cannot both be disabled",
        ),
        (
            json!({"inconclusiveLimit": -1}),
            "inconclusiveLimit must be >= 0",
        ),
        (
            json!({"consecutiveErrorLimit": -1}),
            "consecutiveErrorLimit must be >= 0",
        ),
        (
            json!({"count": 2, "failureLimit": 2, "consecutiveSuccessLimit": 1, "interval": "1s"}),
            "count (2) must be >= failureLimit + consecutiveSuccessLimit (2 + 1) if both >= 0",
        ),
        (
            json!({"count": 2, "failureLimit": -1, "consecutiveSuccessLimit": 3}),
            "count must be >= consecutiveSuccessLimit",
        ),
        (
            json!({"count": 2, "inconclusiveLimit": 3}),
            "count must be >= inconclusiveLimit",
        ),
        (
            json!({"count": 2}),
            "interval must be specified when count > 1",
        ),
        (
            json!({"interval": "5"}),
            "invalid interval string: time: missing unit in duration \"5\"",
        ),
        (
            json!({"initialDelay": "asdf"}),
            "invalid startDelay string: time: invalid duration \"asdf\"",
        ),
        (json!({"provider": {}}), "no provider specified"),
        (
            json!({"provider": {"web": {"url": "x"}, "plugin": {"a": {}}}}),
            "multiple providers specified",
        ),
    ];
    for (extra, want) in rows {
        assert_eq!(
            one(extra),
            format!("Analysis spec invalid: metrics[0]: {want}")
        );
    }
    assert_eq!(
        refused(analysis_run("r", []), json!({})),
        "Analysis spec invalid: no metrics specified"
    );
    let twice = analysis_run("r", [metric("m", json!({})), metric("m", json!({}))]);
    assert_eq!(
        refused(twice, json!({})),
        "Analysis spec invalid: metrics[1]: duplicate name 'm'"
    );
    let run = || analysis_run("r", [metric("m", json!({}))]);
    assert_eq!(
        refused(
            run(),
            json!({"dryRun": [{"metricName": "m"}, {"metricName": "*"}]})
        ),
        "Analysis spec invalid: dryRun[1]: Rule didn't match any metric name(s)"
    );
    assert_eq!(
        refused(
            run(),
            json!({"measurementRetention": [{"metricName": "x", "limit": 1}]})
        ),
        "Analysis spec invalid: measurementRetention[0]: Rule didn't match any metric name(s)"
    );
}

/// ANA-30, ANA-31
#[test]
fn arguments() {
    let resolve = |query: &str, args: Value, secrets: &[(&str, &str)]| {
        let run = analysis_run("r", [metric("m", json!({"successCondition": query}))]);
        let run = Play::new(run, &[]).spec(json!({"args": args})).seen.run;
        let secrets = secrets
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        args::resolve(&run.spec.metrics[0], &run.spec, &secrets)
            .map(|metric| metric.success_condition)
    };
    let given = json!([{"name": "a.b", "value": "x\"\\\u{1}<y>"}, {"name": "n", "value": "5"}]);
    assert_eq!(
        resolve("{{ args.a.b }}-{{args.n}}", given.clone(), &[]).unwrap(),
        "x\"\\\u{1}<y>-5"
    );
    assert_eq!(
        resolve("{{ other }}", given.clone(), &[]).unwrap_err(),
        "failed to resolve {{ other }}"
    );
    assert_eq!(
        resolve("{{{args.n}}}", given.clone(), &[]).unwrap_err(),
        "failed to resolve {{{args.n}}"
    );
    assert!(
        resolve("{{args.n", given, &[]).is_err(),
        "no end, or one far away"
    );
    let secret = json!([{"name": "k", "value": "v", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
    assert_eq!(
        resolve("{{args.k}}", secret.clone(), &[("k", "hidden")]).unwrap(),
        "hidden"
    );
    let field = json!([{"name": "f", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
    assert_eq!(
        resolve("1", field, &[]).unwrap_err(),
        "argument \"f\" was not supplied"
    );
    let counted = analysis_run(
        "r",
        [metric(
            "m",
            json!({"count": "{{args.n}}", "interval": "1s"}),
        )],
    );
    let mut play = Play::new(counted, &[]).spec(json!({"args": [{"name": "n", "value": "3"}]}));
    assert_eq!(play.end(), "2s Successful [1, 0, 0, 0]");
    assert_eq!(
        refused(
            analysis_run("r", [metric("{{args.x}}", json!({}))]),
            json!({})
        ),
        "Unable to resolve metric arguments: failed to resolve {{args.x}}"
    );
}

/// ANA-7.6, ASE-2, ASE-3
#[test]
fn secrets() {
    let mut play = Play::new(analysis_run("r", [metric("m", json!({}))]), &[("m", "-")]).spec(
        json!({"args": [{"name": "k", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
    );
    assert_eq!(
        play.pass().tasks.len(),
        1,
        "planned without reading the Secret"
    );
    play.seen.results.push(TaskResult {
        metric: "m".into(),
        kind: TaskKind::Start,
        outcome: Outcome::ArgumentsUnresolved("key 'k' does not exist in secret 's'".into()),
        metadata: BTreeMap::new(),
    });
    play.pass();
    assert_eq!(
        play.status().message,
        "Unable to resolve metric arguments: key 'k' does not exist in secret 's'"
    );
    let mut measurement = Measurement {
        message: "pw in pw".into(),
        value: "pw".into(),
        metadata: [("q".to_owned(), "x=pw".to_owned())].into(),
        ..Measurement::default()
    };
    args::redact(&mut measurement, ["pw", ""]);
    assert_eq!(measurement.message, "***** in *****");
    assert_eq!(
        (
            measurement.value.as_str(),
            measurement.metadata["q"].as_str()
        ),
        ("*****", "x=*****")
    );
}

/// ANA-24, ASE-6
#[test]
fn time_to_live() {
    let ttl = json!({"ttlStrategy": {"secondsAfterCompletion": 60, "secondsAfterFailure": 5}});
    for (word, seconds) in [("s", 60), ("f", 5), ("i", 60)] {
        let mut play = Play::new(analysis_run("r", [metric("m", json!({}))]), &[("m", word)])
            .spec(ttl.clone());
        play.end();
        let plan = play.pass();
        assert_eq!(plan.wake, Some(at(seconds + 1)));
        assert!(!plan.delete && plan.status.is_none());
        play.now = at(seconds + 1);
        assert!(play.pass().delete, "{word}");
    }
}

/// INV-8: an unchanged run is not written again.
#[test]
fn fixed_point() {
    let mut play = Play::new(
        analysis_run("r", [metric("m", json!({"interval": "1h"}))]),
        &[],
    );
    play.pass();
    play.pass();
    let plan = play.pass();
    assert!(plan.status.is_none() && plan.events.is_empty() && plan.tasks.is_empty());
    assert_eq!(
        plan.wake.map(|at| at.as_second()),
        Some(at(3600).as_second())
    );
}

proptest::proptest! {
    /// Whatever the provider says, passes go on to an end or a wake-up, and results never go back.
    #[test]
    fn always_ends_or_wakes(
        script in proptest::collection::vec("[sfeio]", 0..12),
        count in 0..4i32,
        limits in proptest::collection::vec(0..3i32, 3),
        terminate_at in 0..12usize,
    ) {
        let extra = json!({"interval": "5s", "count": count, "failureLimit": limits[0],
            "inconclusiveLimit": limits[1], "consecutiveErrorLimit": limits[2]});
        let run = analysis_run("r", [job("m", extra), metric("n", json!({"interval": "7s"}))]);
        let mut play = Play::new(run, &[]);
        let words = script.into_iter().map(|w| &*Box::leak(w.into_boxed_str())).collect();
        play.script.insert("m".into(), words);
        let mut phases = Vec::new();
        for round in 0..40 {
            if round == terminate_at { play.terminate() }
            let plan = play.pass();
            let phase = play.status().phase;
            if phase.completed() { phases.push(phase); break }
            let moved = !plan.tasks.is_empty() || plan.wake.is_some() || plan.status.is_some();
            let invalid = play.status().phase == AnalysisPhase::Error;
            proptest::prop_assert!(moved || invalid);
            if plan.tasks.is_empty() { play.now = plan.wake.map_or(play.now, |w| w.max(play.now)) }
        }
        proptest::prop_assert!(!phases.is_empty(), "terminated runs end");
    }
}
