use serde_json::Value;

mod fields;

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

/// API-7: what `kubectl get` shows.
#[test]
fn columns() {
    let all = super::definitions();
    let shown: Vec<String> = all
        .iter()
        .map(|definition| {
            let columns = &definition["spec"]["versions"][0]["additionalPrinterColumns"];
            let columns = columns.as_array().unwrap().iter();
            let columns = columns.map(|c| {
                let text = |key: &str| c[key].as_str().unwrap();
                format!(
                    "{} {} {}: {}",
                    text("name"),
                    text("type"),
                    text("jsonPath"),
                    text("description")
                )
            });
            columns.collect::<Vec<_>>().join("\n")
        })
        .collect();
    let age = "Age date .metadata.creationTimestamp: Time since resource was created";
    let total = "Total number of non-terminated pods targeted by this rollout";
    let available = "Total number of available pods (ready for at least minReadySeconds) targeted \
                     by this rollout";
    assert_eq!(
        shown,
        [
            [
                "Desired integer .spec.replicas: Number of desired pods",
                &format!("Current integer .status.replicas: {total}"),
                &format!("Up-to-date integer .status.updatedReplicas: {total} that have the desired template spec"),
                &format!("Available integer .status.availableReplicas: {available}"),
                age,
            ]
            .join("\n"),
            format!("Status string .status.phase: AnalysisRun status\n{age}"),
            age.to_owned(),
            age.to_owned(),
            format!("Status string .status.phase: Experiment status\n{age}"),
        ]
    );
    assert!(
        !serde_json::to_string(&all)
            .unwrap()
            .contains("\"priority\""),
        "all are always shown"
    );
}

/// API-8: of a pod template only what matters to writes is spelled out, and labels and annotations
/// are all that is kept of its metadata.
#[test]
fn pod_templates_are_open_and_lists_have_keys() {
    let all = super::definitions();
    let spec = &schema_of(&all[0])["properties"]["spec"]["properties"];
    let template = &spec["template"]["properties"];
    let metadata: Vec<_> = template["metadata"]["properties"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(metadata, ["annotations", "labels"]);
    assert_eq!(
        template["metadata"].get("x-kubernetes-preserve-unknown-fields"),
        None
    );
    assert_eq!(
        template["spec"]["x-kubernetes-preserve-unknown-fields"],
        true
    );
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        let ports = &template["spec"]["properties"][list]["items"]["properties"]["ports"];
        let keys = serde_json::json!(["containerPort", "protocol"]);
        assert_eq!(ports["x-kubernetes-list-map-keys"], keys, "{list}");
        assert_eq!(ports["items"]["properties"]["protocol"]["default"], "TCP");
    }
    assert_eq!(spec["selector"]["x-kubernetes-map-type"], "atomic");
    let job = &schema_of(&all[1])["properties"]["spec"]["properties"]["metrics"]["items"]["properties"]
        ["provider"]["properties"]["job"]["properties"];
    assert_eq!(job["spec"]["x-kubernetes-preserve-unknown-fields"], true);
}

/// API-5, API-6, API-9, API-10: names, scopes and subresources.
#[test]
fn names_and_subresources() {
    let all = super::definitions();
    let names: Vec<&str> = all
        .iter()
        .map(|d| d["spec"]["names"]["shortNames"][0].as_str().unwrap())
        .collect();
    assert_eq!(names, ["ro", "ar", "at", "cat", "exp"]);
    let told: Vec<String> = all
        .iter()
        .map(|d| {
            let (spec, names) = (&d["spec"], &d["spec"]["names"]);
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            assert_eq!(spec["group"], "argoproj.io");
            assert_eq!(spec["versions"].as_array().unwrap().len(), 1);
            assert_eq!(spec["versions"][0]["name"], "v1alpha1");
            assert_eq!(
                (
                    &spec["versions"][0]["served"],
                    &spec["versions"][0]["storage"]
                ),
                (&true.into(), &true.into())
            );
            assert_eq!(
                (spec.get("conversion"), names.get("categories")),
                (None, None)
            );
            [
                &names["plural"],
                &names["singular"],
                &names["listKind"],
                &spec["scope"],
            ]
            .map(text)
            .join(" ")
        })
        .collect();
    assert_eq!(
        told,
        [
            "rollouts rollout RolloutList Namespaced",
            "analysisruns analysisrun AnalysisRunList Namespaced",
            "analysistemplates analysistemplate AnalysisTemplateList Namespaced",
            "clusteranalysistemplates clusteranalysistemplate ClusterAnalysisTemplateList Cluster",
            "experiments experiment ExperimentList Namespaced",
        ]
    );
    let rollout = &all[0]["spec"]["versions"][0];
    assert_eq!(
        rollout["subresources"],
        serde_json::json!({ "status": {}, "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.HPAReplicas",
            "labelSelectorPath": ".status.selector",
        } })
    );
    for without in &all[1..] {
        assert_eq!(without["spec"]["versions"][0].get("subresources"), None);
    }
    let spec = &schema_of(&all[0])["properties"]["spec"];
    assert_eq!(spec.get("required"), None);
    assert_eq!(
        spec["properties"]["selector"]["x-kubernetes-validations"][0]["rule"],
        "self == oldSelf"
    );
    assert_eq!(
        spec["properties"]["selector"]["x-kubernetes-validations"][0]["message"],
        ".spec.selector is immutable"
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
