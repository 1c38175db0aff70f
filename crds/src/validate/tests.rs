use serde_json::{Value, json};

use crate::references::{References, ServiceFacts};
use crate::rollout::Rollout;

mod kinds;
mod paths;
mod refs;

/// A valid canary Rollout with `change` merged into its `spec`; `null` takes members away.
fn rollout(change: Value) -> Rollout {
    let mut object = json!({
        "metadata": { "name": "web", "namespace": "shop" },
        "spec": {
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "web", "image": "web:v1" }] },
            },
            "strategy": { "canary": {} },
        },
    });
    json_patch::merge(&mut object, &json!({ "spec": change }));
    serde_json::from_value(object).unwrap()
}

fn canary(change: Value) -> Rollout {
    rollout(json!({ "strategy": { "canary": change } }))
}

fn blue_green(change: Value) -> Rollout {
    rollout(json!({ "strategy": { "canary": null, "blueGreen": change } }))
}

fn texts(errors: Vec<crate::FieldError>) -> Vec<String> {
    errors.into_iter().map(|error| error.to_string()).collect()
}

fn check(rollout: &Rollout, want: &[&str]) {
    let spec = serde_json::to_string(&rollout.spec).unwrap();
    assert_eq!(texts(super::rollout(rollout)), want, "{spec}");
}

/// API-45
#[test]
fn spec_rules() {
    check(&rollout(json!({})), &[]);
    for (change, want) in [
        (
            json!({ "replicas": -1 }),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            json!({ "selector": { "matchLabels": { "app": "api" } } }),
            "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not \
             match template `labels`",
        ),
        (
            json!({ "selector": { "matchLabels": { "app": null } } }),
            "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
        ),
        (
            json!({ "template": { "spec": { "restartPolicy": "Never" } } }),
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \
             \"Always\"",
        ),
        (
            json!({ "template": { "spec": { "activeDeadlineSeconds": 5 } } }),
            "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in \
             ReplicaSet is not Supported",
        ),
        (
            json!({ "template": { "spec": { "containers": [] } } }),
            "spec.template.spec.containers: Required value",
        ),
        (
            json!({ "minReadySeconds": -1 }),
            "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            json!({ "minReadySeconds": 600 }),
            "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than \
             minReadySeconds",
        ),
        (
            json!({ "strategy": { "canary": null } }),
            "spec.strategy.strategy: Required value: Rollout has missing field \
             '.spec.strategy.canary or .spec.strategy.blueGreen'",
        ),
        (
            json!({ "strategy": { "blueGreen": { "activeService": "a" } } }),
            "spec.strategy.strategy: Invalid value: \"blueGreen: true canary: true\": Multiple \
             Strategies can not be listed",
        ),
    ] {
        check(&rollout(change), &[want]);
    }
    check(
        &rollout(json!({ "selector": null })),
        &[
            "spec.selector: Required value: Rollout has missing field '.spec.selector'",
            "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not \
             match template `labels`",
        ],
    );
    let odd =
        json!({ "matchExpressions": [{ "key": "app", "operator": "Is", "values": ["web"] }] });
    let errors = texts(super::rollout(&rollout(json!({ "selector": odd }))));
    assert_eq!(
        errors[0],
        "spec.selector.matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector \
         operator"
    );
    assert!(
        errors[1].ends_with(": invalid label selector") && errors.len() == 2,
        "{errors:?}"
    );
}

/// API-45, SE-20
#[test]
fn blue_green_rules() {
    check(
        &blue_green(json!({ "activeService": "a", "previewService": "b" })),
        &[],
    );
    for (change, want) in [
        (
            json!({ "activeService": "a", "previewService": "a" }),
            "spec.strategy.activeService: Invalid value: \"a\": This rollout uses the same \
             service for the active and preview services, but two different services are required.",
        ),
        (
            json!({ "previewService": "a" }),
            "spec.strategy.blueGreen.activeService: Required value: a blue-green Rollout needs \
             the Service that it switches",
        ),
        (
            json!({ "activeService": "a", "scaleDownDelayRevisionLimit": 11 }),
            "spec.strategy.scaleDownDelayRevisionLimit: Invalid value: 11: This rollout's \
             revision history limit can not be smaller than the rollout's scale down limit",
        ),
        (
            json!({ "activeService": "a", "antiAffinity": {} }),
            "spec.strategy.antiAffinity: Invalid value: \
             \"antiAffinity.PreferredDuringSchedulingIgnoredDuringExecution: false \
             antiAffinity.RequiredDuringSchedulingIgnoredDuringExecution: false\": AntiAffinity \
             must have exactly one strategy listed",
        ),
        (
            json!({ "activeService": "a", "antiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": { "weight": 101 } } }),
            "spec.strategy.antiAffinity.weight: Invalid value: 101: AntiAffinity weight must be \
             between 1-100",
        ),
    ] {
        check(&blue_green(change), &[want]);
    }
}

/// API-46, API-47, TRF-30: canary and routers.
#[test]
fn canary_rules() {
    let pair = json!({ "pingService": "ping", "pongService": "pong" });
    for (change, want) in [
        (json!({ "maxSurge": 0 }), &[][..]),
        (
            json!({ "maxSurge": 0, "maxUnavailable": 0 }),
            &[
                "spec.strategy.maxSurge: Invalid value: 0: MaxSurge and MaxUnavailable both can not \
               be zero",
            ],
        ),
        (
            json!({ "maxSurge": "0%", "maxUnavailable": "0%" }),
            &[
                "spec.strategy.maxSurge: Invalid value: \"0%\": MaxSurge and MaxUnavailable both \
               can not be zero",
            ],
        ),
        (
            json!({ "stableService": "a", "canaryService": "a" }),
            &[
                "spec.strategy.stableService: Invalid value: \"a\": This rollout uses the same \
               service for the stable and canary services, but two different services are \
               required.",
            ],
        ),
        (
            json!({ "trafficRouting": { "nginx": { "stableIngress": "i" } } }),
            &[
                "spec.strategy.stableService: Invalid value: \"\": Canary service and Stable \
                 service must to be set to use Traffic Routing",
                "spec.strategy.canaryService: Invalid value: \"\": Canary service and Stable \
                 service must to be set to use Traffic Routing",
            ],
        ),
        (
            json!({ "trafficRouting": { "plugins": { "a/b": {} } } }),
            &[],
        ),
        (
            json!({ "trafficRouting": { "istio": { "destinationRule": { "name": "d" } } } }),
            &[],
        ),
        (
            json!({ "pingPong": pair, "trafficRouting": { "istio": {} } }),
            &[],
        ),
        (
            json!({ "pingPong": pair, "trafficRouting": { "alb": { "servicePort": 80 } } }),
            &[
                "spec.strategy.trafficRouting.alb.rootService: Invalid value: \"\": Root service \
               field is required for the configuration with ALB and ping-pong feature enabled",
            ],
        ),
        (
            json!({ "pingPong": pair, "stableService": "s", "canaryService": "c",
                "trafficRouting": { "smi": {} } }),
            &[
                "spec.strategy.trafficRouting.alb: Invalid value: null: Ping-pong feature works \
               with the ALB, Istio, and plugin-based traffic routers only",
            ],
        ),
        (
            json!({ "pingPong": { "pingService": "x", "pongService": "x" },
                "trafficRouting": { "istio": {} } }),
            &[
                "spec.strategy.pingPong.pingService: Invalid value: \"x\": This rollout uses the \
               same service for the ping and pong services, but two different services are \
               required.",
            ],
        ),
        (
            json!({ "pingPong": { "pongService": "p" }, "trafficRouting": { "istio": {} } }),
            &[
                "spec.strategy.pingPong.pingService: Invalid value: \"\": Ping service and Pong \
                 service must to be set to use Ping-Pong feature",
            ],
        ),
        (
            json!({ "antiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {},
                "preferredDuringSchedulingIgnoredDuringExecution": { "weight": 5 } } }),
            &["spec.strategy.antiAffinity: Invalid value: \
                 \"antiAffinity.PreferredDuringSchedulingIgnoredDuringExecution: true \
                 antiAffinity.RequiredDuringSchedulingIgnoredDuringExecution: true\": AntiAffinity \
                 must have exactly one strategy listed"],
        ),
        (
            json!({ "pingPong": pair }),
            &[
                "spec.strategy.trafficRouting: Required value: Ping-pong feature works with the \
               ALB, Istio, and plugin-based traffic routers only",
            ],
        ),
        (
            json!({ "scaleDownDelaySeconds": 5, "dynamicStableScale": true }),
            &[
                "spec.strategy.scaleDownDelaySeconds: Invalid value: 5: Canary \
                 scaleDownDelaySeconds can only be used with traffic routing",
                "spec.strategy.dynamicStableScale: Invalid value: true: Canary \
                 dynamicStableScale can only be used with traffic routing",
                "spec.strategy.dynamicStableScale: Invalid value: true: Canary \
                 dynamicStableScale cannot be used with scaleDownDelaySeconds",
            ],
        ),
        (
            json!({ "stableService": "s", "canaryService": "c",
                "trafficRouting": { "smi": {}, "maxTrafficWeight": 0 } }),
            &[
                "spec.strategy.trafficRouting.maxTrafficWeight: Invalid value: 0: Canary \
                 maxTrafficWeight in traffic routing only supported in Nginx and Plugins",
                "spec.strategy.canary.trafficRouting.maxTrafficWeight: Invalid value: 0: must be \
                 greater than 0",
            ],
        ),
    ] {
        check(&canary(change), want);
    }
}

/// API-47: which routers need both Services.
#[test]
fn routers_that_need_services() {
    for (routing, ping_pong, want) in [
        (json!({ "alb": { "rootService": "r" } }), false, true),
        (json!({ "alb": { "rootService": "r" } }), true, false),
        (json!({ "istio": {} }), false, true),
        (json!({ "istio": {} }), true, false),
        (json!({ "istio": { "destinationRule": {} } }), false, false),
        (json!({ "smi": {} }), false, true),
        (json!({ "apisix": {} }), false, true),
        (json!({ "ambassador": {} }), false, true),
        (json!({ "nginx": {} }), false, true),
        (json!({ "nginx": {} }), true, true),
        (json!({ "appMesh": {} }), false, true),
        (json!({ "traefik": {} }), false, true),
        (json!({ "plugins": { "a/b": {} } }), false, false),
        (
            json!({ "plugins": { "a/b": {} }, "nginx": {} }),
            false,
            true,
        ),
    ] {
        let pair = json!({ "pingService": "ping", "pongService": "pong" });
        let pair = if ping_pong { pair } else { Value::Null };
        let rollout = canary(json!({ "trafficRouting": routing, "pingPong": pair }));
        let text = "Canary service and Stable service must to be set to use Traffic Routing";
        let told = texts(super::rollout(&rollout));
        let told = told.iter().filter(|error| error.ends_with(text)).count();
        assert_eq!(told, if want { 2 } else { 0 }, "{routing} {ping_pong}");
    }
}

/// API-48: values that look wrong and are let through, because Rollouts with them work today. (Sums of
/// weights of an Experiment are not: ASE-27.)
#[test]
fn what_is_not_validated() {
    check(
        &canary(json!({
            "replicaProgressThreshold": { "type": "Half", "value": -5 },
            "minPodsPerReplicaSet": -1,
            "stableService": "s", "canaryService": "c",
            "trafficRouting": { "smi": {}, "istio": {}, "managedRoutes": [{ "name": "m" }] },
            "analysis": { "startingStep": 99 },
            "steps": [
                { "setCanaryScale": { "weight": 200 } },
                { "setMirrorRoute": { "name": "m", "percentage": 400 } },
                { "experiment": { "duration": "soon", "templates": [
                    { "name": "a", "specRef": "canary", "weight": 40 } ] } },
                { "pause": { "duration": 0 } },
            ],
        })),
        &[],
    );
    check(
        &blue_green(json!({ "activeService": "a", "previewReplicaCount": -1,
            "autoPromotionSeconds": -1 })),
        &[],
    );
    check(
        &rollout(json!({ "rollbackWindow": { "revisions": -3 } })),
        &[],
    );
    let reference = rollout(json!({ "template": null, "workloadRef": {
        "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "scaleDown": "Sometimes" } }));
    assert_eq!(texts(super::manifest(&reference)), Vec::<String>::new());
}

/// API-46, ASE-27: steps.
#[test]
fn step_rules() {
    let istio = json!({ "istio": { "destinationRule": { "name": "d" } },
        "managedRoutes": [{ "name": "h" }] });
    let alb = json!({ "alb": { "servicePort": 80 }, "managedRoutes": [{ "name": "h" }] });
    let header = |value: Value| {
        json!({ "setHeaderRoute": { "name": "h", "match": [
            { "headerName": "X", "headerValue": value }] } })
    };
    let no_value = "StringMatch value missed, match value must have one of the following: exact, \
                    regex, prefix";
    for (routing, step, want) in [
        (json!(null), json!({ "setWeight": 100 }), None),
        (
            json!(null),
            json!({ "setWeight": 101 }),
            Some("steps[0].setWeight: Invalid value: 101: SetWeight needs to be between 0 and 100"),
        ),
        (
            json!({ "plugins": { "a/b": {} }, "maxTrafficWeight": 1000 }),
            json!({ "setWeight": 1001 }),
            Some(
                "steps[0].setWeight: Invalid value: 1001: SetWeight needs to be between 0 and 1000",
            ),
        ),
        (
            json!(null),
            json!({}),
            Some(
                "steps[0]: Invalid value: \"step.Experiment: true step.Pause: true \
                  step.SetWeight: true step.Analysis: true step.SetCanaryScale: true \
                  step.SetHeaderRoute: true step.SetMirrorRoute: true step.Plugin: true\": Step \
                  must have one of the following set: experiment, setWeight, setCanaryScale, \
                  plugin or pause",
            ),
        ),
        (
            json!(null),
            json!({ "setWeight": 5, "pause": {} }),
            Some(
                "steps[0]: Invalid value: \"step.Experiment: false step.Pause: true \
                  step.SetWeight: true step.Analysis: false\": Step must have one of the \
                  following set: experiment, setWeight, setCanaryScale, plugin or pause",
            ),
        ),
        (
            json!(null),
            json!({ "pause": { "duration": "soon" } }),
            Some("steps[0].pause.duration: Invalid value: -1: Duration needs to be greater than 0"),
        ),
        (
            json!(null),
            json!({ "setCanaryScale": { "weight": 5 } }),
            Some(
                "trafficRouting: Required value: SetCanaryScale requires TrafficRouting to be set",
            ),
        ),
        (
            json!({ "smi": {}, "managedRoutes": [{ "name": "h" }] }),
            json!({ "setMirrorRoute": { "name": "h" } }),
            Some(
                "steps[0].setMirrorRoute: Invalid value: {\"name\":\"h\"}: SetMirrorRoute \
                  requires TrafficRouting, supports Istio and Plugins",
            ),
        ),
        (
            json!({ "smi": {}, "managedRoutes": [{ "name": "h" }] }),
            json!({ "setHeaderRoute": { "name": "h" } }),
            Some(
                "steps[0].setHeaderRoute: Invalid value: {\"name\":\"h\"}: SetHeaderRoute \
                  requires TrafficRouting, supports Istio and ALB and Apisix",
            ),
        ),
        (istio.clone(), header(json!({ "exact": "a" })), None),
        (istio.clone(), header(json!({})), Some(no_value)),
        (istio.clone(), header(json!(null)), Some(no_value)),
        (
            istio.clone(),
            header(json!({ "exact": "a", "regex": "b" })),
            Some(
                "StringMatch match value must have exactly one of the following: exact, regex, \
                  prefix",
            ),
        ),
        (
            alb,
            header(json!({ "prefix": "a" })),
            Some("SetHeaderRoute match value invalid. ALB supports 'exact' value only"),
        ),
        (
            istio.clone(),
            json!({ "setMirrorRoute": { "name": "h", "match": [{ "method": {} }] } }),
            Some(no_value),
        ),
        (
            istio.clone(),
            json!({ "setMirrorRoute": { "name": "m" } }),
            Some(
                "steps[0].setMirrorRoute: Invalid value: \"m\": Steps define a route that does \
                  not exist in spec.strategy.canary.trafficRouting.managedRoutes",
            ),
        ),
        (
            json!({ "istio": {} , "managedRoutes": [] }),
            json!({ "setHeaderRoute": { "name": "h" } }),
            Some(
                "trafficRouting.managedRoutes: Required value: Rollout has missing field \
                  'spec.strategy.canary.trafficRouting.managedRoutes'",
            ),
        ),
        (
            json!(null),
            json!({ "experiment": { "templates": [{ "name": "a", "weight": 5 }] } }),
            Some(
                "steps[0].experiment.templates[0].weight: Invalid value: 5: Experiment template \
                  weight cannot be set unless TrafficRouting is enabled",
            ),
        ),
        (
            json!({ "nginx": { "stableIngress": "i" } }),
            json!({ "experiment": { "templates": [{ "name": "a", "weight": 5 }] } }),
            Some(
                "steps[0].experiment.templates[0].weight: Invalid value: 5: Experiment template \
                  weight is only available for TrafficRouting with SMI, ALB, Istio and Plugins at \
                  this time",
            ),
        ),
        (
            istio.clone(),
            json!({ "experiment": { "templates": [
                { "name": "a", "weight": 60 }, { "name": "b", "weight": 40 }, { "name": "c" }] } }),
            None,
        ),
        (
            istio.clone(),
            json!({ "experiment": { "templates": [
                { "name": "a", "weight": 60 }, { "name": "b", "weight": 41 }] } }),
            Some(
                "steps[0].experiment.templates: Invalid value: 101: Experiment template weights \
                  need to be between 0 and 100 together",
            ),
        ),
        (
            json!(null),
            json!({ "analysis": { "args": [
                { "name": "a", "valueFrom": { "fieldRef": { "fieldPath": "metadata.generation" } } }] } }),
            Some("Analyses arguments must refer to valid object metadata supported by downwardAPI"),
        ),
    ] {
        let rollout = canary(json!({ "stableService": "s", "canaryService": "c",
            "trafficRouting": routing, "steps": [step] }));
        let got = texts(super::rollout(&rollout));
        match want {
            None => assert_eq!(got, Vec::<String>::new(), "{step}"),
            Some(want) => {
                assert_eq!(got.len(), 1, "{step} {got:?}");
                assert!(
                    got[0].starts_with("spec.strategy.") && got[0].contains(want),
                    "{got:?}"
                );
            }
        }
    }
}

/// API-27, SE-6: workload references as users write them.
#[test]
fn manifests_with_workload_reference() {
    let workload = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
    let reference = rollout(json!({ "selector": null, "template": null, "workloadRef": workload }));
    assert_eq!(texts(super::manifest(&reference)), Vec::<String>::new());
    let both = rollout(json!({ "workloadRef": workload }));
    assert_eq!(
        texts(super::manifest(&both)),
        ["spec.template: Internal error: template must be empty for workload reference rollout"]
    );
    let resolved = rollout(json!({ "workloadRef": workload }));
    check(&resolved, &[]);
    let odd = json!({ "apiVersion": "batch/v1", "kind": "Job", "name": "web" });
    let odd = rollout(json!({ "template": null, "workloadRef": odd }));
    assert_eq!(
        texts(super::manifest(&odd)),
        ["spec.workloadRef: Internal error: workload of type batch/Job is not supported"]
    );
}

/// Sharp edges that lint points out; a plain manifest has none.
#[test]
fn lint_warnings() {
    let sharp = rollout(json!({
        "workloadRef": { "scaleDown": "Never" },
        "strategy": { "canary": {
            "maxSurge": "5",
            "replicaProgressThreshold": { "type": "percent", "value": 50 },
            "analysis": { "startingStep": 9 },
            "steps": [
                { "setWeight": 5, "setCanaryScale": { "weight": 101 } },
                { "pause": { "duration": "500ms" } },
                { "experiment": { "duration": "1d", "templates": [{ "name": "a", "specRef": "b" }] } },
            ],
        } },
    }));
    let paths: Vec<String> = super::warnings::of_rollout(&sharp)
        .into_iter()
        .map(|w| w.path)
        .collect();
    let canary = "spec.strategy.canary";
    assert_eq!(
        paths,
        [
            "spec.workloadRef.scaleDown".to_owned(),
            format!("{canary}.maxSurge"),
            format!("{canary}.replicaProgressThreshold.type"),
            format!("{canary}.analysis.startingStep"),
            format!("{canary}.steps[0].setWeight"),
            format!("{canary}.steps[0]"),
            format!("{canary}.steps[0].setCanaryScale.weight"),
            format!("{canary}.steps[1].pause.duration"),
            format!("{canary}.steps[2].experiment.duration"),
            format!("{canary}.steps[2].experiment.templates[0].specRef"),
        ]
    );
    assert_eq!(super::warnings::of_rollout(&rollout(json!({}))), []);
}

/// Numbers that do not do what they seem to say, each at its path.
#[test]
fn warned_numbers() {
    let of = |value: serde_json::Value| -> Vec<String> {
        let found = super::warnings::of_rollout(&rollout(value)).into_iter();
        found.map(|w| w.path).collect()
    };
    let blue_green = of(json!({"paused": true, "strategy": {"blueGreen": {
        "autoPromotionEnabled": false, "autoPromotionSeconds": 30,
        "scaleDownDelaySeconds": 0, "abortScaleDownDelaySeconds": 0}}}));
    let path = "spec.strategy.blueGreen";
    assert_eq!(
        blue_green,
        [
            "spec.paused".to_owned(),
            format!("{path}.autoPromotionSeconds"),
            format!("{path}.scaleDownDelaySeconds"),
            format!("{path}.abortScaleDownDelaySeconds"),
        ]
    );
    // Three pods split in thirds at best; ten are exact.
    let basic = |replicas: i32| {
        of(json!({"replicas": replicas, "strategy": {"canary": {"steps": [{"setWeight": 10}]}}}))
    };
    assert_eq!(basic(3), ["spec.strategy.canary.steps[0].setWeight"]);
    assert_eq!(basic(10), Vec::<String>::new());
    // A size set by hand does not grow with the weight, unless it is told to.
    let routed = |scale: serde_json::Value| {
        of(json!({"replicas": 10, "strategy": {"canary": {
            "trafficRouting": {"nginx": {"stableIngress": "web"}},
            "steps": [{"setCanaryScale": {"replicas": 1}}, {"setWeight": 10}, scale,
                {"setWeight": 50}, {"plugin": {"name": "a/b"}}]}}}))
    };
    let plugin = "spec.strategy.canary.steps[4].plugin.name";
    assert_eq!(
        routed(json!({"pause": {}})),
        ["spec.strategy.canary.steps[3].setWeight", plugin]
    );
    assert_eq!(
        routed(json!({"setCanaryScale": {"matchTrafficWeight": true}})),
        [plugin]
    );
}
