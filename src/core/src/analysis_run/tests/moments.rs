//! Rules that are about one moment rather than about a life: counters, limits, phases, times.

use super::*;

/// A run whose only metric has these counters, its last measurement of `phase`; the metric's phase
/// after the pass and the run's message.
fn assessed(extra: Value, counters: Value, last: &str) -> String {
    let mut result = json!({"name": "m", "phase": "Running", "measurements": [
        {"phase": last, "startedAt": "2027-01-15T08:00:00Z"}]});
    if last != "Running" {
        result["measurements"][0]["finishedAt"] = json!("2027-01-15T08:00:00Z");
    }
    for (key, value) in counters.as_object().unwrap() {
        result[key] = value.clone();
    }
    let mut run = analysis_run("r", [metric("m", extra)]);
    run.status = Some(
        serde_json::from_value(json!({"phase": "Running", "metricResults": [result]})).unwrap(),
    );
    let mut play = Play::new(run, &[("m", "-")]);
    play.pass();
    let status = play.status();
    format!("{} {}", status.metric_results[0].phase, status.message)
        .trim()
        .to_owned()
}

/// ANA-15: limits are passed strictly, a later one hides an earlier.
#[test]
fn limits() {
    let said =
        |phase: &str, text: &str| format!("{phase} Metric \"m\" assessed {phase} due to {text}");
    let all = json!({"failed": 2, "inconclusive": 2, "consecutiveError": 5, "count": 4});
    for (extra, counters, last, want) in [
        (
            json!({"failureLimit": 2, "interval": "1m"}),
            json!({"failed": 2, "count": 2}),
            "Failed",
            "Running".to_owned(),
        ),
        (
            json!({"failureLimit": "2", "interval": "1m"}),
            json!({"failed": 3, "count": 3}),
            "Failed",
            said("Failed", "failed (3) > failureLimit (2)"),
        ),
        (
            json!({"failureLimit": -1, "consecutiveSuccessLimit": 1, "interval": "1m"}),
            json!({"failed": 30, "count": 30}),
            "Failed",
            "Running".to_owned(),
        ),
        (
            json!({"inconclusiveLimit": 1, "interval": "1m"}),
            json!({"inconclusive": 1, "count": 1}),
            "Inconclusive",
            "Running".to_owned(),
        ),
        (
            json!({"interval": "1m"}),
            json!({"failed": 2, "inconclusive": 2, "count": 4}),
            "Failed",
            said("Inconclusive", "inconclusive (2) > inconclusiveLimit (0)"),
        ),
        (
            json!({"interval": "1m"}),
            json!({"consecutiveError": 4, "error": 4}),
            "Error",
            "Running".to_owned(),
        ),
        (
            json!({"interval": "1m"}),
            all,
            "Error",
            said("Error", "consecutiveErrors (5) > consecutiveErrorLimit (4)"),
        ),
    ] {
        assert_eq!(assessed(extra.clone(), counters, last), want, "{extra}");
    }
}

/// ANA-16: in this order.
#[test]
fn phases_of_a_metric() {
    for (extra, counters, last, want) in [
        (json!({}), json!({"failed": 9}), "Running", "Running"),
        (
            json!({"consecutiveSuccessLimit": 2, "interval": "1m"}),
            json!({"consecutiveSuccess": 2, "count": 2, "successful": 2}),
            "Successful",
            "Successful",
        ),
        (
            json!({"count": 2, "interval": "1m"}),
            json!({"count": 2, "successful": 2}),
            "Successful",
            "Successful",
        ),
        (
            json!({"count": 2, "interval": "1m"}),
            json!({"count": 1, "error": 1}),
            "Error",
            "Running",
        ),
        (
            json!({"interval": "1m"}),
            json!({"count": 200, "successful": 200}),
            "Successful",
            "Running",
        ),
    ] {
        assert_eq!(assessed(extra.clone(), counters, last), want, "{extra}");
    }
}

/// ANA-14
#[test]
fn counters() {
    let mut result = MetricResult::default();
    let mut shown = Vec::new();
    for phase in [
        AnalysisPhase::Successful,
        AnalysisPhase::Successful,
        AnalysisPhase::Error,
        AnalysisPhase::Error,
        AnalysisPhase::Failed,
        AnalysisPhase::Inconclusive,
        AnalysisPhase::Running,
    ] {
        count(&mut result, &phase);
        shown.push([
            result.count,
            result.successful,
            result.failed,
            result.inconclusive,
            result.error,
            result.consecutive_error,
            result.consecutive_success,
        ]);
    }
    assert_eq!(
        shown,
        [
            [1, 1, 0, 0, 0, 0, 1],
            [2, 2, 0, 0, 0, 0, 2],
            [2, 2, 0, 0, 1, 1, 0],
            [2, 2, 0, 0, 2, 2, 0],
            [3, 2, 1, 0, 2, 0, 0],
            [4, 2, 1, 1, 2, 0, 0],
            [4, 2, 1, 1, 2, 0, 0],
        ]
    );
}

/// ANA-10, ANA-2: a count that is no number counts as none.
#[test]
fn counts() {
    let count = |extra: Value| {
        let metric = serde_json::from_value(metric("m", extra)).unwrap();
        rules::effective_count(&metric)
    };
    assert_eq!(count(json!({})), Some(1));
    assert_eq!(count(json!({"count": 0})), Some(1));
    assert_eq!(count(json!({"count": "many"})), Some(1));
    assert_eq!(count(json!({"count": "7", "interval": "1s"})), Some(7));
    assert_eq!(count(json!({"interval": "1s"})), None);
    assert_eq!(count(json!({"count": "0", "interval": "1s"})), None);
}

/// ANA-9: expressions are not anchored; of two retentions the last one counts.
#[test]
fn dry_run_and_retention_rules() {
    let run = analysis_run(
        "r",
        ["error-rate", "latency", "p99-latency"].map(|name| metric(name, json!({}))),
    );
    let play = Play::new(run, &[]).spec(json!({
        "dryRun": [{"metricName": "err.r"}, {"metricName": "^p"}],
        "measurementRetention": [
            {"metricName": ".*", "limit": 3}, {"metricName": "latency$", "limit": 5},
            {"metricName": "p99", "limit": 0}],
    }));
    let spec = &play.seen.run.spec;
    let rules = rules::Rules::new(spec, &spec.metrics);
    let of = |name| (rules.is_dry_run(name), rules.retention(name));
    assert_eq!(of("error-rate"), (true, 3));
    assert_eq!(of("latency"), (false, 5));
    assert_eq!(of("p99-latency"), (true, 10), "0 stands for the default");
}

/// ANA-9, ANA-30: rules see the names that arguments make.
#[test]
fn rules_match_resolved_names() {
    let run = analysis_run("r", [metric("rate-{{args.of}}", json!({}))]);
    let mut play = Play::new(run, &[("rate-web", "f")]).spec(json!({
        "args": [{"name": "of", "value": "web"}], "dryRun": [{"metricName": "-web$"}]}));
    assert_eq!(play.end(), "0s Successful [0, 0, 0, 0]");
    assert_eq!(play.status().metric_results[0].name, "rate-web");
}

/// ANA-21, ANA-30: what a provider keeps is dropped under the name that arguments make.
#[test]
fn garbage_has_the_resolved_name() {
    let run = analysis_run(
        "r",
        [metric(
            "m-{{args.of}}",
            json!({"interval": "1s", "count": 3}),
        )],
    );
    let mut play = Play::new(run, &[]).spec(json!({
        "args": [{"name": "of", "value": "web"}],
        "measurementRetention": [{"metricName": "m", "limit": 1}]}));
    let mut garbage = Vec::new();
    for _ in 0..8 {
        let plan = play.pass();
        garbage.extend(plan.garbage);
        play.now = plan.wake.unwrap_or(play.now);
    }
    let one = Garbage {
        index: 0,
        metric: "m-web".into(),
        keep: 1,
    };
    assert_eq!(garbage, [one.clone(), one]);
}

/// ANA-1, ANA-18, ANA-20: the first status says Running, and what is written of it.
#[test]
fn first_status() {
    let run = analysis_run("r", [metric("m", json!({})), metric("dry", json!({}))]);
    let mut play = Play::new(run, &[("m", "-"), ("dry", "-")])
        .spec(json!({"dryRun": [{"metricName": "dry"}]}));
    play.pass();
    assert_eq!(
        serde_json::to_value(play.status()).unwrap(),
        json!({"phase": "Running", "startedAt": "2027-01-15T08:00:00Z",
            "runSummary": {"count": 1}, "dryRunSummary": {"count": 1}})
    );
}

/// ANA-3: what is stored has whole seconds, and what is scheduled goes by that.
#[test]
fn stored_times_count() {
    let run = analysis_run("r", [metric("m", json!({"interval": "5s", "count": 2}))]);
    let mut play = Play::new(run, &[]);
    play.now = at(0) + SignedDuration::from_millis(900);
    play.pass();
    let plan = play.pass();
    let status = serde_json::to_value(play.status()).unwrap();
    let measured = &status["metricResults"][0]["measurements"][0];
    assert_eq!(measured["finishedAt"], "2027-01-15T08:00:00Z");
    assert_eq!(plan.wake, Some(at(5) + SignedDuration::from_millis(1)));
}

/// ANA-11, ANA-22: errors are tried again after 10 s whatever the interval; an interval of nothing
/// is a second (INV-16).
#[test]
fn waits() {
    for (extra, script, want) in [
        (
            json!({"interval": "1h", "count": 1}),
            "e s",
            "10s Successful [1, 0, 0, 0]",
        ),
        (
            json!({"interval": "0s", "count": 4}),
            "s",
            "3s Successful [1, 0, 0, 0]",
        ),
        (
            json!({"interval": "10ms", "count": 4}),
            "s",
            "3s Successful [1, 0, 0, 0]",
        ),
        (
            json!({"interval": "1m", "count": 2, "initialDelay": "30s"}),
            "s",
            "90s Successful [1, 0, 0, 0]",
        ),
    ] {
        assert_eq!(play(extra.clone(), script), want, "{extra}");
    }
}

/// ANA-13: how a measurement that was stopped reads, by how it ended.
#[test]
fn stopped_measurements() {
    for (word, phase, message) in [
        ("s", AnalysisPhase::Successful, "Metric Terminated"),
        ("i", AnalysisPhase::Inconclusive, "Metric Terminated"),
        ("e", AnalysisPhase::Error, "no answer"),
    ] {
        let mut play = Play::new(analysis_run("r", [job("m", json!({}))]), &[("m", "o")]);
        play.pass();
        play.pass();
        play.terminate();
        play.script.insert("m".into(), vec![word]);
        let plan = play.pass();
        assert_eq!(plan.tasks[0].kind, TaskKind::Terminate);
        play.pass();
        let measured = &play.status().metric_results[0].measurements[0];
        assert_eq!(
            (&measured.phase, measured.message.as_str()),
            (&phase, message)
        );
        assert!(measured.finished_at.is_some());
    }
}

/// ANA-13: what the provider shows is taken over once, with the first measurement.
#[test]
fn metadata_comes_with_the_first_measurement() {
    let mut play = Play::new(
        analysis_run("r", [metric("m", json!({"interval": "1s", "count": 2}))]),
        &[],
    );
    for query in ["first", "second"] {
        play.pass();
        for result in &mut play.seen.results {
            result.metadata = [("q".to_owned(), query.to_owned())].into();
        }
        let plan = play.pass();
        play.now = plan.wake.unwrap_or(play.now);
    }
    let result = &play.status().metric_results[0];
    assert_eq!((result.count, result.metadata["q"].as_str()), (2, "first"));
}

/// ANA-17, ANA-18: the first of the worst tells why; others only count.
#[test]
fn the_worst_metric_speaks() {
    let metrics = [
        ("good", "s"),
        ("bad-1", "i"),
        ("bad-2", "f"),
        ("bad-3", "f"),
    ];
    let run = analysis_run("r", metrics.map(|(name, _)| metric(name, json!({}))));
    let mut play = Play::new(run, &metrics);
    assert_eq!(
        play.end(),
        "0s Failed [1, 2, 1, 0] Metric \"bad-2\" assessed Failed due to failed (1) > failureLimit (0)"
    );
    let run = analysis_run("r", [metric("a", json!({"consecutiveErrorLimit": 0}))]);
    let mut error = Play::new(run, &[("a", "e")]);
    error.end();
    assert_eq!(error.status().metric_results[0].message, "no answer");
}

/// ANA-91: an inconclusive end is no warning.
#[test]
fn types_of_events() {
    use crate::event::EventType;
    for (word, kind) in [
        ("s", EventType::Normal),
        ("i", EventType::Normal),
        ("f", EventType::Warning),
    ] {
        let mut play = Play::new(analysis_run("r", [metric("m", json!({}))]), &[("m", word)]);
        play.pass();
        let plan = play.pass();
        let kinds: Vec<_> = plan.events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [kind, kind], "{word}");
        assert!(plan.events[0].reason.starts_with("Metric"));
        assert!(plan.events[1].reason.starts_with("AnalysisRun"));
    }
}

/// ANA-10, ANA-18: a dry-run metric that fails ends nobody else.
#[test]
fn a_dry_run_failure_lets_others_go_on() {
    let run = analysis_run(
        "r",
        [
            metric("dry", json!({})),
            metric("real", json!({"interval": "5s", "count": 3})),
        ],
    );
    let mut play = Play::new(run, &[("dry", "f")]).spec(json!({"dryRun": [{"metricName": "dry"}]}));
    assert_eq!(play.end(), "10s Successful [1, 0, 0, 0]");
    assert_eq!(play.status().metric_results[1].count, 3);
}

/// ANA-7.1: a run that is over stays as it is, whatever still arrives.
#[test]
fn over_is_over() {
    let mut play = Play::new(analysis_run("r", [metric("m", json!({}))]), &[("m", "f")]);
    play.end();
    play.deliver(TaskKind::Start, "m", None, "s");
    play.seen.in_flight.insert("m".into());
    play.terminate();
    let plan = play.pass();
    assert!(plan.status.is_none() && plan.tasks.is_empty() && plan.events.is_empty());
    assert_eq!(plan.cancel.into_iter().collect::<Vec<_>>(), ["m"]);
}

/// ANA-5: a run that is being deleted is left alone, and its work ends.
#[test]
fn deleted() {
    let mut run = analysis_run("r", [metric("m", json!({}))]);
    run.metadata.deletion_timestamp = Some(sluice_crds::Time::new(at(0)).into());
    let mut play = Play::new(run, &[]);
    play.seen.in_flight.insert("m".into());
    let plan = play.pass();
    assert!(plan.status.is_none() && plan.tasks.is_empty());
    assert_eq!(plan.cancel.len(), 1);
}

/// ANA-24: which time to live applies, and none without one.
#[test]
fn times_to_live() {
    let ends = |ttl: Value, word: &'static str| {
        let run = analysis_run("r", [metric("m", json!({"consecutiveErrorLimit": 0}))]);
        let mut play = Play::new(run, &[("m", word)]).spec(json!({"ttlStrategy": ttl}));
        play.end();
        play.pass()
            .wake
            .map(|at| at.as_second() - super::at(0).as_second() - 1)
    };
    let success = json!({"secondsAfterSuccess": 3});
    assert_eq!(ends(success.clone(), "s"), Some(3));
    assert_eq!(ends(success, "f"), None);
    let all =
        json!({"secondsAfterSuccess": 0, "secondsAfterFailure": 5, "secondsAfterCompletion": 7});
    assert_eq!(ends(all.clone(), "s"), Some(0));
    assert_eq!(ends(all.clone(), "f"), Some(5));
    assert_eq!(ends(all.clone(), "e"), Some(7));
    assert_eq!(ends(all, "i"), Some(7));
    assert_eq!(ends(Value::Null, "s"), None);
}

/// ANA-14, ASE-3: a secret does not leave half of a longer one, nor hide what leads to a Job.
#[test]
fn secrets_inside_each_other() {
    let mut measurement = Measurement {
        message: "tok and token-2".into(),
        metadata: [
            ("job-name".to_owned(), "uid.tok.1".to_owned()),
            ("job-namespace".to_owned(), "tok".to_owned()),
            ("url".to_owned(), "http://token-2".to_owned()),
        ]
        .into(),
        ..Measurement::default()
    };
    args::redact(&mut measurement, ["tok", "token-2"]);
    assert_eq!(measurement.message, "***** and *****");
    let metadata: Vec<_> = measurement.metadata.values().collect();
    assert_eq!(metadata, ["uid.tok.1", "tok", "http://*****"]);
}

/// FLT-27, ANA-11: measurements and a beginning in the future, by the clock of now, hold nothing up.
#[test]
fn a_clock_set_back_does_not_hold_measurements_up() {
    let two = json!({"count": 2, "interval": "1m"});
    let mut run = Play::new(analysis_run("r", [metric("m", two)]), &[("m", "s s")]);
    run.now = at(7200);
    run.pass();
    run.pass();
    run.now = at(7195);
    assert!(run.pass().tasks.is_empty(), "as far as clocks may differ");
    run.now = at(60);
    let text = run.end();
    assert_eq!(text, "60s Successful [1, 0, 0, 0]");

    let late = json!({"initialDelay": "1m"});
    let mut run = Play::new(analysis_run("r", [metric("m", late)]), &[("m", "s")]);
    run.now = at(7200);
    run.pass();
    run.now = at(60);
    assert_eq!(run.end(), "60s Successful [1, 0, 0, 0]");
}
