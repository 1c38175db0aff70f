//! Installing it: the controller under exactly the role that `deploy/` gives it, never as admin.
//!
//! Every feature is played once while the API server keeps the books. A refused request fails the
//! test, and so does a granted verb that nothing used ([`UNUSED`] names the exceptions, each with its
//! reason). Builds the control plane if missing. `SLUICE_SKIP_CONTROLPLANE=1` leaves it out.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do, and tell what they measured"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sluice_controller::Config;
use sluice_controller::lease::LeaseSettings;
use sluice_core::commands;
use sluice_e2e::controlplane::{Options, left_out};
use sluice_e2e::kustomize;
use sluice_e2e::stand::{ARGO, Controller, ISTIO, Namespace, Stand, StandOptions, kind, text};
use sluice_e2e::toolchain::{self, Cache};

/// For one thing to happen, on a busy machine.
const SOON: Duration = Duration::from_secs(90);
/// Where the cluster-wide install lives.
const OWN: &str = "argo-rollouts";

/// What the role grants although this test cannot make the controller use it: group, resource, verb,
/// reason. An entry that the role does not grant is an error, so the list stays true.
const UNUSED: &[(&str, &str, &str, &str)] = &[
    ("argoproj.io", "rollouts/finalizers", "update", FINALIZERS),
    (
        "argoproj.io",
        "analysisruns/finalizers",
        "update",
        FINALIZERS,
    ),
    (
        "argoproj.io",
        "experiments/finalizers",
        "update",
        FINALIZERS,
    ),
];
const FINALIZERS: &str = "asked for by an admission plugin that OpenShift turns on";

/// INS-4: what the peer's role grants. A cluster whose administrators installed that one must do: we
/// need no verb beyond it (design D5). Groups, resources, verbs.
const PEER: &[(&str, &str, &str)] = &[
    (
        "argoproj.io",
        "rollouts rollouts/status rollouts/finalizers",
        "get list watch update patch",
    ),
    (
        "argoproj.io",
        "analysisruns analysisruns/finalizers experiments experiments/finalizers",
        "create get list watch update patch delete",
    ),
    (
        "argoproj.io",
        "analysistemplates clusteranalysistemplates",
        "get list watch",
    ),
    (
        "apps",
        "replicasets",
        "create get list watch update patch delete",
    ),
    (
        "core apps",
        "deployments podtemplates",
        "get list watch update",
    ),
    ("core", "services", "get list watch patch create delete"),
    ("coordination.k8s.io", "leases", "create get update"),
    ("core", "secrets configmaps", "get list watch"),
    ("core", "pods", "list update watch"),
    ("core", "pods/eviction", "create"),
    ("core", "events", "create update patch"),
    (
        "networking.k8s.io extensions",
        "ingresses",
        "create get list watch update patch",
    ),
    ("batch", "jobs", "create get list watch update patch delete"),
    (
        "networking.istio.io",
        "virtualservices destinationrules",
        "watch get update patch list",
    ),
];

type Grant = (String, String, String);

/// All that a (Cluster)Role grants.
fn granted(role: &Value) -> BTreeSet<Grant> {
    let strings = |rule: &Value, key: &str| -> Vec<String> {
        let list = rule.get(key).and_then(Value::as_array);
        let texts = list.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    };
    let mut found = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        for group in strings(rule, "apiGroups") {
            for resource in strings(rule, "resources") {
                for verb in strings(rule, "verbs") {
                    found.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    found
}

/// All that the peer's role grants.
fn granted_by_peer() -> BTreeSet<Grant> {
    let words = |text: &'static str| text.split(' ').map(str::to_owned);
    let mut found = BTreeSet::new();
    for (groups, resources, verbs) in PEER {
        for group in words(groups) {
            let group = if group == "core" {
                String::new()
            } else {
                group
            };
            for resource in words(resources) {
                for verb in words(verbs) {
                    found.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    found
}

fn workload(name: &str, strategy: Value) -> Value {
    json!({
        "apiVersion": ARGO, "kind": "Rollout", "metadata": {"name": name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "web:v1",
                                         "ports": [{"name": "http", "containerPort": 80}]}]},
            },
            "strategy": strategy,
        },
    })
}

fn service(name: &str, app: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
           "spec": {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": "http"}]}})
}

/// Applies objects and waits until the Rollout is healthy.
async fn given(space: &Namespace, name: &str, objects: &[Value]) -> Result<()> {
    let parts: Vec<_> = objects.iter().map(Value::to_string).collect();
    space.apply(&parts.join("\n---\n")).await?;
    space.phase(name, "Healthy", SOON).await?;
    Ok(())
}

/// Updates, lets a person promote, and waits for the end.
async fn update(space: &Namespace, name: &str, image: &str) -> Result<()> {
    space.set_image(name, image).await?;
    space.phase(name, "Paused", SOON).await?;
    space.promote(name, false).await?;
    space.phase(name, "Healthy", SOON).await?;
    Ok(())
}

/// Pods get metadata, old ReplicaSets go, pods are restarted.
async fn canary(space: &Namespace) -> Result<()> {
    let name = "plain";
    let mut rollout = workload(
        name,
        json!({"canary": {
            "canaryMetadata": {"labels": {"role": "canary"}},
            "stableMetadata": {"labels": {"role": "stable"}},
            "steps": [{"setWeight": 50}, {"pause": {}}],
        }}),
    );
    rollout["spec"]["revisionHistoryLimit"] = json!(1);
    given(space, name, &[rollout]).await?;
    for image in ["web:v2", "web:v3", "web:v4"] {
        update(space, name, image).await?;
    }
    let few = |sets: &[Value]| {
        let own = |set: &&Value| text(set, "/metadata/labels/app") == name;
        sets.iter().filter(own).count() <= 2
    };
    let sets = kind("apps/v1", "ReplicaSet");
    space
        .until_all(&sets, "old ReplicaSets are deleted", SOON, few)
        .await?;
    let now = jiff::Timestamp::now();
    space.command(name, &commands::restart(now)).await?;
    let rollouts = kind(ARGO, "Rollout");
    let restarted = |rollout: &Value| !text(rollout, "/status/restartedAt").is_empty();
    space
        .until(&rollouts, name, "is restarted", SOON, restarted)
        .await?;
    space.phase(name, "Healthy", SOON).await?;
    Ok(())
}

/// Weights in a VirtualService, hashes in a DestinationRule.
async fn istio(space: &Namespace) -> Result<()> {
    let name = "mesh";
    let destination = |subset: &str, weight: u32| json!({"destination": {"host": name, "subset": subset}, "weight": weight});
    let subset = |subset: &str| json!({"name": subset, "labels": {"app": name}});
    let objects = [
        service(name, name),
        json!({"apiVersion": ISTIO, "kind": "VirtualService", "metadata": {"name": name},
               "spec": {"hosts": [name], "http": [{"name": "primary",
                        "route": [destination("stable", 100), destination("canary", 0)]}]}}),
        json!({"apiVersion": ISTIO, "kind": "DestinationRule", "metadata": {"name": name},
               "spec": {"host": name, "subsets": [subset("stable"), subset("canary")]}}),
        workload(
            name,
            json!({"canary": {
                "trafficRouting": {"istio": {
                    "virtualService": {"name": name, "routes": ["primary"]},
                    "destinationRule": {"name": name, "stableSubsetName": "stable",
                                        "canarySubsetName": "canary"},
                }},
                "steps": [{"setWeight": 20}, {"pause": {}}],
            }}),
        ),
    ];
    given(space, name, &objects).await?;
    update(space, name, "web:v2").await
}

/// A canary Ingress is made and weighted.
async fn nginx(space: &Namespace) -> Result<()> {
    let name = "edge";
    let backend = json!({"service": {"name": "edge-stable", "port": {"number": 80}}});
    let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
    let objects = [
        service("edge-stable", name),
        service("edge-canary", name),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name},
               "spec": {"ingressClassName": "nginx",
                        "rules": [{"host": "edge.test", "http": {"paths": [path]}}]}}),
        workload(
            name,
            json!({"canary": {
                "stableService": "edge-stable", "canaryService": "edge-canary",
                "trafficRouting": {"nginx": {"stableIngress": name}},
                "steps": [{"setWeight": 20}, {"pause": {}}],
            }}),
        ),
    ];
    given(space, name, &objects).await?;
    update(space, name, "web:v2").await
}

/// The pod template is a Deployment's, which is scaled down.
async fn workload_ref(space: &Namespace) -> Result<()> {
    let name = "taken";
    let template = workload(name, Value::Null)["spec"]["template"].clone();
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": template},
    });
    let rollout = json!({
        "apiVersion": ARGO, "kind": "Rollout", "metadata": {"name": name},
        "spec": {"replicas": 2,
                 "workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name,
                                 "scaleDown": "onsuccess"},
                 "strategy": {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}}},
    });
    given(space, name, &[deployment, rollout]).await?;
    let deployments = kind("apps/v1", "Deployment");
    let empty = |deployment: &Value| deployment.pointer("/spec/replicas") == Some(&json!(0));
    space
        .until(&deployments, name, "is scaled down", SOON, empty)
        .await?;
    let containers = json!([{"name": "web", "image": "web:v2"}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    space.patch(&deployments, name, &patch).await?;
    space.phase(name, "Paused", SOON).await?;
    space.promote(name, false).await?;
    space.phase(name, "Healthy", SOON).await?;
    Ok(())
}

/// The pod template is a PodTemplate's.
async fn template_ref(space: &Namespace) -> Result<()> {
    let name = "mould";
    let template = workload(name, Value::Null)["spec"]["template"].clone();
    let objects = [
        json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": name},
               "template": template}),
        json!({"apiVersion": ARGO, "kind": "Rollout", "metadata": {"name": name},
               "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}},
                        "workloadRef": {"apiVersion": "v1", "kind": "PodTemplate", "name": name},
                        "strategy": {"canary": {}}}}),
    ];
    given(space, name, &objects).await
}

/// Selectors of the active and the preview Service.
async fn blue_green(space: &Namespace) -> Result<()> {
    let name = "shop";
    let objects = [
        service("shop-active", name),
        service("shop-preview", name),
        workload(
            name,
            json!({"blueGreen": {
                "activeService": "shop-active", "previewService": "shop-preview",
                "autoPromotionEnabled": false, "scaleDownDelaySeconds": 1,
            }}),
        ),
    ];
    given(space, name, &objects).await?;
    update(space, name, "web:v2").await
}

/// Jobs measure, a Secret gives an argument, old runs go, and an abort ends a running one.
async fn analysis(space: &Namespace) -> Result<()> {
    let name = "judged";
    let job = |command: &str| {
        json!({"spec": {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never",
               "containers": [{"name": "check", "image": "alpine:3",
                               "command": ["sh", "-c", command]}]}}}})
    };
    let template = |name: &str, metrics: Value| {
        json!({"apiVersion": ARGO, "kind": "AnalysisTemplate", "metadata": {"name": name},
               "spec": {"args": [{"name": "token", "valueFrom": {"secretKeyRef":
                                  {"name": "credentials", "key": "token"}}}],
                        "metrics": metrics}})
    };
    let objects = [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "credentials"},
               "stringData": {"token": "x"}}),
        template(
            "short",
            json!([{"name": "job", "provider": {"job": job("exit 0 # {{args.token}}")}}]),
        ),
        template(
            "long",
            json!([{"name": "job", "provider": {"job": job("sleep 600 # {{args.token}}")}}]),
        ),
        {
            let steps = json!([{"setWeight": 50}, {"pause": {}},
                               {"analysis": {"templates": [{"templateName": "short"}]}}]);
            let mut rollout = workload(
                name,
                json!({"canary": {"steps": steps,
                       "analysis": {"templates": [{"templateName": "short"}]}}}),
            );
            rollout["spec"]["analysis"] = json!({"successfulRunHistoryLimit": 1});
            rollout["spec"]["revisionHistoryLimit"] = json!(1);
            rollout
        },
    ];
    given(space, name, &objects).await?;
    for image in ["web:v2", "web:v3", "web:v4"] {
        update(space, name, image).await?;
    }
    let runs = kind(ARGO, "AnalysisRun");
    let own = |runs: &[Value]| runs.iter().filter(|run| owner(run) == name).count();
    space
        .until_all(&runs, "old runs are deleted", SOON, |runs| own(runs) <= 4)
        .await?;
    let steps = json!([{"setWeight": 50},
                       {"analysis": {"templates": [{"templateName": "long"}]}}]);
    let patch = json!({"spec": {"strategy": {"canary": {"steps": steps, "analysis": null}}}});
    space.patch(&kind(ARGO, "Rollout"), name, &patch).await?;
    space.phase(name, "Healthy", SOON).await?;
    space.set_image(name, "web:v5").await?;
    let jobs = kind("batch/v1", "Job");
    let active = |jobs: &[Value]| {
        let active = |job: &Value| job.pointer("/status/active") == Some(&json!(1));
        jobs.iter().any(active)
    };
    space
        .until_all(&jobs, "a Job is running", SOON, active)
        .await?;
    space.abort(name).await?;
    space.phase(name, "Degraded", SOON).await?;
    space
        .until_all(&jobs, "the Job is gone", SOON, |jobs| !active(jobs))
        .await?;
    Ok(())
}

/// ReplicaSets and Services of a step's Experiment, with an AnalysisRun of its own.
async fn experiment(space: &Namespace) -> Result<()> {
    let name = "tried";
    let job = json!({"spec": {"template": {"spec": {"restartPolicy": "Never",
                     "containers": [{"name": "check", "image": "alpine:3",
                                     "command": ["sh", "-c", "exit 0"]}]}}}});
    let rollout = |duration: &str| -> Value {
        let templates = json!([{"name": "new", "specRef": "canary", "service": {}}]);
        let analyses = json!([{"name": "check", "templateName": "experiment-check"}]);
        // Its pods, and with them its Service, go while the Experiment is still there to ask for it.
        let step = json!({"duration": duration, "scaleDownDelaySeconds": 1,
                          "templates": templates, "analyses": analyses});
        let steps = json!([{"experiment": step}, {"pause": {}}]);
        let mut rollout = workload(name, json!({"canary": {"steps": steps}}));
        rollout["spec"]["analysis"] = json!({"successfulRunHistoryLimit": 0});
        rollout
    };
    let objects = [
        json!({"apiVersion": ARGO, "kind": "AnalysisTemplate",
               "metadata": {"name": "experiment-check"},
               "spec": {"metrics": [{"name": "job", "provider": {"job": job}}]}}),
        rollout("2s"),
    ];
    given(space, name, &objects).await?;
    space.set_image(name, "web:v2").await?;
    space.phase(name, "Paused", SOON).await?;
    let experiments = kind(ARGO, "Experiment");
    let of_step = |services: &[Value]| {
        let owned = |one: &Value| text(one, "/metadata/ownerReferences/0/kind") == "Experiment";
        services.iter().any(owned)
    };
    space
        .until_all(
            &kind("v1", "Service"),
            "the step's is deleted",
            SOON,
            |all| !of_step(all),
        )
        .await?;
    space.promote(name, false).await?;
    space.phase(name, "Healthy", SOON).await?;
    space
        .until_all(
            &experiments,
            "the old one is deleted",
            SOON,
            <[Value]>::is_empty,
        )
        .await?;
    // A running one is ended by an abort.
    space.apply(&rollout("600s").to_string()).await?;
    space.set_image(name, "web:v3").await?;
    let running = |all: &[Value]| {
        let running = |one: &Value| text(one, "/status/phase") == "Running";
        all.iter().any(running)
    };
    space
        .until_all(&experiments, "one is running", SOON, running)
        .await?;
    space.abort(name).await?;
    space.phase(name, "Degraded", SOON).await?;
    space
        .until_all(&experiments, "none is running", SOON, |all| !running(all))
        .await?;
    Ok(())
}

fn owner(object: &Value) -> &str {
    text(object, "/metadata/ownerReferences/0/name")
}

async fn play(space: &Namespace) -> Result<()> {
    let named = |name: &'static str, act: Result<()>| act.context(name);
    let acts = tokio::join!(
        async { named("canary", canary(space).await) },
        async { named("istio", istio(space).await) },
        async { named("nginx", nginx(space).await) },
        async { named("workloadRef", workload_ref(space).await) },
        async { named("PodTemplate", template_ref(space).await) },
        async { named("blue-green", blue_green(space).await) },
        async { named("analysis", analysis(space).await) },
        async { named("experiment", experiment(space).await) },
    );
    let acts = [
        acts.0, acts.1, acts.2, acts.3, acts.4, acts.5, acts.6, acts.7,
    ];
    let failed: Vec<_> = acts
        .into_iter()
        .filter_map(|act| act.err().map(|error| format!("{error:?}")))
        .collect();
    anyhow::ensure!(failed.is_empty(), "{}", failed.join("\n\n"));
    // What Rollouts left in Services and DestinationRules is taken back when they go.
    let rollouts = kind(ARGO, "Rollout");
    for name in ["mesh", "edge", "shop"] {
        space.delete(&rollouts, name).await?;
    }
    let hashes = |services: &[Value]| {
        let hash = "/spec/selector/rollouts-pod-template-hash";
        services
            .iter()
            .any(|service| service.pointer(hash).is_some())
    };
    let services = kind("v1", "Service");
    space
        .until_all(&services, "selectors are given back", SOON, |s| !hashes(s))
        .await?;
    let rules = kind(ISTIO, "DestinationRule");
    let given_back = |rule: &Value| {
        !rule["spec"]["subsets"]
            .to_string()
            .contains("rollouts-pod-template-hash")
    };
    space
        .until(&rules, "mesh", "has its subsets back", SOON, given_back)
        .await?;
    Ok(())
}

/// Installs a kustomization, plays everything under its ServiceAccount, and audits.
async fn audited(folder: &str, role_kind: &str, namespaced: bool, crds: String) {
    let plane = Options {
        audit: true,
        ..Options::default()
    };
    let mut options = StandOptions {
        plane,
        crds,
        ..StandOptions::default()
    };
    options.node.run_commands = true;
    let stand = Stand::start(options).await.unwrap();
    let own = stand.namespace(OWN);
    own.create().await.unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kustomize");
    let install = kustomize::objects(&root.join(folder)).unwrap();
    let parts: Vec<_> = install.iter().map(Value::to_string).collect();
    own.apply(&parts.join("\n---\n")).await.unwrap();
    let is_role =
        |object: &&Value| object["kind"] == role_kind && text(object, "/metadata/name") == OWN;
    let role = install.iter().find(is_role).unwrap();

    let account = stand
        .plane
        .service_account(OWN, "argo-rollouts")
        .await
        .unwrap();
    let config = Config {
        namespace: namespaced.then(|| OWN.to_owned()),
        own_namespace: OWN.to_owned(),
        lease: Some(LeaseSettings::new(OWN, "")),
        ..Config::default()
    };
    let controller = Controller::start(config, account.client().unwrap());
    let space = stand.namespace(if namespaced { OWN } else { "shop" });
    space.create().await.unwrap();
    let played = play(&space).await;
    controller.stop().await.unwrap();

    let requests = stand.plane.requests().unwrap().of_user(&account.user);
    println!("{folder}: what the controller asked for:\n{requests}");
    let resource = |request: &sluice_e2e::controlplane::Request| match &*request.subresource {
        "" => request.resource.clone(),
        sub => format!("{}/{sub}", request.resource),
    };
    let mut refused = BTreeSet::new();
    let mut used = BTreeSet::new();
    for (request, _) in requests.iter() {
        let what = (
            request.group.clone(),
            resource(request),
            request.verb.clone(),
        );
        if request.code == 403 {
            refused.insert(what);
        } else {
            used.insert(what);
        }
    }
    let granted = granted(role);
    let unused: Vec<_> = granted.difference(&used).collect();
    let excused = |(group, resource, verb): &Grant| {
        let same = |entry: &&(&str, &str, &str, &str)| {
            (entry.0, entry.1, entry.2) == (&**group, &**resource, &**verb)
        };
        // Reading one object allows nothing beyond list, and is done after a lost race only.
        let list = (group.clone(), resource.clone(), "list".to_owned());
        let is_read = verb == "get" && granted.contains(&list);
        is_read || UNUSED.iter().any(|entry| same(&entry))
    };
    let unexcused: Vec<_> = unused.iter().filter(|grant| !excused(grant)).collect();
    let stale: Vec<_> = UNUSED
        .iter()
        .filter(|(group, resource, verb, _)| {
            let grant = (
                (*group).to_owned(),
                (*resource).to_owned(),
                (*verb).to_owned(),
            );
            !granted.contains(&grant)
        })
        .collect();
    let mut wrong = vec![];
    if let Err(error) = played {
        wrong.push(format!("{error:?}"));
    }
    if !refused.is_empty() {
        wrong.push(format!("refused: {refused:#?}"));
    }
    if !unexcused.is_empty() {
        wrong.push(format!("granted, but never used: {unexcused:#?}"));
    }
    let peer = granted_by_peer();
    let beyond: Vec<_> = granted.difference(&peer).collect();
    if !beyond.is_empty() {
        wrong.push(format!("beyond the peer's role: {beyond:#?}"));
    }
    if !stale.is_empty() {
        wrong.push(format!("excused, but not granted: {stale:#?}"));
    }
    stand.stop().await.unwrap();
    assert!(wrong.is_empty(), "{folder}:\n{}", wrong.join("\n"));
}

/// INS-1, INS-4: the cluster-wide install suffices, and grants no more than is used.
#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_role_is_what_the_controller_uses() {
    if left_out() {
        return;
    }
    let crds = crds().await;
    audited("cluster-install", "ClusterRole", false, crds).await;
}

/// INS-3: so does the install for one namespace, with nothing cluster-wide.
#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_one_namespace_is_what_the_controller_uses() {
    if left_out() {
        return;
    }
    let crds = crds().await;
    audited("namespace-install", "Role", true, crds).await;
}

async fn crds() -> String {
    let fetch = || toolchain::istio_crds(&Cache::from_env()?);
    tokio::task::spawn_blocking(fetch).await.unwrap().unwrap()
}
