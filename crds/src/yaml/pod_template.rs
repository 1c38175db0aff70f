//! The schema of a pod template: everything is kept, and only what matters to writes is said.

use serde_json::{Map, Value, json};

/// Lists that server-side apply merges by key, below `spec`.
const BY_KEY: [(&str, &[&str]); 8] = [
    ("ephemeralContainers", &["name"]),
    ("hostAliases", &["ip"]),
    ("imagePullSecrets", &["name"]),
    ("resourceClaims", &["name"]),
    ("schedulingGates", &["name"]),
    (
        "topologySpreadConstraints",
        &["topologyKey", "whenUnsatisfiable"],
    ),
    ("volumes", &["name"]),
    ("initContainers", &["name"]),
];

/// A pod template, with the marks that [`super::schema`] reads.
pub(crate) fn pod_template() -> Value {
    let mut spec = Map::new();
    for (list, keys) in BY_KEY {
        spec.insert(list.to_owned(), by_key(keys, Map::new()));
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        spec.insert(list.to_owned(), by_key(&["name"], container()));
    }
    spec.insert("nodeSelector".to_owned(), {
        let mut map = texts();
        if let Some(map) = map.as_object_mut() {
            map.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
        }
        map
    });
    json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "metadata": {
                "type": "object",
                "properties": { "labels": texts(), "annotations": texts() },
            },
            "spec": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "properties": spec,
            },
        },
    })
}

fn container() -> Map<String, Value> {
    let mut ports = by_key(&["containerPort", "protocol"], Map::new());
    if let Some(Value::Object(properties)) = ports.pointer_mut("/items/properties") {
        let port = json!({ "type": "integer", "format": "int32", "x-required": true });
        properties.insert("containerPort".to_owned(), port);
        // The pod hash counts it: without this default one template would have two hashes.
        let protocol = json!({ "type": "string", "x-default": "TCP" });
        properties.insert("protocol".to_owned(), protocol);
    }
    let mut members = Map::new();
    members.insert("ports".to_owned(), ports);
    for (list, key) in [
        ("env", "name"),
        ("volumeMounts", "mountPath"),
        ("volumeDevices", "devicePath"),
    ] {
        members.insert(list.to_owned(), by_key(&[key], Map::new()));
    }
    members
}

/// A list of objects that is merged by `keys`.
fn by_key(keys: &[&str], mut members: Map<String, Value>) -> Value {
    for key in keys {
        members.insert(
            (*key).to_owned(),
            json!({ "type": "string", "x-required": true }),
        );
    }
    json!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": keys,
        "items": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": members,
        },
    })
}

fn texts() -> Value {
    json!({ "type": "object", "additionalProperties": { "type": "string" } })
}
