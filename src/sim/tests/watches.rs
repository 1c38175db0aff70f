//! How watches behave: raw events, as they come over the wire.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use common::{api, create, until, workload};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use sluice_sim::{Cluster, ClusterOptions, Effect, Rule, Verb, When};

struct Raw(Box<dyn futures::Stream<Item = std::io::Result<String>> + Unpin + Send>);

impl Raw {
    async fn open(cluster: &Cluster, query: &str) -> Self {
        let uri = format!("/api/v1/namespaces/default/configmaps?watch=1&{query}");
        let request = http::Request::get(uri).body(Vec::new()).unwrap();
        let lines = cluster
            .client()
            .request_stream(request)
            .await
            .unwrap()
            .lines();
        Self(Box::new(lines.into_stream()))
    }

    /// The next event as `TYPE name` (bookmarks: with a star when they end initial events).
    async fn next(&mut self) -> Option<String> {
        let line = self.0.next().await?.ok()?;
        assert!(line.starts_with("{\"type\":"), "type comes first: {line}");
        let event: Value = serde_json::from_str(&line).unwrap();
        let object = &event["object"];
        let kind = event["type"].as_str().unwrap();
        Some(match kind {
            "ERROR" => format!("ERROR {} {}", object["code"], object["reason"]),
            "BOOKMARK" => {
                let end = object["metadata"]["annotations"].get("k8s.io/initial-events-end");
                format!("BOOKMARK{}", if end.is_some() { "*" } else { "" })
            }
            _ => format!("{kind} {}", object["metadata"]["name"].as_str().unwrap()),
        })
    }
}

fn map(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": app}},
    })
}

fn label(cluster: &Cluster, name: &str, app: &str) {
    let patch = json!({"metadata": {"labels": {"app": app}}});
    cluster
        .merge("v1", "ConfigMap", "default", name, &patch)
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_a_revision_starts_with_what_is_there() {
    let cluster = Cluster::new(ClusterOptions::default());
    cluster.apply(&map("a", "x")).unwrap();
    let mut watch = Raw::open(&cluster, "").await;
    assert_eq!(watch.next().await.unwrap(), "ADDED a");
    label(&cluster, "a", "y");
    cluster.delete("v1", "ConfigMap", "default", "a").unwrap();
    assert_eq!(watch.next().await.unwrap(), "MODIFIED a");
    assert_eq!(watch.next().await.unwrap(), "DELETED a");
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_a_revision_shows_what_came_after_it() {
    let cluster = Cluster::new(ClusterOptions::default());
    cluster.apply(&map("a", "x")).unwrap();
    let revision = cluster.revision();
    cluster.apply(&map("b", "x")).unwrap();
    let mut watch = Raw::open(&cluster, &format!("resourceVersion={revision}")).await;
    assert_eq!(watch.next().await.unwrap(), "ADDED b");
}

#[tokio::test(start_paused = true)]
async fn labels_that_change_enter_and_leave_a_watch() {
    let cluster = Cluster::new(ClusterOptions::default());
    cluster.apply(&map("a", "x")).unwrap();
    let mut watch = Raw::open(&cluster, "labelSelector=app%3Dy").await;
    label(&cluster, "a", "y");
    assert_eq!(watch.next().await.unwrap(), "ADDED a");
    label(&cluster, "a", "x");
    assert_eq!(watch.next().await.unwrap(), "DELETED a");
}

#[tokio::test(start_paused = true)]
async fn initial_events_end_with_a_bookmark_and_others_follow() {
    let cluster = Cluster::new(ClusterOptions::default());
    cluster.apply(&map("a", "x")).unwrap();
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Raw::open(&cluster, query).await;
    assert_eq!(watch.next().await.unwrap(), "ADDED a");
    assert_eq!(watch.next().await.unwrap(), "BOOKMARK*");
    assert_eq!(watch.next().await.unwrap(), "BOOKMARK", "a minute later");
}

#[tokio::test(start_paused = true)]
async fn compacted_revisions_are_gone() {
    let cluster = Cluster::new(ClusterOptions::default());
    cluster.apply(&map("a", "x")).unwrap();
    let revision = cluster.revision();
    cluster.apply(&map("b", "x")).unwrap();
    cluster.compact();
    let mut watch = Raw::open(&cluster, &format!("resourceVersion={revision}")).await;
    assert_eq!(watch.next().await.unwrap(), "ERROR 410 \"Expired\"");
    assert_eq!(watch.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn watches_end_after_their_time() {
    let cluster = Cluster::new(ClusterOptions::default());
    let mut watch = Raw::open(&cluster, "timeoutSeconds=30").await;
    assert_eq!(watch.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn watchers_survive_cuts_compaction_and_freezes() {
    let cluster = Cluster::new(ClusterOptions::default());
    for mode in [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ] {
        let maps = api(&cluster.client(), "ConfigMap", "configmaps");
        let mut seen = watcher(maps.clone(), mode)
            .default_backoff()
            .applied_objects()
            .boxed();
        for round in 0..3 {
            let mut object = map("x", "x");
            object["metadata"] = json!({"generateName": "m-"});
            let made = create(&maps, object).await.unwrap();
            loop {
                let Ok(object) = seen.next().await.unwrap() else {
                    continue;
                };
                if object.metadata.name.as_deref() == made["metadata"]["name"].as_str() {
                    break;
                }
            }
            match round {
                0 => cluster.faults().cut_watches("configmaps"),
                _ => {
                    cluster.faults().freeze_watches("configmaps");
                    cluster.apply(&map("hidden", "x")).unwrap();
                    cluster.compact();
                    cluster.faults().thaw_watches("configmaps");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn faults_refuse_delay_and_lose() {
    let cluster = Cluster::new(ClusterOptions::default());
    let client = cluster.client_as("tested");
    let maps = api(&client, "ConfigMap", "configmaps");
    let add = |effect| {
        let rule = Rule::new(When::Nth(1), effect)
            .verb(Verb::Create)
            .user_agent("tested");
        cluster.faults().add(rule.resource("configmaps"))
    };
    let rows = [
        (Effect::Conflict, Some(409), false),
        (Effect::TooManyRequests(3), Some(429), false),
        (Effect::InternalError, Some(500), false),
        (Effect::Unavailable, Some(503), false),
        (Effect::Reset, None, false),
        (Effect::LoseAnswer, None, true),
    ];
    for (i, (effect, code, stored)) in rows.into_iter().enumerate() {
        let id = add(effect.clone());
        let name = format!("m{i}");
        let error = create(&maps, map(&name, "x")).await.unwrap_err();
        match (code, &error) {
            (Some(code), kube::Error::Api(status)) => assert_eq!(status.code, code),
            (None, kube::Error::Service(_)) => {}
            _ => panic!("{effect:?} gave {error}"),
        }
        let there = cluster.get("v1", "ConfigMap", "default", &name).is_some();
        assert_eq!(there, stored, "{effect:?}");
        cluster.faults().remove(id);
    }
    add(Effect::Delay(std::time::Duration::from_secs(9)));
    let start = tokio::time::Instant::now();
    create(&maps, map("late", "x")).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 9);
    assert_eq!(cluster.requests().counts("tested")["create configmaps"], 7);
}

#[tokio::test(start_paused = true)]
async fn stale_reads_show_the_past() {
    let cluster = Cluster::new(ClusterOptions::default());
    let maps = api(&cluster.client(), "ConfigMap", "configmaps");
    cluster.apply(&map("a", "x")).unwrap();
    cluster.apply(&map("b", "x")).unwrap();
    cluster
        .faults()
        .add(Rule::new(When::Always, Effect::Stale(1)).verb(Verb::List));
    let list = maps.list(&Default::default()).await.unwrap();
    assert_eq!(list.items.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn clients_die_between_two_writes() {
    let cluster = Cluster::new(ClusterOptions::default());
    let maps = api(&cluster.client_as("tested"), "ConfigMap", "configmaps");
    let mut point = cluster.faults().stop_after_writes("tested", 2);
    create(&maps, map("a", "x")).await.unwrap();
    assert!(!point.is_reached());
    create(&maps, map("b", "x")).await.unwrap();
    point.reached().await;
    assert!(create(&maps, map("c", "x")).await.is_err());
    assert!(maps.get("a").await.is_err(), "nothing works after death");
    cluster.faults().clear();
    create(&maps, map("c", "x")).await.unwrap();
    until("other kinds work", async || {
        cluster.apply(&workload("ReplicaSet", "w", 0)).is_ok()
    })
    .await;
}

/// The same seed gives the same names and the same dice.
#[tokio::test(start_paused = true)]
async fn runs_repeat_by_seed() {
    let run = async || {
        let cluster = Cluster::new(ClusterOptions {
            seed: 7,
            ..Default::default()
        });
        let rule = Rule::new(When::Chance(0.5), Effect::Unavailable);
        cluster.faults().add(rule);
        let maps = api(&cluster.client(), "ConfigMap", "configmaps");
        let mut story = Vec::new();
        for _ in 0..20 {
            let mut object = map("x", "x");
            object["metadata"] = json!({"generateName": "m-"});
            story.push(
                create(&maps, object)
                    .await
                    .ok()
                    .map(|o| o["metadata"]["uid"].clone()),
            );
        }
        story
    };
    assert_eq!(run().await, run().await);
}
