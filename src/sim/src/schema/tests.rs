use super::*;
use serde_json::json;

fn schema() -> Schema {
    Schema::compile(&json!({
        "type": "object",
        "required": ["spec"],
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "x-kubernetes-validations": [
                    {"rule": "self.name == oldSelf.name", "message": "name is immutable"}
                ],
                "properties": {
                    "size": {"type": "integer", "minimum": 0, "maximum": 5},
                    "name": {"type": "string", "default": "x", "pattern": "^[a-z]+$"},
                    "mode": {"type": "string", "enum": ["A", "B"]},
                    "port": {"x-kubernetes-int-or-string": true},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "tags": {"type": "object", "additionalProperties": {"type": "string"}},
                    "rows": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["key"],
                        "items": {"type": "object", "properties": {
                            "key": {"type": "string"}, "on": {"type": "boolean", "default": true}
                        }}
                    }
                }
            }
        }
    }))
}

#[test]
fn unknown_fields_are_pruned_and_named() {
    let mut object = json!({"metadata": {"name": "n"}, "other": 1, "spec": {
        "size": 1, "odd": {}, "free": {"a": 1}, "tags": {"t": "1"}, "rows": [{"key": "a", "z": 1}]
    }});
    let unknown = schema().prune(&mut object);
    assert_eq!(unknown, ["other", "spec.odd", "spec.rows[0].z"]);
    assert_eq!(
        object,
        json!({"metadata": {"name": "n"}, "spec": {
            "size": 1, "free": {"a": 1}, "tags": {"t": "1"}, "rows": [{"key": "a"}]
        }})
    );
}

#[test]
fn defaults_fill_and_nulls_go() {
    let mut object = json!({"spec": {"size": 1, "mode": null, "rows": [{"key": "a"}]}});
    schema().default(&mut object);
    assert_eq!(
        object,
        json!({"spec": {"size": 1, "name": "x", "rows": [{"key": "a", "on": true}]}})
    );
}

#[test]
fn wrong_values_are_refused_by_field() {
    let rows = [
        (json!({}), "spec"),
        (json!({"spec": {}}), "spec.size"),
        (json!({"spec": {"size": "1"}}), "spec.size"),
        (json!({"spec": {"size": 6}}), "spec.size"),
        (json!({"spec": {"size": 1, "name": "A"}}), "spec.name"),
        (json!({"spec": {"size": 1, "mode": "C"}}), "spec.mode"),
        (json!({"spec": {"size": 1, "port": true}}), "spec.port"),
        (
            json!({"spec": {"size": 1, "rows": [{"key": "a"}, {"key": "a"}]}}),
            "spec.rows[1]",
        ),
    ];
    for (object, field) in rows {
        let causes = schema().validate(&object, None);
        assert_eq!(causes[0].field, field, "{object}");
    }
    assert_eq!(
        schema().validate(&json!({"spec": {"size": 1, "port": "http"}}), None),
        []
    );
}

#[test]
fn transition_rules_compare_with_the_old_version() {
    let old = json!({"spec": {"size": 1, "name": "a"}});
    let new = json!({"spec": {"size": 2, "name": "b"}});
    let causes = schema().validate(&new, Some(&old));
    assert_eq!(causes.len(), 1);
    assert!(
        causes[0].message.contains("name is immutable"),
        "{causes:?}"
    );
    assert_eq!(schema().validate(&new, None), []);
}
