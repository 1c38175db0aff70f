//! Defaults of built-in kinds, as the API server writes them into stored objects.

use serde_json::{Value, json};

use crate::json::{at, default, each_mut, entry, int, list_mut, map, text};
use crate::kinds::Kind;

pub(super) fn apply(kind: &Kind, value: &mut Value) {
    match kind.plural.as_str() {
        "pods" => pod_spec(value, &["spec"]),
        "services" => service(value),
        "replicasets" => replica_set(value),
        "deployments" => deployment(value),
        "statefulsets" | "daemonsets" => {
            if kind.plural == "statefulsets" {
                default(value, &["spec", "replicas"], 1);
            }
            pod_template(value, &["spec", "template"]);
        }
        "jobs" => job(value),
        "secrets" => secret(value),
        "events" => {
            default(value, &["reportingComponent"], "");
            default(value, &["reportingInstance"], "");
            if value.get("eventTime").is_none() {
                crate::json::put(value, &["eventTime"], Value::Null);
            }
        }
        "horizontalpodautoscalers" => default(value, &["spec", "minReplicas"], 1),
        "customresourcedefinitions" => definition(value),
        _ => {}
    }
}

pub(super) fn replica_set(value: &mut Value) {
    default(value, &["spec", "replicas"], 1);
    pod_template(value, &["spec", "template"]);
}

pub(super) fn deployment(value: &mut Value) {
    default(value, &["spec", "replicas"], 1);
    default(value, &["spec", "revisionHistoryLimit"], 10);
    default(value, &["spec", "progressDeadlineSeconds"], 600);
    default(value, &["spec", "strategy", "type"], "RollingUpdate");
    if text(value, &["spec", "strategy", "type"]) == "RollingUpdate" {
        default(
            value,
            &["spec", "strategy", "rollingUpdate", "maxUnavailable"],
            "25%",
        );
        default(
            value,
            &["spec", "strategy", "rollingUpdate", "maxSurge"],
            "25%",
        );
    }
    pod_template(value, &["spec", "template"]);
}

fn job(value: &mut Value) {
    if at(value, &["spec", "completions"]).is_none() {
        if at(value, &["spec", "parallelism"]).is_none() {
            default(value, &["spec", "completions"], 1);
        }
        default(value, &["spec", "parallelism"], 1);
    }
    default(value, &["spec", "parallelism"], 1);
    default(value, &["spec", "backoffLimit"], 6);
    default(value, &["spec", "completionMode"], "NonIndexed");
    default(value, &["spec", "suspend"], false);
    default(value, &["spec", "manualSelector"], false);
    default(
        value,
        &["spec", "podReplacementPolicy"],
        "TerminatingOrFailed",
    );
    pod_template(value, &["spec", "template"]);
}

pub(super) fn service(value: &mut Value) {
    default(value, &["spec", "type"], "ClusterIP");
    default(value, &["spec", "sessionAffinity"], "None");
    if text(value, &["spec", "type"]) != "ExternalName" {
        default(value, &["spec", "internalTrafficPolicy"], "Cluster");
        default(value, &["spec", "ipFamilies"], json!(["IPv4"]));
        default(value, &["spec", "ipFamilyPolicy"], "SingleStack");
    }
    for port in each_mut(value, &["spec", "ports"]) {
        default(port, &["protocol"], "TCP");
        if let Some(number) = int(port, &["port"]) {
            default(port, &["targetPort"], number);
        }
    }
}

/// What a pod gets beyond what its template says.
pub(super) fn pod(value: &mut Value) {
    default(value, &["spec", "enableServiceLinks"], true);
    default(value, &["spec", "preemptionPolicy"], "PreemptLowerPriority");
    default(value, &["spec", "priority"], 0);
    let tolerations = list_mut(value, &["spec", "tolerations"]);
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        if !tolerations.iter().any(|t| text(t, &["key"]) == key) {
            tolerations.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
            }));
        }
    }
}

/// Plain strings are stored with the rest, in base64.
fn secret(value: &mut Value) {
    use base64::Engine;
    default(value, &["type"], "Opaque");
    let Some(Value::Object(plain)) = crate::json::take(value, &["stringData"]) else {
        return;
    };
    for (key, text) in plain {
        let text = text.as_str().unwrap_or_default();
        let coded = base64::engine::general_purpose::STANDARD.encode(text);
        crate::json::put(value, &["data", &key], coded);
    }
}

fn definition(value: &mut Value) {
    default(value, &["spec", "conversion", "strategy"], "None");
    let kind = text(value, &["spec", "names", "kind"]).to_owned();
    default(value, &["spec", "names", "listKind"], format!("{kind}List"));
    default(value, &["spec", "names", "singular"], kind.to_lowercase());
}

/// Defaults of the pod template at a path.
pub(super) fn pod_template(value: &mut Value, path: &[&str]) {
    let template = entry(value, path);
    if at(template, &["metadata"]).is_none() {
        crate::json::put(template, &["metadata"], json!({}));
    }
    pod_spec(template, &["spec"]);
}

/// Defaults of the pod spec at a path.
pub(super) fn pod_spec(value: &mut Value, path: &[&str]) {
    let spec = entry(value, path);
    default(spec, &["restartPolicy"], "Always");
    default(spec, &["dnsPolicy"], "ClusterFirst");
    default(spec, &["terminationGracePeriodSeconds"], 30);
    default(spec, &["schedulerName"], "default-scheduler");
    default(spec, &["securityContext"], json!({}));
    let account = text(spec, &["serviceAccountName"]).to_owned();
    if !account.is_empty() {
        default(spec, &["serviceAccount"], account);
    }
    for list in ["containers", "initContainers"] {
        each_mut(spec, &[list]).for_each(container);
    }
    each_mut(spec, &["volumes"]).for_each(volume);
}

fn container(container: &mut Value) {
    if !container.is_object() {
        return;
    }
    let image = text(container, &["image"]);
    let name = image.rsplit('/').next().unwrap_or_default();
    let floating = !image.contains('@') && (!name.contains(':') || name.ends_with(":latest"));
    default(
        container,
        &["imagePullPolicy"],
        if floating { "Always" } else { "IfNotPresent" },
    );
    default(
        container,
        &["terminationMessagePath"],
        "/dev/termination-log",
    );
    default(container, &["terminationMessagePolicy"], "File");
    default(container, &["resources"], json!({}));
    for port in each_mut(container, &["ports"]) {
        default(port, &["protocol"], "TCP");
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if map(container, &[probe]).is_none() {
            continue;
        }
        let probe = entry(container, &[probe]);
        default(probe, &["timeoutSeconds"], 1);
        default(probe, &["periodSeconds"], 10);
        default(probe, &["successThreshold"], 1);
        default(probe, &["failureThreshold"], 3);
        if map(probe, &["httpGet"]).is_some() {
            default(probe, &["httpGet", "path"], "/");
            default(probe, &["httpGet", "scheme"], "HTTP");
        }
    }
    for variable in each_mut(container, &["env"]) {
        if map(variable, &["valueFrom", "fieldRef"]).is_some() {
            default(variable, &["valueFrom", "fieldRef", "apiVersion"], "v1");
        }
    }
}

fn volume(volume: &mut Value) {
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if map(volume, &[source]).is_some() {
            default(volume, &[source, "defaultMode"], 420);
        }
    }
    if map(volume, &["hostPath"]).is_some() {
        default(volume, &["hostPath", "type"], "");
    }
}
