//! Random specs: strategies of every kind, and what stands beside them.

use serde_json::{Map, Value, json};
use sluice_crds::Rollout;

use super::{Kind, image};
use crate::testing::fuzz::random::Random;
use crate::testing::{RolloutBuilder, rollout, template};

pub(super) fn build(random: &mut Random, kind: Kind) -> Rollout {
    let strategy = match kind {
        Kind::BlueGreen => json!({ "blueGreen": blue_green(random) }),
        _ => json!({ "canary": canary(random, kind) }),
    };
    let strategy = serde_json::from_value(strategy).expect("a strategy");
    let replicas = match random.below(10) {
        0 => random.between(0, 1),
        1 => random.between(10, 50),
        _ => random.between(1, 10),
    };
    let builder: RolloutBuilder = rollout("web").replicas(replicas).with(|r| {
        r.spec.template = template("web", &image(0));
        r.spec.strategy = strategy;
        let spec = &mut r.spec;
        if random.chance(15) {
            spec.min_ready_seconds = random.between(1, 5);
        }
        if random.chance(30) {
            spec.revision_history_limit = Some(random.between(0, 3));
        }
        if random.chance(40) {
            spec.progress_deadline_seconds = Some(random.between(30, 120));
            spec.progress_deadline_abort = random.chance(50);
        }
        if random.chance(25) {
            let revisions = random.between(1, 3);
            let window = json!({ "revisions": revisions });
            spec.rollback_window = Some(serde_json::from_value(window).expect("a window"));
        }
        if random.chance(20) {
            let limits = json!({
                "successfulRunHistoryLimit": random.between(0, 2),
                "unsuccessfulRunHistoryLimit": random.between(0, 2),
            });
            spec.analysis = Some(serde_json::from_value(limits).expect("limits"));
        }
    });
    builder.build()
}

fn amount(random: &mut Random) -> Value {
    match random.below(6) {
        0 => json!(0),
        1 => json!("0%"),
        2 => json!(format!("{}%", random.between(1, 100))),
        3 => json!("100%"),
        _ => json!(random.between(1, 4)),
    }
}

fn maybe(
    random: &mut Random,
    percent: usize,
    into: &mut Map<String, Value>,
    key: &str,
    value: Value,
) {
    if random.chance(percent) {
        into.insert(key.to_owned(), value);
    }
}

fn analysis() -> Value {
    json!({ "templates": [{ "templateName": "errors" }] })
}

fn metadata(random: &mut Random, into: &mut Map<String, Value>, keys: [&str; 2]) {
    if random.chance(10) {
        for key in keys {
            into.insert(key.to_owned(), json!({ "labels": { "role": key } }));
        }
    }
}

fn canary(random: &mut Random, kind: Kind) -> Value {
    let mut canary = Map::new();
    let value = amount(random);
    maybe(random, 60, &mut canary, "maxSurge", value);
    let value = amount(random);
    maybe(random, 60, &mut canary, "maxUnavailable", value);
    let threshold = if random.chance(50) {
        json!({ "type": "Percent", "value": random.between(30, 100) })
    } else {
        json!({ "type": "Pods", "value": random.between(1, 4) })
    };
    maybe(
        random,
        8,
        &mut canary,
        "replicaProgressThreshold",
        threshold,
    );
    metadata(random, &mut canary, ["canaryMetadata", "stableMetadata"]);
    let mut background = analysis();
    if random.chance(50) {
        background["startingStep"] = json!(random.between(0, 3));
    }
    maybe(random, 20, &mut canary, "analysis", background);
    let mut whole = 100;
    let routing = match kind {
        Kind::Basic | Kind::BlueGreen => None,
        Kind::Services | Kind::PingPong => Some(json!({
            "istio": { "virtualService": { "name": "web", "routes": ["primary"] } },
        })),
        Kind::Subsets => Some(json!({ "istio": {
            "virtualService": { "name": "web" },
            "destinationRule": { "name": "web", "canarySubsetName": "canary",
                "stableSubsetName": "stable" },
        } })),
        Kind::Nginx => {
            whole = *random.one_of(&[100, 100, 1, 10, 1000]);
            Some(json!({ "nginx": { "stableIngress": "web" }, "maxTrafficWeight": whole }))
        }
    };
    let services = match kind {
        Kind::Services | Kind::Nginx => true,
        Kind::Basic => random.chance(40),
        Kind::Subsets => random.chance(30),
        Kind::PingPong | Kind::BlueGreen => false,
    };
    if services {
        canary.insert("canaryService".to_owned(), json!("canary"));
        canary.insert("stableService".to_owned(), json!("stable"));
    }
    if kind == Kind::PingPong {
        let pair = json!({ "pingService": "ping", "pongService": "pong" });
        canary.insert("pingPong".to_owned(), pair);
    }
    if let Some(mut routing) = routing {
        if kind != Kind::Nginx {
            routing["managedRoutes"] = json!([{ "name": "by-header" }, { "name": "mirror" }]);
        }
        canary.insert("trafficRouting".to_owned(), routing);
        if random.chance(30) {
            canary.insert("dynamicStableScale".to_owned(), json!(true));
        } else {
            let delay = json!(random.between(0, 60));
            maybe(random, 40, &mut canary, "scaleDownDelaySeconds", delay);
            let limit = json!(random.between(0, 2));
            maybe(
                random,
                20,
                &mut canary,
                "scaleDownDelayRevisionLimit",
                limit,
            );
        }
        let delay = json!(*random.one_of(&[0, 1, 20, 60]));
        maybe(random, 40, &mut canary, "abortScaleDownDelaySeconds", delay);
        let least = json!(random.between(1, 3));
        maybe(random, 15, &mut canary, "minPodsPerReplicaSet", least);
    }
    let steps = some_steps(random, kind, whole);
    canary.insert("steps".to_owned(), json!(steps));
    Value::Object(canary)
}

pub(super) fn some_steps(random: &mut Random, kind: Kind, whole: i32) -> Vec<Value> {
    let count = random.between(0, 7);
    let routed = kind != Kind::Basic;
    let istio = routed && kind != Kind::Nginx;
    let mut weight = 0;
    let mut list = Vec::new();
    for _ in 0..count {
        let step = match random.below(20) {
            0..=6 => {
                // Mostly upwards.
                let from = if random.chance(85) { weight } else { 0 };
                weight = random.between(from, whole);
                json!({ "setWeight": weight })
            }
            7..=9 => json!({ "pause": {} }),
            10..=12 => json!({ "pause": { "duration": random.between(1, 60) } }),
            13..=14 => json!({ "analysis": analysis() }),
            15 => json!({ "experiment": experiment(random, istio) }),
            16..=17 if routed => json!({ "setCanaryScale": match random.below(3) {
                0 => json!({ "weight": random.between(1, 100) }),
                1 => json!({ "replicas": random.between(0, 6) }),
                _ => json!({ "matchTrafficWeight": true }),
            } }),
            18 if istio => {
                let matches = json!([{ "headerName": "x", "headerValue": { "exact": "1" } }]);
                let mut route = json!({ "name": "by-header" });
                if random.chance(75) {
                    route["match"] = matches;
                }
                json!({ "setHeaderRoute": route })
            }
            19 if istio => {
                let mut route = json!({ "name": "mirror", "percentage": 50 });
                if random.chance(75) {
                    route["match"] = json!([{ "method": { "exact": "GET" } }]);
                }
                json!({ "setMirrorRoute": route })
            }
            _ => json!({ "pause": { "duration": random.between(1, 10) } }),
        };
        list.push(step);
    }
    list
}

fn experiment(random: &mut Random, weighted: bool) -> Value {
    let templates: Vec<Value> = ["canary", "stable"]
        .into_iter()
        .map(|of| {
            let mut template = json!({ "name": of, "specRef": of });
            if weighted && random.chance(50) {
                template["weight"] = json!(random.between(0, 30));
            }
            template
        })
        .collect();
    let mut experiment = json!({ "templates": templates });
    if random.chance(60) {
        experiment["duration"] = json!("20s");
    }
    if random.chance(60) {
        experiment["analyses"] =
            json!([{ "name": "errors", "templateName": "errors", "requiredForCompletion": true }]);
    }
    experiment
}

fn blue_green(random: &mut Random) -> Value {
    let mut spec = Map::new();
    spec.insert("activeService".to_owned(), json!("active"));
    maybe(random, 70, &mut spec, "previewService", json!("preview"));
    let count = json!(random.between(0, 4));
    maybe(random, 35, &mut spec, "previewReplicaCount", count);
    let auto = json!(random.chance(50));
    maybe(random, 60, &mut spec, "autoPromotionEnabled", auto);
    let seconds = json!(random.between(0, 40));
    maybe(random, 30, &mut spec, "autoPromotionSeconds", seconds);
    maybe(random, 30, &mut spec, "prePromotionAnalysis", analysis());
    maybe(random, 30, &mut spec, "postPromotionAnalysis", analysis());
    let delay = json!(random.between(0, 60));
    maybe(random, 50, &mut spec, "scaleDownDelaySeconds", delay);
    let limit = json!(random.between(0, 2));
    maybe(random, 20, &mut spec, "scaleDownDelayRevisionLimit", limit);
    let delay = json!(*random.one_of(&[0, 1, 20, 60]));
    maybe(random, 30, &mut spec, "abortScaleDownDelaySeconds", delay);
    let value = amount(random);
    maybe(random, 40, &mut spec, "maxUnavailable", value);
    metadata(random, &mut spec, ["activeMetadata", "previewMetadata"]);
    Value::Object(spec)
}
