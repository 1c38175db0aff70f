use super::*;

/// References from JSON: Services by selector, everything else by object; `null` is missing.
fn found(objects: Value) -> References {
    let map = |key: &str| -> std::collections::BTreeMap<String, Option<Value>> {
        let objects = objects[key].as_object().into_iter().flatten();
        objects
            .map(|(k, v)| (k.clone(), Some(v.clone()).filter(|v| !v.is_null())))
            .collect()
    };
    let template = |(name, value): (String, Option<Value>)| {
        (
            name,
            value.map(|value| serde_json::from_value(value).unwrap()),
        )
    };
    let service =
        |(name, value): (String, Option<Value>)| (name, value.map(|v| ServiceFacts::new(&v)));
    References {
        services: map("services").into_iter().map(service).collect(),
        templates: crate::templates::TemplateStore {
            namespaced: map("templates").into_iter().map(template).collect(),
            cluster: map("clusterTemplates").into_iter().map(template).collect(),
        },
        ingresses: map("ingresses"),
        virtual_services: map("virtualServices"),
        mappings: map("mappings"),
        app_mesh_virtual_services: map("meshServices"),
        app_mesh_routers: map("meshRouters"),
    }
}

fn check(rollout: &Rollout, objects: Value, want: &[&str]) {
    let got = texts(super::super::references(rollout, &found(objects.clone())));
    assert_eq!(got, want, "{objects}");
}

/// API-49: Services; what was not read is not judged.
#[test]
fn services() {
    let rollout = canary(json!({ "stableService": "s", "canaryService": "c" }));
    check(&rollout, json!({}), &[]);
    check(
        &rollout,
        json!({ "services": { "s": null, "c": null } }),
        &[
            "spec.strategy.canary.stableService: Invalid value: \"s\": service \"s\" not found",
            "spec.strategy.canary.canaryService: Invalid value: \"c\": service \"c\" not found",
        ],
    );
    let hash = crate::keys::POD_TEMPLATE_HASH;
    check(
        &rollout,
        json!({ "services": {
            "s": { "spec": { "selector": { "app": "web", (hash): "x" } } },
            "c": { "spec": { "selector": { "app": "api" } },
                "metadata": { "annotations": { (crate::keys::MANAGED_BY): "other" } } },
        } }),
        &[
            "spec.strategy.canary.canaryService: Invalid value: \"c\": Service \"c\" has unmatch \
             label \"app\" in rollout",
            "spec.strategy.canary.canaryService: Invalid value: \"c\": Service \"c\" is managed by \
             another Rollout",
        ],
    );
}

/// API-49: Ingresses of nginx and ALB.
#[test]
fn ingresses() {
    let with = |routing: Value| {
        canary(json!({ "stableService": "s", "canaryService": "c", "trafficRouting": routing }))
    };
    let path = "spec.strategy.canary.trafficRouting";
    check(
        &with(json!({ "nginx": {}, "alb": { "ingress": "a", "ingresses": ["b"] } })),
        json!({}),
        &[
            &format!(
                "{path}.nginx: Internal error: Either StableIngress or StableIngresses must \
                      be configured. Neither are configured."
            ),
            &format!(
                "{path}.alb: Internal error: Either Ingress or Ingresses must be configured. \
                      Both are configured."
            ),
        ],
    );
    let one = with(json!({ "nginx": { "stableIngress": "i" } }));
    let rule = |backend: Value| {
        json!({ "ingresses": { "i": { "spec": { "rules": [
        { "host": "h" }, { "http": { "paths": [{ "backend": { "resource": {} } }, { "backend": backend }] } }] } } } })
    };
    check(&one, rule(json!({ "service": { "name": "s" } })), &[]);
    check(&one, rule(json!({ "serviceName": "s" })), &[]);
    check(
        &one,
        rule(json!({ "service": { "name": "x" } })),
        &[&format!(
            "{path}.nginx.stableIngress: Invalid value: \"i\": ingress `i` has no rules \
                    using service s backend"
        )],
    );
    check(
        &with(json!({ "nginx": { "stableIngresses": ["i", "j"] } })),
        json!({ "ingresses": { "i": null } }),
        &[&format!(
            "{path}.nginx.StableIngresses: Invalid value: [\"i\",\"j\"]: \
                    ingress.networking.k8s.io \"i\" not found"
        )],
    );
    check(
        &with(json!({ "alb": { "ingress": "i", "rootService": "root" } })),
        rule(json!({ "service": { "name": "s" } })),
        &[&format!(
            "{path}.alb.ingress: Invalid value: \"i\": ingress `i` has no rules using \
                    service root backend"
        )],
    );
}

/// API-50
#[test]
fn virtual_services() {
    let path = "spec.strategy.canary.trafficRouting.istio";
    let with = |istio: Value, routes: Value| {
        canary(json!({ "stableService": "s", "canaryService": "c",
            "trafficRouting": { "istio": istio, "managedRoutes": routes } }))
    };
    check(
        &with(json!({}), json!([])),
        json!({}),
        &[&format!(
            "{path}: Internal error: either VirtualService or VirtualServices must be configured"
        )],
    );
    let route = |name: &str, hosts: [&str; 2]| {
        let to = hosts.map(|host| json!({ "destination": { "host": host, "subset": host } }));
        json!({ "name": name, "route": to })
    };
    let good = route("main", ["s.shop.svc", "c"]);
    let one = json!({ "virtualService": { "name": "v" } });
    let named = json!({ "virtualService": { "name": "v", "routes": ["main", "other"] } });
    let subsets = json!({ "virtualService": { "name": "v" }, "destinationRule": {
        "name": "d", "canarySubsetName": "new", "stableSubsetName": "old" } });
    let tcp = json!({ "virtualService": { "name": "v", "tcpRoutes": [{ "port": 80 }] } });
    let tls = json!({ "virtualService": { "name": "v", "tlsRoutes": [
        { "port": 443, "sniHosts": ["b", "a"] }] } });
    let tls_route = json!({ "match": [{ "port": 443, "sniHosts": ["a", "b"] }],
        "route": good["route"] });
    let invalid = "Istio VirtualService has invalid";
    for (istio, spec, want) in [
        (&one, json!({ "http": [good] }), None),
        (
            &named,
            json!({ "http": [good, route("other", ["c", "s"])] }),
            None,
        ),
        (
            &one,
            json!({}),
            Some(
                "Unable to get any of the HTTP, TCP or TLS routes for the Istio VirtualService"
                    .into(),
            ),
        ),
        (
            &one,
            json!({ "http": {} }),
            Some("Unable to get HTTP routes for Istio VirtualService".into()),
        ),
        (
            &one,
            json!({ "http": [good, route("other", ["c", "s"])] }),
            Some(format!(
                "{invalid} HTTP routes. Error: spec.http[] should be set in VirtualService \
                and it must have exactly one route when omitting {path}.virtualService.routes"
            )),
        ),
        (
            &one,
            json!({ "http": [good, route("managed", ["c", "s"])] }),
            None,
        ),
        (
            &named,
            json!({ "http": [good] }),
            Some(format!(
                "{invalid} HTTP routes. Error: HTTP Route 'other' is not found in the \
                defined Virtual Service."
            )),
        ),
        (
            &one,
            json!({ "http": [route("main", ["s", "x"])] }),
            Some(format!(
                "{invalid} HTTP routes. Error: Canary Service 'c' not found in route"
            )),
        ),
        (
            &one,
            json!({ "http": [route("main", ["x", "c"])] }),
            Some(format!(
                "{invalid} HTTP routes. Error: Stable Service 's' not found in route"
            )),
        ),
        (
            &subsets,
            json!({ "http": [route("main", ["old", "new"])] }),
            None,
        ),
        (
            &subsets,
            json!({ "http": [route("main", ["old", "x"])] }),
            Some(format!(
                "{invalid} HTTP routes. Error: Canary DestinationRule subset 'new' not \
                found in route"
            )),
        ),
        (
            &tcp,
            json!({ "tcp": [{ "match": [{ "port": 81 }] }] }),
            Some(format!(
                "{invalid} TCP routes. Error: No matching TCP routes found in the defined \
                Virtual Service."
            )),
        ),
        (&tls, json!({ "tls": [tls_route] }), None),
    ] {
        let rollout = with(istio.clone(), json!([{ "name": "managed" }]));
        let objects = json!({ "virtualServices": { "v": { "spec": spec } } });
        let want = want.map(|w| format!("{path}.virtualService.name: Invalid value: \"v\": {w}"));
        let want: Vec<&str> = want.iter().map(String::as_str).collect();
        check(&rollout, objects, &want);
    }
    check(
        &with(json!({ "virtualServices": [{ "name": "v" }] }), json!([])),
        json!({ "virtualServices": { "v": null } }),
        &[&format!(
            "{path}.virtualServices.name: Invalid value: \"v\": \
                    virtualservices.networking.istio.io \"v\" not found"
        )],
    );
}

/// API-49, API-52, SE-4, SE-13: templates of analyses.
#[test]
fn templates() {
    let path = "spec.strategy.canary.steps[0].analysis.templates";
    let step = |analysis: Value| canary(json!({ "steps": [{ "analysis": analysis }] }));
    let plain = step(json!({ "templates": [{ "templateName": "a" }],
        "args": [{ "name": "n", "value": "3" }] }));
    let metric = |more: Value| {
        let mut metric = json!({ "name": "m", "provider": { "web": { "url": "u" } } });
        json_patch::merge(&mut metric, &more);
        json!({ "args": [{ "name": "n" }], "metrics": [metric] })
    };
    for (template, want) in [
        (metric(json!({})), None),
        (
            metric(json!({ "interval": "5s", "count": "{{args.n}}" })),
            None,
        ),
        (
            metric(json!({ "interval": "5s" })),
            Some(
                "\"a\": AnalysisTemplate a has metric m which runs indefinitely. Invalid value \
                  for count: <nil>",
            ),
        ),
        (
            metric(json!({ "successCondition": "{{args.x}}" })),
            Some("\"a\": AnalysisTemplate a: failed to resolve {{args.x}}"),
        ),
        (
            json!({ "args": [{ "name": "b" }] }),
            Some("\"templateNames: [a]\": args.b was not resolved"),
        ),
        (
            json!({ "args": [{ "name": "b", "value": "1",
                "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } }] }),
            Some("\"a\": AnalysisTemplate a: arg 'b' has both Value and ValueFrom fields"),
        ),
        (json!(null), Some("\"a\": AnalysisTemplate 'a' not found")),
    ] {
        let want = want.map(|w| format!("{path}: Invalid value: {w}"));
        let want: Vec<&str> = want.iter().map(String::as_str).collect();
        check(&plain, json!({ "templates": { "a": template } }), &want);
    }
    check(
        &plain,
        json!({ "templates": { "a": { "templates": [{ "templateName": "b", "clusterScope": true }] } },
            "clusterTemplates": { "b": null } }),
        &["spec.templates: Invalid value: \"b\": ClusterAnalysisTemplate 'b' not found"],
    );
    check(
        &plain,
        json!({ "templates": { "a": { "templates": [{ "templateName": "a" }] } } }),
        &[
            "spec.templates: Invalid value: \"a\": AnalysisTemplate 'a' refers to itself by way of \
           its templates",
        ],
    );
    let background = canary(json!({ "analysis": { "templates": [{ "templateName": "a" }] } }));
    let endless = json!({ "metrics": [{ "name": "m", "interval": "5s" }] });
    check(&background, json!({ "templates": { "a": endless } }), &[]);
}

/// API-49: Ambassador and App Mesh.
#[test]
fn meshes() {
    let with = |routing: Value| {
        canary(json!({ "stableService": "s", "canaryService": "c", "trafficRouting": routing }))
    };
    let path = "spec.strategy.canary.trafficRouting";
    let mapping = with(json!({ "ambassador": { "mappings": ["m"] } }));
    check(
        &mapping,
        json!({ "mappings": { "m": null } }),
        &[&format!(
            "{path}.ambassador.mappings: Invalid value: \"m\": mappings.getambassador.io \
                    \"m\" not found"
        )],
    );
    check(
        &mapping,
        json!({ "mappings": { "m": { "spec": { "weight": 5 } } } }),
        &["spec.weight: Invalid value: 5: Ambassador mapping \"m\" can not define weight"],
    );
    check(
        &with(json!({ "ambassador": { "mappings": [] } })),
        json!({}),
        &[&format!(
            "{path}.ambassador.mappings: Invalid value: null: must provide at least one \
                    mapping"
        )],
    );
    check(
        &with(json!({ "appMesh": {} })),
        json!({}),
        &[&format!(
            "{path}.appmesh.virtualService: Invalid value: null: must provide virtual-service"
        )],
    );
    let mesh = with(json!({ "appMesh": { "virtualService": { "name": "v" } } }));
    let router = |targets: Value| {
        json!({ "meshRouters": { "v": { "kind": "VirtualRouter", "metadata": { "name": "r" },
            "spec": { "routes": [{ "name": "x",
                "httpRoute": { "action": { "weightedTargets": targets } } }] } } } })
    };
    check(&mesh, router(json!([{}, {}])), &[]);
    check(
        &mesh,
        router(json!([{}])),
        &[
            "spec.routes[0]: Invalid value: \"x\": Invalid number of weightedTargets (1) for AppMesh \
           virtual-router r and route x, expected 2",
        ],
    );
}
