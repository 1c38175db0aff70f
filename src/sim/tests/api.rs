//! How the API behaves, through `kube::Client`: one small test per behaviour.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use common::{api, create, definition, refusal, until, workload};
use kube::Api;
use kube::api::{
    DeleteParams, DynamicObject, EvictParams, ListParams, Patch, PatchParams, PostParams,
    Preconditions, PropagationPolicy, ValidationDirective,
};
use serde_json::{Value, json};
use sluice_sim::{Cluster, ClusterOptions};

fn cluster() -> Cluster {
    Cluster::new(ClusterOptions::default())
}

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

fn rollout(name: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": name},
        "spec": {"replicas": 2}
    })
}

fn merge(patch: &Value) -> (PatchParams, Patch<&Value>) {
    (PatchParams::default(), Patch::Merge(patch))
}

#[tokio::test]
async fn creation_fills_in_metadata() {
    let maps = api(&cluster().client(), "ConfigMap", "configmaps");
    let mut object = map("a");
    object["metadata"] = json!({"generateName": "a-", "generation": 7, "uid": "x"});
    let made = create(&maps, object).await.unwrap();
    let name = made["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("a-") && name.len() == 7, "{name}");
    assert!(made["metadata"]["uid"] != "x" && made["metadata"].get("generation").is_none());
    assert!(
        made["metadata"]["creationTimestamp"]
            .as_str()
            .unwrap()
            .ends_with('Z')
    );
}

#[tokio::test]
async fn refusals_are_status_objects() {
    let client = cluster().client();
    let maps = api(&client, "ConfigMap", "configmaps");
    let rollouts = api(&client, "Rollout", "rollouts");
    create(&maps, map("a")).await.unwrap();
    create(&rollouts, rollout("r")).await.unwrap();
    let rows = [
        (
            refusal(create(&maps, map("a")).await),
            409,
            "configmaps \"a\" already exists",
        ),
        (
            refusal(maps.get("b").await),
            404,
            "configmaps \"b\" not found",
        ),
        (
            refusal(create(&maps, map("A_")).await),
            422,
            "ConfigMap \"A_\" is invalid: metadata.name",
        ),
        (
            refusal(rollouts.get("x").await),
            404,
            "rollouts.argoproj.io \"x\" not found",
        ),
        (
            refusal(
                api(&client, "Gadget", "gadgets")
                    .list(&ListParams::default())
                    .await,
            ),
            404,
            "the server could not find the requested resource",
        ),
    ];
    for ((code, message), want, text) in rows {
        assert_eq!(code, want, "{message}");
        assert!(message.starts_with(text), "{message:?} for {text:?}");
    }
    let other: Api<DynamicObject> = Api::namespaced_with(
        client.clone(),
        "nowhere",
        &resource("ConfigMap", "configmaps"),
    );
    assert_eq!(
        refusal(create(&other, map("a")).await),
        (404, "namespaces \"nowhere\" not found".into())
    );
}

fn resource(kind: &str, plural: &str) -> kube::api::ApiResource {
    let gvk = kube::api::GroupVersionKind::gvk("", "v1", kind);
    kube::api::ApiResource::from_gvk_with_plural(&gvk, plural)
}

#[tokio::test]
async fn writes_on_old_versions_conflict() {
    let rollouts = api(&cluster().client(), "Rollout", "rollouts");
    let made = create(&rollouts, rollout("r")).await.unwrap();
    let (params, patch) = (PatchParams::default(), json!({"spec": {"replicas": 3}}));
    rollouts
        .patch("r", &params, &Patch::Merge(&patch))
        .await
        .unwrap();
    let stale: DynamicObject = serde_json::from_value(made.clone()).unwrap();
    let (code, message) = refusal(rollouts.replace("r", &PostParams::default(), &stale).await);
    assert_eq!(
        (code, message.as_str()),
        (
            409,
            "Operation cannot be fulfilled on rollouts.argoproj.io \"r\": the object has been \
             modified; please apply your changes to the latest version and try again"
        )
    );
    let guarded = json!({"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}});
    assert_eq!(
        refusal(rollouts.patch("r", &params, &Patch::Merge(&guarded)).await).0,
        409
    );
    let mut unversioned = stale;
    unversioned.metadata.resource_version = None;
    let (code, message) = refusal(
        rollouts
            .replace("r", &PostParams::default(), &unversioned)
            .await,
    );
    assert_eq!(code, 422);
    assert!(
        message.contains("metadata.resourceVersion: Invalid value: 0"),
        "{message}"
    );
}

#[tokio::test]
async fn generation_counts_spec_changes_and_status_is_apart() {
    let rollouts = api(&cluster().client(), "Rollout", "rollouts");
    let mut object = rollout("r");
    object["status"] = json!({"phase": "dropped"});
    let made = create(&rollouts, object).await.unwrap();
    assert!(made.get("status").is_none());
    let rows = [
        (json!({"metadata": {"labels": {"a": "b"}}}), false, 1),
        (json!({"spec": {"replicas": 3}}), false, 2),
        (json!({"spec": {"replicas": 3}}), false, 2),
        (json!({"status": {"phase": "ignored"}}), false, 2),
        (
            json!({"status": {"phase": "Healthy"}, "spec": {"replicas": 9}}),
            true,
            2,
        ),
    ];
    for (patch, status, generation) in rows {
        let (params, body) = merge(&patch);
        let done = if status {
            rollouts.patch_status("r", &params, &body).await.unwrap()
        } else {
            rollouts.patch("r", &params, &body).await.unwrap()
        };
        assert_eq!(done.metadata.generation, Some(generation), "{patch}");
    }
    let end = rollouts.get("r").await.unwrap();
    assert_eq!(
        end.data,
        json!({"spec": {"replicas": 3}, "status": {"phase": "Healthy"}})
    );
}

#[tokio::test]
async fn writes_that_change_nothing_keep_the_revision() {
    let cluster = cluster();
    let rollouts = api(&cluster.client(), "Rollout", "rollouts");
    create(&rollouts, rollout("r")).await.unwrap();
    let before = cluster.revision();
    let patch = json!({"spec": {"replicas": 2}, "metadata": {"annotations": {"gone": null}}});
    let (params, body) = merge(&patch);
    rollouts.patch("r", &params, &body).await.unwrap();
    let same = rollouts.get("r").await.unwrap();
    rollouts
        .replace("r", &PostParams::default(), &same)
        .await
        .unwrap();
    assert_eq!(cluster.revision(), before);
}

#[tokio::test]
async fn dry_runs_store_nothing() {
    let cluster = cluster();
    let maps = api(&cluster.client(), "ConfigMap", "configmaps");
    let params = PostParams {
        dry_run: true,
        ..Default::default()
    };
    let object: DynamicObject = serde_json::from_value(map("a")).unwrap();
    let made = maps.create(&params, &object).await.unwrap();
    assert!(made.metadata.uid.is_some());
    assert!(maps.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn json_patches_test_and_change() {
    let maps = api(&cluster().client(), "ConfigMap", "configmaps");
    create(&maps, map("a")).await.unwrap();
    let run = async |ops: Value| {
        let patch: json_patch::Patch = serde_json::from_value(ops).unwrap();
        maps.patch("a", &PatchParams::default(), &Patch::Json::<()>(patch))
            .await
    };
    let fine = json!([{"op": "test", "path": "/data/k", "value": "v"},
                      {"op": "replace", "path": "/data/k", "value": "w"}]);
    assert_eq!(
        run(fine.clone()).await.unwrap().data["data"],
        json!({"k": "w"})
    );
    assert_eq!(refusal(run(fine).await).0, 422);
}

#[tokio::test]
async fn strategic_patches_are_for_built_in_kinds() {
    let client = cluster().client();
    let sets = api(&client, "ReplicaSet", "replicasets");
    create(&sets, workload("ReplicaSet", "web", 0))
        .await
        .unwrap();
    let patch = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "web", "image": "web:v2"}, {"name": "side", "image": "side:v1"}
    ]}}}});
    let params = PatchParams::default();
    let done = sets
        .patch("web", &params, &Patch::Strategic(&patch))
        .await
        .unwrap();
    let containers = done.data["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    assert_eq!(containers.len(), 2);
    assert_eq!(containers[0]["ports"][0]["containerPort"], 8080);
    let rollouts = api(&client, "Rollout", "rollouts");
    create(&rollouts, rollout("r")).await.unwrap();
    assert_eq!(
        refusal(
            rollouts
                .patch("r", &params, &Patch::Strategic(&patch))
                .await
        )
        .0,
        415
    );
}

#[tokio::test]
async fn apply_owns_fields() {
    let maps = api(&cluster().client(), "ConfigMap", "configmaps");
    let apply = async |manager: &str, data: Value, force: bool| {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data,
        });
        let params = PatchParams {
            force,
            ..PatchParams::apply(manager)
        };
        maps.patch("a", &params, &Patch::Apply(&object)).await
    };
    apply("one", json!({"a": "1", "b": "1"}), false)
        .await
        .unwrap();
    let both = apply("two", json!({"c": "2"}), false).await.unwrap();
    assert_eq!(both.data["data"], json!({"a": "1", "b": "1", "c": "2"}));
    let (code, message) = refusal(apply("two", json!({"a": "2"}), false).await);
    assert_eq!(code, 409);
    assert_eq!(
        message,
        "Apply failed with 1 conflict: conflict with \"one\": .data.a"
    );
    // What is no longer applied goes, and what is taken by force changes hands.
    let forced = apply("two", json!({"a": "2"}), true).await.unwrap();
    assert_eq!(forced.data["data"], json!({"a": "2", "b": "1"}));
    let less = apply("one", json!({}), false).await.unwrap();
    assert_eq!(less.data["data"], json!({"a": "2"}));
    // An update takes ownership too.
    let (params, patch) = (PatchParams::default(), json!({"data": {"a": "3"}}));
    maps.patch("a", &params, &Patch::Merge(&patch))
        .await
        .unwrap();
    assert_eq!(refusal(apply("two", json!({"a": "2"}), false).await).0, 409);
}

#[tokio::test]
async fn finalizers_hold_objects_back() {
    let maps = api(&cluster().client(), "ConfigMap", "configmaps");
    let mut object = map("a");
    object["metadata"]["finalizers"] = json!(["example.com/x"]);
    create(&maps, object).await.unwrap();
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(
        maps.get("a")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_some()
    );
    let more = json!({"metadata": {"finalizers": ["example.com/x", "example.com/y"]}});
    let (params, body) = merge(&more);
    assert_eq!(refusal(maps.patch("a", &params, &body).await).0, 422);
    let none = json!({"metadata": {"finalizers": null}});
    let (params, body) = merge(&none);
    maps.patch("a", &params, &body).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn deletions_have_preconditions() {
    let maps = api(&cluster().client(), "ConfigMap", "configmaps");
    create(&maps, map("a")).await.unwrap();
    let uid = Some("other".to_owned());
    let preconditions = Some(Preconditions {
        uid,
        resource_version: None,
    });
    let params = DeleteParams {
        preconditions,
        ..Default::default()
    };
    assert_eq!(refusal(maps.delete("a", &params).await).0, 409);
    let status = maps
        .delete("a", &DeleteParams::default())
        .await
        .unwrap()
        .right()
        .unwrap();
    assert!(status.is_success() && status.details.unwrap().name == "a");
}

#[tokio::test(start_paused = true)]
async fn owners_take_their_dependents_along() {
    for (policy, kept) in [
        (PropagationPolicy::Background, false),
        (PropagationPolicy::Foreground, false),
        (PropagationPolicy::Orphan, true),
    ] {
        let cluster = cluster();
        let _control = cluster.start();
        let maps = api(&cluster.client(), "ConfigMap", "configmaps");
        let owner = create(&maps, map("owner")).await.unwrap();
        let mut child = map("child");
        child["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
            "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true,
        }]);
        create(&maps, child).await.unwrap();
        let params = DeleteParams {
            propagation_policy: Some(policy.clone()),
            ..Default::default()
        };
        maps.delete("owner", &params).await.unwrap();
        until("owner gone", async || {
            maps.get_opt("owner").await.unwrap().is_none()
        })
        .await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let child = maps.get_opt("child").await.unwrap();
        assert_eq!(child.is_some(), kept, "{policy:?}");
        assert!(child.is_none_or(|c| c.metadata.owner_references.is_none()));
    }
}

#[tokio::test]
async fn lists_come_in_pages_of_one_revision() {
    let cluster = cluster();
    let maps = api(&cluster.client(), "ConfigMap", "configmaps");
    for name in ["a", "b", "c"] {
        create(&maps, map(name)).await.unwrap();
    }
    let first = maps.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(first.metadata.remaining_item_count, Some(1));
    create(&maps, map("d")).await.unwrap();
    let token = first.metadata.continue_.unwrap();
    let params = ListParams::default().limit(2).continue_token(&token);
    let second = maps.list(&params).await.unwrap();
    let names: Vec<_> = second
        .items
        .iter()
        .filter_map(|o| o.metadata.name.as_deref())
        .collect();
    assert_eq!(names, ["c"]);
    assert_eq!(
        second.metadata.resource_version,
        first.metadata.resource_version
    );
    cluster.compact();
    assert_eq!(refusal(maps.list(&params).await).0, 410);
}

#[tokio::test]
async fn selectors_choose() {
    let maps = api(&cluster().client(), "ConfigMap", "configmaps");
    for (name, app) in [("a", "web"), ("b", "api")] {
        let mut object = map(name);
        object["metadata"]["labels"] = json!({"app": app});
        create(&maps, object).await.unwrap();
    }
    let rows = [
        (ListParams::default().labels("app=web"), 1),
        (ListParams::default().labels("app in (web,api)"), 2),
        (ListParams::default().fields("metadata.name=b"), 1),
        (
            ListParams::default()
                .fields("metadata.name!=b")
                .labels("app=api"),
            0,
        ),
    ];
    for (params, count) in rows {
        assert_eq!(
            maps.list(&params).await.unwrap().items.len(),
            count,
            "{params:?}"
        );
    }
    let bad = ListParams::default().fields("data.k=v");
    assert_eq!(
        refusal(maps.list(&bad).await).1,
        "\"data.k\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    );
}

#[tokio::test]
async fn scale_is_a_view() {
    let client = cluster().client();
    let sets = api(&client, "ReplicaSet", "replicasets");
    create(&sets, workload("ReplicaSet", "web", 2))
        .await
        .unwrap();
    let scale = sets.get_scale("web").await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(2));
    assert_eq!(scale.status.unwrap().selector.as_deref(), Some("app=web"));
    let patch = json!({"spec": {"replicas": 5}});
    let (params, body) = merge(&patch);
    sets.patch_scale("web", &params, &body).await.unwrap();
    assert_eq!(sets.get("web").await.unwrap().data["spec"]["replicas"], 5);
    let rollouts = api(&client, "Rollout", "rollouts");
    create(&rollouts, rollout("r")).await.unwrap();
    let (params, body) = merge(&patch);
    rollouts.patch_scale("r", &params, &body).await.unwrap();
    assert_eq!(
        rollouts.get("r").await.unwrap().metadata.generation,
        Some(2)
    );
}

#[tokio::test]
async fn built_in_kinds_get_defaults_and_keep_their_selectors() {
    let client = cluster().client();
    let sets = api(&client, "ReplicaSet", "replicasets");
    let made = create(&sets, workload("ReplicaSet", "web", 1))
        .await
        .unwrap();
    let spec = &made["spec"]["template"]["spec"];
    assert_eq!(spec["restartPolicy"], "Always");
    assert_eq!(spec["containers"][0]["imagePullPolicy"], "IfNotPresent");
    let other = json!({"spec": {"selector": {"matchLabels": {"app": "web", "x": "y"}}}});
    let (params, body) = merge(&other);
    let (code, message) = refusal(sets.patch("web", &params, &body).await);
    assert_eq!(code, 422, "{message}");
    let mut wrong = workload("ReplicaSet", "bad", 1);
    wrong["spec"]["selector"]["matchLabels"]["app"] = json!("other");
    let (_, message) = refusal(create(&sets, wrong).await);
    assert!(
        message.contains("`selector` does not match template `labels`"),
        "{message}"
    );
    let services = api(&client, "Service", "services");
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "web"}},
    });
    let made = create(&services, service).await.unwrap();
    assert!(
        made["spec"]["clusterIP"]
            .as_str()
            .unwrap()
            .starts_with("10.96.")
    );
    assert_eq!(made["spec"]["ports"][0]["targetPort"], 80);
}

#[tokio::test]
async fn definitions_add_kinds_with_schemas() {
    let client = cluster().client();
    let definitions = api(
        &client,
        "CustomResourceDefinition",
        "customresourcedefinitions",
    );
    create(&definitions, definition()).await.unwrap();
    let gvk = kube::api::GroupVersionKind::gvk("example.com", "v1", "Gadget");
    let (resource, _) = kube::discovery::pinned_kind(&client, &gvk).await.unwrap();
    let gadgets: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &resource);
    let gadget = |spec: Value| {
        json!({
            "apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "g"},
            "spec": spec,
        })
    };
    let rows = [
        (json!({}), "spec.size: Required value"),
        (
            json!({"size": -1}),
            "spec.size: Invalid value: -1: spec.size in body should be greater",
        ),
        (json!({"size": "x"}), "must be of type integer: \"string\""),
        (
            json!({"size": 1, "mode": "C"}),
            "Unsupported value: \"C\": supported values: \"A\", \"B\"",
        ),
    ];
    for (spec, text) in rows {
        let (code, message) = refusal(create(&gadgets, gadget(spec)).await);
        assert_eq!(code, 422);
        assert!(message.contains(text), "{message}");
    }
    let made = create(&gadgets, gadget(json!({"size": 1, "odd": 1, "fixed": "x"})))
        .await
        .unwrap();
    assert_eq!(made["spec"], json!({"size": 1, "mode": "A", "fixed": "x"}));
    let patch = json!({"spec": {"fixed": "y"}});
    let (params, body) = merge(&patch);
    let (_, message) = refusal(gadgets.patch("g", &params, &body).await);
    assert!(message.contains("fixed cannot change"), "{message}");
    let strict = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..Default::default()
    };
    let unknown = json!({"spec": {"odd": 1}});
    let (code, message) = refusal(gadgets.patch("g", &strict, &Patch::Merge(&unknown)).await);
    assert_eq!(code, 400);
    assert!(
        message.contains("strict decoding error: unknown field \"spec.odd\""),
        "{message}"
    );
    definitions
        .delete("gadgets.example.com", &DeleteParams::default())
        .await
        .unwrap();
    assert_eq!(refusal(gadgets.get("g").await).0, 404);
}

#[tokio::test(start_paused = true)]
async fn evictions_respect_budgets() {
    let bench = common::Bench::new();
    let client = bench.cluster.client();
    bench
        .cluster
        .apply(&workload("ReplicaSet", "web", 2))
        .unwrap();
    until("ready", async || {
        bench.number("ReplicaSet", "web", "/status/readyReplicas") == 2
    })
    .await;
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}},
    });
    bench.cluster.apply(&budget).unwrap();
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::default_namespaced(client);
    let name = bench.pods("app=web")[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        refusal(pods.evict(&name, &EvictParams::default()).await).0,
        429
    );
    let patch = json!({"spec": {"minAvailable": 1}});
    bench
        .cluster
        .merge("policy/v1", "PodDisruptionBudget", "default", "b", &patch)
        .unwrap();
    pods.evict(&name, &EvictParams::default()).await.unwrap();
}

#[tokio::test]
async fn versions_share_one_object() {
    let cluster = cluster();
    let client = cluster.client();
    let object = |version: &str| {
        let gvk =
            kube::api::GroupVersionKind::gvk("networking.istio.io", version, "VirtualService");
        let resource = kube::api::ApiResource::from_gvk_with_plural(&gvk, "virtualservices");
        Api::<DynamicObject>::default_namespaced_with(client.clone(), &resource)
    };
    let made = json!({
        "apiVersion": "networking.istio.io/v1alpha3", "kind": "VirtualService",
        "metadata": {"name": "vs"}, "spec": {"hosts": ["a"]},
    });
    create(&object("v1alpha3"), made).await.unwrap();
    let seen = object("v1beta1").get("vs").await.unwrap();
    assert_eq!(
        seen.types.unwrap().api_version,
        "networking.istio.io/v1beta1"
    );
}

#[tokio::test(start_paused = true)]
async fn namespaces_end_with_their_content() {
    let cluster = cluster();
    let _control = cluster.start();
    let mut object = map("a");
    object["metadata"]["namespace"] = json!("team");
    cluster.apply(&object).unwrap();
    let spaces = api(&cluster.client(), "Namespace", "namespaces");
    spaces
        .delete("team", &DeleteParams::default())
        .await
        .unwrap();
    until("namespace gone", async || {
        spaces.get_opt("team").await.unwrap().is_none()
    })
    .await;
    assert!(cluster.get("v1", "ConfigMap", "team", "a").is_none());
}

#[tokio::test]
async fn status_is_applied_apart() {
    let rollouts = api(&cluster().client(), "Rollout", "rollouts");
    create(&rollouts, rollout("r")).await.unwrap();
    let status = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "r"},
        "spec": {"replicas": 9}, "status": {"phase": "Healthy"},
    });
    let params = PatchParams::apply("one");
    let done = rollouts
        .patch_status("r", &params, &Patch::Apply(&status))
        .await
        .unwrap();
    assert_eq!(
        done.data,
        json!({"spec": {"replicas": 2}, "status": {"phase": "Healthy"}})
    );
}

#[tokio::test]
async fn our_own_definitions_install() {
    let cluster = cluster();
    cluster.install_definitions().unwrap();
    let definitions = cluster.list(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "",
        "",
    );
    assert_eq!(definitions.len(), 5);
    let rollouts = api(&cluster.client(), "Rollout", "rollouts");
    let mut object = rollout("r");
    object["spec"]["replicas"] = json!("many");
    assert_eq!(refusal(create(&rollouts, object).await).0, 422);
    create(&rollouts, rollout("r")).await.unwrap();
}
