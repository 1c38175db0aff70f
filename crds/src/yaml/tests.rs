use serde_json::Value;

/// The files in the repository are what the types say; `UPDATE_EXPECT=1 cargo test` rewrites them.
#[test]
fn files_are_current() {
    for (file, text) in super::all() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("yaml")
            .join(&file);
        expect_test::expect_file![path].assert_eq(&text);
    }
}

/// What the API server asks of a structural schema, as far as a type could break it.
fn structural(schema: &Value, path: &str) {
    let object = schema.as_object().unwrap();
    let free = object.contains_key("x-kubernetes-int-or-string")
        || object.contains_key("x-kubernetes-preserve-unknown-fields");
    assert!(
        object.get("type").is_some_and(Value::is_string) || free,
        "{path}: no type"
    );
    for key in object.keys() {
        let known = [
            "additionalProperties",
            "default",
            "description",
            "enum",
            "format",
            "items",
            "properties",
            "required",
            "type",
        ];
        assert!(
            known.contains(&key.as_str()) || key.starts_with("x-kubernetes-"),
            "{path}: {key}"
        );
    }
    let properties = object.get("properties").and_then(Value::as_object);
    for name in object
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        assert!(
            properties.unwrap().contains_key(name.as_str().unwrap()),
            "{path}: {name}"
        );
    }
    for key in object
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let items = &schema["items"];
        let default = items["properties"][key.as_str().unwrap()].get("default");
        let required = items["required"]
            .as_array()
            .is_some_and(|all| all.contains(key));
        assert!(
            default.is_some() || required,
            "{path}: {key} may be missing"
        );
    }
    for (name, property) in properties.into_iter().flatten() {
        structural(property, &format!("{path}.{name}"));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = object.get(key) {
            structural(inner, &format!("{path}.{key}"));
        }
    }
}

fn schema_of(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

/// D9
#[test]
fn schemas_are_structural() {
    for definition in super::definitions() {
        structural(
            schema_of(&definition),
            definition["spec"]["names"]["kind"].as_str().unwrap(),
        );
    }
}

/// Whether an object would pass and lose nothing: types fit, nothing is pruned.
fn accepts(schema: &Value, value: &Value, path: &str) {
    if schema["x-kubernetes-int-or-string"] == true {
        assert!(value.is_i64() || value.is_string(), "{path}");
        return;
    }
    let free = schema["x-kubernetes-preserve-unknown-fields"] == true;
    match (value, schema["type"].as_str()) {
        (Value::Object(members), Some("object")) => {
            for key in schema["required"].as_array().into_iter().flatten() {
                assert!(
                    members.contains_key(key.as_str().unwrap()),
                    "{path} needs {key}"
                );
            }
            for (key, member) in members {
                let known = schema["properties"]
                    .get(key)
                    .or_else(|| schema.get("additionalProperties"));
                match known {
                    Some(known) => accepts(known, member, &format!("{path}.{key}")),
                    None => assert!(free, "{path}.{key} would be pruned"),
                }
            }
        }
        (Value::Array(items), Some("array")) => {
            for (i, item) in items.iter().enumerate() {
                accepts(&schema["items"], item, &format!("{path}[{i}]"));
            }
        }
        (Value::String(_), Some("string"))
        | (Value::Bool(_), Some("boolean"))
        | (Value::Number(_), Some("integer")) => {}
        (value, wanted) => panic!("{path}: {value} is not {wanted:?}"),
    }
}

/// Every object on record passes our schemas.
#[test]
fn records_are_accepted() {
    let definitions = super::definitions();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/fixtures/peer");
    let mut seen = 0;
    for dir in std::fs::read_dir(folder)
        .unwrap()
        .map(|d| d.unwrap().path())
    {
        let files = std::fs::read_dir(&dir)
            .into_iter()
            .flatten()
            .map(|f| f.unwrap().path());
        for file in files.filter(|f| f.extension().is_some_and(|e| e == "json")) {
            let list: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            for item in list["items"].as_array().unwrap() {
                let of_kind = |d: &&Value| d["spec"]["names"]["kind"] == item["kind"];
                let Some(definition) = definitions.iter().find(of_kind) else {
                    continue;
                };
                let mut item = item.clone();
                item["metadata"] = serde_json::json!({});
                accepts(schema_of(definition), &item, &file.display().to_string());
                seen += 1;
            }
        }
    }
    assert!(seen > 100);
}

/// API-5..10
#[test]
fn names_and_subresources() {
    let all = super::definitions();
    let names: Vec<&str> = all
        .iter()
        .map(|d| d["spec"]["names"]["shortNames"][0].as_str().unwrap())
        .collect();
    assert_eq!(names, ["ro", "ar", "at", "cat", "exp"]);
    let rollout = &all[0]["spec"]["versions"][0];
    assert_eq!(
        rollout["subresources"]["scale"]["statusReplicasPath"],
        ".status.HPAReplicas"
    );
    assert_eq!(all[1]["spec"]["versions"][0].get("subresources"), None);
    let spec = &schema_of(&all[0])["properties"]["spec"];
    assert_eq!(spec.get("required"), None);
    assert_eq!(
        spec["properties"]["selector"]["x-kubernetes-validations"][0]["rule"],
        "self == oldSelf"
    );
    let metric = &schema_of(&all[1])["properties"]["spec"]["properties"]["metrics"]["items"];
    assert_eq!(metric["required"], serde_json::json!(["name", "provider"]));
    let datadog = &metric["properties"]["provider"]["properties"]["datadog"]["properties"];
    assert_eq!(datadog["interval"]["default"], "5m");
    assert_eq!(
        datadog["apiVersion"]["enum"],
        serde_json::json!(["v1", "v2"])
    );
}
