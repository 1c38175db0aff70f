use jiff::SignedDuration;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::testing::{at, pause, records, rollout, weight};

#[derive(Default)]
struct Cluster {
    rollout: Option<Rollout>,
    sets: Vec<Arc<ReplicaSet>>,
    pods: Vec<Arc<Pod>>,
    experiments: Vec<Arc<Experiment>>,
    runs: Vec<Arc<AnalysisRun>>,
}

impl Cluster {
    fn read(objects: Vec<Value>) -> Self {
        fn typed<T: DeserializeOwned>(object: Value) -> Arc<T> {
            Arc::new(serde_json::from_value(object).unwrap())
        }
        let mut cluster = Self::default();
        for mut object in objects {
            match object["kind"].as_str().unwrap() {
                "Rollout" => cluster.rollout = Some(serde_json::from_value(object).unwrap()),
                "ReplicaSet" => cluster.sets.push(typed(object)),
                "Experiment" => cluster.experiments.push(typed(object)),
                "AnalysisRun" => cluster.runs.push(typed(object)),
                "Pod" => {
                    complete_pod(&mut object);
                    cluster.pods.push(typed(object));
                }
                _ => {}
            }
        }
        cluster
    }

    fn objects(&self) -> Objects<'_> {
        Objects {
            replica_sets: &self.sets,
            pods: &self.pods,
            experiments: &self.experiments,
            analysis_runs: &self.runs,
        }
    }
}

/// Recorded pods lack container statuses: Running is 1/1, Pending cannot pull its image (CLI-39).
fn complete_pod(pod: &mut Value) {
    let running = pod["status"]["phase"] == "Running";
    let state = if running {
        json!({"running": {}})
    } else {
        json!({"waiting": {"reason": "ImagePullBackOff"}})
    };
    pod["status"]["containerStatuses"] = json!([{
        "name": "web", "image": "", "imageID": "", "ready": running, "restartCount": 0, "state": state,
    }]);
}

/// `07-analysis/5-mid-v3` was drawn a moment before its objects were read (CLI-39).
fn step_back(objects: &mut [Value]) {
    let run = objects
        .iter_mut()
        .find(|o| o["kind"] == "AnalysisRun" && o["status"]["phase"] == "Running")
        .unwrap();
    let result = &mut run["status"]["metricResults"][0];
    result["successful"] = json!(3);
    let last = result["measurements"]
        .as_array_mut()
        .unwrap()
        .last_mut()
        .unwrap();
    last["phase"] = json!("Running");
}

/// CLI-39: all 32 recorded trees follow byte for byte from the objects beside them.
#[test]
fn recorded_trees() {
    let files = records::files(".get.txt");
    assert_eq!(files.len(), 32);
    for file in files {
        let want = records::text(&file);
        let json = file.replace(".get.txt", ".json");
        let mut objects = records::objects(&json);
        if json == "07-analysis/5-mid-v3.json" {
            step_back(&mut objects);
        }
        let cluster = Cluster::read(objects);
        let rollout = cluster.rollout.as_ref().unwrap();
        let start = rollout.metadata.creation_timestamp.as_ref().unwrap().0;
        let draw = |second: i64| {
            let now = start + SignedDuration::from_millis(second * 500);
            tree::render(&RolloutView::build(rollout, cluster.objects(), now), false)
        };
        // The moment of drawing was not recorded: ages tell it to within half a minute.
        let found = (0..1400).map(draw).find(|text| *text == want);
        if found.is_none() {
            let age = want.lines().find(|l| l.starts_with('⟳')).unwrap();
            let near = (0..1400)
                .map(draw)
                .find(|text| text.contains(age.trim_end()));
            assert_eq!(near.unwrap_or_else(|| draw(540)), want, "{file}");
        }
    }
}

/// CLI-7
#[test]
fn ages() {
    let rows = [
        (-2000, "<invalid>"),
        (-900, "0s"),
        (0, "0s"),
        (119_999, "119s"),
        (120_000, "2m"),
        (125_000, "2m5s"),
        (599_000, "9m59s"),
        (600_000, "10m"),
        (10_799_000, "179m"),
        (10_800_000, "3h"),
        (10_860_000, "3h1m"),
        (28_800_000, "8h"),
        (172_799_000, "47h"),
        (172_800_000, "2d"),
        (176_400_000, "2d1h"),
        (691_200_000, "8d"),
        (63_072_000_000, "2y"),
        (63_158_400_000, "2y1d"),
        (252_288_000_000, "8y"),
    ];
    for (millis, want) in rows {
        assert_eq!(age::short(SignedDuration::from_millis(millis)), want);
    }
}

/// CLI-10
#[test]
fn weights() {
    let view = |builder: crate::testing::RolloutBuilder| {
        let none = Cluster::default();
        let view = RolloutView::build(&builder.build(), none.objects(), at(0))
            .canary
            .unwrap();
        (view.step, view.set_weight, view.actual_weight)
    };
    let web = || {
        rollout("web")
            .canary([weight(25), pause(), weight(120)])
            .status(|s| s.available_replicas = 4)
    };
    let row = |step: &str, set, actual| (step.to_owned(), set, actual);
    assert_eq!(view(web()), row("", 25, 0));
    assert_eq!(
        view(web().status(|s| s.current_step_index = Some(1))),
        row("1/3", 25, 0)
    );
    assert_eq!(
        view(web().status(|s| s.current_step_index = Some(2))),
        row("2/3", 120, 0),
        "as written"
    );
    assert_eq!(
        view(web().status(|s| s.current_step_index = Some(3))),
        row("3/3", 100, 100)
    );
    assert_eq!(view(web().status(|s| s.abort = true)), row("", 0, 0));
    assert_eq!(view(rollout("web").canary([])), row("", 100, 100));
    let routed = web().routed(json!({"maxTrafficWeight": 1000}));
    assert_eq!(
        view(routed.clone().status(|s| s.current_step_index = Some(1))),
        row("1/3", 25, 25)
    );
    assert_eq!(
        view(routed.status(|s| s.current_step_index = Some(3))),
        row("3/3", 1000, 1000)
    );
}

fn pod_word(status: Value, spec: Value, deleted: bool) -> String {
    let mut pod = json!({"metadata": {"name": "p", "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "u"}]}, "spec": spec, "status": status});
    if deleted {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let view = pods::of_owner("u", &[Arc::new(pod)], at(0)).remove(0);
    format!("{} {}", words::pod_icon(&view.status), view.status)
}

/// CLI-19
#[test]
fn pod_words() {
    let plain = || json!({"containers": [{"name": "web"}]});
    let main = |state: Value, ready: bool| {
        json!({"phase": "Running", "containerStatuses": [{"name": "web", "image": "", "imageID": "",
            "ready": ready, "restartCount": 0, "state": state}]})
    };
    let init = |state: Value| {
        json!({"phase": "Pending", "initContainerStatuses": [{"name": "a", "image": "", "imageID": "",
            "ready": false, "restartCount": 0, "state": state}]})
    };
    let with_init = || json!({"containers": [{"name": "web"}], "initContainers": [{"name": "a"}, {"name": "b"}]});
    let rows = [
        (json!({"phase": "Pending"}), plain(), "◌ Pending"),
        (
            json!({"phase": "Failed", "reason": "Evicted"}),
            plain(),
            "  Evicted",
        ),
        (main(json!({"running": {}}), true), plain(), "✔ Running"),
        (
            main(json!({"waiting": {"reason": "CrashLoopBackOff"}}), false),
            plain(),
            "✖ CrashLoopBackOff",
        ),
        (
            main(json!({"waiting": {"reason": "ErrImagePull"}}), false),
            plain(),
            "⚠ ErrImagePull",
        ),
        (
            main(json!({"terminated": {"exitCode": 3}}), false),
            plain(),
            "✖ ExitCode:3",
        ),
        (
            main(json!({"terminated": {"exitCode": 0, "signal": 9}}), false),
            plain(),
            "✖ Signal:9",
        ),
        (
            main(
                json!({"terminated": {"exitCode": 0, "reason": "Completed"}}),
                false,
            ),
            plain(),
            "✔ Completed",
        ),
        (init(json!({"running": {}})), with_init(), "◌ Init:0/2"),
        (
            init(json!({"waiting": {"reason": "PodInitializing"}})),
            with_init(),
            "◌ Init:0/2",
        ),
        (
            init(json!({"waiting": {"reason": "ErrImagePull"}})),
            with_init(),
            "◌ Init:ErrImagePull",
        ),
        (
            init(json!({"terminated": {"exitCode": 2}})),
            with_init(),
            "◌ Init:ExitCode:2",
        ),
    ];
    for (status, spec, want) in rows {
        assert_eq!(pod_word(status, spec, false), want);
    }
    assert_eq!(
        pod_word(json!({"phase": "Running"}), plain(), true),
        "◌ Terminating"
    );
    assert_eq!(
        pod_word(
            json!({"phase": "Running", "reason": "NodeLost"}),
            plain(),
            true
        ),
        "? Unknown"
    );
}

/// CLI-20: what is painted, and how.
#[test]
fn colours() {
    let mut objects = records::objects("01-canary-basic/5-mid-v3.json");
    objects.retain(|o| o["kind"] != "Pod");
    let cluster = Cluster::read(objects);
    let rollout = cluster.rollout.as_ref().unwrap();
    let view = RolloutView::build(rollout, cluster.objects(), at(0));
    let text = tree::render(&view, true);
    assert!(
        text.contains("\u{1b}[33mcanary-basic-6474c4b8bc\u{1b}[0m"),
        "the name of the canary"
    );
    assert!(text.contains("web:v2 (\u{1b}[32mstable\u{1b}[0m)"));
    assert!(text.contains("Status:          \u{1b}[0m॥\u{1b}[0m Paused"));
    let stripped = text.split('\u{1b}').map(|piece| {
        piece
            .split_once('m')
            .filter(|(n, _)| n.starts_with('['))
            .map_or(piece, |(_, t)| t)
    });
    assert_eq!(
        stripped.collect::<String>(),
        tree::render(&view, false),
        "widths ignore the codes"
    );
}

/// CLI-22
#[test]
fn experiment_tree() {
    let cluster = Cluster::read(records::objects("09-experiment/5-mid-v3.json"));
    let experiment = cluster
        .experiments
        .iter()
        .find(|e| e.metadata.name.as_deref().unwrap().ends_with("-3-0"));
    let now: Timestamp = "2026-11-21T03:49:27Z".parse().unwrap();
    let view = ExperimentView::build(experiment.unwrap(), cluster.objects(), now);
    expect_test::expect![[r#"
        Name:            canary-experiment-7c64b598f6-3-0
        Namespace:       p-09-experiment
        Status:          ◌ Running
        Images:          web:v2 (Σ:baseline)
                         web:v3 (Σ:canary)

        NAME                                                     KIND        STATUS     AGE  INFO
        Σ canary-experiment-7c64b598f6-3-0                       Experiment  ◌ Running  30s  
        ├──⧉ canary-experiment-7c64b598f6-3-0-baseline           ReplicaSet  ✔ Healthy  30s  
        │  └──□ canary-experiment-7c64b598f6-3-0-baseline-dwfsr  Pod         ✔ Running  30s  ready:1/1
        └──⧉ canary-experiment-7c64b598f6-3-0-canary             ReplicaSet  ✔ Healthy  30s  
           └──□ canary-experiment-7c64b598f6-3-0-canary-lmfct    Pod         ✔ Running  30s  ready:1/1
    "#]]
    .assert_eq(&tree::render_experiment(&view, false));
}

/// CLI-23
#[test]
fn list_of_rollouts() {
    let cart = rollout("cart")
        .replicas(4)
        .canary([weight(25), pause(), weight(50), pause()])
        .status(|s| {
            s.phase = sluice_crds::rollout::RolloutPhase::Paused;
            s.current_step_index = Some(1);
            s.replicas = 4;
            s.ready_replicas = 4;
            s.updated_replicas = 1;
            s.available_replicas = 4;
        });
    let front = rollout("web-frontend")
        .replicas(6)
        .blue_green("a", "")
        .status(|s| {
            s.phase = sluice_crds::rollout::RolloutPhase::Healthy;
            s.replicas = 6;
            s.ready_replicas = 6;
            s.updated_replicas = 6;
            s.available_replicas = 6;
        });
    let table = |columns| {
        let rows = [
            list::rollout_titles(columns),
            list::rollout(&cart.clone().build(), columns, at(0)),
            list::rollout(&front.clone().build(), columns, at(0)),
        ];
        list::align(&rows)
    };
    expect_test::expect![[r#"
        NAME          STRATEGY   STATUS        STEP  SET-WEIGHT  READY  DESIRED  UP-TO-DATE  AVAILABLE
        cart          Canary     Paused        1/4   25          4/4    4        1           4        
        web-frontend  BlueGreen  Healthy       -     -           6/6    6        6           6        
    "#]]
    .assert_eq(&table(list::Columns::default()));
    let all = table(list::Columns {
        namespace: true,
        timestamp: true,
    });
    assert!(all.starts_with("NAMESPACE  TIMESTAMP             NAME          STRATEGY"));
    assert!(all.contains("\nshop       2027-01-15T08:00:00Z  cart          Canary"));
}

/// CLI-25
#[test]
fn list_of_experiments() {
    let experiment: Experiment = serde_json::from_value(json!({
        "metadata": {"name": "ab", "namespace": "shop", "creationTimestamp": "2027-01-15T07:59:00Z"},
        "spec": {"duration": "10m"},
        "status": {"phase": "Running", "availableAt": "2027-01-15T07:59:30Z"},
    }))
    .unwrap();
    let columns = list::Columns::default();
    let rows = [
        list::experiment_titles(columns),
        list::experiment(&experiment, columns, at(0)),
    ];
    expect_test::expect![[r#"
        NAME        STATUS   DURATION  REMAINING  AGE
        ab          Running  10m       9m30s      60s
    "#]]
    .assert_eq(&list::align(&rows));
}
