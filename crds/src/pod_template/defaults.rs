//! What the API server fills into a pod template (CTL-20).

use serde_json::{Map, Value, json};

use crate::quantity::Quantity;

type Object = Map<String, Value>;

/// Applies the defaults to a template.
pub(crate) fn apply(template: &mut Value) {
    let Some(template) = template.as_object_mut() else {
        return;
    };
    let spec = template.entry("spec").or_insert_with(|| json!({}));
    if spec.is_null() {
        *spec = json!({});
    }
    let Some(spec) = spec.as_object_mut() else {
        return;
    };
    set(spec, "dnsPolicy", "ClusterFirst");
    set(spec, "restartPolicy", "Always");
    set(spec, "schedulerName", "default-scheduler");
    set_absent(spec, "securityContext", json!({}));
    set_absent(spec, "terminationGracePeriodSeconds", json!(30));
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        each(spec, list, container);
    }
    each(spec, "volumes", volume);
}

/// Sets a text that is absent or empty.
fn set(object: &mut Object, key: &str, value: &str) {
    let current = object.entry(key).or_insert(Value::Null);
    if current.is_null() || current == "" {
        *current = value.into();
    }
}

/// Sets a member that is absent.
fn set_absent(object: &mut Object, key: &str, value: Value) {
    let current = object.entry(key).or_insert(Value::Null);
    if current.is_null() {
        *current = value;
    }
}

/// Sets a number that is absent or 0.
fn set_number(object: &mut Object, key: &str, value: i64) {
    let current = object.entry(key).or_insert(Value::Null);
    if current.is_null() || *current == 0 {
        *current = value.into();
    }
}

/// Applies `change` to each object of a list.
fn each(object: &mut Object, key: &str, change: impl Fn(&mut Object)) {
    let items = object.get_mut(key).and_then(Value::as_array_mut);
    items
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
        .for_each(change);
}

/// Applies `change` to a member that is an object.
fn inside(object: &mut Object, key: &str, change: impl FnOnce(&mut Object)) {
    if let Some(member) = object.get_mut(key).and_then(Value::as_object_mut) {
        change(member);
    }
}

fn container(container: &mut Object) {
    let image = container
        .get("image")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let policy = if pulls_always(image) {
        "Always"
    } else {
        "IfNotPresent"
    };
    set(container, "imagePullPolicy", policy);
    set(container, "terminationMessagePath", "/dev/termination-log");
    set(container, "terminationMessagePolicy", "File");
    each(container, "ports", |port| set(port, "protocol", "TCP"));
    each(container, "env", |variable| {
        inside(variable, "valueFrom", field_ref)
    });
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        inside(container, key, probe);
    }
    inside(container, "lifecycle", |lifecycle| {
        for key in ["postStart", "preStop"] {
            inside(lifecycle, key, |handler| {
                inside(handler, "httpGet", http_get)
            });
        }
    });
    inside(container, "resources", |resources| {
        for key in ["limits", "requests"] {
            inside(resources, key, |list| {
                list.values_mut().for_each(round_to_milli)
            });
        }
    });
}

/// Whether an image without pull policy is pulled each time: its tag is `latest`, or it has
/// neither tag nor digest.
fn pulls_always(image: &str) -> bool {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => digest.is_none(),
    }
}

fn round_to_milli(value: &mut Value) {
    if let Some(quantity) = value.as_str().and_then(Quantity::parse) {
        *value = quantity.rounded_to_milli().to_string().into();
    }
}

fn field_ref(source: &mut Object) {
    inside(source, "fieldRef", |field| set(field, "apiVersion", "v1"));
}

fn http_get(action: &mut Object) {
    set(action, "path", "/");
    set(action, "scheme", "HTTP");
}

fn probe(probe: &mut Object) {
    set_number(probe, "timeoutSeconds", 1);
    set_number(probe, "periodSeconds", 10);
    set_number(probe, "successThreshold", 1);
    set_number(probe, "failureThreshold", 3);
    inside(probe, "httpGet", http_get);
    inside(probe, "grpc", |grpc| set_absent(grpc, "service", json!("")));
}

fn volume(volume: &mut Object) {
    let has_source = volume
        .iter()
        .any(|(key, value)| key != "name" && !value.is_null());
    if !has_source {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for key in ["secret", "configMap", "downwardAPI", "projected"] {
        inside(volume, key, |source| {
            set_absent(source, "defaultMode", json!(0o644))
        });
    }
    inside(volume, "downwardAPI", |source| {
        each(source, "items", field_ref)
    });
    inside(volume, "projected", |projected| {
        each(projected, "sources", |source| {
            inside(source, "downwardAPI", |source| {
                each(source, "items", field_ref)
            });
            inside(source, "serviceAccountToken", |token| {
                set_absent(token, "expirationSeconds", json!(3600));
            });
        });
    });
    inside(volume, "hostPath", |source| {
        set_absent(source, "type", json!(""))
    });
    inside(volume, "iscsi", |source| {
        set(source, "iscsiInterface", "default")
    });
    inside(volume, "rbd", |source| {
        set(source, "pool", "rbd");
        set(source, "user", "admin");
        set(source, "keyring", "/etc/ceph/keyring");
    });
    inside(volume, "azureDisk", |source| {
        set_absent(source, "cachingMode", json!("ReadWrite"));
        set_absent(source, "kind", json!("Shared"));
        set_absent(source, "fsType", json!("ext4"));
        set_absent(source, "readOnly", json!(false));
    });
    inside(volume, "scaleIO", |source| {
        set(source, "storageMode", "ThinProvisioned");
        set(source, "fsType", "xfs");
    });
    inside(volume, "ephemeral", |source| {
        inside(source, "volumeClaimTemplate", |claim| {
            inside(claim, "spec", |spec| {
                set_absent(spec, "volumeMode", json!("Filesystem"))
            });
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CTL-20: the pull policy follows the tag.
    #[test]
    fn pull_policies() {
        for (image, always) in [
            ("web", true),
            ("web:latest", true),
            ("web:v1", false),
            ("registry:5000/web", true),
            ("registry:5000/web:v1", false),
            ("web@sha256:00", false),
            ("web:latest@sha256:00", true),
        ] {
            assert_eq!(pulls_always(image), always, "{image}");
        }
    }
}
