//! The runs of the records.

use super::*;
use crate::testing::records;

/// Every recorded run, measured again with the recorded measurements, ends in the recorded status.
#[test]
fn records_again() {
    let mut seen = 0;
    for record in records::all("AnalysisRun") {
        let mut run: AnalysisRun = serde_json::from_value(record.json.clone()).unwrap();
        let recorded = run.status.take().unwrap();
        assert_eq!(
            serde_json::to_value(&recorded).unwrap(),
            record.json["status"],
            "{}",
            record.file
        );
        if !recorded.phase.completed() {
            continue;
        }
        let terminated = std::mem::take(&mut run.spec.terminate);
        let mut play = Play::new(run, &[]);
        play.now = recorded.started_at.unwrap().timestamp();
        play.pass();
        for result in &recorded.metric_results {
            for measurement in &result.measurements {
                let cut = measurement.message == "Metric Terminated";
                let mut given = measurement.clone();
                if cut {
                    let open = Measurement {
                        phase: AnalysisPhase::Running,
                        message: String::new(),
                        finished_at: None,
                        ..given
                    };
                    given = Measurement {
                        message: String::new(),
                        ..measurement.clone()
                    };
                    hand_in(&mut play, &result.name, TaskKind::Start, open);
                    play.terminate();
                    hand_in(&mut play, &result.name, TaskKind::Terminate, given);
                } else {
                    hand_in(&mut play, &result.name, TaskKind::Start, given);
                }
            }
        }
        if terminated {
            play.now = recorded.completed_at.unwrap().timestamp();
            play.terminate();
            play.seen.results.clear();
            play.pass();
        }
        let got = serde_json::to_value(play.status()).unwrap();
        assert_eq!(
            got, record.json["status"],
            "{} {:?}",
            record.file, play.seen.run.metadata.name
        );
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}

fn hand_in(play: &mut Play, metric: &str, kind: TaskKind, measurement: Measurement) {
    play.now = measurement
        .finished_at
        .or(measurement.started_at)
        .unwrap()
        .timestamp();
    play.seen.results = vec![TaskResult {
        metric: metric.to_owned(),
        kind,
        outcome: Outcome::Measured(measurement),
        metadata: BTreeMap::new(),
    }];
    play.seen.in_flight.clear();
    play.pass();
    play.seen.results.clear();
}
