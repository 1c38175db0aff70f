//! Discovery, OpenAPI, version and health.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::answer::{Answer, Content};
use super::form::Media;
use crate::error::ApiError;
use crate::kinds::Kind;
use crate::state::State;

const VERSION: &str = "v1.36.3";

/// Answers a path that is no resource.
pub(super) fn answer(
    state: &State,
    method: &Method,
    path: &str,
    media: &Media,
) -> Result<Answer, ApiError> {
    if method != Method::GET && method != Method::HEAD {
        return Err(ApiError::method_not_allowed());
    }
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    match parts.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => Ok(Answer {
            code: 200,
            content: Content::Full("ok".into()),
            content_type: Some("text/plain; charset=utf-8"),
            warnings: Vec::new(),
        }),
        ["version"] => Ok(Answer::json(200, &version())),
        ["api" | "apis"] if media.aggregated => {
            let core = parts == ["api"];
            let mut answer = Answer::json(200, &aggregated(state, core));
            answer.content_type =
                Some("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
            Ok(answer)
        }
        ["api"] => Ok(Answer::json(
            200,
            &json!({
                "kind": "APIVersions", "versions": ["v1"],
                "serverAddressByClientCIDRs":
                    [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"}],
            }),
        )),
        ["apis"] => {
            let groups: Vec<Value> = groups(state)
                .into_iter()
                .filter(|(g, _)| !g.is_empty())
                .map(|(name, versions)| group(&name, &versions))
                .collect();
            let list = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups});
            Ok(Answer::json(200, &list))
        }
        ["apis", name] => {
            let all = groups(state);
            let versions = all.get(*name).ok_or_else(ApiError::no_such_path)?;
            let mut value = group(name, versions);
            crate::json::put(&mut value, &["kind"], "APIGroup");
            crate::json::put(&mut value, &["apiVersion"], "v1");
            Ok(Answer::json(200, &value))
        }
        ["api", version] => resources(state, "", version),
        ["apis", group, version] => resources(state, group, version),
        ["openapi", "v3"] => Ok(Answer::json(200, &openapi_index(state))),
        ["openapi", "v3", "api", version] => openapi(state, "", version),
        ["openapi", "v3", "apis", group, version] => openapi(state, group, version),
        ["openapi", "v2"] if media.json => Ok(Answer::json(200, &openapi_v2(state))),
        ["openapi", "v2"] => Err(ApiError::new(
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json",
        )),
        _ => Err(ApiError::no_such_path()),
    }
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": VERSION, "gitCommit": "", "gitTreeState": "",
        "buildDate": "", "goVersion": "", "compiler": "", "platform": "linux/amd64",
        "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
    })
}

/// Groups with their versions, the preferred one first.
fn groups(state: &State) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, kind) in state.kinds.served() {
        let versions = all.entry(kind.group.clone()).or_default();
        for version in &kind.versions {
            if !versions.contains(version) {
                versions.push(version.clone());
            }
        }
    }
    all
}

fn group(name: &str, versions: &[String]) -> Value {
    let entry = |v: &String| json!({"groupVersion": format!("{name}/{v}"), "version": v});
    let list: Vec<Value> = versions.iter().map(entry).collect();
    json!({"name": name, "versions": list, "preferredVersion": list.first()})
}

fn kinds_of<'a>(
    state: &'a State,
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = &'a Arc<Kind>> {
    state
        .kinds
        .served()
        .map(|(_, k)| k)
        .filter(move |k| k.group == group && k.versions.iter().any(|v| v == version))
}

const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

fn resources(state: &State, group: &str, version: &str) -> Result<Answer, ApiError> {
    let mut list = Vec::new();
    for kind in kinds_of(state, group, version) {
        let mut main = json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": VERBS,
        });
        if !kind.short.is_empty() {
            crate::json::put(&mut main, &["shortNames"], json!(kind.short));
        }
        if !kind.categories.is_empty() {
            crate::json::put(&mut main, &["categories"], json!(kind.categories));
        }
        list.push(main);
        for sub in subresources(kind) {
            let mut entry = json!({
                "name": format!("{}/{}", kind.plural, sub.name), "singularName": "",
                "namespaced": kind.namespaced, "kind": sub.kind, "verbs": sub.verbs,
            });
            if !sub.version.is_empty() {
                crate::json::put(&mut entry, &["group"], sub.group);
                crate::json::put(&mut entry, &["version"], sub.version);
            }
            list.push(entry);
        }
    }
    if group == "authorization.k8s.io" && version == "v1" {
        // Reviews are answered without being stored.
    } else if list.is_empty() {
        return Err(ApiError::no_such_path());
    }
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    Ok(Answer::json(
        200,
        &json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version,
            "resources": list,
        }),
    ))
}

struct Sub {
    name: &'static str,
    group: &'static str,
    version: &'static str,
    kind: String,
    verbs: Vec<&'static str>,
}

fn subresources(kind: &Kind) -> Vec<Sub> {
    let mut list = Vec::new();
    let mut add = |name, group, version, kind: &str, verbs: &[&'static str]| {
        list.push(Sub {
            name,
            group,
            version,
            kind: kind.to_owned(),
            verbs: verbs.to_vec(),
        });
    };
    if kind.plural == "pods" {
        add("binding", "", "", "Binding", &["create"]);
        add("eviction", "policy", "v1", "Eviction", &["create"]);
    }
    if kind.scale.is_some() {
        add(
            "scale",
            "autoscaling",
            "v1",
            "Scale",
            &["get", "patch", "update"],
        );
    }
    if kind.status {
        add("status", "", "", &kind.kind, &["get", "patch", "update"]);
    }
    list
}

fn aggregated(state: &State, core: bool) -> Value {
    let mut items = Vec::new();
    for (group, versions) in groups(state)
        .into_iter()
        .filter(|(g, _)| g.is_empty() == core)
    {
        let mut list = Vec::new();
        for version in &versions {
            let resources: Vec<Value> = kinds_of(state, &group, version)
                .map(|k| aggregated_kind(k, version))
                .collect();
            list.push(json!({
                "version": version, "freshness": "Current", "resources": resources,
            }));
        }
        let mut metadata = json!({"creationTimestamp": null});
        if !group.is_empty() {
            crate::json::put(&mut metadata, &["name"], group);
        }
        items.push(json!({"metadata": metadata, "versions": list}));
    }
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": items,
    })
}

fn aggregated_kind(kind: &Kind, version: &str) -> Value {
    let response = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let subs: Vec<Value> = subresources(kind)
        .into_iter()
        .map(|s| {
            let (group, version) = if s.version.is_empty() {
                (kind.group.as_str(), version)
            } else {
                (s.group, s.version)
            };
            json!({
                "subresource": s.name, "responseKind": response(group, version, &s.kind),
                "verbs": s.verbs,
            })
        })
        .collect();
    let mut entry = json!({
        "resource": kind.plural, "responseKind": response(&kind.group, version, &kind.kind),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular, "verbs": VERBS,
    });
    if !kind.short.is_empty() {
        crate::json::put(&mut entry, &["shortNames"], json!(kind.short));
    }
    if !kind.categories.is_empty() {
        crate::json::put(&mut entry, &["categories"], json!(kind.categories));
    }
    if !subs.is_empty() {
        crate::json::put(&mut entry, &["subresources"], json!(subs));
    }
    entry
}

fn openapi_index(state: &State) -> Value {
    let mut paths = serde_json::Map::new();
    for (group, versions) in groups(state) {
        for version in versions {
            let path = if group.is_empty() {
                format!("api/{version}")
            } else {
                format!("apis/{group}/{version}")
            };
            let hash = state.kinds.len();
            let url = format!("/openapi/v3/{path}?hash={hash}");
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({ "paths": paths })
}

/// The name of a kind's schema: the group reversed, the version, the kind.
fn schema_name(kind: &Kind, version: &str) -> String {
    if kind.group.is_empty() {
        return format!("io.k8s.api.core.{version}.{}", kind.kind);
    }
    let reversed: Vec<&str> = kind.group.rsplit('.').collect();
    format!("{}.{version}.{}", reversed.join("."), kind.kind)
}

/// A kind's schema: its own, or one that accepts everything.
fn schema_of(kind: &Kind, version: &str) -> Value {
    let gvk = json!([{"group": kind.group, "version": version, "kind": kind.kind}]);
    let mut schema = kind.schemas.get(version).map_or_else(
        || json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        |s| s.raw.clone(),
    );
    crate::json::put(&mut schema, &["x-kubernetes-group-version-kind"], gvk);
    schema
}

fn openapi(state: &State, group: &str, version: &str) -> Result<Answer, ApiError> {
    let mut schemas = serde_json::Map::new();
    let mut paths = serde_json::Map::new();
    for kind in kinds_of(state, group, version) {
        schemas.insert(schema_name(kind, version), schema_of(kind, version));
        let root = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        let space = if kind.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let path = format!("{root}{space}/{}", kind.plural);
        paths.insert(
            format!("{path}/{{name}}"),
            operations(kind, version, &["patch", "put"]),
        );
        paths.insert(path, operations(kind, version, &["post"]));
    }
    if schemas.is_empty() {
        return Err(ApiError::no_such_path());
    }
    let document = json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": VERSION},
        "paths": paths, "components": {"schemas": schemas},
    });
    Ok(Answer::json(200, &document))
}

/// Operations with the parameters that clients look for before they use them.
fn operations(kind: &Kind, version: &str, methods: &[&str]) -> Value {
    let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation"]
        .iter()
        .map(|name| {
            json!({
                "name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true},
            })
        })
        .collect();
    let gvk = json!({"group": kind.group, "version": version, "kind": kind.kind});
    let entry = |method: &&str| {
        let operation = json!({
            "parameters": parameters, "x-kubernetes-group-version-kind": gvk,
            "x-kubernetes-action": method, "responses": {"200": {"description": "OK"}},
        });
        ((*method).to_owned(), operation)
    };
    Value::Object(methods.iter().map(entry).collect())
}

fn openapi_v2(state: &State) -> Value {
    let mut definitions = serde_json::Map::new();
    let mut paths = serde_json::Map::new();
    let mut seen = BTreeSet::new();
    for (_, kind) in state.kinds.served() {
        for version in &kind.versions {
            if !seen.insert((kind.group.clone(), version.clone(), kind.kind.clone())) {
                continue;
            }
            let gvks = json!([{"group": kind.group, "version": version, "kind": kind.kind}]);
            let schema = json!({"type": "object", "x-kubernetes-group-version-kind": gvks});
            definitions.insert(schema_name(kind, version), schema);
            let root = if kind.group.is_empty() {
                "/api"
            } else {
                "/apis"
            };
            let path = format!(
                "{root}/{}/{}/{{name}}",
                kind.api_version(version),
                kind.plural
            );
            let gvk = json!({"group": kind.group, "version": version, "kind": kind.kind});
            let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation"]
                .iter()
                .map(|name| json!({"name": name, "in": "query", "type": "string"}))
                .collect();
            paths.insert(
                path,
                json!({"patch": {
                    "parameters": parameters, "x-kubernetes-group-version-kind": gvk,
                    "responses": {"200": {"description": "OK"}},
                }}),
            );
        }
    }
    json!({
        "swagger": "2.0", "info": {"title": "Kubernetes", "version": VERSION},
        "paths": paths, "definitions": definitions,
    })
}
